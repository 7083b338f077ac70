//! Answers that are slow, parallel and late, in any order: I11, and nothing that was signed out comes back.

use std::{collections::HashMap, time::Duration};

use crate::support::{App, get, post, set_cookie, set_cookies, sid, with};
use bytes::Bytes;
use http::Response;
use proptest::{prelude::*, sample::select};
use tokio::task::JoinHandle;
use tower_session_timeout::Decision;

const IDS: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

#[derive(Clone, Debug)]
enum Step {
    /// The application gets a request, and answers later.
    Begin {
        id: &'static str,
        sets: &'static str,
        login: bool,
    },
    /// One of the answers under way arrives.
    Finish(usize),
    LogIn(&'static str),
    LogOut(&'static str),
    Advance(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let id = || select(&IDS[..]);
    prop_oneof![
        5 => (id(), id(), prop::bool::weighted(0.1)).prop_map(|(id, sets, login)| Step::Begin { id, sets, login }),
        5 => (0..8_usize).prop_map(Step::Finish),
        2 => id().prop_map(Step::LogIn),
        1 => id().prop_map(Step::LogOut),
        2 => (0..40_u64).prop_map(Step::Advance),
    ]
}

struct UnderWay {
    name: String,
    answer: JoinHandle<Response<Bytes>>,
}

/// Every session cookie in an answer is live at that moment; it may be admitted again from now on.
async fn arrives(app: &App, response: &Response<Bytes>, signed_out: &mut HashMap<String, bool>) {
    for cookie in set_cookies(response) {
        let id = cookie.strip_prefix("sid=").unwrap().split(';').next().unwrap();
        if !id.is_empty() {
            assert!(matches!(app.peek(id).await, Decision::Live(_)), "I11: {id} left, and is not live");
            signed_out.insert(id.to_owned(), false);
        }
    }
}

async fn run(trace: Vec<Step>) {
    let app = App::with(|builder| builder.public_if(|_| true));
    let mut under_way: Vec<UnderWay> = Vec::new();
    let mut signed_out = HashMap::new();
    for (number, step) in trace.into_iter().enumerate() {
        match step {
            Step::Begin { id, sets, login } => {
                let name = number.to_string();
                let mut request =
                    set_cookie(sid(with(get("/account", &[]), "x-slow", &name), id), &format!("sid={sets}"));
                if login {
                    request = with(request, "x-login", "somebody");
                }
                under_way.push(UnderWay { answer: app.send_slow(request).await, name });
            }
            Step::Finish(_) if under_way.is_empty() => {}
            Step::Finish(which) => {
                let UnderWay { name, answer } = under_way.remove(which % under_way.len());
                app.release_named(&name);
                arrives(&app, &answer.await.unwrap(), &mut signed_out).await;
            }
            Step::LogIn(id) => {
                let response = app.send(set_cookie(post("/login"), &format!("sid={id}"))).await;
                arrives(&app, &response, &mut signed_out).await;
            }
            Step::LogOut(id) => {
                app.send(sid(post("/logout"), id)).await;
                signed_out.insert(id.to_owned(), true);
            }
            Step::Advance(seconds) => app.advance(Duration::from_secs(seconds)),
        }
        for (id, is_signed_out) in &signed_out {
            let is_live = matches!(app.peek(id).await, Decision::Live(_));
            assert!(!(*is_signed_out && is_live), "I3: {id} was signed out, and is live");
        }
    }
    for UnderWay { answer, .. } in under_way {
        answer.abort();
    }
}

proptest! {
    #![proptest_config(crate::support::cases())]

    #[test]
    fn whatever_the_order_no_dead_cookie_leaves_and_nobody_signed_out_returns(
        trace in prop::collection::vec(step(), 1..60),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(run(trace));
    }
}

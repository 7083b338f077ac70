//! Ids that change, as a browser lives through it: its answers are parallel, slow, lost and repeated.

use std::time::Duration;

use crate::support::{App, get, set_cookie, set_cookies, sid, with};
use bytes::Bytes;
use http::{Response, StatusCode};
use proptest::{prelude::*, sample::select};
use tokio::task::JoinHandle;
use tower_session_timeout::{Decision, Live};

const IDLE: u64 = 100;
const ABSOLUTE: u64 = 1000;
const GRACE: u64 = 30;
/// As many requests as a browser has under way at once, more or less.
const PARALLEL: usize = 8;
const MAX_IDS: usize = 64;

#[derive(Clone, Debug)]
enum Step {
    /// The browser sends a request with the cookie it has.
    Click(Sets),
    /// The application answers one of the requests under way.
    Answer(usize),
    /// An answer reaches the browser, and all that left before it and did not are lost.
    Arrive(usize),
    /// The browser gives a request up.
    GiveUp(usize),
    Advance(u64),
}

/// Which session cookie the answer to a click sets.
#[derive(Clone, Debug)]
enum Sets {
    Nothing,
    Another,
    /// The value the request came with: the application slides its cookie.
    TheSame,
    /// One of the last values: the application is back in an earlier state, and its state is in the cookie.
    OneFromBefore(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let sets = prop_oneof![
        2 => Just(Sets::Nothing),
        6 => Just(Sets::Another),
        2 => Just(Sets::TheSame),
        2 => (1..6_usize).prop_map(Sets::OneFromBefore),
    ];
    let which = || 0..PARALLEL;
    prop_oneof![
        6 => sets.prop_map(Step::Click),
        6 => which().prop_map(Step::Answer),
        6 => which().prop_map(Step::Arrive),
        1 => which().prop_map(Step::GiveUp),
        4 => select(&[1, 10, GRACE - 1, GRACE, IDLE - 1, IDLE][..]).prop_map(Step::Advance),
    ]
}

struct UnderWay {
    name: String,
    /// Since when; and whether its answer sets the id again that it came with.
    since: u64,
    sets_its_own: bool,
    answer: JoinHandle<Response<Bytes>>,
}

/// A browser with one session, and what the documentation says of that.
struct Browser {
    app: App,
    cookie: String,
    had: Vec<String>,
    now: u64,
    active: u64,
    under_way: Vec<UnderWay>,
    /// Answers that have left the server, in that order, and when. None takes as long as the grace.
    on_the_network: Vec<(u64, Response<Bytes>)>,
}

impl Browser {
    async fn log_in() -> Self {
        let app = App::in_memory_with(|builder| {
            let seconds = Duration::from_secs;
            builder
                .idle_timeout(seconds(IDLE))
                .absolute_timeout(seconds(ABSOLUTE))
                .rotation_grace(seconds(GRACE))
        });
        app.log_in("v0").await;
        Self {
            app,
            cookie: "v0".to_owned(),
            had: vec!["v0".to_owned()],
            now: 0,
            active: 0,
            under_way: Vec::new(),
            on_the_network: Vec::new(),
        }
    }

    fn is_over(&self) -> bool {
        self.now >= ABSOLUTE || (self.under_way.is_empty() && self.now >= self.active + IDLE)
    }

    async fn live(&self, id: &str) -> Option<Live> {
        match self.app.peek(id).await {
            Decision::Live(live) => Some(live),
            _ => None,
        }
    }

    async fn click(&mut self, sets: &Sets) {
        let sets = match sets {
            Sets::Nothing => None,
            Sets::Another => Some(format!("v{}", self.had.len())),
            Sets::TheSame => Some(self.cookie.clone()),
            Sets::OneFromBefore(back) => Some(self.had[self.had.len().saturating_sub(*back)].clone()),
        };
        let name = format!("{} requests before", self.app.calls());
        let sets_its_own = sets.as_ref() == Some(&self.cookie);
        let mut request = with(sid(get("/account", &[]), &self.cookie), "x-slow", &name);
        if let Some(value) = sets {
            request = set_cookie(request, &format!("sid={value}"));
            self.had.push(value);
        }
        let answer = self.app.send_slow(request).await;
        assert!(
            !answer.is_finished(),
            "{} is over for a browser that was here {} s ago",
            self.cookie,
            self.now - self.active
        );
        self.active = self.now;
        self.under_way.push(UnderWay { name, since: self.now, sets_its_own, answer });
    }

    async fn answer(&mut self, which: usize) {
        let was_over = self.is_over();
        let UnderWay { name, since, sets_its_own, answer } =
            self.under_way.remove(which % self.under_way.len());
        self.app.release_named(&name);
        let answer = answer.await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "what was let in is answered");
        let sets = cookie_of(&answer);
        if was_over {
            assert_eq!(sets, None, "no cookie of a session that is over");
            return;
        }
        self.active = self.now;
        if let Some(id) = &sets {
            assert!(self.live(id).await.is_some(), "I11: {id}");
        }
        // The limit `rotation_grace` has in its documentation.
        let is_too_late = sets_its_own && sets.is_some() && self.now - since >= GRACE;
        if !is_too_late {
            self.on_the_network.push((self.now, answer));
        }
    }

    fn arrive(&mut self, which: usize) {
        let which = which % self.on_the_network.len();
        let (_, answer) = self.on_the_network.drain(..=which).next_back().expect("there is one");
        if let Some(id) = cookie_of(&answer) {
            self.cookie = id;
        }
    }

    async fn give_up(&mut self, which: usize) {
        let UnderWay { answer, .. } = self.under_way.remove(which % self.under_way.len());
        answer.abort();
        assert!(answer.await.is_err());
        self.active = self.now;
    }

    /// While it lasts: nobody is logged out, by whatever order; and the absolute clock stands where it stood.
    async fn is_as_documented(&self) {
        let live = self.live(&self.cookie).await.unwrap_or_else(|| panic!("{} is over", self.cookie));
        assert_eq!(live.age(), Duration::from_secs(self.now), "the absolute clock");
        assert!(self.app.store.len() <= MAX_IDS + 1, "the ids, and the session's own slot");
    }

    /// Nothing returns: not by the answers still under way, nor with a cookie of them all.
    async fn assert_over_for_good(mut self) {
        self.app.advance(Duration::from_secs(1));
        self.now += 1;
        while !self.under_way.is_empty() {
            self.answer(0).await;
        }
        let calls = self.app.calls();
        for id in &self.had {
            assert!(!self.app.admits(id).await, "{id} is back");
        }
        assert_eq!(self.app.calls(), calls);
    }
}

fn cookie_of(answer: &Response<Bytes>) -> Option<String> {
    let cookies = set_cookies(answer);
    assert!(cookies.len() <= 1);
    cookies.first().map(|cookie| cookie.strip_prefix("sid=").unwrap().to_owned())
}

async fn run(trace: Vec<Step>) {
    let mut browser = Browser::log_in().await;
    for step in trace {
        match step {
            Step::Click(sets) if browser.under_way.len() < PARALLEL => browser.click(&sets).await,
            Step::Answer(which) if !browser.under_way.is_empty() => browser.answer(which).await,
            Step::Arrive(which) if !browser.on_the_network.is_empty() => browser.arrive(which),
            Step::GiveUp(which) if !browser.under_way.is_empty() => browser.give_up(which).await,
            Step::Advance(seconds) => {
                browser.app.advance(Duration::from_secs(seconds));
                browser.now += seconds;
                let now = browser.now;
                browser.on_the_network.retain(|(left, _)| now < left + GRACE);
                if browser.is_over() {
                    break;
                }
            }
            _ => {}
        }
        browser.is_as_documented().await;
    }
    if !browser.is_over() {
        browser.app.layer.sessions().end(&browser.cookie.as_str().into()).await.unwrap();
        browser.now = ABSOLUTE;
    }
    browser.assert_over_for_good().await;
}

proptest! {
    #![proptest_config(crate::support::cases())]

    #[test]
    fn whoever_clicks_stays_in_whatever_happens_to_the_answers(
        trace in prop::collection::vec(step(), 1..300),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(run(trace));
    }
}

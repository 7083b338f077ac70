//! The Redis store behind a network that fails, as users of the layer see it: T100, T101, T102.
#![cfg(feature = "redis")]

use std::time::Duration;

use crate::support::{
    App,
    fault_proxy::{Fault, FaultProxy},
    header, post,
    redis_server::{RedisServer, connect},
    set_cookie, set_cookies, sid, slow,
};
use bytes::Bytes;
use futures_util::future::join_all;
use http::{Response, StatusCode};
use tokio::time::Instant;
use tower_session_timeout::RedisStore;

/// The store's deadline, longer on a slow machine.
fn deadline() -> Duration {
    let pace = std::env::var("PACE").ok().and_then(|pace| pace.parse::<u32>().ok());
    Duration::from_millis(300) * pace.unwrap_or(1)
}

/// An application whose store fails at will.
struct Site {
    app: App,
    proxy: FaultProxy,
    _server: RedisServer,
}

impl Site {
    async fn new() -> Self {
        let server = RedisServer::start(&[]).await;
        let proxy = FaultProxy::before(server.address()).await;
        let store = RedisStore::new(connect(proxy.address()).await);
        let app = App::on(store, |builder| builder.store_deadline(deadline()));
        Self { app, proxy, _server: server }
    }

    async fn sign_out(&self, id: &str) -> Response<Bytes> {
        self.app.send(sid(post("/logout"), id)).await
    }

    /// Once the store answers again, what it says about this id.
    async fn recovered(&self, id: &str) -> StatusCode {
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(10) {
            let status = self.app.visit(id).await.status();
            if status != StatusCode::SERVICE_UNAVAILABLE {
                return status;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("no recovery");
    }
}

fn is_unavailable(response: &Response<Bytes>) {
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE, "neither a log-out nor a hole");
    assert_ne!(header(response, "retry-after"), "");
    assert_eq!(set_cookies(response), [""; 0], "no cookie is removed, none begins");
}

/// Requests before, during and after the fault.
async fn survives(fault: Fault) {
    let site = Site::new().await;
    let app = &site.app;
    for id in ["live", "over", "leaving"] {
        app.log_in(id).await;
        assert_eq!(app.visit(id).await.status(), StatusCode::OK);
    }
    assert_eq!(site.sign_out("over").await.status(), StatusCode::OK);
    let leaving = app.send_slow(slow(sid(post("/logout"), "leaving"))).await;

    site.proxy.set(fault);
    app.release();
    is_unavailable(&leaving.await.unwrap());
    let began = Instant::now();
    let (login, logout) =
        tokio::join!(app.send(set_cookie(post("/login"), "sid=new")), site.sign_out("live"),);
    let visits = join_all(["live", "over", "leaving", "new"].map(|id| app.visit(id))).await;
    for response in [login, logout].iter().chain(&visits) {
        is_unavailable(response);
    }
    assert!(began.elapsed() < 5 * deadline(), "twice the deadline, not {:?}", began.elapsed());

    site.proxy.set(Fault::None);
    let began = Instant::now();
    assert_eq!(site.recovered("live").await, StatusCode::OK);
    app.log_in("newer").await;
    assert_eq!(app.visit("newer").await.status(), StatusCode::OK);
    assert_eq!(app.visit("over").await.status(), StatusCode::UNAUTHORIZED);
    // What nobody could write down is tried again.
    while app.visit("leaving").await.status() == StatusCode::OK {
        assert!(began.elapsed() < Duration::from_secs(20), "a log-out is not forgotten");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for _ in 0..20 {
        for id in ["over", "leaving"] {
            assert_eq!(app.visit(id).await.status(), StatusCode::UNAUTHORIZED, "{id}");
        }
    }
    assert_eq!(app.visit("live").await.status(), StatusCode::OK);
}

/// T100
#[tokio::test]
async fn a_connection_that_is_cut_makes_503_until_it_is_there_again() {
    survives(Fault::Cut).await;
}

/// T101
#[tokio::test]
async fn a_server_that_never_answers_makes_503_by_the_deadline() {
    survives(Fault::HalfOpen).await;
}

#[tokio::test]
async fn answers_later_than_the_deadline_make_503() {
    survives(Fault::Delay(3 * deadline())).await;
}

#[tokio::test]
async fn answers_that_break_off_make_503() {
    survives(Fault::Truncate).await;
}

#[tokio::test]
async fn a_log_out_whose_confirmation_was_lost_is_in_effect() {
    let site = Site::new().await;
    site.app.log_in("before").await;
    // So that the server knows the script: or it would be the question for it whose answer is lost.
    assert_eq!(site.sign_out("before").await.status(), StatusCode::OK);
    site.app.log_in("leaving").await;
    let leaving = site.app.send_slow(slow(sid(post("/logout"), "leaving"))).await;
    site.proxy.set(Fault::Truncate);
    site.app.release();
    is_unavailable(&leaving.await.unwrap());
    site.proxy.set(Fault::None);
    assert_eq!(site.recovered("leaving").await, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn answers_that_are_late_but_in_time_are_as_good_as_others() {
    let site = Site::new().await;
    site.proxy.set(Fault::Delay(deadline() / 10));
    site.app.log_in("live").await;
    site.app.log_in("over").await;
    assert_eq!(site.sign_out("over").await.status(), StatusCode::OK);
    let began = Instant::now();
    assert_eq!(site.app.visit("live").await.status(), StatusCode::OK);
    assert!(began.elapsed() >= deadline() / 5, "it was late");
    assert_eq!(site.app.visit("over").await.status(), StatusCode::UNAUTHORIZED);
}

/// Requests are given up, and their answers come when others wait for theirs.
#[tokio::test]
async fn no_late_answer_is_taken_for_that_of_another_request() {
    let site = Site::new().await;
    for id in ["live", "over"] {
        site.app.log_in(id).await;
    }
    assert_eq!(site.sign_out("over").await.status(), StatusCode::OK);
    let (mut given_up, mut answered) = (0, 0);
    for round in 0..20 {
        site.proxy.set(Fault::Delay(if round % 2 == 0 { deadline() * 6 / 10 } else { deadline() / 4 }));
        let (live, over) = tokio::join!(site.app.visit("live"), site.app.visit("over"));
        for (status, decided) in [(live.status(), StatusCode::OK), (over.status(), StatusCode::UNAUTHORIZED)]
        {
            given_up += usize::from(status == StatusCode::SERVICE_UNAVAILABLE);
            answered += usize::from(status == decided);
        }
        assert_eq!(given_up + answered, 2 * (round + 1), "a decision about another session");
    }
    assert!(given_up > 0 && answered > 0, "{given_up} given up, {answered} answered");
}

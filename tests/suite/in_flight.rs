//! While a request's handler runs, its session is in use; and its end is activity, too.

use std::time::Duration;

use crate::support::{ABSOLUTE, App, IDLE, NANO, get, post, sid, slow, with};
use http::StatusCode;
use tower_session_timeout::{Decision, EndReason};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test]
async fn an_upload_longer_than_the_idle_timeout_keeps_its_session() {
    let app = App::new();
    app.log_in("A").await;
    let upload = app.send_slow(slow(sid(post("/upload"), "A"))).await;
    app.advance(IDLE * 3);
    app.store.sweep();
    assert!(matches!(app.peek("A").await, Decision::Live(_)), "another tab is still signed in");
    app.release();
    assert_eq!(upload.await.unwrap().status(), StatusCode::OK);
    app.advance(IDLE.saturating_sub(NANO));
    assert!(matches!(app.peek("A").await, Decision::Live(_)), "idle since the upload's end");
    app.advance(NANO);
    assert!(!app.admits("A").await);
    assert_eq!(app.end_reason("A").await, Some(EndReason::Idle));
}

#[tokio::test]
async fn the_absolute_timeout_ends_a_session_in_flight() {
    let app = App::new();
    app.log_in("A").await;
    let upload = app.send_slow(slow(sid(post("/upload"), "A"))).await;
    app.advance(ABSOLUTE);
    assert!(!app.admits("A").await);
    app.release();
    assert_eq!(upload.await.unwrap().status(), StatusCode::OK, "what was admitted is delivered");
    assert_eq!(app.end_reason("A").await, Some(EndReason::Absolute));
}

#[tokio::test]
async fn of_several_requests_the_last_to_end_lets_go() {
    let app = App::new();
    app.log_in("A").await;
    let first = app.send_slow(slow(sid(post("/upload"), "A"))).await;
    let second = app.send_slow(with(sid(post("/upload"), "A"), "x-slow", "2")).await;
    app.release();
    first.await.unwrap();
    app.advance(IDLE * 2);
    assert!(matches!(app.peek("A").await, Decision::Live(_)));
    app.release_named("2");
    second.await.unwrap();
    app.advance(IDLE);
    assert!(!app.admits("A").await);
}

#[tokio::test]
async fn a_passive_request_holds_nothing() {
    let app = App::new();
    app.log_in("A").await;
    let poll = app.send_slow(slow(sid(get("/poll", &[("session-activity", "passive")]), "A"))).await;
    app.advance(IDLE);
    assert_eq!(app.end_reason("A").await, Some(EndReason::Idle));
    app.release();
    poll.await.unwrap();
    assert!(!app.admits("A").await);
}

#[tokio::test]
async fn proving_anew_who_one_is_lets_go_of_no_upload() {
    let app = App::new();
    app.log_in("A").await;
    let upload = app.send_slow(slow(sid(post("/upload"), "A"))).await;
    app.send(with(sid(get("/account", &[]), "A"), "x-say", "reauthenticated")).await;
    app.advance(IDLE * 2);
    assert!(matches!(app.peek("A").await, Decision::Live(_)));
    app.release();
    upload.await.unwrap();
    app.advance(IDLE);
    assert!(!app.admits("A").await);
}

/// T04: completion never brings back what has ended.
#[tokio::test]
async fn a_log_out_ends_a_session_in_flight_for_good() {
    let app = App::new();
    app.log_in("A").await;
    let upload = app.send_slow(slow(sid(post("/upload"), "A"))).await;
    app.send(sid(post("/logout"), "A")).await;
    assert!(!app.admits("A").await);
    app.release();
    upload.await.unwrap();
    assert!(!app.admits("A").await);
}

#[tokio::test]
async fn a_request_of_an_old_session_has_no_hold_on_the_new_one() {
    let app = App::new();
    app.log_in("A").await;
    let upload = app.send_slow(slow(sid(post("/upload"), "A"))).await;
    app.send(sid(post("/logout"), "A")).await;
    app.log_in("A").await;
    app.advance(IDLE.saturating_sub(SECOND));
    app.release();
    upload.await.unwrap();
    app.advance(SECOND);
    assert!(!app.admits("A").await, "its end was no activity of the new session");
}

#[tokio::test]
async fn a_client_that_goes_away_lets_go() {
    let app = App::new();
    app.log_in("A").await;
    let upload = app.send_slow(slow(sid(post("/upload"), "A"))).await;
    app.advance(IDLE * 2);
    upload.abort();
    assert!(upload.await.unwrap_err().is_cancelled());
    app.advance(IDLE.saturating_sub(NANO));
    assert!(matches!(app.peek("A").await, Decision::Live(_)));
    app.advance(NANO);
    assert_eq!(app.end_reason("A").await, Some(EndReason::Idle));
}

#[tokio::test]
async fn a_handler_that_panics_lets_go() {
    let app = App::new();
    app.log_in("A").await;
    let request = with(sid(get("/account", &[]), "A"), "x-status", "no status at all");
    let panicking = app.send_slow(request).await;
    assert!(panicking.await.is_err());
    app.advance(IDLE);
    assert!(!app.admits("A").await);
}

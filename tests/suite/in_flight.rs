//! While a request's handler runs, its session is in use; and its end is activity, too.
#![allow(clippy::unchecked_time_subtraction)] // of constants

use std::{sync::atomic::Ordering::SeqCst, time::Duration};

use crate::support::{ABSOLUTE, App, IDLE, NANO, RuntimeClock, get, post, remote::Remote, sid, slow, with};
use http::StatusCode;
use tokio::{task::yield_now, time::sleep};
use tower_session_timeout::{CachedStore, Decision, EndReason};

const SECOND: Duration = Duration::from_secs(1);

/// T03
#[tokio::test]
async fn an_upload_longer_than_the_idle_timeout_keeps_its_session() {
    let app = App::in_memory();
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

/// T03
#[tokio::test]
async fn the_absolute_timeout_ends_a_session_in_flight() {
    let app = App::in_memory();
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
    let app = App::in_memory();
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
    let app = App::in_memory();
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
    let app = App::in_memory();
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

/// An application whose store cannot hold, where Alice is signed in; and that store.
async fn on_a_network() -> (App, Remote) {
    let remote = Remote::new(RuntimeClock::new());
    let app = App::on(remote.clone(), |builder| builder);
    app.log_in("A").await;
    (app, remote)
}

#[tokio::test(start_paused = true)]
async fn a_store_on_a_network_is_told_that_an_upload_goes_on() {
    let (app, _) = on_a_network().await;
    let upload = app.send_slow(slow(sid(post("/upload"), "A"))).await;
    sleep(IDLE * 3).await;
    assert!(matches!(app.peek("A").await, Decision::Live(_)), "another process lets it in as well");
    app.release();
    assert_eq!(upload.await.unwrap().status(), StatusCode::OK);
    yield_now().await;
    sleep(IDLE - SECOND).await;
    assert!(matches!(app.peek("A").await, Decision::Live(_)), "idle since the upload's end");
    sleep(SECOND).await;
    assert_eq!(app.end_reason("A").await, Some(EndReason::Idle));
}

#[tokio::test(start_paused = true)]
async fn what_is_answered_soon_is_not_worth_a_command() {
    let (app, remote) = on_a_network().await;
    let request = app.send_slow(slow(sid(get("/account", &[]), "A"))).await;
    sleep(IDLE / 60 - SECOND).await;
    app.release();
    request.await.unwrap();
    let upload = app.send_slow(slow(sid(post("/upload"), "A"))).await;
    sleep(IDLE / 3 - SECOND).await;
    assert_eq!(remote.renewals(), 0);
    sleep(IDLE).await;
    assert_eq!(remote.renewals(), 3);
    app.release();
    upload.await.unwrap();
    yield_now().await;
    assert_eq!((remote.renewals(), remote.checks()), (4, 2), "and one at its end");
}

#[tokio::test(start_paused = true)]
async fn a_renewal_that_fails_is_made_up_for() {
    let (app, remote) = on_a_network().await;
    let upload = app.send_slow(slow(sid(post("/upload"), "A"))).await;
    sleep(IDLE / 3 - SECOND).await;
    remote.failing.store(1, SeqCst);
    sleep(IDLE * 2).await;
    assert_eq!(remote.failing.load(SeqCst), 0);
    app.release();
    upload.await.unwrap();
    assert!(app.admits("A").await);
}

#[tokio::test(start_paused = true)]
async fn within_a_caches_window_an_upload_is_told_of_as_well() {
    let clock = RuntimeClock::new();
    let remote = Remote::new(clock.clone());
    let app = App::on(CachedStore::new(remote.clone(), IDLE).clock(clock), |builder| builder);
    app.log_in("A").await;
    assert!(app.admits("A").await);
    let checks = remote.checks();
    let upload = app.send_slow(slow(sid(post("/upload"), "A"))).await;
    assert_eq!(remote.checks(), checks, "let in without asking");
    sleep(IDLE * 3).await;
    app.release();
    upload.await.unwrap();
    assert!(app.admits("A").await);
}

/// T04
#[tokio::test(start_paused = true)]
async fn no_telling_brings_back_what_has_ended() {
    let (app, remote) = on_a_network().await;
    let upload = app.send_slow(slow(sid(post("/upload"), "A"))).await;
    sleep(IDLE / 2).await;
    app.send(sid(post("/logout"), "A")).await;
    sleep(IDLE * 2).await;
    assert_eq!(remote.renewals(), 2, "once it is known to be over, nobody is told");
    app.release();
    upload.await.unwrap();
    yield_now().await;
    assert!(!app.admits("A").await);
}

#[tokio::test(start_paused = true)]
async fn a_session_that_is_told_of_ends_at_its_absolute_timeout() {
    let (app, _) = on_a_network().await;
    let upload = app.send_slow(slow(sid(post("/upload"), "A"))).await;
    sleep(ABSOLUTE - SECOND).await;
    assert!(app.admits("A").await);
    sleep(SECOND).await;
    assert_eq!(app.end_reason("A").await, Some(EndReason::Absolute));
    app.release();
    upload.await.unwrap();
    yield_now().await;
    assert!(!app.admits("A").await);
}

#[tokio::test(start_paused = true)]
async fn nobody_is_told_of_a_passive_request() {
    let (app, remote) = on_a_network().await;
    let poll = app.send_slow(slow(sid(get("/poll", &[("session-activity", "passive")]), "A"))).await;
    sleep(IDLE).await;
    app.release();
    poll.await.unwrap();
    yield_now().await;
    assert_eq!(remote.renewals(), 0);
    assert!(!app.admits("A").await);
}

#[tokio::test(start_paused = true)]
async fn that_a_client_went_away_is_told_as_well() {
    let (app, _) = on_a_network().await;
    let upload = app.send_slow(slow(sid(post("/upload"), "A"))).await;
    sleep(IDLE / 4).await;
    upload.abort();
    assert!(upload.await.unwrap_err().is_cancelled());
    yield_now().await;
    sleep(IDLE - SECOND).await;
    assert!(matches!(app.peek("A").await, Decision::Live(_)));
    sleep(SECOND).await;
    assert!(!app.admits("A").await);
}

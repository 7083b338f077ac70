//! A log-in is a proof, not a redirect: what begins both clocks of a live session anew, and what does not.
#![allow(clippy::unchecked_time_subtraction)] // of constants

use std::{sync::Arc, time::Duration};

use crate::{
    servers::redis_server::RedisServer,
    support::{
        ABSOLUTE, App, IDLE, NANO, RuntimeClock, get, header, post, remote::Remote, set_cookie, set_cookies,
        sid, with,
    },
};
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header::LOCATION};
use http_body_util::Full;
use tower_session_timeout::{Decision, EndReason, ManualClock, MemoryStore, RequestHead, Session};
use tower_session_timeout_redis::RedisStore;

const STEP: Duration = Duration::from_secs(600);

/// What many would write: any redirect of a form posted to the log-in page.
fn is_redirect(request: &RequestHead<'_>, answer: &Response<()>) -> bool {
    *request.method() == Method::POST && request.path() == "/login" && answer.status().is_redirection()
}

fn app() -> App {
    App::with(|builder| builder.fresh_login(is_redirect))
}

/// A form posted to the log-in page, answered with a redirect, and with this cookie.
fn login(id: &str, set: Option<&str>) -> Request<Full<Bytes>> {
    let request = with(sid(post("/login"), id), "x-status", "303");
    match set {
        Some(set) => set_cookie(request, &format!("sid={set}")),
        None => request,
    }
}

async fn age(app: &App, id: &str) -> Duration {
    let Decision::Live(live) = app.peek(id).await else { panic!("{id} is over") };
    live.age()
}

/// OWASP ASVS 5.0 §7.2.4
#[tokio::test]
async fn a_new_id_for_a_log_in_begins_both_clocks_anew_under_that_id_alone() {
    let app = app();
    app.log_in("A").await;
    app.advance(IDLE - NANO);
    assert_eq!(set_cookies(&app.send(login("A", Some("B"))).await), ["sid=B"]);
    assert!(!app.admits("A").await);
    assert_eq!(app.end_reason("A").await, Some(EndReason::Superseded));
    assert_eq!(age(&app, "B").await, Duration::ZERO);
    app.send(login("B", Some("C"))).await;
    assert!(!app.admits("B").await, "as often as somebody logs in");
    assert!(app.admits("C").await);
}

/// A store that is asked over a network, and Redis.
#[tokio::test]
async fn a_new_id_is_a_log_in_and_a_known_one_is_none_whatever_the_store() {
    let server = RedisServer::start(&[]).await;
    let clock = ManualClock::new();
    let redis = RedisStore::new(server.connect().await).clock(clock.clone());
    let mut remote = Remote::new(RuntimeClock::new());
    remote.store = Arc::new(MemoryStore::new().clock(clock.clone()));
    for app in [
        App::on(redis, |builder| builder.fresh_login(is_redirect)),
        App::on(remote, |builder| builder.fresh_login(is_redirect)),
    ] {
        app.log_in("A").await;
        clock.advance(STEP);
        app.send(login("A", Some("A"))).await;
        assert_eq!(age(&app, "A").await, STEP);
        assert_eq!(set_cookies(&app.send(login("A", Some("B"))).await), ["sid=B"]);
        assert_eq!(age(&app, "B").await, Duration::ZERO);
        assert_eq!(app.end_reason("A").await, Some(EndReason::Superseded));
        clock.advance(STEP);
        app.send(set_cookie(sid(get("/account", &[]), "B"), "sid=C")).await;
        app.send(login("C", Some("D"))).await;
        assert_eq!(age(&app, "D").await, STEP);
    }
}

/// Django's `redirect_authenticated_user`, Laravel's `guest`, and `if user in session: redirect`.
#[tokio::test]
async fn a_redirect_of_a_user_who_is_signed_in_already_begins_no_clock_anew() {
    for set in [None, Some("A")] {
        let app = app();
        app.log_in("A").await;
        for n in 1..ABSOLUTE.as_secs() / STEP.as_secs() {
            app.advance(STEP);
            assert_eq!(app.send(login("A", set)).await.status(), StatusCode::SEE_OTHER, "{n} {set:?}");
        }
        app.advance(STEP - NANO);
        assert!(app.admits("A").await);
        app.advance(NANO);
        assert!(!app.admits("A").await);
        assert_eq!(app.end_reason("A").await, Some(EndReason::Absolute), "{set:?}");
    }
}

#[tokio::test]
async fn a_wrong_password_posted_by_a_live_session_begins_no_clock_anew() {
    let app = app();
    app.log_in("A").await;
    for n in 1..ABSOLUTE.as_secs() / STEP.as_secs() {
        app.advance(STEP);
        let failed = with(set_cookie(sid(post("/login"), "A"), "sid=A"), "x-status", "401");
        assert_eq!(app.send(failed).await.status(), StatusCode::UNAUTHORIZED, "{n}");
    }
    app.advance(STEP);
    assert!(!app.admits("A").await);
    assert_eq!(app.end_reason("A").await, Some(EndReason::Absolute));
}

#[tokio::test]
async fn an_id_the_session_has_had_before_is_no_new_one() {
    let app = app();
    app.log_in("A").await;
    app.send(set_cookie(sid(post("/settings"), "A"), "sid=B")).await;
    app.advance(STEP);
    let answer = app.send(login("A", Some("B"))).await;
    assert_eq!(set_cookies(&answer), ["sid=B"], "it is an id of the session, and may leave");
    assert_eq!(age(&app, "B").await, STEP);
}

/// Signed and encrypted sessions: each answer sets another value, a redirect from the log-in page, too.
#[tokio::test]
async fn where_each_answer_brings_a_new_id_none_is_a_log_in() {
    let app = app();
    app.log_in("v0").await;
    app.send(set_cookie(sid(get("/account", &[]), "v0"), "sid=v1")).await;
    for n in 1..ABSOLUTE.as_secs() / STEP.as_secs() {
        app.advance(STEP);
        let answer = app.send(login(&format!("v{n}"), Some(&format!("v{}", n + 1)))).await;
        assert_eq!(set_cookies(&answer), [format!("sid=v{}", n + 1)], "the session goes on under it");
    }
    app.advance(STEP);
    let last = format!("v{}", ABSOLUTE.as_secs() / STEP.as_secs());
    assert!(!app.admits(&last).await);
    assert_eq!(app.end_reason(&last).await, Some(EndReason::Absolute));
}

/// Whoever never looks at a page shows nothing of that; others do.
#[tokio::test]
async fn what_one_session_shows_of_an_application_holds_for_all() {
    let app = app();
    app.log_in("theirs").await;
    app.log_in("v0").await;
    app.advance(STEP);
    app.send(set_cookie(sid(get("/account", &[]), "theirs"), "sid=theirs-2")).await;
    app.send(login("v0", Some("v1"))).await;
    assert_eq!(age(&app, "v1").await, STEP);
}

/// Many frameworks change the id with the password. That is no log-in, and shows nothing of the application.
#[tokio::test]
async fn an_id_that_changes_with_a_form_matters_to_its_own_session_alone() {
    let app = app();
    app.log_in("A").await;
    app.log_in("X").await;
    app.advance(STEP);
    app.send(set_cookie(sid(post("/password"), "A"), "sid=B")).await;
    app.send(login("B", Some("C"))).await;
    assert_eq!(age(&app, "C").await, STEP, "it changes, so a new one proves nothing");
    app.send(login("X", Some("Y"))).await;
    assert_eq!(age(&app, "Y").await, Duration::ZERO);
}

#[tokio::test]
async fn an_announced_log_in_counts_where_ids_change_with_every_answer() {
    let app = app();
    app.log_in("v0").await;
    app.send(set_cookie(sid(get("/account", &[]), "v0"), "sid=v1")).await;
    app.advance(STEP);
    let answer = app.send(with(login("v1", Some("v2")), "x-login", "alice")).await;
    assert_eq!(set_cookies(&answer), ["sid=v2"]);
    assert_eq!(age(&app, "v2").await, Duration::ZERO);
    assert!(!app.admits("v1").await, "old ids end at once");
    assert_eq!(header(&app.visit("v2").await, "x-session"), "alice");
}

#[tokio::test]
async fn whoever_describes_a_log_in_sees_the_requests_session_and_the_answer() {
    let app = App::with(|builder| {
        builder.fresh_login(|request, answer| {
            let session = request.extensions().get::<Session>().expect("asked for live sessions only");
            session.owner().is_none() && answer.headers().contains_key(LOCATION)
                || answer.status() == StatusCode::CREATED
        })
    });
    app.log_in("A").await;
    app.advance(STEP);
    app.send(with(set_cookie(sid(post("/login"), "A"), "sid=B"), "x-status", "201")).await;
    assert_eq!(age(&app, "B").await, Duration::ZERO);
}

#[tokio::test]
async fn a_slow_recognized_log_in_does_not_undo_a_log_out() {
    let app = app();
    app.log_in("A").await;
    let slow_login = app.send_slow(with(login("A", Some("B")), "x-slow", "1")).await;
    app.send(sid(post("/logout"), "A")).await;
    app.release();
    assert!(set_cookies(&slow_login.await.unwrap()).is_empty());
    assert!(!app.admits("B").await);
}

/// A password was changed, all sessions ended, and its user logged in anew in one answer.
#[tokio::test]
async fn an_announced_log_in_after_all_the_owners_sessions_ended_is_kept() {
    let app = App::new();
    app.send(with(set_cookie(post("/login"), "sid=A"), "x-login", "alice")).await;
    let request = with(set_cookie(sid(post("/password"), "A"), "sid=B"), "x-say", "end_all");
    assert_eq!(set_cookies(&app.send(with(request, "x-login", "alice")).await), ["sid=B"]);
    assert!(!app.admits("A").await);
    assert!(app.admits("B").await);
}

#[cfg(feature = "tracing")]
#[tokio::test]
async fn a_log_in_that_is_not_believed_is_told_once() {
    let (log, _guard) = crate::support::log::Log::listen();
    let app = app();
    app.log_in("A").await;
    app.send(login("A", Some("B"))).await;
    assert_eq!(log.lines_with("fresh_login"), 0);
    app.send(set_cookie(sid(get("/account", &[]), "B"), "sid=C")).await;
    for set in ["D", "E", "F"] {
        app.send(login("C", Some(set))).await;
    }
    assert_eq!(log.lines_with("`fresh_login` has no effect"), 1);
}

/// A double click: the browser has thrown the first answer away.
#[tokio::test]
async fn a_log_in_form_sent_twice_logs_in() {
    for is_announced in [true, false] {
        let app = app();
        app.log_in("VISITOR").await;
        app.advance(STEP);
        let form = |id, gate| {
            let request = with(login("VISITOR", Some(id)), "x-slow", gate);
            if is_announced { with(request, "x-login", "ada") } else { request }
        };
        let first = app.send_slow(form("ONE", "1")).await;
        let second = app.send_slow(form("TWO", "2")).await;
        app.release_named("1");
        assert_eq!(set_cookies(&first.await.unwrap()), ["sid=ONE"]);
        app.release_named("2");
        assert_eq!(set_cookies(&second.await.unwrap()), ["sid=TWO"], "{is_announced}");
        assert_eq!(age(&app, "TWO").await, Duration::ZERO);
        assert_eq!(app.end_reason("VISITOR").await, Some(EndReason::Superseded));
    }
}

/// What `fresh_login` takes for a log-in may be an application's that sends on who is signed in already.
#[tokio::test]
async fn a_late_answer_brings_no_known_id_back_whatever_fresh_login_says() {
    for end in ["log-in", "log-out", "clock"] {
        let app = app();
        app.log_in("A").await;
        let late = app.send_slow(with(login("A", Some("A")), "x-slow", "1")).await;
        match end {
            "log-in" => drop(app.send(login("A", Some("B"))).await),
            "log-out" => drop(app.send(sid(post("/logout"), "A")).await),
            _ => app.advance(ABSOLUTE),
        }
        app.release();
        assert!(set_cookies(&late.await.unwrap()).is_empty(), "{end}");
        assert!(!app.admits("A").await, "{end}");
    }
}

#[tokio::test]
async fn a_log_in_whose_user_has_signed_out_meanwhile_is_dropped() {
    for is_announced in [true, false] {
        let app = app();
        app.log_in("A").await;
        let mut request = with(login("A", Some("B")), "x-slow", "1");
        if is_announced {
            request = with(request, "x-login", "ada");
        }
        let late = app.send_slow(request).await;
        app.send(sid(post("/logout"), "A")).await;
        app.release();
        assert!(set_cookies(&late.await.unwrap()).is_empty());
        assert!(!app.admits("B").await);
    }
}

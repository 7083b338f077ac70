//! A session ends after the idle timeout, and after the absolute one.
#![allow(clippy::unchecked_time_subtraction)] // of constants

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use crate::support::{self, ABSOLUTE, App, IDLE, NANO, get, post, set_cookie, sid};
use bytes::Bytes;
use http::StatusCode;
use http_body_util::{BodyExt, Full};
use tower::{Layer, ServiceExt};
use tower_session_timeout::{
    Decision, EndReason, Limits, ManualClock, MemoryStore, NewSession, Session, SessionId,
    SessionTimeoutLayer, Store,
    contract::{Access, Answer, Policy},
};

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_session_in_use_outlives_the_idle_timeout() {
    let app = App::new();
    app.log_in("A").await;
    for _ in 0..10 {
        app.advance(IDLE - NANO);
        assert!(app.admits("A").await);
    }
}

/// T07
#[tokio::test]
async fn the_idle_boundary_itself_is_over() {
    let app = App::new();
    app.log_in("A").await;
    app.log_in("B").await;
    app.advance(IDLE - NANO);
    assert!(app.admits("A").await);
    app.advance(NANO);
    assert!(!app.admits("B").await);
    assert_eq!(app.end_reason("B").await, Some(EndReason::Idle));
}

/// T09
#[tokio::test]
async fn activity_does_not_move_the_absolute_timeout() {
    let app = App::new();
    app.log_in("A").await;
    for _ in 1..8 * 60 {
        app.advance(MINUTE);
        assert!(app.admits("A").await);
    }
    app.advance(MINUTE - NANO);
    assert!(app.admits("A").await);
    app.advance(NANO);
    assert!(!app.admits("A").await);
    assert_eq!(app.end_reason("A").await, Some(EndReason::Absolute));
}

/// T08
#[tokio::test]
async fn a_renewal_just_before_the_absolute_timeout_does_not_make_immortal() {
    let app = App::with(|builder| builder.absolute_timeout(IDLE + Duration::from_millis(500)));
    app.log_in("A").await;
    app.advance(IDLE - NANO);
    assert!(app.admits("A").await);
    app.advance(Duration::from_millis(500));
    assert!(app.admits("A").await);
    app.advance(NANO);
    assert!(!app.admits("A").await);
}

#[tokio::test]
async fn without_an_absolute_timeout_use_keeps_a_session() {
    let app = App::with(|builder| builder.absolute_timeout(None));
    app.log_in("A").await;
    for _ in 0..1000 {
        app.advance(IDLE - NANO);
        assert!(app.admits("A").await);
    }
}

/// T01, T02: nobody sweeps, somebody swept: over is over.
#[tokio::test]
async fn an_expired_id_stays_over_before_and_after_its_record_is_swept() {
    let app = App::new();
    app.log_in("A").await;
    app.advance(IDLE);
    assert!(!app.admits("A").await);
    app.advance(Duration::from_secs(3600));
    app.store.sweep();
    assert!(app.store.is_empty());
    assert!(!app.admits("A").await);
    assert_eq!(app.end_reason("A").await, Some(EndReason::Unknown));
    assert!(app.store.is_empty(), "a refused id leaves no record");
}

/// T01
#[tokio::test]
async fn a_made_up_id_is_over_and_leaves_nothing_behind() {
    let app = App::new();
    for made_up in ["X", "admin", "00000000-0000-0000-0000-000000000000"] {
        assert!(!app.admits(made_up).await);
        assert!(!app.admits(made_up).await);
    }
    assert!(app.store.is_empty());
    assert_eq!(app.calls(), 0);
}

/// T06: whatever order they come in, refused is not followed by admitted, though time passes between them.
#[test]
fn parallel_requests_at_the_deadline_never_see_refused_then_admitted() {
    let policy = Policy::new(Limits::idle_only(IDLE));
    for _ in 0..200 {
        let clock = ManualClock::new();
        let store = MemoryStore::new().clock(clock.clone());
        drop(store.start(&SessionId::from("A"), &NewSession::new(), &policy));
        clock.advance(IDLE - NANO * 100);
        let is_refused = AtomicBool::new(false);
        std::thread::scope(|threads| {
            for _ in 0..3 {
                threads.spawn(|| {
                    for _ in 0..100 {
                        let was_refused = is_refused.load(SeqCst);
                        clock.advance(NANO);
                        match store.check(&SessionId::from("A"), &policy, Access::Peek) {
                            Answer::Ready(Ok(Decision::Live(_))) => assert!(!was_refused),
                            Answer::Ready(Ok(_)) => is_refused.store(true, SeqCst),
                            other => panic!("{other:?}"),
                        }
                    }
                });
            }
        });
        assert!(is_refused.into_inner(), "the deadline was passed");
    }
}

/// T17: records keep instants, not deadlines; the same store under a stricter layer.
#[tokio::test]
async fn shortened_limits_bind_sessions_that_live_already() {
    let app = App::in_memory_with(|builder| builder.idle_timeout(MINUTE * 60));
    app.log_in("A").await;
    app.advance(MINUTE * 20);
    let stricter = SessionTimeoutLayer::builder()
        .cookie("sid")
        .idle_timeout(MINUTE * 15)
        .store(Arc::clone(&app.store))
        .build()
        .unwrap();
    let stricter = App::around(stricter, app.clock.clone(), Arc::clone(&app.store));
    assert_eq!(stricter.end_reason("A").await, Some(EndReason::Idle));
    assert!(matches!(app.peek("A").await, Decision::Live(_)), "a look ends nothing for a laxer layer (I10)");
    assert!(!stricter.admits("A").await);
    assert!(!app.admits("A").await, "what was refused for good is over for every layer (T17b)");
}

#[tokio::test]
async fn a_session_with_limits_of_its_own_follows_those() {
    let app = App::new();
    let remember_me = Limits::new(MINUTE * 60 * 24, MINUTE * 60 * 24 * 30);
    let sessions = app.layer.sessions();
    sessions.start(&SessionId::from("A"), &NewSession::new().limits(remember_me)).await.unwrap();
    app.advance(MINUTE * 60 * 24 - NANO);
    app.store.sweep();
    assert!(app.admits("A").await);
    app.advance(MINUTE * 60 * 24);
    assert!(!app.admits("A").await);
}

/// As a log-in says it in its answer; and a cap for all binds it, without an end to it.
#[tokio::test]
async fn remember_me_has_limits_of_its_own_and_a_cap_for_all_binds_them() {
    let (day, month) = (MINUTE * 60 * 24, MINUTE * 60 * 24 * 30);
    let clock = ManualClock::new();
    let store = Arc::new(MemoryStore::new().clock(clock.clone()));
    let layer = |cap: Option<Limits>| {
        SessionTimeoutLayer::builder()
            .cookie("sid")
            .store(Arc::clone(&store))
            .limits_for(move |_| cap)
            .build()
            .unwrap()
    };
    let login = layer(None).layer(tower::service_fn(|_| async {
        let mut response = http::Response::new(Full::<Bytes>::default());
        response.headers_mut().insert("set-cookie", http::HeaderValue::from_static("sid=A"));
        response.extensions_mut().insert(NewSession::new().limits(Limits::new(month, month)));
        Ok::<_, std::convert::Infallible>(response)
    }));
    login.oneshot(post("/login")).await.unwrap();
    let uncapped = App::around(layer(None), clock.clone(), Arc::clone(&store));
    let capped = App::around(layer(Some(Limits::new(day, day * 7))), clock, store);
    capped.advance(day - NANO);
    assert!(capped.admits("A").await);
    capped.advance(day);
    assert!(!capped.admits("A").await);
    assert!(uncapped.admits("A").await);
    assert!(capped.admits("A").await, "renewed elsewhere");
    for _ in 0..5 {
        uncapped.advance(day);
        assert!(uncapped.admits("A").await);
    }
    capped.advance(NANO);
    assert!(!capped.admits("A").await, "seven days old");
    assert!(uncapped.admits("A").await);
    uncapped.advance(month);
    assert!(!uncapped.admits("A").await);
}

#[tokio::test]
async fn a_session_authenticated_earlier_elsewhere_has_that_much_less() {
    let app = App::new();
    let sessions = app.layer.sessions();
    sessions.start(&SessionId::from("A"), &NewSession::new().age(ABSOLUTE - MINUTE)).await.unwrap();
    assert!(app.admits("A").await);
    app.advance(MINUTE);
    assert!(!app.admits("A").await);
    assert_eq!(app.end_reason("A").await, Some(EndReason::Absolute));
}

#[tokio::test]
async fn a_cap_refuses_the_request_and_spares_the_session() {
    let admin = Limits::idle_only(MINUTE * 5);
    let app = App::with(|builder| {
        builder.limits_for(move |head| head.path().starts_with("/admin/").then_some(admin))
    });
    app.log_in("A").await;
    app.advance(MINUTE * 5);
    let response = app.send(sid(get("/admin/users", &[("sec-fetch-mode", "navigate")]), "A")).await;
    assert_eq!(response.status(), StatusCode::SEE_OTHER);
    assert!(!support::removes_cookie(&response), "the session lives on");
    assert!(app.admits("A").await);
    let response = app.send(sid(get("/admin/users", &[]), "A")).await;
    assert_eq!(response.status(), StatusCode::OK, "renewed elsewhere");
}

/// A page that counts down counts to the end of what it shows.
#[tokio::test]
async fn what_remains_is_told_by_the_requests_limits() {
    let app = App::with(|builder| {
        builder.limits_for(|head| match head.path() {
            "/admin" => Some(Limits::new(MINUTE * 5, MINUTE * 60)),
            "/slow" => Some(Limits::idle_only(IDLE * 2)),
            _ => None,
        })
    });
    app.log_in("A").await;
    let service = app.layer.layer(tower::service_fn(|request: http::Request<Full<Bytes>>| async move {
        let remaining = request.extensions().get::<Session>().unwrap().remaining();
        Ok::<_, std::convert::Infallible>(http::Response::new(Full::from(remaining.as_secs().to_string())))
    }));
    let remaining = async |path| {
        let response = service.clone().oneshot(sid(get(path, &[]), "A")).await.unwrap();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        Duration::from_secs(str::from_utf8(&body).unwrap().parse().unwrap())
    };
    app.advance(MINUTE);
    assert_eq!(remaining("/admin").await, MINUTE * 5);
    assert_eq!(remaining("/account").await, IDLE);
    assert_eq!(remaining("/slow").await, IDLE, "they may only shorten");
    for _ in 0..14 {
        app.advance(MINUTE * 4);
        assert!(app.admits("A").await);
    }
    assert_eq!(remaining("/admin").await, MINUTE * 3, "57 minutes old");
}

/// `limits_for` may only shorten.
/// T145: nor if it were a client who chose it.
#[tokio::test]
async fn a_cap_wider_than_the_limits_extends_nothing() {
    let app = App::with(|builder| builder.limits_for(|_| Some(Limits::idle_only(Duration::MAX))));
    app.log_in("A").await;
    app.advance(IDLE);
    assert!(!app.admits("A").await);
}

/// T94: no arithmetic overflows, whatever limits and ages are.
#[tokio::test]
async fn extreme_limits_and_ages_saturate() {
    let clock = ManualClock::new();
    let store = Arc::new(MemoryStore::new().clock(clock.clone()));
    let layer = SessionTimeoutLayer::builder()
        .cookie("sid")
        .idle_timeout(Duration::MAX)
        .absolute_timeout(Duration::MAX)
        .allow_beyond_400_days()
        .store(Arc::clone(&store))
        .build()
        .unwrap();
    let app = App::around(layer, clock, store);
    app.log_in("A").await;
    let sessions = app.layer.sessions();
    sessions.start(&SessionId::from("old"), &NewSession::new().age(Duration::MAX)).await.unwrap();
    sessions
        .start(&SessionId::from("own"), &NewSession::new().limits(Limits::idle_only(Duration::MAX)))
        .await
        .unwrap();
    for _ in 0..3 {
        app.advance(Duration::MAX);
        assert!(app.admits("A").await);
        assert!(app.admits("old").await);
        assert!(app.admits("own").await);
        app.store.sweep();
    }
    let response = app.send(set_cookie(post("/logout"), "sid=; Max-Age=-99999999999999999999")).await;
    assert_eq!(response.status(), StatusCode::OK);
}

#[tokio::test]
async fn remaining_is_what_is_enforced() {
    let app = App::new();
    app.log_in("A").await;
    app.advance(MINUTE);
    let Decision::Live(live) = app.peek("A").await else { panic!("live") };
    assert_eq!(live.idle_for(), MINUTE);
    assert_eq!(live.remaining().shortest(), IDLE - MINUTE);
    assert_eq!(live.remaining().absolute, Some(ABSOLUTE - MINUTE));
    app.advance(live.remaining().shortest() - NANO);
    assert!(matches!(app.peek("A").await, Decision::Live(_)), "I10: the look before changed nothing");
    app.advance(NANO);
    assert!(!app.admits("A").await);
}

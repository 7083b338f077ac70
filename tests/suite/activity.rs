//! Which requests keep a session alive: T73–T75.
#![allow(clippy::unchecked_time_subtraction)] // of constants

use crate::support::{self, App, IDLE, NANO, get, header, set_cookies, sid};
use http::{Method, StatusCode};

/// Whether such a request, halfway through, makes a session outlive its idle timeout.
async fn renews(path: &str, headers: &[(&str, &str)], method: Method) -> bool {
    let app = App::with(|builder| {
        builder
            .passive_paths(["/poll"])
            .passive_paths(["/metrics/"])
            .passive_if(|head| head.headers().contains_key("x-poll"))
            .passive_if(|head| head.path() == "/heartbeat")
    });
    app.log_in("A").await;
    app.advance(IDLE / 2);
    let mut request = sid(get(path, headers), "A");
    *request.method_mut() = method;
    let response = app.send(request).await;
    assert_eq!(response.status(), StatusCode::OK, "a live session's request passes, passive or not");
    assert_eq!(header(&response, "x-session"), "nobody");
    app.advance(IDLE / 2);
    app.admits("A").await
}

#[tokio::test]
async fn requests_of_every_method_renew() {
    for method in [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::DELETE, Method::PATCH] {
        assert!(renews("/account", &[], method.clone()).await, "{method}");
    }
    for status in ["404", "500", "401", "302"] {
        let app = App::new();
        app.log_in("A").await;
        app.advance(IDLE - NANO);
        app.send(support::with(sid(get("/account", &[]), "A"), "x-status", status)).await;
        app.advance(IDLE - NANO);
        assert!(app.admits("A").await, "also when answered {status}: the user was there");
    }
}

#[tokio::test]
async fn passive_requests_do_not_renew() {
    let passive: &[(&str, &[(&str, &str)])] = &[
        ("/poll", &[]),
        ("/poll?since=5", &[]),
        ("/metrics/cpu", &[]),
        ("/heartbeat", &[]),
        ("/account", &[("x-poll", "1")]),
        ("/account", &[("session-activity", "passive")]),
        ("/account", &[("session-activity", "Passive")]),
        ("/account", &[("sec-purpose", "prefetch")]),
        ("/account", &[("sec-purpose", "prefetch;prerender")]),
        ("/account", &[("sec-purpose", "prefetch;anonymous-client-ip")]),
        ("/account", &[("purpose", "prefetch")]),
        ("/events", &[("last-event-id", "17"), ("accept", "text/event-stream")]),
        // One without ids says by nothing else that it reconnects.
        ("/events", &[("accept", "text/event-stream")]),
        ("/events", &[("accept", " Text/Event-Stream ")]),
        ("/events", &[("accept", "text/event-stream;q=1")]),
        ("/account", &[("purpose", "Prefetch")]),
        ("/account", &[("session-activity", ""), ("session-activity", "passive")]),
        ("/account", &[("session-activity", "active, passive")]),
        ("/account", &[("sec-purpose", "none"), ("sec-purpose", "prefetch")]),
        ("/account", &[("purpose", ""), ("purpose", "prefetch")]),
    ];
    for (path, headers) in passive {
        assert!(!renews(path, headers, Method::GET).await, "{path} {headers:?}");
    }
    assert!(!renews("/account", &[], Method::OPTIONS).await);
}

#[tokio::test]
async fn what_only_looks_passive_renews() {
    let active: &[(&str, &[(&str, &str)])] = &[
        ("/polls", &[]),
        ("/poll/", &[]),
        ("/a/poll", &[]),
        ("/metrics", &[]),
        ("/account", &[("session-activity", "active")]),
        ("/account", &[("sec-purpose", "prefetching")]),
        ("/account", &[("purpose", "")]),
        ("/account", &[("x-original-url", "/poll")]),
        ("/account", &[("accept", "text/event-stream, text/html")]),
        ("/account", &[("accept", "application/json, text/event-stream")]),
        ("/account", &[("accept", "text/event-stream"), ("accept", "*/*")]),
        ("/account", &[("accept", "text/event-streams")]),
        ("/account", &[("accept", "*/*")]),
        ("/account", &[("accept", "")]),
    ];
    for (path, headers) in active {
        assert!(renews(path, headers, Method::GET).await, "{path} {headers:?}");
    }
    // A user sends it (a prompt, say), and an EventSource never does.
    for method in [Method::POST, Method::PUT] {
        assert!(renews("/chat", &[("accept", "text/event-stream")], method).await);
    }
}

/// T73
#[tokio::test]
async fn polling_for_ten_times_the_idle_timeout_keeps_nothing_alive() {
    let app = App::with(|builder| builder.passive_paths(["/poll"]));
    app.log_in("A").await;
    let mut admitted = 0;
    for _ in 0..100 {
        app.advance(IDLE / 10);
        let response = app.send(sid(get("/poll", &[]), "A")).await;
        admitted += usize::from(response.status() == StatusCode::OK);
    }
    assert_eq!(admitted, 9);
}

/// T74
#[tokio::test]
async fn a_passive_request_is_refused_when_the_session_is_over() {
    let app = App::with(|builder| builder.passive_paths(["/poll"]));
    app.log_in("A").await;
    app.advance(IDLE);
    let response = app.send(sid(get("/poll", &[]), "A")).await;
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(header(&response, "session-ended"), "idle");
}

/// T75: a prefetch has no side effects, not even on a dead session's cookie.
#[tokio::test]
async fn an_expired_prefetch_hears_401_and_loses_no_cookie() {
    let app = App::new();
    let headers = [("sec-purpose", "prefetch"), ("sec-fetch-mode", "navigate"), ("accept", "text/html")];
    let response = app.send(sid(get("/account", &headers), "X")).await;
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert!(set_cookies(&response).is_empty());
}

/// T62
#[tokio::test]
async fn options_passes_without_a_session_and_with_a_dead_one() {
    let app = App::new();
    for cookie in [None, Some("sid=X")] {
        let mut request = get("/account", &[("access-control-request-method", "POST")]);
        *request.method_mut() = Method::OPTIONS;
        if let Some(cookie) = cookie {
            request = support::with(request, "cookie", cookie);
        }
        let response = app.send(request).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert!(response.body().is_empty(), "the dead id did not go on");
    }
}

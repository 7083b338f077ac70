//! Tokens that were issued elsewhere and verified: the store has not seen their sessions begin.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use crate::support::{ABSOLUTE, App, IDLE, NANO, get, header};
use http::{Extensions, HeaderMap, HeaderName, StatusCode, header::AUTHORIZATION};
use http_body_util::Full;
use tower::{Layer, Service};
use tower_session_timeout::{
    EndReason, ExtractSessionId, Found, MemoryStore, NewSession, Owner, RequestHead, SessionEvent, SessionId,
    SessionTimeoutBuilder, SessionTimeoutLayer, VerifiedId,
};

const MINUTE: Duration = Duration::from_secs(60);

/// Tokens say it all, as `sid/authenticated seconds ago/owner`.
struct Tokens;

impl ExtractSessionId for Tokens {
    fn extract<'a>(&self, head: &RequestHead<'a>) -> Found<'a> {
        let Some(token) = head.headers().get(AUTHORIZATION) else { return Found::Nothing };
        let [sid, ago, owner] = token.to_str().unwrap().split('/').collect::<Vec<_>>()[..] else {
            return Found::Unusable;
        };
        let ago = Duration::from_nanos(ago.parse().unwrap());
        Found::Verified(VerifiedId::new(SessionId::from(sid), ago).owner(owner))
    }

    fn remove(&self, headers: &mut HeaderMap, _: &mut Extensions) {
        headers.remove(AUTHORIZATION);
    }

    fn vary(&self) -> Vec<HeaderName> {
        vec![AUTHORIZATION]
    }
}

fn app() -> App {
    App::without_cookie(verified)
}

fn verified(builder: SessionTimeoutBuilder) -> SessionTimeoutBuilder {
    builder.session_id(Tokens)
}

async fn send(app: &App, sid: &str, authenticated_ago: Duration) -> http::Response<bytes::Bytes> {
    let token = format!("{sid}/{}/alice", authenticated_ago.as_nanos());
    app.send(get("/account", &[("authorization", &token)])).await
}

async fn status(app: &App, sid: &str, authenticated_ago: Duration) -> StatusCode {
    send(app, sid, authenticated_ago).await.status()
}

#[tokio::test]
async fn a_fresh_token_begins_its_session_with_its_owner() {
    let app = app();
    let response = send(&app, "A", MINUTE).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(header(&response, "x-session"), "alice");
    app.advance(IDLE.saturating_sub(NANO));
    assert_eq!(status(&app, "A", IDLE + MINUTE).await, StatusCode::OK, "in use since");
    app.advance(IDLE);
    assert_eq!(status(&app, "A", IDLE).await, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn the_session_a_token_begins_is_told_once() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&told);
    let app = App::without_cookie(|builder| {
        verified(builder).on_event(move |event| {
            if let SessionEvent::Started { owner: Some(owner), .. } = event {
                sink.lock().unwrap().push(owner.as_str().to_owned());
            }
        })
    });
    for ago in [MINUTE, MINUTE * 2, IDLE] {
        send(&app, "A", ago).await;
        send(&app, "too old", IDLE).await;
    }
    assert_eq!(*told.lock().unwrap(), ["alice"]);
}

#[tokio::test]
async fn a_token_authenticated_an_idle_timeout_ago_begins_nothing() {
    let app = app();
    assert_eq!(status(&app, "A", IDLE).await, StatusCode::UNAUTHORIZED);
    assert_eq!(app.calls(), 0);
    assert!(app.store.is_empty());
    assert_eq!(status(&app, "A", IDLE.saturating_sub(NANO)).await, StatusCode::OK);
}

/// Its absolute clock started when the user was authenticated, whatever the token's later issue instants are.
#[tokio::test]
async fn the_absolute_timeout_counts_from_the_authentication() {
    let app = app();
    let mut age = MINUTE * 10;
    while age < ABSOLUTE {
        assert_eq!(status(&app, "A", age).await, StatusCode::OK);
        app.advance(MINUTE * 10);
        age += MINUTE * 10;
    }
    assert_eq!(status(&app, "A", MINUTE).await, StatusCode::UNAUTHORIZED);
    assert_eq!(app.end_reason("A").await, Some(EndReason::Absolute));
}

/// Passive requests leave the idle clock where the authentication started it.
#[tokio::test]
async fn a_session_begun_by_polling_alone_is_idle_since_the_authentication() {
    let app = app();
    let poll = |ago: Duration| {
        let token = format!("A/{}/alice", ago.as_nanos());
        get("/poll", &[("authorization", &token), ("session-activity", "passive")])
    };
    assert_eq!(app.send(poll(MINUTE * 5)).await.status(), StatusCode::OK);
    app.advance(IDLE.saturating_sub(MINUTE * 5 + NANO));
    assert_eq!(app.send(poll(MINUTE)).await.status(), StatusCode::OK);
    app.advance(NANO);
    assert_eq!(app.send(poll(MINUTE)).await.status(), StatusCode::UNAUTHORIZED);
}

/// The end of a session is remembered for as long as a token of it could begin it anew; so no memory for other
/// endings, which last five minutes, may cut it short.
#[tokio::test]
async fn what_was_ended_is_not_adopted_again_however_often_the_store_is_swept() {
    let app = app();
    assert_eq!(status(&app, "A", Duration::ZERO).await, StatusCode::OK);
    assert_eq!(app.layer.sessions().end_all(&Owner::from("alice"), None).await.unwrap(), 1);
    for minute in 0..15 {
        let ago = MINUTE * minute;
        assert_eq!(status(&app, "A", ago).await, StatusCode::UNAUTHORIZED, "after {minute} minutes");
        app.advance(MINUTE);
        app.store.sweep();
    }
    assert!(app.store.is_empty(), "and then it is forgotten");
    assert_eq!(status(&app, "A", MINUTE * 15).await, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_full_store_of_remembered_endings_adopts_nobody() {
    let app = App::in_memory_without_cookie(MemoryStore::new().capacity(2), verified);
    assert_eq!(status(&app, "A", Duration::ZERO).await, StatusCode::OK);
    assert_eq!(status(&app, "B", Duration::ZERO).await, StatusCode::OK);
    app.layer.sessions().end_all(&Owner::from("alice"), None).await.unwrap();
    app.advance(MINUTE * 6);
    assert_eq!(status(&app, "C", Duration::ZERO).await, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(status(&app, "A", Duration::ZERO).await, StatusCode::UNAUTHORIZED, "still remembered");
    app.advance(IDLE);
    assert_eq!(status(&app, "C", Duration::ZERO).await, StatusCode::OK);
}

#[tokio::test]
async fn a_session_nobody_has_seen_can_be_ended_by_beginning_it() {
    let app = app();
    let (sessions, id) = (app.layer.sessions(), SessionId::from("A"));
    sessions.start(&id, &NewSession::new()).await.unwrap();
    assert!(sessions.end(&id).await.unwrap());
    for minute in 0..15 {
        assert_eq!(status(&app, "A", MINUTE * minute).await, StatusCode::UNAUTHORIZED, "{minute}");
        app.advance(MINUTE);
        app.store.sweep();
    }
    assert!(app.store.is_empty());
}

/// An end is remembered for as long as any layer on the store could adopt its token, whichever layer it ended under.
#[tokio::test]
async fn what_ended_under_a_stricter_layer_is_not_adopted_by_a_laxer_one() {
    let strict = App::in_memory_without_cookie(MemoryStore::new(), verified);
    let lax = verified(SessionTimeoutLayer::builder().idle_timeout(IDLE * 4).absolute_timeout(ABSOLUTE));
    let lax = lax.store(Arc::clone(&strict.store)).build().unwrap();
    let lax = App::around(lax, strict.clock.clone(), Arc::clone(&strict.store));
    assert_eq!(status(&strict, "A", Duration::ZERO).await, StatusCode::OK);
    strict.layer.sessions().end_all(&Owner::from("alice"), None).await.unwrap();
    for minute in 0..60 {
        assert_eq!(status(&lax, "A", MINUTE * minute).await, StatusCode::UNAUTHORIZED, "{minute}");
        strict.advance(MINUTE);
        strict.store.sweep();
    }
    assert!(strict.store.is_empty(), "no token of it is fresh to anybody any more");
}

/// An id alone, as a cookie is, is never adopted.
#[tokio::test]
async fn an_unverified_id_begins_nothing() {
    let app = App::without_cookie(SessionTimeoutBuilder::bearer);
    let request = get("/account", &[("authorization", "Bearer A")]);
    assert_eq!(app.send(request).await.status(), StatusCode::UNAUTHORIZED);
    assert!(app.store.is_empty());
}

/// T125: a request that is never answered holds nothing, wherever it was given up.
#[tokio::test]
async fn a_request_that_is_dropped_at_once_holds_no_session() {
    let app = app();
    assert_eq!(status(&app, "A", Duration::ZERO).await, StatusCode::OK);
    let inner = tower::service_fn(|_: http::Request<Full<bytes::Bytes>>| {
        std::future::pending::<Result<http::Response<Full<bytes::Bytes>>, std::convert::Infallible>>()
    });
    let mut service = app.layer.layer(inner);
    drop(service.call(get("/account", &[("authorization", "A/0/alice")])));
    app.advance(IDLE);
    assert_eq!(app.end_reason("A").await, Some(EndReason::Idle));
}

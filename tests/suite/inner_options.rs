//! A layer inside another one for the same cookie: what it may be told, and what has no effect there.
#![cfg(feature = "client")]
#![allow(clippy::unchecked_time_subtraction)] // of constants

use std::{convert::Infallible, sync::Arc, time::Duration};

use crate::support::{RuntimeClock, get, header, post, sid, with};
use bytes::Bytes;
use futures_util::stream;
use http::{Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use serde_json::Value;
use tokio::time::{self, Instant};
use tower::{Layer, ServiceExt, util::BoxCloneSyncService};
use tower_session_timeout::{
    EndReason, MemoryStore, NewSession, Session, SessionBody, SessionId, SessionTimeoutBuilder,
    SessionTimeoutLayer,
};

const MINUTE: Duration = Duration::from_secs(60);
const IDLE: Duration = Duration::from_secs(15 * 60);

type Answer =
    Response<SessionBody<SessionBody<http_body_util::combinators::UnsyncBoxBody<Bytes, Infallible>>>>;

struct Site {
    outer: SessionTimeoutLayer,
    service: BoxCloneSyncService<Request<http_body_util::Full<Bytes>>, Answer, Infallible>,
}

/// Two layers for one cookie, each with a store of its own, or both with one; `A` is signed in.
async fn site(
    is_shared: bool,
    configure: impl FnOnce(SessionTimeoutBuilder) -> SessionTimeoutBuilder,
) -> Site {
    let store = || Arc::new(MemoryStore::new().clock(RuntimeClock::new()));
    let outer_store = store();
    let inner_store = if is_shared { Arc::clone(&outer_store) } else { store() };
    let builder = || SessionTimeoutLayer::builder().cookie("sid").idle_timeout(IDLE);
    let outer = builder().store(outer_store).build().unwrap();
    let inner = configure(builder()).store(inner_store).build().unwrap();
    let new = NewSession::new().owner("ada");
    outer.sessions().start(&SessionId::from("A"), &new).await.unwrap();
    let application = tower::service_fn(async |request: Request<http_body_util::Full<Bytes>>| {
        let mut response = Response::builder();
        if let Some(session) = request.extensions().get::<Session>() {
            response = response.header("x-remaining", session.remaining().as_secs());
            if request.uri().path() == "/socket" {
                let began = Instant::now();
                let reason = session.ended().await;
                response =
                    response.header("x-ended", reason.as_str()).header("x-after", began.elapsed().as_secs());
            }
        }
        if request.uri().path() == "/events" {
            response = response.header("content-type", "text/event-stream");
        }
        let body = match request.uri().path() {
            "/events" => {
                StreamBody::new(stream::pending::<Result<Frame<Bytes>, Infallible>>()).boxed_unsync()
            }
            _ => http_body_util::Full::<Bytes>::default().boxed_unsync(),
        };
        Ok::<_, Infallible>(response.body(body).unwrap())
    });
    let service = BoxCloneSyncService::new(outer.layer(inner.layer(application)));
    Site { outer, service }
}

impl Site {
    async fn send(&self, request: Request<http_body_util::Full<Bytes>>) -> Answer {
        self.service.clone().oneshot(sid(request, "A")).await.unwrap()
    }

    async fn json(&self, request: Request<http_body_util::Full<Bytes>>) -> Value {
        let body = self.send(request).await.into_body().collect().await.unwrap().to_bytes();
        serde_json::from_slice(&body).unwrap()
    }

    async fn is_live(&self) -> bool {
        let decision = self.outer.sessions().peek(&SessionId::from("A")).await.unwrap();
        matches!(decision, tower_session_timeout::Decision::Live(_))
    }
}

#[tokio::test(start_paused = true)]
async fn its_passive_requests_renew_nothing() {
    for is_shared in [false, true] {
        let site = site(is_shared, |builder| builder.passive_paths(["/poll"])).await;
        for _ in 0..14 {
            time::advance(MINUTE).await;
            assert_eq!(site.send(get("/poll", &[])).await.status(), StatusCode::OK);
        }
        time::advance(MINUTE).await;
        assert!(!site.is_live().await, "{is_shared}");
    }
}

#[tokio::test(start_paused = true)]
async fn its_event_streams_end_with_the_session() {
    let site = site(false, |builder| builder.end_streams(["text/event-stream"])).await;
    let answer = site.send(get("/events", &[])).await;
    let began = Instant::now();
    assert!(answer.into_body().frame().await.is_none());
    assert_eq!(began.elapsed(), IDLE);
}

#[tokio::test(start_paused = true)]
async fn a_socket_inside_hears_of_the_end_by_its_limits() {
    let site = site(false, |builder| builder.idle_timeout(MINUTE)).await;
    let answer = site.send(get("/socket", &[("session-activity", "passive")])).await;
    assert_eq!((header(&answer, "x-remaining"), header(&answer, "x-after")), ("60", "60"));
    assert_eq!(header(&answer, "x-ended"), "idle");
}

/// A page that is told otherwise hides from a user who works.
#[tokio::test(start_paused = true)]
async fn its_endpoints_speak_of_the_outer_layers_session_and_renew_as_little() {
    for is_shared in [false, true] {
        let site = site(is_shared, |builder| builder.client_endpoints("/st")).await;
        for _ in 0..30 {
            time::advance(MINUTE).await;
            site.send(get("/account", &[])).await;
        }
        time::advance(MINUTE).await;
        let status = site.json(get("/st/status", &[])).await;
        assert_eq!((&status["state"], &status["expires_in_ms"]), (&"active".into(), &(14 * 60_000).into()));

        let own_page = with(post("/st/keep-alive"), "sec-fetch-site", "same-origin");
        let kept = site.json(with(own_page, "session-idle-for", "30000")).await;
        assert_eq!(
            (&kept["state"], &kept["expires_in_ms"]),
            (&"active".into(), &(14 * 60_000 + 30_000).into())
        );

        for _ in 0..14 {
            time::advance(MINUTE).await;
            assert_eq!(site.json(get("/st/status", &[])).await["state"], "active", "{is_shared}");
        }
        time::advance(MINUTE).await;
        assert!(!site.is_live().await, "{is_shared}: polling keeps nobody signed in");
        assert_eq!(
            site.outer.sessions().peek(&SessionId::from("A")).await.ok().and_then(
                |decision| match decision {
                    tower_session_timeout::Decision::Ended { reason, .. } => Some(reason),
                    _ => None,
                }
            ),
            Some(EndReason::Idle)
        );
    }
}

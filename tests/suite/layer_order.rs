//! T129: the layer among others, inside and outside of each.

use std::{convert::Infallible, sync::Arc};

use crate::support::{IDLE, NANO, get, header, post, set_cookies, sid, with};
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use tower::{BoxError, Layer, Service, ServiceExt, util::BoxCloneService};
use tower_http::{
    catch_panic::CatchPanicLayer, compression::CompressionLayer, cors::CorsLayer, trace::TraceLayer,
};
use tower_session_timeout::{ManualClock, MemoryStore, SessionTimeoutLayer};

type Site = BoxCloneService<Request<Full<Bytes>>, Response<UnsyncBoxBody<Bytes, BoxError>>, Infallible>;

fn boxed<S, B>(service: S) -> Site
where
    S: Service<Request<Full<Bytes>>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + 'static,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let boxed = |response: Response<B>| response.map(|body| body.map_err(Into::into).boxed_unsync());
    BoxCloneService::new(service.map_response(boxed))
}

const ELSEWHERE: HeaderValue = HeaderValue::from_static("https://elsewhere.example");

#[derive(Clone, Copy, Debug)]
enum Other {
    CatchPanic,
    Compression,
    Cors,
    Trace,
}

impl Other {
    const ALL: [Self; 4] = [Self::CatchPanic, Self::Compression, Self::Cors, Self::Trace];

    fn around(self, inner: Site) -> Site {
        match self {
            Self::CatchPanic => boxed(CatchPanicLayer::new().layer(inner)),
            Self::Compression => boxed(CompressionLayer::new().layer(inner)),
            Self::Cors => boxed(CorsLayer::new().allow_origin(ELSEWHERE).layer(inner)),
            Self::Trace => boxed(TraceLayer::new_for_http().layer(inner)),
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Place {
    Inside,
    Outside,
}

struct Composed {
    clock: ManualClock,
    site: Site,
}

/// A site with the layer inside or outside of another one, and one user, who is signed in as `A`.
async fn composed(place: Place, other: Other) -> Composed {
    let clock = ManualClock::new();
    let layer = SessionTimeoutLayer::builder()
        .cookie("sid")
        .idle_timeout(IDLE)
        .login_path("/login")
        .logout_path("/logout")
        .store(Arc::new(MemoryStore::new().clock(clock.clone())))
        .build()
        .unwrap();
    let application = boxed(tower::service_fn(|request: Request<Full<Bytes>>| async move {
        assert!(request.uri().path() != "/panic", "as asked for");
        let mut response = Response::new(Full::from(vec![b' '; 1000]));
        if request.uri().path() == "/login" {
            response.headers_mut().insert("set-cookie", HeaderValue::from_static("sid=A"));
        }
        Ok::<_, Infallible>(response)
    }));
    let site = match place {
        Place::Inside => other.around(boxed(layer.layer(application))),
        Place::Outside => boxed(layer.layer(other.around(application))),
    };
    let composed = Composed { clock, site };
    let login = composed.send(post("/login")).await;
    assert_eq!(set_cookies(&login), ["sid=A"], "{place:?} {other:?}");
    composed
}

impl Composed {
    async fn send(&self, request: Request<Full<Bytes>>) -> Response<Bytes> {
        let (parts, body) = self.site.clone().oneshot(request).await.unwrap().into_parts();
        Response::from_parts(parts, body.collect().await.unwrap().to_bytes())
    }

    async fn status(&self, request: Request<Full<Bytes>>) -> StatusCode {
        self.send(sid(request, "A")).await.status()
    }
}

#[tokio::test]
async fn sessions_live_and_end_the_same_in_every_order() {
    for (place, other) in Other::ALL.into_iter().flat_map(|o| [(Place::Inside, o), (Place::Outside, o)]) {
        let composed = composed(place, other).await;
        for _ in 0..3 {
            composed.clock.advance(IDLE.saturating_sub(NANO));
            assert_eq!(composed.status(get("/", &[])).await, StatusCode::OK, "{place:?} {other:?}");
        }
        composed.clock.advance(IDLE);
        let refused = composed.send(sid(get("/", &[]), "A")).await;
        assert_eq!(refused.status(), StatusCode::UNAUTHORIZED, "{place:?} {other:?}");
        assert_eq!(header(&refused, "session-ended"), "idle", "{place:?} {other:?}");

        let composed = self::composed(place, other).await;
        assert_eq!(composed.status(post("/logout")).await, StatusCode::OK);
        assert_eq!(composed.status(get("/", &[])).await, StatusCode::UNAUTHORIZED, "{place:?} {other:?}");
    }
}

#[tokio::test]
async fn a_handler_that_panics_leaves_the_session_as_any_request_does() {
    for place in [Place::Inside, Place::Outside] {
        let composed = composed(place, Other::CatchPanic).await;
        assert_eq!(composed.status(get("/panic", &[])).await, StatusCode::INTERNAL_SERVER_ERROR);
        composed.clock.advance(IDLE.saturating_sub(NANO));
        assert_eq!(composed.status(get("/", &[])).await, StatusCode::OK, "{place:?}: it was activity");
        assert_eq!(composed.status(get("/panic", &[])).await, StatusCode::INTERNAL_SERVER_ERROR);
        composed.clock.advance(IDLE);
        assert_eq!(composed.status(get("/", &[])).await, StatusCode::UNAUTHORIZED, "{place:?}: held no more");
    }
}

#[tokio::test]
async fn a_preflight_is_answered_whatever_became_of_the_session() {
    for place in [Place::Inside, Place::Outside] {
        let composed = composed(place, Other::Cors).await;
        composed.clock.advance(IDLE);
        let mut preflight = get("/", &[("access-control-request-method", "GET")]);
        *preflight.method_mut() = Method::OPTIONS;
        let answer = composed.send(sid(with(preflight, "origin", "https://elsewhere.example"), "A")).await;
        assert_eq!(answer.status(), StatusCode::OK, "{place:?}");
        assert_eq!(answer.headers()["access-control-allow-origin"], ELSEWHERE, "{place:?}");
        assert_eq!(set_cookies(&answer), [""; 0], "{place:?}");
    }
}

#[tokio::test]
async fn a_page_elsewhere_may_read_a_refusal_if_cors_is_outside() {
    for (place, allowed) in [(Place::Inside, "https://elsewhere.example"), (Place::Outside, "")] {
        let composed = composed(place, Other::Cors).await;
        composed.clock.advance(IDLE);
        let refused = composed.send(sid(get("/", &[("origin", "https://elsewhere.example")]), "A")).await;
        assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
        assert_eq!(header(&refused, "access-control-allow-origin"), allowed, "{place:?}");
    }
}

#[tokio::test]
async fn a_refusal_is_compressed_like_any_answer_if_compression_is_outside() {
    for (place, coding) in [(Place::Inside, "gzip"), (Place::Outside, "")] {
        let composed = composed(place, Other::Compression).await;
        let page = composed.send(sid(get("/", &[("accept-encoding", "gzip")]), "A")).await;
        assert_eq!(header(&page, "content-encoding"), "gzip", "{place:?}");
        composed.clock.advance(IDLE);
        let refused = composed.send(sid(get("/", &[("accept-encoding", "gzip")]), "A")).await;
        assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
        assert_eq!(header(&refused, "content-encoding"), coding, "{place:?}");
        assert_eq!(refused.body().starts_with(&[0x1f, 0x8b]), coding == "gzip", "{place:?}");
    }
}

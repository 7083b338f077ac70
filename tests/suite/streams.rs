//! Streams end with their session, and not before.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    task::{Context, Poll},
    time::Duration,
};

use crate::support::{RuntimeClock, get, sid};
use bytes::Bytes;
use futures_util::stream;
use http::{
    Request, Response, StatusCode,
    header::{CONTENT_LENGTH, CONTENT_TYPE},
};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Either, Full, StreamBody};
use tokio::time::{Instant, sleep, timeout};
use tower::{Layer, ServiceExt};
use tower_session_timeout::{
    Decision, EndReason, MemoryStore, NewSession, Session, SessionBody, SessionId, SessionKey,
    SessionTimeoutLayer, Started, Store, StoreError,
    contract::{Access, Answer, IdTag, Policy, Restarted, Rotated, Verdict},
};

const IDLE: Duration = Duration::from_secs(60);
const ABSOLUTE: Duration = Duration::from_secs(600);
const SECOND: Duration = Duration::from_secs(1);

async fn layer() -> SessionTimeoutLayer {
    let layer = SessionTimeoutLayer::builder()
        .cookie("sid")
        .idle_timeout(IDLE)
        .absolute_timeout(ABSOLUTE)
        .end_streams(["text/event-stream", "application/grpc"])
        .store(MemoryStore::new().clock(RuntimeClock::new()))
        .build()
        .unwrap();
    layer.sessions().start(&SessionId::from("A"), &NewSession::new()).await.unwrap();
    layer
}

type AnyBody = Either<Full<Bytes>, StreamBody<stream::BoxStream<'static, Result<Frame<Bytes>, Infallible>>>>;

/// Streams an event each second under the content type the path names, or without a pause (`/busy`), or answers at
/// once (`/short`).
async fn application(request: Request<Full<Bytes>>) -> Result<Response<AnyBody>, Infallible> {
    let event = || Ok(Frame::data(Bytes::from_static(b"event")));
    let path = request.uri().path();
    let body = match path {
        "/short" => Either::Left(Full::from("short")),
        "/busy" => {
            let events = stream::repeat_with(event);
            Either::Right(StreamBody::new(Box::pin(events) as stream::BoxStream<'static, _>))
        }
        _ => {
            let events = stream::unfold((), move |()| async move {
                sleep(SECOND).await;
                Some((event(), ()))
            });
            Either::Right(StreamBody::new(Box::pin(events) as stream::BoxStream<'static, _>))
        }
    };
    let kind = match path {
        "/grpc" => "application/grpc",
        "/grpc-proto" => "Application/gRPC+proto",
        "/grpc-web" => "application/grpc-web+proto",
        "/grpcs" => "application/grpcs",
        "/video" => "video/webm",
        _ => "Text/Event-Stream; charset=utf-8",
    };
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, kind.parse().unwrap());
    if path == "/announced" {
        response.headers_mut().insert(CONTENT_LENGTH, 1_000_000.into());
    }
    Ok(response)
}

async fn open(layer: &SessionTimeoutLayer, path: &str) -> SessionBody<AnyBody> {
    let request = sid(get(path, &[]), "A");
    layer.layer(tower::service_fn(application)).oneshot(request).await.unwrap().into_body()
}

/// Reads to the end: when it came, and the trailers.
async fn read(mut body: SessionBody<AnyBody>) -> (Duration, Option<http::HeaderMap>) {
    let began = Instant::now();
    let mut trailers = None;
    while let Some(frame) = body.frame().await {
        if let Ok(last) = frame.unwrap().into_trailers() {
            trailers = Some(last);
        }
    }
    assert!(body.is_end_stream());
    assert!(body.frame().await.is_none(), "the end stays the end");
    (began.elapsed(), trailers)
}

#[tokio::test(start_paused = true)]
async fn a_stream_is_cut_at_the_idle_timeout() {
    let layer = layer().await;
    let body = open(&layer, "/events").await;
    assert_eq!(body.size_hint().exact(), None);
    assert_eq!(read(body).await, (IDLE, None));
}

#[tokio::test(start_paused = true)]
async fn other_requests_put_the_cut_off_until_the_absolute_timeout() {
    let layer = layer().await;
    let reading = tokio::spawn(read(open(&layer, "/events").await));
    for _ in 0..5 {
        sleep(IDLE / 2).await;
        open(&layer, "/short").await;
        assert!(!reading.is_finished());
    }
    assert_eq!(reading.await.unwrap().0, IDLE / 2 * 5 + IDLE);

    let layer = self::layer().await;
    let reading = tokio::spawn(read(open(&layer, "/events").await));
    while !reading.is_finished() {
        sleep(IDLE / 2).await;
        open(&layer, "/short").await;
    }
    let (lasted, _) = reading.await.unwrap();
    assert_eq!(lasted, ABSOLUTE);
}

/// The last look before the end was half a minute ago at most, and much may have happened since.
#[tokio::test(start_paused = true)]
async fn a_request_just_before_the_cut_puts_it_off_as_well() {
    let layer = layer().await;
    let reading = tokio::spawn(read(open(&layer, "/events").await));
    sleep(SECOND * 10).await;
    open(&layer, "/short").await;
    sleep(IDLE.saturating_sub(SECOND)).await;
    open(&layer, "/short").await;
    assert_eq!(reading.await.unwrap().0, SECOND * 9 + IDLE * 2);
}

/// The memory store, but nobody hears from it how long a session has left while it is out of reach.
struct OutOfReach {
    store: MemoryStore,
    is_out: Arc<AtomicBool>,
}

impl Store for OutOfReach {
    fn check(&self, id: &SessionId<'_>, policy: &Policy, access: Access) -> Answer<Decision> {
        self.store.check(id, policy, access)
    }
    fn remaining(&self, key: SessionKey, policy: &Policy) -> Answer<Verdict> {
        if self.is_out.load(SeqCst) {
            return Answer::Ready(Err(StoreError::new("connection refused")));
        }
        self.store.remaining(key, policy)
    }
    fn start(&self, id: &SessionId<'_>, new: &NewSession, policy: &Policy) -> Answer<Started> {
        self.store.start(id, new, policy)
    }
    fn rotate(&self, _: SessionKey, _: &SessionId<'_>, _: IdTag, _: &Policy) -> Answer<Rotated> {
        unreachable!("no id changes")
    }
    fn restart(&self, _: SessionKey, _: &NewSession, _: &Policy) -> Answer<Restarted> {
        unreachable!("nobody logs in anew")
    }
    fn release(&self, key: SessionKey) {
        self.store.release(key);
    }
    fn end(&self, _: SessionKey, _: EndReason) -> Answer<bool> {
        unreachable!("nobody logs out")
    }
}

/// A store's failure is no end; and an end it hid is told once it is back.
#[tokio::test(start_paused = true)]
async fn while_the_store_fails_no_stream_is_cut() {
    let is_out = Arc::new(AtomicBool::new(false));
    let store = MemoryStore::new().clock(RuntimeClock::new());
    let layer = SessionTimeoutLayer::builder()
        .cookie("sid")
        .idle_timeout(IDLE)
        .end_streams(["text/event-stream"])
        .store(OutOfReach { store, is_out: Arc::clone(&is_out) })
        .build()
        .unwrap();
    layer.sessions().start(&SessionId::from("A"), &NewSession::new()).await.unwrap();
    let reading = tokio::spawn(read(open(&layer, "/events").await));
    is_out.store(true, SeqCst);
    sleep(IDLE * 2).await;
    assert!(!reading.is_finished());
    is_out.store(false, SeqCst);
    let (lasted, _) = reading.await.unwrap();
    assert!(lasted <= IDLE * 2 + SECOND, "{lasted:?}");
}

#[tokio::test(start_paused = true)]
async fn a_sign_out_elsewhere_cuts_within_half_a_minute() {
    let layer = layer().await;
    let reading = tokio::spawn(read(open(&layer, "/events").await));
    sleep(SECOND * 5).await;
    layer.sessions().end(&SessionId::from("A")).await.unwrap();
    let (lasted, _) = reading.await.unwrap();
    assert!(lasted <= SECOND * 35, "{lasted:?}");
}

#[tokio::test(start_paused = true)]
async fn a_grpc_stream_ends_with_trailers() {
    let layer = layer().await;
    for path in ["/grpc", "/grpc-proto"] {
        layer.sessions().start(&SessionId::from("A"), &NewSession::new()).await.unwrap();
        let (lasted, trailers) = read(open(&layer, path).await).await;
        assert_eq!(lasted, IDLE, "{path}");
        assert_eq!(trailers.unwrap()["grpc-status"], "16", "{path}");
    }
}

/// `application/grpc` is `application/grpc+proto`, too (its specification), but no other type that begins so.
#[tokio::test(start_paused = true)]
async fn types_that_merely_begin_the_same_are_not_cut() {
    for path in ["/grpc-web", "/grpcs"] {
        let body = open(&layer().await, path).await;
        assert!(timeout(ABSOLUTE * 2, read(body)).await.is_err(), "{path}");
    }
}

/// Polled again and again without a pause: time passes for it only by the tasks beside it.
#[tokio::test(start_paused = true)]
async fn a_stream_that_is_never_pending_is_cut_as_well() {
    let layer = layer().await;
    let mut body = open(&layer, "/busy").await;
    for _ in 0..1000 {
        assert!(body.frame().await.is_some());
    }
    sleep(IDLE).await;
    assert!(body.frame().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn what_was_not_asked_for_and_what_has_a_length_is_never_cut() {
    let layer = layer().await;
    let video = timeout(IDLE * 10, read(open(&layer, "/video").await)).await;
    assert!(video.is_err(), "it goes on");
    layer.sessions().start(&SessionId::from("A"), &NewSession::new()).await.unwrap();
    let short = open(&layer, "/short").await;
    assert_eq!(short.size_hint().exact(), Some(5));
    sleep(IDLE * 2).await;
    assert_eq!(short.collect().await.unwrap().to_bytes(), "short");
}

/// The body itself may not know its length, and the answer has told it all the same: then a cut would be an error.
#[tokio::test(start_paused = true)]
async fn what_was_announced_with_a_length_is_not_cut() {
    let layer = layer().await;
    assert!(timeout(IDLE * 10, read(open(&layer, "/announced").await)).await.is_err(), "it goes on");
}

/// A stream of at least this many bytes.
struct AtLeast(u64);

impl Body for AtLeast {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Pending
    }

    fn size_hint(&self) -> SizeHint {
        let mut hint = SizeHint::new();
        hint.set_lower(self.0);
        hint
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_may_be_cut_promises_no_length() {
    let layer = layer().await;
    let service = layer.layer(tower::service_fn(|_: Request<Full<Bytes>>| async {
        let response = Response::builder().header(CONTENT_TYPE, "text/event-stream");
        Ok::<_, Infallible>(response.body(AtLeast(1000)).unwrap())
    }));
    let promised = async |request| {
        let body = service.clone().oneshot(request).await.unwrap().into_body();
        (body.size_hint().lower(), body.size_hint().upper())
    };
    assert_eq!(promised(sid(get("/", &[]), "A")).await, (0, None));
    assert_eq!(promised(get("/", &[])).await, (1000, None), "an anonymous one is not cut");
}

/// An event stream that reconnects by itself (`Last-Event-ID`) extends nothing, and is cut like any other.
#[tokio::test(start_paused = true)]
async fn a_stream_that_reconnects_keeps_nobody_signed_in() {
    let layer = layer().await;
    let mut open_again = 0;
    let began = Instant::now();
    loop {
        let request = sid(get("/events", &[("last-event-id", "17")]), "A");
        let response = layer.layer(tower::service_fn(application)).oneshot(request).await.unwrap();
        if response.status() != StatusCode::OK {
            break;
        }
        let mut body = response.into_body();
        for _ in 0..7 {
            body.frame().await;
        }
        open_again += 1;
    }
    assert_eq!((open_again, began.elapsed()), (9, IDLE), "9 times 7 s, the last one cut at 60 s");
}

#[tokio::test(start_paused = true)]
async fn an_anonymous_stream_has_no_session_to_end_with() {
    let layer = layer().await;
    let request = get("/events", &[]);
    let body = layer.layer(tower::service_fn(application)).oneshot(request).await.unwrap().into_body();
    assert!(timeout(IDLE * 10, read(body)).await.is_err());
}

/// What a handler gets of its request's session.
async fn session(layer: &SessionTimeoutLayer) -> Session {
    let kept = std::sync::Mutex::new(None);
    let application = tower::service_fn(|request: Request<Full<Bytes>>| {
        *kept.lock().unwrap() = request.extensions().get::<Session>().cloned();
        std::future::ready(Ok::<_, Infallible>(Response::new(Full::<Bytes>::default())))
    });
    layer.layer(application).oneshot(sid(get("/", &[]), "A")).await.unwrap();
    kept.into_inner().unwrap().unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_session_tells_when_it_has_ended_and_why() {
    let layer = layer().await;
    let session = session(&layer).await;
    let began = Instant::now();
    assert_eq!(session.ended().await, EndReason::Idle);
    assert_eq!(began.elapsed(), IDLE);
    assert_eq!(session.ended().await, EndReason::Idle, "at once");
    assert_eq!(began.elapsed(), IDLE);
}

#[tokio::test(start_paused = true)]
async fn an_end_from_elsewhere_is_told_within_half_a_minute() {
    let layer = layer().await;
    let session = session(&layer).await;
    let began = Instant::now();
    let ended = async {
        sleep(SECOND * 5).await;
        layer.sessions().end(&SessionId::from("A")).await.unwrap()
    };
    assert_eq!(tokio::join!(session.ended(), ended), (EndReason::Revoked, true));
    assert!(began.elapsed() <= SECOND * 35);
}

#[test]
fn a_cut_body_is_send_and_sync() {
    fn is_send_and_sync<T: Send + Sync>() {}
    is_send_and_sync::<SessionBody<Full<Bytes>>>();
}

//! What a request costs in allocations: nothing, or its `Session` in its extensions.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    convert::Infallible,
    future::Future,
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
};

use bytes::{Bytes, BytesMut};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::Empty;
use tower::{Layer, Service};
use tower_session_timeout::{NewSession, Session, SessionId, SessionTimeoutBuilder, SessionTimeoutLayer};

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

#[allow(unsafe_code)]
// SAFETY: every call is handed to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// A header value as a server hands it out: a slice of a shared buffer.
fn shared(text: &str) -> HeaderValue {
    let mut buffer = BytesMut::with_capacity(text.len() + 64);
    buffer.extend_from_slice(text.as_bytes());
    let _rest = buffer.split_off(text.len());
    HeaderValue::from_maybe_shared(buffer.freeze()).unwrap()
}

fn request(cookie: &str) -> Request<()> {
    let mut request = Request::get("/account").body(()).unwrap();
    let headers = request.headers_mut();
    headers.reserve(16);
    headers.insert("host", shared("shop.example.com"));
    headers.insert("user-agent", shared("Mozilla/5.0 (X11; Linux x86_64) Chrome/131.0"));
    headers.insert("accept", shared("text/html,application/xhtml+xml,*/*;q=0.8"));
    headers.insert("sec-fetch-mode", shared("navigate"));
    headers.insert("cookie", shared(cookie));
    request
}

/// Answers at once, or after having been pending once.
#[derive(Clone)]
struct Handler {
    pends: bool,
}

struct Answering {
    pends: bool,
}

impl Future for Answering {
    type Output = Result<Response<Empty<Bytes>>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if std::mem::take(&mut self.pends) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(Ok(Response::new(Empty::new())))
    }
}

impl Service<Request<()>> for Handler {
    type Response = Response<Empty<Bytes>>;
    type Error = Infallible;
    type Future = Answering;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<()>) -> Answering {
        Answering { pends: self.pends }
    }
}

fn wait<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let mut cx = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
            return output;
        }
    }
}

/// Allocations of each of some requests, and their status.
fn cost(
    pends: bool,
    cookie: &str,
    configure: fn(SessionTimeoutBuilder) -> SessionTimeoutBuilder,
) -> (usize, StatusCode) {
    let layer = configure(SessionTimeoutLayer::builder().cookie("sid").passive_paths(["/poll", "/static/"]));
    let layer = layer.login_path("/login").logout_path("/logout").build().unwrap();
    wait(layer.sessions().start(&SessionId::from("AAAAAAAAAAAAAAAAAAAAAA"), &NewSession::new().owner("me")))
        .unwrap();
    let service = layer.layer(Handler { pends });
    let mut most = 0;
    let mut status = StatusCode::OK;
    for _ in 0..100 {
        let request = request(cookie);
        let before = ALLOCATIONS.get();
        let response = wait(service.clone().call(request)).unwrap();
        most = most.max(ALLOCATIONS.get() - before);
        status = response.status();
    }
    (most, status)
}

const LIVE: &str = "theme=dark; sid=AAAAAAAAAAAAAAAAAAAAAA; _ga=GA1.1.1234567890.1700000000";

#[test]
fn a_renewed_request_allocates_nothing_without_the_extension() {
    for pends in [false, true] {
        assert_eq!(cost(pends, LIVE, SessionTimeoutBuilder::without_extension), (0, StatusCode::OK));
    }
}

#[test]
fn a_renewed_request_allocates_no_more_than_its_extension() {
    // What any entry costs: the map and the value. And a flag that all copies of the `Session` share.
    let mut entry = 0;
    for _ in 0..3 {
        let mut plain = request(LIVE);
        let before = ALLOCATIONS.get();
        plain.extensions_mut().insert([0_u8; size_of::<Session>()]);
        entry = ALLOCATIONS.get() - before;
    }
    assert!(entry > 0);
    for pends in [false, true] {
        assert_eq!(cost(pends, LIVE, |builder| builder), (entry + 1, StatusCode::OK));
    }
}

#[test]
fn an_anonymous_request_allocates_nothing() {
    for cookie in ["theme=dark; _ga=GA1.1.1234567890.1700000000", "a=1", "sid_old=x", LAX] {
        assert_eq!(cost(true, cookie, |builder| builder), (0, StatusCode::OK));
    }
}

/// What browsers send of what applications set, though no strict grammar has it.
const LAX: &str = "prefs={\"a\":[1,2],\"b\":\"c d\"}; lang=en,de; u=https://example.com/?q=1&r=%20; t=YWJjZA==; \
                   d=2024-01-01T00:00:00+00:00; q=(a:b)@<c>; e=; f; _x=a=b=c; k=1|2; l=[\\]; m=\"q\"";

#[test]
fn a_renewed_request_with_many_lax_cookies_allocates_nothing() {
    let cookie = format!("{LAX}; {LIVE}");
    assert_eq!(cost(false, &cookie, SessionTimeoutBuilder::without_extension), (0, StatusCode::OK));
}

#[test]
fn the_counter_counts() {
    let before = ALLOCATIONS.get();
    drop(std::hint::black_box(Box::new(1)));
    assert_eq!(ALLOCATIONS.get() - before, 1);
    let (refused, status) = cost(false, "sid=unknown", |builder| builder);
    assert_eq!(status, StatusCode::SEE_OTHER);
    assert!(refused > 0, "a refusal is written");
}

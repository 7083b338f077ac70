//! What is measured: services, each with the requests it is asked.

use std::{
    convert::Infallible, future::poll_fn, pin::Pin, sync::atomic::AtomicBool, task::Poll, time::Duration,
};

use axum_core::body::Body;
use http::{Request, Response, StatusCode};
use rustix::time::ClockId;
use tower::{Layer, Service, service_fn};
use tower_session_timeout::{NewSession, SessionId, SessionTimeoutBuilder, SessionTimeoutLayer};
use tower_sessions::{
    Expiry, SessionManagerLayer, SessionStore,
    cookie::time::{self, OffsetDateTime},
    session::Record,
};

use crate::{
    duty::Duty,
    floor::{Floor, Map},
    measure::{drive, measured_batch},
    requests::{Requests, Rng, id, number},
};

/// A case by name, not built yet.
pub struct Case {
    pub name: &'static str,
    /// The case whose cost is taken off.
    pub bare: &'static str,
    pub build: fn(u64) -> Built,
}

/// A service of some type.
pub struct Built {
    pub requests: Requests,
    /// Answers all requests, and says how many were answered as they should be.
    pub answer: Answer,
    /// A client that asks until it is told to stop, and says how many answers it had.
    pub client: NewClient,
}

type Answer = Box<dyn Fn(&mut Vec<Request<Body>>) -> usize>;
type NewClient = Box<dyn Fn(Requests, Rng, &'static AtomicBool) -> Client>;
type Client = Pin<Box<dyn Future<Output = usize> + Send>>;
type Configure = fn(SessionTimeoutBuilder) -> SessionTimeoutBuilder;

pub const BARE: &str = "bare service";
pub const BARE_PENDING: &str = "bare service, pending once";
pub const FLOOR: &str = "floor, CLOCK_BOOTTIME";
pub const DUTY: &str = "duty floor";
pub const OURS: &str = "ours, renewed, without_extension()";
pub const OURS_EXTENSION: &str = "ours, renewed, with the extension";
pub const OURS_ANONYMOUS: &str = "ours, anonymous";
pub const OURS_UNKNOWN: &str = "ours, refused, unknown id";
pub const OURS_MANY_COOKIES: &str = "ours, renewed, 12 cookies, a comma";
pub const TOWER_SESSIONS: &str = "tower-sessions, always_save, 1 item";

#[rustfmt::skip]
pub const CASES: &[Case] = &[
    Case { name: BARE, bare: BARE, build: |n| built(service_fn(handler), live(n)) },
    Case { name: "floor, coarse clock", bare: BARE, build: |n| floor(n, ClockId::MonotonicCoarse) },
    Case { name: FLOOR, bare: BARE, build: |n| floor(n, ClockId::Boottime) },
    Case { name: DUTY, bare: BARE, build: |n| built(Duty::new(service_fn(handler), live(n).flatten()), live(n)) },
    Case { name: OURS, bare: BARE, build: |n| ours(n, SessionTimeoutBuilder::without_extension) },
    Case { name: OURS_EXTENSION, bare: BARE, build: |n| ours(n, |builder| builder) },
    Case { name: OURS_MANY_COOKIES, bare: BARE, build: many_cookies },
    Case { name: "ours, passive", bare: BARE,
        build: |n| ours(n, |builder| builder.without_extension().passive_paths(["/"])) },
    Case { name: "ours, rotated", bare: BARE, build: rotated },
    Case { name: OURS_ANONYMOUS, bare: BARE, build: anonymous },
    Case { name: OURS_UNKNOWN, bare: BARE, build: unknown },
    Case { name: "ours, refused, ended", bare: BARE, build: ended },
    Case { name: BARE_PENDING, bare: BARE, build: |n| built(service_fn(slow_handler), live(n)) },
    Case { name: "ours, renewed, pending once", bare: BARE_PENDING, build: pending },
    Case { name: TOWER_SESSIONS, bare: BARE, build: tower_sessions },
];

pub fn case(name: &str) -> &'static Case {
    CASES.iter().find(|case| case.name == name).expect("a case of this name")
}

/// The application.
async fn handler(request: Request<Body>) -> Result<Response<Body>, Infallible> {
    drop(request);
    Ok(Response::new(Body::empty()))
}

/// An application that waits for something once.
async fn slow_handler(request: Request<Body>) -> Result<Response<Body>, Infallible> {
    let mut waited = false;
    poll_fn(|_| if std::mem::replace(&mut waited, true) { Poll::Ready(()) } else { Poll::Pending }).await;
    handler(request).await
}

fn built<S, B>(service: S, ids: impl Iterator<Item = Option<String>>) -> Built
where
    S: Service<Request<Body>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
    B: 'static,
{
    answering(service, ids, StatusCode::OK)
}

fn answering<S, B>(service: S, ids: impl Iterator<Item = Option<String>>, expected: StatusCode) -> Built
where
    S: Service<Request<Body>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
    B: 'static,
{
    let shared = service.clone();
    Built {
        requests: Requests::new(ids),
        answer: Box::new(move |requests| measured_batch(&service, requests, expected)),
        client: Box::new(move |requests, rng, stop| {
            Box::pin(crate::throughput::client(shared.clone(), requests, rng, stop))
        }),
    }
}

pub fn live(sessions: u64) -> impl Iterator<Item = Option<String>> {
    (0..sessions).map(|i| Some(id(i)))
}

/// Ids nobody has: past every session's.
fn others(sessions: u64) -> impl Iterator<Item = Option<String>> {
    (0..sessions).map(|i| Some(id((1 << 40) + i)))
}

fn floor(n: u64, clock: ClockId) -> Built {
    built(Floor::new(service_fn(handler), Map::new(clock, live(n).flatten())), live(n))
}

pub fn layer(n: u64, configure: Configure) -> SessionTimeoutLayer {
    let builder = SessionTimeoutLayer::builder()
        .cookie("sid")
        .idle_timeout(Duration::from_mins(30))
        .absolute_timeout(Duration::from_hours(8));
    let layer = configure(builder).build().expect("a valid configuration");
    let sessions = layer.sessions();
    for id in live(n).flatten() {
        drive(sessions.start(&SessionId::from(id), &NewSession::new())).expect("room for a session");
    }
    layer
}

fn ours(n: u64, configure: Configure) -> Built {
    built(layer(n, configure).layer(service_fn(handler)), live(n))
}

/// As browsers send them to a site with analytics. One holds a comma, at which old parsers split.
fn many_cookies(n: u64) -> Built {
    let mut built = ours(n, SessionTimeoutBuilder::without_extension);
    built.requests.add_cookies(
        "_gid=GA1.2.987654321.1700000001; _fbp=fb.1.1700000000000.1234567890; consent=v2.1-analytics-marketing; \
         lang=en,de; tz=Europe/London; cart=3f2a9c1e-7b4d-4e0a-9c55-1234567890ab; ab_test=variant-b; \
         _hjSession_123456=eyJpZCI6IjEyMzQ1Njc4In0=; intercom-id=0f9e8d7c-6b5a-4321-8765-0fedcba98765",
    );
    built
}

fn pending(n: u64) -> Built {
    built(layer(n, SessionTimeoutBuilder::without_extension).layer(service_fn(slow_handler)), live(n))
}

fn anonymous(n: u64) -> Built {
    let layer = layer(n, SessionTimeoutBuilder::without_extension);
    built(layer.layer(service_fn(handler)), live(n).map(|_| None))
}

fn rotated(n: u64) -> Built {
    let layer = layer(n, SessionTimeoutBuilder::without_extension);
    let sessions = layer.sessions();
    for (old, new) in live(n).flatten().zip(others(n).flatten()) {
        let rotated = drive(sessions.rotate_to(&SessionId::from(old), &SessionId::from(new)));
        assert!(rotated.expect("a store that works"), "the session is live");
    }
    built(layer.layer(service_fn(handler)), others(n))
}

fn unknown(n: u64) -> Built {
    let layer = layer(n, SessionTimeoutBuilder::without_extension);
    answering(layer.layer(service_fn(handler)), others(n), StatusCode::UNAUTHORIZED)
}

fn ended(n: u64) -> Built {
    let layer = layer(n, SessionTimeoutBuilder::without_extension);
    let sessions = layer.sessions();
    for id in live(n).flatten() {
        let ended = drive(sessions.end(&SessionId::from(id)));
        assert!(ended.expect("a store that works"), "the session was live");
    }
    answering(layer.layer(service_fn(handler)), live(n), StatusCode::UNAUTHORIZED)
}

/// A store of tower-sessions with sessions of one item each.
pub fn tower_sessions_store(n: u64) -> tower_sessions::MemoryStore {
    let store = tower_sessions::MemoryStore::default();
    for i in 0..n {
        let data = [("uid".to_owned(), i.into())].into();
        let expiry_date = OffsetDateTime::now_utc() + time::Duration::HOUR;
        let mut record = Record { id: number(i), data, expiry_date };
        drive(store.create(&mut record)).expect("room for a session");
    }
    store
}

fn tower_sessions(n: u64) -> Built {
    let layer = SessionManagerLayer::new(tower_sessions_store(n))
        .with_name("sid")
        .with_always_save(true)
        .with_expiry(Expiry::OnInactivity(time::Duration::minutes(30)));
    built(layer.layer(service_fn(handler)), live(n))
}

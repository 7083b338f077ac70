//! What the tests share: an application behind the layer, and a clock that is set.
#![allow(dead_code, unreachable_pub)]

pub mod fault_proxy;
pub mod lines;
#[cfg(feature = "tracing")]
pub mod log;
pub mod model;
pub mod remote;
#[cfg(feature = "shared")]
pub mod table;

use std::{
    collections::HashMap,
    convert::Infallible,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{
    HeaderValue, Request, Response, StatusCode,
    header::{CACHE_CONTROL, SET_COOKIE},
};
use http_body_util::{BodyExt, Full};
use proptest::test_runner::Config as ProptestConfig;
use tokio::sync::Semaphore;
use tower::{Layer, ServiceExt, util::BoxCloneSyncService};
use tower_session_timeout::{
    Clock, Decision, EndReason, ManualClock, MemoryStore, NewSession, Owner, Session, SessionBody, SessionId,
    SessionTimeoutBuilder, SessionTimeoutLayer, Sessions, Store, conformance,
};

/// Properties leave no files behind; how many cases each has is for `PROPTEST_CASES` to say.
pub fn cases() -> ProptestConfig {
    ProptestConfig { failure_persistence: None, ..ProptestConfig::default() }
}

/// By what to multiply the time in which something has to have happened: 1, more on a slow machine.
pub fn pace() -> u32 {
    std::env::var("PACE").ok().and_then(|pace| pace.parse().ok()).unwrap_or(1)
}

/// All there is to try of a store that can do everything.
pub async fn conforms<S: Store>(make: &impl Fn(ManualClock) -> S) {
    conformance::check(make).await;
    conformance::owners(make).await;
    conformance::in_flight(make).await;
    conformance::adoptions(make).await;
}

/// The runtime's time, which a test with paused time moves.
#[derive(Clone, Debug)]
pub struct RuntimeClock(tokio::time::Instant);

impl RuntimeClock {
    pub fn new() -> Self {
        Self(tokio::time::Instant::now())
    }
}

impl Clock for RuntimeClock {
    fn now(&self) -> Duration {
        // A session may be older than the clock.
        100 * ABSOLUTE + self.0.elapsed()
    }
}

type Gates = Arc<Mutex<HashMap<String, Arc<Semaphore>>>>;

fn gate(gates: &Gates, name: &str) -> Arc<Semaphore> {
    let mut gates = gates.lock().unwrap();
    Arc::clone(gates.entry(name.to_owned()).or_insert_with(|| Arc::new(Semaphore::new(0))))
}

pub const IDLE: Duration = Duration::from_secs(15 * 60);
pub const ABSOLUTE: Duration = Duration::from_secs(8 * 3600);
pub const FRESH: Duration = Duration::from_secs(5 * 60);
pub const NANO: Duration = Duration::from_nanos(1);

/// An application that does what the request's `x-…` headers say:
///
/// - `x-set-cookie: sid=A; Path=/` is sent back as `Set-Cookie` (also several)
/// - `x-clear-site-data: "cookies"` is sent back as `Clear-Site-Data` (also several)
/// - `x-cache-control: public` is sent back as `Cache-Control`
/// - `x-login: alice` announces a log-in of this owner
/// - `x-status: 403` is the answer's status
/// - `x-slow: name` answers only once [`App::release_named`] was called with that name
/// - `x-say: end | reauthenticated | rotate_to=B` calls this on the request's `Session`;
///   `x-say: end_others` ends the owner's other sessions, `x-say: end_all` all of them
///
/// The answer's body is the `Cookie` field the application got; `x-session` and `x-tag` tell its session's owner and tag,
/// `x-rotation-due` and `x-fresh` whether its id is to be changed and its log-in [`FRESH`].
pub struct App {
    pub clock: ManualClock,
    pub store: Arc<MemoryStore>,
    pub layer: SessionTimeoutLayer,
    calls: Arc<AtomicUsize>,
    gates: Gates,
    service: BoxCloneSyncService<Request<Full<Bytes>>, Response<Bytes>, Infallible>,
}

fn builder() -> SessionTimeoutBuilder {
    builder_without_cookie().cookie("sid")
}

fn builder_without_cookie() -> SessionTimeoutBuilder {
    SessionTimeoutLayer::builder()
        .idle_timeout(IDLE)
        .absolute_timeout(ABSOLUTE)
        .login_path("/login")
        .logout_path("/logout")
        .public_paths(["/", "/public/"])
}

/// What behaves the same on every store is tried on one as on a network, too, if `STORE=shared` asks for that.
fn under_test(store: &Arc<MemoryStore>, clock: &ManualClock) -> Arc<dyn Store> {
    #[cfg(feature = "shared")]
    if std::env::var("STORE").is_ok_and(|store| store == "shared") {
        return Arc::new(shared(clock));
    }
    let _ = clock;
    Arc::clone(store) as Arc<dyn Store>
}

/// That writes down every activity.
#[cfg(feature = "shared")]
fn shared(clock: &ManualClock) -> tower_session_timeout::SharedStore<table::Table> {
    tower_session_timeout::SharedStore::new(table::Table::new(clock.clone()))
        .clock(clock.clone())
        .granularity(Duration::ZERO)
}

impl App {
    pub fn new() -> Self {
        Self::with(|builder| builder)
    }

    pub fn with(configure: impl FnOnce(SessionTimeoutBuilder) -> SessionTimeoutBuilder) -> Self {
        Self::built(|store| configure(builder().store(store)))
    }

    pub fn with_store(
        store: MemoryStore,
        configure: impl FnOnce(SessionTimeoutBuilder) -> SessionTimeoutBuilder,
    ) -> Self {
        Self::built_in_memory(store, |store| configure(builder().store(store)))
    }

    pub fn in_memory_without_cookie(
        store: MemoryStore,
        configure: impl FnOnce(SessionTimeoutBuilder) -> SessionTimeoutBuilder,
    ) -> Self {
        Self::built_in_memory(store, |store| configure(builder_without_cookie().store(store)))
    }

    fn built_in_memory(
        store: MemoryStore,
        configure: impl FnOnce(Arc<MemoryStore>) -> SessionTimeoutBuilder,
    ) -> Self {
        let clock = ManualClock::new();
        let store = Arc::new(store.clock(clock.clone()));
        let layer = configure(Arc::clone(&store)).build().expect("a valid configuration");
        Self::around(layer, clock, store)
    }

    /// Of what only a store in memory does: it holds sessions, answers at once, and tells how many records it has.
    pub fn in_memory() -> Self {
        Self::in_memory_with(|builder| builder)
    }

    pub fn in_memory_with(configure: impl FnOnce(SessionTimeoutBuilder) -> SessionTimeoutBuilder) -> Self {
        Self::with_store(MemoryStore::new(), configure)
    }

    /// Whose ids travel elsewhere.
    pub fn without_cookie(configure: impl FnOnce(SessionTimeoutBuilder) -> SessionTimeoutBuilder) -> Self {
        Self::built(|store| configure(builder_without_cookie().store(store)))
    }

    fn built(configure: impl FnOnce(Arc<dyn Store>) -> SessionTimeoutBuilder) -> Self {
        let clock = ManualClock::new();
        let store = Arc::new(MemoryStore::new().clock(clock.clone()));
        let layer = configure(under_test(&store, &clock)).build().expect("a valid configuration");
        Self::around(layer, clock, store)
    }

    /// On a store of another kind, which neither `clock` nor `store` has to do with.
    pub fn on(
        store: impl Store,
        configure: impl FnOnce(SessionTimeoutBuilder) -> SessionTimeoutBuilder,
    ) -> Self {
        let layer = configure(builder().store(store)).build().expect("a valid configuration");
        Self::around(layer, ManualClock::new(), Arc::default())
    }

    pub fn around(layer: SessionTimeoutLayer, clock: ManualClock, store: Arc<MemoryStore>) -> Self {
        let calls = Arc::new(AtomicUsize::new(0));
        let gates = Gates::default();
        let application = {
            let (calls, gates, sessions) = (Arc::clone(&calls), Arc::clone(&gates), layer.sessions());
            tower::service_fn(move |request| {
                calls.fetch_add(1, SeqCst);
                answer(request, Arc::clone(&gates), sessions.clone())
            })
        };
        let service =
            layer.layer(application).and_then(|response: Response<SessionBody<Full<Bytes>>>| async {
                let (parts, body) = response.into_parts();
                let body = body.collect().await?.to_bytes();
                Ok(Response::from_parts(parts, body))
            });
        Self { clock, store, layer, calls, gates, service: BoxCloneSyncService::new(service) }
    }

    /// How often the application was called.
    pub fn calls(&self) -> usize {
        self.calls.load(SeqCst)
    }

    /// Lets one slow answer go.
    pub fn release(&self) {
        self.release_named("1");
    }

    pub fn release_named(&self, name: &str) {
        gate(&self.gates, name).add_permits(1);
    }

    pub fn advance(&self, by: Duration) {
        self.clock.advance(by);
    }

    pub async fn send(&self, request: Request<Full<Bytes>>) -> Response<Bytes> {
        self.service.clone().oneshot(request).await.unwrap()
    }

    /// Sends in the background, and returns once the application has the request, or the layer has answered it.
    pub async fn send_slow(&self, request: Request<Full<Bytes>>) -> tokio::task::JoinHandle<Response<Bytes>> {
        let before = self.calls();
        let answer = self.service.clone().oneshot(request);
        let task = tokio::spawn(async { answer.await.unwrap() });
        while self.calls() == before && !task.is_finished() {
            tokio::task::yield_now().await;
        }
        task
    }

    /// A log-in as a cookie application does it: the answer sets the session cookie.
    pub async fn log_in(&self, id: &str) {
        let response = self.send(set_cookie(post("/login"), &format!("sid={id}"))).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(set_cookies(&response), [format!("sid={id}")]);
    }

    /// The answer to a request with this id. It is activity.
    pub async fn visit(&self, id: &str) -> Response<Bytes> {
        self.send(sid(get("/account", &[]), id)).await
    }

    /// The answer to the first request with this id that the store has answered.
    pub async fn once_available(&self, id: &str) -> Response<Bytes> {
        let began = tokio::time::Instant::now();
        while began.elapsed() < Duration::from_secs(30) {
            let response = self.visit(id).await;
            if response.status() != StatusCode::SERVICE_UNAVAILABLE {
                return response;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("no recovery");
    }

    /// Whether a request with this id is let through. It is activity.
    pub async fn admits(&self, id: &str) -> bool {
        let before = self.calls();
        let response = self.send(get("/account", &[("cookie", &format!("sid={id}"))])).await;
        let admitted = self.calls() > before;
        assert_eq!(admitted, response.status() == StatusCode::OK);
        admitted
    }

    pub async fn peek(&self, id: &str) -> Decision {
        self.layer.sessions().peek(&SessionId::from(id)).await.unwrap()
    }

    pub async fn end_reason(&self, id: &str) -> Option<EndReason> {
        match self.peek(id).await {
            Decision::Ended { reason, .. } => Some(reason),
            Decision::Live(_) | Decision::Capped(_) => None,
        }
    }
}

async fn answer(
    request: Request<Full<Bytes>>,
    gates: Gates,
    sessions: Sessions,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let headers = request.headers().clone();
    let header = |name: &str| headers.get(name).map(|value| value.to_str().unwrap().to_owned());
    if let Some(name) = header("x-slow") {
        gate(&gates, &name).acquire().await.unwrap().forget();
    }
    let session = request.extensions().get::<Session>();
    if let (Some(what), Some(session)) = (header("x-say"), session) {
        let did = match what.split_once('=') {
            None if what == "end" => session.end().await,
            None if what == "end_others" => {
                sessions.end_all(session.owner().unwrap(), Some(session)).await.map(|ended| ended > 0)
            }
            None if what == "end_all" => {
                sessions.end_all(session.owner().unwrap(), None).await.map(|ended| ended > 0)
            }
            None => session.reauthenticated().await,
            Some((_, id)) => session.rotate_to(&SessionId::from(id)).await,
        };
        did.unwrap();
    }
    let cookies: Vec<_> = headers.get_all("cookie").iter().map(HeaderValue::as_bytes).collect();
    let mut response = Response::new(Full::from(cookies.join(&b"\n"[..])));
    if let Some(session) = session {
        let owner = session.owner().map_or("nobody", Owner::as_str);
        let headers = response.headers_mut();
        headers.insert("x-session", owner.parse().unwrap());
        headers.insert("x-tag", session.tag().parse().unwrap());
        headers.insert("x-rotation-due", session.rotation_due().to_string().parse().unwrap());
        headers.insert("x-fresh", session.authenticated_within(FRESH).to_string().parse().unwrap());
    }
    if let Some(status) = header("x-status") {
        *response.status_mut() = status.parse().unwrap();
    }
    if let Some(owner) = header("x-login") {
        response.extensions_mut().insert(NewSession::new().owner(owner));
    }
    if let Some(control) = headers.get("x-cache-control") {
        response.headers_mut().insert(CACHE_CONTROL, control.clone());
    }
    for clears in headers.get_all("x-clear-site-data") {
        response.headers_mut().append("clear-site-data", clears.clone());
    }
    for cookie in headers.get_all("x-set-cookie") {
        response.headers_mut().append(SET_COOKIE, cookie.clone());
    }
    Ok(response)
}

pub fn get(path: &str, headers: &[(&str, &str)]) -> Request<Full<Bytes>> {
    let mut request = Request::get(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Full::default()).unwrap()
}

pub fn post(path: &str) -> Request<Full<Bytes>> {
    Request::post(path).body(Full::default()).unwrap()
}

pub fn with(mut request: Request<Full<Bytes>>, name: &'static str, value: &str) -> Request<Full<Bytes>> {
    request.headers_mut().append(name, value.parse().unwrap());
    request
}

pub fn sid(request: Request<Full<Bytes>>, id: &str) -> Request<Full<Bytes>> {
    with(request, "cookie", &format!("sid={id}"))
}

pub fn set_cookie(request: Request<Full<Bytes>>, cookie: &str) -> Request<Full<Bytes>> {
    with(request, "x-set-cookie", cookie)
}

pub fn slow(request: Request<Full<Bytes>>) -> Request<Full<Bytes>> {
    with(request, "x-slow", "1")
}

pub fn set_cookies<B>(response: &Response<B>) -> Vec<String> {
    let all = response.headers().get_all(SET_COOKIE);
    all.iter().map(|value| value.to_str().unwrap().to_owned()).collect()
}

pub fn header<'a, B>(response: &'a Response<B>, name: &str) -> &'a str {
    response.headers().get(name).map_or("", |value| value.to_str().unwrap())
}

/// Whether the browser is told to forget `sid`.
pub fn removes_cookie<B>(response: &Response<B>) -> bool {
    let removal = |cookie: &String| cookie.starts_with("sid=;") && cookie.contains("Max-Age=0");
    set_cookies(response).iter().any(removal)
}

//! The contract of tower services: readiness, errors, dropping, panics; T120–T132.

use std::{
    convert::Infallible,
    future::{Ready, poll_fn, ready},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    task::{Context, Poll},
    time::Duration,
};

use crate::support::{
    self, App, IDLE, NANO, RuntimeClock, get, post, remote::Remote, set_cookie, set_cookies, sid,
};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::Body;
use http_body_util::{Empty, Full};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, limit::ConcurrencyLimitLayer};
use tower_session_timeout::{
    Decision, EndReason, Limits, ManualClock, MemoryStore, NewSession, SessionBody, SessionId, SessionKey,
    SessionTimeoutBuilder, SessionTimeoutLayer, Started, Store, StoreError,
    contract::{Access, Answer, IdTag, Policy, Restarted, Rotated, Verdict},
};

type Incoming = Request<Full<Bytes>>;
type Outgoing = Response<Full<Bytes>>;

/// The memory store, asked only after a while, as a store on a network is.
struct Later(Arc<MemoryStore>, Duration);

impl Later {
    fn later<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&MemoryStore) -> Answer<T> + Send + 'static,
    ) -> Answer<T> {
        let (store, delay) = (Arc::clone(&self.0), self.1);
        Answer::Pending(Box::pin(async move {
            tokio::time::sleep(delay).await;
            ask(&store).await
        }))
    }
}

impl Store for Later {
    fn check(&self, id: &SessionId<'_>, policy: &Policy, access: Access) -> Answer<Decision> {
        let (id, policy) = (id.clone().into_owned(), *policy);
        self.later(move |store| store.check(&id, &policy, access))
    }
    fn remaining(&self, key: SessionKey, policy: &Policy) -> Answer<Verdict> {
        let policy = *policy;
        self.later(move |store| store.remaining(key, &policy))
    }
    fn start(&self, id: &SessionId<'_>, new: &NewSession, policy: &Policy) -> Answer<Started> {
        let (id, new, policy) = (id.clone().into_owned(), new.clone(), *policy);
        self.later(move |store| store.start(&id, &new, &policy))
    }
    fn rotate(
        &self,
        key: SessionKey,
        new: &SessionId<'_>,
        presented: IdTag,
        policy: &Policy,
    ) -> Answer<Rotated> {
        let (new, policy) = (new.clone().into_owned(), *policy);
        self.later(move |store| store.rotate(key, &new, presented, &policy))
    }
    fn restart(&self, key: SessionKey, new: &NewSession, policy: &Policy) -> Answer<Restarted> {
        let (new, policy) = (new.clone(), *policy);
        self.later(move |store| store.restart(key, &new, &policy))
    }
    fn end(&self, key: SessionKey, reason: EndReason) -> Answer<bool> {
        self.later(move |store| store.end(key, reason))
    }
}

fn builder() -> SessionTimeoutBuilder {
    SessionTimeoutLayer::builder().cookie("sid").logout_path("/logout")
}

fn in_memory() -> SessionTimeoutLayer {
    builder().build().unwrap()
}

fn on_a_network() -> SessionTimeoutLayer {
    builder().store(Later(Arc::default(), Duration::from_millis(10))).build().unwrap()
}

async fn begin(layer: &SessionTimeoutLayer, id: &str) {
    layer.sessions().start(&SessionId::from(id), &NewSession::new()).await.unwrap();
}

/// Panics if it is called without having been polled ready, as tower allows services to.
#[derive(Default)]
struct Picky {
    is_ready: bool,
    calls: Arc<AtomicUsize>,
}

impl Clone for Picky {
    fn clone(&self) -> Self {
        Self { is_ready: false, calls: Arc::clone(&self.calls) }
    }
}

impl Service<Incoming> for Picky {
    type Response = Outgoing;
    type Error = Infallible;
    type Future = Ready<Result<Outgoing, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.is_ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Incoming) -> Self::Future {
        assert!(std::mem::take(&mut self.is_ready), "called without being ready");
        self.calls.fetch_add(1, SeqCst);
        ready(Ok(Response::new(Full::default())))
    }
}

/// T120, I6
#[tokio::test(start_paused = true)]
async fn the_inner_service_is_called_once_and_only_when_ready() {
    for layer in [in_memory(), on_a_network()] {
        begin(&layer, "A").await;
        let picky = Picky::default();
        let calls = Arc::clone(&picky.calls);
        let service = layer.layer(picky);
        let requests = (0..100).map(|n| {
            let request = match n % 4 {
                0 => get("/", &[]),
                1 => sid(get("/", &[]), "A"),
                2 => sid(get("/", &[]), "unknown"),
                _ => get("/", &[("cookie", "sid=A; sid=unknown")]),
            };
            service.clone().oneshot(request)
        });
        let responses = futures_util::future::join_all(requests).await;
        let refused = responses.iter().filter(|r| r.as_ref().unwrap().status() == StatusCode::UNAUTHORIZED);
        assert_eq!(refused.count(), 25);
        assert_eq!(calls.load(SeqCst), 75);
    }
}

/// T121
#[tokio::test(start_paused = true)]
async fn a_refused_request_gives_back_what_readiness_reserved() {
    for layer in [in_memory(), on_a_network()] {
        begin(&layer, "A").await;
        let inner = ServiceBuilder::new().layer(ConcurrencyLimitLayer::new(1)).service(Picky::default());
        let mut service = layer.layer(inner);
        for _ in 0..100 {
            let refused = service.ready().await.unwrap().call(sid(get("/", &[]), "unknown"));
            // The permit is free already, or at the latest with the answer.
            assert_eq!(refused.await.unwrap().status(), StatusCode::UNAUTHORIZED);
            let other = service.clone();
            let admitted = other.oneshot(sid(get("/", &[]), "A"));
            let admitted = tokio::time::timeout(Duration::from_secs(60), admitted).await;
            assert_eq!(admitted.expect("a permit").unwrap().status(), StatusCode::OK);
        }
    }
}

#[tokio::test]
async fn in_memory_the_permit_is_back_before_the_refusal_is_polled() {
    let layer = in_memory();
    begin(&layer, "A").await;
    let mut service =
        layer.layer(ServiceBuilder::new().layer(ConcurrencyLimitLayer::new(1)).service(Picky::default()));
    let unpolled = service.ready().await.unwrap().call(sid(get("/", &[]), "unknown"));
    let mut other = service.clone();
    let ready = tokio::time::timeout(Duration::from_secs(5), other.ready()).await;
    ready.expect("a permit").unwrap().call(sid(get("/", &[]), "A")).await.unwrap();
    drop(unpolled);
}

/// T122
#[tokio::test]
async fn pending_and_failed_readiness_are_passed_on() {
    let (mock, mut handle) = tower_test::mock::pair::<Incoming, Outgoing>();
    let mut service = tower_test::mock::Spawn::new(in_memory().layer(mock));
    handle.allow(0);
    assert!(service.poll_ready().is_pending());
    handle.allow(1);
    assert!(service.poll_ready().is_ready());
    handle.send_error("broken");
    let Poll::Ready(Err(error)) = service.poll_ready() else { panic!("the error is passed on") };
    assert!(error.to_string().contains("broken"));
}

/// T123: and the error's type is the service's own.
#[tokio::test]
async fn an_inner_error_passes_unchanged() {
    #[derive(Debug, PartialEq)]
    struct Broken(u8);
    let layer = in_memory();
    begin(&layer, "A").await;
    let service = layer.layer(tower::service_fn(|_: Incoming| async { Err::<Outgoing, _>(Broken(7)) }));
    let result: Result<_, Broken> = service.oneshot(sid(get("/", &[]), "A")).await;
    assert_eq!(result.unwrap_err(), Broken(7));
}

/// T123
#[tokio::test]
async fn a_request_that_ends_in_an_error_was_activity_and_holds_nothing() {
    let clock = ManualClock::new();
    let layer = builder().idle_timeout(IDLE).store(Arc::new(MemoryStore::new().clock(clock.clone())));
    let layer = layer.build().unwrap();
    begin(&layer, "A").await;
    clock.advance(IDLE.saturating_sub(NANO));
    let service = layer.layer(tower::service_fn(|_: Incoming| async { Err::<Outgoing, _>("broken") }));
    assert_eq!(service.oneshot(sid(get("/", &[]), "A")).await.err(), Some("broken"));
    clock.advance(IDLE.saturating_sub(NANO));
    assert!(matches!(layer.sessions().peek(&SessionId::from("A")).await.unwrap(), Decision::Live(_)));
    clock.advance(NANO);
    let over = layer.sessions().peek(&SessionId::from("A")).await.unwrap();
    assert!(matches!(over, Decision::Ended { reason: EndReason::Idle, .. }));
}

/// T124
#[tokio::test]
async fn a_panicking_handler_harms_nobody_else() {
    let layer = in_memory();
    begin(&layer, "A").await;
    let service = layer.layer(tower::service_fn(|request: Incoming| async move {
        assert!(request.uri().path() != "/panic");
        Ok::<_, Infallible>(Outgoing::default())
    }));
    let panicking = tokio::spawn(service.clone().oneshot(sid(get("/panic", &[]), "A")));
    assert!(panicking.await.unwrap_err().is_panic());
    let response = service.oneshot(sid(get("/", &[]), "A")).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_panicking_event_hook_decides_nothing() {
    let app = App::with(|builder| builder.on_event(|event| panic!("{event:?}")));
    app.log_in("A").await;
    assert!(app.admits("A").await);
    app.advance(IDLE);
    assert!(!app.admits("A").await, "T15");
    app.log_in("B").await;
    app.send(sid(post("/logout"), "B")).await;
    assert!(!app.admits("B").await);
}

/// T125: the client goes away at each point at which the answer waits: for the store, for the application, and for the
/// store again.
#[tokio::test(start_paused = true)]
async fn a_dropped_log_out_is_finished_wherever_it_waited() {
    let points = 60;
    let (mut handled_at_all, mut finished) = (0, 0);
    for dropped_after in 0..points {
        let layer = on_a_network();
        begin(&layer, "A").await;
        let handled = Arc::new(AtomicBool::new(false));
        let service = layer.layer(tower::service_fn({
            let handled = Arc::clone(&handled);
            move |_: Incoming| {
                let handled = Arc::clone(&handled);
                async move {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                    handled.store(true, SeqCst);
                    Ok::<_, Infallible>(Outgoing::default())
                }
            }
        }));
        let answer = service.oneshot(sid(post("/logout"), "A"));
        let in_time = tokio::time::timeout(Duration::from_millis(dropped_after), answer).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        let decision = layer.sessions().peek(&SessionId::from("A")).await.unwrap();
        let is_over = matches!(decision, Decision::Ended { reason: EndReason::SignedOut, .. });
        assert!(is_over, "dropped after {dropped_after} ms");
        handled_at_all += usize::from(handled.load(SeqCst));
        finished += usize::from(in_time.is_ok());
    }
    assert!(finished < handled_at_all && handled_at_all < 50, "also dropped before: {handled_at_all}");
    assert!(finished > 10 && finished < 50, "both before and after: {finished}");
}

/// T125
#[tokio::test(start_paused = true)]
async fn dropped_requests_leak_no_permit() {
    let layer = on_a_network();
    begin(&layer, "A").await;
    let inner = ServiceBuilder::new().layer(ConcurrencyLimitLayer::new(1)).service(Picky::default());
    let service = layer.layer(inner);
    for milliseconds in 0..30 {
        let answer = service.clone().oneshot(sid(get("/", &[]), "A"));
        let _ = tokio::time::timeout(Duration::from_millis(milliseconds), answer).await;
    }
    let answer = service.oneshot(sid(get("/", &[]), "A"));
    assert!(tokio::time::timeout(Duration::from_secs(1), answer).await.is_ok());
}

/// A network's store gives the same answers, only later.
#[tokio::test(start_paused = true)]
async fn a_store_on_a_network_begins_rotates_and_ends_like_memory() {
    let layer = on_a_network();
    let app = App::around(layer, ManualClock::new(), Arc::default());
    app.log_in("A").await;
    let response = app.send(set_cookie(sid(get("/account", &[]), "A"), "sid=B")).await;
    assert_eq!(set_cookies(&response), ["sid=B"]);
    assert!(app.admits("B").await);
    assert!(!app.admits("made-up").await);
    let response = app.send(get("/", &[("cookie", "a=1; sid=B; sid=x")])).await;
    assert_eq!(response.body(), "a=1; sid=B");
    app.send(sid(post("/logout"), "B")).await;
    assert!(!app.admits("B").await);
}

/// A store that fails, hangs, or does so for some questions only.
#[allow(clippy::struct_excessive_bools)] // one for each question
struct Failing {
    inner: MemoryStore,
    check: bool,
    start: bool,
    rotate: bool,
    end: Arc<AtomicUsize>,
    hangs: bool,
}

impl Failing {
    fn answer<T: Send + 'static>(&self, fails: bool, answer: impl FnOnce() -> Answer<T>) -> Answer<T> {
        match (fails, self.hangs) {
            (false, _) => answer(),
            (true, true) => Answer::Pending(Box::pin(std::future::pending())),
            (true, false) => Answer::Ready(Err(StoreError::new("connection refused"))),
        }
    }
}

impl Store for Failing {
    fn check(&self, id: &SessionId<'_>, policy: &Policy, access: Access) -> Answer<Decision> {
        self.answer(self.check, || self.inner.check(id, policy, access))
    }
    fn remaining(&self, key: SessionKey, policy: &Policy) -> Answer<Verdict> {
        self.answer(self.check, || self.inner.remaining(key, policy))
    }
    fn start(&self, id: &SessionId<'_>, new: &NewSession, policy: &Policy) -> Answer<Started> {
        self.answer(self.start, || self.inner.start(id, new, policy))
    }
    fn rotate(
        &self,
        key: SessionKey,
        new: &SessionId<'_>,
        presented: IdTag,
        policy: &Policy,
    ) -> Answer<Rotated> {
        self.answer(self.rotate, || self.inner.rotate(key, new, presented, policy))
    }
    fn restart(&self, key: SessionKey, new: &NewSession, policy: &Policy) -> Answer<Restarted> {
        self.answer(self.start, || self.inner.restart(key, new, policy))
    }
    fn end(&self, key: SessionKey, reason: EndReason) -> Answer<bool> {
        let fails = self.end.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_ok();
        self.answer(fails, || self.inner.end(key, reason))
    }
}

fn failing(configure: impl FnOnce(&mut Failing)) -> App {
    let mut store = Failing {
        inner: MemoryStore::new(),
        check: false,
        start: false,
        rotate: false,
        end: Arc::default(),
        hangs: false,
    };
    configure(&mut store);
    let layer = builder().login_path("/login").store(store).build().unwrap();
    App::around(layer, ManualClock::new(), Arc::default())
}

/// T100, T101
#[tokio::test(start_paused = true)]
async fn a_store_that_fails_or_hangs_is_503_and_not_a_log_out() {
    for hangs in [false, true] {
        let app = failing(|store| (store.check, store.hangs) = (true, hangs));
        let began = tokio::time::Instant::now();
        let response =
            app.send(get("/account", &[("cookie", "sid=A"), ("sec-fetch-mode", "navigate")])).await;
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(support::header(&response, "retry-after"), "5");
        assert!(support::header(&response, "cache-control").contains("no-store"));
        assert!(set_cookies(&response).is_empty());
        assert!(began.elapsed() <= Duration::from_millis(501));
        assert_eq!(app.calls(), 0);
        let response = app.send(get("/account", &[("cookie", "sid=A; sid=B")])).await;
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(app.send(get("/", &[])).await.status(), StatusCode::OK, "anonymous: nobody is asked");
    }
}

/// T101, T102: half a second by default, for one question that decides and renews.
#[tokio::test(start_paused = true)]
async fn a_store_is_waited_for_until_its_deadline() {
    for (delay, status) in [(499, StatusCode::OK), (501, StatusCode::SERVICE_UNAVAILABLE)] {
        let memory = Arc::new(MemoryStore::new());
        let new = NewSession::new();
        drop(memory.start(&SessionId::from("A"), &new, &Policy::new(Limits::default())));
        let layer = builder().store(Later(memory, Duration::from_millis(delay))).build().unwrap();
        let app = App::around(layer, ManualClock::new(), Arc::default());
        let began = tokio::time::Instant::now();
        assert_eq!(app.send(sid(get("/account", &[]), "A")).await.status(), status, "after {delay} ms");
        assert_eq!(began.elapsed(), Duration::from_millis(delay.min(500)));
    }
}

/// T99: judged by the time the store has when it answers, and renewed by no later one.
#[tokio::test(start_paused = true)]
async fn a_deadline_that_passes_while_the_store_is_asked_refuses_the_request() {
    let clock = ManualClock::new();
    let memory = Arc::new(MemoryStore::new().clock(clock.clone()));
    let layer = builder()
        .idle_timeout(IDLE)
        .store(Later(Arc::clone(&memory), Duration::from_millis(400)))
        .build()
        .unwrap();
    let app = App::around(layer, clock, memory);
    app.log_in("A").await;
    app.advance(IDLE.saturating_sub(Duration::from_millis(200)));
    let answer = app.send(sid(get("/account", &[]), "A"));
    let passing = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        app.advance(Duration::from_millis(300));
    };
    let (response, ()) = tokio::join!(answer, passing);
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(app.calls(), 1, "the log-in alone");
}

#[tokio::test(start_paused = true)]
async fn who_dares_admits_while_the_store_fails() {
    let store = Failing {
        inner: MemoryStore::new(),
        check: true,
        start: true,
        rotate: true,
        end: Arc::default(),
        hangs: false,
    };
    let layer = builder().store(store).dangerously_admit_on_store_failure().build().unwrap();
    let app = App::around(layer, ManualClock::new(), Arc::default());
    let response = app.send(sid(get("/account", &[]), "A")).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.body(), "sid=A");
    assert_eq!(support::header(&response, "x-session"), "", "nothing is known of it");
    let response = app.send(set_cookie(sid(get("/account", &[]), "A"), "sid=B")).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert!(set_cookies(&response).is_empty(), "I11");
    for request in [sid(post("/logout"), "A"), set_cookie(sid(post("/bye"), "A"), "sid=")] {
        assert_eq!(
            app.send(request).await.status(),
            StatusCode::SERVICE_UNAVAILABLE,
            "no log-out is pretended"
        );
    }
    let response = app.send(set_cookie(post("/login"), "sid=A")).await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test(start_paused = true)]
async fn a_session_that_cannot_be_begun_is_503_and_its_cookie_does_not_leave() {
    for hangs in [false, true] {
        let app = failing(|store| (store.start, store.hangs) = (true, hangs));
        let response = app.send(set_cookie(post("/login"), "sid=A")).await;
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(set_cookies(&response).is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn an_id_that_cannot_be_rotated_stays_the_old_one() {
    for hangs in [false, true] {
        let app = failing(|store| (store.rotate, store.hangs) = (true, hangs));
        app.log_in("A").await;
        let response = app.send(set_cookie(sid(get("/account", &[]), "A"), "sid=B")).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert!(set_cookies(&response).is_empty());
        assert!(app.admits("A").await);
    }
}

#[tokio::test(start_paused = true)]
async fn an_end_that_fails_or_hangs_is_503_and_tried_again() {
    for hangs in [false, true] {
        let app = failing(|store| (store.end, store.hangs) = (Arc::new(AtomicUsize::new(3)), hangs));
        app.log_in("A").await;
        let began = tokio::time::Instant::now();
        let response = app.send(sid(post("/logout"), "A")).await;
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(began.elapsed() <= Duration::from_millis(501));
        assert!(app.admits("A").await, "as yet");
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert!(!app.admits("A").await);
    }
}

/// A body that cannot be made up: only the real one will do. And it need not be `Send`, `Default` or anything else.
struct Odd(std::rc::Rc<()>);

impl Body for Odd {
    type Data = Bytes;
    type Error = std::rc::Rc<()>;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, Self::Error>>> {
        Poll::Ready(Some(Err(std::rc::Rc::clone(&self.0))))
    }
}

/// T132
#[tokio::test]
async fn any_body_and_any_error_will_do() {
    let layer = in_memory();
    let service = tower::service_fn(|_: Request<*const u8>| async {
        Ok::<_, std::rc::Rc<()>>(Response::new(Odd(std::rc::Rc::new(()))))
    });
    let mut service = layer.layer(service);
    let response = service.ready().await.unwrap().call(Request::new(std::ptr::null())).await.unwrap();
    let mut body = Box::pin(response.into_body());
    let frame = poll_fn(|cx| body.as_mut().poll_frame(cx)).await;
    assert!(frame.unwrap().is_err());
}

/// T126, T127
#[tokio::test]
async fn size_end_and_extensions_of_an_answer_are_the_applications() {
    #[derive(Clone, Debug, PartialEq)]
    struct Upgrade;
    let service = in_memory().layer(tower::service_fn(|_: Incoming| async {
        let mut response = Response::new(Full::new(Bytes::from_static(b"12345")));
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        response.extensions_mut().insert(Upgrade);
        Ok::<_, Infallible>(response)
    }));
    let response = service.oneshot(get("/", &[])).await.unwrap();
    assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
    assert_eq!(response.extensions().get(), Some(&Upgrade));
    assert_eq!(response.body().size_hint().exact(), Some(5));
    assert!(!response.body().is_end_stream());
    assert!(SessionBody::<Empty<Bytes>>::default().is_end_stream());
}

fn is_send_and_sync<T: Send + Sync>(_: &T) {}
fn is_send<T: Send>(_: &T) {}

#[test]
fn everything_is_send_and_what_is_kept_is_sync() {
    let layer = in_memory();
    is_send_and_sync(&layer);
    is_send_and_sync(&layer.sessions());
    let mut service = layer.layer(Picky::default());
    is_send_and_sync(&service);
    is_send(&service.call(sid(get("/", &[]), "unknown")));
    is_send_and_sync(&SessionBody::<Full<Bytes>>::default());
    is_send_and_sync(&MemoryStore::new());
}

/// A field of a struct, the result of a function, and boxed, cloneable stacks.
#[tokio::test]
async fn the_layer_has_one_type_and_fits_the_usual_places() {
    struct Application {
        layer: SessionTimeoutLayer,
    }
    let application = Application { layer: in_memory() };
    let layer = application.layer.clone();
    let boxed = ServiceBuilder::new()
        .layer(tower::util::BoxCloneSyncServiceLayer::new(application.layer))
        .service(Picky::default());
    assert_eq!(boxed.oneshot(get("/", &[])).await.unwrap().status(), StatusCode::OK);

    let router = axum::Router::new()
        .route("/", axum::routing::get(|| async { "ok" }).layer(layer.clone()))
        .route_layer(layer.clone())
        .layer(layer);
    let response = router.oneshot(Request::get("/").body(axum::body::Body::empty()).unwrap()).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
}

/// A request of memory alone needs no runtime.
#[test]
fn without_a_runtime_sessions_are_timed_all_the_same() {
    let layer = in_memory();
    let service = layer.layer(tower::service_fn(|_: Incoming| async {
        let response = Response::builder().header("set-cookie", "sid=A");
        Ok::<_, Infallible>(response.body(Full::<Bytes>::default()).unwrap())
    }));
    let status = |request| {
        let mut answer = Box::pin(service.clone().oneshot(request));
        let Poll::Ready(response) = answer.as_mut().poll(&mut Context::from_waker(std::task::Waker::noop()))
        else {
            panic!("nothing to wait for")
        };
        response.unwrap().status()
    };
    assert_eq!(status(post("/login")), StatusCode::OK);
    assert_eq!(status(sid(get("/", &[]), "A")), StatusCode::OK);
    assert_eq!(status(sid(get("/", &[]), "B")), StatusCode::UNAUTHORIZED);
    assert_eq!(status(sid(post("/logout"), "A")), StatusCode::OK);
    assert_eq!(status(sid(get("/", &[]), "A")), StatusCode::UNAUTHORIZED);
}

/// With a store that cannot hold, neither: it hears nothing of requests that take their time.
#[test]
fn without_a_runtime_a_slow_answer_is_an_answer() {
    let layer = builder().store(Remote::at_once(RuntimeClock::new())).build().unwrap();
    let service = layer.layer(tower::service_fn(|_: Incoming| async {
        tokio::task::yield_now().await;
        let response = Response::builder().header("set-cookie", "sid=A");
        Ok::<_, Infallible>(response.body(Full::<Bytes>::default()).unwrap())
    }));
    for request in [post("/login"), sid(get("/", &[]), "A")] {
        let mut answer = Box::pin(service.clone().oneshot(request));
        let mut cx = Context::from_waker(std::task::Waker::noop());
        assert!(answer.as_mut().poll(&mut cx).is_pending());
        let Poll::Ready(response) = answer.as_mut().poll(&mut cx) else { panic!("nothing to wait for") };
        assert_eq!(response.unwrap().status(), StatusCode::OK);
    }
}

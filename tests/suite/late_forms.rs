//! A form that comes after its session has ended is kept, and shown to its user after the next log-in (WCAG 2.2, 2.2.5).

use std::{
    collections::BTreeMap,
    pin::{Pin, pin},
    sync::{Arc, Mutex, atomic::Ordering::SeqCst},
    time::Duration,
};

use axum::{
    Extension, Router,
    body::{Body, Bytes},
    extract::{RawForm, State},
    http::{
        Request, Response, StatusCode,
        header::{CONTENT_TYPE, COOKIE, LOCATION, REFERER, SET_COOKIE},
    },
    response::{IntoResponse, Redirect},
    routing::{get, post},
};
use http_body::{Body as HttpBody, Frame};
use http_body_util::BodyExt;
use lol_html::{RewriteStrSettings, element, rewrite_str, text};
use sqlx::{SqlitePool, sqlite::SqliteConnectOptions};
use tower::{Layer, Service, ServiceExt, util::BoxCloneSyncService};
use tower_session_timeout::{
    Backend, BoxFuture, ClientEndpoints, ConfigError, FormBody, Key, Limits, Loaded, ManualClock,
    MemoryForms, MemoryStore, NewSession, RescueForms, RescueText, Session, SessionBody, SessionEvent,
    SessionTimeoutBuilder, SessionTimeoutLayer, StoreError, Swap, Swapped,
};

use tower_session_timeout_redis::RedisStore;
use tower_session_timeout_sqlx::SqliteStore;

use crate::{
    servers::redis_server::RedisServer,
    support::{ABSOLUTE, IDLE, RuntimeClock, remote::Remote},
};

const BASE: &str = "/_session-timeout";
const URLENCODED: &str = "application/x-www-form-urlencoded";
const DAY: Duration = Duration::from_secs(24 * 3600);

#[derive(Clone, Default)]
struct Notes {
    /// What the application was sent, and by whom.
    taken: Arc<Mutex<Vec<Bytes>>>,
    refuses: Arc<Mutex<bool>>,
}

struct Site {
    clock: ManualClock,
    notes: Notes,
    events: Arc<Mutex<Vec<SessionEvent>>>,
    service: BoxCloneSyncService<Request<Body>, Response<Bytes>, std::convert::Infallible>,
}

fn builder(clock: &ManualClock) -> SessionTimeoutBuilder {
    SessionTimeoutLayer::builder()
        .cookie("sid")
        .idle_timeout(IDLE)
        .absolute_timeout(ABSOLUTE)
        .login_path("/login")
        .logout_path("/logout")
        .client_endpoints(ClientEndpoints::at(BASE).secret([7; 32]))
        .store(MemoryStore::new().clock(clock.clone()))
}

async fn log_in(RawForm(form): RawForm) -> impl IntoResponse {
    let user = String::from_utf8(form.to_vec()).unwrap().replace("user=", "");
    if user.is_empty() {
        return Redirect::to("/login").into_response();
    }
    let cookie = new_cookie();
    (Extension(NewSession::new().owner(user)), [(SET_COOKIE, cookie)], Redirect::to("/notes")).into_response()
}

fn new_cookie() -> String {
    format!("sid={:032x}; Path=/; HttpOnly", rand::random::<u128>())
}

async fn log_in_in_place(RawForm(form): RawForm) -> impl IntoResponse {
    let user = String::from_utf8(form.to_vec()).unwrap().replace("user=", "");
    (Extension(NewSession::new().owner(user)), [(SET_COOKIE, new_cookie())], "welcome")
}

/// Answers at once, and goes on reading.
async fn reads_on(body: Body) -> impl IntoResponse {
    tokio::spawn(async move {
        tokio::task::yield_now().await;
        body.collect().await.unwrap();
    });
    Redirect::to("/login")
}

async fn end(session: Session) -> impl IntoResponse {
    session.end().await.unwrap();
    Redirect::to("/")
}

async fn take(State(notes): State<Notes>, session: Option<Session>, body: Bytes) -> impl IntoResponse {
    if session.is_none() {
        return Redirect::to("/login?next=/notes").into_response();
    }
    if *notes.refuses.lock().unwrap() {
        return (StatusCode::UNPROCESSABLE_ENTITY, "not like that").into_response();
    }
    notes.taken.lock().unwrap().push(body);
    Redirect::to("/notes").into_response()
}

impl Site {
    fn new() -> Self {
        Self::with(|builder| builder, RescueForms::new())
    }

    fn with(
        configure: impl FnOnce(SessionTimeoutBuilder) -> SessionTimeoutBuilder,
        rescue: RescueForms,
    ) -> Self {
        let clock = ManualClock::new();
        let forms = MemoryForms::new().with_clock(clock.clone());
        Self::on(clock.clone(), configure, rescue.keep_in(forms))
    }

    fn on(
        clock: ManualClock,
        configure: impl FnOnce(SessionTimeoutBuilder) -> SessionTimeoutBuilder,
        rescue: RescueForms,
    ) -> Self {
        let events = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::clone(&events);
        let layer = configure(builder(&clock))
            .on_event(move |event| told.lock().unwrap().push(event.clone()))
            .rescue_forms(rescue)
            .build()
            .unwrap();
        let notes = Notes::default();
        let app = Router::new()
            .route("/", get("home"))
            .route("/login", get("log in").post(log_in))
            .route("/logout", post(async || Redirect::to("/")))
            .route("/notes", get("notes").post(take))
            .route("/bye", post(async || ([(SET_COOKIE, "sid=; Path=/; Max-Age=0")], Redirect::to("/login"))))
            .route("/password", post(async || Redirect::to("/login?changed=1")))
            .route("/wrong", post(async || StatusCode::UNAUTHORIZED))
            .route("/auth", post(async || Redirect::to("/login?error=bad&lang=de")))
            .route("/search", post(async || Redirect::to("/login?error=x&next=/search&lang=de")))
            .route("/guest", post(async || [(SET_COOKIE, new_cookie())]))
            .route("/log-in-in-place", post(log_in_in_place))
            .route("/end", post(end))
            .route("/capped", post(take))
            .route("/moved", post(async || Redirect::permanent("/notes")))
            .route("/clears", get(async || [(SET_COOKIE, "sid=; Path=/; Max-Age=0")]))
            .route("/relative", post(async || Redirect::to("./login?next=x")))
            .route("/reads-on", post(reads_on))
            .route("/changing", get(async || ([(SET_COOKIE, new_cookie())], "a new id with every page")))
            .with_state(notes.clone());
        let service = ServiceExt::<Request<Body>>::and_then(
            layer.layer(app),
            |response: Response<SessionBody<SessionBody<Body>>>| async {
                let (parts, body) = response.into_parts();
                Ok(Response::from_parts(parts, body.collect().await.unwrap().to_bytes()))
            },
        );
        Self { clock, notes, events, service: BoxCloneSyncService::new(service) }
    }

    /// Within a layer of this configuration, on the same store.
    fn inside(configure: impl FnOnce(SessionTimeoutBuilder) -> SessionTimeoutBuilder) -> Self {
        let clock = ManualClock::new();
        let store = Arc::new(MemoryStore::new().clock(clock.clone()));
        let outer = configure(builder(&clock).store(Arc::clone(&store))).build().unwrap();
        let site = Self::on(clock, |builder| builder.store(store), RescueForms::new());
        let service = outer
            .layer(site.service.clone().map_response(|response| response.map(http_body_util::Full::new)));
        let service =
            service.and_then(|response: Response<SessionBody<http_body_util::Full<Bytes>>>| async {
                let (parts, body) = response.into_parts();
                Ok(Response::from_parts(parts, body.collect().await.unwrap().to_bytes()))
            });
        Self { service: BoxCloneSyncService::new(service), ..site }
    }

    fn browser(&self) -> Browser<'_> {
        Browser { site: self, cookies: BTreeMap::new() }
    }

    /// One in which this user's session has ended.
    async fn idle_browser(&self, user: &str) -> Browser<'_> {
        let mut browser = self.browser();
        browser.log_in(user).await;
        self.clock.advance(IDLE);
        browser
    }

    fn taken(&self) -> Vec<String> {
        let taken = self.notes.taken.lock().unwrap();
        taken.iter().map(|body| String::from_utf8(body.to_vec()).unwrap()).collect()
    }

    fn kept_and_lost(&self) -> (usize, Vec<&'static str>) {
        let events = self.events.lock().unwrap();
        let kept = events.iter().filter(|event| matches!(event, SessionEvent::FormKept)).count();
        let lost = events.iter().filter_map(|event| match event {
            SessionEvent::FormLost { reason } => Some(*reason),
            _ => None,
        });
        (kept, lost.collect())
    }
}

/// As a browser asks for pages, and leaves them by forms.
#[derive(Clone)]
struct Browser<'a> {
    site: &'a Site,
    cookies: BTreeMap<String, String>,
}

impl Browser<'_> {
    async fn send(&mut self, mut request: Request<Body>) -> Response<Bytes> {
        let cookies: Vec<_> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        if !cookies.is_empty() {
            request.headers_mut().insert(COOKIE, cookies.join("; ").parse().unwrap());
        }
        for (name, value) in [
            ("sec-fetch-mode", "navigate"),
            ("sec-fetch-dest", "document"),
            ("sec-fetch-site", "same-origin"),
        ] {
            if !request.headers().contains_key(name) {
                request.headers_mut().insert(name, value.parse().unwrap());
            }
        }
        let response = self.site.service.clone().ready().await.unwrap().call(request).await.unwrap();
        for set in response.headers().get_all(SET_COOKIE) {
            let (pair, attributes) = set.to_str().unwrap().split_once(';').unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            if attributes.contains("Max-Age=0") {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        response
    }

    async fn get(&mut self, path: &str) -> Response<Bytes> {
        self.send(Request::get(path).body(Body::empty()).unwrap()).await
    }

    async fn post_from(
        &mut self,
        page: &str,
        path: &str,
        content_type: &str,
        body: impl Into<Body>,
    ) -> Response<Bytes> {
        let request = Request::post(path)
            .header(CONTENT_TYPE, content_type)
            .header(REFERER, format!("http://localhost{page}"))
            .body(body.into());
        self.send(request.unwrap()).await
    }

    async fn post(&mut self, body: &'static str) -> Response<Bytes> {
        self.post_from("/notes", "/notes", URLENCODED, body).await
    }

    async fn log_in(&mut self, user: &str) {
        let answer = self.post_from("/login", "/login", URLENCODED, format!("user={user}")).await;
        assert_eq!(answer.status(), StatusCode::SEE_OTHER);
        assert_eq!(self.get("/notes").await.status(), StatusCode::OK);
    }

    /// The page with the form that was not sent.
    async fn unsent(&mut self) -> (String, Page) {
        let first = self.get(&format!("{BASE}/unsent")).await;
        assert_eq!(first.status(), StatusCode::SEE_OTHER, "{:?}", first.body());
        let place = location(&first).to_owned();
        let page = self.get(&place).await;
        (place, Page::of(&page))
    }

    async fn has_nothing(&mut self) -> bool {
        let page = self.get(&format!("{BASE}/unsent")).await;
        page.status() == StatusCode::OK && Page::of(&page).title == "There is nothing that was not sent."
    }

    /// Presses the button.
    async fn press_send(&mut self, place: &str, page: &Page) -> Response<Bytes> {
        let form = &page.forms[0];
        let body = form_urlencoded_of(&form.fields);
        self.post_from(place, &form.action, URLENCODED, body).await
    }
}

fn form_urlencoded_of(fields: &[(String, String)]) -> String {
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish()
}

fn location(response: &Response<Bytes>) -> &str {
    response.headers()[LOCATION].to_str().unwrap()
}

#[derive(Default)]
struct Page {
    title: String,
    text: String,
    forms: Vec<Form>,
}

#[derive(Default)]
struct Form {
    action: String,
    fields: Vec<(String, String)>,
}

impl Page {
    fn of(response: &Response<Bytes>) -> Self {
        assert_eq!(response.headers()[CONTENT_TYPE], "text/html; charset=utf-8");
        let html = str::from_utf8(response.body()).unwrap();
        let page = std::cell::RefCell::new(Self::default());
        let value = |element: &lol_html::html_content::Element<'_, '_>, name| {
            decoded(&element.get_attribute(name).unwrap_or_default())
        };
        let settings = RewriteStrSettings::new()
            .append_element_content_handler(text!("title", |chunk| {
                page.borrow_mut().title.push_str(&decoded(chunk.as_str()));
                Ok(())
            }))
            .append_element_content_handler(text!("main", |chunk| {
                page.borrow_mut().text.push_str(&decoded(chunk.as_str()));
                Ok(())
            }))
            .append_element_content_handler(element!("form", |element| {
                let action = value(element, "action");
                page.borrow_mut().forms.push(Form { action, ..Form::default() });
                Ok(())
            }))
            .append_element_content_handler(element!("form input", |element| {
                let field = (value(element, "name"), value(element, "value"));
                page.borrow_mut().forms.last_mut().unwrap().fields.push(field);
                Ok(())
            }));
        rewrite_str(html, settings).unwrap();
        page.into_inner()
    }
}

fn decoded(html: &str) -> String {
    html.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&amp;", "&")
}

#[tokio::test]
async fn a_late_form_is_shown_after_the_log_in_and_sent_once() {
    let site = Site::new();
    let mut ada = site.idle_browser("ada").await;

    let refused = ada.post("title=Caf%C3%A9&text=one%0D%0Atwo+%3Cb%3E%22&tag=a&tag=b").await;
    assert_eq!(refused.status(), StatusCode::SEE_OTHER);
    assert_eq!(location(&refused), "/login?next=%2F_session-timeout%2Funsent");
    assert!(site.taken().is_empty());

    ada.log_in("ada").await;
    let (place, page) = ada.unsent().await;
    assert_eq!(page.title, "This was not sent");
    assert!(page.text.contains("one\r\ntwo <b>\""), "{}", page.text);
    assert_eq!(page.forms[0].action, "/notes");
    let fields = [("title", "Café"), ("text", "one\r\ntwo <b>\""), ("tag", "a"), ("tag", "b")];
    assert_eq!(page.forms[0].fields, fields.map(|(name, value)| (name.to_owned(), value.to_owned())));

    let answer = ada.press_send(&place, &page).await;
    assert_eq!(location(&answer), "/notes");
    assert_eq!(site.taken(), ["title=Caf%C3%A9&text=one%0D%0Atwo+%3Cb%3E%22&tag=a&tag=b"]);
    let again = ada.press_send(&place, &page).await;
    assert_eq!(location(&again), "/_session-timeout/unsent");
    assert_eq!(site.taken().len(), 1, "pressing twice sends once");
    assert!(ada.has_nothing().await);
    assert_eq!(site.kept_and_lost(), (1, vec![]));
}

#[tokio::test]
async fn nobody_else_sees_it() {
    let site = Site::new();
    let mut ada = site.browser();
    ada.log_in("ada").await;
    let cookies = ada.cookies.clone();
    site.clock.advance(IDLE);
    ada.post("text=private").await;
    // On the same machine.
    ada.log_in("grace").await;
    assert!(ada.has_nothing().await);
    // With the cookie that says whose browser it was.
    ada.cookies.insert("user-sid".to_owned(), cookies["user-sid"].clone());
    assert!(ada.has_nothing().await);
    // Without a session.
    let mut nobody = site.browser();
    nobody.cookies.insert("user-sid".to_owned(), cookies["user-sid"].clone());
    let page = nobody.get(&format!("{BASE}/unsent")).await;
    assert_eq!(location(&page), "/login?next=%2F_session-timeout%2Funsent");
    // In another browser of hers.
    let mut elsewhere = site.browser();
    elsewhere.log_in("ada").await;
    assert!(elsewhere.unsent().await.1.text.contains("private"));
}

#[tokio::test]
async fn it_is_kept_though_the_store_has_forgotten_the_session() {
    for passes in [IDLE + Duration::from_secs(3600), ABSOLUTE + Duration::from_secs(12 * 3600)] {
        let site = Site::new();
        let mut ada = site.browser();
        ada.log_in("ada").await;
        site.clock.advance(passes);
        // Others come meanwhile, and what is over is swept.
        for _ in 0..10_000 {
            site.browser().log_in("grace").await;
        }
        ada.post("text=late").await;
        ada.log_in("ada").await;
        assert!(ada.unsent().await.1.text.contains("late"));
    }
}

#[tokio::test]
async fn so_are_those_that_the_application_turns_away_for_the_browser_has_lost_its_cookie() {
    let site = Site::new();
    let mut ada = site.idle_browser("ada").await;
    // In another tab, which is sent to the log-in page without its cookie.
    assert_eq!(location(&ada.get("/notes").await), "/login?next=%2Fnotes");
    assert!(!ada.cookies.contains_key("sid"));
    let turned = ada.post("text=in+another+tab").await;
    assert_eq!(location(&turned), "/login?next=%2F_session-timeout%2Funsent");
    ada.log_in("ada").await;
    assert!(ada.unsent().await.1.text.contains("in another tab"));
    // A log-in that failed is no form to keep.
    ada.cookies.remove("sid");
    let failed = ada.post_from("/login", "/login?next=/notes", URLENCODED, "user=").await;
    assert_ne!(location(&failed), "/login?next=%2F_session-timeout%2Funsent");
    assert_eq!(site.kept_and_lost(), (1, vec![]));
}

/// Two processes: one keeps it, the other shows it.
async fn processes_share_forms(one: impl Backend, other: impl Backend) {
    let clock = ManualClock::new();
    let site = |backend| Site::on(clock.clone(), |builder| builder, backend);
    let one = site(RescueForms::new().keep_in(one));
    let mut ada = one.browser();
    ada.log_in("ada").await;
    clock.advance(IDLE);
    ada.post("text=kept+in+one+process").await;
    let other = site(RescueForms::new().keep_in(other));
    let mut ada = Browser { site: &other, cookies: ada.cookies };
    ada.log_in("ada").await;
    let (place, page) = ada.unsent().await;
    assert!(page.text.contains("kept in one process"));
    ada.press_send(&place, &page).await;
    assert_eq!(other.taken(), ["text=kept+in+one+process"]);
    assert!(ada.has_nothing().await);
}

#[tokio::test]
async fn processes_share_forms_in_redis() {
    let server = RedisServer::start(&[]).await;
    let one = RedisStore::new(server.connect().await).prefix("one-site:");
    let other = RedisStore::new(server.connect().await).prefix("one-site:");
    processes_share_forms(one.forms(), other.forms()).await;
}

#[tokio::test]
async fn processes_share_forms_in_a_database() {
    let folder = tempfile::tempdir().unwrap();
    let options =
        SqliteConnectOptions::new().filename(folder.path().join("forms.db")).create_if_missing(true);
    let store = SqliteStore::new(SqlitePool::connect_with(options).await.unwrap());
    store.migrate().await.unwrap();
    processes_share_forms(store.forms(), store.forms()).await;
}

#[tokio::test]
async fn while_forms_cannot_be_kept_it_is_told_and_nothing_waits_longer_than_the_stores_deadline() {
    #[derive(Clone, Copy)]
    struct Away(bool);
    impl Away {
        fn answer<T: Send + 'static>(self) -> BoxFuture<Result<T, StoreError>> {
            let hangs = self.0;
            Box::pin(async move {
                if hangs {
                    std::future::pending::<()>().await;
                }
                Err(StoreError::new("away"))
            })
        }
    }
    impl Backend for Away {
        fn load(&self, _: Key) -> BoxFuture<Result<Loaded, StoreError>> {
            self.answer()
        }
        fn swap(&self, _: Swap) -> BoxFuture<Result<Swapped, StoreError>> {
            self.answer()
        }
    }
    for hangs in [false, true] {
        let clock = ManualClock::new();
        let site = Site::on(clock, |builder| builder, RescueForms::new().keep_in(Away(hangs)));
        let mut ada = site.browser();
        ada.log_in("ada").await;
        assert_eq!(ada.post("text=in+time").await.status(), StatusCode::SEE_OTHER);
        site.clock.advance(IDLE);
        let told = ada.post("text=late").await;
        assert_eq!(told.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(Page::of(&told).text.contains("cannot be kept"));
        ada.log_in("ada").await;
        let page = ada.get(&format!("{BASE}/unsent")).await;
        assert_eq!(page.status(), StatusCode::SERVICE_UNAVAILABLE);
        // A log-out is one all the same.
        assert_eq!(location(&ada.post_from("/notes", "/logout", URLENCODED, "").await), "/");
    }
}

#[tokio::test]
async fn passwords_codes_and_card_numbers_are_not_kept_nor_what_the_application_names() {
    let site = Site::with(|builder| builder, RescueForms::new().never_keep(["ssn"]));
    let mut ada = site.idle_browser("ada").await;
    ada.post("note=keep&password=hunter2&otp=123456&payment=4111+1111+1111+1111&ssn=078-05-1120").await;
    ada.log_in("ada").await;
    let (_, page) = ada.unsent().await;
    assert_eq!(page.forms[0].fields, [("note".to_owned(), "keep".to_owned())]);
    for secret in ["hunter2", "123456", "4111", "078"] {
        assert!(!page.text.contains(secret), "{secret}");
    }
    for name in ["password", "otp", "payment", "ssn"] {
        assert!(page.text.contains(name), "{name} is named");
    }
}

#[tokio::test]
async fn of_files_only_the_names_are_kept() {
    let site = Site::new();
    let mut ada = site.idle_browser("ada").await;
    let body = "--x\r\nContent-Disposition: form-data; name=\"note\"\r\n\r\nwith \"quotes\"\r\n\
                --x\r\nContent-Disposition: form-data; name=\"photo\"; filename=\"me.jpg\"\r\n\
                Content-Type: image/jpeg\r\n\r\nJPEG\r\n\
                --x\r\nContent-Disposition: form-data; name=\"none\"; filename=\"\"\r\n\
                Content-Type: application/octet-stream\r\n\r\n\r\n--x--\r\n";
    ada.post_from("/notes", "/notes", "multipart/form-data; boundary=x", body).await;
    ada.log_in("ada").await;
    let place = location(&ada.get(&format!("{BASE}/unsent")).await).to_owned();
    let answer = ada.get(&place).await;
    let page = Page::of(&answer);
    assert_eq!(page.forms[0].fields, [("note".to_owned(), "with \"quotes\"".to_owned())]);
    assert!(page.text.contains("me.jpg") && !page.text.contains("JPEG"));
    assert!(str::from_utf8(answer.body()).unwrap().contains("enctype=\"multipart/form-data\""));
}

#[tokio::test]
async fn what_cannot_be_kept_is_told_and_shown_before_it_is_lost() {
    let late = async |site: &Site, body: Body| {
        let mut ada = site.idle_browser("ada").await;
        ada.post_from("/notes", "/notes", URLENCODED, body).await
    };
    let site = Site::with(|builder| builder, RescueForms::new().limit(1 << 10));
    let text = "x".repeat(2000);
    let told = late(&site, format!("text={text}&password=hunter2").into()).await;
    assert_eq!(told.status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(told.headers()["session-ended"], "idle");
    let page = Page::of(&told);
    assert!(page.text.contains("larger than 1 KiB") && page.text.contains(&text), "{}", page.text);
    assert!(!page.text.contains("hunter2"));
    // Too large to be shown.
    let told = late(&site, "x".repeat(2 << 20).into()).await;
    assert_eq!(told.status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert!(Page::of(&told).text.contains("Back button"));
    for unreadable in ["text=%FF%FE".to_owned(), "a=b&".repeat(501)] {
        assert_eq!(late(&site, unreadable.into()).await.status(), StatusCode::BAD_REQUEST);
    }
    let broken = futures_util::stream::once(async { Err::<Bytes, _>(std::io::Error::other("gone")) });
    assert_eq!(late(&site, Body::from_stream(broken)).await.status(), StatusCode::BAD_REQUEST);
    for text in ["text=1", "text=2", "text=3", "text=4"] {
        assert_eq!(late(&site, text.into()).await.status(), StatusCode::SEE_OTHER);
    }
    let told = late(&site, "text=the+fifth".into()).await;
    assert_eq!(told.status(), StatusCode::CONFLICT);
    assert!(Page::of(&told).text.contains("the fifth"));
    let (kept, lost) = site.kept_and_lost();
    assert_eq!((kept, lost.len()), (4, 6));
}

#[tokio::test]
async fn what_is_not_kept_for_its_session_was_ended_otherwise_or_is_nobodys_is_shown() {
    let site = Site::new();
    let mut ada = site.browser();
    ada.log_in("ada").await;
    let mut copy = ada.clone();
    ada.post_from("/notes", "/logout", URLENCODED, "").await;
    let told = copy.post("text=after+the+log-out").await;
    assert_eq!(told.status(), StatusCode::FORBIDDEN);
    assert!(Page::of(&told).text.contains("after the log-out"));
    ada.log_in("ada").await;
    assert!(ada.has_nothing().await);

    ada.cookies.remove("user-sid");
    ada.cookies.insert("sid".to_owned(), "0".repeat(32));
    let told = ada.post("text=of+nobody").await;
    assert_eq!(told.status(), StatusCode::FORBIDDEN);
    assert!(Page::of(&told).text.contains("of nobody"));
    // A form without fields is a button.
    ada.cookies.insert("sid".to_owned(), "0".repeat(32));
    assert_eq!(ada.post("").await.status(), StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn what_comes_in_a_live_session_is_the_applications_wherever_it_sends_the_browser() {
    let site = Site::new();
    let mut ada = site.browser();
    ada.log_in("ada").await;
    let answer = ada.post_from("/notes", "/password", URLENCODED, "old=1&new=2").await;
    assert_eq!(location(&answer), "/login?changed=1");
    let answer = ada.post_from("/notes", "/wrong", URLENCODED, "text=1").await;
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
    let answer = ada.post_from("/notes", "/bye", URLENCODED, "reason=late").await;
    assert_eq!(location(&answer), "/login");
    ada.log_in("ada").await;
    assert!(ada.has_nothing().await);
    assert_eq!(site.kept_and_lost(), (0, vec![]));
}

#[tokio::test]
async fn without_a_session_a_log_in_that_failed_elsewhere_is_not_kept_nor_what_comes_to_public_paths() {
    let site = Site::with(|builder| builder.public_paths(["/password"]), RescueForms::new());
    let mut ada = site.browser();
    ada.log_in("ada").await;
    ada.cookies.remove("sid");
    let answer = ada.post_from("/login", "/auth", URLENCODED, "user=ada&password=hunter2").await;
    assert_eq!(location(&answer), "/login?error=bad&lang=de");
    let answer = ada.post_from("/", "/password", URLENCODED, "a=b").await;
    assert_eq!(location(&answer), "/login?changed=1");
    assert_eq!(site.kept_and_lost(), (0, vec![]));
    // What else the application says in its location stays.
    let answer = ada.post_from("/", "/search", URLENCODED, "a=b").await;
    assert_eq!(location(&answer), "/login?error=x&lang=de&next=%2F_session-timeout%2Funsent");
    assert_eq!(site.kept_and_lost(), (1, vec![]));
}

#[tokio::test]
async fn a_form_is_its_sessions_owners_whoever_used_the_browser_before() {
    let site = Site::new();
    let mut ada = site.browser();
    ada.log_in("ada").await;
    // A visitor without a log-in, at Ada's browser.
    site.clock.advance(IDLE);
    let mut guest = ada.clone();
    guest.cookies.remove("sid");
    guest.post_from("/", "/guest", URLENCODED, "").await;
    assert!(!guest.cookies.contains_key("user-sid"));
    guest.cookies.insert("user-sid".to_owned(), ada.cookies["user-sid"].clone());
    site.clock.advance(IDLE);
    assert_eq!(guest.post("text=of+a+guest").await.status(), StatusCode::FORBIDDEN);
    // Somebody who logs in without leaving the page.
    let mut grace = ada.clone();
    grace.cookies.remove("sid");
    grace.post_from("/", "/log-in-in-place", URLENCODED, "user=grace").await;
    assert_ne!(grace.cookies["user-sid"], ada.cookies["user-sid"]);
    grace.cookies.insert("user-sid".to_owned(), ada.cookies["user-sid"].clone());
    site.clock.advance(IDLE);
    assert_eq!(grace.post("text=of+grace").await.status(), StatusCode::SEE_OTHER);
    ada.log_in("ada").await;
    assert!(ada.has_nothing().await);
    grace.log_in("grace").await;
    assert!(grace.unsent().await.1.text.contains("of grace"));
}

#[tokio::test]
async fn a_browser_whose_id_changes_with_every_page_is_known_too() {
    let site = Site::new();
    let mut ada = site.browser();
    ada.log_in("ada").await;
    let known = ada.cookies.remove("user-sid");
    ada.get("/changing").await;
    assert_eq!(ada.cookies.get("user-sid"), known.as_ref());
    ada.get("/changing").await;
    assert_eq!(ada.cookies.get("user-sid"), known.as_ref());
    site.clock.advance(IDLE);
    ada.post("text=1").await;
    ada.log_in("ada").await;
    assert!(!ada.has_nothing().await);
}

#[tokio::test]
async fn it_is_sent_in_its_users_session_only_and_without_the_browser_being_known() {
    let site = Site::new();
    let mut ada = site.idle_browser("ada").await;
    ada.post("text=of+ada").await;
    ada.log_in("ada").await;
    let (place, page) = ada.unsent().await;
    // Her page is still open when somebody else logs in.
    let mut grace = ada.clone();
    grace.log_in("grace").await;
    assert_eq!(location(&grace.press_send(&place, &page).await), "/_session-timeout/unsent");
    assert!(site.taken().is_empty());
    let mut elsewhere = site.browser();
    elsewhere.post_from("/login", "/login", URLENCODED, "user=ada").await;
    elsewhere.cookies.remove("user-sid");
    let (place, page) = elsewhere.unsent().await;
    elsewhere.press_send(&place, &page).await;
    elsewhere.press_send(&place, &page).await;
    assert_eq!(site.taken(), ["text=of+ada"]);
}

#[tokio::test]
async fn what_an_open_page_shows_can_be_sent_though_it_is_kept_no_more() {
    let site = Site::new();
    let mut ada = site.idle_browser("ada").await;
    ada.post("text=1").await;
    ada.log_in("ada").await;
    let (place, page) = ada.unsent().await;
    let mut phone = site.browser();
    phone.log_in("ada").await;
    phone.post_from("/notes", "/logout", URLENCODED, "").await;
    for _ in 0..2 {
        ada.press_send(&place, &page).await;
    }
    assert_eq!(site.taken(), ["text=1"]);
}

#[tokio::test]
async fn a_form_that_is_sent_again_is_kept_once_and_each_page_leads_to_what_is_left() {
    let site = Site::new();
    let mut ada = site.browser();
    ada.log_in("ada").await;
    let late = ada.clone();
    site.clock.advance(IDLE);
    for text in ["text=1", "text=1", "text=2"] {
        late.clone().post(text).await;
    }
    ada.log_in("ada").await;
    let (place, page) = ada.unsent().await;
    assert!(page.text.contains("There is another one"));
    ada.press_send(&place, &page).await;
    let answer = ada.get(&place).await;
    let (next, page) = ada.unsent().await;
    assert_eq!(location(&answer), next);
    assert!(!page.text.contains("There is another one"));
    ada.press_send(&next, &page).await;
    assert_eq!(site.taken(), ["text=1", "text=2"]);
}

#[tokio::test]
async fn browsers_that_do_not_say_how_they_came_by_it_are_believed_by_what_they_accept() {
    let site = Site::new();
    let mut ada = site.idle_browser("ada").await;
    let cookies = format!("sid={}; user-sid={}", ada.cookies["sid"], ada.cookies["user-sid"]);
    let request = Request::post("/notes")
        .header(CONTENT_TYPE, URLENCODED)
        .header(COOKIE, cookies)
        .header("host", "intranet.test")
        .header("origin", "http://intranet.test")
        .header("accept", "text/html,*/*;q=0.8")
        .body(Body::from("text=over+plain+HTTP"));
    let refused = site.service.clone().oneshot(request.unwrap()).await.unwrap();
    assert_eq!(
        (refused.status(), location(&refused)),
        (StatusCode::SEE_OTHER, "/login?next=%2F_session-timeout%2Funsent")
    );
    ada.log_in("ada").await;
    assert!(ada.unsent().await.1.text.contains("over plain HTTP"));
}

#[tokio::test]
async fn an_application_that_answers_by_itself_does() {
    let to_idp = |_: &tower_session_timeout::Ended<'_>| {
        Response::builder().status(303).header(LOCATION, "https://idp.example/").body(Body::empty()).unwrap()
    };
    let site = Site::with(|builder| builder.expired_response(to_idp), RescueForms::new());
    let mut ada = site.idle_browser("ada").await;
    assert_eq!(location(&ada.post("text=1").await), "https://idp.example/");
    ada.log_in("ada").await;
    assert!(ada.unsent().await.1.forms[0].action == "/notes");
}

#[tokio::test]
async fn it_goes_where_the_application_ends_the_session_and_where_its_user_signs_out_too_late() {
    let site = Site::new();
    let mut ada = site.idle_browser("ada").await;
    ada.post("text=1").await;
    ada.log_in("ada").await;
    ada.post_from("/notes", "/end", URLENCODED, "").await;
    assert!(!ada.cookies.contains_key("user-sid"));
    ada.log_in("ada").await;
    assert!(ada.has_nothing().await);

    site.clock.advance(IDLE);
    let mut late = ada.clone();
    ada.post("text=2").await;
    late.post_from("/notes", "/logout", URLENCODED, "").await;
    assert!(!late.cookies.contains_key("user-sid"));
    ada.log_in("ada").await;
    assert!(ada.has_nothing().await);
}

#[tokio::test]
async fn where_there_is_no_room_for_all_users_forms_it_is_told() {
    let clock = ManualClock::new();
    let forms = MemoryForms::new().capacity(600).with_clock(clock.clone());
    let site = Site::on(clock, |builder| builder, RescueForms::new().keep_in(forms));
    let (mut ada, mut grace) = (site.browser(), site.browser());
    ada.log_in("ada").await;
    grace.log_in("grace").await;
    site.clock.advance(IDLE);
    assert_eq!(ada.post("text=fits").await.status(), StatusCode::SEE_OTHER);
    let large = format!("text={}", "x".repeat(500));
    let grace_late = grace.clone();
    let told = grace.post_from("/notes", "/notes", URLENCODED, large.clone()).await;
    assert_eq!(told.status(), StatusCode::SERVICE_UNAVAILABLE);
    // A day later there is room.
    site.clock.advance(DAY);
    grace = grace_late;
    let grace_again = grace.post_from("/notes", "/notes", URLENCODED, large[..300].to_owned()).await;
    assert_eq!(grace_again.status(), StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn it_goes_after_a_day_by_discarding_it_and_by_a_log_out() {
    let site = Site::new();
    let mut ada = site.idle_browser("ada").await;
    ada.post("text=1").await;
    ada.log_in("ada").await;
    let (_, page) = ada.unsent().await;
    let discarded = ada.post_from("/x", &page.forms[1].action, URLENCODED, "").await;
    assert_eq!(location(&discarded), "/_session-timeout/unsent");
    assert!(ada.has_nothing().await);

    site.clock.advance(IDLE);
    ada.post("text=2").await;
    site.clock.advance(DAY);
    ada.log_in("ada").await;
    assert!(ada.has_nothing().await);

    site.clock.advance(IDLE);
    ada.post("text=3").await;
    ada.log_in("ada").await;
    let out = ada.post_from("/notes", "/logout", URLENCODED, "").await;
    assert_eq!(location(&out), "/");
    assert!(!ada.cookies.contains_key("user-sid"));
    ada.log_in("ada").await;
    assert!(ada.has_nothing().await);
}

#[tokio::test]
async fn by_a_sign_out_of_the_page_too() {
    let site = Site::new();
    let mut ada = site.idle_browser("ada").await;
    ada.post("text=1").await;
    ada.log_in("ada").await;
    let out = ada.post_from("/notes", &format!("{BASE}/sign-out"), URLENCODED, "").await;
    assert_eq!(out.status(), StatusCode::OK);
    assert!(!ada.cookies.contains_key("user-sid"));
    ada.log_in("ada").await;
    assert!(ada.has_nothing().await);
}

#[tokio::test]
async fn a_form_that_the_application_refuses_stays() {
    let site = Site::new();
    let mut ada = site.idle_browser("ada").await;
    ada.post("text=1").await;
    ada.log_in("ada").await;
    *site.notes.refuses.lock().unwrap() = true;
    let (place, page) = ada.unsent().await;
    assert_eq!(ada.press_send(&place, &page).await.status(), StatusCode::UNPROCESSABLE_ENTITY);
    *site.notes.refuses.lock().unwrap() = false;
    let (place, page) = ada.unsent().await;
    assert_eq!(ada.press_send(&place, &page).await.status(), StatusCode::SEE_OTHER);
    assert_eq!(site.taken(), ["text=1"]);
}

#[tokio::test]
async fn one_that_is_sent_into_a_session_which_has_ended_again_stays_once() {
    let site = Site::new();
    let mut ada = site.idle_browser("ada").await;
    ada.post("text=1").await;
    ada.log_in("ada").await;
    let (place, page) = ada.unsent().await;
    site.clock.advance(IDLE);
    let refused = ada.press_send(&place, &page).await;
    assert_eq!(location(&refused), "/login?next=%2F_session-timeout%2Funsent");
    ada.log_in("ada").await;
    let (place, page) = ada.unsent().await;
    assert!(!page.text.contains("There is another one"));
    ada.press_send(&place, &page).await;
    assert_eq!(site.taken(), ["text=1"]);
}

#[tokio::test]
async fn a_new_token_takes_the_place_of_the_old_one() {
    let rescue = RescueForms::new().csrf("token", |_| Some("new".to_owned()));
    let site = Site::with(|builder| builder, rescue);
    let mut ada = site.idle_browser("ada").await;
    ada.post("token=old&text=1").await;
    ada.log_in("ada").await;
    let (place, page) = ada.unsent().await;
    assert!(!page.text.contains("old") && !page.text.contains("token"));
    ada.press_send(&place, &page).await;
    assert_eq!(site.taken(), ["token=new&text=1"]);
}

#[tokio::test]
async fn only_a_form_of_this_site_by_which_a_page_is_left_and_that_a_timeout_was_in_the_way_of_is_kept() {
    let others: [(&str, &[(&str, &str)]); 4] = [
        ("of another site", &[("sec-fetch-site", "cross-site")]),
        ("of a script", &[("sec-fetch-mode", "cors")]),
        ("of another type", &[("content-type", "application/json")]),
        ("of two types", &[("content-type", URLENCODED), ("content-type", "text/plain")]),
    ];
    for (what, fields) in others {
        let site = Site::new();
        let mut ada = site.idle_browser("ada").await;
        let mut request = Request::post("/notes");
        if !fields.iter().any(|(name, _)| *name == "content-type") {
            request = request.header(CONTENT_TYPE, URLENCODED);
        }
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let refused = ada.send(request.body(Body::from("text=1")).unwrap()).await;
        assert!(matches!(refused.status(), StatusCode::SEE_OTHER | StatusCode::UNAUTHORIZED), "{what}");
        if refused.status() == StatusCode::SEE_OTHER {
            assert_eq!(location(&refused), "/login", "{what}");
        }
        ada.log_in("ada").await;
        assert!(ada.has_nothing().await, "{what}");
    }
}

#[tokio::test]
async fn a_forged_or_foreign_cookie_leaves_no_form_for_anybody() {
    let site = Site::new();
    let mut ada = site.browser();
    ada.log_in("ada").await;
    let cookie = ada.cookies["user-sid"].clone();
    // An id that no store knows.
    ada.cookies.insert("sid".to_owned(), "0".repeat(32));
    let mut grace = site.browser();
    grace.log_in("grace").await;
    for forged in [
        String::new(),
        "x".to_owned(),
        "A".repeat(cookie.len()),
        format!("{}A", &cookie[..cookie.len() - 1]),
        format!("{cookie}A"),
        format!("{cookie}; user-sid={}", grace.cookies["user-sid"]),
    ] {
        let mut thief = ada.clone();
        thief.cookies.insert("user-sid".to_owned(), forged.clone());
        assert_eq!(thief.post("text=1").await.status(), StatusCode::FORBIDDEN, "{forged}");
    }
    assert_eq!(ada.post("text=1").await.status(), StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn the_page_is_nobodys_to_frame_or_to_cache_and_runs_no_script() {
    let site = Site::new();
    let mut ada = site.idle_browser("ada").await;
    ada.post_from(
        "/notes?a=%3Cscript%3E",
        "/notes?%22%3E%3Cscript%3E",
        URLENCODED,
        "%3Cscript%3E=%3C/textarea%3E%3Cscript%3Ealert(1)%3C/script%3E",
    )
    .await;
    ada.log_in("ada").await;
    let place = location(&ada.get(&format!("{BASE}/unsent")).await).to_owned();
    let page = ada.get(&place).await;
    let headers = page.headers();
    assert_eq!(headers["cache-control"], "no-store");
    assert_eq!(headers["x-frame-options"], "DENY");
    assert_eq!(headers["referrer-policy"], "same-origin");
    let policy = headers["content-security-policy"].to_str().unwrap();
    assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"), "{policy}");
    assert!(!str::from_utf8(page.body()).unwrap().contains("<script"));
}

#[tokio::test]
async fn texts_are_translated_and_the_applications_stylesheet_is_used() {
    let rescue = RescueForms::new().stylesheet("/style.css").texts(|head, text| {
        let german = head.headers().get("accept-language").is_some_and(|language| language == "de");
        match text {
            RescueText::Language if german => Some("de".to_owned()),
            RescueText::Send if german => Some("Jetzt senden".to_owned()),
            _ => None,
        }
    });
    let site = Site::with(|builder| builder, rescue);
    let mut ada = site.idle_browser("ada").await;
    ada.post("text=1").await;
    ada.log_in("ada").await;
    let place = location(&ada.get(&format!("{BASE}/unsent")).await).to_owned();
    let request = Request::get(&place).header("accept-language", "de").body(Body::empty()).unwrap();
    let page = ada.send(request).await;
    let html = str::from_utf8(page.body()).unwrap();
    assert!(html.contains("<html lang=\"de\">") && html.contains("Jetzt senden"), "{html}");
    assert!(html.contains("href=\"/style.css\"") && html.matches("<style").count() == 1, "{html}");
}

#[tokio::test]
async fn a_log_out_that_comes_too_late_discards_all_the_same() {
    for sign_out in ["/logout".to_owned(), format!("{BASE}/sign-out")] {
        for is_refused_before in [false, true] {
            let site = Site::new();
            let mut ada = site.idle_browser("ada").await;
            let before = ada.clone();
            ada.post("text=1").await;
            let mut late = if is_refused_before { ada.clone() } else { before };
            assert!(late.cookies.contains_key("user-sid"));
            late.post_from("/notes", &sign_out, URLENCODED, "").await;
            assert!(!late.cookies.contains_key("user-sid"), "{sign_out} {is_refused_before}");
            ada.log_in("ada").await;
            assert!(ada.has_nothing().await, "{sign_out} {is_refused_before}");
        }
    }
}

#[tokio::test]
async fn a_log_out_by_a_page_elsewhere_discards_nothing() {
    let site = Site::new();
    let mut ada = site.idle_browser("ada").await;
    ada.post("text=1").await;
    let forged = Request::post("/logout").header("sec-fetch-site", "cross-site").body(Body::empty()).unwrap();
    ada.send(forged).await;
    assert!(ada.cookies.contains_key("user-sid"));
    ada.log_in("ada").await;
    assert!(!ada.has_nothing().await);
}

#[tokio::test]
async fn a_cap_refuses_a_form_of_its_sessions_owner_whom_the_store_knows() {
    let cap = Limits::new(Duration::from_secs(60), ABSOLUTE);
    let capped = move |builder: SessionTimeoutBuilder| {
        builder.limits_for(move |head| (head.path() == "/capped").then_some(cap))
    };
    let site = Site::with(capped, RescueForms::new());
    let (mut ada, mut mallory) = (site.browser(), site.browser());
    ada.log_in("ada").await;
    mallory.log_in("mallory").await;
    ada.cookies.insert("user-sid".to_owned(), mallory.cookies["user-sid"].clone());
    site.clock.advance(Duration::from_secs(120));
    let refused = ada.post_from("/notes", "/capped", URLENCODED, "text=capped").await;
    assert_eq!(refused.status(), StatusCode::SEE_OTHER);
    assert!(mallory.has_nothing().await);
    ada.log_in("ada").await;
    assert!(ada.unsent().await.1.text.contains("capped"));
}

#[tokio::test]
async fn what_passes_unchecked_while_the_store_fails_is_the_applications() {
    let store = Remote::new(RuntimeClock::new());
    let failing = Arc::clone(&store.failing);
    let site =
        Site::with(|builder| builder.store(store).dangerously_admit_on_store_failure(), RescueForms::new());
    let mut ada = site.browser();
    ada.log_in("ada").await;
    failing.store(1_000, SeqCst);
    let answer = ada.post_from("/notes", "/password", URLENCODED, "text=1").await;
    assert_eq!(location(&answer), "/login?changed=1");
    assert_eq!(site.kept_and_lost(), (0, vec![]));
}

#[tokio::test]
async fn a_form_stays_if_what_it_was_sent_to_may_have_asked_for_a_log_in() {
    let site = Site::new();
    let mut ada = site.idle_browser("ada").await;
    ada.post_from("/notes", "/relative", URLENCODED, "text=1").await;
    ada.log_in("ada").await;
    let (place, page) = ada.unsent().await;
    assert_eq!(location(&ada.press_send(&place, &page).await), "./login?next=x");
    assert!(!ada.has_nothing().await);
    // And so do those without a session.
    ada.cookies.remove("sid");
    let turned = ada.post_from("/notes", "/relative", URLENCODED, "text=2").await;
    assert_eq!(location(&turned), "./login?next=%2F_session-timeout%2Funsent");
}

#[tokio::test]
async fn a_form_that_was_discarded_or_came_again_is_sent_once_from_a_page_that_is_still_open() {
    let site = Site::new();
    let mut ada = site.browser();
    ada.log_in("ada").await;
    let late = ada.clone();
    site.clock.advance(IDLE);
    late.clone().post("text=1").await;
    ada.log_in("ada").await;
    let (place, page) = ada.unsent().await;
    late.clone().post("text=1").await;
    let (again, _) = ada.unsent().await;
    assert_eq!(again, place, "it is the same");
    ada.post_from("/x", &page.forms[1].action, URLENCODED, "").await;
    for _ in 0..3 {
        ada.press_send(&place, &page).await;
    }
    assert_eq!(site.taken(), ["text=1"]);
}

#[tokio::test]
async fn a_form_that_the_application_goes_on_reading_is_waited_for() {
    let site = Site::new();
    let mut ada = site.browser();
    ada.log_in("ada").await;
    ada.cookies.remove("sid");
    let turned = ada.post_from("/notes", "/reads-on", URLENCODED, "text=1").await;
    assert_eq!(location(&turned), "/login?next=%2F_session-timeout%2Funsent");
    ada.log_in("ada").await;
    assert!(ada.unsent().await.1.text.contains('1'));
}

#[tokio::test]
async fn one_that_could_not_be_sent_again_is_shown() {
    let site = Site::new();
    let mut ada = site.idle_browser("ada").await;
    let long = format!("/notes?{}", "x".repeat(3000));
    let told = ada.post_from("/notes", &long, URLENCODED, "text=to+nowhere").await;
    assert_eq!(told.status(), StatusCode::BAD_REQUEST);
    assert!(Page::of(&told).text.contains("to nowhere"));
    // Escaped, it would take six times its room.
    let mut ada = site.idle_browser("ada").await;
    let control = "\u{1}".repeat(60_000);
    let body = format!("--x\r\nContent-Disposition: form-data; name=\"text\"\r\n\r\n{control}\r\n--x--\r\n");
    let told = ada.post_from("/notes", "/notes", "multipart/form-data; boundary=x", body).await;
    assert_eq!(told.status(), StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn one_that_the_browser_sends_on_to_another_place_is_taken_there() {
    let site = Site::new();
    let mut ada = site.idle_browser("ada").await;
    ada.post_from("/notes", "/moved", URLENCODED, "text=1").await;
    ada.log_in("ada").await;
    let (place, page) = ada.unsent().await;
    let moved = ada.press_send(&place, &page).await;
    assert_eq!((moved.status(), location(&moved)), (StatusCode::PERMANENT_REDIRECT, "/notes"));
    ada.post_from(&place, "/notes", URLENCODED, "text=1").await;
    assert_eq!(site.taken(), ["text=1"]);
    assert!(ada.has_nothing().await);
}

#[tokio::test]
async fn a_page_that_clears_what_is_left_of_a_session_is_no_log_out() {
    let site = Site::with(|builder| builder.public_paths(["/clears"]), RescueForms::new());
    let (mut ada, mut elsewhere) = (site.browser(), site.browser());
    ada.log_in("ada").await;
    elsewhere.log_in("ada").await;
    site.clock.advance(IDLE);
    ada.post("text=1").await;
    elsewhere.get("/clears").await;
    ada.log_in("ada").await;
    assert!(!ada.has_nothing().await);
}

#[tokio::test]
async fn one_that_is_sent_too_late_again_with_a_new_token_is_the_same() {
    let site = Site::with(|builder| builder, RescueForms::new().csrf("token", |_| Some("new".to_owned())));
    let mut ada = site.idle_browser("ada").await;
    ada.post("token=old&text=1").await;
    ada.log_in("ada").await;
    let (place, page) = ada.unsent().await;
    site.clock.advance(IDLE);
    ada.press_send(&place, &page).await;
    ada.log_in("ada").await;
    let (again, page) = ada.unsent().await;
    assert_eq!(again, place);
    assert!(!page.text.contains("There is another one"));
}

#[tokio::test]
async fn no_shared_cache_hands_on_whose_browser_it_is() {
    let site = Site::new();
    let mut ada = site.browser();
    let answer = ada.post_from("/login", "/login", URLENCODED, "user=ada").await;
    assert!(answer.headers().get_all(SET_COOKIE).iter().any(|it| it.as_bytes().starts_with(b"user-sid=")));
    assert_eq!(answer.headers()["cache-control"], "private");
    let answer = ada.post_from("/notes", "/end", URLENCODED, "").await;
    assert_eq!(answer.headers()["cache-control"], "private");
}

#[tokio::test(start_paused = true)]
async fn a_log_out_waits_for_forms_no_longer_than_for_a_store() {
    /// Somebody else is always first.
    struct Busy;
    impl Backend for Busy {
        fn load(&self, _: Key) -> BoxFuture<Result<Loaded, StoreError>> {
            Box::pin(async {
                tokio::time::sleep(Duration::from_millis(400)).await;
                Ok(Loaded { record: Some(vec![0]), now: Duration::ZERO })
            })
        }
        fn swap(&self, _: Swap) -> BoxFuture<Result<Swapped, StoreError>> {
            Box::pin(async { Ok(Swapped::Lost) })
        }
    }
    let site = Site::on(ManualClock::new(), |builder| builder, RescueForms::new().keep_in(Busy));
    let mut ada = site.browser();
    ada.log_in("ada").await;
    let began = tokio::time::Instant::now();
    assert_eq!(location(&ada.post_from("/notes", "/logout", URLENCODED, "").await), "/");
    assert!(began.elapsed() <= Duration::from_millis(510), "{:?}", began.elapsed());
}

/// Piece by piece, with its length and its trailers.
#[tokio::test]
async fn the_application_gets_bodies_as_they_come() {
    type Frames = Pin<Box<dyn HttpBody<Data = Bytes, Error = std::io::Error> + Send>>;
    let layer = builder(&ManualClock::new()).rescue_forms(RescueForms::new()).build().unwrap();
    let service = layer.layer(tower::service_fn(|request: Request<FormBody<Frames>>| async move {
        let length = request.body().size_hint().exact();
        let mut body = pin!(request.into_body());
        let (mut data, mut trailers) = (Vec::new(), None);
        assert!(!body.is_end_stream());
        while let Some(frame) = body.frame().await {
            match frame.unwrap().into_data() {
                Ok(piece) => data.push(piece),
                Err(frame) => trailers = frame.into_trailers().ok(),
            }
        }
        let pieces = format!("{length:?} {data:?} {}", trailers.unwrap()["checked"].to_str().unwrap());
        Ok::<_, std::convert::Infallible>(Response::new(http_body_util::Full::from(pieces)))
    }));
    for content_type in [URLENCODED, "application/octet-stream"] {
        let trailers = [("checked".parse().unwrap(), "yes".parse().unwrap())].into_iter().collect();
        let frames = ["a=1", "&b=2"].map(|piece| Ok(Frame::data(Bytes::from(piece))));
        let frames = futures_util::stream::iter(frames.into_iter().chain([Ok(Frame::trailers(trailers))]));
        let body: Frames = Box::pin(http_body_util::StreamBody::new(frames));
        let request = Request::post("/notes")
            .header(CONTENT_TYPE, content_type)
            .header("sec-fetch-mode", "navigate")
            .header("sec-fetch-site", "same-origin");
        let response = service.clone().oneshot(request.body(body).unwrap()).await.unwrap();
        let pieces = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(pieces, r#"None [b"a=1", b"&b=2"] yes"#, "{content_type}");
    }
}

/// A layer around it has the session: whose it is, it knows.
#[tokio::test]
async fn inside_another_layer_for_the_same_cookie_nothing_is_kept() {
    let site = Site::inside(|builder| builder.idle_timeout(2 * IDLE));
    let mut ada = site.idle_browser("ada").await;
    let refused = ada.post("text=1").await;
    assert_eq!(refused.status(), StatusCode::SEE_OTHER);
    assert_eq!(site.kept_and_lost(), (0, vec![]));
}

#[tokio::test]
async fn a_form_that_comes_in_time_goes_through_as_it_is() {
    let site = Site::new();
    let mut ada = site.browser();
    ada.log_in("ada").await;
    assert_eq!(location(&ada.post("text=in+time").await), "/notes");
    assert_eq!(site.taken(), ["text=in+time"]);
    assert_eq!(site.kept_and_lost(), (0, vec![]));
}

#[test]
fn what_cannot_work_is_refused() {
    let rescue = |builder: SessionTimeoutBuilder, rescue| builder.rescue_forms(rescue).build().map(drop);
    let with_cookie = || SessionTimeoutLayer::builder().cookie("sid");
    let error = rescue(with_cookie(), RescueForms::new()).unwrap_err();
    assert!(matches!(error, ConfigError::RescueWithoutEndpoints), "{error}");
    let bearer = SessionTimeoutLayer::builder().bearer().client_endpoints(BASE);
    let error = rescue(bearer, RescueForms::new()).unwrap_err();
    assert!(matches!(error, ConfigError::RescueWithoutCookie), "{error}");
    for bytes in [0, 1023, usize::MAX] {
        let error =
            rescue(with_cookie().client_endpoints(BASE), RescueForms::new().limit(bytes)).unwrap_err();
        assert!(matches!(error, ConfigError::RescueLimitOutOfRange { .. }), "{error}");
    }
    let error = rescue(with_cookie().client_endpoints(BASE), RescueForms::new().stylesheet("//evil.example"))
        .unwrap_err();
    assert!(matches!(error, ConfigError::UnsafePath { which: "stylesheet", .. }), "{error}");
}

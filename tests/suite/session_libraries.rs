//! Session libraries nobody here wrote, unchanged, behind the layer: tower-sessions with axum-login, `axum_session`,
//! and cookies set by tower-cookies.

#[allow(dead_code, unreachable_pub, clippy::disallowed_methods)]
#[path = "../../examples/tower_sessions.rs"]
mod tower_sessions_example;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use crate::support::{ABSOLUTE, IDLE};
use axum::{
    Extension, Router,
    body::Body,
    response::Redirect,
    routing::{get, post},
};
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::BodyExt;
use tower::ServiceExt;
use tower_session_timeout::{
    ManualClock, MemoryStore, NewSession, OwnerlessSessions, Session, SessionId, SessionTimeoutBuilder,
    SessionTimeoutLayer,
};

const MINUTE: Duration = Duration::from_secs(60);

fn timeout(clock: &ManualClock) -> SessionTimeoutBuilder {
    SessionTimeoutLayer::builder()
        .idle_timeout(IDLE)
        .absolute_timeout(ABSOLUTE)
        .store(MemoryStore::new().clock(clock.clone()))
}

/// A browser: it keeps cookies, and follows nothing.
#[derive(Clone)]
struct Browser {
    app: Router,
    cookies: BTreeMap<String, String>,
}

impl Browser {
    fn new(app: Router) -> Self {
        Self { app, cookies: BTreeMap::new() }
    }

    async fn get(&mut self, path: &str) -> (StatusCode, String) {
        self.send(Method::GET, path, "").await
    }

    async fn post(&mut self, path: &str, form: &str) -> (StatusCode, String) {
        self.send(Method::POST, path, form).await
    }

    /// The status, and where it leads, or else the body.
    async fn send(&mut self, method: Method, path: &str, form: &str) -> (StatusCode, String) {
        let cookies: Vec<_> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::ACCEPT, "text/html")
            .header("sec-fetch-mode", "navigate")
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        if !cookies.is_empty() {
            request = request.header(header::COOKIE, cookies.join("; "));
        }
        let request = request.body(Body::from(form.to_owned())).unwrap();
        let response = self.app.clone().oneshot(request).await.unwrap();
        self.keep_cookies(&response);
        let location = response.headers().get(header::LOCATION).map(|to| to.to_str().unwrap().to_owned());
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, location.unwrap_or_else(|| String::from_utf8(body.to_vec()).unwrap()))
    }

    fn keep_cookies(&mut self, response: &Response<Body>) {
        for cookie in response.headers().get_all(header::SET_COOKIE) {
            let cookie = cookie::Cookie::parse(cookie.to_str().unwrap().to_owned()).unwrap();
            if cookie.value().is_empty()
                || cookie.max_age().is_some_and(cookie::time::SignedDuration::is_zero)
            {
                self.cookies.remove(cookie.name());
            } else {
                self.cookies.insert(cookie.name().to_owned(), cookie.value().to_owned());
            }
        }
    }
}

fn ok(page: &str) -> (StatusCode, String) {
    (StatusCode::OK, page.to_owned())
}

fn see_other(location: &str) -> (StatusCode, String) {
    (StatusCode::SEE_OTHER, location.to_owned())
}

mod tower_sessions_and_axum_login {
    use super::*;

    fn shop(clock: &ManualClock) -> Browser {
        Browser::new(tower_sessions_example::app(timeout(clock)).unwrap())
    }

    async fn log_in(browser: &mut Browser) {
        assert_eq!(browser.post("/login", "user=ada&next=%2Faccount").await, see_other("/account"));
    }

    #[tokio::test]
    async fn who_clicks_stays_and_who_stops_is_sent_to_the_log_in_page() {
        let clock = ManualClock::new();
        let mut browser = shop(&clock);
        log_in(&mut browser).await;
        for _ in 0..10 {
            clock.advance(MINUTE * 14);
            assert!(browser.get("/account").await.1.contains("ada's account"));
        }
        clock.advance(IDLE);
        assert_eq!(browser.get("/account").await, see_other("/login?next=%2Faccount"));
        assert!(browser.cookies.is_empty(), "the browser was told to forget it");
        log_in(&mut browser).await;
        assert!(browser.get("/account").await.1.contains("ada's account"));
    }

    /// `OnInactivity` sets the cookie again with every change of the data; that is no log-in.
    #[tokio::test]
    async fn the_librarys_sliding_cookie_does_not_set_back_the_absolute_clock() {
        let clock = ManualClock::new();
        let mut browser = shop(&clock);
        log_in(&mut browser).await;
        let mut age = Duration::ZERO;
        while age + MINUTE * 10 < ABSOLUTE {
            clock.advance(MINUTE * 10);
            age += MINUTE * 10;
            assert_eq!(browser.post("/basket", "").await, see_other("/"));
        }
        clock.advance(MINUTE * 10);
        assert_eq!(browser.get("/account").await, see_other("/login?next=%2Faccount"));
    }

    /// On a public page the library is not shown the dead id, so the data it still has shows nowhere.
    #[tokio::test]
    async fn the_library_never_sees_the_id_of_an_ended_session() {
        let clock = ManualClock::new();
        let mut browser = shop(&clock);
        browser.post("/basket", "").await;
        assert!(browser.get("/").await.1.contains("1 in the basket"));
        clock.advance(IDLE);
        let mut copy = browser.clone();
        assert!(browser.get("/").await.1.contains("0 in the basket"));
        assert!(browser.cookies.is_empty());
        assert!(copy.get("/").await.1.contains("0 in the basket"), "a copied cookie neither");
    }

    #[tokio::test]
    async fn a_log_in_changes_the_id_and_begins_both_clocks_anew() {
        let clock = ManualClock::new();
        let mut visitor = shop(&clock);
        visitor.post("/basket", "").await;
        clock.advance(MINUTE * 14);
        let before = visitor.clone();
        let mut user = visitor;
        log_in(&mut user).await;
        assert_ne!(user.cookies, before.cookies, "cycle_id");
        let mut before = before;
        assert_eq!(before.get("/account").await, see_other("/login?next=%2Faccount"), "fixation is no use");
        clock.advance(MINUTE * 14);
        let account = user.get("/account").await.1;
        assert!(account.contains("ada's account") && account.contains("1 in the basket"), "{account}");
    }

    #[tokio::test]
    async fn a_sign_out_ends_the_session_for_copies_of_its_cookie_too() {
        let clock = ManualClock::new();
        let mut browser = shop(&clock);
        log_in(&mut browser).await;
        let mut copy = browser.clone();
        assert_eq!(browser.post("/logout", "").await, see_other("/"));
        assert!(browser.cookies.is_empty());
        assert_eq!(copy.get("/account").await, see_other("/login?next=%2Faccount"));
    }

    /// `flush`: also to whoever gets past the layer, the data is gone.
    #[tokio::test]
    async fn a_sign_out_flushes_the_librarys_data() {
        let clock = ManualClock::new();
        let store = Arc::new(MemoryStore::new().clock(clock.clone()));
        let app = tower_sessions_example::app(timeout(&clock).store(Arc::clone(&store))).unwrap();
        let mut browser = Browser::new(app);
        log_in(&mut browser).await;
        browser.post("/basket", "").await;
        let mut copy = browser.clone();
        browser.post("/logout", "").await;
        let past_the_layer =
            SessionTimeoutLayer::builder().cookie("sid").store(store).build().unwrap().sessions();
        let id = SessionId::from(copy.cookies["sid"].clone());
        past_the_layer.start(&id, &NewSession::new()).await.unwrap();
        assert!(copy.get("/").await.1.contains("0 in the basket"));
        assert_eq!(copy.get("/account").await, see_other("/login?next=%2Faccount"));
    }

    /// T140: to the library reading is no activity; so it must not expire before the absolute timeout.
    #[tokio::test]
    async fn the_librarys_own_expiry_outlasts_the_absolute_timeout() {
        let app = tower_sessions_example::app(timeout(&ManualClock::new())).unwrap();
        let login = Request::post("/login")
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Body::from("user=ada"))
            .unwrap();
        let response = app.oneshot(login).await.unwrap();
        let cookie = response.headers()[header::SET_COOKIE].to_str().unwrap().to_owned();
        let max_age = cookie::Cookie::parse(cookie).unwrap().max_age().unwrap();
        assert!(max_age.whole_seconds().unsigned_abs() >= ABSOLUTE.as_secs(), "{max_age}");
    }

    /// Row 28, T129: with CSRF protection inside, an expired form hears "sign in again"; outside it would hear `403`.
    #[tokio::test]
    async fn an_expired_form_is_sent_to_the_log_in_page_before_csrf_protection_sees_it() {
        let clock = ManualClock::new();
        let expired = async |protected: fn(Router, SessionTimeoutLayer) -> Router| {
            let layer = timeout(&clock).cookie("sid").login_path("/login").build().unwrap();
            layer.sessions().start(&SessionId::from("A"), &NewSession::new()).await.unwrap();
            let app = Router::new().route("/save", post(|| async { "saved" }));
            let mut browser = Browser::new(protected(app, layer));
            browser.cookies.insert("sid".to_owned(), "A".to_owned());
            assert_eq!(browser.post("/save", "token=A").await, ok("saved"));
            clock.advance(IDLE);
            // What a token of an ended session is worth: nothing.
            browser.post("/save", "token=gone").await
        };
        let inside = expired(|app, layer| app.layer(axum::middleware::from_fn(csrf)).layer(layer)).await;
        assert_eq!(inside, see_other("/login"));
        let outside = expired(|app, layer| app.layer(layer).layer(axum::middleware::from_fn(csrf))).await;
        assert_eq!(outside.0, StatusCode::FORBIDDEN);
    }

    /// Takes a form whose token is the session's.
    async fn csrf(request: axum::extract::Request, next: axum::middleware::Next) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let form = body.collect().await.unwrap().to_bytes();
        let cookie = parts.headers.get(header::COOKIE).map_or(&b""[..], |cookie| cookie.as_bytes());
        if form.strip_prefix(b"token=") != cookie.strip_prefix(b"sid=") {
            return Response::builder().status(StatusCode::FORBIDDEN).body(Body::empty()).unwrap();
        }
        next.run(Request::from_parts(parts, Body::from(form))).await
    }
}

mod axum_session_library {
    use axum_session::{Session, SessionConfig, SessionLayer, SessionNullPool, SessionStore};

    use super::*;

    type Visit = Session<SessionNullPool>;

    /// It gives every visitor a session with the first answer.
    async fn site(clock: &ManualClock) -> Browser {
        let timeout = timeout(clock)
            .cookie("session")
            .login_path("/login")
            .logout_path("/logout")
            .ownerless_sessions(OwnerlessSessions::ContinueWithoutId)
            .build()
            .unwrap();
        let config = SessionConfig::default().with_secure(false);
        let sessions = SessionStore::<SessionNullPool>::new(None, config).await.unwrap();
        let app = Router::new()
            .route("/", get(|session: Visit| async move { name(&session) }))
            .route("/login", post(login))
            .route("/renew", post(|session: Visit| async move { session.renew() }))
            .route("/logout", post(|session: Visit| async move { session.destroy() }))
            .layer(SessionLayer::new(sessions))
            .layer(timeout);
        Browser::new(app)
    }

    async fn login(session: Visit) -> (Extension<NewSession>, Redirect) {
        session.renew();
        session.set("name", "ada");
        (Extension(NewSession::new().owner("ada")), Redirect::to("/"))
    }

    fn name(session: &Visit) -> String {
        session.get("name").unwrap_or_else(|| "a visitor".to_owned())
    }

    #[tokio::test]
    async fn visitors_come_and_go_and_users_are_timed_out() {
        let clock = ManualClock::new();
        let mut browser = site(&clock).await;
        assert_eq!(browser.get("/").await, ok("a visitor"));
        assert!(browser.cookies.contains_key("session"));
        clock.advance(IDLE);
        assert_eq!(browser.get("/").await, ok("a visitor"), "whose session ended without a word");
        let before = browser.cookies.clone();
        assert_eq!(browser.post("/login", "").await, see_other("/"));
        assert_ne!(browser.cookies, before);
        for _ in 0..5 {
            clock.advance(MINUTE * 14);
            assert_eq!(browser.get("/").await, ok("ada"));
        }
        clock.advance(IDLE);
        assert_eq!(browser.get("/").await, see_other("/login?next=%2F"));
    }

    #[tokio::test]
    async fn a_renewed_id_keeps_the_clocks_and_a_destroyed_session_stays_away() {
        let clock = ManualClock::new();
        let mut browser = site(&clock).await;
        browser.post("/login", "").await;
        let mut age = Duration::ZERO;
        while age + MINUTE * 10 < ABSOLUTE {
            clock.advance(MINUTE * 10);
            age += MINUTE * 10;
            let before = browser.cookies.clone();
            assert_eq!(browser.post("/renew", "").await, ok(""));
            assert_ne!(browser.cookies, before);
        }
        let mut copy = browser.clone();
        clock.advance(MINUTE * 10);
        assert_eq!(browser.get("/").await, see_other("/login?next=%2F"), "the absolute timeout");

        copy.post("/login", "").await;
        let mut other = copy.clone();
        assert_eq!(copy.post("/logout", "").await, ok(""));
        assert_eq!(copy.get("/").await, ok("a visitor"));
        assert_eq!(other.get("/").await, see_other("/login?next=%2F"));
    }
}

mod tower_cookies_library {
    use tower_cookies::{Cookie, CookieManagerLayer, Cookies, Key};

    use super::*;

    /// The user's name is all the session there is, encrypted in the cookie: another value with every answer.
    fn site(clock: &ManualClock) -> Browser {
        let timeout = timeout(clock).cookie("who").login_path("/login").build().unwrap();
        let key = Arc::new(Key::generate());
        let (for_login, for_logout, for_home) = (Arc::clone(&key), Arc::clone(&key), key);
        let set = |cookies: &Cookies, key: &Key| cookies.private(key).add(Cookie::new("who", "ada"));
        let login = move |cookies: Cookies| async move {
            set(&cookies, &for_login);
            Redirect::to("/")
        };
        let logout = move |cookies: Cookies| async move {
            cookies.private(&for_logout).remove(Cookie::new("who", ""));
        };
        let home = move |cookies: Cookies| async move {
            let who = cookies.private(&for_home).get("who");
            if who.is_some() {
                set(&cookies, &for_home);
            }
            who.map_or_else(|| "a visitor".to_owned(), |who| who.value().to_owned())
        };
        let app = Router::new()
            .route("/", get(home))
            .route("/login", post(login))
            .route("/logout", post(logout))
            .layer(CookieManagerLayer::new())
            .layer(timeout);
        Browser::new(app)
    }

    #[tokio::test]
    async fn a_cookie_that_is_the_session_times_out_though_each_answer_changes_it() {
        let clock = ManualClock::new();
        let mut browser = site(&clock);
        assert_eq!(browser.get("/").await, ok("a visitor"));
        browser.post("/login", "").await;
        let first = browser.clone();
        let mut age = Duration::ZERO;
        while age + MINUTE * 10 < ABSOLUTE {
            clock.advance(MINUTE * 10);
            age += MINUTE * 10;
            let before = browser.cookies.clone();
            assert_eq!(browser.get("/").await, ok("ada"));
            assert_ne!(browser.cookies, before);
        }
        for mut old in [first, browser] {
            clock.advance(MINUTE * 10);
            assert_eq!(old.get("/").await, see_other("/login?next=%2F"));
        }
    }

    #[tokio::test]
    async fn a_removed_cookie_cannot_be_replayed_though_it_still_decrypts() {
        let clock = ManualClock::new();
        let mut browser = site(&clock);
        browser.post("/login", "").await;
        let mut copy = browser.clone();
        assert_eq!(browser.post("/logout", "").await, ok(""));
        assert_eq!(browser.get("/").await, ok("a visitor"));
        assert_eq!(copy.get("/").await, see_other("/login?next=%2F"));
    }
}

/// What holds for each version of tower-sessions that people have.
macro_rules! tower_sessions_behind_the_layer {
    ($module:ident, $library:ident) => {
        mod $module {
            use $library::{MemoryStore as Sessions, Session as Data, SessionManagerLayer};

            use super::*;

            /// The layers the wrong way round: the library sets its cookie outside of ours, which never sees a session begin.
            #[tokio::test]
            async fn inside_the_librarys_layer_no_session_begins() {
                let clock = ManualClock::new();
                let app = Router::new()
                    .route(
                        "/login",
                        post(|data: Data| async move { data.insert("user", "ada").await.unwrap() }),
                    )
                    .route("/account", get(|| async { "account" }))
                    .layer(timeout(&clock).cookie("id").login_path("/login").build().unwrap())
                    .layer(SessionManagerLayer::new(Sessions::default()).with_secure(false));
                let mut browser = Browser::new(app);
                assert_eq!(browser.post("/login", "").await, ok(""));
                assert!(!browser.cookies.is_empty());
                assert_eq!(
                    browser.get("/account").await,
                    see_other("/login?next=%2Faccount"),
                    "it fails closed"
                );
            }

            /// tower-sessions sets its cookie with every answer (`with_always_save`), also with that of a handler that ends the layer's
            /// session.
            #[tokio::test]
            async fn a_session_ended_by_its_handler_is_not_brought_back_by_its_library() {
                let clock = ManualClock::new();
                let app = Router::new()
                    .route("/login", post(async |data: Data| data.insert("user", "ada").await.unwrap()))
                    .route(
                        "/account",
                        get(async |data: Data| data.get::<String>("user").await.unwrap().unwrap_or_default()),
                    )
                    .route(
                        "/suspicious",
                        get(async |session: Session| session.end().await.unwrap().to_string()),
                    )
                    .layer(
                        SessionManagerLayer::new(Sessions::default())
                            .with_name("sid")
                            .with_secure(false)
                            .with_always_save(true),
                    )
                    .layer(timeout(&clock).cookie("sid").build().unwrap());
                let mut browser = Browser::new(app);
                browser.post("/login", "").await;
                assert_eq!(browser.get("/account").await, (StatusCode::OK, "ada".to_owned()));
                let stolen = browser.clone();
                assert_eq!(browser.get("/suspicious").await, (StatusCode::OK, "true".to_owned()));
                assert!(browser.cookies.is_empty(), "{:?}", browser.cookies);
                for mut browser in [browser, stolen] {
                    assert_ne!(browser.get("/account").await.1, "ada");
                }
            }
        }
    };
}

tower_sessions_behind_the_layer!(newest, tower_sessions);
// The one that axum-login works with.
tower_sessions_behind_the_layer!(version_0_14, tower_sessions_0_14);

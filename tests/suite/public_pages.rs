//! Where an ended session goes on as nobody's: T50, T51, T130, T131; and layers within layers.

use std::{convert::Infallible, sync::Arc, time::Duration};

use crate::support::{App, IDLE, get, header, post, removes_cookie, set_cookie, set_cookies, sid, with};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use tower::{Layer, Service, ServiceExt};
use tower_session_timeout::{
    EndReason, Limits, ManualClock, MemoryStore, OwnerlessSessions, Session, SessionBody, SessionTimeoutLayer,
};

/// T51
#[tokio::test]
async fn an_ended_session_goes_on_without_its_id() {
    let app = App::new();
    app.log_in("A").await;
    app.advance(IDLE);
    for path in ["/", "/login", "/login?next=%2F", "/logout", "/public/", "/public/style.css", "/public/a/b/"]
    {
        let cookies = [("cookie", "a=1; sid=A; b=2"), ("cookie", "SID=A; c=3")];
        let request = with(get(path, &cookies), "accept", "text/html");
        let response = app.send(request).await;
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        assert_eq!(response.body(), "a=1; b=2; c=3");
        assert_eq!(header(&response, "x-session"), "", "no session");
        assert!(removes_cookie(&response), "and the browser forgets it");
        assert_eq!(header(&response, "cache-control"), "no-store", "a cache must not sign others out (T58)");
        assert_eq!(header(&response, "vary"), "cookie");
    }
}

/// A log-in page has to say why one is there (WCAG 2.2, 2.2.6).
#[tokio::test]
async fn the_application_is_told_why_the_session_ended() {
    let app = App::new();
    app.log_in("A").await;
    let page = app.layer.layer(tower::service_fn(|request: Request<Full<Bytes>>| async move {
        let reason = request.extensions().get::<EndReason>().map_or("none", |reason| reason.as_str());
        Ok::<_, Infallible>(
            Response::builder().header("x-why", reason).body(Full::<Bytes>::default()).unwrap(),
        )
    }));
    let why = async |request| header(&page.clone().oneshot(request).await.unwrap(), "x-why").to_owned();
    assert_eq!(why(get("/login", &[])).await, "none");
    assert_eq!(why(sid(get("/login", &[]), "A")).await, "none");
    app.advance(IDLE);
    assert_eq!(why(sid(get("/login", &[]), "A")).await, "idle");
    assert_eq!(why(sid(get("/login", &[]), "made-up")).await, "unknown");
}

/// The late answer of a style sheet could remove the cookie of a new log-in.
#[tokio::test]
async fn what_is_no_page_goes_on_without_its_id_and_removes_no_cookie() {
    let app = App::new();
    for headers in
        [&[("sec-fetch-mode", "no-cors")], &[("accept", "text/css,*/*;q=0.1")], &[("sec-fetch-mode", "cors")]]
    {
        let response = app.send(sid(get("/public/style.css", headers), "dead")).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert!(response.body().is_empty() && set_cookies(&response).is_empty());
        assert_eq!(header(&response, "cache-control"), "");
    }
}

/// T71: a form on another site, which the browser sends without the cookie.
#[tokio::test]
async fn a_log_out_without_a_session_removes_nothing() {
    let app = App::new();
    app.log_in("A").await;
    let response = app.send(post("/logout")).await;
    assert!(set_cookies(&response).is_empty());
    assert!(app.admits("A").await);
    let response = app.send(sid(post("/logout"), "dead")).await;
    assert!(removes_cookie(&response), "with a dead one, its own is removed");
}

#[tokio::test]
async fn a_live_session_is_nothing_special_there() {
    let app = App::new();
    app.log_in("A").await;
    let response = app.send(sid(get("/", &[]), "A")).await;
    assert_eq!(response.body(), "sid=A");
    assert_eq!(header(&response, "x-session"), "nobody");
    assert!(set_cookies(&response).is_empty());
}

/// T50
#[tokio::test]
async fn log_in_and_log_out_page_do_not_redirect_in_circles() {
    let app = App::new();
    let browser = [("sec-fetch-mode", "navigate"), ("cookie", "sid=dead")];
    let response = app.send(get("/account", &browser)).await;
    let login = header(&response, "location").to_owned();
    assert_eq!(app.send(get(&login, &browser)).await.status(), StatusCode::OK);
    assert_eq!(app.send(get("/logout", &browser)).await.status(), StatusCode::OK);
    assert_eq!(app.send(sid(post("/logout"), "dead")).await.status(), StatusCode::OK);
}

/// T130
#[tokio::test]
async fn nothing_else_is_public() {
    let app = App::new();
    for path in [
        "/public",
        "/publicity",
        "/public/../admin",
        "/public/./../admin",
        "/public/%2e%2e/admin",
        "/public/%2E%2E%2Fadmin",
        "/public%2f..%2fadmin",
        "/public/..%2fadmin",
        "/public/a%2f..%2f..%2fadmin",
        "/public/..;/admin",
        "/public/..;x=y/admin",
        "/public//../admin",
        "/public//x",
        "/public/%5c..%5cadmin",
        "/public/x%00",
        "//public/",
        "//public/x",
        "/public;x",
        "/PUBLIC/",
        "/Public/x",
        "/login/",
        "/login/x",
        "/Login",
        "/log%69n",
        "//",
        "/index",
    ] {
        let response = app.send(sid(get(path, &[]), "dead")).await;
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "{path}");
    }
    for (name, value) in [
        ("x-forwarded-uri", "/"),
        ("x-original-url", "/"),
        ("x-rewrite-url", "/login"),
        ("user-agent", "kube-probe/1.0"),
    ] {
        let response = app.send(sid(get("/account", &[(name, value)]), "dead")).await;
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "{name}");
    }
    assert_eq!(app.calls(), 0);
}

#[tokio::test]
async fn public_predicates_add_up() {
    let app = App::with(|builder| {
        builder
            .public_if(|head| head.headers().contains_key("x-public"))
            .public_if(|head| head.path().ends_with("/style"))
    });
    let sent =
        |path: &'static str, headers: &'static [(&str, &str)]| app.send(sid(get(path, headers), "dead"));
    assert_eq!(sent("/a", &[("x-public", "1")]).await.status(), StatusCode::OK);
    assert_eq!(sent("/a/style", &[]).await.status(), StatusCode::OK);
    assert_eq!(sent("/a", &[]).await.status(), StatusCode::UNAUTHORIZED);
}

/// T131
#[tokio::test]
async fn inside_axums_nest_paths_are_the_clients() {
    let clock = ManualClock::new();
    let store = Arc::new(MemoryStore::new().clock(clock.clone()));
    let layer = SessionTimeoutLayer::builder()
        .cookie("sid")
        .login_path("/app/login")
        .public_paths(["/app/help"])
        .store(store)
        .build()
        .unwrap();
    let pages = axum::Router::new()
        .route("/login", axum::routing::get(|| async { "log in" }))
        .route("/help", axum::routing::get(|| async { "help" }))
        .route("/account", axum::routing::get(|| async { "account" }))
        .layer(layer);
    let router = axum::Router::new().nest("/app", pages);
    let status = |path: &'static str| {
        let request = Request::get(path).header("cookie", "sid=dead").header("accept", "text/html");
        let response = router.clone().oneshot(request.body(axum::body::Body::empty()).unwrap());
        async {
            let response = response.await.unwrap();
            (response.status().as_u16(), header(&response, "location").to_owned())
        }
    };
    assert_eq!(status("/app/help").await.0, 200);
    assert_eq!(status("/app/login").await.0, 200);
    assert_eq!(
        status("/app/account?x=1").await,
        (303, "/app/login?next=%2Fapp%2Faccount%3Fx%3D1".to_owned())
    );
}

type NestedResponse = Response<SessionBody<SessionBody<Full<Bytes>>>>;

/// An inner layer with a cookie of the same name: one session, one renewal, the stricter limits.
struct Nested {
    clock: ManualClock,
    service: tower::util::BoxCloneSyncService<Request<Full<Bytes>>, NestedResponse, Infallible>,
}

fn nested(inner_idle: Duration, inner_cookie: &str) -> Nested {
    let clock = ManualClock::new();
    let store = Arc::new(MemoryStore::new().clock(clock.clone()));
    let outer = SessionTimeoutLayer::builder().cookie("sid").idle_timeout(IDLE).store(store).build().unwrap();
    let inner = SessionTimeoutLayer::builder()
        .cookie(inner_cookie)
        .idle_timeout(inner_idle)
        .login_path("/login")
        .build()
        .unwrap();
    let application = tower::service_fn(|request: Request<Full<Bytes>>| async move {
        let mut response = Response::new(Full::<Bytes>::default());
        if let Some(session) = request.extensions().get::<Session>() {
            response.headers_mut().insert("x-remaining", session.remaining().as_secs().into());
        }
        if let Some(cookie) = request.headers().get("x-set-cookie") {
            response.headers_mut().insert("set-cookie", cookie.clone());
        }
        Ok::<_, Infallible>(response)
    });
    let service = outer.layer(inner.layer(application));
    Nested { clock, service: tower::util::BoxCloneSyncService::new(service) }
}

/// T128
#[tokio::test]
async fn a_layer_within_a_layer_uses_the_outer_ones_session_and_only_tightens() {
    let Nested { clock, mut service } = nested(IDLE / 3, "sid");
    let mut send = |request| {
        let answer = service.call(request);
        async { answer.await.unwrap() }
    };
    let login = send(set_cookie(post("/login"), "sid=A")).await;
    assert_eq!(set_cookies(&login), ["sid=A"], "once");
    let response = send(sid(get("/", &[]), "A")).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(header(&response, "x-remaining"), (IDLE / 3).as_secs().to_string());
    clock.advance(IDLE / 3);
    let response = send(sid(get("/", &[("sec-fetch-mode", "navigate")]), "A")).await;
    assert_eq!(response.status(), StatusCode::SEE_OTHER);
    assert!(set_cookies(&response).is_empty(), "the outer session lives on");
    assert_eq!(
        send(sid(get("/", &[]), "A")).await.status(),
        StatusCode::UNAUTHORIZED,
        "a refusal is no activity"
    );
    let login = send(set_cookie(sid(post("/login"), "A"), "sid=B")).await;
    assert_eq!(set_cookies(&login), ["sid=B"]);
    assert_eq!(send(sid(get("/", &[]), "B")).await.status(), StatusCode::OK, "who logs in again may go on");
}

/// To what is inside, it is nobody's request there, though the outer layer admitted it with its session.
#[tokio::test]
async fn what_a_layer_within_refuses_goes_on_to_its_public_pages_without_the_outer_session() {
    let Nested { clock, mut service } = nested(IDLE / 3, "sid");
    service.call(set_cookie(post("/login"), "sid=A")).await.unwrap();
    clock.advance(IDLE / 3);
    let response = service.call(sid(get("/login", &[]), "A")).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(header(&response, "x-remaining"), "");
}

#[tokio::test]
async fn a_wider_layer_within_extends_nothing() {
    let Nested { clock, mut service } = nested(IDLE * 3, "sid");
    service.call(set_cookie(post("/login"), "sid=A")).await.unwrap();
    clock.advance(IDLE);
    let response = service.call(sid(get("/", &[]), "A")).await.unwrap();
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_layer_within_for_another_cookie_times_that_one() {
    let Nested { mut service, .. } = nested(IDLE, "admin");
    service.call(set_cookie(post("/login"), "sid=A")).await.unwrap();
    assert_eq!(service.call(sid(get("/", &[]), "A")).await.unwrap().status(), StatusCode::OK);
    let both = get("/", &[("cookie", "sid=A; admin=made-up")]);
    assert_eq!(service.call(both).await.unwrap().status(), StatusCode::UNAUTHORIZED);
    let login = get("/login", &[("cookie", "sid=A"), ("x-set-cookie", "admin=B")]);
    assert_eq!(set_cookies(&service.call(login).await.unwrap()), ["admin=B"]);
    let both = get("/", &[("cookie", "sid=A; admin=B")]);
    assert_eq!(service.call(both).await.unwrap().status(), StatusCode::OK);
}

async fn log_in_as(app: &App, id: &str, owner: &str) {
    app.send(with(set_cookie(post("/login"), &format!("sid={id}")), "x-login", owner)).await;
}

/// T144: applications that give every visitor a session.
#[tokio::test]
async fn sessions_of_nobody_may_go_on_without_their_id_while_those_of_users_are_refused() {
    let app = App::with(|builder| builder.ownerless_sessions(OwnerlessSessions::ContinueWithoutId));
    app.log_in("visitor").await;
    log_in_as(&app, "user", "alice").await;
    app.advance(IDLE);

    let visitor = app.send(sid(get("/shop", &[("accept", "text/html")]), "visitor")).await;
    assert_eq!((visitor.status(), visitor.body().as_ref()), (StatusCode::OK, &b""[..]));
    assert!(removes_cookie(&visitor));
    let unknown = app.send(sid(get("/shop", &[]), "made-up")).await;
    assert_eq!((unknown.status(), unknown.body().as_ref()), (StatusCode::OK, &b""[..]));
    let user = app.send(sid(get("/shop", &[]), "user")).await;
    assert_eq!(user.status(), StatusCode::UNAUTHORIZED);

    let without = App::new();
    without.log_in("visitor").await;
    without.advance(IDLE);
    assert!(!without.admits("visitor").await, "by default they are refused");
}

#[tokio::test]
async fn a_page_that_asks_for_a_fresher_session_leaves_a_live_ones_cookie_alone() {
    let minute = Duration::from_secs(60);
    let app = App::with(|builder| builder.limits_for(move |_| Some(Limits::idle_only(minute))));
    app.log_in("A").await;
    app.advance(minute);
    let response = app.send(sid(get("/public/page", &[("accept", "text/html")]), "A")).await;
    assert_eq!((response.status(), response.body().as_ref()), (StatusCode::OK, &b""[..]));
    assert!(!removes_cookie(&response), "it lives on elsewhere");
}

//! What operators read in the log (feature `tracing`).
#![cfg(feature = "tracing")]

use std::{sync::Arc, time::Duration};

use crate::support::{self, App, get, log::Log, post, set_cookie, sid, with};
use tower_cookies::cookie::{Cookie, time::OffsetDateTime};
use tower_session_timeout::{
    CookieChunks, Decision, FromExtension, ManualClock, SessionCookie, SessionId, SessionTimeoutBuilder,
    SessionTimeoutLayer,
};

#[tokio::test]
async fn a_log_in_route_outside_the_layer_is_hinted_at_once() {
    let (log, _guard) = Log::listen();
    let app = App::new();
    for _ in 0..3 {
        app.send(sid(get("/account", &[]), "A")).await;
    }
    assert_eq!(log.lines_with("is the log-in route inside the timeout layer?"), 1);
}

#[tokio::test]
async fn once_a_session_has_begun_there_is_no_such_hint() {
    let (log, _guard) = Log::listen();
    let app = App::new();
    app.log_in("A").await;
    app.send(sid(get("/account", &[]), "B")).await;
    assert_eq!(log.lines_with("log-in route"), 0);
    assert_eq!(log.lines_with("session started"), 1);
}

/// It renews sessions, and their users fall out all the same.
#[tokio::test]
async fn a_cookie_that_browsers_drop_before_its_session_ends_is_told_once() {
    #[expect(clippy::disallowed_methods, reason = "browsers go by the wall clock")]
    let soon = OffsetDateTime::now_utc() + Duration::from_secs(1800);
    let expires = Cookie::build("").expires(soon).to_string();
    let expires = expires.trim_start_matches("=; ");
    for lifetime in ["Max-Age=1800", expires, "expires=Fri, 01 Jan 1999 00:00:00 GMT; max-age=1800"] {
        let (log, _guard) = Log::listen();
        let app = App::new();
        for id in ["A", "B"] {
            app.send(support::set_cookie(support::post("/login"), &format!("sid={id}; {lifetime}; Path=/")))
                .await;
            app.send(sid(get("/account", &[("session-activity", "passive")]), id)).await;
            assert_eq!(
                log.lines_with("SessionCookie::sliding"),
                usize::from(id == "B"),
                "{lifetime}: nothing was renewed"
            );
            app.send(sid(get("/account", &[]), id)).await;
            app.send(sid(get("/account", &[]), id)).await;
            assert_eq!(log.lines_with("SessionCookie::sliding"), 1, "{lifetime}");
        }
        assert!(lifetime == expires || log.lines_with("live for 1800 s") == 1, "{lifetime}");
    }
}

#[tokio::test]
async fn no_cookie_that_lives_as_long_as_its_session_is_told_of() {
    type Configure = fn(SessionTimeoutBuilder) -> SessionTimeoutBuilder;
    let slide = |builder: SessionTimeoutBuilder| {
        builder.cookie(SessionCookie::new("sid").max_age(support::IDLE).sliding())
    };
    let as_it_is = |builder| builder;
    let cases: [(&str, &str, Configure); 5] = [
        ("the browser's own time", "sid=A", as_it_is),
        ("as long as the session", "sid=A; Max-Age=28800", as_it_is),
        ("slid by the layer", "sid=A; Max-Age=900", slide),
        ("another cookie", "theme=dark; Max-Age=900", as_it_is),
        ("the last one counts", "sid=A; Max-Age=900\nsid=A", as_it_is),
    ];
    for (why, cookies, configure) in cases {
        let (log, _guard) = Log::listen();
        let app = App::with(configure);
        app.log_in("A").await;
        let answer = cookies.lines().fold(support::post("/login"), support::set_cookie);
        app.send(sid(answer, "A")).await;
        app.send(sid(get("/account", &[]), "A")).await;
        assert_eq!(log.lines_with("SessionCookie::sliding"), 0, "{why}");
    }
    let (log, _guard) = Log::listen();
    let app = App::new();
    app.log_in("A").await;
    for _ in 0..3 {
        app.send(support::set_cookie(sid(get("/account", &[]), "A"), "sid=A; Max-Age=900")).await;
    }
    assert_eq!(log.lines_with("SessionCookie::sliding"), 0, "set again with each answer");
}

#[tokio::test]
async fn chunks_that_are_not_declared_are_hinted_at_once() {
    let (log, _guard) = Log::listen();
    let app = App::new();
    let answer = |cookie| support::set_cookie(support::post("/login"), cookie);
    app.send(answer("sid.0=; Max-Age=0")).await;
    assert_eq!(log.lines_with("SessionCookie::chunks"), 0, "a removal is none");
    for _ in 0..3 {
        app.send(answer("sid.0=A")).await;
    }
    assert_eq!(log.lines_with("say `SessionCookie::chunks`"), 1);
    for (configure, chunk) in [
        ((|builder| builder) as fn(SessionTimeoutBuilder) -> SessionTimeoutBuilder, "sid__0"),
        (|builder| builder, "sidC1"),
        (|builder| builder.cookie(SessionCookie::new("sid").chunks(CookieChunks::Supabase)), "sid_0"),
    ] {
        let (log, _guard) = Log::listen();
        let app = App::with(configure);
        let field = format!("{chunk}=A");
        for _ in 0..2 {
            app.send(support::set_cookie(support::post("/login"), &field)).await;
        }
        assert_eq!(log.lines_with(&format!("{chunk:?}")), 1, "{chunk}");
        assert_eq!(log.lines_with("say `SessionCookie::chunks`"), 1, "{chunk}");
    }
}

#[tokio::test]
async fn a_session_cookie_that_no_browser_keeps_is_told_once() {
    let (log, _guard) = Log::listen();
    let app = App::new();
    let random = "0123456789abcdef".repeat(300);
    for id in [&random[..4093], &random[..4094], &random, &random] {
        app.send(support::set_cookie(support::post("/login"), &format!("sid={id}; HttpOnly"))).await;
    }
    assert_eq!(log.lines_with("4097 bytes of name and value"), 1);
    assert_eq!(log.lines_with("browsers pass over"), 1);
    assert_eq!(log.lines_with(&random[..64]), 0);
    let (log, _guard) = Log::listen();
    let app = App::new();
    set_to_visitors(&app, (0..20).map(|_| format!("sid={random}; HttpOnly"))).await;
    assert_eq!(log.lines_with("is the session cookie's name right"), 0, "it is");
}

/// T33
#[tokio::test]
async fn a_missing_extension_is_told_with_what_to_change() {
    #[derive(Clone)]
    struct Library;
    let (log, _guard) = Log::listen();
    let layer = SessionTimeoutLayer::builder()
        .session_id(FromExtension::new(|_: &Library| None::<SessionId<'_>>))
        .build()
        .unwrap();
    let app = App::around(layer, ManualClock::new(), Arc::default());
    app.send(get("/", &[])).await;
    assert_eq!(log.lines_with("ERROR"), 1);
    assert_eq!(log.lines_with("put the session layer outside the timeout layer"), 1);
}

#[tokio::test]
async fn endings_are_information_and_a_full_store_is_an_error() {
    let (log, _guard) = Log::listen();
    let app = App::with_store(tower_session_timeout::MemoryStore::new().capacity(1), |builder| builder);
    app.log_in("A").await;
    let answer = app.send(sid(get("/account", &[]), "A")).await;
    let tag = support::header(&answer, "x-tag");
    app.send(support::set_cookie(support::post("/login"), "sid=B")).await;
    assert_eq!(log.lines_with("ERROR"), 1);
    assert_eq!(log.lines_with("at capacity"), 1);
    app.advance(support::IDLE);
    app.send(sid(get("/account", &[]), "A")).await;
    let ended = format!(
        "INFO tower_session_timeout::event: session ended session={tag} reason=idle idle_for=900s age=900s"
    );
    assert_eq!(log.lines_with(&ended), 1);
}

/// An id after its grace may have been stolen; made-up ones are noise.
#[tokio::test]
async fn the_use_of_an_old_id_is_information_and_that_of_a_made_up_one_is_not() {
    let (log, _guard) = Log::listen();
    let app = App::with(|builder| builder.rotation_grace(std::time::Duration::ZERO));
    app.log_in("A").await;
    app.send(support::set_cookie(sid(get("/account", &[]), "A"), "sid=B")).await;
    app.send(sid(get("/account", &[]), "B")).await;
    app.send(sid(get("/account", &[]), "made-up")).await;
    assert_eq!(log.lines_with("INFO"), 0);
    app.send(sid(get("/account", &[]), "A")).await;
    assert_eq!(log.lines_with("INFO"), 1);
    assert_eq!(log.lines_with("an old id of a session was used after its grace"), 1);
}

/// Answers that set this cookie, to visitors.
async fn set_to_visitors(app: &App, cookies: impl Iterator<Item = String>) {
    for cookie in cookies {
        app.send(support::set_cookie(get("/", &[]), &cookie)).await;
    }
}

#[tokio::test]
async fn a_session_cookie_of_another_name_is_hinted_at_once() {
    let cookies: [fn(usize) -> String; 6] = [
        |n| format!("connect.sid=s%3A{n:04}q8Xk2LmVbT; Path=/; HttpOnly"),
        |n| format!("JSESSIONID=0{n:04}C7D8E9F0A1B2C3D; Path=/"),
        |n| format!("PHPSESSID={n:04}ab12cd34ef56gh78ij90; path=/"),
        |n| format!("__Host-sid={n:04}ab12cd34ef56gh78ij90; path=/; Secure; HttpOnly"),
        |n| format!("who={n:04}ab12cd34ef56gh78ij90; path=/; HttpOnly; SameSite=Lax"),
        |n| format!("_shop_session={n:04}Zm9vYmFyYmF6cXV4--1f2e3d; httponly"),
    ];
    for cookie in cookies {
        let (log, _guard) = Log::listen();
        let app = App::new();
        set_to_visitors(&app, (0..9).map(cookie)).await;
        assert_eq!(log.lines_with("WARN"), 0, "{}: a few are no proof", cookie(0));
        set_to_visitors(&app, (9..40).map(cookie)).await;
        assert_eq!(log.lines_with("is the session cookie's name right?"), 1, "{}", cookie(0));
        let name = cookie(0).split('=').next().unwrap().to_owned();
        assert_eq!(
            log.lines_with(&format!("the last one {name:?}; none has set \"sid\"")),
            1,
            "{}",
            log.text()
        );
        assert_eq!(log.lines_with("ab12cd34"), 0, "no value of it");
    }
}

#[tokio::test]
async fn an_announced_log_in_that_is_no_sessions_is_told_once() {
    for (id, set, told) in [
        ("A", Some("connect.sid=x"), "call `Session::reauthenticated` instead"),
        ("A", Some("who=0000ab12cd34ef56gh78ij90; HttpOnly"), "call `Session::reauthenticated` instead"),
        ("A", Some("theme=dark"), ""),
        ("A", Some("sidebar=open"), ""),
        ("A", Some("connect.sid=; Max-Age=0"), ""),
        ("A", None, ""),
        ("", None, "there is no live session"),
        ("", Some("connect.sid=x"), ""),
    ] {
        let (log, _guard) = Log::listen();
        let app = App::new();
        app.log_in("A").await;
        app.advance(Duration::from_secs(1));
        for _ in 0..2 {
            let mut request = with(post("/login"), "x-login", "ada");
            if !id.is_empty() {
                request = sid(request, id);
            }
            if let Some(set) = set {
                request = set_cookie(request, set);
            }
            app.send(request).await;
        }
        assert_eq!(log.lines_with("announced a log-in"), usize::from(!told.is_empty()), "{id} {set:?}");
        assert!(log.lines_with(told) > 0 || told.is_empty(), "{id} {set:?}");
        let Decision::Live(live) = app.peek("A").await else { panic!("it lives on") };
        let is_renewed = !id.is_empty() && told.is_empty();
        assert_eq!(live.age().is_zero(), is_renewed, "{id} {set:?}");
    }
}

#[tokio::test]
async fn cookies_that_look_like_no_session_and_sites_with_sessions_hear_no_such_hint() {
    let others: [fn(usize) -> String; 8] = [
        |n| format!("theme=dark-{n}; HttpOnly"),
        |n| format!("csrftoken={n:04}ab12cd34ef56gh78ij90; HttpOnly"),
        |n| format!("XSRF-TOKEN={n:04}ab12cd34ef56gh78ij90"),
        |n| format!("_ga=GA1.1.{n:010}.1700000000"),
        |n| format!("consent={n:04}ab12cd34ef56gh78ij90"),
        |n| format!("sessionid={n:04}ab12cd34ef56gh78ij90; Max-Age=0; HttpOnly"),
        |_| "seen=0000000000000000000000; HttpOnly".to_owned(),
        |_| "PHPSESSID=deleted".to_owned(),
    ];
    let session = |n| format!("connect.sid={n:04}ab12cd34ef56gh78ij90; HttpOnly");
    let (log, _guard) = Log::listen();
    for other in others {
        set_to_visitors(&App::new(), (0..40).map(other)).await;
        assert_eq!(log.lines_with("WARN"), 0, "{}: {}", other(0), log.text());
    }
    let app = App::new();
    app.log_in("A").await;
    set_to_visitors(&app, (0..40).map(session)).await;

    // The name is right; somebody logs out.
    let app = App::new();
    app.send(support::set_cookie(get("/", &[]), "sid=; Max-Age=0")).await;
    set_to_visitors(&app, (0..40).map(session)).await;

    // A session that began before this process did: the store is shared.
    let store = Arc::new(tower_session_timeout::MemoryStore::new());
    let layer = || SessionTimeoutLayer::builder().cookie("sid").store(Arc::clone(&store)).build().unwrap();
    let (before, now) = (layer(), layer());
    before.sessions().start(&SessionId::from("A"), &tower_session_timeout::NewSession::new()).await.unwrap();
    let app = App::around(now, ManualClock::new(), Arc::default());
    assert!(app.admits("A").await);
    set_to_visitors(&app, (0..40).map(session)).await;

    // Ids that travel elsewhere have no cookie.
    let layer = SessionTimeoutLayer::builder().bearer().build().unwrap();
    set_to_visitors(&App::around(layer, ManualClock::new(), Arc::default()), (0..40).map(session)).await;
    assert_eq!(log.lines_with("WARN"), 0, "{}", log.text());
}

#[tokio::test]
async fn a_hostile_cookie_name_forges_no_log_line() {
    let (log, _guard) = Log::listen();
    let name = "x\u{9}\"INFO forged".repeat(20);
    set_to_visitors(&App::new(), (0..40).map(|n| format!("{name}={n:04}ab12cd34ef56gh78ij90; HttpOnly")))
        .await;
    assert_eq!(log.lines_with("is the session cookie's name right?"), 1);
    assert_eq!(log.text().matches("forged").count(), 64 / 14, "and is cut");
}

#[tokio::test]
async fn an_option_that_has_no_effect_inside_another_layer_is_told_once() {
    use tower::{Layer, ServiceExt};
    for is_inner in [true, false] {
        let (log, _guard) = Log::listen();
        let outer =
            SessionTimeoutLayer::builder().cookie(if is_inner { "sid" } else { "other" }).build().unwrap();
        let inner = SessionTimeoutLayer::builder().cookie("sid").rotate_after(Duration::from_secs(3600));
        let inner = inner.build().unwrap();
        let keeper = if is_inner { &outer } else { &inner };
        let new = tower_session_timeout::NewSession::new();
        keeper.sessions().start(&SessionId::from("A"), &new).await.unwrap();
        let application = tower::service_fn(async |_: http::Request<http_body_util::Full<bytes::Bytes>>| {
            Ok::<_, std::convert::Infallible>(http::Response::new(
                http_body_util::Full::<bytes::Bytes>::default(),
            ))
        });
        let site = outer.layer(inner.layer(application));
        for _ in 0..3 {
            let answer = site.clone().oneshot(sid(get("/account", &[]), "A")).await.unwrap();
            assert_eq!(answer.status(), http::StatusCode::OK);
        }
        assert_eq!(log.lines_with("rotate_after has no effect here"), usize::from(is_inner));
    }
}

#[tokio::test]
async fn why_a_request_went_through_is_traced() {
    let (log, _guard) = Log::listen();
    let app = App::with(|builder| builder.public_paths(["/public"]));
    app.log_in("A").await;
    let lines = |how: &str| log.lines_with(&format!("request let through: {how}"));
    let before = lines("without a session id");
    app.send(get("/account", &[])).await;
    assert_eq!(lines("without a session id"), before + 1);
    app.send(sid(get("/account", &[]), "A")).await;
    assert_eq!(lines("live, renewed"), 1);
    app.send(sid(get("/account", &[("session-activity", "passive")]), "A")).await;
    assert_eq!(lines("live, passive"), 1);
    app.send(sid(get("/public", &[]), "made-up")).await;
    assert_eq!(lines("public, without the id of its session"), 1);
    app.send(with(sid(get("/account", &[]), "made-up"), "cookie", "sid=A")).await;
    assert_eq!(lines("live, the one of several ids"), 1);
    app.log_in("B").await;
    app.send(with(sid(post("/logout"), "B"), "cookie", "sid=A")).await;
    assert_eq!(lines("a log-out of several sessions, without them"), 1);
}

//! Layers inside one another: `Session` and `EndReason` are the innermost layer's.
#![allow(clippy::unchecked_time_subtraction)] // of constants

use std::{
    convert::Infallible,
    sync::{Arc, atomic::Ordering::SeqCst},
    time::Duration,
};

use crate::support::{
    IDLE, NANO, RuntimeClock, get, header, post, remote::Remote, removes_cookie, set_cookies, sid, with,
};
use axum::{Router, body::Body, routing};
use bytes::Bytes;
use http::{HeaderName, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use tower::{Layer, Service, ServiceExt, util::BoxCloneService};
use tower_session_timeout::{
    Decision, EndReason, Limits, ManualClock, MemoryStore, NewSession, Owner, Session, SessionId,
    SessionTimeoutBuilder, SessionTimeoutLayer,
};

type Site = BoxCloneService<Request<Full<Bytes>>, Response<UnsyncBoxBody<Bytes, Infallible>>, Infallible>;

fn boxed<S, B>(service: S) -> Site
where
    S: Service<Request<Full<Bytes>>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + 'static,
    B: http_body::Body<Data = Bytes, Error = Infallible> + Send + 'static,
{
    BoxCloneService::new(service.map_response(|response: Response<B>| response.map(BodyExt::boxed_unsync)))
}

/// Tells whose session it sees, and why one is over.
fn application() -> Site {
    boxed(tower::service_fn(|request: Request<Full<Bytes>>| async move {
        let mut response = Response::new(Full::<Bytes>::default());
        let session = request.extensions().get::<Session>();
        let owner = session.map_or("none", |session| session.owner().map_or("nobody", Owner::as_str));
        let reason = request.extensions().get::<EndReason>().map_or("none", |reason| reason.as_str());
        response.headers_mut().insert("x-session", owner.parse().unwrap());
        response.headers_mut().insert("x-reason", reason.parse().unwrap());
        if let Some(cookie) = request.headers().get("x-set-cookie") {
            response.headers_mut().insert("set-cookie", cookie.clone());
            response.extensions_mut().insert(NewSession::new().owner("newcomer"));
        }
        if let Some(owner) = request.headers().get("x-login") {
            let mut new = NewSession::new();
            if !owner.is_empty() {
                new = new.owner(owner.to_str().unwrap());
            }
            if let Some(idle) = request.headers().get("x-login-idle") {
                let idle = Duration::from_secs(idle.to_str().unwrap().parse().unwrap());
                new = new.limits(Limits::idle_only(idle));
            }
            response.extensions_mut().insert(new);
        }
        if let Some(status) = request.headers().get("x-status") {
            *response.status_mut() = status.to_str().unwrap().parse().unwrap();
        }
        Ok::<_, Infallible>(response)
    }))
}

/// A layer with a store of its own, and a live session in it: its name is the owner's, and its id that in upper case.
async fn layer(
    clock: &ManualClock,
    owner: &str,
    configure: impl FnOnce(SessionTimeoutBuilder) -> SessionTimeoutBuilder,
) -> SessionTimeoutLayer {
    let store = Arc::new(MemoryStore::new().clock(clock.clone()));
    let builder = SessionTimeoutLayer::builder().idle_timeout(IDLE).public_paths(["/public"]);
    let layer = configure(builder).store(store).build().unwrap();
    let id = SessionId::from(owner.to_uppercase());
    layer.sessions().start(&id, &NewSession::new().owner(owner)).await.unwrap();
    layer
}

async fn user(clock: &ManualClock) -> SessionTimeoutLayer {
    layer(clock, "user", |builder| builder.cookie("sid")).await
}

async fn admin(clock: &ManualClock) -> SessionTimeoutLayer {
    layer(clock, "admin", |builder| builder.cookie("admin_sid")).await
}

/// From the outside in.
fn site<const N: usize>(layers: [&SessionTimeoutLayer; N]) -> Site {
    layers.into_iter().rev().fold(application(), |site, layer| boxed(layer.layer(site)))
}

async fn seen(site: &Site, path: &str, headers: &[(&str, &str)]) -> (String, String) {
    let response = site.clone().oneshot(get(path, headers)).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK, "{path} {headers:?}");
    (header(&response, "x-session").to_owned(), header(&response, "x-reason").to_owned())
}

async fn session(site: &Site, headers: &[(&str, &str)]) -> String {
    seen(site, "/", headers).await.0
}

#[tokio::test]
async fn an_outer_layers_session_of_another_cookie_is_nobodys_inside() {
    let clock = ManualClock::new();
    let (user, admin) = (user(&clock).await, admin(&clock).await);
    let site = site([&user, &admin]);
    assert_eq!(session(&site, &[("cookie", "sid=USER")]).await, "none");
    assert_eq!(session(&site, &[("cookie", "sid=USER; admin_sid=ADMIN")]).await, "admin");
    assert_eq!(session(&site, &[("cookie", "admin_sid=ADMIN")]).await, "admin");
    assert_eq!(session(&site, &[]).await, "none");
}

/// The admin area of an axum application, behind its extractor.
#[tokio::test]
async fn an_ordinary_users_session_does_not_open_the_admin_area() {
    let clock = ManualClock::new();
    let (user, admin) = (user(&clock).await, admin(&clock).await);
    let area = Router::new().route("/admin", routing::get(async |_: Session| "secrets")).layer(admin);
    let site =
        Router::new().route("/account", routing::get(async |_: Session| "hello")).merge(area).layer(user);
    for (path, cookie, status) in [
        ("/account", "sid=USER", StatusCode::OK),
        ("/admin", "sid=USER", StatusCode::UNAUTHORIZED),
        ("/admin", "sid=USER; admin_sid=ADMIN", StatusCode::OK),
    ] {
        let request = Request::get(path).header("cookie", cookie).body(Body::empty()).unwrap();
        let answer = site.clone().oneshot(request).await.unwrap();
        assert_eq!(answer.status(), status, "{path} {cookie}");
    }
}

#[tokio::test]
async fn what_an_inner_layer_strips_or_cannot_check_is_nobodys_either() {
    let clock = ManualClock::new();
    let (user, admin) = (user(&clock).await, admin(&clock).await);
    let both = [("cookie", "sid=USER; admin_sid=made-up")];
    let stripped = seen(&site([&user, &admin]), "/public", &both).await;
    assert_eq!(stripped, ("none".to_owned(), "unknown".to_owned()));

    let store = Remote::at_once(RuntimeClock::new());
    store.failing.store(1, SeqCst);
    let unchecked = SessionTimeoutLayer::builder()
        .cookie("admin_sid")
        .store(store.clone())
        .dangerously_admit_on_store_failure()
        .build()
        .unwrap();
    assert_eq!(session(&site([&user, &unchecked]), &both).await, "none");
    assert_eq!(store.failing.load(SeqCst), 0, "it did fail");
}

#[tokio::test]
async fn a_layer_that_shows_no_session_hides_the_outer_one_all_the_same() {
    let clock = ManualClock::new();
    let user = user(&clock).await;
    let admin = layer(&clock, "admin", |builder| builder.cookie("admin_sid").without_extension()).await;
    let site = site([&user, &admin]);
    assert_eq!(session(&site, &[("cookie", "sid=USER; admin_sid=ADMIN")]).await, "none");
    assert_eq!(session(&site, &[("cookie", "sid=USER")]).await, "none");
}

#[tokio::test]
async fn a_tokens_session_is_none_of_a_cookies_and_the_other_way_round() {
    let clock = ManualClock::new();
    let user = user(&clock).await;
    let program = layer(&clock, "program", SessionTimeoutBuilder::bearer).await;
    let closure = layer(&clock, "closure", |builder| {
        builder.session_id_from(|head| head.headers().get("x-id").map(|id| SessionId::from(id.as_bytes())))
    })
    .await;
    let (cookie, token, id) =
        (("cookie", "sid=USER"), ("authorization", "Bearer PROGRAM"), ("x-id", "CLOSURE"));
    for (layers, alone, inner) in [
        ([&program, &user], token, (cookie, "user")),
        ([&user, &program], cookie, (token, "program")),
        ([&closure, &user], id, (cookie, "user")),
        ([&closure, &program], id, (token, "program")),
        ([&program, &closure], token, (id, "closure")),
    ] {
        let site = site(layers);
        assert_eq!(session(&site, &[alone]).await, "none");
        assert_eq!(session(&site, &[alone, inner.0]).await, inner.1);
    }
}

#[tokio::test]
async fn a_log_in_is_that_of_the_layer_whose_cookie_it_sets() {
    let clock = ManualClock::new();
    let (user, admin) = (user(&clock).await, admin(&clock).await);
    let site = site([&user, &admin]);
    let login = with(post("/"), "x-set-cookie", "sid=NEW");
    assert_eq!(set_cookies(&site.clone().oneshot(login).await.unwrap()), ["sid=NEW"]);
    let Decision::Live(live) = user.sessions().peek(&SessionId::from("NEW")).await.unwrap() else {
        panic!("it has begun")
    };
    assert_eq!(live.owner, Some(Owner::from("newcomer")));
    let login = with(sid(post("/"), "USER"), "x-set-cookie", "admin_sid=NEW");
    assert_eq!(set_cookies(&site.clone().oneshot(login).await.unwrap()), ["admin_sid=NEW"]);
    assert_eq!(session(&site, &[("cookie", "sid=USER; admin_sid=NEW")]).await, "newcomer");
    assert!(matches!(peek(&user).await, Decision::Live(_)), "the other session goes on");
}

/// A log-in, with or without a cookie.
fn announce(request: Request<Full<Bytes>>, owner: &str) -> Request<Full<Bytes>> {
    with(request, "x-login", owner)
}

async fn age(layer: &SessionTimeoutLayer, id: &str) -> Option<Duration> {
    match layer.sessions().peek(&SessionId::from(id)).await.unwrap() {
        Decision::Live(live) => Some(live.age()),
        _ => None,
    }
}

const STEP: Duration = Duration::from_secs(60);

/// Whatever the cookie's value looks like.
#[tokio::test]
async fn a_log_in_with_the_cookie_of_one_layer_begins_no_clock_of_another_one_anew() {
    for set in ["sid=NEW", "sid=0123456789abcdef0123456789abcdef; HttpOnly"] {
        let clock = ManualClock::new();
        let (user, admin) = (user(&clock).await, admin(&clock).await);
        let id = set.split(['=', ';']).nth(1).unwrap();
        for outside_in in [[&user, &admin], [&admin, &user]] {
            clock.advance(STEP);
            let before = age(&admin, "ADMIN").await.unwrap();
            assert!(before >= STEP);
            let login = with(announce(post("/"), "bob"), "x-set-cookie", set);
            let login = with(login, "cookie", "sid=USER; admin_sid=ADMIN");
            let answer = site(outside_in).oneshot(login).await.unwrap();
            assert_eq!(set_cookies(&answer), [set]);
            assert_eq!(
                age(&admin, "ADMIN").await,
                Some(before),
                "nobody has given the administrator's password"
            );
            assert_eq!(age(&user, id).await, Some(Duration::ZERO));
            assert!(age(&user, "USER").await.is_none(), "the old one has ended");
            user.sessions().end(&SessionId::from(id)).await.unwrap();
            user.sessions().start(&SessionId::from("USER"), &NewSession::new()).await.unwrap();
        }
    }
}

/// As that of the request's `Session`; but if it names an owner, never that of somebody else's.
#[tokio::test]
async fn a_log_in_without_a_cookie_is_that_of_the_innermost_live_session_of_its_owner() {
    let clock = ManualClock::new();
    let (user, admin) = (user(&clock).await, admin(&clock).await);
    let nobodys = layer(&clock, "nobody", |builder| builder.cookie("visitor_sid")).await;
    nobodys.sessions().end(&SessionId::from("NOBODY")).await.unwrap();
    nobodys.sessions().start(&SessionId::from("NOBODY"), &NewSession::new()).await.unwrap();
    let site = site([&user, &admin, &nobodys]);
    let both = "sid=USER; admin_sid=ADMIN";
    let (none, user_only, admin_only) = ([false; 3], [true, false, false], [false, true, false]);
    for (cookie, path, owner, renewed) in [
        ("sid=USER", "/", "user", user_only),
        ("sid=USER; admin_sid=DEAD", "/public", "user", user_only),
        ("admin_sid=ADMIN", "/", "admin", admin_only),
        (both, "/", "admin", admin_only),
        (both, "/", "user", user_only),
        (both, "/", "somebody", none),
        (both, "/", "", admin_only),
        ("sid=USER; visitor_sid=NOBODY", "/", "user", [false, false, true]),
    ] {
        let layers = [(&user, "USER"), (&admin, "ADMIN"), (&nobodys, "NOBODY")];
        for (layer, id) in layers {
            layer.sessions().reauthenticated(&SessionId::from(id)).await.unwrap();
        }
        clock.advance(STEP);
        let request = announce(with(post(path), "cookie", cookie), owner);
        assert_eq!(site.clone().oneshot(request).await.unwrap().status(), StatusCode::OK);
        for ((layer, id), renewed) in layers.into_iter().zip(renewed) {
            let expected = if renewed { Duration::ZERO } else { STEP };
            assert_eq!(age(layer, id).await, Some(expected), "{cookie} {owner:?}: {id}");
        }
    }
}

/// Each with a store of its own.
#[tokio::test]
async fn all_layers_on_a_cookie_hear_of_its_log_in() {
    let clock = ManualClock::new();
    let outer = user(&clock).await;
    let inner = layer(&clock, "inner", |builder| builder.cookie("sid").idle_timeout(STRICT)).await;
    let site = site([&outer, &inner]);
    let login = with(announce(post("/"), "bob"), "x-set-cookie", "sid=NEW");
    site.clone().oneshot(with(login, "x-login-idle", "60")).await.unwrap();
    assert_eq!(session(&site, &[("cookie", "sid=NEW")]).await, "bob");
    for layer in [&outer, &inner] {
        let bobs = layer.sessions().sessions_of(&Owner::from("bob")).await.unwrap();
        assert_eq!(bobs.len(), 1);
    }
    clock.advance(Duration::from_secs(60));
    assert!(age(&outer, "NEW").await.is_none(), "its own limits");
}

/// On its public page, to an application that saw no session.
#[tokio::test]
async fn a_log_in_where_an_inner_layer_has_hidden_the_session_ends_it() {
    for is_shared in [true, false] {
        let clock = ManualClock::new();
        let store = Arc::new(MemoryStore::new().clock(clock.clone()));
        let (outer, inner) = if is_shared {
            let layer = |idle| {
                let builder = SessionTimeoutLayer::builder().cookie("sid").idle_timeout(idle);
                builder.public_paths(["/public"]).store(Arc::clone(&store)).build().unwrap()
            };
            (layer(IDLE), layer(STRICT))
        } else {
            (user(&clock).await, strict())
        };
        outer.sessions().start(&SessionId::from("A"), &NewSession::new().owner("bob")).await.unwrap();
        let site = site([&outer, &inner]);
        clock.advance(STRICT);
        let login = |owner| with(sid(announce(post("/public"), owner), "A"), "x-set-cookie", "sid=B");
        let answer = site.clone().oneshot(login("bob")).await.unwrap();
        assert_eq!(set_cookies(&answer), ["sid=B"]);
        assert_eq!(age(&outer, "B").await, Some(Duration::ZERO));
        let old = outer.sessions().peek(&SessionId::from("A")).await.unwrap();
        assert!(matches!(old, Decision::Ended { reason: EndReason::Superseded, .. }), "{is_shared} {old:?}");
        assert_eq!(session(&site, &[("cookie", "sid=B")]).await, "bob");
    }
}

/// Wherever the two find it: what the outer one's check has renewed came too late for the inner one.
#[tokio::test]
async fn stricter_limits_further_in_hold_for_ids_that_are_no_cookies() {
    fn by_closure(builder: SessionTimeoutBuilder) -> SessionTimeoutBuilder {
        builder.session_id_from(|head| {
            head.headers().get("cookie")?.to_str().ok()?.strip_prefix("sid=").map(SessionId::from)
        })
    }
    fn by_header(builder: SessionTimeoutBuilder) -> SessionTimeoutBuilder {
        builder.header(HeaderName::from_static("x-sid"))
    }
    type Configure = fn(SessionTimeoutBuilder) -> SessionTimeoutBuilder;
    let by_cookie: Configure = |builder| builder.cookie("sid");
    let kinds: [(Configure, Configure, bool); 7] = [
        (SessionTimeoutBuilder::bearer, SessionTimeoutBuilder::bearer, true),
        (by_header, by_header, true),
        (by_closure, by_closure, true),
        (by_cookie, by_cookie, true),
        (by_cookie, by_closure, false),
        (by_closure, by_cookie, false),
        (SessionTimeoutBuilder::bearer, by_header, false),
    ];
    for (at, (outside, inside, is_one_place)) in kinds.into_iter().enumerate() {
        for is_shared in [true, false] {
            let clock = ManualClock::new();
            let stores = [(); 2].map(|()| Arc::new(MemoryStore::new().clock(clock.clone())));
            let layer = |configure: Configure, idle, at: usize| {
                let builder =
                    SessionTimeoutLayer::builder().idle_timeout(idle).store(Arc::clone(&stores[at]));
                configure(builder).build().unwrap()
            };
            let outer = layer(outside, IDLE, 0);
            let inner = layer(inside, STRICT, usize::from(!is_shared));
            outer.sessions().start(&SessionId::from("T"), &NewSession::new()).await.unwrap();
            let site = site([&outer, &inner]);
            let request = || get("/", &[("authorization", "Bearer T"), ("x-sid", "T"), ("cookie", "sid=T")]);
            // A store that does not know the id is not got round by sending it in two places.
            let fresh = if is_shared || is_one_place { StatusCode::OK } else { StatusCode::UNAUTHORIZED };
            assert_eq!(site.clone().oneshot(request()).await.unwrap().status(), fresh, "{at} {is_shared}");
            clock.advance(STRICT);
            for _ in 0..2 {
                let answer = site.clone().oneshot(request()).await.unwrap();
                assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{at} {is_shared}");
            }
            if fresh == StatusCode::OK {
                let looked = outer.sessions().peek(&SessionId::from("T")).await.unwrap();
                let Decision::Live(live) = looked else { panic!("{at}: it lives on") };
                assert_eq!(live.idle_for(), STRICT, "{at}: and what was refused renewed nothing");
            }
        }
    }
}

/// Anybody can send an id in two places.
#[tokio::test]
async fn an_id_in_two_places_opens_nothing() {
    let clock = ManualClock::new();
    let (user, admin) = (user(&clock).await, admin(&clock).await);
    let answer = site([&user, &admin]).oneshot(get("/", &[("cookie", "sid=USER; admin_sid=USER")])).await;
    assert_eq!(answer.unwrap().status(), StatusCode::UNAUTHORIZED);
    let reading = |name: &'static str| {
        move |builder: SessionTimeoutBuilder| {
            builder.session_id_from(move |head| {
                head.headers().get(name).map(|id| SessionId::from(id.as_bytes()))
            })
        }
    };
    let programs = layer(&clock, "user", reading("x-user")).await;
    let admins = layer(&clock, "admin", reading("x-admin")).await;
    let answer =
        site([&programs, &admins]).oneshot(get("/", &[("x-user", "USER"), ("x-admin", "USER")])).await;
    assert_eq!(answer.unwrap().status(), StatusCode::UNAUTHORIZED, "one closure, and two places");
}

/// Of three, the outermost and the innermost time the same sessions: the one in between does not come between them.
#[tokio::test]
async fn layers_on_one_cookie_find_each_other_past_others() {
    let clock = ManualClock::new();
    let (user, admin) = (user(&clock).await, admin(&clock).await);
    let strict = SessionTimeoutLayer::builder()
        .cookie("sid")
        .idle_timeout(IDLE / 3)
        .public_paths(["/public"])
        .build()
        .unwrap();
    let site = site([&user, &admin, &strict]);
    let (both, alone) = ([("cookie", "sid=USER; admin_sid=ADMIN")], [("cookie", "sid=USER")]);
    assert_eq!(session(&site, &both).await, "user");
    assert_eq!(session(&site, &alone).await, "user");
    assert_eq!(session(&site, &[("cookie", "admin_sid=ADMIN")]).await, "none");
    clock.advance(IDLE / 3);
    let refused = site.clone().oneshot(get("/", &both)).await.unwrap();
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED, "the innermost one's limits hold");
}

#[tokio::test]
async fn the_reason_of_an_end_is_told_to_the_layers_of_that_session_alone() {
    let clock = ManualClock::new();
    let (user, admin) = (user(&clock).await, admin(&clock).await);
    let again = SessionTimeoutLayer::builder().cookie("sid").public_paths(["/public"]).build().unwrap();
    clock.advance(IDLE);
    admin.sessions().start(&SessionId::from("ADMIN"), &NewSession::new().owner("admin")).await.unwrap();
    let told = async |site: Site, cookie| seen(&site, "/public", &[("cookie", cookie)]).await;
    let pair = |session: &str, reason: &str| (session.to_owned(), reason.to_owned());
    let both = "sid=USER; admin_sid=ADMIN";
    assert_eq!(told(site([&user]), "sid=USER").await, pair("none", "idle"));
    assert_eq!(told(site([&user, &again]), "sid=USER").await, pair("none", "idle"));
    assert_eq!(told(site([&user, &admin]), both).await, pair("admin", "none"));
    assert_eq!(told(site([&user, &admin]), "sid=USER").await, pair("none", "none"));
    assert_eq!(told(site([&user, &admin]), "sid=USER; admin_sid=x").await, pair("none", "unknown"));
    assert_eq!(told(site([&user, &admin, &again]), both).await, pair("none", "idle"));
}

/// An inner layer with a log-out of its own, for the session of the outer one.
#[tokio::test]
async fn an_inner_layers_log_out_ends_the_outer_ones_session() {
    for idle in [IDLE, IDLE / 3] {
        for past in [Duration::ZERO, IDLE.saturating_sub(NANO)] {
            let clock = ManualClock::new();
            let user = user(&clock).await;
            let inner = SessionTimeoutLayer::builder()
                .cookie("sid")
                .idle_timeout(idle)
                .logout_path("/area/logout")
                .build()
                .unwrap();
            let site = site([&user, &inner]);
            clock.advance(past);
            let forged = with(sid(post("/area/logout"), "USER"), "x-status", "403");
            assert_eq!(site.clone().oneshot(forged).await.unwrap().status(), StatusCode::FORBIDDEN);
            assert!(matches!(peek(&user).await, Decision::Live(_)), "refused by the application");
            clock.advance(past);
            let answer = site.clone().oneshot(sid(post("/area/logout"), "USER")).await.unwrap();
            assert_eq!(answer.status(), StatusCode::OK);
            assert_eq!(header(&answer, "x-session"), "user", "the application logs out whom it knows");
            assert!(removes_cookie(&answer), "{:?}", set_cookies(&answer));
            let over = peek(&user).await;
            assert!(
                matches!(over, Decision::Ended { reason: EndReason::SignedOut, .. }),
                "{idle:?} {past:?}"
            );
        }
    }
}

/// As a cap does not keep anybody from logging out, so does no stricter layer further in.
#[tokio::test]
async fn a_log_out_that_a_layer_further_in_refuses_ends_the_session() {
    for inner_cookie in ["sid", "admin_sid"] {
        let clock = ManualClock::new();
        let user = layer(&clock, "user", |builder| builder.cookie("sid").logout_path("/logout")).await;
        let inner =
            layer(&clock, "admin", |builder| builder.cookie(inner_cookie).idle_timeout(IDLE / 3)).await;
        let site = site([&user, &inner]);
        clock.advance(IDLE / 3);
        let request = || with(post("/logout"), "cookie", "sid=USER; admin_sid=ADMIN");
        let forged = with(request(), "sec-fetch-site", "cross-site");
        assert_eq!(site.clone().oneshot(forged).await.unwrap().status(), StatusCode::UNAUTHORIZED);
        assert!(matches!(peek(&user).await, Decision::Live(_)), "nobody has looked at the form's token");
        clock.advance(IDLE / 3);
        let answer = site.clone().oneshot(request()).await.unwrap();
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "the layer further in");
        assert!(removes_cookie(&answer));
        assert!(matches!(peek(&user).await, Decision::Ended { reason: EndReason::SignedOut, .. }));
    }
}

async fn peek(layer: &SessionTimeoutLayer) -> Decision {
    layer.sessions().peek(&SessionId::from("USER")).await.unwrap()
}

const STRICT: Duration = Duration::from_secs(5 * 60);

/// A layer on the same cookie, with a shorter idle timeout.
fn strict() -> SessionTimeoutLayer {
    let builder = SessionTimeoutLayer::builder().cookie("sid").idle_timeout(STRICT);
    builder.public_paths(["/public"]).build().unwrap()
}

async fn status(site: &Site, path: &str) -> StatusCode {
    site.clone().oneshot(get(path, &[("cookie", "sid=USER")])).await.unwrap().status()
}

/// Whatever keeps the outer layer's sessions.
async fn is_refused_again_and_again(outer: SessionTimeoutLayer, advance: impl Fn(Duration)) {
    let inside = site([&outer, &strict(), &strict()]);
    let outside = site([&outer]);
    assert_eq!(status(&inside, "/admin").await, StatusCode::OK);
    advance(STRICT);
    for _ in 0..3 {
        assert_eq!(
            status(&inside, "/admin").await,
            StatusCode::UNAUTHORIZED,
            "a reload is no activity, either"
        );
    }
    assert_eq!(seen(&inside, "/public", &[("cookie", "sid=USER")]).await.0, "none");
    assert_eq!(
        status(&inside, "/admin").await,
        StatusCode::UNAUTHORIZED,
        "nor is a visit without the session"
    );
    advance(STRICT);
    assert_eq!(status(&inside, "/admin").await, StatusCode::UNAUTHORIZED);
    advance(IDLE - 2 * STRICT - Duration::from_secs(1));
    let looked = outer.sessions().peek(&SessionId::from("USER")).await.unwrap();
    let Decision::Live(live) = looked else { panic!("it lives on: {looked:?}") };
    assert_eq!(live.idle_for(), IDLE - Duration::from_secs(1));
    assert_eq!(status(&outside, "/account").await, StatusCode::OK, "elsewhere it goes on");
    assert_eq!(status(&inside, "/admin").await, StatusCode::OK, "and in use again it may go anywhere");
}

#[tokio::test]
async fn what_an_inner_layer_refuses_renews_nothing() {
    let clock = ManualClock::new();
    is_refused_again_and_again(user(&clock).await, |by| clock.advance(by)).await;
}

#[tokio::test]
async fn what_an_inner_layer_refuses_renews_nothing_though_its_answer_is_made_anew() {
    let clock = ManualClock::new();
    let outer = user(&clock).await;
    let between = tower::util::MapResponseLayer::new(|answer: Response<UnsyncBoxBody<Bytes, Infallible>>| {
        let status = answer.status();
        Response::builder().status(status).body(answer.into_body()).unwrap()
    });
    let site = boxed(outer.layer(between.layer(site([&strict()]))));
    assert_eq!(status(&site, "/admin").await, StatusCode::OK);
    clock.advance(STRICT);
    for path in ["/admin", "/public", "/admin"] {
        let expected = if path == "/public" { StatusCode::OK } else { StatusCode::UNAUTHORIZED };
        assert_eq!(status(&site, path).await, expected, "{path}");
    }
}

#[cfg(feature = "shared")]
#[tokio::test]
async fn what_an_inner_layer_refuses_renews_nothing_in_a_shared_store() {
    use crate::support::table::Table;
    use tower_session_timeout::SharedStore;

    let clock = ManualClock::new();
    let store = SharedStore::on_clock(Table::new(clock.clone()), clock.clone()).granularity(Duration::ZERO);
    let builder = SessionTimeoutLayer::builder().cookie("sid").idle_timeout(IDLE).public_paths(["/public"]);
    let outer = builder.store(store).build().unwrap();
    outer.sessions().start(&SessionId::from("USER"), &NewSession::new().owner("user")).await.unwrap();
    is_refused_again_and_again(outer, |by| clock.advance(by)).await;
}

//! Log-outs end what they say, whatever becomes of their answers.

use std::{
    convert::Infallible,
    future::{Future, pending},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, atomic::Ordering::SeqCst},
    task::{Context, Waker},
    time::Duration,
};

use crate::support::{
    App, IDLE, NANO, RuntimeClock, get, header, post, remote::Remote, removes_cookie, set_cookie,
    set_cookies, sid, slow, with,
};
use bytes::Bytes;
use futures_util::stream;
use http::{HeaderValue, Method, Request, Response, StatusCode, header::CONTENT_TYPE};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};
use tower::{Layer, Service, ServiceExt};
use tower_session_timeout::{
    Decision, EndReason, Limits, ManualClock, MemoryStore, NewSession, Session, SessionId,
    SessionTimeoutBuilder, SessionTimeoutLayer,
};

const MINUTE: Duration = Duration::from_secs(60);

fn logout(id: &str) -> Request<Full<Bytes>> {
    sid(post("/logout"), id)
}

async fn is_signed_out(app: &App, id: &str) -> bool {
    app.end_reason(id).await == Some(EndReason::SignedOut)
}

#[tokio::test]
async fn a_cap_keeps_nobody_from_logging_out() {
    for (status, is_over) in [("200", true), ("303", true), ("502", true), ("403", false)] {
        let app = App::with(|builder| builder.limits_for(|_| Some(Limits::idle_only(MINUTE))));
        app.log_in("A").await;
        app.advance(IDLE.saturating_sub(NANO));
        assert!(!app.admits("A").await, "a cap refuses all else");
        let answer = app.send(with(logout("A"), "x-status", status)).await;
        assert_eq!(answer.status(), status.parse::<StatusCode>().unwrap());
        assert_eq!(answer.body(), "sid=A", "the application logs out whom it knows");
        assert_eq!(removes_cookie(&answer), is_over, "{status}");
        assert_eq!(is_signed_out(&app, "A").await, is_over, "{status}");
        app.advance(NANO);
        assert!(app.end_reason("A").await.is_some(), "what the cap would have refused has not renewed");
    }
}

#[tokio::test]
async fn a_log_out_with_several_live_ids_ends_them_all() {
    // The application cannot judge what it is not shown, but pages elsewhere forge nothing either.
    for (status, site, is_over) in [
        ("200", None, true),
        ("403", None, true),
        ("403", Some("same-origin"), true),
        ("403", Some("cross-site"), false),
        ("403", Some("same-site"), false),
        ("500", Some("cross-site"), false),
        ("200", Some("cross-site"), false),
        ("302", Some("cross-site"), false),
        ("200", Some("same-origin"), true),
    ] {
        let app = App::new();
        for id in ["A", "B", "C"] {
            app.log_in(id).await;
        }
        let request = with(post("/logout"), "cookie", "theme=dark; sid=A; sid=made-up; sid=B");
        let mut request = with(request, "x-status", status);
        if let Some(site) = site {
            request = with(request, "sec-fetch-site", site);
        }
        let answer = app.send(request).await;
        assert_eq!(answer.body(), "theme=dark");
        assert_eq!(removes_cookie(&answer), is_over);
        for id in ["A", "B"] {
            assert_eq!(is_signed_out(&app, id).await, is_over, "{id} {status} {site:?}");
        }
        assert!(app.admits("C").await);
    }
}

#[tokio::test]
async fn a_log_out_with_one_live_id_among_others_ends_it() {
    let app = App::new();
    app.log_in("A").await;
    let answer = app.send(with(post("/logout"), "cookie", "sid=x; sid=A; sid=y")).await;
    assert_eq!(answer.body(), "sid=A");
    assert!(is_signed_out(&app, "A").await);
}

/// A page elsewhere posts the form, and the application, shown no session, takes it for a visitor's. Or a layer further in
/// has sent it on to the log-in page.
#[tokio::test]
async fn a_log_out_that_may_be_forged_and_that_nobody_could_judge_ends_nothing() {
    for (inner_cookie, inner_id, public) in
        [("admin_sid", "DEAD", "/none"), ("sid", "A", "/none"), ("sid", "A", "/logout")]
    {
        for site in ["cross-site", "same-site", "same-origin"] {
            let clock = ManualClock::new();
            let store = Arc::new(MemoryStore::new().clock(clock.clone()));
            let builder = || SessionTimeoutLayer::builder().login_path("/login").store(Arc::clone(&store));
            let outer = builder().cookie("sid").logout_path("/logout").build().unwrap();
            let inner = builder().cookie(inner_cookie).idle_timeout(MINUTE).public_paths([public]);
            let application = tower::service_fn(async |request: Request<Full<Bytes>>| {
                assert!(request.extensions().get::<Session>().is_none());
                Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
            });
            let service = outer.layer(inner.build().unwrap().layer(application));
            let id = SessionId::from("A");
            outer.sessions().start(&id, &NewSession::new()).await.unwrap();
            clock.advance(MINUTE);
            let request = with(post("/logout"), "sec-fetch-site", site);
            let request = with(with(request, "sec-fetch-mode", "navigate"), "cookie", "sid=A");
            let request = with(request, "cookie", &format!("{inner_cookie}={inner_id}"));
            let answer = service.oneshot(request).await.unwrap();
            assert!(answer.status() == StatusCode::SEE_OTHER || public == "/logout");
            let is_live = matches!(outer.sessions().peek(&id).await.unwrap(), Decision::Live(_));
            assert_eq!(is_live, site != "same-origin", "{inner_cookie} {public} {site}");
        }
    }
}

/// Its HTTP status says nothing.
#[tokio::test]
async fn a_log_out_that_the_application_refuses_by_grpc_ends_nothing() {
    for (grpc_status, is_over) in [(None, true), (Some("0"), true), (Some("7"), false), (Some("16"), false)] {
        let layer = SessionTimeoutLayer::builder().bearer().logout_path("/auth.Auth/LogOut").build().unwrap();
        let service = layer.layer(tower::service_fn(async |_: Request<Full<Bytes>>| {
            let mut response = Response::new(Full::<Bytes>::default());
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
            if let Some(status) = grpc_status {
                response.headers_mut().insert("grpc-status", HeaderValue::from_static(status));
            }
            Ok::<_, Infallible>(response)
        }));
        let id = SessionId::from("T");
        layer.sessions().start(&id, &NewSession::new()).await.unwrap();
        let request = with(post("/auth.Auth/LogOut"), "authorization", "Bearer T");
        service.oneshot(with(request, "content-type", "application/grpc")).await.unwrap();
        let is_live = matches!(layer.sessions().peek(&id).await.unwrap(), Decision::Live(_));
        assert_eq!(!is_live, is_over, "{grpc_status:?}");
    }
}

/// There is a bound to how many are looked at. Then the log-out is not pretended.
#[tokio::test]
async fn a_log_out_with_too_many_ids_is_refused() {
    let app = App::new();
    app.log_in("A").await;
    let calls = app.calls();
    let answer = app.send(with(post("/logout"), "cookie", "sid=1; sid=2; sid=3; sid=4; sid=A")).await;
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(app.calls(), calls);
}

#[tokio::test]
async fn a_log_in_in_the_answer_that_ended_the_session_is_kept() {
    for announced in [false, true] {
        let app = App::new();
        app.log_in("A").await;
        app.advance(MINUTE);
        let mut request = with(set_cookie(sid(post("/switch"), "A"), "sid=B"), "x-say", "end");
        if announced {
            request = with(request, "x-login", "bob");
        }
        assert_eq!(set_cookies(&app.send(request).await), ["sid=B"], "{announced}");
        let Decision::Live(live) = app.peek("B").await else { panic!("B is live") };
        assert_eq!(live.age(), Duration::ZERO);
        assert!(!app.admits("A").await);
        let seen = if announced { "bob" } else { "nobody" };
        assert_eq!(header(&app.visit("B").await, "x-session"), seen);
    }
}

/// Session libraries set their cookie with every answer.
#[tokio::test]
async fn what_a_request_has_ended_its_answer_does_not_bring_back() {
    for login in [None, Some("ada")] {
        for id in ["A", "OLD", "OTHER"] {
            let app = App::new();
            app.log_in("OTHER").await;
            app.send(sid(post("/logout"), "OTHER")).await;
            app.log_in("OLD").await;
            app.send(set_cookie(sid(get("/account", &[]), "OLD"), "sid=A")).await;
            assert!(app.admits("A").await);
            let set = format!("sid={id}; Path=/; HttpOnly; Max-Age=1800");
            let mut request = with(set_cookie(sid(get("/account", &[]), "A"), &set), "x-say", "end");
            if let Some(login) = login {
                request = with(request, "x-login", login);
            }
            let answer = app.send(request).await;
            assert_eq!(answer.status(), StatusCode::OK);
            assert!(removes_cookie(&answer), "{:?}", set_cookies(&answer));
            assert!(!set_cookies(&answer).contains(&set));
            assert!(is_signed_out(&app, "A").await);
            assert!(!app.admits(id).await, "{id} {login:?}");
        }
    }
}

#[tokio::test]
async fn what_one_request_ended_no_other_ones_late_answer_undoes() {
    let app = App::new();
    app.log_in("A").await;
    let late = app.send_slow(slow(set_cookie(sid(get("/account", &[]), "A"), "sid=B"))).await;
    app.send(with(sid(post("/bye"), "A"), "x-say", "end")).await;
    app.release();
    assert!(set_cookies(&late.await.unwrap()).is_empty());
    assert!(!app.admits("B").await);
}

/// A proxy answers 502, 503 or 504 for it.
#[tokio::test]
async fn a_log_out_while_the_application_is_down_ends_the_session() {
    for status in ["500", "502", "503", "504"] {
        let app = App::new();
        app.log_in("A").await;
        let answer = app.send(with(logout("A"), "x-status", status)).await;
        assert_eq!(answer.status(), status.parse::<StatusCode>().unwrap());
        assert!(removes_cookie(&answer));
        assert!(is_signed_out(&app, "A").await, "{status}");
    }
}

/// T71: while the application is down, nobody looks at a form's token.
#[tokio::test]
async fn a_form_of_another_site_logs_nobody_out_while_the_application_is_down() {
    let origins = [
        ("sec-fetch-site", "cross-site", false),
        ("sec-fetch-site", "same-site", false),
        ("sec-fetch-site", "same-origin", true),
        ("sec-fetch-site", "none", true),
        ("origin", "https://evil.example", false),
        ("origin", "https://shop.example.evil.example", false),
        ("origin", "null", false),
        ("origin", "https://shop.example", true),
    ];
    for (name, value, is_over) in origins {
        let app = App::new();
        app.log_in("A").await;
        let request = with(with(logout("A"), "x-status", "502"), name, value);
        app.send(with(request, "host", "shop.example")).await;
        assert_eq!(is_signed_out(&app, "A").await, is_over, "{name}: {value}");
        let dropped = app.send_slow(slow(with(with(logout("A"), name, value), "host", "shop.example"))).await;
        dropped.abort();
        assert!(dropped.await.is_err());
        assert_eq!(is_signed_out(&app, "A").await, is_over, "{name}: {value}");
    }
}

#[tokio::test]
async fn two_sites_said_at_once_are_another_one() {
    let app = App::new();
    app.log_in("A").await;
    let request = with(with(logout("A"), "x-status", "502"), "sec-fetch-site", "same-origin");
    app.send(with(request, "sec-fetch-site", "cross-site")).await;
    assert!(!is_signed_out(&app, "A").await);
}

/// What the application does with a log-out but answer it.
#[derive(Clone, Copy, Debug)]
enum Failure {
    Error,
    Panic,
    PanicInCall,
    Hang,
}

type Inner = tower::util::BoxCloneSyncService<Request<Full<Bytes>>, Response<Full<Bytes>>, &'static str>;

fn failing(failure: Failure) -> Inner {
    tower::util::BoxCloneSyncService::new(tower::service_fn(move |_: Request<Full<Bytes>>| {
        assert!(!matches!(failure, Failure::PanicInCall), "as asked for");
        async move {
            match failure {
                Failure::Error => Err("broken"),
                Failure::Panic | Failure::PanicInCall => panic!("as asked for"),
                Failure::Hang => pending().await,
            }
        }
    }))
}

fn builder() -> SessionTimeoutBuilder {
    SessionTimeoutLayer::builder().cookie("sid").logout_path("/logout")
}

async fn begin(layer: &SessionTimeoutLayer, id: &str) {
    layer.sessions().start(&SessionId::from(id), &NewSession::new()).await.unwrap();
}

async fn reason(layer: &SessionTimeoutLayer, id: &str) -> Option<EndReason> {
    match layer.sessions().peek(&SessionId::from(id)).await.unwrap() {
        Decision::Ended { reason, .. } => Some(reason),
        Decision::Live(_) | Decision::Capped(_) => None,
    }
}

#[tokio::test(start_paused = true)]
async fn a_log_out_that_the_application_does_not_answer_ends_the_session() {
    for failure in [Failure::Error, Failure::Panic, Failure::PanicInCall, Failure::Hang] {
        let in_memory = builder().build().unwrap();
        let on_a_network = builder().store(Remote::new(RuntimeClock::new())).build().unwrap();
        for layer in [in_memory, on_a_network] {
            begin(&layer, "A").await;
            begin(&layer, "B").await;
            for (path, id) in [("/logout", "A"), ("/account", "B")] {
                let answer = layer.layer(failing(failure)).oneshot(sid(post(path), id));
                let answer = tokio::spawn(tokio::time::timeout(MINUTE, answer)).await;
                assert!(!matches!(answer, Ok(Ok(Ok(_)))), "no answer");
            }
            tokio::time::sleep(MINUTE).await;
            assert_eq!(reason(&layer, "A").await, Some(EndReason::SignedOut), "{failure:?}");
            assert_eq!(reason(&layer, "B").await, None, "{failure:?}: no log-out");
        }
    }
}

/// Its client goes away, and the store does not answer either.
#[tokio::test(start_paused = true)]
async fn a_dropped_log_out_is_tried_again_until_the_store_takes_it() {
    let remote = Remote::new(RuntimeClock::new());
    let layer = builder().store(remote.clone()).build().unwrap();
    begin(&layer, "A").await;
    let answer = layer.layer(failing(Failure::Hang)).oneshot(logout("A"));
    let dropped = tokio::time::timeout(MINUTE, async {
        let silent = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            remote.takes.store(3600, SeqCst);
        };
        tokio::join!(answer, silent)
    });
    assert!(dropped.await.is_err());
    tokio::time::sleep(Duration::from_secs(2)).await;
    remote.takes.store(0, SeqCst);
    assert_eq!(reason(&layer, "A").await, None, "as yet");
    tokio::time::sleep(MINUTE).await;
    assert_eq!(reason(&layer, "A").await, Some(EndReason::SignedOut));
}

/// A store in memory needs no runtime for it.
#[test]
fn a_dropped_log_out_needs_no_runtime() {
    let layer = builder().build().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(begin(&layer, "A"));
    runtime.block_on(begin(&layer, "B"));
    let mut hanging = Box::pin(layer.layer(failing(Failure::Hang)).call(logout("A")));
    assert!(hanging.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    drop(hanging);
    assert_eq!(runtime.block_on(reason(&layer, "A")), Some(EndReason::SignedOut));
    let panicking = catch_unwind(AssertUnwindSafe(|| {
        let mut panicking = Box::pin(layer.layer(failing(Failure::Panic)).call(logout("B")));
        panicking.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending()
    }));
    assert!(panicking.is_err());
    assert_eq!(runtime.block_on(reason(&layer, "B")), Some(EndReason::SignedOut));
}

#[tokio::test]
async fn an_answer_that_is_no_log_out_undoes_none_that_is_dropped_later() {
    let app = App::in_memory();
    app.log_in("A").await;
    assert_eq!(app.send(with(logout("A"), "x-status", "403")).await.status(), StatusCode::FORBIDDEN);
    assert!(app.admits("A").await, "its visit was dropped as well, and it was refused");
    let dropped = app.send_slow(slow(logout("A"))).await;
    dropped.abort();
    assert!(dropped.await.is_err());
    assert!(is_signed_out(&app, "A").await);
}

/// The answer's head says it; whoever hangs up in the middle of its body is signed out.
#[tokio::test(start_paused = true)]
async fn a_log_out_whose_body_never_ends_has_ended_the_session() {
    let layer = builder().build().unwrap();
    begin(&layer, "A").await;
    let application = tower::service_fn(|_: Request<Full<Bytes>>| async {
        let first = stream::iter([Ok::<_, Infallible>(Frame::data(Bytes::from_static(b"good")))]);
        Ok::<_, Infallible>(Response::new(StreamBody::new(stream::StreamExt::chain(
            first,
            stream::pending(),
        ))))
    });
    let answer = layer.layer(application).oneshot(logout("A")).await.unwrap();
    assert!(removes_cookie(&answer));
    let mut body = Box::pin(answer.into_body());
    assert!(body.frame().await.is_some());
    drop(body);
    assert_eq!(reason(&layer, "A").await, Some(EndReason::SignedOut));
}

/// An end that hangs in the store, whose client does not wait for it, is tried again; and what streams is cut after that.
#[tokio::test(start_paused = true)]
async fn a_stream_is_cut_by_a_log_out_that_hung_at_first() {
    let remote = Remote::new(RuntimeClock::new());
    let layer = builder().end_streams(["text/event-stream"]).store(remote.clone()).build().unwrap();
    begin(&layer, "A").await;
    let application = {
        let remote = remote.clone();
        tower::service_fn(move |request: Request<Full<Bytes>>| {
            let events = stream::pending::<Result<Frame<Bytes>, Infallible>>();
            let mut response = Response::new(StreamBody::new(events));
            if request.uri().path() == "/logout" {
                remote.takes.store(3600, SeqCst);
            } else {
                response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
            }
            async { Ok::<_, Infallible>(response) }
        })
    };
    let service = layer.layer(application);
    let events = service.clone().oneshot(sid(get("/events", &[]), "A")).await.unwrap();
    let reading = tokio::spawn(async move { events.into_body().collect().await.is_ok() });

    let hanging = tokio::time::timeout(Duration::from_millis(100), service.oneshot(logout("A"))).await;
    assert!(hanging.is_err(), "its client goes away while the store hangs");
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(!reading.is_finished());
    remote.takes.store(0, SeqCst);
    tokio::time::sleep(MINUTE).await;
    assert_eq!(reason(&layer, "A").await, Some(EndReason::SignedOut));
    assert!(reading.is_finished());
    assert!(reading.await.unwrap());
}

#[tokio::test]
async fn a_get_logs_out_only_where_that_is_asked_for() {
    let get_logout = || sid(get("/logout", &[]), "A");
    let of = |name: &'static str, value: &str| with(get_logout(), name, value);
    let head = || {
        let mut request = get_logout();
        *request.method_mut() = Method::HEAD;
        request
    };
    let cases = [
        (get_logout(), true),
        (of("sec-fetch-site", "same-origin"), true),
        (of("sec-fetch-site", "none"), true),
        (of("sec-fetch-dest", "document"), true),
        (of("sec-fetch-dest", "empty"), true),
        (of("x-status", "502"), true),
        (of("x-status", "404"), false),
        (of("sec-fetch-site", "cross-site"), false),
        (of("sec-fetch-site", "same-site"), false),
        (of("sec-fetch-dest", "image"), false),
        (of("sec-fetch-dest", "iframe"), false),
        (of("sec-purpose", "prefetch;prerender"), false),
        (of("purpose", "prefetch"), false),
        (head(), false),
    ];
    for (request, is_over) in cases {
        let shown = format!("{} {:?}", request.method(), request.headers());
        let by_post_alone = App::new();
        by_post_alone.log_in("A").await;
        by_post_alone.send(request.clone()).await;
        assert!(by_post_alone.admits("A").await, "{shown}");

        let app = App::with(SessionTimeoutBuilder::logout_by_get);
        app.log_in("A").await;
        let answer = app.send(request).await;
        assert_eq!(is_signed_out(&app, "A").await, is_over, "{shown}");
        assert_eq!(removes_cookie(&answer), is_over, "{shown}");
    }
}

/// T71: a form of another site, sent without the cookie.
#[tokio::test]
async fn a_log_out_without_a_session_removes_no_cookie() {
    for builder in [App::new(), App::with(SessionTimeoutBuilder::logout_by_get)] {
        for request in [post("/logout"), get("/logout", &[]), with(post("/logout"), "x-status", "502")] {
            assert!(set_cookies(&builder.send(request).await).is_empty());
        }
    }
}

#[tokio::test]
async fn a_log_out_ends_every_id_of_the_session() {
    let store = Arc::new(MemoryStore::new());
    let layer = builder().store(store).build().unwrap();
    begin(&layer, "A").await;
    let rotating = tower::service_fn(|_: Request<Full<Bytes>>| async {
        let response = Response::builder().status(502).header("set-cookie", "sid=B");
        Ok::<_, Infallible>(response.body(Full::<Bytes>::default()).unwrap())
    });
    let service = layer.layer(rotating);
    service.clone().oneshot(sid(get("/", &[]), "A")).await.unwrap();
    service.oneshot(logout("B")).await.unwrap();
    for id in ["A", "B"] {
        assert_eq!(reason(&layer, id).await, Some(EndReason::SignedOut));
    }
}

const REMOVAL: &str = "sid=; Path=/; Max-Age=0";

/// The store may have forgotten of the session before the answer comes, however that took its time.
#[tokio::test]
async fn a_request_begins_no_session_under_the_id_it_came_with() {
    let app = App::new();
    app.log_in("A").await;
    let report =
        with(with(set_cookie(sid(post("/report"), "A"), "sid=A; Path=/"), "x-say", "end"), "x-slow", "1");
    let report = app.send_slow(report).await;
    app.advance(2 * IDLE);
    app.release();
    // It says so while it is under way, and the answer takes its time.
    let answer = report.await.unwrap();
    assert!(
        !set_cookies(&answer).iter().any(|cookie| cookie.starts_with("sid=A")),
        "{:?}",
        set_cookies(&answer)
    );
    assert!(!app.admits("A").await);

    let app = App::with_store(MemoryStore::new().capacity(1), |builder| builder);
    app.log_in("A").await;
    let forgets = app.layer.layer(tower::service_fn({
        let sessions = app.layer.sessions();
        move |request: Request<Full<Bytes>>| {
            let sessions = sessions.clone();
            async move {
                request.extensions().get::<Session>().unwrap().end().await.unwrap();
                // There is room for one.
                sessions.start(&SessionId::from("other"), &NewSession::new()).await.unwrap();
                sessions.end(&SessionId::from("other")).await.unwrap();
                let response = Response::builder().header("set-cookie", "sid=A; Path=/");
                Ok::<_, Infallible>(response.body(Full::<Bytes>::default()).unwrap())
            }
        }
    }));
    let answer = forgets.oneshot(sid(get("/", &[]), "A")).await.unwrap();
    assert!(removes_cookie(&answer), "{:?}", set_cookies(&answer));
    assert!(!app.admits("A").await);
}

/// A session library deletes what it kept under the old id, and removes the cookie of who still comes with that.
#[tokio::test]
async fn a_late_removal_ends_no_session_that_goes_on_under_a_newer_id() {
    let app = App::new();
    app.log_in("A").await;
    let late = app.send_slow(slow(set_cookie(sid(get("/tab", &[]), "A"), REMOVAL))).await;
    app.send(set_cookie(sid(get("/", &[]), "A"), "sid=B")).await;
    assert!(app.admits("B").await);
    app.release();
    assert_eq!(set_cookies(&late.await.unwrap()), [""; 0]);
    assert!(app.admits("B").await);

    let removal = app.send(set_cookie(sid(get("/", &[]), "B"), REMOVAL)).await;
    assert!(!set_cookies(&removal).is_empty() && !app.admits("B").await, "who goes on with it may end it");
}

/// The browser may have the cookie of the new log-in already.
#[tokio::test]
async fn a_late_removal_takes_no_new_log_ins_cookie() {
    let app = App::new();
    app.log_in("A").await;
    let late = app.send_slow(slow(set_cookie(sid(get("/tab", &[]), "A"), REMOVAL))).await;
    app.send(logout("A")).await;
    app.log_in("B").await;
    app.release();
    assert_eq!(set_cookies(&late.await.unwrap()), [""; 0]);
    assert!(app.admits("B").await);
}

#[tokio::test]
async fn what_was_superseded_by_a_log_in_is_not_removed_from_the_browser() {
    let app = App::new();
    app.log_in("A").await;
    app.send(with(set_cookie(sid(post("/login"), "A"), "sid=B"), "x-login", "ada")).await;
    let page = [("accept", "text/html"), ("sec-fetch-mode", "navigate"), ("cookie", "sid=A")];
    let tab = app.send(get("/account", &page)).await;
    assert_eq!(header(&tab, "session-ended"), "superseded");
    assert_eq!(set_cookies(&tab), [""; 0]);
    let public = app.send(get("/public/page", &page)).await;
    assert_eq!((public.status(), set_cookies(&public)), (StatusCode::OK, vec![]));
}

/// The application believes what only looks like a log-out.
#[tokio::test]
async fn what_no_user_has_asked_for_logs_out_nobody_though_the_application_says_so() {
    for (name, value) in
        [("sec-purpose", "prefetch"), ("sec-fetch-site", "cross-site"), ("sec-fetch-dest", "image")]
    {
        let app = App::with(SessionTimeoutBuilder::logout_by_get);
        app.log_in("A").await;
        let request = set_cookie(sid(get("/logout", &[("sec-fetch-mode", "no-cors")]), "A"), REMOVAL);
        let answer = app.send(with(request, name, value)).await;
        assert_eq!(set_cookies(&answer), [""; 0], "{name}");
        assert!(app.admits("A").await, "{name}");
    }
}

//! What a client hears when its session is over: T52–T63.
#![allow(clippy::unchecked_time_subtraction)] // of constants

use std::sync::Arc;

use crate::support::{
    self, App, IDLE, get, header, post, removes_cookie, set_cookie, set_cookies, sid, with,
};
use http::{Method, Request, Response, StatusCode, header::LOCATION};
use http_body_util::{Empty, Full, StreamBody};
use tower_session_timeout::{
    EndReason, ManualClock, SessionCookie, SessionTimeoutBuilder, SessionTimeoutLayer, respond,
};

const NAVIGATION: (&str, &str) = ("sec-fetch-mode", "navigate");

/// The answer to a request whose session has been idle for too long.
async fn refused(request: Request<Full<bytes::Bytes>>) -> Response<bytes::Bytes> {
    refused_by(|builder| builder, request).await
}

async fn refused_by(
    configure: impl FnOnce(SessionTimeoutBuilder) -> SessionTimeoutBuilder,
    request: Request<Full<bytes::Bytes>>,
) -> Response<bytes::Bytes> {
    let app = App::with(configure);
    app.log_in("A").await;
    app.advance(IDLE);
    let response = app.send(sid(request, "A")).await;
    assert_eq!(app.calls(), 1, "the application saw the log-in alone");
    assert!(header(&response, "cache-control").contains("no-store"), "T57");
    assert!(header(&response, "vary").contains("cookie"));
    assert_eq!(response.extensions().get::<EndReason>(), Some(&EndReason::Idle));
    response
}

#[tokio::test]
async fn a_navigation_is_sent_to_the_log_in_page() {
    for headers in [
        &[NAVIGATION][..],
        &[NAVIGATION, ("accept", "*/*")],
        &[("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8")],
        &[("accept", "application/json;q=0.1, Text/HTML;q=0.9")],
    ] {
        let response = refused(get("/account?tab=2&x=%20", headers)).await;
        assert_eq!(response.status(), StatusCode::SEE_OTHER, "{headers:?}");
        assert_eq!(header(&response, "location"), "/login?next=%2Faccount%3Ftab%3D2%26x%3D%2520");
        assert_eq!(header(&response, "session-ended"), "idle");
        assert!(removes_cookie(&response));
        assert!(response.body().is_empty());
    }
}

/// T52: 303 turns a form's POST into a GET of the log-in page; it does not post the form there.
#[tokio::test]
async fn a_posted_form_is_sent_to_the_log_in_page_without_a_return() {
    let response = refused(with(post("/transfer"), NAVIGATION.0, NAVIGATION.1)).await;
    assert_eq!(response.status(), StatusCode::SEE_OTHER);
    assert_eq!(header(&response, "location"), "/login");
    assert!(removes_cookie(&response));
}

/// T61
#[tokio::test]
async fn everything_else_hears_401_with_a_problem_document() {
    for headers in [
        &[][..],
        &[("accept", "application/json")],
        &[("accept", "*/*")],
        &[("accept", "text/event-stream")],
        &[("accept", "text/html"), ("sec-fetch-mode", "cors")],
        &[("accept", "image/avif,*/*"), ("sec-fetch-mode", "no-cors")],
        &[("sec-fetch-mode", "navigate"), ("sec-fetch-mode", "cors")],
        &[("sec-fetch-mode", "websocket"), ("upgrade", "websocket"), ("connection", "upgrade")],
    ] {
        let response = refused(get("/api/me", headers)).await;
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "{headers:?}");
        assert_eq!(header(&response, "content-type"), "application/problem+json");
        assert_eq!(header(&response, "www-authenticate"), "Session realm=\"session\"");
        assert_eq!(header(&response, "x-content-type-options"), "nosniff");
        assert_eq!(header(&response, "referrer-policy"), "no-referrer");
        assert_eq!(header(&response, "session-ended"), "idle");
        assert!(set_cookies(&response).is_empty(), "its late answer could remove a new log-in's cookie");
        let problem: serde_json::Value = serde_json::from_slice(response.body()).unwrap();
        assert_eq!(problem["status"], 401);
        assert_eq!(problem["title"], "Unauthorized");
        assert_eq!(header(&response, "content-length"), response.body().len().to_string());
    }
    assert_eq!(refused(post("/api/orders")).await.status(), StatusCode::UNAUTHORIZED);
    let html_post = with(post("/form"), "accept", "text/html");
    assert_eq!(refused(html_post).await.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn without_a_log_in_page_a_navigation_hears_401_and_loses_its_cookie() {
    let app = bare_app();
    let response = app.send(sid(get("/account", &[NAVIGATION]), "made-up")).await;
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert!(removes_cookie(&response));
}

/// Without log-in page, log-out path and public paths.
fn bare_app() -> App {
    let layer = SessionTimeoutLayer::builder().cookie("sid").build().unwrap();
    App::around(layer, ManualClock::new(), Arc::default())
}

#[tokio::test]
async fn htmx_hears_hx_redirect_to_the_page_around_the_fragment() {
    let htmx = ("hx-request", "true");
    let page = ("hx-current-url", "https://app.example/notes?page=2#x");
    let response = refused(get("/notes/fragment", &[htmx, page, ("sec-fetch-mode", "cors")])).await;
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(header(&response, "hx-redirect"), "/login?next=%2Fnotes%3Fpage%3D2");
    assert!(response.headers().contains_key("www-authenticate"));
    assert!(header(&response, "vary").contains("cookie"));
    assert!(header(&response, "vary").split(", ").any(|name| name == "hx-request"));

    let boosted = refused(get("/notes", &[htmx, page, ("hx-boosted", "true")])).await;
    assert_eq!(header(&boosted, "hx-redirect"), "/login?next=%2Fnotes");

    for nowhere in
        ["", "https://evil.example", "//evil.example//x", "/login", "javascript:alert(1)", "\u{e9}"]
    {
        let response = refused(get("/notes/fragment", &[htmx, ("hx-current-url", nowhere)])).await;
        let redirect = header(&response, "hx-redirect");
        assert!(redirect == "/login" || redirect == "/login?next=%2F", "{nowhere}: {redirect}");
    }
}

#[tokio::test]
async fn grpc_hears_unauthenticated_in_trailers_only() {
    for kind in ["application/grpc", "application/grpc+proto", "application/grpc-web"] {
        let response = refused(with(post("/pkg.Service/Call"), "content-type", kind)).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(header(&response, "grpc-status"), "16");
        assert!(header(&response, "content-type").starts_with("application/grpc"));
        assert!(response.body().is_empty());
    }
}

/// T60
#[tokio::test]
async fn head_has_the_headers_and_no_body() {
    let mut head = get("/api/me", &[("if-none-match", "\"x\"")]);
    *head.method_mut() = Method::HEAD;
    let response = refused(head).await;
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert!(response.body().is_empty());
    assert_eq!(
        header(&response, "content-length"),
        refused(get("/api/me", &[])).await.body().len().to_string()
    );
}

/// T63: an id that was never issued learns nothing from the answer but that it is none.
#[tokio::test]
async fn an_unknown_id_learns_no_reason() {
    let app = App::new();
    let response = app.send(sid(get("/api/me", &[]), "made-up")).await;
    assert!(!response.headers().contains_key("session-ended"));
    assert_eq!(response.body(), refused(get("/api/me", &[])).await.body(), "and the same body");
}

#[tokio::test]
async fn every_reason_the_store_knows_is_named() {
    let app = App::new();
    let ended = async |id: &str| {
        let response = app.send(sid(get("/api/me", &[]), id)).await;
        header(&response, "session-ended").to_owned()
    };
    app.log_in("A").await;
    app.send(sid(post("/logout"), "A")).await;
    assert_eq!(ended("A").await, "signed-out");
    app.log_in("B").await;
    app.layer.sessions().end(&"B".into()).await.unwrap();
    assert_eq!(ended("B").await, "revoked");
    app.log_in("C").await;
    for _ in 0..32 {
        app.advance(IDLE - support::NANO);
        assert!(app.admits("C").await);
    }
    app.advance(support::NANO * 32);
    assert_eq!(ended("C").await, "absolute");
}

/// T54
#[tokio::test]
async fn the_referer_is_never_a_target() {
    let request = get("//evil.example/x", &[NAVIGATION, ("referer", "https://evil.example/")]);
    assert_eq!(header(&refused(request).await, "location"), "/login");
    let request = with(post("/x"), NAVIGATION.0, NAVIGATION.1);
    let response = refused(with(request, "referer", "https://evil.example/")).await;
    assert_eq!(header(&response, "location"), "/login");
}

/// T56: a page behind a link that is a secret.
#[tokio::test]
async fn the_address_asked_for_is_told_to_the_log_in_page_of_this_site_alone_and_need_not_be() {
    let asked = || get("/reset?token=s3cret", &[NAVIGATION]);
    let redirect = refused(asked()).await;
    assert_eq!(header(&redirect, "location"), "/login?next=%2Freset%3Ftoken%3Ds3cret");
    assert_eq!(header(&redirect, "referrer-policy"), "no-referrer", "nobody hears of it on the way");
    let without_return = |b: SessionTimeoutBuilder| {
        b.expired_response(respond::redirect(http::HeaderValue::from_static("/login")))
    };
    let redirect = refused_by(without_return, asked()).await;
    assert!(redirect.headers().values().all(|value| !value.to_str().unwrap().contains("s3cret")));
    let public = |b: SessionTimeoutBuilder| b.public_paths(["/reset"]);
    let app = App::with(public);
    assert_eq!(
        app.send(sid(asked(), "dead")).await.status(),
        StatusCode::OK,
        "such a page belongs to nobody"
    );
}

#[tokio::test]
async fn a_log_in_page_with_a_query_keeps_it() {
    let response = refused_by(|b| b.login_path("/login?tenant=1"), get("/a", &[NAVIGATION])).await;
    assert_eq!(header(&response, "location"), "/login?tenant=1&next=%2Fa");
}

#[tokio::test]
async fn the_cookie_is_removed_as_it_was_set() {
    let cookie = SessionCookie::new("sid").path("/app").domain("example.com").secure(true).partitioned(true);
    let response = refused_by(|b| b.cookie(cookie), get("/a", &[NAVIGATION])).await;
    let expires = "Expires=Thu, 01 Jan 1970 00:00:00 GMT";
    let mut removals = set_cookies(&response);
    for removal in &mut removals {
        for part in ["sid=;", "Path=/app", "Secure", "Partitioned", "Max-Age=0", expires] {
            assert!(removal.contains(part), "{removal}");
        }
    }
    assert_eq!(removals.iter().filter(|removal| removal.contains("Domain=example.com")).count(), 1);
    assert_eq!(removals.len(), 2, "and a host-only one of the same name");
}

#[tokio::test]
async fn a_host_prefixed_cookie_is_removed_with_secure() {
    let app = App::with(|builder| builder.cookie("__Host-sid"));
    let response = app.send(get("/a", &[NAVIGATION, ("cookie", "__Host-sid=dead")])).await;
    let [removal] = &set_cookies(&response)[..] else { panic!("one removal") };
    assert!(removal.starts_with("__Host-sid=;") && removal.contains("Secure") && removal.contains("Path=/"));
    assert!(!removal.contains("Domain"));
}

/// T59
#[tokio::test]
async fn vary_is_appended_to_never_replaced_and_a_star_is_kept() {
    let custom = |vary: &'static str| {
        move |builder: SessionTimeoutBuilder| {
            builder.expired_response(move |_| {
                let response = Response::builder().status(401).header("vary", vary);
                response.body(Empty::<bytes::Bytes>::new()).unwrap()
            })
        }
    };
    let app = App::with(custom("Accept-Encoding, COOKIE"));
    let response = app.send(sid(get("/a", &[]), "x")).await;
    let all: Vec<_> = response.headers().get_all("vary").iter().map(|vary| vary.to_str().unwrap()).collect();
    assert_eq!(all, ["Accept-Encoding, COOKIE", "sec-fetch-mode", "accept", "hx-request"]);
    let app = App::with(custom("*"));
    let response = app.send(sid(get("/a", &[]), "x")).await;
    assert_eq!(response.headers().get_all("vary").iter().count(), 1);
}

#[tokio::test]
async fn a_response_of_ones_own_may_have_any_body() {
    let text = |b: SessionTimeoutBuilder| {
        b.expired_response(|ended| {
            let text = format!("{} at {}", ended.reason(), ended.head().path());
            Response::builder().status(440).header("cache-control", "no-store, private").body(text).unwrap()
        })
    };
    let response = refused_by(text, get("/a", &[NAVIGATION])).await;
    assert_eq!(response.status().as_u16(), 440);
    assert_eq!(response.body(), "idle at /a");
    assert_eq!(header(&response, "cache-control"), "no-store, private", "its own is kept");
    assert!(removes_cookie(&response));

    let stream = |b: SessionTimeoutBuilder| {
        b.expired_response(|_| {
            let frames = ["one ", "two"].map(|text| {
                let frame = http_body::Frame::data(bytes::Bytes::from_static(text.as_bytes()));
                Ok::<_, std::io::Error>(frame)
            });
            Response::new(StreamBody::new(futures_util::stream::iter(frames)))
        })
    };
    let response = refused_by(stream, get("/a", &[])).await;
    assert_eq!(response.body(), "one two");
    assert_eq!(header(&response, "content-length"), "");

    let location = |b: SessionTimeoutBuilder| {
        b.expired_response(|ended| {
            assert_eq!(ended.return_to().as_deref(), Some("/a"));
            Response::new(ended.login_location().unwrap())
        })
    };
    let mut head = get("/a", &[]);
    *head.method_mut() = Method::HEAD;
    let response = refused_by(location, head).await;
    assert!(response.body().is_empty());
    assert_eq!(header(&response, "content-length"), "/login?next=%2Fa".len().to_string());
}

/// T16: a cookie by which the application would sign its user in again.
#[tokio::test]
async fn a_response_of_ones_own_may_remove_further_cookies() {
    let forget = |b: SessionTimeoutBuilder| {
        b.expired_response(|_| {
            let response = Response::builder().status(401).header("set-cookie", "remember=; Max-Age=0");
            response.body(String::new()).unwrap()
        })
    };
    let response = refused_by(forget, get("/a", &[NAVIGATION])).await;
    assert!(set_cookies(&response).contains(&"remember=; Max-Age=0".to_owned()));
    assert!(removes_cookie(&response));
}

/// I6: nothing has begun under such an id, so its value is not live.
#[tokio::test]
async fn a_response_of_ones_own_sets_no_session_cookie() {
    let greet = |b: SessionTimeoutBuilder| {
        b.expired_response(|_| {
            let response = Response::builder()
                .header("set-cookie", "sid=FRESH; Path=/")
                .header("set-cookie", "theme=dark")
                .header("set-cookie", "sid=; Path=/; Max-Age=0");
            response.body(String::new()).unwrap()
        })
    };
    let response = refused_by(greet, get("/a", &[NAVIGATION])).await;
    let (theme, removals) =
        set_cookies(&response).split_first().map(|(a, b)| (a.clone(), b.to_vec())).unwrap();
    assert_eq!(theme, "theme=dark");
    assert_eq!(removals.len(), 1, "the layer's own: {removals:?}");
    assert!(removes_cookie(&response));

    let response = refused_by(greet, get("/a", &[])).await;
    assert_eq!(set_cookies(&response), ["theme=dark"], "of a background request, nothing is removed either");
}

#[tokio::test]
async fn usual_wishes_are_ready_made() {
    let status = StatusCode::from_u16(419).unwrap();
    let response = refused_by(|b| b.expired_response(respond::status(status)), get("/a", &[])).await;
    assert_eq!(response.status(), status);

    let sso = http::HeaderValue::from_static("https://sso.example/");
    let response = refused_by(|b| b.expired_response(respond::redirect(sso)), post("/a")).await;
    assert_eq!(response.status(), StatusCode::SEE_OTHER);
    assert_eq!(response.headers()[LOCATION], "https://sso.example/");

    // T65
    let detail = "</script><img onerror=x>\" \\ \u{2028}\n";
    let problem = respond::problem(StatusCode::UNAUTHORIZED, detail);
    let response = refused_by(|b| b.expired_response(problem), get("/a", &[])).await;
    let document: serde_json::Value = serde_json::from_slice(response.body()).unwrap();
    assert_eq!(document["detail"], detail);
    assert!(!response.body().contains(&b'<'));
    assert!(response.headers().contains_key("www-authenticate"), "RFC 9110 §15.5.2");
}

#[tokio::test]
async fn an_answer_of_the_application_is_not_touched() {
    let app = App::new();
    app.log_in("A").await;
    let request = set_cookie(sid(get("/account", &[]), "A"), "theme=dark");
    let response = app.send(with(request, "x-status", "418")).await;
    assert_eq!(response.status().as_u16(), 418);
    assert_eq!(set_cookies(&response), ["theme=dark"]);
    for added in ["cache-control", "vary", "session-ended", "www-authenticate", "content-length"] {
        assert!(!response.headers().contains_key(added), "{added}");
    }
}

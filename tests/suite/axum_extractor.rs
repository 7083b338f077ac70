//! `Session` as an axum extractor (feature `axum`, which test builds always have).

use axum::{Router, body::Body, routing::get};
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use tower::ServiceExt;
use tower_session_timeout::{NewSession, Owner, Session, SessionId, SessionTimeoutLayer};

async fn required(session: Session) -> String {
    session.owner().map_or("nobody", Owner::as_str).to_owned()
}

async fn optional(session: Option<Session>) -> &'static str {
    if session.is_some() { "signed in" } else { "a visitor" }
}

async fn ask(path: &str, cookie: Option<&str>) -> (Response<()>, String) {
    let layer = SessionTimeoutLayer::builder().cookie("sid").build().unwrap();
    layer.sessions().start(&SessionId::from("A"), &NewSession::new().owner("alice")).await.unwrap();
    let router =
        Router::new().route("/required", get(required)).route("/optional", get(optional)).layer(layer);
    let mut request = Request::get(path);
    if let Some(cookie) = cookie {
        request = request.header("cookie", cookie);
    }
    let (parts, body) = router.oneshot(request.body(Body::empty()).unwrap()).await.unwrap().into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    (Response::from_parts(parts, ()), String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn a_live_session_is_extracted() {
    assert_eq!(ask("/required", Some("sid=A")).await.1, "alice");
    assert_eq!(ask("/optional", Some("sid=A")).await.1, "signed in");
}

#[tokio::test]
async fn an_anonymous_request_is_rejected_or_none() {
    assert_eq!(ask("/optional", None).await.1, "a visitor");
    let (response, body) = ask("/required", None).await;
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert!(response.headers().contains_key("www-authenticate"));
    assert!(body.contains("SessionTimeoutLayer"), "says how to fix it: {body}");
}

//! The layer on bare hyper, without a framework: HTTP/1 and HTTP/2 on one port.
//!
//! ```sh
//! cargo run --example hyper -- --listen 127.0.0.1:3000 --idle 30 --absolute 120
//! curl --http2-prior-knowledge -i -d user=ada http://127.0.0.1:3000/login
//! ```

use std::{convert::Infallible, error::Error, time::Duration};

use clap::{CommandFactory, Parser, error::ErrorKind};
use http::{
    HeaderValue, Method, Request, Response, StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE, LOCATION, SET_COOKIE, WWW_AUTHENTICATE},
};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use serde_json::json;
use tower::{ServiceBuilder, service_fn};
use tower_session_timeout::{NewSession, Session, SessionTimeoutLayer};
use url::form_urlencoded;

use self::{arguments::Common, serve::serve};

#[path = "common/arguments.rs"]
mod arguments;
#[path = "common/serve.rs"]
mod serve;

const LONGEST_FORM: usize = 4096;

/// Idle and absolute session timeouts on bare hyper.
#[derive(Parser)]
#[command(name = "hyper")]
struct Options {
    #[command(flatten)]
    common: Common,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse();
    let timeout = SessionTimeoutLayer::builder()
        .cookie("sid")
        .idle_timeout(options.common.idle)
        .absolute_timeout(options.common.absolute)
        .public_paths(["/"])
        .login_path("/login")
        .logout_path("/logout")
        .build()
        .unwrap_or_else(|problem| Options::command().error(ErrorKind::ValueValidation, problem).exit());
    serve(&options.common.listen, ServiceBuilder::new().layer(timeout).service(service_fn(answer))).await
}

async fn answer(request: Request<Incoming>) -> Result<Response<String>, Infallible> {
    Ok(match (request.method(), request.uri().path()) {
        (&Method::GET, "/") => match signed_in(&request) {
            Some((user, _)) => text(StatusCode::OK, &format!("You are signed in as {user}.")),
            None => text(StatusCode::OK, "Nobody is signed in."),
        },
        (&Method::GET, "/login") => text(StatusCode::OK, "To sign in, post user=YOUR-NAME here."),
        (&Method::POST, "/login") => login(request).await,
        // The layer ends the session and removes its cookie, for this is its `logout_path`.
        (&Method::POST, "/logout") => to_home(),
        (&Method::GET, "/api/me") => me(&request),
        _ => text(StatusCode::NOT_FOUND, "There is nothing here."),
    })
}

/// The layer lets requests without a session pass: what they may see is decided here.
fn signed_in(request: &Request<Incoming>) -> Option<(&str, Duration)> {
    let session = request.extensions().get::<Session>()?;
    Some((session.owner()?.as_str(), session.remaining()))
}

/// There is no password: whoever sends a name is signed in under it.
async fn login(request: Request<Incoming>) -> Response<String> {
    let Ok(form) = Limited::new(request.into_body(), LONGEST_FORM).collect().await else {
        return text(StatusCode::BAD_REQUEST, "The form did not arrive, or is too long.");
    };
    let form = form.to_bytes();
    let user = form_urlencoded::parse(&form).find(|(field, _)| field == "user");
    let Some((_, user)) = user.filter(|(_, user)| !user.trim().is_empty()) else {
        return text(StatusCode::UNPROCESSABLE_ENTITY, "Say who you are: user=YOUR-NAME.");
    };
    let cookie = format!("sid={:032x}; Path=/; HttpOnly; SameSite=Lax", rand::random::<u128>());
    let mut response = to_home();
    response.headers_mut().insert(SET_COOKIE, HeaderValue::try_from(cookie).expect("an id in hexadecimal"));
    // The layer sees the cookie and begins the session; `NewSession` tells it whose.
    response.extensions_mut().insert(NewSession::new().owner(user.trim()));
    response
}

fn me(request: &Request<Incoming>) -> Response<String> {
    let Some((user, remaining)) = signed_in(request) else {
        let mut response = text(StatusCode::UNAUTHORIZED, "Nobody is signed in.");
        response
            .headers_mut()
            .insert(WWW_AUTHENTICATE, HeaderValue::from_static("Session realm=\"session\""));
        return response;
    };
    let body = json!({ "user": user, "remaining_seconds": remaining.as_secs() });
    answer_with(StatusCode::OK, "application/json", body.to_string())
}

fn text(status: StatusCode, text: &str) -> Response<String> {
    answer_with(status, "text/plain; charset=utf-8", format!("{text}\n"))
}

fn answer_with(status: StatusCode, kind: &'static str, body: String) -> Response<String> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// `303`, so that the browser asks for the page with `GET`.
fn to_home() -> Response<String> {
    let mut response = Response::new(String::new());
    *response.status_mut() = StatusCode::SEE_OTHER;
    response.headers_mut().insert(LOCATION, HeaderValue::from_static("/"));
    response
}

//! The layer on bare hyper, without a framework: HTTP/1 and HTTP/2 on one port.
//!
//! ```sh
//! cargo run --example hyper -- --listen 127.0.0.1:3000 --idle 30 --absolute 120
//! curl --http2-prior-knowledge -i -d user=ada http://127.0.0.1:3000/login
//! ```

use std::{
    convert::Infallible,
    env,
    error::Error,
    io::{self, Write},
    process::ExitCode,
    time::Duration,
};

use http::{
    HeaderValue, Method, Request, Response, StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE, LOCATION, SET_COOKIE, WWW_AUTHENTICATE},
};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
    service::TowerToHyperService,
};
use serde_json::json;
use tokio::{net::TcpListener, time};
use tower::{ServiceBuilder, service_fn};
use tower_session_timeout::{NewSession, Session, SessionTimeoutLayer};
use url::form_urlencoded;

const USAGE: &str = "\
Usage: hyper [--listen ADDRESS] [--idle SECONDS] [--absolute SECONDS]
";
const LONGEST_FORM: usize = 4096;

#[tokio::main]
async fn main() -> ExitCode {
    let (address, layer) = match configure(env::args().skip(1)) {
        Ok(configured) => configured,
        Err(problem) => {
            eprint!("{problem}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let Err(error) = serve(&address, &layer).await;
    eprintln!("{error}");
    ExitCode::FAILURE
}

fn configure(
    mut arguments: impl Iterator<Item = String>,
) -> Result<(String, SessionTimeoutLayer), Box<dyn Error>> {
    let mut address = "127.0.0.1:3000".to_owned();
    let mut layer = SessionTimeoutLayer::builder()
        .cookie("sid")
        .public_paths(["/"])
        .login_path("/login")
        .logout_path("/logout");
    while let Some(flag) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| format!("{flag} needs a value"));
        match flag.as_str() {
            "--listen" => address = value()?,
            "--idle" => layer = layer.idle_timeout(seconds(&value()?)?),
            "--absolute" => layer = layer.absolute_timeout(seconds(&value()?)?),
            _ => return Err(format!("unknown option {flag:?}").into()),
        }
    }
    Ok((address, layer.build()?))
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    seconds.ok_or_else(|| format!("{text:?} is no number of seconds"))
}

async fn serve(address: &str, layer: &SessionTimeoutLayer) -> Result<Infallible, Box<dyn Error>> {
    let listener =
        TcpListener::bind(address).await.map_err(|error| format!("cannot listen on {address}: {error}"))?;
    let mut stdout = io::stdout();
    writeln!(stdout, "listening on http://{}", listener.local_addr()?)?;
    stdout.flush()?;

    // Every connection gets a clone: they share the layer's sessions.
    let service =
        TowerToHyperService::new(ServiceBuilder::new().layer(layer.clone()).service(service_fn(answer)));
    let mut server = auto::Builder::new(TokioExecutor::new());
    // Without a timer hyper waits for a request's head for as long as the client likes.
    server.http1().timer(TokioTimer::new()).http2().timer(TokioTimer::new());
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Too many open files, say: that passes.
                eprintln!("cannot accept a connection: {error}");
                time::sleep(Duration::from_secs(1)).await;
                continue;
            }
        };
        let (server, service) = (server.clone(), service.clone());
        tokio::spawn(async move {
            if let Err(error) = server.serve_connection(TokioIo::new(stream), service).await {
                eprintln!("a connection failed: {error}");
            }
        });
    }
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

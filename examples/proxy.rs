//! A reverse proxy that gives idle and absolute timeouts to any application behind it, in whatever language.
//!
//! ```sh
//! flask run --port 5000 &
//! cargo run --example proxy -- --upstream http://127.0.0.1:5000 --cookie session \
//!     --login-path /login --logout-path /logout --public-path / --public-path /static/ --idle 900 --absolute 28800
//! ```
//!
//! Nobody may reach the application but through the proxy. It speaks plain HTTP on both sides: put it behind what ends
//! TLS. Upgrades are not passed on, so there are no web sockets.

use std::{
    convert::Infallible,
    env,
    error::Error,
    io::{self, Write},
    process::ExitCode,
    time::Duration,
};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, Version,
    header::{CONNECTION, CONTENT_TYPE, COOKIE, HOST, LOCATION, TE, TRANSFER_ENCODING, UPGRADE},
    uri::{PathAndQuery, Scheme},
};
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
    service::TowerToHyperService,
};
use tokio::{net::TcpListener, time};
use tower::{ServiceBuilder, service_fn};
use tower_session_timeout::{CookieChunks, RequestHead, SessionTimeoutBuilder, SessionTimeoutLayer};

const USAGE: &str = "\
Usage: proxy --upstream URL --cookie NAME [OPTIONS]

  --upstream URL      the application: http://HOST[:PORT]
  --cookie NAME       its session cookie
  --cookie-chunks LIBRARY  that splits a long one over NAME.0, NAME.1, …: auth-js (NextAuth.js, too) or supabase
  --listen ADDRESS    where to listen; port 0 picks one [default: 127.0.0.1:3000]
  --idle SECONDS      sessions end after so long without a request [default: 900]
  --absolute SECONDS  sessions end so long after the log-in, whatever happens [default: 28800]
  --login-path PATH   the log-in page: takes `next` in its query, and answers a successful POST with a redirect
  --logout-path PATH  a POST to it ends the session
  --public-path PATH  where visitors may go; ending in / it covers all below. Can be given more than once
";
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

struct Options {
    listen: String,
    upstream: Uri,
    layer: SessionTimeoutLayer,
}

#[tokio::main]
async fn main() -> ExitCode {
    if env::args().any(|argument| argument == "--help" || argument == "-h") {
        print!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    let options = match configure(env::args().skip(1)) {
        Ok(options) => options,
        Err(problem) => {
            eprint!("{problem}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let Err(error) = serve(&options).await;
    eprintln!("{error}");
    ExitCode::FAILURE
}

fn configure(mut arguments: impl Iterator<Item = String>) -> Result<Options, Box<dyn Error>> {
    let mut listen = "127.0.0.1:3000".to_owned();
    let mut upstream = None;
    let mut cookie = None;
    let mut layer = SessionTimeoutLayer::builder();
    while let Some(flag) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| format!("{flag} needs a value"));
        match flag.as_str() {
            "--listen" => listen = value()?,
            "--upstream" => upstream = Some(origin(&value()?)?),
            "--cookie" => cookie = Some(value()?),
            "--cookie-chunks" => layer = layer.cookie_chunks(chunks(&value()?)?),
            "--idle" => layer = layer.idle_timeout(seconds(&value()?)?),
            "--absolute" => layer = layer.absolute_timeout(seconds(&value()?)?),
            "--login-path" => layer = with_login_path(layer, value()?),
            "--logout-path" => layer = layer.logout_path(value()?),
            "--public-path" => layer = layer.public_paths([value()?]),
            _ => return Err(format!("unknown option {flag:?}").into()),
        }
    }
    let upstream = upstream.ok_or("--upstream is missing")?;
    let cookie = cookie.ok_or("--cookie is missing")?;
    Ok(Options { listen, upstream, layer: layer.cookie(cookie).build()? })
}

fn chunks(library: &str) -> Result<CookieChunks, String> {
    match library {
        "auth-js" => Ok(CookieChunks::AuthJs),
        "supabase" => Ok(CookieChunks::Supabase),
        _ => Err(format!("{library:?} is neither auth-js nor supabase")),
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    seconds.ok_or_else(|| format!("{text:?} is no number of seconds"))
}

/// Without a path: the application's redirects and cookies would not know of it.
fn origin(text: &str) -> Result<Uri, String> {
    text.parse()
        .ok()
        .filter(|uri: &Uri| uri.scheme() == Some(&Scheme::HTTP) && uri.path() == "/" && uri.query().is_none())
        .ok_or_else(|| format!("{text:?} is no http://HOST[:PORT]"))
}

fn with_login_path(layer: SessionTimeoutBuilder, location: String) -> SessionTimeoutBuilder {
    let path = location.split('?').next().unwrap_or_default().to_owned();
    layer.login_path(location).fresh_login(move |request, answer| is_login(&path, request, answer))
}

/// Whether somebody has just logged in. An application that answers a wrong password with a redirect leads back to the
/// log-in page, which must not begin the absolute timeout anew.
fn is_login(login_path: &str, request: &RequestHead<'_>, answer: &Response<()>) -> bool {
    let leads_on = || {
        let location = answer.headers().get(LOCATION).and_then(|to| Uri::try_from(to.as_bytes()).ok());
        location.is_some_and(|to| to.path().starts_with('/') && to.path() != login_path)
    };
    *request.method() == Method::POST
        && request.path() == login_path
        && answer.status().is_redirection()
        && leads_on()
}

async fn serve(options: &Options) -> Result<Infallible, Box<dyn Error>> {
    let listener = TcpListener::bind(&options.listen)
        .await
        .map_err(|error| format!("cannot listen on {}: {error}", options.listen))?;
    let mut stdout = io::stdout();
    writeln!(stdout, "listening on http://{}", listener.local_addr()?)?;
    stdout.flush()?;

    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
    let client = Client::builder(TokioExecutor::new()).build(connector);
    let upstream = options.upstream.clone();
    let forward = service_fn(move |request| forward(client.clone(), upstream.clone(), request));

    // Every connection gets a clone: they share the layer's sessions.
    let service =
        TowerToHyperService::new(ServiceBuilder::new().layer(options.layer.clone()).service(forward));
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

/// The application's answer, or one of the proxy's own.
type Answer = Response<Either<Incoming, Full<Bytes>>>;

/// Bodies are handed on as they arrive, in both directions.
async fn forward(
    client: Client<HttpConnector, Incoming>,
    upstream: Uri,
    mut request: Request<Incoming>,
) -> Result<Answer, Infallible> {
    // It asks for a tunnel, in which nobody would look at sessions.
    if *request.method() == Method::CONNECT {
        return Ok(refusal(StatusCode::NOT_IMPLEMENTED, "There are no tunnels here."));
    }
    remove_hop_by_hop(request.headers_mut());
    if let Err(error) = readdress(&mut request, upstream).and_then(|()| join_cookies(request.headers_mut())) {
        eprintln!("cannot pass on a request: {error}");
        return Ok(refusal(StatusCode::BAD_REQUEST, "This request cannot be passed on."));
    }
    Ok(match client.request(request).await {
        Ok(mut response) => {
            remove_hop_by_hop(response.headers_mut());
            *response.version_mut() = Version::HTTP_11;
            response.map(Either::Left)
        }
        Err(error) => {
            eprintln!("a request did not reach the application: {error:?}");
            refusal(StatusCode::BAD_GATEWAY, "The application cannot be reached.")
        }
    })
}

/// To the application, which sees the `Host` the client asked for.
fn readdress(request: &mut Request<Incoming>, upstream: Uri) -> Result<(), http::Error> {
    let asked_for = request.uri().clone().into_parts();
    // HTTP/2 has no `Host`, and an absolute address overrules it (RFC 9112 §3.2.2).
    if let Some(authority) = asked_for.authority {
        request.headers_mut().insert(HOST, HeaderValue::from_str(authority.as_str())?);
    }
    let mut parts = upstream.into_parts();
    parts.path_and_query = asked_for.path_and_query.or(Some(PathAndQuery::from_static("/")));
    *request.uri_mut() = Uri::from_parts(parts)?;
    *request.version_mut() = Version::HTTP_11;
    Ok(())
}

/// HTTP/2 clients split `Cookie` into fields (RFC 9113 §8.2.3). Many HTTP/1 servers would put a comma between them,
/// and read another value than the layer has checked.
fn join_cookies(headers: &mut HeaderMap) -> Result<(), http::Error> {
    let fields: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if fields.len() > 1 {
        let joined = HeaderValue::from_bytes(&fields.join(&b"; "[..]))?;
        headers.insert(COOKIE, joined);
    }
    Ok(())
}

/// What concerns this connection alone (RFC 9110 §7.6.1), by name or because `Connection` lists it.
fn remove_hop_by_hop(headers: &mut HeaderMap) {
    const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
    const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
    let listed: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .flat_map(|options| options.as_bytes().split(|&byte| byte == b','))
        .filter_map(|option| HeaderName::from_bytes(option.trim_ascii()).ok())
        .collect();
    let by_name = [CONNECTION, KEEP_ALIVE, PROXY_CONNECTION, TE, TRANSFER_ENCODING, UPGRADE];
    for name in by_name.into_iter().chain(listed) {
        headers.remove(name);
    }
}

fn refusal(status: StatusCode, text: &'static str) -> Answer {
    let mut response = Response::new(Either::Right(Full::from(text)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

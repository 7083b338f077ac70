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
//!
//! If the session itself is in the cookie, signed (Flask's own sessions), the application puts something random into each
//! new one (`session["nonce"] = secrets.token_urlsafe()`): two visitors of one second get the same cookie otherwise, which
//! is one session here.

use std::{
    convert::Infallible,
    env,
    error::Error,
    io::{self, Write},
    pin::Pin,
    process::ExitCode,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, Version,
    header::{
        CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, HOST, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
    },
    request,
    uri::{PathAndQuery, Scheme},
};
use http_body_util::{Either, Empty, Full};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper_util::{
    client::legacy::{self, Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
    service::TowerToHyperService,
};
use tokio::{
    net::TcpListener,
    time::{self, Instant},
};
use tower::{ServiceBuilder, service_fn};
use tower_session_timeout::{CookieChunks, RequestHead, SessionCookie, SessionTimeoutLayer};

use self::log_in::LogIn;

#[path = "common/log_in.rs"]
mod log_in;

const USAGE: &str = "\
Usage: proxy --upstream URL --cookie NAME [OPTIONS]

  --upstream URL      the application: http://HOST[:PORT]
  --cookie NAME       its session cookie
  --cookie-chunks LIBRARY  that splits a long one over NAME.0, NAME.1, …: auth-js (NextAuth.js, too) or supabase
  --listen ADDRESS    where to listen; port 0 picks one [default: 127.0.0.1:3000]
  --idle SECONDS      sessions end after so long without a request [default: 900]
  --absolute SECONDS  sessions end so long after the log-in, whatever happens [default: 28800]
  --login-path PATH   the log-in page, the only way to log in: takes `next` in its query, and answers a successful
                      POST with a redirect
  --logout-path PATH  a POST to it ends the session
  --public-path PATH  where visitors may go; ending in / it covers all below. Can be given more than once
  --end-streams TYPE  answers of this media type end with their session, such as text/event-stream. Can be given more
                      than once
  --answer-timeout SECONDS  how long the application may take to begin an answer, once it has the request
                      [default: 60]
";
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

struct Options {
    listen: String,
    upstream: Uri,
    log_in: Option<LogIn>,
    answer_timeout: Duration,
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
    let mut chunks = None;
    let mut login_path = None;
    let mut answer_timeout = Duration::from_secs(60);
    let mut layer = SessionTimeoutLayer::builder();
    while let Some(flag) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| format!("{flag} needs a value"));
        match flag.as_str() {
            "--listen" => listen = value()?,
            "--upstream" => upstream = Some(origin(&value()?)?),
            "--cookie" => cookie = Some(value()?),
            "--cookie-chunks" => chunks = Some(library(&value()?)?),
            "--idle" => layer = layer.idle_timeout(seconds(&value()?)?),
            "--absolute" => layer = layer.absolute_timeout(seconds(&value()?)?),
            "--login-path" => login_path = Some(value()?),
            "--logout-path" => layer = layer.logout_path(value()?),
            "--public-path" => layer = layer.public_paths([value()?]),
            "--end-streams" => layer = layer.end_streams([media_type(value()?)?]),
            "--answer-timeout" => answer_timeout = seconds(&value()?)?,
            _ => return Err(format!("unknown option {flag:?}").into()),
        }
    }
    let upstream = upstream.ok_or("--upstream is missing")?;
    let cookie = cookie.ok_or("--cookie is missing")?;
    if answer_timeout.is_zero() {
        return Err("an answer timeout of 0 leaves no time for an answer".into());
    }
    let mut log_in = None;
    if let Some(location) = login_path {
        let path = location.split('?').next().unwrap_or_default().to_owned();
        log_in = Some(LogIn { path, cookie: cookie.clone() });
        layer = layer.login_path(location);
    }
    let cookie = chunks.into_iter().fold(SessionCookie::new(cookie), SessionCookie::chunks);
    Ok(Options { listen, upstream, log_in, answer_timeout, layer: layer.cookie(cookie).build()? })
}

fn library(library: &str) -> Result<CookieChunks, String> {
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

fn media_type(text: String) -> Result<String, String> {
    let is_token = |part: &str| HeaderName::from_bytes(part.as_bytes()).is_ok();
    match text.split_once('/') {
        Some((kind, subtype)) if is_token(kind) && is_token(subtype) => Ok(text),
        _ => Err(format!("{text:?} is no media type")),
    }
}

/// Without a path: the application's redirects and cookies would not know of it.
fn origin(text: &str) -> Result<Uri, String> {
    text.parse()
        .ok()
        .filter(|uri: &Uri| uri.scheme() == Some(&Scheme::HTTP) && uri.path() == "/" && uri.query().is_none())
        .ok_or_else(|| format!("{text:?} is no http://HOST[:PORT]"))
}

async fn serve(options: &Options) -> Result<Infallible, Box<dyn Error>> {
    let listener = TcpListener::bind(&options.listen)
        .await
        .map_err(|error| format!("cannot listen on {}: {error}", options.listen))?;
    let mut stdout = io::stdout();
    writeln!(stdout, "listening on http://{}", listener.local_addr()?)?;
    stdout.flush()?;

    let upstream = Upstream::new(options);
    let log_in = options.log_in.clone();
    let forward = service_fn(move |request| {
        let attempt = log_in.as_ref().and_then(|log_in| log_in.attempted_by(&RequestHead::of(&request)));
        let answer = forward(upstream.clone(), request);
        async move {
            let mut answer = answer.await?;
            if let Some(attempt) = attempt {
                attempt.announce(&mut answer);
            }
            Ok::<_, Infallible>(answer)
        }
    });

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

/// The application.
#[derive(Clone)]
struct Upstream {
    origin: Uri,
    answer_timeout: Duration,
    client: Client<HttpConnector, Watched>,
    /// Connects anew for each request.
    connecting_client: Client<HttpConnector, Empty<Bytes>>,
}

enum Failure {
    Unreachable(legacy::Error),
    TooSlow,
}

impl Upstream {
    fn new(options: &Options) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
        let mut client = Client::builder(TokioExecutor::new());
        Self {
            origin: options.upstream.clone(),
            answer_timeout: options.answer_timeout,
            client: client.build(connector.clone()),
            connecting_client: client.pool_max_idle_per_host(0).build(connector),
        }
    }

    async fn ask(&self, request: Request<Incoming>) -> Result<Response<Incoming>, Failure> {
        let (head, body) = request.into_parts();
        let again = is_repeatable(&head, &body).then(|| Request::from_parts(head.clone(), Empty::new()));
        let progress = Progress::new();
        let body = WithoutTrailers(body);
        let request = Request::from_parts(head, Watched { body, progress: progress.clone() });
        let answer = async {
            match (self.client.request(request).await, again) {
                // An application closes a connection when nothing was asked for a while. What is on its way then gets no
                // answer.
                (Err(error), Some(again)) if was_closed(&error) => {
                    self.connecting_client.request(again).await
                }
                (answer, _) => answer,
            }
        };
        match progress.within(self.answer_timeout, answer).await {
            Some(answer) => answer.map_err(Failure::Unreachable),
            None => Err(Failure::TooSlow),
        }
    }
}

/// To ask twice is the same as once (RFC 9110 §9.2.2), and there is no body that has been read by then.
fn is_repeatable(head: &request::Parts, body: &Incoming) -> bool {
    head.method.is_idempotent() && body.is_end_stream()
}

/// Whether the connection was closed before an answer began.
fn was_closed(error: &legacy::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset};

    let causes = std::iter::successors(error.source(), |&cause| cause.source());
    !error.is_connect()
        && causes.into_iter().any(|cause| {
            let by_hyper = cause.downcast_ref::<hyper::Error>();
            let by_system = cause.downcast_ref::<io::Error>();
            by_hyper.is_some_and(hyper::Error::is_incomplete_message)
                || by_system.is_some_and(|error| {
                    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset)
                })
        })
}

/// When a request's body last moved on: an upload takes its time, and the application is not to blame.
#[derive(Clone)]
struct Progress(Arc<Mutex<Instant>>);

impl Progress {
    fn new() -> Self {
        Self(Arc::new(Mutex::new(Instant::now())))
    }

    fn last(&self) -> Instant {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn moves_on(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// What comes so long after the last progress at the latest.
    async fn within<T>(&self, limit: Duration, answer: impl Future<Output = T>) -> Option<T> {
        let mut answer = std::pin::pin!(answer);
        loop {
            let last = self.last();
            // Longer than time goes on is no limit.
            let Some(deadline) = last.checked_add(limit) else { return Some(answer.await) };
            match time::timeout_at(deadline, &mut answer).await {
                Ok(answer) => return Some(answer),
                Err(_) if self.last() > last => {}
                Err(_) => return None,
            }
        }
    }
}

/// A body as it goes on, in either direction. The layer has not seen trailers, and servers put those of a request among its
/// header fields (uvicorn): there, a `Cookie` would be a session that nobody has judged. None of an application's is missed:
/// it is asked by HTTP/1.1, which carries no gRPC.
struct WithoutTrailers(Incoming);

impl Body for WithoutTrailers {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        loop {
            match ready!(Pin::new(&mut self.0).poll_frame(cx)) {
                Some(Ok(frame)) if frame.is_trailers() => {}
                frame => return Poll::Ready(frame),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

/// A request's body, as the application reads it.
struct Watched {
    body: WithoutTrailers,
    progress: Progress,
}

impl Body for Watched {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        self.progress.moves_on();
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The application's answer, or one of the proxy's own.
type Answer = Response<Either<WithoutTrailers, Full<Bytes>>>;

/// Bodies are handed on as they arrive, in both directions.
async fn forward(upstream: Upstream, mut request: Request<Incoming>) -> Result<Answer, Infallible> {
    // It asks for a tunnel, in which nobody would look at sessions.
    if *request.method() == Method::CONNECT {
        return Ok(refusal(StatusCode::NOT_IMPLEMENTED, "There are no tunnels here."));
    }
    remove_hop_by_hop(request.headers_mut());
    let readdressed = readdress(&mut request, upstream.origin.clone());
    if let Err(error) = readdressed.and_then(|()| join_cookies(request.headers_mut())) {
        eprintln!("cannot pass on a request: {error}");
        return Ok(refusal(StatusCode::BAD_REQUEST, "This request cannot be passed on."));
    }
    Ok(match upstream.ask(request).await {
        Ok(mut response) => {
            remove_hop_by_hop(response.headers_mut());
            *response.version_mut() = Version::HTTP_11;
            response.map(|body| Either::Left(WithoutTrailers(body)))
        }
        Err(Failure::Unreachable(error)) => {
            eprintln!("a request did not reach the application: {error:?}");
            refusal(StatusCode::BAD_GATEWAY, "The application cannot be reached.")
        }
        Err(Failure::TooSlow) => {
            eprintln!("the application did not answer within {} s", upstream.answer_timeout.as_secs_f64());
            refusal(StatusCode::GATEWAY_TIMEOUT, "The application takes too long to answer.")
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

/// What concerns this connection alone (RFC 9110 §7.6.1), by name or because `Connection` lists it; and the announcement of
/// trailers, which do not go on. What says where a request goes and how long it is cannot be listed away.
fn remove_hop_by_hop(headers: &mut HeaderMap) {
    const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
    const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
    let listed: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .flat_map(|options| options.as_bytes().split(|&byte| byte == b','))
        .filter_map(|option| HeaderName::from_bytes(option.trim_ascii()).ok())
        .filter(|name| ![HOST, CONTENT_LENGTH].contains(name))
        .collect();
    let by_name = [CONNECTION, KEEP_ALIVE, PROXY_CONNECTION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE];
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

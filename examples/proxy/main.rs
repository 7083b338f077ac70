//! A reverse proxy that gives idle and absolute timeouts to any application behind it, in whatever language.
//!
//! ```sh
//! flask run --port 5000 &
//! cargo run --example proxy -- --upstream http://127.0.0.1:5000 --cookie session \
//!     --login-path /login --logout-path /logout --public-path / --public-path /static/ --idle 900 --absolute 28800
//! ```
//!
//! With `--warn 120`, every page of the application gets the script that warns its user, who can stay; with `--drafts form`,
//! what is typed into forms outlives the session, and with `--rescue`, what is sent after its end.
//!
//! Nobody may reach the application but through the proxy. It speaks plain HTTP on both sides: put it behind what ends
//! TLS. A web socket is closed when the session it was opened with ends (after a log-out, within 30 seconds); what is sent
//! through it is no activity.
//!
//! If the session itself is in the cookie, signed (Flask's own sessions), the application puts something random into each
//! new one (`session["nonce"] = secrets.token_urlsafe()`): two visitors of one second get the same cookie otherwise, which
//! is one session here.

use std::{convert::Infallible, error::Error, sync::Arc, time::Duration};

use clap::{CommandFactory, Parser, ValueEnum, error::ErrorKind};
use http::{HeaderName, Request, Uri, uri::Scheme};
use hyper::body::Incoming;
use lol_html::Selector;
use tower::{ServiceBuilder, service_fn};
use tower_session_timeout::{
    ClientEndpoints, ConfigError, CookieChunks, RequestHead, RescueForms, SessionCookie,
    SessionTimeoutBuilder, SessionTimeoutLayer,
};

use self::{
    arguments::{Common, seconds},
    bodies::RequestBody,
    forward::forward,
    log_in::LogIn,
    page::PageScript,
    serve::serve,
    session_cookies::values_of,
    upstream::Upstream,
    users::Visit,
};

#[path = "../common/arguments.rs"]
mod arguments;
mod bodies;
mod forward;
mod log_in;
mod page;
#[path = "../common/serve.rs"]
mod serve;
mod session_cookies;
mod tunnel;
mod upstream;
mod users;

/// Gives idle and absolute session timeouts to the application behind it.
#[derive(Parser)]
#[command(name = "proxy", next_line_help = true)]
struct Options {
    #[arg(long, value_name = "URL", value_parser = origin, help = "The application: http://HOST[:PORT]")]
    upstream: Uri,
    /// Its session cookie
    #[arg(long, value_name = "NAME")]
    cookie: String,
    /// The library that splits a long one over NAME.0, NAME.1, …
    #[arg(long, value_name = "LIBRARY")]
    cookie_chunks: Option<Library>,
    #[command(flatten)]
    common: Common,
    /// The log-in page, the only way to log in: takes `next` in its query, and answers a successful POST with a
    /// redirect
    #[arg(long, value_name = "PATH")]
    login_path: Option<String>,
    /// A POST to it ends the session
    #[arg(long, value_name = "PATH")]
    logout_path: Option<String>,
    /// Where visitors may go; ending in / it covers all below, but / alone is the root alone. Can be given more than
    /// once
    #[arg(long, value_name = "PATH")]
    public_path: Vec<String>,
    /// Answers of this media type end with their session, such as text/event-stream. Can be given more than once
    #[arg(long, value_name = "TYPE", value_parser = media_type)]
    end_streams: Vec<String>,
    /// How long before their session ends pages warn their user, who can stay: at least 20, and less than --idle. The script
    /// for that is put into every page
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    warn: Option<Duration>,
    /// Which forms keep what was typed into them, through the end of the session: a CSS selector, such as form.long. Only for
    /// browsers that reach the proxy by HTTPS, or on the same machine
    #[arg(long, value_name = "SELECTOR", value_parser = selector, requires = "warn")]
    drafts: Option<Selector>,
    /// A field in which the application says whose the session is, in the answer to the log-in at least: drafts are found again
    /// after the next one, and are nobody else's. It does not leave
    #[arg(long, value_name = "NAME", requires = "login_path")]
    user_header: Option<HeaderName>,
    /// Keeps forms that come after their session has ended for their user, who is shown them after the next log-in
    #[arg(long, requires = "warn", requires = "user_header")]
    rescue: bool,
    /// The field with the application's token against forged forms, and the cookie with the new session's: for Django
    /// csrfmiddlewaretoken=csrftoken
    #[arg(long, value_name = "FIELD=COOKIE", value_parser = token, requires = "rescue")]
    csrf: Option<(String, String)>,
    /// How long the application may take to begin an answer, once it has the request
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = some_seconds)]
    answer_timeout: Duration,
}

#[derive(Clone, Copy, ValueEnum)]
enum Library {
    /// Auth.js, and NextAuth.js
    AuthJs,
    Supabase,
}

impl Options {
    fn timeouts(&self) -> SessionTimeoutBuilder {
        let cookie = SessionCookie::new(self.cookie.as_str());
        let cookie = match self.cookie_chunks {
            Some(Library::AuthJs) => cookie.chunks(CookieChunks::AuthJs),
            Some(Library::Supabase) => cookie.chunks(CookieChunks::Supabase),
            None => cookie,
        };
        let mut layer = SessionTimeoutLayer::builder()
            .cookie(cookie)
            .idle_timeout(self.common.idle)
            .absolute_timeout(self.common.absolute)
            .public_paths(&self.public_path)
            .end_streams(&self.end_streams);
        if let Some(page) = &self.login_path {
            layer = layer.login_path(page);
        }
        if let Some(path) = &self.logout_path {
            layer = layer.logout_path(path);
        }
        if let Some(lead) = self.warn {
            layer = layer.client_endpoints(ClientEndpoints::at("/_session-timeout").warn_before(lead));
        }
        layer
    }

    fn rescue(&self) -> RescueForms {
        match self.csrf.clone() {
            Some((field, cookie)) => {
                RescueForms::new().csrf(field, move |head| values_of(head, &cookie).next())
            }
            None => RescueForms::new(),
        }
    }

    fn page_script(&self, timeout: &SessionTimeoutLayer) -> Option<PageScript> {
        let (login_path, draft_forms) = (self.login_path.clone(), self.drafts.clone());
        Some(PageScript { path: timeout.client_script()?, login_path, draft_forms })
    }

    fn log_in(&self) -> Option<LogIn> {
        let path = self.login_path.as_ref()?.split('?').next().unwrap_or_default().to_owned();
        Some(LogIn { path, cookie: self.cookie.clone() })
    }
}

fn token(text: &str) -> Result<(String, String), &'static str> {
    let (field, cookie) = text.split_once('=').ok_or("this is not FIELD=COOKIE")?;
    Ok((field.to_owned(), cookie.to_owned()))
}

fn media_type(text: &str) -> Result<String, &'static str> {
    let is_token = |part: &str| HeaderName::from_bytes(part.as_bytes()).is_ok();
    match text.split_once('/') {
        Some((kind, subtype)) if is_token(kind) && is_token(subtype) => Ok(text.to_owned()),
        _ => Err("this is no media type"),
    }
}

fn selector(text: &str) -> Result<Selector, String> {
    text.parse().map_err(|error| format!("{error}"))
}

fn some_seconds(text: &str) -> Result<Duration, &'static str> {
    match seconds(text)? {
        Duration::ZERO => Err("that leaves no time for an answer"),
        seconds => Ok(seconds),
    }
}

/// Without a path: the application's redirects and cookies would not know of it.
fn origin(text: &str) -> Result<Uri, &'static str> {
    text.parse()
        .ok()
        .filter(|uri: &Uri| uri.scheme() == Some(&Scheme::HTTP) && uri.path() == "/" && uri.query().is_none())
        .ok_or("this is no http://HOST[:PORT]")
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse();
    let rescued = options.rescue.then(|| valid(options.timeouts().rescue_forms(options.rescue()).build()));
    let timeout =
        rescued.as_ref().map_or_else(|| valid(options.timeouts().build()), |layer| layer.timeout().clone());
    let script = options.page_script(&timeout).map(Arc::new);
    let log_in = options.log_in();
    let user_header = options.user_header;
    let upstream = Upstream::new(options.upstream, options.answer_timeout);
    let application = service_fn(move |request| {
        let head = RequestHead::of(&request);
        let attempt = log_in.as_ref().and_then(|log_in| log_in.attempted_by(&head));
        let visit = user_header.clone().map(|field| Visit::of(&head, field, &options.cookie));
        let (upstream, script) = (upstream.clone(), script.clone());
        async move {
            let mut answer = forward(upstream, script.as_deref(), request).await;
            let user = visit.as_ref().and_then(|visit| visit.take_user(&mut answer));
            let is_log_in = attempt.is_some_and(|attempt| attempt.announce(&mut answer, user.as_deref()));
            if let (Some(visit), Some(user), false) = (visit, user, is_log_in) {
                visit.is_by(user, &mut answer).await;
            }
            Ok::<_, Infallible>(answer)
        }
    });
    let listen = &options.common.listen;
    let Some(rescued) = rescued else {
        let services = ServiceBuilder::new().layer(timeout);
        let services = services.map_request(|request: Request<Incoming>| request.map(RequestBody::from));
        return serve(listen, services.service(application)).await;
    };
    serve(listen, ServiceBuilder::new().layer(rescued).service(application)).await
}

fn valid<T>(layer: Result<T, ConfigError>) -> T {
    layer.unwrap_or_else(|problem| Options::command().error(ErrorKind::ValueValidation, problem).exit())
}

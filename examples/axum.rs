//! A small site to start from: log-in, pages, JSON, polling, server-sent events and uploads, all behind one
//! [`SessionTimeoutLayer`].
//!
//! ```sh
//! cargo run --example axum -- --idle 30 --absolute 120
//! ```

use std::{
    collections::HashMap,
    convert::Infallible,
    env,
    error::Error,
    fmt,
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Extension, Form, Json, Router,
    body::Body,
    extract::{FromRequestParts, OptionalFromRequestParts, Query, State},
    http::{
        HeaderValue, StatusCode,
        header::{
            CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, COOKIE, SET_COOKIE, USER_AGENT,
            WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
        },
        request::Parts,
    },
    middleware::map_response,
    response::{
        Html, IntoResponse, Redirect, Response,
        sse::{Event, Sse},
    },
    routing::{get, post},
};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::{net::TcpListener, signal, time};
use tokio_stream::{Stream, StreamExt, wrappers::IntervalStream};
use tower_session_timeout::{
    ClientEndpoints, EndReason, Label, MemoryStore, NewSession, Owner, Session, SessionInfo,
    SessionTimeoutLayer, Sessions, StoreError, login_location, safe_return_to,
};

#[path = "common/stores.rs"]
mod stores;
use stores::StoreChoice;

const USAGE: &str = "\
Usage: axum [OPTIONS]

  --listen ADDRESS    where to listen; port 0 picks one [default: 127.0.0.1:3000]
  --idle SECONDS      sessions end after so long without a request [default: 900]
  --absolute SECONDS  sessions end so long after the log-in, whatever happens [default: 28800]
  --warn SECONDS      how long before a session ends its pages warn: at least 20, and less than --idle [default: 120]
  --store STORE       where sessions are kept [default: memory]
                      memory              in this process
                      stateless           with the browsers, signed with the environment's SESSION_KEY: 32 random bytes
                                          or more (without it: a key of this run's own)
                      redis://HOST:PORT   in Redis or Valkey
                      cluster:redis://HOST:PORT[,redis://HOST:PORT]...   in a cluster, of which these nodes are asked
                      sentinel:NAME@redis://HOST:PORT[,redis://HOST:PORT]...   in the primary of this name, which these
                                          sentinels watch over
                      postgres://USER@HOST/DATABASE   in Postgres, in tables that are created
                      sqlite:FILE         in a file, which is created
  --snapshot FILE     keeps memory's sessions (not the notes) in this file from one run to the next; it is a secret
  --secure            for a site on HTTPS: the cookie is `__Host-sid`, and Secure
";
const LONGEST_NAME: usize = 64;
/// Nobody can react sooner (WCAG 2.2, 2.2.1).
const SHORTEST_WARNING: Duration = Duration::from_secs(20);
/// How long a stream or an upload may go on once the program is told to stop.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(2);

struct Options {
    listen: String,
    idle: Duration,
    absolute: Duration,
    warn: Duration,
    store: StoreChoice,
    snapshot: Option<PathBuf>,
    secure: bool,
}

impl Options {
    fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self {
            listen: "127.0.0.1:3000".to_owned(),
            idle: Duration::from_secs(15 * 60),
            absolute: Duration::from_secs(8 * 60 * 60),
            warn: Duration::from_secs(2 * 60),
            store: StoreChoice::Memory,
            snapshot: None,
            secure: false,
        };
        while let Some(flag) = arguments.next() {
            let mut value = || arguments.next().ok_or_else(|| format!("{flag} needs a value"));
            match flag.as_str() {
                "--listen" => options.listen = value()?,
                "--idle" => options.idle = seconds(&value()?)?,
                "--absolute" => options.absolute = seconds(&value()?)?,
                "--warn" => options.warn = seconds(&value()?)?,
                "--store" => options.store = value()?.parse()?,
                "--snapshot" => options.snapshot = Some(value()?.into()),
                "--secure" => options.secure = true,
                _ => return Err(format!("unknown option {flag:?}")),
            }
        }
        if options.snapshot.is_some() && options.store != StoreChoice::Memory {
            return Err("--snapshot is for --store memory: the others outlive this process".to_owned());
        }
        Ok(options)
    }

    fn cookie_name(&self) -> &'static str {
        // Browsers take a `__Host-` cookie from HTTPS only, for this host only (RFC 6265bis §4.1.3.2).
        if self.secure { "__Host-sid" } else { "sid" }
    }

    fn warns(&self) -> bool {
        (SHORTEST_WARNING..self.idle).contains(&self.warn)
    }

    async fn layer(&self) -> Result<(SessionTimeoutLayer, Option<Arc<MemoryStore>>), Box<dyn Error>> {
        let builder = SessionTimeoutLayer::builder()
            .cookie(self.cookie_name())
            .idle_timeout(self.idle)
            .absolute_timeout(self.absolute)
            .passive_paths(["/poll"])
            .public_paths(["/", "/style.css"])
            .login_path("/login")
            .logout_path("/logout")
            .session_label(|head| Some(device(head.headers().get(USER_AGENT)?.to_str().ok()?).into()))
            .end_streams(["text/event-stream"]);
        let (builder, in_memory) = self.store.configure(builder, self.snapshot.as_deref()).await?;
        let builder = if self.warns() {
            builder.client_endpoints(ClientEndpoints::at("/_session-timeout").warn_before(self.warn))
        } else {
            builder
        };
        Ok((builder.build()?, in_memory))
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    seconds.ok_or_else(|| format!("{text:?} is no number of seconds"))
}

#[tokio::main]
async fn main() -> ExitCode {
    if env::args().any(|argument| argument == "--help" || argument == "-h") {
        print!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    let refuse = |problem: &dyn fmt::Display| {
        eprint!("{problem}\n\n{USAGE}");
        ExitCode::from(2)
    };
    let options = match Options::parse(env::args().skip(1)) {
        Ok(options) => options,
        Err(problem) => return refuse(&problem),
    };
    let (layer, in_memory) = match options.layer().await {
        Ok(configured) => configured,
        Err(problem) => return refuse(&problem),
    };
    if !options.warns() {
        let (warn, idle) = (in_words(options.warn), in_words(options.idle));
        eprintln!(
            "pages give no warning: {warn} is less than 20 seconds, or not less than the idle timeout of {idle}"
        );
    }
    match serve(options, in_memory, layer).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(
    options: Options,
    in_memory: Option<Arc<MemoryStore>>,
    layer: SessionTimeoutLayer,
) -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind(&options.listen)
        .await
        .map_err(|error| format!("cannot listen on {}: {error}", options.listen))?;
    let mut stdout = io::stdout();
    writeln!(stdout, "listening on http://{}", listener.local_addr()?)?;
    stdout.flush()?;

    let snapshot = options.snapshot.clone();
    let server = axum::serve(listener, app(options, layer)).with_graceful_shutdown(told_to_stop());
    // A graceful shutdown waits for answers to end, and /events never does.
    let out_of_patience = async {
        told_to_stop().await;
        time::sleep(SHUTDOWN_GRACE).await;
    };
    tokio::select! {
        stopped = server => stopped?,
        () = out_of_patience => {}
    }
    if let (Some(file), Some(store)) = (snapshot, in_memory) {
        store.save(file)?;
    }
    Ok(())
}

async fn told_to_stop() {
    #[cfg(unix)]
    if let Ok(mut terminate) = signal::unix::signal(signal::unix::SignalKind::terminate()) {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = signal::ctrl_c() => {}
        }
        return;
    }
    _ = signal::ctrl_c().await;
}

/// What handlers share.
struct App {
    options: Options,
    sessions: Sessions,
    /// Where pages get the script from that warns their users, if there is one.
    script: Option<String>,
    /// The last note of each user.
    notes: Mutex<HashMap<Owner, String>>,
}

impl App {
    /// WCAG 2.2, 2.2.6: users learn why, and whether their work is lost.
    fn why_here(&self, reason: &str) -> String {
        let why = match reason {
            "idle" => "because of inactivity",
            "absolute" => "because you had been signed in for as long as one can be",
            "revoked" => "from another device",
            _ => return String::new(),
        };
        let kept = if self.script.is_some() {
            " If you were writing a note, it is kept on this device."
        } else {
            ""
        };
        format!("<p role=\"status\">You were signed out {why}.{kept}</p>\n")
    }

    fn login_page(&self, user: Option<&User>, login: &Login, why: &str, problem: &str) -> Html<String> {
        let invalid =
            if problem.is_empty() { "" } else { r#"aria-invalid="true" aria-describedby="problem""# };
        self.page(
            "Sign in",
            user,
            &format!(
                r#"<h1>Sign in</h1>
{why}<p id="problem" role="alert">{problem}</p>
<form method="post" action="/login">
<input type="hidden" name="next" value="{next}">
<label for="user">Name</label>
<input id="user" name="user" value="{name}" autocomplete="username" required maxlength="{LONGEST_NAME}" {invalid}>
<label for="password">Password</label>
<input id="password" name="password" type="password" autocomplete="current-password" aria-describedby="any">
<p id="any">This is a demonstration: any name will do, and the password is ignored.</p>
<button>Sign in</button>
</form>
<p>You are signed out once you have not used this site for {idle}, and after {absolute} in any case.</p>"#,
                next = escape(return_to(login)),
                name = escape(&login.user),
                idle = in_words(self.options.idle),
                absolute = in_words(self.options.absolute),
            ),
        )
    }

    fn page(&self, title: &str, user: Option<&User>, main: &str) -> Html<String> {
        let links = match user {
            Some(_) => {
                r#"<a href="/account">Account</a> <a href="/notes">Note</a>
<form method="post" action="/logout"><button>Sign out</button></form>"#
            }
            None => r#"<a href="/login">Sign in</a>"#,
        };
        let script = self.script.as_ref().map_or_else(String::new, |script| {
            format!(r#"<script src="{script}" defer data-login-url="/login" data-logout="/logout"></script>"#)
        });
        Html(format!(
            r#"<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title} – Session timeout</title>
<link rel="stylesheet" href="/style.css">
{script}
</head>
<body>
<header><nav aria-label="Site"><a href="/">Session timeout</a> {links}</nav></header>
<main>
{main}
</main>
</body>
</html>
"#
        ))
    }
}

fn app(options: Options, layer: SessionTimeoutLayer) -> Router {
    Router::new()
        .route("/", get(home))
        .route("/style.css", get(stylesheet))
        .route("/login", get(login_form).post(login))
        .route("/logout", get(logout_form).post(logout))
        .route("/account", get(account))
        .route("/account/end-session", post(end_session))
        .route("/account/end-others", post(end_others))
        .route("/notes", get(notes).post(save_note))
        .route("/api/me", get(me))
        .route("/poll", get(poll))
        .route("/events", get(events))
        .route("/upload", post(upload))
        .fallback(not_found)
        .with_state(Arc::new(App {
            options,
            sessions: layer.sessions(),
            script: layer.client_script(),
            notes: Mutex::default(),
        }))
        .layer(map_response(harden))
        // Outside of all handlers, so that nothing is reached without a look at the session.
        .layer(layer)
        .layer(map_response(remember_why))
}

/// Who is signed in: the owner of the request's session.
///
/// The layer lets requests without a session pass. A handler that takes a `User` refuses them; one that takes an
/// `Option<User>` decides by itself.
struct User {
    name: Owner,
    /// Which of the user's sessions it is.
    session: String,
    remaining: Duration,
}

impl User {
    fn of(request: &Parts) -> Option<Self> {
        let session = request.extensions.get::<Session>()?;
        Some(Self { name: session.owner()?.clone(), session: session.tag(), remaining: session.remaining() })
    }
}

impl<S: Sync> FromRequestParts<S> for User {
    type Rejection = Response;

    async fn from_request_parts(request: &mut Parts, _: &S) -> Result<Self, Response> {
        Self::of(request).ok_or_else(|| {
            let challenge = [(WWW_AUTHENTICATE, "Session realm=\"session\"")];
            (StatusCode::UNAUTHORIZED, challenge, Json(json!({ "error": "Nobody is signed in." })))
                .into_response()
        })
    }
}

impl<S: Sync> OptionalFromRequestParts<S> for User {
    type Rejection = Infallible;

    async fn from_request_parts(request: &mut Parts, _: &S) -> Result<Option<Self>, Infallible> {
        Ok(Self::of(request))
    }
}

/// Where pages send visitors who are not signed in.
fn to_login(return_to: &str) -> Redirect {
    Redirect::to(&login_location("/login", return_to))
}

async fn home(State(app): State<Arc<App>>, user: Option<User>) -> Html<String> {
    let who = match &user {
        Some(user) => format!("You are signed in as {}", escape(user.name.as_str())),
        None => "Nobody is signed in".to_owned(),
    };
    let (idle, absolute) = (in_words(app.options.idle), in_words(app.options.absolute));
    app.page(
        "Home",
        user.as_ref(),
        &format!(
            r#"<h1>{who}</h1>
<p>Leave this site alone for {idle}, and your session is over: the next click asks you to sign in again.
However busy you are, that also happens {absolute} after you signed in.</p>
<p>This page is public. With a session that is over, you are a visitor here like any other.</p>
<h2>For programs</h2>
<ul>
<li><a href="/api/me"><code>GET /api/me</code></a>: who is signed in. Like every request, it keeps the session alive.</li>
<li><a href="/poll"><code>GET /poll</code></a>: the time left. It does <em>not</em> keep the session alive.</li>
<li><a href="/events"><code>GET /events</code></a>: server-sent events, two a second.</li>
<li><code>POST /upload</code>: takes a body of any length, and says how long it was.</li>
</ul>"#
        ),
    )
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Login {
    user: String,
    next: String,
}

async fn login_form(
    State(app): State<Arc<App>>,
    user: Option<User>,
    Ended(reason): Ended,
    Query(login): Query<Login>,
) -> Response {
    let forget_why = [(SET_COOKIE, format!("{ENDED}=; Path=/login; Max-Age=0"))];
    (forget_why, app.login_page(user.as_ref(), &login, &app.why_here(&reason), "")).into_response()
}

/// The password is not looked at: whoever types a name is signed in under it.
async fn login(State(app): State<Arc<App>>, user: Option<User>, Form(login): Form<Login>) -> Response {
    let name = login.user.trim();
    if name.is_empty() || name.chars().count() > LONGEST_NAME {
        let problem = format!("Enter a name of 1 to {LONGEST_NAME} characters.");
        let form = app.login_page(user.as_ref(), &login, "", &problem);
        return (StatusCode::UNPROCESSABLE_ENTITY, form).into_response();
    }
    // `SameSite=Lax` keeps the cookie off forms other sites send, which is all the CSRF protection a demo needs.
    let cookie = format!(
        "{}={:032x}; Path=/; HttpOnly; SameSite=Lax{}",
        app.options.cookie_name(),
        rand::random::<u128>(),
        if app.options.secure { "; Secure" } else { "" }
    );
    // The layer sees the cookie and begins the session; `NewSession` tells it whose.
    let session = NewSession::new().owner(name);
    (Extension(session), [(SET_COOKIE, cookie)], Redirect::to(return_to(&login))).into_response()
}

/// `next` comes from the address bar: it must not lead to another site.
fn return_to(login: &Login) -> &str {
    safe_return_to(&login.next).unwrap_or("/account")
}

const ENDED: &str = "ended";

/// Why the last session of this browser ended.
struct Ended(String);

impl<S: Sync> FromRequestParts<S> for Ended {
    type Rejection = Infallible;

    async fn from_request_parts(request: &mut Parts, _: &S) -> Result<Self, Infallible> {
        // The layer lets a request whose session is over pass to public pages, and says that it did.
        let just_now = request.extensions.get::<EndReason>().map(|reason| reason.as_str().to_owned());
        let cookies = request.headers.get_all(COOKIE).iter().filter_map(|cookies| cookies.to_str().ok());
        let before = cookies
            .flat_map(|cookies| cookies.split("; "))
            .find_map(|cookie| cookie.strip_prefix(ENDED)?.strip_prefix('='));
        Ok(Self(just_now.or(before.map(str::to_owned)).unwrap_or_default()))
    }
}

/// Where a page is refused, the layer sends the browser to the log-in page, and removes its session cookie. The reason
/// goes along in a cookie of its own.
async fn remember_why(mut response: Response) -> Response {
    if response.status().is_redirection()
        && let Some(reason) = response.extensions().get::<EndReason>()
    {
        let cookie = format!("{ENDED}={}; Path=/login; Max-Age=60; HttpOnly; SameSite=Lax", reason.as_str());
        let cookie = HeaderValue::try_from(cookie).expect("a reason is one word");
        response.headers_mut().append(SET_COOKIE, cookie);
    }
    response
}

async fn logout_form(State(app): State<Arc<App>>, user: Option<User>) -> Html<String> {
    let main = match &user {
        None => "<h1>You are signed out</h1>\n<p><a href=\"/login\">Sign in</a></p>".to_owned(),
        Some(user) => format!(
            r#"<h1>Sign out?</h1>
<p>You are signed in as {}.</p>
<form method="post" action="/logout"><button>Sign out</button></form>"#,
            escape(user.name.as_str())
        ),
    };
    app.page("Sign out", user.as_ref(), &main)
}

/// The layer ends the session and removes its cookie, for this is its `logout_path`.
async fn logout() -> Redirect {
    Redirect::to("/")
}

async fn account(State(app): State<Arc<App>>, user: Option<User>) -> Result<Html<String>, Response> {
    let user = user.ok_or_else(|| to_login("/account").into_response())?;
    let list = if app.options.store == StoreChoice::Stateless {
        // Each browser keeps its own, and the store knows of none.
        String::new()
    } else {
        let sessions = app.sessions.sessions_of(&user.name).await.map_err(|error| no_store(&error))?;
        session_list(&sessions, &user)
    };
    let main = format!(
        "<h1>Your account</h1>
<dl>
<dt>Name</dt><dd>{}</dd>
<dt>Time left without another click</dt><dd>{}</dd>
</dl>
{list}",
        escape(user.name.as_str()),
        whole_seconds(user.remaining),
    );
    Ok(app.page("Your account", Some(&user), &main))
}

fn session_list(sessions: &[SessionInfo], user: &User) -> String {
    let rows: String = sessions.iter().map(|session| session_row(session, user)).collect();
    format!(
        r#"<h2>Where you are signed in</h2>
<table>
<thead><tr><th scope="col">Where</th><th scope="col">Signed in</th><th scope="col">Last used</th><th scope="col">Session</th></tr></thead>
<tbody>
{rows}</tbody>
</table>
<form method="post" action="/account/end-others"><button>Sign out everywhere else</button></form>"#
    )
}

fn session_row(session: &SessionInfo, user: &User) -> String {
    let tag = session.tag();
    let action = if tag == user.session {
        "this one".to_owned()
    } else {
        format!(
            r#"<form method="post" action="/account/end-session"><input type="hidden" name="tag" value="{tag}">
<button>Sign out</button></form>"#
        )
    };
    let place = escape(session.label.as_ref().map_or("unknown", Label::as_str));
    let (age, idle) = (whole_seconds(session.age), whole_seconds(session.idle_for));
    format!("<tr><td>{place}</td><td>{age} ago</td><td>{idle} ago</td><td>{action}</td></tr>\n")
}

/// In words that users recognize. Browsers name others beside themselves, so the order counts.
fn device(user_agent: &str) -> String {
    let browsers = [
        ("Edg", "Edge"),
        ("OPR", "Opera"),
        ("Firefox", "Firefox"),
        ("Chrome", "Chrome"),
        ("Safari", "Safari"),
        ("curl", "curl"),
    ];
    let systems = [
        ("Android", "Android"),
        ("iPhone", "iPhone"),
        ("iPad", "iPad"),
        ("Windows", "Windows"),
        ("Mac OS", "macOS"),
        ("Linux", "Linux"),
    ];
    let named = |names: &[(&str, &'static str)]| {
        names.iter().find(|(sign, _)| user_agent.contains(sign)).map(|(_, name)| *name)
    };
    match (named(&browsers), named(&systems)) {
        (Some(browser), Some(system)) => format!("{browser} on {system}"),
        (Some(name), None) | (None, Some(name)) => name.to_owned(),
        (None, None) => user_agent.chars().take(40).collect(),
    }
}

fn whole_seconds(duration: Duration) -> String {
    in_words(Duration::from_secs(duration.as_secs()))
}

#[derive(Deserialize)]
struct Tagged {
    tag: String,
}

/// One of this user's sessions: a tag of anybody else's is none.
async fn end_session(
    State(app): State<Arc<App>>,
    user: User,
    Form(session): Form<Tagged>,
) -> Result<Redirect, Response> {
    app.sessions.end_tagged(&user.name, &session.tag).await.map_err(|error| no_store(&error))?;
    Ok(Redirect::to("/account"))
}

async fn end_others(State(app): State<Arc<App>>, user: User, this: Session) -> Result<Redirect, Response> {
    app.sessions.end_all(&user.name, Some(&this)).await.map_err(|error| no_store(&error))?;
    Ok(Redirect::to("/account"))
}

fn no_store(error: &StoreError) -> Response {
    eprintln!("{error}");
    (StatusCode::SERVICE_UNAVAILABLE, "Try again in a moment.").into_response()
}

async fn notes(State(app): State<Arc<App>>, user: Option<User>) -> Result<Html<String>, Redirect> {
    let user = user.ok_or_else(|| to_login("/notes"))?;
    let note = app.notes.lock().expect("no handler panics").get(&user.name).cloned().unwrap_or_default();
    // HTML drops one line break after `<textarea>`, and must not take it from the note.
    let main = format!(
        r#"<h1>Your note</h1>
<form method="post" action="/notes" data-session-draft="note">
<label for="text">Text</label>
<textarea id="text" name="text" rows="8">
{}</textarea>
<button>Save</button>
</form>"#,
        escape(&note)
    );
    Ok(app.page("Your note", Some(&user), &main))
}

#[derive(Deserialize)]
struct Note {
    text: String,
}

async fn save_note(State(app): State<Arc<App>>, user: Option<User>, Form(note): Form<Note>) -> Redirect {
    let Some(user) = user else { return to_login("/notes") };
    app.notes.lock().expect("no handler panics").insert(user.name, note.text);
    Redirect::to("/notes")
}

async fn me(user: User) -> Json<Value> {
    Json(json!({ "user": user.name.as_str(), "remaining_seconds": user.remaining.as_secs() }))
}

async fn poll(user: User) -> Json<Value> {
    Json(json!({ "remaining_seconds": user.remaining.as_secs() }))
}

async fn events(_: User) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let mut count = 0_u64;
    Sse::new(IntervalStream::new(time::interval(Duration::from_millis(500))).map(move |_| {
        count += 1;
        Ok(Event::default().data(count.to_string()))
    }))
}

/// axum limits the length of what it collects, but hands out a plain `Body` whatever its length.
async fn upload(_: User, body: Body) -> Result<Json<Value>, StatusCode> {
    let mut chunks = body.into_data_stream();
    let mut length = 0;
    while let Some(chunk) = chunks.next().await {
        length += chunk.map_err(|_| StatusCode::BAD_REQUEST)?.len();
    }
    Ok(Json(json!({ "length": length })))
}

async fn not_found(State(app): State<Arc<App>>, user: Option<User>) -> (StatusCode, Html<String>) {
    let main = "<h1>There is no such page</h1>\n<p><a href=\"/\">Home</a></p>";
    (StatusCode::NOT_FOUND, app.page("Not found", user.as_ref(), main))
}

async fn stylesheet() -> impl IntoResponse {
    (
        [(CONTENT_TYPE, "text/css; charset=utf-8"), (CACHE_CONTROL, "max-age=3600")],
        include_str!("common/style.css"),
    )
}

async fn harden(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(
        CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(
            "default-src 'none'; script-src 'self'; connect-src 'self'; style-src 'self'; form-action 'self'; \
             base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'",
        ),
    );
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // After the log-out, the browser's Back button must not show what was private.
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// `text` for an element or a quoted attribute.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&#39;")
}

/// In the largest unit that leaves no fraction: "8 hours", "15 minutes", "2.5 seconds".
fn in_words(duration: Duration) -> String {
    let units = [("hour", 60 * 60), ("minute", 60), ("second", 1)];
    let counts = units.map(|(unit, seconds)| (duration.div_duration_f64(Duration::from_secs(seconds)), unit));
    let whole = counts.into_iter().find(|(count, _)| *count >= 1.0 && count.fract() == 0.0);
    let (count, unit) = whole.unwrap_or((duration.as_secs_f64(), "second"));
    match count.to_string().as_str() {
        "1" => format!("1 {unit}"),
        count => format!("{count} {unit}s"),
    }
}

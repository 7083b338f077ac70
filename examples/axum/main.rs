//! A small site to start from: log-in, pages, JSON, polling, server-sent events and uploads, all behind one
//! [`SessionTimeoutLayer`].
//!
//! ```sh
//! cargo run --example axum -- --idle 40 --warn 25 --absolute 120
//! ```

use std::{error::Error, process::ExitCode, sync::Arc, time::Duration};

use axum::{
    Router,
    http::header::USER_AGENT,
    middleware::map_response,
    routing::{get, post},
};
use tokio::{net::TcpListener, time};
use tower_session_timeout::{
    ClientEndpoints, FormRescueLayer, MemoryStore, RescueForms, SessionTimeoutLayer,
};

use self::{options::Options, signals::told_to_stop, site::Site};

mod account;
mod api;
#[path = "../common/arguments.rs"]
mod arguments;
mod headers;
mod home;
mod login;
mod notes;
mod options;
#[path = "../common/signals.rs"]
mod signals;
mod site;
mod stores;
mod user;
mod words;

/// How long a stream or an upload may go on once the program is told to stop.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(2);

#[tokio::main]
async fn main() -> ExitCode {
    match run(Options::from_command_line()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(options: Options) -> Result<(), Box<dyn Error>> {
    let (timeout, in_memory) = layer(&options).await?;
    if let Some(reason) = options.why_no_warning() {
        eprintln!("pages give no warning: {reason}");
    }
    let listener = TcpListener::bind(&options.common.listen)
        .await
        .map_err(|error| format!("cannot listen on {}: {error}", options.common.listen))?;
    println!("listening on http://{}", listener.local_addr()?);

    let snapshot = options.snapshot.clone();
    let server = axum::serve(listener, app(options, timeout)).with_graceful_shutdown(told_to_stop());
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

/// Sessions that end too soon for a warning have no endpoints for pages, and so none for forms that come too late.
enum Timeout {
    WithPages(FormRescueLayer),
    Alone(SessionTimeoutLayer),
}

impl Timeout {
    fn layer(&self) -> &SessionTimeoutLayer {
        match self {
            Self::WithPages(layer) => layer.timeout(),
            Self::Alone(layer) => layer,
        }
    }

    fn around(self, app: Router) -> Router {
        match self {
            Self::WithPages(layer) => app.layer(layer),
            Self::Alone(layer) => app.layer(layer),
        }
    }
}

async fn layer(options: &Options) -> Result<(Timeout, Option<Arc<MemoryStore>>), Box<dyn Error>> {
    let builder = SessionTimeoutLayer::builder()
        .cookie(options.cookie_name())
        .idle_timeout(options.common.idle)
        .absolute_timeout(options.common.absolute)
        .passive_paths(["/poll"])
        .public_paths(["/", "/style.css"])
        .login_path("/login")
        .logout_path("/logout")
        .session_label(|head| {
            let user_agent = head.headers().get(USER_AGENT)?.to_str().ok()?;
            Some(words::device(user_agent).into())
        })
        .end_streams(["text/event-stream"]);
    let (builder, in_memory) = options.store.configure(builder, options.snapshot.as_deref()).await?;
    let timeout = if options.why_no_warning().is_none() {
        let endpoints = ClientEndpoints::at("/_session-timeout").warn_before(options.warn);
        builder.client_endpoints(endpoints).rescue_forms(RescueForms::new()).build().map(Timeout::WithPages)
    } else {
        builder.build().map(Timeout::Alone)
    };
    Ok((timeout.unwrap_or_else(|problem| options::refuse(problem)), in_memory))
}

fn app(options: Options, timeout: Timeout) -> Router {
    let app = Router::new()
        .route("/", get(home::page))
        .route("/style.css", get(site::stylesheet))
        .route("/login", get(login::page).post(login::log_in))
        .route("/logout", get(login::log_out_page).post(login::log_out))
        .route("/account", get(account::page))
        .route("/account/end-session", post(account::end_session))
        .route("/account/end-others", post(account::end_others))
        .route("/notes", get(notes::page).post(notes::save))
        .route("/api/me", get(api::me))
        .route("/poll", get(api::poll))
        .route("/events", get(api::events))
        .route("/upload", post(api::upload))
        .fallback(site::not_found)
        .with_state(Arc::new(Site::new(options, timeout.layer())))
        .layer(map_response(headers::harden));
    // Outside of all handlers, so that nothing is reached without a look at the session.
    timeout.around(app).layer(map_response(login::remember_why))
}

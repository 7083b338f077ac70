//! Timeouts for an application that keeps its sessions with tower-sessions and its users with axum-login.
//!
//! ```sh
//! cargo run --example tower_sessions    # and open http://127.0.0.1:3000
//! ```
//!
//! The timeout layer is outside the session library's: it has to see the cookie before the library does, and the
//! library's `Set-Cookie` after. Neither knows of the other.
//!
//! What becomes of the session's *data*: a sign-out flushes it, as axum-login does. After a timeout the library never
//! hears of the session again, for its id no longer gets through; so the library's own expiry clears the data away. It is
//! no shorter than the absolute timeout: to the library only a change of the data is activity, and it would log out
//! whoever merely reads.

use std::{convert::Infallible, error::Error, time::Duration};

use axum::{
    Extension, Form, Router,
    extract::Query,
    http::StatusCode,
    response::{IntoResponse, Redirect, Response},
    routing::{get, post},
};
use axum_login::{
    AuthManagerLayerBuilder, AuthUser, AuthnBackend,
    tower_sessions::{Expiry, MemoryStore, Session, SessionManagerLayer, cookie::time},
};
use clap::Parser;
use maud::{Markup, html};
use serde::Deserialize;
use tokio::net::TcpListener;
use tower_session_timeout::{
    ConfigError, NewSession, SessionTimeoutBuilder, SessionTimeoutLayer, login_location, safe_return_to,
};

/// Timeouts beside tower-sessions and axum-login.
#[derive(Parser)]
#[command(name = "tower_sessions")]
struct Options {
    /// Where to listen
    #[arg(default_value = "127.0.0.1:3000")]
    listen: String,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind(Options::parse().listen).await?;
    println!("listening on http://{}", listener.local_addr()?);
    let timeout = SessionTimeoutLayer::builder()
        .idle_timeout(Duration::from_secs(30))
        .absolute_timeout(Duration::from_secs(5 * 60));
    axum::serve(listener, app(timeout)?).await?;
    Ok(())
}

pub(crate) fn app(timeout: SessionTimeoutBuilder) -> Result<Router, ConfigError> {
    let timeout =
        timeout.cookie("sid").public_paths(["/"]).login_path("/login").logout_path("/logout").build()?;

    // `with_secure(false)`, because this example speaks plain HTTP.
    let sessions = SessionManagerLayer::new(MemoryStore::default())
        .with_name("sid")
        .with_secure(false)
        .with_expiry(Expiry::OnInactivity(time::Duration::hours(8)));
    let users = AuthManagerLayerBuilder::new(Users, sessions).build();

    Ok(Router::new()
        .route("/", get(home))
        .route("/login", get(login_form).post(login))
        .route("/logout", post(logout))
        .route("/account", get(account))
        .route("/basket", post(add_to_basket))
        .layer(users)
        // The last one added is the outermost.
        .layer(timeout))
}

#[derive(Clone, Debug)]
struct User(String);

impl AuthUser for User {
    type Id = String;

    fn id(&self) -> String {
        self.0.clone()
    }

    fn session_auth_hash(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

/// Whoever types a name is signed in under it.
#[derive(Clone)]
struct Users;

impl AuthnBackend for Users {
    type User = User;
    type Credentials = String;
    type Error = Infallible;

    async fn authenticate(&self, name: String) -> Result<Option<User>, Infallible> {
        Ok((!name.is_empty()).then_some(User(name)))
    }

    async fn get_user(&self, name: &String) -> Result<Option<User>, Infallible> {
        Ok(Some(User(name.clone())))
    }
}

type AuthSession = axum_login::AuthSession<Users>;
type Failure = (StatusCode, String);

#[derive(Deserialize)]
struct Login {
    #[serde(default)]
    user: String,
    #[serde(default)]
    next: String,
}

/// axum-login changes the session's id here (`cycle_id`). `NewSession` tells the timeout layer that this is a log-in, so
/// that both clocks begin anew, and whose.
async fn login(mut auth: AuthSession, Form(login): Form<Login>) -> Result<Response, Failure> {
    let Some(user) = auth.authenticate(login.user).await.map_err(failed)? else {
        return Ok((StatusCode::UNPROCESSABLE_ENTITY, form("", "A name, please.")).into_response());
    };
    auth.login(&user).await.map_err(failed)?;
    let next = safe_return_to(&login.next).unwrap_or("/account");
    Ok((Extension(NewSession::new().owner(user.0)), Redirect::to(next)).into_response())
}

/// The library flushes the session and removes the cookie. That alone would end it; `logout_path` makes sure.
async fn logout(mut auth: AuthSession) -> Result<Redirect, Failure> {
    auth.logout().await.map_err(failed)?;
    Ok(Redirect::to("/"))
}

async fn account(auth: AuthSession, session: Session) -> Result<Response, Failure> {
    let Some(user) = auth.user else {
        return Ok(Redirect::to(&login_location("/login", "/account")).into_response());
    };
    let items = items(&session).await?;
    Ok(page(&format!("{}'s account", user.0), items).into_response())
}

/// For visitors, too: writing is what makes tower-sessions set a cookie.
async fn add_to_basket(session: Session) -> Result<Redirect, Failure> {
    let items = items(&session).await?;
    session.insert("items", items + 1).await.map_err(failed)?;
    Ok(Redirect::to("/"))
}

async fn home(session: Session) -> Result<Markup, Failure> {
    Ok(page("Shop", items(&session).await?))
}

async fn items(session: &Session) -> Result<u32, Failure> {
    Ok(session.get("items").await.map_err(failed)?.unwrap_or(0))
}

async fn login_form(Query(login): Query<Login>) -> Markup {
    form(&login.next, "")
}

fn form(next: &str, problem: &str) -> Markup {
    html! {
        h1 { "Sign in" }
        p role="alert" { (problem) }
        form method="post" {
            input type="hidden" name="next" value=(next);
            label { "Name " input name="user" required; }
            button { "Sign in" }
        }
    }
}

fn page(title: &str, items: u32) -> Markup {
    html! {
        h1 { (title) }
        p { (items) " in the basket." }
        form method="post" action="/basket" { button { "Add to the basket" } }
        p { a href="/account" { "Account" } }
        form method="post" action="/logout" { button { "Sign out" } }
    }
}

fn failed(error: impl Error) -> Failure {
    (StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
}

//! The quick start of the README, as it stands there. It listens on <http://127.0.0.1:3000>.

use std::time::Duration;

use axum::{
    Extension, Router,
    http::header::SET_COOKIE,
    response::{Html, IntoResponse, Redirect, Response},
    routing::{get, post},
};
use tower_session_timeout::{NewSession, Session, SessionTimeoutLayer, login_location};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let timeout = SessionTimeoutLayer::builder()
        .cookie("sid") // the name of your session cookie
        .idle_timeout(Duration::from_secs(15 * 60))
        .absolute_timeout(Duration::from_secs(8 * 3600))
        .public_paths(["/"])
        .login_path("/login")
        .logout_path("/logout")
        .build()?;

    let app = Router::new()
        .route("/", get(Html("<a href=/account>Your account</a>")))
        .route("/login", get(login_page).post(log_in))
        .route("/logout", post(log_out))
        .route("/account", get(account))
        .layer(timeout); // outside your session library's layer and CSRF protection

    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    Ok(axum::serve(listener, app).await?)
}

async fn login_page() -> Html<&'static str> {
    Html("<form method=post><button>Log in</button></form>")
}

async fn log_in() -> impl IntoResponse {
    // Check the password here. Your session library sets the cookie; by hand it looks like this.
    let id = format!("{:032x}", rand::random::<u128>());
    let cookie = format!("sid={id}; Path=/; HttpOnly; SameSite=Lax");
    (Extension(NewSession::new().owner("user-4711")), [(SET_COOKIE, cookie)], Redirect::to("/account"))
}

async fn log_out() -> impl IntoResponse {
    ([(SET_COOKIE, "sid=; Path=/; Max-Age=0")], Redirect::to("/"))
}

async fn account(session: Option<Session>) -> Response {
    let Some(session) = session else {
        return Redirect::to(&login_location("/login", "/account")).into_response();
    };
    let seconds = session.remaining().as_secs();
    Html(format!(
        "<p>{seconds} seconds left.</p><form method=post action=/logout><button>Log out</button></form>"
    ))
    .into_response()
}

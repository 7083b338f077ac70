//! Sessions that several processes share: start it twice, with the same Redis or Valkey behind both.
//!
//! ```sh
//! redis-server --maxmemory-policy noeviction &
//! cargo run --example redis -- 127.0.0.1:3000 redis://127.0.0.1:6379 &
//! cargo run --example redis -- 127.0.0.1:3001 redis://127.0.0.1:6379 &
//! curl --cookie-jar jar --data '' http://127.0.0.1:3000/login
//! curl --cookie jar http://127.0.0.1:3001/
//! ```

use std::{error::Error, time::Duration};

use axum::{
    Extension, Router,
    http::{StatusCode, header::SET_COOKIE},
    response::IntoResponse,
    routing::{get, post},
};
use clap::Parser;
use tokio::net::TcpListener;
use tower_session_timeout::{NewSession, Session, SessionTimeoutLayer};
use tower_session_timeout_redis::{ReconnectingConnection, RedisStore};

/// Sessions that several processes share.
#[derive(Parser)]
#[command(name = "redis")]
struct Options {
    /// Where to listen
    #[arg(default_value = "127.0.0.1:3000")]
    listen: String,
    /// The Redis or Valkey with the sessions
    #[arg(default_value = "redis://127.0.0.1:6379")]
    server: String,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse();

    // Made anew when it breaks, or falls silent. Until then requests are answered with 503.
    let client = redis::Client::open(options.server)?;
    let connection = ReconnectingConnection::new(move || {
        let client = client.clone();
        async move { client.get_multiplexed_async_connection().await }
    });
    let timeout = SessionTimeoutLayer::builder()
        .cookie("sid")
        .idle_timeout(Duration::from_secs(30))
        .logout_path("/logout")
        .store(RedisStore::new(connection.await?).prefix("example:"))
        .build()?;
    let app = Router::new()
        .route("/", get(home))
        .route("/login", post(login))
        .route("/logout", post(async || "You are signed out, everywhere.\n"))
        .layer(timeout);

    let listener = TcpListener::bind(&options.listen).await?;
    println!("listening on http://{}", listener.local_addr()?);
    Ok(axum::serve(listener, app).await?)
}

async fn login() -> impl IntoResponse {
    let cookie = format!("sid={:032x}; Path=/; HttpOnly; SameSite=Lax", rand::random::<u128>());
    (Extension(NewSession::new().owner("ada")), [(SET_COOKIE, cookie)], "You are signed in.\n")
}

async fn home(session: Option<Session>) -> impl IntoResponse {
    match session {
        Some(session) => {
            let (age, left) = (session.age().as_secs(), session.remaining().as_secs());
            (StatusCode::OK, format!("Signed in {age} s ago; {left} s left without another request.\n"))
        }
        None => (StatusCode::UNAUTHORIZED, "Nobody is signed in.\n".to_owned()),
    }
}

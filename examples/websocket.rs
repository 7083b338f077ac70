//! A WebSocket that closes when its session ends.
//!
//! ```sh
//! cargo run --example websocket    # and open http://127.0.0.1:3000
//! ```
//!
//! Opening the socket is a request, and activity like any other. What goes over it afterwards is not: the layer sees
//! requests. So the page sends one while its user writes. Once the session is over, by a clock or by a log-out
//! anywhere, the server closes the socket with code 1008 (RFC 6455 §7.4.1: policy violation).

use std::{error::Error, time::Duration};

use axum::{
    Extension, Router,
    extract::{
        WebSocketUpgrade,
        ws::{CloseFrame, Message, WebSocket, close_code},
    },
    http::{StatusCode, header::SET_COOKIE},
    response::{IntoResponse, Redirect, Response},
    routing::{get, post},
};
use clap::Parser;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use tokio::net::TcpListener;
use tower_session_timeout::{ConfigError, EndReason, NewSession, Session, SessionTimeoutLayer};

/// A WebSocket that closes when its session ends.
#[derive(Parser)]
#[command(name = "websocket")]
struct Options {
    /// Where to listen
    #[arg(default_value = "127.0.0.1:3000")]
    listen: String,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind(Options::parse().listen).await?;
    println!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, app(Duration::from_secs(10))?).await?;
    Ok(())
}

pub(crate) fn app(idle: Duration) -> Result<Router, ConfigError> {
    let timeout = SessionTimeoutLayer::builder()
        .cookie("sid")
        .idle_timeout(idle)
        .absolute_timeout(idle * 6)
        .public_paths(["/"])
        .logout_path("/logout")
        .build()?;
    Ok(Router::new()
        .route("/", get(page))
        .route("/login", post(login))
        .route("/logout", post(|| async { Redirect::to("/") }))
        .route("/writing", post(|_: Session| async { StatusCode::NO_CONTENT }))
        .route("/echo", get(echo))
        .layer(timeout))
}

async fn login() -> impl IntoResponse {
    let cookie = format!("sid={:032x}; Path=/; HttpOnly; SameSite=Strict", rand::random::<u128>());
    (Extension(NewSession::new()), [(SET_COOKIE, cookie)], Redirect::to("/"))
}

/// The extractor `Session` refuses whoever is not signed in before there is a socket.
async fn echo(session: Session, upgrade: WebSocketUpgrade) -> Response {
    upgrade.on_upgrade(move |socket| talk(socket, session))
}

async fn talk(mut socket: WebSocket, session: Session) {
    let reason = loop {
        tokio::select! {
            reason = session.ended() => break reason,
            received = socket.recv() => match received {
                Some(Ok(Message::Text(text))) => {
                    if socket.send(Message::Text(text)).await.is_err() {
                        return;
                    }
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return,
            },
        }
    };
    let _ = socket.send(Message::Close(Some(closing(reason)))).await;
}

fn closing(reason: EndReason) -> CloseFrame {
    CloseFrame { code: close_code::POLICY, reason: format!("session ended: {reason}").into() }
}

async fn page(session: Option<Session>) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            meta charset="utf-8";
            meta name="viewport" content="width=device-width, initial-scale=1";
            title { "Echo" }
            @if session.is_some() {
                form method="post" action="/logout" { button { "Sign out" } }
                p { label { "Say " input #say; } }
                pre #log role="log" {}
                script { (PreEscaped(SCRIPT)) }
            } @else {
                form method="post" action="/login" { button { "Sign in" } }
            }
        }
    }
}

const SCRIPT: &str = r"
const log = text => document.getElementById('log').append(text + '\n');
const socket = new WebSocket(`ws://${location.host}/echo`);
socket.onmessage = event => log(event.data);
socket.onclose = event => log(`closed with ${event.code}: ${event.reason}`);
let told = 0;
document.getElementById('say').onchange = event => socket.send(event.target.value);
document.getElementById('say').oninput = () => {
    if (Date.now() - told < 2000) return;
    told = Date.now();
    fetch('/writing', { method: 'POST' });
};
";

//! The WebSocket of `examples/websocket.rs`, over real sockets: it waits for the session's end, which is soon.

#[allow(dead_code, unreachable_pub, unused_imports, clippy::disallowed_methods)]
#[path = "../../examples/websocket.rs"]
mod example;

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use http::{HeaderValue, StatusCode, header::COOKIE};
use http_body_util::Empty;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use tokio::net::TcpListener;
use tokio_tungstenite::{
    connect_async,
    tungstenite::{self, Message, client::IntoClientRequest, protocol::frame::coding::CloseCode},
};

async fn serve(idle: Duration) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let app = example::app(idle).unwrap();
    tokio::spawn(async { axum::serve(listener, app).await });
    address
}

async fn post(address: &str, path: &str, cookie: &str) -> http::Response<hyper::body::Incoming> {
    let client = Client::builder(TokioExecutor::new()).build_http::<Empty<bytes::Bytes>>();
    let request = http::Request::post(format!("http://{address}{path}")).header(COOKIE, cookie);
    client.request(request.body(Empty::new()).unwrap()).await.unwrap()
}

async fn log_in(address: &str) -> String {
    let response = post(address, "/login", "").await;
    let cookie = response.headers()["set-cookie"].to_str().unwrap();
    cookie.split(';').next().unwrap().to_owned()
}

fn upgrade(address: &str, cookie: &str) -> http::Request<()> {
    let mut request = format!("ws://{address}/echo").into_client_request().unwrap();
    request.headers_mut().insert(COOKIE, HeaderValue::from_str(cookie).unwrap());
    request
}

#[tokio::test]
async fn a_socket_closes_with_1008_when_its_session_is_idle() {
    let address = serve(Duration::from_millis(500)).await;
    let cookie = log_in(&address).await;
    let (mut socket, _) = connect_async(upgrade(&address, &cookie)).await.unwrap();
    socket.send(Message::text("hello")).await.unwrap();
    assert_eq!(socket.next().await.unwrap().unwrap(), Message::text("hello"));
    let Message::Close(Some(frame)) = socket.next().await.unwrap().unwrap() else { panic!("no close frame") };
    assert_eq!((frame.code, frame.reason.as_str()), (CloseCode::Policy, "session ended: idle"));
}

#[tokio::test]
async fn without_a_live_session_there_is_no_socket() {
    let address = serve(Duration::from_secs(10)).await;
    let cookie = log_in(&address).await;
    assert!(connect_async(upgrade(&address, &cookie)).await.is_ok());
    post(&address, "/logout", &cookie).await;
    for cookie in [cookie.as_str(), "sid=made-up", "other=1"] {
        match connect_async(upgrade(&address, cookie)).await {
            Err(tungstenite::Error::Http(response)) => {
                assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
            }
            other => panic!("{other:?}"),
        }
    }
}

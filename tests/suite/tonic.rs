//! gRPC over real sockets: tonic's own health service behind the layer, unary and streaming.

use std::time::Duration;

use tokio::{net::TcpListener, time::timeout};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{
    Code, Request,
    metadata::MetadataValue,
    transport::{Channel, Endpoint, Server},
};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tower_session_timeout::{
    ManualClock, MemoryStore, NewSession, SessionId, SessionTimeoutBuilder, SessionTimeoutLayer, Sessions,
};

const IDLE: Duration = Duration::from_secs(60);
const PATIENCE: Duration = Duration::from_secs(20);

struct Backend {
    clock: ManualClock,
    sessions: Sessions,
    client: HealthClient<Channel>,
}

impl Backend {
    async fn start(configure: impl FnOnce(SessionTimeoutBuilder) -> SessionTimeoutBuilder) -> Self {
        let clock = ManualClock::new();
        let builder = SessionTimeoutLayer::builder()
            .bearer()
            .idle_timeout(IDLE)
            .store(MemoryStore::new().clock(clock.clone()));
        let layer = configure(builder).build().unwrap();
        let sessions = layer.sessions();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let (_, health) = tonic_health::server::health_reporter();
        let server = Server::builder().layer(layer).add_service(health);
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        let client = HealthClient::new(Endpoint::from_shared(address).unwrap().connect().await.unwrap());
        sessions.start(&SessionId::from("t0ken"), &NewSession::new().owner("ada")).await.unwrap();
        Self { clock, sessions, client }
    }

    fn request() -> Request<HealthCheckRequest> {
        let mut request = Request::new(HealthCheckRequest { service: String::new() });
        request.metadata_mut().insert("authorization", MetadataValue::from_static("Bearer t0ken"));
        request
    }

    async fn unary(&mut self) -> Code {
        self.client.check(Self::request()).await.map_or_else(|status| status.code(), |_| Code::Ok)
    }
}

#[tokio::test]
async fn calls_of_a_live_session_pass_and_renew_it() {
    let mut backend = Backend::start(|builder| builder).await;
    for _ in 0..5 {
        assert_eq!(backend.unary().await, Code::Ok);
        backend.clock.advance(IDLE / 2);
    }
    let mut stream = backend.client.watch(Backend::request()).await.unwrap().into_inner();
    assert!(stream.message().await.unwrap().is_some());
}

#[tokio::test]
async fn calls_of_an_ended_session_are_unauthenticated() {
    let mut backend = Backend::start(|builder| builder).await;
    assert_eq!(backend.unary().await, Code::Ok);
    backend.clock.advance(IDLE);
    let refused = backend.client.check(Backend::request()).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    assert_eq!(refused.metadata().get("session-ended").unwrap(), "idle");
    let refused = backend.client.watch(Backend::request()).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
}

/// By the machine's clock, for the end of a stream is waited for by tokio's; the wait is what is tested.
#[tokio::test]
async fn a_stream_ends_as_unauthenticated_with_its_session() {
    let mut backend = Backend::start(|builder| {
        builder
            .idle_timeout(Duration::from_millis(500))
            .store(MemoryStore::new())
            .end_streams(["application/grpc"])
    })
    .await;
    let mut stream = backend.client.watch(Backend::request()).await.unwrap().into_inner();
    assert!(stream.message().await.unwrap().is_some());
    let end = timeout(PATIENCE, stream.message()).await.expect("the stream ends").unwrap_err();
    assert_eq!(end.code(), Code::Unauthenticated);
    assert_eq!(backend.unary().await, Code::Unauthenticated);
}

#[tokio::test]
async fn signed_out_is_told_in_the_metadata() {
    let mut backend = Backend::start(|builder| builder).await;
    backend.sessions.end(&SessionId::from("t0ken")).await.unwrap();
    let refused = backend.client.check(Backend::request()).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    assert_eq!(refused.metadata().get("session-ended").unwrap(), "revoked");
}

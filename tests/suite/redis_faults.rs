//! The Redis store behind a network that fails, as users of the layer see it: T100, T101, T102.

use std::{fs, net::SocketAddr, time::Duration};

use crate::{
    servers::redis_server::{RedisServer, command, connect, until},
    support::{
        App,
        fault_proxy::{Fault, FaultProxy},
        header, pace, post, set_cookie, set_cookies, sid, slow,
    },
};
use bytes::Bytes;
use futures_util::future::join_all;
use http::{Response, StatusCode};
use redis::{AsyncConnectionConfig, Value, aio::ConnectionLike};
use tokio::time::Instant;
use tower_session_timeout_redis::{ReconnectingConnection, RedisStore};

fn deadline() -> Duration {
    Duration::from_millis(300) * pace()
}

/// An application whose store fails at will.
struct Site {
    app: App,
    proxy: FaultProxy,
    _server: RedisServer,
}

impl Site {
    async fn new() -> Self {
        Self::with(async |address| connect(address).await).await
    }

    async fn with<C>(connect: impl AsyncFnOnce(SocketAddr) -> C) -> Self
    where
        C: ConnectionLike + Clone + Send + Sync + 'static,
    {
        let server = RedisServer::start(&[]).await;
        let proxy = FaultProxy::before(server.address()).await;
        let store = RedisStore::new(connect(proxy.address()).await);
        let app = App::on(store, |builder| builder.store_deadline(deadline()));
        Self { app, proxy, _server: server }
    }

    /// What nobody could write down is tried again.
    async fn ends(&self, id: &str) {
        let began = Instant::now();
        while self.app.once_available(id).await.status() == StatusCode::OK {
            assert!(began.elapsed() < Duration::from_secs(20), "a log-out is not forgotten");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn sign_out(&self, id: &str) -> Response<Bytes> {
        self.app.send(sid(post("/logout"), id)).await
    }
}

fn is_unavailable(response: &Response<Bytes>) {
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE, "neither a log-out nor a hole");
    assert_ne!(header(response, "retry-after"), "");
    assert_eq!(set_cookies(response), [""; 0], "no cookie is removed, none begins");
}

/// Requests before, during and after the fault.
async fn survives(fault: Fault) {
    goes_through(Site::new().await, fault).await;
}

async fn goes_through(site: Site, fault: Fault) {
    let app = &site.app;
    for id in ["live", "over", "leaving", "late"] {
        app.log_in(id).await;
        assert_eq!(app.visit(id).await.status(), StatusCode::OK);
    }
    assert_eq!(site.sign_out("over").await.status(), StatusCode::OK);
    let leaving = app.send_slow(slow(sid(post("/logout"), "leaving"))).await;

    site.proxy.set(fault);
    app.release();
    is_unavailable(&leaving.await.unwrap());
    let began = Instant::now();
    let (login, logout) =
        tokio::join!(app.send(set_cookie(post("/login"), "sid=new")), site.sign_out("late"));
    let visits = join_all(["live", "over", "leaving", "new"].map(|id| app.visit(id))).await;
    for response in [login, logout].iter().chain(&visits) {
        is_unavailable(response);
    }
    assert!(began.elapsed() < 5 * deadline(), "twice the deadline, not {:?}", began.elapsed());

    site.proxy.set(Fault::None);
    assert_eq!(app.once_available("live").await.status(), StatusCode::OK);
    app.log_in("newer").await;
    assert_eq!(app.visit("newer").await.status(), StatusCode::OK);
    assert_eq!(app.visit("over").await.status(), StatusCode::UNAUTHORIZED);
    for id in ["leaving", "late"] {
        site.ends(id).await;
    }
    for _ in 0..20 {
        for id in ["over", "leaving", "late"] {
            assert_eq!(app.visit(id).await.status(), StatusCode::UNAUTHORIZED, "{id}");
        }
    }
    assert_eq!(app.visit("live").await.status(), StatusCode::OK);
}

/// T100
#[tokio::test]
async fn a_connection_that_is_cut_makes_503_until_it_is_there_again() {
    survives(Fault::Cut).await;
}

/// T101
#[tokio::test]
async fn a_server_that_never_answers_makes_503_by_the_deadline() {
    survives(Fault::HalfOpen).await;
}

/// T101: nobody will ever say that the connection is gone.
#[tokio::test]
async fn a_connection_that_fell_silent_is_left_for_another() {
    let reconnecting = async |address: SocketAddr| {
        let client = redis::Client::open(format!("redis://{address}/")).unwrap();
        let config = AsyncConnectionConfig::new().set_response_timeout(None);
        let connection = ReconnectingConnection::new(move || {
            let (client, config) = (client.clone(), config.clone());
            async move { client.get_multiplexed_async_connection_with_config(&config).await }
        });
        connection.await.unwrap()
    };
    goes_through(Site::with(reconnecting).await, Fault::Silent).await;
}

#[tokio::test]
async fn answers_later_than_the_deadline_make_503() {
    survives(Fault::Delay(3 * deadline())).await;
}

#[tokio::test]
async fn answers_that_break_off_make_503() {
    survives(Fault::Truncate).await;
}

#[tokio::test]
async fn a_log_out_whose_confirmation_was_lost_takes_effect() {
    let site = Site::new().await;
    site.app.log_in("before").await;
    assert_eq!(site.sign_out("before").await.status(), StatusCode::OK);
    site.app.log_in("leaving").await;
    let leaving = site.app.send_slow(slow(sid(post("/logout"), "leaving"))).await;
    site.proxy.set(Fault::Truncate);
    site.app.release();
    is_unavailable(&leaving.await.unwrap());
    site.proxy.set(Fault::None);
    site.ends("leaving").await;
}

#[tokio::test]
async fn answers_that_are_late_but_in_time_are_as_good_as_others() {
    let site = Site::new().await;
    site.proxy.set(Fault::Delay(deadline() / 10));
    site.app.log_in("live").await;
    site.app.log_in("over").await;
    assert_eq!(site.sign_out("over").await.status(), StatusCode::OK);
    let began = Instant::now();
    assert_eq!(site.app.visit("live").await.status(), StatusCode::OK);
    assert!(began.elapsed() >= deadline() / 5, "it was late");
    assert_eq!(site.app.visit("over").await.status(), StatusCode::UNAUTHORIZED);
}

/// Requests are given up, and their answers come when others wait for theirs.
#[tokio::test]
async fn no_late_answer_is_taken_for_that_of_another_request() {
    let site = Site::new().await;
    for id in ["live", "over"] {
        site.app.log_in(id).await;
    }
    assert_eq!(site.sign_out("over").await.status(), StatusCode::OK);
    let mut given_up = 0;
    for round in 0..20 {
        let (id, decided) =
            if round % 2 == 0 { ("live", StatusCode::OK) } else { ("over", StatusCode::UNAUTHORIZED) };
        site.proxy.set(Fault::Delay(if round % 3 == 0 { deadline() * 6 / 10 } else { deadline() / 8 }));
        let status = site.app.visit(id).await.status();
        if status == StatusCode::SERVICE_UNAVAILABLE {
            given_up += 1;
        } else {
            assert_eq!(status, decided, "a decision about another session");
        }
    }
    assert!((7..20).contains(&given_up), "{given_up} were given up");
}

/// As one whose disk is full.
#[tokio::test]
async fn a_server_that_cannot_write_to_its_disk_makes_503_of_what_is_to_be_written() {
    let server = RedisServer::start(&[]).await;
    let app = App::on(RedisStore::new(server.connect().await), |builder| builder);
    app.log_in("live").await;
    let in_the_way = server.folder().join("dump.rdb");
    let saved = async |status: &str| {
        command::<Value>(server.address(), &["BGSAVE"]).await.unwrap();
        until("the snapshot is over", async || {
            let info: String = command(server.address(), &["INFO", "persistence"]).await.unwrap();
            info.contains(&format!("rdb_last_bgsave_status:{status}"))
                && info.contains("rdb_bgsave_in_progress:0")
        })
        .await;
    };
    fs::create_dir(&in_the_way).unwrap();
    command::<Value>(server.address(), &["CONFIG", "SET", "save", "3600 1"]).await.unwrap();
    saved("err").await;
    assert_eq!(app.visit("live").await.status(), StatusCode::OK, "nothing is written within the granularity");
    let log_in = app.send(set_cookie(post("/login"), "sid=new")).await;
    assert_eq!(log_in.status(), StatusCode::SERVICE_UNAVAILABLE);
    let log_out = app.send(sid(post("/logout"), "live")).await;
    assert_eq!(log_out.status(), StatusCode::SERVICE_UNAVAILABLE);
    fs::remove_dir(&in_the_way).unwrap();
    saved("ok").await;
    app.log_in("new").await;
    until("the log-out is told again", async || app.visit("live").await.status() == StatusCode::UNAUTHORIZED)
        .await;
}

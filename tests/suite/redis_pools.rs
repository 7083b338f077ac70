//! The Redis store over pools, with the adapters that its documentation shows.

#[path = "../../redis/recipes/bb8.rs"]
#[allow(unreachable_pub)]
mod bb8;
#[path = "../../redis/recipes/deadpool.rs"]
#[allow(unreachable_pub)]
mod deadpool;
#[path = "../../redis/recipes/fred.rs"]
#[allow(unreachable_pub)]
mod fred;

use std::{
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
    time::Duration,
};

use ::fred::{
    interfaces::ClientLike,
    types::{
        Builder,
        config::{Config as FredConfig, ReconnectPolicy},
    },
};
use bb8_redis::{RedisConnectionManager, bb8::Pool};
use deadpool_redis::{Config, Runtime};
use futures_util::future::join_all;
use http::StatusCode;
use redis::aio::ConnectionLike;
use tower_session_timeout::conformance;
use tower_session_timeout_redis::RedisStore;

use crate::{
    servers::redis_server::RedisServer,
    support::{App, post, sid},
};

/// More requests at a time than the pool has connections; and a server that comes back.
async fn serves(mut server: RedisServer, pooled: impl ConnectionLike + Clone + Send + Sync + 'static) {
    let number = AtomicUsize::new(0);
    conformance::check(&|clock: tower_session_timeout::ManualClock| {
        let prefix = format!("{}:", number.fetch_add(1, SeqCst));
        RedisStore::new(pooled.clone()).prefix(&prefix).granularity(Duration::ZERO).clock(clock)
    })
    .await;
    let app = App::on(RedisStore::new(pooled), |builder| builder.store_deadline(Duration::from_secs(5)));
    app.log_in("live").await;
    let answers = join_all((0..100).map(|_| app.visit("live"))).await;
    assert!(answers.iter().all(|answer| answer.status() == StatusCode::OK));
    server.kill();
    assert_eq!(app.visit("live").await.status(), StatusCode::SERVICE_UNAVAILABLE);
    server.start_again().await;
    assert_eq!(app.once_available("live").await.status(), StatusCode::OK);
    assert_eq!(app.send(sid(post("/logout"), "live")).await.status(), StatusCode::OK);
    assert_eq!(app.visit("live").await.status(), StatusCode::UNAUTHORIZED);
}

async fn server() -> (RedisServer, String) {
    let server = RedisServer::start(&["--appendonly", "yes"]).await;
    let url = format!("redis://{}/", server.address());
    (server, url)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_a_pool_of_deadpool_it_conforms_and_recovers() {
    let (server, url) = server().await;
    let pool = Config::from_url(url).builder().unwrap().max_size(4).runtime(Runtime::Tokio1).build().unwrap();
    serves(server, deadpool::Pooled(pool)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_a_pool_of_bb8_it_conforms_and_recovers() {
    let (server, url) = server().await;
    let manager = RedisConnectionManager::new(url).unwrap();
    let pool = Pool::builder().max_size(4).build(manager).await.unwrap();
    serves(server, bb8::Pooled(pool)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_a_pool_of_fred_it_conforms_and_recovers() {
    let (server, url) = server().await;
    let pool = Builder::from_config(FredConfig::from_url(&url).unwrap())
        .set_policy(ReconnectPolicy::new_constant(0, 100))
        .build_pool(4)
        .unwrap();
    pool.init().await.unwrap();
    serves(server, fred::Pooled(pool)).await;
}

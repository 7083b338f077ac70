//! Sessions of [`tower_session_timeout`] in Redis or Valkey, over any connection of the [`redis`] crate.
//!
//! ```no_run
//! # async fn f() -> Result<(), Box<dyn std::error::Error>> {
//! use tower_session_timeout::SessionTimeoutLayer;
//! use tower_session_timeout_redis::{ReconnectingConnection, RedisStore};
//!
//! let client = redis::Client::open("redis://127.0.0.1/")?;
//! let connection = ReconnectingConnection::new(move || {
//!     let client = client.clone();
//!     async move { client.get_multiplexed_async_connection().await }
//! });
//! let store = RedisStore::new(connection.await?).prefix("shop:session:");
//! let timeout = SessionTimeoutLayer::builder().cookie("sid").store(store).build()?;
//! # Ok(())
//! # }
//! ```
//!
//! URLs, passwords, TLS and clusters are the `redis` crate's: turn on what you need of its features. What happens
//! when a server fails: [`RedisStore`].
//!
//! # Over a pool
//!
//! The store needs none: one connection carries any number of commands at a time. Best it has one of its own, a
//! [`ReconnectingConnection`] or a `SentinelConnection`. If it is to use a pool that the application has already, the
//! adapter is short. deadpool and bb8 ask the server with a `PING` whether a connection works before they lend it, so each
//! command takes two round trips there.
//!
//! [`deadpool-redis`](https://docs.rs/deadpool-redis) 0.23, with redis 1:
//!
//! ```no_run
#![doc = include_str!("../recipes/deadpool.rs")]
//!
//! # fn f() -> Result<(), Box<dyn std::error::Error>> {
//! let config = deadpool_redis::Config::from_url("redis://127.0.0.1/");
//! let pool = config.create_pool(Some(deadpool_redis::Runtime::Tokio1))?;
//! let store = tower_session_timeout_redis::RedisStore::new(Pooled(pool));
//! # Ok(())
//! # }
//! ```
//!
//! [`bb8-redis`](https://docs.rs/bb8-redis) 0.26, with redis 1:
//!
//! ```no_run
#![doc = include_str!("../recipes/bb8.rs")]
//!
//! # async fn f() -> Result<(), Box<dyn std::error::Error>> {
//! let pool = Pool::builder().build(RedisConnectionManager::new("redis://127.0.0.1/")?).await?;
//! let store = tower_session_timeout_redis::RedisStore::new(Pooled(pool));
//! # Ok(())
//! # }
//! ```
//!
//! [`fred`](https://docs.rs/fred) 10, a client of its own, on one server:
//!
//! ```no_run
#![doc = include_str!("../recipes/fred.rs")]
//!
//! # async fn f() -> Result<(), Box<dyn std::error::Error>> {
//! use fred::types::{Builder, config::{Config, ReconnectPolicy}};
//!
//! let pool = Builder::from_config(Config::from_url("redis://127.0.0.1/")?)
//!     .set_policy(ReconnectPolicy::new_constant(0, 100))
//!     .build_pool(4)?;
//! pool.init().await?;
//! let store = tower_session_timeout_redis::RedisStore::new(Pooled(pool));
//! # Ok(())
//! # }
//! ```
//!
//! # Features
//!
//! - `sentinel`: `SentinelConnection`, which goes where Sentinel says that the primary is.
//! - `test-util`: a store on a `ManualClock`.
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod reconnecting;
mod script;
#[cfg(feature = "sentinel")]
mod sentinel;
mod server_time;
mod store;
#[cfg(feature = "sentinel")]
mod switches;

#[cfg(feature = "sentinel")]
pub use crate::sentinel::SentinelConnection;
pub use crate::{reconnecting::ReconnectingConnection, store::RedisStore};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeDoctests;

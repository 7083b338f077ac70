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
mod store;
#[cfg(feature = "sentinel")]
mod switches;

#[cfg(feature = "sentinel")]
pub use crate::sentinel::SentinelConnection;
pub use crate::{reconnecting::ReconnectingConnection, store::RedisStore};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeDoctests;

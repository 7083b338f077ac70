//! Where sessions are kept: the contract of a store, and the stores.
//!
//! It uses `rules/`, `event.rs` and `clock.rs`.

pub(crate) mod answer;
#[cfg(feature = "shared")]
pub(crate) mod backend;
pub(crate) mod cached;
#[cfg(feature = "test-util")]
pub mod conformance;
pub(crate) mod contract;
pub(crate) mod memory;
#[cfg(feature = "redis")]
mod redis;
#[cfg(feature = "shared")]
pub(crate) mod shared;
#[cfg(feature = "stateless")]
pub(crate) mod stateless;

#[cfg(feature = "redis-sentinel")]
pub use self::redis::SentinelConnection;
#[cfg(feature = "redis")]
pub use self::redis::{ReconnectingConnection, RedisStore};

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
#[cfg(feature = "shared")]
pub(crate) mod shared;
#[cfg(feature = "stateless")]
pub(crate) mod stateless;

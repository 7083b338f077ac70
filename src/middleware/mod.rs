//! The layer, and the way of a request through it: check, admit, call, observe, settle, conclude.
//!
//! It uses everything but the builder.

mod admit;
mod admitted;
#[cfg(feature = "axum")]
pub(crate) mod axum;
pub(crate) mod body;
mod check;
mod conclude;
pub(crate) mod config;
#[cfg(feature = "client")]
mod endpoints;
mod ends;
pub(crate) mod future;
pub(crate) mod hints;
mod in_flight;
mod kind;
#[cfg(feature = "rescue")]
mod late_form;
pub(crate) mod layer;
mod logout;
mod nest;
mod observe;
mod plan;
#[cfg(feature = "rescue")]
pub(crate) mod rescue;
pub(crate) mod service;
pub(crate) mod session;
mod settle;
mod short_cookie;
mod store_handle;
#[cfg(feature = "rescue")]
mod unsent_form;

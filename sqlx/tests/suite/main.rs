//! The stores on a real Postgres and on real SQLite files. `cargo test -p tower-session-timeout-sqlx postgres` runs those
//! on one of them.
#![allow(clippy::disallowed_methods, clippy::duration_suboptimal_units, clippy::unchecked_time_subtraction)]

// What the tests of tower-session-timeout share is shared with these.
#[path = "../../../tests/suite/support/mod.rs"]
#[allow(unexpected_cfgs, reason = "it looks at the features of the other crate")]
mod support;

mod both;
mod network;
mod place;
mod postgres;
mod postgres_server;
mod sqlite;

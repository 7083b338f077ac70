//! Sessions of [`tower_session_timeout`] in Postgres or SQLite, by [`sqlx`].
//!
//! ```no_run
//! # #[cfg(feature = "postgres")]
//! # async fn f() -> Result<(), Box<dyn std::error::Error>> {
//! use sqlx::PgPool;
//! use tower_session_timeout::SessionTimeoutLayer;
//! use tower_session_timeout_sqlx::PostgresStore;
//!
//! let store = PostgresStore::new(PgPool::connect("postgres://localhost/shop").await?);
//! store.migrate().await?;
//! let timeout = SessionTimeoutLayer::builder().cookie("sid").store(store).build()?;
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]
// What makes a database one of ours is for nobody else to implement.
#![allow(unnameable_types)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod backend;
mod dialect;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "sqlite")]
mod sqlite;
mod store;
mod table;

pub use crate::{dialect::Dialect, store::SqlxStore, table::TableNameError};

/// Sessions in Postgres.
#[cfg(feature = "postgres")]
pub type PostgresStore = SqlxStore<sqlx::Postgres>;

/// Sessions in a file.
#[cfg(feature = "sqlite")]
pub type SqliteStore = SqlxStore<sqlx::Sqlite>;

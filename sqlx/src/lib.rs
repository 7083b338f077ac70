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
//!
//! # The tables
//!
//! [`SqlxStore::migrate`] creates them. In Postgres, for those who run their own migrations:
//!
//! ```sql
#![doc = include_str!("../migrations/postgres.sql")]
//! ```
//!
//! In SQLite:
//!
//! ```sql
#![doc = include_str!("../migrations/sqlite.sql")]
//! ```
//!
//! # When the database fails
//!
//! As long as it does not answer, requests get `503`; nobody is signed out, and no restart is needed afterwards. A log-out
//! that could not be written down is told again. A connection that broke, or fell silent, is left for another; what others
//! were in the way of is tried again. For that, and for a connection of the pool, a request waits for four fifths of the layer's
//! `store_deadline`. A statement that arrives later than that deadline renews nothing.
//!
//! # Features
//!
//! - `postgres`: [`PostgresStore`]. Judged by the server's clock.
//! - `sqlite`: [`SqliteStore`]. Judged by the machine's wall clock: the only one that all processes on it share, and that goes
//!   on when it restarts.
//! - `test-util`: a store on a `ManualClock`.
#![forbid(unsafe_code)]
// What makes a database one of ours is for nobody else to implement.
#![allow(unnameable_types)]
// Without a database there is nothing to do.
#![cfg_attr(not(any(feature = "postgres", feature = "sqlite")), allow(dead_code))]
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

/// Sessions in Postgres (12 or later), judged by its server's clock.
///
/// A standby is not asked, for what it knows may be old.
#[cfg(feature = "postgres")]
pub type PostgresStore = SqlxStore<sqlx::Postgres>;

/// Sessions in a file (SQLite 3.37 or later), which the processes of one machine share. They outlive all of these.
///
/// Best in the journal mode WAL, in which nobody who reads waits for who writes. The machine's wall clock judges: it is
/// the only one that all processes share, and that goes on when the machine restarts. Where it is set back, a session that
/// nobody uses lives longer by that.
///
/// ```no_run
/// # async fn f() -> Result<(), Box<dyn std::error::Error>> {
/// use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions};
/// use tower_session_timeout_sqlx::SqliteStore;
///
/// let file = SqliteConnectOptions::new()
///     .filename("sessions.db")
///     .create_if_missing(true)
///     .journal_mode(SqliteJournalMode::Wal);
/// let store = SqliteStore::new(SqlitePoolOptions::new().connect_with(file).await?);
/// store.migrate().await?;
/// # Ok(())
/// # }
/// ```
#[cfg(feature = "sqlite")]
pub type SqliteStore = SqlxStore<sqlx::Sqlite>;

#[cfg(all(doctest, feature = "sqlite"))]
#[doc = include_str!("../README.md")]
struct ReadmeDoctests;

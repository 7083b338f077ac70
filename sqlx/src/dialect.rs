//! What differs between databases: the statements, and what errors mean.

use std::{pin::Pin, sync::Arc, time::Duration};

use sqlx::{AssertSqlSafe, Database, error::DatabaseError};
use tower_session_timeout::{Key, Swap};

use crate::table::TableName;

/// A statement under way on this connection.
pub(crate) type Asked<'c, T> = Pin<Box<dyn Future<Output = Result<T, sqlx::Error>> + Send + 'c>>;

/// A database that can keep sessions: [`sqlx::Postgres`] (feature `postgres`) or [`sqlx::Sqlite`] (feature `sqlite`).
pub trait Dialect: Speaks {}

/// The statements of a store. They only ask and are told; what they mean is for the caller to say.
pub trait Speaks: Database {
    /// With a table of this default name.
    const MIGRATION: &'static str;
    const HAS_SCHEMAS: bool;
    /// What to do about an operation that others were always in the way of.
    const ADVICE_IF_BUSY: &'static str;
    type Statements: Send + Sync + 'static;

    fn statements(table: &TableName) -> Self::Statements;

    /// Creates what there is not yet. Several processes may do so at the same time.
    fn migrate<'c>(connection: &'c mut Self::Connection, table: &TableName) -> Asked<'c, ()>;

    /// The record under this key; and the time since 1970, read after it.
    fn load(
        connection: &mut Self::Connection,
        sql: Arc<Self::Statements>,
        key: Key,
    ) -> Asked<'_, (Option<Vec<u8>>, Duration)>;

    /// Whether the record was swapped.
    fn swap(
        connection: &mut Self::Connection,
        sql: Arc<Self::Statements>,
        swap: Arc<Swap>,
    ) -> Asked<'_, bool>;

    fn list(
        connection: &mut Self::Connection,
        sql: Arc<Self::Statements>,
        owner: Key,
        session: Key,
    ) -> Asked<'_, Vec<Vec<u8>>>;

    fn listed(
        connection: &mut Self::Connection,
        sql: Arc<Self::Statements>,
        owner: Key,
    ) -> Asked<'_, Vec<Vec<u8>>>;

    fn strike(
        connection: &mut Self::Connection,
        sql: Arc<Self::Statements>,
        owner: Key,
        sessions: Arc<[Key]>,
    ) -> Asked<'_, ()>;

    /// Deletes so many records that need not be kept any longer, and looks at so many entries of owners' lists whether
    /// their sessions are still there. The larger number of the two that were found.
    fn delete_expired(
        connection: &mut Self::Connection,
        sql: Arc<Self::Statements>,
        limit: i64,
    ) -> Asked<'_, u64>;

    fn failure(error: &dyn DatabaseError) -> Failure;
}

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// This connection is of no use any more; another one may be.
    Gone,
    /// Others were in the way. Nothing was done.
    Busy,
    /// There is no room. Nothing was done.
    Full,
    MissingTable,
    ForeignTable,
    Other,
}

impl Failure {
    pub(crate) fn of<DB: Dialect>(error: &sqlx::Error) -> Self {
        match error {
            sqlx::Error::Database(error) => DB::failure(&**error),
            sqlx::Error::Io(_) | sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed => Self::Gone,
            sqlx::Error::ColumnDecode { .. } => Self::ForeignTable,
            _ => Self::Other,
        }
    }
}

/// Nothing is in these texts but what this crate wrote, and the name of a table.
pub(crate) fn sql(text: &Arc<str>) -> AssertSqlSafe<Arc<str>> {
    AssertSqlSafe(Arc::clone(text))
}

/// For a column of whole seconds, or of a float's: more than a thousand years are as good as any.
pub(crate) fn seconds(duration: Duration) -> i64 {
    const LONGEST: u64 = 40_000_000_000;
    duration.as_secs().saturating_add(1).min(LONGEST).try_into().unwrap_or(i64::MAX)
}

pub(crate) fn bytes(key: Key) -> Vec<u8> {
    key.to_bytes().to_vec()
}

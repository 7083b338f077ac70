//! The store, as its users see it.

use std::{fmt, time::Duration};

use sqlx::Pool;
use tower_session_timeout::{Backend, CachedStore, SharedStore, StoreError, forward_store};

use crate::{
    backend::Table,
    dialect::Dialect,
    table::{TableName, TableNameError},
};

/// Keeps sessions in a table of a database, for several processes that share it: as a [`PostgresStore`](crate::PostgresStore)
/// or a [`SqliteStore`](crate::SqliteStore).
///
/// It works on the caller's own pool. It is a [`SharedStore`]: a request takes one `SELECT` by key, two after a rotation; and
/// one `INSERT`, `UPDATE` or `DELETE` where something is written, which does nothing if another process was there first.
/// So no renewal brings back what a log-out has ended. Requests in flight are not known to it: the process that waits for
/// one renews its session three times in an idle timeout, and at its end.
///
/// Ids and owners are kept hashed (SHA-256); an owner can be read in the records of its sessions.
///
/// What has ended stays in the table until [`delete_expired`](Self::delete_expired) is called: do so regularly.
pub struct SqlxStore<DB: Dialect>(SharedStore<Table<DB>>);

impl<DB: Dialect> SqlxStore<DB> {
    /// A store in the table `session_timeout`, on this pool. [`migrate`](Self::migrate) creates it.
    pub fn new(pool: Pool<DB>) -> Self {
        Self(SharedStore::new(Table::new(pool)))
    }

    /// The table of the sessions, with a schema before it in Postgres, which has to be there: `auth.sessions`. That of the owners' lists has the same
    /// name and `_owner`. Default: `session_timeout`, by the connections' `search_path`.
    ///
    /// # Errors
    ///
    /// If the name, or the schema's, is not of lower-case ASCII letters, digits and `_`, begins with a digit, or is longer
    /// than 40.
    pub fn table(self, name: &str) -> Result<Self, TableNameError> {
        let table = self.0.backend().clone().named(TableName::new(name, DB::HAS_SCHEMAS)?);
        Ok(Self(self.0.with_backend(table)))
    }

    /// How much younger than the recorded one an activity has to be to be recorded in its turn. A session may end
    /// early by that; a longer one saves writing. Default: a sixtieth of the idle timeout, at most a minute. More than
    /// a quarter of the idle timeout counts as a quarter. Zero records every one.
    pub fn granularity(self, granularity: Duration) -> Self {
        Self(self.0.granularity(granularity))
    }

    /// This store, asked at most once in a window for each id: see [`CachedStore`] for what that costs.
    pub fn cached(self, window: Duration) -> CachedStore<Self> {
        CachedStore::new(self, window)
    }

    /// Creates the tables and their indexes, as far as they are not there. Several processes may call it at the same time.
    ///
    /// # Errors
    ///
    /// If the database cannot be reached, or does not allow it.
    pub async fn migrate(&self) -> Result<(), StoreError> {
        self.0.backend().migrate().await
    }

    /// What [`migrate`](Self::migrate) runs, for those who run their migrations themselves: in Postgres, with the table's schema
    /// as the `search_path`.
    pub fn migration(&self) -> String {
        self.0.backend().name.rename(DB::MIGRATION)
    }

    /// Deletes records that need not be kept any longer, `limit` at most, and entries of owners' lists whose session is gone.
    /// Once it answers less than `limit`, there are no more.
    ///
    /// Nothing depends on it but the size of the table: an ended session has ended. Several processes may call it at
    /// the same time.
    ///
    /// # Errors
    ///
    /// If the database does not answer.
    pub async fn delete_expired(&self, limit: u32) -> Result<u64, StoreError> {
        self.0.backend().delete_expired(limit).await
    }

    /// A place in the same table for forms that come too late (`RescueForms::keep_in`, feature `rescue` of
    /// `tower-session-timeout`): several processes share them then. [`delete_expired`](Self::delete_expired) deletes them, too.
    pub fn forms(&self) -> impl Backend + use<DB> {
        self.0.backend().clone()
    }

    /// The clock to judge by, in place of the database's. Rows expire by the database's all the same.
    #[cfg(feature = "test-util")]
    pub fn clock(self, clock: tower_session_timeout::ManualClock) -> Self {
        let table = self.0.backend().clone().clock(clock.clone());
        Self(self.0.with_backend(table).clock(clock))
    }
}

impl<DB: Dialect> Clone for SqlxStore<DB> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<DB: Dialect> fmt::Debug for SqlxStore<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqlxStore").field("table", &self.0.backend().name).finish_non_exhaustive()
    }
}

forward_store!([DB: Dialect] SqlxStore<DB>, |this| this.0);

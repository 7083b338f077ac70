//! A database with room for sessions, of either kind, and what lies in it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use sqlx::{
    AssertSqlSafe, PgPool, Pool, Postgres, Sqlite, SqlitePool,
    postgres::{PgConnectOptions, PgPoolOptions},
    query, query_scalar,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions},
};
use tempfile::TempDir;
use tower_session_timeout_sqlx::{Dialect, SqlxStore};

use crate::postgres_server::PostgresServer;

pub(crate) trait Place: Sized + Send + Sync + 'static {
    type Database: Dialect;

    fn new() -> impl Future<Output = Self> + Send;

    /// As of another process.
    fn pool(&self) -> Pool<Self::Database>;

    fn execute(&self, statement: &str) -> impl Future<Output = u64> + Send;
    fn number(&self, question: &str) -> impl Future<Output = i64> + Send;
    fn texts(&self, question: &str) -> impl Future<Output = Vec<Vec<u8>>> + Send;
    fn set_record(&self, record: &[u8]) -> impl Future<Output = ()> + Send;

    /// For how long the records are kept from now on, in seconds.
    const KEPT_FOR: &str;
    /// A time that has passed.
    const PASSED: &str;
    /// Holds the lock that a writer needs, without having written anything, for so long.
    fn lock(&self, lasts: Duration) -> impl Future<Output = tokio::task::JoinHandle<()>> + Send;

    async fn store(&self) -> SqlxStore<Self::Database> {
        let store = SqlxStore::new(self.pool());
        store.migrate().await.unwrap();
        store
    }

    async fn records(&self) -> Vec<Vec<u8>> {
        self.texts("SELECT record FROM session_timeout ORDER BY key").await
    }
}

pub(crate) struct OnPostgres {
    pub(crate) server: Arc<PostgresServer>,
    schema: String,
    admin: PgPool,
}

impl OnPostgres {
    pub(crate) fn options(&self) -> PgConnectOptions {
        self.server.options().options([("search_path", &self.schema)])
    }
}

impl Place for OnPostgres {
    type Database = Postgres;

    async fn new() -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let server = PostgresServer::shared().await;
        let schema = format!("test_{}", NUMBER.fetch_add(1, SeqCst));
        let admin = PgPoolOptions::new()
            .max_connections(2)
            .connect_lazy_with(server.options().options([("search_path", &schema)]));
        let place = Self { server, schema, admin };
        place.execute(&format!("DROP SCHEMA IF EXISTS {} CASCADE", place.schema)).await;
        place.execute(&format!("CREATE SCHEMA {}", place.schema)).await;
        place
    }

    fn pool(&self) -> PgPool {
        pool_of(self.options())
    }

    async fn execute(&self, statement: &str) -> u64 {
        query(AssertSqlSafe(statement)).execute(&self.admin).await.unwrap().rows_affected()
    }

    async fn number(&self, question: &str) -> i64 {
        query_scalar(AssertSqlSafe(question)).fetch_one(&self.admin).await.unwrap()
    }

    async fn texts(&self, question: &str) -> Vec<Vec<u8>> {
        query_scalar(AssertSqlSafe(question)).fetch_all(&self.admin).await.unwrap()
    }

    async fn set_record(&self, record: &[u8]) {
        query("UPDATE session_timeout SET record = $1").bind(record).execute(&self.admin).await.unwrap();
    }

    const KEPT_FOR: &str =
        "SELECT extract(epoch FROM min(expires_at) - clock_timestamp())::bigint FROM session_timeout";
    const PASSED: &str = "now() - interval '1 second'";

    async fn lock(&self, lasts: Duration) -> tokio::task::JoinHandle<()> {
        let mut transaction = self.admin.begin().await.unwrap();
        query("SELECT key FROM session_timeout FOR UPDATE").execute(&mut *transaction).await.unwrap();
        tokio::spawn(async move {
            tokio::time::sleep(lasts).await;
            transaction.rollback().await.unwrap();
        })
    }
}

pub(crate) fn pool_of(options: PgConnectOptions) -> PgPool {
    PgPoolOptions::new().max_connections(4).connect_lazy_with(options)
}

pub(crate) struct InFile {
    folder: TempDir,
    admin: SqlitePool,
}

impl InFile {
    pub(crate) async fn with(journal: SqliteJournalMode) -> Self {
        let folder = TempDir::new().unwrap();
        let options = options(&folder.path().join("sessions.db")).journal_mode(journal);
        let admin = SqlitePoolOptions::new().max_connections(2).connect_with(options).await.unwrap();
        Self { folder, admin }
    }

    pub(crate) fn options(&self) -> SqliteConnectOptions {
        options(&self.path())
    }

    pub(crate) fn path(&self) -> std::path::PathBuf {
        self.folder.path().join("sessions.db")
    }
}

pub(crate) fn options(path: &std::path::Path) -> SqliteConnectOptions {
    // As slow machines need it.
    let patience = Duration::from_secs(60);
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .busy_timeout(patience)
}

impl Place for InFile {
    type Database = Sqlite;

    async fn new() -> Self {
        Self::with(SqliteJournalMode::Wal).await
    }

    fn pool(&self) -> SqlitePool {
        SqlitePoolOptions::new().max_connections(4).connect_lazy_with(self.options())
    }

    async fn execute(&self, statement: &str) -> u64 {
        query(AssertSqlSafe(statement)).execute(&self.admin).await.unwrap().rows_affected()
    }

    async fn number(&self, question: &str) -> i64 {
        query_scalar(AssertSqlSafe(question)).fetch_one(&self.admin).await.unwrap()
    }

    async fn texts(&self, question: &str) -> Vec<Vec<u8>> {
        query_scalar(AssertSqlSafe(question)).fetch_all(&self.admin).await.unwrap()
    }

    async fn set_record(&self, record: &[u8]) {
        query("UPDATE session_timeout SET record = $1").bind(record).execute(&self.admin).await.unwrap();
    }

    const KEPT_FOR: &str = "SELECT min(expires_at) - unixepoch() FROM session_timeout";
    const PASSED: &str = "unixepoch() - 1";

    async fn lock(&self, lasts: Duration) -> tokio::task::JoinHandle<()> {
        let transaction = self.admin.begin_with("BEGIN IMMEDIATE").await.unwrap();
        tokio::spawn(async move {
            tokio::time::sleep(lasts).await;
            transaction.rollback().await.unwrap();
        })
    }
}

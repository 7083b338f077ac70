//! Where the example keeps its sessions: `--store`.

use std::{env, error::Error, fmt, path::Path, str::FromStr, sync::Arc, time::Duration};

use redis::{
    Client,
    cluster::ClusterClient,
    sentinel::{SentinelClient, SentinelServerType},
};
use sqlx::{
    PgPool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions},
};
use tokio::time;
use tower_session_timeout::{MemoryStore, SessionTimeoutBuilder, StatelessStore};
use tower_session_timeout_redis::{ReconnectingConnection, RedisStore, SentinelConnection};
use tower_session_timeout_sqlx::{Dialect, PostgresStore, SqliteStore, SqlxStore};

/// How long the program tries to reach its store when it starts.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Clone, PartialEq)]
pub(crate) enum StoreChoice {
    Memory,
    Stateless,
    Redis(String),
    Cluster(Vec<String>),
    Sentinel { primary: String, sentinels: Vec<String> },
    Postgres(String),
    Sqlite(String),
}

impl FromStr for StoreChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let several = |servers: &str| servers.split(',').map(str::to_owned).collect();
        match text.split_once(':') {
            None if text == "memory" => Ok(Self::Memory),
            None if text == "stateless" => Ok(Self::Stateless),
            Some(("redis", _)) => Ok(Self::Redis(text.to_owned())),
            Some(("postgres" | "postgresql", _)) => Ok(Self::Postgres(text.to_owned())),
            Some(("sqlite", "")) => Err(format!("{text:?} names no file")),
            Some(("sqlite", file)) => Ok(Self::Sqlite(file.to_owned())),
            Some(("cluster", nodes)) => Ok(Self::Cluster(several(nodes))),
            Some(("sentinel", watched)) => match watched.split_once('@') {
                Some((primary, sentinels)) => {
                    Ok(Self::Sentinel { primary: primary.to_owned(), sentinels: several(sentinels) })
                }
                None => Err(format!("{text:?} names no primary")),
            },
            _ => Err(format!("there is no store {text:?}")),
        }
    }
}

impl StoreChoice {
    /// The store, for the layer; and for its snapshots, if it is in memory.
    pub(crate) async fn configure(
        &self,
        builder: SessionTimeoutBuilder,
        snapshot: Option<&Path>,
    ) -> Result<(SessionTimeoutBuilder, Option<Arc<MemoryStore>>), Box<dyn Error>> {
        let builder = match self {
            Self::Memory => {
                let store = Arc::new(match snapshot {
                    Some(file) => MemoryStore::new()
                        .restore(file)
                        .map_err(|error| format!("cannot take over the sessions: {error}"))?,
                    None => MemoryStore::new(),
                });
                return Ok((builder.store(Arc::clone(&store)), Some(store)));
            }
            Self::Stateless => builder.store(match env::var("SESSION_KEY") {
                Ok(key) => StatelessStore::new([key])?,
                Err(_) => StatelessStore::ephemeral(),
            }),
            Self::Redis(server) => {
                let client = Client::open(server.as_str())?;
                let connect = move || {
                    let client = client.clone();
                    async move { client.get_multiplexed_async_connection().await }
                };
                builder.store(RedisStore::new(reached(ReconnectingConnection::new(connect)).await?))
            }
            Self::Cluster(nodes) => {
                let client = ClusterClient::new(nodes.iter().map(String::as_str))?;
                let connect = move || {
                    let client = client.clone();
                    async move { client.get_async_connection().await }
                };
                let connection = reached(ReconnectingConnection::new(connect)).await?;
                builder.store(RedisStore::new(connection.concurrency_limit(16)))
            }
            Self::Sentinel { primary, sentinels } => {
                let kind = SentinelServerType::Master;
                let client = SentinelClient::build(sentinels.clone(), primary.clone(), None, kind)?;
                builder.store(RedisStore::new(reached(SentinelConnection::new(client)).await?))
            }
            Self::Postgres(server) => {
                builder.store(migrated(PostgresStore::new(PgPool::connect_lazy(server)?)).await?)
            }
            Self::Sqlite(file) => {
                let file = SqliteConnectOptions::new()
                    .filename(file)
                    .create_if_missing(true)
                    .journal_mode(SqliteJournalMode::Wal);
                builder.store(
                    migrated(SqliteStore::new(SqlitePoolOptions::new().connect_lazy_with(file))).await?,
                )
            }
        };
        Ok((builder, None))
    }
}

/// With its tables, of which what is over is deleted each minute.
async fn migrated<DB: Dialect>(store: SqlxStore<DB>) -> Result<SqlxStore<DB>, String> {
    reached(store.migrate()).await?;
    let deletes = store.clone();
    tokio::spawn(async move {
        let mut minutes = time::interval(Duration::from_secs(60));
        loop {
            minutes.tick().await;
            while deletes.delete_expired(1000).await.is_ok_and(|found| found == 1000) {}
        }
    });
    Ok(store)
}

async fn reached<C, E: fmt::Display>(connecting: impl Future<Output = Result<C, E>>) -> Result<C, String> {
    match time::timeout(PATIENCE, connecting).await {
        Ok(connected) => connected.map_err(|error| format!("cannot reach the store: {error}")),
        Err(_) => Err(format!("cannot reach the store within {} seconds", PATIENCE.as_secs())),
    }
}

//! Where the example keeps its sessions: `--store`.

use std::{env, error::Error, path::Path, str::FromStr, sync::Arc, time::Duration};

use redis::{Client, RedisResult, aio::ConnectionManagerConfig, cluster::ClusterClient};
use tokio::time;
use tower_session_timeout::{MemoryStore, RedisStore, SessionTimeoutBuilder, StatelessStore};

/// How long the program tries to reach its store when it starts.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(PartialEq)]
pub(crate) enum StoreChoice {
    Memory,
    Stateless,
    Redis(String),
    Cluster(Vec<String>),
}

impl FromStr for StoreChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "memory" => Ok(Self::Memory),
            "stateless" => Ok(Self::Stateless),
            _ => match text.strip_prefix("cluster:") {
                Some(nodes) => Ok(Self::Cluster(nodes.split(',').map(str::to_owned).collect())),
                None if text.starts_with("redis://") => Ok(Self::Redis(text.to_owned())),
                None => Err(format!("there is no store {text:?}")),
            },
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
                // One that was away is asked again soon, however long it was.
                let config = ConnectionManagerConfig::new().set_max_delay(Duration::from_secs(1));
                let connection = reached(client.get_connection_manager_with_config(config)).await?;
                builder.store(RedisStore::new(connection))
            }
            Self::Cluster(nodes) => {
                let client = ClusterClient::new(nodes.iter().map(String::as_str))?;
                builder.store(RedisStore::new(reached(client.get_async_connection()).await?))
            }
        };
        Ok((builder, None))
    }
}

async fn reached<C>(connecting: impl Future<Output = RedisResult<C>>) -> Result<C, String> {
    match time::timeout(PATIENCE, connecting).await {
        Ok(connected) => connected.map_err(|error| format!("cannot reach the store: {error}")),
        Err(_) => Err(format!("cannot reach the store within {} seconds", PATIENCE.as_secs())),
    }
}

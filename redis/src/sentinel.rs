//! A connection to whichever server is the primary, by what the sentinels say.

use std::{fmt, sync::Arc};

use redis::{
    AsyncConnectionConfig, Cmd, Pipeline, RedisFuture, RedisResult, Value,
    aio::{ConnectionLike, MultiplexedConnection},
    sentinel::SentinelClient,
};
use tokio::sync::Mutex;

use crate::ReconnectingConnection;

/// A connection for [`RedisStore`](crate::RedisStore) to the primary that Sentinel watches over, which follows a failover.
///
/// `SentinelClient` of the [`redis`](https://docs.rs/redis) crate finds the primary when it is asked to connect, and its
/// connections stay with that server, whatever becomes of it. This one asks the sentinels again once the primary does
/// not answer, is gone, or refuses to be written to: as, and as often as, a
/// [`ReconnectingConnection`].
///
/// The sentinels' word counts as soon as one of them gives it and the server itself says that it is a primary. A primary
/// that is cut off from its sentinels and replicas, but not from this client, does not know that it was replaced: have
/// it refuse writes then (`min-replicas-to-write 1`, `min-replicas-max-lag 10`), and this connection leaves it. What a
/// failover may lose is said at [`RedisStore`](crate::RedisStore).
///
/// ```no_run
/// # async fn f() -> Result<(), Box<dyn std::error::Error>> {
/// use redis::sentinel::{SentinelClient, SentinelServerType};
/// use tower_session_timeout_redis::{RedisStore, SentinelConnection};
///
/// let sentinels = vec!["redis://10.0.0.1:26379/", "redis://10.0.0.2:26379/", "redis://10.0.0.3:26379/"];
/// let client = SentinelClient::build(sentinels, String::from("mymaster"), None, SentinelServerType::Master)?;
/// let store = RedisStore::new(SentinelConnection::new(client).await?);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct SentinelConnection(ReconnectingConnection<MultiplexedConnection>);

impl SentinelConnection {
    /// Connects to the primary: the client has to be one for `SentinelServerType::Master`.
    ///
    /// # Errors
    ///
    /// If no sentinel knows a primary, or that one does not answer.
    pub async fn new(client: SentinelClient) -> RedisResult<Self> {
        Self::with_config(client, AsyncConnectionConfig::new()).await
    }

    /// The same, with timeouts and the like of your own.
    ///
    /// # Errors
    ///
    /// If no sentinel knows a primary, or that one does not answer.
    pub async fn with_config(client: SentinelClient, config: AsyncConnectionConfig) -> RedisResult<Self> {
        let client = Arc::new(Mutex::new(client));
        let connect = move || {
            let (client, config) = (Arc::clone(&client), config.clone());
            async move { client.lock().await.get_async_connection_with_config(&config).await }
        };
        Ok(Self(ReconnectingConnection::new(connect).await?))
    }
}

impl ConnectionLike for SentinelConnection {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        self.0.req_packed_command(cmd)
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        self.0.req_packed_commands(pipeline, offset, count)
    }

    fn get_db(&self) -> i64 {
        self.0.get_db()
    }
}

impl fmt::Debug for SentinelConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SentinelConnection").finish_non_exhaustive()
    }
}

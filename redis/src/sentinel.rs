//! A connection to whichever server is the primary, by what the sentinels say.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionInfo, ErrorKind, Pipeline, RedisFuture, RedisResult, Role,
    Value,
    aio::{ConnectionLike, MultiplexedConnection},
    sentinel::SentinelClient,
};
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep},
};

use crate::{
    ReconnectingConnection,
    switches::{Switch, Switches},
};

/// How long a sentinel that was the first to know is believed over others.
const NEWS: Duration = Duration::from_secs(3);
/// How long nobody listens after a sentinel was lost; longer each time that no other is found.
const PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// A connection for [`RedisStore`](crate::RedisStore) to the primary that Sentinel watches over, which follows a failover.
///
/// `SentinelClient` of the [`redis`](https://docs.rs/redis) crate finds the primary when it is asked to connect, and its
/// connections stay with that server, whatever becomes of it. This one listens to a sentinel (`+switch-master`): once
/// another server is the primary, the next command goes there. That matters most in a planned failover
/// (`SENTINEL FAILOVER`), in which the old primary is told only after some 10 seconds, and takes writes until then that
/// are lost. If that sentinel goes, it listens to another.
///
/// Where none can be listened to (that takes the command `SUBSCRIBE` and the channel `+switch-master`), and beside that, it asks the sentinels again once the primary does not answer, is gone,
/// or refuses to be written to: as, and as often as, a [`ReconnectingConnection`].
///
/// The sentinels' word counts as soon as one of them gives it and the server itself says that it is a primary. A primary
/// that is cut off from its sentinels and replicas, but not from this client, does not know that it was replaced: have
/// it refuse writes then (`min-replicas-to-write 1`, `min-replicas-max-lag 10`; with two replicas at least, for after a
/// failover there is one less), and this connection leaves it. What a failover may lose is said at
/// [`RedisStore`](crate::RedisStore).
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
pub struct SentinelConnection {
    connection: ReconnectingConnection<MultiplexedConnection>,
    /// Ends with the last of the connection's clones.
    _listener: Arc<Listener>,
}

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
        let primary =
            Arc::new(Primary { sentinels: tokio::sync::Mutex::new(client), config, place: Mutex::default() });
        let listener = Arc::new(Listener { primary, connection: OnceLock::new(), task: Mutex::default() });
        let connect = {
            let (primary, listener) = (Arc::clone(&listener.primary), Arc::downgrade(&listener));
            move || {
                // It may have ended with its runtime, as the connection has.
                listener.upgrade().as_ref().map(Listener::listen);
                Arc::clone(&primary).connect()
            }
        };
        let connection = ReconnectingConnection::new(connect).await?;
        listener.connection.get_or_init(|| connection.clone());
        Listener::listen(&listener);
        Ok(Self { connection, _listener: listener })
    }
}

/// Where the primary is.
struct Primary {
    sentinels: tokio::sync::Mutex<SentinelClient>,
    config: AsyncConnectionConfig,
    place: Mutex<Place>,
}

#[derive(Default)]
struct Place {
    /// Where the connection goes, or is about to.
    present: Option<ConnectionInfo>,
    /// Where a sentinel said that it has to go from now on, and when.
    told: Option<(ConnectionInfo, Instant)>,
}

impl Primary {
    async fn connect(self: Arc<Self>) -> RedisResult<MultiplexedConnection> {
        loop {
            let told = self.told();
            let is_told = told.is_some();
            let place = if let Some(told) = told {
                told
            } else {
                let client = self.sentinels.lock().await.async_get_client().await?;
                client.get_connection_info().clone()
            };
            self.place().present = Some(place.clone());
            let mut connection = Client::open(place.clone())?
                .get_multiplexed_async_connection_with_config(&self.config)
                .await?;
            if is_told {
                let role = redis::cmd("ROLE").query_async(&mut connection).await?;
                if !matches!(role, Role::Primary { .. }) {
                    return Err((ErrorKind::MasterNameNotFoundBySentinel, "not the primary yet").into());
                }
            }
            // It may have been replaced meanwhile.
            if self.told().is_none_or(|told| told.addr() == place.addr()) {
                return Ok(connection);
            }
        }
    }

    fn place(&self) -> MutexGuard<'_, Place> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn told(&self) -> Option<ConnectionInfo> {
        let place = self.place();
        place.told.as_ref().filter(|(_, when)| when.elapsed() < NEWS).map(|(told, _)| told.clone())
    }

    /// If this is about where the connection goes, it has to go elsewhere.
    fn switch(&self, switch: &Switch) {
        let mut place = self.place();
        let Some(present) = &place.present else { return };
        let from = switch.from.reached_as(present.addr());
        let to = switch.to.reached_as(present.addr());
        if let (Some(from), Some(to)) = (from, to)
            && from == *present.addr()
        {
            place.told = Some((present.clone().set_addr(to), Instant::now()));
        }
    }

    fn is_elsewhere(&self) -> bool {
        let told = self.told();
        told.is_some_and(|told| self.place().present.as_ref().is_some_and(|now| now.addr() != told.addr()))
    }
}

/// Has the connection go where a sentinel says.
struct Listener {
    primary: Arc<Primary>,
    connection: OnceLock<ReconnectingConnection<MultiplexedConnection>>,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Some(task) = self.task.get_mut().unwrap_or_else(PoisonError::into_inner) {
            task.abort();
        }
    }
}

impl Listener {
    fn listen(self: &Arc<Self>) {
        let Some(connection) = self.connection.get() else { return };
        let mut task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        if task.as_ref().is_none_or(JoinHandle::is_finished) {
            let (primary, connection) = (Arc::clone(&self.primary), connection.clone());
            *task = Some(tokio::spawn(follow(primary, connection)));
        }
    }
}

async fn follow(primary: Arc<Primary>, connection: ReconnectingConnection<MultiplexedConnection>) {
    let (mut switches, mut pause) = (Switches::default(), PAUSE);
    loop {
        if is_heard(&primary, &mut switches).await {
            pause = PAUSE;
            let present = primary.place().present.clone();
            let mut switch = present.and_then(|present| switches.missed(present.addr()));
            loop {
                if let Some(switch) = &switch {
                    primary.switch(switch);
                    leave(&primary, &connection).await;
                }
                switch = switches.next().await;
                if switch.is_none() {
                    break;
                }
            }
        }
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Whether a sentinel can be listened to. First the one that was last: the client may go on naming one that is away.
async fn is_heard(primary: &Primary, switches: &mut Switches) -> bool {
    if switches.listen_again().await {
        return true;
    }
    // Who has to connect is not kept waiting for what follows.
    let sentinel = primary.sentinels.lock().await.async_get_sentinel_client().await;
    match sentinel {
        Ok(sentinel) => switches.listen_to(sentinel).await,
        Err(_) => false,
    }
}

async fn leave(primary: &Primary, connection: &ReconnectingConnection<MultiplexedConnection>) {
    if primary.is_elsewhere() {
        // An attempt under way may have looked before this was told.
        connection.settled().await;
    }
    if primary.is_elsewhere() {
        connection.leave();
    }
}

impl ConnectionLike for SentinelConnection {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        self.connection.req_packed_command(cmd)
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        self.connection.req_packed_commands(pipeline, offset, count)
    }

    fn get_db(&self) -> i64 {
        self.connection.get_db()
    }
}

impl fmt::Debug for SentinelConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SentinelConnection").finish_non_exhaustive()
    }
}

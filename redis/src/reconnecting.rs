//! A connection that is made anew when it has to be.

use std::{
    fmt, io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use redis::{
    Cmd, ErrorKind, Pipeline, RedisError, RedisFuture, RedisResult, ServerErrorKind, Value,
    aio::ConnectionLike,
};
use tokio::{
    runtime::Handle,
    sync::{Semaphore, SemaphorePermit, watch},
    time::{Instant, timeout},
};
use tower_session_timeout::BoxFuture;

/// How long a command waits for a connection to be made, and how long one that is in doubt may take to answer.
const PATIENCE: Duration = Duration::from_millis(500);
/// A connection is not made more often than that.
const PAUSE: Duration = Duration::from_millis(200);
/// How long a connection may take to be made.
pub(crate) const CONNECTING: Duration = Duration::from_secs(5);

/// A connection for [`RedisStore`](crate::RedisStore) that is made anew once it does not answer.
///
/// Connections of the [`redis`](https://docs.rs/redis) crate (1.8) repair themselves, but not always. Under load, a
/// `ClusterConnection` may stay silent for good after a primary was killed or slots were moved: less often with a
/// [`concurrency_limit`](Self::concurrency_limit). A `ConnectionManager` goes on waiting on a connection whose other end
/// went down without a word, until the kernel gives it up, after a quarter of an hour or so.
/// This one calls `connect` again when a command fails for want of a connection, when the server refuses to be
/// written to, or when a command was given up and a `PING` after it is not answered within half a second, either:
/// once for all who wait for it, and five times a second at most.
///
/// The commands that find it so fail; none is repeated, for nobody knows whether it was carried out. Others wait half a
/// second at most for the new connection.
///
/// ```no_run
/// # async fn f() -> Result<(), Box<dyn std::error::Error>> {
/// use redis::cluster::ClusterClient;
/// use tower_session_timeout_redis::{ReconnectingConnection, RedisStore};
///
/// let client = ClusterClient::new(["redis://10.0.0.1/", "redis://10.0.0.2/", "redis://10.0.0.3/"])?;
/// let connection = ReconnectingConnection::new(move || {
///     let client = client.clone();
///     async move { client.get_async_connection().await }
/// });
/// let store = RedisStore::new(connection.await?.concurrency_limit(16));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct ReconnectingConnection<C> {
    shared: Arc<Shared<C>>,
    places: Option<Arc<Semaphore>>,
    db: i64,
}

struct Shared<C> {
    connect: Mutex<Box<dyn FnMut() -> BoxFuture<RedisResult<C>> + Send>>,
    state: watch::Sender<State<C>>,
    /// Counts the connections there were.
    connections: AtomicU64,
    is_doubted: AtomicBool,
}

enum State<C> {
    Connected(Connected<C>),
    Connecting,
    /// The next command has it tried again, if that is not too soon.
    Failed {
        error: RedisError,
        at: Instant,
    },
}

#[derive(Clone)]
struct Connected<C> {
    connection: C,
    number: u64,
    at: Instant,
}

impl<C: ConnectionLike + Clone + Send + Sync + 'static> ReconnectingConnection<C> {
    /// Connects, and does so again whenever that becomes necessary.
    ///
    /// # Errors
    ///
    /// If the first connection cannot be made.
    pub async fn new<F>(mut connect: impl FnMut() -> F + Send + 'static) -> RedisResult<Self>
    where
        F: Future<Output = RedisResult<C>> + Send + 'static,
    {
        let connection = connect().await?;
        let db = connection.get_db();
        let connected = Connected { connection, number: 0, at: Instant::now() };
        let shared = Shared {
            connect: Mutex::new(Box::new(move || Box::pin(connect()))),
            state: watch::Sender::new(State::Connected(connected)),
            connections: AtomicU64::new(1),
            is_doubted: AtomicBool::new(false),
        };
        Ok(Self { shared: Arc::new(shared), places: None, db })
    }

    /// How many commands may be in flight at the same time, at least one; others wait for their turn. Default: any number.
    ///
    /// Give a `ClusterConnection` 16. With more, it may begin to ask for the cluster's slots while it has commands of its
    /// own hold what it needs for that, and waits for them without ever turning to them again (`redis` 1.8 on tokio 1.54,
    /// whose tasks have a budget for each turn). 16 in flight are 32,000 a second where an answer takes half a millisecond.
    pub fn concurrency_limit(self, commands: usize) -> Self {
        let places = Semaphore::new(commands.clamp(1, Semaphore::MAX_PERMITS));
        Self { places: Some(Arc::new(places)), ..self }
    }

    /// Connects anew, though nothing is wrong with the present connection.
    #[cfg(feature = "sentinel")]
    pub(crate) fn leave(&self) {
        self.shared.reconnect(&Handle::current(), |state| !matches!(state, State::Connecting));
    }

    /// Waits until there is no attempt under way.
    #[cfg(feature = "sentinel")]
    pub(crate) async fn settled(&self) {
        let mut state = self.shared.state.subscribe();
        let _ = state.wait_for(|state| !matches!(state, State::Connecting)).await;
    }

    async fn place(&self) -> Option<SemaphorePermit<'_>> {
        // It is never closed.
        self.places.as_ref()?.acquire().await.ok()
    }

    async fn connected(&self) -> RedisResult<Connected<C>> {
        match &*self.shared.state.borrow() {
            State::Connected(connected) => return Ok(connected.clone()),
            State::Failed { error, at } if at.elapsed() < PAUSE => return Err(error.clone()),
            State::Failed { .. } | State::Connecting => {}
        }
        let mut state = self.shared.state.subscribe();
        self.shared.reconnect(&Handle::current(), |state| matches!(state, State::Failed { .. }));
        let settled = timeout(PATIENCE, state.wait_for(|state| !matches!(state, State::Connecting))).await;
        let Ok(Ok(settled)) = settled else { return Err(not_yet()) };
        match &*settled {
            State::Connected(connected) => Ok(connected.clone()),
            State::Failed { error, .. } => Err(error.clone()),
            State::Connecting => Err(not_yet()),
        }
    }
}

impl<C: ConnectionLike + Clone + Send + Sync + 'static> Shared<C> {
    /// Connects anew, once for all, if the state is such.
    fn reconnect(self: &Arc<Self>, runtime: &Handle, is_due: impl FnOnce(&State<C>) -> bool) {
        let is_first = self.state.send_if_modified(|state| {
            let is_due = is_due(state);
            if is_due {
                *state = State::Connecting;
            }
            is_due
        });
        if is_first {
            // Not by the one who found it out, who may be gone before it is done.
            runtime.spawn(Attempt(Arc::clone(self)).run());
        }
    }

    fn lost(self: &Arc<Self>, runtime: &Handle, lost: &Connected<C>) {
        self.reconnect(runtime, |state| {
            matches!(state, State::Connected(now) if now.number == lost.number && now.at.elapsed() >= PAUSE)
        });
    }

    async fn connect(&self) -> RedisResult<Connected<C>> {
        let attempt = self.connect.lock().unwrap_or_else(PoisonError::into_inner)();
        let connection = timeout(CONNECTING, attempt).await.map_err(|_| not_yet())??;
        let number = self.connections.fetch_add(1, Relaxed);
        Ok(Connected { connection, number, at: Instant::now() })
    }

    /// Whether anybody still answers, after somebody has given up waiting for it: a machine that went down without a
    /// word breaks no connection.
    async fn doubt(self: Arc<Self>, mut doubted: Connected<C>) {
        let ping = redis::cmd("PING");
        let answer = timeout(PATIENCE, doubted.connection.req_packed_command(&ping)).await;
        self.is_doubted.store(false, Relaxed);
        if answer.map_or(true, |answer| answer.is_err_and(|error| is_lost(&error))) {
            self.lost(&Handle::current(), &doubted);
        }
    }
}

/// If it ends with its runtime, the next one is not kept from trying.
struct Attempt<C>(Arc<Shared<C>>);

impl<C: ConnectionLike + Clone + Send + Sync + 'static> Attempt<C> {
    async fn run(self) {
        let connected = self.0.connect().await;
        self.0.state.send_replace(match connected {
            Ok(connected) => State::Connected(connected),
            Err(error) => State::Failed { error, at: Instant::now() },
        });
    }
}

impl<C> Drop for Attempt<C> {
    fn drop(&mut self) {
        self.0.state.send_if_modified(|state| {
            let is_given_up = matches!(state, State::Connecting);
            if is_given_up {
                *state = State::Failed { error: not_yet(), at: Instant::now() };
            }
            is_given_up
        });
    }
}

/// A command that is not answered yet.
struct Unanswered<'a, C: ConnectionLike + Clone + Send + Sync + 'static> {
    shared: &'a Arc<Shared<C>>,
    on: Option<Connected<C>>,
}

impl<C: ConnectionLike + Clone + Send + Sync + 'static> Unanswered<'_, C> {
    fn answered(mut self, is_lost: bool) {
        if let Some(on) = self.on.take()
            && is_lost
        {
            self.shared.lost(&Handle::current(), &on);
        }
    }
}

impl<C: ConnectionLike + Clone + Send + Sync + 'static> Drop for Unanswered<'_, C> {
    fn drop(&mut self) {
        if let Some(on) = self.on.take()
            && let Ok(runtime) = Handle::try_current()
            && !self.shared.is_doubted.swap(true, Relaxed)
        {
            runtime.spawn(Arc::clone(self.shared).doubt(on));
        }
    }
}

impl<C: ConnectionLike + Clone + Send + Sync + 'static> ConnectionLike for ReconnectingConnection<C> {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        Box::pin(async move {
            let _place = self.place().await;
            let mut connected = self.connected().await?;
            let unanswered = Unanswered { shared: &self.shared, on: Some(connected.clone()) };
            let answer = connected.connection.req_packed_command(cmd).await;
            unanswered.answered(match &answer {
                Ok(value) => is_refusal(value),
                Err(error) => is_lost(error),
            });
            answer
        })
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        Box::pin(async move {
            let _place = self.place().await;
            let mut connected = self.connected().await?;
            let unanswered = Unanswered { shared: &self.shared, on: Some(connected.clone()) };
            let answers = connected.connection.req_packed_commands(pipeline, offset, count).await;
            unanswered.answered(match &answers {
                Ok(values) => values.iter().any(is_refusal),
                Err(error) => is_lost(error),
            });
            answers
        })
    }

    fn get_db(&self) -> i64 {
        self.db
    }
}

impl<C> fmt::Debug for ReconnectingConnection<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReconnectingConnection").finish_non_exhaustive()
    }
}

fn not_yet() -> RedisError {
    io::Error::new(io::ErrorKind::TimedOut, "not connected yet").into()
}

/// As after a restart of the server that nobody noticed: worth a second attempt, on a connection made anew.
pub(crate) fn found_broken(error: &RedisError) -> bool {
    error.is_connection_dropped() || error.is_io_error()
}

fn is_lost(error: &RedisError) -> bool {
    error.is_io_error()
        || error.is_unrecoverable_error()
        || error.kind() == ErrorKind::Server(ServerErrorKind::MasterDown)
        || refuses_writes(error.code(), error.detail())
}

fn is_refusal(answer: &Value) -> bool {
    matches!(answer, Value::ServerError(error) if refuses_writes(Some(error.code()), error.details()))
}

/// It is a replica by now, or without any. Until version 7, what a script was refused is only told in words.
fn refuses_writes(code: Option<&str>, detail: Option<&str>) -> bool {
    matches!(code, Some("READONLY" | "NOREPLICAS" | "MASTERDOWN"))
        || detail.is_some_and(|detail| detail.contains("READONLY") || detail.contains("NOREPLICAS"))
}

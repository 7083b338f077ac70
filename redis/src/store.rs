//! The store, as its users see it, and what a server keeps.

use std::{fmt, sync::Arc, time::Duration};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use redis::{RedisError, RedisResult, aio::ConnectionLike};
use tower_session_timeout::{
    Backend, BoxFuture, CachedStore, Key, Loaded, SharedStore, StoreError, Swap, Swapped, forward_store,
};

use crate::{
    reconnecting::found_broken,
    script::{EVICTS, Flags, LIST, SWAP},
    server_time::{ServerTime, here},
};

/// Keeps sessions in Redis (5 or later) or Valkey, for several processes that share them. They outlive all of these.
///
/// It works over any connection of the [`redis`](https://docs.rs/redis) crate that can be cloned, on one server or a
/// cluster: best over a [`ReconnectingConnection`](crate::ReconnectingConnection), with Sentinel over a `SentinelConnection` (feature `sentinel`).
/// It is a [`SharedStore`]: sessions are judged by the server's own clock; one takes one key and one round trip (a `GET`, with a
/// `TIME` every 20 milliseconds; in a cluster, with each), after a rotation two, and a second one where something is written.
/// A process knows what time it is at the server to 5 milliseconds: by so much may a session outlast its timeouts, and be
/// refused by one process when another one still admits it.
///
/// Ids are kept hashed (SHA-256, not keyed: they have to be unguessable). Owners can be read in the records of their
/// sessions: let them be opaque. An activity is not written down as long as the last one that was is younger than the
/// [granularity](Self::granularity): so a session may end early by that, and the remaining time it tells is the one it
/// enforces.
///
/// It does not know which requests are in flight: the process that waits for one renews its session three times in an idle
/// timeout, and at its end.
///
/// Run the server with `maxmemory-policy noeviction`: with any other, a server that is short of memory drops sessions
/// (and none can be adopted). When a server's memory is full with `noeviction`, sessions go on and end as ever, and new ones
/// are refused. (Before Redis 7, no activity is recorded then, so sessions end early, and superseded ids go on.)
///
/// # When a server fails
///
/// As long as no server answers, requests get `503`; nobody is signed out, and no restart is needed afterwards. A log-out
/// that could not be written down is answered with `503`, too, and tried again in the background.
///
/// A server that is killed and comes back has what it had written to its disk: with `appendfsync everysec` it lacks
/// a second, without persistence it has nothing, and everybody signs in again. A primary without persistence that is
/// restarted before it was replaced takes its replicas' data with it.
///
/// Replicas hear of everything a little later. **What had been acknowledged and not yet replicated when a replica takes
/// over, is lost**, with Sentinel, in a cluster and with most services one can rent: a session that had just begun is
/// over, the last activity has not been, and a session that had just been ended is live again, until its limits end it.
/// As a rule those are the last milliseconds; in a primary that is cut off and does not know it, they
/// are the time until it is told, unless `min-replicas-to-write` has it refuse writes.
/// [`wait_for_replicas`](Self::wait_for_replicas) narrows this down for ends; Redis promises no more. What the
/// application itself deletes when it signs somebody out stays deleted.
///
/// ```no_run
/// # async fn f() -> Result<(), Box<dyn std::error::Error>> {
/// use tower_session_timeout::SessionTimeoutLayer;
/// use tower_session_timeout_redis::{ReconnectingConnection, RedisStore};
///
/// let client = redis::Client::open("redis://127.0.0.1/")?;
/// let connection = ReconnectingConnection::new(move || {
///     let client = client.clone();
///     async move { client.get_multiplexed_async_connection().await }
/// });
/// let store = RedisStore::new(connection.await?).prefix("shop:session:");
/// let layer = SessionTimeoutLayer::builder().cookie("sid").store(store).build()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct RedisStore<C>(SharedStore<Redis<C>>);

/// What a server keeps, and how.
#[derive(Clone)]
struct Redis<C> {
    connection: C,
    prefix: Arc<str>,
    wait_for: Option<(usize, Duration)>,
    flags: Arc<Flags>,
    server_time: Arc<ServerTime>,
    #[cfg(feature = "test-util")]
    clock: Option<tower_session_timeout::ManualClock>,
}

impl<C: ConnectionLike + Clone + Send + Sync + 'static> RedisStore<C> {
    /// A store behind this connection. Keys begin with `session:`.
    pub fn new(connection: C) -> Self {
        Self(SharedStore::new(Redis {
            connection,
            prefix: "session:".into(),
            wait_for: None,
            flags: Arc::default(),
            server_time: Arc::default(),
            #[cfg(feature = "test-util")]
            clock: None,
        }))
    }

    fn with(self, set: impl FnOnce(&mut Redis<C>)) -> Self {
        let mut redis = self.0.backend().clone();
        set(&mut redis);
        Self(self.0.with_backend(redis))
    }

    /// What all keys begin with. Applications that share a server need different ones. Braces would put all sessions
    /// of a cluster on one node.
    pub fn prefix(self, prefix: &str) -> Self {
        self.with(|redis| redis.prefix = prefix.into())
    }

    /// How much younger than the recorded one an activity has to be to be recorded in its turn. A session may end
    /// early by that; a longer one saves writing and replication. Default: a sixtieth of the idle timeout, at most a
    /// minute. More than a quarter of the idle timeout counts as a quarter. Zero records every one.
    pub fn granularity(self, granularity: Duration) -> Self {
        Self(self.0.granularity(granularity))
    }

    /// After an end, waits until so many replicas have it (`WAIT`): a failover right after it then brings back an
    /// ended session less often. It is no guarantee, and other commands on the same connection wait, too; an end that the
    /// replicas do not confirm in this time, which is to be shorter than the layer's
    /// [`store_deadline`](tower_session_timeout::SessionTimeoutBuilder::store_deadline), is still an end. Default: it does not wait. Not
    /// for a cluster.
    pub fn wait_for_replicas(self, replicas: usize, at_most: Duration) -> Self {
        self.with(|redis| redis.wait_for = Some((replicas, at_most)))
    }

    /// This store, asked at most once in a window for each id: see [`CachedStore`] for what that costs.
    ///
    /// ```no_run
    /// # async fn f() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    /// use tower_session_timeout::SessionTimeoutLayer;
    /// use tower_session_timeout_redis::RedisStore;
    ///
    /// # let connection = redis::Client::open("redis://127.0.0.1/")?.get_multiplexed_async_connection().await?;
    /// let store = RedisStore::new(connection);
    /// let layer = SessionTimeoutLayer::builder().cookie("sid").store(store.cached(Duration::from_secs(10))).build()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn cached(self, window: Duration) -> CachedStore<Self> {
        CachedStore::new(self, window)
    }

    /// A place on the same server for forms that come too late (`RescueForms::keep_in`, feature `rescue` of
    /// `tower-session-timeout`): several processes share them then. What all their keys begin with is the store's prefix and `form:`.
    pub fn forms(&self) -> impl Backend + use<C> {
        let redis = self.0.backend().clone();
        Redis { prefix: format!("{}form:", redis.prefix).into(), ..redis }
    }

    /// The clock to judge by, in place of the server's.
    #[cfg(feature = "test-util")]
    pub fn clock(self, clock: tower_session_timeout::ManualClock) -> Self {
        let store = self.with(|redis| redis.clock = Some(clock.clone()));
        Self(store.0.clock(clock))
    }
}

impl<C> fmt::Debug for RedisStore<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore").field("prefix", &self.0.backend().prefix).finish_non_exhaustive()
    }
}

forward_store!([C: ConnectionLike + Clone + Send + Sync + 'static] RedisStore<C>, |this| this.0);

impl<C: ConnectionLike + Clone + Send + Sync + 'static> Redis<C> {
    fn key(&self, key: Key) -> String {
        format!("{}{}", self.prefix, name_of(key))
    }

    fn owners_key(&self, owner: Key) -> String {
        format!("{}owner:{}", self.prefix, name_of(owner))
    }

    #[cfg(feature = "test-util")]
    fn set_clock(&self) -> Option<Duration> {
        self.clock.as_ref().map(tower_session_timeout::Clock::now)
    }

    #[cfg(not(feature = "test-util"))]
    #[expect(clippy::unused_self, reason = "only tests set a clock")]
    fn set_clock(&self) -> Option<Duration> {
        None
    }

    async fn load_now(self, key: Key) -> Result<Loaded, StoreError> {
        let key = self.key(key);
        let mut answer = self.look_up(&key).await;
        if answer.as_ref().is_err_and(found_broken) {
            self.server_time.forget();
            answer = self.look_up(&key).await;
        }
        answer.map_err(|error| {
            if error.to_string().contains("WRONGTYPE") {
                StoreError::foreign()
            } else {
                StoreError::new(error)
            }
        })
    }

    /// A record is judged no earlier than it was read. A script that does both would cost the server as much again as the two
    /// of them.
    async fn look_up(&self, key: &str) -> RedisResult<Loaded> {
        let mut connection = self.connection.clone();
        let get = redis::cmd("GET").arg(key).to_owned();
        if let Some(now) = self.set_clock() {
            return Ok(Loaded { record: get.query_async(&mut connection).await?, now });
        }
        let asked = here();
        if self.server_time.at(asked).is_none() {
            let mut both = redis::pipe();
            both.add_command(get).cmd("TIME");
            let (record, time) = both.query_async(&mut connection).await?;
            let now = self.server_time.note(time, asked, &mut connection).await;
            return Ok(Loaded { record, now });
        }
        let record = get.query_async(&mut connection).await?;
        if let Some(now) = self.server_time.at(here()) {
            return Ok(Loaded { record, now });
        }
        let asked = here();
        let time = redis::cmd("TIME").query_async(&mut connection).await?;
        Ok(Loaded { record, now: self.server_time.note(time, asked, &mut connection).await })
    }

    async fn swap_now(self, swap: Swap) -> Result<Swapped, StoreError> {
        if let (Some(latest), Some(now)) = (swap.not_after, self.set_clock())
            && now > latest
        {
            return Ok(Swapped::Lost);
        }
        let mut answer = self.exchange(&swap).await;
        // If it was done, and merely the answer lost, it is not done again: what it expects is there no more.
        if answer.as_ref().is_err_and(found_broken) {
            self.server_time.forget();
            answer = self.exchange(&swap).await;
        }
        let swapped = match answer {
            Ok(true) => Swapped::Done,
            Ok(false) => Swapped::Lost,
            Err(error) if is_out_of_memory(&error) => Swapped::Full,
            Err(error) => return Err(StoreError::new(error)),
        };
        if let (true, Some((replicas, at_most))) = (swap.ends, self.wait_for) {
            let mut wait = redis::cmd("WAIT");
            wait.arg(replicas).arg(u64::try_from(at_most.as_millis()).unwrap_or(u64::MAX));
            let _: u64 = wait.query_async(&mut self.connection.clone()).await.map_err(StoreError::new)?;
        }
        Ok(swapped)
    }

    async fn exchange(&self, swap: &Swap) -> RedisResult<bool> {
        let not_after = match swap.not_after {
            Some(latest) if self.set_clock().is_none() => latest.as_micros().to_string(),
            _ => String::new(),
        };
        let ttl = swap.keep_for.as_millis().max(1).to_string();
        let args = [
            swap.expected.as_deref().unwrap_or_default(),
            swap.record.as_deref().unwrap_or_default(),
            ttl.as_bytes(),
            not_after.as_bytes(),
        ];
        let (mut connection, key) = (self.connection.clone(), self.key(swap.key));
        if swap.begins {
            SWAP.call(&mut connection, &key, &args).await
        } else {
            self.flags.swap_when_full(&mut connection, &key, &args).await
        }
    }

    async fn list_now(
        self,
        owner: Key,
        session: Key,
        keep_for: Option<Duration>,
    ) -> Result<Vec<Key>, StoreError> {
        let ttl = keep_for.map_or_else(|| "-1".to_owned(), |keep_for| keep_for.as_millis().to_string());
        let now = self.set_clock().map_or_else(String::new, |now| now.as_millis().to_string());
        let (name, mut connection) = (name_of(session), self.connection.clone());
        let args = [name.as_bytes(), ttl.as_bytes(), now.as_bytes()];
        let old: Vec<String> =
            LIST.call(&mut connection, &self.owners_key(owner), &args).await.map_err(|error| {
                if is_out_of_memory(&error) { StoreError::no_room() } else { StoreError::new(error) }
            })?;
        Ok(old.iter().filter_map(|name| key_of(name)).collect())
    }

    async fn listed_now(self, owner: Key) -> Result<Vec<Key>, StoreError> {
        let mut list = redis::cmd("ZRANGE");
        list.arg(self.owners_key(owner)).arg(0).arg(-1);
        let names: Vec<Vec<u8>> =
            list.query_async(&mut self.connection.clone()).await.map_err(StoreError::new)?;
        Ok(names.iter().filter_map(|name| key_of(str::from_utf8(name).ok()?)).collect())
    }

    async fn strike_now(self, owner: Key, sessions: Vec<Key>) -> Result<(), StoreError> {
        let mut strike = redis::cmd("ZREM");
        strike.arg(self.owners_key(owner));
        for session in sessions {
            strike.arg(name_of(session));
        }
        strike.query_async(&mut self.connection.clone()).await.map_err(StoreError::new)
    }

    async fn evicts_now(self) -> Result<bool, StoreError> {
        let key = format!("{}evicts", self.prefix);
        EVICTS.call(&mut self.connection.clone(), &key, &[]).await.map_err(StoreError::new)
    }
}

impl<C: ConnectionLike + Clone + Send + Sync + 'static> Backend for Redis<C> {
    fn load(&self, key: Key) -> BoxFuture<Result<Loaded, StoreError>> {
        Box::pin(self.clone().load_now(key))
    }

    fn swap(&self, swap: Swap) -> BoxFuture<Result<Swapped, StoreError>> {
        Box::pin(self.clone().swap_now(swap))
    }

    fn may_evict(&self) -> BoxFuture<Result<bool, StoreError>> {
        Box::pin(self.clone().evicts_now())
    }

    fn list(
        &self,
        owner: Key,
        session: Key,
        keep_for: Option<Duration>,
    ) -> BoxFuture<Result<Vec<Key>, StoreError>> {
        Box::pin(self.clone().list_now(owner, session, keep_for))
    }

    fn listed(&self, owner: Key) -> BoxFuture<Result<Vec<Key>, StoreError>> {
        Box::pin(self.clone().listed_now(owner))
    }

    fn strike(&self, owner: Key, sessions: Vec<Key>) -> BoxFuture<Result<(), StoreError>> {
        Box::pin(self.clone().strike_now(owner, sessions))
    }
}

fn is_out_of_memory(error: &RedisError) -> bool {
    error.to_string().contains("OOM")
}

fn name_of(key: Key) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(key.to_bytes())
}

fn key_of(name: &str) -> Option<Key> {
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(name).ok()?;
    Some(Key::new(bytes.try_into().ok()?))
}

//! Sessions in Redis or Valkey, for several processes.
//!
//! The first id's hash names the session, and its record is kept under that name: a session that was never rotated
//! takes one key and one round trip. A later id has a key that leads to the record: two. Every script touches one key,
//! so that all of it works in a cluster.

mod reconnecting;
mod script;
#[cfg(feature = "redis-sentinel")]
mod sentinel;

use std::{
    fmt,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use futures_util::{StreamExt, stream};
use redis::aio::ConnectionLike;
use sha2::{Digest, Sha256};

pub use self::reconnecting::ReconnectingConnection;
use self::script::{CHECK, Clocked, END, JOIN, LEAVE, OWNER, PLACE, RESTART, START, UNLEAD};
#[cfg(feature = "redis-sentinel")]
pub use self::sentinel::SentinelConnection;
use super::{
    Access, Adopted, Answer, CachedStore, Decision, Live, NewSession, Rotated, SessionInfo, Started, Store,
    StoreError,
};
use crate::{
    EndReason, EventSink, IdTag, Limits, Owner, Policy, SessionEvent, SessionId, SessionKey, Verdict,
};

/// Beyond the longest limits anybody sets, and exact in the numbers of a script.
const FOREVER: u64 = 10_000 * 365 * 24 * 3600 * 1000;
const NONE: &str = "-1";
/// What the script that checks is told of the access: how long ago the activity was, or this.
const PEEK: &str = "peek";
const NOW: &str = "0";
/// How long an owner's list is kept after the last log-in, if all its sessions end by then.
const OWNERS_LIST: Duration = Duration::from_secs(400 * 24 * 3600);
/// How often an id is followed that others move at the same time.
const ATTEMPTS: usize = 8;
/// How many of an owner's sessions are asked about at the same time.
const AT_ONCE: usize = 32;

/// Keeps sessions in Redis (5 or later) or Valkey, for several processes that share them. They outlive all of these.
///
/// It works over any connection of the [`redis`](https://docs.rs/redis) crate that can be cloned, on one server or a
/// cluster: best over a [`ReconnectingConnection`], with Sentinel over a `SentinelConnection` (feature `redis-sentinel`).
/// Whether a session is live is decided by the server, in one script, by the server's own clock. A session takes one key
/// and one round trip; after a rotation, two.
///
/// Ids are kept hashed (SHA-256, not keyed: they have to be unguessable). Owners can be read in the records of their
/// sessions: let them be opaque. An activity is not written down as long as the last one that was is
/// younger than the [granularity](Self::granularity): so a session may end early by that, never late, and
/// the remaining time it tells is the one it enforces.
///
/// It does not know which requests are in flight: the process that waits for one renews its session three times in an idle
/// timeout, and at its end.
///
/// Run the server with `maxmemory-policy noeviction`: with any other, a server that is short of memory drops sessions
/// (and none can be adopted). When a server's memory is full with `noeviction`, sessions are still checked
/// and ended, though no activity is recorded any more, and new ones are refused.
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
/// use tower_session_timeout::{ReconnectingConnection, RedisStore, SessionTimeoutLayer};
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
pub struct RedisStore<C> {
    connection: C,
    prefix: Arc<str>,
    granularity: Option<Duration>,
    wait_for: Option<(usize, Duration)>,
    widest: Arc<Widest>,
    sink: Arc<OnceLock<EventSink>>,
    #[cfg(feature = "test-util")]
    clock: Option<crate::ManualClock>,
}

/// The most generous limits any layer of this process has asked by, in milliseconds: the server must not clear away
/// what a layer would admit. `absolute` is `u64::MAX` for none.
#[derive(Default)]
struct Widest {
    idle: AtomicU64,
    absolute: AtomicU64,
}

/// An id as it is kept.
struct Id {
    key: SessionKey,
    tag: IdTag,
}

impl Id {
    fn of(id: &SessionId<'_>) -> Self {
        let hash: [u8; 32] = Sha256::digest(id.expose()).into();
        let (mut key, mut tag) = ([0; 16], [0; 8]);
        key.copy_from_slice(&hash[..16]);
        tag.copy_from_slice(&hash[16..24]);
        Self { key: SessionKey::new(key), tag: IdTag::new(tag) }
    }
}

/// Whom a script is to ask about what.
#[derive(Clone, Copy)]
enum Of {
    /// An id, under its own key.
    Id(SessionKey),
    /// An id that leads to this session.
    LedTo { session: SessionKey, id: SessionKey },
    /// A session, whatever its ids.
    Session(SessionKey),
}

impl<C: ConnectionLike + Clone + Send + Sync + 'static> RedisStore<C> {
    /// A store behind this connection. Keys begin with `session:`.
    pub fn new(connection: C) -> Self {
        Self {
            connection,
            prefix: "session:".into(),
            granularity: None,
            wait_for: None,
            widest: Arc::default(),
            sink: Arc::default(),
            #[cfg(feature = "test-util")]
            clock: None,
        }
    }

    /// What all keys begin with. Applications that share a server need different ones. Braces would put all sessions
    /// of a cluster on one node.
    pub fn prefix(self, prefix: &str) -> Self {
        Self { prefix: prefix.into(), ..self }
    }

    /// How much younger than the recorded one an activity has to be to be recorded in its turn. A session may end
    /// early by that; a longer one saves writing and replication. Default: a sixtieth of the idle timeout, at most a
    /// minute. More than a quarter of the idle timeout counts as a quarter. Zero records every one.
    pub fn granularity(self, granularity: Duration) -> Self {
        Self { granularity: Some(granularity), ..self }
    }

    /// After an end, waits until so many replicas have it (`WAIT`): a failover right after it then brings back an
    /// ended session less often. It is no guarantee, and other commands on the same connection wait, too; an end that the
    /// replicas do not confirm in this time, which is to be shorter than the layer's
    /// [`store_deadline`](crate::SessionTimeoutBuilder::store_deadline), is still an end. Default: it does not wait. Not
    /// for a cluster.
    pub fn wait_for_replicas(self, replicas: usize, at_most: Duration) -> Self {
        Self { wait_for: Some((replicas, at_most)), ..self }
    }

    /// This store, asked at most once in a window for each id: see [`CachedStore`] for what that costs.
    ///
    /// ```no_run
    /// # async fn f() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    /// use tower_session_timeout::{RedisStore, SessionTimeoutLayer};
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

    /// The clock to judge by, in place of the server's.
    #[cfg(feature = "test-util")]
    pub fn clock(self, clock: crate::ManualClock) -> Self {
        Self { clock: Some(clock), ..self }
    }

    #[cfg(feature = "test-util")]
    fn now(&self) -> Option<u64> {
        use crate::Clock;
        // Not at zero: a session may be older than the clock.
        self.clock.as_ref().map(|clock| 1_000_000_000_000 + millis(clock.now()))
    }

    #[cfg(not(feature = "test-util"))]
    fn now(&self) -> Option<u64> {
        let _ = self;
        None
    }

    fn widen(&self, limits: Limits) {
        self.widest.idle.fetch_max(millis(limits.idle()), Relaxed);
        self.widest.absolute.fetch_max(limits.absolute().map_or(u64::MAX, millis), Relaxed);
    }

    fn answer<T, F>(&self, work: impl FnOnce(Self) -> F) -> Answer<T>
    where
        F: Future<Output = Result<T, StoreError>> + Send + 'static,
    {
        Answer::Pending(Box::pin(work(self.clone())))
    }

    fn key(&self, name: SessionKey) -> String {
        format!("{}{}", self.prefix, name_of(name))
    }

    fn owner_key(&self, owner: &Owner) -> String {
        let hash = Sha256::digest(owner.as_str());
        format!("{}owner:{}", self.prefix, BASE64_URL_SAFE_NO_PAD.encode(&hash[..16]))
    }

    async fn run(
        &self,
        script: &Clocked,
        of: Of,
        policy: Option<&Policy>,
        args: &[&str],
    ) -> Result<Vec<String>, StoreError> {
        let (key, id, led) = match of {
            Of::Id(id) => (id, name_of(id), "0"),
            Of::LedTo { session, id } => (session, name_of(id), "1"),
            Of::Session(session) => (session, String::new(), "1"),
        };
        let limits = policy.map_or(Limits::default(), |policy| policy.limits);
        let cap = policy.and_then(|policy| policy.cap);
        let grace = policy.map_or(Duration::ZERO, |policy| policy.rotation_grace);
        let widest = self.widest.absolute.load(Relaxed);
        let mut all = vec![
            id,
            led.to_owned(),
            millis(limits.idle()).to_string(),
            or_none(limits.absolute()),
            or_none(cap.map(|cap| cap.idle())),
            or_none(cap.and_then(|cap| cap.absolute())),
            millis(grace).to_string(),
            self.widest.idle.load(Relaxed).to_string(),
            if widest == u64::MAX { NONE.to_owned() } else { widest.to_string() },
            or_none(self.granularity),
        ];
        all.extend(args.iter().map(|&arg| arg.to_owned()));
        let mut connection = self.connection.clone();
        let reply =
            script.call(&mut connection, &self.key(key), &all, self.now()).await.map_err(StoreError::new)?;
        match reply.first().map(String::as_str) {
            Some("foreign") => {
                self.foreign();
                Ok(vec!["unknown".to_owned()])
            }
            Some("full") => Err(StoreError::new("the server's memory is full")),
            Some("over") => {
                self.tell_end(key, &reply);
                Ok(reply)
            }
            Some(_) => Ok(reply),
            None => Err(unintelligible()),
        }
    }

    /// The session is over as far as anybody is concerned; but somebody should look at that server.
    fn foreign(&self) {
        if let Some(sink) = self.sink.get() {
            let error = "a session's key holds something that no store of this version wrote".to_owned();
            sink.send(&SessionEvent::StoreFailed { error });
        }
    }

    /// The script says so only once.
    fn tell_end(&self, session: SessionKey, reply: &[String]) {
        let [_, reason, _, just_ended, idle_for, age, owner] = reply else { return };
        if just_ended != "1" {
            return;
        }
        if let (Some(sink), Some(reason)) = (self.sink.get(), EndReason::from_word(reason)) {
            sink.send(&SessionEvent::Ended {
                session,
                reason,
                idle_for: duration(idle_for),
                age: duration(age),
                owner: decoded(owner),
            });
        }
    }

    async fn decide(self, id: Id, policy: Policy, access: Access) -> Result<Decision, StoreError> {
        let ago;
        let access = match access {
            Access::Renew | Access::Hold => NOW,
            Access::RenewAgo(since) => {
                ago = millis(since).to_string();
                &ago
            }
            Access::Peek => PEEK,
        };
        let mut session = id.key;
        let mut reply = self.run(&CHECK, Of::Id(id.key), Some(&policy), &[access]).await?;
        if let [elsewhere, name] = &reply[..]
            && elsewhere == "elsewhere"
        {
            session = named(name)?;
            let of = Of::LedTo { session, id: id.key };
            reply = self.run(&CHECK, of, Some(&policy), &[access]).await?;
        }
        decision(&reply, &policy, session, id.tag)
    }

    /// Of a session, whatever its ids.
    async fn decide_of(
        &self,
        session: SessionKey,
        policy: &Policy,
        access: &str,
    ) -> Result<Decision, StoreError> {
        let reply = self.run(&CHECK, Of::Session(session), Some(policy), &[access]).await?;
        decision(&reply, policy, session, IdTag::new([0; 8]))
    }

    fn verdict(&self, session: SessionKey, policy: &Policy, access: &'static str) -> Answer<Verdict> {
        self.widen(policy.limits);
        let policy = *policy;
        self.answer(async move |store| {
            Ok(match store.decide_of(session, &policy, access).await? {
                Decision::Live(live) => Verdict::Live(live.remaining),
                Decision::Ended { reason, .. } => Verdict::Over(reason),
                Decision::Capped(reason) => Verdict::Capped(reason),
            })
        })
    }

    async fn begin(self, id: Id, new: NewSession, policy: Policy) -> Result<Started, StoreError> {
        match self.start_record(Of::Id(id.key), &new, &policy, None).await?.as_str() {
            "new" => return Ok(Started::New(id.key)),
            "live" => return Ok(Started::AlreadyLive(id.key)),
            "at capacity" => return Ok(Started::AtCapacity),
            "occupied" => {}
            _ => return Err(unintelligible()),
        }
        // Something has been here that others may still know by its name: the session gets another one.
        let mut fresh = [0; 16];
        getrandom::fill(&mut fresh).map_err(|_| StoreError::new("no random numbers"))?;
        let fresh = SessionKey::new(fresh);
        let of = Of::LedTo { session: fresh, id: id.key };
        match self.start_record(of, &new, &policy, None).await?.as_str() {
            "new" => {}
            "at capacity" => return Ok(Started::AtCapacity),
            _ => return Err(unintelligible()),
        }
        let own = new.limits.unwrap_or(policy.limits);
        let ttl = own
            .absolute()
            .unwrap_or(own.idle().saturating_mul(2))
            .max(Duration::from_millis(self.widest.absolute.load(Relaxed).min(FOREVER)));
        let ttl = millis(ttl.saturating_add(Duration::from_secs(300))).to_string();
        let placed = self.place(id.key, fresh, &ttl, &policy).await;
        if !matches!(placed, Ok(None)) {
            let _ = self.run(&END, Of::Session(fresh), Some(&policy), &["unknown", ""]).await;
        }
        Ok(placed?.map_or(Started::New(fresh), Started::AlreadyLive))
    }

    /// Begins a session in a record of its own, its owner's list first: who ends all sessions of an owner must not
    /// miss one.
    async fn start_record(
        &self,
        of: Of,
        new: &NewSession,
        policy: &Policy,
        remembered: Option<Duration>,
    ) -> Result<String, StoreError> {
        let (Of::Id(name) | Of::LedTo { session: name, .. } | Of::Session(name)) = of;
        if let Some(owner) = &new.owner {
            self.list(owner, name, new.limits.unwrap_or(policy.limits), policy).await?;
        }
        let own = |limit: fn(&Limits) -> Option<Duration>| or_none(new.limits.as_ref().and_then(limit));
        let owner = new.owner.as_ref().map_or(String::new(), encoded);
        let args = [
            &own(|limits| Some(limits.idle()))[..],
            &own(Limits::absolute),
            &owner,
            &millis(new.age).to_string(),
            &or_none(remembered),
        ];
        Ok(self.run(&START, of, Some(policy), &args).await?.swap_remove(0))
    }

    async fn adopt_record(self, id: Id, new: NewSession, policy: Policy) -> Result<Adopted, StoreError> {
        let remembered = new.limits.unwrap_or(policy.limits).idle();
        match self.start_record(Of::Id(id.key), &new, &policy, Some(remembered)).await?.as_str() {
            "new" => Ok(Adopted::New(id.key)),
            "known" => Ok(Adopted::Known),
            "at capacity" => Ok(Adopted::AtCapacity),
            "evicts" => {
                Err(StoreError::new("the server may forget ended sessions: set maxmemory-policy noeviction"))
            }
            _ => Err(unintelligible()),
        }
    }

    /// Makes the id lead to this session. If it leads to a live one already, that one.
    async fn place(
        &self,
        id: SessionKey,
        session: SessionKey,
        ttl: &str,
        policy: &Policy,
    ) -> Result<Option<SessionKey>, StoreError> {
        let target = if id == session { "=".to_owned() } else { name_of(session) };
        let mut expected = String::new();
        for _ in 0..ATTEMPTS {
            let args = [&target[..], &expected, ttl];
            let mut reply = self.run(&PLACE, Of::Id(id), Some(policy), &args).await?;
            match reply[0].as_str() {
                "placed" => return Ok(None),
                "live" => return Ok(Some(id)),
                "elsewhere" if reply.len() == 2 => expected = reply.swap_remove(1),
                _ => return Err(unintelligible()),
            }
            let elsewhere = named(&expected)?;
            let of = Of::LedTo { session: elsewhere, id };
            if self.run(&LEAVE, of, Some(policy), &[""]).await?[0] == "live" {
                return Ok(Some(elsewhere));
            }
        }
        Err(StoreError::new("a session id keeps being moved by others"))
    }

    async fn rotate_to(
        self,
        session: SessionKey,
        new: Id,
        presented: IdTag,
        policy: Policy,
    ) -> Result<Rotated, StoreError> {
        let is_presented = new.tag == presented;
        let of = Of::LedTo { session, id: new.key };
        let args = [if is_presented { "1" } else { "0" }, &name_of(session)];
        let reply = self.run(&JOIN, of, Some(&policy), &args).await?;
        let (rotated, ttl, dropped) = match &reply[..] {
            [word, ttl, dropped @ ..] if word == "new" => (Rotated::New, ttl, dropped),
            [word, ttl, dropped @ ..] if word == "known" => (Rotated::AlreadyLive, ttl, dropped),
            _ => return Ok(Rotated::Refused),
        };
        if is_presented {
            // It has just led here.
            return Ok(rotated);
        }
        let placed = self.place(new.key, session, ttl, &policy).await;
        self.unlead(session, dropped).await;
        match placed? {
            None => Ok(rotated),
            Some(elsewhere) if elsewhere == session => Ok(rotated),
            Some(_) => {
                // Live already, under another session: it may leave, and keeps that session's clocks.
                self.run(&LEAVE, of, Some(&policy), &["by all means"]).await?;
                Ok(Rotated::AlreadyLive)
            }
        }
    }

    /// Frees the keys of ids that a session has forgotten. If that fails, they age out.
    async fn unlead(&self, session: SessionKey, ids: &[String]) {
        for id in ids {
            if let Ok(id) = named(id) {
                let _ = self.run(&UNLEAD, Of::Id(id), None, &[&name_of(session)]).await;
            }
        }
    }

    async fn restart_clocks(self, session: SessionKey, policy: Policy) -> Result<bool, StoreError> {
        let reply = self.run(&RESTART, Of::Session(session), Some(&policy), &[&name_of(session)]).await?;
        let [word, dropped @ ..] = &reply[..] else { return Err(unintelligible()) };
        if word != "restarted" {
            return Ok(false);
        }
        self.unlead(session, dropped).await;
        Ok(true)
    }

    async fn finish(
        &self,
        session: SessionKey,
        reason: EndReason,
        owner: Option<&Owner>,
    ) -> Result<bool, StoreError> {
        let owner = owner.map_or(String::new(), encoded);
        let reply = self.run(&END, Of::Session(session), None, &[reason.as_str(), &owner]).await?;
        if let Some((replicas, at_most)) = self.wait_for {
            let mut connection = self.connection.clone();
            let mut wait = redis::cmd("WAIT");
            wait.arg(replicas).arg(millis(at_most));
            let _: u64 = wait.query_async(&mut connection).await.map_err(StoreError::new)?;
        }
        Ok(reply[0] == "over")
    }

    async fn list(
        &self,
        owner: &Owner,
        session: SessionKey,
        limits: Limits,
        policy: &Policy,
    ) -> Result<(), StoreError> {
        let key = self.owner_key(owner);
        let ttl = match limits.absolute() {
            Some(absolute) if absolute < OWNERS_LIST => millis(OWNERS_LIST).to_string(),
            _ => NONE.to_owned(),
        };
        let mut connection = self.connection.clone();
        let args = [name_of(session), ttl.clone()];
        let perhaps_over =
            OWNER.call(&mut connection, &key, &args, self.now()).await.map_err(StoreError::new)?;
        for name in perhaps_over {
            if self.info(named(&name)?, owner, policy).await?.is_some() {
                let args = [name, ttl.clone()];
                OWNER.call(&mut connection, &key, &args, self.now()).await.map_err(StoreError::new)?;
            } else {
                let mut strike = redis::cmd("ZREM");
                strike.arg(&key).arg(name);
                strike.query_async::<()>(&mut connection).await.map_err(StoreError::new)?;
            }
        }
        Ok(())
    }

    async fn listed(&self, owner: &Owner) -> Result<Vec<SessionKey>, StoreError> {
        let mut connection = self.connection.clone();
        let mut list = redis::cmd("ZRANGE");
        list.arg(self.owner_key(owner)).arg(0).arg(-1);
        let names: Vec<String> = list.query_async(&mut connection).await.map_err(StoreError::new)?;
        names.iter().map(|name| named(name)).collect()
    }

    /// A live session of this owner's.
    async fn info(
        &self,
        session: SessionKey,
        owner: &Owner,
        policy: &Policy,
    ) -> Result<Option<SessionInfo>, StoreError> {
        let policy = Policy { cap: None, ..*policy };
        match self.decide_of(session, &policy, PEEK).await? {
            Decision::Live(live) if live.owner.as_ref() == Some(owner) => {
                Ok(Some(SessionInfo::new(session, live.idle_for, live.age)))
            }
            _ => Ok(None),
        }
    }
}

fn decision(
    reply: &[String],
    policy: &Policy,
    session: SessionKey,
    presented: IdTag,
) -> Result<Decision, StoreError> {
    let words: Vec<&str> = reply.iter().map(String::as_str).collect();
    let reason = |word| EndReason::from_word(word).ok_or_else(unintelligible);
    match words[..] {
        ["unknown"] => Ok(Decision::UNKNOWN),
        ["over", why, owned, ..] => Ok(Decision::Ended { reason: reason(why)?, owned: owned == "1" }),
        ["capped", why] => Ok(Decision::Capped(reason(why)?)),
        ["live", idle_for, age, id_age, since, idle, absolute, owner] => {
            let own = match (idle, absolute) {
                ("", _) => None,
                (idle, "") => Some(Limits::idle_only(duration(idle))),
                (idle, absolute) => Some(Limits::new(duration(idle), duration(absolute))),
            };
            let remaining = policy.renewed(own, duration(since), duration(age));
            let live = Live::new(session, presented, duration(idle_for), duration(age), remaining);
            Ok(Decision::Live(live.with_id_age(duration(id_age)).with_owner(decoded(owner))))
        }
        _ => Err(unintelligible()),
    }
}

fn unintelligible() -> StoreError {
    StoreError::new("the server's answer is none that this store knows")
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(FOREVER).min(FOREVER)
}

fn or_none(duration: Option<Duration>) -> String {
    duration.map_or_else(|| NONE.to_owned(), |duration| millis(duration).to_string())
}

/// No clock of the server's says less than zero.
fn duration(millis: &str) -> Duration {
    Duration::from_millis(millis.parse().unwrap_or(0))
}

fn name_of(key: SessionKey) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(key.to_bytes())
}

fn named(name: &str) -> Result<SessionKey, StoreError> {
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(name).map_err(|_| unintelligible())?;
    Ok(SessionKey::new(bytes.try_into().map_err(|_| unintelligible())?))
}

fn encoded(owner: &Owner) -> String {
    format!("o{}", BASE64_URL_SAFE_NO_PAD.encode(owner.as_str()))
}

fn decoded(owner: &str) -> Option<Owner> {
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(owner.strip_prefix('o')?).ok()?;
    Some(Owner::from(String::from_utf8(bytes).ok()?))
}

impl<C> fmt::Debug for RedisStore<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

impl<C: ConnectionLike + Clone + Send + Sync + 'static> Store for RedisStore<C> {
    fn check(&self, id: &SessionId<'_>, policy: &Policy, access: Access) -> Answer<Decision> {
        self.widen(policy.limits);
        let (id, policy) = (Id::of(id), *policy);
        self.answer(|store| store.decide(id, policy, access))
    }

    fn remaining(&self, session: SessionKey, policy: &Policy) -> Answer<Verdict> {
        self.verdict(session, policy, PEEK)
    }

    fn renew(&self, session: SessionKey, policy: &Policy) -> Answer<Verdict> {
        self.verdict(session, policy, NOW)
    }

    fn start(&self, id: &SessionId<'_>, new: &NewSession, policy: &Policy) -> Answer<Started> {
        self.widen(policy.limits);
        let (id, new, policy) = (Id::of(id), new.clone(), *policy);
        self.answer(|store| store.begin(id, new, policy))
    }

    fn adopt(&self, id: &SessionId<'_>, new: &NewSession, policy: &Policy) -> Answer<Adopted> {
        self.widen(policy.limits);
        let (id, new, policy) = (Id::of(id), new.clone(), *policy);
        self.answer(|store| store.adopt_record(id, new, policy))
    }

    fn rotate(
        &self,
        session: SessionKey,
        new: &SessionId<'_>,
        presented: IdTag,
        policy: &Policy,
    ) -> Answer<Rotated> {
        self.widen(policy.limits);
        let (new, policy) = (Id::of(new), *policy);
        self.answer(|store| store.rotate_to(session, new, presented, policy))
    }

    fn restart(&self, session: SessionKey, policy: &Policy) -> Answer<bool> {
        self.widen(policy.limits);
        let policy = *policy;
        self.answer(|store| store.restart_clocks(session, policy))
    }

    fn end(&self, session: SessionKey, reason: EndReason) -> Answer<bool> {
        self.answer(async move |store| store.finish(session, reason, None).await)
    }

    fn sessions_of(&self, owner: &Owner, policy: &Policy) -> Answer<Vec<SessionInfo>> {
        self.widen(policy.limits);
        let (owner, policy) = (owner.clone(), *policy);
        self.answer(async move |store| {
            let listed = store.listed(&owner).await?;
            let asked = listed.into_iter().map(|session| store.info(session, &owner, &policy));
            let answers: Vec<_> = stream::iter(asked).buffer_unordered(AT_ONCE).collect().await;
            answers.into_iter().filter_map(Result::transpose).collect()
        })
    }

    fn end_all(&self, owner: &Owner, except: Option<SessionKey>) -> Answer<usize> {
        let owner = owner.clone();
        self.answer(async move |store| {
            let others = store.listed(&owner).await?.into_iter().filter(|&session| Some(session) != except);
            let ends = others.map(|session| store.finish(session, EndReason::Revoked, Some(&owner)));
            let ended: Vec<_> = stream::iter(ends).buffer_unordered(AT_ONCE).collect().await;
            ended.into_iter().map(|ended| ended.map(usize::from)).sum()
        })
    }

    /// The first layer built on a store is told of the endings it finds. Of one that nobody comes back to nobody hears.
    fn events(&self, sink: EventSink) {
        let _ = self.sink.set(sink);
    }
}

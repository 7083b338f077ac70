//! Sessions in this process's memory.
//!
//! Ids are spread over shards by a keyed 128-bit hash. Each shard is a mutex around a slab of slots and a hash table
//! of slot numbers. A slot holds a session (under its first id) or an alias of one (under a later id). At most one shard
//! is locked at a time, so there is no lock order to keep.

mod owners;
#[cfg(feature = "snapshot")]
mod session_file;
mod shard;
#[cfg(feature = "snapshot")]
mod snapshot;

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use siphasher::sip128::SipHasher24;

use self::{
    owners::Owners,
    shard::{Content, Deferred, Place, Shard, Work, shard_number},
};
use crate::{
    clock::{Clock, SystemClock},
    event::EventSink,
    rules::{
        self, Context, Effects, IdHash, Record, Reissued, Widest,
        decision::{Access, Decision, Live},
        id::{IdTag, Owner, SessionId, SessionKey},
        limits::{EndReason, Limits, Policy, Verdict},
        nanos,
        new_session::{NewSession, SessionInfo, sort_longest_idle_first},
    },
    store::{
        answer::{Adopted, Answer, Restarted, Rotated, Started, StoreError},
        contract::{LayerSettings, Store},
    },
};

const SHARDS: u32 = 64;
const DEFAULT_CAPACITY: usize = 1_000_000;
/// How many slots one ordinary call looks at to clear away what has ended.
const SLOTS_PER_CHECK: u32 = 1;
const SLOTS_PER_START: u32 = 4;
/// How many slots a sweep looks at before it lets others have the shard.
const SLOTS_PER_LOCK: u32 = 256;
/// How many slots of each shard a log-in to a full store looks at in search for room.
const SLOTS_PER_SEARCH: u32 = 32;
/// A session may have a second id, however full the store is.
const IDS_WHEN_FULL: usize = 2;
/// Added to the clock, so that a session older than the clock's origin has a start, too.
const ORIGIN: u64 = 1 << 62;

/// Keeps sessions in memory: for one process. They end with it, unless it saves them for the next one (feature
/// `snapshot`).
///
/// Expiry is judged at every look, so nothing depends on sweeping. Sweeping only frees memory: each ordinary call
/// looks at a slot or a few, [`sweep`](Self::sweep) at all of them, [`sweep_every`](Self::sweep_every) regularly.
///
/// The capacity is hard: when it is full of live sessions, new ones are refused; a live one is never dropped. (Ids of
/// rotated sessions count; a session may always have a second id, so that a rotation never fails for want of room.)
///
/// ```
/// use tower_session_timeout::MemoryStore;
///
/// let store = MemoryStore::new().capacity(100_000);
/// ```
pub struct MemoryStore {
    shards: Box<[Padded]>,
    owners: Owners,
    /// SipHash-2-4: equal hashes are the same session, so this is a MAC's task, not just a hash table's.
    hasher: SipHasher24,
    #[cfg(feature = "snapshot")]
    hash_key: [u8; 16],
    clock: Box<dyn Clock>,
    capacity: usize,
    /// Slots in use, over all shards.
    ids: AtomicUsize,
    /// The most generous limits of all layers, in nanoseconds: a sweep must not end what a layer would admit.
    /// `absolute` is `u64::MAX` for none; both are zero before the first layer.
    widest_idle: AtomicU64,
    widest_absolute: AtomicU64,
    /// The longest idle timeout of a layer that adopts: for so long after its end, a token might begin a session anew.
    /// Zero if there is none.
    adoptable_for: AtomicU64,
    /// In which shard the search for room goes on.
    searched: AtomicUsize,
    /// Set before a save goes through the shards, and looked at under a shard's lock: what was not saved is not done.
    closed: AtomicBool,
    sink: OnceLock<EventSink>,
    #[cfg(feature = "snapshot")]
    taken_over: snapshot::Origin,
}

/// One shard to a pair of cache lines: two cores working on neighbours must not slow each other.
#[repr(align(128))]
struct Padded(Mutex<Shard>);

impl MemoryStore {
    /// An empty store for a million ids, on the [`SystemClock`].
    ///
    /// # Panics
    ///
    /// If the operating system has no random numbers for the hash key.
    #[must_use]
    pub fn new() -> Self {
        let mut key = [0; 16];
        getrandom::fill(&mut key).expect("the operating system gives random numbers");
        Self {
            shards: (0..SHARDS).map(|_| Padded(Mutex::default())).collect(),
            owners: Owners::new(),
            hasher: SipHasher24::new_with_key(&key),
            #[cfg(feature = "snapshot")]
            hash_key: key,
            clock: Box::new(SystemClock),
            capacity: DEFAULT_CAPACITY,
            ids: AtomicUsize::new(0),
            widest_idle: AtomicU64::new(0),
            widest_absolute: AtomicU64::new(0),
            adoptable_for: AtomicU64::new(0),
            searched: AtomicUsize::new(0),
            closed: AtomicBool::new(false),
            sink: OnceLock::new(),
            #[cfg(feature = "snapshot")]
            taken_over: snapshot::Origin::default(),
        }
    }

    /// How many session ids are kept at most. Default: 1,000,000, which take some 100 MB.
    pub fn capacity(self, ids: usize) -> Self {
        Self { capacity: ids, ..self }
    }

    /// The clock to judge by, in place of the [`SystemClock`].
    pub fn clock(self, clock: impl Clock) -> Self {
        Self { clock: Box::new(clock), ..self }
    }

    /// How many ids are kept, those of sessions that ended lately included.
    pub fn len(&self) -> usize {
        self.ids.load(Relaxed)
    }

    /// Whether no id is kept.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Clears away every ended session, a few at a time, and tells of those nobody came back to.
    pub fn sweep(&self) {
        let (widest, keep_ended) = (self.widest(), self.keep_ended());
        for shard in &self.shards {
            let mut from = 0;
            loop {
                let mut deferred = Deferred::default();
                let Ok(mut shard) = self.lock(shard) else { return };
                let now = self.now();
                let until = shard.number_of_slots().min(from + SLOTS_PER_LOCK);
                for slot in from..until {
                    shard.clear(slot, now, widest, keep_ended, &mut deferred);
                }
                let done = until == shard.number_of_slots();
                drop(shard);
                self.finish(deferred);
                if done {
                    break;
                }
                from = until;
            }
        }
    }

    /// Sweeps regularly in a task of its own, until the guard is dropped. Useful if endings should be told in time
    /// although nobody comes back; nothing else needs it.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime, and if the period is zero.
    #[must_use = "sweeping stops when the guard is dropped"]
    pub fn sweep_every(self: &Arc<Self>, period: Duration) -> Sweeper {
        let store = Arc::downgrade(self);
        let mut ticks = tokio::time::interval(period);
        let task = tokio::spawn(async move {
            loop {
                ticks.tick().await;
                let Some(store) = store.upgrade() else { return };
                store.sweep();
            }
        });
        Sweeper(task.abort_handle())
    }

    fn now(&self) -> u64 {
        nanos(self.clock.now()).saturating_add(ORIGIN)
    }

    fn hash(&self, id: &SessionId<'_>) -> IdHash {
        let hash = self.hasher.hash(id.expose());
        IdHash { high: hash.h1, low: hash.h2 }
    }

    fn shard(&self, id: IdHash) -> Result<MutexGuard<'_, Shard>, Closed> {
        self.lock(&self.shards[shard_number(id) as usize])
    }

    fn lock<'a>(&self, shard: &'a Padded) -> Result<MutexGuard<'a, Shard>, Closed> {
        let shard = lock(shard);
        if self.closed.load(Relaxed) { Err(Closed) } else { Ok(shard) }
    }

    fn widen(&self, limits: Limits) {
        let idle = nanos(limits.idle());
        if idle > self.widest_idle.load(Relaxed) {
            self.widest_idle.fetch_max(idle, Relaxed);
        }
        let absolute = limits.absolute().map_or(u64::MAX, nanos);
        if absolute > self.widest_absolute.load(Relaxed) {
            self.widest_absolute.fetch_max(absolute, Relaxed);
        }
    }

    fn widest(&self) -> Widest {
        Widest { idle: self.widest_idle.load(Relaxed), absolute: self.widest_absolute.load(Relaxed) }
    }

    /// For how long ended sessions are remembered.
    fn keep_ended(&self) -> u64 {
        nanos(rules::KEEP_ENDED).max(self.adoptable_for.load(Relaxed))
    }

    fn context<'a>(&self, policy: &'a Policy, now: u64) -> Context<'a> {
        Context { policy, now, widest: self.widest(), granularity: None }
    }

    fn decide(&self, id: IdHash, policy: &Policy, access: Access) -> Result<Decision, Closed> {
        let mut deferred = Deferred::default();
        let mut shard = self.shard(id)?;
        // Read under the lock: a request that had to wait for it is judged by the time it got it.
        let now = self.now();
        let context = self.context(policy, now);
        let mut elsewhere = None;
        let mut decision = Decision::UNKNOWN;
        if let Some(slot) = shard.find(id) {
            let key = shard.key(slot);
            match shard.content(slot) {
                Content::Session(record) => {
                    let mut effects = Effects::default();
                    decision = record.check(id, id, key, access, &context, &mut effects);
                    deferred.add(key, effects);
                }
                Content::Alias(of) => elsewhere = Some(*of),
                Content::Free { .. } => {}
            }
        }
        shard.tidy(SLOTS_PER_CHECK, now, context.widest, self.keep_ended(), &mut deferred);
        drop(shard);
        self.finish(deferred);
        if let Some(key) = elsewhere {
            let check = |record: &mut Record, first_id, now, effects: &mut Effects| {
                record.check(id, first_id, key, access, &self.context(policy, now), effects)
            };
            if let Some(found) = self.with_session(key, check)? {
                decision = found;
            }
        }
        Ok(decision)
    }

    /// Works on a session under its shard's lock. `None` if it is gone, or another has its place.
    fn with_session<T>(
        &self,
        key: SessionKey,
        work: impl FnOnce(&mut Record, IdHash, u64, &mut Effects) -> T,
    ) -> Result<Option<T>, Closed> {
        let mut deferred = Deferred::default();
        let result = self.with_session_deferring(key, &mut deferred, work);
        self.finish(deferred);
        result
    }

    fn with_session_deferring<T>(
        &self,
        key: SessionKey,
        deferred: &mut Deferred,
        work: impl FnOnce(&mut Record, IdHash, u64, &mut Effects) -> T,
    ) -> Result<Option<T>, Closed> {
        let place = Place::of(key);
        let mut effects = Effects::default();
        let Some(shard) = self.shards.get(place.shard as usize) else { return Ok(None) };
        let mut shard = self.lock(shard)?;
        let now = self.now();
        let result = shard.session(place).map(|(first_id, record)| work(record, first_id, now, &mut effects));
        drop(shard);
        deferred.add(key, effects);
        Ok(result)
    }

    /// Tells the events and removes the ids that a change left behind in other shards: with no lock held.
    #[inline]
    fn finish(&self, deferred: Deferred) {
        if let Some(work) = deferred.0 {
            self.do_work(*work);
        }
    }

    #[cold]
    fn do_work(&self, work: Work) {
        #[cfg(feature = "snapshot")]
        {
            self.note_ends(&work.events);
            for &session in &work.retired {
                self.note_rotation(session);
            }
        }
        for (id, key) in work.dropped {
            let Ok(mut shard) = self.shard(id) else { break };
            let Some(slot) = shard.find(id) else { continue };
            let is_its_first_id = shard.key(slot) == key;
            match shard.content(slot) {
                Content::Alias(of) if *of == key => {
                    shard.remove(slot);
                    self.count_out(1);
                }
                // Its slot stays, for the session has other ids.
                Content::Session(_) if is_its_first_id => shard.unlist(slot),
                _ => {}
            }
        }
        for (owner, key) in work.disowned {
            self.owners.remove(&owner, key);
        }
        self.count_out(work.freed);
        if let Some(sink) = self.sink.get() {
            for event in &work.events {
                sink.send(event);
            }
        }
    }

    fn verdict(
        &self,
        session: SessionKey,
        policy: &Policy,
        judge: impl FnOnce(&mut Record, &Context<'_>, &mut Effects) -> Verdict,
    ) -> Answer<Verdict> {
        self.widen(policy.limits);
        let verdict = self.with_session(session, |record, _, now, effects| {
            judge(record, &self.context(policy, now), effects)
        });
        verdict.map(|verdict| verdict.unwrap_or(Verdict::Ended(EndReason::Unknown))).into()
    }

    fn start_hashed(&self, id: IdHash, new: &NewSession, policy: &Policy) -> Result<Started, Closed> {
        if !self.reserve() {
            return Ok(self.already_live(id, policy)?.map_or(Started::AtCapacity, Started::AlreadyLive));
        }
        let mut deferred = Deferred::default();
        let placed = self.listed(new, None, &mut deferred, |deferred| {
            let placed = self.place(id, policy, |now| Content::Session(Record::new(new, now)), deferred)?;
            let key = if let Placed::New(key) = placed { Some(key) } else { None };
            Ok((placed, key))
        });
        self.finish(deferred);
        if !matches!(placed, Ok(Some(Placed::New(_)))) {
            self.count_out(1);
        }
        Ok(match placed? {
            Some(Placed::New(key)) => Started::New(key),
            Some(Placed::LiveAlready(key)) => Started::AlreadyLive(key),
            None => self.already_live(id, policy)?.map_or(Started::TooMany, Started::AlreadyLive),
        })
    }

    /// An id that is live already needs no room, and is no further session.
    fn already_live(&self, id: IdHash, policy: &Policy) -> Result<Option<SessionKey>, Closed> {
        Ok(match self.decide(id, policy, Access::Peek)? {
            Decision::Live(live) => Some(live.key),
            _ => None,
        })
    }

    fn adopt_hashed(&self, id: IdHash, new: &NewSession) -> Result<Adopted, Closed> {
        let has_room = self.reserve();
        let mut deferred = Deferred::default();
        let adopted = self.listed(new, None, &mut deferred, |_| {
            let mut shard = self.shard(id)?;
            let now = self.now();
            Ok(match shard.find(id) {
                Some(_) => (Adopted::Known, None),
                None if !has_room => (Adopted::AtCapacity, None),
                None => {
                    let (_, key) = shard.insert(id, Content::Session(Record::adopted(new, now)));
                    (Adopted::New(key), Some(key))
                }
            })
        });
        self.finish(deferred);
        if !matches!(adopted, Ok(Some(Adopted::New(_)))) {
            self.count_out(usize::from(has_room));
        }
        Ok(adopted?.unwrap_or(Adopted::TooMany))
    }

    /// Begins a session, or one that is `known` anew, and puts it on its owner's list; which others of the owner's that ends is counted with nobody else
    /// at it. `None`: there are too many.
    fn listed<T>(
        &self,
        new: &NewSession,
        known: Option<SessionKey>,
        deferred: &mut Deferred,
        begin: impl FnOnce(&mut Deferred) -> Result<(T, Option<SessionKey>), Closed>,
    ) -> Result<Option<T>, Closed> {
        let Some((owner, limit)) = new.limit() else {
            let (placed, key) = begin(deferred)?;
            if let Some((key, owner)) = key.zip(new.owner.as_ref()) {
                self.owners.add(owner, key);
            }
            return Ok(Some(placed));
        };
        let _one_at_a_time = self.owners.log_in(owner);
        // Live by any layer's limits.
        let widest = Policy::new(self.widest().limits().unwrap_or_default());
        let mut others = self.live_sessions_of(owner, &widest, deferred)?;
        others.retain(|other| Some(other.key) != known);
        let Some(to_end) = limit.to_end(others.len()) else { return Ok(None) };
        let (placed, key) = begin(deferred)?;
        if let Some(key) = key {
            self.owners.add(owner, key);
            sort_longest_idle_first(&mut others);
            for SessionInfo { key, .. } in others.drain(..to_end) {
                self.with_session_deferring(key, deferred, |record, _, now, effects| {
                    record.end(EndReason::Revoked, now, effects)
                })?;
            }
        }
        Ok(Some(placed))
    }

    fn live_sessions_of(
        &self,
        owner: &Owner,
        policy: &Policy,
        deferred: &mut Deferred,
    ) -> Result<Vec<SessionInfo>, Closed> {
        let sessions = self.owners.sessions_of(owner).into_iter();
        let live = sessions.filter_map(|key| {
            let info = self.with_session_deferring(key, deferred, |record, _, now, effects| {
                record.info(key, &self.context(policy, now), effects)
            });
            info.map(Option::flatten).transpose()
        });
        live.collect()
    }

    /// Puts `content` under `id`, unless a live session is there.
    fn place(
        &self,
        id: IdHash,
        policy: &Policy,
        content: impl Fn(u64) -> Content,
        deferred: &mut Deferred,
    ) -> Result<Placed, Closed> {
        // Once round for almost everybody; again only if another request took the id in between.
        loop {
            let mut shard = self.shard(id)?;
            let now = self.now();
            shard.tidy(SLOTS_PER_START, now, self.widest(), self.keep_ended(), deferred);
            let mut elsewhere = None;
            if let Some(slot) = shard.find(id) {
                let key = shard.key(slot);
                match shard.content(slot) {
                    Content::Session(record) => {
                        let mut effects = Effects::default();
                        let is_live = record.is_live_under(id, id, policy, now, &mut effects);
                        let has_ended = record.ended_at().is_some();
                        if !is_live && !has_ended {
                            // It lives on under newer ids; this one is superseded and may begin anew.
                            record.forget(id, id);
                            shard.unlist(slot);
                        }
                        deferred.add(key, effects);
                        if is_live {
                            return Ok(Placed::LiveAlready(key));
                        }
                        if has_ended {
                            shard.free(slot, deferred);
                        }
                    }
                    Content::Alias(of) => elsewhere = Some(*of),
                    Content::Free { .. } => {}
                }
            }
            if let Some(of) = elsewhere {
                drop(shard);
                let is_live =
                    self.with_session_deferring(of, deferred, |record, first_id, now, effects| {
                        let is_live = record.is_live_under(id, first_id, policy, now, effects);
                        if !is_live {
                            record.forget(id, first_id);
                        }
                        is_live
                    })?;
                if is_live == Some(true) {
                    return Ok(Placed::LiveAlready(of));
                }
                shard = self.shard(id)?;
                let Some(slot) = shard.find(id) else { continue };
                if !matches!(shard.content(slot), Content::Alias(still) if *still == of) {
                    continue;
                }
                shard.remove(slot);
                deferred.work().freed += 1;
            }
            let (_, key) = shard.insert(id, content(now));
            return Ok(Placed::New(key));
        }
    }

    /// Makes `id` an alias of this session.
    fn join(&self, session: SessionKey, id: IdHash, policy: &Policy) -> Result<Rotated, Closed> {
        let mut deferred = Deferred::default();
        let placed = self.place(id, policy, |_| Content::Alias(session), &mut deferred);
        self.finish(deferred);
        if let Placed::LiveAlready(_) = placed? {
            // Live already, under another session: it may leave, and keeps that session's clocks.
            return Ok(Rotated::AlreadyLive);
        }
        // Counted although the store may be full: a rotation is never refused for want of room.
        let is_full = self.ids.fetch_add(1, Relaxed) >= self.capacity;
        let room = if is_full { IDS_WHEN_FULL } else { usize::MAX };
        let joined = self.with_session(session, |record, first_id, now, effects| {
            let is_over = record.end_if_expired(policy, now, effects);
            if !is_over {
                record.add_id(id, first_id, now, room, effects);
            }
            !is_over
        })?;
        if joined == Some(true) {
            #[cfg(feature = "snapshot")]
            self.note_rotation(session);
            return Ok(Rotated::New);
        }
        // It ended in between.
        self.do_work(Work { dropped: vec![(id, session)], ..Work::default() });
        Ok(Rotated::Refused)
    }

    /// Counts one more id in, unless the store is full and no room is found.
    fn reserve(&self) -> bool {
        let one_more = |ids| (ids < self.capacity).then_some(ids + 1);
        let counted_in = || self.ids.fetch_update(Relaxed, Relaxed, one_more).is_ok();
        counted_in() || self.shards.iter().any(|_| self.make_room() && counted_in())
    }

    /// Clears away ended sessions, which are the first to go when room is short, in a part of the next shard: no log-in
    /// pays for a look at the whole store.
    fn make_room(&self) -> bool {
        let next = self.searched.fetch_add(1, Relaxed) % self.shards.len();
        let Ok(mut shard) = self.lock(&self.shards[next]) else { return false };
        let mut deferred = Deferred::default();
        let now = self.now();
        let keep_ended = self.adoptable_for.load(Relaxed);
        shard.tidy(SLOTS_PER_SEARCH, now, self.widest(), keep_ended, &mut deferred);
        drop(shard);
        self.finish(deferred);
        self.ids.load(Relaxed) < self.capacity
    }

    fn count_out(&self, ids: usize) {
        if ids > 0 {
            self.ids.fetch_sub(ids, Relaxed);
        }
    }
}

/// A panic cannot leave a shard half changed (no foreign code runs under its lock), so poison says nothing.
fn lock(shard: &Padded) -> MutexGuard<'_, Shard> {
    shard.0.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What became of an id that was to be placed.
enum Placed {
    New(SessionKey),
    LiveAlready(SessionKey),
}

/// The store was saved: it answers nobody any more.
struct Closed;

impl<T> From<Result<T, Closed>> for Answer<T> {
    fn from(result: Result<T, Closed>) -> Self {
        Self::Ready(
            result.map_err(|Closed| StoreError::new("the sessions were saved, and this store is closed")),
        )
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore")
            .field("len", &self.len())
            .field("capacity", &self.capacity)
            .field("clock", &self.clock)
            .finish_non_exhaustive()
    }
}

impl Store for MemoryStore {
    fn check(&self, id: &SessionId<'_>, policy: &Policy, access: Access) -> Answer<Decision> {
        self.widen(policy.limits);
        self.decide(self.hash(id), policy, access).into()
    }

    fn remaining(&self, session: SessionKey, policy: &Policy) -> Answer<Verdict> {
        self.verdict(session, policy, |record, context, effects| record.look(context, effects).0)
    }

    fn renew(&self, session: SessionKey, ago: Duration, policy: &Policy) -> Answer<Verdict> {
        self.verdict(session, policy, |record, context, effects| record.renew(ago, context, effects))
    }

    fn start(&self, id: &SessionId<'_>, new: &NewSession, policy: &Policy) -> Answer<Started> {
        self.widen(policy.limits);
        self.start_hashed(self.hash(id), new, policy).into()
    }

    fn adopt(&self, id: &SessionId<'_>, new: &NewSession, policy: &Policy) -> Answer<Adopted> {
        self.widen(policy.limits);
        self.adoptable_for.fetch_max(nanos(policy.limits.idle()), Relaxed);
        self.adopt_hashed(self.hash(id), new).into()
    }

    fn rotate(
        &self,
        session: SessionKey,
        new: &SessionId<'_>,
        presented: IdTag,
        policy: &Policy,
    ) -> Answer<Rotated> {
        let id = self.hash(new);
        self.widen(policy.limits);
        let known = self.with_session(session, |record, first_id, now, effects| {
            let is_presented = id.tag() == presented;
            if record.end_if_expired(policy, now, effects) {
                Reissued::Stale
            } else {
                record.reissue(id, first_id, is_presented, policy.rotation_grace, now)
            }
        });
        let rotated = known.and_then(|known| match known {
            None | Some(Reissued::Stale) => Ok(Rotated::Refused),
            Some(Reissued::Works) => Ok(Rotated::AlreadyLive),
            Some(Reissued::New) => self.join(session, id, policy),
        });
        rotated.into()
    }

    fn restart(&self, session: SessionKey, new: &NewSession, policy: &Policy) -> Answer<Restarted> {
        self.widen(policy.limits);
        let mut deferred = Deferred::default();
        let restarted = self.listed(new, Some(session), &mut deferred, |deferred| {
            let restarted =
                self.with_session_deferring(session, deferred, |record, first_id, now, effects| {
                    let is_over = record.end_if_expired(policy, now, effects);
                    if !is_over {
                        record.restart(first_id, new, now, effects);
                    }
                    (!is_over).then(|| record.owner() == new.owner.as_ref())
                })?;
            Ok(match restarted.flatten() {
                Some(is_its_owners) => (Restarted::Done, is_its_owners.then_some(session)),
                None => (Restarted::Ended, None),
            })
        });
        self.finish(deferred);
        restarted.map(|restarted| restarted.unwrap_or(Restarted::TooMany)).into()
    }

    fn release(&self, session: SessionKey) {
        let _ = self.with_session(session, |record, _, now, _| record.release(now));
    }

    fn withdraw(&self, live: &Live) -> Answer<()> {
        self.with_session(live.key, |record, _, _, _| record.withdraw(live)).map(drop).into()
    }

    fn end(&self, session: SessionKey, reason: EndReason) -> Answer<bool> {
        let ended = self.with_session(session, |record, _, now, effects| record.end(reason, now, effects));
        ended.map(|ended| ended == Some(true)).into()
    }

    fn end_by(&self, session: SessionKey, presented: IdTag, reason: EndReason) -> Answer<bool> {
        let ended = self.with_session(session, |record, _, now, effects| {
            !record.is_superseded(presented) && record.end(reason, now, effects)
        });
        ended.map(|ended| ended == Some(true)).into()
    }

    fn tag(&self, id: &SessionId<'_>) -> Option<IdTag> {
        Some(self.hash(id).tag())
    }

    fn sessions_of(&self, owner: &Owner, policy: &Policy) -> Answer<Vec<SessionInfo>> {
        self.widen(policy.limits);
        let mut deferred = Deferred::default();
        let live = self.live_sessions_of(owner, policy, &mut deferred);
        self.finish(deferred);
        live.into()
    }

    fn end_all(&self, owner: &Owner, except: Option<SessionKey>) -> Answer<usize> {
        let widest = self.widest();
        let others = self.owners.sessions_of(owner).into_iter().filter(|&key| Some(key) != except);
        let ended = others.map(|key| {
            let end = |record: &mut Record, _, now, effects: &mut Effects| {
                record.end_if_expired_for_all(widest, now, effects);
                record.end(EndReason::Revoked, now, effects)
            };
            self.with_session(key, end).map(|ended| usize::from(ended == Some(true)))
        });
        ended.sum::<Result<_, _>>().into()
    }

    fn attach(&self, layer: &LayerSettings) -> Result<(), StoreError> {
        self.widen(layer.limits);
        if layer.adopts {
            self.adoptable_for.fetch_max(nanos(layer.limits.idle()), Relaxed);
        }
        Ok(())
    }

    /// The first layer built on a store is told of its endings.
    fn events(&self, sink: EventSink) {
        let _ = self.sink.set(sink);
    }
}

/// Stops the sweeping begun by [`MemoryStore::sweep_every`] when it is dropped.
#[derive(Debug)]
pub struct Sweeper(tokio::task::AbortHandle);

impl Drop for Sweeper {
    fn drop(&mut self) {
        self.0.abort();
    }
}

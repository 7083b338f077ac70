//! Sessions in this process's memory.
//!
//! Ids are spread over shards by a keyed 128-bit hash. Each shard is a mutex around a slab of slots and a hash table
//! of slot numbers. A slot holds a session (under its first id) or leads to one (under a later id). At most one shard
//! is locked at a time, so there is no lock order to keep.

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use hashbrown::HashTable;
use siphasher::sip128::SipHasher13;

use super::{Access, Answer, Decision, Live, NewSession, Rotated, Started, Store};
use crate::{
    Clock, EndReason, EventSink, IdTag, Limits, Owner, Policy, SessionEvent, SessionId, SessionKey,
    SystemClock, Verdict,
};

const SHARDS: usize = 64;
const MAX_IDS_PER_SESSION: usize = 64;
const DEFAULT_CAPACITY: usize = 1_000_000;
/// How long an ended session keeps its reason.
const KEEP_ENDED: u64 = nanos(Duration::from_secs(5 * 60));
/// How many slots one ordinary call looks at to clear away what is over.
const SLOTS_PER_CHECK: usize = 1;
const SLOTS_PER_START: usize = 4;
/// How many slots a sweep looks at before it lets others have the shard.
const SLOTS_PER_LOCK: usize = 256;
/// A full store is not searched for room more often than this, however many new sessions are asked for.
const FULL_SWEEP_INTERVAL: u64 = nanos(Duration::from_secs(1));
/// Added to the clock, so that a session older than the clock's origin has a start, too.
const ORIGIN: u64 = 1 << 62;

const fn nanos(duration: Duration) -> u64 {
    let nanos = duration.as_nanos();
    if nanos > u64::MAX as u128 { u64::MAX } else { nanos as u64 }
}

/// Keeps sessions in memory: for one process. They end with it.
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
    hasher: SipHasher13,
    clock: Box<dyn Clock>,
    capacity: usize,
    /// Slots in use, over all shards.
    ids: AtomicUsize,
    /// The most generous limits any layer has asked by, in nanoseconds: a sweep must not end what a layer would
    /// admit. `absolute` is `u64::MAX` for none; both are zero before the first question.
    widest_idle: AtomicU64,
    widest_absolute: AtomicU64,
    last_full_sweep: AtomicU64,
    sink: OnceLock<EventSink>,
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
            hasher: SipHasher13::new_with_key(&key),
            clock: Box::new(SystemClock),
            capacity: DEFAULT_CAPACITY,
            ids: AtomicUsize::new(0),
            widest_idle: AtomicU64::new(0),
            widest_absolute: AtomicU64::new(0),
            last_full_sweep: AtomicU64::new(0),
            sink: OnceLock::new(),
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

    /// Clears away every session that is over, a few at a time, and tells of those nobody came back to.
    pub fn sweep(&self) {
        self.sweep_all(KEEP_ENDED);
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

    fn sweep_all(&self, keep_ended: u64) {
        let widest = self.widest();
        for shard in &self.shards {
            let mut from = 0;
            loop {
                let mut aftermath = Aftermath::default();
                let mut shard = lock(shard);
                let now = self.now();
                let until = shard.slots.len().min(from + SLOTS_PER_LOCK);
                for slot in from..until {
                    shard.clear(slot, now, widest, keep_ended, &mut aftermath);
                }
                let done = until == shard.slots.len();
                drop(shard);
                self.follow_up(aftermath);
                if done {
                    break;
                }
                from = until;
            }
        }
    }

    fn now(&self) -> u64 {
        nanos(self.clock.now()).saturating_add(ORIGIN)
    }

    fn hash(&self, id: &SessionId<'_>) -> IdHash {
        let hash = self.hasher.hash(id.expose());
        IdHash { bucket: hash.h1, shard: hash.h2 }
    }

    fn shard(&self, id: IdHash) -> MutexGuard<'_, Shard> {
        lock(&self.shards[id.shard_number()])
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

    fn widest(&self) -> Option<Limits> {
        let idle = Duration::from_nanos(self.widest_idle.load(Relaxed));
        match self.widest_absolute.load(Relaxed) {
            0 => None,
            u64::MAX => Some(Limits::idle_only(idle)),
            absolute => Some(Limits::new(idle, Duration::from_nanos(absolute))),
        }
    }

    fn decide(&self, id: IdHash, policy: &Policy, access: Access) -> Decision {
        let mut aftermath = Aftermath::default();
        let mut shard = self.shard(id);
        // Read under the lock: a request that had to wait for it is judged by the time it got it.
        let now = self.now();
        let mut elsewhere = None;
        let mut decision = Decision::Ended(EndReason::Unknown);
        if let Some(slot) = shard.find(id) {
            let key = shard.key(id, slot);
            match &mut shard.slots[slot].content {
                Content::Session(session) => {
                    decision = session.check(id, key, policy, access, now, &mut aftermath);
                }
                Content::Leads(to) => elsewhere = Some(*to),
                Content::Free { .. } => {}
            }
        }
        shard.tidy(SLOTS_PER_CHECK, now, self.widest(), &mut aftermath);
        drop(shard);
        self.follow_up(aftermath);
        if let Some(key) = elsewhere {
            let check = |session: &mut Session, _, now, aftermath: &mut Aftermath| {
                session.check(id, key, policy, access, now, aftermath)
            };
            if let Some(found) = self.with_session(key, check) {
                decision = found;
            }
        }
        decision
    }

    /// Works on a session under its shard's lock. `None` if it is gone, or another has its place.
    fn with_session<T>(
        &self,
        key: SessionKey,
        work: impl FnOnce(&mut Session, IdHash, u64, &mut Aftermath) -> T,
    ) -> Option<T> {
        let place = Place::of(key);
        let mut aftermath = Aftermath::default();
        let mut shard = lock(self.shards.get(place.shard as usize)?);
        let now = self.now();
        let result =
            shard.session(place).map(|(first_id, session)| work(session, first_id, now, &mut aftermath));
        drop(shard);
        self.follow_up(aftermath);
        result
    }

    /// Tells the events and removes the ids that a change left behind in other shards: with no lock held.
    fn follow_up(&self, aftermath: Aftermath) {
        for (id, key) in aftermath.orphans {
            let mut shard = self.shard(id);
            if let Some(slot) = shard.find(id) {
                let leads_there = match shard.slots[slot].content {
                    Content::Leads(to) => to == key,
                    Content::Session(_) => {
                        // The session's first id: its slot stays, for the session has other ids.
                        if shard.key(id, slot) == key {
                            shard.unlist(slot);
                        }
                        false
                    }
                    Content::Free { .. } => false,
                };
                if leads_there {
                    shard.remove(slot);
                    self.count_out(1);
                }
            }
        }
        self.count_out(aftermath.freed);
        if let Some(sink) = self.sink.get() {
            for event in &aftermath.events {
                sink.send(event);
            }
        }
    }

    /// Puts `content` under `id`, unless a live session is there: then that one's key.
    fn place(
        &self,
        id: IdHash,
        policy: &Policy,
        content: impl Fn(u64) -> Content,
    ) -> Result<SessionKey, SessionKey> {
        // Once round for almost everybody; again only if another request took the id in between.
        loop {
            let mut aftermath = Aftermath::default();
            let mut shard = self.shard(id);
            let now = self.now();
            shard.tidy(SLOTS_PER_START, now, self.widest(), &mut aftermath);
            let mut elsewhere = None;
            if let Some(slot) = shard.find(id) {
                let key = shard.key(id, slot);
                match &mut shard.slots[slot].content {
                    Content::Session(session) => {
                        if session.is_live(id, policy, now, &mut aftermath) {
                            drop(shard);
                            self.follow_up(aftermath);
                            return Err(key);
                        }
                        if session.has_ended() {
                            shard.free(slot, &mut aftermath);
                        } else {
                            // It lives on under newer ids; this one is superseded and may begin anew.
                            session.forget(id);
                            shard.unlist(slot);
                        }
                    }
                    Content::Leads(to) => elsewhere = Some(*to),
                    Content::Free { .. } => {}
                }
            }
            if let Some(to) = elsewhere {
                drop(shard);
                self.follow_up(std::mem::take(&mut aftermath));
                let live =
                    self.with_session(to, |session, _, now, after| session.is_live(id, policy, now, after));
                if live == Some(true) {
                    return Err(to);
                }
                shard = self.shard(id);
                let Some(slot) = shard.find(id) else { continue };
                if !matches!(shard.slots[slot].content, Content::Leads(still) if still == to) {
                    continue;
                }
                shard.remove(slot);
                aftermath.freed += 1;
            }
            let slot = shard.insert(id, content(now));
            let key = shard.key(id, slot);
            drop(shard);
            self.follow_up(aftermath);
            return Ok(key);
        }
    }

    /// Counts one more id in, unless the store is full: then after a search for room.
    fn reserve(&self) -> bool {
        let one_more = |ids| (ids < self.capacity).then_some(ids + 1);
        if self.ids.fetch_update(Relaxed, Relaxed, one_more).is_ok() {
            return true;
        }
        let now = self.now();
        let last = self.last_full_sweep.load(Relaxed);
        let due = last == 0 || now.saturating_sub(last) >= FULL_SWEEP_INTERVAL;
        if due && self.last_full_sweep.compare_exchange(last, now, Relaxed, Relaxed).is_ok() {
            // Ended sessions are the first to go when room is short.
            self.sweep_all(0);
        }
        self.ids.fetch_update(Relaxed, Relaxed, one_more).is_ok()
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
        Answer::Ready(Ok(self.decide(self.hash(id), policy, access)))
    }

    fn start(&self, id: &SessionId<'_>, new: &NewSession, policy: &Policy) -> Answer<Started> {
        let id = self.hash(id);
        self.widen(policy.limits);
        if !self.reserve() {
            // Full; but an id that is live already needs no room.
            let started = match self.decide(id, policy, Access::Peek) {
                Decision::Live(live) => Started::AlreadyLive(live.key),
                _ => Started::AtCapacity,
            };
            return Answer::Ready(Ok(started));
        }
        let started = match self.place(id, policy, |now| Content::Session(Session::new(new, now))) {
            Ok(key) => Started::New(key),
            Err(live) => {
                self.count_out(1);
                Started::AlreadyLive(live)
            }
        };
        Answer::Ready(Ok(started))
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
        let known = self.with_session(session, |session, first_id, now, aftermath| {
            let is_presented = id.tag() == presented;
            session.live_limits(policy, now, aftermath).map(|_| session.reissue(id, first_id, is_presented))
        });
        Answer::Ready(Ok(match known.flatten() {
            None | Some(Reissue::Stale) => Rotated::Refused,
            Some(Reissue::Works) => Rotated::AlreadyLive,
            Some(Reissue::New) => match self.place(id, policy, |_| Content::Leads(session)) {
                // Live already, under another session: it may leave, and keeps that session's clocks.
                Err(_) => Rotated::AlreadyLive,
                Ok(_) => {
                    // Counted although the store may be full: a rotation is never refused for want of room.
                    let full = self.ids.fetch_add(1, Relaxed) >= self.capacity;
                    let joined = self.with_session(session, |joined, first_id, now, aftermath| {
                        let live = joined.live_limits(policy, now, aftermath).is_some();
                        if live {
                            joined.add_id(id, first_id, session, now, full, aftermath);
                        } else {
                            aftermath.orphans.push((id, session));
                        }
                        live
                    });
                    if joined.is_none() {
                        self.follow_up(Aftermath { orphans: vec![(id, session)], ..Aftermath::default() });
                    }
                    if joined == Some(true) { Rotated::New } else { Rotated::Refused }
                }
            },
        }))
    }

    fn restart(&self, session: SessionKey, policy: &Policy) -> Answer<bool> {
        self.widen(policy.limits);
        let restarted = self.with_session(session, |record, _, now, aftermath| {
            let live = record.live_limits(policy, now, aftermath).is_some();
            if live {
                record.started = now;
                record.state = State::Live { active: now };
                record.drop_superseded(session, aftermath);
            }
            live
        });
        Answer::Ready(Ok(restarted == Some(true)))
    }

    fn end(&self, session: SessionKey, reason: EndReason) -> Answer<bool> {
        let ended = self.with_session(session, |session, _, now, aftermath| {
            let live = !session.has_ended();
            session.end(reason, now, aftermath);
            live
        });
        Answer::Ready(Ok(ended == Some(true)))
    }

    /// The first layer built on a store is told of its endings.
    fn events(&self, sink: EventSink) {
        let _ = self.sink.set(sink);
    }
}

/// What a change left to do once no lock is held.
#[derive(Default)]
struct Aftermath {
    events: Vec<SessionEvent>,
    /// Ids that lead to a session no longer.
    orphans: Vec<(IdHash, SessionKey)>,
    /// Slots freed already, not yet taken off the count.
    freed: usize,
}

/// A keyed hash of a session id: all that is kept of it.
#[derive(Clone, Copy, PartialEq, Eq)]
struct IdHash {
    bucket: u64,
    shard: u64,
}

impl IdHash {
    fn shard_number(self) -> usize {
        (self.shard % SHARDS as u64) as usize
    }

    fn tag(self) -> IdTag {
        IdTag::new(self.shard.to_le_bytes())
    }
}

/// Where a session's slot is. The generation tells it from later tenants of the slot.
#[derive(Clone, Copy)]
struct Place {
    generation: u64,
    shard: u32,
    slot: u32,
}

impl Place {
    fn of(key: SessionKey) -> Self {
        let bytes = u128::from_le_bytes(key.to_bytes());
        Self { generation: bytes as u64, shard: (bytes >> 64) as u32, slot: (bytes >> 96) as u32 }
    }

    fn key(self) -> SessionKey {
        let bytes = u128::from(self.generation) | u128::from(self.shard) << 64 | u128::from(self.slot) << 96;
        SessionKey::new(bytes.to_le_bytes())
    }
}

#[derive(Default)]
struct Shard {
    table: HashTable<u32>,
    slots: Vec<Slot>,
    /// The first free slot; free slots are chained. `slots.len()` if there is none.
    free: usize,
    generations: u64,
    /// Where tidying goes on.
    tidied: usize,
}

struct Slot {
    id: IdHash,
    generation: u64,
    content: Content,
}

enum Content {
    Free {
        next: usize,
    },
    /// A later id of a session whose slot is in its first id's shard.
    Leads(SessionKey),
    Session(Session),
}

impl Shard {
    fn find(&self, id: IdHash) -> Option<usize> {
        self.table.find(id.bucket, |&slot| self.slots[slot as usize].id == id).map(|&slot| slot as usize)
    }

    fn key(&self, id: IdHash, slot: usize) -> SessionKey {
        let shard = id.shard_number() as u32;
        Place { generation: self.slots[slot].generation, shard, slot: slot as u32 }.key()
    }

    fn session(&mut self, place: Place) -> Option<(IdHash, &mut Session)> {
        match self.slots.get_mut(place.slot as usize) {
            Some(Slot { id, generation, content: Content::Session(session) })
                if *generation == place.generation =>
            {
                Some((*id, session))
            }
            _ => None,
        }
    }

    fn insert(&mut self, id: IdHash, content: Content) -> usize {
        self.generations += 1;
        let filled = Slot { id, generation: self.generations, content };
        let slot = self.free;
        match self.slots.get_mut(slot) {
            Some(free) => {
                self.free = match free.content {
                    Content::Free { next } => next,
                    _ => unreachable!("the free list holds free slots only"),
                };
                *free = filled;
            }
            None => {
                self.slots.push(filled);
                self.free = self.slots.len();
            }
        }
        let slots = &self.slots;
        self.table.insert_unique(id.bucket, slot as u32, |&slot| slots[slot as usize].id.bucket);
        slot
    }

    /// Takes a slot out of the table: its id leads there no longer.
    fn unlist(&mut self, slot: usize) {
        let bucket = self.slots[slot].id.bucket;
        if let Ok(entry) = self.table.find_entry(bucket, |&listed| listed as usize == slot) {
            entry.remove();
        }
    }

    fn remove(&mut self, slot: usize) -> Content {
        self.unlist(slot);
        let next = std::mem::replace(&mut self.free, slot);
        std::mem::replace(&mut self.slots[slot].content, Content::Free { next })
    }

    /// Frees a session's slot and leaves its other ids to the aftermath.
    fn free(&mut self, slot: usize, aftermath: &mut Aftermath) {
        let key = self.key(self.slots[slot].id, slot);
        if let Content::Session(Session { rare: Some(rare), .. }) = self.remove(slot) {
            aftermath.orphans.extend(rare.ids.iter().map(|issued| (issued.id, key)));
        }
        aftermath.freed += 1;
    }

    /// Looks at the next few slots and clears away what is over.
    fn tidy(&mut self, slots: usize, now: u64, widest: Option<Limits>, aftermath: &mut Aftermath) {
        for _ in 0..slots {
            let slot = if self.tidied < self.slots.len() { self.tidied } else { 0 };
            self.tidied = slot + 1;
            self.clear(slot, now, widest, KEEP_ENDED, aftermath);
        }
    }

    fn clear(
        &mut self,
        slot: usize,
        now: u64,
        widest: Option<Limits>,
        keep_ended: u64,
        aftermath: &mut Aftermath,
    ) {
        let Some(Slot { content: Content::Session(session), .. }) = self.slots.get_mut(slot) else { return };
        if let Some(limits) = session.own_limits().or(widest) {
            session.live_limits(&Policy::new(limits), now, aftermath);
        }
        if let State::Ended { at, .. } = session.state
            && now.saturating_sub(at) >= keep_ended
        {
            self.free(slot, aftermath);
        }
    }
}

struct Session {
    started: u64,
    state: State,
    /// What few sessions have, out of the way of those that do not.
    rare: Option<Box<Rare>>,
}

#[derive(Clone, Copy)]
enum State {
    Live { active: u64 },
    Ended { at: u64, reason: EndReason },
}

#[derive(Default)]
struct Rare {
    limits: Option<Limits>,
    owner: Option<Owner>,
    /// In the order they were issued. Empty as long as there is only the first.
    ids: Vec<IssuedId>,
}

struct IssuedId {
    id: IdHash,
    used: bool,
    /// Set once a newer id is in use: the end of this one's grace.
    works_until: Option<u64>,
}

/// What issuing an id again means.
enum Reissue {
    New,
    Works,
    Stale,
}

impl Session {
    fn new(new: &NewSession, now: u64) -> Self {
        let rare = (new.owner.is_some() || new.limits.is_some())
            .then(|| Box::new(Rare { limits: new.limits, owner: new.owner.clone(), ids: Vec::new() }));
        Self { started: now.saturating_sub(nanos(new.age)), state: State::Live { active: now }, rare }
    }

    fn own_limits(&self) -> Option<Limits> {
        self.rare.as_ref().and_then(|rare| rare.limits)
    }

    fn has_ended(&self) -> bool {
        matches!(self.state, State::Ended { .. })
    }

    fn age(&self, now: u64) -> Duration {
        Duration::from_nanos(now.saturating_sub(self.started))
    }

    fn check(
        &mut self,
        id: IdHash,
        key: SessionKey,
        policy: &Policy,
        access: Access,
        now: u64,
        aftermath: &mut Aftermath,
    ) -> Decision {
        let (verdict, idle_for) = match self.judge(policy, now, aftermath) {
            Ok(live) => live,
            Err(reason) => return Decision::Ended(reason),
        };
        if self.is_superseded(id, now) {
            return Decision::Ended(EndReason::Superseded);
        }
        let mut remaining = match verdict {
            Verdict::Live(remaining) => remaining,
            Verdict::Capped(reason) | Verdict::Over(reason) => return Decision::Capped(reason),
        };
        let age = self.age(now);
        if access == Access::Renew {
            self.state = State::Live { active: now };
            self.supersede_older_than(id, now.saturating_add(nanos(policy.rotation_grace)));
            remaining = policy.renewed(self.own_limits(), age);
        }
        let owner = self.rare.as_ref().and_then(|rare| rare.owner.clone());
        Decision::Live(Live::new(key, id.tag(), idle_for, age, remaining).with_owner(owner))
    }

    /// Judges by both clocks, and ends the session if it is over.
    fn judge(
        &mut self,
        policy: &Policy,
        now: u64,
        aftermath: &mut Aftermath,
    ) -> Result<(Verdict, Duration), EndReason> {
        let active = match self.state {
            State::Live { active } => active,
            State::Ended { reason, .. } => return Err(reason),
        };
        let idle_for = Duration::from_nanos(now.saturating_sub(active));
        let verdict = policy.judge(self.own_limits(), idle_for, self.age(now));
        if let Verdict::Over(reason) = verdict {
            self.end(reason, now, aftermath);
            return Err(reason);
        }
        Ok((verdict, idle_for))
    }

    /// `None` if the session is over; a cap does not end it.
    fn live_limits(&mut self, policy: &Policy, now: u64, aftermath: &mut Aftermath) -> Option<Verdict> {
        self.judge(policy, now, aftermath).ok().map(|(verdict, _)| verdict)
    }

    fn is_live(&mut self, id: IdHash, policy: &Policy, now: u64, aftermath: &mut Aftermath) -> bool {
        self.live_limits(policy, now, aftermath).is_some() && !self.is_superseded(id, now)
    }

    fn end(&mut self, reason: EndReason, now: u64, aftermath: &mut Aftermath) {
        let State::Live { active } = self.state else { return };
        self.state = State::Ended { at: now, reason };
        aftermath.events.push(SessionEvent::Ended {
            reason,
            idle_for: Duration::from_nanos(now.saturating_sub(active)),
            age: self.age(now),
            owner: self.rare.as_ref().and_then(|rare| rare.owner.clone()),
        });
    }

    fn ids(&self) -> &[IssuedId] {
        self.rare.as_ref().map_or(&[], |rare| &rare.ids)
    }

    fn ids_mut(&mut self) -> &mut Vec<IssuedId> {
        &mut self.rare.get_or_insert_default().ids
    }

    fn is_superseded(&self, id: IdHash, now: u64) -> bool {
        let issued = self.ids().iter().find(|issued| issued.id == id);
        issued.is_some_and(|issued| issued.works_until.is_some_and(|until| now >= until))
    }

    /// This id is in use: the grace of every older one begins, if it has not yet.
    fn supersede_older_than(&mut self, id: IdHash, works_until: u64) {
        let Some(rare) = &mut self.rare else { return };
        if let Some(newest_used) = rare.ids.iter().position(|issued| issued.id == id) {
            rare.ids[newest_used].used = true;
            for older in &mut rare.ids[..newest_used] {
                older.works_until.get_or_insert(works_until);
            }
        }
    }

    /// The application sets a value that may be an id already.
    fn reissue(&mut self, id: IdHash, first_id: IdHash, is_presented: bool) -> Reissue {
        match self.ids().iter().position(|issued| issued.id == id) {
            None if id == first_id && self.ids().is_empty() => Reissue::Works,
            None if is_presented => Reissue::Stale,
            None => Reissue::New,
            Some(issued) => {
                let ids = self.ids_mut();
                if ids[issued].works_until.is_some() {
                    if is_presented {
                        return Reissue::Stale;
                    }
                    let again = ids.remove(issued);
                    ids.push(IssuedId { used: false, works_until: None, ..again });
                }
                Reissue::Works
            }
        }
    }

    fn forget(&mut self, id: IdHash) {
        self.ids_mut().retain(|issued| issued.id != id);
    }

    fn add_id(
        &mut self,
        id: IdHash,
        first_id: IdHash,
        key: SessionKey,
        now: u64,
        store_is_full: bool,
        aftermath: &mut Aftermath,
    ) {
        let ids = self.ids_mut();
        if ids.is_empty() {
            ids.push(IssuedId { id: first_id, used: true, works_until: None });
        }
        if ids.iter().any(|issued| issued.id == id) {
            return; // A parallel answer set the same value.
        }
        ids.push(IssuedId { id, used: false, works_until: None });
        while ids.len() > MAX_IDS_PER_SESSION || (store_is_full && ids.len() > 2) {
            let newest = ids.len() - 1;
            let dead = |issued: &IssuedId| issued.works_until.is_some_and(|until| now >= until);
            let oldest = ids[..newest]
                .iter()
                .position(dead)
                .or_else(|| ids[..newest].iter().position(|issued| !issued.used))
                .unwrap_or(0);
            aftermath.orphans.push((ids.remove(oldest).id, key));
        }
    }

    fn drop_superseded(&mut self, key: SessionKey, aftermath: &mut Aftermath) {
        let Some(rare) = &mut self.rare else { return };
        let dropped = rare.ids.extract_if(.., |issued| issued.works_until.is_some());
        aftermath.orphans.extend(dropped.map(|issued| (issued.id, key)));
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

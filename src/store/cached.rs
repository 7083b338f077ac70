//! What a process remembers of a store's answers, so that most requests cost no round trip.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use hashbrown::HashTable;
use siphasher::sip128::SipHasher24;
use tokio::runtime::Handle;

use crate::{
    clock::{Clock, SystemClock},
    event::EventSink,
    rules::{
        IdHash,
        decision::{Access, Decision, Live},
        id::{IdTag, Owner, SessionId, SessionKey},
        limits::{EndReason, Policy, Verdict},
        nanos,
        new_session::{NewSession, SessionInfo},
    },
    store::{
        answer::{Adopted, Answer, Restarted, Rotated, Started, StoreError},
        contract::{Companion, EndLater, LayerSettings, RequestStore, Store},
    },
};

const DEFAULT_CAPACITY: usize = 100_000;
const SHARDS: usize = 64;
/// A window is no longer than this part of what the session has left as idle: so within it no session can have ended
/// as idle, and what was active in it is told in time.
const PART_OF_IDLE: u32 = 4;
const ATTEMPTS: u32 = 3;

/// A store on a network, asked once in a while instead of with every request.
///
/// When the store says that a session is live, this process takes its word for it for a short time, the window: requests
/// with the same id are let in without asking, and once the window has ended, the store is told of the last activity among them: with the next request, or by itself after
/// as long again.
/// The window is at most a quarter of what the session has left as idle.
///
/// In exchange,
///
/// - a session that was ended by another process is let in here until the window ends. What this process ends has ended here
///   at once. So is an id that was superseded, wherever, if the rotation grace is shorter than the window;
/// - an activity is known to the others at most two windows later. If this process dies before, it is lost, and the session may
///   end as idle that much early. It never ends late: neither by the idle timeout nor by the absolute one;
/// - what is told as remaining is what is sure, without the activities the store has yet to hear of.
///
/// It pays where requests of one session come to the same process again ("sticky sessions"): then a session takes about
/// one command in a window, however many its requests. Else it costs what it saves.
///
/// Ids are kept as a keyed hash (SipHash-2-4, 128 bits, a random key in each process).
///
/// `RedisStore::cached` makes one; so does [`CachedStore::new`], of any store.
pub struct CachedStore<S>(Arc<Shared<S>>);

struct Shared<S> {
    store: S,
    window: Duration,
    capacity: usize,
    clock: Box<dyn Clock>,
    hasher: SipHasher24,
    shards: Box<[Mutex<HashTable<Entry>>]>,
    /// How long a layer waits for an answer, in nanoseconds; zero before there is one.
    deadline: AtomicU64,
    /// How many ids are remembered, over all shards.
    ids: AtomicUsize,
    /// Numbers the windows.
    windows: AtomicU64,
    /// When the last change was, in nanoseconds: nearly every look is younger, and needs no list.
    last_change: AtomicU64,
    changes: Mutex<Changes>,
}

/// When sessions were ended or restarted here: what the store said before that is out of date.
#[derive(Default)]
struct Changes {
    of: HashMap<Changed, Duration>,
    in_order: VecDeque<(Duration, Changed)>,
}

#[derive(Clone, PartialEq, Eq, Hash)]
enum Changed {
    Session(SessionKey),
    /// Some session of this owner's, or all.
    OneOf(Owner),
    /// Some session, nobody knows which.
    One,
}

/// What the store said of an id.
struct Entry {
    id: IdHash,
    window: u64,
    live: Live,
    policy: Policy,
    /// The moment before it was asked: what it said was true then or later.
    asked: Duration,
    until: Duration,
    /// The last activity, and whether the store has yet to hear of it.
    active: Duration,
    is_untold: bool,
    noted: Noted,
}

/// What the store has noted: what is more is told at once.
#[derive(Clone, Copy, PartialEq, PartialOrd)]
enum Noted {
    Nothing,
    /// That the client has this id.
    Id,
    Activity,
}

impl Noted {
    fn of(access: Access) -> Self {
        match access {
            Access::Peek => Self::Nothing,
            Access::Passive => Self::Id,
            Access::Renew | Access::Hold | Access::RenewAgo(_) => Self::Activity,
        }
    }

    fn is_enough_for(self, access: Access) -> bool {
        self >= Self::of(access)
    }
}

impl Changes {
    fn of(&self, session: SessionKey) -> Option<Duration> {
        self.of.get(&Changed::Session(session)).copied()
    }

    fn came_after(&self, asked: Duration, live: &Live) -> bool {
        let of_owner = live.owner.as_ref().and_then(|owner| self.of.get(&Changed::OneOf(owner.clone())));
        let last = self.of(live.key).max(of_owner.copied()).max(self.of.get(&Changed::One).copied());
        last.is_some_and(|changed| asked <= changed)
    }

    fn add(&mut self, changed: Changed, now: Duration, window: Duration) {
        while self.in_order.front().is_some_and(|(when, _)| when.saturating_add(window) < now)
            && let Some((when, oldest)) = self.in_order.pop_front()
        {
            if self.of.get(&oldest) == Some(&when) {
                self.of.remove(&oldest);
            }
        }
        self.of.insert(changed.clone(), now);
        self.in_order.push_back((now, changed));
    }
}

impl Entry {
    /// The session as of now, if this is still to be believed.
    fn live(&self, now: Duration, policy: &Policy, access: Access) -> Option<Live> {
        let asked_under = Policy { cap: None, ..*policy };
        if now >= self.until || self.policy != asked_under || !self.noted.is_enough_for(access) {
            return None;
        }
        let elapsed = now.saturating_sub(self.asked);
        let idle_for = now.saturating_sub(self.active);
        let age = self.live.age().saturating_add(elapsed);
        let mut remaining = self.live.remaining();
        remaining.idle = remaining.idle.saturating_sub(elapsed);
        remaining.absolute = remaining.absolute.map(|absolute| absolute.saturating_sub(elapsed));
        if let Some(cap) = policy.cap {
            // Whether it refuses is for the store to say, which knows of all activity.
            let Verdict::Live(capped) = Policy::new(cap).judge(None, idle_for, age) else { return None };
            remaining = remaining.min(capped);
        }
        let id_age = self.live.id_age().saturating_add(elapsed);
        let live = Live::new(self.live.key, self.live.presented, idle_for, age, remaining);
        Some(live.with_id_age(id_age).with_owner(self.live.owner.clone()))
    }

    fn activity(&mut self, at: Duration) {
        if at > self.active {
            self.active = at;
            self.is_untold = true;
        }
    }
}

impl<S: Store> CachedStore<S> {
    /// Takes this store's word for `window`, or for a quarter of what a session has left as idle if that is shorter. At
    /// most 100,000 ids are remembered.
    ///
    /// # Panics
    ///
    /// If the operating system has no random numbers for the hash key.
    pub fn new(store: S, window: Duration) -> Self {
        let mut key = [0; 16];
        getrandom::fill(&mut key).expect("the operating system gives random numbers");
        Self(Arc::new(Shared {
            store,
            window,
            capacity: DEFAULT_CAPACITY,
            clock: Box::new(SystemClock),
            hasher: SipHasher24::new_with_key(&key),
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            deadline: AtomicU64::new(0),
            ids: AtomicUsize::new(0),
            windows: AtomicU64::new(0),
            last_change: AtomicU64::new(0),
            changes: Mutex::default(),
        }))
    }

    /// How many ids are remembered at most. Requests with others ask the store.
    ///
    /// # Panics
    ///
    /// If the store was cloned or asked before.
    pub fn capacity(self, ids: usize) -> Self {
        self.with(|shared| shared.capacity = ids)
    }

    /// The clock to tell the time by, in place of the [`SystemClock`].
    ///
    /// # Panics
    ///
    /// If the store was cloned or asked before.
    pub fn clock(self, clock: impl Clock) -> Self {
        self.with(|shared| shared.clock = Box::new(clock))
    }

    fn with(mut self, set: impl FnOnce(&mut Shared<S>)) -> Self {
        set(Arc::get_mut(&mut self.0).expect("a store is configured before it is cloned or asked"));
        self
    }
}

impl<S> Shared<S> {
    fn hash(&self, id: &SessionId<'_>) -> IdHash {
        let hash = self.hasher.hash(id.expose());
        IdHash { high: hash.h1, low: hash.h2 }
    }

    #[expect(clippy::cast_possible_truncation, reason = "there are few shards")]
    fn shard(&self, id: IdHash) -> MutexGuard<'_, HashTable<Entry>> {
        let shard = &self.shards[id.low as usize % SHARDS];
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn changes(&self) -> MutexGuard<'_, Changes> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn changed_since(&self, asked: Duration, live: &Live) -> bool {
        nanos(asked) <= self.last_change.load(Relaxed) && self.changes().came_after(asked, live)
    }

    fn has_untold(&self, id: IdHash, window: u64) -> bool {
        let is_it = |entry: &Entry| entry.id == id && entry.window == window;
        self.shard(id).find(id.high, is_it).is_some_and(|entry| entry.is_untold)
    }

    fn take(&self, id: IdHash, is_it: impl Fn(&Entry) -> bool) -> Option<Entry> {
        let mut shard = self.shard(id);
        let entry = shard.find_entry(id.high, |entry| entry.id == id && is_it(entry)).ok()?;
        let (entry, _) = entry.remove();
        drop(shard);
        self.ids.fetch_sub(1, Relaxed);
        Some(entry)
    }

    fn change(&self, changed: Changed) {
        let now = self.clock.now();
        self.changes().add(changed, now, self.window);
        self.last_change.fetch_max(nanos(now), Relaxed);
    }
}

impl<S: Store> Shared<S> {
    fn remembered(&self, id: IdHash, policy: &Policy, access: Access) -> Option<Live> {
        let now = self.clock.now();
        let mut shard = self.shard(id);
        let entry = shard.find_mut(id.high, |entry| entry.id == id)?;
        let live = entry.live(now, policy, access)?;
        if self.changed_since(entry.asked, &live) {
            return None;
        }
        match access {
            Access::Renew | Access::Hold => entry.activity(now),
            Access::RenewAgo(ago) => entry.activity(now.saturating_sub(ago)),
            Access::Passive | Access::Peek => {}
        }
        Some(live)
    }

    async fn ask(
        self: Arc<Self>,
        id: SessionId<'static>,
        policy: Policy,
        access: Access,
    ) -> Result<Decision, StoreError> {
        let asked = self.clock.now();
        let decision = self.store.check(&id, &policy, access).await?;
        let id = self.hash(&id);
        match &decision {
            Decision::Live(live) if policy.cap.is_none() => {
                let active = match access {
                    Access::Renew | Access::Hold => asked,
                    Access::RenewAgo(ago) => asked.saturating_sub(ago.min(live.idle_for())),
                    Access::Passive | Access::Peek => asked.saturating_sub(live.idle_for()),
                };
                self.open_window(Entry {
                    id,
                    window: self.windows.fetch_add(1, Relaxed),
                    live: live.clone(),
                    policy,
                    asked,
                    until: Duration::ZERO,
                    active,
                    is_untold: false,
                    noted: Noted::of(access),
                });
            }
            Decision::Ended { .. } => drop(self.take(id, |_| true)),
            Decision::Live(_) | Decision::Capped(_) => {}
        }
        Ok(decision)
    }

    /// From when the store was asked on.
    fn open_window(self: &Arc<Self>, mut entry: Entry) {
        let Ok(runtime) = Handle::try_current() else { return };
        let left = entry.live.remaining();
        let left = left.absolute.unwrap_or(Duration::MAX).min(left.idle / PART_OF_IDLE);
        let left = left.min(Duration::from_nanos(entry.live.works_for));
        entry.until = entry.asked.saturating_add(self.window.min(left));
        let (id, window, until, entry_asked) = (entry.id, entry.window, entry.until, entry.asked);
        let now = self.clock.now();
        if now >= until || self.changed_since(entry.asked, &entry.live) {
            return;
        }
        let mut shard = self.shard(id);
        if let Some(before) = shard.find_mut(id.high, |entry| entry.id == id) {
            if before.live.key == entry.live.key && before.active > entry.active {
                (entry.active, entry.is_untold) = (before.active, before.is_untold);
            }
            *before = entry;
        } else {
            let one_more = |ids| (ids < self.capacity).then_some(ids + 1);
            if self.ids.fetch_update(Relaxed, Relaxed, one_more).is_err() {
                return;
            }
            shard.insert_unique(id.high, entry, |entry| entry.id.high);
        }
        drop(shard);
        let cache = Arc::clone(self);
        let end = tokio::time::sleep(until.saturating_sub(now));
        let asked = entry_asked;
        runtime.spawn(async move {
            end.await;
            cache.close_window(id, window, until.saturating_sub(asked)).await;
        });
    }

    /// A layer waits no longer than its deadline; nor does this, for what nobody answers has to be told again.
    async fn in_time<T: Send + 'static>(&self, answer: Answer<T>) -> Result<T, StoreError> {
        let deadline = Duration::from_nanos(self.deadline.load(Relaxed));
        if deadline.is_zero() {
            return answer.await;
        }
        let late = |_| Err(StoreError::new("no answer within the deadline"));
        tokio::time::timeout(deadline, answer.into_future()).await.unwrap_or_else(late)
    }

    /// Tells the store what it has missed, unless a request does that: only a question about this very id opens another
    /// window, for a newer one may have superseded it.
    async fn close_window(self: Arc<Self>, id: IdHash, window: u64, lasted: Duration) {
        if self.has_untold(id, window) {
            tokio::time::sleep(lasted).await;
        }
        let entry = self.take(id, |entry| entry.window == window);
        let Some(entry @ Entry { is_untold: true, .. }) = entry else { return };
        for attempt in 0..ATTEMPTS {
            if self.changes().of(entry.live.key).is_some_and(|changed| entry.asked <= changed) {
                // It has ended or begun anew since, or what is untold was no activity.
                return;
            }
            let asked = self.clock.now();
            let ago = asked.saturating_sub(entry.active);
            let told = self.in_time(self.store.renew(entry.live.key, ago, &entry.policy)).await;
            if told.is_ok() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100) * 4_u32.pow(attempt)).await;
        }
    }
}

impl<S> Clone for CachedStore<S> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<S> fmt::Debug for CachedStore<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CachedStore").field("window", &self.0.window).finish_non_exhaustive()
    }
}

/// The same answer, after this.
fn after<T: Send + 'static>(answer: Answer<T>, then: impl FnOnce() + Send + 'static) -> Answer<T> {
    match answer {
        Answer::Ready(answer) => {
            then();
            Answer::Ready(answer)
        }
        Answer::Pending(answer) => Answer::Pending(Box::pin(async move {
            let answer = answer.await;
            then();
            answer
        })),
    }
}

impl<S: Store> CachedStore<S> {
    /// What the store said before this was answered may be out of date.
    fn changing<T: Send + 'static>(&self, changed: Changed, answer: Answer<T>) -> Answer<T> {
        self.0.change(changed.clone());
        let shared = Arc::clone(&self.0);
        after(answer, move || shared.change(changed))
    }
}

impl<S: Store> CachedStore<S> {
    /// Others of its owner's may end by it.
    fn beginning<T: Send + 'static>(&self, new: &NewSession, answer: Answer<T>) -> Answer<T> {
        match new.limit() {
            Some((owner, _)) => self.changing(Changed::OneOf(owner.clone()), answer),
            None => answer,
        }
    }
}

impl<S: Store> Store for CachedStore<S> {
    fn check(&self, id: &SessionId<'_>, policy: &Policy, access: Access) -> Answer<Decision> {
        if let Some(live) = self.0.remembered(self.0.hash(id), policy, access) {
            return Answer::Ready(Ok(Decision::Live(live)));
        }
        // What is let in without asking is not released.
        let access = if access == Access::Hold { Access::Renew } else { access };
        let shared = Arc::clone(&self.0);
        Answer::Pending(Box::pin(shared.ask(id.borrowed().into_owned(), *policy, access)))
    }

    fn remaining(&self, session: SessionKey, policy: &Policy) -> Answer<Verdict> {
        self.0.store.remaining(session, policy)
    }

    fn renew(&self, session: SessionKey, ago: Duration, policy: &Policy) -> Answer<Verdict> {
        self.0.store.renew(session, ago, policy)
    }

    fn start(&self, id: &SessionId<'_>, new: &NewSession, policy: &Policy) -> Answer<Started> {
        drop(self.0.take(self.0.hash(id), |_| true));
        self.beginning(new, self.0.store.start(id, new, policy))
    }

    fn adopt(&self, id: &SessionId<'_>, new: &NewSession, policy: &Policy) -> Answer<Adopted> {
        self.beginning(new, self.0.store.adopt(id, new, policy))
    }

    fn rotate(
        &self,
        session: SessionKey,
        new: &SessionId<'_>,
        presented: IdTag,
        policy: &Policy,
    ) -> Answer<Rotated> {
        self.0.store.rotate(session, new, presented, policy)
    }

    fn restart(&self, session: SessionKey, new: &NewSession, policy: &Policy) -> Answer<Restarted> {
        let restarted = self.0.store.restart(session, new, policy);
        self.beginning(new, self.changing(Changed::Session(session), restarted))
    }

    /// What its window has noted is not told, either: an activity in it that stays one is lost, and the session ends early
    /// by no more than the window.
    fn withdraw(&self, live: &Live) -> Answer<()> {
        self.changing(Changed::Session(live.key), self.0.store.withdraw(live))
    }

    fn end_later(&self, id: &SessionId<'_>, reason: EndReason) -> Option<EndLater> {
        let (end, cache, id) = (self.0.store.end_later(id, reason)?, self.clone(), self.0.hash(id));
        Some(Box::new(move || {
            drop(cache.0.take(id, |_| true));
            let (cache, end) = (cache.clone(), end());
            Answer::Pending(Box::pin(async move {
                let ended = end.await?;
                if ended {
                    // Whichever session it was, it may have other ids.
                    cache.0.change(Changed::One);
                }
                Ok(ended)
            }))
        }))
    }

    fn end(&self, session: SessionKey, reason: EndReason) -> Answer<bool> {
        self.changing(Changed::Session(session), self.0.store.end(session, reason))
    }

    fn end_by(&self, session: SessionKey, presented: IdTag, reason: EndReason) -> Answer<bool> {
        self.changing(Changed::Session(session), self.0.store.end_by(session, presented, reason))
    }

    fn tag(&self, id: &SessionId<'_>) -> Option<IdTag> {
        self.0.store.tag(id)
    }

    fn sessions_of(&self, owner: &Owner, policy: &Policy) -> Answer<Vec<SessionInfo>> {
        self.0.store.sessions_of(owner, policy)
    }

    fn end_all(&self, owner: &Owner, except: Option<SessionKey>) -> Answer<usize> {
        self.changing(Changed::OneOf(owner.clone()), self.0.store.end_all(owner, except))
    }

    fn attach(&self, layer: &LayerSettings) -> Result<(), StoreError> {
        self.0.deadline.fetch_max(nanos(layer.deadline), Relaxed);
        self.0.store.attach(layer)
    }

    fn events(&self, sink: EventSink) {
        self.0.store.events(sink);
    }

    fn companions(&self) -> &'static [&'static str] {
        self.0.store.companions()
    }

    fn for_request(&self, cookie: &str, received: Vec<Companion>) -> Option<Arc<dyn RequestStore>> {
        self.0.store.for_request(cookie, received)
    }
}

//! Sessions in a [`Backend`]: the rules of `rules/`, applied to what was loaded, and swapped in.
//!
//! The hash of a session's first id names the session, and its record is kept under it: a session that was never rotated
//! takes one record and one look-up. Under a later id is an alias of the session: two. Each operation changes one record
//! at a time.

mod attempts;
mod begin;
mod concurrent;
mod decide;
mod keys;
mod owners;
mod rotate;

use std::{
    fmt,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use self::{
    attempts::Attempts,
    keys::{hash_of, key_of, key_of_owner},
};
use crate::{
    clock::{Clock, SystemClock},
    event::{EventSink, SessionEvent},
    rules::{
        self, Context, Effects, Granularity, IdHash, Record, Widest,
        codec::{Entry, Kept},
        decision::{Access, Decision, Live},
        id::{IdTag, Owner, SessionId, SessionKey},
        limits::{EndReason, Limits, Policy, Verdict},
        nanos,
        new_session::{NewSession, SessionInfo},
    },
    store::{
        answer::{Adopted, Answer, Foreign, NoRoom, Restarted, Rotated, Started, StoreError},
        backend::{Backend, Key, Loaded, Swap, Swapped},
        contract::{EndLater, LayerSettings, Store},
    },
};

/// Added to the backend's clock, so that a session older than the clock's origin has a start, too.
const ORIGIN: u64 = 1 << 62;
/// How long a layer waits that has not said so.
const DEFAULT_DEADLINE: Duration = Duration::from_millis(500);
/// How long the end of an adopted session is remembered at least: other processes may have longer idle timeouts.
const KEEP_ADOPTED: Duration = Duration::from_secs(24 * 3600);

/// Keeps sessions in a [`Backend`], for several processes that share it.
///
/// A request costs one look-up, two after a rotation. Only what changes a session is written: a log-in, a rotation, an end,
/// and of the activities those that are younger than the last one that was recorded by the
/// [granularity](Self::granularity). It judges by the backend's own clock, so the clocks of the processes do not matter.
///
/// Ids are kept as the first 128 bits of their SHA-256.
///
/// It does not know which requests are in flight: the process that waits for one renews its session three times in an idle
/// timeout, and at its end.
///
/// See [`Backend`] for how to make one of your own.
pub struct SharedStore<B> {
    backend: Arc<B>,
    granularity: Option<Duration>,
    process: Arc<Process>,
}

/// What all clones of a store in this process have in common.
struct Process {
    /// By which this process measures how long an answer took.
    clock: Box<dyn Clock>,
    /// The most generous limits of all layers of this process, in nanoseconds: the backend must not drop what a layer would
    /// admit. `absolute` is `u64::MAX` for none.
    widest_idle: AtomicU64,
    widest_absolute: AtomicU64,
    /// The longest idle timeout of a layer that adopts.
    adoptable_for: AtomicU64,
    /// How long the layers wait for an answer, in nanoseconds.
    deadline: AtomicU64,
    sink: OnceLock<EventSink>,
}

impl<B: Backend> SharedStore<B> {
    /// A store of the sessions in this backend.
    pub fn new(backend: B) -> Self {
        Self::on_clock(backend, SystemClock)
    }

    /// The same, measuring by this clock how long the backend's answers take.
    pub fn on_clock(backend: B, clock: impl Clock) -> Self {
        Self {
            backend: Arc::new(backend),
            granularity: None,
            process: Arc::new(Process {
                clock: Box::new(clock),
                widest_idle: AtomicU64::new(0),
                widest_absolute: AtomicU64::new(0),
                adoptable_for: AtomicU64::new(0),
                deadline: AtomicU64::new(0),
                sink: OnceLock::new(),
            }),
        }
    }

    /// The same, with another backend: for a store whose backend has settings. Not for one a layer has been built on.
    pub fn with_backend(self, backend: B) -> Self {
        Self { backend: Arc::new(backend), ..self }
    }

    /// The same, measuring by this clock how long the backend's answers take.
    #[cfg(feature = "test-util")]
    pub fn clock(self, clock: impl Clock) -> Self
    where
        B: Clone,
    {
        Self { granularity: self.granularity, ..Self::on_clock((*self.backend).clone(), clock) }
    }

    /// How much younger than the recorded one an activity has to be to be recorded in its turn. A session may end
    /// early by that, and what it tells as remaining is what is enforced; a longer one saves writing. Default: a sixtieth
    /// of the idle timeout, at most a minute. More than a quarter of the idle timeout counts as a quarter. Zero records
    /// every one.
    pub fn granularity(self, granularity: Duration) -> Self {
        Self { granularity: Some(granularity), ..self }
    }
}

impl<B> SharedStore<B> {
    /// The backend.
    pub fn backend(&self) -> &B {
        &self.backend
    }
}

impl<B> Clone for SharedStore<B> {
    fn clone(&self) -> Self {
        Self {
            backend: Arc::clone(&self.backend),
            granularity: self.granularity,
            process: Arc::clone(&self.process),
        }
    }
}

impl<B> fmt::Debug for SharedStore<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedStore").field("granularity", &self.granularity).finish_non_exhaustive()
    }
}

/// A record as it was found, and when.
struct Found {
    key: Key,
    bytes: Option<Vec<u8>>,
    entry: Entry,
    now: u64,
    /// By the backend's clock.
    clock: Duration,
}

/// How a change is written.
#[derive(Clone, Copy, PartialEq)]
enum Write {
    /// In time, or not at all: who asked then, by this process's clock, is waiting.
    InTime(Duration),
    /// However late, for it begins a session.
    Start,
    /// However late.
    ByAllMeans,
    /// However late, for it ends a session.
    End,
}

impl<B: Backend> SharedStore<B> {
    fn answer<T, F>(&self, work: impl FnOnce(Self) -> F) -> Answer<T>
    where
        F: Future<Output = Result<T, StoreError>> + Send + 'static,
    {
        Answer::Pending(Box::pin(work(self.clone())))
    }

    fn widen(&self, limits: Limits) {
        self.process.widest_idle.fetch_max(nanos(limits.idle()), Relaxed);
        self.process.widest_absolute.fetch_max(limits.absolute().map_or(u64::MAX, nanos), Relaxed);
    }

    fn widest(&self) -> Limits {
        let Process { widest_idle, widest_absolute, .. } = &*self.process;
        let widest = Widest { idle: widest_idle.load(Relaxed), absolute: widest_absolute.load(Relaxed) };
        widest.limits().unwrap_or_default()
    }

    /// What other processes admit nobody here knows: a look ends nothing.
    fn context<'a>(&self, policy: &'a Policy, now: u64) -> Context<'a> {
        let widest = Widest { idle: 0, absolute: 0 };
        let granularity = Granularity { configured: self.granularity, ..Granularity::default() };
        Context { policy, now, widest, granularity: Some(granularity) }
    }

    /// How long the end of this session is remembered.
    fn keep_ended(&self, record: &Record) -> Duration {
        let adoptable_for = Duration::from_nanos(self.process.adoptable_for.load(Relaxed));
        let own_idle = record.own_limits().map_or(Duration::ZERO, |own| own.idle());
        let kept = rules::KEEP_ENDED.max(adoptable_for);
        if record.is_adopted() { kept.max(KEEP_ADOPTED).max(own_idle) } else { kept }
    }

    async fn load(&self, key: Key) -> Result<Found, StoreError> {
        let (found, is_foreign) = self.load_any(key).await?;
        if is_foreign { Err(StoreError::foreign()) } else { Ok(found) }
    }

    /// What cannot be read, and that was told, is replaced.
    async fn load_or_replace(&self, key: Key) -> Result<Found, StoreError> {
        self.load_any(key).await.map(|(found, _)| found)
    }

    /// Also says whether what is there cannot be read.
    async fn load_any(&self, key: Key) -> Result<(Found, bool), StoreError> {
        let loaded = self.backend.load(key).await;
        let Loaded { record: bytes, now: clock } = loaded.inspect_err(|error| self.tell_if_foreign(error))?;
        let now = nanos(clock).saturating_add(ORIGIN);
        let read = match &bytes {
            None => Some(Entry::default()),
            Some(bytes) => Entry::decode(&key.to_bytes(), bytes),
        };
        let is_foreign = read.is_none();
        if is_foreign {
            self.tell_if_foreign(&StoreError::foreign());
        }
        let mut entry = read.unwrap_or_default();
        // What a backend has not dropped yet is gone all the same.
        entry.alias = entry.alias.take().filter(|alias| now < alias.until);
        entry.record = entry.record.take().filter(|record| now < record.until);
        entry.roster = entry.roster.take().filter(|roster| now < roster.until);
        Ok((Found { key, bytes, entry, now, clock }, is_foreign))
    }

    /// For requests: what cannot be read is no session, and that was told.
    async fn load_known(&self, key: Key) -> Result<Option<Found>, StoreError> {
        match self.load(key).await {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.is::<Foreign>() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The session has ended as far as anybody is concerned; but somebody should look at that backend.
    fn tell_if_foreign(&self, error: &StoreError) {
        if let (true, Some(sink)) = (error.is::<Foreign>(), self.process.sink.get()) {
            sink.send(&SessionEvent::StoreFailed { error: Foreign.to_string() });
        }
    }

    /// Writes an entry in place of the one that was found, if that makes a difference.
    async fn write(&self, found: &Found, mut entry: Entry, write: Write) -> Result<Swapped, StoreError> {
        if let Some(Kept { content: record, until }) = &mut entry.record {
            let kept_until = record.kept_until(self.widest(), self.keep_ended(record));
            // Another process may have more generous limits: what it said is kept, and moves on with the session.
            let before = found.entry.record.as_ref().map_or(record.latest(), |found| found.content.latest());
            let moved = record.latest().saturating_sub(before);
            *until = until.saturating_add(moved).max(kept_until);
        }
        if entry == found.entry && entry.is_empty() == found.bytes.is_none() {
            return Ok(Swapped::Done);
        }
        let until = entry.kept_until();
        let record = (!entry.is_empty()).then(|| entry.encode(&found.key.to_bytes()));
        let not_after = match write {
            Write::InTime(asked) => {
                let left = self.deadline().saturating_sub(self.process.clock.now().saturating_sub(asked));
                Some(found.clock.saturating_add(left))
            }
            Write::Start | Write::ByAllMeans | Write::End => None,
        };
        let swap = Swap {
            key: found.key,
            expected: found.bytes.clone(),
            record,
            keep_for: Duration::from_nanos(until.saturating_sub(found.now)),
            not_after,
            begins: write == Write::Start,
            ends: write == Write::End,
        };
        self.backend.swap(swap).await
    }

    /// How long a layer waits for an answer.
    fn deadline(&self) -> Duration {
        match self.process.deadline.load(Relaxed) {
            0 => DEFAULT_DEADLINE,
            deadline => Duration::from_nanos(deadline),
        }
    }

    /// For as long as others are in the way.
    fn attempts(&self) -> Attempts<'_> {
        Attempts::new(&*self.process.clock, self.deadline())
    }

    /// Applies a transition to the session under this key, until that is what is written down. What the transition says
    /// counts as well if there is no room to write it down; then its record is left as it was.
    async fn change<T>(
        &self,
        session: Key,
        write: Write,
        mut transition: impl FnMut(&mut Record, u64, &mut Effects) -> T,
    ) -> Result<Option<(T, Swapped, Vec<IdHash>)>, StoreError> {
        let mut attempts = self.attempts();
        while attempts.next().await {
            let Some(found) = self.load_known(session).await? else { return Ok(None) };
            let mut entry = found.entry.clone();
            let Some(Kept { content: record, .. }) = &mut entry.record else { return Ok(None) };
            record.set_back_to(found.now);
            let mut effects = Effects::default();
            let said = transition(record, found.now, &mut effects);
            let ends = effects.ended.is_some();
            let write = if ends { Write::End } else { write };
            let mut swapped = self.write(&found, entry.clone(), write).await?;
            if swapped == Swapped::Full && ends && self.may_forget(&entry) {
                // There is always room for less.
                swapped = self.write(&found, Entry { record: None, ..entry }, Write::End).await?;
            }
            if swapped == Swapped::Lost {
                continue;
            }
            if swapped == Swapped::Done {
                self.finish_end(session, effects.ended).await;
            }
            return Ok(Some((said, swapped, effects.dropped)));
        }
        Err(contended())
    }

    /// Whether the end of this session need not be remembered.
    fn may_forget(&self, entry: &Entry) -> bool {
        let is_adopted = entry.record.as_ref().is_some_and(|record| record.content.is_adopted());
        entry.alias.is_none() && !is_adopted && self.process.adoptable_for.load(Relaxed) == 0
    }

    /// Takes it off its owner's list, and tells of it.
    async fn finish_end(&self, session: Key, ended: Option<Box<rules::EndedNow>>) {
        let Some(ended) = ended else { return };
        if let Some(owner) = &ended.owner {
            // Else it is struck off by a later log-in.
            let _ = self.backend.strike(key_of_owner(owner), vec![session]).await;
        }
        if let Some(sink) = self.process.sink.get() {
            let session = SessionKey::new(session.to_bytes());
            sink.send(&SessionEvent::ended(session, *ended));
        }
    }
}

fn contended() -> StoreError {
    StoreError::new("others keep changing this session")
}

fn full() -> StoreError {
    StoreError::new("there is no room to write this down")
}

impl<B: Backend> Store for SharedStore<B> {
    fn check(&self, id: &SessionId<'_>, policy: &Policy, access: Access) -> Answer<Decision> {
        self.widen(policy.limits);
        let (id, policy) = (key_of(id), *policy);
        self.answer(|store| store.decide(id, policy, access))
    }

    fn remaining(&self, session: SessionKey, policy: &Policy) -> Answer<Verdict> {
        self.widen(policy.limits);
        let (session, policy) = (Key::new(session.to_bytes()), *policy);
        self.answer(async move |store| store.look_at(session, &policy).await)
    }

    fn renew(&self, session: SessionKey, ago: Duration, policy: &Policy) -> Answer<Verdict> {
        self.widen(policy.limits);
        let (session, policy) = (Key::new(session.to_bytes()), *policy);
        let asked = self.process.clock.now();
        self.answer(async move |store| {
            let renewed = store
                .change(session, Write::InTime(asked), |record, now, effects| {
                    let as_recorded =
                        record.clone().look(&store.context(&policy, now), &mut Effects::default()).0;
                    let mut context = store.context(&policy, now);
                    // It was that long ago as this was asked, and the way here took its time.
                    let under_way = store.process.clock.now().saturating_sub(asked);
                    if let Some(granularity) = &mut context.granularity {
                        granularity.at_least = under_way;
                    }
                    (record.renew(ago.saturating_add(under_way), &context, effects), as_recorded)
                })
                .await?;
            if matches!(renewed, Some(((Verdict::Live(_), _), ..))) && ago.is_zero() {
                store.keep_aliases(session).await?;
            }
            Ok(match renewed {
                None => Verdict::Ended(EndReason::Unknown),
                Some(((_, as_recorded), Swapped::Full, _)) => as_recorded,
                Some(((verdict, _), ..)) => verdict,
            })
        })
    }

    fn start(&self, id: &SessionId<'_>, new: &NewSession, policy: &Policy) -> Answer<Started> {
        self.widen(policy.limits);
        let (id, new, policy) = (key_of(id), new.clone(), *policy);
        self.answer(async move |store| match store.begin(id, new, policy).await {
            Err(error) if error.is::<NoRoom>() => Ok(Started::AtCapacity),
            started => started,
        })
    }

    fn adopt(&self, id: &SessionId<'_>, new: &NewSession, policy: &Policy) -> Answer<Adopted> {
        self.widen(policy.limits);
        self.process.adoptable_for.fetch_max(nanos(policy.limits.idle()), Relaxed);
        let (id, new, policy) = (key_of(id), new.clone(), *policy);
        self.answer(async move |store| match store.adopt_session(id, new, policy).await {
            Err(error) if error.is::<NoRoom>() => Ok(Adopted::AtCapacity),
            adopted => adopted,
        })
    }

    fn rotate(
        &self,
        session: SessionKey,
        new: &SessionId<'_>,
        presented: IdTag,
        policy: &Policy,
    ) -> Answer<Rotated> {
        self.widen(policy.limits);
        let (session, new, policy) = (Key::new(session.to_bytes()), key_of(new), *policy);
        let is_presented = hash_of(new).tag() == presented;
        self.answer(|store| store.rotate_to(session, new, is_presented, policy))
    }

    fn restart(&self, session: SessionKey, new: &NewSession, policy: &Policy) -> Answer<Restarted> {
        self.widen(policy.limits);
        let (session, new, policy) = (Key::new(session.to_bytes()), new.clone(), *policy);
        self.answer(async move |store| {
            store.list_owner(session, &new, &policy).await?;
            let restarted = store
                .change(session, Write::ByAllMeans, |record, now, effects| {
                    let is_over = record.end_if_expired(&policy, now, effects);
                    let was_owned = record.owner().is_some();
                    if !is_over {
                        record.restart(hash_of(session), &new, now, effects);
                    }
                    (!is_over, was_owned)
                })
                .await?;
            let Some(((true, was_owned), swapped, dropped)) = restarted else { return Ok(Restarted::Ended) };
            if swapped == Swapped::Full {
                return Err(full());
            }
            store.drop_aliases(session, dropped).await;
            store.keep_aliases(session).await?;
            if let (Some((owner, limit)), false) = (new.limit(), was_owned)
                && !store.enrol(session, owner, limit, new.limits).await?
            {
                store.change(session, Write::ByAllMeans, |record, _, _| record.disown()).await?;
                return Ok(Restarted::TooMany);
            }
            Ok(Restarted::Done)
        })
    }

    fn withdraw(&self, live: &Live) -> Answer<()> {
        let (live, asked) = (live.clone(), self.process.clock.now());
        self.answer(async move |store| {
            let session = Key::new(live.key.to_bytes());
            let withdrawn =
                store.change(session, Write::InTime(asked), |record, _, _| record.withdraw(&live));
            withdrawn.await.map(drop)
        })
    }

    fn end_later(&self, id: &SessionId<'_>, reason: EndReason) -> Option<EndLater> {
        let (store, id) = (self.clone(), key_of(id));
        let asked = self.process.clock.now();
        Some(Box::new(move || {
            store.answer(async move |store| {
                let Some(found) = store.load_known(id).await? else { return Ok(false) };
                // Not one that has begun under this id since.
                let passed = nanos(store.process.clock.now().saturating_sub(asked));
                let meant = found.now.saturating_sub(passed);
                let session = found.entry.alias.map_or(id, |alias| Key::new(alias.content));
                store.finish(session, reason, |record| !record.began_after(meant)).await
            })
        }))
    }

    fn end(&self, session: SessionKey, reason: EndReason) -> Answer<bool> {
        let session = Key::new(session.to_bytes());
        self.answer(async move |store| store.finish(session, reason, |_| true).await)
    }

    fn end_by(&self, session: SessionKey, presented: IdTag, reason: EndReason) -> Answer<bool> {
        let session = Key::new(session.to_bytes());
        self.answer(async move |store| {
            store.finish(session, reason, |record| !record.is_superseded(presented)).await
        })
    }

    fn tag(&self, id: &SessionId<'_>) -> Option<IdTag> {
        Some(hash_of(key_of(id)).tag())
    }

    fn sessions_of(&self, owner: &Owner, policy: &Policy) -> Answer<Vec<SessionInfo>> {
        self.widen(policy.limits);
        let (owner, policy) = (owner.clone(), *policy);
        self.answer(async move |store| {
            let listed = store.backend.listed(key_of_owner(&owner)).await?;
            store.live_sessions(listed, &owner, &policy).await
        })
    }

    fn end_all(&self, owner: &Owner, except: Option<SessionKey>) -> Answer<usize> {
        let owner = owner.clone();
        // To its end, though who asked may not wait so long.
        self.answer(async move |store| {
            tokio::spawn(store.end_all_of(owner, except)).await.map_err(StoreError::new)?
        })
    }

    fn attach(&self, layer: &LayerSettings) -> Result<(), StoreError> {
        self.widen(layer.limits);
        self.process.deadline.fetch_max(nanos(layer.deadline), Relaxed);
        self.backend.attach(layer);
        if layer.adopts {
            self.process.adoptable_for.fetch_max(nanos(layer.limits.idle()), Relaxed);
        }
        Ok(())
    }

    /// The first layer built on a store is told of the endings it finds. Of one that nobody comes back to nobody hears.
    fn events(&self, sink: EventSink) {
        let _ = self.process.sink.set(sink);
    }
}

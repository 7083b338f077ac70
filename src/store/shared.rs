//! Sessions in a [`Backend`]: the rules of `rules/`, applied to what was loaded, and swapped in.
//!
//! The hash of a session's first id names the session, and its record is kept under it: a session that was never rotated
//! takes one record and one look-up. Under a later id is an alias of the session: two. Each operation changes one record
//! at a time.

use std::{
    fmt,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use sha2::{Digest, Sha256};
use tokio::task::JoinSet;

use crate::{
    clock::{Clock, SystemClock},
    event::{EventSink, SessionEvent},
    rules::{
        self, Context, Effects, Granularity, IdHash, Record, Reissued, Widest,
        codec::{Entry, Kept},
        decision::{Access, Decision, Live},
        id::{IdTag, Owner, SessionId, SessionKey},
        limits::{EndReason, Limits, Policy, Verdict},
        nanos,
        new_session::{MaxSessions, NewSession, SessionInfo, sort_longest_idle_first},
    },
    store::{
        answer::{Adopted, Answer, Foreign, NoOwners, NoRoom, Restarted, Rotated, Started, StoreError},
        backend::{Backend, Key, Loaded, Swap, Swapped},
        contract::{EndLater, LayerSettings, Store},
    },
};

/// Added to the backend's clock, so that a session older than the clock's origin has a start, too.
const ORIGIN: u64 = 1 << 62;
/// How often a record is at least loaded again that others change at the same time; and then for as long as a layer waits.
const ATTEMPTS: u32 = 10;
const MOST_ATTEMPTS: u32 = 200;
/// How long a layer waits that has not said so.
const DEFAULT_DEADLINE: Duration = Duration::from_millis(500);
const SHORTEST_PAUSE: Duration = Duration::from_millis(1);
/// How long the end of an adopted session is remembered at least: other processes may have longer idle timeouts.
const KEEP_ADOPTED: Duration = Duration::from_secs(24 * 3600);
/// How long an owner's list is kept after the last log-in, if all its sessions end by then.
const OWNERS_LIST: Duration = Duration::from_secs(400 * 24 * 3600);
/// How long an owner's roster is kept, if a session on it may last for ever.
const ROSTER_WITHOUT_ABSOLUTE: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
/// Of how many sessions a roster is made that was not kept from the first on.
const LONGEST_ROSTER: usize = 1024;
/// How many of an owner's sessions are asked about at the same time.
const AT_ONCE: usize = 32;

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

/// What became of an id that is to be an alias.
enum Placed {
    Done,
    /// It is an id of this live session already.
    Live(Key),
    Full,
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
        let clock = &*self.process.clock;
        Attempts { clock, began: clock.now(), deadline: self.deadline(), number: 0 }
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

    async fn decide(self, id: Key, policy: Policy, access: Access) -> Result<Decision, StoreError> {
        let asked = self.process.clock.now();
        // When the request came, by the backend's clock: a second attempt is no later activity.
        let mut came = None;
        let mut attempts = self.attempts();
        while attempts.next().await {
            let Some(mut found) = self.load_known(id).await? else { return Ok(Decision::UNKNOWN) };
            let first = *came.get_or_insert(found.now);
            let mut session = id;
            if let Some(alias) = &found.entry.alias {
                session = Key::new(alias.content);
                let Some(of) = self.load_known(session).await? else { return Ok(Decision::UNKNOWN) };
                if access != Access::Peek {
                    self.keep_alias(&found, &of).await?;
                }
                found = of;
            }
            let mut entry = found.entry.clone();
            let Some(Kept { content: record, .. }) = &mut entry.record else { return Ok(Decision::UNKNOWN) };
            let since = Duration::from_nanos(found.now.saturating_sub(first));
            let access = match access {
                Access::Passive => Access::Passive,
                Access::Renew | Access::Hold if since.is_zero() => Access::Renew,
                Access::Renew | Access::Hold => Access::RenewAgo(since),
                // It was that long ago as this was asked, and the way here took its time.
                Access::RenewAgo(ago) => {
                    Access::RenewAgo(ago.saturating_add(self.process.clock.now().saturating_sub(asked)))
                }
                Access::Peek => Access::Peek,
            };
            record.set_back_to(found.now);
            let before = record.clone();
            let mut context = self.context(&policy, found.now);
            if let Some(granularity) = &mut context.granularity {
                granularity.at_least = since;
            }
            let mut effects = Effects::default();
            let key = SessionKey::new(session.to_bytes());
            let decision = record.check(hash_of(id), hash_of(session), key, access, &context, &mut effects);
            if access == Access::Peek {
                return Ok(decision);
            }
            let write = if effects.ended.is_some() { Write::End } else { Write::InTime(asked) };
            match self.write(&found, entry, write).await? {
                Swapped::Done => {
                    self.finish_end(session, effects.ended).await;
                    return Ok(decision);
                }
                Swapped::Lost => {}
                // What is not recorded is not promised.
                Swapped::Full => return Ok(as_recorded(decision, &before, &context)),
            }
        }
        Err(contended())
    }

    /// An alias is kept for as long as it is used.
    async fn keep_alias(&self, found: &Found, of: &Found) -> Result<(), StoreError> {
        let Some(record) = &of.entry.record else { return Ok(()) };
        let mut entry = found.entry.clone();
        let (life, Some(alias)) = (self.alias_life(record.content.own_limits()), &mut entry.alias) else {
            return Ok(());
        };
        // No shorter than its session.
        if alias.until >= record.until && alias.until.saturating_sub(found.now) >= life / 2 {
            return Ok(());
        }
        alias.until = found.now.saturating_add(life).max(record.until);
        // If others change it meanwhile, it is theirs to keep.
        self.write(found, entry, Write::ByAllMeans).await.map(drop)
    }

    /// The session goes on, whichever of its ids is in use: so do they.
    async fn keep_aliases(&self, session: Key) -> Result<(), StoreError> {
        let Some(of) = self.load_known(session).await? else { return Ok(()) };
        let Some(record) = &of.entry.record else { return Ok(()) };
        for id in record.content.working_ids().map(|id| Key::new(id.to_bytes())).filter(|&id| id != session) {
            if let Some(found) = self.load_known(id).await?
                && found.entry.alias.as_ref().is_some_and(|alias| alias.content == session.to_bytes())
            {
                self.keep_alias(&found, &of).await?;
            }
        }
        Ok(())
    }

    /// How long an id is an alias of a session with these limits of its own, in nanoseconds.
    fn alias_life(&self, own: Option<Limits>) -> u64 {
        let limits = own.unwrap_or_else(|| self.widest());
        let session = limits.absolute().unwrap_or_else(|| limits.idle().saturating_mul(2));
        nanos(session.saturating_add(rules::KEEP_ENDED))
    }

    async fn begin(self, id: Key, new: NewSession, policy: Policy) -> Result<Started, StoreError> {
        let started = self.begin_uncounted(id, &new, &policy).await?;
        let is_counted = match started {
            Started::New(session) => self.count_in(id, Key::new(session.to_bytes()), &new).await?,
            Started::AlreadyLive(session) => self.is_counted(Key::new(session.to_bytes()), &new).await?,
            Started::AtCapacity | Started::TooMany => true,
        };
        Ok(if is_counted { started } else { Started::TooMany })
    }

    async fn begin_uncounted(
        &self,
        id: Key,
        new: &NewSession,
        policy: &Policy,
    ) -> Result<Started, StoreError> {
        let mut attempts = self.attempts();
        while attempts.next().await {
            let found = self.load(id).await?;
            if let Some(live) = self.live_session_of(id, &found, policy).await? {
                return Ok(Started::AlreadyLive(SessionKey::new(live.to_bytes())));
            }
            if !found.entry.is_empty() {
                match self.begin_anew(id, new, policy).await? {
                    Some(started) => return Ok(started),
                    None => continue,
                }
            }
            self.list_owner(id, new, policy).await?;
            let record = Record::new(new, found.now);
            let record = Some(Kept { content: record, until: 0 });
            match self.write(&found, Entry { record, ..Entry::default() }, Write::Start).await? {
                Swapped::Done => return Ok(Started::New(SessionKey::new(id.to_bytes()))),
                Swapped::Full => return Ok(Started::AtCapacity),
                Swapped::Lost => {}
            }
        }
        Err(contended())
    }

    /// Something has been here that others may still know by its name: the session gets another one, and the id is an
    /// alias of it. `None`: it has to be tried again.
    async fn begin_anew(
        &self,
        id: Key,
        new: &NewSession,
        policy: &Policy,
    ) -> Result<Option<Started>, StoreError> {
        let mut name = [0; 16];
        getrandom::fill(&mut name).map_err(|_| StoreError::new("no random numbers"))?;
        let session = Key::new(name);
        self.list_owner(session, new, policy).await?;
        let found = self.load(session).await?;
        let mut record = Record::new(new, found.now);
        record.begin_ids_with(hash_of(id));
        let record = Some(Kept { content: record, until: 0 });
        match self.write(&found, Entry { record, ..Entry::default() }, Write::Start).await? {
            Swapped::Done => {}
            Swapped::Full => return Ok(Some(Started::AtCapacity)),
            Swapped::Lost => return Ok(None),
        }
        let placed = self.place(id, session, new.limits, policy).await;
        if !matches!(placed, Ok(Placed::Done)) {
            self.withdraw_start(id, session).await;
        }
        Ok(Some(match placed? {
            Placed::Done => Started::New(SessionKey::new(session.to_bytes())),
            Placed::Live(live) => Started::AlreadyLive(SessionKey::new(live.to_bytes())),
            Placed::Full => Started::AtCapacity,
        }))
    }

    /// Nobody has heard of this session yet, nor will.
    async fn withdraw_start(&self, id: Key, session: Key) {
        let mut attempts = self.attempts();
        while attempts.next().await
            && let Ok(found) = self.load(session).await
        {
            let entry = Entry { record: None, ..found.entry.clone() };
            if self.write(&found, entry, Write::ByAllMeans).await.ok() != Some(Swapped::Lost) {
                break;
            }
        }
        if id != session {
            self.drop_aliases(session, vec![hash_of(id)]).await;
        }
    }

    /// Counts a session among its owner's, if those are limited. `false` if there are too many; then it did not begin.
    async fn count_in(&self, id: Key, session: Key, new: &NewSession) -> Result<bool, StoreError> {
        let Some((owner, limit)) = new.limit() else { return Ok(true) };
        let counted = self.enrol(session, owner, limit, new.limits).await;
        if !matches!(counted, Ok(true)) {
            self.withdraw_start(id, session).await;
        }
        counted
    }

    /// A session that was found live may be one that this very log-in began, if the answer to that was lost.
    async fn is_counted(&self, session: Key, new: &NewSession) -> Result<bool, StoreError> {
        let Some((owner, limit)) = new.limit() else { return Ok(true) };
        match self.info(session, owner, &Policy::new(self.widest())).await? {
            Some(_) => self.enrol(session, owner, limit, new.limits).await,
            None => Ok(true),
        }
    }

    /// Puts a session on its owner's roster, which has no more than the limit. Who is taken off it has ended before, and no
    /// session is answered that is not on it: so there are never more, however many begin at the same time.
    async fn enrol(
        &self,
        session: Key,
        owner: &Owner,
        limit: MaxSessions,
        own: Option<Limits>,
    ) -> Result<bool, StoreError> {
        let key = key_of_roster(owner);
        let mut attempts = self.attempts();
        while attempts.next().await {
            let found = self.load_or_replace(key).await?;
            let enrolled: Vec<Key> = match &found.entry.roster {
                Some(roster) if roster.content.contains(&session.to_bytes()) => return Ok(true),
                Some(roster) => roster.content.iter().copied().map(Key::new).collect(),
                // Nobody has counted before, or what was there is spoiled.
                None => self.listed_sessions(owner).await?,
            };
            let others = enrolled.into_iter().filter(|&other| other != session).collect();
            let mut others = self.live_sessions(others, owner, &Policy::new(self.widest())).await?;
            let Some(to_end) = limit.to_end(others.len()) else { return Ok(false) };
            sort_longest_idle_first(&mut others);
            for ended in others.drain(..to_end) {
                let key = Key::new(ended.key.to_bytes());
                self.finish(key, EndReason::Revoked, |record| record.owner() == Some(owner)).await?;
            }
            let content = others.iter().map(|other| other.key.to_bytes()).chain([session.to_bytes()]);
            let content = content.collect();
            let absolute = own.unwrap_or_else(|| self.widest()).absolute();
            let keep_for = absolute.unwrap_or(ROSTER_WITHOUT_ABSOLUTE).max(OWNERS_LIST);
            let until = found.now.saturating_add(nanos(keep_for));
            let until = found.entry.roster.as_ref().map_or(0, |roster| roster.until).max(until);
            let entry = Entry { roster: Some(Kept { content, until }), ..Entry::default() };
            match self.write(&found, entry, Write::ByAllMeans).await? {
                Swapped::Done => return Ok(true),
                Swapped::Full => return Err(full()),
                Swapped::Lost => {}
            }
        }
        Err(contended())
    }

    /// Of those that are on the owner's list, if there is one.
    async fn listed_sessions(&self, owner: &Owner) -> Result<Vec<Key>, StoreError> {
        match self.backend.listed(key_of_owner(owner)).await {
            Ok(mut listed) => {
                listed.truncate(LONGEST_ROSTER);
                Ok(listed)
            }
            Err(error) if error.is::<NoOwners>() => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// Those of these that are this owner's, and live.
    async fn live_sessions(
        &self,
        sessions: Vec<Key>,
        owner: &Owner,
        policy: &Policy,
    ) -> Result<Vec<SessionInfo>, StoreError> {
        let asked = for_all(sessions, |session| {
            let (store, owner, policy) = (self.clone(), owner.clone(), *policy);
            async move { store.info(session, &owner, &policy).await }
        });
        asked.await.into_iter().filter_map(Result::transpose).collect()
    }

    /// The live session of this id, if there is one. What is found to have expired ends.
    async fn live_session_of(
        &self,
        id: Key,
        found: &Found,
        policy: &Policy,
    ) -> Result<Option<Key>, StoreError> {
        let session = match &found.entry.alias {
            Some(alias) => Key::new(alias.content),
            None if found.entry.record.is_some() => id,
            None => return Ok(None),
        };
        let is_live = self
            .change(session, Write::ByAllMeans, |record, now, effects| {
                record.is_live_under(hash_of(id), hash_of(session), policy, now, effects)
            })
            .await?;
        Ok(is_live.and_then(|(is_live, ..)| is_live.then_some(session)))
    }

    /// Makes the id an alias of this session, and of no other; unless it is an id of a live one.
    async fn place(
        &self,
        id: Key,
        session: Key,
        own: Option<Limits>,
        policy: &Policy,
    ) -> Result<Placed, StoreError> {
        let mut attempts = self.attempts();
        while attempts.next().await {
            let found = self.load(id).await?;
            if found.entry.alias.as_ref().is_some_and(|alias| alias.content == session.to_bytes()) {
                if let Some(of) = self.load_known(session).await? {
                    self.keep_alias(&found, &of).await?;
                }
                return Ok(Placed::Done);
            }
            if let Some(live) = self.live_session_of(id, &found, policy).await? {
                return Ok(Placed::Live(live));
            }
            let mut entry = found.entry.clone();
            if let Some(alias) = &entry.alias {
                let other = Key::new(alias.content);
                self.forget(other, id).await?;
            } else if let Some(Kept { content: record, .. }) = &mut entry.record {
                // It lives on under newer ids, or has ended: this id is another session's.
                record.forget(hash_of(id), hash_of(id));
            }
            let until = found.now.saturating_add(self.alias_life(own));
            entry.alias = (id != session).then(|| Kept { content: session.to_bytes(), until });
            match self.write(&found, entry, Write::ByAllMeans).await? {
                Swapped::Done => return Ok(Placed::Done),
                Swapped::Full => return Ok(Placed::Full),
                Swapped::Lost => {}
            }
        }
        Err(contended())
    }

    async fn forget(&self, session: Key, id: Key) -> Result<(), StoreError> {
        self.change(session, Write::ByAllMeans, |record, _, _| {
            record.forget(hash_of(id), hash_of(session));
        })
        .await
        .map(drop)
    }

    async fn adopt_session(self, id: Key, new: NewSession, policy: Policy) -> Result<Adopted, StoreError> {
        if self.backend.may_evict().await? {
            return Err(StoreError::new(
                "ended sessions could be forgotten to make room: no session can be adopted",
            ));
        }
        let mut attempts = self.attempts();
        while attempts.next().await {
            let found = self.load(id).await?;
            if !found.entry.is_empty() {
                return Ok(Adopted::Known);
            }
            self.list_owner(id, &new, &policy).await?;
            let record = Some(Kept { content: Record::adopted(&new, found.now), until: 0 });
            return Ok(
                match self.write(&found, Entry { record, ..Entry::default() }, Write::Start).await? {
                    Swapped::Done if self.count_in(id, id, &new).await? => {
                        Adopted::New(SessionKey::new(id.to_bytes()))
                    }
                    Swapped::Done => Adopted::TooMany,
                    Swapped::Full => Adopted::AtCapacity,
                    Swapped::Lost => continue,
                },
            );
        }
        Err(contended())
    }

    async fn rotate_to(
        self,
        session: Key,
        new: Key,
        is_presented: bool,
        policy: Policy,
    ) -> Result<Rotated, StoreError> {
        let (id, first_id) = (hash_of(new), hash_of(session));
        let issued = self
            .change(session, Write::ByAllMeans, |record, now, effects| {
                if record.end_if_expired(&policy, now, effects) {
                    return (Reissued::Stale, None);
                }
                let issued = record.reissue(id, first_id, is_presented, policy.rotation_grace, now);
                if matches!(issued, Reissued::New) {
                    record.add_id(id, first_id, now, usize::MAX, effects);
                }
                (issued, record.own_limits())
            })
            .await?;
        let Some(((issued, own), swapped, dropped)) = issued else { return Ok(Rotated::Refused) };
        let rotated = match issued {
            Reissued::Stale => return Ok(Rotated::Refused),
            Reissued::Works => Rotated::AlreadyLive,
            Reissued::New => Rotated::New,
        };
        if swapped == Swapped::Full {
            return Err(full());
        }
        if is_presented {
            // It led here just now.
            return Ok(rotated);
        }
        let placed = self.place(new, session, own, &policy).await;
        self.drop_aliases(session, dropped).await;
        match placed? {
            Placed::Done => Ok(rotated),
            Placed::Live(live) if live == session => Ok(rotated),
            Placed::Live(_) => {
                // Live already, under another session: it may leave, and keeps that session's clocks.
                self.forget(session, new).await?;
                Ok(Rotated::AlreadyLive)
            }
            Placed::Full => {
                self.forget(session, new).await?;
                Err(full())
            }
        }
    }

    /// Removes the aliases of ids that are none of the session's any more. If that fails, they age out.
    async fn drop_aliases(&self, session: Key, ids: Vec<IdHash>) {
        for_all(ids, |id| {
            let store = self.clone();
            async move {
                let Ok(found) = store.load(Key::new(id.to_bytes())).await else { return };
                let is_alias =
                    found.entry.alias.as_ref().is_some_and(|alias| alias.content == session.to_bytes());
                // A record that is there as well is none of this id's any more.
                if is_alias && found.entry.record.is_none() {
                    let _ = store.write(&found, Entry::default(), Write::ByAllMeans).await;
                }
            }
        })
        .await;
    }

    async fn look_at(&self, session: Key, policy: &Policy) -> Result<Verdict, StoreError> {
        let found = self.load_known(session).await?;
        let Some((mut record, now)) = found.and_then(|found| Some((found.entry.record?.content, found.now)))
        else {
            return Ok(Verdict::Ended(EndReason::Unknown));
        };
        record.set_back_to(now);
        Ok(record.look(&self.context(policy, now), &mut Effects::default()).0)
    }

    /// A live session of this owner's.
    async fn info(
        &self,
        session: Key,
        owner: &Owner,
        policy: &Policy,
    ) -> Result<Option<SessionInfo>, StoreError> {
        let found = self.load_known(session).await?;
        let Some((mut record, now)) = found.and_then(|found| Some((found.entry.record?.content, found.now)))
        else {
            return Ok(None);
        };
        record.set_back_to(now);
        if record.owner() != Some(owner) {
            return Ok(None);
        }
        let key = SessionKey::new(session.to_bytes());
        Ok(record.info(key, &self.context(policy, now), &mut Effects::default()))
    }

    async fn finish(
        &self,
        session: Key,
        reason: EndReason,
        is_meant: impl Fn(&Record) -> bool,
    ) -> Result<bool, StoreError> {
        let ended = self
            .change(session, Write::End, |record, now, effects| {
                is_meant(record) && record.end(reason, now, effects)
            })
            .await?;
        match ended {
            Some((true, Swapped::Full, _)) => Err(full()),
            Some((ended, ..)) => Ok(ended),
            None => Ok(false),
        }
    }

    /// Its owner's list first: who ends all sessions of an owner must not miss one.
    async fn list_owner(&self, session: Key, new: &NewSession, policy: &Policy) -> Result<(), StoreError> {
        let Some(owner) = &new.owner else { return Ok(()) };
        let backend = &self.backend;
        let absolute = new.limits.unwrap_or(policy.limits).absolute();
        let keep_for = absolute.is_some_and(|absolute| absolute < OWNERS_LIST).then_some(OWNERS_LIST);
        let list = key_of_owner(owner);
        for old in backend.list(list, session, keep_for).await? {
            // By no layer's limits: others may have laxer ones.
            let found = self.load_known(old).await?;
            let record = found.as_ref().and_then(|found| found.entry.record.as_ref());
            let may_be_live = record.is_some_and(|record| record.content.ended_at().is_none());
            if may_be_live && record.is_some_and(|record| record.content.owner() == Some(owner)) {
                backend.list(list, old, keep_for).await?;
            } else {
                backend.strike(list, vec![old]).await?;
            }
        }
        Ok(())
    }

    async fn end_all_of(self, owner: Owner, except: Option<SessionKey>) -> Result<usize, StoreError> {
        let except = except.map(|except| Key::new(except.to_bytes()));
        let list = key_of_owner(&owner);
        let sessions = self.backend.listed(list).await?;
        let others: Vec<Key> = sessions.into_iter().filter(|&session| Some(session) != except).collect();
        let mut number = 0;
        for some in others.chunks(AT_ONCE) {
            let ends = for_all(some.to_vec(), |session| {
                let (store, owner) = (self.clone(), owner.clone());
                async move { (session, store.end_listed(session, &owner).await) }
            });
            let (mut dead, mut failed) = (Vec::new(), None);
            for (session, end) in ends.await {
                match end {
                    Ok(Listed::EndedNow) => number += 1,
                    Ok(Listed::Dead) => dead.push(session),
                    Ok(Listed::Missing) => {}
                    Err(error) => failed = Some(error),
                }
            }
            // So that who asks again has less to do.
            if !dead.is_empty() {
                self.backend.strike(list, dead).await?;
            }
            if let Some(error) = failed {
                return Err(error);
            }
        }
        Ok(number)
    }

    async fn end_listed(&self, session: Key, owner: &Owner) -> Result<Listed, StoreError> {
        let Some(found) = self.load_known(session).await? else { return Ok(Listed::Dead) };
        let Some(Kept { content: record, .. }) = found.entry.record else { return Ok(Listed::Missing) };
        if record.owner() != Some(owner) || record.ended_at().is_some() {
            return Ok(Listed::Dead);
        }
        let ended = self.finish(session, EndReason::Revoked, |record| record.owner() == Some(owner)).await?;
        Ok(if ended { Listed::EndedNow } else { Listed::Dead })
    }
}

/// What became of a session on an owner's list.
enum Listed {
    EndedNow,
    /// It has ended, or the name is another session's by now.
    Dead,
    /// It may be about to begin.
    Missing,
}

/// What a decision to renew comes to if the renewal could not be written down.
fn as_recorded(decision: Decision, before: &Record, context: &Context<'_>) -> Decision {
    let Decision::Live(mut live) = decision else { return decision };
    if let (Verdict::Live(remaining), _) = before.clone().look(context, &mut Effects::default()) {
        live.remaining = remaining;
    }
    Decision::Live(live)
}

/// How often others were in the way.
struct Attempts<'a> {
    clock: &'a dyn Clock,
    began: Duration,
    deadline: Duration,
    number: u32,
}

impl Attempts<'_> {
    /// Whether there is another one: after a pause of up to twice what one takes, different for each who waits.
    async fn next(&mut self) -> bool {
        let passed = self.clock.now().saturating_sub(self.began);
        if self.number >= ATTEMPTS && (passed >= self.deadline || self.number >= MOST_ATTEMPTS) {
            return false;
        }
        if self.number > 0 {
            let mut random = [0];
            let _ = getrandom::fill(&mut random);
            let longest = (passed / self.number).saturating_mul(2).max(SHORTEST_PAUSE);
            tokio::time::sleep(longest.mul_f32(f32::from(random[0]) / 255.0)).await;
        }
        self.number += 1;
        true
    }
}

async fn for_all<T, R, F>(all: Vec<T>, work: impl Fn(T) -> F) -> Vec<R>
where
    F: Future<Output = R> + Send + 'static,
    R: Send + 'static,
{
    let (mut done, mut under_way) = (Vec::with_capacity(all.len()), JoinSet::new());
    for one in all {
        if under_way.len() == AT_ONCE
            && let Some(Ok(result)) = under_way.join_next().await
        {
            done.push(result);
        }
        under_way.spawn(work(one));
    }
    done.extend(under_way.join_all().await);
    done
}

fn key_of(id: &SessionId<'_>) -> Key {
    key_of_bytes(id.expose())
}

fn key_of_owner(owner: &Owner) -> Key {
    key_of_bytes(owner.as_str().as_bytes())
}

/// No session id has this hash.
fn key_of_roster(owner: &Owner) -> Key {
    let hash = key_of_owner(owner).to_bytes();
    key_of_bytes(&[b"the roster of\0".as_slice(), &hash].concat())
}

fn key_of_bytes(bytes: &[u8]) -> Key {
    let hash: [u8; 32] = Sha256::digest(bytes).into();
    let mut key = [0; 16];
    key.copy_from_slice(&hash[..16]);
    Key::new(key)
}

fn hash_of(key: Key) -> IdHash {
    IdHash::from_bytes(key.to_bytes())
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

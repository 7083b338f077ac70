//! The conformance kit: the memory store passes, and each of the well-known mistakes is caught.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use crate::support::conforms;
use tower_session_timeout::{
    Clock, Decision, EndReason, Label, Live, ManualClock, MaxSessions, MemoryStore, NewSession, Owner,
    SessionEvent, SessionId, SessionInfo, SessionKey, Started, Store, conformance,
    contract::{Access, Adopted, Answer, EventSink, IdTag, Policy, Restarted, Rotated, Verdict},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_memory_store_conforms() {
    conforms(&|clock| MemoryStore::new().clock(clock)).await;
}

/// A mistake other session stores have made.
#[derive(Clone, Copy, PartialEq)]
enum Mistake {
    None,
    /// Reads, and writes what it had read.
    GetThenSet,
    /// A renewal writes, whether or not there is anything.
    UpsertOnRenew,
    /// Over after the limit, not at it.
    LateBoundary,
    /// An id nobody knows begins a session.
    UnknownIsNew,
    /// A new id begins a new absolute timeout.
    RotationResetsStart,
    /// What is renewed by its name is not judged before.
    RenewalRevives,
    /// A list has what has ended, too.
    ListsTheDead,
    /// A label is lost on the way.
    LosesLabels,
    /// An end of all spares none.
    SparesNone,
    /// An end is told whenever it is asked for.
    TellsAgain,
    /// Sessions are counted, and then one begins.
    CountsFirst,
    /// Who has many sessions has one more.
    CountsWrong,
    /// A token begins again what has ended.
    AdoptsAgain,
    /// The token is an activity.
    AdoptionIsActivity,
    /// That a request was answered is no activity.
    ForgetsAnswers,
    /// What is withdrawn stays.
    KeepsWithdrawn,
}

#[derive(Clone)]
struct Record {
    started: Duration,
    active: Duration,
    ended: Option<EndReason>,
    owner: Option<Owner>,
    label: Option<Label>,
}

/// As simple as a store can be, right but for its mistake; that it never supersedes an id is none of those tried here.
#[derive(Clone)]
struct Simple {
    sessions: Arc<Mutex<Sessions>>,
    clock: ManualClock,
    mistake: Mistake,
}

#[derive(Default)]
struct Sessions {
    /// Which record each id leads to.
    ids: HashMap<Vec<u8>, usize>,
    records: Vec<Record>,
    sink: Option<EventSink>,
}

impl Sessions {
    fn begin(&mut self, id: &[u8], started: Duration, active: Duration, new: &NewSession) -> usize {
        let (owner, label) = (new.owner.clone(), new.label.clone());
        self.records.push(Record { started, active, ended: None, owner, label });
        self.ids.insert(id.to_vec(), self.records.len() - 1);
        self.records.len() - 1
    }

    fn of(&self, owner: &Owner) -> impl Iterator<Item = (usize, &Record)> {
        self.records.iter().enumerate().filter(|(_, record)| record.owner.as_ref() == Some(owner))
    }

    fn end(&mut self, number: usize, reason: EndReason, mistake: Mistake) -> bool {
        let Some(record) = self.records.get_mut(number) else { return false };
        let was_live = record.ended.is_none();
        record.ended.get_or_insert(reason);
        if let Some(sink) = self.sink.as_ref().filter(|_| was_live || mistake == Mistake::TellsAgain) {
            let (owner, label) = (record.owner.clone(), record.label.clone());
            let (idle_for, age) = (Duration::ZERO, Duration::ZERO);
            sink.send(&SessionEvent::Ended { session: key_of(number), reason, idle_for, age, owner, label });
        }
        was_live
    }

    fn live(&mut self, session: SessionKey) -> Option<&mut Record> {
        self.records.get_mut(number_of(session)).filter(|record| record.ended.is_none())
    }
}

fn key_of(number: usize) -> SessionKey {
    SessionKey::new(u128::try_from(number).unwrap().to_be_bytes())
}

fn number_of(key: SessionKey) -> usize {
    u128::from_be_bytes(key.to_bytes()).try_into().unwrap()
}

impl Simple {
    fn with(mistake: Mistake) -> impl Fn(ManualClock) -> Self {
        move |clock| Self { sessions: Arc::default(), clock, mistake }
    }

    fn judge(&self, record: &Record, policy: &Policy) -> Verdict {
        let early = Duration::from_nanos(u64::from(self.mistake == Mistake::LateBoundary));
        let since = |instant: Duration| self.clock.now().saturating_sub(instant).saturating_sub(early);
        match record.ended {
            Some(reason) => Verdict::Ended(reason),
            None => policy.judge(None, since(record.active), since(record.started)),
        }
    }

    /// Which sessions are to end for this one; `None`: there are too many.
    fn to_end(&self, new: &NewSession, policy: &Policy) -> Option<Vec<usize>> {
        let Some((owner, max)) = new.owner.as_ref().zip(new.max_sessions) else { return Some(Vec::new()) };
        let sessions = self.sessions.lock().unwrap();
        let is_live = |record: &Record| matches!(self.judge(record, policy), Verdict::Live(_));
        let mut live: Vec<_> = sessions.of(owner).filter(|(_, record)| is_live(record)).collect();
        live.sort_by_key(|(_, record)| record.active);
        let allowed = max.number() - usize::from(self.mistake != Mistake::CountsWrong);
        let excess = live.len().saturating_sub(allowed);
        if excess > 0 && max == MaxSessions::refuse_new(max.number()) {
            return None;
        }
        Some(live[..excess].iter().map(|(number, _)| *number).collect())
    }

    fn begin(&self, id: &[u8], new: &NewSession, policy: &Policy, to_end: Option<Vec<usize>>) -> Started {
        let now = self.clock.now();
        let mut sessions = self.sessions.lock().unwrap();
        let known = sessions.ids.get(id).copied();
        let live = known.filter(|&at| matches!(self.judge(&sessions.records[at], policy), Verdict::Live(_)));
        match (live, to_end) {
            (Some(number), _) => Started::AlreadyLive(key_of(number)),
            (None, None) => Started::TooMany,
            (None, Some(to_end)) => {
                for number in to_end {
                    sessions.end(number, EndReason::Revoked, self.mistake);
                }
                Started::New(key_of(sessions.begin(id, now.saturating_sub(new.age), now, new)))
            }
        }
    }

    /// What is there, and what is to be there instead.
    fn decide(&self, id: &[u8], policy: &Policy, access: Access) -> (Decision, Option<(usize, Record)>) {
        let now = self.clock.now();
        let mut sessions = self.sessions.lock().unwrap();
        let number = match (sessions.ids.get(id).copied(), self.mistake) {
            (Some(number), _) => number,
            (None, Mistake::UnknownIsNew) => sessions.begin(id, now, now, &NewSession::new()),
            (None, Mistake::UpsertOnRenew) if access != Access::Peek => {
                sessions.begin(id, now, now, &NewSession::new());
                return (Decision::UNKNOWN, None);
            }
            (None, _) => return (Decision::UNKNOWN, None),
        };
        let mut record = sessions.records[number].clone();
        let idle_for = now.saturating_sub(record.active);
        let age = now.saturating_sub(record.started);
        match self.judge(&record, policy) {
            Verdict::Ended(reason) => {
                sessions.end(number, reason, self.mistake);
                return (Decision::Ended { reason, session: None, owner: None }, None);
            }
            Verdict::Capped(reason) => return (Decision::Capped(reason), None),
            Verdict::Live(_) => {}
        }
        record.active = match access {
            Access::Renew | Access::Hold => now,
            Access::RenewAgo(ago) => record.active.max(now.saturating_sub(ago)),
            Access::Passive | Access::Peek => record.active,
        };
        let remaining = policy.renewed(None, now.saturating_sub(record.active), age);
        let live =
            Live::new(key_of(number), tag_of(id), idle_for, age, remaining).with_owner(record.owner.clone());
        let renewed = (!matches!(access, Access::Passive | Access::Peek)).then_some((number, record));
        if self.mistake == Mistake::GetThenSet {
            return (Decision::Live(live), renewed);
        }
        if let Some((number, record)) = renewed {
            sessions.records[number] = record;
        }
        (Decision::Live(live), None)
    }
}

fn tag_of(id: &[u8]) -> IdTag {
    let mut tag = [0; 8];
    for (at, byte) in id.iter().enumerate() {
        tag[at % 8] ^= byte.wrapping_mul(u8::try_from(at % 251).unwrap() + 1);
    }
    IdTag::new(tag)
}

impl Store for Simple {
    fn check(&self, id: &SessionId<'_>, policy: &Policy, access: Access) -> Answer<Decision> {
        let (store, id, policy) = (self.clone(), id.expose().to_vec(), *policy);
        Answer::Pending(Box::pin(async move {
            let (decision, set) = store.decide(&id, &policy, access);
            if let Some((number, record)) = set {
                tokio::task::yield_now().await;
                store.sessions.lock().unwrap().records[number] = record;
            }
            Ok(decision)
        }))
    }

    fn remaining(&self, session: SessionKey, policy: &Policy) -> Answer<Verdict> {
        let record = self.sessions.lock().unwrap().records.get(number_of(session)).cloned();
        Answer::Ready(Ok(
            record.map_or(Verdict::Ended(EndReason::Unknown), |record| self.judge(&record, policy))
        ))
    }

    fn renew(&self, session: SessionKey, ago: Duration, policy: &Policy) -> Answer<Verdict> {
        let now = self.clock.now();
        let mut sessions = self.sessions.lock().unwrap();
        if let Some(record) = sessions.live(session)
            && matches!(self.judge(record, policy), Verdict::Live(_))
            && self.mistake != Mistake::ForgetsAnswers
        {
            record.active = record.active.max(now.saturating_sub(ago));
        }
        drop(sessions);
        if self.mistake == Mistake::RenewalRevives {
            let mut sessions = self.sessions.lock().unwrap();
            let record = &mut sessions.records[number_of(session)];
            let active = record.active.max(self.clock.now().saturating_sub(ago));
            (record.active, record.ended) = (active, None);
        }
        self.remaining(session, policy)
    }

    fn start(&self, id: &SessionId<'_>, new: &NewSession, policy: &Policy) -> Answer<Started> {
        let (store, id, new, policy) = (self.clone(), id.expose().to_vec(), new.clone(), *policy);
        Answer::Pending(Box::pin(async move {
            let to_end = store.to_end(&new, &policy);
            if store.mistake == Mistake::CountsFirst {
                tokio::task::yield_now().await;
                return Ok(store.begin(&id, &new, &policy, to_end));
            }
            let to_end = store.to_end(&new, &policy);
            Ok(store.begin(&id, &new, &policy, to_end))
        }))
    }

    fn adopt(&self, id: &SessionId<'_>, new: &NewSession, policy: &Policy) -> Answer<Adopted> {
        let now = self.clock.now();
        if self.to_end(new, policy).is_none() {
            return Answer::Ready(Ok(Adopted::TooMany));
        }
        let mut sessions = self.sessions.lock().unwrap();
        let known = sessions.ids.get(id.expose()).copied();
        let is_known = known
            .is_some_and(|at| self.mistake != Mistake::AdoptsAgain || sessions.records[at].ended.is_none());
        if is_known {
            return Answer::Ready(Ok(Adopted::Known));
        }
        let started = now.saturating_sub(new.age);
        let active = if self.mistake == Mistake::AdoptionIsActivity { now } else { started };
        Answer::Ready(Ok(Adopted::New(key_of(sessions.begin(id.expose(), started, active, new)))))
    }

    fn withdraw(&self, live: &Live) -> Answer<()> {
        let mut sessions = self.sessions.lock().unwrap();
        if let Some(record) = sessions.live(live.key)
            && self.mistake != Mistake::KeepsWithdrawn
            && record.active == record.started + live.age()
        {
            record.active -= live.idle_for();
        }
        Answer::Ready(Ok(()))
    }

    fn sessions_of(&self, owner: &Owner, policy: &Policy) -> Answer<Vec<SessionInfo>> {
        let sessions = self.sessions.lock().unwrap();
        let now = self.clock.now();
        let of_owner = sessions.of(owner).filter(|(_, record)| {
            self.mistake == Mistake::ListsTheDead || matches!(self.judge(record, policy), Verdict::Live(_))
        });
        let infos = of_owner.map(|(number, record)| {
            let since = |instant| now.saturating_sub(instant);
            let info = SessionInfo::new(key_of(number), since(record.active), since(record.started));
            info.with_label(record.label.clone().filter(|_| self.mistake != Mistake::LosesLabels))
        });
        Answer::Ready(Ok(infos.collect()))
    }

    fn end_all(&self, owner: &Owner, except: Option<SessionKey>) -> Answer<usize> {
        let mut sessions = self.sessions.lock().unwrap();
        let except = except.filter(|_| self.mistake != Mistake::SparesNone).map(number_of);
        let numbers: Vec<_> = sessions.of(owner).map(|(number, _)| number).collect();
        let others = numbers.into_iter().filter(|&number| Some(number) != except);
        let ended = others.filter(|&number| sessions.end(number, EndReason::Revoked, self.mistake)).count();
        Answer::Ready(Ok(ended))
    }

    fn events(&self, sink: EventSink) {
        self.sessions.lock().unwrap().sink = Some(sink);
    }

    fn rotate(&self, session: SessionKey, new: &SessionId<'_>, _: IdTag, _: &Policy) -> Answer<Rotated> {
        let mut sessions = self.sessions.lock().unwrap();
        let now = self.clock.now();
        let Some(record) = sessions.live(session) else { return Answer::Ready(Ok(Rotated::Refused)) };
        if self.mistake == Mistake::RotationResetsStart {
            record.started = now;
        }
        let before = sessions.ids.insert(new.expose().to_vec(), number_of(session));
        Answer::Ready(Ok(before.map_or(Rotated::New, |_| Rotated::AlreadyLive)))
    }

    fn restart(&self, _: SessionKey, _: &NewSession, _: &Policy) -> Answer<Restarted> {
        Answer::Ready(Ok(Restarted::Ended))
    }

    fn end(&self, session: SessionKey, reason: EndReason) -> Answer<bool> {
        let mut sessions = self.sessions.lock().unwrap();
        Answer::Ready(Ok(sessions.end(number_of(session), reason, self.mistake)))
    }
}

/// What the kit says of a store with this mistake.
async fn verdict(group: &str, mistake: Mistake) -> Option<String> {
    let group = group.to_owned();
    let check = tokio::spawn(async move {
        let make = Simple::with(mistake);
        match &group[..] {
            "clocks" => conformance::clocks(&make).await,
            "rotations" => conformance::rotations(&make).await,
            "owners" => conformance::owners(&make).await,
            "in flight" => conformance::in_flight(&make).await,
            "adoptions" => conformance::adoptions(&make).await,
            _ => conformance::races(&make, 100).await,
        }
    });
    let panic = check.await.err()?.into_panic();
    Some(panic.downcast_ref::<String>().cloned().unwrap_or_default())
}

// On one thread the tasks of a race take turns, so that this one is lost for certain.
#[tokio::test]
async fn each_mistake_is_caught_by_the_promise_it_breaks() {
    for group in ["clocks", "races", "owners", "in flight", "adoptions"] {
        assert_eq!(verdict(group, Mistake::None).await, None, "a store without the mistakes passes");
    }
    let caught = [
        ("clocks", Mistake::UpsertOnRenew, "a renewal creates nothing"),
        ("clocks", Mistake::UnknownIsNew, "a renewal creates nothing"),
        ("clocks", Mistake::LateBoundary, "over at the idle timeout itself"),
        ("clocks", Mistake::RenewalRevives, "a session that has ended is not renewed by its name"),
        ("rotations", Mistake::RotationResetsStart, "a rotation resets no clock"),
        ("races", Mistake::GetThenSet, "no renewal revives"),
        ("owners", Mistake::ListsTheDead, "has no session that has ended"),
        ("owners", Mistake::LosesLabels, "a session keeps its label"),
        ("owners", Mistake::SparesNone, "an end of all says how many were live"),
        ("owners", Mistake::TellsAgain, "each end is told, once"),
        ("owners", Mistake::CountsWrong, "for one more, the longest idle one has ended"),
        ("owners", Mistake::CountsFirst, "however many log in at once"),
        ("in flight", Mistake::ForgetsAnswers, "a session with a request under way is not idle"),
        ("in flight", Mistake::KeepsWithdrawn, "a request that was refused after all is no activity"),
        ("adoptions", Mistake::AdoptsAgain, "what has ended is remembered for the idle timeout"),
        ("adoptions", Mistake::AdoptionIsActivity, "the clocks of an adopted session"),
    ];
    for (group, mistake, promise) in caught {
        let said = verdict(group, mistake).await.unwrap_or_default();
        assert!(said.contains(promise), "{promise}: {said}");
        let control = verdict(group, Mistake::None).await.unwrap_or_default();
        assert!(!control.contains(promise), "{control}");
    }
}

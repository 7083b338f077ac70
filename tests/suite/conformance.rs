//! The conformance kit: the memory store passes, and each of the well-known mistakes is caught.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use tower_session_timeout::{
    Access, Answer, Clock, Decision, EndReason, IdTag, Live, ManualClock, MemoryStore, NewSession, Policy,
    Rotated, SessionId, SessionKey, Started, Store, Verdict, conformance,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_memory_store_conforms() {
    conformance::check(&|clock| MemoryStore::new().clock(clock)).await;
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
}

#[derive(Clone)]
struct Record {
    started: Duration,
    active: Duration,
    ended: Option<EndReason>,
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
}

impl Sessions {
    fn begin(&mut self, id: &[u8], started: Duration, active: Duration) -> usize {
        self.records.push(Record { started, active, ended: None });
        self.ids.insert(id.to_vec(), self.records.len() - 1);
        self.records.len() - 1
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
            Some(reason) => Verdict::Over(reason),
            None => policy.judge(None, since(record.active), since(record.started)),
        }
    }

    /// What is there, and what is to be there instead.
    fn decide(&self, id: &[u8], policy: &Policy, access: Access) -> (Decision, Option<(usize, Record)>) {
        let now = self.clock.now();
        let mut sessions = self.sessions.lock().unwrap();
        let number = match (sessions.ids.get(id).copied(), self.mistake) {
            (Some(number), _) => number,
            (None, Mistake::UnknownIsNew) => sessions.begin(id, now, now),
            (None, Mistake::UpsertOnRenew) if access != Access::Peek => {
                sessions.begin(id, now, now);
                return (Decision::UNKNOWN, None);
            }
            (None, _) => return (Decision::UNKNOWN, None),
        };
        let mut record = sessions.records[number].clone();
        let idle_for = now.saturating_sub(record.active);
        let age = now.saturating_sub(record.started);
        match self.judge(&record, policy) {
            Verdict::Over(reason) => {
                sessions.records[number].ended = Some(reason);
                return (Decision::Ended { reason, owned: false }, None);
            }
            Verdict::Capped(reason) => return (Decision::Capped(reason), None),
            Verdict::Live(_) => {}
        }
        record.active = match access {
            Access::Renew | Access::Hold => now,
            Access::RenewAgo(ago) => record.active.max(now.saturating_sub(ago)),
            Access::Peek => record.active,
        };
        let remaining = policy.renewed(None, now.saturating_sub(record.active), age);
        let live = Live::new(key_of(number), tag_of(id), idle_for, age, remaining);
        let renewed = (access != Access::Peek).then_some((number, record));
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
            record.map_or(Verdict::Over(EndReason::Unknown), |record| self.judge(&record, policy))
        ))
    }

    fn renew(&self, session: SessionKey, ago: Duration, policy: &Policy) -> Answer<Verdict> {
        let now = self.clock.now();
        let mut sessions = self.sessions.lock().unwrap();
        if let Some(record) = sessions.live(session)
            && matches!(self.judge(record, policy), Verdict::Live(_))
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
        let now = self.clock.now();
        let mut sessions = self.sessions.lock().unwrap();
        let known = sessions.ids.get(id.expose()).copied();
        let live = known.filter(|&at| matches!(self.judge(&sessions.records[at], policy), Verdict::Live(_)));
        Answer::Ready(Ok(match live {
            Some(number) => Started::AlreadyLive(key_of(number)),
            None => Started::New(key_of(sessions.begin(id.expose(), now.saturating_sub(new.age), now))),
        }))
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

    fn restart(&self, _: SessionKey, _: &Policy) -> Answer<bool> {
        Answer::Ready(Ok(false))
    }

    fn end(&self, session: SessionKey, reason: EndReason) -> Answer<bool> {
        let mut sessions = self.sessions.lock().unwrap();
        Answer::Ready(Ok(sessions.live(session).map(|record| record.ended = Some(reason)).is_some()))
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
            _ => conformance::races(&make, 100).await,
        }
    });
    let panic = check.await.err()?.into_panic();
    Some(panic.downcast_ref::<String>().cloned().unwrap_or_default())
}

// On one thread the tasks of a race take turns, so that this one is lost for certain.
#[tokio::test]
async fn each_mistake_is_caught_by_the_promise_it_breaks() {
    for group in ["clocks", "races"] {
        assert_eq!(verdict(group, Mistake::None).await, None, "a store without the mistakes passes");
    }
    let caught = [
        ("clocks", Mistake::UpsertOnRenew, "a renewal creates nothing"),
        ("clocks", Mistake::UnknownIsNew, "a renewal creates nothing"),
        ("clocks", Mistake::LateBoundary, "over at the idle timeout itself"),
        ("clocks", Mistake::RenewalRevives, "a session that is over is not renewed by its name"),
        ("rotations", Mistake::RotationResetsStart, "a rotation resets no clock"),
        ("races", Mistake::GetThenSet, "no renewal revives"),
    ];
    for (group, mistake, promise) in caught {
        let said = verdict(group, mistake).await.unwrap_or_default();
        assert!(said.contains(promise), "{promise}: {said}");
        let control = verdict(group, Mistake::None).await.unwrap_or_default();
        assert!(!control.contains(promise), "{control}");
    }
}

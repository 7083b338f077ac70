//! The conformance kit: the memory store passes, and each of the well-known mistakes is caught.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use tower_session_timeout::{
    Access, Answer, Clock, Decision, EndReason, IdTag, Limits, Live, ManualClock, MemoryStore, NewSession,
    Policy, Rotated, SessionId, SessionKey, Started, Store, Verdict, conformance,
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
}

#[derive(Clone)]
struct Record {
    started: Duration,
    active: Duration,
    ended: Option<EndReason>,
}

/// As simple as a store can be, right but for its mistake. One id, one record; a rotation copies it.
#[derive(Clone)]
struct Simple {
    records: Arc<Mutex<HashMap<Vec<u8>, Record>>>,
    clock: ManualClock,
    mistake: Mistake,
}

impl Simple {
    fn with(mistake: Mistake) -> impl Fn(ManualClock) -> Self {
        move |clock| Self { records: Arc::default(), clock, mistake }
    }

    fn judge(&self, record: &Record, policy: &Policy) -> Verdict {
        let early = Duration::from_nanos(u64::from(self.mistake == Mistake::LateBoundary));
        let since = |instant: Duration| self.clock.now().saturating_sub(instant).saturating_sub(early);
        match record.ended {
            Some(reason) => Verdict::Over(reason),
            None => policy.judge(None, since(record.active), since(record.started)),
        }
    }

    async fn renew(self, id: Vec<u8>, policy: Policy, access: Access) -> Decision {
        let now = self.clock.now();
        let found = self.records.lock().unwrap().get(&id).cloned();
        let mut record = match (found, self.mistake) {
            (Some(record), _) => record,
            (None, Mistake::UnknownIsNew | Mistake::UpsertOnRenew) if access != Access::Peek => {
                Record { started: now, active: now, ended: None }
            }
            (None, _) => return Decision::UNKNOWN,
        };
        let idle_for = now.saturating_sub(record.active);
        let age = now.saturating_sub(record.started);
        match self.judge(&record, &policy) {
            Verdict::Over(reason) => {
                if let Some(record) = self.records.lock().unwrap().get_mut(&id) {
                    record.ended = Some(reason);
                }
                return Decision::Ended { reason, owned: false };
            }
            Verdict::Capped(reason) => return Decision::Capped(reason),
            Verdict::Live(_) => {}
        }
        match access {
            Access::Renew | Access::Hold => record.active = now,
            Access::RenewAgo(ago) => record.active = record.active.max(now.saturating_sub(ago)),
            Access::Peek => {}
        }
        if self.mistake == Mistake::GetThenSet {
            tokio::task::yield_now().await;
        }
        if access != Access::Peek {
            let mut records = self.records.lock().unwrap();
            let may_create = self.mistake != Mistake::None;
            match records.get_mut(&id).filter(|kept| self.mistake == Mistake::None && kept.ended.is_none()) {
                Some(kept) => kept.active = record.active,
                None if may_create => drop(records.insert(id.clone(), record.clone())),
                None => {}
            }
        }
        let remaining = policy.renewed(None, now.saturating_sub(record.active), age);
        let mut key = [0; 16];
        key[0] = id.len().try_into().unwrap();
        key[1..=id.len().min(15)].copy_from_slice(&id[..id.len().min(15)]);
        Decision::Live(Live::new(SessionKey::new(key), IdTag::new([0; 8]), idle_for, age, remaining))
    }
}

fn id_of(key: SessionKey) -> Vec<u8> {
    let bytes = key.to_bytes();
    bytes[1..=usize::from(bytes[0])].to_vec()
}

impl Store for Simple {
    fn check(&self, id: &SessionId<'_>, policy: &Policy, access: Access) -> Answer<Decision> {
        let (store, id, policy) = (self.clone(), id.expose().to_vec(), *policy);
        Answer::Pending(Box::pin(async move { Ok(store.renew(id, policy, access).await) }))
    }

    fn remaining(&self, session: SessionKey, policy: &Policy) -> Answer<Verdict> {
        let records = self.records.lock().unwrap();
        let record = records.get(&id_of(session));
        Answer::Ready(Ok(
            record.map_or(Verdict::Over(EndReason::Unknown), |record| self.judge(record, policy))
        ))
    }

    fn start(&self, id: &SessionId<'_>, new: &NewSession, _: &Policy) -> Answer<Started> {
        let mut key = [0; 16];
        let id = id.expose();
        key[0] = id.len().try_into().unwrap();
        key[1..=id.len()].copy_from_slice(id);
        let now = self.clock.now();
        let started = now.saturating_sub(new.age);
        let mut records = self.records.lock().unwrap();
        if records.get(id).is_some_and(|record| record.ended.is_none()) {
            return Answer::Ready(Ok(Started::AlreadyLive(SessionKey::new(key))));
        }
        records.insert(id.to_vec(), Record { started, active: now, ended: None });
        Answer::Ready(Ok(Started::New(SessionKey::new(key))))
    }

    fn rotate(&self, session: SessionKey, new: &SessionId<'_>, _: IdTag, _: &Policy) -> Answer<Rotated> {
        let mut records = self.records.lock().unwrap();
        let Some(mut record) = records.get(&id_of(session)).cloned() else {
            return Answer::Ready(Ok(Rotated::Refused));
        };
        if records.contains_key(new.expose()) {
            return Answer::Ready(Ok(Rotated::AlreadyLive));
        }
        if self.mistake == Mistake::RotationResetsStart {
            record.started = self.clock.now();
        }
        records.insert(new.expose().to_vec(), record);
        Answer::Ready(Ok(Rotated::New))
    }

    fn restart(&self, _: SessionKey, _: &Policy) -> Answer<bool> {
        Answer::Ready(Ok(false))
    }

    fn end(&self, session: SessionKey, reason: EndReason) -> Answer<bool> {
        let mut records = self.records.lock().unwrap();
        let live = records.get_mut(&id_of(session)).filter(|record| record.ended.is_none());
        Answer::Ready(Ok(live.map(|record| record.ended = Some(reason)).is_some()))
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_mistake_is_caught_by_the_promise_it_breaks() {
    assert_eq!(verdict("clocks", Mistake::None).await, None, "a store without the mistakes passes");
    let caught = [
        ("clocks", Mistake::UpsertOnRenew, "a renewal creates nothing"),
        ("clocks", Mistake::UnknownIsNew, "a renewal creates nothing"),
        ("clocks", Mistake::LateBoundary, "over at the idle timeout itself"),
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

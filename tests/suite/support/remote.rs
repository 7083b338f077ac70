//! A store on a network, as far as a process can tell.
#![allow(dead_code, unreachable_pub)]

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use tokio::time::sleep;
use tower_session_timeout::{
    Decision, EndReason, Limits, MemoryStore, NewSession, Owner, SessionId, SessionInfo, SessionKey, Started,
    Store, StoreError,
    contract::{Access, Adopted, Answer, EndLater, IdTag, Policy, Restarted, Rotated, Verdict},
};

use super::RuntimeClock;

/// A store that several nodes share, which cannot hold; and how often they asked it.
#[derive(Clone)]
pub struct Remote {
    pub store: Arc<MemoryStore>,
    checks: Arc<AtomicUsize>,
    renewals: Arc<AtomicUsize>,
    /// How many of the next questions about a session fail.
    pub failing: Arc<AtomicUsize>,
    /// How long an answer about a session, or its end, is on its way, in seconds.
    pub takes: Arc<AtomicU64>,
    /// Answers are there at once: nobody needs a runtime to wait for them.
    answers_at_once: bool,
}

impl Remote {
    pub fn new(clock: RuntimeClock) -> Self {
        Self {
            store: Arc::new(MemoryStore::new().clock(clock)),
            checks: Arc::default(),
            renewals: Arc::default(),
            failing: Arc::default(),
            takes: Arc::default(),
            answers_at_once: false,
        }
    }

    pub fn at_once(clock: RuntimeClock) -> Self {
        Self { answers_at_once: true, ..Self::new(clock) }
    }

    pub fn checks(&self) -> usize {
        self.checks.load(SeqCst)
    }

    /// About ids and sessions.
    pub fn questions(&self) -> usize {
        self.checks.load(SeqCst) + self.renewals()
    }

    pub fn renewals(&self) -> usize {
        self.renewals.load(SeqCst)
    }

    fn answer<T: Send + 'static>(&self, answer: impl FnOnce(&MemoryStore) -> Answer<T>) -> Answer<T> {
        if self.failing.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_ok() {
            return Answer::Ready(Err(StoreError::new("away")));
        }
        let (answer, way) = (answer(&self.store), self.way());
        self.later(if way.is_zero() {
            answer
        } else {
            Answer::Pending(Box::pin(async move {
                sleep(way).await;
                answer.await
            }))
        })
    }

    fn way(&self) -> Duration {
        Duration::from_secs(self.takes.load(SeqCst))
    }

    fn later<T: Send + 'static>(&self, answer: Answer<T>) -> Answer<T> {
        if self.answers_at_once { answer } else { Answer::Pending(answer.into_future()) }
    }
}

impl Store for Remote {
    fn check(&self, id: &SessionId<'_>, policy: &Policy, access: Access) -> Answer<Decision> {
        self.checks.fetch_add(1, SeqCst);
        let access = if access == Access::Hold { Access::Renew } else { access };
        self.answer(|store| store.check(id, policy, access))
    }

    fn renew(&self, session: SessionKey, ago: Duration, policy: &Policy) -> Answer<Verdict> {
        self.renewals.fetch_add(1, SeqCst);
        self.answer(|store| store.renew(session, ago, policy))
    }

    fn remaining(&self, session: SessionKey, policy: &Policy) -> Answer<Verdict> {
        self.later(self.store.remaining(session, policy))
    }

    fn start(&self, id: &SessionId<'_>, new: &NewSession, policy: &Policy) -> Answer<Started> {
        self.later(self.store.start(id, new, policy))
    }

    fn adopt(&self, id: &SessionId<'_>, new: &NewSession, policy: &Policy) -> Answer<Adopted> {
        self.later(self.store.adopt(id, new, policy))
    }

    fn rotate(
        &self,
        session: SessionKey,
        new: &SessionId<'_>,
        presented: IdTag,
        policy: &Policy,
    ) -> Answer<Rotated> {
        self.later(self.store.rotate(session, new, presented, policy))
    }

    fn restart(&self, session: SessionKey, new: &NewSession, policy: &Policy) -> Answer<Restarted> {
        self.later(self.store.restart(session, new, policy))
    }

    /// It takes as long to get there as to be answered.
    fn end(&self, session: SessionKey, reason: EndReason) -> Answer<bool> {
        let way = self.way();
        if way.is_zero() {
            return self.later(self.store.end(session, reason));
        }
        let store = Arc::clone(&self.store);
        Answer::Pending(Box::pin(async move {
            sleep(way).await;
            let answer = store.end(session, reason).await;
            sleep(way).await;
            answer
        }))
    }

    fn end_later(&self, id: &SessionId<'_>, reason: EndReason) -> Option<EndLater> {
        let (remote, id) = (self.clone(), id.clone().into_owned());
        Some(Box::new(move || {
            let (remote, id) = (remote.clone(), id.clone());
            Answer::Pending(Box::pin(async move {
                match remote.check(&id, &Policy::new(Limits::default()), Access::Peek).await? {
                    Decision::Live(live) => remote.end(live.key, reason).await,
                    _ => Ok(false),
                }
            }))
        }))
    }

    fn sessions_of(&self, owner: &Owner, policy: &Policy) -> Answer<Vec<SessionInfo>> {
        self.later(self.store.sessions_of(owner, policy))
    }

    fn end_all(&self, owner: &Owner, except: Option<SessionKey>) -> Answer<usize> {
        self.later(self.store.end_all(owner, except))
    }
}

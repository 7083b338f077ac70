//! Which sessions an owner has.

use std::{
    collections::BTreeSet,
    hash::{BuildHasher, RandomState},
    ops::Bound,
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::rules::id::{Owner, SessionKey};

const SHARDS: u64 = 16;
/// How many sessions are read before others may have the shard.
const SESSIONS_PER_LOCK: usize = 256;

/// A tree, so that no log-in pays for the sessions of others: it never rehashes, and nothing is searched through.
type OwnedSessions = BTreeSet<(Owner, [u8; 16])>;

/// Spread over shards, so that log-ins do not wait for each other. No other lock is taken under one of these.
pub(super) struct Owners {
    shards: Box<[Mutex<OwnedSessions>]>,
    /// One log-in at a time, where an owner's sessions are counted. The first lock of all that a log-in takes.
    log_ins: Box<[Mutex<()>]>,
    hasher: RandomState,
}

impl Owners {
    pub(super) fn new() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            log_ins: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
        }
    }

    fn number(&self, owner: &Owner) -> usize {
        (self.hasher.hash_one(owner) % SHARDS) as usize
    }

    fn shard(&self, owner: &Owner) -> MutexGuard<'_, OwnedSessions> {
        self.shards[self.number(owner)].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Until it is dropped, nobody else who asks for it begins a session of this owner.
    pub(super) fn log_in(&self, owner: &Owner) -> MutexGuard<'_, ()> {
        self.log_ins[self.number(owner)].lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn add(&self, owner: &Owner, session: SessionKey) {
        self.shard(owner).insert((owner.clone(), session.to_bytes()));
    }

    pub(super) fn remove(&self, owner: &Owner, session: SessionKey) {
        self.shard(owner).remove(&(owner.clone(), session.to_bytes()));
    }

    pub(super) fn sessions_of(&self, owner: &Owner) -> Vec<SessionKey> {
        let mut sessions = Vec::new();
        let mut from = Bound::Included((owner.clone(), [0; 16]));
        loop {
            let shard = self.shard(owner);
            let next = shard.range((from, Bound::Unbounded)).take_while(|(of, _)| of == owner);
            let before = sessions.len();
            sessions.extend(next.take(SESSIONS_PER_LOCK).map(|(_, session)| SessionKey::new(*session)));
            if sessions.len() < before + SESSIONS_PER_LOCK {
                return sessions;
            }
            let last = sessions.last().map_or([0; 16], |last| last.to_bytes());
            from = Bound::Excluded((owner.clone(), last));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::{
        clock::ManualClock,
        rules::{
            id::{Owner, SessionId, SessionKey},
            limits::{EndReason, Limits, Policy},
            new_session::NewSession,
        },
        store::{
            answer::{Answer, Started},
            contract::Store,
            memory::MemoryStore,
        },
    };

    fn start(store: &MemoryStore, id: &str, owner: &str) -> SessionKey {
        let policy = Policy::new(Limits::default());
        let started = store.start(&SessionId::from(id), &NewSession::new().owner(owner), &policy);
        let Answer::Ready(Ok(Started::New(key))) = started else { panic!("{started:?}") };
        key
    }

    /// Each log-in would pay for all of its owner's ended sessions.
    #[test]
    fn sessions_that_have_ended_are_off_the_list() {
        let store = MemoryStore::new();
        for number in 0..100 {
            let key = start(&store, &number.to_string(), "alice");
            assert!(matches!(store.end(key, EndReason::SignedOut), Answer::Ready(Ok(true))));
        }
        assert_eq!(store.owners.sessions_of(&Owner::from("alice")).len(), 0);
    }

    /// Every user who ever signed in would fill the memory.
    #[test]
    fn owners_without_sessions_are_forgotten() {
        let clock = ManualClock::new();
        let store = MemoryStore::new().clock(clock.clone());
        let signs_out = start(&store, "A", "alice");
        start(&store, "B", "bob");
        assert!(matches!(store.end(signs_out, EndReason::SignedOut), Answer::Ready(Ok(true))));
        assert_eq!(store.owners.sessions_of(&Owner::from("bob")).len(), 1);
        clock.advance(Duration::from_secs(24 * 3600));
        store.sweep();
        // What had just ended is remembered for a while.
        clock.advance(Duration::from_secs(24 * 3600));
        store.sweep();
        for shard in &store.owners.shards {
            assert!(shard.lock().unwrap().is_empty());
        }
    }
}

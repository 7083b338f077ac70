//! Which sessions an owner has.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::{Owner, SessionKey};

const SHARDS: u64 = 16;

type OwnedSessions = HashMap<Owner, Vec<SessionKey>>;

/// Spread over shards, so that log-ins do not wait for each other. No other lock is taken under one of these.
pub(super) struct Owners {
    shards: Box<[Mutex<OwnedSessions>]>,
    hasher: RandomState,
}

impl Owners {
    pub(super) fn new() -> Self {
        Self { shards: (0..SHARDS).map(|_| Mutex::default()).collect(), hasher: RandomState::new() }
    }

    fn shard(&self, owner: &Owner) -> MutexGuard<'_, OwnedSessions> {
        let shard = &self.shards[(self.hasher.hash_one(owner) % SHARDS) as usize];
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn add(&self, owner: &Owner, session: SessionKey) {
        self.shard(owner).entry(owner.clone()).or_default().push(session);
    }

    pub(super) fn remove(&self, owner: &Owner, session: SessionKey) {
        let mut shard = self.shard(owner);
        if let Some(sessions) = shard.get_mut(owner) {
            sessions.retain(|&key| key != session);
            if sessions.is_empty() {
                shard.remove(owner);
            }
        }
    }

    pub(super) fn sessions_of(&self, owner: &Owner) -> Vec<SessionKey> {
        self.shard(owner).get(owner).cloned().unwrap_or_default()
    }
}

//! A backend in memory, behind a network that does as it is told.
#![allow(dead_code, unreachable_pub)]

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use tokio::time::sleep;
use tower_session_timeout::{Backend, BoxFuture, Clock, Key, Loaded, StoreError, Swap, Swapped};

#[derive(Clone)]
pub struct Table(Arc<Inner>);

struct Inner {
    clock: Box<dyn Clock>,
    records: Mutex<HashMap<Key, Vec<u8>>>,
    written_last: Mutex<Option<Key>>,
    owners: Mutex<HashMap<Key, Vec<(Duration, Key)>>>,
    loads: AtomicUsize,
    swaps: AtomicUsize,
    /// How many of the next swaps meet another's.
    conflicts: AtomicUsize,
    /// Nor is every other one written.
    is_contended: AtomicBool,
    is_full: AtomicBool,
    ways: Mutex<Ways>,
}

/// How long a question and its answer are under way.
#[derive(Clone, Copy, Default)]
pub struct Ways {
    pub load_there: Duration,
    pub load_back: Duration,
    pub swap_there: Duration,
    pub swap_back: Duration,
}

impl Table {
    pub fn new(clock: impl Clock) -> Self {
        Self(Arc::new(Inner {
            clock: Box::new(clock),
            records: Mutex::default(),
            written_last: Mutex::default(),
            owners: Mutex::default(),
            loads: AtomicUsize::new(0),
            swaps: AtomicUsize::new(0),
            conflicts: AtomicUsize::new(0),
            is_contended: AtomicBool::new(false),
            is_full: AtomicBool::new(false),
            ways: Mutex::default(),
        }))
    }

    pub fn loads(&self) -> usize {
        self.0.loads.load(SeqCst)
    }

    pub fn swaps(&self) -> usize {
        self.0.swaps.load(SeqCst)
    }

    pub fn len(&self) -> usize {
        self.0.records.lock().unwrap().len()
    }

    pub fn written_last(&self) -> Key {
        self.0.written_last.lock().unwrap().unwrap()
    }

    /// By nobody who knows what belongs there.
    pub fn put(&self, key: Key, record: &[u8]) {
        self.0.records.lock().unwrap().insert(key, record.to_vec());
    }

    pub fn conflicts(&self, number: usize) {
        self.0.conflicts.store(number, SeqCst);
    }

    pub fn lose_every_other_swap(&self) {
        self.0.is_contended.store(true, SeqCst);
    }

    pub fn fill(&self, is_full: bool) {
        self.0.is_full.store(is_full, SeqCst);
    }

    pub fn ways(&self, ways: Ways) {
        *self.0.ways.lock().unwrap() = ways;
    }
}

impl Inner {
    fn swap(&self, swap: Swap) -> Swapped {
        let number = self.swaps.fetch_add(1, SeqCst);
        let mut records = self.records.lock().unwrap();
        if self.conflicts.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_ok() {
            return Swapped::Lost;
        }
        if self.is_contended.load(SeqCst) && number.is_multiple_of(2) {
            return Swapped::Lost;
        }
        let is_late = swap.not_after.is_some_and(|latest| self.clock.now() > latest);
        if is_late || records.get(&swap.key) != swap.expected.as_ref() {
            return Swapped::Lost;
        }
        match swap.record {
            None => drop(records.remove(&swap.key)),
            Some(_) if self.is_full.load(SeqCst) => return Swapped::Full,
            Some(record) => drop(records.insert(swap.key, record)),
        }
        *self.written_last.lock().unwrap() = Some(swap.key);
        Swapped::Done
    }
}

/// What arrives has arrived, though nobody waits for it any more.
async fn carried<T: Send + 'static>(
    there: Duration,
    back: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, StoreError> {
    let carried = tokio::spawn(async move {
        sleep(there).await;
        let answer = work();
        sleep(back).await;
        answer
    });
    carried.await.map_err(StoreError::new)
}

impl Backend for Table {
    fn load(&self, key: Key) -> BoxFuture<Result<Loaded, StoreError>> {
        let (table, ways) = (Arc::clone(&self.0), *self.0.ways.lock().unwrap());
        Box::pin(carried(ways.load_there, ways.load_back, move || {
            table.loads.fetch_add(1, SeqCst);
            Loaded { record: table.records.lock().unwrap().get(&key).cloned(), now: table.clock.now() }
        }))
    }

    fn swap(&self, swap: Swap) -> BoxFuture<Result<Swapped, StoreError>> {
        let (table, ways) = (Arc::clone(&self.0), *self.0.ways.lock().unwrap());
        Box::pin(carried(ways.swap_there, ways.swap_back, move || table.swap(swap)))
    }

    fn list(&self, owner: Key, session: Key, _: Option<Duration>) -> BoxFuture<Result<Vec<Key>, StoreError>> {
        let now = self.0.clock.now();
        let mut owners = self.0.owners.lock().unwrap();
        let list = owners.entry(owner).or_default();
        if self.0.is_full.load(SeqCst) && list.iter().all(|(_, listed)| *listed != session) {
            return Box::pin(async { Err(StoreError::no_room()) });
        }
        list.retain(|(_, listed)| *listed != session);
        list.push((now, session));
        let an_hour_ago = now.checked_sub(Duration::from_secs(3600));
        let old = list.iter().filter(|(when, _)| Some(*when) <= an_hour_ago).take(2);
        let old = old.map(|(_, session)| *session).collect();
        Box::pin(async { Ok(old) })
    }

    fn listed(&self, owner: Key) -> BoxFuture<Result<Vec<Key>, StoreError>> {
        let owners = self.0.owners.lock().unwrap();
        let listed = owners.get(&owner).map_or(Vec::new(), |list| list.iter().map(|(_, key)| *key).collect());
        Box::pin(async { Ok(listed) })
    }

    fn strike(&self, owner: Key, sessions: Vec<Key>) -> BoxFuture<Result<(), StoreError>> {
        if let Some(list) = self.0.owners.lock().unwrap().get_mut(&owner) {
            list.retain(|(_, listed)| !sessions.contains(listed));
        }
        Box::pin(async { Ok(()) })
    }
}

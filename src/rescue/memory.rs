//! Forms in the memory of one process.

use std::{
    collections::HashMap,
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::{
    clock::{Clock, SystemClock},
    store::{
        answer::{BoxFuture, StoreError},
        backend::{Backend, Key, Loaded, Swap, Swapped},
    },
};

/// Keeps late forms in memory: for one process, and until it ends. What [`RescueForms`](crate::RescueForms) does where it is
/// not told otherwise.
///
/// ```
/// use tower_session_timeout::{MemoryForms, RescueForms};
///
/// let rescue = RescueForms::new().keep_in(MemoryForms::new().capacity(256 << 20));
/// ```
pub struct MemoryForms {
    kept: Mutex<Kept>,
    capacity: usize,
    clock: Box<dyn Clock>,
}

#[derive(Default)]
struct Kept {
    records: HashMap<Key, (Vec<u8>, Duration)>,
    bytes: usize,
}

impl Kept {
    fn remove(&mut self, key: Key) {
        if let Some((record, _)) = self.records.remove(&key) {
            self.bytes -= record.len();
        }
    }

    fn sweep(&mut self, now: Duration) {
        let over: Vec<_> =
            self.records.iter().filter(|(_, (_, until))| *until <= now).map(|(key, _)| *key).collect();
        for key in over {
            self.remove(key);
        }
    }
}

impl Default for MemoryForms {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryForms {
    /// With room for 64 MiB.
    pub fn new() -> Self {
        Self { kept: Mutex::default(), capacity: 64 << 20, clock: Box::new(SystemClock) }
    }

    /// How many bytes the forms of all users may take. Default: 64 MiB. What comes when there is no more room is not kept, and
    /// its user is told.
    #[must_use]
    pub fn capacity(self, bytes: usize) -> Self {
        Self { capacity: bytes, ..self }
    }

    /// Another clock.
    #[cfg(feature = "test-util")]
    #[must_use]
    pub fn with_clock(self, clock: impl Clock) -> Self {
        Self { clock: Box::new(clock), ..self }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn swap_now(&self, swap: Swap) -> Swapped {
        let now = self.clock.now();
        let mut kept = self.kept();
        let current = kept.records.get(&swap.key).filter(|(_, until)| *until > now).map(|(record, _)| record);
        if current != swap.expected.as_ref() || swap.not_after.is_some_and(|latest| now > latest) {
            return Swapped::Lost;
        }
        let Some(record) = swap.record else {
            kept.remove(swap.key);
            return Swapped::Done;
        };
        let freed = current.map_or(0, Vec::len);
        if swap.begins && kept.bytes - freed + record.len() > self.capacity {
            kept.sweep(now);
            let freed = kept.records.get(&swap.key).map_or(0, |(record, _)| record.len());
            if kept.bytes - freed + record.len() > self.capacity {
                return Swapped::Full;
            }
        }
        kept.remove(swap.key);
        kept.bytes += record.len();
        kept.records.insert(swap.key, (record, now.saturating_add(swap.keep_for)));
        Swapped::Done
    }
}

impl Backend for MemoryForms {
    fn load(&self, key: Key) -> BoxFuture<Result<Loaded, StoreError>> {
        let now = self.clock.now();
        let kept = self.kept();
        let record =
            kept.records.get(&key).filter(|(_, until)| *until > now).map(|(record, _)| record.clone());
        Box::pin(async move { Ok(Loaded { record, now }) })
    }

    fn swap(&self, swap: Swap) -> BoxFuture<Result<Swapped, StoreError>> {
        let swapped = self.swap_now(swap);
        Box::pin(async move { Ok(swapped) })
    }
}

impl fmt::Debug for MemoryForms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryForms").field("capacity", &self.capacity).finish_non_exhaustive()
    }
}

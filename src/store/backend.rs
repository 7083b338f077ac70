//! What a store on a network is to a [`SharedStore`](super::SharedStore): a place for records.

use crate::store::{
    answer::{BoxFuture, StoreError, no_owners},
    contract::LayerSettings,
};
use std::{fmt, time::Duration};

/// Keeps records for a [`SharedStore`](crate::SharedStore), which knows all the rules: all that is to be written for a store
/// of one's own.
///
/// A record is bytes under a [`Key`]. It is read with [`load`](Self::load) and written with [`swap`](Self::swap), which
/// writes only if nobody else has written in between. So no renewal can bring back what a log-out has ended, whatever the
/// backend is.
///
/// ```
/// use std::{collections::HashMap, sync::Mutex, time::Duration};
/// use tower_session_timeout::{
///     Backend, BoxFuture, Clock, Key, Loaded, SessionTimeoutLayer, SharedStore, StoreError, Swap, Swapped, SystemClock,
/// };
///
/// /// A table in memory; in place of it, think of one with conditional writes.
/// #[derive(Default)]
/// struct Table(Mutex<HashMap<Key, Vec<u8>>>);
///
/// impl Backend for Table {
///     fn load(&self, key: Key) -> BoxFuture<Result<Loaded, StoreError>> {
///         let record = self.0.lock().unwrap().get(&key).cloned();
///         Box::pin(async move { Ok(Loaded { record, now: SystemClock.now() }) })
///     }
///
///     fn swap(&self, swap: Swap) -> BoxFuture<Result<Swapped, StoreError>> {
///         let mut records = self.0.lock().unwrap();
///         let is_expected = records.get(&swap.key) == swap.expected.as_ref();
///         let is_late = swap.not_after.is_some_and(|latest| SystemClock.now() > latest);
///         if is_expected && !is_late {
///             match swap.record {
///                 Some(record) => records.insert(swap.key, record),
///                 None => records.remove(&swap.key),
///             };
///         }
///         Box::pin(async move { Ok(if is_expected && !is_late { Swapped::Done } else { Swapped::Lost }) })
///     }
/// }
///
/// let layer = SessionTimeoutLayer::builder().cookie("sid").store(SharedStore::new(Table::default())).build()?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
///
/// A real one also drops records that need not be kept any longer ([`Swap::keep_for`]).
pub trait Backend: Send + Sync + 'static {
    /// The record under this key, and the time by the backend's own clock: read after the record, or together with it.
    /// If what is there cannot be read at all: [`StoreError::foreign`].
    fn load(&self, key: Key) -> BoxFuture<Result<Loaded, StoreError>>;

    /// Writes a record, in one atomic operation, if what is there is what is [expected](Swap::expected).
    fn swap(&self, swap: Swap) -> BoxFuture<Result<Swapped, StoreError>>;

    /// Whether records may be dropped before their time, to make room for others. Then no session is adopted, for its end
    /// could be forgotten. Default: they are not.
    fn may_evict(&self) -> BoxFuture<Result<bool, StoreError>> {
        Box::pin(async { Ok(false) })
    }

    /// A layer that will ask was built: it says for how long it waits. Default: that is nothing to the backend.
    fn attach(&self, layer: &LayerSettings) {
        let _ = layer;
    }

    /// Puts a session on the list of its owner's, which is kept for so long at least, or for good. Answers with a few
    /// sessions that have been on the list for an hour, if there are any: they may have ended. If there is no room for the entry:
    /// [`StoreError::no_room`]. Default: there is no index of owners.
    fn list(
        &self,
        owner: Key,
        session: Key,
        keep_for: Option<Duration>,
    ) -> BoxFuture<Result<Vec<Key>, StoreError>> {
        let _ = (owner, session, keep_for);
        Box::pin(async { Ok(Vec::new()) })
    }

    /// The sessions on the list of this owner. Default: an error, for there is no index of owners.
    fn listed(&self, owner: Key) -> BoxFuture<Result<Vec<Key>, StoreError>> {
        let _ = owner;
        Box::pin(async { Err(no_owners()) })
    }

    /// Takes sessions off the list of this owner.
    fn strike(&self, owner: Key, sessions: Vec<Key>) -> BoxFuture<Result<(), StoreError>> {
        let _ = (owner, sessions);
        Box::pin(async { Ok(()) })
    }
}

/// The name of a record, or of an owner's list: a hash, which lets nobody compute a session id.
///
/// `Debug` does not show it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key([u8; 16]);

impl Key {
    /// The key of these bytes.
    pub const fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The bytes of the key.
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}

/// What [`Backend::load`] found.
#[derive(Clone, PartialEq, Eq)]
pub struct Loaded {
    /// The record, if there is one.
    pub record: Option<Vec<u8>>,
    /// The time by the backend's own clock, since whatever instant: ages and skews of processes do not matter.
    pub now: Duration,
}

impl fmt::Debug for Loaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loaded").field("now", &self.now).finish_non_exhaustive()
    }
}

/// A record to be written in place of another.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Swap {
    /// Under which key.
    pub key: Key,
    /// What was [loaded](Backend::load), to the byte; `None`: nothing. If anything else is there by now, nothing is written.
    pub expected: Option<Vec<u8>>,
    /// What is to be there instead; `None`: nothing.
    pub record: Option<Vec<u8>>,
    /// How long the record has to be kept. Later it may be dropped, and should.
    pub keep_for: Duration,
    /// If it is later by the backend's own clock, nothing is written: whoever asked has been told that it failed.
    pub not_after: Option<Duration>,
    /// A session begins with this: it is refused when room is short. Nothing else should be.
    pub begins: bool,
    /// A session is ended by this: where copies lag behind, one may wait for them.
    pub ends: bool,
}

impl fmt::Debug for Swap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Swap").field("keep_for", &self.keep_for).finish_non_exhaustive()
    }
}

/// What became of a [`Swap`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Swapped {
    /// The record was written.
    Done,
    /// Something else was there, or it was too late. Nothing was written.
    Lost,
    /// There is no room for it. Nothing was written.
    Full,
}

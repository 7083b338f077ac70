//! Sessions in a file, from one process to the next.

use std::{
    collections::HashMap,
    io,
    io::Write,
    path::Path,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use serde::{Deserialize, Serialize};
use siphasher::sip128::SipHasher24;

use super::{
    lock, nanos,
    session_file::{SessionFile, new_beside, remove_leftovers},
    shard::{Content, shard_number},
};
use crate::{
    clock::{boot_id, wall_clock},
    event::{self, SessionEvent},
    rules::{
        IdHash, Record,
        codec::{Entry, Kept},
        id::SessionKey,
        limits::EndReason,
    },
    store::{contract::Store, memory::MemoryStore},
};

const VERSION: u32 = 3;
/// The lengths of a checksum and of a note.
const CHECKSUM: usize = 32;
const NOTE: usize = 1 + 16 + 1 + 10 + 1 + CHECKSUM;

/// What a file holds, after a line with the checksum of the rest, and before a line for each session that ended since it
/// was taken over. The instants of its records are by the clock of the process that saved them; the two clocks tell how
/// long ago that was, or the wall clock alone where the other one counts from another boot.
#[derive(Serialize, Deserialize)]
struct Snapshot {
    version: u32,
    hash_key: [u8; 16],
    wall_clock: Duration,
    store_clock: Duration,
    #[serde(default)]
    boot_id: Option<String>,
    adoptable_for: u64,
    sessions: Vec<SavedSession>,
}

#[derive(Serialize, Deserialize)]
struct SavedSession {
    first_id: IdHash,
    record: Vec<u8>,
}

impl MemoryStore {
    /// Saves all sessions to a file, so that [`restore`](Self::restore) can bring them into the next process, and
    /// closes the store: from here on it answers nobody, and requests hear `503`. So whatever it did, a log-out above
    /// all, is in the file. Call it once the server has answered its last request. It blocks.
    ///
    /// **The file is a secret**: with it, anyone can tell whether an id they guess is somebody's. It holds hashes of
    /// the ids, their key and the owners, but not the ids. On Unix only its owner may read it (`0600`). It takes the
    /// place of an older one at once or not at all. What a process that was killed while it saved has left in the
    /// directory (`.NAME.….new`), the next one removes.
    ///
    /// # Errors
    ///
    /// If the file cannot be written, or if another live process has restored from it
    /// ([`io::ErrorKind::WouldBlock`]); the store then stays open. Or if it is another file than the one the sessions came
    /// from, and that cannot be removed.
    pub fn save(&self, path: impl AsRef<Path>) -> io::Result<()> {
        let reopen = Reopen(&self.closed);
        self.closed.store(true, Relaxed);
        let path = path.as_ref();
        let mut taken_over = self.taken_over.lock();
        let is_ours = taken_over.as_ref().is_some_and(|taken_over| taken_over.file.is_at(path));
        let _not_another_ones = if is_ours { None } else { SessionFile::hold(path)? };
        remove_leftovers(path);
        let mut file = new_beside(path)?;
        let snapshot = serde_json::to_vec(&self.snapshot())?;
        writeln!(file, "{:032x}", checksum(&snapshot))?;
        file.write_all(&snapshot)?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        std::mem::forget(reopen);
        // The file they came from may have been another one.
        taken_over.take().map_or(Ok(()), |taken_over| taken_over.file.remove())
    }

    /// Takes over the sessions another process [saved](Self::save). If there is no file, there is nothing to take over,
    /// and that is no error. It blocks.
    ///
    /// **No two processes that live have taken over the same sessions.** The file is locked until this store is dropped
    /// or saved, or its process is gone, however it ends. For whoever finds it locked for a second there is nothing to
    /// take over; a warning says so in the log (feature `tracing`).
    ///
    /// **A process that is killed loses nobody it has not heard of since.** The file stays until the next one is whole, so
    /// whoever starts next takes the same sessions over again. Those that ended meanwhile stay so: each
    /// end is noted in the file before it is answered; and so are those that were given another id, as if they
    /// had ended. What else happened since then (log-ins, activities, new ids) goes with the process. If an end cannot be
    /// noted, for the disk is full, say, the file is removed. A machine that loses its power may lose the last
    /// notes, too.
    ///
    /// The time in between counts as idle: by the machine's clock and by the wall clock, whichever says more, or on Linux after
    /// a reboot and on another machine by the wall clock alone. Capacity and clock are set before; the sessions are taken over even if they
    /// are more than the capacity.
    ///
    /// ```no_run
    /// use std::sync::Arc;
    /// use tower_session_timeout::{MemoryStore, SessionTimeoutLayer};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let store = Arc::new(MemoryStore::new().restore("/var/lib/shop/sessions")?);
    /// let layer = SessionTimeoutLayer::builder().cookie("sid").store(Arc::clone(&store)).build()?;
    /// // … serve until told to stop, and then:
    /// store.save("/var/lib/shop/sessions")?;
    /// # let _ = layer;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// If the file cannot be read, locked or written to, or is not whole ([`io::ErrorKind::InvalidData`]). Nothing of such
    /// a file is taken over, and one that is not whole is removed.
    pub fn restore(mut self, path: impl AsRef<Path>) -> io::Result<Self> {
        let path = path.as_ref();
        let mut file = match SessionFile::hold(path) {
            Ok(Some(file)) => file,
            Ok(None) => return Ok(self),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                event::warn("no sessions were taken over: a live process has taken over those in the file");
                return Ok(self);
            }
            Err(error) => return Err(error),
        };
        remove_leftovers(path);
        let bytes = file.read()?;
        let Some((length, in_it)) = self.take_over_all(&bytes) else {
            file.remove()?;
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the file with the sessions is damaged"));
        };
        file.cut(length)?;
        self.taken_over.set(TakenOver { file, in_it });
        Ok(self)
    }

    /// How much of the file is whole, and the number of each session in it; `None` if it is damaged.
    fn take_over_all(&mut self, file: &[u8]) -> Option<(u64, HashMap<SessionKey, u64>)> {
        let (snapshot, notes) = parse(file)?;
        let since = |saved: Duration, now: Duration| now.saturating_sub(saved);
        let now = self.clock.now();
        let by_wall_clock = since(snapshot.wall_clock, wall_time());
        // Where nobody knows of boots, the longer time counts: a session may end early, never late.
        let is_another_boot =
            matches!((&snapshot.boot_id, boot_id()), (Some(then), Some(now)) if *then != now);
        let lay =
            if is_another_boot { by_wall_clock } else { by_wall_clock.max(since(snapshot.store_clock, now)) };
        let shift = i128::from(nanos(now)) - i128::from(nanos(snapshot.store_clock)) - i128::from(nanos(lay));
        self.hash_key = snapshot.hash_key;
        self.hasher = SipHasher24::new_with_key(&snapshot.hash_key);
        self.adoptable_for.fetch_max(snapshot.adoptable_for, Relaxed);
        let sessions = snapshot.sessions.iter();
        let keys = sessions.map(|session| self.take_over(session, shift)).collect::<Option<Vec<_>>>()?;
        let mut in_it: HashMap<SessionKey, u64> = keys.iter().copied().zip(0..).collect();
        let (notes, torn) = notes.as_chunks::<NOTE>();
        for note in notes {
            let (number, reason) = read_note(note)?;
            let key = *keys.get(usize::try_from(number).ok()?)?;
            drop(self.end(key, reason));
            in_it.remove(&key);
        }
        // Nobody was told of an end whose note is torn.
        Some(((file.len() - torn.len()) as u64, in_it))
    }

    /// Notes in the file they came from that these sessions have ended.
    pub(super) fn note_ends(&self, events: &[SessionEvent]) {
        self.taken_over.note(events.iter().filter_map(|event| match event {
            SessionEvent::Ended { session, reason, .. } => Some((*session, *reason)),
            _ => None,
        }));
    }

    /// Notes that this session has an id the file knows nothing of, or that one the file has is superseded. Those, which are
    /// about to end or have, must not work again.
    pub(super) fn note_rotation(&self, session: SessionKey) {
        self.taken_over.note([(session, EndReason::Superseded)].into_iter());
    }

    fn snapshot(&self) -> Snapshot {
        // Read before the sessions' ages are: a second counted twice keeps nobody in too long.
        let (wall_clock, store_clock) = (wall_time(), self.clock.now());
        let mut sessions = Vec::with_capacity(self.len());
        for shard in &self.shards {
            let shard = lock(shard);
            let now = self.now();
            sessions.extend(shard.sessions().map(|(first_id, record)| SavedSession {
                first_id,
                record: encode(first_id, record.at_rest(now)),
            }));
        }
        Snapshot {
            version: VERSION,
            hash_key: self.hash_key,
            wall_clock,
            store_clock,
            boot_id: boot_id(),
            adoptable_for: self.adoptable_for.load(Relaxed),
            sessions,
        }
    }

    fn take_over(&self, saved: &SavedSession, shift: i128) -> Option<SessionKey> {
        let first_id = saved.first_id;
        let mut record = Entry::decode(&first_id.to_bytes(), &saved.record)?.record?.content;
        record.shift(shift);
        let owner = record.owner().cloned();
        let ids: Vec<IdHash> = record.ids().iter().map(|issued| issued.id).collect();
        let mut shard = lock(&self.shards[shard_number(first_id) as usize]);
        let (slot, key) = shard.insert(first_id, Content::Session(record));
        if !ids.is_empty() && !ids.contains(&first_id) {
            // Its first id is forgotten, and may be another session's by now.
            shard.unlist(slot);
        }
        drop(shard);
        let later_ids = ids.iter().filter(|&&id| id != first_id);
        let mut number_of_ids = 1;
        for &id in later_ids {
            lock(&self.shards[shard_number(id) as usize]).insert(id, Content::Alias(key));
            number_of_ids += 1;
        }
        self.ids.fetch_add(number_of_ids, Relaxed);
        if let Some(owner) = owner {
            self.owners.add(&owner, key);
        }
        Some(key)
    }
}

/// The file the store's sessions came from, until the next one is whole.
#[derive(Default)]
pub(super) struct Origin(Mutex<Option<TakenOver>>);

pub(super) struct TakenOver {
    file: SessionFile,
    /// The number in the file of each session that is not noted as over.
    in_it: HashMap<SessionKey, u64>,
}

impl Origin {
    fn lock(&self) -> MutexGuard<'_, Option<TakenOver>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, taken_over: TakenOver) {
        *self.lock() = Some(taken_over);
    }

    /// Before anybody hears of it: then a killed process cannot have promised what the next one does not keep.
    fn note(&self, over: impl Iterator<Item = (SessionKey, EndReason)>) {
        let mut over = over.peekable();
        if over.peek().is_none() {
            return;
        }
        let mut origin = self.lock();
        let Some(taken_over) = &mut *origin else { return };
        let mut notes = Vec::new();
        for (session, reason) in over {
            if let Some(number) = taken_over.in_it.remove(&session) {
                notes.extend_from_slice(write_note(number, reason).as_bytes());
            }
        }
        if !notes.is_empty() && taken_over.file.append(&notes).is_err() {
            let gone = origin.take().is_some_and(|taken_over| taken_over.file.remove().is_ok());
            event::error(if gone {
                "the end of a session could not be noted in the file the sessions came from, which was removed"
            } else {
                "the end of a session could not be noted in the file the sessions came from, nor that be removed"
            });
        }
    }
}

/// Opens the store again if it was not saved after all.
struct Reopen<'a>(&'a AtomicBool);

impl Drop for Reopen<'_> {
    fn drop(&mut self) {
        self.0.store(false, Relaxed);
    }
}

fn encode(first_id: IdHash, record: Record) -> Vec<u8> {
    // A file is kept for as long as it is not restored.
    let record = Some(Kept { content: record, until: u64::MAX });
    Entry { record, ..Entry::default() }.encode(&first_id.to_bytes())
}

/// And the notes on sessions that ended since.
fn parse(file: &[u8]) -> Option<(Snapshot, &[u8])> {
    let (sum, rest) = file.split_at_checked(CHECKSUM)?;
    let rest = rest.strip_prefix(b"\n")?;
    let (snapshot, notes) = rest.split_at(rest.iter().position(|&byte| byte == b'\n').unwrap_or(rest.len()));
    if sum != format!("{:032x}", checksum(snapshot)).as_bytes() {
        return None;
    }
    let snapshot: Snapshot = serde_json::from_slice(snapshot).ok()?;
    (snapshot.version == VERSION).then_some((snapshot, notes))
}

/// All notes are of the same length, so that one whose end is missing is told from one that is damaged.
fn write_note(number: u64, reason: EndReason) -> String {
    let note = format!("\n{number:016x} {:<10} ", reason.as_str());
    let sum = checksum(note.as_bytes());
    format!("{note}{sum:032x}")
}

fn read_note(note: &[u8; NOTE]) -> Option<(u64, EndReason)> {
    let text = str::from_utf8(note).ok()?;
    let mut words = text.split_ascii_whitespace();
    let number = u64::from_str_radix(words.next()?, 16).ok()?;
    let reason = EndReason::from_word(words.next()?)?;
    (write_note(number, reason) == text).then_some((number, reason))
}

/// Against damage, not against forgery: who can write the file can write any sum.
fn checksum(bytes: &[u8]) -> u128 {
    SipHasher24::new().hash(bytes).as_u128()
}

fn wall_time() -> Duration {
    (wall_clock() - time::OffsetDateTime::UNIX_EPOCH).try_into().unwrap_or_default()
}

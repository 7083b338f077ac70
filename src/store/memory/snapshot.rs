//! Sessions in a file, from one process to the next.

use std::{
    fs, io,
    io::Write,
    path::Path,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use siphasher::sip128::SipHasher24;

use super::{
    MemoryStore, lock, nanos,
    shard::{Content, shard_number},
};
use crate::{
    clock::wall_clock,
    rules::{
        IdHash, Record,
        codec::{Entry, Kept},
    },
};

const VERSION: u32 = 2;

/// What a file holds, after a line with the checksum of the rest. The instants of its records are by the clock of the
/// process that saved them; the two clocks tell how long ago that was.
#[derive(Serialize, Deserialize)]
struct Snapshot {
    version: u32,
    hash_key: [u8; 16],
    wall_clock: Duration,
    store_clock: Duration,
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
    /// place of an older one at once or not at all.
    ///
    /// # Errors
    ///
    /// If the file cannot be written; the store then stays open.
    pub fn save(&self, path: impl AsRef<Path>) -> io::Result<()> {
        let reopen = Reopen(&self.closed);
        self.closed.store(true, Relaxed);
        let path = path.as_ref();
        let directory = path.parent().filter(|directory| !directory.as_os_str().is_empty());
        let mut file = tempfile::NamedTempFile::new_in(directory.unwrap_or(Path::new(".")))?;
        let snapshot = serde_json::to_vec(&self.snapshot())?;
        writeln!(file, "{:032x}", checksum(&snapshot))?;
        file.write_all(&snapshot)?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        std::mem::forget(reopen);
        Ok(())
    }

    /// Takes over the sessions another process [saved](Self::save), and removes the file: nobody else can take them
    /// over a second time. If there is no file, there is nothing to take over, and that is no error.
    ///
    /// The time in between counts as idle. Capacity and clock are set before; the sessions are taken over even if they
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
    /// If the file cannot be read or removed, or is not whole ([`io::ErrorKind::InvalidData`]). Nothing of such a file is
    /// taken over, and one that is not whole is removed.
    pub fn restore(mut self, path: impl AsRef<Path>) -> io::Result<Self> {
        let path = path.as_ref();
        // Whoever renames it has it, though two processes start at once.
        let mut taken = path.as_os_str().to_owned();
        taken.push(format!(".taken-{}", std::process::id()));
        match fs::rename(path, &taken) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(self),
            renamed => renamed?,
        }
        let file = fs::read(&taken)?;
        fs::remove_file(&taken)?;
        let snapshot = parse(&file).ok_or_else(damaged)?;

        let since = |saved: Duration, now: Duration| now.saturating_sub(saved);
        let now = self.clock.now();
        let lay = since(snapshot.store_clock, now).max(since(snapshot.wall_clock, wall_time()));
        let shift = i128::from(nanos(now)) - i128::from(nanos(snapshot.store_clock)) - i128::from(nanos(lay));
        self.hash_key = snapshot.hash_key;
        self.hasher = SipHasher24::new_with_key(&snapshot.hash_key);
        self.adoptable_for.fetch_max(snapshot.adoptable_for, Relaxed);
        for session in snapshot.sessions {
            self.take_over(&session, shift).ok_or_else(damaged)?;
        }
        Ok(self)
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
            adoptable_for: self.adoptable_for.load(Relaxed),
            sessions,
        }
    }

    fn take_over(&self, saved: &SavedSession, shift: i128) -> Option<()> {
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
        Some(())
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

fn parse(file: &[u8]) -> Option<Snapshot> {
    let end_of_line = file.iter().position(|&byte| byte == b'\n')?;
    let (sum, rest) = file.split_at(end_of_line);
    let rest = &rest[1..];
    let sum = u128::from_str_radix(str::from_utf8(sum).ok()?, 16).ok()?;
    let snapshot: Snapshot = serde_json::from_slice(rest).ok()?;
    (snapshot.version == VERSION && checksum(rest) == sum).then_some(snapshot)
}

/// Against damage, not against forgery: who can write the file can write any sum.
fn checksum(bytes: &[u8]) -> u128 {
    SipHasher24::new().hash(bytes).as_u128()
}

fn damaged() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the file with the sessions is damaged")
}

fn wall_time() -> Duration {
    (wall_clock() - time::OffsetDateTime::UNIX_EPOCH).try_into().unwrap_or_default()
}

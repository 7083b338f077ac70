//! One shard: a slab of slots, and a table that finds the slot of an id.

use std::time::Duration;

use hashbrown::HashTable;

use super::{KEEP_ENDED, SHARDS, session::Session};
use crate::{IdTag, Limits, Owner, SessionEvent, SessionKey};

/// A keyed hash of a session id: all that is kept of it.
#[derive(Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "snapshot", derive(serde::Serialize, serde::Deserialize))]
pub(super) struct IdHash {
    pub(super) bucket: u64,
    pub(super) shard: u64,
}

impl IdHash {
    #[expect(clippy::cast_possible_truncation, reason = "there are few shards")]
    pub(super) fn shard_number(self) -> u32 {
        (self.shard % u64::from(SHARDS)) as u32
    }

    pub(super) fn tag(self) -> IdTag {
        IdTag::new(self.shard.to_le_bytes())
    }
}

/// Where a session's slot is. The generation tells it from later tenants of the slot.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub(super) generation: u64,
    pub(super) shard: u32,
    pub(super) slot: u32,
}

impl Place {
    #[expect(clippy::cast_possible_truncation, reason = "it takes the parts from each other")]
    pub(super) fn of(key: SessionKey) -> Self {
        let bytes = u128::from_le_bytes(key.to_bytes());
        Self { generation: bytes as u64, shard: (bytes >> 64) as u32, slot: (bytes >> 96) as u32 }
    }

    pub(super) fn key(self) -> SessionKey {
        let Self { generation, shard, slot } = self;
        let bytes = u128::from(generation) | u128::from(shard) << 64 | u128::from(slot) << 96;
        SessionKey::new(bytes.to_le_bytes())
    }
}

/// The most generous limits any layer has asked by, in nanoseconds; `absolute` is `u64::MAX` for none. Both are zero
/// before the first question.
#[derive(Clone, Copy)]
pub(super) struct Widest {
    pub(super) idle: u64,
    pub(super) absolute: u64,
}

impl Widest {
    pub(super) fn limits(self) -> Option<Limits> {
        let idle = Duration::from_nanos(self.idle);
        match self.absolute {
            0 => None,
            u64::MAX => Some(Limits::idle_only(idle)),
            absolute => Some(Limits::new(idle, Duration::from_nanos(absolute))),
        }
    }
}

/// What a change leaves to be done once no lock is held.
#[derive(Default)]
pub(super) struct Aftermath {
    /// The session that is being changed.
    pub(super) session: SessionKey,
    pub(super) events: Vec<SessionEvent>,
    /// Ids that lead to a session no longer.
    pub(super) orphans: Vec<(IdHash, SessionKey)>,
    /// Sessions to be struck off their owners' lists.
    pub(super) disowned: Vec<(Owner, SessionKey)>,
    /// Slots freed and still counted.
    pub(super) freed: usize,
}

#[derive(Default)]
pub(super) struct Shard {
    table: HashTable<u32>,
    slots: Vec<Slot>,
    /// The first free slot; free slots are chained. As many as there are slots, if none is free.
    free: u32,
    generations: u64,
    /// Where tidying goes on.
    tidied: u32,
}

struct Slot {
    id: IdHash,
    generation: u64,
    content: Content,
}

pub(super) enum Content {
    Free {
        next: u32,
    },
    /// A later id of a session whose slot is in its first id's shard.
    Leads(SessionKey),
    Session(Session),
}

impl Shard {
    pub(super) fn find(&self, id: IdHash) -> Option<u32> {
        self.table.find(id.bucket, |&slot| self.slots[slot as usize].id == id).copied()
    }

    pub(super) fn content(&mut self, slot: u32) -> &mut Content {
        &mut self.slots[slot as usize].content
    }

    pub(super) fn key(&self, slot: u32) -> SessionKey {
        let Slot { id, generation, .. } = &self.slots[slot as usize];
        Place { generation: *generation, shard: id.shard_number(), slot }.key()
    }

    /// A session and the id it began with.
    pub(super) fn session(&mut self, place: Place) -> Option<(IdHash, &mut Session)> {
        match self.slots.get_mut(place.slot as usize) {
            Some(Slot { id, generation, content: Content::Session(session) })
                if *generation == place.generation =>
            {
                Some((*id, session))
            }
            _ => None,
        }
    }

    /// All sessions, with the id each began with.
    #[cfg(feature = "snapshot")]
    pub(super) fn sessions(&self) -> impl Iterator<Item = (IdHash, &Session)> {
        self.slots.iter().filter_map(|slot| match &slot.content {
            Content::Session(session) => Some((slot.id, session)),
            _ => None,
        })
    }

    pub(super) fn number_of_slots(&self) -> u32 {
        u32::try_from(self.slots.len()).expect("a shard has fewer than 2^32 slots")
    }

    pub(super) fn insert(&mut self, id: IdHash, content: Content) -> (u32, SessionKey) {
        self.generations += 1;
        let filled = Slot { id, generation: self.generations, content };
        let slot = self.free;
        if let Some(free) = self.slots.get_mut(slot as usize) {
            if let Content::Free { next } = free.content {
                self.free = next;
            }
            *free = filled;
        } else {
            self.slots.push(filled);
            self.free = self.number_of_slots();
        }
        let slots = &self.slots;
        self.table.insert_unique(id.bucket, slot, |&slot| slots[slot as usize].id.bucket);
        (slot, self.key(slot))
    }

    /// Takes a slot out of the table: its id leads there no longer.
    pub(super) fn unlist(&mut self, slot: u32) {
        let bucket = self.slots[slot as usize].id.bucket;
        if let Ok(entry) = self.table.find_entry(bucket, |&listed| listed == slot) {
            entry.remove();
        }
    }

    pub(super) fn remove(&mut self, slot: u32) -> Content {
        self.unlist(slot);
        let next = std::mem::replace(&mut self.free, slot);
        std::mem::replace(self.content(slot), Content::Free { next })
    }

    /// Frees a session's slot, and leaves its ids to the aftermath.
    pub(super) fn free(&mut self, slot: u32, aftermath: &mut Aftermath) {
        let key = self.key(slot);
        if let Content::Session(session) = self.remove(slot) {
            aftermath.orphans.extend(session.ids().iter().map(|issued| (issued.id, key)));
            aftermath.disowned.extend(session.owner().map(|owner| (owner, key)));
        }
        aftermath.freed += 1;
    }

    /// Looks at the next few slots and clears away what is over.
    pub(super) fn tidy(&mut self, slots: u32, now: u64, widest: Widest, aftermath: &mut Aftermath) {
        for _ in 0..slots {
            let slot = if (self.tidied as usize) < self.slots.len() { self.tidied } else { 0 };
            self.tidied = slot + 1;
            self.clear(slot, now, widest, KEEP_ENDED, aftermath);
        }
    }

    /// Ends the session in this slot if it is over; frees the slot if it ended long enough ago.
    pub(super) fn clear(
        &mut self,
        slot: u32,
        now: u64,
        widest: Widest,
        keep_ended: u64,
        aftermath: &mut Aftermath,
    ) {
        let Some(Slot { content: Content::Session(session), .. }) = self.slots.get_mut(slot as usize) else {
            return;
        };
        if session.is_clearly_live(now, widest) {
            return;
        }
        aftermath.session = self.key(slot);
        let Content::Session(session) = self.content(slot) else { return };
        session.end_if_over_for_all(widest, now, aftermath);
        let keep_ended = keep_ended.max(session.remembered());
        if session.ended_at().is_some_and(|at| now.saturating_sub(at) >= keep_ended) {
            self.free(slot, aftermath);
        }
    }
}

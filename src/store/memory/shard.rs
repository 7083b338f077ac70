//! One shard: a slab of slots, and a table that finds the slot of an id.

use hashbrown::HashTable;

use super::SHARDS;
use crate::{
    event::SessionEvent,
    rules::{
        Effects, IdHash, Record, Widest,
        id::{Owner, SessionKey},
    },
};

#[expect(clippy::cast_possible_truncation, reason = "there are few shards")]
pub(super) fn shard_number(id: IdHash) -> u32 {
    (id.low % u64::from(SHARDS)) as u32
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

/// What a change leaves to be done once no lock is held. Nearly always nothing, hence the box.
#[derive(Default)]
pub(super) struct Deferred(pub(super) Option<Box<Work>>);

#[derive(Default)]
pub(super) struct Work {
    pub(super) events: Vec<SessionEvent>,
    /// Ids that are none of a session any more.
    pub(super) dropped: Vec<(IdHash, SessionKey)>,
    /// Ended sessions, to be struck off their owners' lists.
    pub(super) disowned: Vec<(Owner, SessionKey)>,
    /// Slots freed and still counted.
    pub(super) freed: usize,
    /// Sessions of which ids that worked cease to.
    #[cfg(feature = "snapshot")]
    pub(super) retired: Vec<SessionKey>,
}

impl Deferred {
    pub(super) fn work(&mut self) -> &mut Work {
        self.0.get_or_insert_default()
    }

    #[inline]
    pub(super) fn add(&mut self, session: SessionKey, effects: Effects) {
        if effects.ended.is_some() || effects.retired || !effects.dropped.is_empty() {
            self.add_all(session, effects);
        }
    }

    #[cold]
    fn add_all(&mut self, session: SessionKey, effects: Effects) {
        let work = self.work();
        if let Some(ended) = effects.ended {
            work.disowned.extend(ended.owner.clone().map(|owner| (owner, session)));
            work.events.push(SessionEvent::ended(session, *ended));
        }
        #[cfg(feature = "snapshot")]
        work.retired.extend(effects.retired.then_some(session));
        work.dropped.extend(effects.dropped.into_iter().map(|id| (id, session)));
    }
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
    Alias(SessionKey),
    Session(Record),
}

impl Shard {
    pub(super) fn find(&self, id: IdHash) -> Option<u32> {
        self.table.find(id.high, |&slot| self.slots[slot as usize].id == id).copied()
    }

    pub(super) fn content(&mut self, slot: u32) -> &mut Content {
        &mut self.slots[slot as usize].content
    }

    pub(super) fn key(&self, slot: u32) -> SessionKey {
        let Slot { id, generation, .. } = &self.slots[slot as usize];
        Place { generation: *generation, shard: shard_number(*id), slot }.key()
    }

    /// A session and the id it began with.
    pub(super) fn session(&mut self, place: Place) -> Option<(IdHash, &mut Record)> {
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
    pub(super) fn sessions(&self) -> impl Iterator<Item = (IdHash, &Record)> {
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
        self.table.insert_unique(id.high, slot, |&slot| slots[slot as usize].id.high);
        (slot, self.key(slot))
    }

    /// Takes a slot out of the table: nobody finds it by its id any more.
    pub(super) fn unlist(&mut self, slot: u32) {
        let bucket = self.slots[slot as usize].id.high;
        if let Ok(entry) = self.table.find_entry(bucket, |&listed| listed == slot) {
            entry.remove();
        }
    }

    pub(super) fn remove(&mut self, slot: u32) -> Content {
        self.unlist(slot);
        let next = std::mem::replace(&mut self.free, slot);
        std::mem::replace(self.content(slot), Content::Free { next })
    }

    /// Frees a session's slot. Its ids are left to be removed.
    pub(super) fn free(&mut self, slot: u32, deferred: &mut Deferred) {
        let key = self.key(slot);
        let work = deferred.work();
        if let Content::Session(session) = self.remove(slot) {
            work.dropped.extend(session.ids().iter().map(|issued| (issued.id, key)));
        }
        work.freed += 1;
    }

    /// Looks at the next few slots and clears away what has ended.
    pub(super) fn tidy(
        &mut self,
        slots: u32,
        now: u64,
        widest: Widest,
        keep_ended: u64,
        deferred: &mut Deferred,
    ) {
        for _ in 0..slots {
            let slot = if (self.tidied as usize) < self.slots.len() { self.tidied } else { 0 };
            self.tidied = slot + 1;
            self.clear(slot, now, widest, keep_ended, deferred);
        }
    }

    /// Ends the session in this slot if it has ended; frees the slot if it ended long enough ago.
    pub(super) fn clear(
        &mut self,
        slot: u32,
        now: u64,
        widest: Widest,
        keep_ended: u64,
        deferred: &mut Deferred,
    ) {
        let Some(Slot { content: Content::Session(session), .. }) = self.slots.get_mut(slot as usize) else {
            return;
        };
        if session.is_clearly_live(now, widest) {
            return;
        }
        self.clear_unclear(slot, now, widest, keep_ended, deferred);
    }

    #[cold]
    fn clear_unclear(
        &mut self,
        slot: u32,
        now: u64,
        widest: Widest,
        keep_ended: u64,
        deferred: &mut Deferred,
    ) {
        let Content::Session(session) = self.content(slot) else { return };
        let mut effects = Effects::default();
        session.end_if_expired_for_all(widest, now, &mut effects);
        let is_forgotten = session.ended_at().is_some_and(|at| now.saturating_sub(at) >= keep_ended);
        deferred.add(self.key(slot), effects);
        if is_forgotten {
            self.free(slot, deferred);
        }
    }
}

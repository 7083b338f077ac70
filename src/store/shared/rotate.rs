//! A session gets a further id.

use crate::{
    rules::{IdHash, Reissued, codec::Entry, limits::Policy},
    store::{
        answer::{Rotated, StoreError},
        backend::{Backend, Key, Swapped},
    },
};

use super::{SharedStore, Write, begin::Placed, concurrent::for_all, full, keys::hash_of};

impl<B: Backend> SharedStore<B> {
    pub(super) async fn rotate_to(
        self,
        session: Key,
        new: Key,
        is_presented: bool,
        policy: Policy,
    ) -> Result<Rotated, StoreError> {
        let (id, first_id) = (hash_of(new), hash_of(session));
        let issued = self
            .change(session, Write::ByAllMeans, |record, now, effects| {
                if record.end_if_expired(&policy, now, effects) {
                    return (Reissued::Stale, None);
                }
                let issued = record.reissue(id, first_id, is_presented, policy.rotation_grace, now);
                if matches!(issued, Reissued::New) {
                    record.add_id(id, first_id, now, usize::MAX, effects);
                }
                (issued, record.own_limits())
            })
            .await?;
        let Some(((issued, own), swapped, dropped)) = issued else { return Ok(Rotated::Refused) };
        let rotated = match issued {
            Reissued::Stale => return Ok(Rotated::Refused),
            Reissued::Works => Rotated::AlreadyLive,
            Reissued::New => Rotated::New,
        };
        if swapped == Swapped::Full {
            return Err(full());
        }
        if is_presented {
            // It led here just now.
            return Ok(rotated);
        }
        let placed = self.place(new, session, own, &policy).await;
        self.drop_aliases(session, dropped).await;
        match placed? {
            Placed::Done => Ok(rotated),
            Placed::Live(live) if live == session => Ok(rotated),
            Placed::Live(_) => {
                // Live already, under another session: it may leave, and keeps that session's clocks.
                self.forget(session, new).await?;
                Ok(Rotated::AlreadyLive)
            }
            Placed::Full => {
                self.forget(session, new).await?;
                Err(full())
            }
        }
    }

    /// Removes the aliases of ids that are none of the session's any more. If that fails, they age out.
    pub(super) async fn drop_aliases(&self, session: Key, ids: Vec<IdHash>) {
        for_all(ids, |id| {
            let store = self.clone();
            async move {
                let Ok(found) = store.load(Key::new(id.to_bytes())).await else { return };
                let is_alias =
                    found.entry.alias.as_ref().is_some_and(|alias| alias.content == session.to_bytes());
                // A record that is there as well is none of this id's any more.
                if is_alias && found.entry.record.is_none() {
                    let _ = store.write(&found, Entry::default(), Write::ByAllMeans).await;
                }
            }
        })
        .await;
    }
}

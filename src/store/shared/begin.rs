//! Sessions begin, and are adopted.

use crate::{
    rules::{
        Record,
        codec::{Entry, Kept},
        id::SessionKey,
        limits::{Limits, Policy},
        new_session::NewSession,
    },
    store::{
        answer::{Adopted, Started, StoreError},
        backend::{Backend, Key, Swapped},
    },
};

use super::{SharedStore, Write, contended, keys::hash_of};

/// What became of an id that is to be an alias.
pub(super) enum Placed {
    Done,
    /// It is an id of this live session already.
    Live(Key),
    Full,
}

impl<B: Backend> SharedStore<B> {
    pub(super) async fn begin(self, id: Key, new: NewSession, policy: Policy) -> Result<Started, StoreError> {
        let started = self.begin_uncounted(id, &new, &policy).await?;
        let is_counted = match started {
            Started::New(session) => self.count_in(id, Key::new(session.to_bytes()), &new).await?,
            Started::AlreadyLive(session) => self.is_counted(Key::new(session.to_bytes()), &new).await?,
            Started::AtCapacity | Started::TooMany => true,
        };
        Ok(if is_counted { started } else { Started::TooMany })
    }

    async fn begin_uncounted(
        &self,
        id: Key,
        new: &NewSession,
        policy: &Policy,
    ) -> Result<Started, StoreError> {
        let mut attempts = self.attempts();
        while attempts.next().await {
            let found = self.load(id).await?;
            if let Some(live) = self.live_session_of(id, &found, policy).await? {
                return Ok(Started::AlreadyLive(SessionKey::new(live.to_bytes())));
            }
            if !found.entry.is_empty() {
                match self.begin_anew(id, new, policy).await? {
                    Some(started) => return Ok(started),
                    None => continue,
                }
            }
            self.list_owner(id, new, policy).await?;
            let record = Record::new(new, found.now);
            let record = Some(Kept { content: record, until: 0 });
            match self.write(&found, Entry { record, ..Entry::default() }, Write::Start).await? {
                Swapped::Done => return Ok(Started::New(SessionKey::new(id.to_bytes()))),
                Swapped::Full => return Ok(Started::AtCapacity),
                Swapped::Lost => {}
            }
        }
        Err(contended())
    }

    /// Something has been here that others may still know by its name: the session gets another one, and the id is an
    /// alias of it. `None`: it has to be tried again.
    async fn begin_anew(
        &self,
        id: Key,
        new: &NewSession,
        policy: &Policy,
    ) -> Result<Option<Started>, StoreError> {
        let mut name = [0; 16];
        getrandom::fill(&mut name).map_err(|_| StoreError::new("no random numbers"))?;
        let session = Key::new(name);
        self.list_owner(session, new, policy).await?;
        let found = self.load(session).await?;
        let mut record = Record::new(new, found.now);
        record.begin_ids_with(hash_of(id));
        let record = Some(Kept { content: record, until: 0 });
        match self.write(&found, Entry { record, ..Entry::default() }, Write::Start).await? {
            Swapped::Done => {}
            Swapped::Full => return Ok(Some(Started::AtCapacity)),
            Swapped::Lost => return Ok(None),
        }
        let placed = self.place(id, session, new.limits, policy).await;
        if !matches!(placed, Ok(Placed::Done)) {
            self.withdraw_start(id, session).await;
        }
        Ok(Some(match placed? {
            Placed::Done => Started::New(SessionKey::new(session.to_bytes())),
            Placed::Live(live) => Started::AlreadyLive(SessionKey::new(live.to_bytes())),
            Placed::Full => Started::AtCapacity,
        }))
    }

    /// Nobody has heard of this session yet, nor will.
    pub(super) async fn withdraw_start(&self, id: Key, session: Key) {
        let mut attempts = self.attempts();
        while attempts.next().await
            && let Ok(found) = self.load(session).await
        {
            let entry = Entry { record: None, ..found.entry.clone() };
            if self.write(&found, entry, Write::ByAllMeans).await.ok() != Some(Swapped::Lost) {
                break;
            }
        }
        if id != session {
            self.drop_aliases(session, vec![hash_of(id)]).await;
        }
    }

    /// Makes the id an alias of this session, and of no other; unless it is an id of a live one.
    pub(super) async fn place(
        &self,
        id: Key,
        session: Key,
        own: Option<Limits>,
        policy: &Policy,
    ) -> Result<Placed, StoreError> {
        let mut attempts = self.attempts();
        while attempts.next().await {
            let found = self.load(id).await?;
            if found.entry.alias.as_ref().is_some_and(|alias| alias.content == session.to_bytes()) {
                if let Some(of) = self.load_known(session).await? {
                    self.keep_alias(&found, &of).await?;
                }
                return Ok(Placed::Done);
            }
            if let Some(live) = self.live_session_of(id, &found, policy).await? {
                return Ok(Placed::Live(live));
            }
            let mut entry = found.entry.clone();
            if let Some(alias) = &entry.alias {
                let other = Key::new(alias.content);
                self.forget(other, id).await?;
            } else if let Some(Kept { content: record, .. }) = &mut entry.record {
                // It lives on under newer ids, or has ended: this id is another session's.
                record.forget(hash_of(id), hash_of(id));
            }
            let until = found.now.saturating_add(self.alias_life(own));
            entry.alias = (id != session).then(|| Kept { content: session.to_bytes(), until });
            match self.write(&found, entry, Write::ByAllMeans).await? {
                Swapped::Done => return Ok(Placed::Done),
                Swapped::Full => return Ok(Placed::Full),
                Swapped::Lost => {}
            }
        }
        Err(contended())
    }

    pub(super) async fn forget(&self, session: Key, id: Key) -> Result<(), StoreError> {
        self.change(session, Write::ByAllMeans, |record, _, _| {
            record.forget(hash_of(id), hash_of(session));
        })
        .await
        .map(drop)
    }

    pub(super) async fn adopt_session(
        self,
        id: Key,
        new: NewSession,
        policy: Policy,
    ) -> Result<Adopted, StoreError> {
        if self.backend.may_evict().await? {
            return Err(StoreError::new(
                "ended sessions could be forgotten to make room: no session can be adopted",
            ));
        }
        let mut attempts = self.attempts();
        while attempts.next().await {
            let found = self.load(id).await?;
            if !found.entry.is_empty() {
                return Ok(Adopted::Known);
            }
            self.list_owner(id, &new, &policy).await?;
            let record = Some(Kept { content: Record::adopted(&new, found.now), until: 0 });
            return Ok(
                match self.write(&found, Entry { record, ..Entry::default() }, Write::Start).await? {
                    Swapped::Done if self.count_in(id, id, &new).await? => {
                        Adopted::New(SessionKey::new(id.to_bytes()))
                    }
                    Swapped::Done => Adopted::TooMany,
                    Swapped::Full => Adopted::AtCapacity,
                    Swapped::Lost => continue,
                },
            );
        }
        Err(contended())
    }
}

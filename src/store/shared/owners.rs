//! Owners: which sessions they have, and how many they may.

use std::time::Duration;

use crate::{
    rules::{
        Effects, Record,
        codec::{Entry, Kept},
        id::{Owner, SessionKey},
        limits::{EndReason, Limits, Policy},
        nanos,
        new_session::{MaxSessions, NewSession, SessionInfo, sort_longest_idle_first},
    },
    store::{
        answer::{NoOwners, StoreError},
        backend::{Backend, Key, Swapped},
    },
};

use super::{
    Found, SharedStore, Write,
    concurrent::{AT_ONCE, for_all},
    contended, full,
    keys::{hash_of, key_of_owner, key_of_roster},
};

/// How long an owner's list is kept after the last log-in, if all its sessions end by then.
const OWNERS_LIST: Duration = Duration::from_secs(400 * 24 * 3600);
/// How long an owner's roster is kept, if a session on it may last for ever.
const ROSTER_WITHOUT_ABSOLUTE: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
/// Of how many sessions a roster is made that was not kept from the first on.
const LONGEST_ROSTER: usize = 1024;

/// What became of a session on an owner's list.
enum Listed {
    EndedNow,
    /// It has ended, or the name is another session's by now.
    Dead,
    /// It may be about to begin.
    Missing,
}

impl<B: Backend> SharedStore<B> {
    /// Counts a session among its owner's, if those are limited. `false` if there are too many; then it did not begin.
    pub(super) async fn count_in(&self, id: Key, session: Key, new: &NewSession) -> Result<bool, StoreError> {
        let Some((owner, limit)) = new.limit() else { return Ok(true) };
        let counted = self.enrol(session, owner, limit, new.limits).await;
        if !matches!(counted, Ok(true)) {
            self.withdraw_start(id, session).await;
        }
        counted
    }

    /// A session that was found live may be one that this very log-in began, if the answer to that was lost.
    pub(super) async fn is_counted(&self, session: Key, new: &NewSession) -> Result<bool, StoreError> {
        let Some((owner, limit)) = new.limit() else { return Ok(true) };
        match self.info(session, owner, &Policy::new(self.widest())).await? {
            Some(_) => self.enrol(session, owner, limit, new.limits).await,
            None => Ok(true),
        }
    }

    /// Puts a session on its owner's roster, which has no more than the limit. Who is taken off it has ended before, and no
    /// session is answered that is not on it: so there are never more, however many begin at the same time.
    pub(super) async fn enrol(
        &self,
        session: Key,
        owner: &Owner,
        limit: MaxSessions,
        own: Option<Limits>,
    ) -> Result<bool, StoreError> {
        let key = key_of_roster(owner);
        let mut attempts = self.attempts();
        while attempts.next().await {
            let found = self.load_or_replace(key).await?;
            let enrolled: Vec<Key> = match &found.entry.roster {
                Some(roster) if roster.content.contains(&session.to_bytes()) => return Ok(true),
                Some(roster) => roster.content.iter().copied().map(Key::new).collect(),
                // Nobody has counted before, or what was there is spoiled.
                None => self.listed_sessions(owner).await?,
            };
            let others = enrolled.into_iter().filter(|&other| other != session).collect();
            let mut others = self.live_sessions(others, owner, &Policy::new(self.widest())).await?;
            let Some(to_end) = limit.to_end(others.len()) else { return Ok(false) };
            sort_longest_idle_first(&mut others);
            for ended in others.drain(..to_end) {
                let key = Key::new(ended.key.to_bytes());
                self.finish(key, EndReason::Revoked, |record| record.owner() == Some(owner)).await?;
            }
            let content = others.iter().map(|other| other.key.to_bytes()).chain([session.to_bytes()]);
            let content = content.collect();
            let absolute = own.unwrap_or_else(|| self.widest()).absolute();
            let keep_for = absolute.unwrap_or(ROSTER_WITHOUT_ABSOLUTE).max(OWNERS_LIST);
            let until = found.now.saturating_add(nanos(keep_for));
            let until = found.entry.roster.as_ref().map_or(0, |roster| roster.until).max(until);
            let entry = Entry { roster: Some(Kept { content, until }), ..Entry::default() };
            match self.write(&found, entry, Write::ByAllMeans).await? {
                Swapped::Done => return Ok(true),
                Swapped::Full => return Err(full()),
                Swapped::Lost => {}
            }
        }
        Err(contended())
    }

    /// Of those that are on the owner's list, if there is one.
    async fn listed_sessions(&self, owner: &Owner) -> Result<Vec<Key>, StoreError> {
        match self.backend.listed(key_of_owner(owner)).await {
            Ok(mut listed) => {
                listed.truncate(LONGEST_ROSTER);
                Ok(listed)
            }
            Err(error) if error.is::<NoOwners>() => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// Those of these that are this owner's, and live.
    pub(super) async fn live_sessions(
        &self,
        sessions: Vec<Key>,
        owner: &Owner,
        policy: &Policy,
    ) -> Result<Vec<SessionInfo>, StoreError> {
        let asked = for_all(sessions, |session| {
            let (store, owner, policy) = (self.clone(), owner.clone(), *policy);
            async move { store.info(session, &owner, &policy).await }
        });
        asked.await.into_iter().filter_map(Result::transpose).collect()
    }

    /// The live session of this id, if there is one. What is found to have expired ends.
    pub(super) async fn live_session_of(
        &self,
        id: Key,
        found: &Found,
        policy: &Policy,
    ) -> Result<Option<Key>, StoreError> {
        let session = match &found.entry.alias {
            Some(alias) => Key::new(alias.content),
            None if found.entry.record.is_some() => id,
            None => return Ok(None),
        };
        let is_live = self
            .change(session, Write::ByAllMeans, |record, now, effects| {
                record.is_live_under(hash_of(id), hash_of(session), policy, now, effects)
            })
            .await?;
        Ok(is_live.and_then(|(is_live, ..)| is_live.then_some(session)))
    }

    /// A live session of this owner's.
    async fn info(
        &self,
        session: Key,
        owner: &Owner,
        policy: &Policy,
    ) -> Result<Option<SessionInfo>, StoreError> {
        let found = self.load_known(session).await?;
        let Some((mut record, now)) = found.and_then(|found| Some((found.entry.record?.content, found.now)))
        else {
            return Ok(None);
        };
        record.set_back_to(now);
        if record.owner() != Some(owner) {
            return Ok(None);
        }
        let key = SessionKey::new(session.to_bytes());
        Ok(record.info(key, &self.context(policy, now), &mut Effects::default()))
    }

    pub(super) async fn finish(
        &self,
        session: Key,
        reason: EndReason,
        is_meant: impl Fn(&Record) -> bool,
    ) -> Result<bool, StoreError> {
        let ended = self
            .change(session, Write::End, |record, now, effects| {
                is_meant(record) && record.end(reason, now, effects)
            })
            .await?;
        match ended {
            Some((true, Swapped::Full, _)) => Err(full()),
            Some((ended, ..)) => Ok(ended),
            None => Ok(false),
        }
    }

    /// Its owner's list first: who ends all sessions of an owner must not miss one.
    pub(super) async fn list_owner(
        &self,
        session: Key,
        new: &NewSession,
        policy: &Policy,
    ) -> Result<(), StoreError> {
        let Some(owner) = &new.owner else { return Ok(()) };
        let backend = &self.backend;
        let absolute = new.limits.unwrap_or(policy.limits).absolute();
        let keep_for = absolute.is_some_and(|absolute| absolute < OWNERS_LIST).then_some(OWNERS_LIST);
        let list = key_of_owner(owner);
        for old in backend.list(list, session, keep_for).await? {
            // By no layer's limits: others may have laxer ones.
            let found = self.load_known(old).await?;
            let record = found.as_ref().and_then(|found| found.entry.record.as_ref());
            let may_be_live = record.is_some_and(|record| record.content.ended_at().is_none());
            if may_be_live && record.is_some_and(|record| record.content.owner() == Some(owner)) {
                backend.list(list, old, keep_for).await?;
            } else {
                backend.strike(list, vec![old]).await?;
            }
        }
        Ok(())
    }

    pub(super) async fn end_all_of(
        self,
        owner: Owner,
        except: Option<SessionKey>,
    ) -> Result<usize, StoreError> {
        let except = except.map(|except| Key::new(except.to_bytes()));
        let list = key_of_owner(&owner);
        let sessions = self.backend.listed(list).await?;
        let others: Vec<Key> = sessions.into_iter().filter(|&session| Some(session) != except).collect();
        let mut number = 0;
        for some in others.chunks(AT_ONCE) {
            let ends = for_all(some.to_vec(), |session| {
                let (store, owner) = (self.clone(), owner.clone());
                async move { (session, store.end_listed(session, &owner).await) }
            });
            let (mut dead, mut failed) = (Vec::new(), None);
            for (session, end) in ends.await {
                match end {
                    Ok(Listed::EndedNow) => number += 1,
                    Ok(Listed::Dead) => dead.push(session),
                    Ok(Listed::Missing) => {}
                    Err(error) => failed = Some(error),
                }
            }
            // So that who asks again has less to do.
            if !dead.is_empty() {
                self.backend.strike(list, dead).await?;
            }
            if let Some(error) = failed {
                return Err(error);
            }
        }
        Ok(number)
    }

    async fn end_listed(&self, session: Key, owner: &Owner) -> Result<Listed, StoreError> {
        let Some(found) = self.load_known(session).await? else { return Ok(Listed::Dead) };
        let Some(Kept { content: record, .. }) = found.entry.record else { return Ok(Listed::Missing) };
        if record.owner() != Some(owner) || record.ended_at().is_some() {
            return Ok(Listed::Dead);
        }
        let ended = self.finish(session, EndReason::Revoked, |record| record.owner() == Some(owner)).await?;
        Ok(if ended { Listed::EndedNow } else { Listed::Dead })
    }
}

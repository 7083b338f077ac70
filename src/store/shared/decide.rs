//! Whether an id's session is live, and what a session has left.

use std::time::Duration;

use crate::{
    rules::{
        self, Context, Effects, Record,
        codec::Kept,
        decision::{Access, Decision},
        id::SessionKey,
        limits::{EndReason, Limits, Policy, Verdict},
        nanos,
    },
    store::{
        answer::StoreError,
        backend::{Backend, Key, Swapped},
    },
};

use super::{Found, SharedStore, Write, contended, keys::hash_of};

impl<B: Backend> SharedStore<B> {
    pub(super) async fn decide(
        self,
        id: Key,
        policy: Policy,
        access: Access,
    ) -> Result<Decision, StoreError> {
        let asked = self.process.clock.now();
        // When the request came, by the backend's clock: a second attempt is no later activity.
        let mut came = None;
        let mut attempts = self.attempts();
        while attempts.next().await {
            let Some(mut found) = self.load_known(id).await? else { return Ok(Decision::UNKNOWN) };
            let first = *came.get_or_insert(found.now);
            let mut session = id;
            if let Some(alias) = &found.entry.alias {
                session = Key::new(alias.content);
                let Some(of) = self.load_known(session).await? else { return Ok(Decision::UNKNOWN) };
                if access != Access::Peek {
                    self.keep_alias(&found, &of).await?;
                }
                found = of;
            }
            let mut entry = found.entry.clone();
            let Some(Kept { content: record, .. }) = &mut entry.record else { return Ok(Decision::UNKNOWN) };
            let since = Duration::from_nanos(found.now.saturating_sub(first));
            let access = match access {
                Access::Passive => Access::Passive,
                Access::Renew | Access::Hold if since.is_zero() => Access::Renew,
                Access::Renew | Access::Hold => Access::RenewAgo(since),
                // It was that long ago as this was asked, and the way here took its time.
                Access::RenewAgo(ago) => {
                    Access::RenewAgo(ago.saturating_add(self.process.clock.now().saturating_sub(asked)))
                }
                Access::Peek => Access::Peek,
            };
            record.set_back_to(found.now);
            let before = record.clone();
            let mut context = self.context(&policy, found.now);
            if let Some(granularity) = &mut context.granularity {
                granularity.at_least = since;
            }
            let mut effects = Effects::default();
            let key = SessionKey::new(session.to_bytes());
            let decision = record.check(hash_of(id), hash_of(session), key, access, &context, &mut effects);
            if access == Access::Peek {
                return Ok(decision);
            }
            let write = if effects.ended.is_some() { Write::End } else { Write::InTime(asked) };
            match self.write(&found, entry, write).await? {
                Swapped::Done => {
                    self.finish_end(session, effects.ended).await;
                    return Ok(decision);
                }
                Swapped::Lost => {}
                // What is not recorded is not promised.
                Swapped::Full => return Ok(as_recorded(decision, &before, &context)),
            }
        }
        Err(contended())
    }

    /// An alias is kept for as long as it is used.
    pub(super) async fn keep_alias(&self, found: &Found, of: &Found) -> Result<(), StoreError> {
        let Some(record) = &of.entry.record else { return Ok(()) };
        let mut entry = found.entry.clone();
        let (life, Some(alias)) = (self.alias_life(record.content.own_limits()), &mut entry.alias) else {
            return Ok(());
        };
        // No shorter than its session.
        if alias.until >= record.until && alias.until.saturating_sub(found.now) >= life / 2 {
            return Ok(());
        }
        alias.until = found.now.saturating_add(life).max(record.until);
        // If others change it meanwhile, it is theirs to keep.
        self.write(found, entry, Write::ByAllMeans).await.map(drop)
    }

    /// The session goes on, whichever of its ids is in use: so do they.
    pub(super) async fn keep_aliases(&self, session: Key) -> Result<(), StoreError> {
        let Some(of) = self.load_known(session).await? else { return Ok(()) };
        let Some(record) = &of.entry.record else { return Ok(()) };
        for id in record.content.working_ids().map(|id| Key::new(id.to_bytes())).filter(|&id| id != session) {
            if let Some(found) = self.load_known(id).await?
                && found.entry.alias.as_ref().is_some_and(|alias| alias.content == session.to_bytes())
            {
                self.keep_alias(&found, &of).await?;
            }
        }
        Ok(())
    }

    /// How long an id is an alias of a session with these limits of its own, in nanoseconds.
    pub(super) fn alias_life(&self, own: Option<Limits>) -> u64 {
        let limits = own.unwrap_or_else(|| self.widest());
        let session = limits.absolute().unwrap_or_else(|| limits.idle().saturating_mul(2));
        nanos(session.saturating_add(rules::KEEP_ENDED))
    }

    pub(super) async fn look_at(&self, session: Key, policy: &Policy) -> Result<Verdict, StoreError> {
        let found = self.load_known(session).await?;
        let Some((mut record, now)) = found.and_then(|found| Some((found.entry.record?.content, found.now)))
        else {
            return Ok(Verdict::Ended(EndReason::Unknown));
        };
        record.set_back_to(now);
        Ok(record.look(&self.context(policy, now), &mut Effects::default()).0)
    }
}

/// What a decision to renew comes to if the renewal could not be written down.
pub(super) fn as_recorded(decision: Decision, before: &Record, context: &Context<'_>) -> Decision {
    let Decision::Live(live) = decision else { return decision };
    match before.clone().look(context, &mut Effects::default()) {
        (Verdict::Live(remaining), _) => Decision::Live(live.with_remaining(remaining)),
        _ => Decision::Live(live),
    }
}

//! Settle: the store is told what an answer says happened.

#[cfg(feature = "rescue")]
use crate::rescue::user::User;
use crate::{
    middleware::{
        admitted::Admitted,
        logout::Logout,
        plan::{Change, Outcome},
        store_handle::StoreHandle,
    },
    rules::{
        decision::{Access, Decision},
        id::{IdTag, SessionId, SessionKey},
        limits::{EndReason, Verdict},
        new_session::NewSession,
    },
    store::answer::{BoxFuture, Restarted, Rotated, Started, StoreError},
};

impl Admitted {
    /// It borrows nothing, so that it can go on without its request.
    pub(crate) fn settle(&mut self, change: Change) -> BoxFuture<Outcome> {
        let logout = match change {
            Change::LogOut => self.logout().map(Logout::end),
            _ => None,
        };
        let withdrawal = self.rare.as_mut().and_then(|rare| rare.withdrawal.take());
        let store = self.store.clone();
        #[cfg(feature = "rescue")]
        let leaver = self.leaver(&change);
        Box::pin(async move {
            if let Some(live) = withdrawal
                && store.ask(store.store().withdraw(&live)).await.is_err()
            {
                return Outcome::Unavailable;
            }
            let outcome = settled(&store, change, logout).await;
            #[cfg(feature = "rescue")]
            store.config.discard_forms(leaver).await;
            outcome
        })
    }

    /// Whose forms go, for they have signed out. (A log-out discards them by itself.)
    #[cfg(feature = "rescue")]
    fn leaver(&self, change: &Change) -> Option<User> {
        let has_signed_out = matches!(change, Change::End { .. } | Change::DiscardForms);
        if !has_signed_out && !self.has_ended_itself() {
            return None;
        }
        let owner = self.page_info.as_ref().and_then(|info| info.live.owner.as_ref());
        let leaver = self.rare.as_ref().and_then(|rare| rare.leaver);
        self.store.config.user(owner).or(leaver)
    }
}

async fn settled(
    store: &StoreHandle,
    change: Change,
    logout: Option<BoxFuture<Result<(), StoreError>>>,
) -> Outcome {
    match change {
        Change::None(outcome) => outcome,
        Change::Begin { id, new, in_place_of: None } => begin(store, &id, &new).await,
        Change::Begin { id, new, in_place_of: Some(old) } => log_in_again(store, old, &id, &new).await,
        Change::BeginAfterEnd { presented, id, new } => begin_after_end(store, presented, &id, &new).await,
        Change::BeginUnderNewId { old, presented, id, new, has_first_id } => {
            log_in_under_new_id(store, old, presented, &id, &new, has_first_id).await
        }
        Change::Rotate { key, presented, id, is_safe } => rotate(store, key, presented, &id, is_safe).await,
        Change::Restart { key, new } => restart(store, key, &new).await,
        Change::End { key, presented, has_ended_itself } => {
            end(store, key, presented, has_ended_itself).await
        }
        Change::LogOut => log_out(logout).await,
        #[cfg(feature = "rescue")]
        Change::DiscardForms => Outcome::Pass,
    }
}

/// Nothing to end is no log-out that failed.
async fn log_out(ended: Option<BoxFuture<Result<(), StoreError>>>) -> Outcome {
    let Some(ended) = ended else { return Outcome::RemoveCookie };
    if ended.await.is_ok() { Outcome::RemoveCookie } else { Outcome::Unavailable }
}

/// No live session came with the request: the application begins one, and may do so under any id.
async fn begin(store: &StoreHandle, id: &SessionId<'_>, new: &NewSession) -> Outcome {
    match store.start(id, new).await {
        Ok(Started::New(_) | Started::AlreadyLive(_)) => Outcome::Pass,
        Ok(Started::TooMany) => Outcome::TooManySessions,
        Ok(Started::AtCapacity) | Err(_) => Outcome::Unavailable,
    }
}

/// As [`begin`], but not under an id that the store knows: a session library that sets its cookie with every answer must
/// not bring back what has ended.
async fn begin_under_unknown_id(store: &StoreHandle, id: &SessionId<'_>, new: &NewSession) -> Outcome {
    match store.ask(store.store().check(id, &store.config.policy, Access::Peek)).await {
        Ok(Decision::Ended { reason: EndReason::Unknown, .. }) => begin(store, id, new).await,
        Ok(_) => Outcome::RemoveCookie,
        Err(_) => Outcome::Unavailable,
    }
}

/// This request has ended its session: its answer does not bring it back, whoever has forgotten of it.
async fn begin_after_end(
    store: &StoreHandle,
    presented: IdTag,
    id: &SessionId<'_>,
    new: &NewSession,
) -> Outcome {
    if store.store().tag(id).is_none_or(|tag| tag == presented) {
        return Outcome::RemoveCookie;
    }
    begin_under_unknown_id(store, id, new).await
}

/// A live session came with the request, and its user logged in anew: the old session ends at once, ids and all
/// (OWASP ASVS 5.0 §7.2.4). If its user has signed out meanwhile, a slow answer must not undo that.
async fn log_in_again(store: &StoreHandle, old: SessionKey, id: &SessionId<'_>, new: &NewSession) -> Outcome {
    match store.end(old, EndReason::Superseded).await {
        Ok(true) => begin(store, id, new).await,
        Ok(false) if may_log_in_after(store, old).await => begin(store, id, new).await,
        Ok(false) => Outcome::DropCookie,
        Err(_) => Outcome::Unavailable,
    }
}

/// Whether the session ended without its user: by a clock, by another log-in (a form sent twice), or because somebody ended
/// all of its owner's, as one does where a password was changed. Who logs in after that may.
async fn may_log_in_after(store: &StoreHandle, key: SessionKey) -> bool {
    use EndReason::{Absolute, Idle, Revoked, Superseded};
    matches!(
        store.ask(store.store().remaining(key, &store.config.policy)).await,
        Ok(Verdict::Ended(Idle | Absolute | Revoked | Superseded))
    )
}

/// `fresh_login` took an answer to a live session for a log-in. That is one only under an id the session has not had: an
/// application that keeps the id has merely sent on somebody who is signed in already. And where ids change on other
/// answers, too, a new one proves nothing.
async fn log_in_under_new_id(
    store: &StoreHandle,
    old: SessionKey,
    presented: IdTag,
    id: &SessionId<'_>,
    new: &NewSession,
    has_first_id: bool,
) -> Outcome {
    let is_proof = has_first_id && !store.config.hints.do_ids_change();
    match store.rotate(old, presented, id).await {
        Ok(Rotated::New) if is_proof => log_in_again(store, old, id, new).await,
        Ok(Rotated::New) => {
            store.config.hints.doubtful_login();
            Outcome::Pass
        }
        Ok(Rotated::AlreadyLive) => Outcome::Pass,
        Ok(Rotated::Refused) if is_proof && may_log_in_after(store, old).await => {
            match begin_under_unknown_id(store, id, new).await {
                // As it was before: the browser may hold the cookie of another log-in.
                Outcome::RemoveCookie => Outcome::DropCookie,
                outcome => outcome,
            }
        }
        Ok(Rotated::Refused) | Err(_) => Outcome::DropCookie,
    }
}

/// The user proved who they are, and the session keeps its id.
async fn restart(store: &StoreHandle, key: SessionKey, new: &NewSession) -> Outcome {
    match store.restart(key, new).await {
        Ok(Restarted::Done | Restarted::Ended) => Outcome::Pass,
        Ok(Restarted::TooMany) => Outcome::TooManySessions,
        Err(_) => Outcome::Unavailable,
    }
}

async fn rotate(
    store: &StoreHandle,
    key: SessionKey,
    presented: IdTag,
    id: &SessionId<'_>,
    is_safe: bool,
) -> Outcome {
    match store.rotate(key, presented, id).await {
        Ok(Rotated::New) => {
            if is_safe {
                store.config.hints.changing_id();
            }
            Outcome::Pass
        }
        Ok(Rotated::AlreadyLive) => Outcome::Pass,
        Ok(Rotated::Refused) | Err(_) => Outcome::DropCookie,
    }
}

/// The application removes the session cookie. If the session had ended before, or goes on under a newer id, the browser has
/// another cookie by now, perhaps that of a new log-in.
async fn end(store: &StoreHandle, key: SessionKey, presented: IdTag, has_ended_itself: bool) -> Outcome {
    match store.end_by(key, presented, EndReason::SignedOut).await {
        Ok(true) => Outcome::Pass,
        Ok(false) if has_ended_itself => Outcome::Pass,
        Ok(false) => Outcome::DropCookie,
        Err(_) => Outcome::Unavailable,
    }
}

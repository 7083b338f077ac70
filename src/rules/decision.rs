//! What is asked of a store about an id, and what it says.

use std::time::Duration;

use crate::rules::{
    id::{IdTag, Owner, SessionKey},
    limits::{EndReason, Remaining},
    nanos,
};

/// Whether a check renews.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// The request is activity: it renews.
    Renew,
    /// As `Renew`; and while the request is in flight, the session does not end as idle: until
    /// [`release`](crate::Store::release). A store that answers later cannot [hold](Live::held), for by then nobody may be there
    /// to let go: it only renews, and is asked to [again and again](crate::Store::renew).
    Hold,
    /// The user was active this long ago, and the client tells it now: the last activity moves there, but never back.
    RenewAgo(Duration),
    /// The request is passive: it renews nothing. Which ids it supersedes it does supersede, for the client has this one.
    Passive,
    /// Merely a look: no later decision changes.
    Peek,
}

impl Access {
    /// Whether it is activity.
    pub(crate) fn renews(self) -> bool {
        !matches!(self, Self::Passive | Self::Peek)
    }
}

/// What a store decided about an id.
#[derive(Clone, Debug)]
pub enum Decision {
    /// The session is live.
    Live(Live),
    /// The session has ended.
    Ended {
        /// Why.
        reason: EndReason,
        /// Which one, if the store knows the id.
        session: Option<SessionKey>,
        /// Whose session it was, if its start named an owner.
        owner: Option<Owner>,
    },
    /// The session lives, but this request's cap refuses the request.
    Capped(EndReason),
}

impl Decision {
    /// About an id the store does not know.
    pub const UNKNOWN: Self = Self::Ended { reason: EndReason::Unknown, session: None, owner: None };
}

/// A live session, as of the moment it was checked.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Live {
    /// Names the session in later calls.
    pub key: SessionKey,
    /// Tells the presented id from the session's others.
    pub presented: IdTag,
    /// Whether the session is held until [`Store::release`](crate::Store::release), once for each answer that says so.
    pub held: bool,
    /// Whose session it is, if its start said so.
    pub owner: Option<Owner>,
    /// In nanoseconds, as all times here: with `Duration`s, it would be copied by a call each time it is handed on.
    pub(crate) idle_for: u64,
    pub(crate) age: u64,
    pub(crate) id_age: u64,
    pub(crate) idle_left: u64,
    /// Or [`NEVER`].
    pub(crate) absolute_left: u64,
    /// The last activity as this check has recorded it, by the store's clock; [`NEVER`] if it has not.
    pub(crate) renewed_at: u64,
    /// How long the presented id still works, if a newer one has superseded it; else [`NEVER`].
    pub(crate) works_for: u64,
}

/// In place of an `Option`, in nanoseconds: 584 years.
pub(crate) const NEVER: u64 = u64::MAX;

impl Live {
    /// A live session under its first id, that nobody owns and nothing holds.
    pub fn new(
        key: SessionKey,
        presented: IdTag,
        idle_for: Duration,
        age: Duration,
        remaining: Remaining,
    ) -> Self {
        let age = nanos(age);
        let live = Self {
            key,
            presented,
            held: false,
            owner: None,
            idle_for: nanos(idle_for),
            age,
            id_age: age,
            idle_left: 0,
            absolute_left: NEVER,
            renewed_at: NEVER,
            works_for: NEVER,
        };
        live.with_remaining(remaining)
    }

    /// The same, under an id issued later.
    pub fn with_id_age(self, id_age: Duration) -> Self {
        Self { id_age: nanos(id_age), ..self }
    }

    /// The same, held or not.
    pub fn with_held(self, held: bool) -> Self {
        Self { held, ..self }
    }

    /// The same, with its owner.
    pub fn with_owner(self, owner: Option<Owner>) -> Self {
        Self { owner, ..self }
    }

    pub(crate) fn with_remaining(self, remaining: Remaining) -> Self {
        let absolute_left = remaining.absolute.map_or(NEVER, nanos);
        Self { idle_left: nanos(remaining.idle), absolute_left, ..self }
    }

    /// The time since the activity before this one.
    pub fn idle_for(&self) -> Duration {
        Duration::from_nanos(self.idle_for)
    }

    /// The time since the session began.
    pub fn age(&self) -> Duration {
        Duration::from_nanos(self.age)
    }

    /// The time since the presented id was issued.
    pub fn id_age(&self) -> Duration {
        Duration::from_nanos(self.id_age)
    }

    /// What is left, this check's own renewal included.
    pub fn remaining(&self) -> Remaining {
        let absolute = (self.absolute_left != NEVER).then(|| Duration::from_nanos(self.absolute_left));
        Remaining { idle: Duration::from_nanos(self.idle_left), absolute }
    }

    /// The idle timeout this session is under: a mere look leaves what has passed of it.
    #[cfg(feature = "client")]
    pub(crate) fn idle_timeout(&self, access: Access) -> Duration {
        let passed = if access.renews() { 0 } else { self.idle_for };
        Duration::from_nanos(self.idle_left.saturating_add(passed))
    }
}

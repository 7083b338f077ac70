//! How a session begins, and how its owner sees it.

use std::time::Duration;

use crate::rules::{
    id::{Label, Owner, SessionKey},
    limits::Limits,
};

/// A live session, as its owner may see it in a list.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SessionInfo {
    /// Names the session in later calls.
    pub key: SessionKey,
    /// The time since its last activity.
    pub idle_for: Duration,
    /// The time since it began.
    pub age: Duration,
    /// What its start said of it.
    pub label: Option<Label>,
}

impl SessionInfo {
    /// A session with these times.
    pub fn new(key: SessionKey, idle_for: Duration, age: Duration) -> Self {
        Self { key, idle_for, age, label: None }
    }

    /// The same, with its label.
    pub fn with_label(self, label: Option<Label>) -> Self {
        Self { label, ..self }
    }

    /// Names the session in a form: see [`Sessions::end_tagged`](crate::Sessions::end_tagged). It is of no use in
    /// place of a session id.
    pub fn tag(&self) -> String {
        self.key.tag()
    }
}

/// How a session begins.
///
/// Given to [`Sessions::start`](crate::Sessions::start), or put into a response's extensions: such an answer *is* a
/// log-in, and the session cookie it sets begins a session of this kind (a live session the request came with ends).
///
/// ```
/// use tower_session_timeout::NewSession;
///
/// let login = NewSession::new().owner("user-4711");
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct NewSession {
    /// Whose session it is.
    pub owner: Option<Owner>,
    /// Limits of its own, instead of the layer's.
    pub limits: Option<Limits>,
    /// How long ago the user was authenticated: the absolute clock starts there.
    pub age: Duration,
    /// What tells it from its owner's others.
    pub label: Option<Label>,
    /// How many sessions its owner may have, instead of what the layer says.
    pub max_sessions: Option<MaxSessions>,
}

impl NewSession {
    /// A session nobody owns, under the layer's limits, beginning now.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whose session it is: a short, opaque user id.
    pub fn owner(self, owner: impl Into<Owner>) -> Self {
        Self { owner: Some(owner.into()), ..self }
    }

    /// Limits of its own ("remember me"), which replace the layer's for this session.
    pub fn limits(self, limits: Limits) -> Self {
        Self { limits: Some(limits), ..self }
    }

    /// How long ago the user was authenticated, if elsewhere and earlier.
    pub fn age(self, age: Duration) -> Self {
        Self { age, ..self }
    }

    /// What tells it from its owner's others, in a [list](crate::Sessions::sessions_of) and in events: a device, an address,
    /// a user agent. Instead of what [`session_label`](crate::SessionTimeoutBuilder::session_label) finds.
    pub fn label(self, label: impl Into<Label>) -> Self {
        Self { label: Some(label.into()), ..self }
    }

    /// How many sessions its owner may have, this one included, instead of what
    /// [the layer](crate::SessionTimeoutBuilder::max_sessions) says.
    pub fn max_sessions(self, max_sessions: MaxSessions) -> Self {
        Self { max_sessions: Some(max_sessions), ..self }
    }

    /// Whose sessions are limited to how many, if they are.
    pub(crate) fn limit(&self) -> Option<(&Owner, MaxSessions)> {
        Some((self.owner.as_ref()?, self.max_sessions?))
    }
}

/// How many sessions an owner may have at the same time, and what becomes of a further one (OWASP ASVS 5.0 §7.1.2).
///
/// A session counts as long as a layer of this process admits it, used or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaxSessions {
    number: usize,
    refuses: bool,
}

impl MaxSessions {
    /// For a further one, the owner's session that has been idle longest ends ([`EndReason::Revoked`](crate::EndReason::Revoked)). The number is one at
    /// least.
    pub const fn end_longest_idle(number: usize) -> Self {
        Self { number, refuses: false }
    }

    /// A further one is refused.
    pub const fn refuse_new(number: usize) -> Self {
        Self { number, refuses: true }
    }

    /// How many.
    pub const fn number(self) -> usize {
        self.number
    }

    /// How many of the owner's other live sessions have to go for a new one; `None`: it is refused.
    pub(crate) fn to_end(self, others: usize) -> Option<usize> {
        let excess = (others + 1).saturating_sub(self.number);
        (!self.refuses || excess == 0).then_some(excess.min(others))
    }
}

/// The longest idle come first.
pub(crate) fn sort_longest_idle_first(sessions: &mut [SessionInfo]) {
    sessions.sort_by_key(|session| std::cmp::Reverse((session.idle_for, session.age)));
}

//! What happened to sessions, told to whoever wants to know.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};

use crate::rules::{
    EndedNow,
    id::{Label, Owner, SessionKey},
    limits::EndReason,
};

/// Something that happened to a session. It never carries a session id.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum SessionEvent {
    /// The application began a session.
    Started {
        /// Which one: its [tag](SessionKey::tag) joins the events of a session.
        session: SessionKey,
        /// Whose it is, if the application said so.
        owner: Option<Owner>,
        /// What the application said of it.
        label: Option<Label>,
    },
    /// A session got a further id.
    Rotated {
        /// Which one.
        session: SessionKey,
    },
    /// A session ended. The memory store tells it exactly once for each session, as soon as a request, a sweep or
    /// the application finds it.
    Ended {
        /// Which one.
        session: SessionKey,
        /// Why.
        reason: EndReason,
        /// The time since its last activity.
        idle_for: Duration,
        /// The time since it began.
        age: Duration,
        /// Whose it was.
        owner: Option<Owner>,
        /// What its start said of it.
        label: Option<Label>,
    },
    /// A request was answered by the layer, because its session had ended. Where it went on without its id, as on a
    /// public page, only the use of an old id is told.
    Refused {
        /// Why. [`EndReason::Unknown`]: an id that was made up, or forgotten long ago. [`EndReason::Superseded`]: an old
        /// id was used after its grace, or after a new log-in took its place; it may have been stolen.
        reason: EndReason,
        /// Which session, if the store knows the id.
        session: Option<SessionKey>,
        /// Whose it is, if its start named an owner.
        owner: Option<Owner>,
    },
    /// The store is full of live sessions: a new one was refused.
    AtCapacity,
    /// An owner has as many sessions as allowed: a new one was refused.
    TooManySessions {
        /// Who.
        owner: Option<Owner>,
    },
    /// A form came after its session had ended, and was kept for its user: see
    /// [`rescue_forms`](crate::SessionTimeoutBuilder::rescue_forms).
    #[cfg(feature = "rescue")]
    FormKept,
    /// A form came after its session had ended, and could not be kept. Its user was told.
    #[cfg(feature = "rescue")]
    FormLost {
        /// Why.
        reason: &'static str,
    },
    /// The store failed, or took longer than its deadline.
    StoreFailed {
        /// What the store said.
        error: String,
    },
    /// Something about the application or the configuration that the operator may have to put right. Told once by each layer,
    /// as soon as requests or answers show it; what fails requests, with each of them.
    Misconfigured {
        /// What was seen, and what to do about it.
        hint: String,
        /// Whether requests are answered `500` for it.
        fails: bool,
    },
}

impl SessionEvent {
    pub(crate) fn ended(session: SessionKey, ended: EndedNow) -> Self {
        let EndedNow { reason, idle_for, age, owner, label } = ended;
        Self::Ended { session, reason, idle_for, age, owner, label }
    }
}

/// Receives [`SessionEvent`]s: a closure behind a shared pointer.
#[derive(Clone)]
pub struct EventSink(Arc<dyn Fn(&SessionEvent) + Send + Sync>);

impl EventSink {
    /// Events go to this closure. A panic in it is caught: it must not decide over a session.
    pub fn new(receive: impl Fn(&SessionEvent) + Send + Sync + 'static) -> Self {
        Self(Arc::new(receive))
    }

    /// Tells the closure. Stores call this after the state has changed and with no lock held.
    pub fn send(&self, event: &SessionEvent) {
        if catch_unwind(AssertUnwindSafe(|| (self.0)(event))).is_err() {
            error("a session event hook panicked");
        }
    }
}

impl fmt::Debug for EventSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EventSink(..)")
    }
}

/// Events as log lines, for a layer with the feature `tracing`.
#[cfg(feature = "tracing")]
pub(crate) fn trace(event: &SessionEvent) {
    match event {
        SessionEvent::Started { session, .. } => {
            tracing::debug!(session = %session.tag(), "session started");
        }
        SessionEvent::Rotated { session } => tracing::debug!(session = %session.tag(), "session id rotated"),
        SessionEvent::Ended { session, reason, idle_for, age, .. } => {
            tracing::info!(session = %session.tag(), %reason, ?idle_for, ?age, "session ended");
        }
        SessionEvent::Refused { reason: EndReason::Superseded, session, .. } => {
            let session = session.map(SessionKey::tag);
            tracing::info!(session, "request refused: an old id of a session was used after its grace");
        }
        SessionEvent::Refused { reason, session, .. } => {
            let session = session.map(SessionKey::tag);
            tracing::debug!(session, %reason, "request refused: the session has ended");
        }
        SessionEvent::AtCapacity => tracing::error!("session store at capacity: a new session was refused"),
        SessionEvent::TooManySessions { .. } => {
            tracing::info!("an owner has as many sessions as allowed: a new one was refused");
        }
        #[cfg(feature = "rescue")]
        SessionEvent::FormKept => tracing::info!("a form that came too late was kept"),
        #[cfg(feature = "rescue")]
        SessionEvent::FormLost { reason } => tracing::warn!("a form that came too late was lost: {reason}"),
        SessionEvent::StoreFailed { error } => tracing::error!(%error, "session store failed"),
        SessionEvent::Misconfigured { hint, fails: true } => tracing::error!("{hint}"),
        SessionEvent::Misconfigured { hint, fails: false } => tracing::warn!("{hint}"),
    }
}

/// Whom to tell what may have to be put right.
#[derive(Clone, Debug, Default)]
pub(crate) struct Operator(Option<EventSink>);

impl Operator {
    pub(crate) fn new(sink: Option<EventSink>) -> Self {
        Self(sink)
    }

    pub(crate) fn warn(&self, hint: impl Into<String>) {
        if let Some(sink) = &self.0 {
            sink.send(&SessionEvent::Misconfigured { hint: hint.into(), fails: false });
        }
    }
}

/// How a request was let through: for whoever wonders why.
#[inline]
pub(crate) fn passed(how: &'static str) {
    #[cfg(feature = "tracing")]
    tracing::trace!("request let through: {how}");
    #[cfg(not(feature = "tracing"))]
    let _ = how;
}

/// Something the operator may have to put right.
#[cfg(feature = "snapshot")]
pub(crate) fn warn(message: &str) {
    #[cfg(feature = "tracing")]
    tracing::warn!("{message}");
    #[cfg(not(feature = "tracing"))]
    let _ = message;
}

/// Something the operator has to put right.
pub(crate) fn error(message: &str) {
    #[cfg(feature = "tracing")]
    tracing::error!("{message}");
    #[cfg(not(feature = "tracing"))]
    let _ = message;
}

//! The pure rule: when is a session over? No HTTP, no async, no clock.

use std::{fmt, time::Duration};

/// How long a session may live: idle (since its last activity) and absolute (since it began).
///
/// A session has ended once `elapsed >= limit`: the boundary itself is already over, in every store.
///
/// ```
/// use std::time::Duration;
/// use tower_session_timeout::Limits;
///
/// let limits = Limits::new(Duration::from_secs(900), Duration::from_secs(8 * 3600));
/// assert_eq!(limits, Limits::default());
/// assert_eq!(Limits::nist_aal3().idle(), Duration::from_secs(15 * 60));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    idle: Duration,
    absolute: Option<Duration>,
}

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);

impl Limits {
    /// An idle timeout and an absolute timeout.
    #[must_use]
    pub const fn new(idle: Duration, absolute: Duration) -> Self {
        Self { idle, absolute: Some(absolute) }
    }

    /// An idle timeout alone: a session in use never has to log in again. OWASP ASVS 5.0 §7.3.2 asks for an
    /// absolute limit; choose this only with a reason.
    #[must_use]
    pub const fn idle_only(idle: Duration) -> Self {
        Self { idle, absolute: None }
    }

    /// The shorter of each.
    pub(crate) fn tighter(self, other: Self) -> Self {
        let absolute = match (self.absolute, other.absolute) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        Self { idle: self.idle.min(other.idle), absolute }
    }

    /// OWASP Session Management Cheat Sheet, *Session Expiration*, for high-value applications: idle 5 minutes
    /// (of 2 to 5), absolute 4 hours (of 4 to 8).
    #[must_use]
    pub const fn owasp_high_value() -> Self {
        Self::new(MINUTE.saturating_mul(5), HOUR.saturating_mul(4))
    }

    /// OWASP Session Management Cheat Sheet, *Session Expiration*, for low-risk applications: idle 30 minutes
    /// (of 15 to 30), absolute 8 hours (of 4 to 8).
    #[must_use]
    pub const fn owasp_low_risk() -> Self {
        Self::new(MINUTE.saturating_mul(30), HOUR.saturating_mul(8))
    }

    /// NIST SP 800-63B-4 §2.2.3 (AAL2): inactivity no more than 1 hour, overall no more than 24 hours.
    #[must_use]
    pub const fn nist_aal2() -> Self {
        Self::new(HOUR, HOUR.saturating_mul(24))
    }

    /// NIST SP 800-63B-4 §2.3.3 (AAL3): inactivity no more than 15 minutes, overall no more than 12 hours.
    #[must_use]
    pub const fn nist_aal3() -> Self {
        Self::new(MINUTE.saturating_mul(15), HOUR.saturating_mul(12))
    }

    /// PCI DSS 4.0.1 requirement 8.2.8: idle no more than 15 minutes. It sets no absolute limit; this takes
    /// 8 hours, the crate's default.
    #[must_use]
    pub const fn pci_dss() -> Self {
        Self::new(MINUTE.saturating_mul(15), HOUR.saturating_mul(8))
    }

    /// The idle timeout: the longest time between two activities.
    pub const fn idle(&self) -> Duration {
        self.idle
    }

    /// The absolute timeout, or `None` if there is none.
    pub const fn absolute(&self) -> Option<Duration> {
        self.absolute
    }

    pub(crate) fn with_idle(self, idle: Duration) -> Self {
        Self { idle, ..self }
    }

    pub(crate) fn with_absolute(self, absolute: Option<Duration>) -> Self {
        Self { absolute, ..self }
    }

    /// What is left of these limits, or which of them ran out first.
    fn judge(&self, idle_for: Duration, age: Duration) -> Result<Remaining, EndReason> {
        let left = |limit: Duration, elapsed| limit.saturating_sub(elapsed);
        let overrun = |limit: Duration, elapsed: Duration| elapsed.checked_sub(limit);
        let idle = overrun(self.idle, idle_for);
        let absolute = self.absolute.and_then(|absolute| overrun(absolute, age));
        match (idle, absolute) {
            (None, None) => Ok(Remaining {
                idle: left(self.idle, idle_for),
                absolute: self.absolute.map(|absolute| left(absolute, age)),
            }),
            // Whichever ran out first.
            (Some(idle), absolute) if absolute.is_none_or(|absolute| idle > absolute) => Err(EndReason::Idle),
            _ => Err(EndReason::Absolute),
        }
    }
}

impl Default for Limits {
    /// Idle 15 minutes, absolute 8 hours: inside PCI DSS 8.2.8, NIST AAL3 and OWASP's ranges.
    fn default() -> Self {
        Self::new(MINUTE.saturating_mul(15), HOUR.saturating_mul(8))
    }
}

/// Why a session has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EndReason {
    /// No activity for the idle timeout.
    Idle,
    /// The absolute timeout passed.
    Absolute,
    /// The user signed out.
    SignedOut,
    /// It was ended from outside: by an administrator, or by its owner elsewhere.
    Revoked,
    /// A newer id took this one's place: after a rotation and its grace, or by a new log-in.
    Superseded,
    /// The store does not know the id: never issued, or forgotten long after its end.
    Unknown,
}

impl EndReason {
    /// The reason as one lower-case word, as in the `Session-Ended` header. `unknown` never goes out in one.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Absolute => "absolute",
            Self::SignedOut => "signed-out",
            Self::Revoked => "revoked",
            Self::Superseded => "superseded",
            Self::Unknown => "unknown",
        }
    }
}

#[cfg(feature = "snapshot")]
impl EndReason {
    pub(crate) fn from_word(word: &str) -> Option<Self> {
        let all =
            [Self::Idle, Self::Absolute, Self::SignedOut, Self::Revoked, Self::Superseded, Self::Unknown];
        all.into_iter().find(|reason| reason.as_str() == word)
    }
}

impl fmt::Display for EndReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The time a live session has left, by each of its clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Remaining {
    /// Until the idle timeout, if there is no more activity.
    pub idle: Duration,
    /// Until the absolute timeout, if there is one.
    pub absolute: Option<Duration>,
}

impl Remaining {
    /// Until the session ends by either clock.
    pub fn shortest(&self) -> Duration {
        self.absolute.map_or(self.idle, |absolute| self.idle.min(absolute))
    }

    pub(crate) fn min(self, other: Self) -> Self {
        let absolute = match (self.absolute, other.absolute) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        Self { idle: self.idle.min(other.idle), absolute }
    }
}

/// What a layer asks of a session: handed to the store with each call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Policy {
    /// The layer's limits. A session started with limits of its own follows those instead.
    pub limits: Limits,
    /// This request's limits. They may refuse the request; they never end the session.
    pub cap: Option<Limits>,
    /// How long an old id still works once a newer id of the same session is in use.
    pub rotation_grace: Duration,
}

impl Policy {
    /// A policy of these limits, without a cap, with the default rotation grace of 30 seconds.
    pub const fn new(limits: Limits) -> Self {
        Self { limits, cap: None, rotation_grace: Duration::from_secs(30) }
    }

    /// Judges a session by what every store knows of it. `own` are the limits it was started with.
    #[inline]
    pub fn judge(&self, own: Option<Limits>, idle_for: Duration, age: Duration) -> Verdict {
        let remaining = match own.unwrap_or(self.limits).judge(idle_for, age) {
            Ok(remaining) => remaining,
            Err(reason) => return Verdict::Ended(reason),
        };
        match self.cap.map(|cap| cap.judge(idle_for, age)) {
            None => Verdict::Live(remaining),
            Some(Ok(capped)) => Verdict::Live(remaining.min(capped)),
            Some(Err(reason)) => Verdict::Capped(reason),
        }
    }

    /// What is left once a live session has been renewed: the idle clock began anew `idle_for` ago.
    #[inline]
    pub fn renewed(&self, own: Option<Limits>, idle_for: Duration, age: Duration) -> Remaining {
        let left = |limits: Limits| Remaining {
            idle: limits.idle.saturating_sub(idle_for),
            absolute: limits.absolute.map(|absolute| absolute.saturating_sub(age)),
        };
        let remaining = left(own.unwrap_or(self.limits));
        self.cap.map_or(remaining, |cap| remaining.min(left(cap)))
    }
}

/// What [`Policy::judge`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Live, with this much time left.
    Live(Remaining),
    /// The session has ended, for good.
    Ended(EndReason),
    /// The session lives, but this request's cap refuses it.
    Capped(EndReason),
}

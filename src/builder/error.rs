//! A configuration that cannot work.

use std::{error::Error, fmt, time::Duration};

/// WCAG 2.2, success criterion 2.2.1.
#[cfg(feature = "client")]
pub(super) const SHORTEST_WARNING: Duration = Duration::from_secs(20);
/// Of an owner: a log-in looks at all of them.
pub(super) const MOST_SESSIONS: usize = 1000;
pub(super) const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A configuration that cannot work, refused by [`SessionTimeoutBuilder::build`](super::SessionTimeoutBuilder::build).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigError {
    /// Nothing says where the session id travels.
    NoSessionId,
    /// Session ids were to travel in several places, and a layer looks at one: the others would pass unchecked.
    SeveralSources,
    /// A time of zero, which would end everything at once. It never means "no limit".
    ZeroTimeout {
        /// Which time.
        which: &'static str,
    },
    /// A time below the resolution of stores.
    BelowOneMillisecond {
        /// Which time.
        which: &'static str,
        /// Its value.
        value: Duration,
    },
    /// A time so long that it is more likely a mix-up of units.
    Beyond400Days {
        /// Which time.
        which: &'static str,
        /// Its value.
        value: Duration,
    },
    /// The idle timeout could never be reached.
    IdleBeyondAbsolute {
        /// The idle timeout.
        idle: Duration,
        /// The absolute timeout.
        absolute: Duration,
    },
    /// Ids would be changed faster than old ones cease to work.
    RotationWithinGrace {
        /// The rotation grace, which `rotate_after` has to exceed.
        grace: Duration,
    },
    /// Nobody could log in, or each log-in would have to look at too many sessions.
    MaxSessionsOutOfRange {
        /// How many sessions an owner was to have at most.
        number: usize,
    },
    /// What the layer is to do, its store cannot.
    Store {
        /// What the store says.
        reason: String,
    },
    /// A warning that comes too late to act upon (WCAG 2.2, 2.2.1: 20 seconds), or before anything ran out.
    #[cfg(feature = "client")]
    WarningOutOfRange {
        /// How long before the end it would come.
        lead: Duration,
        /// The idle timeout.
        idle: Duration,
    },
    /// A store that leaves its records with the clients does so in cookies beside the session cookie, and there is none.
    CompanionsWithoutCookie,
    /// `rescue_forms` without a session cookie.
    #[cfg(feature = "rescue")]
    RescueWithoutCookie,
    /// `rescue_forms` without `client_endpoints`.
    #[cfg(feature = "rescue")]
    RescueWithoutEndpoints,
    /// A form's limit is too small or too large.
    #[cfg(feature = "rescue")]
    RescueLimitOutOfRange {
        /// The limit.
        bytes: usize,
    },
    /// `owner_from` is asked of answers that begin a session by their cookie, and ids travel elsewhere.
    OwnerFromWithoutCookie,
    /// `fresh_login` recognizes a log-in by its new session cookie, and ids travel elsewhere.
    FreshLoginWithoutCookie,
    /// `logout_by_get` without a `logout_path`.
    LogoutByGetWithoutPath,
    /// What no answer's content type can be.
    InvalidMediaType {
        /// The media type.
        media_type: String,
    },
    /// A cookie browsers or parsers do not agree upon.
    InvalidCookie {
        /// The cookie's name.
        name: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A path that could match nothing, or too much.
    InvalidPath {
        /// The path.
        path: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A path to which no browser should be sent.
    UnsafePath {
        /// Which path.
        which: &'static str,
        /// Its value.
        path: String,
    },
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            #[cfg(feature = "client")]
            Self::WarningOutOfRange { lead, idle } => write!(
                f,
                "a warning {lead:?} before the end is not between {SHORTEST_WARNING:?} (WCAG 2.2, 2.2.1) and the idle timeout of {idle:?}"
            ),
            Self::MaxSessionsOutOfRange { number } => {
                write!(f, "max_sessions: {number} is not between 1 and {MOST_SESSIONS}")
            }
            Self::Store { reason } => write!(f, "the store does not fit the layer: {reason}"),
            Self::CompanionsWithoutCookie => f.write_str(
                "the store leaves its records with the clients, beside a session cookie: call `cookie`, or choose \
                 another store",
            ),
            #[cfg(feature = "rescue")]
            Self::RescueWithoutCookie => f.write_str(
                "rescue_forms: session ids do not travel in a cookie here, so no browser sends forms with them: call `cookie`",
            ),
            #[cfg(feature = "rescue")]
            Self::RescueWithoutEndpoints => f.write_str(
                "rescue_forms shows forms on a page below the client endpoints: call `client_endpoints`, too",
            ),
            #[cfg(feature = "rescue")]
            Self::RescueLimitOutOfRange { bytes } => {
                write!(f, "a rescued form may have between 1 KiB and 1 MiB, and not {bytes} bytes")
            }
            Self::OwnerFromWithoutCookie => f.write_str(
                "owner_from: session ids do not travel in a cookie here, so no answer begins a session: name the owner to \
                 `Sessions::start`",
            ),
            Self::FreshLoginWithoutCookie => f.write_str(
                "fresh_login: session ids do not travel in a cookie here, so no answer brings a new one: begin \
                 sessions with `Sessions::start`",
            ),
            Self::LogoutByGetWithoutPath => f.write_str("logout_by_get: there is no `logout_path`"),
            Self::InvalidMediaType { media_type } => write!(
                f,
                "end_streams: {media_type:?} is no media type: a type, a slash and a subtype, without parameters"
            ),
            Self::NoSessionId => f.write_str(
                "nothing says where the session id travels: call `cookie`, `bearer` or `session_id`",
            ),
            Self::SeveralSources => f.write_str(
                "session ids were to travel in several places (`cookie`, `bearer`, `header`, `session_id`), and a layer looks \
                 at one: give the other a layer of its own",
            ),
            Self::ZeroTimeout { which } => {
                write!(f, "the {which} is zero; zero never means unlimited")
            }
            Self::BelowOneMillisecond { which, value } => {
                write!(
                    f,
                    "the {which} of {value:?} is below one millisecond, which stores cannot tell from none"
                )
            }
            Self::Beyond400Days { which, value } => {
                let days = value.as_secs() / DAY.as_secs();
                write!(
                    f,
                    "the {which} of {days} days is beyond 400 days; if meant, call `allow_beyond_400_days`"
                )
            }
            Self::IdleBeyondAbsolute { idle, absolute } => {
                write!(f, "the idle timeout of {idle:?} is longer than the absolute timeout of {absolute:?}")
            }
            Self::RotationWithinGrace { grace } => {
                write!(
                    f,
                    "ids would be rotated within the rotation grace of {grace:?}: `rotate_after` has to be longer"
                )
            }
            Self::InvalidCookie { name, reason } => {
                write!(f, "the session cookie {name:?} is invalid: {reason}")
            }
            Self::InvalidPath { path, reason } => write!(f, "the path {path:?} is invalid: {reason}"),
            Self::UnsafePath { which, path } => {
                write!(
                    f,
                    "the {which} {path:?} is no safe path of this site: it begins with one / and is plain ASCII"
                )
            }
        }
    }
}

impl Error for ConfigError {}

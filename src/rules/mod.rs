//! The rules of a session, once for all stores: no I/O, no clock, no lock.
//!
//! A store keeps a [`Record`] and lets the record decide. What it uses from outside: `limits.rs` and `session_id.rs`.

#[cfg(any(feature = "shared", feature = "snapshot", feature = "stateless"))]
pub(crate) mod codec;
pub(crate) mod decision;
pub(crate) mod id;
pub(crate) mod limits;
pub(crate) mod new_session;
mod record;

use std::time::Duration;

pub(crate) use self::record::{Context, Effects, EndedNow, Record, Reissued};
use crate::rules::limits::Limits;

/// How long an ended session keeps its reason, so that parallel requests hear the same one.
pub(crate) const KEEP_ENDED: Duration = Duration::from_secs(5 * 60);
/// How many superseded ids of a session are told apart from unknown ones.
pub(crate) const MAX_SUPERSEDED_IDS: usize = 63;
/// How many ids of a session work at the same time. More are only given to a client that ignores what it is sent.
pub(crate) const MAX_WORKING_IDS: usize = 1024;
/// A store never records an activity later than this part of the idle timeout.
const MAX_GRANULARITY_PER_IDLE: u32 = 4;
const DEFAULT_GRANULARITY_PER_IDLE: u32 = 60;
const MAX_DEFAULT_GRANULARITY: Duration = Duration::from_secs(60);

/// The most generous limits any layer asks a store by, in nanoseconds; `absolute` is `u64::MAX` for none. Both are zero
/// as long as none is known.
#[derive(Clone, Copy)]
pub(crate) struct Widest {
    pub(crate) idle: u64,
    pub(crate) absolute: u64,
}

impl Widest {
    pub(crate) fn limits(self) -> Option<Limits> {
        let idle = Duration::from_nanos(self.idle);
        match self.absolute {
            0 => None,
            u64::MAX => Some(Limits::idle_only(idle)),
            absolute => Some(Limits::new(idle, Duration::from_nanos(absolute))),
        }
    }
}

/// Saturates after 584 years.
pub(crate) const fn nanos(duration: Duration) -> u64 {
    duration.as_secs().saturating_mul(1_000_000_000).saturating_add(duration.subsec_nanos() as u64)
}

/// By how much the last activity has to move to be recorded anew, where recording costs something.
#[derive(Clone, Copy, Default)]
pub(crate) struct Granularity {
    /// `None`: by default.
    pub(crate) configured: Option<Duration>,
    /// Others have just recorded an activity that is older by less than this: that will do.
    pub(crate) at_least: Duration,
}

impl Granularity {
    /// For a session with this idle timeout.
    pub(crate) fn of(self, idle: Duration) -> Duration {
        self.configured
            .unwrap_or_else(|| (idle / DEFAULT_GRANULARITY_PER_IDLE).min(MAX_DEFAULT_GRANULARITY))
            .max(self.at_least)
            .min(idle / MAX_GRANULARITY_PER_IDLE)
    }
}

/// A session id as stores keep it: 128 bits of a hash.
#[cfg_attr(test, derive(Debug))]
#[derive(Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "snapshot", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct IdHash {
    pub(crate) high: u64,
    pub(crate) low: u64,
}

impl IdHash {
    pub(crate) fn tag(self) -> crate::rules::id::IdTag {
        crate::rules::id::IdTag::new(self.low.to_le_bytes())
    }
}

#[cfg(any(feature = "shared", feature = "snapshot", feature = "stateless"))]
impl IdHash {
    pub(crate) fn to_bytes(self) -> [u8; 16] {
        (u128::from(self.high) << 64 | u128::from(self.low)).to_be_bytes()
    }

    #[expect(clippy::cast_possible_truncation, reason = "it takes the halves from each other")]
    pub(crate) fn from_bytes(bytes: [u8; 16]) -> Self {
        let bytes = u128::from_be_bytes(bytes);
        Self { high: (bytes >> 64) as u64, low: bytes as u64 }
    }
}

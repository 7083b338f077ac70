//! The only reader of real clocks.
#![allow(clippy::disallowed_methods)]

use std::{fmt, time::Duration};

/// A clock for session ages: the time since some fixed instant, never going back.
///
/// Wall-clock time is of little use here, for it is set back and forth by NTP and by people; a store whose records travel
/// between machines has no other ([`WallClock`]).
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// The time since this clock's own origin.
    fn now(&self) -> Duration;
}

/// The machine's clock, which goes on while the machine is suspended.
///
/// Linux, Android, Fuchsia and OpenBSD: `CLOCK_BOOTTIME`; other Unix systems: `CLOCK_MONOTONIC` (it counts sleep on
/// macOS); elsewhere [`std::time::Instant`] (it counts sleep on Windows). Setting the wall clock changes nothing. A
/// virtual machine that is paused from outside does not notice the time it lost on any of these.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[cfg(unix)]
    fn now(&self) -> Duration {
        use rustix::time::{ClockId, clock_gettime};

        #[cfg(any(target_os = "android", target_os = "fuchsia", target_os = "linux", target_os = "openbsd"))]
        const COUNTS_SLEEP: ClockId = ClockId::Boottime;
        #[cfg(not(any(
            target_os = "android",
            target_os = "fuchsia",
            target_os = "linux",
            target_os = "openbsd"
        )))]
        const COUNTS_SLEEP: ClockId = ClockId::Monotonic;

        let now = clock_gettime(COUNTS_SLEEP);
        Duration::new(now.tv_sec.try_into().unwrap_or(0), now.tv_nsec.try_into().unwrap_or(0))
    }

    #[cfg(not(unix))]
    fn now(&self) -> Duration {
        use std::{sync::OnceLock, time::Instant};

        static ORIGIN: OnceLock<Instant> = OnceLock::new();
        ORIGIN.get_or_init(Instant::now).elapsed()
    }
}

/// The wall clock: the time since the beginning of 1970. It is set back and forth, but all machines have it: for ages
/// that are told on one machine and judged on another, as those of a `StatelessStore`.
#[derive(Clone, Copy, Debug, Default)]
pub struct WallClock;

impl Clock for WallClock {
    fn now(&self) -> Duration {
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default()
    }
}

/// The wall clock, for a cookie's `Expires`.
pub(crate) fn wall_clock() -> time::OffsetDateTime {
    time::OffsetDateTime::now_utc()
}

/// Which boot of which machine this is: what [`SystemClock`] counts from. `None` where nobody says.
#[cfg(feature = "snapshot")]
pub(crate) fn boot_id() -> Option<String> {
    if cfg!(any(target_os = "android", target_os = "linux")) {
        let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
        Some(id.trim().to_owned())
    } else {
        None
    }
}

/// A clock that moves only when told to. Clones agree.
///
/// ```
/// use std::time::Duration;
/// use tower_session_timeout::{Clock, ManualClock};
///
/// let clock = ManualClock::new();
/// let other = clock.clone();
/// clock.advance(Duration::from_secs(5));
/// assert_eq!(other.now(), Duration::from_secs(5));
/// ```
#[cfg(feature = "test-util")]
#[derive(Clone, Debug, Default)]
pub struct ManualClock(std::sync::Arc<std::sync::atomic::AtomicU64>);

#[cfg(feature = "test-util")]
impl ManualClock {
    /// A clock at its origin.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Moves the clock forward. It stops at 584 years.
    pub fn advance(&self, by: Duration) {
        use std::sync::atomic::Ordering;

        let by = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |now| Some(now.saturating_add(by)));
    }
}

#[cfg(feature = "test-util")]
impl Clock for ManualClock {
    fn now(&self) -> Duration {
        Duration::from_nanos(self.0.load(std::sync::atomic::Ordering::Relaxed))
    }
}

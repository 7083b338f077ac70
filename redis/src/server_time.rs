//! What time it is at the server, for as long as its last answer to that says enough.

use std::{
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use redis::{aio::ConnectionLike, cmd};
use tower_session_timeout::{Clock, SystemClock};

use crate::reconnecting::found_broken;

/// For how long an answer is gone by. If this machine is stopped and goes on without having noticed, it is late for no longer.
const GOOD_FOR: Duration = Duration::from_millis(20);
/// The server's time is then known that exactly.
const LONGEST_ROUND_TRIP: Duration = Duration::from_millis(5);

/// The nodes of a cluster have clocks of their own, and which of them answers is the connection's affair: there, and where
/// the server does not say that it is none of a cluster, nothing is known.
#[derive(Default)]
pub(crate) struct ServerTime {
    has_one_clock: OnceLock<bool>,
    answer: Mutex<Option<Answer>>,
}

#[derive(Clone, Copy)]
struct Answer {
    /// By this machine's clock.
    asked: Duration,
    said: Duration,
}

impl Answer {
    /// Not earlier than it is there: the server looked at its clock later than it was asked.
    fn time_at(self, here: Duration) -> Option<Duration> {
        let since = here.checked_sub(self.asked)?;
        (since < GOOD_FOR).then(|| self.said.saturating_add(since))
    }
}

/// By this machine's clock.
pub(crate) fn here() -> Duration {
    SystemClock.now()
}

impl ServerTime {
    /// What time it is there, not earlier than it is, and later by no more than a [round trip](LONGEST_ROUND_TRIP).
    pub(crate) fn at(&self, here: Duration) -> Option<Duration> {
        (*self.answer())?.time_at(here)
    }

    fn answer(&self) -> MutexGuard<'_, Option<Answer>> {
        self.answer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the answer to a `TIME` that was asked for at that instant, and says what it is.
    pub(crate) async fn take(
        &self,
        (seconds, micros): (u64, u64),
        asked: Duration,
        connection: &mut impl ConnectionLike,
    ) -> Duration {
        let said = Duration::from_secs(seconds).saturating_add(Duration::from_micros(micros));
        let is_exact = here().saturating_sub(asked) <= LONGEST_ROUND_TRIP;
        if is_exact && self.has_one_clock(connection).await {
            *self.answer() = Some(Answer { asked, said });
        }
        said
    }

    async fn has_one_clock(&self, connection: &mut impl ConnectionLike) -> bool {
        if let Some(&known) = self.has_one_clock.get() {
            return known;
        }
        let info: Result<String, _> = cmd("INFO").arg("server").query_async(connection).await;
        match info {
            Ok(info) => *self.has_one_clock.get_or_init(|| info.contains("redis_mode:standalone")),
            Err(error) if found_broken(&error) => false,
            // Not allowed, or from several servers.
            Err(_) => *self.has_one_clock.get_or_init(|| false),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: Duration = Duration::from_secs(1_800_000_000);
    const ASKED: Duration = Duration::from_secs(100);

    fn time_after(since: Duration) -> Option<Duration> {
        Answer { asked: ASKED, said: SAID }.time_at(ASKED + since)
    }

    const MOMENT: Duration = Duration::from_nanos(1);

    #[test]
    fn the_time_there_goes_on_from_when_it_was_asked_for() {
        assert_eq!(time_after(Duration::ZERO), Some(SAID));
        assert_eq!(time_after(Duration::from_millis(7)), Some(SAID + Duration::from_millis(7)));
    }

    #[test]
    fn an_answer_is_good_for_a_moment_alone() {
        assert!(time_after(GOOD_FOR.saturating_sub(MOMENT)).is_some());
        assert_eq!(time_after(GOOD_FOR), None);
        assert_eq!(time_after(Duration::from_secs(3600)), None);
    }

    #[test]
    fn an_answer_from_the_future_is_none() {
        let answer = Answer { asked: ASKED, said: SAID };
        assert_eq!(answer.time_at(ASKED.saturating_sub(MOMENT)), None);
    }
}

//! What time it is at the server, for as long as its last answer to that says enough.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use redis::{aio::ConnectionLike, cmd};
use tower_session_timeout::{Clock, SystemClock};

/// For how long an answer is gone by. If this machine is stopped and goes on without having noticed, it is late for no longer.
const GOOD_FOR: Duration = Duration::from_millis(20);
/// The server's time is then known that exactly.
const LONGEST_ROUND_TRIP: Duration = Duration::from_millis(5);
/// After a server did not say whether it is one of a cluster: it was loading, or does not let anybody know.
const ASKED_AGAIN: Duration = Duration::from_secs(60);

/// The time there is told in order: of two requests, the later one is never judged as the earlier, whichever of them asked the
/// server.
#[derive(Default)]
pub(crate) struct ServerTime(Mutex<Known>);

#[derive(Default)]
struct Known {
    answer: Option<Answer>,
    /// What was asked until then, by this machine's clock, may have been asked of another server.
    forgotten: Duration,
    /// The latest time that was told.
    told: Duration,
    clocks: Clocks,
}

/// The nodes of a cluster have clocks of their own, and which of them answers is the connection's affair: there, and where
/// the server does not say that it is none of a cluster, no answer is gone by.
#[derive(Clone, Copy, Default)]
enum Clocks {
    #[default]
    NotAsked,
    /// For the time being, by this machine's clock.
    UnknownUntil(Duration),
    One,
    Several,
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

impl Known {
    fn at(&mut self, here: Duration) -> Option<Duration> {
        let time = self.answer?.time_at(here)?;
        Some(self.in_order(time))
    }

    fn note(&mut self, answer: Answer, here: Duration) -> Duration {
        let took = here.saturating_sub(answer.asked);
        if took <= LONGEST_ROUND_TRIP && matches!(self.clocks, Clocks::One) && answer.asked > self.forgotten {
            self.answer = Some(answer);
        }
        // Nobody was told as much while the clock there went on: it was set back, or is another server's.
        if self.told > answer.said.saturating_add(took).saturating_add(LONGEST_ROUND_TRIP) {
            self.told = Duration::ZERO;
        }
        self.in_order(answer.said)
    }

    /// What was told before is later by no more than a round trip, unless it was told since.
    fn in_order(&mut self, time: Duration) -> Duration {
        let time = time.max(self.told.min(time.saturating_add(LONGEST_ROUND_TRIP)));
        self.told = self.told.max(time);
        time
    }
}

/// By this machine's clock.
pub(crate) fn here() -> Duration {
    SystemClock.now()
}

impl ServerTime {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What time it is there, not earlier than it is, and later by no more than a [round trip](LONGEST_ROUND_TRIP).
    pub(crate) fn at(&self, here: Duration) -> Option<Duration> {
        self.known().at(here)
    }

    /// Notes the answer to a `TIME` that was asked for at that instant, and says what it is.
    pub(crate) async fn note(
        &self,
        (seconds, micros): (u64, u64),
        asked: Duration,
        connection: &mut impl ConnectionLike,
    ) -> Duration {
        let said = Duration::from_secs(seconds).saturating_add(Duration::from_micros(micros));
        let answered = here();
        self.ask_for_clocks(answered, connection).await;
        self.known().note(Answer { asked, said }, answered)
    }

    /// The connection was lost: the next one may lead to another server.
    pub(crate) fn forget(&self) {
        let mut known = self.known();
        known.answer = None;
        known.forgotten = here();
    }

    async fn ask_for_clocks(&self, here: Duration, connection: &mut impl ConnectionLike) {
        match self.known().clocks {
            Clocks::One | Clocks::Several => return,
            Clocks::UnknownUntil(then) if here < then => return,
            Clocks::UnknownUntil(_) | Clocks::NotAsked => {}
        }
        let info: Result<String, _> = cmd("INFO").arg("server").query_async(connection).await;
        self.known().clocks = match info {
            Ok(info) if info.contains("redis_mode:standalone") => Clocks::One,
            Ok(_) => Clocks::Several,
            Err(_) => Clocks::UnknownUntil(here.saturating_add(ASKED_AGAIN)),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: Duration = Duration::from_secs(1_800_000_000);
    const ASKED: Duration = Duration::from_secs(100);
    const MOMENT: Duration = Duration::from_nanos(1);

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn one_server() -> Known {
        Known { clocks: Clocks::One, ..Known::default() }
    }

    /// Of a server whose time is `SAID` when it is `ASKED` here; it looks at its clock `until_seen` after it was asked.
    fn answer(asked: Duration, until_seen: Duration) -> Answer {
        Answer { asked, said: SAID + asked.saturating_sub(ASKED) + until_seen }
    }

    fn time_after(since: Duration) -> Option<Duration> {
        let mut known = one_server();
        known.note(answer(ASKED, Duration::ZERO), ASKED);
        known.at(ASKED + since)
    }

    #[test]
    fn the_time_there_goes_on_from_when_it_was_asked_for() {
        assert_eq!(time_after(Duration::ZERO), Some(SAID));
        assert_eq!(time_after(ms(7)), Some(SAID + ms(7)));
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

    #[test]
    fn an_answer_that_took_its_time_is_not_gone_by() {
        let mut known = one_server();
        known.note(answer(ASKED, MOMENT), ASKED + LONGEST_ROUND_TRIP + MOMENT);
        assert_eq!(known.at(ASKED + ms(6)), None);
    }

    #[test]
    fn no_answer_of_several_clocks_is_gone_by() {
        for clocks in [Clocks::NotAsked, Clocks::UnknownUntil(Duration::MAX), Clocks::Several] {
            let mut known = Known { clocks, ..Known::default() };
            known.note(answer(ASKED, Duration::ZERO), ASKED);
            assert_eq!(known.at(ASKED), None);
        }
    }

    #[test]
    fn the_time_never_goes_back_from_one_answer_to_the_next() {
        let mut known = one_server();
        // What it is taken for is ahead by the whole way back.
        known.note(answer(ASKED, LONGEST_ROUND_TRIP), ASKED + LONGEST_ROUND_TRIP);
        let last = known.at(ASKED + ms(19)).unwrap();
        assert_eq!(last, SAID + ms(19) + LONGEST_ROUND_TRIP);
        let next = known.note(answer(ASKED + ms(20), Duration::ZERO), ASKED + ms(20));
        assert_eq!(next, last);
        assert_eq!(known.at(ASKED + ms(23)), Some(last));
        assert_eq!(known.at(ASKED + ms(25)), Some(SAID + ms(25)));
    }

    #[test]
    fn an_answer_that_arrives_late_neither_takes_back_what_was_told_meanwhile_nor_is_put_ahead_to_it() {
        let mut known = one_server();
        let late = answer(ASKED, MOMENT);
        known.note(answer(ASKED + ms(90), Duration::ZERO), ASKED + ms(90));
        let told = known.at(ASKED + ms(100)).unwrap();
        assert_eq!(known.note(late, ASKED + ms(100)), late.said + LONGEST_ROUND_TRIP);
        assert_eq!(known.at(ASKED + ms(100)), Some(told));
    }

    #[test]
    fn a_clock_that_is_set_back_is_followed() {
        let mut known = one_server();
        known.note(answer(ASKED, Duration::ZERO), ASKED);
        let back = Answer { asked: ASKED + ms(30), said: SAID.saturating_sub(Duration::from_secs(3600)) };
        assert_eq!(known.note(back, ASKED + ms(31)), back.said);
        assert_eq!(known.at(ASKED + ms(32)), Some(back.said + ms(2)));
    }

    #[test]
    fn what_a_server_said_is_not_gone_by_once_the_connection_was_lost() {
        let time = ServerTime::default();
        time.known().clocks = Clocks::One;
        let asked = here();
        let said = Answer { asked, said: SAID };
        time.known().note(said, asked);
        assert!(time.at(asked).is_some());
        time.forget();
        assert_eq!(time.at(asked), None);
        time.known().note(said, asked);
        assert_eq!(time.at(asked), None);
    }
}

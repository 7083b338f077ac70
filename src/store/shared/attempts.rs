//! Trying again, where others were in the way.

use std::time::Duration;

use crate::clock::Clock;

/// How often a record is at least loaded again that others change at the same time; and then for as long as a layer waits.
const ATTEMPTS: u32 = 10;
const MOST_ATTEMPTS: u32 = 200;
const SHORTEST_PAUSE: Duration = Duration::from_millis(1);

/// How often others were in the way.
pub(super) struct Attempts<'a> {
    clock: &'a dyn Clock,
    began: Duration,
    deadline: Duration,
    number: u32,
}

impl<'a> Attempts<'a> {
    pub(super) fn new(clock: &'a dyn Clock, deadline: Duration) -> Self {
        Self { clock, began: clock.now(), deadline, number: 0 }
    }

    /// Whether there is another one: after a pause of up to twice what one takes, different for each who waits.
    pub(super) async fn next(&mut self) -> bool {
        let passed = self.clock.now().saturating_sub(self.began);
        if self.number >= ATTEMPTS && (passed >= self.deadline || self.number >= MOST_ATTEMPTS) {
            return false;
        }
        if self.number > 0 {
            let mut random = [0];
            let _ = getrandom::fill(&mut random);
            let longest = (passed / self.number).saturating_mul(2).max(SHORTEST_PAUSE);
            tokio::time::sleep(longest.mul_f32(f32::from(random[0]) / 255.0)).await;
        }
        self.number += 1;
        true
    }
}

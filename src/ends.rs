//! Ends that the store has yet to hear of: a lost log-out is worse than a late one.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    runtime::Handle,
    time::{Instant, sleep, timeout},
};

use crate::{Answer, EndLater, event};

/// How many ends are remembered at most.
const CAPACITY: usize = 10_000;
/// How often the store is tried.
const PAUSE: Duration = Duration::from_secs(1);
/// A store that has been away for so long has no live session any more, as a rule.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// Told to the store one after the other, as soon as it is there again.
#[derive(Default)]
pub(crate) struct PendingEnds(Mutex<Queue>);

#[derive(Default)]
struct Queue {
    ends: VecDeque<(EndLater, Instant)>,
    is_being_told: bool,
}

impl PendingEnds {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `false` if there are too many already, or no runtime in which anybody could wait for the store.
    pub(crate) fn add(self: &Arc<Self>, end: EndLater, deadline: Duration) -> bool {
        let Ok(runtime) = Handle::try_current() else { return false };
        let mut queue = self.queue();
        if queue.ends.len() >= CAPACITY {
            return false;
        }
        queue.ends.push_back((end, Instant::now()));
        if !std::mem::replace(&mut queue.is_being_told, true) {
            let ends = Arc::clone(self);
            runtime.spawn(async move { ends.tell(deadline).await });
        }
        true
    }

    async fn tell(&self, deadline: Duration) {
        loop {
            sleep(PAUSE).await;
            loop {
                let next = {
                    let mut queue = self.queue();
                    let next = queue.ends.pop_front();
                    queue.is_being_told = next.is_some();
                    next
                };
                let Some((end, since)) = next else { return };
                let told = match end() {
                    Answer::Ready(told) => told.is_ok(),
                    Answer::Pending(told) => matches!(timeout(deadline, told).await, Ok(Ok(_))),
                };
                if told {
                    continue;
                }
                if since.elapsed() < LONGEST {
                    // Behind the others: it may be this one alone that fails.
                    self.queue().ends.push_back((end, since));
                } else {
                    event::error("a session could not be ended: the store kept failing");
                }
                break;
            }
        }
    }
}

impl fmt::Debug for PendingEnds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PendingEnds({})", self.queue().ends.len())
    }
}

//! Ends that the store has yet to hear of: a lost log-out is worse than a late one.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    runtime::Handle,
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

use crate::{
    event,
    store::{answer::Answer, contract::EndLater},
};

/// How many ends are remembered at most.
const CAPACITY: usize = 100_000;
/// How often the store is tried.
const PAUSE: Duration = Duration::from_secs(1);
/// How many are told at the same time, once it is there again.
const AT_ONCE: usize = 64;
/// A store that has been away for so long has no live session any more, as a rule.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// `PageInfo` to the store as soon as it is there again.
#[derive(Default)]
pub(crate) struct PendingEnds(Mutex<Queue>);

#[derive(Default)]
struct Queue {
    ends: VecDeque<PendingEnd>,
    is_being_told: bool,
}

#[derive(Clone)]
struct PendingEnd {
    tell: Arc<EndLater>,
    since: Instant,
}

impl PendingEnd {
    async fn is_told(&self, deadline: Duration) -> bool {
        match (self.tell)() {
            Answer::Ready(told) => told.is_ok(),
            Answer::Pending(told) => matches!(timeout(deadline, told).await, Ok(Ok(_))),
        }
    }
}

impl PendingEnds {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `false` if there are too many already, or no runtime in which anybody could wait for the store.
    pub(crate) fn add(self: &Arc<Self>, tell: EndLater, deadline: Duration) -> bool {
        let Ok(runtime) = Handle::try_current() else { return false };
        let mut queue = self.queue();
        if queue.ends.len() >= CAPACITY {
            return false;
        }
        queue.ends.push_back(PendingEnd { tell: Arc::new(tell), since: Instant::now() });
        if !std::mem::replace(&mut queue.is_being_told, true) {
            let mut telling = Telling { ends: Arc::clone(self), untold: Vec::new(), is_done: false };
            runtime.spawn(async move { telling.run(deadline).await });
        }
        true
    }

    fn len(&self) -> usize {
        self.queue().ends.len()
    }
}

/// If it ends before its work, with its runtime or by a panic in the store, the next end that is added goes on with that.
struct Telling {
    ends: Arc<PendingEnds>,
    /// Taken out of the queue, to be told or put back.
    untold: Vec<PendingEnd>,
    is_done: bool,
}

impl Telling {
    async fn run(&mut self, deadline: Duration) {
        loop {
            sleep(PAUSE).await;
            while self.is_first_told(deadline).await {
                self.tell_next(deadline).await;
            }
            if self.is_all_told() {
                return;
            }
        }
    }

    fn is_all_told(&mut self) -> bool {
        let mut queue = self.ends.queue();
        self.is_done = queue.ends.is_empty();
        queue.is_being_told = !self.is_done;
        self.is_done
    }

    /// One asks whether the store is there. An end leaves the queue only once it was told.
    async fn is_first_told(&self, deadline: Duration) -> bool {
        let Some(first) = self.ends.queue().ends.front().cloned() else { return false };
        let is_told = first.is_told(deadline).await;
        let is_too_old = first.since.elapsed() >= LONGEST;
        self.settle_first(is_told || is_too_old);
        if is_too_old && !is_told {
            event::error("a session could not be ended: the store kept failing");
        }
        is_told
    }

    fn settle_first(&self, is_settled: bool) {
        let mut queue = self.ends.queue();
        if is_settled {
            queue.ends.pop_front();
        } else {
            // Behind the others: it may be this one alone that fails.
            queue.ends.rotate_left(1);
        }
    }

    fn take_next(&mut self) {
        let mut queue = self.ends.queue();
        let number = queue.ends.len().min(AT_ONCE);
        self.untold.extend(queue.ends.drain(..number));
    }

    async fn tell_next(&mut self, deadline: Duration) {
        self.take_next();
        let mut telling = JoinSet::new();
        for end in self.untold.clone() {
            telling.spawn(async move { end.is_told(deadline).await.then_some(end.tell) });
        }
        while let Some(told) = telling.join_next().await {
            if let Ok(Some(told)) = told {
                self.untold.retain(|end| !Arc::ptr_eq(&end.tell, &told));
            }
        }
        self.ends.queue().ends.extend(self.untold.drain(..));
    }
}

impl Drop for Telling {
    fn drop(&mut self) {
        if self.is_done {
            return;
        }
        let mut queue = self.ends.queue();
        queue.ends.extend(self.untold.drain(..));
        queue.is_being_told = false;
    }
}

impl fmt::Debug for PendingEnds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PendingEnds({})", self.len())
    }
}

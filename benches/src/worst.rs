//! The longest single call to a store of a million sessions, all over at once.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use rustix::time::{ClockId, clock_gettime};

use tower_session_timeout::{
    Clock, Limits, MemoryStore, NewSession, SessionId, Started, Store,
    contract::{Access, Answer, Policy},
};

const SESSIONS: usize = 1_000_000;
const CALLS: usize = 20_000;

#[derive(Clone, Debug, Default)]
struct Minutes(Arc<AtomicU64>);

impl Clock for Minutes {
    fn now(&self) -> Duration {
        Duration::from_secs(60 * self.0.load(Relaxed))
    }
}

/// Median and longest, in microseconds.
struct Longest(f64, f64);

/// Of this thread's own time: what else the machine does is no part of a call.
fn micros() -> f64 {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    now.tv_sec as f64 * 1e6 + now.tv_nsec as f64 / 1e3
}

fn longest(mut call: impl FnMut(usize)) -> Longest {
    let mut times: Vec<f64> = (0..CALLS)
        .map(|turn| {
            let began = micros();
            call(turn);
            micros() - began
        })
        .collect();
    times.sort_by(f64::total_cmp);
    Longest(times[CALLS / 2], times[CALLS - 1])
}

fn owner(number: usize, owners: usize) -> NewSession {
    NewSession::new().owner(format!("user-{}", number % owners))
}

pub fn print() {
    println!("{:<56}{:>12}{:>12}", "microseconds, a million sessions", "median", "longest");
    for (owners, whose) in [(1, "one owner's"), (SESSIONS, "an owner each")] {
        let clock = Minutes::default();
        // Room for the log-ins that are measured first.
        let store = MemoryStore::new().capacity(SESSIONS + CALLS).clock(clock.clone());
        let policy = Policy::new(Limits::default());
        let start = |id: &str, new: &NewSession| store.start(&SessionId::from(id), new, &policy);
        let row = |what: &str, Longest(median, longest): &Longest| {
            println!("{:<56}{median:>12.1}{longest:>12.1}", format!("{what}, {whose}"));
        };
        for number in 0..SESSIONS {
            let started = start(&format!("session-{number}"), &owner(number, owners));
            assert!(matches!(started, Answer::Ready(Ok(Started::New(_)))), "there is room");
        }
        let ask = |turn: usize| {
            let id = format!("session-{}", turn * 37 % SESSIONS);
            drop(store.check(&SessionId::from(&id[..]), &policy, Access::Renew));
        };
        let log_in = |name: &str, turn: usize| drop(start(&format!("{name}-{turn}"), &owner(turn, owners)));
        row("a request, all live", &longest(ask));
        row("a log-in, all live", &longest(|turn| log_in("new", turn)));
        row("a log-in, full of live ones", &longest(|turn| log_in("refused", turn)));
        clock.0.fetch_add(60, Relaxed);
        row("a log-in, full, all over", &longest(|turn| log_in("newer", turn)));
        row("a request, all over", &longest(ask));
    }
}

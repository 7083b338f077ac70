//! A browser that asks for many things at once, of an application whose session id changes with each answer (signed
//! client-side sessions: Flask, Starlette, aiohttp), and the order in which answers arrive.

use std::time::Duration;

use rand::{RngExt, SeedableRng, rngs::StdRng};
use tower_session_timeout::{
    Decision, Limits, Live, ManualClock, MemoryStore, NewSession, SessionId, Store,
    contract::{Access, Policy, Rotated},
};

const REQUESTS: usize = 200;
/// What browsers have open to one host over HTTP/1.1, and over HTTP/2.
const PARALLEL: [usize; 2] = [6, 100];

/// One request under way: what it was admitted with.
struct Request {
    live: Live,
    release: bool,
}

/// How many of its requests were refused.
async fn refusals(store: &impl Store, clock: &ManualClock, seed: u64, parallel: usize) -> usize {
    let mut random = StdRng::seed_from_u64(seed);
    let policy = Policy::new(Limits::default());
    let mut cookie = "v0".to_owned();
    store.start(&SessionId::from(cookie.as_str()), &NewSession::new(), &policy).await.unwrap();
    let (mut under_way, mut sent, mut refused) = (Vec::<Request>::new(), 0, 0);
    while sent < REQUESTS || !under_way.is_empty() {
        clock.advance(Duration::from_millis(random.random_range(0..40)));
        let sends = sent < REQUESTS && under_way.len() < parallel && random.random_range(0..3) > 0;
        if sends || under_way.is_empty() {
            sent += 1;
            match store.check(&SessionId::from(cookie.as_str()), &policy, Access::Hold).await.unwrap() {
                Decision::Live(live) => under_way.push(Request { release: live.held, live }),
                _ => refused += 1,
            }
            continue;
        }
        let Request { live, release } = under_way.swap_remove(random.random_range(0..under_way.len()));
        let new = format!("v{sent}-{}", random.random::<u64>());
        let rotated = store.rotate(live.key, &SessionId::from(new.as_str()), live.presented, &policy).await;
        if release {
            store.release(live.key);
        }
        if rotated.unwrap() != Rotated::Refused {
            cookie = new;
        }
    }
    refused
}

#[tokio::test]
async fn a_busy_browser_is_never_signed_out() {
    for seed in 0..14 {
        for parallel in PARALLEL {
            let clock = ManualClock::new();
            let store = MemoryStore::new().clock(clock.clone());
            assert_eq!(refusals(&store, &clock, seed, parallel).await, 0, "seed {seed}, {parallel} at once");
        }
    }
}

#[cfg(feature = "shared")]
#[tokio::test]
async fn a_busy_browser_is_never_signed_out_of_a_shared_store() {
    use crate::support::table::Table;
    use tower_session_timeout::SharedStore;

    for seed in 0..4 {
        for parallel in PARALLEL {
            let clock = ManualClock::new();
            let store = SharedStore::on_clock(Table::new(clock.clone()), clock.clone());
            assert_eq!(refusals(&store, &clock, seed, parallel).await, 0, "seed {seed}, {parallel} at once");
        }
    }
}

//! A store over any backend: what it asks of it, and what happens when that is slow, full, or changed by others.
#![cfg(feature = "shared")]
#![allow(clippy::unchecked_time_subtraction)] // of constants

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use crate::support::{
    App, RuntimeClock, get,
    model::{self, Model},
    post, sid,
    table::{Table, Ways},
};
use http::StatusCode;
use proptest::{
    prelude::*,
    strategy::ValueTree,
    test_runner::{Config, TestRunner},
};
use tokio::time::sleep;
use tower_session_timeout::{
    Access, Adopted, CachedStore, Clock, Decision, EndReason, EventSink, Limits, ManualClock, NewSession,
    Owner, Policy, SessionEvent, SessionId, SharedStore, Started, Store, Verdict, conformance,
};

const SECOND: Duration = Duration::from_secs(1);
const IDLE: Duration = Duration::from_secs(4);
const DEADLINE: Duration = Duration::from_millis(300);

fn policy() -> Policy {
    Policy::new(Limits::new(IDLE, Duration::from_secs(3600)))
}

/// A table that is one store for several processes.
struct Site {
    table: Table,
    clock: ManualClock,
}

impl Site {
    fn new() -> Self {
        let clock = ManualClock::new();
        Self { table: Table::new(clock.clone()), clock }
    }

    fn process(&self) -> SharedStore<Table> {
        SharedStore::on_clock(self.table.clone(), self.clock.clone())
    }
}

async fn check(store: &impl Store, id: &str, access: Access) -> Decision {
    store.check(&SessionId::from(id), &policy(), access).await.unwrap()
}

async fn is_live(store: &impl Store, id: &str) -> bool {
    matches!(check(store, id, Access::Peek).await, Decision::Live(_))
}

async fn start(store: &impl Store, id: &str) -> Started {
    store.start(&SessionId::from(id), &NewSession::new(), &policy()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_over_a_table_conforms() {
    let make = |clock: ManualClock| {
        SharedStore::on_clock(Table::new(clock.clone()), clock).granularity(Duration::ZERO)
    };
    conformance::check(&make).await;
}

/// I9: a store of records, and one with a cache before it, whose windows are closed between two steps.
#[tokio::test(start_paused = true)]
async fn with_and_without_a_cache_it_decides_as_the_model_does() {
    let mut runner = TestRunner::new(Config { failure_persistence: None, ..Config::default() });
    let traces = prop::collection::vec(model::step(), 1..80);
    for _ in 0..200 {
        let trace = traces.new_tree(&mut runner).unwrap().current();
        println!("{trace:?}");
        let (clock, runtime) = (ManualClock::new(), RuntimeClock::new());
        clock.advance(Duration::from_secs(1000));
        let store =
            || SharedStore::on_clock(Table::new(clock.clone()), clock.clone()).granularity(Duration::ZERO);
        let (plain, window) = (store(), Duration::from_millis(1));
        let cached = CachedStore::new(store(), window).clock(runtime);
        let (mut of_plain, mut of_cached) = (Model::default(), Model::default());
        for step in &trace {
            if let model::Step::Advance(by) = step {
                clock.advance(Duration::from_secs(*by));
            }
            model::compare(&plain, &mut of_plain, step).await;
            model::compare(&cached, &mut of_cached, step).await;
            sleep(2 * window).await;
        }
    }
}

#[tokio::test]
async fn a_renewal_within_the_granularity_takes_one_look_up_and_writes_nothing() {
    let site = Site::new();
    let store = site.process().granularity(SECOND);
    start(&store, "A").await;
    let (loads, swaps) = (site.table.loads(), site.table.swaps());
    for _ in 0..9 {
        site.clock.advance(SECOND / 10);
        check(&store, "A", Access::Renew).await;
    }
    assert_eq!((site.table.loads() - loads, site.table.swaps() - swaps), (9, 0));
    site.clock.advance(SECOND / 10);
    check(&store, "A", Access::Renew).await;
    assert_eq!((site.table.loads() - loads, site.table.swaps() - swaps), (10, 1));
}

#[tokio::test]
async fn who_meets_anothers_write_decides_anew() {
    let site = Site::new();
    let store = site.process().granularity(Duration::ZERO);
    let Started::New(key) = start(&store, "A").await else { panic!("a new id") };
    site.clock.advance(SECOND);
    site.table.conflicts(3);
    assert!(matches!(check(&store, "A", Access::Renew).await, Decision::Live(_)));
    site.table.conflicts(3);
    assert!(store.end(key, EndReason::SignedOut).await.unwrap());
    assert!(!is_live(&store, "A").await);
}

#[tokio::test]
async fn who_always_meets_others_gets_an_error_and_never_a_guess() {
    let site = Site::new();
    let store = site.process().granularity(Duration::ZERO);
    let Started::New(key) = start(&store, "A").await else { panic!("a new id") };
    site.clock.advance(SECOND);
    site.table.conflicts(usize::MAX);
    assert!(store.check(&SessionId::from("A"), &policy(), Access::Renew).await.is_err());
    assert!(store.end(key, EndReason::SignedOut).await.is_err());
    assert!(store.start(&SessionId::from("B"), &NewSession::new(), &policy()).await.is_err());
    site.table.conflicts(0);
    assert!(is_live(&store, "A").await);
    assert!(!is_live(&store, "B").await);
}

/// Each would like to write down a moment of its own.
#[tokio::test(start_paused = true)]
async fn a_hundred_requests_of_a_session_at_once_are_all_let_in() {
    let table = Table::new(RuntimeClock::new());
    let store = SharedStore::on_clock(table.clone(), RuntimeClock::new()).granularity(Duration::ZERO);
    start(&store, "A").await;
    table.ways(Ways { load_back: SECOND / 100, swap_there: SECOND / 100, ..Ways::default() });
    let requests: Vec<_> = (0..100)
        .map(|number| {
            let store = store.clone();
            tokio::spawn(async move {
                sleep(Duration::from_millis(number / 3)).await;
                store.check(&SessionId::from("A"), &policy(), Access::Renew).await
            })
        })
        .collect();
    for request in requests {
        let decided = request.await.unwrap();
        assert!(matches!(decided, Ok(Decision::Live(_))), "{decided:?}");
    }
}

/// An application whose store is a second away and back, and stalls at will.
struct Remote {
    app: App,
    table: Table,
}

impl Remote {
    async fn new(is_cached: bool) -> Self {
        let clock = RuntimeClock::new();
        let table = Table::new(clock.clone());
        let store = SharedStore::on_clock(table.clone(), clock.clone()).granularity(Duration::ZERO);
        let configure = |builder: tower_session_timeout::SessionTimeoutBuilder| {
            builder.idle_timeout(IDLE).absolute_timeout(Duration::from_secs(3600)).store_deadline(DEADLINE)
        };
        let app = if is_cached {
            App::on(CachedStore::new(store, SECOND).clock(clock), configure)
        } else {
            App::on(store, configure)
        };
        app.log_in("A").await;
        Self { app, table }
    }

    async fn status(&self) -> StatusCode {
        self.app.visit("A").await.status()
    }
}

/// The network stands still as a request is sent, and delivers it seconds later.
#[tokio::test(start_paused = true)]
async fn a_request_that_was_answered_503_renews_nothing_however_late_it_arrives() {
    let stalls = [
        Ways { load_there: 3 * SECOND, ..Ways::default() },
        Ways { load_back: 3 * SECOND, ..Ways::default() },
        Ways { swap_there: 3 * SECOND, ..Ways::default() },
    ];
    for is_cached in [false, true] {
        for (number, ways) in stalls.into_iter().enumerate() {
            let remote = Remote::new(is_cached).await;
            sleep(SECOND / 2).await;
            assert_eq!(remote.status().await, StatusCode::OK);
            // Out of the cache's window.
            sleep(2 * SECOND).await;
            remote.table.ways(ways);
            assert_eq!(remote.status().await, StatusCode::SERVICE_UNAVAILABLE);
            remote.table.ways(Ways::default());
            sleep(2 * SECOND - DEADLINE).await;
            assert_eq!(remote.status().await, StatusCode::UNAUTHORIZED, "{is_cached} {number}");
        }
    }
}

/// `Session-Idle-For` is an age as of the moment the page sent it.
#[tokio::test(start_paused = true)]
async fn an_activity_that_is_told_late_is_no_younger_for_that() {
    let clock = RuntimeClock::new();
    let table = Table::new(clock.clone());
    let store = SharedStore::on_clock(table.clone(), clock).granularity(Duration::ZERO);
    let app = App::on(store, |builder| {
        builder
            .idle_timeout(40 * SECOND)
            .store_deadline(10 * SECOND)
            .client_endpoints("/_session-timeout")
            .warn_before(20 * SECOND)
    });
    app.log_in("A").await;
    sleep(30 * SECOND).await;
    table.ways(Ways { load_there: 3 * SECOND, ..Ways::default() });
    let keep_alive = [("session-idle-for", "20000"), ("sec-fetch-site", "same-origin"), ("cookie", "sid=A")];
    let mut request = post("/_session-timeout/keep-alive");
    for (name, value) in keep_alive {
        request.headers_mut().insert(name, value.parse().unwrap());
    }
    assert_eq!(
        app.send(request).await.status(),
        StatusCode::OK,
        "after nine seconds, for it asks three times"
    );
    table.ways(Ways::default());
    // The user was active at the tenth second.
    let passive = || sid(get("/account", &[("session-activity", "passive")]), "A");
    sleep(10 * SECOND).await;
    assert_eq!(app.send(passive()).await.status(), StatusCode::OK, "at 49 seconds");
    sleep(SECOND).await;
    assert_eq!(app.send(passive()).await.status(), StatusCode::UNAUTHORIZED, "at 50 seconds");
}

/// A cache tells what happened in its window when that ends.
#[tokio::test(start_paused = true)]
async fn what_a_cache_tells_over_a_network_that_stalls_renews_as_of_then() {
    let remote = Remote::new(true).await;
    sleep(SECOND / 10).await;
    assert_eq!(remote.status().await, StatusCode::OK);
    sleep(SECOND / 2).await;
    assert_eq!(remote.status().await, StatusCode::OK, "within the window, at 0.6 seconds");
    for stall in [
        Ways { load_there: 3 * SECOND, ..Ways::default() },
        Ways { swap_there: 3 * SECOND, ..Ways::default() },
    ] {
        remote.table.ways(stall);
        sleep(SECOND).await;
        remote.table.ways(Ways::default());
    }
    sleep(2 * SECOND).await;
    assert_eq!(remote.status().await, StatusCode::UNAUTHORIZED, "at 4.6 seconds");
}

#[tokio::test]
async fn a_full_backend_ends_sessions_and_begins_none() {
    let site = Site::new();
    let store = site.process().granularity(Duration::ZERO);
    let Started::New(key) = start(&store, "A").await else { panic!("a new id") };
    site.table.fill(true);
    site.clock.advance(SECOND);
    let Decision::Live(live) = check(&store, "A", Access::Renew).await else { panic!("it lives on") };
    assert_eq!(live.remaining.idle, IDLE - SECOND, "what could not be written down is not promised");
    let Verdict::Live(left) = store.renew(key, Duration::ZERO, &policy()).await.unwrap() else {
        panic!("it lives on")
    };
    assert_eq!(left.idle, IDLE - SECOND);
    assert_eq!(start(&store, "B").await, Started::AtCapacity);
    assert!(store.end(key, EndReason::SignedOut).await.unwrap());
    assert!(!is_live(&store, "A").await);
}

#[tokio::test]
async fn an_end_that_has_to_be_remembered_and_cannot_fails() {
    let site = Site::new();
    let store = site.process();
    let adopt = async || store.adopt(&SessionId::from("A"), &NewSession::new(), &policy()).await.unwrap();
    let Adopted::New(key) = adopt().await else { panic!("a new id") };
    site.table.fill(true);
    assert!(store.end(key, EndReason::SignedOut).await.is_err(), "it is tried again");
    site.table.fill(false);
    assert_eq!(adopt().await, Adopted::Known);
    assert!(store.end(key, EndReason::SignedOut).await.unwrap());
    assert_eq!(adopt().await, Adopted::Known);
}

/// I10. What other processes admit nobody here knows.
#[tokio::test]
async fn a_look_by_stricter_limits_ends_nothing_for_laxer_ones() {
    let site = Site::new();
    let (store, lax) = (site.process(), Policy::new(Limits::idle_only(4 * IDLE)));
    let id = SessionId::from("A");
    store.start(&id, &NewSession::new(), &lax).await.unwrap();
    site.clock.advance(2 * IDLE);
    assert!(!is_live(&store, "A").await);
    let looked = store.check(&id, &lax, Access::Peek).await.unwrap();
    assert!(matches!(looked, Decision::Live(_)), "{looked:?}");
    assert!(matches!(check(&store, "A", Access::Renew).await, Decision::Ended { .. }));
    let over = store.check(&id, &lax, Access::Renew).await.unwrap();
    assert!(matches!(over, Decision::Ended { .. }), "who was refused for good stays out: {over:?}");
}

#[tokio::test]
async fn what_was_ended_under_a_short_idle_timeout_is_not_adopted_under_a_longer_one() {
    let site = Site::new();
    let (strict, lax) = (site.process(), site.process());
    let long = Policy::new(Limits::idle_only(100 * IDLE));
    let adopt = async |store: &SharedStore<Table>, policy: &Policy| {
        store.adopt(&SessionId::from("A"), &NewSession::new(), policy).await.unwrap()
    };
    let Adopted::New(key) = adopt(&strict, &policy()).await else { panic!("a new id") };
    assert!(strict.end(key, EndReason::SignedOut).await.unwrap());
    site.clock.advance(99 * IDLE);
    assert_eq!(adopt(&lax, &long).await, Adopted::Known);
}

#[tokio::test]
async fn all_of_an_owners_sessions_are_ended_and_struck_off_even_if_some_could_not_be() {
    let site = Site::new();
    let (store, alice) = (site.process(), Owner::from("alice"));
    for number in 0..100 {
        let id = number.to_string();
        let new = NewSession::new().owner("alice");
        store.start(&SessionId::from(&id[..]), &new, &policy()).await.unwrap();
    }
    assert_eq!(store.sessions_of(&alice, &policy()).await.unwrap().len(), 100);
    site.table.conflicts(11);
    let first = store.end_all(&alice, None).await.unwrap_or(0);
    let loads = site.table.loads();
    let second = store.end_all(&alice, None).await.unwrap();
    assert!(first + second >= 100 - 32, "{first}, {second}");
    assert!(site.table.loads() - loads <= 100 - first, "those that had ended are not asked about again");
    assert_eq!(store.sessions_of(&alice, &policy()).await.unwrap().len(), 0);
}

#[tokio::test]
async fn an_end_that_is_found_is_told_once_by_whichever_process() {
    let site = Site::new();
    let told = Arc::new(AtomicUsize::new(0));
    let processes = [site.process(), site.process()];
    for store in &processes {
        let told = Arc::clone(&told);
        store.events(EventSink::new(move |event| {
            told.fetch_add(usize::from(matches!(event, SessionEvent::Ended { .. })), SeqCst);
        }));
    }
    start(&processes[0], "A").await;
    site.clock.advance(IDLE);
    for store in processes.iter().cycle().take(6) {
        assert!(!is_live(store, "A").await);
        assert!(matches!(check(store, "A", Access::Renew).await, Decision::Ended { .. }));
    }
    assert_eq!(told.load(SeqCst), 1);
}

/// As a server's wall clock is, by people or by NTP.
#[tokio::test]
async fn a_clock_that_is_set_back_lets_no_session_live_longer_than_that() {
    #[derive(Clone, Debug)]
    struct Settable(Arc<AtomicUsize>);
    impl Clock for Settable {
        fn now(&self) -> Duration {
            Duration::from_secs(self.0.load(SeqCst).try_into().unwrap())
        }
    }
    let clock = Settable(Arc::new(AtomicUsize::new(10_000)));
    let store = SharedStore::new(Table::new(clock.clone()));
    start(&store, "A").await;
    clock.0.store(5_000, SeqCst);
    let Decision::Live(live) = check(&store, "A", Access::Renew).await else { panic!("it lives on") };
    assert_eq!(live.remaining.idle, IDLE);
    clock.0.fetch_add(4, SeqCst);
    assert!(!is_live(&store, "A").await, "idle since the clock was set back");
}

//! A store over any backend: what it asks of it, and what happens when that is slow, full, or changed by others.
#![cfg(feature = "shared")]
#![allow(clippy::unchecked_time_subtraction)] // of constants

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use crate::support::{
    App, RuntimeClock, conforms, get,
    model::{self, Model},
    post, sid,
    table::{Table, Ways},
};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use proptest::{
    prelude::*,
    strategy::ValueTree,
    test_runner::{Config, TestRunner},
};
use tokio::time::sleep;
use tower::{Layer, ServiceExt, service_fn};
use tower_session_timeout::{
    CachedStore, ClientEndpoints, Clock, Decision, EndReason, Limits, ManualClock, MaxSessions, NewSession,
    Owner, SessionEvent, SessionId, SessionTimeoutLayer, SharedStore, Started, Store, SystemClock,
    conformance,
    contract::{Access, Adopted, EventSink, Policy, Restarted, Verdict},
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
    conforms(&make).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_conforms() {
    conformance::backend(Table::new(SystemClock)).await;
}

async fn log_in_limited(store: &impl Store, id: &str, limit: Option<MaxSessions>) -> Started {
    let mut new = NewSession::new().owner("alice");
    new.max_sessions = limit;
    store.start(&SessionId::from(id), &new, &policy()).await.unwrap()
}

#[tokio::test]
async fn sessions_that_began_before_there_was_a_limit_count_too() {
    let site = Site::new();
    let store = site.process();
    for id in ["A", "B"] {
        log_in_limited(&store, id, None).await;
        site.clock.advance(SECOND / 10);
    }
    let refused = log_in_limited(&store, "C", Some(MaxSessions::refuse_new(2))).await;
    assert_eq!(refused, Started::TooMany);
    assert!(!is_live(&store, "C").await);
    log_in_limited(&store, "D", Some(MaxSessions::end_longest_idle(2))).await;
    assert!(!is_live(&store, "A").await && is_live(&store, "B").await && is_live(&store, "D").await);
    let before = site.table.len();
    assert_eq!(
        log_in_limited(&store, "D", Some(MaxSessions::refuse_new(2))).await,
        log_in_limited(&store, "D", None).await
    );
    assert_eq!(site.table.len(), before, "a session that is live is no further one");
}

/// It is told, and counted anew.
#[tokio::test]
async fn a_spoiled_roster_locks_nobody_out() {
    let site = Site::new();
    let told = Arc::new(AtomicUsize::new(0));
    let store = site.process();
    let sink = Arc::clone(&told);
    store.events(EventSink::new(move |event| {
        if matches!(event, SessionEvent::StoreFailed { .. }) {
            sink.fetch_add(1, SeqCst);
        }
    }));
    let limit = Some(MaxSessions::refuse_new(2));
    log_in_limited(&store, "A", limit).await;
    let roster = site.table.written_last();
    for (id, expected) in [("B", true), ("C", false)] {
        site.table.put(roster, b"spoiled");
        let started = log_in_limited(&store, id, limit).await;
        assert_eq!(matches!(started, Started::New(_)), expected, "{started:?}");
    }
    assert!(is_live(&store, "A").await && is_live(&store, "B").await);
    assert_eq!(told.load(SeqCst), 2);
}

/// Every other swap is lost to somebody else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_over_a_contended_table_conforms() {
    let make = |clock: ManualClock| {
        let table = Table::new(clock.clone());
        table.lose_every_other_swap();
        SharedStore::on_clock(table, clock).granularity(Duration::ZERO)
    };
    conforms(&make).await;
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

/// T98
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
            .client_endpoints(ClientEndpoints::at("/_session-timeout").warn_before(20 * SECOND))
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
    assert_eq!(live.remaining().idle, IDLE - SECOND, "what could not be written down is not promised");
    let Verdict::Live(left) = store.renew(key, Duration::ZERO, &policy()).await.unwrap() else {
        panic!("it lives on")
    };
    assert_eq!(left.idle, IDLE - SECOND);
    assert_eq!(start(&store, "B").await, Started::AtCapacity);
    let of_an_owner = store.start(&SessionId::from("B"), &NewSession::new().owner("ada"), &policy());
    assert_eq!(of_an_owner.await.unwrap(), Started::AtCapacity, "its owner's list has no room, either");
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
    assert_eq!(live.remaining().idle, IDLE);
    clock.0.fetch_add(4, SeqCst);
    assert!(!is_live(&store, "A").await, "idle since the clock was set back");
}

/// T93: what decides is the table's clock.
#[tokio::test]
async fn processes_whose_clocks_differ_decide_alike_and_at_the_same_instant() {
    let site = Site::new();
    let clocks = [Duration::ZERO, 30 * SECOND, 3600 * SECOND].map(|ahead| {
        let clock = ManualClock::new();
        clock.advance(ahead);
        clock
    });
    let on_clock = |clock: &ManualClock| SharedStore::on_clock(site.table.clone(), clock.clone());
    let processes = clocks.each_ref().map(on_clock).map(|store| store.granularity(Duration::ZERO));
    let advance = |by| [&site.clock].into_iter().chain(&clocks).for_each(|clock| clock.advance(by));
    start(&processes[0], "A").await;
    for renewing in processes.iter().cycle().take(6) {
        advance(IDLE - SECOND);
        assert!(matches!(check(renewing, "A", Access::Renew).await, Decision::Live(_)));
        for store in &processes {
            let Decision::Live(live) = check(store, "A", Access::Peek).await else { panic!("it lives") };
            assert_eq!(live.remaining().idle, IDLE);
        }
    }
    advance(IDLE - Duration::from_nanos(1));
    for store in &processes {
        assert!(is_live(store, "A").await);
    }
    advance(Duration::from_nanos(1));
    for store in &processes {
        assert!(!is_live(store, "A").await);
    }
}

/// T114: how far a look-up gets in an index of keys tells nothing of how near a guess is.
#[tokio::test]
async fn keys_of_ids_that_are_nearly_the_same_have_nothing_in_common() {
    let site = Site::new();
    let store = site.process();
    let mut keys = Vec::new();
    for last in 'a'..='z' {
        start(&store, &format!("{}{last}", "k".repeat(31))).await;
        keys.push(site.table.written_last().to_bytes());
    }
    for (number, key) in keys.iter().enumerate() {
        for other in &keys[..number] {
            let in_common = key.iter().zip(other).filter(|(byte, other)| byte == other).count();
            assert!(in_common <= 3, "of 16 bytes: {key:?} {other:?}");
            assert_ne!(key[..3], other[..3]);
        }
    }
}

/// Two processes on a table, whose layers have other limits, and a log-in of alice's under these.
async fn log_in(store: &SharedStore<Table>, id: &str, policy: &Policy) {
    store.start(&SessionId::from(id), &NewSession::new().owner("alice"), policy).await.unwrap();
}

#[tokio::test]
async fn a_log_in_under_stricter_limits_takes_nothing_off_its_owners_list() {
    let site = Site::new();
    let (store, lax) = (site.process(), Policy::new(Limits::idle_only(Duration::from_secs(8 * 3600))));
    log_in(&store, "A", &lax).await;
    site.clock.advance(Duration::from_secs(2 * 3600));
    log_in(&store, "B", &policy()).await;
    let alice = Owner::from("alice");
    assert_eq!(store.sessions_of(&alice, &lax).await.unwrap().len(), 2);
    assert_eq!(store.end_all(&alice, None).await.unwrap(), 2);
    assert!(matches!(
        store.check(&SessionId::from("A"), &lax, Access::Peek).await.unwrap(),
        Decision::Ended { reason: EndReason::Revoked, .. }
    ));
}

#[tokio::test]
async fn what_has_ended_is_on_no_owners_list_any_more() {
    let site = Site::new();
    let (store, alice) = (site.process(), Owner::from("alice"));
    for number in 0..200 {
        let id = number.to_string();
        log_in(&store, &id, &policy()).await;
        if number == 199 {
            break;
        }
        let Decision::Live(live) = check(&store, &id, Access::Peek).await else { panic!("it is live") };
        assert!(store.end(live.key, EndReason::SignedOut).await.unwrap());
    }
    let loads = site.table.loads();
    assert_eq!(store.end_all(&alice, None).await.unwrap(), 1);
    assert!(site.table.loads() - loads < 5, "nobody asks about those that have ended");
}

/// However long its process remembers ends.
#[tokio::test]
async fn the_end_of_an_adopted_session_is_remembered_as_long_as_its_adopter_asked_for() {
    let site = Site::new();
    let (mobile, web) = (site.process(), site.process());
    let days = |days: u64| Duration::from_secs(days * 24 * 3600);
    let long = Policy::new(Limits::idle_only(days(30)));
    let adopt = || mobile.adopt(&SessionId::from("A"), &NewSession::new(), &long);
    let Adopted::New(key) = adopt().await.unwrap() else { panic!("a new id") };
    assert!(web.end(key, EndReason::SignedOut).await.unwrap());
    site.clock.advance(days(30) - SECOND);
    assert_eq!(adopt().await.unwrap(), Adopted::Known);
}

#[tokio::test]
async fn activity_in_a_stricter_process_keeps_a_session_for_a_laxer_one() {
    let site = Site::new();
    let (strict, lax) = (site.process(), site.process());
    let hour = Policy::new(Limits::idle_only(Duration::from_secs(3600)));
    let minute = Policy::new(Limits::idle_only(Duration::from_secs(60)));
    lax.start(&SessionId::from("A"), &NewSession::new(), &hour).await.unwrap();
    for _ in 0..2 * 3600 {
        site.clock.advance(SECOND);
        let checked = strict.check(&SessionId::from("A"), &minute, Access::Renew).await.unwrap();
        assert!(matches!(checked, Decision::Live(_)), "{checked:?}");
    }
    site.clock.advance(Duration::from_secs(50 * 60));
    let looked = lax.check(&SessionId::from("A"), &hour, Access::Renew).await.unwrap();
    assert!(matches!(looked, Decision::Live(_)), "{looked:?}");
}

/// A request that takes its time renews its session by its name, and so does a cache.
#[tokio::test]
async fn an_id_is_kept_as_long_as_its_session_whatever_renews_that() {
    let site = Site::new();
    let (store, idle) = (site.process(), Duration::from_secs(15 * 60));
    let unlimited = Policy::new(Limits::idle_only(idle));
    store.start(&SessionId::from("A"), &NewSession::new(), &unlimited).await.unwrap();
    let renew = async |id: &str| match store.check(&SessionId::from(id), &unlimited, Access::Renew).await {
        Ok(Decision::Live(live)) => live,
        other => panic!("{id}: {other:?}"),
    };
    let live = renew("A").await;
    store.rotate(live.key, &SessionId::from("B"), live.presented, &unlimited).await.unwrap();
    renew("B").await;
    for _ in 0..100 {
        site.clock.advance(idle / 3);
        store.renew(live.key, Duration::ZERO, &unlimited).await.unwrap();
    }
    renew("B").await;

    let eight_hours = Policy::new(Limits::new(Duration::from_secs(8 * 3600), Duration::from_secs(8 * 3600)));
    store.start(&SessionId::from("C"), &NewSession::new(), &eight_hours).await.unwrap();
    let checked = store.check(&SessionId::from("C"), &eight_hours, Access::Renew).await.unwrap();
    let Decision::Live(live) = checked else { panic!("{checked:?}") };
    store.rotate(live.key, &SessionId::from("D"), live.presented, &eight_hours).await.unwrap();
    site.clock.advance(Duration::from_secs(4 * 3600));
    assert_eq!(store.restart(live.key, &NewSession::new(), &eight_hours).await.unwrap(), Restarted::Done);
    site.clock.advance(Duration::from_secs(8 * 3600 - 1));
    let checked = store.check(&SessionId::from("D"), &eight_hours, Access::Renew).await.unwrap();
    assert!(matches!(checked, Decision::Live(_)), "{checked:?}");
}

#[tokio::test]
async fn an_id_that_does_not_work_ends_no_session() {
    let site = Site::new();
    let store = site.process();
    let lax = Policy::new(Limits::idle_only(100 * IDLE));
    store.start(&SessionId::from("A"), &NewSession::new(), &lax).await.unwrap();
    let Decision::Live(live) = store.check(&SessionId::from("A"), &lax, Access::Renew).await.unwrap() else {
        panic!("it is live")
    };
    store.rotate(live.key, &SessionId::from("B"), live.presented, &lax).await.unwrap();
    store.check(&SessionId::from("B"), &lax, Access::Renew).await.unwrap();
    site.clock.advance(lax.rotation_grace.max(IDLE));
    assert!(
        matches!(check(&store, "A", Access::Renew).await, Decision::Ended { .. }),
        "superseded, under a stricter layer"
    );
    let looked = store.check(&SessionId::from("B"), &lax, Access::Peek).await.unwrap();
    assert!(matches!(looked, Decision::Live(_)), "{looked:?}");
}

#[tokio::test]
async fn what_was_not_recorded_is_not_withdrawn() {
    let site = Site::new();
    let store = site.process().granularity(SECOND);
    start(&store, "A").await;
    site.clock.advance(SECOND / 2);
    let Decision::Live(live) = check(&store, "A", Access::Renew).await else { panic!("it is live") };
    store.withdraw(&live).await.unwrap();
    let Decision::Live(live) = check(&store, "A", Access::Peek).await else { panic!("it is live") };
    assert_eq!(live.idle_for(), SECOND / 2);
}

/// Each step is in time, and all of them together are not.
#[tokio::test(start_paused = true)]
async fn a_request_whose_steps_took_too_long_together_renews_nothing() {
    let remote = Remote::new(false).await;
    remote.table.ways(Ways {
        load_there: DEADLINE * 9 / 10,
        swap_there: DEADLINE * 9 / 10,
        ..Ways::default()
    });
    sleep(SECOND).await;
    assert_eq!(remote.status().await, StatusCode::SERVICE_UNAVAILABLE);
    remote.table.ways(Ways::default());
    sleep(IDLE - SECOND).await;
    assert_eq!(remote.status().await, StatusCode::UNAUTHORIZED);
}

#[tokio::test(start_paused = true)]
async fn a_remembered_log_out_ends_no_session_that_began_since() {
    let remote = Remote::new(false).await;
    let stall = Ways { load_there: 1000 * SECOND, ..Ways::default() };
    remote.table.ways(stall);
    assert_eq!(remote.app.send(sid(post("/logout"), "A")).await.status(), StatusCode::SERVICE_UNAVAILABLE);
    remote.table.ways(Ways::default());
    // It is back before it was told.
    sleep(SECOND / 10).await;
    assert_eq!(remote.app.send(sid(post("/logout"), "A")).await.status(), StatusCode::OK);
    sleep(SECOND / 10).await;
    remote.app.log_in("A").await;
    sleep(2 * SECOND).await;
    assert_eq!(remote.status().await, StatusCode::OK);
}

/// A server with a runtime for each of its threads, of which one comes to its end.
#[test]
fn log_outs_are_remembered_though_the_runtime_that_told_them_is_gone() {
    let clock = ManualClock::new();
    let table = Table::new(clock.clone());
    let app = App::on(SharedStore::on_clock(table.clone(), clock.clone()), |builder| builder);
    let on_a_runtime = |work: &dyn Fn() -> std::pin::Pin<Box<dyn Future<Output = ()>>>| {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(work());
    };
    let app = std::rc::Rc::new(app);
    let away = Ways { load_there: 1000 * SECOND, ..Ways::default() };
    for id in ["A", "B"] {
        let (app, table) = (std::rc::Rc::clone(&app), table.clone());
        on_a_runtime(&move || {
            let (app, table) = (std::rc::Rc::clone(&app), table.clone());
            Box::pin(async move {
                table.ways(Ways::default());
                app.log_in(id).await;
                table.ways(away);
                assert_eq!(
                    app.send(sid(post("/logout"), id)).await.status(),
                    StatusCode::SERVICE_UNAVAILABLE
                );
                table.ways(Ways::default());
                if id == "B" {
                    sleep(10 * SECOND).await;
                }
            })
        });
    }
    on_a_runtime(&move || {
        let app = std::rc::Rc::clone(&app);
        Box::pin(async move {
            for id in ["A", "B"] {
                assert_eq!(app.end_reason(id).await, Some(EndReason::SignedOut), "{id}");
            }
        })
    });
}

/// A refusal by an inner layer takes back what its request had renewed, in what the cache has yet to tell the store, too.
#[tokio::test(start_paused = true)]
async fn a_reload_passes_no_inner_idle_timeout_over_a_cache() {
    let clock = RuntimeClock::new();
    let (minute, hour) = (60 * SECOND, 3600 * SECOND);
    let table = Table::new(clock.clone());
    let store = CachedStore::new(SharedStore::on_clock(table, clock.clone()), 10 * SECOND).clock(clock);
    let outer = SessionTimeoutLayer::builder().cookie("sid").idle_timeout(hour).store(store).build().unwrap();
    let inner = SessionTimeoutLayer::builder().cookie("sid").idle_timeout(15 * minute).build().unwrap();
    outer.sessions().start(&SessionId::from("A"), &NewSession::new()).await.unwrap();
    let site = outer.layer(inner.layer(service_fn(async |_: Request<Full<Bytes>>| {
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
    })));
    let status = async || site.clone().oneshot(sid(get("/", &[]), "A")).await.unwrap().status();
    assert_eq!(status().await, StatusCode::OK);
    sleep(20 * minute).await;
    for _ in 0..5 {
        assert_eq!(status().await, StatusCode::UNAUTHORIZED);
        sleep(2 * SECOND).await;
    }
}

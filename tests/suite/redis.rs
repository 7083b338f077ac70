//! The Redis store against a real server: T07, T14, T100, T103, T107, T108, and races.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use crate::{
    servers::redis_server::{RedisServer, calls_of, until},
    support::{
        App, conforms,
        fault_proxy::{Fault, FaultProxy},
        model::{self, Model},
        pace, post, sid,
    },
};
use ::redis::aio::ConnectionManager;
use http::StatusCode;
use proptest::{
    prelude::*,
    strategy::ValueTree,
    test_runner::{Config, TestRunner},
};
use tower_session_timeout::{
    Decision, EndReason, Limits, Live, ManualClock, NewSession, Owner, SessionEvent, SessionId, Started,
    Store,
    contract::{Access, Adopted, Answer, EventSink, Policy, Restarted, Rotated},
};
use tower_session_timeout_redis::{ReconnectingConnection, RedisStore};

const IDLE: Duration = Duration::from_secs(15);

fn policy() -> Policy {
    let mut policy = Policy::new(Limits::new(IDLE, Duration::from_secs(60)));
    policy.rotation_grace = Duration::from_secs(3);
    policy
}

async fn ask<T: Send + 'static>(answer: Answer<T>) -> T {
    answer.await.unwrap()
}

async fn check(store: &impl Store, id: &str, access: Access) -> Decision {
    ask(store.check(&SessionId::from(id), &policy(), access)).await
}

async fn renew(store: &impl Store, id: &str) -> Option<Live> {
    match check(store, id, Access::Renew).await {
        Decision::Live(live) => Some(live),
        _ => None,
    }
}

async fn start(store: &impl Store, id: &str) -> Started {
    ask(store.start(&SessionId::from(id), &NewSession::new(), &policy())).await
}

async fn rotate(store: &impl Store, from: &Live, id: &str) -> Rotated {
    ask(store.rotate(from.key, &SessionId::from(id), from.presented, &policy())).await
}

async fn command(connection: &ConnectionManager, words: &[&str]) -> ::redis::RedisResult<::redis::Value> {
    ::redis::cmd(words[0]).arg(&words[1..]).query_async(&mut connection.clone()).await
}

async fn keys(connection: &ConnectionManager) -> Vec<String> {
    ::redis::cmd("KEYS").arg("*").query_async(&mut connection.clone()).await.unwrap()
}

/// Empty stores behind one connection.
fn stores(connection: ConnectionManager) -> impl Fn(ManualClock) -> RedisStore<ConnectionManager> {
    let number = AtomicUsize::new(0);
    move |clock| {
        let prefix = format!("{}:", number.fetch_add(1, SeqCst));
        RedisStore::new(connection.clone()).prefix(&prefix).granularity(Duration::ZERO).clock(clock)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_redis_store_conforms() {
    let server = RedisServer::start(&[]).await;
    conforms(&stores(server.connect().await)).await;
}

/// I9: by a plain model, which the memory store is held against as well. The stateless store is, through the layer.
#[tokio::test]
async fn redis_decides_as_the_model_does() {
    let server = RedisServer::start(&[]).await;
    let make = stores(server.connect().await);
    let mut runner = TestRunner::new(Config { failure_persistence: None, ..Config::default() });
    let traces = prop::collection::vec(model::step(), 1..80);
    for _ in 0..100 {
        let trace = traces.new_tree(&mut runner).unwrap().current();
        println!("{trace:?}");
        let clock = ManualClock::new();
        let (store, mut model) = (make(clock.clone()), Model::default());
        for step in &trace {
            if let model::Step::Advance(by) = step {
                clock.advance(Duration::from_secs(*by));
            }
            model::compare(&store, &mut model, step).await;
        }
    }
}

#[tokio::test]
async fn with_granularity_a_session_ends_early_never_late_and_says_so() {
    let server = RedisServer::start(&[]).await;
    let clock = ManualClock::new();
    let store =
        RedisStore::new(server.connect().await).granularity(Duration::from_secs(2)).clock(clock.clone());
    start(&store, "A").await;
    clock.advance(Duration::from_secs(1));
    let live = renew(&store, "A").await.unwrap();
    assert_eq!(
        live.remaining().idle,
        IDLE.saturating_sub(Duration::from_secs(1)),
        "not recorded, not promised"
    );
    clock.advance(Duration::from_secs(1));
    assert_eq!(renew(&store, "A").await.unwrap().remaining().idle, IDLE);
    clock.advance(IDLE);
    assert!(renew(&store, "A").await.is_none());
}

#[tokio::test]
async fn a_granularity_counts_up_to_a_quarter_of_the_idle_timeout() {
    let server = RedisServer::start(&[]).await;
    let clock = ManualClock::new();
    let store = RedisStore::new(server.connect().await).granularity(10 * IDLE).clock(clock.clone());
    start(&store, "A").await;
    clock.advance((IDLE / 4).saturating_sub(Duration::from_millis(1)));
    assert!(renew(&store, "A").await.unwrap().remaining().idle < IDLE);
    clock.advance(Duration::from_millis(1));
    assert_eq!(renew(&store, "A").await.unwrap().remaining().idle, IDLE);
}

#[tokio::test]
async fn the_granularity_is_a_sixtieth_of_the_sessions_idle_timeout_and_a_minute_at_most() {
    let server = RedisServer::start(&[]).await;
    let connection = server.connect().await;
    let hours = |hours: u64| Limits::idle_only(Duration::from_secs(3600 * hours));
    let seconds = Duration::from_secs;
    let own = NewSession::new().limits(hours(2));
    let cases = [
        (policy().limits, NewSession::new(), IDLE / 60),
        (hours(8), NewSession::new(), seconds(60)),
        (policy().limits, own, seconds(60)),
    ];
    for (number, (limits, new, granularity)) in cases.into_iter().enumerate() {
        let (clock, policy) = (ManualClock::new(), Policy::new(limits));
        let store = RedisStore::new(connection.clone()).prefix(&number.to_string()).clock(clock.clone());
        ask(store.start(&SessionId::from("A"), &new, &policy)).await;
        let idle = new.limits.unwrap_or(limits).idle();
        let millisecond = Duration::from_millis(1);
        for (passes, left) in [
            (granularity.saturating_sub(millisecond), (idle + millisecond).saturating_sub(granularity)),
            (millisecond, idle),
        ] {
            clock.advance(passes);
            let decided = ask(store.check(&SessionId::from("A"), &policy, Access::Renew)).await;
            assert!(
                matches!(&decided, Decision::Live(live) if live.remaining().idle == left),
                "{number}: {decided:?}"
            );
        }
    }
}

#[tokio::test]
async fn the_age_of_an_id_counts_from_its_rotation() {
    let server = RedisServer::start(&[]).await;
    let clock = ManualClock::new();
    let store = RedisStore::new(server.connect().await).clock(clock.clone());
    start(&store, "A").await;
    clock.advance(Duration::from_secs(5));
    let live = renew(&store, "A").await.unwrap();
    rotate(&store, &live, "B").await;
    clock.advance(Duration::from_secs(1));
    let live = renew(&store, "B").await.unwrap();
    assert_eq!((live.id_age(), live.age()), (Duration::from_secs(1), Duration::from_secs(6)));
}

#[tokio::test]
async fn of_two_limits_the_one_that_ran_out_first_is_the_reason() {
    let server = RedisServer::start(&[]).await;
    let clock = ManualClock::new();
    let store = RedisStore::new(server.connect().await).clock(clock.clone());
    for (renewals, expected) in [(0, EndReason::Idle), (5, EndReason::Absolute)] {
        start(&store, "A").await;
        for _ in 0..renewals {
            clock.advance(Duration::from_secs(10));
            renew(&store, "A").await.unwrap();
        }
        clock.advance(Duration::from_secs(100));
        let over = check(&store, "A", Access::Peek).await;
        assert!(matches!(over, Decision::Ended { reason, .. } if reason == expected), "{over:?}");
    }
}

#[tokio::test]
async fn an_end_that_a_request_finds_is_told_once() {
    let server = RedisServer::start(&[]).await;
    let clock = ManualClock::new();
    let store = RedisStore::new(server.connect().await).clock(clock.clone());
    let told = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&told);
    store.events(EventSink::new(move |event| {
        count.fetch_add(usize::from(matches!(event, SessionEvent::Ended { .. })), SeqCst);
    }));
    start(&store, "A").await;
    clock.advance(IDLE);
    for _ in 0..3 {
        assert!(renew(&store, "A").await.is_none());
    }
    assert_eq!(told.load(SeqCst), 1);
}

#[tokio::test]
async fn an_owners_list_lasts_as_long_as_any_session_on_it_may() {
    let server = RedisServer::start(&[]).await;
    let connection = server.connect().await;
    let store = RedisStore::new(connection.clone()).prefix("shop:");
    let list = async |id: &str, new: NewSession| {
        ask(store.start(&SessionId::from(id), &new.owner("alice"), &policy())).await;
        let keys = keys(&connection).await;
        assert!(keys.iter().all(|key| key.starts_with("shop:")), "{keys:?}");
        let list = keys.into_iter().find(|key| key.contains("owner:")).unwrap();
        let left: i64 = ::redis::cmd("PTTL").arg(list).query_async(&mut connection.clone()).await.unwrap();
        u64::try_from(left).ok().map(|left| left.div_ceil(24 * 3600 * 1000))
    };
    assert_eq!(list("A", NewSession::new()).await, Some(400), "days");
    let for_good = NewSession::new().limits(Limits::idle_only(IDLE));
    assert_eq!(list("B", for_good).await, None);
    assert_eq!(list("C", NewSession::new()).await, None, "for the one before");
}

#[tokio::test]
async fn an_owners_list_loses_what_is_over_with_later_log_ins_and_nothing_else() {
    let server = RedisServer::start(&[]).await;
    let connection = server.connect().await;
    let clock = ManualClock::new();
    let store = RedisStore::new(connection.clone()).clock(clock.clone());
    let alice = Owner::from("alice");
    let log_in = async |id: &str, new: NewSession| {
        ask(store.start(&SessionId::from(id), &new.owner("alice"), &policy())).await
    };
    let long = || NewSession::new().limits(Limits::idle_only(100 * 60 * IDLE));
    for (id, new) in [("1", long()), ("2", long()), ("over", NewSession::new())] {
        log_in(id, new).await;
        clock.advance(Duration::from_secs(1));
    }
    clock.advance(Duration::from_secs(3600));
    // Each looks at two that have been on it for an hour.
    log_in("3", long()).await;
    log_in("4", long()).await;
    let list = keys(&connection).await.into_iter().find(|key| key.contains("owner:")).unwrap();
    let listed: usize = ::redis::cmd("ZCARD").arg(list).query_async(&mut connection.clone()).await.unwrap();
    assert_eq!(listed, 4);
    clock.advance(Duration::from_secs(2));
    let mut capped = policy();
    capped.cap = Some(Limits::idle_only(Duration::from_secs(1)));
    assert_eq!(ask(store.sessions_of(&alice, &capped)).await.len(), 4, "whatever this request may");
}

#[tokio::test]
async fn all_of_an_owners_sessions_are_ended_however_many() {
    let server = RedisServer::start(&[]).await;
    let store = RedisStore::new(server.connect().await);
    let alice = Owner::from("alice");
    for number in 0..150 {
        let id = number.to_string();
        ask(store.start(&SessionId::from(&id[..]), &NewSession::new().owner("alice"), &policy())).await;
    }
    assert_eq!(ask(store.sessions_of(&alice, &policy())).await.len(), 150);
    assert_eq!(ask(store.end_all(&alice, None)).await, 150);
}

#[tokio::test]
async fn a_session_that_could_not_be_asked_about_is_not_passed_over() {
    let server = RedisServer::start(&[]).await;
    let connection = server.connect().await;
    let store = RedisStore::new(connection.clone());
    let alice = Owner::from("alice");
    ask(store.start(&SessionId::from("A"), &NewSession::new().owner("alice"), &policy())).await;
    command(&connection, &["ACL", "SETUSER", "default", "-get"]).await.unwrap();
    assert!(store.sessions_of(&alice, &policy()).await.is_err());
    assert!(store.end_all(&alice, None).await.is_err(), "nobody is told that all have ended");
    command(&connection, &["ACL", "SETUSER", "default", "+get"]).await.unwrap();
    assert_eq!(ask(store.end_all(&alice, None)).await, 1);
}

#[tokio::test]
async fn ids_that_a_session_has_forgotten_leave_no_keys() {
    let server = RedisServer::start(&[]).await;
    let connection = server.connect().await;
    let store = RedisStore::new(connection.clone());
    start(&store, "A").await;
    let live = renew(&store, "A").await.unwrap();
    for number in 0..70 {
        rotate(&store, &live, &number.to_string()).await;
    }
    assert_eq!(keys(&connection).await.len(), 71, "each may be in the browser");
    renew(&store, "69").await.unwrap();
    assert_eq!(ask(store.restart(live.key, &NewSession::new(), &policy())).await, Restarted::Done);
    assert_eq!(keys(&connection).await.len(), 2, "the record, and the id in use");
}

#[tokio::test]
async fn of_too_many_ids_those_go_first_that_are_over_and_the_newest_stays() {
    let server = RedisServer::start(&[]).await;
    let clock = ManualClock::new();
    let store = RedisStore::new(server.connect().await).clock(clock.clone());
    start(&store, "A").await;
    let live = renew(&store, "A").await.unwrap();
    rotate(&store, &live, "B").await;
    renew(&store, "B").await.unwrap();
    clock.advance(policy().rotation_grace);
    for number in 0..63 {
        assert_eq!(rotate(&store, &live, &number.to_string()).await, Rotated::New);
    }
    assert!(matches!(check(&store, "0", Access::Peek).await, Decision::Live(_)), "not used, nor over");

    start(&store, "X").await;
    let live = renew(&store, "X").await.unwrap();
    for number in 0..64 {
        let id = format!("x{number}");
        assert_eq!(rotate(&store, &live, &id).await, Rotated::New);
        assert!(renew(&store, &id).await.is_some(), "{id}");
    }
}

#[tokio::test]
async fn a_slow_answer_brings_no_id_back_that_a_restart_ended() {
    let server = RedisServer::start(&[]).await;
    let store = RedisStore::new(server.connect().await);
    start(&store, "A").await;
    let first = renew(&store, "A").await.unwrap();
    rotate(&store, &first, "B").await;
    renew(&store, "B").await.unwrap();
    assert_eq!(ask(store.restart(first.key, &NewSession::new(), &policy())).await, Restarted::Done);
    assert_eq!(rotate(&store, &first, "A").await, Rotated::Refused);
    assert!(renew(&store, "A").await.is_none());
}

/// The first id's key holds the record, and may lead to another session by now.
#[tokio::test]
async fn the_end_of_a_session_leaves_its_first_id_to_the_one_it_leads_to() {
    let server = RedisServer::start(&["--maxmemory-policy", "noeviction"]).await;
    let connection = server.connect().await;
    let clock = ManualClock::new();
    let store = RedisStore::new(connection.clone()).clock(clock.clone());
    start(&store, "A").await;
    let key = keys(&connection).await.remove(0);
    let first = renew(&store, "A").await.unwrap();
    rotate(&store, &first, "B").await;
    renew(&store, "B").await.unwrap();
    clock.advance(policy().rotation_grace);
    let Started::New(second) = start(&store, "A").await else { panic!("the id is superseded") };
    let whole = expires_in(&connection, &key).await;

    command(&connection, &["CONFIG", "SET", "maxmemory", "1"]).await.unwrap();
    assert!(ask(store.end(first.key, EndReason::SignedOut)).await);
    command(&connection, &["CONFIG", "SET", "maxmemory", "0"]).await.unwrap();
    assert!(renew(&store, "B").await.is_none());
    assert!(expires_in(&connection, &key).await + Duration::from_secs(5) > whole);
    assert_eq!(renew(&store, "A").await.unwrap().key, second);
}

#[tokio::test]
async fn a_session_that_forgets_an_id_leaves_alone_the_one_that_id_began() {
    let server = RedisServer::start(&[]).await;
    let clock = ManualClock::new();
    let store = RedisStore::new(server.connect().await).clock(clock.clone());
    start(&store, "A").await;
    rotate(&store, &renew(&store, "A").await.unwrap(), "B").await;
    renew(&store, "B").await.unwrap();
    clock.advance(policy().rotation_grace);
    start(&store, "A").await;
    let second = renew(&store, "A").await.unwrap();
    rotate(&store, &second, "C").await;
    renew(&store, "C").await.unwrap();
    assert_eq!(ask(store.restart(second.key, &NewSession::new(), &policy())).await, Restarted::Done);
    assert!(renew(&store, "A").await.is_none());
    assert!(renew(&store, "B").await.is_some());
}

#[tokio::test]
async fn a_cap_refuses_by_the_age_as_well() {
    let server = RedisServer::start(&[]).await;
    let clock = ManualClock::new();
    let store = RedisStore::new(server.connect().await).clock(clock.clone());
    start(&store, "A").await;
    clock.advance(Duration::from_secs(5));
    let mut capped = policy();
    capped.cap = Some(Limits::new(IDLE, Duration::from_secs(5)));
    let refused = ask(store.check(&SessionId::from("A"), &capped, Access::Renew)).await;
    assert!(matches!(refused, Decision::Capped(EndReason::Absolute)), "{refused:?}");
}

/// In whole seconds, rounded up: it was set a moment ago.
async fn expires_in(connection: &ConnectionManager, key: &str) -> Duration {
    let left: u64 = ::redis::cmd("PTTL").arg(key).query_async(&mut connection.clone()).await.unwrap();
    Duration::from_secs(left.div_ceil(1000))
}

#[tokio::test]
async fn no_key_expires_while_its_session_may_be_live() {
    let server = RedisServer::start(&[]).await;
    let connection = server.connect().await;
    let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
    let ended = minutes(5);
    let (layer, forever) = (Limits::new(minutes(15), minutes(60)), Limits::idle_only(minutes(15)));
    let cases = [
        (layer, None, minutes(15), minutes(60)),
        (forever, None, minutes(15), minutes(30)),
        (layer, Some(Limits::new(minutes(30), minutes(20))), minutes(20), minutes(20)),
        (layer, Some(Limits::idle_only(minutes(600))), minutes(600), minutes(1200)),
        (forever, Some(Limits::new(minutes(30), minutes(90))), minutes(30), minutes(90)),
    ];
    for (number, (limits, own, of_record, of_lead)) in cases.into_iter().enumerate() {
        let prefix = format!("{number}:");
        let store = RedisStore::new(connection.clone()).prefix(&prefix);
        let policy = Policy::new(limits);
        let new = own.map_or(NewSession::new(), |own| NewSession::new().limits(own));
        ask(store.start(&SessionId::from("A"), &new, &policy)).await;
        let keys = async || keys(&connection).await.into_iter().filter(|key| key.starts_with(&prefix));
        let record = keys().await.next().unwrap();
        assert_eq!(expires_in(&connection, &record).await, of_record + ended, "{number}");
        let decided = ask(store.check(&SessionId::from("A"), &policy, Access::Peek)).await;
        let Decision::Live(live) = decided else { panic!("{decided:?}") };
        ask(store.rotate(live.key, &SessionId::from("B"), live.presented, &policy)).await;
        let lead = keys().await.find(|key| *key != record).unwrap();
        assert_eq!(expires_in(&connection, &lead).await, of_lead + ended, "{number}");
    }
}

#[tokio::test]
async fn a_layer_with_shorter_limits_shortens_no_key() {
    let server = RedisServer::start(&[]).await;
    let connection = server.connect().await;
    let store = RedisStore::new(connection.clone()).granularity(Duration::ZERO);
    let wide = Policy::new(Limits::new(4 * IDLE, 400 * IDLE));
    ask(store.check(&SessionId::from("nobody"), &wide, Access::Peek)).await;
    start(&store, "A").await;
    renew(&store, "A").await.unwrap();
    let record = keys(&connection).await.remove(0);
    assert!(expires_in(&connection, &record).await > 4 * IDLE + Duration::from_secs(295));
}

/// As another process with other limits would.
#[tokio::test]
async fn a_process_with_shorter_limits_shortens_no_key_either() {
    let server = RedisServer::start(&[]).await;
    let connection = server.connect().await;
    let store = || RedisStore::new(connection.clone()).granularity(Duration::ZERO);
    let wide = Policy::new(Limits::new(40 * IDLE, 400 * IDLE));
    ask(store().start(&SessionId::from("A"), &NewSession::new(), &wide)).await;
    renew(&store(), "A").await.unwrap();
    let record = keys(&connection).await.remove(0);
    assert!(expires_in(&connection, &record).await > 40 * IDLE + Duration::from_secs(290));
}

#[tokio::test]
async fn an_id_that_was_over_leads_to_its_next_session_as_long_as_that_may_live() {
    let server = RedisServer::start(&[]).await;
    let connection = server.connect().await;
    let ended = Duration::from_secs(300);
    let cases = [
        (Limits::idle_only(100 * IDLE), 200 * IDLE),
        (Limits::new(IDLE, 2 * IDLE), 2 * IDLE),
        (Limits::new(IDLE, 8 * IDLE), 8 * IDLE),
    ];
    for (number, (own, of_lead)) in cases.into_iter().enumerate() {
        let prefix = format!("{number}:");
        let store = RedisStore::new(connection.clone()).prefix(&prefix);
        let Started::New(key) = start(&store, "A").await else { panic!("a new id") };
        let first = keys(&connection).await.into_iter().find(|key| key.starts_with(&prefix)).unwrap();
        assert!(ask(store.end(key, EndReason::SignedOut)).await);
        assert_eq!(expires_in(&connection, &first).await, IDLE + ended);
        ask(store.start(&SessionId::from("A"), &NewSession::new().limits(own), &policy())).await;
        assert_eq!(expires_in(&connection, &first).await, of_lead + ended, "{number}");
    }
}

#[tokio::test]
async fn the_end_of_an_adopted_session_is_remembered_for_its_own_idle_timeout_and_a_day_at_least() {
    let server = RedisServer::start(&[]).await;
    let connection = server.connect().await;
    let store = RedisStore::new(connection.clone());
    let day = Duration::from_secs(24 * 3600);
    for (idle, kept) in [(IDLE, day), (day * 2, day * 2)] {
        let own = NewSession::new().limits(Limits::new(idle, idle * 2));
        let Adopted::New(key) = ask(store.adopt(&SessionId::from("A"), &own, &policy())).await else {
            panic!("a new id")
        };
        assert!(ask(store.end(key, EndReason::SignedOut)).await);
        let record = keys(&connection).await.remove(0);
        assert_eq!(expires_in(&connection, &record).await, idle + kept);
        command(&connection, &["DEL", &record]).await.unwrap();
    }
}

#[tokio::test]
async fn a_later_id_leads_to_its_session_as_long_as_it_is_used() {
    let server = RedisServer::start(&[]).await;
    let connection = server.connect().await;
    let clock = ManualClock::new();
    let store = RedisStore::new(connection.clone()).clock(clock.clone());
    let own = NewSession::new().limits(Limits::idle_only(IDLE));
    ask(store.start(&SessionId::from("A"), &own, &policy())).await;
    let record = keys(&connection).await.remove(0);
    let live = renew(&store, "A").await.unwrap();
    rotate(&store, &live, "B").await;
    let alias = keys(&connection).await.into_iter().find(|key| *key != record).unwrap();
    let whole = expires_in(&connection, &alias).await;
    command(&connection, &["PEXPIRE", &alias, &(whole / 3).as_millis().to_string()]).await.unwrap();
    let mut passed = Duration::ZERO;
    while passed <= IDLE * 3 / 2 {
        assert!(renew(&store, "B").await.is_some());
        assert!(expires_in(&connection, &alias).await <= whole / 3, "it is kept long enough");
        clock.advance(IDLE / 2);
        passed += IDLE / 2;
    }
    check(&store, "B", Access::Peek).await;
    assert!(expires_in(&connection, &alias).await <= whole / 3, "a look changes nothing");
    renew(&store, "B").await.unwrap();
    assert_eq!(expires_in(&connection, &alias).await, whole);
}

#[tokio::test]
async fn a_renewal_takes_one_round_trip_and_two_after_a_rotation_and_keys_hold_no_ids() {
    let server = RedisServer::start(&[]).await;
    let connection = server.connect().await;
    let store = RedisStore::new(connection.clone());
    let new = NewSession::new().owner("alice");
    ask(store.start(&SessionId::from("raw-id"), &new, &policy())).await;
    let look_ups = async || calls_of("get", server.address()).await;
    renew(&store, "raw-id").await;
    let before = look_ups().await;
    let live = renew(&store, "raw-id").await.unwrap();
    assert_eq!(look_ups().await - before, 1);
    assert_eq!(live.owner, Some(Owner::from("alice")));
    assert_eq!(rotate(&store, &live, "raw-2").await, Rotated::New);
    let before = look_ups().await;
    assert!(renew(&store, "raw-2").await.is_some());
    assert_eq!(
        look_ups().await - before,
        3,
        "the grace of the older one is written down, in place of what is there"
    );
    let before = look_ups().await;
    assert!(renew(&store, "raw-2").await.is_some());
    assert_eq!(look_ups().await - before, 2);
    let keys = keys(&connection).await;
    assert_eq!(keys.len(), 3);
    assert!(keys.iter().all(|key| !key.contains("raw") && !key.contains("alice")), "{keys:?}");
    assert!(!format!("{store:?}").contains("raw"));
    for key in keys {
        let left: i64 = ::redis::cmd("PTTL").arg(key).query_async(&mut connection.clone()).await.unwrap();
        assert!(left > 0, "everything is cleared away in the end");
    }
}

/// Whether a look-up is soon enough after another is a matter of luck; that none is, is not.
#[tokio::test]
async fn of_many_look_ups_in_a_row_not_all_ask_what_time_it_is() {
    let server = RedisServer::start(&[]).await;
    let store = RedisStore::new(server.connect().await);
    start(&store, "A").await;
    for _ in 0..5000 {
        assert!(renew(&store, "A").await.is_some());
    }
    let [look_ups, times] = ["get", "time"].map(|name| calls_of(name, server.address()));
    let (look_ups, times) = (look_ups.await, times.await);
    assert!(times < look_ups, "{times} of {look_ups}");
}

#[tokio::test]
async fn a_name_that_an_owners_session_had_before_is_somebody_elses_now() {
    let server = RedisServer::start(&[]).await;
    let connection = server.connect().await;
    let store = RedisStore::new(connection.clone());
    let (id, alice, bob) = (SessionId::from("A"), Owner::from("alice"), Owner::from("bob"));
    ask(store.start(&id, &NewSession::new().owner(alice.clone()), &policy())).await;
    // As when the record has aged out, before the list of its owner's sessions.
    let record = keys(&connection).await.into_iter().find(|key| !key.contains("owner:")).unwrap();
    command(&connection, &["DEL", &record]).await.unwrap();
    ask(store.start(&id, &NewSession::new().owner(bob.clone()), &policy())).await;
    assert!(ask(store.sessions_of(&alice, &policy())).await.is_empty());
    assert_eq!(ask(store.end_all(&alice, None)).await, 0);
    assert_eq!(renew(&store, "A").await.unwrap().owner, Some(bob));
}

/// T107
#[tokio::test]
async fn a_server_that_has_forgotten_the_scripts_is_told_them_again() {
    let server = RedisServer::start(&[]).await;
    let connection = server.connect().await;
    let store = RedisStore::new(connection.clone());
    start(&store, "A").await;
    for _ in 0..3 {
        command(&connection, &["SCRIPT", "FLUSH"]).await.unwrap();
        assert!(renew(&store, "A").await.is_some());
    }
}

/// T103
#[tokio::test]
async fn a_session_the_server_lost_is_over() {
    let server = RedisServer::start(&[]).await;
    let connection = server.connect().await;
    let store = RedisStore::new(connection.clone());
    start(&store, "A").await;
    command(&connection, &["FLUSHALL"]).await.unwrap();
    assert!(matches!(
        check(&store, "A", Access::Renew).await,
        Decision::Ended { reason: EndReason::Unknown, .. }
    ));
    assert!(keys(&connection).await.is_empty());
}

/// T13, T14
#[tokio::test]
async fn no_foreign_or_spoiled_record_opens_the_door() {
    let server = RedisServer::start(&[]).await;
    let connection = server.connect().await;
    let store = RedisStore::new(connection.clone());
    let told = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&told);
    store.events(EventSink::new(move |event| {
        count.fetch_add(usize::from(matches!(event, SessionEvent::StoreFailed { .. })), SeqCst);
    }));
    start(&store, "A").await;
    let key = keys(&connection).await.remove(0);
    let good: Vec<u8> = ::redis::cmd("GET").arg(&key).query_async(&mut connection.clone()).await.unwrap();
    let mut runner = TestRunner::new(Config { failure_persistence: None, ..Config::default() });
    let piece = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..12),
        Just(b"1 = ".to_vec()),
        Just(b"1 AAAAAAAAAAAAAAAAAAAAAA".to_vec()),
        Just(b" 0 0".to_vec()),
        Just(b" 99999999999999999999999999 5".to_vec()),
        Just(b" e1,unknown".to_vec()),
        Just(b" i".to_vec()),
        Just(b" nx,1,1,".to_vec()),
        Just(b"\0".to_vec()),
    ];
    let records = prop::collection::vec(piece, 0..6).prop_map(|pieces| pieces.concat());
    for _ in 0..2_000 {
        let bytes = records.new_tree(&mut runner).unwrap().current();
        ::redis::cmd("SET").arg(&key).arg(&bytes).exec_async(&mut connection.clone()).await.unwrap();
        let live = renew(&store, "A").await;
        assert!(live.is_none(), "{bytes:?}");
    }
    assert!(told.load(SeqCst) > 100, "the operator hears of it");
    for end in 0..good.len() {
        ::redis::cmd("SET").arg(&key).arg(&good[..end]).exec_async(&mut connection.clone()).await.unwrap();
        assert!(renew(&store, "A").await.is_none(), "cut at {end}");
    }
    for more in [" ", " x1", " i", " i1.0", " o!", " o o", "\0", "\n"] {
        let bytes = [&good[..], more.as_bytes()].concat();
        ::redis::cmd("SET").arg(&key).arg(&bytes).exec_async(&mut connection.clone()).await.unwrap();
        assert!(renew(&store, "A").await.is_none(), "with {more:?}");
    }
    command(&connection, &["DEL", &key]).await.unwrap();
    command(&connection, &["LPUSH", &key, "somebody else's"]).await.unwrap();
    assert!(renew(&store, "A").await.is_none());
    assert!(store.start(&SessionId::from("A"), &NewSession::new(), &policy()).await.is_err());
    command(&connection, &["LPOP", &key]).await.unwrap();
    assert!(matches!(start(&store, "A").await, Started::New(_)));
}

/// T108
#[tokio::test]
async fn a_full_server_checks_and_ends_sessions_and_begins_none() {
    let server = RedisServer::start(&["--maxmemory-policy", "noeviction"]).await;
    let connection = server.connect().await;
    let clock = ManualClock::new();
    let store = RedisStore::new(connection.clone()).granularity(Duration::ZERO).clock(clock.clone());
    start(&store, "A").await;
    command(&connection, &["CONFIG", "SET", "maxmemory", "1"]).await.unwrap();
    let live = renew(&store, "A").await.expect("still answered");
    assert!(live.remaining().idle <= IDLE);
    assert_eq!(rotate(&store, &live, "A2").await, Rotated::New);
    clock.advance(policy().rotation_grace);
    assert!(renew(&store, "A2").await.is_some());
    clock.advance(policy().rotation_grace);
    assert!(renew(&store, "A").await.is_none(), "superseded, on a full server as well");
    clock.advance(IDLE.saturating_sub(policy().rotation_grace + Duration::from_millis(1)));
    assert!(renew(&store, "A2").await.is_some(), "renewed, on a full server as well");
    assert_eq!(start(&store, "B").await, Started::AtCapacity);
    let of_an_owner = store.start(&SessionId::from("B"), &NewSession::new().owner("ada"), &policy());
    assert_eq!(ask(of_an_owner).await, Started::AtCapacity, "its owner's list has no room, either");
    assert!(ask(store.end(live.key, EndReason::SignedOut)).await);
    assert!(renew(&store, "A").await.is_none());
    command(&connection, &["CONFIG", "SET", "maxmemory", "0"]).await.unwrap();
    assert!(renew(&store, "A").await.is_none());
    assert!(matches!(start(&store, "B").await, Started::New(_)));
}

#[tokio::test]
async fn adopted_sessions_are_remembered_or_not_adopted() {
    let server = RedisServer::start(&[]).await;
    let connection = server.connect().await;
    let store = RedisStore::new(connection.clone());
    let adopt = async || {
        store.adopt(&SessionId::from("A"), &NewSession::new().age(Duration::from_secs(5)), &policy()).await
    };
    command(&connection, &["CONFIG", "SET", "maxmemory", "100mb"]).await.unwrap();
    command(&connection, &["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]).await.unwrap();
    assert!(adopt().await.is_err(), "the server may forget the end");
    command(&connection, &["CONFIG", "SET", "maxmemory-policy", "noeviction"]).await.unwrap();
    assert!(matches!(adopt().await, Ok(Adopted::New(_))));
    let live = renew(&store, "A").await.unwrap();
    assert!(live.idle_for() >= Duration::from_secs(5));
    assert!(ask(store.end(live.key, EndReason::SignedOut)).await);
    assert!(matches!(adopt().await, Ok(Adopted::Known)));
}

#[tokio::test]
async fn a_full_server_remembers_the_end_of_an_adopted_session() {
    let server = RedisServer::start(&["--maxmemory-policy", "noeviction"]).await;
    let connection = server.connect().await;
    let store = RedisStore::new(connection.clone());
    let adopt = async || store.adopt(&SessionId::from("A"), &NewSession::new(), &policy()).await.unwrap();
    assert!(matches!(adopt().await, Adopted::New(_)));
    let live = renew(&store, "A").await.unwrap();
    command(&connection, &["CONFIG", "SET", "maxmemory", "1"]).await.unwrap();
    assert!(ask(store.end(live.key, EndReason::SignedOut)).await);
    assert_eq!(adopt().await, Adopted::Known);
    command(&connection, &["CONFIG", "SET", "maxmemory", "0"]).await.unwrap();
    assert_eq!(adopt().await, Adopted::Known);
}

async fn race(rounds: u32) {
    let server = RedisServer::start(&[]).await;
    let connections = [server.connect().await, server.connect().await, server.connect().await];
    let stores = connections.map(|connection| RedisStore::new(connection).granularity(Duration::ZERO));
    let mut resurrected = 0;
    for round in 0..rounds {
        let id = round.to_string();
        let Started::New(key) = start(&stores[0], &id).await else { panic!("a new id") };
        let renewals = stores.clone().map(|store| {
            let id = id.clone();
            tokio::spawn(async move {
                for _ in 0..5 {
                    renew(&store, &id).await;
                }
            })
        });
        for _ in 0..round % 20 {
            tokio::task::yield_now().await;
        }
        assert!(ask(stores[0].end(key, EndReason::SignedOut)).await);
        for renewal in renewals {
            renewal.await.unwrap();
        }
        resurrected += u32::from(renew(&stores[1], &id).await.is_some());
    }
    assert_eq!(resurrected, 0, "of {rounds}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_renewal_revives_what_has_ended() {
    race(300).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a long run"]
async fn no_renewal_revives_what_has_ended_in_ten_thousand_rounds() {
    race(10_000).await;
}

/// T100, T103: the server is killed and comes back.
async fn killed(args: &[&str]) -> StatusCode {
    let mut server = RedisServer::start(args).await;
    let failures = Arc::new(Mutex::new(0));
    let count = Arc::clone(&failures);
    let app = App::on(RedisStore::new(server.connect().await), |builder| {
        builder.on_event(move |event| {
            *count.lock().unwrap() += u32::from(matches!(event, SessionEvent::StoreFailed { .. }));
        })
    });
    app.log_in("A").await;
    assert_eq!(app.visit("A").await.status(), StatusCode::OK);
    server.kill();
    for _ in 0..3 {
        assert_eq!(app.visit("A").await.status(), StatusCode::SERVICE_UNAVAILABLE, "not a log-out");
    }
    assert!(*failures.lock().unwrap() >= 3);
    server.start_again().await;
    app.once_available("A").await.status()
}

#[tokio::test]
async fn a_server_that_is_away_makes_503_and_its_sessions_come_back_if_it_kept_them() {
    assert_eq!(killed(&["--appendonly", "yes", "--appendfsync", "always"]).await, StatusCode::OK);
}

#[tokio::test]
async fn sessions_that_a_server_did_not_keep_are_over() {
    assert_eq!(killed(&[]).await, StatusCode::UNAUTHORIZED);
}

/// While nobody looked, or because nobody did: a server closes connections that are idle for its `timeout`.
#[tokio::test]
async fn the_first_request_log_in_and_log_out_after_a_quiet_restart_are_answered() {
    let mut server = RedisServer::start(&["--appendonly", "yes", "--appendfsync", "always"]).await;
    let client = ::redis::Client::open(format!("redis://{}/", server.address())).unwrap();
    let connection = ReconnectingConnection::new(move || {
        let client = client.clone();
        async move { client.get_multiplexed_async_connection().await }
    });
    let app = App::on(RedisStore::new(connection.await.unwrap()), |builder| {
        builder.store_deadline(Duration::from_secs(2) * pace())
    });
    for id in ["A", "B"] {
        app.log_in(id).await;
    }
    let mut restart = async || {
        server.kill();
        server.start_again().await;
        // A connection is not made more often than five times a second.
        tokio::time::sleep(Duration::from_millis(250)).await;
    };
    restart().await;
    assert_eq!(app.visit("A").await.status(), StatusCode::OK);
    restart().await;
    app.log_in("C").await;
    restart().await;
    assert_eq!(app.send(sid(post("/logout"), "B")).await.status(), StatusCode::OK);
    restart().await;
    assert_eq!(app.visit("B").await.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(app.visit("C").await.status(), StatusCode::OK);
}

/// A primary whose replica hears of everything a little later, and what the latter knows of this session.
async fn lagging() -> (RedisServer, FaultProxy, RedisServer, RedisStore<ConnectionManager>) {
    let primary = RedisServer::start(&[]).await;
    let proxy = FaultProxy::before(primary.address()).await;
    let replica =
        RedisServer::start(&["--replicaof", "127.0.0.1", &proxy.address().port().to_string()]).await;
    replica.follows().await;
    let store = RedisStore::new(primary.connect().await);
    (primary, proxy, replica, store)
}

/// T104: the one thing a failover takes back.
#[tokio::test]
async fn an_end_that_no_replica_has_heard_of_is_lost_with_the_primary() {
    let (mut primary, proxy, replica, store) = lagging().await;
    let Started::New(key) = start(&store, "A").await else { panic!("a new id") };
    let copy = RedisStore::new(replica.connect().await);
    until("replication", async || matches!(check(&copy, "A", Access::Peek).await, Decision::Live(_))).await;
    proxy.set(Fault::HalfOpen);
    assert!(ask(store.end(key, EndReason::SignedOut)).await);
    assert!(renew(&store, "A").await.is_none());
    primary.kill();
    command(&replica.connect().await, &["REPLICAOF", "NO", "ONE"]).await.unwrap();
    assert!(renew(&copy, "A").await.is_some(), "as the documentation says");
}

#[tokio::test]
async fn who_waits_for_replicas_has_an_end_there_before_it_is_answered() {
    let (_primary, proxy, replica, store) = lagging().await;
    let copy = RedisStore::new(replica.connect().await);
    for (waits, expected) in [(false, true), (true, false)] {
        let store =
            if waits { store.clone().wait_for_replicas(1, Duration::from_secs(20)) } else { store.clone() };
        let id = waits.to_string();
        let Started::New(key) = start(&store, &id).await else { panic!("a new id") };
        until("replication", async || matches!(check(&copy, &id, Access::Peek).await, Decision::Live(_)))
            .await;
        proxy.set(Fault::Delay(Duration::from_millis(500) * pace()));
        assert!(ask(store.end(key, EndReason::SignedOut)).await);
        let is_live = matches!(check(&copy, &id, Access::Peek).await, Decision::Live(_));
        assert_eq!(is_live, expected);
        proxy.set(Fault::None);
    }
}

//! What a store promises on either database.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use http::StatusCode;
use proptest::{
    prelude::*,
    strategy::ValueTree,
    test_runner::{Config, TestRunner},
};
use sqlx::Pool;
use tokio::{runtime::Handle, task::block_in_place, time::sleep};
use tower_session_timeout::{
    Decision, EndReason, Limits, Live, ManualClock, NewSession, Owner, SessionEvent, SessionId,
    SessionTimeoutBuilder, Started, Store, conformance,
    contract::{Access, Adopted, EventSink, Policy, Rotated},
};
use tower_session_timeout_sqlx::{Dialect, SqlxStore};

use crate::{
    place::{InFile, OnPostgres, Place},
    support::{
        App,
        model::{self, Model},
        pace, post, sid,
    },
};

pub(crate) const IDLE: Duration = Duration::from_secs(15);
const HOUR: Duration = Duration::from_secs(3600);

pub(crate) fn policy() -> Policy {
    let mut policy = Policy::new(Limits::new(IDLE, Duration::from_secs(60)));
    policy.rotation_grace = Duration::from_secs(3);
    policy
}

pub(crate) async fn check(store: &impl Store, id: &str, access: Access) -> Decision {
    store.check(&SessionId::from(id), &policy(), access).await.unwrap()
}

pub(crate) async fn renew(store: &impl Store, id: &str) -> Option<Live> {
    match check(store, id, Access::Renew).await {
        Decision::Live(live) => Some(live),
        _ => None,
    }
}

pub(crate) async fn is_live(store: &impl Store, id: &str) -> bool {
    matches!(check(store, id, Access::Peek).await, Decision::Live(_))
}

pub(crate) async fn start(store: &impl Store, id: &str) -> Started {
    store.start(&SessionId::from(id), &NewSession::new(), &policy()).await.unwrap()
}

async fn log_in(store: &impl Store, id: &str, owner: &str) {
    let started =
        store.start(&SessionId::from(id), &NewSession::new().owner(owner), &policy()).await.unwrap();
    assert!(matches!(started, Started::New(_)), "{started:?}");
}

async fn rotate(store: &impl Store, from: &Live, id: &str) -> Rotated {
    store.rotate(from.key, &SessionId::from(id), from.presented, &policy()).await.unwrap()
}

/// For what has nothing to do with time: however slow the machine is.
pub(crate) fn patient(builder: SessionTimeoutBuilder) -> SessionTimeoutBuilder {
    builder.store_deadline(Duration::from_secs(20))
}

macro_rules! on_both {
    ($($name:ident)*) => {
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name::<super::OnPostgres>().await;
            })*
        }
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name::<super::InFile>().await;
            })*
        }
    };
}

on_both! {
    it_conforms
    it_decides_as_the_model_does
    a_renewal_within_the_granularity_writes_nothing
    no_renewal_revives_what_has_ended
    of_many_log_ins_under_one_id_one_begins_the_session
    what_was_not_written_in_time_is_not_written
    a_dry_pool_makes_503_in_time_and_nothing_is_lost
    without_its_table_it_says_what_to_do
    on_a_table_that_is_not_its_own_it_says_so
    no_foreign_or_spoiled_record_opens_the_door
    what_need_not_be_kept_is_deleted_in_bounded_steps_and_nothing_else
    no_row_expires_while_its_session_may_be_live
    an_owners_sessions_are_found_and_ended_and_nobody_elses
    an_owners_list_loses_what_is_over
    all_of_an_owners_sessions_are_ended_however_many
    the_end_of_an_adopted_session_is_remembered
    nothing_in_the_tables_is_an_id_or_computes_one
    it_is_migrated_once_by_however_many_processes
    it_keeps_to_the_table_it_is_given
    a_cached_store_sees_an_end_of_its_own_at_once
}

async fn it_conforms<P: Place>() {
    let place = P::new().await;
    let (pool, number) = (place.pool(), AtomicUsize::new(0));
    let make = |clock: ManualClock| {
        let table = format!("sessions_{}", number.fetch_add(1, SeqCst));
        let store =
            SqlxStore::new(pool.clone()).table(&table).unwrap().granularity(Duration::ZERO).clock(clock);
        block_in_place(|| Handle::current().block_on(store.migrate())).unwrap();
        store
    };
    conformance::check(&make).await;
    conformance::owners(&make).await;
    conformance::in_flight(&make).await;
    conformance::adoptions(&make).await;
}

/// I9: by a plain model, which the other stores are held against as well.
async fn it_decides_as_the_model_does<P: Place>() {
    let place = P::new().await;
    let store = place.store().await.granularity(Duration::ZERO);
    let mut runner = TestRunner::new(Config { failure_persistence: None, ..Config::default() });
    let traces = prop::collection::vec(model::step(), 1..60);
    for _ in 0..30 {
        let trace = traces.new_tree(&mut runner).unwrap().current();
        println!("{trace:?}");
        place.execute("DELETE FROM session_timeout").await;
        let clock = ManualClock::new();
        let (store, mut model) = (store.clone().clock(clock.clone()), Model::default());
        for step in &trace {
            if let model::Step::Advance(by) = step {
                clock.advance(Duration::from_secs(*by));
            }
            model::compare(&store, &mut model, step).await;
        }
    }
}

async fn a_renewal_within_the_granularity_writes_nothing<P: Place>() {
    let place = P::new().await;
    let clock = ManualClock::new();
    let store = place.store().await.granularity(Duration::from_secs(2)).clock(clock.clone());
    start(&store, "A").await;
    let written = place.records().await;
    clock.advance(Duration::from_secs(1));
    let live = renew(&store, "A").await.unwrap();
    assert_eq!(live.remaining().idle, IDLE - Duration::from_secs(1), "not recorded, not promised");
    assert_eq!(place.records().await, written);
    clock.advance(Duration::from_secs(1));
    assert_eq!(renew(&store, "A").await.unwrap().remaining().idle, IDLE);
    assert_ne!(place.records().await, written);
}

/// Of several processes on this place's records, as far as a database can tell.
pub(crate) async fn races<DB: Dialect>(pools: [Pool<DB>; 3], rounds: u32) {
    let stores = pools.map(|pool| SqlxStore::new(pool).granularity(Duration::ZERO));
    let mut revived = 0;
    for round in 0..rounds {
        let id = round.to_string();
        let Started::New(key) = start(&stores[0], &id).await else { panic!("a new id") };
        let renewals = stores.clone().map(|store| {
            let id = id.clone();
            tokio::spawn(async move {
                for _ in 0..5 {
                    if let Some(live) = renew(&store, &id).await {
                        rotate(&store, &live, &format!("{id}-next")).await;
                    }
                }
            })
        });
        for _ in 0..round % 20 {
            tokio::task::yield_now().await;
        }
        let ends = [1, 2].map(|at| {
            let store = stores[at].clone();
            tokio::spawn(async move { store.end(key, EndReason::SignedOut).await.unwrap() })
        });
        let mut ended = 0;
        for end in ends {
            ended += u32::from(end.await.unwrap());
        }
        assert_eq!(ended, 1, "one of them ended it");
        for renewal in renewals {
            renewal.await.unwrap();
        }
        for id in [id.clone(), format!("{id}-next")] {
            revived += u32::from(renew(&stores[1], &id).await.is_some());
        }
    }
    assert_eq!(revived, 0, "of {rounds}");
}

async fn no_renewal_revives_what_has_ended<P: Place>() {
    let place = P::new().await;
    place.store().await;
    races([place.pool(), place.pool(), place.pool()], 60).await;
}

async fn of_many_log_ins_under_one_id_one_begins_the_session<P: Place>() {
    let place = P::new().await;
    place.store().await;
    let stores = [place.pool(), place.pool()].map(SqlxStore::new);
    let log_ins: Vec<_> = (0..20)
        .map(|number| {
            let store = stores[number % 2].clone();
            tokio::spawn(async move { start(&store, "A").await })
        })
        .collect();
    let mut begun = 0;
    for log_in in log_ins {
        begun += usize::from(matches!(log_in.await.unwrap(), Started::New(_)));
    }
    assert_eq!(begun, 1);
}

/// A writer has to wait for another one, who changes nothing in the end. Until then the request has been answered 503.
async fn what_was_not_written_in_time_is_not_written<P: Place>() {
    let place = P::new().await;
    let store = place.store().await.granularity(Duration::ZERO);
    let deadline = Duration::from_secs(1) * pace();
    let app = App::on(store.clone(), |builder| builder.store_deadline(deadline));
    app.log_in("A").await;
    app.log_in("B").await;
    assert_eq!(app.visit("A").await.status(), StatusCode::OK, "as long as nobody is in the way");
    let written = place.records().await;
    let lock = place.lock(3 * deadline).await;
    assert_eq!(app.visit("A").await.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(app.send(sid(post("/logout"), "B")).await.status(), StatusCode::SERVICE_UNAVAILABLE);
    lock.await.unwrap();
    // An end is told again in the background, however late; by then whatever was under way has arrived.
    let began = tokio::time::Instant::now();
    while app.once_available("B").await.status() == StatusCode::OK {
        assert!(began.elapsed() < Duration::from_secs(20), "a log-out is not forgotten");
        sleep(Duration::from_millis(50)).await;
    }
    sleep(deadline).await;
    let kept = place.records().await;
    assert_eq!(kept.iter().filter(|record| written.contains(record)).count(), 1, "A's is as it was");
    assert_eq!(app.visit("A").await.status(), StatusCode::OK, "nobody was signed out");
}

async fn a_dry_pool_makes_503_in_time_and_nothing_is_lost<P: Place>() {
    let place = P::new().await;
    let pool = place.pool();
    let store = SqlxStore::new(pool.clone());
    store.migrate().await.unwrap();
    let said = Arc::new(Mutex::new(Vec::new()));
    let (deadline, log) = (Duration::from_secs(1) * pace(), Arc::clone(&said));
    let app = App::on(store, |builder| {
        builder.store_deadline(deadline).on_event(move |event| {
            if let SessionEvent::StoreFailed { error } = event {
                log.lock().unwrap().push(error.clone());
            }
        })
    });
    for id in ["stays", "leaves"] {
        app.log_in(id).await;
    }
    let mut held = Vec::new();
    for _ in 0..pool.options().get_max_connections() {
        held.push(pool.acquire().await.unwrap());
    }
    let began = tokio::time::Instant::now();
    assert_eq!(app.visit("stays").await.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(began.elapsed() < 2 * deadline);
    assert!(said.lock().unwrap()[0].contains("all 4 of the pool"), "{said:?}");
    assert_eq!(app.send(sid(post("/logout"), "leaves")).await.status(), StatusCode::SERVICE_UNAVAILABLE);
    drop(held);
    assert_eq!(app.once_available("stays").await.status(), StatusCode::OK);
    let began = tokio::time::Instant::now();
    while app.once_available("leaves").await.status() == StatusCode::OK {
        assert!(began.elapsed() < Duration::from_secs(20), "a log-out is not forgotten");
        sleep(Duration::from_millis(50)).await;
    }
}

async fn without_its_table_it_says_what_to_do<P: Place>() {
    let place = P::new().await;
    let store = SqlxStore::new(place.pool());
    let error = store.check(&SessionId::from("A"), &policy(), Access::Renew).await.unwrap_err().to_string();
    assert!(error.contains("session_timeout") && error.contains("`migrate`"), "{error}");
    for error in [
        store.start(&SessionId::from("A"), &NewSession::new(), &policy()).await.unwrap_err(),
        store.start(&SessionId::from("A"), &NewSession::new().owner("alice"), &policy()).await.unwrap_err(),
        store.sessions_of(&Owner::from("alice"), &policy()).await.unwrap_err(),
        store.delete_expired(1).await.unwrap_err(),
    ] {
        assert!(error.to_string().contains("`migrate`"), "{error}");
    }
    let app = App::on(store.clone(), patient);
    assert_eq!(app.visit("A").await.status(), StatusCode::SERVICE_UNAVAILABLE);
    store.migrate().await.unwrap();
    assert_eq!(app.visit("A").await.status(), StatusCode::UNAUTHORIZED);
    app.log_in("A").await;
    assert_eq!(app.visit("A").await.status(), StatusCode::OK);
}

async fn on_a_table_that_is_not_its_own_it_says_so<P: Place>() {
    let place = P::new().await;
    place.execute("CREATE TABLE session_timeout (id integer, data text)").await;
    let store = SqlxStore::new(place.pool());
    for error in [
        store.check(&SessionId::from("A"), &policy(), Access::Renew).await.unwrap_err(),
        store.start(&SessionId::from("A"), &NewSession::new(), &policy()).await.unwrap_err(),
    ] {
        assert!(error.to_string().contains("chooses another name"), "{error}");
    }
}

/// T13, T14
async fn no_foreign_or_spoiled_record_opens_the_door<P: Place>() {
    let place = P::new().await;
    let store = place.store().await;
    let told = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&told);
    store.events(EventSink::new(move |event| {
        count.fetch_add(usize::from(matches!(event, SessionEvent::StoreFailed { .. })), SeqCst);
    }));
    start(&store, "A").await;
    let good = place.records().await.remove(0);
    let mut runner = TestRunner::new(Config { failure_persistence: None, ..Config::default() });
    let any_bytes = prop::collection::vec(any::<u8>(), 0..120);
    let changed = (0..good.len(), any::<u8>());
    for _ in 0..100 {
        let bytes = any_bytes.new_tree(&mut runner).unwrap().current();
        place.set_record(&bytes).await;
        assert!(renew(&store, "A").await.is_none(), "{bytes:?}");
        let (at, byte) = changed.new_tree(&mut runner).unwrap().current();
        let mut bytes = good.clone();
        bytes[at] = byte;
        place.set_record(&bytes).await;
        assert!(renew(&store, "A").await.is_none() || bytes == good, "{bytes:?}");
    }
    assert!(told.load(SeqCst) > 100, "the operator hears of it");
    for end in 0..good.len() {
        place.set_record(&good[..end]).await;
        assert!(renew(&store, "A").await.is_none(), "cut at {end}");
    }
    assert!(store.start(&SessionId::from("A"), &NewSession::new(), &policy()).await.is_err());
    // As one session's in the place of another's.
    start(&store, "B").await;
    place.set_record(&good).await;
    assert!(renew(&store, "B").await.is_none());
    assert!(renew(&store, "A").await.is_some(), "what is its own is read");
}

async fn what_need_not_be_kept_is_deleted_in_bounded_steps_and_nothing_else<P: Place>() {
    let place = P::new().await;
    let store = place.store().await;
    for number in 0..25 {
        log_in(&store, &format!("over-{number}"), &format!("owner-{}", number % 5)).await;
    }
    place.execute(&format!("UPDATE session_timeout SET expires_at = {}", P::PASSED)).await;
    place.execute(&format!("UPDATE session_timeout_owner SET check_at = {}", P::PASSED)).await;
    for number in 0..5 {
        log_in(&store, &format!("live-{number}"), "alice").await;
    }
    let sessions = async || place.number("SELECT count(*) FROM session_timeout").await;
    let listed = async || place.number("SELECT count(*) FROM session_timeout_owner").await;
    assert_eq!((sessions().await, listed().await), (30, 30));
    let mut left = vec![30];
    while store.delete_expired(10).await.unwrap() == 10 {
        left.push(sessions().await);
    }
    assert_eq!(left, [30, 20, 10]);
    assert_eq!(sessions().await, 5);
    // An entry may have been looked at before its session was gone.
    place.execute(&format!("UPDATE session_timeout_owner SET check_at = {}", P::PASSED)).await;
    while store.delete_expired(10).await.unwrap() == 10 {}
    assert_eq!((sessions().await, listed().await), (5, 5));
    for number in 0..5 {
        assert!(renew(&store, &format!("live-{number}")).await.is_some());
    }
    assert_eq!(store.sessions_of(&Owner::from("alice"), &policy()).await.unwrap().len(), 5);

    // Those whose session is still there are looked at another day.
    place.execute(&format!("UPDATE session_timeout_owner SET check_at = {}", P::PASSED)).await;
    assert_eq!(store.delete_expired(3).await.unwrap(), 3);
    assert_eq!(store.delete_expired(3).await.unwrap(), 2);
    assert_eq!(store.delete_expired(3).await.unwrap(), 0);
    assert_eq!((sessions().await, listed().await), (5, 5));
}

async fn no_row_expires_while_its_session_may_be_live<P: Place>() {
    let place = P::new().await;
    let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
    place.store().await;
    let step = minutes(10);
    let kept_for = async || Duration::from_secs(place.number(P::KEPT_FOR).await.try_into().unwrap());
    // A second for what has passed meanwhile.
    let is = |kept: Duration, expected: Duration| {
        (expected..=expected + step + Duration::from_secs(2)).contains(&(kept + Duration::from_secs(1)))
    };
    let ended = minutes(5);
    let (layer, forever) = (Limits::new(minutes(15), minutes(60)), Limits::idle_only(minutes(15)));
    let cases = [
        (layer, None, minutes(15), minutes(60)),
        (forever, None, minutes(15), minutes(30)),
        (layer, Some(Limits::new(minutes(30), minutes(20))), minutes(20), minutes(20)),
        (layer, Some(Limits::idle_only(minutes(600))), minutes(600), minutes(1200)),
        (forever, Some(Limits::idle_only(Duration::MAX)), Duration::MAX, Duration::MAX),
    ];
    for (limits, own, of_record, of_alias) in cases {
        place.execute("DELETE FROM session_timeout").await;
        let store = SqlxStore::new(place.pool()).granularity(Duration::ZERO);
        let policy = Policy::new(limits);
        let new = own.map_or(NewSession::new(), |own| NewSession::new().limits(own));
        store.start(&SessionId::from("A"), &new, &policy).await.unwrap();
        if of_record == Duration::MAX {
            assert!(kept_for().await > 300 * 365 * 24 * HOUR);
            continue;
        }
        let kept = kept_for().await;
        assert!(is(kept, of_record + ended), "{kept:?}");
        place.execute(&format!("UPDATE session_timeout SET expires_at = {}", P::PASSED)).await;
        let Decision::Live(live) = store.check(&SessionId::from("A"), &policy, Access::Renew).await.unwrap()
        else {
            panic!("what is there is judged by its record")
        };
        assert!(is(kept_for().await, of_record + ended), "renewed");
        store.rotate(live.key, &SessionId::from("B"), live.presented, &policy).await.unwrap();
        let kept = place.number(&P::KEPT_FOR.replace("min(", "max(")).await;
        assert!(is(Duration::from_secs(kept.try_into().unwrap()), of_alias + ended), "{kept}");
    }
}

async fn an_owners_sessions_are_found_and_ended_and_nobody_elses<P: Place>() {
    let place = P::new().await;
    let store = place.store().await;
    let (alice, bob) = (Owner::from("alice"), Owner::from("bob"));
    for (id, owner) in [("a1", "alice"), ("a2", "alice"), ("b1", "bob"), ("gone", "alice")] {
        log_in(&store, id, owner).await;
    }
    let live = renew(&store, "gone").await.unwrap();
    assert!(store.end(live.key, EndReason::SignedOut).await.unwrap());
    assert_eq!(store.sessions_of(&alice, &policy()).await.unwrap().len(), 2);
    let kept = renew(&store, "a2").await.unwrap();
    assert_eq!(kept.owner, Some(alice.clone()));
    assert_eq!(store.end_all(&alice, Some(kept.key)).await.unwrap(), 1);
    assert!(!is_live(&store, "a1").await && is_live(&store, "a2").await && is_live(&store, "b1").await);
    // A name that an owner's session had before is somebody else's by now.
    place.execute("DELETE FROM session_timeout").await;
    log_in(&store, "a2", "bob").await;
    assert!(store.sessions_of(&alice, &policy()).await.unwrap().is_empty());
    assert_eq!(store.end_all(&alice, None).await.unwrap(), 0);
    assert_eq!(store.sessions_of(&bob, &policy()).await.unwrap().len(), 1);
}

async fn an_owners_list_loses_what_is_over<P: Place>() {
    let place = P::new().await;
    let clock = ManualClock::new();
    let store = place.store().await.clock(clock.clone());
    let long = NewSession::new().owner("alice").limits(Limits::idle_only(Duration::from_secs(24 * 3600)));
    store.start(&SessionId::from("long"), &long, &policy()).await.unwrap();
    for id in ["1", "2", "3"] {
        log_in(&store, id, "alice").await;
    }
    clock.advance(HOUR);
    let listed = async || place.number("SELECT count(*) FROM session_timeout_owner").await;
    log_in(&store, "4", "alice").await;
    assert_eq!(listed().await, 5, "none so young is looked at");
    place.execute(&format!("UPDATE session_timeout_owner SET check_at = {}", P::PASSED)).await;
    // Each log-in looks at two.
    log_in(&store, "5", "alice").await;
    log_in(&store, "6", "alice").await;
    log_in(&store, "7", "alice").await;
    assert_eq!(listed().await, 5, "4 to 7, and the one that lasts");
    assert_eq!(store.sessions_of(&Owner::from("alice"), &policy()).await.unwrap().len(), 5);
}

async fn all_of_an_owners_sessions_are_ended_however_many<P: Place>() {
    let place = P::new().await;
    let store = place.store().await;
    let alice = Owner::from("alice");
    for number in 0..100 {
        log_in(&store, &number.to_string(), "alice").await;
    }
    assert_eq!(store.sessions_of(&alice, &policy()).await.unwrap().len(), 100);
    assert_eq!(store.end_all(&alice, None).await.unwrap(), 100);
    assert_eq!(place.number("SELECT count(*) FROM session_timeout_owner").await, 0, "struck off");
    assert_eq!(store.end_all(&alice, None).await.unwrap(), 0);
}

async fn the_end_of_an_adopted_session_is_remembered<P: Place>() {
    let place = P::new().await;
    let store = place.store().await;
    let adopt = async || store.adopt(&SessionId::from("A"), &NewSession::new(), &policy()).await.unwrap();
    let Adopted::New(key) = adopt().await else { panic!("a new id") };
    assert!(store.end(key, EndReason::SignedOut).await.unwrap());
    assert_eq!(adopt().await, Adopted::Known);
    let kept = place.number(P::KEPT_FOR).await;
    assert!(kept >= 24 * 3600 - 60, "{kept}");
}

async fn nothing_in_the_tables_is_an_id_or_computes_one<P: Place>() {
    let place = P::new().await;
    let store = place.store().await;
    log_in(&store, "the-raw-id", "alice").await;
    let live = renew(&store, "the-raw-id").await.unwrap();
    assert_eq!(rotate(&store, &live, "the-raw-id-2").await, Rotated::New);
    renew(&store, "the-raw-id-2").await.unwrap();
    let columns = ["key FROM session_timeout", "record FROM session_timeout"];
    let owners = ["owner FROM session_timeout_owner", "session FROM session_timeout_owner"];
    for column in columns.iter().chain(&owners) {
        for text in place.texts(&format!("SELECT {column}")).await {
            assert!(!text.windows(3).any(|part| part == b"raw"), "{column}");
            let as_id = SessionId::from(&text[..]);
            let decided = store.check(&as_id, &policy(), Access::Peek).await.unwrap();
            assert!(!matches!(decided, Decision::Live(_)), "{column} is no id");
        }
    }
    assert!(!format!("{store:?}").contains("raw"));
}

async fn it_is_migrated_once_by_however_many_processes<P: Place>() {
    let place = P::new().await;
    let migrations: Vec<_> = (0..8)
        .map(|_| {
            let store = SqlxStore::new(place.pool());
            tokio::spawn(async move { store.migrate().await })
        })
        .collect();
    for migration in migrations {
        migration.await.unwrap().unwrap();
    }
    let store = place.store().await;
    start(&store, "A").await;
    store.migrate().await.unwrap();
    assert!(is_live(&store, "A").await, "nothing is lost by it");
}

async fn it_keeps_to_the_table_it_is_given<P: Place>() {
    let place = P::new().await;
    // A word of the language's own.
    let store = place.store().await.table("order").unwrap();
    store.migrate().await.unwrap();
    log_in(&store, "A", "alice").await;
    assert!(renew(&store, "A").await.is_some());
    assert_eq!(store.sessions_of(&Owner::from("alice"), &policy()).await.unwrap().len(), 1);
    assert_eq!(place.records().await.len(), 0);
    assert!(!is_live(&place.store().await, "A").await);
    let by_hand = place.store().await.table("by_hand").unwrap();
    for statement in by_hand.migration().split(";\n").filter(|statement| !statement.trim().is_empty()) {
        place.execute(statement).await;
    }
    start(&by_hand, "A").await;
    assert!(renew(&by_hand, "A").await.is_some());
    for name in ["", "a b", "a\";--", "A"] {
        let refused = SqlxStore::new(place.pool()).table(name).unwrap_err().to_string();
        assert!(refused.contains(&format!("{name:?}")), "{refused}");
    }
}

async fn a_cached_store_sees_an_end_of_its_own_at_once<P: Place>() {
    let place = P::new().await;
    let store = place.store().await;
    let app = App::on(store.cached(Duration::from_secs(3)), patient);
    app.log_in("A").await;
    assert_eq!(app.visit("A").await.status(), StatusCode::OK);
    assert_eq!(app.send(sid(post("/logout"), "A")).await.status(), StatusCode::OK);
    assert_eq!(app.visit("A").await.status(), StatusCode::UNAUTHORIZED);
}

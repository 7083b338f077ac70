//! A store that is asked once in a window: what is let in without asking, and what that costs.
#![allow(clippy::unchecked_time_subtraction)] // of constants

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use crate::support::{RuntimeClock, conforms, remote::Remote};
use tokio::time;
use tower_session_timeout::{
    CachedStore, Decision, EndReason, Limits, Live, MemoryStore, NewSession, Owner, SessionEvent, SessionId,
    SessionKey, Started, Store,
    contract::{Access, Answer, EventSink, Policy, Restarted},
};

const IDLE: Duration = Duration::from_secs(900);
const ABSOLUTE: Duration = Duration::from_secs(3600);
const WINDOW: Duration = Duration::from_secs(60);
const SECOND: Duration = Duration::from_secs(1);
const NANO: Duration = Duration::from_nanos(1);

fn policy() -> Policy {
    Policy::new(Limits::new(IDLE, ABSOLUTE))
}

/// Two processes, and the store behind them.
struct Site {
    remote: Remote,
    here: CachedStore<Remote>,
    there: CachedStore<Remote>,
}

impl Site {
    async fn with_a_session() -> Self {
        let clock = RuntimeClock::new();
        let remote = Remote::new(clock.clone());
        let node = || CachedStore::new(remote.clone(), WINDOW).clock(clock.clone());
        let site = Self { here: node(), there: node(), remote };
        let new = NewSession::new().owner("alice");
        site.here.start(&SessionId::from("A"), &new, &policy()).await.unwrap();
        site
    }
}

async fn decide(store: &impl Store, access: Access) -> Decision {
    store.check(&SessionId::from("A"), &policy(), access).await.unwrap()
}

async fn renew(store: &impl Store) -> Option<Live> {
    match decide(store, Access::Hold).await {
        Decision::Live(live) => {
            assert!(!live.held, "nobody would release it");
            Some(live)
        }
        _ => None,
    }
}

async fn truth(site: &Site) -> Option<Live> {
    match decide(&*site.remote.store, Access::Peek).await {
        Decision::Live(live) => Some(live),
        _ => None,
    }
}

#[tokio::test(start_paused = true)]
async fn within_a_window_no_request_asks_and_after_it_one_tells_of_all() {
    let site = Site::with_a_session().await;
    for _ in 0..59 {
        let live = renew(&site.here).await.unwrap();
        assert_eq!(live.owner, Some(Owner::from("alice")));
        time::advance(SECOND).await;
    }
    assert_eq!(site.remote.questions(), 1);
    let live = renew(&site.here).await.unwrap();
    assert_eq!((live.age(), live.idle_for()), (59 * SECOND, SECOND));
    time::sleep(2 * SECOND).await;
    renew(&site.here).await.unwrap();
    assert_eq!(site.remote.questions(), 2, "the next request asks, and so tells of those before it");
    assert_eq!(truth(&site).await.unwrap().idle_for(), Duration::ZERO);
    renew(&site.here).await.unwrap();
    assert_eq!(site.remote.questions(), 2, "that opened the next window");
}

#[tokio::test(start_paused = true)]
async fn where_no_request_follows_the_activity_of_a_window_is_told_all_the_same() {
    let site = Site::with_a_session().await;
    renew(&site.here).await.unwrap();
    time::sleep(SECOND).await;
    renew(&site.here).await.unwrap();
    time::sleep(2 * WINDOW).await;
    assert_eq!(site.remote.questions(), 2);
    assert_eq!(truth(&site).await.unwrap().idle_for(), 2 * WINDOW, "as of the last request");
}

fn with_a_second_of_grace() -> Policy {
    let mut policy = policy();
    policy.rotation_grace = SECOND;
    policy
}

/// A newer id may have superseded it: what is known of the session does not let in its ids.
#[tokio::test(start_paused = true)]
async fn a_superseded_id_is_let_in_no_longer_than_its_window() {
    let site = Site::with_a_session().await;
    let first = renew(&site.here).await.unwrap();
    let policy = with_a_second_of_grace();
    let (old, new) = (SessionId::from("A"), SessionId::from("B"));
    site.there.rotate(first.key, &new, first.presented, &policy).await.unwrap();
    let began = time::Instant::now();
    loop {
        site.there.check(&new, &policy, Access::Hold).await.unwrap();
        match site.here.check(&old, &policy, Access::Hold).await.unwrap() {
            Decision::Live(_) => assert!(began.elapsed() <= WINDOW + SECOND, "{:?}", began.elapsed()),
            Decision::Ended { reason, .. } => {
                assert_eq!(reason, EndReason::Superseded);
                break;
            }
            Decision::Capped(reason) => panic!("{reason}"),
        }
        time::sleep(SECOND / 2).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_window_ends_with_the_grace_of_its_id() {
    let site = Site::with_a_session().await;
    let first = truth(&site).await.unwrap();
    let policy = with_a_second_of_grace();
    let (old, new) = (SessionId::from("A"), SessionId::from("B"));
    site.here.rotate(first.key, &new, first.presented, &policy).await.unwrap();
    site.here.check(&new, &policy, Access::Hold).await.unwrap();
    let in_grace = site.here.check(&old, &policy, Access::Hold).await.unwrap();
    assert!(matches!(in_grace, Decision::Live(_)));
    time::sleep(SECOND).await;
    let over = site.here.check(&old, &policy, Access::Hold).await.unwrap();
    assert!(matches!(over, Decision::Ended { reason: EndReason::Superseded, .. }), "{over:?}");
}

#[tokio::test(start_paused = true)]
async fn a_window_without_a_further_request_tells_nothing_and_is_forgotten() {
    let site = Site::with_a_session().await;
    renew(&site.here).await.unwrap();
    assert!(matches!(decide(&site.here, Access::Peek).await, Decision::Live(_)));
    time::sleep(10 * WINDOW).await;
    assert_eq!(site.remote.questions(), 1);
    renew(&site.here).await.unwrap();
    assert_eq!(site.remote.questions(), 2);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_let_in_after_its_limits_and_what_is_told_is_sure() {
    let site = Site::with_a_session().await;
    for _ in 0..3599 {
        let live = renew(&site.here).await.unwrap();
        assert!(live.remaining().idle >= IDLE - WINDOW, "{:?}", live.remaining());
        assert_eq!(live.remaining().absolute, Some(ABSOLUTE - live.age()));
        time::advance(SECOND).await;
    }
    time::advance(SECOND - Duration::from_millis(1)).await;
    assert!(renew(&site.here).await.is_some());
    time::advance(Duration::from_millis(1)).await;
    let over = decide(&site.here, Access::Renew).await;
    assert!(matches!(over, Decision::Ended { reason: EndReason::Absolute, .. }), "{over:?}");

    let site = Site::with_a_session().await;
    renew(&site.here).await.unwrap();
    time::sleep(30 * SECOND).await;
    renew(&site.here).await.unwrap();
    time::sleep(IDLE - Duration::from_millis(1)).await;
    assert!(truth(&site).await.is_some(), "by the activity within the window");
    time::sleep(Duration::from_millis(2)).await;
    assert!(renew(&site.here).await.is_none());
}

#[tokio::test(start_paused = true)]
async fn the_window_is_at_most_a_quarter_of_what_is_left_as_idle() {
    let site = Site::with_a_session().await;
    time::sleep(IDLE - 20 * SECOND).await;
    for (passes, checks) in [(Duration::ZERO, 1), (5 * SECOND - NANO, 1), (NANO, 2)] {
        time::advance(passes).await;
        assert!(matches!(decide(&site.here, Access::Peek).await, Decision::Live(_)));
        assert_eq!(site.remote.questions(), checks);
    }
}

#[tokio::test(start_paused = true)]
async fn the_first_activity_after_a_look_is_told_at_once() {
    let site = Site::with_a_session().await;
    time::sleep(SECOND).await;
    decide(&site.here, Access::Peek).await;
    renew(&site.here).await.unwrap();
    assert_eq!(site.remote.questions(), 2);
    assert_eq!(truth(&site).await.unwrap().idle_for(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn within_a_window_a_session_grows_older_as_the_store_would_say() {
    let site = Site::with_a_session().await;
    time::advance(10 * SECOND).await;
    renew(&site.there).await.unwrap();
    time::advance(5 * SECOND).await;
    // It was active since, as the store knows.
    decide(&site.here, Access::RenewAgo(12 * SECOND)).await;
    time::advance(SECOND).await;
    let live = renew(&site.here).await.unwrap();
    assert_eq!((live.idle_for(), live.age(), live.id_age()), (6 * SECOND, 16 * SECOND, 16 * SECOND));
    assert_eq!(site.remote.questions(), 2);

    let site = Site::with_a_session().await;
    time::advance(10 * SECOND).await;
    for passed in [10, 11] {
        let Decision::Live(live) = decide(&site.here, Access::Peek).await else { panic!("it lives") };
        assert_eq!(live.idle_for(), passed * SECOND);
        time::advance(SECOND).await;
    }
    assert_eq!(site.remote.questions(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_earlier_activity_takes_the_place_of_no_later_one() {
    let site = Site::with_a_session().await;
    renew(&site.here).await.unwrap();
    time::sleep(30 * SECOND).await;
    renew(&site.here).await.unwrap();
    decide(&site.here, Access::RenewAgo(20 * SECOND)).await;
    time::sleep(2 * WINDOW).await;
    assert_eq!(truth(&site).await.unwrap().idle_for(), 2 * WINDOW);
}

#[tokio::test(start_paused = true)]
async fn a_window_begins_with_the_question_however_late_the_answer() {
    let site = Site::with_a_session().await;
    let key = truth(&site).await.unwrap().key;
    site.remote.takes.store(10, SeqCst);
    renew(&site.here).await.unwrap();
    site.remote.takes.store(0, SeqCst);
    site.there.end(key, EndReason::SignedOut).await.unwrap();
    time::advance(WINDOW - 10 * SECOND).await;
    assert!(renew(&site.here).await.is_none());
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_comes_late_loses_no_activity() {
    let site = Site::with_a_session().await;
    site.remote.takes.store(10, SeqCst);
    let others = async {
        site.remote.takes.store(0, SeqCst);
        renew(&site.here).await.unwrap();
        time::sleep(5 * SECOND).await;
        renew(&site.here).await.unwrap();
        assert_eq!(site.remote.questions(), 2);
    };
    tokio::join!(renew(&site.here), others);
    time::sleep(2 * WINDOW).await;
    assert_eq!(truth(&site).await.unwrap().idle_for(), 2 * WINDOW + 5 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_window_leaves_the_next_one_open() {
    let site = Site::with_a_session().await;
    decide(&site.here, Access::Peek).await;
    time::sleep(30 * SECOND).await;
    renew(&site.here).await.unwrap();
    time::sleep(WINDOW - SECOND).await;
    renew(&site.here).await.unwrap();
    assert_eq!(site.remote.questions(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_the_store_calls_over_is_over_for_looks_as_well() {
    let site = Site::with_a_session().await;
    let Decision::Live(live) = decide(&site.here, Access::Peek).await else { panic!("it lives") };
    site.there.end(live.key, EndReason::SignedOut).await.unwrap();
    assert!(renew(&site.here).await.is_none());
    let over = decide(&site.here, Access::Peek).await;
    assert!(matches!(over, Decision::Ended { reason: EndReason::SignedOut, .. }), "{over:?}");
}

#[tokio::test(start_paused = true)]
async fn a_session_begun_here_is_not_taken_for_the_one_before_it() {
    let site = Site::with_a_session().await;
    let before = renew(&site.here).await.unwrap().key;
    site.there.end(before, EndReason::SignedOut).await.unwrap();
    let new = NewSession::new().owner("bob");
    let started = site.here.start(&SessionId::from("A"), &new, &policy()).await.unwrap();
    let live = renew(&site.here).await.unwrap();
    assert_eq!((started, live.owner), (Started::New(live.key), Some(Owner::from("bob"))));
}

#[tokio::test(start_paused = true)]
async fn what_this_process_ends_is_over_here_at_once_and_elsewhere_within_the_window() {
    let site = Site::with_a_session().await;
    let key = renew(&site.here).await.unwrap().key;
    renew(&site.there).await.unwrap();
    assert!(site.here.end(key, EndReason::SignedOut).await.unwrap());
    assert!(renew(&site.here).await.is_none());
    assert!(renew(&site.there).await.is_some(), "as documented");
    time::sleep(WINDOW).await;
    let over = decide(&site.there, Access::Renew).await;
    assert!(matches!(over, Decision::Ended { reason: EndReason::SignedOut, .. }), "{over:?}");
}

#[tokio::test(start_paused = true)]
async fn an_end_is_remembered_longer_than_the_restart_before_it() {
    let site = Site::with_a_session().await;
    let key = truth(&site).await.unwrap().key;
    assert_eq!(site.here.restart(key, &NewSession::new(), &policy()).await.unwrap(), Restarted::Done);
    time::advance(SECOND).await;
    renew(&site.here).await.unwrap();
    assert!(site.here.end(key, EndReason::SignedOut).await.unwrap());
    time::advance(WINDOW - Duration::from_millis(1)).await;
    // With each end, what is older than a window is forgotten: by now the restart is.
    site.here.end(SessionKey::new([0; 16]), EndReason::SignedOut).await.unwrap();
    assert!(renew(&site.here).await.is_none());
}

#[tokio::test(start_paused = true)]
async fn signing_out_everywhere_is_over_here_at_once() {
    let site = Site::with_a_session().await;
    renew(&site.here).await.unwrap();
    assert_eq!(site.here.end_all(&Owner::from("alice"), None).await.unwrap(), 1);
    assert!(renew(&site.here).await.is_none());

    let site = Site::with_a_session().await;
    let key = renew(&site.here).await.unwrap().key;
    site.here.restart(key, &NewSession::new(), &policy()).await.unwrap();
    time::advance(SECOND).await;
    renew(&site.here).await.unwrap();
    time::advance(SECOND).await;
    site.here.end_all(&Owner::from("alice"), None).await.unwrap();
    assert!(renew(&site.here).await.is_none(), "also after a restart");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_was_on_its_way_when_the_session_ended_is_not_remembered() {
    let site = Site::with_a_session().await;
    let key = truth(&site).await.unwrap().key;
    site.remote.takes.store(2, SeqCst);
    let end = async {
        time::sleep(SECOND).await;
        site.here.end(key, EndReason::SignedOut).await.unwrap()
    };
    let (asked, ended) = tokio::join!(decide(&site.here, Access::Renew), end);
    assert!(matches!(asked, Decision::Live(_)), "it was, when it was asked");
    assert!(ended);
    assert!(renew(&site.here).await.is_none());
}

#[tokio::test(start_paused = true)]
async fn an_answer_given_while_an_end_was_on_its_way_is_not_remembered() {
    let site = Site::with_a_session().await;
    let key = truth(&site).await.unwrap().key;
    site.remote.takes.store(2, SeqCst);
    let visit = async {
        site.remote.takes.store(0, SeqCst);
        time::sleep(SECOND).await;
        assert!(renew(&site.here).await.is_some(), "the store has yet to hear of the end");
    };
    tokio::join!(site.here.end(key, EndReason::SignedOut).into_future(), visit).0.unwrap();
    assert!(renew(&site.here).await.is_none());
}

#[tokio::test(start_paused = true)]
async fn an_end_whose_answer_nobody_waited_for_is_in_effect_here() {
    let site = Site::with_a_session().await;
    let key = renew(&site.here).await.unwrap().key;
    site.remote.takes.store(2, SeqCst);
    let end = site.here.end(key, EndReason::SignedOut).into_future();
    assert!(time::timeout(3 * SECOND, end).await.is_err());
    assert!(renew(&site.here).await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_restart_is_seen_at_once() {
    let site = Site::with_a_session().await;
    let key = renew(&site.here).await.unwrap().key;
    time::advance(SECOND).await;
    assert_eq!(site.here.restart(key, &NewSession::new(), &policy()).await.unwrap(), Restarted::Done);
    assert_eq!(renew(&site.here).await.unwrap().age(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_cap_refuses_within_a_window_and_opens_none() {
    let site = Site::with_a_session().await;
    let cap = |idle| {
        let mut policy = policy();
        policy.cap = Some(Limits::idle_only(idle));
        policy
    };
    let id = SessionId::from("A");
    site.here.check(&id, &cap(IDLE), Access::Renew).await.unwrap();
    site.here.check(&id, &cap(IDLE), Access::Renew).await.unwrap();
    assert_eq!(site.remote.questions(), 2);
    renew(&site.here).await.unwrap();
    time::advance(10 * SECOND).await;
    let live = site.here.check(&id, &cap(20 * SECOND), Access::Peek).await.unwrap();
    assert!(matches!(live, Decision::Live(live) if live.remaining().idle == 10 * SECOND));
    assert_eq!(site.remote.questions(), 3);
    let refused = site.here.check(&id, &cap(5 * SECOND), Access::Renew).await.unwrap();
    assert!(matches!(refused, Decision::Capped(EndReason::Idle)), "{refused:?}");
}

#[tokio::test(start_paused = true)]
async fn shorter_limits_bind_at_the_next_request() {
    let site = Site::with_a_session().await;
    renew(&site.here).await.unwrap();
    time::advance(10 * SECOND).await;
    let shorter = Policy::new(Limits::new(5 * SECOND, ABSOLUTE));
    let over = site.here.check(&SessionId::from("A"), &shorter, Access::Renew).await.unwrap();
    assert!(matches!(over, Decision::Ended { reason: EndReason::Idle, .. }), "{over:?}");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_away_for_a_moment_hears_of_the_activity_later() {
    let site = Site::with_a_session().await;
    renew(&site.here).await.unwrap();
    time::advance(SECOND).await;
    renew(&site.here).await.unwrap();
    site.remote.failing.store(2, SeqCst);
    time::sleep(2 * WINDOW + SECOND).await;
    assert_eq!(truth(&site).await.unwrap().idle_for(), 2 * WINDOW + SECOND);
    assert_eq!(site.remote.questions(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_full_cache_asks_the_store() {
    let site = Site::with_a_session().await;
    let here = CachedStore::new(site.remote.clone(), WINDOW).capacity(0);
    for _ in 0..3 {
        renew(&here).await.unwrap();
    }
    assert_eq!(site.remote.questions(), 3);

    let here = CachedStore::new(site.remote.clone(), WINDOW).capacity(1);
    for access in [Access::Peek, Access::Renew, Access::Renew] {
        decide(&here, access).await;
    }
    assert_eq!(site.remote.questions(), 5, "an id it has needs no further place");
}

#[test]
fn the_store_tells_of_its_endings_through_the_cache() {
    let told = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&told);
    let store = Arc::new(MemoryStore::new());
    CachedStore::new(Arc::clone(&store), WINDOW).events(EventSink::new(move |event| {
        count.fetch_add(usize::from(matches!(event, SessionEvent::Ended { .. })), SeqCst);
    }));
    let Answer::Ready(Ok(Started::New(key))) =
        store.start(&SessionId::from("A"), &NewSession::new(), &policy())
    else {
        panic!("a new id")
    };
    assert!(matches!(store.end(key, EndReason::SignedOut), Answer::Ready(Ok(true))));
    assert_eq!(told.load(SeqCst), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cached_store_conforms_where_its_window_is_shorter_than_any_difference() {
    let window = Duration::from_nanos(1);
    conforms(&|clock| CachedStore::new(MemoryStore::new().clock(clock.clone()), window).clock(clock)).await;
}

mod over_redis {
    use tower_session_timeout_redis::RedisStore;

    use super::*;
    use crate::servers::redis_server::RedisServer;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_cached_redis_store_conforms_where_its_window_is_shorter_than_any_difference() {
        let server = RedisServer::start(&[]).await;
        let connection = server.connect().await;
        let number = AtomicUsize::new(0);
        conforms(&|clock: tower_session_timeout::ManualClock| {
            let prefix = format!("{}:", number.fetch_add(1, SeqCst));
            let store = RedisStore::new(connection.clone()).prefix(&prefix).granularity(Duration::ZERO);
            store.clock(clock.clone()).cached(NANO).clock(clock)
        })
        .await;
    }

    #[tokio::test]
    async fn within_a_window_redis_is_asked_once() {
        let server = RedisServer::start(&[]).await;
        let mut connection = server.connect().await;
        let store = RedisStore::new(connection.clone()).cached(WINDOW);
        store.start(&SessionId::from("A"), &NewSession::new(), &policy()).await.unwrap();
        let mut evaluated = async || {
            let stats: String =
                redis::cmd("INFO").arg("commandstats").query_async(&mut connection).await.unwrap();
            let calls = |line: &str| line.split(['=', ',']).nth(1)?.parse::<u32>().ok();
            let evals = stats.lines().filter(|line| line.starts_with("cmdstat_eval"));
            evals.filter_map(calls).sum::<u32>()
        };
        renew(&store).await.unwrap();
        let before = evaluated().await;
        for _ in 0..1000 {
            renew(&store).await.unwrap();
        }
        assert_eq!(evaluated().await, before);
    }
}

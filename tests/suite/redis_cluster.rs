//! The Redis store on a cluster: T106, slots that move, and a primary that is killed.

use std::{
    mem::swap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use crate::{
    servers::{
        redis_cluster::RedisCluster,
        redis_server::{calls_of, command, local},
    },
    support::{App, conforms, pace, post, set_cookie, sid},
};
use ::redis::cluster_async::ClusterConnection;
use futures_util::future::join_all;
use http::StatusCode;
use tokio::time::{Instant, sleep};
use tower_session_timeout::{
    Decision, EndReason, Limits, Live, ManualClock, NewSession, Owner, SessionId, Started, Store,
    contract::{Access, Answer, Policy, Restarted, Rotated},
};
use tower_session_timeout_redis::{ReconnectingConnection, RedisStore};

const SESSIONS: usize = 100;

fn policy() -> Policy {
    Policy::new(Limits::new(Duration::from_secs(900), Duration::from_secs(3600)))
}

async fn ask<T: Send + 'static>(answer: Answer<T>) -> T {
    answer.await.unwrap()
}

async fn live(store: &impl Store, id: &str) -> Option<Live> {
    match ask(store.check(&SessionId::from(id), &policy(), Access::Renew)).await {
        Decision::Live(live) => Some(live),
        _ => None,
    }
}

fn app(connection: ReconnectingConnection<ClusterConnection>) -> App {
    let store = RedisStore::new(connection).granularity(Duration::ZERO);
    App::on(store, |builder| builder.store_deadline(Duration::from_secs(1) * pace()))
}

/// T106
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_cluster_the_store_works_and_conforms() {
    let cluster = RedisCluster::start().await;
    let connection = cluster.connect().await;
    every_operation(&RedisStore::new(connection.clone())).await;
    for node in cluster.primaries().await {
        let [look_ups, times] = ["get", "time"].map(|name| calls_of(name, local(node.port)));
        assert!(
            times.await >= look_ups.await / 2,
            "each node is asked what time it is: its clock is its own"
        );
        let keys: usize = command(local(node.port), &["DBSIZE"]).await.unwrap();
        assert!(keys > SESSIONS / 3, "{keys} of the keys are on this node: not all nodes were met");
    }

    let number = AtomicUsize::new(0);
    let make = |clock: ManualClock| {
        let prefix = format!("{}:", number.fetch_add(1, SeqCst));
        RedisStore::new(connection.clone()).prefix(&prefix).granularity(Duration::ZERO).clock(clock)
    };
    conforms(&make).await;
}

/// With so many sessions that ids of one session are on different nodes.
async fn every_operation(store: &RedisStore<ReconnectingConnection<ClusterConnection>>) {
    let alice = Owner::from("alice");
    for number in 0..SESSIONS {
        let ids = ["first", "second"].map(|name| format!("{name}-{number}"));
        let [first, second] = ids.each_ref().map(String::as_str);
        let new = NewSession::new().owner(alice.clone());
        let started = ask(store.start(&SessionId::from(first), &new, &policy())).await;
        assert!(matches!(started, Started::New(_)));
        let session = live(store, first).await.unwrap();
        let (key, presented) = (session.key, session.presented);
        let rotated = ask(store.rotate(key, &SessionId::from(second), presented, &policy())).await;
        assert_eq!(rotated, Rotated::New);
        assert_eq!(live(store, second).await.unwrap().key, key);
        if number % 2 == 0 {
            assert_eq!(ask(store.restart(key, &NewSession::new(), &policy())).await, Restarted::Done);
        }
        if number % 4 == 0 {
            assert!(ask(store.end(key, EndReason::SignedOut)).await);
            assert!(live(store, first).await.is_none());
            let again = ask(store.start(&SessionId::from(second), &new, &policy())).await;
            assert!(matches!(again, Started::New(_)), "begun anew, under another name");
        }
    }
    let listed = ask(store.sessions_of(&alice, &policy())).await;
    assert_eq!(listed.len(), SESSIONS);
    let kept = listed[0].key;
    assert_eq!(ask(store.end_all(&alice, Some(kept))).await, SESSIONS - 1);
    assert_eq!(ask(store.sessions_of(&alice, &policy())).await.len(), 1);
}

/// Sessions that are live, and some that are over.
async fn begin(app: &App) -> (Vec<String>, Vec<String>) {
    let ids: Vec<String> = (0..SESSIONS).map(|number| format!("id-{number}")).collect();
    let (live, over) = ids.split_at(SESSIONS * 2 / 3);
    for id in &ids {
        app.log_in(id).await;
    }
    for id in over {
        assert_eq!(app.send(sid(post("/logout"), id)).await.status(), StatusCode::OK);
    }
    (live.to_vec(), over.to_vec())
}

/// How many of these sessions' requests were admitted, refused, and answered with 503.
async fn visit(app: &App, ids: &[String]) -> [usize; 3] {
    let answers = join_all(ids.iter().map(|id| app.visit(id))).await;
    let count = |status: StatusCode| answers.iter().filter(|answer| answer.status() == status).count();
    [StatusCode::OK, StatusCode::UNAUTHORIZED, StatusCode::SERVICE_UNAVAILABLE].map(count)
}

/// The same, once the store answers all of them.
async fn settled(app: &App, ids: &[String]) -> [usize; 3] {
    let began = Instant::now();
    loop {
        let counts = visit(app, ids).await;
        if counts[2] == 0 || began.elapsed() > Duration::from_secs(30) {
            return counts;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a long run"]
async fn while_slots_move_no_session_is_lost_and_none_comes_back() {
    let cluster = RedisCluster::start().await;
    let app = Arc::new(app(cluster.connect().await));
    let (live, over) = begin(&app).await;
    let (is_moved, rounds) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let requests = {
        let (app, is_moved, rounds) = (Arc::clone(&app), Arc::clone(&is_moved), Arc::clone(&rounds));
        let (live, over) = (live.clone(), over.clone());
        tokio::spawn(async move {
            let mut unavailable = 0;
            while !is_moved.load(SeqCst) {
                let round = rounds.load(SeqCst);
                let ([_, refused, failed], [admitted, _, failed_too]) =
                    tokio::join!(visit(&app, &live), visit(&app, &over));
                assert_eq!((refused, admitted), (0, 0), "in round {round}");
                let new = format!("new-{round}");
                let login = app.send(set_cookie(post("/login"), &format!("sid={new}"))).await;
                if login.status() == StatusCode::OK {
                    assert_ne!(app.visit(&new).await.status(), StatusCode::UNAUTHORIZED, "begun meanwhile");
                }
                rounds.fetch_add(1, SeqCst);
                unavailable += failed + failed_too;
            }
            unavailable
        })
    };
    let primaries = cluster.primaries().await;
    let [mut from, mut to] = [&primaries[0].id, &primaries[1].id];
    // There and back: a connection that falls silent meanwhile keeps a round waiting until the deadline.
    while rounds.load(SeqCst) < 40 && !requests.is_finished() {
        // Nearly all of the first node's.
        cluster.reshard(from, to, 5000).await;
        swap(&mut from, &mut to);
    }
    is_moved.store(true, SeqCst);
    let unavailable = requests.await.unwrap();
    eprintln!("{rounds:?} rounds of {SESSIONS} requests while slots moved: {unavailable} times 503");
    assert_eq!(settled(&app, &live).await, [live.len(), 0, 0]);
    assert_eq!(settled(&app, &over).await, [0, over.len(), 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a failover takes its time"]
async fn when_a_primary_is_killed_its_replica_goes_on_with_what_it_knows() {
    let mut cluster = RedisCluster::start().await;
    let app = app(cluster.connect().await);
    let (live, over) = begin(&app).await;
    cluster.replicated().await;
    let victim = cluster.primaries().await[0].port;
    let nodes = &mut cluster.nodes;
    nodes.iter_mut().find(|node| node.address().port() == victim).unwrap().kill();

    let began = Instant::now();
    let mut first_failure = None;
    loop {
        let ([admitted, refused, failed], [revived, ..]) =
            tokio::join!(visit(&app, &live), visit(&app, &over));
        assert_eq!((refused, revived), (0, 0), "503 is no log-out, and an end stays");
        if failed > 0 {
            first_failure.get_or_insert(began.elapsed());
        } else if first_failure.is_some() {
            assert_eq!(admitted, live.len());
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "no failover");
        sleep(Duration::from_millis(20)).await;
    }
    eprintln!("a killed primary of three: some 503 from {first_failure:?} to {:?}", began.elapsed());
    assert_eq!(settled(&app, &over).await, [0, over.len(), 0]);

    let old = cluster.nodes.iter_mut().find(|node| node.address().port() == victim).unwrap();
    old.start_again().await;
    old.follows().await;
    for _ in 0..20 {
        let ([_, refused, _], [revived, ..]) = tokio::join!(visit(&app, &live), visit(&app, &over));
        assert_eq!((refused, revived), (0, 0), "the old primary knows less");
    }
}

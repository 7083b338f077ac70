//! What only a file can do to those who share it.

use std::{env, path::Path, process::Command, time::Duration};

use sqlx::{
    SqlitePool,
    sqlite::{SqliteJournalMode, SqlitePoolOptions},
};
use tower_session_timeout::{
    EndReason, LayerSettings, NewSession, SessionId, Started, Store, contract::Access,
};
use tower_session_timeout_sqlx::SqliteStore;

use crate::{
    both::{is_live, policy, races, renew, start},
    place::{InFile, Place, options},
};

const FILE: &str = "SESSIONS_OF_THE_TEST";
const ROUNDS: usize = 40;

fn pool_of(path: &Path) -> SqlitePool {
    SqlitePoolOptions::new().max_connections(2).connect_lazy_with(options(path))
}

/// What another process does: it renews all sessions that are live, until they are over.
#[tokio::test]
#[ignore = "a process of the next test"]
async fn renew_until_all_are_over() {
    let store = SqliteStore::new(pool_of(Path::new(&env::var_os(FILE).unwrap()))).granularity(Duration::ZERO);
    for round in 0..ROUNDS {
        let id = round.to_string();
        while renew(&store, &id).await.is_none() {
            // It has not begun.
            tokio::time::sleep(Duration::from_millis(2)).await;
            if check_reason(&store, &id).await == Some(EndReason::SignedOut) {
                break;
            }
        }
        while renew(&store, &id).await.is_some() {
            // Of those who wait for a file, none is the next.
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        assert_eq!(check_reason(&store, &id).await, Some(EndReason::SignedOut));
    }
}

async fn check_reason(store: &SqliteStore, id: &str) -> Option<EndReason> {
    use tower_session_timeout::Decision;
    match store.check(&SessionId::from(id), &policy(), Access::Peek).await.unwrap() {
        Decision::Ended { reason, .. } => Some(reason),
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_process_revives_what_another_has_ended() {
    let place = InFile::new().await;
    let store = place.store().await;
    let processes: Vec<_> = (0..3)
        .map(|_| {
            let mut process = Command::new(env::current_exe().unwrap());
            process.args(["--exact", "sqlite::renew_until_all_are_over", "--ignored"]);
            process.env(FILE, place.path()).spawn().unwrap()
        })
        .collect();
    for round in 0..ROUNDS {
        let id = round.to_string();
        let Started::New(key) = start(&store, &id).await else { panic!("a new id") };
        tokio::time::sleep(Duration::from_millis(20)).await;
        // Who always loses to others gets an error, and tells it again: as a layer does.
        let ended = loop {
            if let Ok(ended) = store.end(key, EndReason::SignedOut).await {
                break ended;
            }
        };
        assert!(ended);
    }
    for mut process in processes {
        let status = tokio::task::spawn_blocking(move || process.wait().unwrap()).await.unwrap();
        assert!(status.success());
    }
    for round in 0..ROUNDS {
        assert!(!is_live(&store, &round.to_string()).await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_do_not_wait_for_others_get_through_all_the_same() {
    for journal in [SqliteJournalMode::Wal, SqliteJournalMode::Delete] {
        let place = InFile::with(journal).await;
        let impatient = place.options().journal_mode(journal).busy_timeout(Duration::ZERO);
        SqliteStore::new(SqlitePoolOptions::new().connect_lazy_with(impatient.clone()))
            .migrate()
            .await
            .unwrap();
        let pool = || SqlitePoolOptions::new().max_connections(1).connect_lazy_with(impatient.clone());
        races([pool(), pool(), pool()], 15).await;
    }
}

#[tokio::test]
async fn a_file_that_is_locked_for_good_makes_an_error_that_says_so() {
    let place = InFile::new().await;
    place.store().await;
    let impatient = place.options().busy_timeout(Duration::ZERO);
    let store = SqliteStore::new(SqlitePoolOptions::new().connect_lazy_with(impatient));
    store.attach(&LayerSettings::new(policy().limits)).unwrap();
    start(&store, "A").await;
    let lock = place.lock(Duration::from_secs(600)).await;
    let error =
        store.start(&SessionId::from("B"), &NewSession::new(), &policy()).await.unwrap_err().to_string();
    assert!(error.contains("busy_timeout"), "{error}");
    assert!(is_live(&store, "A").await, "who only looks is not kept waiting");
    lock.abort();
    let _ = lock.await;
    assert!(matches!(start(&store, "B").await, Started::New(_)));
}

#[tokio::test]
async fn a_full_disk_begins_no_session_and_ends_those_it_is_asked_to() {
    let place = InFile::new().await;
    place.store().await;
    let small = place.options().pragma("max_page_count", "30");
    let store = SqliteStore::new(SqlitePoolOptions::new().max_connections(1).connect_lazy_with(small))
        .granularity(Duration::ZERO);
    let mut keys = Vec::new();
    while let Started::New(key) = start(&store, &keys.len().to_string()).await {
        keys.push(key);
        assert!(keys.len() < 10_000);
    }
    assert!(keys.len() > 10);
    for (number, key) in keys.into_iter().enumerate() {
        let id = number.to_string();
        assert!(renew(&store, &id).await.is_some(), "it lives on");
        assert!(store.end(key, EndReason::SignedOut).await.unwrap());
        assert!(!is_live(&store, &id).await);
    }
}

/// A process that dies takes nothing with it.
#[tokio::test]
async fn sessions_outlive_the_processes_that_use_them() {
    let place = InFile::new().await;
    let store = place.store().await;
    start(&store, "A").await;
    drop(store);
    assert_eq!(place.number("PRAGMA synchronous").await, 2, "full: it is on the disk before it is answered");
    let later = SqliteStore::new(pool_of(&place.path()));
    assert!(renew(&later, "A").await.is_some());
}

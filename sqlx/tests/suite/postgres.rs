//! What only a server can do to its clients.

use std::time::Duration;

use http::StatusCode;
use sqlx::postgres::PgPoolOptions;
use tokio::time::sleep;
use tower_session_timeout::{EndReason, Started, Store};
use tower_session_timeout_sqlx::PostgresStore;

use crate::{
    both::{is_live, patient, races, renew, start},
    place::{OnPostgres, Place, pool_of},
    postgres_server::PostgresServer,
    support::{App, pace, post, sid},
};

/// T100, T103
#[tokio::test]
async fn a_server_that_is_killed_makes_503_until_it_is_back_and_nobody_is_signed_out() {
    let mut server = PostgresServer::start().await;
    let store = PostgresStore::new(server.pool(4));
    store.migrate().await.unwrap();
    let app = App::on(store, |builder| builder.store_deadline(Duration::from_secs(1) * pace()));
    for id in ["stays", "leaves", "over"] {
        app.log_in(id).await;
        assert_eq!(app.visit(id).await.status(), StatusCode::OK);
    }
    assert_eq!(app.send(sid(post("/logout"), "over")).await.status(), StatusCode::OK);
    server.kill();
    for _ in 0..3 {
        assert_eq!(app.visit("stays").await.status(), StatusCode::SERVICE_UNAVAILABLE, "not a log-out");
        assert_eq!(app.visit("over").await.status(), StatusCode::SERVICE_UNAVAILABLE, "no hole");
    }
    assert_eq!(app.send(sid(post("/logout"), "leaves")).await.status(), StatusCode::SERVICE_UNAVAILABLE);
    server.start_again().await;
    assert_eq!(app.once_available("stays").await.status(), StatusCode::OK);
    assert_eq!(app.visit("over").await.status(), StatusCode::UNAUTHORIZED);
    let began = tokio::time::Instant::now();
    while app.once_available("leaves").await.status() == StatusCode::OK {
        assert!(began.elapsed() < Duration::from_secs(20), "a log-out is not forgotten");
        sleep(Duration::from_millis(50)).await;
    }
}

/// Its connections are gone, and the pool does not look before it lends one.
#[tokio::test]
async fn the_first_request_after_a_quiet_restart_is_answered() {
    let mut server = PostgresServer::start().await;
    let pool = |server: &PostgresServer| {
        PgPoolOptions::new().max_connections(4).test_before_acquire(false).connect_lazy_with(server.options())
    };
    let idle = pool(&server);
    let store = PostgresStore::new(idle.clone());
    store.migrate().await.unwrap();
    let app = App::on(store, patient);
    app.log_in("A").await;
    for request in ["visit", "log in", "log out"] {
        let mut held = Vec::new();
        for _ in 0..4 {
            held.push(idle.acquire().await.unwrap());
        }
        drop(held);
        crate::network::until("all are idle", async || idle.num_idle() == 4).await;
        server.stop();
        server.start_again().await;
        match request {
            "visit" => assert_eq!(app.visit("A").await.status(), StatusCode::OK),
            "log in" => app.log_in("B").await,
            _ => assert_eq!(app.send(sid(post("/logout"), "A")).await.status(), StatusCode::OK),
        }
    }
    assert_eq!(app.visit("A").await.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(app.visit("B").await.status(), StatusCode::OK);
}

/// What it knows may be old.
#[tokio::test]
async fn a_standby_is_not_asked() {
    let mut server = PostgresServer::start().await;
    let store = PostgresStore::new(server.pool(2));
    store.migrate().await.unwrap();
    let app = App::on(store, |builder| builder.store_deadline(Duration::from_secs(1) * pace()));
    app.log_in("A").await;
    server.stop();
    server.make_standby(true);
    server.start_again().await;
    assert_eq!(app.visit("A").await.status(), StatusCode::SERVICE_UNAVAILABLE);
    server.stop();
    server.make_standby(false);
    server.start_again().await;
    assert_eq!(app.once_available("A").await.status(), StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_cannot_be_serialized_decides_anew() {
    let place = OnPostgres::new().await;
    place.store().await;
    for isolation in ["serializable", "repeatable read"] {
        let pool = || pool_of(place.options().options([("default_transaction_isolation", isolation)]));
        races([pool(), pool(), pool()], 30).await;
        place.execute("DELETE FROM session_timeout").await;
    }
}

#[tokio::test]
async fn a_full_disk_begins_no_session_and_ends_those_it_is_asked_to() {
    let place = OnPostgres::new().await;
    let store = place.store().await.granularity(Duration::ZERO);
    let Started::New(key) = start(&store, "A").await else { panic!("a new id") };
    place
        .execute(
            "CREATE FUNCTION no_room() RETURNS trigger LANGUAGE plpgsql AS \
             $$ BEGIN RAISE EXCEPTION 'no space left on device' USING ERRCODE = 'disk_full'; END $$",
        )
        .await;
    place
        .execute(
            "CREATE TRIGGER no_room BEFORE INSERT OR UPDATE ON session_timeout \
             FOR EACH ROW EXECUTE FUNCTION no_room()",
        )
        .await;
    assert!(renew(&store, "A").await.is_some(), "it lives on");
    assert_eq!(start(&store, "B").await, Started::AtCapacity);
    assert!(store.end(key, EndReason::SignedOut).await.unwrap());
    assert!(!is_live(&store, "A").await);
}

#[tokio::test]
async fn a_renewal_leaves_the_indexes_alone() {
    let place = OnPostgres::new().await;
    let store = place.store().await.granularity(Duration::ZERO);
    start(&store, "A").await;
    for _ in 0..50 {
        renew(&store, "A").await.unwrap();
    }
    let updates = async |kind: &str| {
        place.number(&format!("SELECT pg_stat_get_{kind}('session_timeout'::regclass)")).await
    };
    crate::network::until("the server has counted", async || updates("tuples_updated").await >= 40).await;
    let (all, cheap) = (updates("tuples_updated").await, updates("tuples_hot_updated").await);
    assert!(cheap >= all - 2, "{cheap} of {all}");
    let passed =
        place.number("SELECT extract(epoch FROM expires_at)::bigint % 600 FROM session_timeout").await;
    assert_eq!(passed, 0, "in steps of ten minutes");
}

#[tokio::test]
async fn a_table_may_be_in_a_schema() {
    let place = OnPostgres::new().await;
    place.execute("CREATE SCHEMA IF NOT EXISTS auth").await;
    let store = PostgresStore::new(place.pool()).table("auth.sessions").unwrap();
    store.migrate().await.unwrap();
    start(&store, "A").await;
    assert!(renew(&store, "A").await.is_some());
    assert_eq!(place.number("SELECT count(*) FROM auth.sessions").await, 1);
    place.execute("DROP SCHEMA auth CASCADE").await;
    let nowhere = PostgresStore::new(place.pool()).table("nowhere.sessions").unwrap();
    assert!(nowhere.migrate().await.is_err());
    let error = nowhere.delete_expired(1).await.unwrap_err().to_string();
    assert!(error.contains("nowhere"), "{error}");
    assert!(renew(&place.store().await, "A").await.is_none(), "the pool's connections are in order");
}

#[tokio::test]
async fn who_may_create_nothing_finds_what_another_has_migrated() {
    let place = OnPostgres::new().await;
    place.execute("DROP ROLE IF EXISTS modest").await;
    place.execute("CREATE ROLE modest LOGIN").await;
    let schema: String =
        sqlx::query_scalar("SELECT current_schema()").fetch_one(&place.pool()).await.unwrap();
    place.execute(&format!("GRANT USAGE ON SCHEMA {schema} TO modest")).await;
    let store = PostgresStore::new(pool_of(place.options().username("modest")));
    let error = store.migrate().await.unwrap_err().to_string();
    assert!(error.contains("permission denied"), "{error}");
    place.store().await;
    let tables = "session_timeout, session_timeout_owner";
    place.execute(&format!("GRANT SELECT, INSERT, UPDATE, DELETE ON {tables} TO modest")).await;
    store.migrate().await.unwrap();
    start(&store, "A").await;
    assert!(renew(&store, "A").await.is_some());
    store.delete_expired(10).await.unwrap();
    place.execute("DROP OWNED BY modest").await;
    place.execute("DROP ROLE modest").await;
}

#[tokio::test]
async fn the_migration_in_the_guide_is_the_one_that_is_run() {
    let pool = pool_of(sqlx::postgres::PgConnectOptions::new());
    let guide = include_str!("../../../docs/stores.md");
    assert!(guide.contains(&PostgresStore::new(pool).migration()));
}

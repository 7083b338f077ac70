//! Stores in a table: requests per second with 64 in flight on a pool, beside a bare prepared `SELECT` by key.

use sqlx::{
    ColumnIndex, Database, Decode, Encode, Executor, IntoArguments, Pool, Type,
    postgres::PgPoolOptions,
    query_scalar,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions},
};
use tokio::runtime::Builder;
use tower_session_timeout::{
    Decision, Limits, NewSession, SessionId, Store,
    contract::{Access, Policy},
};
use tower_session_timeout_sqlx::{Dialect, SqlxStore};

use crate::{
    measure::median,
    postgres_server::PostgresServer,
    shared::{ROUNDS, SESSIONS, id, rate},
};

const CONNECTIONS: u32 = 8;

pub fn print() {
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let server = PostgresServer::start().await;
        let pool = PgPoolOptions::new().max_connections(CONNECTIONS).connect_lazy_with(server.options());
        print_rates("Postgres", pool).await;
        println!();
        let folder = tempfile::TempDir::new().expect("a folder");
        let file = SqliteConnectOptions::new()
            .filename(folder.path().join("sessions.db"))
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal);
        let pool = SqlitePoolOptions::new().max_connections(CONNECTIONS).connect_lazy_with(file);
        print_rates("SQLite", pool).await;
    });
}

async fn print_rates<DB: Dialect>(name: &str, pool: Pool<DB>)
where
    for<'c> &'c mut DB::Connection: Executor<'c, Database = DB>,
    for<'q> Vec<u8>: Encode<'q, DB> + Decode<'q, DB> + Type<DB>,
    DB::Arguments: IntoArguments<DB>,
    usize: ColumnIndex<<DB as Database>::Row>,
{
    let policy = Policy::new(Limits::default());
    let store = SqlxStore::new(pool.clone());
    store.migrate().await.expect("it answers");
    for number in 0..SESSIONS {
        store.start(&SessionId::from(id(number)), &NewSession::new(), &policy).await.expect("it answers");
    }
    let keys: Vec<Vec<u8>> =
        query_scalar("SELECT key FROM session_timeout").fetch_all(&pool).await.expect("it answers");
    let keys = std::sync::Arc::new(keys);
    let bare = move |number: u64| {
        let (pool, keys) = (pool.clone(), keys.clone());
        async move {
            let key = keys[usize::try_from(number).expect("small")].clone();
            let select = query_scalar::<_, Vec<u8>>("SELECT record FROM session_timeout WHERE key = $1");
            select.bind(key).fetch_one(&pool).await.is_ok()
        }
    };
    let ours = move |number: u64| {
        let store = store.clone();
        async move {
            let decision = store.check(&SessionId::from(id(number)), &policy, Access::Renew).await;
            matches!(decision, Ok(Decision::Live(_)))
        }
    };
    let mut rates = [const { Vec::new() }; 2];
    for _ in 0..ROUNDS {
        rates[0].push(rate(bare.clone()).await);
        rates[1].push(rate(ours.clone()).await);
    }
    let [bare, ours] = rates.map(|mut rates| median(&mut rates));
    let title = format!("{name}, 64 in flight on {CONNECTIONS} connections");
    println!("{title:<56}{:>12}{:>12}", "requests/s", "of SELECT");
    for (what, rate) in [("SELECT by key", bare), ("the store, within the granularity", ours)] {
        println!("{what:<56}{rate:>12.0}{:>12.2}", rate / bare);
    }
}

//! SQLite: a file on this machine, whose wall clock judges.

use std::{sync::Arc, time::Duration};

use sqlx::{
    AssertSqlSafe, Connection, Sqlite, SqliteConnection, error::DatabaseError, query, query_scalar, raw_sql,
};
use tower_session_timeout::{Clock, Key, Swap, WallClock};

use crate::{
    dialect::{Asked, Dialect, Failure, Speaks, bytes, seconds, sql},
    table::TableName,
};

/// In milliseconds since 1970, as of when the statement has the file to itself. (`unixepoch('subsec')` is newer than
/// many a SQLite.)
const NOW: &str = "(julianday('now') - 2440587.5) * 86400000.0";
const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);

#[derive(Debug)]
pub struct Statements {
    load: Arc<str>,
    insert: Arc<str>,
    update: Arc<str>,
    delete: Arc<str>,
    list: Arc<str>,
    due: Arc<str>,
    listed: Arc<str>,
    strike: Arc<str>,
    delete_expired: Arc<str>,
    strike_gone: Arc<str>,
    check_later: Arc<str>,
}

impl Dialect for Sqlite {}

impl Speaks for Sqlite {
    const MIGRATION: &'static str = include_str!("../migrations/sqlite.sql");
    const HAS_SCHEMAS: bool = false;
    const ADVICE_IF_BUSY: &'static str =
        "others kept the file locked: give the connections a `busy_timeout`, and the file `journal_mode` WAL";
    type Statements = Statements;

    fn statements(table: &TableName) -> Statements {
        let fill = |text: &str| table.fill(&text.replace("{now}", NOW)).into();
        Statements {
            load: fill("SELECT record FROM {sessions} WHERE key = $1"),
            insert: fill(
                "INSERT INTO {sessions} (key, expires_at, record) SELECT $1, $2, $3 \
                 WHERE {now} <= $4 ON CONFLICT (key) DO NOTHING",
            ),
            update: fill(
                "UPDATE {sessions} SET expires_at = $2, record = $3 \
                 WHERE key = $1 AND record = $5 AND {now} <= $4",
            ),
            delete: fill("DELETE FROM {sessions} WHERE key = $1 AND record = $2 AND {now} <= $3"),
            list: fill(
                "INSERT INTO {owners} (owner, session, check_at) VALUES ($1, $2, $3) \
                 ON CONFLICT (owner, session) DO UPDATE SET check_at = excluded.check_at",
            ),
            due: fill(
                "SELECT session FROM {owners} WHERE owner = $1 AND check_at <= $2 ORDER BY check_at LIMIT 2",
            ),
            listed: fill("SELECT session FROM {owners} WHERE owner = $1"),
            strike: fill("DELETE FROM {owners} WHERE owner = $1 AND session = $2"),
            delete_expired: fill(
                "DELETE FROM {sessions} WHERE key IN \
                 (SELECT key FROM {sessions} WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2)",
            ),
            strike_gone: fill(
                "DELETE FROM {owners} WHERE (owner, session) IN \
                 (SELECT owner, session FROM {owners} WHERE check_at <= $1 ORDER BY check_at LIMIT $2) \
                 AND NOT EXISTS (SELECT 1 FROM {sessions} WHERE key = session)",
            ),
            check_later: fill(
                "UPDATE {owners} SET check_at = $3 WHERE (owner, session) IN \
                 (SELECT owner, session FROM {owners} WHERE check_at <= $1 ORDER BY check_at LIMIT $2) \
                 AND EXISTS (SELECT 1 FROM {sessions} WHERE key = session)",
            ),
        }
    }

    fn migrate<'c>(connection: &'c mut SqliteConnection, table: &TableName) -> Asked<'c, ()> {
        let text = table.rename(Self::MIGRATION);
        Box::pin(async move {
            let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
            raw_sql(AssertSqlSafe(text)).execute(&mut *transaction).await?;
            transaction.commit().await
        })
    }

    fn load(
        connection: &mut SqliteConnection,
        text: Arc<Statements>,
        key: Key,
    ) -> Asked<'_, (Option<Vec<u8>>, Duration)> {
        Box::pin(async move {
            let record = query_scalar(sql(&text.load)).bind(bytes(key)).fetch_optional(connection).await?;
            Ok((record, WallClock.now()))
        })
    }

    fn swap(connection: &mut SqliteConnection, text: Arc<Statements>, swap: Arc<Swap>) -> Asked<'_, bool> {
        Box::pin(async move {
            let key = bytes(swap.key);
            let latest = swap.not_after.map_or(f64::MAX, |latest| latest.as_secs_f64() * 1000.0);
            let done = match (&swap.expected, &swap.record) {
                (expected, Some(record)) => {
                    let statement = if expected.is_some() { &text.update } else { &text.insert };
                    let put = query(sql(statement))
                        .bind(key)
                        .bind(seconds_from_now(swap.keep_for))
                        .bind(&record[..]);
                    let put = put.bind(latest);
                    match expected {
                        Some(expected) => put.bind(&expected[..]).execute(connection).await?,
                        None => put.execute(connection).await?,
                    }
                }
                (Some(expected), None) => {
                    query(sql(&text.delete))
                        .bind(key)
                        .bind(&expected[..])
                        .bind(latest)
                        .execute(connection)
                        .await?
                }
                // Nothing in place of nothing: it is so, or it is not.
                (None, None) => return Ok(Self::load(connection, text, swap.key).await?.0.is_none()),
            };
            Ok(done.rows_affected() > 0)
        })
    }

    fn list(
        connection: &mut SqliteConnection,
        text: Arc<Statements>,
        owner: Key,
        session: Key,
    ) -> Asked<'_, Vec<Vec<u8>>> {
        Box::pin(async move {
            let list = query(sql(&text.list)).bind(bytes(owner)).bind(bytes(session));
            list.bind(seconds_from_now(HOUR)).execute(&mut *connection).await?;
            let due = query_scalar(sql(&text.due)).bind(bytes(owner)).bind(seconds_from_now(Duration::ZERO));
            due.fetch_all(connection).await
        })
    }

    fn listed(
        connection: &mut SqliteConnection,
        text: Arc<Statements>,
        owner: Key,
    ) -> Asked<'_, Vec<Vec<u8>>> {
        Box::pin(
            async move { query_scalar(sql(&text.listed)).bind(bytes(owner)).fetch_all(connection).await },
        )
    }

    fn strike(
        connection: &mut SqliteConnection,
        text: Arc<Statements>,
        owner: Key,
        sessions: Arc<[Key]>,
    ) -> Asked<'_, ()> {
        Box::pin(async move {
            // For one write to the disk.
            let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
            for &session in &*sessions {
                let strike = query(sql(&text.strike)).bind(bytes(owner)).bind(bytes(session));
                strike.execute(&mut *transaction).await?;
            }
            transaction.commit().await
        })
    }

    fn delete_expired(
        connection: &mut SqliteConnection,
        text: Arc<Statements>,
        limit: i64,
    ) -> Asked<'_, u64> {
        Box::pin(async move {
            let now = seconds_from_now(Duration::ZERO);
            let expired = query(sql(&text.delete_expired)).bind(now).bind(limit);
            let deleted = expired.execute(&mut *connection).await?.rows_affected();
            let gone = query(sql(&text.strike_gone)).bind(now).bind(limit);
            let struck = gone.execute(&mut *connection).await?.rows_affected();
            let others = limit.saturating_sub_unsigned(struck);
            let later = query(sql(&text.check_later)).bind(now).bind(others).bind(seconds_from_now(DAY));
            let later = later.execute(connection).await?;
            Ok(deleted.max(struck + later.rows_affected()))
        })
    }

    fn failure(error: &dyn DatabaseError) -> Failure {
        let code: u32 = error.code().and_then(|code| code.parse().ok()).unwrap_or(0);
        let says = |what: &str| error.message().contains(what);
        // The last eight bits are the error, the others what kind of it.
        match code & 0xff {
            5 | 6 => Failure::Busy,
            13 => Failure::Full,
            1 if says("no such table") => Failure::MissingTable,
            1 if says("no such column") || says("has no column") => Failure::ForeignTable,
            // A constraint that is none of our table's.
            1 if says("ON CONFLICT clause") => Failure::ForeignTable,
            _ => Failure::Other,
        }
    }
}

/// Since 1970.
fn seconds_from_now(by: Duration) -> i64 {
    seconds(WallClock.now().saturating_add(by))
}

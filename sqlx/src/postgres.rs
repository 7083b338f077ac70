//! Postgres: its own clock judges, in each statement.

use std::{sync::Arc, time::Duration};

use sqlx::{
    AssertSqlSafe, PgConnection, Postgres, error::DatabaseError, query, query_as, query_scalar, raw_sql,
};
use tower_session_timeout::{Key, Swap};

use crate::{
    dialect::{Asked, Dialect, Failure, Speaks, bytes, seconds, sql},
    table::TableName,
};

/// In microseconds since 1970, as of this very moment: `now()` would be that of the transaction's beginning.
const NOW: &str = "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint";
/// Of a record that is to be kept for `$2` seconds. In steps of ten minutes, for a renewal that leaves all indexes as they
/// are is cheap (a heap-only tuple).
const EXPIRY: &str =
    "to_timestamp(ceil((extract(epoch FROM clock_timestamp()) + $2::bigint) / 600)::double precision * 600)";

#[derive(Debug)]
pub struct Statements {
    load: Arc<str>,
    insert: Arc<str>,
    update: Arc<str>,
    delete: Arc<str>,
    list: Arc<str>,
    listed: Arc<str>,
    strike: Arc<str>,
    delete_expired: Arc<str>,
    check_owners: Arc<str>,
}

impl Dialect for Postgres {}

impl Speaks for Postgres {
    const MIGRATION: &'static str = include_str!("../migrations/postgres.sql");
    const HAS_SCHEMAS: bool = true;
    const ADVICE_IF_BUSY: &'static str = "others keep changing the same rows";
    type Statements = Statements;

    fn statements(table: &TableName) -> Statements {
        let fill = |text: &str| table.fill(&text.replace("{now}", NOW).replace("{expiry}", EXPIRY)).into();
        Statements {
            load: fill("SELECT (SELECT record FROM {sessions} WHERE key = $1), {now}, pg_is_in_recovery()"),
            insert: fill(
                "INSERT INTO {sessions} (key, expires_at, record) SELECT $1, {expiry}, $3 \
                 WHERE {now} <= $4 ON CONFLICT (key) DO NOTHING",
            ),
            // What the time is, is asked once the row is this statement's own: it may have had to wait for that.
            update: fill(
                "WITH held AS MATERIALIZED \
                 (SELECT key FROM {sessions} WHERE key = $1 AND record = $5 FOR UPDATE) \
                 UPDATE {sessions} swapped SET expires_at = {expiry}, record = $3 FROM held \
                 WHERE swapped.key = held.key AND {now} <= $4",
            ),
            delete: fill(
                "WITH held AS MATERIALIZED \
                 (SELECT key FROM {sessions} WHERE key = $1 AND record = $2 FOR UPDATE) \
                 DELETE FROM {sessions} swapped USING held WHERE swapped.key = held.key AND {now} <= $3",
            ),
            list: fill(
                "WITH put AS (INSERT INTO {owners} (owner, session, check_at) \
                 VALUES ($1, $2, now() + interval '1 hour') \
                 ON CONFLICT (owner, session) DO UPDATE SET check_at = excluded.check_at) \
                 SELECT session FROM {owners} WHERE owner = $1 AND check_at <= now() AND session <> $2 \
                 ORDER BY check_at LIMIT 2",
            ),
            listed: fill("SELECT session FROM {owners} WHERE owner = $1"),
            strike: fill("DELETE FROM {owners} WHERE owner = $1 AND session = ANY($2)"),
            delete_expired: fill(
                "DELETE FROM {sessions} WHERE key IN (SELECT key FROM {sessions} \
                 WHERE expires_at <= now() ORDER BY expires_at LIMIT $1 FOR UPDATE SKIP LOCKED)",
            ),
            check_owners: fill(
                "WITH due AS (SELECT owner, session FROM {owners} \
                 WHERE check_at <= now() ORDER BY check_at LIMIT $1 FOR UPDATE SKIP LOCKED), \
                 gone AS (DELETE FROM {owners} listed USING due \
                 WHERE listed.owner = due.owner AND listed.session = due.session \
                 AND NOT EXISTS (SELECT FROM {sessions} WHERE key = due.session)), \
                 kept AS (UPDATE {owners} listed SET check_at = now() + interval '1 day' FROM due \
                 WHERE listed.owner = due.owner AND listed.session = due.session \
                 AND EXISTS (SELECT FROM {sessions} WHERE key = due.session)) \
                 SELECT count(*) FROM due",
            ),
        }
    }

    fn migrate<'c>(connection: &'c mut PgConnection, table: &TableName) -> Asked<'c, ()> {
        let set_schema = table
            .schema
            .as_ref()
            .map_or_else(String::new, |schema| format!("SET LOCAL search_path TO \"{schema}\";"));
        // `IF NOT EXISTS` alone fails if two do it at the same time. The number means nothing. (Statements that are sent
        // together are one transaction.)
        let text = format!(
            "SELECT pg_advisory_xact_lock(5831470226); {set_schema} {}",
            table.rename(Self::MIGRATION)
        );
        let probe = table.fill("SELECT FROM {sessions}, {owners} LIMIT 0");
        Box::pin(async move {
            let Err(error) = raw_sql(AssertSqlSafe(text)).execute(&mut *connection).await else {
                return Ok(());
            };
            // Who may create nothing is told so before anybody looks whether there is anything to create.
            let is_refused =
                error.as_database_error().is_some_and(|error| error.code().as_deref() == Some("42501"));
            if is_refused && raw_sql(AssertSqlSafe(probe)).execute(connection).await.is_ok() {
                return Ok(());
            }
            Err(error)
        })
    }

    fn load(
        connection: &mut PgConnection,
        text: Arc<Statements>,
        key: Key,
    ) -> Asked<'_, (Option<Vec<u8>>, Duration)> {
        Box::pin(async move {
            let (record, now, is_standby): (Option<Vec<u8>>, i64, bool) =
                query_as(sql(&text.load)).bind(bytes(key)).fetch_one(connection).await?;
            if is_standby {
                // What it says may be old: a session that was ended may look live.
                return Err(sqlx::Error::Protocol("this server is a standby".to_owned()));
            }
            Ok((record, Duration::from_micros(now.try_into().unwrap_or(0))))
        })
    }

    fn swap(connection: &mut PgConnection, text: Arc<Statements>, swap: Arc<Swap>) -> Asked<'_, bool> {
        Box::pin(async move {
            let key = bytes(swap.key);
            let latest = swap
                .not_after
                .map_or(i64::MAX, |latest| i64::try_from(latest.as_micros()).unwrap_or(i64::MAX));
            let done = match (&swap.expected, &swap.record) {
                (expected, Some(record)) => {
                    let statement = if expected.is_some() { &text.update } else { &text.insert };
                    let put = query(sql(statement))
                        .bind(key)
                        .bind(seconds(swap.keep_for))
                        .bind(&record[..])
                        .bind(latest);
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
        connection: &mut PgConnection,
        text: Arc<Statements>,
        owner: Key,
        session: Key,
    ) -> Asked<'_, Vec<Vec<u8>>> {
        Box::pin(async move {
            let list = query_scalar(sql(&text.list)).bind(bytes(owner)).bind(bytes(session));
            list.fetch_all(connection).await
        })
    }

    fn listed(connection: &mut PgConnection, text: Arc<Statements>, owner: Key) -> Asked<'_, Vec<Vec<u8>>> {
        Box::pin(
            async move { query_scalar(sql(&text.listed)).bind(bytes(owner)).fetch_all(connection).await },
        )
    }

    fn strike(
        connection: &mut PgConnection,
        text: Arc<Statements>,
        owner: Key,
        sessions: Arc<[Key]>,
    ) -> Asked<'_, ()> {
        Box::pin(async move {
            let sessions: Vec<Vec<u8>> = sessions.iter().map(|&session| bytes(session)).collect();
            query(sql(&text.strike)).bind(bytes(owner)).bind(sessions).execute(connection).await.map(drop)
        })
    }

    fn delete_expired(connection: &mut PgConnection, text: Arc<Statements>, limit: i64) -> Asked<'_, u64> {
        Box::pin(async move {
            let deleted = query(sql(&text.delete_expired)).bind(limit).execute(&mut *connection).await?;
            let checked: i64 =
                query_scalar(sql(&text.check_owners)).bind(limit).fetch_one(connection).await?;
            Ok(deleted.rows_affected().max(checked.try_into().unwrap_or(0)))
        })
    }

    fn failure(error: &dyn DatabaseError) -> Failure {
        match error.code().as_deref() {
            // The server goes down, closes an idle connection, or has just been made a standby; a pooler in between has lost
            // the server, or given us one that knows nothing of our statements.
            Some("57P01" | "57P02" | "57P03" | "57P05" | "25006" | "08000" | "08003" | "08006" | "26000") => {
                Failure::Gone
            }
            // Serialization failure, deadlock.
            Some("40001" | "40P01") => Failure::Busy,
            Some("53100") => Failure::Full,
            Some("42P01" | "3F000") => Failure::MissingTable,
            // Columns and types that are not ours.
            Some("42703" | "42804" | "42883" | "42P10") => Failure::ForeignTable,
            _ => Failure::Other,
        }
    }
}

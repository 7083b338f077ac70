//! A table as a backend: where connections come from, what is tried again, and what an error tells.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use sqlx::{Connection, Pool, pool::PoolConnection};
use tokio::{runtime::Handle, time};
use tower_session_timeout::{Backend, BoxFuture, Key, LayerSettings, Loaded, StoreError, Swap, Swapped};

use crate::{
    dialect::{Asked, Dialect, Failure},
    table::TableName,
};

/// How long an operation is tried again that others were in the way of, if no layer says how long it waits.
const LONGEST: Duration = Duration::from_secs(5);
/// A little longer each time.
const PAUSE: Duration = Duration::from_millis(2);
const LONGEST_PAUSE: Duration = Duration::from_millis(20);
/// How long a connection may take for an answer that nobody waits for any more.
const PATIENCE: Duration = Duration::from_secs(5);

/// Records in a table of this database.
pub(crate) struct Table<DB: Dialect> {
    pool: Pool<DB>,
    pub(crate) name: TableName,
    sql: Arc<DB::Statements>,
    /// How long the most impatient layer waits for an answer, in nanoseconds; as long as there is none, the longest time.
    deadline: Arc<AtomicU64>,
    #[cfg(feature = "test-util")]
    clock: Option<tower_session_timeout::ManualClock>,
}

impl<DB: Dialect> Clone for Table<DB> {
    fn clone(&self) -> Self {
        Self {
            pool: self.pool.clone(),
            name: self.name.clone(),
            sql: Arc::clone(&self.sql),
            deadline: Arc::clone(&self.deadline),
            #[cfg(feature = "test-util")]
            clock: self.clock.clone(),
        }
    }
}

impl<DB: Dialect> Table<DB> {
    pub(crate) fn new(pool: Pool<DB>) -> Self {
        let name = TableName::default();
        Self {
            pool,
            sql: Arc::new(DB::statements(&name)),
            name,
            deadline: Arc::new(AtomicU64::new(u64::MAX)),
            #[cfg(feature = "test-util")]
            clock: None,
        }
    }

    pub(crate) fn named(self, name: TableName) -> Self {
        Self { sql: Arc::new(DB::statements(&name)), name, ..self }
    }

    #[cfg(feature = "test-util")]
    pub(crate) fn clock(self, clock: tower_session_timeout::ManualClock) -> Self {
        Self { clock: Some(clock), ..self }
    }

    #[cfg(feature = "test-util")]
    fn set_clock(&self) -> Option<Duration> {
        self.clock.as_ref().map(tower_session_timeout::Clock::now)
    }

    #[cfg(not(feature = "test-util"))]
    #[expect(clippy::unused_self, reason = "only tests set a clock")]
    fn set_clock(&self) -> Option<Duration> {
        None
    }

    pub(crate) async fn migrate(&self) -> Result<(), StoreError> {
        self.ask(|connection| DB::migrate(connection, &self.name)).await.map_err(Trouble::told).map(drop)
    }

    pub(crate) async fn delete_expired(&self, limit: u32) -> Result<u64, StoreError> {
        let deleted =
            self.ask(|connection| DB::delete_expired(connection, Arc::clone(&self.sql), limit.into())).await;
        Ok(deleted.map_err(Trouble::told)?.answer)
    }

    /// Asks on one of the pool's connections; again, on another, if that one turns out to be of no use, and again if
    /// others were in the way.
    async fn ask<T>(
        &self,
        ask: impl for<'c> Fn(&'c mut DB::Connection) -> Asked<'c, T> + Send + Sync,
    ) -> Result<Answered<T>, Trouble> {
        let began = time::Instant::now();
        let (mut gone, mut pause) = (0, PAUSE);
        loop {
            let trouble = match self.lend().await {
                Ok(mut lent) => match ask(lent.connection()).await {
                    Ok(answer) => {
                        lent.give_back();
                        return Ok(Answered { answer, was_cut_off: gone > 0 });
                    }
                    Err(error) => {
                        let trouble = Trouble::new::<DB>(&error);
                        if trouble.failure == Failure::Gone {
                            lent.discard();
                        } else {
                            lent.give_back();
                        }
                        trouble
                    }
                },
                Err(trouble) => trouble,
            };
            match trouble.failure {
                // Of a pool, all may be.
                Failure::Gone if gone <= self.pool.options().get_max_connections() => gone += 1,
                Failure::Busy if began.elapsed() < self.patience().min(LONGEST) => {
                    time::sleep(pause).await;
                    pause = (pause + PAUSE).min(LONGEST_PAUSE);
                }
                _ => return Err(trouble),
            }
        }
    }

    /// So that who waits hears in time why it did not work.
    fn patience(&self) -> Duration {
        Duration::from_nanos(self.deadline.load(Relaxed)) / 5 * 4
    }

    async fn lend(&self) -> Result<Lent<DB>, Trouble> {
        match time::timeout(self.patience(), self.pool.acquire()).await {
            Ok(Ok(connection)) => Ok(Lent(Some(connection))),
            Ok(Err(sqlx::Error::PoolTimedOut)) | Err(_) => {
                let all = self.pool.options().get_max_connections();
                Err(Trouble {
                    failure: Failure::Other,
                    text: format!(
                        "no connection in time: the database is away, or all {all} of the pool are in use \
                         (max_connections)"
                    ),
                })
            }
            Ok(Err(error)) => Err(match Trouble::new::<DB>(&error) {
                // One that cannot be made is none that broke.
                Trouble { failure: Failure::Gone, text } => Trouble { failure: Failure::Other, text },
                trouble => trouble,
            }),
        }
    }
}

struct Answered<T> {
    answer: T,
    /// It was asked before, on a connection that broke: nobody knows what became of that.
    was_cut_off: bool,
}

/// What went wrong, in words that hold neither ids nor records.
struct Trouble {
    failure: Failure,
    text: String,
}

impl Trouble {
    fn new<DB: Dialect>(error: &sqlx::Error) -> Self {
        let failure = Failure::of::<DB>(error);
        let said = says(error);
        let text = match failure {
            Failure::Busy => format!("{said}: {}", DB::ADVICE_IF_BUSY),
            Failure::Full => format!("{said}: there is no room left"),
            Failure::MissingTable => {
                format!("{said}: call `migrate` on the store once, or run the migration it documents")
            }
            Failure::ForeignTable => {
                format!("{said}: the table is not of this store's making; `table` chooses another name")
            }
            Failure::Gone | Failure::Other => said,
        };
        Self { failure, text }
    }

    fn told(self) -> StoreError {
        StoreError::new(self.text)
    }
}

/// Without the detail of a database's error, which may show a row.
fn says(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(error) => match error.code() {
            Some(code) => format!("{} ({code})", error.message()),
            None => error.message().to_owned(),
        },
        sqlx::Error::Protocol(text) => text.clone(),
        other => other.to_string(),
    }
}

/// A connection out of the pool. If nobody waits for its answer any more, it goes back once that has come; and if it does
/// not come, not at all, for others need the place.
struct Lent<DB: sqlx::Database>(Option<PoolConnection<DB>>);

impl<DB: sqlx::Database> Lent<DB> {
    fn connection(&mut self) -> &mut DB::Connection {
        self.0.as_mut().expect("it is taken at the end")
    }

    fn give_back(mut self) {
        drop(self.0.take());
    }

    fn discard(mut self) {
        drop(self.0.take().map(PoolConnection::detach));
    }
}

impl<DB: sqlx::Database> Drop for Lent<DB> {
    fn drop(&mut self) {
        let (Some(mut connection), Ok(runtime)) = (self.0.take(), Handle::try_current()) else { return };
        runtime.spawn(async move {
            if !matches!(time::timeout(PATIENCE, connection.ping()).await, Ok(Ok(()))) {
                drop(connection.detach());
            }
        });
    }
}

fn keys(names: Vec<Vec<u8>>) -> Vec<Key> {
    names.into_iter().filter_map(|name| Some(Key::new(name.try_into().ok()?))).collect()
}

impl<DB: Dialect> Backend for Table<DB> {
    fn load(&self, key: Key) -> BoxFuture<Result<Loaded, StoreError>> {
        let table = self.clone();
        Box::pin(async move {
            let loaded = table.ask(|connection| DB::load(connection, Arc::clone(&table.sql), key)).await;
            let (record, now) = loaded.map_err(Trouble::told)?.answer;
            Ok(Loaded { record, now: table.set_clock().unwrap_or(now) })
        })
    }

    fn swap(&self, mut swap: Swap) -> BoxFuture<Result<Swapped, StoreError>> {
        let table = self.clone();
        Box::pin(async move {
            if let Some(now) = table.set_clock()
                && let Some(latest) = swap.not_after.take()
                && now > latest
            {
                return Ok(Swapped::Lost);
            }
            let swap = Arc::new(swap);
            let swapped =
                table.ask(|connection| DB::swap(connection, Arc::clone(&table.sql), Arc::clone(&swap))).await;
            match swapped {
                Ok(Answered { answer: true, .. }) => Ok(Swapped::Done),
                Ok(Answered { was_cut_off: false, .. }) => Ok(Swapped::Lost),
                // It may have been done before the connection broke.
                Ok(Answered { was_cut_off: true, .. }) => {
                    let is_there = table.load(swap.key).await?.record == swap.record;
                    Ok(if is_there { Swapped::Done } else { Swapped::Lost })
                }
                Err(Trouble { failure: Failure::Full, .. }) => Ok(Swapped::Full),
                Err(trouble) => Err(trouble.told()),
            }
        })
    }

    fn attach(&self, layer: &LayerSettings) {
        let deadline = u64::try_from(layer.deadline.as_nanos()).unwrap_or(u64::MAX);
        self.deadline.fetch_min(deadline, Relaxed);
    }

    /// An entry lasts as long as its session's record, whatever is asked for: it is of no use without.
    fn list(&self, owner: Key, session: Key, _: Option<Duration>) -> BoxFuture<Result<Vec<Key>, StoreError>> {
        let table = self.clone();
        Box::pin(async move {
            let due =
                table.ask(|connection| DB::list(connection, Arc::clone(&table.sql), owner, session)).await;
            Ok(keys(due.map_err(Trouble::told)?.answer))
        })
    }

    fn listed(&self, owner: Key) -> BoxFuture<Result<Vec<Key>, StoreError>> {
        let table = self.clone();
        Box::pin(async move {
            let listed = table.ask(|connection| DB::listed(connection, Arc::clone(&table.sql), owner)).await;
            Ok(keys(listed.map_err(Trouble::told)?.answer))
        })
    }

    fn strike(&self, owner: Key, sessions: Vec<Key>) -> BoxFuture<Result<(), StoreError>> {
        let (table, sessions) = (self.clone(), Arc::<[Key]>::from(sessions));
        Box::pin(async move {
            let struck = table
                .ask(|connection| {
                    DB::strike(connection, Arc::clone(&table.sql), owner, Arc::clone(&sessions))
                })
                .await;
            struck.map_err(Trouble::told).map(drop)
        })
    }
}

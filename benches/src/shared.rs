//! Stores on a network: requests per second with 64 in flight on one connection, beside a bare look-up of the same server.

use std::{
    net::TcpListener,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use redis::aio::MultiplexedConnection;
use tokio::{runtime::Builder, time::sleep};
use tower_session_timeout::{
    Decision, Limits, NewSession, SessionId, Store,
    contract::{Access, Policy},
};
use tower_session_timeout_redis::RedisStore;
use tower_sessions_014::{
    SessionStore,
    session::{Id, Record},
};
use tower_sessions_redis_store::{
    RedisStore as PeerStore,
    fred::prelude::{Builder as Fred, ClientLike, Config},
};

use crate::{measure::median, requests::Rng};

pub(crate) const SESSIONS: u64 = 10_000;
const IN_FLIGHT: u64 = 64;
const ROUND: Duration = Duration::from_millis(500);
pub(crate) const ROUNDS: usize = 5;

struct Server {
    process: Child,
    port: u16,
}

impl Server {
    async fn start() -> Self {
        let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let port = free.expect("a free port").port();
        let process = Command::new("redis-server")
            .args(["--bind", "127.0.0.1", "--save", "", "--port", &port.to_string()])
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server is installed");
        let server = Self { process, port };
        for _ in 0..200 {
            if server.client().get_multiplexed_async_connection().await.is_ok() {
                return server;
            }
            sleep(Duration::from_millis(20)).await;
        }
        panic!("redis-server does not start");
    }

    fn client(&self) -> redis::Client {
        redis::Client::open(format!("redis://127.0.0.1:{}/", self.port)).expect("a URL")
    }

    async fn connect(&self) -> MultiplexedConnection {
        self.client().get_multiplexed_async_connection().await.expect("it answers")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Requests per second.
pub(crate) async fn rate<F>(ask: impl Fn(u64) -> F + Clone + Send + 'static) -> f64
where
    F: Future<Output = bool> + Send,
{
    let answered = Arc::new(AtomicU64::new(0));
    let began = Instant::now();
    let tasks: Vec<_> = (0..IN_FLIGHT)
        .map(|task| {
            let (ask, answered) = (ask.clone(), Arc::clone(&answered));
            tokio::spawn(async move {
                let mut rng = Rng(task);
                while began.elapsed() < ROUND {
                    assert!(ask(rng.next() % SESSIONS).await, "the session is live");
                    answered.fetch_add(1, Relaxed);
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("no panic");
    }
    answered.load(Relaxed) as f64 / began.elapsed().as_secs_f64()
}

pub(crate) fn id(number: u64) -> String {
    format!("0123456789abcdef-{number}")
}

pub fn print() {
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    runtime.block_on(async {
        print_rates().await;
        println!();
        print_memory().await;
    });
}

/// Bytes of the server's memory for each session.
async fn print_memory() {
    let server = Server::start().await;
    let mut connection = server.connect().await;
    let policy = Policy::new(Limits::default());
    let store = RedisStore::new(connection.clone());
    let used = async |connection: &mut MultiplexedConnection| {
        let memory: String =
            redis::cmd("INFO").arg("memory").query_async(connection).await.expect("it answers");
        let used = memory.lines().find_map(|line| line.strip_prefix("used_memory:"));
        used.expect("a number").trim().parse::<f64>().expect("a number")
    };
    let start = async |id: String, new: NewSession| {
        store.start(&SessionId::from(id), &new, &policy).await.expect("it answers");
    };
    println!("{:<56}{:>12}", "Redis, a session", "bytes");
    let mut before = used(&mut connection).await;
    let mut row = async |what: &str| {
        let now = used(&mut connection).await;
        println!("{what:<56}{:>12.0}", (now - before) / SESSIONS as f64);
        before = now;
    };
    for number in 0..SESSIONS {
        start(id(number), NewSession::new()).await;
    }
    row("without an owner").await;
    for number in 0..SESSIONS {
        start(format!("owned-{number}"), NewSession::new().owner(format!("user-{number}"))).await;
    }
    row("with an owner of its own").await;
    for number in 0..SESSIONS {
        let Ok(Decision::Live(live)) =
            store.check(&SessionId::from(id(number)), &policy, Access::Renew).await
        else {
            panic!("it is live")
        };
        let new = SessionId::from(format!("rotated-{number}"));
        store.rotate(live.key, &new, live.presented, &policy).await.expect("it answers");
    }
    row("a further id of it").await;
}

async fn print_rates() {
    let server = Server::start().await;
    let mut connection = server.connect().await;
    let policy = Policy::new(Limits::default());
    let store = RedisStore::new(connection.clone());
    let pool =
        Fred::from_config(Config::from_url(&format!("redis://127.0.0.1:{}/", server.port)).expect("a URL"));
    let pool = pool.build_pool(1).expect("a pool");
    pool.init().await.expect("it answers");
    let peer = PeerStore::new(pool);
    for number in 0..SESSIONS {
        let set =
            redis::cmd("SET").arg(format!("bare:{number}")).arg("0123456789012345678901234567890123").clone();
        set.query_async::<()>(&mut connection).await.expect("it answers");
        store.start(&SessionId::from(id(number)), &NewSession::new(), &policy).await.expect("it answers");
        let mut record = Record {
            id: Id(i128::from(number)),
            data: [("uid".to_owned(), number.into())].into(),
            expiry_date: tower_sessions_014::cookie::time::OffsetDateTime::now_utc()
                + tower_sessions_014::cookie::time::Duration::hours(1),
        };
        peer.create(&mut record).await.expect("it answers");
    }
    let bare = {
        let connection = connection.clone();
        move |number: u64| {
            let mut connection = connection.clone();
            async move {
                let get = redis::cmd("GET").arg(format!("bare:{number}")).clone();
                get.query_async::<Option<Vec<u8>>>(&mut connection).await.is_ok_and(|found| found.is_some())
            }
        }
    };
    let timed = {
        let connection = connection.clone();
        move |number: u64| {
            let mut connection = connection.clone();
            async move {
                let mut pipe = redis::pipe();
                pipe.cmd("GET").arg(format!("bare:{number}")).cmd("TIME");
                pipe.query_async::<(Option<Vec<u8>>, (u64, u64))>(&mut connection)
                    .await
                    .is_ok_and(|(found, _)| found.is_some())
            }
        }
    };
    let ours = {
        let (store, policy) = (store.clone(), policy);
        move |number: u64| {
            let store = store.clone();
            async move {
                let decision = store.check(&SessionId::from(id(number)), &policy, Access::Renew).await;
                matches!(decision, Ok(Decision::Live(_)))
            }
        }
    };
    let peers = move |number: u64| {
        let peer = peer.clone();
        async move {
            let id = Id(i128::from(number));
            let Ok(Some(record)) = peer.load(&id).await else { return false };
            peer.save(&record).await.is_ok()
        }
    };
    let mut rates = [const { Vec::new() }; 4];
    for _ in 0..ROUNDS {
        rates[0].push(rate(bare.clone()).await);
        rates[1].push(rate(timed.clone()).await);
        rates[2].push(rate(ours.clone()).await);
        rates[3].push(rate(peers.clone()).await);
    }
    let [bare, timed, ours, peers] = rates.map(|mut rates| median(&mut rates));
    println!("{:<56}{:>12}{:>12}", "Redis, 64 in flight on one connection", "requests/s", "of GET");
    for (name, rate) in [
        ("GET", bare),
        ("GET and TIME in one pipeline", timed),
        ("RedisStore, within the granularity", ours),
        ("tower-sessions-redis-store, load and save", peers),
    ] {
        println!("{name:<56}{rate:>12.0}{:>12.2}", rate / bare);
    }
}

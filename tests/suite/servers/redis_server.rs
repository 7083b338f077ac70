//! A Redis server of the test's own, on a free loopback port, stopped by its own process id.
#![allow(dead_code, unreachable_pub)]

use std::{
    ffi::OsStr,
    net::{SocketAddr, TcpListener},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use redis::{
    FromRedisValue, RedisResult,
    aio::{ConnectionManager, ConnectionManagerConfig},
};
use tempfile::TempDir;

/// A connection that reconnects. How long it waits for an answer is for others to say.
pub async fn connect(address: SocketAddr) -> ConnectionManager {
    let config =
        ConnectionManagerConfig::new().set_max_delay(Duration::from_millis(50)).set_response_timeout(None);
    let client = redis::Client::open(format!("redis://{address}/")).unwrap();
    client.get_connection_manager_with_config(config).await.unwrap()
}

/// Redis, or what stands in its place: `tests/run valkey` says so.
pub fn program() -> String {
    std::env::var("REDIS_SERVER").unwrap_or_else(|_| "redis-server".to_owned())
}

/// A program that is stopped with the test.
pub struct Process(Child);

impl Process {
    pub fn spawn(program: &str, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        let mut command = Command::new(program);
        command.args(args).stdout(Stdio::null());
        Self(command.spawn().unwrap_or_else(|error| panic!("{program}: {error}")))
    }

    pub fn id(&self) -> u32 {
        self.0.id()
    }

    /// As `kill -9`.
    pub fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub fn local(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

pub fn free_port() -> u16 {
    TcpListener::bind(local(0)).unwrap().local_addr().unwrap().port()
}

/// Sends one command to the server at this address, on a connection of its own.
pub async fn command<T: FromRedisValue>(server: SocketAddr, words: &[&str]) -> RedisResult<T> {
    let client = redis::Client::open(format!("redis://{server}/"))?;
    let mut connection = client.get_multiplexed_async_connection().await?;
    redis::cmd(words[0]).arg(&words[1..]).query_async(&mut connection).await
}

/// How often the server has been asked this, scripts' calls included.
pub async fn calls_of(name: &str, server: SocketAddr) -> u32 {
    let stats: String = command(server, &["INFO", "commandstats"]).await.unwrap();
    let line = stats.lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{name}:calls=")));
    line.map_or(0, |line| line.split(',').next().unwrap().parse().unwrap())
}

/// Waits until this is so.
pub async fn until(what: &str, is_so: impl AsyncFn() -> bool) {
    for _ in 0..1200 {
        if is_so().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("{what}: not within 30 seconds");
}

pub async fn ready(server: SocketAddr) {
    until("the server answers", async || command::<String>(server, &["PING"]).await.is_ok()).await;
}

/// Waits until the one replica of this primary has what was written.
pub async fn replicated(primary: SocketAddr) {
    until("the replica has what was written", async || {
        let info: String = command(primary, &["INFO", "replication"]).await.unwrap();
        let offset = |name: &str| {
            let at = info.find(name)? + name.len();
            info[at..].split(|c: char| !c.is_ascii_digit()).next()
        };
        offset(",offset=").is_some() && offset(",offset=") == offset("master_repl_offset:")
    })
    .await;
}

pub struct RedisServer {
    process: Process,
    port: u16,
    folder: TempDir,
    args: Vec<String>,
}

impl RedisServer {
    pub async fn start(args: &[&str]) -> Self {
        Self::start_at(free_port(), args).await
    }

    pub async fn start_at(port: u16, args: &[&str]) -> Self {
        let folder = TempDir::new().unwrap();
        let args: Vec<String> = args.iter().map(|&arg| arg.to_owned()).collect();
        let process = Self::spawn(port, &folder, &args);
        let server = Self { process, port, folder, args };
        ready(server.address()).await;
        server
    }

    /// A replica of this server, which has all of its data.
    pub async fn replica(&self) -> Self {
        let port = self.port.to_string();
        let replica = Self::start(&["--replicaof", "127.0.0.1", &port]).await;
        replica.follows().await;
        replica
    }

    /// Waits until this replica has all of its primary's data.
    pub async fn follows(&self) {
        until("the replica follows", async || {
            let info = command::<String>(self.address(), &["INFO", "replication"]).await;
            info.is_ok_and(|info| info.contains("master_link_status:up"))
        })
        .await;
    }

    fn spawn(port: u16, folder: &TempDir, args: &[String]) -> Process {
        let (port, folder) = (port.to_string(), folder.path().to_str().unwrap());
        let own = ["--port", &port, "--bind", "127.0.0.1", "--save", "", "--dir", folder];
        // A primary waits for more replicas before it sends them its data.
        let own = own.into_iter().chain(["--repl-diskless-sync-delay", "0"]);
        Process::spawn(&program(), own.chain(args.iter().map(String::as_str)))
    }

    pub fn address(&self) -> SocketAddr {
        local(self.port)
    }

    /// Where its files are.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn client(&self) -> redis::Client {
        redis::Client::open(format!("redis://{}/", self.address())).unwrap()
    }

    pub async fn connect(&self) -> ConnectionManager {
        connect(self.address()).await
    }

    /// As `kill -9`.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    pub fn process_id(&self) -> u32 {
        self.process.id()
    }

    /// On the same port, with the same files.
    pub async fn start_again(&mut self) {
        self.process = Self::spawn(self.port, &self.folder, &self.args);
        ready(self.address()).await;
    }
}

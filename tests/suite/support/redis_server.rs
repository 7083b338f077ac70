//! A Redis server of the test's own, on a free loopback port, stopped by its own process id.
#![allow(dead_code, unreachable_pub)]

use std::{
    net::{SocketAddr, TcpListener},
    process::{Child, Command, Stdio},
    time::Duration,
};

use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use tempfile::TempDir;

/// A connection that reconnects. How long it waits for an answer is for others to say.
pub async fn connect(address: SocketAddr) -> ConnectionManager {
    let config =
        ConnectionManagerConfig::new().set_max_delay(Duration::from_millis(50)).set_response_timeout(None);
    let client = redis::Client::open(format!("redis://{address}/")).unwrap();
    client.get_connection_manager_with_config(config).await.unwrap()
}

pub struct RedisServer {
    child: Child,
    port: u16,
    folder: TempDir,
    args: Vec<String>,
}

impl RedisServer {
    pub async fn start(args: &[&str]) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let folder = TempDir::new().unwrap();
        let args: Vec<String> = args.iter().map(|&arg| arg.to_owned()).collect();
        let child = Self::spawn(port, &folder, &args);
        let server = Self { child, port, folder, args };
        server.ready().await;
        server
    }

    fn spawn(port: u16, folder: &TempDir, args: &[String]) -> Child {
        let port = port.to_string();
        let mut command = Command::new("redis-server");
        command.args(["--port", &port, "--bind", "127.0.0.1", "--save", "", "--dir"]).arg(folder.path());
        command.args(args).stdout(Stdio::null()).spawn().expect("redis-server is installed")
    }

    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    pub fn client(&self) -> redis::Client {
        redis::Client::open(format!("redis://{}/", self.address())).unwrap()
    }

    pub async fn connect(&self) -> ConnectionManager {
        connect(self.address()).await
    }

    async fn ready(&self) {
        for _ in 0..600 {
            if let Ok(mut connection) = self.client().get_multiplexed_async_connection().await
                && redis::cmd("PING").query_async::<String>(&mut connection).await.is_ok()
            {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("redis-server does not answer");
    }

    /// As `kill -9`.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// On the same port, with the same files.
    pub async fn start_again(&mut self) {
        self.child = Self::spawn(self.port, &self.folder, &self.args);
        self.ready().await;
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

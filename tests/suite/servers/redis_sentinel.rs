//! A primary, its replica, and sentinels that watch over them.
#![allow(dead_code, unreachable_pub)]

use std::{fs, net::SocketAddr};

use redis::{
    ConnectionAddr,
    sentinel::{SentinelClient, SentinelClientBuilder, SentinelServerType},
};
use tempfile::TempDir;

use super::redis_server::{Process, RedisServer, command, free_port, local, program, ready, until};
use crate::support::pace;

pub struct Watched {
    pub primary: RedisServer,
    pub replica: RedisServer,
    pub sentinels: Vec<SocketAddr>,
    processes: Vec<Process>,
    _folder: TempDir,
}

impl Watched {
    /// With so many sentinels, of whom most have to agree that a primary is gone.
    pub async fn start(sentinels: usize) -> Self {
        // One that comes back knows what it knew, as the documentation asks for.
        let primary = RedisServer::start(&["--appendonly", "yes"]).await;
        let replica = primary.replica().await;
        let folder = TempDir::new().unwrap();
        let addresses: Vec<_> = (0..sentinels).map(|_| local(free_port())).collect();
        let quorum = sentinels / 2 + 1;
        let start = |address: &SocketAddr| {
            let file = folder.path().join(address.port().to_string());
            let settings = format!(
                "port {}\nbind 127.0.0.1\ndir {}\nsentinel monitor main 127.0.0.1 {} {quorum}\n\
                 sentinel down-after-milliseconds main {}\nsentinel failover-timeout main 2000\n",
                address.port(),
                folder.path().display(),
                primary.address().port(),
                500 * pace(),
            );
            fs::write(&file, settings).unwrap();
            Process::spawn(&program(), [file.to_str().unwrap(), "--sentinel"])
        };
        let processes: Vec<_> = addresses.iter().map(start).collect();
        for &address in &addresses {
            ready(address).await;
            until("the sentinels know of each other and of the replica", async || {
                let others: Vec<redis::Value> =
                    command(address, &["SENTINEL", "SENTINELS", "main"]).await.unwrap();
                let replicas: Vec<redis::Value> =
                    command(address, &["SENTINEL", "REPLICAS", "main"]).await.unwrap();
                others.len() + 1 == sentinels && replicas.len() == 1
            })
            .await;
        }
        Self { primary, replica, sentinels: addresses, processes, _folder: folder }
    }

    /// As `kill -9`.
    pub fn kill_sentinel(&mut self, number: usize) {
        self.processes[number].kill();
    }

    pub fn client(&self) -> SentinelClient {
        let addresses = self.sentinels.iter().map(|at| ConnectionAddr::Tcp(at.ip().to_string(), at.port()));
        SentinelClientBuilder::new(addresses, "main", SentinelServerType::Master).unwrap().build().unwrap()
    }
}

//! A Redis Cluster of three primaries with a replica each.
#![allow(dead_code, unreachable_pub)]

use std::{
    collections::BTreeMap,
    net::{SocketAddr, TcpListener},
};

use rand::RngExt;
use redis::{
    cluster::{ClusterClient, ClusterClientBuilder},
    cluster_async::ClusterConnection,
};
use tokio::process::Command;
use tower_session_timeout_redis::ReconnectingConnection;

use super::redis_server::{RedisServer, command, local, replicated, until};

pub struct RedisCluster {
    pub nodes: Vec<RedisServer>,
}

/// A node, as `CLUSTER NODES` has it.
pub struct Node {
    pub id: String,
    pub port: u16,
    pub is_primary: bool,
    pub slots: String,
}

impl RedisCluster {
    pub async fn start() -> Self {
        let mut nodes = Vec::new();
        for _ in 0..6 {
            let args = ["--cluster-enabled", "yes", "--cluster-node-timeout", "1000"];
            nodes.push(RedisServer::start_at(free_ports(), &args).await);
        }
        let cluster = Self { nodes };
        let mut create: Vec<_> = ["--cluster", "create"].map(str::to_owned).into();
        create.extend(cluster.nodes.iter().map(|node| node.address().to_string()));
        create.extend(["--cluster-replicas", "1", "--cluster-yes"].map(str::to_owned));
        redis_cli(&create).await;
        until("the cluster is there", async || {
            for node in &cluster.nodes {
                let info: String = command(node.address(), &["CLUSTER", "INFO"]).await.unwrap();
                let role: Vec<redis::Value> = command(node.address(), &["ROLE"]).await.unwrap();
                let roles: Vec<_> = cluster.map_by(node.address()).await;
                let primaries = roles.iter().filter(|node| node.is_primary).count();
                let follows = role.get(3).is_none_or(|link| *link == bulk("connected"));
                if !info.contains("cluster_state:ok") || primaries != 3 || roles.len() != 6 || !follows {
                    return false;
                }
            }
            true
        })
        .await;
        cluster
    }

    /// The nodes as this one sees them, without those that failed.
    pub async fn map_by(&self, node: SocketAddr) -> Vec<Node> {
        let nodes: String = command(node, &["CLUSTER", "NODES"]).await.unwrap();
        let parse = |line: &str| {
            let words: Vec<&str> = line.split(' ').collect();
            let port = words[1].split([':', '@']).nth(1).unwrap().parse().unwrap();
            let is_primary = words[2].contains("master");
            let slots = words.get(8).copied().unwrap_or_default().to_owned();
            (!words[2].contains("fail")).then(|| Node { id: words[0].to_owned(), port, is_primary, slots })
        };
        nodes.lines().filter_map(parse).collect()
    }

    pub async fn primaries(&self) -> Vec<Node> {
        let nodes = self.map_by(self.nodes[0].address()).await;
        nodes.into_iter().filter(|node| node.is_primary).collect()
    }

    /// Who has which slots, as this node sees it.
    async fn slots_by(&self, node: SocketAddr) -> BTreeMap<String, String> {
        let nodes = self.map_by(node).await;
        nodes.into_iter().filter(|node| node.is_primary).map(|node| (node.id, node.slots)).collect()
    }

    pub async fn connect(&self) -> ReconnectingConnection<ClusterConnection> {
        let client = self.client();
        let connection = ReconnectingConnection::new(move || {
            let client = client.clone();
            async move { client.get_async_connection().await }
        });
        connection.await.unwrap().concurrency_limit(16)
    }

    fn client(&self) -> ClusterClient {
        let addresses = self.nodes.iter().map(|node| format!("redis://{}/", node.address()));
        ClusterClientBuilder::new(addresses).build().unwrap()
    }

    /// Waits until the replicas have what was written.
    pub async fn replicated(&self) {
        for node in self.primaries().await {
            replicated(local(node.port)).await;
        }
    }

    /// Moves so many slots from one primary to another, with all that is in them, until all nodes know.
    pub async fn reshard(&self, from: &str, to: &str, slots: u32) {
        let before = self.slots_by(self.nodes[0].address()).await;
        let (any, slots) = (self.nodes[0].address().to_string(), slots.to_string());
        let words = ["--cluster", "reshard", &any, "--cluster-from", from, "--cluster-to", to];
        let more = ["--cluster-slots", &slots, "--cluster-yes"];
        redis_cli(&words.into_iter().chain(more).map(str::to_owned).collect::<Vec<_>>()).await;
        let after = self.slots_by(self.nodes[0].address()).await;
        assert_ne!(before, after);
        until("all nodes know of it", async || {
            for node in &self.nodes {
                if self.slots_by(node.address()).await != after {
                    return false;
                }
            }
            true
        })
        .await;
    }
}

fn bulk(text: &str) -> redis::Value {
    redis::Value::BulkString(text.as_bytes().to_vec())
}

async fn redis_cli(words: &[String]) {
    let output = Command::new("redis-cli").args(words).output().await.expect("redis-cli is installed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

/// One for the clients and, 10,000 further, one for the other nodes; out of the range from which the system gives ports to
/// others meanwhile.
fn free_ports() -> u16 {
    loop {
        let port = rand::rng().random_range(12_000..22_000);
        if [port, port + 10_000].into_iter().all(|port| TcpListener::bind(local(port)).is_ok()) {
            return port;
        }
    }
}

//! Redis servers of the tests' own: one, a cluster, or a group that sentinels watch over.

pub mod redis_cluster;
pub mod redis_sentinel;
pub mod redis_server;

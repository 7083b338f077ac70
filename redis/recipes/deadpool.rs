use std::io;

use deadpool_redis::{Pool, PoolError};
use redis::{Cmd, Pipeline, RedisError, RedisFuture, RedisResult, Value, aio::ConnectionLike};

/// For each command, a connection out of the pool.
#[derive(Clone)]
pub struct Pooled(pub Pool);

impl Pooled {
    async fn connection(&self) -> RedisResult<deadpool_redis::Connection> {
        self.0.get().await.map_err(|error| match error {
            PoolError::Backend(error) => error,
            PoolError::Timeout(_) => io::Error::from(io::ErrorKind::TimedOut).into(),
            other => RedisError::from(io::Error::other(other)),
        })
    }
}

impl ConnectionLike for Pooled {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        Box::pin(async move { self.connection().await?.req_packed_command(cmd).await })
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        Box::pin(async move { self.connection().await?.req_packed_commands(pipeline, offset, count).await })
    }

    fn get_db(&self) -> i64 {
        0 // the one in the pool's URL
    }
}

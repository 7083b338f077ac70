use std::io;

use bb8_redis::{
    RedisConnectionManager,
    bb8::{Pool, PooledConnection, RunError},
};
use redis::{Cmd, Pipeline, RedisFuture, RedisResult, Value, aio::ConnectionLike};

/// For each command, a connection out of the pool.
#[derive(Clone)]
pub struct Pooled(pub Pool<RedisConnectionManager>);

impl Pooled {
    async fn connection(&self) -> RedisResult<PooledConnection<'_, RedisConnectionManager>> {
        self.0.get().await.map_err(|error| match error {
            RunError::User(error) => error,
            RunError::TimedOut => io::Error::from(io::ErrorKind::TimedOut).into(),
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

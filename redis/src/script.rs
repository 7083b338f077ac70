//! The scripts, and how one is called: by its hash, and in full where the server does not know it.

use std::sync::{
    LazyLock,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use redis::{ErrorKind, FromRedisValue, RedisResult, ServerErrorKind, aio::ConnectionLike};

pub(crate) static SWAP: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("swap.lua")));
/// The same, on a server whose memory is full as well: for all but what begins a session.
pub(crate) static SWAP_WHEN_FULL: LazyLock<Script> =
    LazyLock::new(|| Script::new(concat!("#!lua flags=allow-oom\n", include_str!("swap.lua"))));
pub(crate) static LIST: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("list.lua")));
pub(crate) static EVICTS: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("evicts.lua")));

pub(crate) struct Script {
    code: String,
    hash: String,
}

impl Script {
    fn new(code: &str) -> Self {
        Self { code: code.to_owned(), hash: redis::Script::new(code).get_hash().to_owned() }
    }

    /// One round trip; one more where the server has forgotten the script.
    pub(crate) async fn call<T: FromRedisValue>(
        &self,
        connection: &mut impl ConnectionLike,
        key: &str,
        args: &[&[u8]],
    ) -> RedisResult<T> {
        let command = |name: &str, script: &str| {
            let mut command = redis::cmd(name);
            command.arg(script).arg(1).arg(key).arg(args);
            command
        };
        match command("EVALSHA", &self.hash).query_async(connection).await {
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                command("EVAL", &self.code).query_async(connection).await
            }
            answer => answer,
        }
    }
}

/// Before version 7, servers know no flags of scripts.
#[derive(Debug, Default)]
pub(crate) struct Flags {
    are_unknown: AtomicBool,
}

impl Flags {
    pub(crate) async fn swap_when_full<T: FromRedisValue>(
        &self,
        connection: &mut impl ConnectionLike,
        key: &str,
        args: &[&[u8]],
    ) -> RedisResult<T> {
        if !self.are_unknown.load(Relaxed) {
            match SWAP_WHEN_FULL.call(connection, key, args).await {
                Err(error) if error.to_string().contains("compiling script") => {
                    self.are_unknown.store(true, Relaxed);
                }
                answer => return answer,
            }
        }
        SWAP.call(connection, key, args).await
    }
}

//! The scripts, and how one is called: by its hash, and in full where the server does not know it.

use std::sync::LazyLock;

use redis::{ErrorKind, ServerErrorKind, aio::ConnectionLike};

pub(super) struct Script {
    code: String,
    hash: String,
}

/// A script, by the server's clock or, in tests, by one that is set.
pub(super) struct Clocked {
    by_server: LazyLock<Script>,
    #[cfg(feature = "test-util")]
    by_caller: LazyLock<Script>,
}

macro_rules! script {
    ($($part:literal),+) => {
        Clocked {
            by_server: LazyLock::new(|| Script::new(concat!(include_str!("clock.lua"), $(include_str!($part)),+))),
            #[cfg(feature = "test-util")]
            by_caller: LazyLock::new(|| {
                Script::new(concat!("local now = tonumber(table.remove(ARGV))\n", $(include_str!($part)),+))
            }),
        }
    };
}

pub(super) static CHECK: Clocked = script!("record.lua", "check.lua");
pub(super) static START: Clocked = script!("record.lua", "start.lua");
pub(super) static PLACE: Clocked = script!("record.lua", "place.lua");
pub(super) static JOIN: Clocked = script!("record.lua", "join.lua");
pub(super) static LEAVE: Clocked = script!("record.lua", "leave.lua");
pub(super) static UNLEAD: Clocked = script!("record.lua", "unlead.lua");
pub(super) static RESTART: Clocked = script!("record.lua", "restart.lua");
pub(super) static END: Clocked = script!("record.lua", "end.lua");
pub(super) static OWNER: Clocked = script!("owner.lua");

impl Script {
    fn new(code: &str) -> Self {
        Self { code: code.to_owned(), hash: redis::Script::new(code).get_hash().to_owned() }
    }
}

impl Clocked {
    /// One round trip; one more where the server has forgotten the script. `now` is a test's clock.
    pub(super) async fn call(
        &self,
        connection: &mut impl ConnectionLike,
        key: &str,
        args: &[String],
        now: Option<u64>,
    ) -> redis::RedisResult<Vec<String>> {
        #[cfg(feature = "test-util")]
        let script = if now.is_some() { &self.by_caller } else { &self.by_server };
        #[cfg(not(feature = "test-util"))]
        let script = &self.by_server;
        let command = |name: &str, script: &str| {
            let mut command = redis::cmd(name);
            command.arg(script).arg(1).arg(key).arg(args);
            if let Some(now) = now {
                command.arg(now);
            }
            command
        };
        match command("EVALSHA", &script.hash).query_async(connection).await {
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                command("EVAL", &script.code).query_async(connection).await
            }
            answer => answer,
        }
    }
}

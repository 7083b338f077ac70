use std::io;

use fred::{
    clients::Pool,
    error::Error,
    interfaces::ClientLike,
    types::{ClusterHash, CustomCommand, Resp3Frame, Value as Word},
};
use redis::{Arg, Cmd, Pipeline, RedisFuture, RedisResult, Value, aio::ConnectionLike, parse_redis_value};

/// Each command goes to the next client of the pool.
#[derive(Clone)]
pub struct Pooled(pub Pool);

impl Pooled {
    async fn ask(&self, cmd: &Cmd) -> RedisResult<Value> {
        let mut words = cmd.args_iter().map(|word| match word {
            Arg::Simple(word) => word,
            _ => b"0", // a cursor; the store has none
        });
        let name = String::from_utf8_lossy(words.next().unwrap_or_default()).into_owned();
        let command = CustomCommand::new(name, ClusterHash::FirstKey, false);
        let words: Vec<Word> = words.map(|word| Word::Bytes(word.to_vec().into())).collect();
        value(
            self.0
                .custom_raw(command, words)
                .await
                .map_err(|error: Error| io::Error::other(error.to_string()))?,
        )
    }
}

fn value(answer: Resp3Frame) -> RedisResult<Value> {
    Ok(match answer {
        Resp3Frame::BlobString { data, .. } => Value::BulkString(data.to_vec()),
        Resp3Frame::SimpleString { data, .. } => {
            Value::SimpleString(String::from_utf8_lossy(&data).into_owned())
        }
        Resp3Frame::Number { data, .. } => Value::Int(data),
        Resp3Frame::Array { data, .. } => {
            Value::Array(data.into_iter().map(value).collect::<Result<_, _>>()?)
        }
        Resp3Frame::Null => Value::Nil,
        Resp3Frame::SimpleError { data, .. } => {
            parse_redis_value(format!("-{data}\r\n").as_bytes())?.extract_error()?
        }
        _ => return Err(io::Error::other("no answer that the store asks for").into()),
    })
}

impl ConnectionLike for Pooled {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        Box::pin(self.ask(cmd))
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        Box::pin(async move {
            let mut answers = Vec::new();
            for cmd in pipeline.cmd_iter() {
                answers.push(self.ask(cmd).await?);
            }
            Ok(answers.into_iter().skip(offset).take(count).collect())
        })
    }

    fn get_db(&self) -> i64 {
        0 // the one in the pool's configuration
    }
}

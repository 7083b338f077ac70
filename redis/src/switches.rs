//! What a sentinel tells of primaries that were replaced.

use std::{collections::HashMap, time::Duration};

use futures_util::StreamExt;
use redis::{
    Client, ConnectionAddr, ProtocolVersion, RedisResult, Value,
    aio::{PubSubSink, PubSubStream},
};
use tokio::time::timeout;

use crate::reconnecting::CONNECTING;

/// How often to make sure that a sentinel is there which says nothing.
const CHECK: Duration = Duration::from_secs(10);

/// Another server is the primary.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Switch {
    pub(crate) from: Host,
    pub(crate) to: Host,
}

impl Switch {
    /// `+switch-master`: the primary's name, where it was, and where it is.
    fn read(message: &str) -> Option<Self> {
        let mut words = message.split(' ').skip(1);
        let from = Host::read(words.next()?, words.next()?)?;
        let to = Host::read(words.next()?, words.next()?)?;
        Some(Self { from, to })
    }
}

/// A server as sentinels call it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Host {
    name: String,
    port: u16,
}

impl Host {
    fn read(name: &str, port: &str) -> Option<Self> {
        Some(Self { name: name.to_owned(), port: port.parse().ok()? })
    }

    fn of(address: &ConnectionAddr) -> Option<Self> {
        match address {
            ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => {
                Some(Self { name: host.clone(), port: *port })
            }
            _ => None,
        }
    }

    /// Its address, if it is reached as another one is.
    pub(crate) fn reached_as(&self, other: &ConnectionAddr) -> Option<ConnectionAddr> {
        let (host, port) = (self.name.clone(), self.port);
        match other {
            ConnectionAddr::Tcp(..) => Some(ConnectionAddr::Tcp(host, port)),
            ConnectionAddr::TcpTls { insecure, tls_params, .. } => Some(ConnectionAddr::TcpTls {
                host,
                port,
                insecure: *insecure,
                tls_params: tls_params.clone(),
            }),
            _ => None,
        }
    }
}

/// What one sentinel says, whichever that is at the moment.
#[derive(Default)]
pub(crate) struct Switches {
    sentinel: Option<Client>,
    heard: Option<Heard>,
    primaries: Vec<Primary>,
    /// The name of our primary, and the latest of its configurations that is known.
    ours: Option<(String, u64)>,
}

struct Heard {
    sink: PubSubSink,
    stream: PubSubStream,
}

/// One that a sentinel watches over.
struct Primary {
    name: String,
    host: Host,
    epoch: u64,
}

impl Primary {
    fn read(fields: &HashMap<String, String>) -> Option<Self> {
        Some(Self {
            name: fields.get("name")?.clone(),
            host: Host::read(fields.get("ip")?, fields.get("port")?)?,
            epoch: fields.get("config-epoch")?.parse().ok()?,
        })
    }
}

impl Switches {
    pub(crate) async fn listen_again(&mut self) -> bool {
        match self.sentinel.clone() {
            Some(sentinel) => self.listen_to(sentinel).await,
            None => false,
        }
    }

    pub(crate) async fn listen_to(&mut self, sentinel: Client) -> bool {
        let Ok(Ok((heard, primaries))) = timeout(CONNECTING, listen(&sentinel)).await else { return false };
        self.sentinel = Some(sentinel);
        self.heard = Some(heard);
        self.primaries = primaries;
        true
    }

    /// What was told while nobody listened. A sentinel that was away itself may know less than is known here.
    pub(crate) fn missed(&mut self, present: &ConnectionAddr) -> Option<Switch> {
        let present = Host::of(present)?;
        let primaries = std::mem::take(&mut self.primaries);
        if let Some(ours) = primaries.iter().find(|primary| primary.host == present) {
            self.ours = Some((ours.name.clone(), ours.epoch));
            return None;
        }
        let (name, epoch) = self.ours.as_ref()?;
        let ours = primaries.into_iter().find(|primary| primary.name == *name && primary.epoch > *epoch)?;
        Some(Switch { from: present, to: ours.host })
    }

    /// The next one; none if the sentinel is gone.
    pub(crate) async fn next(&mut self) -> Option<Switch> {
        let heard = self.heard.as_mut()?;
        loop {
            match timeout(CHECK, heard.stream.next()).await {
                Ok(Some(message)) => {
                    let message = message.get_payload::<String>().ok();
                    if let Some(switch) = message.as_deref().and_then(Switch::read) {
                        return Some(switch);
                    }
                }
                // Its machine may have gone down without a word.
                Err(_) if matches!(timeout(CONNECTING, heard.sink.ping::<Value>()).await, Ok(Ok(_))) => {}
                Ok(None) | Err(_) => {
                    self.heard = None;
                    return None;
                }
            }
        }
    }
}

async fn listen(sentinel: &Client) -> RedisResult<(Heard, Vec<Primary>)> {
    let info = sentinel.get_connection_info();
    let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP2);
    let listened = Client::open(info.clone().set_redis_settings(settings))?.get_async_pubsub().await?;
    let (mut sink, stream) = listened.split();
    sink.subscribe("+switch-master").await?;
    // Asked after that: what is told meanwhile is heard.
    let mut asked = sentinel.get_multiplexed_async_connection().await?;
    let primaries: Vec<HashMap<String, String>> =
        redis::cmd("SENTINEL").arg("MASTERS").query_async(&mut asked).await?;
    Ok((Heard { sink, stream }, primaries.iter().filter_map(Primary::read).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(name: &str, port: u16) -> Host {
        Host { name: name.to_owned(), port }
    }

    fn knows(primaries: &[(&str, u16, u64)]) -> Vec<Primary> {
        let primary = |&(name, port, epoch): &(&str, u16, u64)| Primary {
            name: name.to_owned(),
            host: host("10.0.0.1", port),
            epoch,
        };
        primaries.iter().map(primary).collect()
    }

    #[test]
    fn a_message_says_where_the_primary_was_and_where_it_is() {
        let switch = Switch { from: host("10.0.0.1", 6379), to: host("::1", 6380) };
        assert_eq!(Switch::read("main 10.0.0.1 6379 ::1 6380"), Some(switch));
        for message in ["", "main", "main 10.0.0.1 6379 ::1", "main 10.0.0.1 6379 ::1 99999"] {
            assert_eq!(Switch::read(message), None, "{message}");
        }
    }

    #[test]
    fn a_switch_that_was_missed_is_made_up_for_if_the_sentinel_knows_more() {
        let at = |port| ConnectionAddr::Tcp("10.0.0.1".to_owned(), port);
        let mut switches = Switches::default();
        let mut missed = |primaries: &[(&str, u16, u64)], present| {
            switches.primaries = knows(primaries);
            switches.missed(&at(present)).map(|switch| switch.to.port)
        };
        assert_eq!(missed(&[("main", 2, 9)], 1), None, "who knows whether that is ours");
        assert_eq!(missed(&[("other", 5, 9), ("main", 1, 3)], 1), None);
        assert_eq!(missed(&[("other", 5, 9), ("main", 2, 4)], 1), Some(2));
        assert_eq!(missed(&[("main", 2, 4)], 2), None);
        assert_eq!(missed(&[("main", 1, 3)], 2), None, "it was away itself");
        assert_eq!(missed(&[("other", 5, 9)], 2), None);
    }
}

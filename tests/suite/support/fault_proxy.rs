//! What can go wrong between a client and its server, at will: a proxy on a free loopback port.
#![allow(dead_code, unreachable_pub)]

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    select,
    sync::watch,
    task::JoinHandle,
    time::timeout,
};

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    None,
    /// Whatever passes is late by this, each way.
    Delay(Duration),
    /// Connections are reset, and new ones, too.
    Cut,
    /// Connections are accepted, and nothing comes back. Once that is over, the host knows nothing of them, and resets
    /// them.
    HalfOpen,
    /// As `HalfOpen`, but nobody resets them: they stay as they are.
    Silent,
    /// Of each answer the first half comes, and then the connection's end.
    Truncate,
}

pub struct FaultProxy {
    address: SocketAddr,
    fault: watch::Sender<Fault>,
    accepting: JoinHandle<()>,
}

impl FaultProxy {
    pub async fn before(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (fault, now) = watch::channel(Fault::None);
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let now = now.clone();
                tokio::spawn(async move {
                    client.set_zero_linger().unwrap();
                    carry(client, server, now).await;
                });
            }
        });
        Self { address, fault, accepting }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on, for connections there are as well as for new ones.
    pub fn set(&self, fault: Fault) {
        self.fault.send_replace(fault);
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Carries what is sent, until either side is done or a fault ends it; the connection is reset then.
async fn carry(mut client: TcpStream, server: SocketAddr, mut fault: watch::Receiver<Fault>) -> Option<()> {
    let mut server = TcpStream::connect(server).await.ok()?;
    let (mut question, mut answer) = (vec![0; 16 * 1024], vec![0; 16 * 1024]);
    let (mut is_forgotten, mut is_silent) = (false, false);
    loop {
        let now = *fault.borrow_and_update();
        is_forgotten |= now == Fault::HalfOpen;
        is_silent |= now == Fault::Silent;
        if now == Fault::Cut || (is_forgotten && now != Fault::HalfOpen) {
            return None;
        }
        let (is_answer, length) = select! {
            length = client.read(&mut question) => (false, length.ok()?),
            length = server.read(&mut answer) => (true, length.ok()?),
            changed = fault.changed() => {
                changed.ok()?;
                continue;
            }
        };
        if length == 0 {
            return None;
        }
        let now = *fault.borrow();
        match now {
            _ if is_silent => continue,
            Fault::HalfOpen | Fault::Silent => continue,
            Fault::Truncate if is_answer => {
                client.write_all(&answer[..length / 2]).await.ok()?;
                // Not reset: what has come is to be read.
                client.shutdown().await.ok()?;
                return timeout(Duration::from_secs(1), client.read(&mut question)).await.ok().map(drop);
            }
            Fault::Delay(by) => drop(timeout(by, fault.changed()).await),
            Fault::None | Fault::Truncate | Fault::Cut => {}
        }
        if is_answer {
            client.write_all(&answer[..length]).await.ok()?;
        } else {
            server.write_all(&question[..length]).await.ok()?;
        }
    }
}

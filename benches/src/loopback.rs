//! CPU time of an axum server for one request over loopback: of its one thread, the kernel's work for it included.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::mpsc,
    thread,
};

use axum::{Router, routing::get};
use rustix::time::{ClockId, clock_gettime};
use tokio::{net::TcpListener, runtime::Builder};
use tower::layer::util::Identity;
use tower_session_timeout::SessionTimeoutBuilder;

use crate::{
    cases::{layer, live},
    measure::median,
    requests::{Requests, Rng},
};

const SESSIONS: u64 = 10_000;
/// Keep-alive connections, each with one request under way.
const CONNECTIONS: usize = 32;
const TURNS: usize = 1_000;
const ROUNDS: usize = 15;

/// Nanoseconds that the thread which asks has had.
fn thread_nanos() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let (seconds, nanos) = (u64::try_from(time.tv_sec), u64::try_from(time.tv_nsec));
    seconds.unwrap_or_default() * 1_000_000_000 + nanos.unwrap_or_default()
}

/// A server of one thread, which the process' end stops.
fn serve(add_layer: impl FnOnce(Router) -> Router + Send + 'static) -> SocketAddr {
    let (tell, told) = mpsc::channel();
    thread::spawn(move || {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let app = add_layer(Router::new().route("/", get(async || "hello")))
                .route("/spent", get(async || format!("{:020}", thread_nanos())));
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
            tell.send(listener.local_addr().expect("an address")).expect("somebody waits");
            axum::serve(listener, app).await.expect("it serves");
        });
    });
    told.recv().expect("the server starts")
}

struct Client {
    connections: Vec<TcpStream>,
    requests: Vec<String>,
    rng: Rng,
}

impl Client {
    fn of(server: SocketAddr) -> Self {
        let connect = |_| {
            let connection = TcpStream::connect(server).expect("the server listens");
            connection.set_nodelay(true).expect("a socket");
            connection
        };
        let requests = Requests::new(live(SESSIONS));
        Self {
            connections: (0..CONNECTIONS).map(connect).collect(),
            requests: requests.on_the_wire("/").collect(),
            rng: Rng(7),
        }
    }

    fn ask(connection: &mut TcpStream, request: &str) {
        connection.write_all(request.as_bytes()).expect("the server reads");
    }

    /// The body of an answer that comes in one piece.
    fn answer(connection: &mut TcpStream) -> String {
        let mut buffer = [0; 1024];
        let length = connection.read(&mut buffer).expect("the server answers");
        let answer = str::from_utf8(&buffer[..length]).expect("text");
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        answer.split_once("\r\n\r\n").expect("a body").1.to_owned()
    }

    fn spent(&mut self) -> u64 {
        Self::ask(&mut self.connections[0], "GET /spent HTTP/1.1\r\nHost: localhost\r\n\r\n");
        Self::answer(&mut self.connections[0]).parse().expect("a number")
    }

    /// Nanoseconds of the server's for each of many requests.
    fn round(&mut self) -> f64 {
        let before = self.spent();
        for _ in 0..TURNS {
            for connection in &mut self.connections {
                Self::ask(connection, &self.requests[self.rng.below(self.requests.len())]);
            }
            for connection in &mut self.connections {
                assert_eq!(Self::answer(connection), "hello");
            }
        }
        (self.spent() - before) as f64 / (TURNS * CONNECTIONS) as f64
    }
}

pub fn print() {
    // axum boxes a route anew for each layer: that is not this layer's cost.
    let bare = "axum with a layer that does nothing";
    let with = |configure: fn(SessionTimeoutBuilder) -> SessionTimeoutBuilder| {
        serve(move |app| app.layer(layer(SESSIONS, configure)))
    };
    let servers = [
        (bare, serve(|app| app.layer(Identity::new()))),
        ("with the layer, without_extension()", with(SessionTimeoutBuilder::without_extension)),
        ("with the layer, with the extension", with(|builder| builder)),
    ];
    let mut clients = servers.map(|(name, server)| (name, Client::of(server), Vec::new()));
    for (_, client, _) in &mut clients {
        client.round();
    }
    for _ in 0..ROUNDS {
        for (_, client, figures) in &mut clients {
            figures.push(client.round());
        }
    }
    println!("{:<40}{:>12}{:>16}", "CPU of an axum server over loopback", "ns", "of the request");
    // Each against its neighbour in the same round: the machine is not equally fast in all.
    let alone = clients[0].2.clone();
    for (name, _, figures) in &mut clients {
        let mut shares: Vec<_> =
            figures.iter().zip(&alone).map(|(with, bare)| (with - bare) / with).collect();
        let share =
            if *name == bare { String::new() } else { format!("{:.1} %", 100.0 * median(&mut shares)) };
        println!("{name:<40}{:>12.0}{share:>16}", median(figures));
    }
}

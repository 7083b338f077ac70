//! Postgres behind a network that fails: T100, T101, T102.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use http::StatusCode;
use sqlx::postgres::PgPoolOptions;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tower_session_timeout::{EndReason, NewSession, SessionId, Started, Store};
use tower_session_timeout_sqlx::PostgresStore;

use crate::{
    both::{is_live, policy, renew, start},
    postgres_server::{PostgresServer, options},
    support::{
        App,
        fault_proxy::{Fault, FaultProxy},
        header, pace, post, set_cookie, set_cookies, sid,
    },
};

pub(crate) async fn until(what: &str, is_so: impl AsyncFn() -> bool) {
    for _ in 0..1200 {
        if is_so().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("{what}: not within 30 seconds");
}

fn deadline() -> Duration {
    Duration::from_secs(1) * pace()
}

async fn survives(fault: Fault) {
    survives_with(PgPoolOptions::new(), fault).await;
}

async fn survives_with(pool: PgPoolOptions, fault: Fault) {
    let server = PostgresServer::start().await;
    let proxy = FaultProxy::before(server.address()).await;
    let pool = pool.max_connections(4).connect_lazy_with(options(proxy.address()));
    let store = PostgresStore::new(pool);
    store.migrate().await.unwrap();
    let app = App::on(store, |builder| builder.store_deadline(deadline()));
    for id in ["live", "over", "leaving"] {
        app.log_in(id).await;
        assert_eq!(app.visit(id).await.status(), StatusCode::OK);
    }
    assert_eq!(app.send(sid(post("/logout"), "over")).await.status(), StatusCode::OK);

    proxy.set(fault);
    let answers = [
        app.visit("live").await,
        app.visit("over").await,
        app.send(set_cookie(post("/login"), "sid=new")).await,
        app.send(sid(post("/logout"), "leaving")).await,
        app.visit("live").await,
    ];
    for answer in &answers {
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE, "neither a log-out nor a hole");
        assert_ne!(header(answer, "retry-after"), "");
        assert_eq!(set_cookies(answer), [""; 0]);
    }

    proxy.set(Fault::None);
    assert_eq!(app.once_available("live").await.status(), StatusCode::OK);
    until("a log-out is not forgotten", async || {
        app.once_available("leaving").await.status() == StatusCode::UNAUTHORIZED
    })
    .await;
    for _ in 0..10 {
        assert_eq!(app.once_available("live").await.status(), StatusCode::OK);
        for id in ["over", "leaving"] {
            assert_eq!(app.once_available(id).await.status(), StatusCode::UNAUTHORIZED, "{id}");
        }
    }
}

#[tokio::test]
async fn a_connection_that_is_cut_makes_503_until_it_is_there_again() {
    survives(Fault::Cut).await;
}

#[tokio::test]
async fn a_server_that_never_answers_makes_503_by_the_deadline() {
    survives(Fault::HalfOpen).await;
}

/// Nobody will ever say that the connections are gone.
#[tokio::test]
async fn connections_that_fell_silent_are_left_for_others() {
    survives(Fault::Silent).await;
    // The pool does not look before it lends one.
    survives_with(PgPoolOptions::new().test_before_acquire(false), Fault::Silent).await;
}

#[tokio::test]
async fn answers_later_than_the_deadline_make_503() {
    survives(Fault::Delay(3 * deadline())).await;
}

#[tokio::test]
async fn answers_that_break_off_make_503() {
    survives(Fault::Truncate).await;
}

/// A proxy that loses one answer: the next that says this, and its connection with it.
async fn losing(server: SocketAddr) -> (SocketAddr, Arc<Mutex<Option<&'static str>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, lost) = (listener.local_addr().unwrap(), Arc::new(Mutex::new(None)));
    let next = Arc::clone(&lost);
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let next: Arc<Mutex<Option<&'static str>>> = Arc::clone(&next);
            tokio::spawn(async move {
                let mut server = TcpStream::connect(server).await.unwrap();
                let (mut question, mut answer) = (vec![0; 16 * 1024], vec![0; 16 * 1024]);
                loop {
                    tokio::select! {
                        Ok(length @ 1..) = client.read(&mut question) => {
                            server.write_all(&question[..length]).await.unwrap();
                        }
                        Ok(length @ 1..) = server.read(&mut answer) => {
                            let says = |tag: &str| answer[..length].windows(tag.len()).any(|part| part == tag.as_bytes());
                            if next.lock().unwrap().take_if(|tag| says(tag)).is_some() {
                                return;
                            }
                            if client.write_all(&answer[..length]).await.is_err() {
                                return;
                            }
                        }
                        else => return,
                    }
                }
            });
        }
    });
    (address, lost)
}

/// Nobody knows then whether it was written, until somebody looks.
#[tokio::test]
async fn what_was_written_counts_though_its_confirmation_was_lost() {
    let server = PostgresServer::shared().await;
    let (address, lost) = losing(server.address()).await;
    let pool = PgPoolOptions::new().max_connections(2).connect_lazy_with(options(address));
    let store = PostgresStore::new(pool).table("confirmations").unwrap().granularity(Duration::ZERO);
    store.migrate().await.unwrap();
    let lose_next = |tag| *lost.lock().unwrap() = Some(tag);
    let is_lost = || lost.lock().unwrap().is_none();
    lose_next("INSERT 0 1");
    let Started::New(key) = start(&store, "A").await else { panic!("it is this log-in's") };
    assert!(is_lost());
    lose_next("UPDATE 1");
    let live = renew(&store, "A").await.unwrap();
    assert!(is_lost());
    lose_next("UPDATE 1");
    assert!(store.rotate(live.key, &SessionId::from("B"), live.presented, &policy()).await.is_ok());
    assert!(is_lost() && is_live(&store, "B").await);
    lose_next("UPDATE 1");
    assert!(store.end(key, EndReason::SignedOut).await.unwrap(), "it is this log-out's");
    assert!(is_lost());
    lose_next("INSERT 0 1");
    let new = NewSession::new().owner("alice");
    assert!(matches!(store.start(&SessionId::from("C"), &new, &policy()).await.unwrap(), Started::New(_)));
    assert!(is_lost());
    assert_eq!(store.end_all(&"alice".into(), None).await.unwrap(), 1);
}

//! Postgres behind a network that fails: T100, T101, T102.

use std::time::Duration;

use http::StatusCode;
use sqlx::postgres::PgPoolOptions;
use tower_session_timeout_sqlx::PostgresStore;

use crate::{
    fault_proxy::{Fault, FaultProxy},
    postgres_server::{PostgresServer, options},
    support::{App, header, pace, post, set_cookie, set_cookies, sid},
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
    Duration::from_millis(400) * pace()
}

async fn survives(fault: Fault) {
    let server = PostgresServer::start().await;
    let proxy = FaultProxy::before(server.address()).await;
    let pool = PgPoolOptions::new().max_connections(4).connect_lazy_with(options(proxy.address()));
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
}

#[tokio::test]
async fn answers_later_than_the_deadline_make_503() {
    survives(Fault::Delay(3 * deadline())).await;
}

#[tokio::test]
async fn answers_that_break_off_make_503() {
    survives(Fault::Truncate).await;
}

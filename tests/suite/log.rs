//! What operators read in the log (feature `tracing`).
#![cfg(feature = "tracing")]

use std::sync::Arc;

use crate::support::{self, App, get, log::Log, sid};
use tower_session_timeout::{FromExtension, ManualClock, SessionId, SessionTimeoutLayer};

#[tokio::test]
async fn a_log_in_route_outside_the_layer_is_hinted_at_once() {
    let (log, _guard) = Log::listen();
    let app = App::new();
    for _ in 0..3 {
        app.send(sid(get("/account", &[]), "A")).await;
    }
    assert_eq!(log.lines_with("is the log-in route inside the timeout layer?"), 1);
}

#[tokio::test]
async fn once_a_session_has_begun_there_is_no_such_hint() {
    let (log, _guard) = Log::listen();
    let app = App::new();
    app.log_in("A").await;
    app.send(sid(get("/account", &[]), "B")).await;
    assert_eq!(log.lines_with("log-in route"), 0);
    assert_eq!(log.lines_with("session started"), 1);
}

#[tokio::test]
async fn chunks_that_are_not_declared_are_hinted_at_once() {
    let (log, _guard) = Log::listen();
    let app = App::new();
    let answer = |cookie| support::set_cookie(support::post("/login"), cookie);
    app.send(answer("sid.0=; Max-Age=0")).await;
    assert_eq!(log.lines_with("cookie_chunks"), 0, "a removal is none");
    for _ in 0..3 {
        app.send(answer("sid.0=A")).await;
    }
    assert_eq!(log.lines_with("call `cookie_chunks`"), 1);
}

/// T33
#[tokio::test]
async fn a_missing_extension_is_told_with_what_to_change() {
    #[derive(Clone)]
    struct Library;
    let (log, _guard) = Log::listen();
    let layer = SessionTimeoutLayer::builder()
        .session_id(FromExtension::new(|_: &Library| None::<SessionId<'_>>))
        .build()
        .unwrap();
    let app = App::around(layer, ManualClock::new(), Arc::default());
    app.send(get("/", &[])).await;
    assert_eq!(log.lines_with("ERROR"), 1);
    assert_eq!(log.lines_with("put the session layer outside the timeout layer"), 1);
}

#[tokio::test]
async fn endings_are_information_and_a_full_store_is_an_error() {
    let (log, _guard) = Log::listen();
    let app = App::with_store(tower_session_timeout::MemoryStore::new().capacity(1), |builder| builder);
    app.log_in("A").await;
    let answer = app.send(sid(get("/account", &[]), "A")).await;
    let tag = support::header(&answer, "x-tag");
    app.send(support::set_cookie(support::post("/login"), "sid=B")).await;
    assert_eq!(log.lines_with("ERROR"), 1);
    assert_eq!(log.lines_with("at capacity"), 1);
    app.advance(support::IDLE);
    app.send(sid(get("/account", &[]), "A")).await;
    let ended = format!(
        "INFO tower_session_timeout::event: session ended session={tag} reason=idle idle_for=900s age=900s"
    );
    assert_eq!(log.lines_with(&ended), 1);
}

/// An id after its grace may have been stolen; made-up ones are noise.
#[tokio::test]
async fn the_use_of_an_old_id_is_information_and_that_of_a_made_up_one_is_not() {
    let (log, _guard) = Log::listen();
    let app = App::with(|builder| builder.rotation_grace(std::time::Duration::ZERO));
    app.log_in("A").await;
    app.send(support::set_cookie(sid(get("/account", &[]), "A"), "sid=B")).await;
    app.send(sid(get("/account", &[]), "B")).await;
    app.send(sid(get("/account", &[]), "made-up")).await;
    assert_eq!(log.lines_with("INFO"), 0);
    app.send(sid(get("/account", &[]), "A")).await;
    assert_eq!(log.lines_with("INFO"), 1);
    assert_eq!(log.lines_with("an old id of a session was used after its grace"), 1);
}

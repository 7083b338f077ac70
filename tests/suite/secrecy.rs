//! I7: the raw session id is in no log, `Debug`, error, event or answer: T150–T153.

use std::{
    fmt::Write as _,
    sync::{Arc, Mutex},
};

use crate::support::{self, App, IDLE, get, log::Log, post, set_cookie, sid};
use tower_session_timeout::{
    ConfigError, NewSession, Owner, RequestHead, SessionId, SessionTimeoutLayer, StoreError,
};

const SECRET: &str = "s3cr3t-session-id";
const OWNER: &str = "alice@example.com";

/// The id, and what it becomes when printed as bytes, hex or base64.
fn forms(secret: &str) -> Vec<String> {
    let bytes = secret.as_bytes();
    let hex: String = bytes.iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").unwrap();
        hex
    });
    let list = format!("{bytes:?}");
    vec![secret.to_owned(), hex.to_uppercase(), hex, list.trim_matches(['[', ']']).to_owned()]
}

#[track_caller]
fn assert_clean(printed: &str) {
    for secret in [SECRET, OWNER] {
        for form in forms(secret) {
            assert!(!printed.contains(&form), "{form} is in {printed}");
        }
    }
}

/// A whole life, with everything printed that can be.
#[tokio::test]
async fn neither_logs_nor_debug_nor_events_nor_answers_show_an_id() {
    let (log, _guard) = Log::listen();
    tracing::info!("the log is read");

    let events = Arc::new(Mutex::new(String::new()));
    let app = {
        let events = Arc::clone(&events);
        App::with(|builder| {
            let builder = builder.on_event(move |event| write!(events.lock().unwrap(), "{event:?}").unwrap());
            assert_clean(&format!("{builder:?}"));
            builder
        })
    };
    let mut printed = String::new();
    let login = support::with(set_cookie(post("/login"), &format!("sid={SECRET}")), "x-login", OWNER);
    app.send(login).await;
    app.send(set_cookie(sid(get("/", &[]), SECRET), &format!("sid={SECRET}-2"))).await;
    let live = app.peek(SECRET).await;
    let sessions = app.layer.sessions();
    let id = SessionId::from(SECRET);
    let new = NewSession::new().owner(OWNER);
    let owner = Owner::from(OWNER);
    write!(printed, "{live:?} {id:?} {owner:?} {new:?} {sessions:?} {:?} {:?}", app.layer, app.store)
        .unwrap();
    app.advance(IDLE);
    for path in ["/account", "/", "/api/me"] {
        let response = app.send(sid(get(path, &[("accept", "text/html")]), SECRET)).await;
        write!(printed, "{:?} {:?}", response.headers(), response.body()).unwrap();
    }
    let duplicates = format!("sid={SECRET}; sid={SECRET}-2; SID={SECRET}");
    let response = app.send(get("/account", &[("cookie", &duplicates)])).await;
    write!(printed, "{response:?}").unwrap();
    let error = sessions.start(&SessionId::from(SECRET.repeat(1000)), &new).await.unwrap_err();
    write!(printed, "{error} {error:?}").unwrap();

    let log = log.text();
    assert!(log.contains("the log is read"));
    #[cfg(feature = "tracing")]
    assert!(log.contains("session ended") && log.contains("idle"), "{log}");
    let events = events.lock().unwrap();
    assert!(events.contains("Started") && events.contains("Ended") && events.contains("Refused"), "{events}");
    assert!(events.contains("Rotated"));
    for text in [&printed, &*events, &log] {
        assert_clean(text);
    }
}

#[tokio::test]
async fn the_request_extension_shows_no_id() {
    let printed = Arc::new(Mutex::new(String::new()));
    let layer = SessionTimeoutLayer::builder().cookie("sid").build().unwrap();
    layer.sessions().start(&SessionId::from(SECRET), &NewSession::new().owner(OWNER)).await.unwrap();
    let service = {
        let printed = Arc::clone(&printed);
        tower::Layer::layer(
            &layer,
            tower::service_fn(move |request: http::Request<http_body_util::Full<bytes::Bytes>>| {
                let session = request.extensions().get::<tower_session_timeout::Session>().unwrap();
                write!(printed.lock().unwrap(), "{session:?} {:?}", request.extensions()).unwrap();
                std::future::ready(Ok::<_, std::convert::Infallible>(http::Response::new(
                    http_body_util::Full::<bytes::Bytes>::default(),
                )))
            }),
        )
    };
    let answer = tower::Service::call(&mut service.clone(), sid(get("/", &[]), SECRET));
    write!(printed.lock().unwrap(), "{answer:?}").unwrap();
    answer.await.unwrap();
    let printed = printed.lock().unwrap();
    assert!(printed.contains("Session"), "{printed}");
    assert_clean(&printed);
}

/// T151: an id is never logged, so it cannot forge a log line either.
#[tokio::test]
async fn a_hostile_id_forges_no_log_line() {
    let (log, _guard) = Log::listen();
    let app = App::new();
    let forged = "\u{1b}[31m ERROR forged";
    let id = SessionId::from(format!("x\r\n{forged}"));
    app.layer.sessions().start(&id, &NewSession::new()).await.unwrap();
    app.layer.sessions().end(&id).await.unwrap();
    assert!(!log.text().contains("forged"));
}

#[test]
fn errors_name_the_trouble_and_nothing_else() {
    let error = StoreError::new("connection refused");
    assert_eq!(error.to_string(), "the session store failed: connection refused");
    assert!(std::error::Error::source(&error).is_some());
    let error: Box<dyn std::error::Error + Send + Sync> = Box::new(ConfigError::NoSessionId);
    assert!(!error.to_string().is_empty());
}

/// What predicates and extractors may print of a request.
#[test]
fn a_printed_request_head_shows_no_value() {
    let request = support::get(
        &format!("/{SECRET}/page?token={SECRET}"),
        &[("cookie", SECRET), ("authorization", SECRET), ("x-session", SECRET)],
    );
    let printed = format!("{0:?} {0:#?}", RequestHead::of(&request));
    assert_clean(&printed);
    assert!(printed.contains("GET") && printed.contains("authorization"), "{printed}");
}

//! Whose sessions there are, and signing out elsewhere: OWASP ASVS 5.0 §7.4, §7.5.2.

use std::{sync::Arc, time::Duration};

use crate::support::{ABSOLUTE, App, IDLE, get, header, post, set_cookie, set_cookies, sid, slow, with};
use bytes::Bytes;
use http::StatusCode;
use http_body_util::Full;
use tower::{Layer, ServiceExt};
use tower_session_timeout::{
    Decision, EndReason, Limits, ManualClock, MaxSessions, MemoryStore, NewSession, Owner, SessionId,
    SessionTimeoutLayer, Sessions,
};

const MINUTE: Duration = Duration::from_secs(60);

fn alice() -> Owner {
    Owner::from("alice")
}

async fn log_in(app: &App, id: &str, owner: &str) {
    let response = app.send(with(set_cookie(post("/login"), &format!("sid={id}")), "x-login", owner)).await;
    assert_eq!(response.status(), StatusCode::OK);
}

async fn number_of_sessions(sessions: &Sessions, owner: &str) -> usize {
    sessions.sessions_of(&Owner::from(owner)).await.unwrap().len()
}

#[tokio::test]
async fn an_owner_sees_the_live_sessions_with_their_times() {
    let app = App::new();
    let sessions = app.layer.sessions();
    log_in(&app, "A1", "alice").await;
    app.advance(MINUTE);
    log_in(&app, "A2", "alice").await;
    log_in(&app, "B1", "bob").await;
    app.advance(MINUTE);
    let list = sessions.sessions_of(&alice()).await.unwrap();
    let times: Vec<_> = list.iter().map(|session| (session.idle_for, session.age)).collect();
    assert_eq!(times, [(MINUTE, MINUTE), (MINUTE * 2, MINUTE * 2)]);
    assert!(list[0].tag() != list[1].tag());
    assert!(list.iter().all(|session| session.tag().len() == 32));

    app.advance(IDLE.saturating_sub(MINUTE));
    assert_eq!(number_of_sessions(&sessions, "alice").await, 0, "idle for too long");
    assert_eq!(number_of_sessions(&sessions, "nobody").await, 0);
}

#[tokio::test]
async fn looking_at_the_list_keeps_nobody_signed_in() {
    let app = App::new();
    log_in(&app, "A1", "alice").await;
    for _ in 0..30 {
        app.advance(MINUTE);
        app.layer.sessions().sessions_of(&alice()).await.unwrap();
    }
    assert!(!app.admits("A1").await);
}

#[tokio::test]
async fn one_of_them_can_be_ended_by_its_tag_and_only_by_its_owner() {
    let app = App::new();
    let sessions = app.layer.sessions();
    log_in(&app, "A1", "alice").await;
    app.advance(MINUTE);
    log_in(&app, "A2", "alice").await;
    let older = sessions.sessions_of(&alice()).await.unwrap()[1].tag();
    assert!(!sessions.end_tagged(&Owner::from("bob"), &older).await.unwrap());
    assert!(!sessions.end_tagged(&alice(), "A1").await.unwrap(), "an id is no tag");
    assert!(app.admits("A1").await);
    assert!(sessions.end_tagged(&alice(), &older).await.unwrap());
    assert!(!sessions.end_tagged(&alice(), &older).await.unwrap());
    assert_eq!(app.end_reason("A1").await, Some(EndReason::Revoked));
    assert!(app.admits("A2").await);
}

#[tokio::test]
async fn all_can_be_ended_or_all_but_this_one() {
    let app = App::new();
    let sessions = app.layer.sessions();
    for id in ["A1", "A2", "A3"] {
        log_in(&app, id, "alice").await;
    }
    log_in(&app, "B1", "bob").await;
    app.send(set_cookie(sid(get("/", &[]), "A3"), "sid=A3b")).await;

    let response = app.send(with(sid(get("/account", &[]), "A2"), "x-say", "end_others")).await;
    assert_eq!(response.status(), StatusCode::OK);
    for gone in ["A1", "A3", "A3b"] {
        assert!(!app.admits(gone).await, "{gone}");
    }
    assert!(app.admits("A2").await && app.admits("B1").await);
    let list = sessions.sessions_of(&alice()).await.unwrap();
    assert_eq!(list.len(), 1);
    let response = app.send(sid(get("/account", &[]), "A2")).await;
    assert_eq!(header(&response, "x-tag"), list[0].tag(), "this session can be told from the others");

    log_in(&app, "A4", "alice").await;
    assert_eq!(sessions.end_all(&alice(), None).await.unwrap(), 2);
    assert_eq!(sessions.end_all(&alice(), None).await.unwrap(), 0);
    assert!(!app.admits("A2").await && !app.admits("A4").await);
    assert!(app.admits("B1").await);
}

/// A request under way holds its session against the idle clock, not against its owner.
#[tokio::test]
async fn an_end_of_all_spares_no_session_with_a_request_under_way() {
    let app = App::new();
    for id in ["A1", "A2"] {
        log_in(&app, id, "alice").await;
    }
    let upload = set_cookie(sid(post("/upload"), "A1"), "sid=A1b");
    let upload = app.send_slow(slow(upload)).await;
    app.send(with(sid(get("/account", &[]), "A2"), "x-say", "end_others")).await;
    assert_eq!(app.end_reason("A1").await, Some(EndReason::Revoked));
    app.release();
    assert!(set_cookies(&upload.await.unwrap()).is_empty());
    assert!(!app.admits("A1").await && !app.admits("A1b").await);
    assert_eq!(number_of_sessions(&app.layer.sessions(), "alice").await, 1);
}

/// Every start that was answered before `end_all` is ended by it, however many log in at the same time.
#[test]
fn no_session_begun_before_survives_an_end_of_all() {
    let layer = SessionTimeoutLayer::builder().cookie("sid").build().unwrap();
    let sessions = layer.sessions();
    let wait = |future: std::pin::Pin<Box<dyn Future<Output = bool> + '_>>| {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
    };
    let is_live = |id: String| {
        let sessions = &sessions;
        wait(Box::pin(async move {
            let decision = sessions.peek(&SessionId::from(id)).await.unwrap();
            matches!(decision, tower_session_timeout::Decision::Live(_))
        }))
    };
    for round in 0..20 {
        let begun = std::sync::Mutex::new(Vec::new());
        std::thread::scope(|threads| {
            for thread in 0..3 {
                let (sessions, begun) = (&sessions, &begun);
                threads.spawn(move || {
                    for n in 0..50 {
                        let id = format!("{round}-{thread}-{n}");
                        wait(Box::pin(async {
                            let new = NewSession::new().owner("alice");
                            sessions.start(&SessionId::from(id.as_str()), &new).await.is_ok()
                        }));
                        begun.lock().unwrap().push(id);
                    }
                });
            }
            threads.spawn(|| {
                let before = begun.lock().unwrap().clone();
                wait(Box::pin(async { sessions.end_all(&alice(), None).await.is_ok() }));
                for id in before {
                    assert!(!is_live(id));
                }
            });
        });
    }
}

#[tokio::test]
async fn lists_are_forgotten_with_their_sessions() {
    let app = App::new();
    for n in 0..100 {
        log_in(&app, &format!("A{n}"), "alice").await;
    }
    app.advance(ABSOLUTE);
    app.store.sweep();
    app.advance(Duration::from_secs(5 * 60));
    app.store.sweep();
    assert!(app.store.is_empty());
    assert_eq!(number_of_sessions(&app.layer.sessions(), "alice").await, 0);
    log_in(&app, "A1", "alice").await;
    assert_eq!(number_of_sessions(&app.layer.sessions(), "alice").await, 1);
}

#[tokio::test]
async fn a_log_in_as_somebody_else_changes_the_lists() {
    let app = App::new();
    log_in(&app, "A", "alice").await;
    app.send(with(set_cookie(sid(post("/login"), "A"), "sid=B"), "x-login", "bob")).await;
    let sessions = app.layer.sessions();
    assert_eq!(number_of_sessions(&sessions, "alice").await, 0);
    assert_eq!(number_of_sessions(&sessions, "bob").await, 1);
}

/// A session that was over before is neither counted nor told as revoked.
#[tokio::test]
async fn signing_out_everywhere_does_not_count_what_was_over() {
    let app = App::in_memory();
    log_in(&app, "A1", "alice").await;
    app.advance(IDLE);
    log_in(&app, "A2", "alice").await;
    assert_eq!(app.layer.sessions().end_all(&alice(), None).await.unwrap(), 1);
    assert_eq!(app.end_reason("A1").await, Some(EndReason::Idle));
    assert_eq!(app.end_reason("A2").await, Some(EndReason::Revoked));
}

/// A visitor's session that keeps its id: what the log-in says of it counts.
#[tokio::test]
async fn a_log_in_that_keeps_the_id_gives_the_session_its_owner_and_limits() {
    let limits = Limits::new(MINUTE, 10 * MINUTE);
    let clock = ManualClock::new();
    let store = Arc::new(MemoryStore::new().clock(clock.clone()));
    let layer = SessionTimeoutLayer::builder()
        .cookie("sid")
        .store(Arc::clone(&store))
        .max_sessions(MaxSessions::refuse_new(1))
        .build()
        .unwrap();
    let service = layer.layer(tower::service_fn(move |_: http::Request<Full<Bytes>>| async move {
        let mut response = http::Response::new(Full::<Bytes>::default());
        response
            .extensions_mut()
            .insert(NewSession::new().owner("alice").limits(limits).label("a telephone"));
        Ok::<_, std::convert::Infallible>(response)
    }));
    let sessions = layer.sessions();
    for id in ["A", "B"] {
        sessions.start(&SessionId::from(id), &NewSession::new()).await.unwrap();
    }
    let log_in = async |id| service.clone().oneshot(sid(post("/login"), id)).await.unwrap().status();
    assert_eq!(log_in("A").await, StatusCode::OK);
    let listed = sessions.sessions_of(&alice()).await.unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].label, Some("a telephone".into()));
    assert_eq!(log_in("B").await, StatusCode::FORBIDDEN, "it would be the second");
    assert_eq!(sessions.sessions_of(&alice()).await.unwrap().len(), 1);
    assert_eq!(sessions.end_all(&alice(), None).await.unwrap(), 1);
    assert_eq!(log_in("B").await, StatusCode::OK);
    clock.advance(MINUTE);
    let over = sessions.peek(&SessionId::from("B")).await.unwrap();
    assert!(matches!(over, Decision::Ended { reason: EndReason::Idle, owner: Some(_), .. }), "{over:?}");
}

/// The layer does not know whose it is, for there is no extension to tell.
#[tokio::test]
async fn nobody_becomes_the_owner_of_another_ones_session() {
    let layer = SessionTimeoutLayer::builder().cookie("sid").without_extension().build().unwrap();
    let service = layer.layer(tower::service_fn(move |_: http::Request<Full<Bytes>>| async move {
        let mut response = http::Response::new(Full::<Bytes>::default());
        response.extensions_mut().insert(NewSession::new().owner("bob"));
        Ok::<_, std::convert::Infallible>(response)
    }));
    let sessions = layer.sessions();
    sessions.start(&SessionId::from("A"), &NewSession::new().owner("alice")).await.unwrap();
    service.oneshot(sid(post("/login"), "A")).await.unwrap();
    let decision = sessions.peek(&SessionId::from("A")).await.unwrap();
    assert!(matches!(&decision, Decision::Live(live) if live.owner == Some(alice())), "{decision:?}");
    assert_eq!(sessions.end_all(&Owner::from("bob"), None).await.unwrap(), 0);
    assert_eq!(sessions.end_all(&alice(), None).await.unwrap(), 1);
}

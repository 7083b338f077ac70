//! How many sessions a user may have, and by what they are told apart: OWASP ASVS 5.0 §7.1.2, §7.5.2.

use std::sync::{
    Arc, Mutex, OnceLock,
    atomic::{AtomicBool, Ordering::SeqCst},
};

use crate::support::{App, get, header, post, set_cookie, set_cookies, sid, with};
use bytes::Bytes;
use http::{HeaderName, Request, Response, StatusCode, header::USER_AGENT};
use http_body_util::Full;
use tower_session_timeout::{
    EndReason, Label, MaxSessions, NewSession, Owner, SessionEvent, SessionId, SessionTimeoutBuilder,
    SessionTimeoutLayer, Sessions, Started,
};

fn log_in_request(id: &str, owner: &str) -> Request<Full<Bytes>> {
    with(set_cookie(post("/login"), &format!("sid={id}")), "x-login", owner)
}

async fn log_in(app: &App, id: &str) -> Response<Bytes> {
    app.send(log_in_request(id, "alice")).await
}

/// What happened, told in a list.
fn app(
    configure: impl FnOnce(SessionTimeoutBuilder) -> SessionTimeoutBuilder,
) -> (App, Arc<Mutex<Vec<SessionEvent>>>) {
    let told = Arc::default();
    (App::with(|builder| telling(configure(builder), &told)), told)
}

fn telling(builder: SessionTimeoutBuilder, told: &Arc<Mutex<Vec<SessionEvent>>>) -> SessionTimeoutBuilder {
    let sink = Arc::clone(told);
    builder.on_event(move |event| sink.lock().unwrap().push(event.clone()))
}

#[tokio::test]
async fn one_log_in_more_is_refused_and_its_cookie_does_not_leave() {
    let (app, told) = app(|builder| builder.max_sessions(MaxSessions::refuse_new(2)));
    for id in ["A1", "A2"] {
        assert_eq!(log_in(&app, id).await.status(), StatusCode::OK);
    }
    let refused = log_in(&app, "A3").await;
    assert_eq!(refused.status(), StatusCode::FORBIDDEN);
    assert_eq!(set_cookies(&refused), [""; 0]);
    assert_eq!(header(&refused, "cache-control"), "no-store");
    assert_eq!(refused.extensions().get::<Started>(), Some(&Started::TooMany), "an outer layer can tell");
    assert!(!app.admits("A3").await);
    for id in ["A1", "A2"] {
        assert!(app.admits(id).await, "{id} goes on");
    }
    let owner = Some(Owner::from("alice"));
    let is_told =
        |event: &SessionEvent| matches!(event, SessionEvent::TooManySessions { owner: of } if *of == owner);
    assert_eq!(told.lock().unwrap().iter().filter(|event| is_told(event)).count(), 1);

    app.send(sid(post("/logout"), "A1")).await;
    assert_eq!(log_in(&app, "A3").await.status(), StatusCode::OK, "there is room again");
}

#[tokio::test]
async fn who_logs_in_again_in_the_same_browser_takes_no_further_session() {
    let (app, _) = app(|builder| builder.max_sessions(MaxSessions::refuse_new(1)));
    log_in(&app, "A1").await;
    let again = app.send(sid(log_in_request("A2", "alice"), "A1")).await;
    assert_eq!((again.status(), set_cookies(&again)), (StatusCode::OK, vec!["sid=A2".to_owned()]));
    assert!(app.admits("A2").await && !app.admits("A1").await);
    let rotated = app.send(set_cookie(sid(get("/", &[]), "A2"), "sid=A2b")).await;
    assert_eq!(set_cookies(&rotated), ["sid=A2b"]);
    assert!(app.admits("A2b").await);
}

#[tokio::test]
async fn one_log_in_more_ends_the_session_that_has_been_idle_longest() {
    let (app, _) = app(|builder| builder.max_sessions(MaxSessions::end_longest_idle(2)));
    for id in ["A1", "A2"] {
        log_in(&app, id).await;
        app.advance(std::time::Duration::from_secs(1));
    }
    assert!(app.admits("A1").await);
    app.send(log_in_request("B1", "bob")).await;
    log_in(&app, "A3").await;
    assert_eq!(app.end_reason("A2").await, Some(EndReason::Revoked));
    for id in ["A1", "A3", "B1"] {
        assert!(app.admits(id).await, "{id} goes on");
    }
    let refused = app.visit("A2").await;
    assert_eq!(header(&refused, "session-ended"), "revoked", "its user is told that this was no timeout");
}

#[tokio::test]
async fn a_log_in_may_have_a_number_of_its_own() {
    let (app, _) = app(|builder| builder.max_sessions(MaxSessions::refuse_new(1)));
    let sessions = app.layer.sessions();
    let admin = NewSession::new().owner("admin").max_sessions(MaxSessions::refuse_new(2));
    for (id, expected) in [("1", true), ("2", true), ("3", false)] {
        let started = sessions.start(&SessionId::from(id), &admin).await.unwrap();
        assert_eq!(matches!(started, Started::New(_)), expected, "{started:?}");
        assert_eq!(started == Started::TooMany, !expected);
    }
}

#[tokio::test]
async fn sessions_that_nobody_owns_are_not_counted() {
    let (app, _) = app(|builder| builder.max_sessions(MaxSessions::refuse_new(1)));
    for id in ["A", "B", "C"] {
        app.log_in(id).await;
        assert!(app.admits(id).await);
    }
}

/// Events are told with no lock held, so that the closure may ask the store.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_hears_of_an_end_may_begin_a_session_of_the_same_owner() {
    let sessions: Arc<OnceLock<Sessions>> = Arc::default();
    let began: Arc<Mutex<Vec<Started>>> = Arc::default();
    let layer = {
        let asked = AtomicBool::new(false);
        let (sessions, began) = (Arc::clone(&sessions), Arc::clone(&began));
        let builder = SessionTimeoutLayer::builder().cookie("sid");
        let builder = builder.max_sessions(MaxSessions::end_longest_idle(1)).on_event(move |event| {
            if let SessionEvent::Ended { owner: Some(owner), .. } = event
                && !asked.swap(true, SeqCst)
            {
                let (id, new) = (SessionId::from("C"), NewSession::new().owner(owner.clone()));
                let start = sessions.get().unwrap().start(&id, &new);
                let started =
                    tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(start));
                began.lock().unwrap().push(started.unwrap());
            }
        });
        builder.build().unwrap()
    };
    let _ = sessions.set(layer.sessions());
    let alice = NewSession::new().owner("alice");
    let starts = tokio::spawn(async move {
        for id in ["A", "B"] {
            layer.sessions().start(&SessionId::from(id), &alice).await.unwrap();
        }
    });
    starts.await.unwrap();
    assert!(matches!(began.lock().unwrap()[..], [Started::New(_)]));
}

#[test]
fn a_number_nobody_could_mean_is_refused() {
    for number in [0, 1001] {
        let error = SessionTimeoutLayer::builder()
            .cookie("sid")
            .max_sessions(MaxSessions::refuse_new(number))
            .build()
            .unwrap_err();
        assert!(error.to_string().contains(&number.to_string()), "{error}");
    }
}

#[cfg(feature = "stateless")]
#[test]
fn a_store_that_cannot_count_is_refused() {
    let error = SessionTimeoutLayer::builder()
        .cookie("sid")
        .store(tower_session_timeout::StatelessStore::ephemeral())
        .max_sessions(MaxSessions::refuse_new(2))
        .build()
        .unwrap_err();
    assert!(error.to_string().contains("keeps no index of owners"), "{error}");
}

#[tokio::test]
async fn a_list_tells_sessions_apart_by_what_their_log_in_was() {
    let (app, told) = app(|builder| {
        builder.session_label(|head| head.headers().get(USER_AGENT)?.to_str().ok().map(Label::from))
    });
    let telephone = with(log_in_request("A1", "alice"), "user-agent", "a telephone");
    app.send(telephone).await;
    app.advance(std::time::Duration::from_secs(1));
    let laptop = NewSession::new().owner("alice").label("said by the application");
    app.layer.sessions().start(&SessionId::from("A2"), &laptop).await.unwrap();
    // The session's, not that of each request with it.
    app.send(with(sid(get("/account", &[]), "A1"), "user-agent", "another")).await;
    let sessions = app.layer.sessions().sessions_of(&Owner::from("alice")).await.unwrap();
    let labels: Vec<_> =
        sessions.iter().map(|session| session.label.as_ref().map(Label::as_str).unwrap()).collect();
    assert_eq!(labels, ["said by the application", "a telephone"]);

    app.send(with(sid(post("/logout"), "A1"), "user-agent", "another")).await;
    let told = told.lock().unwrap();
    let labels: Vec<_> = told
        .iter()
        .filter_map(|event| match event {
            SessionEvent::Started { label, .. } => Some(("started", label.clone())),
            SessionEvent::Ended { label, .. } => Some(("ended", label.clone())),
            _ => None,
        })
        .collect();
    let telephone = Some(Label::from("a telephone"));
    let application = Some(Label::from("said by the application"));
    assert_eq!(labels, [("started", telephone.clone()), ("started", application), ("ended", telephone)]);
}

#[test]
fn a_label_is_short_and_in_one_line_and_does_not_print_itself() {
    let label = Label::from("é\n".repeat(1000));
    assert_eq!(label.as_str(), "é ".repeat(128));
    assert_eq!(format!("{label:?}"), "Label(..)");
}

#[tokio::test]
async fn a_refusal_names_the_session_and_its_owner_where_they_are_known() {
    let (app, told) = app(|builder| builder);
    log_in(&app, "A").await;
    let tag = header(&app.visit("A").await, "x-tag").to_owned();
    app.send(set_cookie(sid(get("/", &[]), "A"), "sid=B")).await;
    assert!(app.admits("B").await);
    app.advance(std::time::Duration::from_secs(60));
    // Somebody has stolen it.
    assert!(!app.admits("A").await);
    app.send(sid(get("/public/page", &[]), "A")).await;
    assert!(!app.admits("made up").await);
    let told = told.lock().unwrap();
    let refused: Vec<_> = told
        .iter()
        .filter_map(|event| match event {
            SessionEvent::Refused { reason, session, owner, .. } => {
                Some((*reason, session.map(tower_session_timeout::SessionKey::tag), owner.clone()))
            }
            _ => None,
        })
        .collect();
    let stolen = (EndReason::Superseded, Some(tag), Some(Owner::from("alice")));
    assert_eq!(refused, [stolen.clone(), stolen, (EndReason::Unknown, None, None)]);
}

#[tokio::test]
async fn no_token_gets_round_the_number() {
    use tower_session_timeout::{Found, RequestHead, VerifiedId};
    struct Token;
    impl tower_session_timeout::ExtractSessionId for Token {
        fn extract<'a>(&self, head: &RequestHead<'a>) -> Found<'a> {
            let Some(token) = head.headers().get("x-token") else { return Found::Nothing };
            let id = SessionId::from(token.as_bytes());
            Found::Verified(VerifiedId::new(id, std::time::Duration::ZERO).owner("alice").label("a token"))
        }

        fn remove(&self, headers: &mut http::HeaderMap, _: &mut http::Extensions) {
            headers.remove("x-token");
        }

        fn vary(&self) -> Vec<HeaderName> {
            vec![HeaderName::from_static("x-token")]
        }
    }
    let told = Arc::default();
    let app = App::without_cookie(|builder| {
        telling(builder.session_id(Token).max_sessions(MaxSessions::refuse_new(1)), &told)
    });
    let ask = async |token: &str| app.send(get("/account", &[("x-token", token)])).await.status();
    assert_eq!(ask("A").await, StatusCode::OK);
    assert_eq!(ask("B").await, StatusCode::UNAUTHORIZED);
    assert_eq!(ask("A").await, StatusCode::OK);
    let told = told.lock().unwrap();
    assert!(told.iter().any(|event| matches!(event, SessionEvent::TooManySessions { .. })));
    let label = Some(Label::from("a token"));
    assert!(
        told.iter().any(|event| matches!(event, SessionEvent::Started { label: of, .. } if *of == label))
    );
}

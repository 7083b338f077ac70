//! What is told of a session's life.

mod support;

use std::sync::{Arc, Mutex};

use support::{App, IDLE, get, header, post, set_cookie, sid};
use tower_session_timeout::{EndReason, SessionEvent};

type Told = Arc<Mutex<Vec<(&'static str, String)>>>;

fn app(told: &Told) -> App {
    let told = Arc::clone(told);
    App::with(|builder| {
        builder.on_event(move |event| {
            let (what, session) = match event {
                SessionEvent::Started { session, .. } => ("started", session.tag()),
                SessionEvent::Rotated { session } => ("rotated", session.tag()),
                SessionEvent::Ended { session, reason: EndReason::Idle, .. } => ("idle", session.tag()),
                SessionEvent::Ended { session, .. } => ("ended", session.tag()),
                SessionEvent::Refused { .. } => return,
                other => panic!("{other:?}"),
            };
            told.lock().unwrap().push((what, session));
        })
    })
}

#[tokio::test]
async fn the_events_of_a_session_share_its_tag() {
    let told = Told::default();
    let app = app(&told);
    app.log_in("A").await;
    let tag = header(&app.send(sid(get("/account", &[]), "A")).await, "x-tag").to_owned();
    app.send(set_cookie(sid(get("/account", &[]), "A"), "sid=B")).await;
    app.send(sid(post("/logout"), "B")).await;
    let of = |tag: &str| ["started", "rotated", "ended"].map(|what| (what, tag.to_owned()));
    assert_eq!(*told.lock().unwrap(), of(&tag));
}

/// Also of those that an ordinary call, a sweep, or a later id of another session finds.
#[tokio::test]
async fn each_end_is_told_of_the_session_that_ended() {
    let told = Told::default();
    let app = app(&told);
    for number in 0..200 {
        app.log_in(&number.to_string()).await;
    }
    app.advance(IDLE);
    for number in 0..100 {
        assert!(!app.admits(&number.to_string()).await);
    }
    app.store.sweep();
    let told = told.lock().unwrap();
    let tags = |which: &str| {
        let mut tags: Vec<_> = told.iter().filter(|(what, _)| *what == which).map(|(_, tag)| tag).collect();
        tags.sort();
        tags
    };
    assert_eq!(tags("started").len(), 200);
    assert_eq!(tags("idle"), tags("started"));
}

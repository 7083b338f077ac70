//! What is told of a session's life.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, mpsc},
    time::Duration,
};

use crate::support::{ABSOLUTE, App, IDLE, NANO, get, header, post, set_cookie, sid, slow, with};
use http::StatusCode;
use tower_session_timeout::{
    Decision, EndReason, Limits, Live, ManualClock, MemoryStore, NewSession, Owner, SessionEvent, SessionId,
    SessionKey, SessionTimeoutBuilder, Started, Store, StoreError,
    contract::{Access, Answer, EventSink, IdTag, Policy, Restarted, Rotated, Verdict},
};

type Told = Arc<Mutex<Vec<(&'static str, String)>>>;

fn app(told: &Told) -> App {
    let told = Arc::clone(told);
    App::in_memory_with(|builder| {
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

/// For an audit log; also when a sweep finds the end.
#[tokio::test]
async fn whose_session_it_is_is_told_at_its_start_and_at_its_end() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&told);
    let app = App::in_memory_with(|builder| {
        builder.on_event(move |event| {
            if let SessionEvent::Started { owner, .. } | SessionEvent::Ended { owner, .. } = event {
                sink.lock().unwrap().push(owner.as_ref().map(|owner| owner.as_str().to_owned()));
            }
        })
    });
    app.send(with(set_cookie(post("/login"), "sid=A"), "x-login", "alice")).await;
    app.advance(IDLE);
    app.store.sweep();
    app.log_in("B").await;
    app.send(sid(post("/logout"), "B")).await;
    let alice = Some("alice".to_owned());
    assert_eq!(*told.lock().unwrap(), [alice.clone(), alice, None, None]);
}

#[tokio::test]
async fn a_session_that_lives_already_starts_only_once() {
    let told = Told::default();
    let app = app(&told);
    for _ in 0..2 {
        app.log_in("A").await;
        app.send(set_cookie(sid(get("/account", &[]), "A"), "sid=A")).await;
    }
    let told: Vec<_> = told.lock().unwrap().iter().map(|(what, _)| *what).collect();
    assert_eq!(told, ["started"]);
}

/// Two tabs sign out at the same time, and then the owner everywhere.
#[tokio::test]
async fn an_end_that_is_asked_for_again_is_told_once() {
    let told = Told::default();
    let app = app(&told);
    let login = with(set_cookie(post("/login"), "sid=A"), "x-login", "alice");
    app.send(login).await;
    let other_tab = app.send_slow(slow(sid(post("/logout"), "A"))).await;
    app.send(sid(post("/logout"), "A")).await;
    app.release();
    assert_eq!(other_tab.await.unwrap().status(), StatusCode::OK);
    assert_eq!(app.layer.sessions().end_all(&Owner::from("alice"), None).await.unwrap(), 0);
    app.store.sweep();
    let told: Vec<_> = told.lock().unwrap().iter().map(|(what, _)| *what).collect();
    assert_eq!(told, ["started", "ended"]);
}

/// T141: the layer knows nothing of the application's data; the application hears in time that it may forget it.
#[tokio::test]
async fn what_the_application_keeps_for_a_session_can_go_with_it() {
    let kept = Arc::new(Mutex::new(HashMap::new()));
    let forget = Arc::clone(&kept);
    let app = App::in_memory_with(|builder| {
        builder.on_event(move |event| {
            if let SessionEvent::Ended { session, .. } = event {
                forget.lock().unwrap().remove(&session.tag());
            }
        })
    });
    for id in ["A", "B"] {
        app.log_in(id).await;
        let tag = header(&app.visit(id).await, "x-tag").to_owned();
        kept.lock().unwrap().insert(tag, id);
    }
    let left = || kept.lock().unwrap().values().copied().collect::<Vec<_>>();
    app.send(sid(post("/logout"), "B")).await;
    assert_eq!(left(), ["A"], "a log-out");
    app.send(set_cookie(sid(get("/account", &[]), "A"), "sid=A2")).await;
    assert!(app.admits("A2").await);
    assert_eq!(left(), ["A"], "a new id is no end");
    app.advance(IDLE);
    app.store.sweep();
    assert_eq!(left(), [""; 0], "a timeout, though nobody came back");
}

/// T152: what is counted by is not the client's to choose.
#[tokio::test]
async fn the_reasons_to_count_by_stay_few_however_many_ids_and_owners_come() {
    let labels = Arc::new(Mutex::new(BTreeSet::new()));
    let count = Arc::clone(&labels);
    let app = App::in_memory_with(|builder| {
        builder.on_event(move |event| {
            let (what, reason) = match event {
                SessionEvent::Started { .. } => ("started", None),
                SessionEvent::Ended { reason, .. } => ("ended", Some(reason.as_str())),
                SessionEvent::Refused { reason, .. } => ("refused", Some(reason.as_str())),
                other => panic!("{other:?}"),
            };
            count.lock().unwrap().insert((what, reason));
        })
    });
    for number in 0..1_000 {
        let id = format!("id-{number}");
        let log_in = set_cookie(post("/login"), &format!("sid={id}"));
        app.send(with(log_in, "x-login", &format!("user-{number}"))).await;
        app.visit(&format!("made-up-{number}")).await;
        if number % 2 == 0 {
            app.send(sid(post("/logout"), &id)).await;
        }
        app.visit(&id).await;
    }
    app.advance(IDLE);
    app.store.sweep();
    let expected = [
        ("ended", Some("idle")),
        ("ended", Some("signed-out")),
        ("refused", Some("signed-out")),
        ("refused", Some("unknown")),
        ("started", None),
    ];
    assert_eq!(*labels.lock().unwrap(), BTreeSet::from(expected));
}

/// What was refused, and why.
fn refusals(
    configure: impl FnOnce(SessionTimeoutBuilder) -> SessionTimeoutBuilder,
) -> (App, Arc<Mutex<Vec<EndReason>>>) {
    let told = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&told);
    let app = App::with(|builder| {
        configure(builder).on_event(move |event| {
            if let SessionEvent::Refused { reason, .. } = event {
                sink.lock().unwrap().push(*reason);
            }
        })
    });
    (app, told)
}

#[tokio::test]
async fn a_session_that_ends_while_a_request_is_under_way_was_not_idle() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let app = App::in_memory_with(|builder| {
        let told = Arc::clone(&told);
        builder.on_event(move |event| {
            if let SessionEvent::Ended { reason, idle_for, .. } = event {
                told.lock().unwrap().push((*reason, *idle_for));
            }
        })
    });
    for id in ["A", "B"] {
        app.log_in(id).await;
        let upload = app.send_slow(slow(sid(post("/upload"), id))).await;
        app.advance(2 * IDLE);
        if id == "A" {
            app.layer.sessions().end(&SessionId::from(id)).await.unwrap();
        } else {
            app.advance(ABSOLUTE);
            assert!(!app.admits(id).await);
        }
        app.release();
        upload.await.unwrap();
    }
    let not_idle = Duration::ZERO;
    assert_eq!(*told.lock().unwrap(), [(EndReason::Revoked, not_idle), (EndReason::Absolute, not_idle)]);
}

#[tokio::test]
async fn a_made_up_id_is_told() {
    let (app, told) = refusals(|builder| builder);
    assert!(!app.admits("made-up").await);
    assert_eq!(app.send(get("/account", &[])).await.status(), StatusCode::OK, "no id is none made up");
    assert_eq!(*told.lock().unwrap(), [EndReason::Unknown]);
}

/// It may have been stolen: on public pages, too, where the request goes on without it.
#[tokio::test]
async fn an_old_id_used_after_its_grace_is_told() {
    let grace = Duration::from_secs(30);
    let (app, told) = refusals(|builder| builder.rotation_grace(grace));
    app.log_in("A").await;
    app.send(set_cookie(sid(get("/account", &[]), "A"), "sid=B")).await;
    assert!(app.admits("B").await);
    app.advance(grace / 2);
    assert!(app.admits("A").await, "within its grace");
    assert!(told.lock().unwrap().is_empty());
    app.advance(grace / 2);
    assert!(!app.admits("A").await);
    assert_eq!(*told.lock().unwrap(), [EndReason::Superseded]);
    assert_eq!(app.send(sid(get("/public/page", &[]), "A")).await.status(), StatusCode::OK);
    assert_eq!(*told.lock().unwrap(), [EndReason::Superseded; 2]);
    app.send(sid(get("/public/page", &[]), "made-up")).await;
    assert_eq!(told.lock().unwrap().len(), 2, "a visitor's forgotten cookie is no news there");
}

/// T15: the state has changed before the hook is called, and no lock is held while it runs.
#[test]
fn a_hook_that_hangs_keeps_no_session_alive_and_holds_nobody_up() {
    let clock = ManualClock::new();
    let store = MemoryStore::new().clock(clock.clone());
    let policy = Policy::new(Limits::default());
    let (is_called, called) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let released = Mutex::new(released);
    store.events(EventSink::new(move |_| {
        is_called.send(()).unwrap();
        let _ = released.lock().unwrap().recv();
    }));
    let check = |id: &str| match store.check(&SessionId::from(id), &policy, Access::Renew) {
        Answer::Ready(Ok(decision)) => decision,
        other => panic!("{other:?}"),
    };
    let start = |id: &str| drop(store.start(&SessionId::from(id), &NewSession::new(), &policy));
    start("A");
    clock.advance(NANO);
    for n in 0..1000 {
        start(&n.to_string());
    }
    clock.advance(IDLE.saturating_sub(NANO));
    std::thread::scope(|threads| {
        let asking = threads.spawn(|| check("A"));
        called.recv().unwrap();
        assert!(matches!(check("A"), Decision::Ended { reason: EndReason::Idle, .. }));
        for n in 0..1000 {
            assert!(matches!(check(&n.to_string()), Decision::Live(_)), "whatever the shard");
        }
        drop(release);
        assert!(matches!(asking.join().unwrap(), Decision::Ended { reason: EndReason::Idle, .. }));
    });
}

/// T15: a hook may ask the store in its turn, whoever found the session over.
#[test]
fn no_lock_is_held_while_a_hook_runs() {
    type Way = fn(&MemoryStore, &Live, &Policy);
    let ways: [(&str, Way); 9] = [
        ("its id", |store, _, policy| drop(store.check(&SessionId::from("A"), policy, Access::Renew))),
        ("a later id", |store, _, policy| drop(store.check(&SessionId::from("B"), policy, Access::Renew))),
        ("a start", |store, _, policy| drop(store.start(&"A".into(), &NewSession::new(), policy))),
        ("a rotation", |store, live, policy| {
            drop(store.rotate(live.key, &SessionId::from("C"), live.presented, policy));
        }),
        ("a log-in", |store, live, policy| drop(store.restart(live.key, &NewSession::new(), policy))),
        ("a stream", |store, live, policy| drop(store.remaining(live.key, policy))),
        ("a log-out", |store, live, _| drop(store.end(live.key, EndReason::SignedOut))),
        ("a log-out everywhere", |store, _, _| drop(store.end_all(&Owner::from("alice"), None))),
        ("a sweep", |store, _, _| store.sweep()),
    ];
    for (name, way) in ways {
        let clock = ManualClock::new();
        let store = Arc::new(MemoryStore::new().clock(clock.clone()));
        let (policy, id) = (Policy::new(Limits::default()), SessionId::from("A"));
        drop(store.start(&id, &NewSession::new().owner("alice"), &policy));
        let decision = store.check(&id, &policy, Access::Renew);
        let Answer::Ready(Ok(Decision::Live(live))) = decision else { panic!("{decision:?}") };
        drop(store.rotate(live.key, &SessionId::from("B"), live.presented, &policy));

        let answered = Arc::new(Mutex::new(Vec::new()));
        let (asked, told) = (Arc::downgrade(&store), Arc::clone(&answered));
        store.events(EventSink::new(move |_| {
            let store = asked.upgrade().unwrap();
            let (is_done, done) = mpsc::channel();
            std::thread::spawn(move || {
                for n in 0..1000 {
                    let id = SessionId::from(format!("whatever the shard: {n}"));
                    drop(store.check(&id, &Policy::new(Limits::default()), Access::Renew));
                }
                is_done.send(()).unwrap();
            });
            told.lock().unwrap().push(done.recv_timeout(Duration::from_secs(10)).is_ok());
        }));
        clock.advance(IDLE);
        way(&store, &live, &policy);
        assert_eq!(*answered.lock().unwrap(), [true], "{name}");
    }
}

#[tokio::test]
async fn failures_of_the_store_are_told_with_what_it_said() {
    struct Broken;
    impl Store for Broken {
        fn check(&self, _: &SessionId<'_>, _: &Policy, _: Access) -> Answer<Decision> {
            Answer::Ready(Err(StoreError::new("connection refused")))
        }
        fn remaining(&self, _: SessionKey, _: &Policy) -> Answer<Verdict> {
            unreachable!("no stream is open")
        }
        fn start(&self, _: &SessionId<'_>, _: &NewSession, _: &Policy) -> Answer<Started> {
            unreachable!("nobody logs in")
        }
        fn rotate(&self, _: SessionKey, _: &SessionId<'_>, _: IdTag, _: &Policy) -> Answer<Rotated> {
            unreachable!("nothing is admitted")
        }
        fn restart(&self, _: SessionKey, _: &NewSession, _: &Policy) -> Answer<Restarted> {
            unreachable!("nothing is admitted")
        }
        fn end(&self, _: SessionKey, _: EndReason) -> Answer<bool> {
            unreachable!("nothing is admitted")
        }
    }
    let told = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&told);
    let app = App::with(|builder| {
        builder.store(Broken).on_event(move |event| sink.lock().unwrap().push(format!("{event:?}")))
    });
    assert_eq!(app.send(sid(get("/account", &[]), "A")).await.status(), StatusCode::SERVICE_UNAVAILABLE);
    let told = told.lock().unwrap();
    assert_eq!(told.len(), 1);
    assert!(told[0].starts_with("StoreFailed") && told[0].contains("connection refused"), "{told:?}");
}

#[tokio::test]
async fn what_the_operator_has_to_put_right_is_told_once_and_names_no_id() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&told);
    let app = App::with(|builder| {
        builder.on_event(move |event| {
            if let SessionEvent::Misconfigured { hint, fails: false } = event {
                sink.lock().unwrap().push(hint.clone());
            }
        })
    });
    let lone_chunk = "sid.0=0123456789abcdef";
    for _ in 0..3 {
        app.send(set_cookie(post("/login"), lone_chunk)).await;
    }
    let told = told.lock().unwrap();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("SessionCookie::chunks") && !told[0].contains("0123456789abcdef"), "{told:?}");
}

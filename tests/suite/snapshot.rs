//! Sessions in a file, from one process to the next.
#![cfg(feature = "snapshot")]

use std::{fs, io, path::PathBuf, sync::Arc, thread, time::Duration};

use crate::support::{self, ABSOLUTE, App, IDLE, get, header, post, set_cookie, sid, slow, with};
use http::StatusCode;
use siphasher::sip128::SipHasher24;
use tempfile::TempDir;
use tower_session_timeout::{
    Decision, EndReason, Limits, ManualClock, MemoryStore, NewSession, Owner, SessionId,
    SessionTimeoutBuilder, SessionTimeoutLayer, Started, Store,
    contract::{Access, Adopted, Answer, Policy, Restarted},
};

const MINUTE: Duration = Duration::from_secs(60);

struct Deploy {
    _directory: TempDir,
    file: PathBuf,
}

impl Deploy {
    fn new() -> Self {
        let directory = TempDir::new().unwrap();
        Self { file: directory.path().join("sessions"), _directory: directory }
    }

    /// The next process: on the same machine, so its clock goes on.
    fn next(&self, before: &App) -> App {
        before.store.save(&self.file).unwrap();
        self.start(before.clock.clone()).unwrap()
    }

    fn start(&self, clock: ManualClock) -> io::Result<App> {
        let store = Arc::new(MemoryStore::new().clock(clock.clone()).restore(&self.file)?);
        let layer = configure(SessionTimeoutLayer::builder().store(Arc::clone(&store))).build().unwrap();
        Ok(App::around(layer, clock, store))
    }

    /// Changes the file, and its checksum with it.
    fn edit(&self, change: impl FnOnce(&mut serde_json::Value)) {
        let file = fs::read_to_string(&self.file).unwrap();
        let (_, json) = file.split_once('\n').unwrap();
        let mut json = serde_json::from_str(json).unwrap();
        change(&mut json);
        let json = json.to_string();
        let sum = SipHasher24::new().hash(json.as_bytes()).as_u128();
        fs::write(&self.file, format!("{sum:032x}\n{json}")).unwrap();
    }
}

fn configure(builder: SessionTimeoutBuilder) -> SessionTimeoutBuilder {
    builder
        .cookie("sid")
        .idle_timeout(IDLE)
        .absolute_timeout(ABSOLUTE)
        .login_path("/login")
        .logout_path("/logout")
}

async fn log_in_as(app: &App, id: &str, owner: &str) {
    app.send(with(set_cookie(post("/login"), &format!("sid={id}")), "x-login", owner)).await;
}

#[tokio::test]
async fn a_deploy_logs_nobody_out() {
    let (app, deploy) = (App::new(), Deploy::new());
    log_in_as(&app, "A", "alice").await;
    app.log_in("B").await;
    app.advance(MINUTE * 5);
    let app = deploy.next(&app);
    assert_eq!(app.store.len(), 2);
    let response = app.send(sid(get("/account", &[]), "A")).await;
    assert_eq!(header(&response, "x-session"), "alice");
    assert_eq!(app.layer.sessions().sessions_of(&Owner::from("alice")).await.unwrap().len(), 1);
    app.advance(MINUTE * 10);
    assert_eq!(app.end_reason("B").await, Some(EndReason::Idle));
    assert!(app.admits("A").await);
}

#[tokio::test]
async fn both_clocks_go_on_and_the_time_in_between_counts() {
    let (app, deploy) = (App::new(), Deploy::new());
    app.log_in("A").await;
    app.log_in("B").await;
    app.advance(MINUTE * 10);
    assert!(app.admits("B").await);
    app.store.save(&deploy.file).unwrap();
    app.advance(MINUTE * 5);
    let mut app = deploy.start(app.clock.clone()).unwrap();
    assert!(!app.admits("A").await, "idle for 15 minutes, 5 of them without a server");
    assert!(app.admits("B").await);
    let mut age = MINUTE * 15;
    while age + MINUTE * 10 < ABSOLUTE {
        app.advance(MINUTE * 10);
        age += MINUTE * 10;
        assert!(app.admits("B").await);
        app = deploy.next(&app);
    }
    // Not to the nanosecond: the wall clock counts the deploys' own time.
    app.advance(ABSOLUTE.saturating_sub(age + MINUTE));
    assert!(app.admits("B").await);
    app.advance(MINUTE);
    assert_eq!(app.end_reason("B").await, Some(EndReason::Absolute));
}

/// After a reboot the machine's clock is back at its origin; the wall clock knows better.
#[tokio::test]
async fn the_time_of_a_reboot_counts_by_the_wall_clock() {
    let (app, deploy) = (App::new(), Deploy::new());
    app.advance(MINUTE * 1000);
    app.log_in("A").await;
    app.log_in("B").await;
    app.store.save(&deploy.file).unwrap();
    deploy.edit(|json| {
        let secs = json["wall_clock"]["secs"].as_u64().unwrap();
        json["wall_clock"]["secs"] = (secs - IDLE.as_secs()).into();
    });
    let app = deploy.start(ManualClock::new()).unwrap();
    assert_eq!(app.store.len(), 2);
    assert_eq!(app.end_reason("A").await, Some(EndReason::Idle));
}

/// How long a machine is up says nothing of another one.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn the_clock_of_another_boot_counts_for_nothing() {
    let up_for_longer = || {
        let clock = ManualClock::new();
        clock.advance(ABSOLUTE * 100);
        clock
    };
    for idle in [Duration::ZERO, IDLE / 2] {
        let (app, deploy) = (App::new(), Deploy::new());
        log_in_as(&app, "A", "alice").await;
        app.advance(idle);
        app.store.save(&deploy.file).unwrap();
        deploy.edit(|json| json["boot_id"] = "another machine's".into());
        let app = deploy.start(up_for_longer()).unwrap();
        app.advance(IDLE.saturating_sub(idle + MINUTE));
        assert!(matches!(app.peek("A").await, Decision::Live(_)));
        app.advance(MINUTE);
        assert_eq!(app.end_reason("A").await, Some(EndReason::Idle));
    }
    // By the wall clock, the time in between does.
    let (app, deploy) = (App::new(), Deploy::new());
    app.log_in("A").await;
    app.store.save(&deploy.file).unwrap();
    deploy.edit(|json| {
        let secs = json["wall_clock"]["secs"].as_u64().unwrap();
        json["wall_clock"]["secs"] = (secs - IDLE.as_secs()).into();
        json["boot_id"] = "another machine's".into();
    });
    assert_eq!(deploy.start(up_for_longer()).unwrap().end_reason("A").await, Some(EndReason::Idle));
}

/// In doubt the longer of the two times counts: a session may end early, and never late.
#[tokio::test]
async fn where_nobody_knows_of_boots_the_machines_clock_counts() {
    let (app, deploy) = (App::new(), Deploy::new());
    app.log_in("A").await;
    app.store.save(&deploy.file).unwrap();
    deploy.edit(|json| {
        json.as_object_mut().unwrap().remove("boot_id");
    });
    app.advance(IDLE);
    let app = deploy.start(app.clock.clone()).unwrap();
    assert_eq!(app.end_reason("A").await, Some(EndReason::Idle));
}

#[tokio::test]
async fn ids_graces_and_own_limits_go_along() {
    let (app, deploy) = (App::new(), Deploy::new());
    app.log_in("A").await;
    app.send(set_cookie(sid(get("/", &[]), "A"), "sid=B")).await;
    app.send(sid(get("/", &[]), "B")).await;
    let remembered = NewSession::new().limits(Limits::idle_only(MINUTE * 60));
    app.layer.sessions().start(&SessionId::from("R"), &remembered).await.unwrap();
    app.advance(Duration::from_secs(20));
    let app = deploy.next(&app);
    assert_eq!(app.store.len(), 3, "each id counts");
    assert!(app.admits("A").await, "within its grace");
    app.advance(Duration::from_secs(10));
    assert_eq!(app.end_reason("A").await, Some(EndReason::Superseded));
    assert!(app.admits("B").await);
    app.advance(MINUTE * 59);
    assert!(app.admits("R").await);
    assert!(!app.admits("B").await);
}

#[tokio::test]
async fn a_grace_runs_out_without_a_server_as_well() {
    let (app, deploy) = (App::new(), Deploy::new());
    app.log_in("A").await;
    app.send(set_cookie(sid(get("/", &[]), "A"), "sid=B")).await;
    app.send(sid(get("/", &[]), "B")).await;
    app.store.save(&deploy.file).unwrap();
    app.advance(Duration::from_secs(30));
    let app = deploy.start(app.clock.clone()).unwrap();
    assert_eq!(app.end_reason("A").await, Some(EndReason::Superseded));
    assert!(app.admits("B").await);
}

/// Several times, for the two sessions may come in any order.
#[tokio::test]
async fn an_id_that_began_anew_beside_its_old_session_is_the_new_ones_alone() {
    let (app, deploy) = (App::new(), Deploy::new());
    for n in 0..20 {
        let (first, later) = (format!("A{n}"), format!("B{n}"));
        log_in_as(&app, &first, "alice").await;
        app.send(set_cookie(sid(get("/", &[]), &first), &format!("sid={later}"))).await;
        app.send(sid(get("/", &[]), &later)).await;
    }
    app.advance(Duration::from_secs(30));
    for n in 0..20 {
        log_in_as(&app, &format!("A{n}"), "bob").await;
    }
    let app = deploy.next(&app);
    for n in 0..20 {
        for (id, owner) in [(format!("A{n}"), "bob"), (format!("B{n}"), "alice")] {
            let response = app.send(sid(get("/account", &[]), &id)).await;
            assert_eq!(header(&response, "x-session"), owner, "{id}");
        }
    }
}

/// A server that waits no longer for its last answers.
#[tokio::test]
async fn a_session_that_is_in_use_when_it_is_saved_is_idle_from_then_on() {
    let (app, deploy) = (App::new(), Deploy::new());
    app.log_in("A").await;
    let upload = app.send_slow(slow(sid(post("/upload"), "A"))).await;
    app.advance(IDLE * 2);
    let next = deploy.next(&app);
    app.release();
    assert_eq!(upload.await.unwrap().status(), StatusCode::OK);
    // Not to the nanosecond: the wall clock counts the deploy's own time.
    next.advance(IDLE.saturating_sub(MINUTE));
    assert!(matches!(next.peek("A").await, Decision::Live(_)));
    next.advance(MINUTE);
    assert_eq!(next.end_reason("A").await, Some(EndReason::Idle), "nothing holds it there");
}

#[tokio::test]
async fn what_ended_stays_so_with_its_reason() {
    let (app, deploy) = (App::new(), Deploy::new());
    app.log_in("A").await;
    app.advance(IDLE);
    assert!(!app.admits("A").await);
    app.log_in("B").await;
    app.send(sid(post("/logout"), "B")).await;
    let app = deploy.next(&app);
    assert_eq!(app.end_reason("A").await, Some(EndReason::Idle));
    assert_eq!(app.end_reason("B").await, Some(EndReason::SignedOut));
}

#[tokio::test]
async fn a_saved_store_is_closed_and_says_so_with_503() {
    let (app, deploy) = (App::new(), Deploy::new());
    log_in_as(&app, "A", "alice").await;
    app.store.save(&deploy.file).unwrap();
    let calls = app.calls();
    for id in ["A", "unknown"] {
        let response = app.send(sid(get("/account", &[]), id)).await;
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE, "{id}");
        assert!(support::set_cookies(&response).is_empty(), "it is no log-out");
    }
    assert_eq!(app.calls(), calls);
    let login = app.send(set_cookie(post("/login"), "sid=B")).await;
    assert_eq!(login.status(), StatusCode::SERVICE_UNAVAILABLE);
    let sessions = app.layer.sessions();
    assert!(sessions.end(&SessionId::from("A")).await.is_err());
    assert!(sessions.end_all(&Owner::from("alice"), None).await.is_err());
    assert!(sessions.sessions_of(&Owner::from("alice")).await.is_err());
    app.advance(IDLE);
    app.store.sweep();
    assert_eq!(app.store.len(), 1, "nothing is swept, nothing told");
}

/// A log-out that is answered is in the file, or was refused.
#[test]
fn no_log_out_is_lost_to_a_save_at_the_same_time() {
    let policy = Policy::new(Limits::default());
    for round in 0..20 {
        let deploy = Deploy::new();
        let store = MemoryStore::new();
        let ids: Vec<String> = (0..2000).map(|n| format!("{round}-{n}")).collect();
        let keys: Vec<_> = ids
            .iter()
            .map(|id| match store.start(&SessionId::from(id.as_str()), &NewSession::new(), &policy) {
                Answer::Ready(Ok(Started::New(key))) => key,
                other => panic!("{other:?}"),
            })
            .collect();
        let ended: Vec<bool> = thread::scope(|scope| {
            let ending = scope.spawn(|| {
                let end = |&key| matches!(store.end(key, EndReason::SignedOut), Answer::Ready(Ok(true)));
                keys.iter().map(end).collect()
            });
            store.save(&deploy.file).unwrap();
            ending.join().unwrap()
        });
        let store = MemoryStore::new().restore(&deploy.file).unwrap();
        for (id, ended) in ids.iter().zip(ended) {
            match store.check(&SessionId::from(id.as_str()), &policy, Access::Peek) {
                Answer::Ready(Ok(Decision::Live(_))) => assert!(!ended, "{id} is back"),
                Answer::Ready(Ok(Decision::Ended { .. })) => assert!(ended, "{id} was logged out by nobody"),
                other => panic!("{other:?}"),
            }
        }
    }
}

#[tokio::test]
async fn a_file_is_taken_over_by_one_store_at_a_time() {
    let (app, deploy) = (App::new(), Deploy::new());
    app.log_in("A").await;
    let clock = app.clock.clone();
    let next = deploy.next(&app);
    assert!(next.admits("A").await);
    let another = deploy.start(clock.clone()).unwrap();
    assert!(another.store.is_empty(), "what a live store has is no error, and no session");
    log_in_as(&another, "B", "bob").await;
    let error = another.store.save(&deploy.file).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::WouldBlock, "it would take the place of what is another's");
    assert!(another.admits("B").await, "it stays open");
    next.store.save(&deploy.file).unwrap();
    assert!(deploy.start(clock).unwrap().admits("A").await);
}

/// As after `kill -9`.
#[tokio::test]
async fn what_was_taken_over_and_not_saved_is_taken_over_again() {
    let (app, deploy) = (App::new(), Deploy::new());
    log_in_as(&app, "A", "alice").await;
    log_in_as(&app, "B", "bob").await;
    let clock = app.clock.clone();
    app.store.save(&deploy.file).unwrap();
    for _ in 0..3 {
        let app = deploy.start(clock.clone()).unwrap();
        assert!(app.admits("A").await);
        assert!(app.admits("B").await);
        app.advance(MINUTE * 4);
        assert!(app.admits("A").await);
    }
    clock.advance(MINUTE * 3);
    let app = deploy.start(clock).unwrap();
    assert_eq!(app.end_reason("A").await, Some(EndReason::Idle), "its activities are not in the file");
}

#[tokio::test]
async fn what_ended_since_it_was_taken_over_stays_so_though_nothing_is_saved() {
    let (app, deploy) = (App::new(), Deploy::new());
    for (id, owner) in [("A", "alice"), ("B", "bob"), ("C", "carol"), ("D", "dave"), ("E", "bob")] {
        log_in_as(&app, id, owner).await;
    }
    let clock = app.clock.clone();
    app.store.save(&deploy.file).unwrap();
    let app = deploy.start(clock.clone()).unwrap();
    app.send(sid(post("/logout"), "A")).await;
    app.layer.sessions().end_all(&Owner::from("bob"), None).await.unwrap();
    app.send(with(set_cookie(sid(post("/login"), "C"), "sid=F"), "x-login", "carol")).await;
    assert!(app.admits("F").await);
    drop(app);
    for _ in 0..2 {
        let app = deploy.start(clock.clone()).unwrap();
        assert_eq!(app.end_reason("A").await, Some(EndReason::SignedOut));
        assert_eq!(app.end_reason("B").await, Some(EndReason::Revoked));
        assert_eq!(app.end_reason("E").await, Some(EndReason::Revoked));
        assert_eq!(app.end_reason("C").await, Some(EndReason::Superseded));
        assert_eq!(app.end_reason("F").await, Some(EndReason::Unknown), "it is not in the file");
        assert!(app.admits("D").await);
    }
    let app = deploy.start(clock).unwrap();
    let app = deploy.next(&app);
    assert_eq!(app.end_reason("A").await, Some(EndReason::SignedOut));
    assert!(app.admits("D").await);
}

/// The user has the new id; who still has the old one is somebody else.
#[tokio::test]
async fn an_id_that_was_changed_since_it_was_taken_over_does_not_come_back() {
    let (app, deploy) = (App::new(), Deploy::new());
    app.log_in("A").await;
    let clock = app.clock.clone();
    app.store.save(&deploy.file).unwrap();
    let app = deploy.start(clock.clone()).unwrap();
    app.send(set_cookie(sid(get("/", &[]), "A"), "sid=B")).await;
    assert!(app.admits("B").await);
    app.advance(Duration::from_secs(30));
    assert_eq!(app.end_reason("A").await, Some(EndReason::Superseded));
    drop(app);
    let app = deploy.start(clock).unwrap();
    assert_eq!(app.end_reason("A").await, Some(EndReason::Superseded));
}

/// Though it was changed before, and only its grace had yet to end.
#[tokio::test]
async fn an_id_that_was_superseded_since_it_was_taken_over_does_not_come_back() {
    for log_in_again in [false, true] {
        let (app, deploy) = (App::new(), Deploy::new());
        app.log_in("A").await;
        app.send(set_cookie(sid(get("/", &[]), "A"), "sid=B")).await;
        let clock = app.clock.clone();
        app.store.save(&deploy.file).unwrap();
        let app = deploy.start(clock.clone()).unwrap();
        assert!(app.admits("B").await);
        if log_in_again {
            let policy = Policy::new(Limits::new(IDLE, ABSOLUTE));
            let look = app.store.check(&SessionId::from("B"), &policy, Access::Peek);
            let Answer::Ready(Ok(Decision::Live(live))) = look else { panic!("it is live") };
            assert_eq!(
                app.store.restart(live.key, &NewSession::new(), &policy).await.unwrap(),
                Restarted::Done
            );
        } else {
            app.advance(Duration::from_secs(30));
        }
        assert!(!app.admits("A").await);
        drop(app);
        let app = deploy.start(clock).unwrap();
        assert_eq!(app.end_reason("A").await, Some(EndReason::Superseded), "again: {log_in_again}");
    }
}

/// However often it is changed.
#[tokio::test]
async fn the_file_grows_by_one_note_for_a_session_at_most() {
    let (app, deploy) = (App::new(), Deploy::new());
    app.log_in("A").await;
    app.log_in("B").await;
    app.store.save(&deploy.file).unwrap();
    let length = || fs::metadata(&deploy.file).unwrap().len();
    let before = length();
    let app = deploy.start(app.clock.clone()).unwrap();
    app.log_in("C").await;
    app.send(sid(post("/logout"), "C")).await;
    assert_eq!(length(), before, "what is not in it needs no note");
    app.send(sid(post("/logout"), "B")).await;
    let note = length() - before;
    let mut id = "A".to_owned();
    for n in 0..100 {
        let next = format!("A{n}");
        app.send(set_cookie(sid(get("/", &[]), &id), &format!("sid={next}"))).await;
        id = next;
    }
    app.send(sid(post("/logout"), &id)).await;
    assert_eq!(length(), before + 2 * note);
}

#[tokio::test]
async fn a_torn_note_is_an_end_nobody_was_told_of_and_a_damaged_one_is_refused() {
    let (app, deploy) = (App::new(), Deploy::new());
    for id in ["A", "B", "C"] {
        app.log_in(id).await;
    }
    let clock = app.clock.clone();
    app.store.save(&deploy.file).unwrap();
    let unnoted = fs::read(&deploy.file).unwrap().len();
    let app = deploy.start(clock.clone()).unwrap();
    app.send(sid(post("/logout"), "A")).await;
    let once = fs::read(&deploy.file).unwrap().len();
    app.send(sid(post("/logout"), "B")).await;
    drop(app);
    let noted = fs::read(&deploy.file).unwrap();
    for length in once..noted.len() {
        fs::write(&deploy.file, &noted[..length]).unwrap();
        let app = deploy.start(clock.clone()).unwrap();
        assert_eq!(app.end_reason("A").await, Some(EndReason::SignedOut), "{length}");
        assert!(app.admits("B").await, "{length}");
        app.send(sid(post("/logout"), "C")).await;
        drop(app);
        let app = deploy.start(clock.clone()).unwrap();
        assert_eq!(
            app.end_reason("C").await,
            Some(EndReason::SignedOut),
            "a note after the torn one, {length}"
        );
        assert!(app.admits("B").await, "{length}");
    }
    for at in unnoted..noted.len() {
        let mut damaged = noted.clone();
        damaged[at] ^= 1;
        fs::write(&deploy.file, &damaged).unwrap();
        let error = deploy.start(clock.clone()).err().map(|error| error.kind());
        assert_eq!(error, Some(io::ErrorKind::InvalidData), "{at}");
    }
}

#[tokio::test]
async fn a_file_elsewhere_goes_once_its_sessions_are_saved_here() {
    let (app, deploy) = (App::new(), Deploy::new());
    app.log_in("A").await;
    let clock = app.clock.clone();
    let next = deploy.next(&app);
    let elsewhere = deploy.file.with_file_name("moved");
    next.store.save(&elsewhere).unwrap();
    assert!(!deploy.file.exists(), "it would be taken over a second time");
    assert_eq!(MemoryStore::new().clock(clock).restore(&elsewhere).unwrap().len(), 1);
}

#[tokio::test]
async fn a_damaged_file_is_refused_whole() {
    let (app, deploy) = (App::new(), Deploy::new());
    log_in_as(&app, "A", "alice").await;
    app.log_in("B").await;
    app.store.save(&deploy.file).unwrap();
    let whole = fs::read(&deploy.file).unwrap();
    let mut damaged: Vec<Vec<u8>> = (0..whole.len()).map(|at| whole[..at].to_vec()).collect();
    for at in 0..whole.len() {
        let mut flipped = whole.clone();
        flipped[at] ^= 1;
        damaged.push(flipped);
    }
    for file in damaged {
        fs::write(&deploy.file, &file).unwrap();
        let error = deploy.start(app.clock.clone()).err().map(|error| error.kind());
        assert_eq!(error, Some(io::ErrorKind::InvalidData), "{}", String::from_utf8_lossy(&file));
        assert!(!deploy.file.exists());
    }
    fs::write(&deploy.file, &whole).unwrap();
    assert!(deploy.start(app.clock.clone()).unwrap().admits("A").await);
}

/// T13, T14: of another version, or with something missing or unheard of, though the sum is right.
#[tokio::test]
async fn a_file_that_says_what_no_store_saves_is_refused_whole() {
    type Change = fn(&mut serde_json::Value);
    let changes: [Change; 7] = [
        |json| json["version"] = 1.into(),
        |json| drop(json.as_object_mut().unwrap().remove("store_clock")),
        |json| drop(json["sessions"][1].as_object_mut().unwrap().remove("record")),
        |json| drop(json["sessions"][1]["record"].as_array_mut().unwrap().pop()),
        |json| json["sessions"][1]["record"][0] = 1.into(),
        |json| json["sessions"][1]["record"][9] = 7.into(),
        |json| json["sessions"][1]["record"] = json["sessions"][0]["record"].clone(),
    ];
    for (number, change) in changes.into_iter().enumerate() {
        let (app, deploy) = (App::new(), Deploy::new());
        app.log_in("A").await;
        app.log_in("B").await;
        app.store.save(&deploy.file).unwrap();
        deploy.edit(change);
        let error = deploy.start(app.clock.clone()).err().map(|error| error.kind());
        assert_eq!(error, Some(io::ErrorKind::InvalidData), "change {number}");
    }
}

/// What may have been adopted is remembered by the next process as long as by this one.
#[tokio::test]
async fn a_remembered_end_of_an_adopted_session_goes_along() {
    let (app, deploy) = (App::new(), Deploy::new());
    let (policy, id) = (Policy::new(Limits::new(IDLE, ABSOLUTE)), SessionId::from("A"));
    let adopt = |store: &MemoryStore| match store.adopt(&id, &NewSession::new(), &policy) {
        Answer::Ready(Ok(adopted)) => adopted,
        other => panic!("{other:?}"),
    };
    let Adopted::New(key) = adopt(&app.store) else { panic!("it is new") };
    drop(app.store.end(key, EndReason::SignedOut));
    let app = deploy.next(&app);
    app.advance(IDLE.saturating_sub(MINUTE));
    app.store.sweep();
    assert_eq!(adopt(&app.store), Adopted::Known);
    app.advance(MINUTE);
    app.store.sweep();
    assert!(matches!(adopt(&app.store), Adopted::New(_)), "no token of it can be fresh any more");
}

/// By a killed one as well.
#[tokio::test]
async fn an_end_of_an_adopted_session_is_remembered_though_nothing_is_saved() {
    let (app, deploy) = (App::new(), Deploy::new());
    let (policy, id) = (Policy::new(Limits::new(IDLE, ABSOLUTE)), SessionId::from("A"));
    let adopt = |store: &MemoryStore| match store.adopt(&id, &NewSession::new(), &policy) {
        Answer::Ready(Ok(adopted)) => adopted,
        other => panic!("{other:?}"),
    };
    assert!(matches!(adopt(&app.store), Adopted::New(_)));
    let clock = app.clock.clone();
    app.store.save(&deploy.file).unwrap();
    let app = deploy.start(clock.clone()).unwrap();
    assert_eq!(adopt(&app.store), Adopted::Known);
    app.layer.sessions().end(&id).await.unwrap();
    drop(app);
    let app = deploy.start(clock).unwrap();
    app.store.sweep();
    assert_eq!(adopt(&app.store), Adopted::Known);
}

/// While they live: whoever waits for it in vain has none.
#[tokio::test]
async fn of_stores_that_start_at_once_one_takes_the_file_over() {
    for _ in 0..3 {
        let (app, deploy) = (App::new(), Deploy::new());
        app.log_in("A").await;
        app.store.save(&deploy.file).unwrap();
        let number = thread::scope(|threads| {
            let start = || MemoryStore::new().restore(&deploy.file).unwrap();
            let starts: Vec<_> = (0..4).map(|_| threads.spawn(start)).collect();
            let stores: Vec<_> = starts.into_iter().map(|start| start.join().unwrap()).collect();
            stores.iter().map(MemoryStore::len).sum::<usize>()
        });
        assert_eq!(number, 1);
    }
}

#[tokio::test]
async fn a_save_that_fails_leaves_the_store_open_and_the_older_file_alone() {
    let (app, deploy) = (App::new(), Deploy::new());
    app.log_in("A").await;
    assert!(app.store.save(deploy.file.join("no/such/directory")).is_err());
    assert!(app.admits("A").await);
    app.store.save(&deploy.file).unwrap();
    assert_eq!(fs::read_dir(deploy.file.parent().unwrap()).unwrap().count(), 1, "no remains");
}

/// I7
#[cfg(unix)]
#[tokio::test]
async fn the_file_is_for_its_owner_alone_and_holds_no_session_id() {
    use std::os::unix::fs::PermissionsExt;

    let (app, deploy) = (App::new(), Deploy::new());
    app.log_in("0123456789abcdef").await;
    fs::write(&deploy.file, "an older one, for all to read").unwrap();
    app.store.save(&deploy.file).unwrap();
    assert_eq!(fs::metadata(&deploy.file).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!fs::read_to_string(&deploy.file).unwrap().contains("0123456789abcdef"));
}

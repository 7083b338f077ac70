//! The memory store: bounded, swept a little at a time, atomic; T90–T92, T108–T112.
#![allow(clippy::unchecked_time_subtraction)] // of constants

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use crate::support::{ABSOLUTE, App, IDLE, NANO, get, post, set_cookie, set_cookies, sid};
use http::StatusCode;
use tower_session_timeout::{
    Clock, Decision, EndReason, Limits, Live, ManualClock, MemoryStore, NewSession, SessionEvent, SessionId,
    Started, Store, SystemClock,
    contract::{Access, Answer, EventSink, Policy, Restarted, Rotated},
};

const KEPT: Duration = Duration::from_secs(5 * 60);

fn policy() -> Policy {
    Policy::new(Limits::new(IDLE, ABSOLUTE))
}

fn ready<T: std::fmt::Debug>(answer: Answer<T>) -> T {
    match answer {
        Answer::Ready(result) => result.unwrap(),
        Answer::Pending(_) => panic!("the memory store is never pending"),
    }
}

/// A store on its own, with its clock.
struct Bench {
    store: MemoryStore,
    clock: ManualClock,
}

impl Bench {
    fn new(capacity: usize) -> Self {
        let clock = ManualClock::new();
        Self { store: MemoryStore::new().capacity(capacity).clock(clock.clone()), clock }
    }

    fn start(&self, id: &str) -> Started {
        ready(self.store.start(&SessionId::from(id), &NewSession::new(), &policy()))
    }

    fn check(&self, id: &str) -> Decision {
        ready(self.store.check(&SessionId::from(id), &policy(), Access::Renew))
    }

    /// A request that is under way.
    fn hold(&self, id: &str) -> Live {
        let decision = ready(self.store.check(&SessionId::from(id), &policy(), Access::Hold));
        let Decision::Live(live) = decision else { panic!("{id} is over") };
        live
    }

    fn idle_for(&self, id: &str) -> Duration {
        let decision = ready(self.store.check(&SessionId::from(id), &policy(), Access::Peek));
        let Decision::Live(live) = decision else { panic!("{id} is over") };
        live.idle_for()
    }

    fn is_live(&self, id: &str) -> bool {
        matches!(self.check(id), Decision::Live(_))
    }

    fn rotate(&self, from: &str, to: &str) -> Rotated {
        let Decision::Live(live) = self.check(from) else { panic!("{from} is over") };
        ready(self.store.rotate(live.key, &SessionId::from(to), live.presented, &policy()))
    }

    fn end(&self, id: &str) -> bool {
        let Decision::Live(live) = self.check(id) else { return false };
        ready(self.store.end(live.key, EndReason::SignedOut))
    }
}

#[test]
fn an_ended_session_keeps_its_reason_for_five_minutes_and_is_then_forgotten() {
    let bench = Bench::new(10);
    bench.start("A");
    assert!(bench.end("A"));
    bench.clock.advance(KEPT - NANO);
    bench.store.sweep();
    assert!(matches!(bench.check("A"), Decision::Ended { reason: EndReason::SignedOut, .. }));
    bench.clock.advance(NANO);
    bench.store.sweep();
    assert!(matches!(bench.check("A"), Decision::Ended { reason: EndReason::Unknown, .. }));
    assert!(bench.store.is_empty());
}

/// A layer further in judges each by the time since the last one that was answered, and refuses them.
#[test]
fn requests_that_were_no_activity_leave_no_trace_however_many_at_once() {
    let bench = Bench::new(10);
    bench.start("A");
    bench.clock.advance(IDLE / 2);
    let requests = [bench.hold("A"), bench.hold("A"), bench.hold("A")];
    for live in &requests {
        assert_eq!(live.idle_for(), IDLE / 2, "what is under way is no activity yet");
    }
    assert_eq!(bench.idle_for("A"), Duration::ZERO, "and keeps it from ending");
    for live in &requests {
        ready(bench.store.withdraw(live));
    }
    assert_eq!(bench.idle_for("A"), IDLE / 2);
    let [refused, answered] = [bench.hold("A"), bench.hold("A")];
    bench.clock.advance(NANO);
    bench.store.release(answered.key);
    ready(bench.store.withdraw(&refused));
    assert_eq!(bench.idle_for("A"), Duration::ZERO, "an activity meanwhile stays one");
    bench.clock.advance(IDLE);
    assert!(!bench.is_live("A"), "nothing holds it");
}

#[test]
fn ordinary_calls_clear_away_what_is_over() {
    let bench = Bench::new(100_000);
    for n in 0..10_000 {
        bench.start(&format!("old-{n}"));
    }
    bench.clock.advance(IDLE);
    bench.start("live");
    for _ in 0..2 {
        // Once to find them over, once to forget them.
        for n in 0..20_000 {
            bench.check(&format!("no-such-id-{n}"));
        }
        bench.clock.advance(KEPT);
    }
    assert!(bench.store.len() < 100, "{} left", bench.store.len());
    assert!(bench.is_live("live"));
}

#[test]
fn a_sweep_ends_nothing_that_lives() {
    let bench = Bench::new(10_000);
    for n in 0..5_000 {
        bench.start(&n.to_string());
    }
    bench.check("0");
    bench.clock.advance(IDLE - NANO);
    bench.store.sweep();
    assert_eq!(bench.store.len(), 5_000);
    assert!((0..5_000).all(|n| bench.is_live(&n.to_string())));
}

/// The layer with the wider limits has only begun its session and has not asked for it yet.
#[test]
fn a_sweep_goes_by_the_widest_limits_of_all_layers() {
    let bench = Bench::new(10);
    let wide = Policy::new(Limits::idle_only(Duration::from_secs(3 * 24 * 3600)));
    ready(bench.store.start(&SessionId::from("W"), &NewSession::new(), &wide));
    bench.start("A");
    bench.clock.advance(IDLE);
    assert!(!bench.is_live("A"));
    bench.clock.advance(ABSOLUTE);
    for n in 0..1_000 {
        bench.check(&n.to_string());
    }
    bench.store.sweep();
    let decision = ready(bench.store.check(&SessionId::from("W"), &wide, Access::Renew));
    assert!(matches!(decision, Decision::Live(_)));
}

#[test]
fn a_sweep_goes_by_the_limits_a_session_has_of_its_own() {
    let minute = Duration::from_secs(60);
    let bench = Bench::new(10);
    let told = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&told);
    bench.store.events(EventSink::new(move |event| {
        if let SessionEvent::Ended { reason, idle_for, .. } = event {
            sink.lock().unwrap().push((*reason, *idle_for));
        }
    }));
    for (id, idle) in [("short", minute), ("long", IDLE * 3)] {
        let new = NewSession::new().limits(Limits::idle_only(idle));
        ready(bench.store.start(&SessionId::from(id), &new, &policy()));
    }
    for (passes, ended) in
        [(minute - NANO, 0), (NANO, 1), (IDLE - minute, 1), (IDLE * 2 - NANO, 1), (NANO, 2)]
    {
        bench.clock.advance(passes);
        bench.store.sweep();
        assert_eq!(told.lock().unwrap().len(), ended);
    }
    assert_eq!(*told.lock().unwrap(), [(EndReason::Idle, minute), (EndReason::Idle, IDLE * 3)]);
}

/// T108
#[test]
fn when_full_new_sessions_are_refused_and_live_ones_kept() {
    let bench = Bench::new(100);
    for n in 0..100 {
        assert!(matches!(bench.start(&n.to_string()), Started::New(_)));
    }
    for n in 100..200 {
        assert_eq!(bench.start(&n.to_string()), Started::AtCapacity);
    }
    assert!(matches!(bench.start("7"), Started::AlreadyLive(_)));
    assert!((0..100).all(|n| bench.is_live(&n.to_string())));
    assert_eq!(bench.store.len(), 100);
}

#[test]
fn when_full_ended_sessions_make_room_first() {
    let bench = Bench::new(100);
    for n in 0..100 {
        bench.start(&n.to_string());
    }
    bench.end("42");
    assert!(matches!(bench.start("new"), Started::New(_)), "although its reason is not five minutes old");
    assert_eq!(bench.start("one more"), Started::AtCapacity);
    bench.clock.advance(IDLE);
    assert!(matches!(bench.start("one more"), Started::New(_)));
    bench.store.sweep();
    bench.clock.advance(Duration::from_secs(5 * 60));
    bench.store.sweep();
    assert_eq!(bench.store.len(), 1);
}

/// T109: a flood of log-ins cannot push out a live session's record, nor let an ended one in again.
#[test]
fn a_flood_neither_evicts_the_living_nor_revives_the_dead() {
    let bench = Bench::new(50);
    bench.start("live");
    bench.start("ended");
    bench.end("ended");
    for n in 0..10_000 {
        bench.start(&n.to_string());
        bench.check(&format!("made-up-{n}"));
    }
    assert!(bench.is_live("live"));
    assert!(!bench.is_live("ended"));
    assert!(bench.store.len() <= 50);
}

#[test]
fn a_rotation_is_never_refused_for_want_of_room() {
    let bench = Bench::new(2);
    bench.start("A");
    bench.start("B");
    let mut current = "A".to_owned();
    for n in 0..1_000 {
        let next = format!("A{n}");
        assert_eq!(bench.rotate(&current, &next), Rotated::New);
        assert!(bench.is_live(&next));
        current = next;
        assert!(bench.store.len() <= 5, "{}", bench.store.len());
    }
    assert!(bench.is_live("B"));
}

/// Any of the new ones may be the one that reached the browser.
#[test]
fn ids_past_their_grace_make_room_for_new_ones_first() {
    let bench = Bench::new(1_000);
    bench.start("A");
    bench.rotate("A", "B");
    assert!(bench.is_live("B"));
    bench.clock.advance(Duration::from_secs(30));
    for n in 0..63 {
        assert_eq!(bench.rotate("B", &format!("C{n}")), Rotated::New);
    }
    assert!(bench.is_live("B"));
    for n in 0..63 {
        assert!(bench.is_live(&format!("C{n}")), "{n}");
    }
}

#[test]
fn all_ids_of_a_session_are_freed_with_it() {
    let bench = Bench::new(1_000);
    for n in 0..10 {
        bench.start(&format!("{n}-0"));
        for m in 0..20 {
            bench.rotate(&format!("{n}-{m}"), &format!("{n}-{}", m + 1));
        }
    }
    assert_eq!(bench.store.len(), 210);
    bench.clock.advance(IDLE);
    bench.store.sweep();
    bench.clock.advance(KEPT);
    bench.store.sweep();
    assert!(bench.store.is_empty(), "{} left", bench.store.len());
    bench.start("0-5");
    assert!(bench.is_live("0-5"));
    assert!(!bench.is_live("0-6"));
}

#[test]
fn a_superseded_first_id_may_begin_anew_beside_its_old_session() {
    let bench = Bench::new(10);
    bench.start("A");
    bench.rotate("A", "B");
    assert!(bench.is_live("B"));
    bench.clock.advance(Duration::from_secs(30));
    assert!(!bench.is_live("A"));
    assert!(matches!(bench.start("A"), Started::New(_)));
    assert!(bench.end("A"));
    assert!(bench.is_live("B"), "its old session is another one now");
    assert!(bench.end("B"));
    bench.clock.advance(KEPT);
    bench.store.sweep();
    assert!(bench.store.is_empty());
}

#[test]
fn a_superseded_later_id_may_begin_anew_beside_its_old_session() {
    let bench = Bench::new(10);
    bench.start("A");
    bench.rotate("A", "B");
    bench.rotate("B", "C");
    assert!(bench.is_live("C"));
    bench.clock.advance(Duration::from_secs(30));
    assert!(matches!(bench.start("B"), Started::New(_)));
    assert!(bench.end("C"));
    assert!(bench.is_live("B"));
    bench.clock.advance(KEPT);
    bench.store.sweep();
    assert!(bench.is_live("B"), "the old session's leaving did not take it along");
    assert_eq!(bench.store.len(), 1);
}

/// Found by the property test: the old session still took it for its own, and said so when asked to issue it again.
#[test]
fn an_id_that_began_anew_elsewhere_is_no_longer_the_old_sessions() {
    let bench = Bench::new(10);
    bench.start("A");
    bench.rotate("A", "B");
    bench.rotate("B", "C");
    assert!(bench.is_live("C"));
    bench.clock.advance(Duration::from_secs(30));
    bench.start("B");
    assert!(bench.end("B"));
    assert_eq!(bench.rotate("C", "B"), Rotated::New);
    assert!(bench.is_live("B"));
}

/// A record's place is used again; what still names the old tenant must not reach the new one.
#[test]
fn a_key_of_a_forgotten_session_names_nobody() {
    let bench = Bench::new(10);
    bench.start("A");
    let Decision::Live(old) = bench.check("A") else { panic!("live") };
    bench.end("A");
    bench.start("A");
    assert!(!ready(bench.store.end(old.key, EndReason::Revoked)));
    assert_ne!(ready(bench.store.restart(old.key, &NewSession::new(), &policy())), Restarted::Done);
    let rotated = ready(bench.store.rotate(old.key, &SessionId::from("B"), old.presented, &policy()));
    assert_eq!(rotated, Rotated::Refused);
    assert!(bench.is_live("A"));
    assert!(!bench.is_live("B"));
    assert_eq!(bench.store.len(), 1);
    let foreign = tower_session_timeout::SessionKey::new([0xff; 16]);
    assert!(!ready(bench.store.end(foreign, EndReason::Revoked)));
}

/// Each ending is told once, whoever finds it.
#[test]
fn endings_are_told_exactly_once() {
    let bench = Bench::new(10);
    let told = Arc::new(Mutex::new(Vec::new()));
    let sink = {
        let told = Arc::clone(&told);
        EventSink::new(move |event| {
            if let SessionEvent::Ended { reason, idle_for, age, .. } = event {
                told.lock().unwrap().push((*reason, *idle_for, *age));
            }
        })
    };
    bench.store.events(sink);
    bench.start("swept");
    bench.start("asked for");
    bench.start("signed out");
    bench.clock.advance(Duration::from_secs(60));
    bench.end("signed out");
    bench.clock.advance(IDLE);
    bench.check("asked for");
    for _ in 0..3 {
        bench.store.sweep();
        bench.check("asked for");
        bench.check("signed out");
        bench.clock.advance(KEPT);
    }
    let late = IDLE + Duration::from_secs(60);
    assert_eq!(
        *told.lock().unwrap(),
        [
            (EndReason::SignedOut, Duration::ZERO, Duration::from_secs(60)),
            (EndReason::Idle, late, late),
            (EndReason::Idle, late, late),
        ]
    );
}

/// T04, T05: renewals race an end; from the end on, nothing is admitted.
#[test]
fn no_renewal_survives_an_end() {
    for _ in 0..300 {
        let bench = Bench::new(10);
        bench.start("A");
        let ended = AtomicBool::new(false);
        let revived = AtomicUsize::new(0);
        std::thread::scope(|threads| {
            for _ in 0..3 {
                threads.spawn(|| {
                    for _ in 0..50 {
                        let was_ended = ended.load(SeqCst);
                        if bench.is_live("A") && was_ended {
                            revived.fetch_add(1, SeqCst);
                        }
                    }
                });
            }
            threads.spawn(|| {
                bench.end("A");
                ended.store(true, SeqCst);
            });
        });
        assert_eq!(revived.into_inner(), 0);
        assert!(!bench.is_live("A"));
    }
}

/// Threads rotate, begin and end over few ids; afterwards the books balance.
#[test]
fn concurrent_rotations_begins_and_ends_leave_nothing_behind() {
    let bench = Bench::new(10_000);
    std::thread::scope(|threads| {
        for thread in 0..4_u64 {
            let bench = &bench;
            threads.spawn(move || {
                let mut random = thread + 1;
                for _ in 0..5_000 {
                    random = random
                        .wrapping_mul(6_364_136_223_846_793_005)
                        .wrapping_add(1_442_695_040_888_963_407);
                    let (one, two) = ((random >> 33) % 8, (random >> 40) % 8);
                    let (id, other) = (SessionId::from(one.to_string()), SessionId::from(two.to_string()));
                    match (random >> 50) % 4 {
                        0 => drop(bench.store.start(&id, &NewSession::new(), &policy())),
                        1 => drop(bench.end(&one.to_string())),
                        2 => bench.store.sweep(),
                        _ => {
                            if let Decision::Live(live) = bench.check(&one.to_string()) {
                                drop(bench.store.rotate(live.key, &other, live.presented, &policy()));
                            }
                        }
                    }
                }
            });
        }
    });
    assert!(bench.store.len() <= 16);
    bench.clock.advance(ABSOLUTE);
    bench.store.sweep();
    bench.clock.advance(KEPT);
    bench.store.sweep();
    assert!(bench.store.is_empty(), "{} left", bench.store.len());
}

/// T111: without a runtime, and nothing is left running.
#[tokio::test(start_paused = true)]
async fn a_periodic_sweep_stops_with_its_guard() {
    let clock = ManualClock::new();
    let store = Arc::new(MemoryStore::new().clock(clock.clone()));
    let start = |id: &str| ready(store.start(&SessionId::from(id), &NewSession::new(), &policy()));
    let sweeper = store.sweep_every(Duration::from_secs(60));
    start("A");
    ready(store.check(&SessionId::from("A"), &policy(), Access::Renew));
    clock.advance(IDLE);
    tokio::time::sleep(Duration::from_secs(61)).await;
    clock.advance(KEPT);
    tokio::time::sleep(Duration::from_secs(61)).await;
    assert!(store.is_empty());

    drop(sweeper);
    start("B");
    clock.advance(IDLE);
    tokio::time::sleep(Duration::from_secs(600)).await;
    clock.advance(KEPT);
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(store.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_periodic_sweep_does_not_keep_its_store() {
    let store = Arc::new(MemoryStore::new());
    let weak = Arc::downgrade(&store);
    let _sweeper = store.sweep_every(Duration::from_secs(60));
    tokio::time::sleep(Duration::from_secs(61)).await;
    drop(store);
    assert!(weak.upgrade().is_none());
}

/// T108, through the layer: the log-in is answered honestly, and its cookie does not leave (I11).
#[tokio::test]
async fn a_log_in_to_a_full_store_hears_503() {
    let told = Arc::new(AtomicUsize::new(0));
    let app = {
        let told = Arc::clone(&told);
        App::with_store(MemoryStore::new().capacity(1), |builder| {
            builder.on_event(move |event| {
                if matches!(event, SessionEvent::AtCapacity) {
                    told.fetch_add(1, SeqCst);
                }
            })
        })
    };
    app.log_in("A").await;
    let response = app.send(set_cookie(post("/login"), "sid=B")).await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(set_cookies(&response).is_empty());
    assert_eq!(told.load(SeqCst), 1);
    assert!(app.admits("A").await);
    let response = app.send(set_cookie(sid(get("/account", &[]), "A"), "sid=A2")).await;
    assert_eq!(set_cookies(&response), ["sid=A2"], "a rotation always has room");
}

/// T110: whoever finds ids that collide, finds them for one process, whose key nobody is told.
#[test]
fn ids_that_collide_in_one_process_do_not_in_another() {
    let (here, there) = (MemoryStore::new(), MemoryStore::new());
    let place =
        |store: &MemoryStore, id: &str| store.tag(&SessionId::from(id)).unwrap().to_bytes()[0] as usize % 16;
    let ids = (0..).map(|number: u32| number.to_string());
    let mut filled = [0; 16];
    for id in ids.filter(|id| place(&here, id) == 0).take(1_000) {
        filled[place(&there, &id)] += 1;
    }
    // 62.5 each, on average.
    assert!(filled.iter().all(|number| (10..150).contains(number)), "{filled:?}");
}

/// T113: each knows of what it was asked itself.
#[tokio::test]
async fn processes_that_share_no_store_let_nobody_in_for_longer_and_hear_of_no_log_out() {
    let (one, other) = (App::new(), App::new());
    one.log_in("A").await;
    assert!(!other.admits("A").await, "nobody has told it of the log-in");
    // Nor of the activity, where both know the session.
    other.log_in("A").await;
    let half = IDLE / 2;
    for _ in 0..2 {
        one.advance(half);
        other.advance(half);
        assert!(one.admits("A").await);
    }
    assert!(!other.admits("A").await);
    for app in [&one, &other] {
        app.log_in("B").await;
    }
    one.send(sid(post("/logout"), "B")).await;
    assert!(!one.admits("B").await && other.admits("B").await, "so it is a store for one process");
}

/// T90–T92: not the wall clock, and not one that stops while the machine sleeps.
#[test]
fn the_system_clock_is_the_one_that_goes_on_in_suspend() {
    let clock = SystemClock;
    let (before, after) = (clock.now(), clock.now());
    assert!(after >= before);
    #[cfg(target_os = "linux")]
    {
        let uptime = std::fs::read_to_string("/proc/uptime").unwrap();
        let uptime: f64 = uptime.split(' ').next().unwrap().parse().unwrap();
        // The kernel's uptime counts suspend, as CLOCK_BOOTTIME does.
        assert!((clock.now().as_secs_f64() - uptime).abs() < 5.0);
    }
}

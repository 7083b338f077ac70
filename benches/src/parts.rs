//! The parts of a request on their own, beside what could take their place.

use std::{
    collections::HashMap,
    hash::BuildHasher,
    hint::black_box,
    sync::Mutex,
    time::{Duration, Instant},
};

use foldhash::fast::RandomState;
use rustix::time::{ClockId, clock_gettime};
use siphasher::sip128::{SipHasher13, SipHasher24};
use tower_session_timeout::{
    CachedStore, Clock, Limits, MemoryStore, NewSession, SessionId, Store, SystemClock,
    contract::{Access, Answer, Policy},
};

use crate::{
    cases::tower_sessions_store,
    floor::Map,
    measure::{instructions, measured_part, p10, resident_bytes},
    requests::id,
};

type Part = Box<dyn Fn(usize)>;
type NamedPart = (&'static str, fn() -> Part);
type NamedStore = (&'static str, fn(u64));
type Hashers = (SipHasher13, SipHasher24, RandomState);

const SESSIONS: u64 = 2_000;
const MANY_SESSIONS: u64 = 1_000_000;

#[rustfmt::skip]
pub const PARTS: &[NamedPart] = &[
    ("SipHash-1-3-128 of 22 bytes", || hash(|hasher, id| hasher.0.hash(&id[..22]))),
    ("SipHash-1-3-128 of 32 bytes", || hash(|hasher, id| hasher.0.hash(id))),
    ("SipHash-2-4-128 of 22 bytes", || hash(|hasher, id| hasher.1.hash(&id[..22]))),
    ("SipHash-2-4-128 of 32 bytes", || hash(|hasher, id| hasher.1.hash(id))),
    ("foldhash of 22 bytes", || hash(|hasher, id| hasher.2.hash_one(&id[..22]))),
    ("foldhash of 32 bytes", || hash(|hasher, id| hasher.2.hash_one(id))),
    ("CLOCK_BOOTTIME", || Box::new(|n| measured_part(n, |_| clock_gettime(ClockId::Boottime)))),
    ("SystemClock", || Box::new(|n| measured_part(n, |_| SystemClock.now()))),
    ("Instant", || Box::new(|n| measured_part(n, |_| Instant::now()))),
    ("CLOCK_MONOTONIC_COARSE", || Box::new(|n| measured_part(n, |_| clock_gettime(ClockId::MonotonicCoarse)))),
    ("floor's map, touch", floor_touch),
    ("MemoryStore::check, renewing", || check(Access::Renew, 0)),
    ("MemoryStore::check, peeking", || check(Access::Peek, 0)),
    ("MemoryStore::check, unknown id", || check(Access::Renew, 1 << 40)),
    ("a sharded map of the same hash, touch", sharded_touch),
    ("CachedStore::check, within the window", cached),
];

/// Filled in a process of their own, to see what they take.
pub const STORES: &[NamedStore] = &[
    ("MemoryStore", |n| memory(memory_store, n)),
    ("MemoryStore, sessions with an owner", |n| {
        memory(|n| filled(n, &NewSession::new().owner("user-4711")), n);
    }),
    ("floor's map", |n| memory(|n| Map::new(ClockId::Boottime, (0..n).map(id)), n)),
    ("tower-sessions' MemoryStore, 1 item", |n| memory(tower_sessions_store, n)),
];

fn hash<T: 'static>(of: fn(&Hashers, &[u8; 32]) -> T) -> Part {
    let key = black_box([7; 16]);
    let hashers: Hashers =
        (SipHasher13::new_with_key(&key), SipHasher24::new_with_key(&key), RandomState::default());
    let ids: Vec<[u8; 32]> = (0..64).map(|i| [i; 32]).collect();
    Box::new(move |n| measured_part(n, |turn| of(&hashers, &ids[turn % 64])))
}

fn floor_touch() -> Part {
    let map = Map::new(ClockId::Boottime, (0..SESSIONS).map(id));
    let ids: Vec<String> = (0..SESSIONS).map(id).collect();
    Box::new(move |n| measured_part(n, |turn| map.touch(ids[turn % ids.len()].as_bytes())))
}

fn filled(n: u64, new: &NewSession) -> MemoryStore {
    let store = MemoryStore::new();
    for i in 0..n {
        let started = store.start(&SessionId::from(id(i)), new, &policy());
        assert!(matches!(started, Answer::Ready(Ok(_))), "there is room");
    }
    store
}

fn memory_store(n: u64) -> MemoryStore {
    filled(n, &NewSession::new())
}

fn policy() -> Policy {
    Policy::new(Limits::new(Duration::from_mins(30), Duration::from_hours(8)))
}

fn check(access: Access, first: u64) -> Part {
    let store = memory_store(SESSIONS);
    let ids: Vec<String> = (first..first + SESSIONS).map(id).collect();
    let policy = policy();
    Box::new(move |n| {
        measured_part(n, |turn| store.check(&SessionId::from(&*ids[turn % ids.len()]), &policy, access));
    })
}

/// The least a cache in front of a store could be.
fn sharded_touch() -> Part {
    let hasher = SipHasher24::new_with_key(&black_box([7; 16]));
    let hash = move |id: &str| {
        let hash = hasher.hash(id.as_bytes());
        (hash.h1, hash.h2)
    };
    let shards: Vec<Mutex<HashMap<(u64, u64), Duration, RandomState>>> =
        (0..64).map(|_| Mutex::default()).collect();
    let ids: Vec<String> = (0..SESSIONS).map(id).collect();
    let shard = move |(_, low): (u64, u64)| low as usize % 64;
    for id in &ids {
        let hash = hash(id);
        shards[shard(hash)].lock().unwrap().insert(hash, Duration::ZERO);
    }
    Box::new(move |n| {
        measured_part(n, |turn| {
            let hash = hash(&ids[turn % ids.len()]);
            let mut shard = shards[shard(hash)].lock().unwrap();
            let active = shard.get_mut(&hash).expect("it is there");
            std::mem::replace(active, SystemClock.now())
        });
    })
}

fn cached() -> Part {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let store = CachedStore::new(memory_store(SESSIONS), Duration::from_hours(1));
    let ids: Vec<String> = (0..SESSIONS).map(id).collect();
    let policy = policy();
    for id in &ids {
        let live =
            runtime.block_on(store.check(&SessionId::from(&**id), &policy, Access::Hold).into_future());
        assert!(live.is_ok(), "the store answers");
    }
    Box::new(move |n| {
        let _keep = &runtime;
        measured_part(n, |turn| {
            let answer = store.check(&SessionId::from(&*ids[turn % ids.len()]), &policy, Access::Hold);
            assert!(matches!(answer, Answer::Ready(_)), "within the window");
            answer
        });
    })
}

fn memory<T>(store: fn(u64) -> T, n: u64) {
    let before = resident_bytes();
    let store = store(n);
    println!("{:.1}", (resident_bytes() - before) as f64 / n as f64);
    drop(store);
}

pub fn print() {
    println!("{:<40}{:>14}{:>10}", "part", "instructions", "ns p10");
    for (name, build) in PARTS {
        let part = build();
        let mut rounds: Vec<f64> = (0..200)
            .map(|_| {
                let start = Instant::now();
                part(1000);
                start.elapsed().as_nanos() as f64 / 1000.0
            })
            .collect();
        println!("{name:<40}{:>14}{:>10.1}", instructions(&["part", name]), p10(&mut rounds));
    }
}

pub fn print_memory() {
    println!("bytes per session, {MANY_SESSIONS} sessions");
    for (name, _) in STORES {
        let program = std::env::current_exe().expect("a path to this program");
        let output = std::process::Command::new(program)
            .args(["memory", name, &MANY_SESSIONS.to_string()])
            .output()
            .expect("this program runs");
        println!("{name:<40}{:>14}", String::from_utf8_lossy(&output.stdout).trim());
    }
}

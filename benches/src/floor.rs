//! The floor: what a session timeout costs at the least, written by hand. A scan for the cookie, a clock, a map lookup,
//! two comparisons and a store. No refusal worth the name, no rotation, no capacity, no reading of the answer; its
//! hash withstands no attacker, and one longer id is refused.

use std::{
    convert::Infallible,
    hash::BuildHasher,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
};

use axum_core::body::Body;
use foldhash::fast::RandomState;
use hashbrown::HashTable;
use http::{Request, Response, StatusCode, header::COOKIE};
use memchr::memchr;
use pin_project_lite::pin_project;
use rustix::time::{ClockId, clock_gettime};
use tower::Service;

const SHARDS: usize = 64;
const IDLE: u64 = 30 * 60 * 1000;

type Key = [u8; 32];

struct Entry {
    key: Key,
    active: AtomicU64,
    ends: u64,
}

/// One shard to a pair of cache lines.
#[repr(align(128))]
#[derive(Default)]
struct Shard(Mutex<HashTable<Entry>>);

pub struct Map {
    shards: Box<[Shard]>,
    hasher: RandomState,
    clock: ClockId,
}

impl Map {
    pub fn new(clock: ClockId, ids: impl Iterator<Item = String>) -> Self {
        let shards = (0..SHARDS).map(|_| Shard::default()).collect();
        let map = Self { shards, hasher: RandomState::default(), clock };
        for id in ids {
            let key = key(id.as_bytes()).expect("a short id");
            let (hash, shard) = map.find(&key);
            let entry = Entry { key, active: AtomicU64::new(map.now()), ends: u64::MAX };
            shard.0.lock().unwrap().insert_unique(hash, entry, |entry| map.hasher.hash_one(entry.key));
        }
        map
    }

    fn find(&self, key: &Key) -> (u64, &Shard) {
        let hash = self.hasher.hash_one(key);
        (hash, &self.shards[(hash >> 48) as usize % SHARDS])
    }

    fn now(&self) -> u64 {
        let now = clock_gettime(self.clock);
        now.tv_sec.cast_unsigned() * 1000 + now.tv_nsec.cast_unsigned() / 1_000_000
    }

    /// Whether the session is live, and renews it.
    pub fn touch(&self, id: &[u8]) -> bool {
        let Some(key) = key(id) else { return false };
        let now = self.now();
        let (hash, shard) = self.find(&key);
        let table = shard.0.lock().unwrap();
        table.find(hash, |entry| entry.key == key).is_some_and(|entry| {
            let active = entry.active.load(Relaxed);
            let live = now.saturating_sub(active) <= IDLE && now <= entry.ends;
            if live && now > active {
                entry.active.store(now, Relaxed);
            }
            live
        })
    }
}

fn key(id: &[u8]) -> Option<Key> {
    let mut key = [0; 32];
    key.get_mut(..id.len())?.copy_from_slice(id);
    Some(key)
}

fn session_cookie<'a>(mut rest: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    loop {
        let end = memchr(b';', rest).unwrap_or(rest.len());
        let mut pair = &rest[..end];
        while let [b' ', trimmed @ ..] = pair {
            pair = trimmed;
        }
        // In this order, for a look at one byte is cheaper than at the name.
        if pair.get(name.len()) == Some(&b'=') && pair.starts_with(name) {
            return Some(&pair[name.len() + 1..]);
        }
        rest = rest.get(end + 1..)?;
    }
}

#[derive(Clone)]
pub struct Floor<S> {
    inner: S,
    shared: Arc<(Map, Box<[u8]>)>,
}

impl<S> Floor<S> {
    pub fn new(inner: S, map: Map) -> Self {
        Self { inner, shared: Arc::new((map, (*b"sid").into())) }
    }
}

impl<S> Service<Request<Body>> for Floor<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = FloorFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let (map, name) = &*self.shared;
        let fields = request.headers().get_all(COOKIE).into_iter();
        let id = fields.map(http::HeaderValue::as_bytes).find_map(|field| session_cookie(field, name));
        if id.is_some_and(|id| map.touch(id)) {
            FloorFuture::Calling { answer: self.inner.call(request) }
        } else {
            FloorFuture::Refused
        }
    }
}

pin_project! {
    #[project = Projected]
    pub enum FloorFuture<F> {
        Calling { #[pin] answer: F },
        Refused,
    }
}

impl<F: Future<Output = Result<Response<Body>, Infallible>>> Future for FloorFuture<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        Poll::Ready(match self.project() {
            Projected::Calling { answer } => ready!(answer.poll(cx)),
            Projected::Refused => {
                let mut response = Response::new(Body::empty());
                *response.status_mut() = StatusCode::UNAUTHORIZED;
                Ok(response)
            }
        })
    }
}

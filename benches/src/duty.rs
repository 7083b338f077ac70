//! The duty floor: what no honest session timeout can leave out, written by hand and as tight as it gets. To what the
//! [floor](crate::floor) does it adds: a keyed hash that withstands an attacker, as equal hashes are the same session; the
//! check that no parser could read the session cookie anywhere else; whether the request is passive; one renewal under a
//! lock, by both limits; a look at the answer for a log-in or a log-out. No refusal worth the name, no rotation, no capacity,
//! no owners, nothing held while a request is under way, no room for any store but this.

use std::{
    convert::Infallible,
    hash::Hasher as _,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, ready},
};

use axum_core::body::Body;
use hashbrown::HashTable;
use http::{HeaderMap, Request, Response, StatusCode, header::SET_COOKIE};
use memchr::memchr2;
use pin_project_lite::pin_project;
use rustix::time::{ClockId, clock_gettime};
use siphasher::sip128::{Hash128, Hasher128 as _, SipHasher24};
use tower::Service;

const SHARDS: usize = 64;
const IDLE: u64 = 30 * 60 * 1_000_000_000;
const ABSOLUTE: u64 = 8 * 60 * 60 * 1_000_000_000;

struct Entry {
    id: (u64, u64),
    active: u64,
    began: u64,
}

/// One shard to a pair of cache lines.
#[repr(align(128))]
#[derive(Default)]
struct Shard(Mutex<HashTable<Entry>>);

struct Sessions {
    shards: Box<[Shard]>,
    hasher: SipHasher24,
    name: Box<[u8]>,
    /// Whether a byte may stand in a cookie's name (RFC 9110's token characters).
    token: Box<[bool; 256]>,
}

impl Sessions {
    fn hash(&self, id: &[u8]) -> (u64, u64) {
        let mut hasher = self.hasher;
        hasher.write(id);
        let Hash128 { h1, h2 } = hasher.finish128();
        (h1, h2)
    }

    fn shard(&self, id: (u64, u64)) -> &Mutex<HashTable<Entry>> {
        &self.shards[(id.0 >> 48) as usize % SHARDS].0
    }

    /// Whether the session is live, and renews it.
    fn check(&self, id: &[u8], renews: bool) -> bool {
        let id = self.hash(id);
        let mut table = self.shard(id).lock().unwrap();
        let now = now();
        let Some(entry) = table.find_mut(id.1, |entry| entry.id == id) else { return false };
        let is_live = now.saturating_sub(entry.active) < IDLE && now.saturating_sub(entry.began) < ABSOLUTE;
        if is_live && renews {
            entry.active = entry.active.max(now);
        }
        is_live
    }

    /// The session id, and whether the request is activity. `Err`: to some parser, there may be another session.
    fn read<'a>(&self, headers: &'a HeaderMap) -> Result<(Option<&'a [u8]>, bool), ()> {
        let (mut id, mut renews) = (None, true);
        for (name, value) in headers {
            match name.as_str() {
                "cookie" => self.read_cookies(value.as_bytes(), &mut id)?,
                "accept" => renews &= value != "text/event-stream",
                "session-activity" => renews &= value != "passive",
                "sec-purpose" | "purpose" => renews &= value != "prefetch",
                "last-event-id" => renews = false,
                _ => {}
            }
        }
        Ok((id, renews))
    }

    fn read_cookies<'a>(&self, mut rest: &'a [u8], id: &mut Option<&'a [u8]>) -> Result<(), ()> {
        loop {
            while let [b' ', trimmed @ ..] = rest {
                rest = trimmed;
            }
            let length = rest.iter().position(|&byte| !self.token[usize::from(byte)]).ok_or(())?;
            if rest[length] != b'=' {
                return Err(());
            }
            let value = &rest[length + 1..];
            // An `=` in a value, and parsers differ.
            let end = memchr2(b'=', b';', value).unwrap_or(value.len());
            if value.get(end) == Some(&b'=') {
                return Err(());
            }
            if rest[..length] == *self.name {
                if id.is_some() {
                    return Err(());
                }
                *id = Some(&value[..end]);
            }
            match value.get(end + 1..) {
                Some(next) => rest = next,
                None => return Ok(()),
            }
        }
    }
}

fn now() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    now.tv_sec.cast_unsigned() * 1_000_000_000 + now.tv_nsec.cast_unsigned()
}

#[derive(Clone)]
pub struct Duty<S> {
    inner: S,
    sessions: Arc<Sessions>,
}

impl<S> Duty<S> {
    pub fn new(inner: S, ids: impl Iterator<Item = String>) -> Self {
        let mut token = Box::new([false; 256]);
        for byte in 0..=u8::MAX {
            token[usize::from(byte)] = byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        }
        let shards = (0..SHARDS).map(|_| Shard::default()).collect();
        let hasher = SipHasher24::new_with_keys(7, 11);
        let sessions = Sessions { shards, hasher, name: (*b"sid").into(), token };
        for id in ids {
            let id = sessions.hash(id.as_bytes());
            let entry = Entry { id, active: now(), began: now() };
            sessions.shard(id).lock().unwrap().insert_unique(id.1, entry, |entry| entry.id.1);
        }
        Self { inner, sessions: Arc::new(sessions) }
    }
}

impl<S> Service<Request<Body>> for Duty<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = DutyFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        match self.sessions.read(request.headers()) {
            Ok((Some(id), renews)) if self.sessions.check(id, renews) => {
                DutyFuture::Calling { answer: self.inner.call(request) }
            }
            _ => DutyFuture::Refused,
        }
    }
}

pin_project! {
    #[project = Projected]
    pub enum DutyFuture<F> {
        Calling { #[pin] answer: F },
        Refused,
    }
}

impl<F: Future<Output = Result<Response<Body>, Infallible>>> Future for DutyFuture<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        Poll::Ready(match self.project() {
            Projected::Calling { answer } => {
                let Ok(response) = ready!(answer.poll(cx));
                assert!(!response.headers().contains_key(SET_COOKIE), "no application here logs anybody in");
                Ok(response)
            }
            Projected::Refused => {
                let mut response = Response::new(Body::empty());
                *response.status_mut() = StatusCode::UNAUTHORIZED;
                Ok(response)
            }
        })
    }
}

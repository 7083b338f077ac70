//! The one place that reads, strips, removes and judges cookies.
//!
//! Reading follows RFC 6265bis: pairs are split at `;`, names are exact, quotes are nothing special. Applications read
//! with laxer parsers. A pair that one of those would take for the session cookie, but we would not, is *disguised*:
//! a way round the timeout. It is removed before the request goes on.

mod answer;
mod attributes;
mod bytes;
mod chunks;
mod companions;
mod date;
mod name;
mod read;
mod set_cookie;

use std::{sync::atomic::AtomicBool, time::Duration};

use http::{HeaderMap, HeaderValue, header::COOKIE};

pub(crate) use self::{
    answer::{ClientCookies, CookieChange, speaks_of_cookies},
    chunks::Parts,
    companions::CompanionCookies,
    name::is_token,
    read::Keep,
};
pub use self::{
    attributes::{SameSite, SessionCookie},
    chunks::{CookieChunks, MAX_CHUNKED_SESSION_ID_LENGTH},
};
use self::{
    attributes::{removals, set_cookie},
    chunks::Part,
    name::{Longer, Name},
};
use crate::{
    event::Operator,
    rules::id::{MAX_SESSION_ID_LENGTH, SessionId},
};

/// Most distinct session cookies of one request that are tried.
pub(crate) const MAX_DUPLICATES: usize = 4;
/// How often in its `Max-Age` a sliding cookie is set again.
const SLIDES_PER_MAX_AGE: u32 = 20;

/// What Auth.js and NextAuth.js call their session cookie, after its prefix.
const AUTH_JS: [&str; 2] = ["authjs.session-token", "next-auth.session-token"];

/// A live session's cookie, to be set again with a new `Max-Age`.
pub(crate) struct RenewedCookie {
    pub(crate) id: SessionId<'static>,
    pub(crate) set_cookies: Vec<HeaderValue>,
}

/// The session cookie of one layer, where its session ids travel.
#[derive(Debug)]
pub(crate) struct CookieSource {
    name: Name,
    attributes: Box<SessionCookie>,
    /// Those of the cookie in one piece.
    removals: Vec<HeaderValue>,
    /// Under which the application reads sessions, too; only of a cookie that may be chunked.
    second_name: Option<Box<Name>>,
    warned_of_chunks: AtomicBool,
    warned_of_length: AtomicBool,
    is_set_as_configured: AtomicBool,
    is_set_otherwise: AtomicBool,
    companions: Option<Box<CompanionCookies>>,
    operator: Operator,
}

impl CookieSource {
    /// The cookie is valid: the builder has looked.
    pub(crate) fn new(
        cookie: SessionCookie,
        companions: &'static [&'static str],
        operator: Operator,
    ) -> Self {
        let SessionCookie { name, chunks, .. } = &cookie;
        let is_auth_js = *chunks == Some(CookieChunks::AuthJs)
            || chunks.is_none() && AUTH_JS.iter().any(|auth_js| name.ends_with(auth_js));
        let longer = if is_auth_js { Longer::All } else { Longer::Chunks };
        Self {
            name: Name::new(name, longer),
            removals: removals(name, &cookie).collect(),
            second_name: chunks
                .and_then(CookieChunks::second_name)
                .map(|second| Box::new(Name::new(second, Longer::Chunks))),
            warned_of_chunks: AtomicBool::new(false),
            warned_of_length: AtomicBool::new(false),
            is_set_as_configured: AtomicBool::new(false),
            is_set_otherwise: AtomicBool::new(false),
            companions: (!companions.is_empty())
                .then(|| Box::new(CompanionCookies::new(companions, &cookie, is_auth_js))),
            attributes: Box::new(cookie),
            operator,
        }
    }

    fn sliding_max_age(&self) -> Option<Duration> {
        self.attributes.max_age.filter(|_| self.attributes.slides)
    }

    pub(crate) fn slides(&self) -> bool {
        self.attributes.slides
    }

    /// Whether this renewal is the one to set the cookie again: the first one in each twentieth of its `Max-Age`. That
    /// needs no memory, neither here nor in the store.
    pub(crate) fn slides_now(&self, idle_for: Duration, age: Duration) -> bool {
        let Some(max_age) = self.sliding_max_age() else { return false };
        let step = (max_age / SLIDES_PER_MAX_AGE).max(Duration::from_secs(1)).as_millis();
        age.as_millis() / step != age.saturating_sub(idle_for).as_millis() / step
    }

    /// The request's session cookie with a new `Max-Age`. Longer by two steps, for the next one may be a step away, and
    /// its answer lost.
    pub(crate) fn slid(&self, headers: &HeaderMap, remaining: Duration) -> Option<RenewedCookie> {
        let max_age = self.sliding_max_age()?.max(remaining);
        let attributes = &*self.attributes;
        let id = self.presented(headers).id?.into_owned();
        let max_age = Some(max_age.saturating_add(max_age / SLIDES_PER_MAX_AGE * 2));
        let jar = self.jar(headers.get_all(COOKIE));
        let set_cookies: Option<Vec<HeaderValue>> = Part::all()
            .filter_map(|part| Some((part, jar.get(part)?)))
            .map(|(part, value)| {
                let value = str::from_utf8(value).ok()?;
                set_cookie(&self.part_name(part), value, attributes, attributes.http_only, max_age)
            })
            .collect();
        Some(RenewedCookie { id, set_cookies: set_cookies? })
    }

    fn part_name(&self, part: Part) -> String {
        match (part, self.chunks()) {
            (Part::Chunk(number), Some(chunks)) => chunks.name_of(number, self.name()),
            (Part::Chunk(_), None) | (Part::Whole, _) => self.name().to_owned(),
        }
    }

    pub(crate) fn companions(&self) -> Option<&CompanionCookies> {
        self.companions.as_deref()
    }

    pub(crate) fn name(&self) -> &str {
        &self.attributes.name
    }

    fn chunks(&self) -> Option<CookieChunks> {
        self.attributes.chunks
    }

    /// Whether a session may be made of several cookies.
    pub(crate) fn is_chunked(&self) -> bool {
        self.chunks().is_some()
    }

    /// The longest id that is looked at.
    pub(crate) fn longest_id(&self) -> usize {
        if self.is_chunked() { MAX_CHUNKED_SESSION_ID_LENGTH } else { MAX_SESSION_ID_LENGTH }
    }
}

//! A session that is split over several cookies: `NAME.0`, `NAME.1`, … or the like, and what else is a chunk to some library.

use super::bytes::trim;
use crate::rules::id::MAX_SESSION_ID_LENGTH;

/// Of how many cookies a session may be made.
pub(super) const MAX_CHUNKS: usize = 16;

/// The longest session id that is looked at where the session cookie may be [chunked](crate::CookieChunks), in bytes: 16
/// cookies of [`MAX_SESSION_ID_LENGTH`].
pub const MAX_CHUNKED_SESSION_ID_LENGTH: usize = MAX_CHUNKS * MAX_SESSION_ID_LENGTH;

/// The library that splits a long session over several cookies, and so what else it reads as part of one: see
/// [`SessionCookie::chunks`](crate::SessionCookie::chunks).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CookieChunks {
    /// Auth.js and NextAuth.js. They read every cookie whose name begins with the session cookie's, so none other goes on
    /// to the application.
    AuthJs,
    /// Supabase (`@supabase/ssr`), and others that read `NAME`, `NAME.0`, `NAME.1`, … and nothing else. Cookies such as
    /// `NAME-code-verifier` are no part of the session, and go on to the application.
    Supabase,
    /// `@auth0/nextjs-auth0`, whose chunks are `NAME__0`, `NAME__1`, … It reads sessions from `appSession` and `appSession.0`,
    /// …, too, which do not go on to the application. Session cookies that need no chunks call for it just as well.
    Auth0,
}

impl CookieChunks {
    /// What stands between the session cookie's name and a chunk's number.
    fn mark(self) -> &'static str {
        match self {
            Self::AuthJs | Self::Supabase => ".",
            Self::Auth0 => "__",
        }
    }

    /// Under which other name the library reads a session.
    pub(super) fn second_name(self) -> Option<&'static str> {
        match self {
            Self::AuthJs | Self::Supabase => None,
            Self::Auth0 => Some("appSession"),
        }
    }

    /// Reads what follows the session cookie's name in a cookie's name. Leading zeros make another name.
    pub(super) fn part(self, rest: &[u8]) -> Option<Part> {
        if rest.is_empty() {
            return Some(Part::Whole);
        }
        let digits = rest.strip_prefix(self.mark().as_bytes())?;
        let is_canonical = matches!(digits, [b'0'..=b'9'] | [b'1'..=b'9', b'0'..=b'9']);
        let number = is_canonical.then(|| str::from_utf8(digits).ok()?.parse().ok()).flatten()?;
        (number < MAX_CHUNKS).then_some(Part::Chunk(number))
    }

    pub(super) fn name_of(self, number: usize, session_cookie: &str) -> String {
        format!("{session_cookie}{}{number}", self.mark())
    }
}

/// Of how many characters the mark between the session cookie's name and a chunk's number is at most.
const LONGEST_MARK: usize = 3;

/// Whether this, after the session cookie's name, makes the name of a chunk to some library: `.0`, `__0` (Auth0), `_0`
/// (`OAuth2` Proxy), `C1` (ASP.NET Core), `2`.
pub(super) fn is_mark_and_number(rest: impl Iterator<Item = u8>) -> bool {
    let mut rest = rest.peekable();
    let mark =
        std::iter::from_fn(|| rest.next_if(|byte| !byte.is_ascii_digit())).take(LONGEST_MARK + 1).count();
    mark <= LONGEST_MARK && rest.peek().is_some() && rest.all(|byte| byte.is_ascii_digit())
}

/// One of the cookies a session may be made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// `NAME`
    Whole,
    /// `NAME.<number>`, or as the library has it
    Chunk(usize),
}

impl Part {
    pub(super) fn all() -> impl Iterator<Item = Self> {
        std::iter::once(Self::Whole).chain((0..MAX_CHUNKS).map(Self::Chunk))
    }
}

/// Which parts of the session cookie somebody has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Parts(u32);

impl Parts {
    pub(super) const NONE: Self = Self(0);

    pub(super) fn insert(&mut self, part: Part) {
        self.0 |= Self::bit(part);
    }

    pub(super) fn without(self, others: impl Iterator<Item = Part>) -> Self {
        Self(others.fold(self.0, |parts, part| parts & !Self::bit(part)))
    }

    pub(super) fn iter(self) -> impl Iterator<Item = Part> {
        Part::all().filter(move |&part| self.0 & Self::bit(part) != 0)
    }

    fn bit(part: Part) -> u32 {
        match part {
            Part::Whole => 1,
            Part::Chunk(number) => 2 << number,
        }
    }
}

/// The values of all parts, as one client has them.
#[derive(Default)]
pub(super) struct Jar<V> {
    pub(super) whole: Option<V>,
    pub(super) chunks: [Option<V>; MAX_CHUNKS],
}

impl<V: AsRef<[u8]>> Jar<V> {
    pub(super) fn slot(&mut self, part: Part) -> &mut Option<V> {
        match part {
            Part::Whole => &mut self.whole,
            Part::Chunk(number) => &mut self.chunks[number],
        }
    }

    pub(super) fn get(&self, part: Part) -> Option<&V> {
        match part {
            Part::Whole => self.whole.as_ref(),
            Part::Chunk(number) => self.chunks[number].as_ref(),
        }
    }

    pub(super) fn has_chunks(&self) -> bool {
        self.chunks.iter().any(Option::is_some)
    }

    /// The id that the chunks are together: from the first on, with none missing.
    pub(super) fn joined(&self) -> Option<Vec<u8>> {
        let complete = self.chunks.iter().take_while(|chunk| chunk.is_some()).count();
        if complete == 0 || self.chunks[complete..].iter().any(Option::is_some) {
            return None;
        }
        Some(self.chunks.iter().flatten().flat_map(|chunk| chunk.as_ref().iter().copied()).collect())
    }
}

/// A cookie's value, unless it is empty: no parser reads such a one as a session, but one may stop looking at it.
pub(super) fn value_of(value: &[u8]) -> Option<&[u8]> {
    match trim(value) {
        b"" | b"\"\"" => None,
        value => Some(value),
    }
}

//! Reading the `Cookie` fields of a request, and taking out of them what must not go on.

use http::{HeaderMap, HeaderValue, header::COOKIE};
use memchr::memchr;

use super::{
    CookieSource,
    bytes::{trim, trim_start},
    chunks::{Jar, Part, Parts, value_of},
};
use crate::rules::id::SessionId;

/// How many different values of one name are told apart. More are too many to look for a live one among them.
const MAX_VALUES: usize = 8;

/// What the `Cookie` fields of a request hold.
#[derive(Default)]
pub(crate) struct Presented<'a> {
    pub(crate) id: Option<SessionId<'a>>,
    /// There are different values for the session's name.
    pub(crate) several: bool,
    /// Something has to go before the request goes on.
    pub(crate) disguised: bool,
    /// There are chunks of a session, and they make no whole: it has ended.
    pub(crate) is_broken: bool,
}

/// What stays in the `Cookie` fields.
#[derive(Clone, Copy)]
pub(crate) enum Keep<'a> {
    /// All but what is disguised.
    Sessions,
    /// This one session; others go, too.
    Session(&'a SessionId<'a>),
    NoSession,
}

enum Pair<'a> {
    Session(Part, &'a [u8]),
    Disguised,
    Other,
}

impl CookieSource {
    pub(crate) fn presented<'a>(&self, headers: &'a HeaderMap) -> Presented<'a> {
        self.presented_beside(headers, |_, _| {})
    }

    /// The same, showing the other fields on the way.
    pub(crate) fn presented_beside<'a>(
        &self,
        headers: &'a HeaderMap,
        mut other: impl FnMut(&str, &HeaderValue),
    ) -> Presented<'a> {
        let mut id = None;
        let mut presented = Presented::default();
        for (name, field) in headers {
            match name.as_str() {
                "cookie" if !self.is_chunked() => {
                    self.look_through(field.as_bytes(), &mut id, &mut presented);
                }
                name => other(name, field),
            }
        }
        if self.is_chunked() {
            return self.presented_in_chunks(headers);
        }
        Presented { id: id.map(SessionId::from), ..presented }
    }

    fn look_through<'a>(&self, field: &'a [u8], id: &mut Option<&'a [u8]>, presented: &mut Presented<'a>) {
        for pair in self.name.suspects_in(field) {
            match self.classify(pair) {
                Pair::Other => {}
                Pair::Session(_, value) => match *id {
                    None => *id = Some(value),
                    Some(first) => presented.several |= first != value,
                },
                Pair::Disguised => presented.disguised = true,
            }
        }
    }

    #[cold]
    fn presented_in_chunks<'a>(&self, headers: &'a HeaderMap) -> Presented<'a> {
        let disguised = pairs(headers).any(|pair| matches!(self.classify(pair), Pair::Disguised));
        let sent = self.sent(headers);
        match (sent.whole(), sent.has_chunks) {
            (whole, false) => Presented {
                id: whole.map(SessionId::from),
                several: sent.wholes.len() > 1,
                disguised,
                is_broken: false,
            },
            (None, true) => Presented {
                is_broken: sent.joined.is_none(),
                id: sent.joined.map(SessionId::from),
                several: false,
                disguised,
            },
            // Libraries differ on which of the two they take, so it must not be left to them.
            (Some(whole), true) => {
                Presented { id: Some(SessionId::from(whole)), several: true, disguised, is_broken: false }
            }
        }
    }

    /// The different ids under the session's name, up to `limit`.
    pub(crate) fn ids(&self, headers: &HeaderMap, limit: usize) -> Vec<SessionId<'static>> {
        let sent = self.sent(headers);
        let mut ids: Vec<Vec<u8>> = Vec::new();
        for id in sent.wholes.into_iter().map(<[u8]>::to_vec).chain(sent.joined) {
            if ids.len() < limit && !ids.contains(&id) {
                ids.push(id);
            }
        }
        ids.into_iter().map(SessionId::from).collect()
    }

    /// The parts of the session cookie that the client has.
    pub(crate) fn parts(&self, headers: &HeaderMap) -> Parts {
        let mut parts = Parts::default();
        if self.is_chunked() {
            for pair in pairs(headers) {
                if let Pair::Session(part, _) = self.classify(pair) {
                    parts.insert(part);
                }
            }
        }
        parts
    }

    /// The values that the application was given.
    pub(super) fn jar<'a>(&self, fields: impl IntoIterator<Item = &'a HeaderValue>) -> Jar<Vec<u8>> {
        let mut jar = Jar::default();
        for pair in fields.into_iter().flat_map(|field| Pairs(Some(field.as_bytes()))) {
            if let Pair::Session(part, value) = self.classify(pair) {
                jar.slot(part).get_or_insert_with(|| value.to_vec());
            }
        }
        jar
    }

    /// Removes what is disguised, and every session that is not to be kept.
    pub(crate) fn strip(&self, headers: &mut HeaderMap, keep: Keep<'_>) {
        let as_chunks = match keep {
            Keep::Session(id) if self.is_chunked() => !self.sent(headers).wholes.contains(&id.expose()),
            _ => false,
        };
        let mut kept = Vec::new();
        for pair in pairs(headers) {
            let wanted = match (self.classify(pair), keep) {
                (Pair::Session(..), Keep::Sessions) => true,
                (Pair::Session(Part::Whole, value), Keep::Session(id)) => !as_chunks && value == id.expose(),
                (Pair::Session(Part::Chunk(_), _), Keep::Session(_)) => as_chunks,
                (Pair::Session(..), Keep::NoSession) | (Pair::Disguised, _) => false,
                (Pair::Other, _) => !trim(pair).is_empty(),
            };
            if wanted {
                if !kept.is_empty() {
                    kept.extend_from_slice(b"; ");
                }
                kept.extend_from_slice(trim(pair));
            }
        }
        headers.remove(COOKIE);
        if !kept.is_empty()
            && let Ok(value) = HeaderValue::from_bytes(&kept)
        {
            headers.insert(COOKIE, value);
        }
    }

    fn sent<'a>(&self, headers: &'a HeaderMap) -> Sent<'a> {
        let mut wholes = Vec::new();
        let mut jar: Jar<&[u8]> = Jar::default();
        let mut is_ambiguous = false;
        for pair in pairs(headers) {
            match self.classify(pair) {
                Pair::Session(Part::Whole, value)
                    if wholes.len() < MAX_VALUES && !wholes.contains(&value) =>
                {
                    wholes.push(value);
                }
                Pair::Session(part @ Part::Chunk(_), value) => {
                    is_ambiguous |= *jar.slot(part).get_or_insert(value) != value;
                }
                _ => {}
            }
        }
        let joined = if is_ambiguous { None } else { jar.joined() };
        Sent { wholes, has_chunks: jar.has_chunks(), joined }
    }

    #[inline]
    fn classify<'a>(&self, pair: &'a [u8]) -> Pair<'a> {
        let pair = trim_start(pair);
        if pair.first() == self.name.exact.first()
            && let Some(rest) = pair.strip_prefix(&*self.name.exact)
        {
            if let Some(value) = rest.strip_prefix(b"=") {
                return value_of(value).map_or(Pair::Disguised, |value| Pair::Session(Part::Whole, value));
            }
            if let Some(chunks) = self.chunks()
                && let Some(end) = memchr(b'=', rest)
                && let Some(part) = chunks.part(&rest[..end])
            {
                return value_of(&rest[end + 1..])
                    .map_or(Pair::Disguised, |value| Pair::Session(part, value));
            }
        }
        let is_disguised = self.name.is_disguised_in(pair)
            || self.second_name.as_ref().is_some_and(|name| name.is_disguised_in(pair));
        if is_disguised { Pair::Disguised } else { Pair::Other }
    }
}

/// The sessions in the `Cookie` fields of a request.
struct Sent<'a> {
    /// The different values that are no chunks.
    wholes: Vec<&'a [u8]>,
    has_chunks: bool,
    /// The chunks together, if they are one id.
    joined: Option<Vec<u8>>,
}

impl<'a> Sent<'a> {
    fn whole(&self) -> Option<&'a [u8]> {
        self.wholes.first().copied()
    }
}

pub(super) fn pairs(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    headers.get_all(COOKIE).iter().flat_map(|header| Pairs(Some(header.as_bytes())))
}

/// The parts of one `Cookie` field between semicolons.
struct Pairs<'a>(Option<&'a [u8]>);

impl<'a> Iterator for Pairs<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        let rest = self.0?;
        if let Some(end) = memchr(b';', rest) {
            self.0 = Some(&rest[end + 1..]);
            Some(&rest[..end])
        } else {
            self.0 = None;
            Some(rest)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{cookie::SessionCookie, event::Operator};

    /// No server lets these bytes into a header value, but one that did would find them harmless.
    #[test]
    fn control_characters_around_a_name_disguise_nothing() {
        let cookie = CookieSource::new(SessionCookie::new("sid"), &[], Operator::default());
        let disguises: [&[u8]; 7] = [
            b"\0sid=EVIL",
            b"sid\0=EVIL",
            b"sid\0garbage=EVIL",
            b"\x1fsid=EVIL",
            b"\x0bsid\x0c=EVIL",
            b"s\x7fid=EVIL",
            b"\r\nsid=EVIL",
        ];
        for pair in disguises {
            assert!(matches!(cookie.classify(pair), Pair::Disguised), "{}", pair.escape_ascii());
        }
        assert!(matches!(cookie.classify(b"\0other=1"), Pair::Other));
    }
}

//! The one place that reads, strips, removes and judges cookies.
//!
//! Reading follows RFC 6265bis: pairs are split at `;`, names are exact, quotes are nothing special. Applications read
//! with laxer parsers. A pair that one of those would take for the session cookie, but we would not, is *disguised*:
//! a way round the timeout. It is removed before the request goes on.

use std::{borrow::Cow, time::Duration};

use cookie::Cookie;
use http::{
    HeaderMap, HeaderValue,
    header::{COOKIE, Entry, SET_COOKIE},
};
use memchr::memchr;
use percent_encoding::percent_decode;

use crate::{Companion, SessionId, clock::wall_clock};

/// How many different values of one companion are looked at.
const MAX_COMPANIONS: usize = 4;

/// How often in its `Max-Age` a sliding cookie is set again.
const SLIDES_PER_MAX_AGE: u32 = 20;

/// How the application sets its session cookie. A removal has to match its path and domain, a [sliding
/// cookie](crate::SessionTimeoutBuilder::slide_cookie) all of it.
///
/// ```
/// use tower_session_timeout::CookieAttributes;
///
/// let attributes = CookieAttributes::new().domain("example.com").secure(true);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CookieAttributes {
    pub(crate) path: String,
    pub(crate) domain: Option<String>,
    pub(crate) secure: bool,
    pub(crate) partitioned: bool,
    pub(crate) http_only: bool,
    pub(crate) same_site: SameSite,
    pub(crate) max_age: Option<Duration>,
}

/// From which sites a cookie is sent along (RFC 6265bis §5.6.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SameSite {
    /// From this site alone.
    Strict,
    /// From this site, and when a link elsewhere is followed.
    Lax,
    /// From everywhere: needs `Secure`.
    None,
}

impl CookieAttributes {
    /// `Path=/`, `HttpOnly`, `SameSite=Lax`; no `Domain` and no `Max-Age`, neither `Secure` nor `Partitioned`.
    #[must_use]
    pub fn new() -> Self {
        Self {
            path: "/".to_owned(),
            domain: None,
            secure: false,
            partitioned: false,
            http_only: true,
            same_site: SameSite::Lax,
            max_age: None,
        }
    }

    /// The cookie's `Path`. Default: `/`.
    pub fn path(self, path: impl Into<String>) -> Self {
        Self { path: path.into(), ..self }
    }

    /// The cookie's `Domain`. Default: none, a host-only cookie.
    pub fn domain(self, domain: impl Into<String>) -> Self {
        Self { domain: Some(domain.into()), ..self }
    }

    /// Whether the cookie is `Secure`. Default: `false`, or `true` if its name begins with `__Host-` or `__Secure-`.
    pub fn secure(self, secure: bool) -> Self {
        Self { secure, ..self }
    }

    /// Whether the cookie is `Partitioned`. Default: `false`.
    pub fn partitioned(self, partitioned: bool) -> Self {
        Self { partitioned, ..self }
    }

    /// Whether scripts cannot read the cookie. Default: `true`. A removal needs it not.
    pub fn http_only(self, http_only: bool) -> Self {
        Self { http_only, ..self }
    }

    /// The cookie's `SameSite`. Default: `Lax`. A removal needs it not.
    pub fn same_site(self, same_site: SameSite) -> Self {
        Self { same_site, ..self }
    }

    /// How long a browser keeps the cookie. Default: until it is closed. A removal needs it not.
    pub fn max_age(self, max_age: Duration) -> Self {
        Self { max_age: Some(max_age), ..self }
    }
}

impl Default for CookieAttributes {
    fn default() -> Self {
        Self::new()
    }
}

/// A live session's cookie, to be set again with a new `Max-Age`.
pub(crate) struct SlidCookie {
    pub(crate) id: SessionId<'static>,
    pub(crate) set_cookie: HeaderValue,
}

/// The session cookie of one layer.
#[derive(Debug)]
pub(crate) struct SessionCookie {
    name: Box<[u8]>,
    /// The name as the laxest parser reads it.
    folded_name: Box<[u8]>,
    /// For each byte, whether a pair that begins with it might be the session cookie to some parser. What laxer
    /// parsers do to a name leaves its first character standing, unless it is `%` or no token character.
    suspects: Box<[bool; 256]>,
    removals: Vec<HeaderValue>,
    sliding: Option<CookieAttributes>,
    companions: Option<Box<CompanionCookies>>,
}

/// The cookies beside the session cookie in which a store leaves its records with the clients.
#[derive(Debug)]
pub(crate) struct CompanionCookies {
    /// What the store calls each, and the cookie's name.
    names: Vec<(&'static str, String)>,
    attributes: CookieAttributes,
}

/// What the `Cookie` fields of a request hold.
#[derive(Debug, Default)]
pub(crate) struct Carried<'a> {
    pub(crate) id: Option<&'a [u8]>,
    /// There are different values for the session's name.
    pub(crate) several: bool,
    /// Something has to go before the request goes on.
    pub(crate) disguised: bool,
}

/// What an answer's `Set-Cookie` fields say about the session cookie.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Said {
    Nothing,
    Set(Vec<u8>),
    Removed,
}

enum Pair<'a> {
    Session(&'a [u8]),
    Disguised,
    Other,
}

impl SessionCookie {
    /// Name and attributes are valid: the builder has looked.
    pub(crate) fn new(
        name: &str,
        attributes: &CookieAttributes,
        sliding: Option<CookieAttributes>,
        companions: &'static [&'static str],
    ) -> Self {
        let with_domain =
            attributes.domain.as_deref().and_then(|domain| removal(name, attributes, Some(domain)));
        let folded_name: Box<[u8]> = name.bytes().map(fold).collect();
        let mut suspects = Box::new([false; 256]);
        for byte in 0..=u8::MAX {
            suspects[usize::from(byte)] = !is_token(byte) || byte == b'%' || fold(byte) == folded_name[0];
        }
        Self {
            name: name.as_bytes().into(),
            folded_name,
            suspects,
            removals: with_domain.into_iter().chain(removal(name, attributes, None)).collect(),
            sliding,
            companions: (!companions.is_empty())
                .then(|| Box::new(CompanionCookies::new(name, companions, attributes))),
        }
    }

    pub(crate) fn slides(&self) -> bool {
        self.sliding.is_some()
    }

    /// Whether this renewal is the one to set the cookie again: the first one in each twentieth of its `Max-Age`. That
    /// needs no memory, neither here nor in the store.
    pub(crate) fn slides_now(&self, idle_for: Duration, age: Duration) -> bool {
        let Some(max_age) = self.sliding.as_ref().and_then(|attributes| attributes.max_age) else {
            return false;
        };
        let step = (max_age / SLIDES_PER_MAX_AGE).max(Duration::from_secs(1)).as_millis();
        age.as_millis() / step != age.saturating_sub(idle_for).as_millis() / step
    }

    /// The cookie with a new `Max-Age`. Longer by two steps, for the next one may be a step away, and its answer lost.
    pub(crate) fn slid(&self, value: &[u8], remaining: Duration) -> Option<HeaderValue> {
        let attributes = self.sliding.as_ref()?;
        let max_age = attributes.max_age?.max(remaining);
        let max_age = max_age.saturating_add(max_age / SLIDES_PER_MAX_AGE * 2);
        set_cookie(
            str::from_utf8(&self.name).ok()?,
            str::from_utf8(value).ok()?,
            attributes,
            attributes.http_only,
            Some(max_age),
        )
    }

    pub(crate) fn companions(&self) -> Option<&CompanionCookies> {
        self.companions.as_deref()
    }

    pub(crate) fn name(&self) -> &[u8] {
        &self.name
    }

    pub(crate) fn carried<'a>(&self, headers: &'a HeaderMap) -> Carried<'a> {
        let mut carried = Carried::default();
        for field in headers.get_all(&COOKIE) {
            let tidy = is_tidy(field.as_bytes());
            for pair in Pairs(Some(field.as_bytes())) {
                // Nearly all pairs: nobody takes them for the session cookie.
                if tidy && !self.is_suspect(pair) {
                    continue;
                }
                match self.classify(pair) {
                    Pair::Other => {}
                    Pair::Session(value) => match carried.id {
                        None => carried.id = Some(value),
                        Some(first) => carried.several |= first != value,
                    },
                    Pair::Disguised => carried.disguised = true,
                }
            }
        }
        carried
    }

    /// The different values for the session's name, up to `limit`.
    pub(crate) fn values<'a>(&self, headers: &'a HeaderMap, limit: usize) -> Vec<&'a [u8]> {
        let mut values = Vec::new();
        for pair in pairs(headers) {
            if let Pair::Session(value) = self.classify(pair)
                && values.len() < limit
                && !values.contains(&value)
            {
                values.push(value);
            }
        }
        values
    }

    /// Removes what is disguised, and every session cookie `keep` does not want.
    pub(crate) fn strip(&self, headers: &mut HeaderMap, keep: impl Fn(&[u8]) -> bool) {
        let mut kept = Vec::new();
        for pair in pairs(headers) {
            let wanted = match self.classify(pair) {
                Pair::Session(value) => keep(value),
                Pair::Disguised => false,
                Pair::Other => !trim(pair).is_empty(),
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

    #[inline]
    fn classify<'a>(&self, pair: &'a [u8]) -> Pair<'a> {
        let pair = trim_start(pair);
        if let Some(rest) = pair.strip_prefix(&*self.name)
            && let Some(value) = rest.strip_prefix(b"=")
        {
            // No parser reads an empty value as a session, but one may stop looking at it.
            return match trim(value) {
                b"" => Pair::Disguised,
                value => Pair::Session(value),
            };
        }
        if (self.is_suspect(pair) || !is_tidy(pair)) && self.is_disguised(pair) {
            return Pair::Disguised;
        }
        Pair::Other
    }

    #[inline]
    fn is_suspect(&self, pair: &[u8]) -> bool {
        trim_start(pair).first().is_some_and(|&first| self.suspects[usize::from(first)])
    }

    /// Might another parser find the session cookie in this pair?
    #[cold]
    fn is_disguised(&self, pair: &[u8]) -> bool {
        let mut begin = 0;
        let mut whole = true;
        while let Some(length) = memchr(b'=', &pair[begin..]) {
            let before = &pair[begin..begin + length];
            if whole && !before.is_empty() {
                // PHP reads a space within a name as `_`.
                if self.reads_as_ours(before) {
                    return true;
                }
                whole = false;
            }
            // Python's SimpleCookie also splits at white space, older Java at commas, some at quotes.
            let end = before.iter().rposition(|&byte| !is_separator(byte)).map_or(0, |last| last + 1);
            let start = before[..end].iter().rposition(|&byte| is_separator(byte)).map_or(0, |last| last + 1);
            if self.reads_as_ours(&before[start..end]) {
                return true;
            }
            begin += length + 1;
        }
        false
    }

    /// Whether this name becomes the session's after percent-decoding, dropping what is no token, ignoring case,
    /// and reading `.`, space and `[` as `_` (PHP), or ending it at `[` (PHP) or NUL (C).
    fn reads_as_ours(&self, name: &[u8]) -> bool {
        let decoded: Cow<'_, [u8]> = percent_decode(name).into();
        let until = |end| memchr(end, &decoded).map_or(&*decoded, |at| &decoded[..at]);
        [&*decoded, until(b'['), until(0)].into_iter().any(|name| {
            let name = trim_by(name, |byte| !is_token(byte));
            let dropping = name.iter().copied().filter(|&byte| is_token(byte)).map(fold);
            let replacing =
                name.iter().copied().filter(|&byte| is_token(byte) || byte == b' ' || byte == b'[');
            dropping.eq(self.folded_name.iter().copied())
                || replacing.map(fold).eq(self.folded_name.iter().copied())
        })
    }

    /// What the answer says about the session cookie: the last value it sets counts.
    pub(crate) fn said(&self, headers: &HeaderMap) -> Said {
        let mut said = Said::Nothing;
        for header in headers.get_all(SET_COOKIE) {
            match self.set_by(header.as_bytes()) {
                Some(Said::Set(value)) => said = Said::Set(value),
                Some(Said::Removed) if said == Said::Nothing => said = Said::Removed,
                _ => {}
            }
        }
        said
    }

    fn set_by(&self, header: &[u8]) -> Option<Said> {
        if name_set_by(header)? != &*self.name {
            return None;
        }
        let pair = memchr(b';', header).map_or(header, |end| &header[..end]);
        let equals = memchr(b'=', pair)?;
        let value = trim(&pair[equals + 1..]);
        let removed = value.is_empty() || has_expired(header);
        Some(if removed { Said::Removed } else { Said::Set(value.to_vec()) })
    }

    /// Leaves of the answer's session cookies those that set `value`; with `None`, none at all.
    pub(crate) fn retain_set(&self, headers: &mut HeaderMap, value: Option<&[u8]>) {
        retain_set_cookies(headers, |header| match self.set_by(header) {
            None => true,
            Some(Said::Set(set)) => value == Some(&*set),
            Some(_) => false,
        });
    }

    /// Makes the browser forget the session cookie, and its companions.
    pub(crate) fn remove_from_browser(&self, headers: &mut HeaderMap) {
        for removal in &self.removals {
            headers.append(SET_COOKIE, removal.clone());
        }
        if let Some(companions) = &self.companions {
            companions.remove_from_browser(headers);
        }
    }
}

impl CompanionCookies {
    /// Named after the session cookie; and if it is `Secure`, with the strictest prefix its attributes allow (OWASP ASVS
    /// 5.0 §3.3.1).
    fn new(session_cookie: &str, names: &[&'static str], attributes: &CookieAttributes) -> Self {
        let prefix = match attributes {
            _ if session_cookie.starts_with("__") || !attributes.secure => "",
            CookieAttributes { path, domain: None, .. } if path == "/" => "__Host-",
            _ => "__Secure-",
        };
        let names = names.iter().map(|&name| (name, format!("{prefix}{session_cookie}-{name}"))).collect();
        Self { names, attributes: attributes.clone() }
    }

    pub(crate) fn are_secure(&self) -> bool {
        self.attributes.secure
    }

    /// What the client sent of them. What is no text was not written by a store.
    pub(crate) fn received(&self, headers: &HeaderMap) -> Vec<Companion> {
        let mut received: Vec<Companion> = Vec::new();
        for pair in pairs(headers).map(trim) {
            let Some(equals) = memchr(b'=', pair) else { continue };
            let Some((name, _)) = self.names.iter().find(|(_, cookie)| cookie.as_bytes() == &pair[..equals])
            else {
                continue;
            };
            let Ok(value) = str::from_utf8(trim(&pair[equals + 1..])) else { continue };
            let known = received.iter().filter(|known| known.name == *name);
            if known.clone().count() < MAX_COMPANIONS && known.clone().all(|known| known.value != value) {
                received.push(Companion::new(name, value));
            }
        }
        received
    }

    /// Sets one, in place of whatever the answer sets under its name.
    pub(crate) fn set(&self, companion: &Companion, headers: &mut HeaderMap) {
        let Some((_, cookie)) = self.names.iter().find(|(name, _)| *name == companion.name) else { return };
        let max_age = self.attributes.max_age.and(companion.lasts);
        let Some(set) = set_cookie(cookie, &companion.value, &self.attributes, true, max_age) else { return };
        retain_set_cookies(headers, |header| name_set_by(header) != Some(cookie.as_bytes()));
        headers.append(SET_COOKIE, set);
    }

    pub(crate) fn remove_from_browser(&self, headers: &mut HeaderMap) {
        retain_set_cookies(headers, |header| {
            !self.names.iter().any(|(_, cookie)| name_set_by(header) == Some(cookie.as_bytes()))
        });
        let domain = self.attributes.domain.as_deref();
        for (_, cookie) in &self.names {
            if let Some(removal) = removal(cookie, &self.attributes, domain) {
                headers.append(SET_COOKIE, removal);
            }
        }
    }
}

fn retain_set_cookies(headers: &mut HeaderMap, keep: impl Fn(&[u8]) -> bool) {
    let Entry::Occupied(entry) = headers.entry(SET_COOKIE) else { return };
    let (_, all) = entry.remove_entry_mult();
    let kept: Vec<HeaderValue> = all.filter(|header| keep(header.as_bytes())).collect();
    for header in kept {
        headers.append(SET_COOKIE, header);
    }
}

/// The name of the cookie that a `Set-Cookie` field sets.
fn name_set_by(header: &[u8]) -> Option<&[u8]> {
    let pair = memchr(b';', header).map_or(header, |end| &header[..end]);
    memchr(b'=', pair).map(|equals| trim(&pair[..equals]))
}

fn set_cookie(
    name: &str,
    value: &str,
    attributes: &CookieAttributes,
    http_only: bool,
    max_age: Option<Duration>,
) -> Option<HeaderValue> {
    let mut cookie = Cookie::build((name, value))
        .path(&attributes.path)
        .secure(attributes.secure)
        .partitioned(attributes.partitioned)
        .http_only(http_only)
        .same_site(match attributes.same_site {
            SameSite::Strict => cookie::SameSite::Strict,
            SameSite::Lax => cookie::SameSite::Lax,
            SameSite::None => cookie::SameSite::None,
        })
        .build();
    if let Some(max_age) = max_age {
        cookie.set_max_age(time::Duration::seconds(i64::try_from(max_age.as_secs()).ok()?));
    }
    if let Some(domain) = &attributes.domain {
        cookie.set_domain(domain);
    }
    HeaderValue::from_str(&cookie.to_string()).ok()
}

fn removal(name: &str, attributes: &CookieAttributes, domain: Option<&str>) -> Option<HeaderValue> {
    let mut cookie = Cookie::build((name, ""))
        .path(&attributes.path)
        .secure(attributes.secure)
        .partitioned(attributes.partitioned)
        .max_age(time::Duration::ZERO)
        .expires(time::OffsetDateTime::UNIX_EPOCH)
        .build();
    if let Some(domain) = domain {
        cookie.set_domain(domain);
    }
    HeaderValue::from_str(&cookie.to_string()).ok()
}

fn pairs(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
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

/// Whether a field is as browsers send it: no parser splits it anywhere but at its semicolons.
#[inline(never)] // Inlined, its constants are loaded anew for every pair.
#[expect(clippy::needless_bitwise_bool, reason = "without branches, it looks at 16 bytes at once")]
fn is_tidy(field: &[u8]) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_graphic() && byte != b',';
    let [first, rest @ ..] = field else { return true };
    field.iter().zip(rest).fold(is_plain(*first), |tidy, (&before, &byte)| {
        tidy & (is_plain(byte) | (before == b';' && byte == b' '))
    })
}

fn has_expired(set_cookie: &[u8]) -> bool {
    let Ok(cookie) = Cookie::parse(String::from_utf8_lossy(set_cookie)) else { return false };
    match (cookie.max_age(), cookie.expires_datetime()) {
        // RFC 6265bis §4.1.2.2: `Max-Age` has precedence.
        (Some(max_age), _) => !max_age.is_positive(),
        (None, Some(expires)) => expires <= wall_clock(),
        (None, None) => false,
    }
}

fn fold(byte: u8) -> u8 {
    match byte {
        b'.' | b' ' | b'[' => b'_',
        byte => byte.to_ascii_lowercase(),
    }
}

/// RFC 9110 §5.6.2.
pub(crate) fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn is_separator(byte: u8) -> bool {
    matches!(byte, b' ' | b',' | b'"' | 0..=0x1f | 0x7f..)
}

fn trim(bytes: &[u8]) -> &[u8] {
    trim_by(bytes, |byte| byte == b' ' || byte == b'\t')
}

#[inline]
fn trim_start(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = bytes {
        bytes = rest;
    }
    bytes
}

fn trim_by(bytes: &[u8], unwanted: impl Fn(u8) -> bool) -> &[u8] {
    let start = bytes.iter().position(|&byte| !unwanted(byte)).unwrap_or(bytes.len());
    let end = bytes.iter().rposition(|&byte| !unwanted(byte)).map_or(start, |last| last + 1);
    &bytes[start..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// No server lets these bytes into a header value, but one that did would find them harmless.
    #[test]
    fn control_characters_around_a_name_disguise_nothing() {
        let cookie = SessionCookie::new("sid", &CookieAttributes::new(), None, &[]);
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

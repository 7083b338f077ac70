//! The cookies beside the session cookie in which a store leaves its records with the clients.

use http::{HeaderMap, HeaderValue, header::SET_COOKIE};
use memchr::memchr;

use super::{
    SessionCookie,
    attributes::{removal, set_cookie},
    bytes::trim,
    read::pairs,
    set_cookie::{SetCookie, retain},
};
use crate::store::contract::Companion;

/// How many different values of one companion are looked at.
const MAX_COMPANIONS: usize = 4;

#[derive(Debug)]
pub(crate) struct CompanionCookies {
    /// What the store calls each, and the cookie's name.
    names: Vec<(&'static str, String)>,
    attributes: SessionCookie,
}

impl CompanionCookies {
    /// Named after the session cookie; and if it is `Secure`, with the strictest prefix its attributes allow (OWASP ASVS
    /// 5.0 §3.3.1). `name_first`: no name may begin with the session cookie's.
    pub(crate) fn new(names: &[&'static str], attributes: &SessionCookie, name_first: bool) -> Self {
        let session_cookie = attributes.name.as_str();
        let (own_prefix, bare) = ["__Host-", "__Secure-"]
            .into_iter()
            .find_map(|prefix| Some((prefix, session_cookie.strip_prefix(prefix)?)))
            .unwrap_or(("", session_cookie));
        let prefix = match attributes {
            _ if session_cookie.starts_with("__") || !attributes.secure => own_prefix,
            SessionCookie { path, domain: None, .. } if path == "/" => "__Host-",
            _ => "__Secure-",
        };
        let cookie = |name| {
            if name_first { format!("{prefix}{name}-{bare}") } else { format!("{prefix}{bare}-{name}") }
        };
        let names = names.iter().map(|&name| (name, cookie(name))).collect();
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
        retain(headers, |field| SetCookie::parse(field).name != cookie.as_bytes());
        headers.append(SET_COOKIE, set);
    }

    pub(crate) fn remove_from_browser(&self, headers: &mut HeaderMap) {
        retain(headers, |field| {
            let name = SetCookie::parse(field).name;
            !self.names.iter().any(|(_, cookie)| name == cookie.as_bytes())
        });
        let domain = self.attributes.domain.as_deref();
        let removals: Vec<HeaderValue> =
            self.names.iter().filter_map(|(_, cookie)| removal(cookie, &self.attributes, domain)).collect();
        for removal in removals {
            headers.append(SET_COOKIE, removal);
        }
    }
}

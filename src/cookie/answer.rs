//! What an answer says about the session cookie, and what of it leaves.

use std::sync::atomic::Ordering::Relaxed;

use http::{HeaderMap, HeaderName, HeaderValue, header::SET_COOKIE};

use super::{
    CookieSource,
    attributes::removals,
    bytes::trim,
    chunks::{Jar, Part, Parts, is_mark_and_number},
    set_cookie::{SetCookie, retain},
};

const CLEAR_SITE_DATA: HeaderName = HeaderName::from_static("clear-site-data");
/// How much of a cookie's name is told.
const LONGEST_NAME: usize = 64;

/// What an answer's `Set-Cookie` and `Clear-Site-Data` fields say about the session cookie.
#[derive(PartialEq, Eq)]
pub(crate) enum CookieChange {
    None,
    Set(Vec<u8>),
    Removed,
}

/// What the client has of the session cookie as the answer reaches it. Only of a cookie that may be chunked is anything
/// known, and needed.
pub(crate) struct ClientCookies {
    /// The fields that the application was given of a live session.
    pub(crate) given: Vec<HeaderValue>,
    /// All parts that came with the request.
    pub(crate) parts: Parts,
}

impl ClientCookies {
    pub(crate) const NONE: Self = Self { given: Vec::new(), parts: Parts::NONE };
}

/// Whether an answer may say anything about cookies.
pub(crate) fn speaks_of_cookies(headers: &HeaderMap) -> bool {
    headers.contains_key(SET_COOKIE) || headers.contains_key(CLEAR_SITE_DATA)
}

/// The answer's effect on one part.
struct Effect<'a> {
    part: Part,
    /// `None`: it is removed.
    value: Option<&'a [u8]>,
}

impl CookieSource {
    /// What the answer says about the session cookie, by what the browser has of it afterwards.
    pub(crate) fn change(&self, headers: &HeaderMap, client: &ClientCookies) -> CookieChange {
        self.watch_attributes(headers);
        let effects = self.effects(headers);
        let is_set = effects.iter().any(|effect| effect.value.is_some());
        if self.sets_stray_chunks(headers) && is_set {
            // The other part may be the number of chunks (ASP.NET Core's `chunks-2`), the same in many sessions.
            return CookieChange::Set(Vec::new());
        }
        let jar = self.jar_after(&effects, client);
        match jar.joined().or(jar.whole) {
            Some(id) if is_set => CookieChange::Set(id),
            // Some chunks without the others are no id, and no session begins.
            None if is_set => CookieChange::Set(Vec::new()),
            _ if effects.is_empty() && !clears_cookies(headers) => CookieChange::None,
            // Without one of its parts, a session is none.
            _ => CookieChange::Removed,
        }
    }

    /// Lets those session cookies leave that are parts of the id that the answer sets, and those removed. What else the
    /// browser has of the session cookie is removed.
    pub(crate) fn let_set_leave(&self, headers: &mut HeaderMap, client: &ClientCookies) {
        let effects = self.effects(headers);
        let jar = self.jar_after(&effects, client);
        let removed = effects.iter().filter(|effect| effect.value.is_none()).map(|effect| effect.part);
        let gone = client.parts.without(removed);
        let stays: Vec<(Part, &Vec<u8>)> =
            Part::all().filter_map(|part| Some((part, jar.get(part)?))).collect();
        let gone = gone.without(stays.iter().map(|(part, _)| *part));
        self.retain(headers, |part, cookie| {
            cookie.is_removal() || stays.iter().any(|(stay, value)| *stay == part && *value == cookie.value)
        });
        self.remove(headers, gone);
    }

    /// Lets no session cookie leave, only that it is removed: all parts of it.
    pub(crate) fn let_removed_leave(&self, headers: &mut HeaderMap, client: &ClientCookies) {
        let effects = self.effects(headers);
        let removed = effects.iter().filter(|effect| effect.value.is_none()).map(|effect| effect.part);
        let gone = client.parts.without(removed);
        self.retain(headers, |_, cookie| cookie.is_removal());
        self.remove(headers, gone);
    }

    /// Lets nothing leave that has to do with the session cookie.
    pub(crate) fn let_none_leave(&self, headers: &mut HeaderMap) {
        self.retain(headers, |_, _| false);
    }

    /// Makes the browser forget the session cookie, with what parts of it it has, and its companions.
    pub(crate) fn remove_from_browser(&self, headers: &mut HeaderMap, mut parts: Parts) {
        parts.insert(Part::Whole);
        self.remove(headers, parts);
        if let Some(companions) = &self.companions {
            companions.remove_from_browser(headers);
        }
    }

    fn remove(&self, headers: &mut HeaderMap, parts: Parts) {
        for part in parts.iter() {
            if part == Part::Whole {
                append(headers, self.removals.iter().cloned());
            } else {
                append(headers, removals(&self.part_name(part), &self.attributes));
            }
        }
    }

    /// Whether a chunk is set that is no part of a session here: there may be none, none of this form or of this number.
    fn sets_stray_chunks(&self, headers: &HeaderMap) -> bool {
        let mut cookies = headers.get_all(SET_COOKIE).iter().map(|field| SetCookie::parse(field.as_bytes()));
        let Some(stray) = cookies.find(|cookie| self.is_stray_chunk(cookie)) else { return false };
        if !self.warned_of_chunks.swap(true, Relaxed) {
            let name: String = String::from_utf8_lossy(stray.name).chars().take(LONGEST_NAME).collect();
            self.operator.warn(format!(
                "an answer set {name:?}, which reads as a chunk of the session cookie: it is taken out of requests, and \
                 no session begins with an answer that sets both. If the session library splits long sessions over several \
                 cookies, say `SessionCookie::chunks`; if it does so in another way than that knows, keep its sessions short or \
                 on the server"
            ));
        }
        true
    }

    fn is_stray_chunk(&self, cookie: &SetCookie<'_>) -> bool {
        let rest = cookie.name.strip_prefix(&*self.name.exact);
        rest.is_some_and(|rest| is_mark_and_number(rest.iter().copied()))
            && self.part(cookie).is_none()
            && !cookie.is_removal()
    }

    /// Whether no browser will have this session cookie; the operator is told once.
    fn is_lost(&self, cookie: &SetCookie<'_>) -> bool {
        let is_lost = cookie.is_too_long();
        if is_lost && !self.warned_of_length.swap(true, Relaxed) {
            self.operator.warn(format!(
                "an answer set the session cookie with {} bytes of name and value; browsers pass over cookies of more than \
                 4096, so no session began with it",
                cookie.name.len() + cookie.value.len()
            ));
        }
        is_lost
    }

    fn part(&self, cookie: &SetCookie<'_>) -> Option<Part> {
        let rest = cookie.name.strip_prefix(&*self.name.exact)?;
        match self.chunks() {
            Some(chunks) => chunks.part(rest),
            None => rest.is_empty().then_some(Part::Whole),
        }
    }

    /// What the browser has of the session cookie afterwards: either the whole or chunks, whichever the answer sets.
    fn jar_after(&self, effects: &[Effect<'_>], client: &ClientCookies) -> Jar<Vec<u8>> {
        let whole = effects.iter().find(|effect| effect.part == Part::Whole && effect.value.is_some());
        if let Some(whole) = whole {
            return Jar { whole: whole.value.map(<[u8]>::to_vec), ..Jar::default() };
        }
        let mut jar = self.jar(&client.given);
        for effect in effects {
            *jar.slot(effect.part) = effect.value.map(<[u8]>::to_vec);
        }
        if jar.has_chunks() {
            jar.whole = None;
        }
        jar
    }

    fn retain(&self, headers: &mut HeaderMap, keep: impl Fn(Part, &SetCookie<'_>) -> bool) {
        retain(headers, |field| {
            let cookie = SetCookie::parse(field);
            match self.part(&cookie) {
                Some(part) => keep(part, &cookie),
                None => !self.is_stray_chunk(&cookie),
            }
        });
    }

    /// How the application sets its session cookie is seen, for what is configured may not be so.
    fn watch_attributes(&self, headers: &HeaderMap) {
        for field in headers.get_all(SET_COOKIE) {
            let cookie = SetCookie::parse(field.as_bytes());
            if self.part(&cookie).is_none() || cookie.is_removal() {
                continue;
            }
            let is_as_configured = cookie.may_be_set_with(&self.attributes);
            let seen = if is_as_configured { &self.is_set_as_configured } else { &self.is_set_otherwise };
            if !seen.load(Relaxed) {
                seen.store(true, Relaxed);
            }
        }
    }

    /// Of the session cookie's name, with another path or domain: one that the application has moved away from. In doubt, it
    /// is the session's, for a log-out must not be lost.
    fn is_of_another_cookie(&self, removal: &SetCookie<'_>) -> bool {
        self.is_set_as_configured.load(Relaxed)
            && !self.is_set_otherwise.load(Relaxed)
            && !removal.may_be_set_with(&self.attributes)
    }

    /// What a browser makes of the fields: of those that are one cookie to it, the last counts; and a name has a value if
    /// one of its cookies has.
    fn effects<'a>(&self, headers: &'a HeaderMap) -> Vec<Effect<'a>> {
        let mut cookies: Vec<(Part, SetCookie<'a>)> = Vec::new();
        for field in headers.get_all(SET_COOKIE) {
            let cookie = SetCookie::parse(field.as_bytes());
            if let Some(part) = self.part(&cookie).filter(|_| !self.is_lost(&cookie)) {
                cookies.retain(|(_, earlier)| !cookie.may_replace(earlier));
                cookies.push((part, cookie));
            }
        }
        let mut effects: Vec<Effect<'a>> = Vec::new();
        for (part, cookie) in cookies {
            if cookie.is_removal() && self.is_of_another_cookie(&cookie) {
                continue;
            }
            let value = (!cookie.is_removal()).then_some(cookie.value);
            match effects.iter_mut().find(|effect| effect.part == part) {
                Some(effect) => effect.value = value.or(effect.value),
                None => effects.push(Effect { part, value }),
            }
        }
        effects
    }
}

/// Whether the browser forgets all cookies of the site. It takes the quoted words alone.
fn clears_cookies(headers: &HeaderMap) -> bool {
    headers.get_all(CLEAR_SITE_DATA).iter().any(|field| {
        let mut kinds = field.as_bytes().split(|&byte| byte == b',').map(trim);
        kinds.any(|kind| kind == b"\"cookies\"" || kind == b"\"*\"")
    })
}

fn append(headers: &mut HeaderMap, cookies: impl Iterator<Item = HeaderValue>) {
    for cookie in cookies {
        headers.append(SET_COOKIE, cookie);
    }
}

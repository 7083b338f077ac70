//! Hints for operators: what was seen so far tells an ended session from layers in the wrong order, and a quiet
//! site from a cookie of another name.

use std::{
    collections::HashSet,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
};

use cookie::Cookie;
use http::{HeaderMap, HeaderValue, header::SET_COOKIE};

use crate::{
    cookie::{CompanionCookies, CookieSource},
    event::Operator,
    middleware::short_cookie::ShortCookie,
};

/// How many answers have to set another cookie that looks like a session's.
const MANY_ANSWERS: usize = 10;
/// Shorter than any session id: 64 bits of entropy (OWASP) take 16 hexadecimal digits.
const SHORTEST_ID: usize = 16;
/// Of how many different bytes a random value of that length consists at least.
const LEAST_VARIETY: usize = 8;
/// How much of a cookie's name is told.
const LONGEST_NAME: usize = 64;

/// What a layer has seen.
#[derive(Default)]
pub(crate) struct Hints {
    operator: Operator,
    a_session: AtomicBool,
    the_cookie: AtomicBool,
    an_unknown_id: AtomicBool,
    other_session_cookies: AtomicUsize,
    a_companion: AtomicBool,
    a_missing_companion: AtomicBool,
    a_changing_id: AtomicBool,
    a_doubtful_login: AtomicBool,
    an_ambiguous_login: AtomicBool,
    a_login_without_cookie: AtomicBool,
    a_login_of_another_owner: AtomicBool,
    an_inner_layer: AtomicBool,
    pub(crate) short_cookie: ShortCookie,
}

impl Hints {
    pub(crate) fn new(operator: Operator) -> Self {
        Self { operator, ..Self::default() }
    }

    /// A session began, or was live: the layer sees what it has to.
    pub(crate) fn session(&self) {
        // A store would take the line from other processors at each request.
        if !self.a_session.load(Relaxed) {
            self.a_session.store(true, Relaxed);
        }
    }

    /// A client sent a cookie with a session's record.
    pub(crate) fn companion(&self) {
        self.a_companion.store(true, Relaxed);
    }

    /// An id was refused as unknown.
    pub(crate) fn unknown_id(&self, cookie: Option<&CookieSource>) {
        if !self.a_session.load(Relaxed) {
            if !self.an_unknown_id.swap(true, Relaxed) {
                self.operator.warn(
                    "a session id was refused as unknown, and no session has begun yet: if this is no cookie from \
                     before a restart, is the log-in route inside the timeout layer?",
                );
            }
            return;
        }
        let companions = cookie.and_then(CookieSource::companions);
        if companions.is_some_and(CompanionCookies::are_secure)
            && !self.a_companion.load(Relaxed)
            && !self.a_missing_companion.swap(true, Relaxed)
        {
            self.operator.warn(
                "session cookies come back, but none of the Secure cookies set beside them with the sessions' records: \
                 over plain http, browsers drop those. For development without TLS, say \
                 `cookie(SessionCookie::new(..).secure(false))`",
            );
        }
    }

    /// An answer to an activity of a live session did not set its cookie.
    pub(crate) fn cookie_not_set(&self) {
        self.short_cookie.was_not_set(&self.operator);
    }

    /// An answer said something about the session cookie.
    pub(crate) fn session_cookie(&self) {
        self.the_cookie.store(true, Relaxed);
    }

    /// An answer to a request without a live session set cookies, and none of them is the session's.
    pub(crate) fn other_cookies(&self, cookie: &CookieSource, headers: &HeaderMap) {
        let is_told = self.other_session_cookies.load(Relaxed) >= MANY_ANSWERS;
        if is_told || self.a_session.load(Relaxed) || self.the_cookie.load(Relaxed) {
            return;
        }
        // Its own may be too long for browsers.
        let mut others =
            headers.get_all(SET_COOKIE).iter().filter_map(parsed).filter(looks_like_session_cookie);
        let Some(other) = others.find(|other| other.name() != cookie.name()) else { return };
        if self.other_session_cookies.fetch_add(1, Relaxed) + 1 == MANY_ANSWERS {
            let name: String = other.name().chars().take(LONGEST_NAME).collect();
            let ours = cookie.name();
            self.operator.warn(format!(
                "{MANY_ANSWERS} answers have set a cookie that looks like a session's, the last one {name:?}; none has \
                 set {ours:?}, and no session has begun: is the session cookie's name right?"
            ));
        }
    }

    /// An answer that was no log-in has changed a session's id.
    pub(crate) fn changing_id(&self) {
        if !self.a_changing_id.load(Relaxed) {
            self.a_changing_id.store(true, Relaxed);
        }
    }

    /// Whether ids are known to change at other times than log-ins.
    pub(crate) fn do_ids_change(&self) -> bool {
        self.a_changing_id.load(Relaxed)
    }

    /// An answer to a live session announced a log-in, and set another cookie that may be the one of its session.
    pub(crate) fn ambiguous_login(&self) {
        if !self.an_ambiguous_login.swap(true, Relaxed) {
            self.operator.warn(
                "an answer announced a log-in (`NewSession`), set no session cookie of this layer's, and one that may be \
                 another session's: this layer's session goes on as it is. If it is this one's user who proved again who \
                 they are, call `Session::reauthenticated` instead",
            );
        }
    }

    /// An answer announced a log-in of somebody else than the owner of its request's live session, and set no session cookie.
    pub(crate) fn login_of_another_owner(&self) {
        if !self.a_login_of_another_owner.swap(true, Relaxed) {
            self.operator.warn(
                "an answer announced a log-in (`NewSession`) of another owner than that of its request's session, but set no \
                 session cookie: this layer's session goes on as it is",
            );
        }
    }

    /// An answer announced a log-in, but neither set the session cookie nor had a live session.
    pub(crate) fn login_without_cookie(&self) {
        if !self.a_login_without_cookie.swap(true, Relaxed) {
            self.operator.warn(
                "an answer announced a log-in (`NewSession`), but set no session cookie, and there is no live session: none \
                 began in this layer. That is right only if a layer further out has the session",
            );
        }
    }

    /// The session is another layer's, further out, and this one has been told what only that one does.
    pub(crate) fn inner_layer(&self, outermost_only: Option<&str>) {
        if let Some(options) = outermost_only
            && !self.an_inner_layer.swap(true, Relaxed)
        {
            self.operator.warn(format!(
                "a layer further out keeps the session of the same cookie, so {options} has no effect here: say it there"
            ));
        }
    }

    /// `fresh_login` took an answer for a log-in where a new id proves nothing.
    pub(crate) fn doubtful_login(&self) {
        if !self.a_doubtful_login.swap(true, Relaxed) {
            self.operator.warn(
                "`fresh_login` has no effect: this application changes its session ids on other answers than log-ins, \
                 too, so that a new id proves none. The absolute timeout goes on; put a `NewSession` into the \
                 extensions of a log-in's answer",
            );
        }
    }
}

/// Whether an answer sets a cookie that may be a session's.
pub(crate) fn sets_session_cookie(headers: &HeaderMap) -> bool {
    headers.get_all(SET_COOKIE).iter().any(|field| {
        let Some(cookie) = parsed(field) else { return true };
        is_named_as_session(&cookie) && !is_removal(&cookie) || looks_like_session_cookie(&cookie)
    })
}

fn parsed(field: &HeaderValue) -> Option<Cookie<'_>> {
    Cookie::parse(field.to_str().ok()?).ok()
}

fn is_named_as_session(cookie: &Cookie<'_>) -> bool {
    let name = cookie.name().to_ascii_lowercase();
    name.contains("sess") || name.ends_with("sid")
}

fn is_removal(cookie: &Cookie<'_>) -> bool {
    cookie.value().is_empty() || cookie.max_age().is_some_and(|max_age| !max_age.is_positive())
}

/// A long random value that scripts cannot read, or with the usual name.
fn looks_like_session_cookie(cookie: &Cookie<'_>) -> bool {
    let name = cookie.name().to_ascii_lowercase();
    let is_usual = name.contains("sess") || name.contains("sid");
    let guards_forms = name.contains("csrf") || name.contains("xsrf");
    (cookie.http_only() == Some(true) || is_usual)
        && !guards_forms
        && !is_removal(cookie)
        && looks_random(cookie.value().as_bytes())
}

fn looks_random(value: &[u8]) -> bool {
    value.len() >= SHORTEST_ID && value.iter().collect::<HashSet<_>>().len() >= LEAST_VARIETY
}

//! Which requests renew, and which are public.

use http::{Method, header::ACCEPT};
use percent_encoding::percent_decode_str;

use crate::request::head::RequestHead;

/// `Session-Activity: passive` marks a request as no activity. It can only ever shorten a session.
pub(crate) const SESSION_ACTIVITY: &str = "session-activity";

type Predicate = Box<dyn Fn(&RequestHead<'_>) -> bool + Send + Sync>;

/// Paths and predicates; any one of them is enough.
#[derive(Default)]
pub(crate) struct Rules {
    paths: Vec<PathRule>,
    predicates: Vec<Predicate>,
}

impl Rules {
    pub(crate) fn add_path(&mut self, path: PathRule) {
        self.paths.push(path);
    }

    pub(crate) fn add_predicate(&mut self, predicate: Predicate) {
        self.predicates.push(predicate);
    }

    pub(crate) fn apply_to(&self, head: &RequestHead<'_>) -> bool {
        self.paths.iter().any(|path| path.matches(head.path()))
            || self.predicates.iter().any(|predicate| predicate(head))
    }
}

/// Requests that say by themselves that no user is behind them. One look at all names is cheaper than three searches.
pub(crate) fn is_passive_by_itself(head: &RequestHead<'_>) -> bool {
    *head.method() == Method::OPTIONS
        || head.headers().keys().any(|name| match name.as_str() {
            SESSION_ACTIVITY => lists(head, SESSION_ACTIVITY, "passive"),
            "sec-purpose" | "purpose" => is_prefetch(head),
            // An event stream that reconnects by itself; and one that may do so, for without ids it says no more.
            "last-event-id" => true,
            "accept" => is_event_source(head),
            _ => false,
        })
}

/// As an `EventSource` asks: with `GET`, for an event stream and nothing else.
fn is_event_source(head: &RequestHead<'_>) -> bool {
    *head.method() == Method::GET
        && head.only(ACCEPT).is_some_and(|accept| {
            let mut parts = accept.as_bytes().split(|&byte| byte == b';');
            let kind = parts.next().unwrap_or_default().trim_ascii();
            kind.eq_ignore_ascii_case(b"text/event-stream") && parts.all(|part| !part.contains(&b','))
        })
}

/// `Sec-Purpose: prefetch`, also with parameters or `;prerender`; `Purpose: prefetch` of older browsers.
pub(crate) fn is_prefetch(head: &RequestHead<'_>) -> bool {
    ["sec-purpose", "purpose"].into_iter().any(|name| lists(head, name, "prefetch"))
}

/// Whether one of the fields of this name has this item, with or without parameters.
fn lists(head: &RequestHead<'_>, name: &str, wanted: &str) -> bool {
    head.headers().get_all(name).iter().any(|field| {
        let mut items = field.as_bytes().split(|&byte| byte == b',' || byte == b';');
        items.any(|item| item.trim_ascii().eq_ignore_ascii_case(wanted.as_bytes()))
    })
}

/// A path as a whole, or everything below it if it ends in `/`.
#[derive(Debug)]
pub(crate) struct PathRule {
    path: Box<str>,
    below: bool,
}

impl PathRule {
    /// # Errors
    ///
    /// Says what is wrong with the path.
    pub(crate) fn parse(path: &str) -> Result<Self, &'static str> {
        if !path.starts_with('/') {
            return Err("a path begins with /");
        }
        if path.contains(['?', '#', '*', '{']) {
            return Err(
                "a path is literal, without query, fragment or pattern; end it in / to cover what is below",
            );
        }
        let below = path.len() > 1 && path.ends_with('/');
        let segments = &path[1..path.len() - usize::from(below)];
        if path.len() > 1 && !is_plain(segments) {
            return Err("a path has no empty, . or .. segment and no encoded / or \\");
        }
        Ok(Self { path: path.into(), below })
    }

    pub(crate) fn matches(&self, path: &str) -> bool {
        match path.strip_prefix(&*self.path) {
            Some("") => true,
            // `/public/../admin` is not below `/public/`, however it is spelled.
            Some(rest) => self.below && is_plain(rest.strip_suffix('/').unwrap_or(rest)),
            None => false,
        }
    }
}

/// No segment that any server or router might resolve to somewhere else.
fn is_plain(segments: &str) -> bool {
    segments.split('/').all(|segment| {
        let decoded: Vec<u8> = percent_decode_str(segment).collect();
        let name = decoded.split(|&byte| byte == b';').next().unwrap_or_default();
        !name.is_empty()
            && name != b"."
            && name != b".."
            && !decoded.iter().any(|&byte| byte == b'/' || byte == b'\\' || byte.is_ascii_control())
    })
}

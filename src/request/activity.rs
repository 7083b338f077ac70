//! Which requests renew, and which are public.

use http::{HeaderValue, Method};
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

/// What a request's header fields say of whether a user is behind it.
#[derive(Default)]
pub(crate) struct Signs {
    says_passive: bool,
    accepts: Accepts,
}

#[derive(Default, PartialEq)]
enum Accepts {
    #[default]
    Unsaid,
    EventStream,
    Others,
}

impl Signs {
    pub(crate) fn of(head: &RequestHead<'_>) -> Self {
        let mut signs = Self::default();
        for (name, value) in head.headers() {
            signs.see(name.as_str(), value);
        }
        signs
    }

    /// Takes note of one field.
    #[inline]
    pub(crate) fn see(&mut self, name: &str, value: &HeaderValue) {
        match name {
            "accept" => {
                let is_first = self.accepts == Accepts::Unsaid;
                let is_event_stream = is_first && accepts_event_stream_alone(value.as_bytes());
                self.accepts = if is_event_stream { Accepts::EventStream } else { Accepts::Others };
            }
            SESSION_ACTIVITY => self.says_passive |= lists(value, "passive"),
            "sec-purpose" | "purpose" => self.says_passive |= lists(value, "prefetch"),
            // An event stream that reconnects by itself.
            "last-event-id" => self.says_passive = true,
            _ => {}
        }
    }

    /// Whether the request says by itself that no user is behind it. With `GET`, for an event stream and nothing else, an
    /// `EventSource` asks: it may do so by itself, and without ids it says no more.
    pub(crate) fn are_passive(&self, method: &Method) -> bool {
        self.says_passive
            || *method == Method::OPTIONS
            || (self.accepts == Accepts::EventStream && *method == Method::GET)
    }
}

fn accepts_event_stream_alone(accept: &[u8]) -> bool {
    const EVENT_STREAM: &[u8] = b"text/event-stream";
    let accept = accept.trim_ascii_start();
    let Some((kind, rest)) = accept.split_at_checked(EVENT_STREAM.len()) else { return false };
    let rest = rest.trim_ascii_start();
    kind.eq_ignore_ascii_case(EVENT_STREAM)
        && (rest.is_empty() || rest.starts_with(b";"))
        && !rest.contains(&b',')
}

/// `Sec-Purpose: prefetch`, also with parameters or `;prerender`; `Purpose: prefetch` of older browsers.
pub(crate) fn is_prefetch(head: &RequestHead<'_>) -> bool {
    let mut purposes = ["sec-purpose", "purpose"].into_iter().flat_map(|name| head.headers().get_all(name));
    purposes.any(|purpose| lists(purpose, "prefetch"))
}

/// Whether the field has this item, with or without parameters.
pub(crate) fn lists(field: &HeaderValue, wanted: &str) -> bool {
    let mut items = field.as_bytes().split(|&byte| byte == b',' || byte == b';');
    items.any(|item| item.trim_ascii().eq_ignore_ascii_case(wanted.as_bytes()))
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

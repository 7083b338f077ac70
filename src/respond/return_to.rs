//! Where to go on after the log-in, safely.

use http::uri::PathAndQuery;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

#[cfg(feature = "rescue")]
use crate::rules::{id::Owner, limits::EndReason};

/// Everything but RFC 3986's unreserved characters.
const QUERY_VALUE: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
const MAX_LENGTH: usize = 2048;

/// `target` if it is a path of this site to which a browser may be sent, else `None`.
///
/// For the log-in handler: it gets `next` from the client, and an attacker can make that anything. What passes begins
/// with one `/`, and neither browsers nor servers resolve it to another origin (OWASP ASVS 5.0 §3.7.2): no `//`, no
/// `\`, no control characters, no `.` or `..` segments, also not encoded, at most 2048 bytes.
///
/// ```
/// use tower_session_timeout::safe_return_to;
///
/// assert_eq!(safe_return_to("/account?tab=2"), Some("/account?tab=2"));
/// assert_eq!(safe_return_to("//evil.example"), None);
/// assert_eq!(safe_return_to("/\\evil.example"), None);
/// assert_eq!(safe_return_to("https://evil.example"), None);
/// ```
pub fn safe_return_to(target: &str) -> Option<&str> {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let visible = |byte: u8| byte.is_ascii_graphic() && byte != b'\\' && byte != b'#';
    let safe = target.len() <= MAX_LENGTH
        && path.starts_with('/')
        && path.bytes().all(visible)
        && query.bytes().all(visible)
        && decodes_safely(path);
    safe.then_some(target)
}

fn decodes_safely(path: &str) -> bool {
    let path: Vec<u8> = percent_decode_str(path).collect();
    // A space may be part of a file's name, but not the first thing: some trim there.
    !matches!(path.get(1), Some(b'/' | b'\\' | b' '))
        && !path.iter().any(|&byte| byte.is_ascii_control() || byte == b'\\')
        && !path.split(|&byte| byte == b'/').any(|segment| segment == b"." || segment == b"..")
}

/// In the extensions of a request with a form: what becomes of its session is noted here, for whoever keeps the form.
#[cfg(feature = "rescue")]
#[derive(Clone)]
pub(crate) struct FormWatch(std::sync::Arc<Watched>);

#[cfg(feature = "rescue")]
pub(crate) struct Watched {
    /// Where the form's user is shown it after the log-in.
    pub(crate) page: std::sync::Arc<str>,
    /// The form that was kept, and that its user sends now.
    pub(crate) unsent: Option<String>,
    pub(crate) seen: std::sync::OnceLock<Seen>,
}

/// What became of the session.
#[cfg(feature = "rescue")]
pub(crate) enum Seen {
    /// The application got the request with it. Whose it is.
    Live(Option<Owner>),
    /// The layer has refused it. Whose it was, as far as anybody knows: a session that is known and has no owner is nobody's.
    Refused { is_known: bool, owner: Option<Owner> },
    /// It lives, and tighter limits for this request have refused that.
    Capped,
}

#[cfg(feature = "rescue")]
impl FormWatch {
    pub(crate) fn new(page: std::sync::Arc<str>, unsent: Option<String>) -> Self {
        Self(std::sync::Arc::new(Watched { page, unsent, seen: std::sync::OnceLock::new() }))
    }

    pub(crate) fn watched(&self) -> &Watched {
        &self.0
    }
}

/// Not after a log-out, nor where the application has ended the session: whoever sends forms then may be somebody else.
#[cfg(feature = "rescue")]
pub(crate) fn keeps_forms(reason: EndReason) -> bool {
    matches!(reason, EndReason::Idle | EndReason::Absolute | EndReason::Unknown)
}

/// What of a request's URI may be returned to. It is built from path and query alone: an absolute-form target's
/// authority is no part of it.
pub(crate) fn of_request(target: Option<&PathAndQuery>) -> Option<&str> {
    target.and_then(|target| safe_return_to(target.as_str()))
}

/// The same location with this page as its `next`, whatever else the application says in it.
#[cfg(feature = "rescue")]
pub(crate) fn with_next(location: &str, next: &str) -> String {
    let (before, fragment) = location.split_once('#').unwrap_or((location, ""));
    let (path, query) = before.split_once('?').unwrap_or((before, ""));
    let others = query.split('&').filter(|pair| !pair.is_empty() && pair.split('=').next() != Some("next"));
    let next = format!("next={}", utf8_percent_encode(next, QUERY_VALUE));
    let query: Vec<_> = others.chain([next.as_str()]).collect();
    let fragment = if fragment.is_empty() { String::new() } else { format!("#{fragment}") };
    format!("{path}?{}{fragment}", query.join("&"))
}

/// Where a location leads, from a page of this path: to which host, and path.
#[cfg(feature = "rescue")]
pub(crate) fn target<'a>(location: &'a str, from: &str) -> (Option<&'a str>, String) {
    let location = location.split(['?', '#']).next().unwrap_or_default();
    let after_scheme = ["http://", "https://", "HTTP://", "HTTPS://", "//"].into_iter();
    let remote = after_scheme.into_iter().find_map(|scheme| location.strip_prefix(scheme));
    let (host, path) = match remote {
        Some(remote) => {
            let end = remote.find('/').unwrap_or(remote.len());
            (Some(&remote[..end]), &remote[end..])
        }
        None => (None, location),
    };
    let folder = from.rfind('/').map_or("", |end| &from[..end]);
    let whole =
        if path.starts_with('/') || host.is_some() { path.to_owned() } else { format!("{folder}/{path}") };
    let mut segments: Vec<&str> = Vec::new();
    for segment in whole.split('/').skip(1) {
        match segment {
            "." => {}
            ".." => drop(segments.pop()),
            segment => segments.push(segment),
        }
    }
    (host, format!("/{}", segments.join("/")))
}

/// Whether both name the same host, with or without a default port.
#[cfg(feature = "rescue")]
pub(crate) fn is_same_host(one: &str, other: &str) -> bool {
    let bare = |host: &str| {
        let host = host.to_ascii_lowercase();
        host.strip_suffix(":80").or(host.strip_suffix(":443")).unwrap_or(&host).to_owned()
    };
    bare(one) == bare(other)
}

/// The log-in page with a way back: for applications that send anonymous visitors there themselves. A target that is
/// not [safe](safe_return_to) is left out.
///
/// ```
/// use tower_session_timeout::login_location;
///
/// assert_eq!(login_location("/login", "/account?tab=2"), "/login?next=%2Faccount%3Ftab%3D2");
/// assert_eq!(login_location("/login", "//evil.example"), "/login");
/// ```
pub fn login_location(login: &str, return_to: &str) -> String {
    match safe_return_to(return_to) {
        None => login.to_owned(),
        Some(next) => {
            let separator = if login.contains('?') { '&' } else { '?' };
            format!("{login}{separator}next={}", utf8_percent_encode(next, QUERY_VALUE))
        }
    }
}

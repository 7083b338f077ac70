//! What is told of a session is in no answer that a cache could hand to others.

use http::{
    HeaderMap, HeaderValue,
    header::{CACHE_CONTROL, EXPIRES, LAST_MODIFIED},
};

use crate::respond::caching::is_for_shared_caches;

/// Older fields that some caches obey instead of `Cache-Control`. The newer ones end in `-cache-control` (RFC 9213).
const OBEYED_INSTEAD: [&str; 3] = ["surrogate-control", "edge-control", "x-accel-expires"];

/// With no more than these an answer is for no shared cache, though it does not say so.
const UNDECIDED: [&str; 5] = ["no-cache", "must-revalidate", "proxy-revalidate", "no-transform", "max-age=0"];

/// Whether no cache but the browser's own keeps this answer. One that is undecided is made so; one that may be for all is
/// left as it is.
pub(crate) fn keep_private(headers: &mut HeaderMap) -> bool {
    if is_for_shared_caches(headers) || headers.keys().any(|name| is_obeyed_instead(name.as_str())) {
        return false;
    }
    if says(headers, &["private", "no-store"]) {
        return true;
    }
    let is_dated = headers.contains_key(EXPIRES) || headers.contains_key(LAST_MODIFIED);
    if !directives(headers).all(|directive| is_one_of(directive, &UNDECIDED))
        || (is_dated && !says(headers, &["no-cache", "max-age=0"]))
    {
        return false;
    }
    headers.append(CACHE_CONTROL, HeaderValue::from_static("private"));
    true
}

fn is_obeyed_instead(name: &str) -> bool {
    name.ends_with("-cache-control") || OBEYED_INSTEAD.contains(&name)
}

/// As they stand there: one with an argument (`private="set-cookie"`) speaks of a part of the answer only, and a piece of
/// a quoted string is none.
fn directives(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    let fields = headers.get_all(CACHE_CONTROL).iter().map(HeaderValue::as_bytes);
    fields.flat_map(|field| {
        let is_quoted = field.contains(&b'"');
        field
            .split(move |&byte| byte == b',' && !is_quoted)
            .map(<[u8]>::trim_ascii)
            .filter(|it| !it.is_empty())
    })
}

fn is_one_of(directive: &[u8], known: &[&str]) -> bool {
    known.iter().any(|known| directive.eq_ignore_ascii_case(known.as_bytes()))
}

fn says(headers: &HeaderMap, wanted: &[&str]) -> bool {
    directives(headers).any(|directive| is_one_of(directive, wanted))
}

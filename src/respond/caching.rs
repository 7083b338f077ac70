//! Answers that no shared cache may hand to others.

use http::{
    HeaderMap, HeaderValue,
    header::{CACHE_CONTROL, COOKIE},
};

use crate::respond::vary_by;

fn has_cache_directive(headers: &HeaderMap, names: &[&str]) -> bool {
    headers.get_all(CACHE_CONTROL).iter().any(|control| {
        control.as_bytes().split(|&byte| byte == b',').any(|directive| {
            let name = directive.split(|&byte| byte == b'=').next().unwrap_or_default().trim_ascii();
            names.iter().any(|wanted| name.eq_ignore_ascii_case(wanted.as_bytes()))
        })
    })
}

/// The application says that this answer is the same for everybody.
pub(crate) fn is_for_shared_caches(headers: &HeaderMap) -> bool {
    has_cache_directive(headers, &["public", "s-maxage"])
}

/// A cache would hand one user's cookie to others.
pub(crate) fn keep_from_shared_caches(headers: &mut HeaderMap) {
    if !has_cache_directive(headers, &["private", "no-store"]) {
        headers.append(CACHE_CONTROL, HeaderValue::from_static("private"));
    }
    vary_by(headers, COOKIE);
}

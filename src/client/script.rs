//! The script in the page, as it is served: made from `page/` by `tests/browser/build.mjs`.

use std::{fmt::Write, sync::LazyLock};

use http::{
    HeaderMap, HeaderValue, Response, StatusCode,
    header::{
        ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, ETAG, IF_NONE_MATCH, VARY,
        X_CONTENT_TYPE_OPTIONS,
    },
};
use sha2::{Digest, Sha256};

use super::endpoints::RESOURCE_POLICY;
use crate::{RequestHead, body::RefusalBody, respond};

static PLAIN: &[u8] = include_bytes!("session-timeout.min.js");
/// From the smallest to the largest.
static ENCODED: [(&str, &[u8]); 2] = [
    ("br", include_bytes!("session-timeout.min.js.br")),
    ("gzip", include_bytes!("session-timeout.min.js.gz")),
];
static VERSION: LazyLock<String> = LazyLock::new(|| {
    Sha256::digest(PLAIN).iter().take(8).fold(String::new(), |mut version, byte| {
        let _ = write!(version, "{byte:02x}");
        version
    })
});

/// The beginning of the script's SHA-256.
pub(super) fn version() -> &'static str {
    &VERSION
}

pub(super) fn answer(head: &RequestHead<'_>) -> Response<RefusalBody> {
    let encoded = ENCODED.into_iter().find(|(coding, _)| accepts(head.headers(), coding));
    let (coding, script) = encoded.map_or((None, PLAIN), |(coding, script)| (Some(coding), script));
    // Each encoding is a representation of its own (RFC 9110 §8.8.3.3).
    let etag = format!("\"{}{}\"", version(), coding.map_or(String::new(), |coding| format!("-{coding}")));
    let is_known = head.headers().get_all(IF_NONE_MATCH).iter().any(|known| lists(known.as_bytes(), &etag));
    let mut response = Response::new(RefusalBody::text(if is_known { &[] } else { script }));
    if is_known {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    }
    let is_this_version = head.uri().query().and_then(|query| query.strip_prefix("v=")) == Some(version());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/javascript; charset=utf-8"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(RESOURCE_POLICY, HeaderValue::from_static("same-origin"));
    headers.insert(VARY, HeaderValue::from(ACCEPT_ENCODING));
    headers.insert(
        CACHE_CONTROL,
        HeaderValue::from_static(if is_this_version {
            "public, max-age=31536000, immutable"
        } else {
            "public, max-age=3600"
        }),
    );
    if let Ok(etag) = HeaderValue::try_from(etag) {
        headers.insert(ETAG, etag);
    }
    if let Some(coding) = coding {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static(coding));
    }
    if is_known {
        return response;
    }
    respond::finish(response, *head.method() == http::Method::HEAD)
}

/// Whether `If-None-Match` lists this tag, compared weakly (RFC 9110 §13.1.2).
fn lists(field: &[u8], etag: &str) -> bool {
    let mut tags = field.split(|&byte| byte == b',').map(<[u8]>::trim_ascii);
    tags.any(|tag| tag == b"*" || tag.strip_prefix(b"W/").unwrap_or(tag) == etag.as_bytes())
}

/// Whether the client takes this coding by name, and not with a weight of zero (RFC 9110 §12.5.3).
fn accepts(headers: &HeaderMap, coding: &str) -> bool {
    headers.get_all(ACCEPT_ENCODING).iter().any(|field| {
        field.as_bytes().split(|&byte| byte == b',').any(|item| {
            let mut parts = item.split(|&byte| byte == b';').map(<[u8]>::trim_ascii);
            parts.next().is_some_and(|name| name.eq_ignore_ascii_case(coding.as_bytes()))
                && !parts.any(|weight| matches!(weight, b"q=0" | b"q=0.0" | b"q=0.00" | b"q=0.000"))
        })
    })
}

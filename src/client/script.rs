//! The scripts in the page, as they are served: made from `page/` by `tests/browser/build.mjs`.

use std::{fmt::Write, sync::LazyLock};

use http::{
    HeaderMap, HeaderValue, Response, StatusCode,
    header::{
        ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, ETAG, IF_NONE_MATCH, VARY,
        X_CONTENT_TYPE_OPTIONS,
    },
};
use sha2::{Digest, Sha256};

use super::RESOURCE_POLICY;
use crate::{
    request::head::RequestHead,
    respond::{self, body::RefusalBody},
};

/// One script in its encodings.
pub(crate) struct Script {
    plain: &'static [u8],
    gzip: &'static [u8],
    br: &'static [u8],
}

pub(super) static CLIENT: Script = Script {
    plain: include_bytes!("client.min.js"),
    gzip: include_bytes!("client.min.js.gz"),
    br: include_bytes!("client.min.js.br"),
};

/// Loaded by the other one, in pages that have forms for it.
pub(super) static DRAFTS: Script = Script {
    plain: include_bytes!("drafts.min.js"),
    gzip: include_bytes!("drafts.min.js.gz"),
    br: include_bytes!("drafts.min.js.br"),
};

static VERSION: LazyLock<String> = LazyLock::new(|| {
    let hash = Sha256::new().chain_update(CLIENT.plain).chain_update(DRAFTS.plain).finalize();
    hash.iter().take(8).fold(String::new(), |mut version, byte| {
        let _ = write!(version, "{byte:02x}");
        version
    })
});

/// The beginning of the scripts' SHA-256: the one loads the other in its own version.
pub(super) fn version() -> &'static str {
    &VERSION
}

impl Script {
    fn encoded_for(&self, headers: &HeaderMap) -> (Option<&'static str>, &'static [u8]) {
        let smallest_first = [("br", self.br), ("gzip", self.gzip)];
        let encoded = smallest_first.into_iter().find(|(coding, _)| accepts(headers, coding));
        encoded.map_or((None, self.plain), |(coding, script)| (Some(coding), script))
    }

    pub(crate) fn answer(&self, head: &RequestHead<'_>) -> Response<RefusalBody> {
        let (coding, script) = self.encoded_for(head.headers());
        // Each encoding is a representation of its own (RFC 9110 §8.8.3.3).
        let etag =
            format!("\"{}{}\"", version(), coding.map_or(String::new(), |coding| format!("-{coding}")));
        let is_known =
            head.headers().get_all(IF_NONE_MATCH).iter().any(|known| lists(known.as_bytes(), &etag));
        let is_this_version =
            head.uri().query().and_then(|query| query.strip_prefix("v=")) == Some(version());
        let mut response =
            Response::new(RefusalBody::text(if is_known { <&[u8]>::default() } else { script }));
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
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            return response;
        }
        respond::with_length(response)
    }
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

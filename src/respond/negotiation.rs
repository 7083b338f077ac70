//! Which kind of answer a refused request asks for (content negotiation, RFC 9110 §12).

use std::collections::HashSet;

use http::{HeaderName, HeaderValue, Method, header::ACCEPT};

use crate::{
    request::{activity::lists, extract::Source, head::RequestHead},
    respond::GRPC,
};

const SEC_FETCH_MODE: &str = "sec-fetch-mode";
const HX_REQUEST: &str = "hx-request";

/// What of a request decides over the answer to it. Beside what is looked at here, where its session id travels.
#[derive(Clone, Copy, Default)]
pub(crate) struct Negotiation {
    /// A browser's, to a page that it will show.
    pub(crate) is_navigation: bool,
    pub(super) is_htmx: bool,
    pub(super) is_grpc: bool,
}

impl Negotiation {
    /// One look at all fields is cheaper than a search for each.
    pub(crate) fn of(head: &RequestHead<'_>) -> Self {
        let mut negotiation = Self::default();
        let (mut is_prefetch, mut accepts_pages) = (false, false);
        let mut modes: Option<bool> = None;
        for (name, value) in head.headers() {
            match name.as_str() {
                SEC_FETCH_MODE => modes = Some(modes.unwrap_or(true) && value == "navigate"),
                "accept" => accepts_pages = accepts_pages || lists(value, "text/html"),
                "sec-purpose" | "purpose" => is_prefetch = is_prefetch || lists(value, "prefetch"),
                HX_REQUEST => negotiation.is_htmx |= value.as_bytes().eq_ignore_ascii_case(b"true"),
                "content-type" => negotiation.is_grpc |= value.as_bytes().starts_with(GRPC.as_bytes()),
                _ => {}
            }
        }
        let reads = matches!(*head.method(), Method::GET | Method::HEAD);
        negotiation.is_navigation = !is_prefetch && modes.unwrap_or(reads && accepts_pages);
        negotiation
    }
}

/// The names of the fields that decide, for `Vary`.
pub(super) fn negotiated_by(source: &Source) -> impl Iterator<Item = HeaderName> {
    let negotiated = [HeaderName::from_static(SEC_FETCH_MODE), ACCEPT, HeaderName::from_static(HX_REQUEST)];
    source.vary().into_iter().chain(negotiated)
}

/// All of them in one field.
pub(super) fn vary(source: &Source) -> HeaderValue {
    let mut names: Vec<_> = negotiated_by(source).map(|name| name.to_string()).collect();
    let mut seen = HashSet::new();
    names.retain(|name| seen.insert(name.clone()));
    HeaderValue::try_from(names.join(", ")).unwrap_or(HeaderValue::from_static("*"))
}

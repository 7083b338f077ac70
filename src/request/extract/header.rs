//! A session id in a header field of its own.

use http::{Extensions, HeaderMap, HeaderName};

use super::{ExtractSessionId, Found};
use crate::{request::head::RequestHead, rules::id::SessionId};

/// Reads the session id from a header field, as a whole. Two different values, an empty one included, are no session.
///
/// Names that differ in nothing but what is no letter and no digit (`x_session_id`, `x.session.id`) are one field to
/// applications behind CGI, WSGI, PHP and the like; so they are here.
#[derive(Clone, Debug)]
pub struct FromHeader(HeaderName);

impl FromHeader {
    /// The field to read.
    pub fn new(name: HeaderName) -> Self {
        Self(name)
    }

    pub(super) fn name(&self) -> &HeaderName {
        &self.0
    }
}

impl FromHeader {
    fn spellings_in<'a>(&self, headers: &'a HeaderMap) -> impl Iterator<Item = &'a HeaderName> {
        let plain = |byte: u8| if byte.is_ascii_alphanumeric() { byte } else { b'_' };
        headers
            .keys()
            .filter(move |name| name.as_str().bytes().map(plain).eq(self.0.as_str().bytes().map(plain)))
    }
}

impl ExtractSessionId for FromHeader {
    fn extract<'a>(&self, head: &RequestHead<'a>) -> Found<'a> {
        let headers = head.headers();
        let fields = self.spellings_in(headers).flat_map(|name| headers.get_all(name));
        let mut values = fields.map(|value| value.as_bytes().trim_ascii());
        match values.next() {
            Some(first) if values.any(|other| other != first) => Found::Unusable,
            None | Some(b"") => Found::Nothing,
            Some(first) => Found::Id(SessionId::from(first)),
        }
    }

    fn remove(&self, headers: &mut HeaderMap, _: &mut Extensions) {
        let spellings: Vec<HeaderName> = self.spellings_in(headers).cloned().collect();
        for name in spellings {
            headers.remove(name);
        }
    }

    fn vary(&self) -> Vec<HeaderName> {
        vec![self.0.clone()]
    }
}

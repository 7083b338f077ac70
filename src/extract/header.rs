//! A session id in a header field of its own.

use http::{Extensions, HeaderMap, HeaderName};

use super::{ExtractSessionId, Found};
use crate::{RequestHead, SessionId};

/// Reads the session id from a header field, as a whole. Two different values are no session.
#[derive(Clone, Debug)]
pub struct FromHeader(HeaderName);

impl FromHeader {
    /// The field to read.
    pub fn new(name: HeaderName) -> Self {
        Self(name)
    }
}

impl ExtractSessionId for FromHeader {
    fn extract<'a>(&self, head: &RequestHead<'a>) -> Found<'a> {
        let mut values = head.headers().get_all(&self.0).iter().map(|value| value.as_bytes().trim_ascii());
        match values.next() {
            None | Some(b"") => Found::Nothing,
            Some(first) if values.all(|other| other == first) => Found::Id(SessionId::from(first)),
            Some(_) => Found::Unusable,
        }
    }

    fn remove(&self, headers: &mut HeaderMap, _: &mut Extensions) {
        headers.remove(&self.0);
    }

    fn vary(&self) -> Vec<HeaderName> {
        vec![self.0.clone()]
    }
}

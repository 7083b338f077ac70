//! What closures see of a request: everything but its body, by reference.

use http::{Extensions, HeaderMap, HeaderValue, Method, Request, Uri, header::AsHeaderName};

/// A request without its body.
#[derive(Clone, Copy, Debug)]
pub struct RequestHead<'a> {
    method: &'a Method,
    uri: &'a Uri,
    headers: &'a HeaderMap,
    extensions: &'a Extensions,
}

impl<'a> RequestHead<'a> {
    /// The head of this request.
    pub fn of<B>(request: &'a Request<B>) -> Self {
        Self {
            method: request.method(),
            uri: original_uri(request.extensions()).unwrap_or(request.uri()),
            headers: request.headers(),
            extensions: request.extensions(),
        }
    }

    /// The method.
    pub fn method(&self) -> &'a Method {
        self.method
    }

    /// The URI as the client sent it: axum's `OriginalUri` if the request went through `Router::nest` (feature
    /// `axum`). `X-Forwarded-*` and `X-Original-URL` are never looked at: anybody can send them.
    pub fn uri(&self) -> &'a Uri {
        self.uri
    }

    /// The path of [`uri`](Self::uri).
    pub fn path(&self) -> &'a str {
        self.uri.path()
    }

    /// The header fields.
    pub fn headers(&self) -> &'a HeaderMap {
        self.headers
    }

    /// The extensions.
    pub fn extensions(&self) -> &'a Extensions {
        self.extensions
    }

    /// Whether one of the fields of this name has this value.
    pub(crate) fn header_is(&self, name: &str, value: &str) -> bool {
        let mut fields = self.headers.get_all(name).iter();
        fields.any(|found| found.as_bytes().eq_ignore_ascii_case(value.as_bytes()))
    }

    /// The value of a field that comes once.
    pub(crate) fn only(&self, name: impl AsHeaderName) -> Option<&'a HeaderValue> {
        let mut fields = self.headers.get_all(name).iter();
        fields.next().filter(|_| fields.next().is_none())
    }
}

#[cfg(feature = "axum")]
fn original_uri(extensions: &Extensions) -> Option<&Uri> {
    extensions.get::<axum::extract::OriginalUri>().map(|original| &original.0)
}

#[cfg(not(feature = "axum"))]
fn original_uri(_: &Extensions) -> Option<&Uri> {
    None
}

/// A head that outlives its request: for `fresh_login`, which judges request and answer together.
#[derive(Debug)]
pub(crate) struct OwnedHead(Request<()>);

impl OwnedHead {
    pub(crate) fn of(head: &RequestHead<'_>) -> Self {
        let mut copy = Request::new(());
        *copy.method_mut() = head.method.clone();
        *copy.uri_mut() = head.uri.clone();
        *copy.headers_mut() = head.headers.clone();
        *copy.extensions_mut() = head.extensions.clone();
        Self(copy)
    }

    pub(crate) fn head(&self) -> RequestHead<'_> {
        RequestHead::of(&self.0)
    }
}

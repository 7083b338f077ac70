//! What closures see of a request: everything but its body, by reference.

use std::fmt;

use http::{
    Extensions, HeaderMap, HeaderValue, Method, Request, Uri,
    header::{AsHeaderName, HOST, ORIGIN},
};

const SEC_FETCH_SITE: &str = "sec-fetch-site";
const SEC_FETCH_DEST: &str = "sec-fetch-dest";

/// A request without its body. `Debug` shows its method and which header fields it has: in its path, its query and
/// their values there may be secrets.
#[derive(Clone, Copy)]
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

    /// Who made the browser send this request: fetch metadata, which no page can set, or the `Origin` of older browsers.
    pub(crate) fn initiator(&self) -> Initiator {
        let mut sites = self.headers.get_all(SEC_FETCH_SITE).iter().peekable();
        if sites.peek().is_some() {
            return sites
                .map(site)
                .reduce(|one, other| if one == other { one } else { Initiator::Elsewhere })
                .unwrap_or(Initiator::Unsaid);
        }
        let mut origins = self.headers.get_all(ORIGIN).iter().peekable();
        if origins.peek().is_none() {
            return Initiator::Unsaid;
        }
        if origins.all(|origin| self.is_own(origin)) { Initiator::OwnPage } else { Initiator::Elsewhere }
    }

    fn is_own(&self, origin: &HeaderValue) -> bool {
        let origin = Uri::try_from(origin.as_bytes()).ok();
        let Some(origin) = origin.as_ref().and_then(Uri::authority) else { return false };
        self.host().is_some_and(|host| origin == host)
    }

    /// With the port, if that is named.
    pub(crate) fn host(&self) -> Option<&'a str> {
        match self.uri.authority() {
            Some(asked) => Some(asked.as_str()),
            None => self.only(HOST)?.to_str().ok(),
        }
    }

    /// Not an image, a frame or another part of a page, as far as the browser says.
    pub(crate) fn wants_a_page(&self) -> bool {
        self.headers.get_all(SEC_FETCH_DEST).iter().all(|dest| dest == "document" || dest == "empty")
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

impl fmt::Debug for RequestHead<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.headers.keys().collect();
        f.debug_struct("RequestHead")
            .field("method", self.method)
            .field("headers", &names)
            .finish_non_exhaustive()
    }
}

/// Who made a browser send a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Initiator {
    /// A page of this origin.
    OwnPage,
    /// The user: a bookmark, an address typed in.
    User,
    /// A page of another origin, or one that does not say of which.
    Elsewhere,
    /// Nobody says: a program, or an old browser's `GET`.
    Unsaid,
}

fn site(said: &HeaderValue) -> Initiator {
    match said.as_bytes() {
        b"same-origin" => Initiator::OwnPage,
        b"none" => Initiator::User,
        _ => Initiator::Elsewhere,
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

/// A head that outlives its request: for what judges request and answer together.
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

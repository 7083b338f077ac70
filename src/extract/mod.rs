//! Where the session id travels.

mod bearer;
mod extension;
mod header;

use http::{
    Extensions, HeaderMap, HeaderName, HeaderValue,
    header::{AUTHORIZATION, COOKIE},
};

pub use self::{bearer::BearerToken, extension::FromExtension, header::FromHeader};
use crate::{RequestHead, SessionId, cookie::SessionCookie};

/// Finds the session id in a request.
///
/// Cookies, headers, bearer tokens and request extensions are there already; a closure does for most others
/// ([`session_id_from`](crate::SessionTimeoutBuilder::session_id_from)).
pub trait ExtractSessionId: Send + Sync + 'static {
    /// The session id of this request.
    fn extract<'a>(&self, head: &RequestHead<'a>) -> Found<'a>;

    /// Takes the session id out of a request, so that what comes after sees none: an ended session on a public page.
    fn remove(&self, headers: &mut HeaderMap, extensions: &mut Extensions);

    /// The challenge of a `401`, which RFC 9110 §15.5.2 demands. Default: `Session realm="session"`, a scheme no
    /// browser asks a password for.
    fn challenge(&self) -> HeaderValue {
        HeaderValue::from_static("Session realm=\"session\"")
    }

    /// The request fields that may carry the id, for `Vary`.
    fn vary(&self) -> Vec<HeaderName>;
}

/// What an extractor found.
#[derive(Clone, Debug)]
pub enum Found<'a> {
    /// No session id: the request is anonymous.
    Nothing,
    /// A session id.
    Id(SessionId<'a>),
    /// Something that stands for a session, but not for one in particular (two tokens, say). It is over.
    Unusable,
    /// The application is put together wrongly: the request is answered `500`, and the log says this.
    Misconfigured(&'static str),
}

/// Where this layer's session ids travel.
pub(crate) enum Source {
    Cookie(SessionCookie),
    Custom(Box<dyn ExtractSessionId>),
}

impl Source {
    pub(crate) fn cookie(&self) -> Option<&SessionCookie> {
        match self {
            Self::Cookie(cookie) => Some(cookie),
            Self::Custom(_) => None,
        }
    }

    /// Removes the id. `false` if one is still found: it travels where this extractor cannot reach.
    pub(crate) fn remove<B>(&self, request: &mut http::Request<B>) -> bool {
        match self {
            Self::Cookie(cookie) => {
                cookie.strip(request.headers_mut(), |_| false);
                true
            }
            Self::Custom(extractor) => {
                let mut extensions = std::mem::take(request.extensions_mut());
                extractor.remove(request.headers_mut(), &mut extensions);
                *request.extensions_mut() = extensions;
                !matches!(extractor.extract(&RequestHead::of(request)), Found::Id(_) | Found::Unusable)
            }
        }
    }

    pub(crate) fn challenge(&self) -> HeaderValue {
        match self {
            Self::Cookie(_) => HeaderValue::from_static("Session realm=\"session\""),
            Self::Custom(extractor) => extractor.challenge(),
        }
    }

    pub(crate) fn vary(&self) -> Vec<HeaderName> {
        match self {
            Self::Cookie(_) => vec![COOKIE],
            Self::Custom(extractor) => extractor.vary(),
        }
    }

    /// Whether both read the same cookie: then two layers time the same sessions.
    pub(crate) fn is_same_cookie(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Cookie(this), Self::Cookie(other)) => this.name() == other.name(),
            _ => false,
        }
    }
}

/// A closure as an extractor.
pub(crate) struct FromClosure<F>(pub(crate) F);

impl<F> ExtractSessionId for FromClosure<F>
where
    F: for<'a> Fn(&RequestHead<'a>) -> Option<SessionId<'a>> + Send + Sync + 'static,
{
    fn extract<'a>(&self, head: &RequestHead<'a>) -> Found<'a> {
        (self.0)(head).map_or(Found::Nothing, Found::Id)
    }

    /// Nobody knows what the closure reads, so both places for credentials go.
    fn remove(&self, headers: &mut HeaderMap, _: &mut Extensions) {
        headers.remove(COOKIE);
        headers.remove(AUTHORIZATION);
    }

    fn vary(&self) -> Vec<HeaderName> {
        vec![COOKIE, AUTHORIZATION]
    }
}

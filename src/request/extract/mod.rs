//! Where the session id travels.

mod bearer;
mod extension;
mod header;

use std::{
    any::{Any, TypeId},
    time::Duration,
};

use http::{
    Extensions, HeaderMap, HeaderName, HeaderValue,
    header::{AUTHORIZATION, COOKIE},
};

pub use self::{bearer::BearerToken, extension::FromExtension, header::FromHeader};
use crate::{
    cookie::{CookieSource, Keep, Parts},
    request::head::RequestHead,
    rules::{
        id::{Label, Owner, SessionId},
        limits::Limits,
        new_session::NewSession,
    },
};

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
    /// browser asks a password for. It is made once, for all answers.
    fn challenge(&self) -> HeaderValue {
        HeaderValue::from_static("Session realm=\"session\"")
    }

    /// The request fields that may carry the id, for `Vary`: always the same.
    fn vary(&self) -> Vec<HeaderName>;
}

/// What an extractor found.
#[derive(Clone, Debug)]
pub enum Found<'a> {
    /// No session id: the request is anonymous.
    Nothing,
    /// A session id.
    Id(SessionId<'a>),
    /// A session id out of a token that was issued elsewhere and that the extractor has verified. Of what has ended, the store
    /// has to know: see [`VerifiedId`].
    Verified(VerifiedId<'a>),
    /// Something that stands for a session, but not for one in particular (two tokens, say). It has ended.
    Unusable,
    /// The application is put together wrongly: the request is answered `500`, and the log says this.
    Misconfigured(&'static str),
}

/// A session id out of a verified token: a JWT of an identity provider, say.
///
/// The store has not seen its session begin. So the session begins with its first request, if the user was
/// authenticated less than the idle timeout ago (and less than the absolute one), and its absolute clock started then.
/// Once it has ended, by a log-out or a clock, no token of it brings it back: as long as the store has its records. One that has
/// lost them (a [`MemoryStore`](crate::MemoryStore) of a process that was restarted, a Redis that was flushed) remembers no end,
/// so within the idle timeout after its authentication a token may begin its session again.
///
/// ```
/// use std::time::{Duration, SystemTime};
/// use tower_session_timeout::{Found, SessionId, VerifiedId};
///
/// struct Claims { sid: String, auth_time: u64, sub: String }
///
/// fn found(claims: Claims) -> Found<'static> {
///     let authenticated = SystemTime::UNIX_EPOCH + Duration::from_secs(claims.auth_time);
///     let ago = authenticated.elapsed().unwrap_or_default();
///     Found::Verified(VerifiedId::new(SessionId::from(claims.sid), ago).owner(claims.sub))
/// }
/// # found(Claims { sid: String::new(), auth_time: 0, sub: String::new() });
/// ```
#[derive(Clone, Debug)]
pub struct VerifiedId<'a> {
    pub(crate) id: SessionId<'a>,
    authenticated_ago: Duration,
    owner: Option<Owner>,
    label: Option<Label>,
}

impl<'a> VerifiedId<'a> {
    /// An id that all tokens of one log-in share (`sid` of `OpenID` Connect), and how long ago the user was authenticated
    /// (`auth_time`; not `iat`, which every refresh moves).
    ///
    /// A token's own hash in place of a `sid` makes each refreshed token a session of its own: then only the idle
    /// timeout holds.
    pub fn new(id: SessionId<'a>, authenticated_ago: Duration) -> Self {
        Self { id, authenticated_ago, owner: None, label: None }
    }

    /// Whose session it is (`sub`).
    #[must_use]
    pub fn owner(self, owner: impl Into<Owner>) -> Self {
        Self { owner: Some(owner.into()), ..self }
    }

    /// What tells it from its owner's others: see [`NewSession::label`].
    #[must_use]
    pub fn label(self, label: impl Into<Label>) -> Self {
        Self { label: Some(label.into()), ..self }
    }

    /// How its session begins, if it still may. At the boundary it may not.
    pub(crate) fn newcomer(&self, limits: &Limits) -> Option<NewSession> {
        let may_begin = self.authenticated_ago < limits.idle()
            && limits.absolute().is_none_or(|absolute| self.authenticated_ago < absolute);
        may_begin.then(|| NewSession {
            owner: self.owner.clone(),
            label: self.label.clone(),
            ..NewSession::new().age(self.authenticated_ago)
        })
    }
}

/// Where this layer's session ids travel.
pub(crate) enum Source {
    Cookie(CookieSource),
    Custom { extractor: Box<dyn ExtractSessionId>, place: Option<Place> },
}

/// Where an extractor surely reads.
#[derive(PartialEq, Eq)]
pub(crate) enum Place {
    Header(HeaderName),
    /// Wherever this type does: none of its values differs from another one.
    OfType(TypeId),
}

impl Place {
    fn of<E: ExtractSessionId>(extractor: &E) -> Option<Self> {
        let header = (extractor as &dyn Any).downcast_ref::<FromHeader>();
        header
            .map(|header| Self::Header(header.name().clone()))
            .or_else(|| (size_of::<E>() == 0).then(|| Self::OfType(TypeId::of::<E>())))
    }
}

impl Source {
    pub(crate) fn custom<E: ExtractSessionId>(extractor: E) -> Self {
        let place = Place::of(&extractor);
        Self::Custom { extractor: Box::new(extractor), place }
    }

    pub(crate) fn cookie(&self) -> Option<&CookieSource> {
        match self {
            Self::Cookie(cookie) => Some(cookie),
            Self::Custom { .. } => None,
        }
    }

    /// The request's ids, up to `limit` different ones.
    pub(crate) fn ids(&self, head: &RequestHead<'_>, limit: usize) -> Vec<SessionId<'static>> {
        match self {
            Self::Cookie(cookie) => cookie.ids(head.headers(), limit),
            Self::Custom { extractor, .. } => match extractor.extract(head) {
                Found::Id(id) | Found::Verified(VerifiedId { id, .. }) => vec![id.into_owned()],
                Found::Nothing | Found::Unusable | Found::Misconfigured(_) => Vec::new(),
            },
        }
    }

    /// Removes the id. `false` if one is still found: it travels where this extractor cannot reach.
    pub(crate) fn remove<B>(&self, request: &mut http::Request<B>) -> bool {
        match self {
            Self::Cookie(cookie) => {
                cookie.strip(request.headers_mut(), Keep::NoSession);
                true
            }
            Self::Custom { extractor, .. } => {
                let mut extensions = std::mem::take(request.extensions_mut());
                extractor.remove(request.headers_mut(), &mut extensions);
                *request.extensions_mut() = extensions;
                !matches!(
                    extractor.extract(&RequestHead::of(request)),
                    Found::Id(_) | Found::Verified(_) | Found::Unusable
                )
            }
        }
    }

    /// The parts of the session cookie that came with these fields.
    pub(crate) fn parts(&self, headers: &HeaderMap) -> Parts {
        self.cookie().map(|cookie| cookie.parts(headers)).unwrap_or_default()
    }

    pub(crate) fn challenge(&self) -> HeaderValue {
        match self {
            Self::Cookie(_) => HeaderValue::from_static("Session realm=\"session\""),
            Self::Custom { extractor, .. } => extractor.challenge(),
        }
    }

    pub(crate) fn vary(&self) -> Vec<HeaderName> {
        match self {
            Self::Cookie(_) => vec![COOKIE],
            Self::Custom { extractor, .. } => extractor.vary(),
        }
    }

    /// Whether both surely read in the same place.
    pub(crate) fn is_same_place(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Cookie(this), Self::Cookie(other)) => this.name() == other.name(),
            (Self::Custom { place: Some(this), .. }, Self::Custom { place: Some(other), .. }) => {
                this == other
            }
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

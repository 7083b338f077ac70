//! Which requests renew, which go on without a session, which log in.

use http::Response;

use super::{ConfigError, SessionTimeoutBuilder};
use crate::request::{activity::PathRule, head::RequestHead};

/// Which requests.
impl SessionTimeoutBuilder {
    /// Requests to these paths are checked, but do not renew: polling, for instance. A path ending in `/` covers all
    /// below it. Calls add up.
    ///
    /// Passive by themselves are `OPTIONS`, prefetches (`Sec-Purpose`, `Purpose`), event streams (a `GET` whose `Accept` is
    /// `text/event-stream` alone, or any request with `Last-Event-ID`), for they reconnect by themselves, and requests with
    /// `Session-Activity: passive`.
    pub fn passive_paths<P: AsRef<str>>(mut self, paths: impl IntoIterator<Item = P>) -> Self {
        for path in paths {
            match path_rule(path.as_ref()) {
                Ok(rule) => self.passive.add_path(rule),
                Err(error) => self.invalid_path = Some(error),
            }
        }
        self
    }

    /// Requests of which the closure says so are checked, but do not renew. Calls add up.
    pub fn passive_if(mut self, passive: impl Fn(&RequestHead<'_>) -> bool + Send + Sync + 'static) -> Self {
        self.passive.add_predicate(Box::new(passive));
        self
    }

    /// Where an ended session goes on as nobody's: its id is taken out of the request and out of the browser. A path
    /// ending in `/` covers all below it, `"/"` is the root alone. Log-in and log-out page are public by themselves.
    /// Calls add up.
    ///
    /// The application finds the [`EndReason`](crate::EndReason) in such a request's extensions: a log-in page should
    /// say why one is there (WCAG 2.2, 2.2.6).
    ///
    /// Paths are compared as they are sent, so an encoded or `..` segment matches nothing.
    pub fn public_paths<P: AsRef<str>>(mut self, paths: impl IntoIterator<Item = P>) -> Self {
        for path in paths {
            match path_rule(path.as_ref()) {
                Ok(rule) => self.public.add_path(rule),
                Err(error) => self.invalid_path = Some(error),
            }
        }
        self
    }

    /// What becomes of ended sessions nobody had logged in to. Default: [`OwnerlessSessions::Refuse`].
    ///
    /// For applications that give every visitor a session: with [`OwnerlessSessions::ContinueWithoutId`] only those
    /// who had logged in are asked to do so again. It needs log-ins that name an owner
    /// ([`NewSession::owner`](crate::NewSession::owner)).
    pub fn ownerless_sessions(self, ownerless: OwnerlessSessions) -> Self {
        Self { ownerless_sessions: ownerless, ..self }
    }

    /// Where an ended session goes on as nobody's, said by a closure. Calls add up.
    pub fn public_if(mut self, public: impl Fn(&RequestHead<'_>) -> bool + Send + Sync + 'static) -> Self {
        self.public.add_predicate(Box::new(public));
        self
    }

    /// Which answers are a successful log-in although the request had a live session: the session then begins anew,
    /// both clocks, under the answer's session cookie alone. For applications that only have cookies; others put a
    /// [`NewSession`](crate::NewSession) into the answer's extensions. Default: none.
    ///
    /// A log-in is a proof, not a redirect. Applications send on whoever is signed in already from their log-in page,
    /// without a password, and that must not begin the absolute timeout anew. So:
    ///
    /// - The closure looks for what only a right password gets. It sees the request, with its
    ///   [`Session`](crate::Session) in the extensions, and the answer without its body.
    /// - The answer also sets a session id that this session has not had. (A log-in that keeps the id lets whoever knew
    ///   it before in: session fixation.)
    /// - The application changes its ids at log-ins alone. Once this session's id has changed on another answer, or any
    ///   session's on the answer to a `GET`, a new id proves nothing any more, and the closure is not believed: see
    ///   [log-ins](crate#log-ins).
    ///
    /// What is no log-in by this rule is an id that changes: the absolute timeout goes on.
    ///
    /// ```
    /// use tower_session_timeout::SessionTimeoutLayer;
    ///
    /// // The application sets this header where it has found a password right, and nowhere else.
    /// let layer = SessionTimeoutLayer::builder()
    ///     .cookie("session")
    ///     .fresh_login(|_, answer| answer.headers().contains_key("x-password-was-right"))
    ///     .build();
    /// # layer.unwrap();
    /// ```
    pub fn fresh_login(
        self,
        is_login: impl Fn(&RequestHead<'_>, &Response<()>) -> bool + Send + Sync + 'static,
    ) -> Self {
        Self { fresh_login: Some(Box::new(is_login)), ..self }
    }
}

/// What becomes of a request whose session has ended and had no owner: see
/// [`ownerless_sessions`](SessionTimeoutBuilder::ownerless_sessions).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OwnerlessSessions {
    /// It is refused, like any other.
    #[default]
    Refuse,
    /// It goes on without its id, as on a public page; so does one whose id the store does not know.
    ContinueWithoutId,
}

pub(super) fn path_rule(path: &str) -> Result<PathRule, ConfigError> {
    PathRule::parse(path).map_err(|reason| ConfigError::InvalidPath { path: path.to_owned(), reason })
}

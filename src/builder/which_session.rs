//! Which session: where its id travels.

use http::{HeaderName, Response};

use super::{SessionTimeoutBuilder, SourceChoice};
use crate::{
    cookie::SessionCookie,
    request::{
        extract::{BearerToken, ExtractSessionId, FromClosure, FromHeader, Source},
        head::RequestHead,
    },
    rules::id::{Label, Owner, SessionId},
};

/// Which session: one of `cookie`, [`bearer`](Self::bearer), [`header`](Self::header), [`session_id`](Self::session_id) and
/// [`session_id_from`](Self::session_id_from). Applications that take ids from two places put a layer around each.
impl SessionTimeoutBuilder {
    /// The session id is the value of this cookie. The layer then notices by itself when the application sets the
    /// cookie (a session begins, or its id changes) and when it removes it (the session ends).
    ///
    /// Set it at one path and for one domain: nobody can tell from a request which of two cookies of one name it is, and the id
    /// that was set last supersedes the others.
    ///
    /// Names are exact (RFC 6265bis §5.6). What laxer parsers would take for this cookie is taken out of requests, and so is
    /// any of its name with a number (`sid2`), which may be a part of it. One of more than 4,096 bytes of name and value is
    /// passed over in answers, as browsers do. For Auth.js, NextAuth.js, Supabase and Auth0, say that it
    /// comes in [chunks](SessionCookie::chunks).
    ///
    /// A name is enough for a cookie with `Path=/` and no `Domain`; for any other, say how the application sets it:
    ///
    /// ```
    /// use tower_session_timeout::{SessionCookie, SessionTimeoutLayer};
    ///
    /// let layer = SessionTimeoutLayer::builder().cookie("sid").build();
    /// # layer.unwrap();
    /// let layer = SessionTimeoutLayer::builder().cookie(SessionCookie::new("sid").path("/app").secure(true)).build();
    /// # layer.unwrap();
    /// ```
    pub fn cookie(self, cookie: impl Into<SessionCookie>) -> Self {
        self.source(SourceChoice::Cookie(Box::new(cookie.into())))
    }

    /// The session id is a bearer token: `Authorization: Bearer …` (RFC 6750). Begin sessions with
    /// [`Sessions::start`](crate::Sessions::start).
    pub fn bearer(self) -> Self {
        self.session_id(BearerToken)
    }

    /// The session id is the value of this header field. Begin sessions with
    /// [`Sessions::start`](crate::Sessions::start).
    pub fn header(self, name: HeaderName) -> Self {
        self.session_id(FromHeader::new(name))
    }

    /// The session id is found by an extractor of your own.
    pub fn session_id(self, extractor: impl ExtractSessionId) -> Self {
        self.source(SourceChoice::Custom(Source::custom(extractor)))
    }

    fn source(self, source: SourceChoice) -> Self {
        let source = match (&self.source, source) {
            (SourceChoice::None, source) => source,
            // The same place, more exactly.
            (SourceChoice::Cookie(_), SourceChoice::Cookie(cookie)) => SourceChoice::Cookie(cookie),
            _ => SourceChoice::Several,
        };
        Self { source, ..self }
    }

    /// The session id is found by a closure.
    ///
    /// A header field may come more than once: look at all of them (`get_all`), for the application may look at another
    /// than the first. [`header`](Self::header) does. An empty id is refused.
    ///
    /// On public pages an ended session's id is removed by removing `Cookie` and `Authorization`; if the closure
    /// still finds one, the request is refused. Implement [`ExtractSessionId`] to do better.
    ///
    /// ```
    /// use tower_session_timeout::{SessionId, SessionTimeoutLayer};
    ///
    /// #[derive(Clone)]
    /// struct DeviceCertificate { fingerprint: String }
    ///
    /// let layer = SessionTimeoutLayer::builder()
    ///     .session_id_from(|head| {
    ///         head.extensions().get().map(|device: &DeviceCertificate| SessionId::from(&*device.fingerprint))
    ///     })
    ///     .build();
    /// # layer.unwrap();
    /// ```
    pub fn session_id_from<F>(self, extract: F) -> Self
    where
        F: for<'a> Fn(&RequestHead<'a>) -> Option<SessionId<'a>> + Send + Sync + 'static,
    {
        self.session_id(FromClosure(extract))
    }

    /// What tells a session from its owner's others, said of the request that begins it: a user agent, an address. It is
    /// kept with the session and shown by [`sessions_of`](crate::Sessions::sessions_of) and events. The closure is asked
    /// with every request, for any answer may begin a session. What the application says itself
    /// ([`NewSession::label`](crate::NewSession::label)) takes its place. Default: nothing.
    ///
    /// ```
    /// use http::header::USER_AGENT;
    /// use tower_session_timeout::SessionTimeoutLayer;
    ///
    /// let layer = SessionTimeoutLayer::builder()
    ///     .cookie("sid")
    ///     .session_label(|head| head.headers().get(USER_AGENT)?.to_str().ok().map(Into::into))
    ///     .build();
    /// # layer.unwrap();
    /// ```
    pub fn session_label(
        self,
        label: impl Fn(&RequestHead<'_>) -> Option<Label> + Send + Sync + 'static,
    ) -> Self {
        Self { session_label: Some(Box::new(label)), ..self }
    }

    /// Whose a session is that an answer begins, said of the request and the answer without its body: for applications that
    /// only have cookies. Where the application says it itself ([`NewSession::owner`](crate::NewSession::owner)), that
    /// counts. It is asked of answers that set the session cookie of a request without a live session, and of those that
    /// [`fresh_login`](Self::fresh_login) takes for a log-in: nobody becomes the owner of a session that goes on. What is
    /// merely typed into a log-in form is no proof of anybody. Default: nobody.
    ///
    /// With an owner, a session's drafts and late forms are its user's, [`max_sessions`](Self::max_sessions) counts it, and
    /// [`Sessions::end_all`](crate::Sessions::end_all) finds it.
    ///
    /// ```
    /// use tower_session_timeout::SessionTimeoutLayer;
    ///
    /// // The application says in its answers who is signed in.
    /// let layer = SessionTimeoutLayer::builder()
    ///     .cookie("sid")
    ///     .owner_from(|_, answer| answer.headers().get("x-user")?.to_str().ok().map(Into::into))
    ///     .build();
    /// # layer.unwrap();
    /// ```
    pub fn owner_from(
        self,
        owner: impl Fn(&RequestHead<'_>, &Response<()>) -> Option<Owner> + Send + Sync + 'static,
    ) -> Self {
        Self { owner_from: Some(Box::new(owner)), ..self }
    }

    /// No [`Session`](crate::Session) is put into the request's extensions, nor left there by a layer further out for
    /// another cookie: that saves what its entry costs, four allocations where the extensions are empty. A layer inside
    /// this one then cannot see this one's session: for the same cookie, its own idle timeout would never run out.
    pub fn without_extension(self) -> Self {
        Self { with_extension: false, ..self }
    }
}

//! Which session: where its id travels.

use http::HeaderName;

use super::{SessionTimeoutBuilder, SourceChoice};
use crate::{
    cookie::{CookieAttributes, CookieChunks},
    request::{
        extract::{BearerToken, ExtractSessionId, FromClosure, FromHeader, Source},
        head::RequestHead,
    },
    rules::id::{Label, SessionId},
};

/// Which session.
impl SessionTimeoutBuilder {
    /// The session id is the value of this cookie. The layer then notices by itself when the application sets the
    /// cookie (a session begins, or its id changes) and when it removes it (the session ends).
    ///
    /// Set it at one path and for one domain: nobody can tell from a request which of two cookies of one name it is, and the id
    /// that was set last supersedes the others.
    ///
    /// Names are exact (RFC 6265bis §5.6). What laxer parsers would take for this cookie is taken out of requests, and so is
    /// any of its name with a number (`sid2`), which may be a part of it. One of more than 4,096 bytes of name and value is
    /// passed over in answers, as browsers do. For Auth.js, NextAuth.js, Supabase and Auth0, call
    /// [`cookie_chunks`](Self::cookie_chunks), too.
    pub fn cookie(self, name: impl Into<String>) -> Self {
        Self { source: Some(SourceChoice::Cookie(name.into())), ..self }
    }

    /// How the application sets its session cookie, so that a removal matches it. Default:
    /// [`CookieAttributes::new`].
    pub fn cookie_attributes(self, attributes: CookieAttributes) -> Self {
        Self { cookie_attributes: attributes, ..self }
    }

    /// The session cookie may be split over several, as Auth.js, NextAuth.js, Supabase and Auth0 do with a long session:
    /// `NAME.0`, `NAME.1`, … (Auth0: `NAME__0`, …), up to 16. The session id is then the chunks together, from the first on, in order; it is the same id as
    /// that of a cookie in one piece. Chunks are set, changed and removed as one; those that the layer removes are all the
    /// request carried. Default: it may not.
    ///
    /// What else reads as a chunk to some library is taken out of requests, with this option and without: all cookies whose
    /// name is the session cookie's, then at most three characters, then a number (`NAME__0`, `NAME_0`, `NAMEC1`, `NAME2`).
    /// An answer that sets such a cookie is told of in the log, once; one that sets the session cookie beside it begins no
    /// session (`503`), for that may be the number of chunks alone. So long sessions of libraries that split them in another
    /// way, such as `OAuth2` Proxy (`NAME_0`) and ASP.NET Core (`NAMEC1`), sign nobody in: keep them short, or on the server.
    ///
    /// Chunks of which one is missing or is there twice, with different values, are a session that is over. Where both the
    /// whole and chunks are there, the live one of them goes on, alone.
    ///
    /// Auth.js reads every cookie whose name begins with that of the session cookie. With [`CookieChunks::AuthJs`], and
    /// where the name is one that Auth.js gives by itself (`authjs.session-token`, `next-auth.session-token`, with any
    /// prefix), all others of these are taken out of requests.
    ///
    /// ```
    /// use tower_session_timeout::{CookieChunks, SessionTimeoutLayer};
    ///
    /// let layer = SessionTimeoutLayer::builder()
    ///     .cookie("__Secure-authjs.session-token")
    ///     .cookie_chunks(CookieChunks::AuthJs)
    ///     .build();
    /// # layer.unwrap();
    /// ```
    pub fn cookie_chunks(self, chunks: CookieChunks) -> Self {
        Self { cookie_chunks: Some(chunks), ..self }
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
        Self { source: Some(SourceChoice::Custom(Source::custom(extractor))), ..self }
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

    /// The session cookie is set again with a new `Max-Age` as the session is renewed, so that the browser keeps it
    /// for as long as the session can last. For applications that set a `Max-Age` once, at the log-in; a session
    /// cookie without one, which the browser keeps until it is closed, needs no sliding. Default: it is not, and browsers
    /// drop a cookie after its `Max-Age`, however active the user; with the feature `tracing`, that is told once in the log.
    ///
    /// It is set again once in a twentieth of the `Max-Age`, which is lengthened by a tenth for that, and for sessions
    /// with longer limits of their own to what they have left. Such an answer is marked as `private` and
    /// `Vary: Cookie`; one the application marks as `public` is left alone.
    ///
    /// These are the cookie's attributes, as in [`cookie_attributes`](Self::cookie_attributes), and with a `Max-Age`
    /// no shorter than the idle timeout.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower_session_timeout::{CookieAttributes, SameSite, SessionTimeoutLayer};
    ///
    /// let attributes = CookieAttributes::new()
    ///     .secure(true)
    ///     .same_site(SameSite::Strict)
    ///     .max_age(Duration::from_secs(15 * 60));
    /// let layer = SessionTimeoutLayer::builder().cookie("sid").slide_cookie(attributes).build();
    /// # layer.unwrap();
    /// ```
    pub fn slide_cookie(self, attributes: CookieAttributes) -> Self {
        Self { cookie_attributes: attributes.clone(), sliding_cookie: Some(attributes), ..self }
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

    /// No [`Session`](crate::Session) is put into the request's extensions, nor left there by a layer further out for
    /// another cookie: that saves what its entry costs, four allocations where the extensions are empty. A layer inside
    /// this one then cannot see this one's session: for the same cookie, its own idle timeout would never run out.
    pub fn without_extension(self) -> Self {
        Self { with_extension: false, ..self }
    }
}

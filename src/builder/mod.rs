//! Configuring a layer, in five themes.

use std::{error::Error, fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderName, Response};
use http_body::Body;

use crate::{
    cookie::{CookieAttributes, CookieChunks, SameSite, SessionCookie, is_token},
    event::{EventSink, SessionEvent},
    middleware::{
        config::{Config, FreshLogin, LimitsFor, LogoutMethods, SessionLabel},
        hints::Hints,
        layer::SessionTimeoutLayer,
    },
    request::{
        activity::{PathRule, Rules},
        extract::{BearerToken, ExtractSessionId, FromClosure, FromHeader, Source},
        head::RequestHead,
    },
    respond::{
        Ended, ExpiredResponse, LoginPath, Refusals, body::RefusalBody, refusals_vary, safe_return_to,
    },
    rules::{
        id::{Label, SessionId},
        limits::{Limits, Policy},
        new_session::MaxSessions,
    },
    store::{
        contract::{LayerSettings, Store},
        memory::MemoryStore,
    },
};

/// WCAG 2.2, success criterion 2.2.1.
#[cfg(feature = "client")]
const SHORTEST_WARNING: Duration = Duration::from_secs(20);
/// Of an owner: a log-in looks at all of them.
const MOST_SESSIONS: usize = 1000;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// RFC 6265bis §5.5 lets no cookie live longer.
const LONGEST_WITHOUT_A_WORD: Duration = DAY.saturating_mul(400);

/// Builds a [`SessionTimeoutLayer`]. Where a request's session id travels has to be said; all else has a default.
#[must_use = "a builder does nothing until `build`"]
pub struct SessionTimeoutBuilder {
    source: Option<SourceChoice>,
    cookie_attributes: CookieAttributes,
    cookie_chunks: Option<CookieChunks>,
    sliding_cookie: Option<CookieAttributes>,
    limits: Limits,
    beyond_400_days: bool,
    max_sessions: Option<MaxSessions>,
    session_label: Option<SessionLabel>,
    limits_for: Option<LimitsFor>,
    rotation_grace: Duration,
    rotate_after: Option<Duration>,
    end_streams: Vec<String>,
    passive: Rules,
    public: Rules,
    login_path: Option<String>,
    logout_path: Option<String>,
    logout_methods: LogoutMethods,
    fresh_login: Option<FreshLogin>,
    expired_response: Option<ExpiredResponse>,
    store: Option<Arc<dyn Store>>,
    store_deadline: Duration,
    on_event: Option<EventSink>,
    admit_on_store_failure: bool,
    #[cfg(feature = "client")]
    client: ClientChoice,
    ownerless_sessions: OwnerlessSessions,
    with_extension: bool,
    /// The first path rule that cannot be.
    invalid_path: Option<ConfigError>,
}

impl SessionTimeoutLayer {
    /// Begins a configuration.
    pub fn builder() -> SessionTimeoutBuilder {
        SessionTimeoutBuilder::new()
    }
}

enum SourceChoice {
    Cookie(String),
    Custom(Source),
}

impl SessionTimeoutBuilder {
    pub(crate) fn new() -> Self {
        Self {
            source: None,
            cookie_attributes: CookieAttributes::new(),
            cookie_chunks: None,
            sliding_cookie: None,
            limits: Limits::default(),
            beyond_400_days: false,
            max_sessions: None,
            session_label: None,
            limits_for: None,
            rotation_grace: Duration::from_secs(30),
            rotate_after: None,
            end_streams: Vec::new(),
            passive: Rules::default(),
            public: Rules::default(),
            login_path: None,
            logout_path: None,
            logout_methods: LogoutMethods::Post,
            fresh_login: None,
            expired_response: None,
            store: None,
            store_deadline: Duration::from_millis(500),
            on_event: None,
            admit_on_store_failure: false,
            #[cfg(feature = "client")]
            client: ClientChoice::default(),
            ownerless_sessions: OwnerlessSessions::Refuse,
            with_extension: true,
            invalid_path: None,
        }
    }
}

/// Which session.
impl SessionTimeoutBuilder {
    /// The session id is the value of this cookie. The layer then notices by itself when the application sets the
    /// cookie (a session begins, or its id changes) and when it removes it (the session ends).
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

/// How long.
impl SessionTimeoutBuilder {
    /// Both limits at once, from a preset for instance. Default: [`Limits::default`].
    pub fn limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// The idle timeout. Default: 15 minutes.
    pub fn idle_timeout(self, idle: Duration) -> Self {
        Self { limits: self.limits.with_idle(idle), ..self }
    }

    /// The absolute timeout. Default: 8 hours.
    pub fn absolute_timeout(self, absolute: Duration) -> Self {
        Self { limits: self.limits.with_absolute(Some(absolute)), ..self }
    }

    /// A session in use never has to log in again. OWASP ASVS 5.0 §7.3.2 wants it to.
    pub fn no_absolute_timeout(self) -> Self {
        Self { limits: self.limits.with_absolute(None), ..self }
    }

    /// Lets limits be longer than 400 days, which no cookie lives (RFC 6265bis §5.5).
    pub fn allow_beyond_400_days(self) -> Self {
        Self { beyond_400_days: true, ..self }
    }

    /// How many sessions an owner ([`NewSession::owner`](crate::NewSession::owner)) may have at the same time; exactly so
    /// many, however many log-ins come at once. Default: any number.
    ///
    /// A log-in beyond [`MaxSessions::refuse_new`] is answered `403` in place of the application's answer, whose session
    /// cookie does not leave. An outer layer finds [`Started::TooMany`](crate::Started::TooMany) in that answer's extensions,
    /// if it is to make a page of it.
    ///
    /// Sessions that had begun before this was set count as well, if the store has an index of owners.
    ///
    /// ```
    /// use tower_session_timeout::{MaxSessions, SessionTimeoutLayer};
    ///
    /// let layer = SessionTimeoutLayer::builder()
    ///     .cookie("sid")
    ///     .max_sessions(MaxSessions::end_longest_idle(3))
    ///     .build();
    /// # layer.unwrap();
    /// ```
    pub fn max_sessions(self, max_sessions: MaxSessions) -> Self {
        Self { max_sessions: Some(max_sessions), ..self }
    }

    /// Tighter limits for some requests, a route or a role say. They refuse the request; the session goes on.
    /// Wider ones have no effect, and none keeps anybody from logging out ([`logout_path`](Self::logout_path)).
    ///
    /// An idle cap is measured by the session's activity anywhere, the visit of the log-in page included: whoever is refused
    /// and sent there is active again, and the next request passes. It keeps out a machine nobody was at, and asks for no
    /// password. For that, use [`Session::authenticated_within`](crate::Session::authenticated_within), or cap the absolute
    /// timeout.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower_session_timeout::{Limits, SessionTimeoutLayer};
    ///
    /// let admin = Limits::new(Duration::from_secs(300), Duration::from_secs(3600));
    /// let layer = SessionTimeoutLayer::builder()
    ///     .cookie("sid")
    ///     .limits_for(move |head| head.path().starts_with("/admin/").then_some(admin))
    ///     .build();
    /// # layer.unwrap();
    /// ```
    pub fn limits_for(
        self,
        limits_for: impl Fn(&RequestHead<'_>) -> Option<Limits> + Send + Sync + 'static,
    ) -> Self {
        Self { limits_for: Some(Box::new(limits_for)), ..self }
    }

    /// The renewal timeout (OWASP Session Management Cheat Sheet): how old an id may get before
    /// [`Session::rotation_due`](crate::Session::rotation_due) asks the application to change it. Default: none.
    pub fn rotate_after(self, age: Duration) -> Self {
        Self { rotate_after: Some(age), ..self }
    }

    /// How long an old id still works once a newer id of the session is in use, so that parallel requests and late
    /// uploads log nobody out. Default: 30 seconds. Zero is allowed.
    ///
    /// It is also the time an answer with a new id has to arrive in, and the time other answers may take meanwhile: for
    /// twice that time after a new id was set, answers that set their request's own id again leave without it. An answer
    /// that takes longer than the grace, sets its request's own id again, and arrives after a newer id was used, leaves the
    /// browser with an id that is over.
    pub fn rotation_grace(self, grace: Duration) -> Self {
        Self { rotation_grace: grace, ..self }
    }
}

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

/// What answer.
impl SessionTimeoutBuilder {
    /// The log-in page. Browsers whose session is over are sent there with `303` and `?next=`; it is public. Without
    /// it, everybody hears `401`. It is neither the [`logout_path`](Self::logout_path) nor below the client endpoints.
    pub fn login_path(self, path: impl Into<String>) -> Self {
        Self { login_path: Some(path.into()), ..self }
    }

    /// The log-out path: a `POST` to it ends the session, whatever cookie the application sets there, and every one if
    /// the request carries several that are live. It is public, and [`limits_for`](Self::limits_for) keeps nobody from
    /// it. Default: none.
    ///
    /// The application may refuse: a `4xx` answer, to a forged form say, ends nothing. Where it does not say (a `5xx`
    /// answer, an error, a panic, a client that went away before the answer), the session ends all the same, unless the
    /// request was made by a page of another origin (`Sec-Fetch-Site`, or else `Origin`).
    pub fn logout_path(self, path: impl Into<String>) -> Self {
        Self { logout_path: Some(path.into()), ..self }
    }

    /// A `GET` to the log-out path logs out, too: for applications whose log-out is a link. Default: only a `POST` does.
    ///
    /// Then every link to it on this site does, whoever wrote it. A prefetch, an image or a frame does not, nor a link on
    /// another site, as far as the browser tells (`Sec-Fetch-Site`, `Sec-Fetch-Dest`, `Sec-Purpose`).
    pub fn logout_by_get(self) -> Self {
        Self { logout_methods: LogoutMethods::PostAndGet, ..self }
    }

    /// The answer to requests whose session is over, with any body. Some are ready-made: [`crate::respond`].
    ///
    /// `Cache-Control: no-store`, `Vary`, `Session-Ended` and, for navigations, the cookie's removal are added. A session cookie
    /// of its own does not leave: no session begins with it.
    pub fn expired_response<F, B>(self, respond: F) -> Self
    where
        F: Fn(&Ended<'_>) -> Response<B> + Send + Sync + 'static,
        B: Body<Data = Bytes> + Send + 'static,
    {
        let respond: ExpiredResponse = Box::new(move |ended| respond(ended).map(RefusalBody::custom));
        Self { expired_response: Some(respond), ..self }
    }

    /// Answers of these media types, with any parameters and suffix (`application/grpc` is `application/grpc+proto`, too),
    /// end with their session: server-sent events, long polls, gRPC streams. Other
    /// requests of the session put that off; a stream itself is no activity once its answer has begun. Bodies of known
    /// length are never cut. Default: none. Calls add up. Needs tokio's timer.
    ///
    /// An end by the clocks cuts in time, one by a log-out within 30 seconds. A gRPC stream ends with the trailers of
    /// `UNAUTHENTICATED`. It is the session's end that cuts: a stream opened with an id that is superseded since, or ended by
    /// [`Session::reauthenticated`](crate::Session::reauthenticated), goes on with its session.
    ///
    /// ```
    /// use tower_session_timeout::SessionTimeoutLayer;
    ///
    /// let layer = SessionTimeoutLayer::builder().cookie("sid").end_streams(["text/event-stream"]).build();
    /// # layer.unwrap();
    /// ```
    pub fn end_streams<T: Into<String>>(mut self, media_types: impl IntoIterator<Item = T>) -> Self {
        self.end_streams.extend(media_types.into_iter().map(Into::into));
        self
    }

    /// Is told what happens to sessions. It runs within requests: be quick, or hand on. It can neither keep a session
    /// alive nor end one, not even by panicking.
    pub fn on_event(self, receive: impl Fn(&SessionEvent) + Send + Sync + 'static) -> Self {
        Self { on_event: Some(EventSink::new(receive)), ..self }
    }
}

/// What the page is told.
#[cfg(feature = "client")]
impl SessionTimeoutBuilder {
    /// Answers requests below this path by itself, for a page that warns its user in time: `GET status` (how long the
    /// session has left; it renews nothing), `POST keep-alive` (with `Session-Idle-For: <milliseconds>`, the time since
    /// the user was last active), `POST sign-out`, and `GET draft-key` (a key of the session's owner, to seal drafts with
    /// in the browser). All but `status` answer to this site's own pages alone. And the application's answers to live
    /// sessions tell the time left in `Session-Timeout` and `Server-Timing`, unless a shared cache may keep them; those that
    /// say nothing of caches become `private`. Default: off.
    ///
    /// `status` reports the limits of the session, not those that [`limits_for`](Self::limits_for) has for the path of the page
    /// that asks; `Session-Timeout` and `Server-Timing` on that page's own answer report those.
    ///
    /// ```
    /// use tower_session_timeout::SessionTimeoutLayer;
    ///
    /// let layer = SessionTimeoutLayer::builder().cookie("sid").client_endpoints("/_session-timeout").build();
    /// # layer.unwrap();
    /// ```
    pub fn client_endpoints(mut self, base: impl Into<String>) -> Self {
        self.client.base = Some(base.into());
        self
    }

    /// How long before its session ends a user is to be warned. Default: 2 minutes. At least 20 seconds (WCAG 2.2,
    /// 2.2.1), and less than the idle timeout.
    pub fn warn_before(mut self, lead: Duration) -> Self {
        self.client.warn_before = lead;
        self
    }

    /// From what the digests of sessions and users and the keys of drafts are derived: 32 random bytes. Default: new ones
    /// with every process, so that drafts cannot be read after a restart, and open pages have to be reloaded; several
    /// processes have to share them.
    pub fn client_secret(mut self, secret: [u8; 32]) -> Self {
        self.client.secret = Some(secret);
        self
    }
}

#[cfg(feature = "client")]
struct ClientChoice {
    base: Option<String>,
    warn_before: Duration,
    secret: Option<[u8; 32]>,
}

#[cfg(feature = "client")]
impl Default for ClientChoice {
    fn default() -> Self {
        Self { base: None, warn_before: Duration::from_secs(120), secret: None }
    }
}

#[cfg(feature = "client")]
impl ClientChoice {
    fn validate(&self, idle: Duration) -> Result<(), ConfigError> {
        let Some(base) = &self.base else { return Ok(()) };
        let is_path = PathRule::parse(base).is_ok() && base.len() > 1 && !base.ends_with('/');
        if !is_path {
            let reason = "the endpoints' path begins with / and does not end in one";
            return Err(ConfigError::InvalidPath { path: base.clone(), reason });
        }
        if self.warn_before < SHORTEST_WARNING || self.warn_before >= idle {
            return Err(ConfigError::WarningOutOfRange { lead: self.warn_before, idle });
        }
        Ok(())
    }

    /// Of the application's log-in or log-out page.
    fn validate_page(&self, path: &str) -> Result<(), ConfigError> {
        let below = self.base.as_ref().and_then(|base| path.strip_prefix(&**base));
        if below.is_some_and(|below| below.starts_with('/')) {
            let reason = "it is below the client endpoints, where the layer answers by itself";
            return Err(ConfigError::InvalidPath { path: path.to_owned(), reason });
        }
        Ok(())
    }

    fn made(self) -> Option<crate::client::Client> {
        let secret = self.secret.unwrap_or_else(|| {
            let mut secret = [0; 32];
            getrandom::fill(&mut secret).expect("the operating system gives random numbers");
            secret
        });
        self.base.map(|base| crate::client::Client { base, warn_before: self.warn_before, secret })
    }
}

/// Where kept.
impl SessionTimeoutBuilder {
    /// The store. Default: a [`MemoryStore`]. Keep an `Arc` of it to sweep it, or to share it between layers for the same
    /// cookie. Where layers for different cookies share one, an id is a session in each of them, in whichever cookie it is sent:
    /// give each cookie a store of its own, or one with a prefix of its own.
    pub fn store(self, store: impl Store) -> Self {
        Self { store: Some(Arc::new(store)), ..self }
    }

    /// How long a store on a network may take; then the answer is `503`. Default: 500 ms.
    pub fn store_deadline(self, deadline: Duration) -> Self {
        Self { store_deadline: deadline, ..self }
    }

    /// Lets requests pass, with whatever session id they carry, while the store fails: no session ends then, and one
    /// that was ended is let in again. By default they are answered `503` (OWASP ASVS 5.0 §16.5.3 demands it).
    ///
    /// Meanwhile no session begins, changes its id or ends: a log-in and a log-out are answered `503`, and a new
    /// session cookie of a request with one does not leave.
    pub fn dangerously_admit_on_store_failure(self) -> Self {
        Self { admit_on_store_failure: true, ..self }
    }

    /// Checks the configuration and makes the layer.
    ///
    /// # Errors
    ///
    /// Says which value is wrong, and why.
    pub fn build(self) -> Result<SessionTimeoutLayer, ConfigError> {
        self.validate()?;
        let store = self.store.unwrap_or_else(|| Arc::new(MemoryStore::new()));
        let source = match self.source.ok_or(ConfigError::NoSessionId)? {
            SourceChoice::Custom(source) => source,
            SourceChoice::Cookie(name) => {
                // A cookie, or a removal, without `Secure` is ignored for these.
                let needs_secure = has_prefix(&name, "__Host-") || has_prefix(&name, "__Secure-");
                let secured = |attributes: CookieAttributes| CookieAttributes {
                    secure: attributes.secure || needs_secure,
                    ..attributes
                };
                let sliding = self.sliding_cookie.map(secured);
                let attributes = secured(self.cookie_attributes);
                let chunks = self.cookie_chunks;
                Source::Cookie(SessionCookie::new(&name, &attributes, chunks, sliding, store.companions()))
            }
        };
        let settings = LayerSettings {
            adopts: source.cookie().is_none(),
            counts_sessions: self.max_sessions.is_some(),
            deadline: self.store_deadline,
            ..LayerSettings::new(self.limits)
        };
        store.attach(&settings).map_err(|error| ConfigError::Store { reason: error.to_string() })?;
        let outermost_only = [
            (self.rotate_after.is_some(), "rotate_after"),
            (source.cookie().is_some_and(SessionCookie::slides), "slide_cookie"),
            (self.fresh_login.is_some(), "fresh_login"),
            (self.max_sessions.is_some(), "max_sessions"),
            (self.session_label.is_some(), "session_label"),
        ];
        let outermost_only = outermost_only.into_iter().find(|(is_set, _)| *is_set).map(|(_, option)| option);
        let vary = refusals_vary(&source);
        let sink = self.on_event;
        #[cfg(feature = "tracing")]
        let sink = Some(log(sink));
        if let Some(sink) = &sink {
            store.events(sink.clone());
        }
        Ok(SessionTimeoutLayer::new(Config {
            source,
            policy: Policy { rotation_grace: self.rotation_grace, ..Policy::new(self.limits) },
            max_sessions: self.max_sessions,
            session_label: self.session_label,
            limits_for: self.limits_for,
            passive: self.passive,
            public: self.public,
            refusals: Refusals {
                login_path: self.login_path.map(LoginPath::new),
                logout_path: self.logout_path,
                expired_response: self.expired_response,
                vary,
            },
            logout_methods: self.logout_methods,
            fresh_login: self.fresh_login,
            rotate_after: self.rotate_after,
            end_streams: self.end_streams,
            store,
            store_deadline: self.store_deadline,
            pending_ends: Arc::default(),
            sink,
            admit_on_store_failure: self.admit_on_store_failure,
            #[cfg(feature = "client")]
            client: self.client.made(),
            lets_ownerless_sessions_go_on: self.ownerless_sessions == OwnerlessSessions::ContinueWithoutId,
            with_extension: self.with_extension,
            outermost_only,
            hints: Hints::default(),
        }))
    }

    fn validate(&self) -> Result<(), ConfigError> {
        let limits =
            [("idle timeout", Some(self.limits.idle())), ("absolute timeout", self.limits.absolute())];
        for (which, value) in limits {
            let Some(value) = value else { continue };
            if value.is_zero() {
                return Err(ConfigError::ZeroTimeout { which });
            }
            if value < Duration::from_millis(1) {
                return Err(ConfigError::BelowOneMillisecond { which, value });
            }
            if value > LONGEST_WITHOUT_A_WORD && !self.beyond_400_days {
                return Err(ConfigError::Beyond400Days { which, value });
            }
        }
        if let Some(absolute) = self.limits.absolute()
            && self.limits.idle() > absolute
        {
            return Err(ConfigError::IdleBeyondAbsolute { idle: self.limits.idle(), absolute });
        }
        if self.rotate_after.is_some_and(|age| age <= self.rotation_grace) {
            return Err(ConfigError::RotationWithinGrace { grace: self.rotation_grace });
        }
        if let Some(max) = self.max_sessions
            && !(1..=MOST_SESSIONS).contains(&max.number())
        {
            return Err(ConfigError::MaxSessionsOutOfRange { number: max.number() });
        }
        #[cfg(feature = "client")]
        self.client.validate(self.limits.idle())?;
        if self.store_deadline.is_zero() {
            return Err(ConfigError::ZeroTimeout { which: "store deadline" });
        }
        if let Some(SourceChoice::Cookie(name)) = &self.source {
            validate_cookie(name, &self.cookie_attributes)?;
            validate_chunks(name, self.cookie_chunks)?;
            if let Some(attributes) = &self.sliding_cookie {
                validate_cookie(name, attributes)?;
                validate_sliding(name, attributes, self.limits.idle())?;
            }
        } else if self.sliding_cookie.is_some() {
            return Err(ConfigError::SlidesWithoutCookie);
        } else if self.cookie_chunks.is_some() {
            return Err(ConfigError::ChunksWithoutCookie);
        }
        if self.store.as_ref().is_some_and(|store| !store.companions().is_empty()) {
            match &self.source {
                Some(SourceChoice::Cookie(name)) => validate_companions(name, &self.cookie_attributes)?,
                Some(SourceChoice::Custom(_)) => return Err(ConfigError::CompanionsWithoutCookie),
                None => {}
            }
        }
        if let Some(error) = &self.invalid_path {
            return Err(error.clone());
        }
        for (which, path) in [("log-in path", &self.login_path), ("log-out path", &self.logout_path)] {
            if let Some(path) = path
                && safe_return_to(path).is_none()
            {
                return Err(ConfigError::UnsafePath { which, path: path.clone() });
            }
        }
        let login = self.login_path.as_deref().map(|path| path.split('?').next().unwrap_or(path));
        for path in login.into_iter().chain(self.logout_path.as_deref()) {
            path_rule(path)?;
            #[cfg(feature = "client")]
            self.client.validate_page(path)?;
        }
        if let Some(path) = login
            && self.logout_path.as_deref() == Some(path)
        {
            let reason = "it is the log-in page and the log-out path: a log-in would log out";
            return Err(ConfigError::InvalidPath { path: path.to_owned(), reason });
        }
        if matches!(self.logout_methods, LogoutMethods::PostAndGet) && self.logout_path.is_none() {
            return Err(ConfigError::LogoutByGetWithoutPath);
        }
        if self.fresh_login.is_some() && matches!(self.source, Some(SourceChoice::Custom(_))) {
            return Err(ConfigError::FreshLoginWithoutCookie);
        }
        if let Some(media_type) = self.end_streams.iter().find(|media_type| !is_media_type(media_type)) {
            return Err(ConfigError::InvalidMediaType { media_type: media_type.clone() });
        }
        Ok(())
    }
}

/// What becomes of a request whose session is over and had no owner: see
/// [`ownerless_sessions`](SessionTimeoutBuilder::ownerless_sessions).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OwnerlessSessions {
    /// It is refused, like any other.
    #[default]
    Refuse,
    /// It goes on without its id, as on a public page; so does one whose id the store does not know.
    ContinueWithoutId,
}

fn path_rule(path: &str) -> Result<PathRule, ConfigError> {
    PathRule::parse(path).map_err(|reason| ConfigError::InvalidPath { path: path.to_owned(), reason })
}

/// Events go to the log, too.
#[cfg(feature = "tracing")]
fn log(on_event: Option<EventSink>) -> EventSink {
    EventSink::new(move |event| {
        crate::event::trace(event);
        if let Some(on_event) = &on_event {
            on_event.send(event);
        }
    })
}

fn validate_sliding(name: &str, attributes: &CookieAttributes, idle: Duration) -> Result<(), ConfigError> {
    let invalid = |reason| Err(ConfigError::InvalidCookie { name: name.to_owned(), reason });
    match attributes.max_age {
        None => invalid("there is no Max-Age to slide"),
        Some(max_age) if max_age < idle => {
            invalid("its Max-Age is shorter than the idle timeout: the browser would forget it too early")
        }
        Some(_) if attributes.same_site == SameSite::None && !attributes.secure => {
            invalid("browsers take SameSite=None with Secure only (RFC 6265bis §5.7)")
        }
        Some(_) => Ok(()),
    }
}

/// Those follow the session cookie's attributes.
fn validate_chunks(name: &str, chunks: Option<CookieChunks>) -> Result<(), ConfigError> {
    if chunks == Some(CookieChunks::Auth0) && name.contains(['$', '*', '+', '.', '^', '|']) {
        let reason = "@auth0/nextjs-auth0 takes the name for a regular expression, and reads other cookies as its chunks";
        return Err(ConfigError::InvalidCookie { name: name.to_owned(), reason });
    }
    Ok(())
}

fn validate_companions(name: &str, attributes: &CookieAttributes) -> Result<(), ConfigError> {
    let needs_secure = attributes.same_site == SameSite::None || attributes.partitioned;
    let is_secure = attributes.secure || has_prefix(name, "__Host-") || has_prefix(name, "__Secure-");
    if needs_secure && !is_secure {
        let reason = "browsers take SameSite=None and Partitioned with Secure only (RFC 6265bis §5.7)";
        return Err(ConfigError::InvalidCookie { name: name.to_owned(), reason });
    }
    Ok(())
}

fn validate_cookie(name: &str, attributes: &CookieAttributes) -> Result<(), ConfigError> {
    let invalid = |reason| Err(ConfigError::InvalidCookie { name: name.to_owned(), reason });
    if name.is_empty() || !name.bytes().all(is_token) {
        return invalid("a cookie's name is one or more token characters (RFC 9110 §5.6.2)");
    }
    if name.contains('%') {
        return invalid("some parsers decode a % in a name, others do not");
    }
    if !attributes.path.starts_with('/') || !attributes.path.bytes().all(is_attribute_byte) {
        return invalid("its Path begins with / and has no control characters, spaces or semicolons");
    }
    if let Some(domain) = &attributes.domain
        && (domain.is_empty() || !domain.bytes().all(is_attribute_byte))
    {
        return invalid("its Domain is not empty and has no control characters, spaces or semicolons");
    }
    if has_prefix(name, "__Host-") && (attributes.domain.is_some() || attributes.path != "/") {
        return invalid("a __Host- cookie has Path=/ and no Domain (RFC 6265bis §4.1.3.2)");
    }
    Ok(())
}

/// Browsers compare cookie name prefixes without regard to case (RFC 6265bis §5.7).
fn has_prefix(name: &str, prefix: &str) -> bool {
    name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

/// A type and a subtype (RFC 9110 §8.3.1), without parameters.
fn is_media_type(text: &str) -> bool {
    let is_name = |name: &str| !name.is_empty() && name.bytes().all(is_token);
    text.split_once('/').is_some_and(|(kind, subtype)| is_name(kind) && is_name(subtype))
}

fn is_attribute_byte(byte: u8) -> bool {
    byte.is_ascii_graphic() && byte != b';'
}

impl fmt::Debug for SessionTimeoutBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionTimeoutBuilder").field("limits", &self.limits).finish_non_exhaustive()
    }
}

/// A configuration that cannot work, refused by [`SessionTimeoutBuilder::build`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigError {
    /// Nothing says where the session id travels.
    NoSessionId,
    /// A time of zero, which would end everything at once. It never means "no limit".
    ZeroTimeout {
        /// Which time.
        which: &'static str,
    },
    /// A time below the resolution of stores.
    BelowOneMillisecond {
        /// Which time.
        which: &'static str,
        /// Its value.
        value: Duration,
    },
    /// A time so long that it is more likely a mix-up of units.
    Beyond400Days {
        /// Which time.
        which: &'static str,
        /// Its value.
        value: Duration,
    },
    /// The idle timeout could never be reached.
    IdleBeyondAbsolute {
        /// The idle timeout.
        idle: Duration,
        /// The absolute timeout.
        absolute: Duration,
    },
    /// Ids would be changed faster than old ones cease to work.
    RotationWithinGrace {
        /// The rotation grace, which `rotate_after` has to exceed.
        grace: Duration,
    },
    /// Nobody could log in, or each log-in would have to look at too many sessions.
    MaxSessionsOutOfRange {
        /// How many sessions an owner was to have at most.
        number: usize,
    },
    /// What the layer is to do, its store cannot.
    Store {
        /// What the store says.
        reason: String,
    },
    /// A warning that comes too late to act upon (WCAG 2.2, 2.2.1: 20 seconds), or before anything ran out.
    #[cfg(feature = "client")]
    WarningOutOfRange {
        /// How long before the end it would come.
        lead: Duration,
        /// The idle timeout.
        idle: Duration,
    },
    /// Only a session cookie can slide, and ids travel elsewhere.
    SlidesWithoutCookie,
    /// Only a session cookie can be split over several, and ids travel elsewhere.
    ChunksWithoutCookie,
    /// A store that leaves its records with the clients does so in cookies beside the session cookie, and there is none.
    CompanionsWithoutCookie,
    /// `fresh_login` recognizes a log-in by its new session cookie, and ids travel elsewhere.
    FreshLoginWithoutCookie,
    /// `logout_by_get` without a `logout_path`.
    LogoutByGetWithoutPath,
    /// What no answer's content type can be.
    InvalidMediaType {
        /// The media type.
        media_type: String,
    },
    /// A cookie browsers or parsers do not agree upon.
    InvalidCookie {
        /// The cookie's name.
        name: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A path that could match nothing, or too much.
    InvalidPath {
        /// The path.
        path: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A path to which no browser should be sent.
    UnsafePath {
        /// Which path.
        which: &'static str,
        /// Its value.
        path: String,
    },
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            #[cfg(feature = "client")]
            Self::WarningOutOfRange { lead, idle } => write!(
                f,
                "a warning {lead:?} before the end is not between {SHORTEST_WARNING:?} (WCAG 2.2, 2.2.1) and the idle timeout of {idle:?}"
            ),
            Self::MaxSessionsOutOfRange { number } => {
                write!(f, "max_sessions: {number} is not between 1 and {MOST_SESSIONS}")
            }
            Self::Store { reason } => write!(f, "the store does not fit the layer: {reason}"),
            Self::SlidesWithoutCookie => {
                f.write_str("slide_cookie: session ids do not travel in a cookie here")
            }
            Self::ChunksWithoutCookie => {
                f.write_str("cookie_chunks: session ids do not travel in a cookie here")
            }
            Self::CompanionsWithoutCookie => f.write_str(
                "the store leaves its records with the clients, beside a session cookie: call `cookie`, or choose \
                 another store",
            ),
            Self::FreshLoginWithoutCookie => f.write_str(
                "fresh_login: session ids do not travel in a cookie here, so no answer brings a new one: begin \
                 sessions with `Sessions::start`",
            ),
            Self::LogoutByGetWithoutPath => f.write_str("logout_by_get: there is no `logout_path`"),
            Self::InvalidMediaType { media_type } => write!(
                f,
                "end_streams: {media_type:?} is no media type: a type, a slash and a subtype, without parameters"
            ),
            Self::NoSessionId => f.write_str(
                "nothing says where the session id travels: call `cookie`, `bearer` or `session_id`",
            ),
            Self::ZeroTimeout { which } => {
                write!(f, "the {which} is zero; zero never means unlimited")
            }
            Self::BelowOneMillisecond { which, value } => {
                write!(
                    f,
                    "the {which} of {value:?} is below one millisecond, which stores cannot tell from none"
                )
            }
            Self::Beyond400Days { which, value } => {
                let days = value.as_secs() / DAY.as_secs();
                write!(
                    f,
                    "the {which} of {days} days is beyond 400 days; if meant, call `allow_beyond_400_days`"
                )
            }
            Self::IdleBeyondAbsolute { idle, absolute } => {
                write!(f, "the idle timeout of {idle:?} is longer than the absolute timeout of {absolute:?}")
            }
            Self::RotationWithinGrace { grace } => {
                write!(
                    f,
                    "ids would be rotated within the rotation grace of {grace:?}: `rotate_after` has to be longer"
                )
            }
            Self::InvalidCookie { name, reason } => {
                write!(f, "the session cookie {name:?} is invalid: {reason}")
            }
            Self::InvalidPath { path, reason } => write!(f, "the path {path:?} is invalid: {reason}"),
            Self::UnsafePath { which, path } => {
                write!(
                    f,
                    "the {which} {path:?} is no safe path of this site: it begins with one / and is plain ASCII"
                )
            }
        }
    }
}

impl Error for ConfigError {}

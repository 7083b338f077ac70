//! How the application sets its session cookie, and cookies set and removed as it does.

use std::time::Duration;

use cookie::Cookie;
use http::HeaderValue;

use super::CookieChunks;

/// The session cookie, as the application sets it. A removal has to match its path and domain, a [sliding
/// cookie](Self::sliding) all of it.
///
/// Its name is exact (RFC 6265bis §5.6); a plain name is one with all defaults.
///
/// ```
/// use tower_session_timeout::{SessionCookie, SessionTimeoutLayer};
///
/// let cookie = SessionCookie::new("sid").domain("example.com").secure(true);
/// let layer = SessionTimeoutLayer::builder().cookie(cookie).build();
/// # layer.unwrap();
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "a cookie's attributes are so")]
pub struct SessionCookie {
    pub(crate) name: String,
    pub(crate) path: String,
    pub(crate) domain: Option<String>,
    pub(crate) secure: bool,
    pub(crate) partitioned: bool,
    pub(crate) http_only: bool,
    pub(crate) same_site: SameSite,
    pub(crate) max_age: Option<Duration>,
    pub(crate) slides: bool,
    pub(crate) chunks: Option<CookieChunks>,
}

/// From which sites a cookie is sent along (RFC 6265bis §5.6.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SameSite {
    /// From this site alone.
    Strict,
    /// From this site, and when a link elsewhere is followed.
    Lax,
    /// From everywhere: needs `Secure`.
    None,
}

impl SessionCookie {
    /// A cookie of this name with `Path=/`, `HttpOnly`, `SameSite=Lax`; no `Domain` and no `Max-Age`, neither `Secure` nor
    /// `Partitioned`.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            path: "/".to_owned(),
            domain: None,
            secure: false,
            partitioned: false,
            http_only: true,
            same_site: SameSite::Lax,
            max_age: None,
            slides: false,
            chunks: None,
        }
    }

    /// The cookie's `Path`. Default: `/`.
    pub fn path(self, path: impl Into<String>) -> Self {
        Self { path: path.into(), ..self }
    }

    /// The cookie's `Domain`. Default: none, a host-only cookie.
    pub fn domain(self, domain: impl Into<String>) -> Self {
        Self { domain: Some(domain.into()), ..self }
    }

    /// Whether the cookie is `Secure`. Default: `false`, or `true` if its name begins with `__Host-` or `__Secure-`.
    pub fn secure(self, secure: bool) -> Self {
        Self { secure, ..self }
    }

    /// Whether the cookie is `Partitioned`. Default: `false`.
    pub fn partitioned(self, partitioned: bool) -> Self {
        Self { partitioned, ..self }
    }

    /// Whether scripts cannot read the cookie. Default: `true`. A removal needs it not.
    pub fn http_only(self, http_only: bool) -> Self {
        Self { http_only, ..self }
    }

    /// The cookie's `SameSite`. Default: `Lax`. A removal needs it not.
    pub fn same_site(self, same_site: SameSite) -> Self {
        Self { same_site, ..self }
    }

    /// How long a browser keeps the cookie. Default: until it is closed. A removal needs it not.
    pub fn max_age(self, max_age: Duration) -> Self {
        Self { max_age: Some(max_age), ..self }
    }

    /// The session cookie is set again with a new `Max-Age` as the session is renewed, so that the browser keeps it
    /// for as long as the session can last. For applications that set a `Max-Age` once, at the log-in; a session
    /// cookie without one, which the browser keeps until it is closed, needs no sliding. Default: it is not, and browsers
    /// drop a cookie after its `Max-Age`, however active the user: that is told once, as a
    /// [`SessionEvent::Misconfigured`](crate::SessionEvent::Misconfigured) and in the log.
    ///
    /// It is set again once in a twentieth of the `Max-Age`, which is lengthened by a tenth for that, and for sessions
    /// with longer limits of their own to what they have left. Such an answer is marked as `private` and
    /// `Vary: Cookie`; one the application marks as `public` is left alone.
    ///
    /// It needs a [`max_age`](Self::max_age) no shorter than the idle timeout.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower_session_timeout::{SameSite, SessionCookie, SessionTimeoutLayer};
    ///
    /// let cookie = SessionCookie::new("sid")
    ///     .secure(true)
    ///     .same_site(SameSite::Strict)
    ///     .max_age(Duration::from_secs(15 * 60))
    ///     .sliding();
    /// let layer = SessionTimeoutLayer::builder().cookie(cookie).build();
    /// # layer.unwrap();
    /// ```
    pub fn sliding(self) -> Self {
        Self { slides: true, ..self }
    }

    /// It may be split over several, as Auth.js, NextAuth.js, Supabase and Auth0 do with a long session:
    /// `NAME.0`, `NAME.1`, … (Auth0: `NAME__0`, …), up to 16. The session id is then the chunks together, from the first on, in order; it is the same id as
    /// that of a cookie in one piece. Chunks are set, changed and removed as one; those that the layer removes are all the
    /// request carried. Default: it may not.
    ///
    /// What else reads as a chunk to some library is taken out of requests, with this option and without: all cookies whose
    /// name is the session cookie's, then at most three characters, then a number (`NAME__0`, `NAME_0`, `NAMEC1`, `NAME2`).
    /// An answer that sets such a cookie is told of, once, as a
    /// [`SessionEvent::Misconfigured`](crate::SessionEvent::Misconfigured) and in the log; one that sets the session cookie beside it begins no
    /// session (`503`), for that may be the number of chunks alone. So long sessions of libraries that split them in another
    /// way, such as `OAuth2` Proxy (`NAME_0`) and ASP.NET Core (`NAMEC1`), sign nobody in: keep them short, or on the server.
    ///
    /// Chunks of which one is missing or is there twice, with different values, are an ended session. Where both the
    /// whole and chunks are there, the live one of them goes on, alone.
    ///
    /// Auth.js reads every cookie whose name begins with that of the session cookie. With [`CookieChunks::AuthJs`], and
    /// where the name is one that Auth.js gives by itself (`authjs.session-token`, `next-auth.session-token`, with any
    /// prefix), all others of these are taken out of requests.
    ///
    /// ```
    /// use tower_session_timeout::{CookieChunks, SessionCookie, SessionTimeoutLayer};
    ///
    /// let cookie = SessionCookie::new("__Secure-authjs.session-token").chunks(CookieChunks::AuthJs);
    /// let layer = SessionTimeoutLayer::builder().cookie(cookie).build();
    /// # layer.unwrap();
    /// ```
    pub fn chunks(self, chunks: CookieChunks) -> Self {
        Self { chunks: Some(chunks), ..self }
    }
}

impl From<&str> for SessionCookie {
    fn from(name: &str) -> Self {
        Self::new(name)
    }
}

impl From<String> for SessionCookie {
    fn from(name: String) -> Self {
        Self::new(name)
    }
}

/// A cookie that is set like this. `None`: no header can carry it.
pub(super) fn set_cookie(
    name: &str,
    value: &str,
    attributes: &SessionCookie,
    http_only: bool,
    max_age: Option<Duration>,
) -> Option<HeaderValue> {
    let mut cookie = Cookie::build((name, value))
        .path(&attributes.path)
        .secure(attributes.secure)
        .partitioned(attributes.partitioned)
        .http_only(http_only)
        .same_site(match attributes.same_site {
            SameSite::Strict => cookie::SameSite::Strict,
            SameSite::Lax => cookie::SameSite::Lax,
            SameSite::None => cookie::SameSite::None,
        })
        .build();
    if let Some(max_age) = max_age {
        cookie.set_max_age(time::Duration::seconds(i64::try_from(max_age.as_secs()).ok()?));
    }
    if let Some(domain) = &attributes.domain {
        cookie.set_domain(domain);
    }
    HeaderValue::from_str(&cookie.to_string()).ok()
}

/// The removal of a cookie that was set with this `Domain`, or none.
pub(super) fn removal(name: &str, attributes: &SessionCookie, domain: Option<&str>) -> Option<HeaderValue> {
    let mut cookie = Cookie::build((name, ""))
        .path(&attributes.path)
        .secure(attributes.secure)
        .partitioned(attributes.partitioned)
        .max_age(time::Duration::ZERO)
        .expires(time::OffsetDateTime::UNIX_EPOCH)
        .build();
    if let Some(domain) = domain {
        cookie.set_domain(domain);
    }
    HeaderValue::from_str(&cookie.to_string()).ok()
}

/// The removals of a cookie set with these attributes, and of one that was set without their `Domain`.
pub(super) fn removals(name: &str, attributes: &SessionCookie) -> impl Iterator<Item = HeaderValue> {
    let with_domain = attributes.domain.as_deref().and_then(|domain| removal(name, attributes, Some(domain)));
    with_domain.into_iter().chain(removal(name, attributes, None))
}

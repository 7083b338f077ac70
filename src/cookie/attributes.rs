//! How the application sets its session cookie, and cookies set and removed as it does.

use std::time::Duration;

use cookie::Cookie;
use http::HeaderValue;

/// How the application sets its session cookie. A removal has to match its path and domain, a [sliding
/// cookie](crate::SessionTimeoutBuilder::slide_cookie) all of it.
///
/// ```
/// use tower_session_timeout::CookieAttributes;
///
/// let attributes = CookieAttributes::new().domain("example.com").secure(true);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CookieAttributes {
    pub(crate) path: String,
    pub(crate) domain: Option<String>,
    pub(crate) secure: bool,
    pub(crate) partitioned: bool,
    pub(crate) http_only: bool,
    pub(crate) same_site: SameSite,
    pub(crate) max_age: Option<Duration>,
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

impl CookieAttributes {
    /// `Path=/`, `HttpOnly`, `SameSite=Lax`; no `Domain` and no `Max-Age`, neither `Secure` nor `Partitioned`.
    #[must_use]
    pub fn new() -> Self {
        Self {
            path: "/".to_owned(),
            domain: None,
            secure: false,
            partitioned: false,
            http_only: true,
            same_site: SameSite::Lax,
            max_age: None,
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
}

impl Default for CookieAttributes {
    fn default() -> Self {
        Self::new()
    }
}

/// A cookie that is set like this. `None`: no header can carry it.
pub(super) fn set_cookie(
    name: &str,
    value: &str,
    attributes: &CookieAttributes,
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
pub(super) fn removal(
    name: &str,
    attributes: &CookieAttributes,
    domain: Option<&str>,
) -> Option<HeaderValue> {
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
pub(super) fn removals(name: &str, attributes: &CookieAttributes) -> impl Iterator<Item = HeaderValue> {
    let with_domain = attributes.domain.as_deref().and_then(|domain| removal(name, attributes, Some(domain)));
    with_domain.into_iter().chain(removal(name, attributes, None))
}

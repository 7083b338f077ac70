//! What cannot work is refused.

use std::time::Duration;

use super::{
    ConfigError, SessionTimeoutBuilder, SourceChoice,
    error::{DAY, MOST_SESSIONS},
    which_requests::path_rule,
};
use crate::{
    cookie::{CookieChunks, SameSite, SessionCookie, is_token},
    middleware::config::LogoutMethods,
    respond::safe_return_to,
    store::contract::Store,
};

/// RFC 6265bis §5.5 lets no cookie live longer.
const LONGEST_WITHOUT_A_WORD: Duration = DAY.saturating_mul(400);

impl SessionTimeoutBuilder {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
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
        if let Some(client) = &self.client {
            client.validate(self.limits.idle())?;
        }
        #[cfg(feature = "rescue")]
        if let Some(rescue) = &self.rescue {
            let cookie = match &self.source {
                SourceChoice::Cookie(cookie) => Some(cookie),
                _ => None,
            };
            rescue.validate(cookie.is_some(), self.client.is_some())?;
            cookie.map_or(Ok(()), |cookie| validate_companions(cookie))?;
        }
        if self.store_deadline.is_zero() {
            return Err(ConfigError::ZeroTimeout { which: "store deadline" });
        }
        let is_with_companions = self.store.as_ref().is_some_and(|store| !store.companions().is_empty());
        match &self.source {
            SourceChoice::Cookie(cookie) => {
                validate_cookie(cookie)?;
                validate_sliding(cookie, self.limits.idle())?;
                if is_with_companions {
                    validate_companions(cookie)?;
                }
            }
            SourceChoice::Custom(_) if is_with_companions => {
                return Err(ConfigError::CompanionsWithoutCookie);
            }
            SourceChoice::Custom(_) | SourceChoice::None | SourceChoice::Several => {}
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
            if let Some(client) = &self.client {
                client.validate_page(path)?;
            }
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
        if self.owner_from.is_some() && matches!(self.source, SourceChoice::Custom(_)) {
            return Err(ConfigError::OwnerFromWithoutCookie);
        }
        if self.fresh_login.is_some() && matches!(self.source, SourceChoice::Custom(_)) {
            return Err(ConfigError::FreshLoginWithoutCookie);
        }
        if let Some(media_type) = self.end_streams.iter().find(|media_type| !is_media_type(media_type)) {
            return Err(ConfigError::InvalidMediaType { media_type: media_type.clone() });
        }
        Ok(())
    }
}

fn invalid(cookie: &SessionCookie, reason: &'static str) -> Result<(), ConfigError> {
    Err(ConfigError::InvalidCookie { name: cookie.name.clone(), reason })
}

fn validate_sliding(cookie: &SessionCookie, idle: Duration) -> Result<(), ConfigError> {
    if !cookie.slides {
        return Ok(());
    }
    match cookie.max_age {
        None => invalid(cookie, "there is no Max-Age to slide"),
        Some(max_age) if max_age < idle => invalid(
            cookie,
            "its Max-Age is shorter than the idle timeout: the browser would forget it too early",
        ),
        Some(_) if cookie.same_site == SameSite::None && !cookie.secure => {
            invalid(cookie, "browsers take SameSite=None with Secure only (RFC 6265bis §5.7)")
        }
        Some(_) => Ok(()),
    }
}

/// Those follow the session cookie's attributes.
fn validate_companions(cookie: &SessionCookie) -> Result<(), ConfigError> {
    let needs_secure = cookie.same_site == SameSite::None || cookie.partitioned;
    if needs_secure && !is_secure(cookie) {
        let reason = "browsers take SameSite=None and Partitioned with Secure only (RFC 6265bis §5.7)";
        return invalid(cookie, reason);
    }
    Ok(())
}

fn validate_cookie(cookie: &SessionCookie) -> Result<(), ConfigError> {
    let SessionCookie { name, path, domain, chunks, .. } = cookie;
    let invalid = |reason| invalid(cookie, reason);
    if name.is_empty() || !name.bytes().all(is_token) {
        return invalid("a cookie's name is one or more token characters (RFC 9110 §5.6.2)");
    }
    if name.contains('%') {
        return invalid("some parsers decode a % in a name, others do not");
    }
    if !path.starts_with('/') || !path.bytes().all(is_attribute_byte) {
        return invalid("its Path begins with / and has no control characters, spaces or semicolons");
    }
    if domain.as_ref().is_some_and(|domain| domain.is_empty() || !domain.bytes().all(is_attribute_byte)) {
        return invalid("its Domain is not empty and has no control characters, spaces or semicolons");
    }
    if has_prefix(name, "__Host-") && (domain.is_some() || path != "/") {
        return invalid("a __Host- cookie has Path=/ and no Domain (RFC 6265bis §4.1.3.2)");
    }
    if *chunks == Some(CookieChunks::Auth0) && name.contains(['$', '*', '+', '.', '^', '|']) {
        return invalid(
            "@auth0/nextjs-auth0 takes the name for a regular expression, and reads other cookies as its chunks",
        );
    }
    Ok(())
}

/// By its name, too: browsers pass over a cookie of these, or a removal, without `Secure`.
pub(super) fn is_secure(cookie: &SessionCookie) -> bool {
    cookie.secure || has_prefix(&cookie.name, "__Host-") || has_prefix(&cookie.name, "__Secure-")
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

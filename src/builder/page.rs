//! What the page is told.

use std::{fmt, time::Duration};

use super::{ConfigError, SessionTimeoutBuilder, error::SHORTEST_WARNING};
use crate::{client::secret::Secret, request::activity::PathRule};

/// What the page is told.
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
    /// use std::time::Duration;
    /// use tower_session_timeout::{ClientEndpoints, SessionTimeoutLayer};
    ///
    /// let layer = SessionTimeoutLayer::builder().cookie("sid").client_endpoints("/_session-timeout").build();
    /// # layer.unwrap();
    /// let endpoints = ClientEndpoints::at("/_session-timeout").warn_before(Duration::from_secs(60));
    /// let layer = SessionTimeoutLayer::builder().cookie("sid").client_endpoints(endpoints).build();
    /// # layer.unwrap();
    /// ```
    pub fn client_endpoints(self, endpoints: impl Into<ClientEndpoints>) -> Self {
        Self { client: Some(endpoints.into()), ..self }
    }
}

/// Where the layer answers a page that warns its user in time, and when that is.
///
/// `Debug` shows no secret.
#[derive(Clone)]
pub struct ClientEndpoints {
    base: String,
    warn_before: Duration,
    secret: Option<[u8; 32]>,
}

impl ClientEndpoints {
    /// Below this path, which begins with `/` and does not end in one.
    #[must_use]
    pub fn at(base: impl Into<String>) -> Self {
        Self { base: base.into(), warn_before: Duration::from_secs(120), secret: None }
    }

    /// How long before its session ends a user is to be warned. Default: 2 minutes. At least 20 seconds (WCAG 2.2,
    /// 2.2.1), and less than the idle timeout.
    pub fn warn_before(self, lead: Duration) -> Self {
        Self { warn_before: lead, ..self }
    }

    /// From what the digests of sessions and users and the keys of drafts are derived: 32 random bytes. Default: new ones
    /// with every process, so that drafts cannot be read after a restart, and open pages have to be reloaded; several
    /// processes have to share them.
    pub fn secret(self, secret: [u8; 32]) -> Self {
        Self { secret: Some(secret), ..self }
    }

    pub(super) fn validate(&self, idle: Duration) -> Result<(), ConfigError> {
        let base = &self.base;
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
    pub(super) fn validate_page(&self, path: &str) -> Result<(), ConfigError> {
        if path.strip_prefix(&*self.base).is_some_and(|below| below.starts_with('/')) {
            let reason = "it is below the client endpoints, where the layer answers by itself";
            return Err(ConfigError::InvalidPath { path: path.to_owned(), reason });
        }
        Ok(())
    }

    pub(super) fn made(self) -> crate::client::Client {
        let secret = self.secret.unwrap_or_else(|| {
            let mut secret = [0; 32];
            getrandom::fill(&mut secret).expect("the operating system gives random numbers");
            secret
        });
        crate::client::Client { base: self.base, warn_before: self.warn_before, secret: Secret::new(secret) }
    }
}

impl From<&str> for ClientEndpoints {
    fn from(base: &str) -> Self {
        Self::at(base)
    }
}

impl From<String> for ClientEndpoints {
    fn from(base: String) -> Self {
        Self::at(base)
    }
}

impl fmt::Debug for ClientEndpoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { base, warn_before, .. } = self;
        f.debug_struct("ClientEndpoints")
            .field("base", base)
            .field("warn_before", warn_before)
            .finish_non_exhaustive()
    }
}

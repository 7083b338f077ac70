//! What the page is told.

use std::time::Duration;

use super::{ConfigError, SessionTimeoutBuilder, error::SHORTEST_WARNING};
use crate::request::activity::PathRule;

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

pub(super) struct ClientChoice {
    base: Option<String>,
    warn_before: Duration,
    secret: Option<[u8; 32]>,
}

impl Default for ClientChoice {
    fn default() -> Self {
        Self { base: None, warn_before: Duration::from_secs(120), secret: None }
    }
}

impl ClientChoice {
    pub(super) fn validate(&self, idle: Duration) -> Result<(), ConfigError> {
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
    pub(super) fn validate_page(&self, path: &str) -> Result<(), ConfigError> {
        let below = self.base.as_ref().and_then(|base| path.strip_prefix(&**base));
        if below.is_some_and(|below| below.starts_with('/')) {
            let reason = "it is below the client endpoints, where the layer answers by itself";
            return Err(ConfigError::InvalidPath { path: path.to_owned(), reason });
        }
        Ok(())
    }

    pub(super) fn made(self) -> Option<crate::client::Client> {
        let secret = self.secret.unwrap_or_else(|| {
            let mut secret = [0; 32];
            getrandom::fill(&mut secret).expect("the operating system gives random numbers");
            secret
        });
        self.base.map(|base| crate::client::Client { base, warn_before: self.warn_before, secret })
    }
}

//! How long sessions live, and their ids; how many an owner has.

use std::time::Duration;

use super::SessionTimeoutBuilder;
use crate::{
    request::head::RequestHead,
    rules::{limits::Limits, new_session::MaxSessions},
};

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

    /// The absolute timeout. Default: 8 hours. With `None`, a session in use never has to log in again; OWASP ASVS 5.0 §7.3.2
    /// wants it to.
    pub fn absolute_timeout(self, absolute: impl Into<Option<Duration>>) -> Self {
        Self { limits: self.limits.with_absolute(absolute.into()), ..self }
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
    /// browser with an ended id.
    pub fn rotation_grace(self, grace: Duration) -> Self {
        Self { rotation_grace: grace, ..self }
    }
}

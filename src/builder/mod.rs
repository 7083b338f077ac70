//! Configuring a layer: a file for each theme.
//!
//! It uses everything.

mod build;
mod error;
mod how_long;
#[cfg(feature = "client")]
mod page;
#[cfg(feature = "rescue")]
mod rescue;
mod validate;
mod what_answer;
mod which_requests;
mod which_session;

use std::{fmt, sync::Arc, time::Duration};

#[cfg(feature = "client")]
pub use self::page::ClientEndpoints;
#[cfg(feature = "rescue")]
pub use self::rescue::{FormRescueBuilder, RescueForms};
pub use self::{error::ConfigError, which_requests::OwnerlessSessions};
use crate::{
    cookie::SessionCookie,
    event::EventSink,
    middleware::{
        config::{FreshLogin, LimitsFor, LogoutMethods, OwnerFrom, SessionLabel},
        layer::SessionTimeoutLayer,
    },
    request::{activity::Rules, extract::Source},
    respond::ExpiredResponse,
    rules::{limits::Limits, new_session::MaxSessions},
    store::contract::Store,
};

/// Builds a [`SessionTimeoutLayer`]. Where a request's session id travels has to be said; all else has a default.
#[must_use = "a builder does nothing until `build`"]
pub struct SessionTimeoutBuilder {
    source: SourceChoice,
    limits: Limits,
    beyond_400_days: bool,
    max_sessions: Option<MaxSessions>,
    session_label: Option<SessionLabel>,
    owner_from: Option<OwnerFrom>,
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
    client: Option<ClientEndpoints>,
    #[cfg(feature = "rescue")]
    rescue: Option<RescueForms>,
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
    None,
    Cookie(Box<SessionCookie>),
    Custom(Source),
    Several,
}

impl SessionTimeoutBuilder {
    pub(crate) fn new() -> Self {
        Self {
            source: SourceChoice::None,
            limits: Limits::default(),
            beyond_400_days: false,
            max_sessions: None,
            session_label: None,
            owner_from: None,
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
            client: None,
            #[cfg(feature = "rescue")]
            rescue: None,
            ownerless_sessions: OwnerlessSessions::Refuse,
            with_extension: true,
            invalid_path: None,
        }
    }
}

impl fmt::Debug for SessionTimeoutBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionTimeoutBuilder").field("limits", &self.limits).finish_non_exhaustive()
    }
}

//! Where sessions are kept, and making the layer.

use std::{sync::Arc, time::Duration};

#[cfg(feature = "client")]
use super::ClientEndpoints;
use super::{ConfigError, OwnerlessSessions, SessionTimeoutBuilder, SourceChoice, validate::is_secure};
use crate::{
    cookie::{CookieSource, SessionCookie},
    event::Operator,
    middleware::{config::Config, hints::Hints, layer::SessionTimeoutLayer},
    request::extract::Source,
    respond::{LoginPath, Refusals},
    rules::limits::Policy,
    store::{
        contract::{LayerSettings, Store},
        memory::MemoryStore,
    },
};

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
        let sink = self.on_event;
        #[cfg(feature = "tracing")]
        let sink = Some(log(sink));
        let operator = Operator::new(sink.clone());
        let store = self.store.unwrap_or_else(|| Arc::new(MemoryStore::new()));
        #[cfg(feature = "rescue")]
        let mut rescue_cookies = None;
        let source = match self.source {
            SourceChoice::None => return Err(ConfigError::NoSessionId),
            SourceChoice::Several => return Err(ConfigError::SeveralSources),
            SourceChoice::Custom(source) => source,
            SourceChoice::Cookie(cookie) => {
                let cookie = SessionCookie { secure: is_secure(&cookie), ..*cookie };
                #[cfg(feature = "rescue")]
                {
                    rescue_cookies = self.rescue.is_some().then(|| crate::rescue::cookies(&cookie));
                }
                Source::Cookie(CookieSource::new(cookie, store.companions(), operator.clone()))
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
            (source.cookie().is_some_and(CookieSource::slides), "sliding"),
            (self.fresh_login.is_some(), "fresh_login"),
            (self.max_sessions.is_some(), "max_sessions"),
            (self.session_label.is_some(), "session_label"),
            (self.owner_from.is_some(), "owner_from"),
        ];
        let outermost_only = outermost_only.into_iter().find(|(is_set, _)| *is_set).map(|(_, option)| option);
        let login_path = self.login_path.map(LoginPath::new);
        let refusals = Refusals::new(login_path, self.logout_path, self.expired_response, &source);
        if let Some(sink) = &sink {
            store.events(sink.clone());
        }
        #[cfg(feature = "client")]
        let client = self.client.map(ClientEndpoints::made);
        #[cfg(feature = "rescue")]
        let rescue = match (self.rescue, &client, rescue_cookies) {
            (Some(rescue), Some(client), Some(cookies)) => {
                Some(rescue.made(client, cookies, self.store_deadline))
            }
            _ => None,
        };
        Ok(SessionTimeoutLayer::new(Config {
            source,
            policy: Policy { rotation_grace: self.rotation_grace, ..Policy::new(self.limits) },
            max_sessions: self.max_sessions,
            session_label: self.session_label,
            owner_from: self.owner_from,
            limits_for: self.limits_for,
            passive: self.passive,
            public: self.public,
            refusals,
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
            client,
            #[cfg(feature = "rescue")]
            rescue,
            lets_ownerless_sessions_go_on: self.ownerless_sessions == OwnerlessSessions::ContinueWithoutId,
            with_extension: self.with_extension,
            outermost_only,
            hints: Hints::new(operator),
        }))
    }
}

/// Events go to the log, too.
#[cfg(feature = "tracing")]
fn log(on_event: Option<crate::event::EventSink>) -> crate::event::EventSink {
    crate::event::EventSink::new(move |event| {
        crate::event::trace(event);
        if let Some(on_event) = &on_event {
            on_event.send(event);
        }
    })
}

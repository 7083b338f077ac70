//! The store, as a request asks it: under a deadline, with what happened told, and with ends that are not lost.

use std::{sync::Arc, time::Duration};

use http::HeaderMap;
use tokio::runtime::Handle;

use crate::{
    cookie::CookieSource,
    event::SessionEvent,
    middleware::config::Config,
    rules::{
        id::{IdTag, SessionId, SessionKey},
        limits::{EndReason, Verdict},
        new_session::NewSession,
    },
    store::{
        answer::{Adopted, Answer, Restarted, Rotated, Started, StoreError},
        contract::{EndLater, RequestStore, Store},
    },
};

/// A layer's store, with the records that a request's client keeps, where those travel with the clients.
#[derive(Clone)]
pub(crate) struct StoreHandle {
    pub(crate) config: Arc<Config>,
    own: Option<Arc<dyn RequestStore>>,
}

impl StoreHandle {
    /// For code that has no request.
    pub(crate) fn new(config: &Arc<Config>) -> Self {
        Self { config: Arc::clone(config), own: None }
    }

    /// For a request with these fields.
    pub(crate) fn of_request(config: &Arc<Config>, headers: &HeaderMap) -> Self {
        let companions = config.source.cookie().and_then(|cookie| Some((cookie, cookie.companions()?)));
        let own = companions.and_then(|(cookie, companions)| {
            let received = companions.received(headers);
            if !received.is_empty() {
                config.hints.companion();
            }
            config.store.for_request(cookie.name(), received)
        });
        Self { config: Arc::clone(config), own }
    }

    /// Whether clients keep the records.
    pub(crate) fn leaves_records(&self) -> bool {
        self.own.is_some()
    }

    /// Whom to ask.
    pub(crate) fn store(&self) -> &dyn Store {
        match &self.own {
            Some(own) => &**own,
            None => &*self.config.store,
        }
    }

    /// Leaves the session's record with the client, beside the session id that is set, or the one it has. Whether there
    /// was anything to leave, or to take away.
    pub(crate) fn leave_with_client(&self, set: Option<&SessionId<'_>>, headers: &mut HeaderMap) -> bool {
        let companions = self.config.source.cookie().and_then(CookieSource::companions);
        let (Some(own), Some(companions)) = (&self.own, companions) else { return false };
        let Some(left) = own.left(set, &self.config.policy) else {
            companions.remove_from_browser(headers);
            return true;
        };
        for companion in &left {
            companions.set(companion, headers);
        }
        !left.is_empty()
    }

    /// Asks the store; an answer later than the deadline is a failure.
    pub(crate) async fn ask<T>(&self, answer: Answer<T>) -> Result<T, StoreError> {
        let answer = match answer {
            Answer::Ready(answer) => answer,
            Answer::Pending(answer) => tokio::time::timeout(self.config.store_deadline, answer)
                .await
                .unwrap_or_else(|_| Err(StoreError::new("no answer within the deadline"))),
        };
        answer.inspect_err(|error| self.config.store_failed(error))
    }

    pub(crate) async fn start(&self, id: &SessionId<'_>, new: &NewSession) -> Result<Started, StoreError> {
        if !self.config.is_plausible(id) {
            return Err(self.config.implausible_id());
        }
        let started = self.ask(self.store().start(id, &self.limited(new), &self.config.policy)).await?;
        self.config.hints.session();
        match started {
            Started::New(session) => self.began(session, new),
            Started::AtCapacity => self.config.tell(&SessionEvent::AtCapacity),
            Started::TooMany => self.config.tell(&SessionEvent::TooManySessions { owner: new.owner.clone() }),
            Started::AlreadyLive(_) => {}
        }
        Ok(started)
    }

    /// Begins a session that was authenticated elsewhere, unless its id is known.
    pub(crate) async fn adopt(&self, id: &SessionId<'_>, new: &NewSession) -> Result<(), StoreError> {
        match self.ask(self.store().adopt(id, &self.limited(new), &self.config.policy)).await? {
            Adopted::New(session) => self.began(session, new),
            Adopted::Known => {}
            // Its id stays unknown, and so its request is refused.
            Adopted::TooMany => self.config.tell(&SessionEvent::TooManySessions { owner: new.owner.clone() }),
            Adopted::AtCapacity => {
                self.config.tell(&SessionEvent::AtCapacity);
                return Err(StoreError::new("at capacity: no session can be adopted"));
            }
        }
        self.config.hints.session();
        Ok(())
    }

    /// As many sessions of its owner's as this layer allows, if the application does not say.
    fn limited(&self, new: &NewSession) -> NewSession {
        NewSession { max_sessions: new.max_sessions.or(self.config.max_sessions), ..new.clone() }
    }

    fn began(&self, session: SessionKey, new: &NewSession) {
        let (owner, label) = (new.owner.clone(), new.label.clone());
        self.config.tell(&SessionEvent::Started { session, owner, label });
    }

    /// Begins a session's clocks anew.
    pub(crate) async fn restart(&self, key: SessionKey, new: &NewSession) -> Result<Restarted, StoreError> {
        let restarted = self.ask(self.store().restart(key, &self.limited(new), &self.config.policy)).await?;
        if restarted == Restarted::TooMany {
            self.config.tell(&SessionEvent::TooManySessions { owner: new.owner.clone() });
        }
        Ok(restarted)
    }

    pub(crate) async fn rotate(
        &self,
        key: SessionKey,
        presented: IdTag,
        new: &SessionId<'_>,
    ) -> Result<Rotated, StoreError> {
        if !self.config.is_plausible(new) {
            return Err(self.config.implausible_id());
        }
        let rotated = self.ask(self.store().rotate(key, new, presented, &self.config.policy)).await?;
        if rotated == Rotated::New {
            self.config.tell(&SessionEvent::Rotated { session: key });
        }
        Ok(rotated)
    }

    /// A request of this session is under way.
    pub(crate) async fn renew(&self, key: SessionKey) -> Result<Verdict, StoreError> {
        self.ask(self.store().renew(key, Duration::ZERO, &self.config.policy)).await
    }

    /// Ends a session. If the store fails, it is tried again in the background.
    pub(crate) async fn end(&self, key: SessionKey, reason: EndReason) -> Result<bool, StoreError> {
        let ended = self.ask(self.store().end(key, reason)).await;
        if ended.is_err() {
            self.end_later(key, reason);
        }
        ended
    }

    /// As [`end`](Self::end), unless the presented id is superseded.
    pub(crate) async fn end_by(
        &self,
        key: SessionKey,
        presented: IdTag,
        reason: EndReason,
    ) -> Result<bool, StoreError> {
        let ended = self.ask(self.store().end_by(key, presented, reason)).await;
        if ended.is_err() {
            self.end_later(key, reason);
        }
        ended
    }

    /// Ends a session though nobody waits for it: at once if the store can, else in the background.
    pub(crate) fn end_in_background(&self, key: SessionKey, reason: EndReason) {
        match self.store().end(key, reason) {
            Answer::Ready(Ok(_)) => {}
            Answer::Ready(Err(error)) => {
                self.config.store_failed(&error);
                self.end_later(key, reason);
            }
            pending @ Answer::Pending(_) => {
                let handle = self.clone();
                if let Ok(runtime) = Handle::try_current() {
                    runtime.spawn(async move {
                        if handle.ask(pending).await.is_err() {
                            handle.end_later(key, reason);
                        }
                    });
                }
            }
        }
    }

    fn end_later(&self, key: SessionKey, reason: EndReason) {
        let store = Arc::clone(&self.config.store);
        self.remember_end(Box::new(move || store.end(key, reason)));
    }

    /// The store is away: it is told of this end as soon as it is there again.
    pub(crate) fn remember_end(&self, end: EndLater) {
        if !self.config.pending_ends.add(end, self.config.store_deadline) {
            let error = "too many sessions are to be ended: one that was to end lives on".to_owned();
            self.config.tell(&SessionEvent::StoreFailed { error });
        }
    }
}

//! Everything a layer is told, behind one `Arc`; and a store call under its deadline.

use std::{sync::Arc, time::Duration};

use http::{HeaderMap, HeaderValue, Method, Response};
use tokio::runtime::Handle;

use crate::{
    cookie::{MAX_DUPLICATES, SessionCookie, SlidCookie},
    event::{EventSink, SessionEvent},
    middleware::{ends::PendingEnds, hints::Hints},
    request::{
        activity::{Rules, is_passive_by_itself, is_prefetch},
        extract::Source,
        head::{Initiator, RequestHead},
    },
    respond::{Refusals, is_of_type},
    rules::{
        decision::{Access, Live},
        id::{IdTag, Label, MAX_SESSION_ID_LENGTH, Owner, SessionId, SessionKey},
        limits::{EndReason, Limits, Policy},
        new_session::{MaxSessions, NewSession},
    },
    store::{
        answer::{Adopted, Answer, Restarted, Rotated, Started, StoreError},
        contract::{EndLater, RequestStore, Store},
    },
};

pub(crate) type LimitsFor = Box<dyn Fn(&RequestHead<'_>) -> Option<Limits> + Send + Sync>;
pub(crate) type SessionLabel = Box<dyn Fn(&RequestHead<'_>) -> Option<Label> + Send + Sync>;
pub(crate) type FreshLogin = Box<dyn Fn(&RequestHead<'_>, &Response<()>) -> bool + Send + Sync>;

/// The store as one request asks it, where records travel with the clients; with all other stores, none.
#[derive(Clone)]
pub(crate) struct OwnStore(Option<Arc<dyn RequestStore>>);

impl OwnStore {
    pub(crate) const NONE: Self = Self(None);

    pub(crate) fn is_none(&self) -> bool {
        self.0.is_none()
    }
}

pub(crate) struct Config {
    pub(crate) source: Source,
    pub(crate) policy: Policy,
    pub(crate) max_sessions: Option<MaxSessions>,
    pub(crate) session_label: Option<SessionLabel>,
    pub(crate) limits_for: Option<LimitsFor>,
    pub(crate) passive: Rules,
    pub(crate) public: Rules,
    pub(crate) refusals: Refusals,
    pub(crate) logout_methods: LogoutMethods,
    pub(crate) fresh_login: Option<FreshLogin>,
    pub(crate) rotate_after: Option<Duration>,
    pub(crate) end_streams: Vec<String>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) store_deadline: Duration,
    pub(crate) pending_ends: Arc<PendingEnds>,
    pub(crate) sink: Option<EventSink>,
    pub(crate) admit_on_store_failure: bool,
    #[cfg(feature = "client")]
    pub(crate) client: Option<crate::client::Client>,
    /// Which of the options that are set have no effect inside a layer for the same cookie.
    pub(crate) outermost_only: Option<&'static str>,
    pub(crate) lets_ownerless_sessions_go_on: bool,
    pub(crate) with_extension: bool,
    pub(crate) hints: Hints,
}

/// By which methods users log out.
#[derive(Clone, Copy)]
pub(crate) enum LogoutMethods {
    Post,
    PostAndGet,
}

impl Config {
    pub(crate) fn access(&self, head: &RequestHead<'_>) -> Access {
        if is_passive_by_itself(head) || self.passive.apply_to(head) { Access::Passive } else { Access::Hold }
    }

    /// Whether answers of this type end with their session.
    pub(crate) fn ends_streams_of(&self, content_type: &HeaderValue) -> bool {
        self.end_streams.iter().any(|ended| is_of_type(content_type, ended))
    }

    /// Whether an ended session goes on here, without its id.
    pub(crate) fn is_public(&self, head: &RequestHead<'_>) -> bool {
        *head.method() == Method::OPTIONS
            || self.refusals.is_login_or_logout(head.path())
            || self.public.apply_to(head)
    }

    /// Whether a request only looks like a log-out: a prefetch, an image or a page elsewhere has followed the link.
    pub(crate) fn is_no_logout(&self, head: &RequestHead<'_>) -> bool {
        matches!(self.logout_methods, LogoutMethods::PostAndGet)
            && self.refusals.logout_path.as_ref().is_some_and(|logout| logout == head.path())
            && *head.method() == Method::GET
            && !self.is_logout(head)
    }

    pub(crate) fn is_logout(&self, head: &RequestHead<'_>) -> bool {
        #[cfg(feature = "client")]
        if self.client.as_ref().is_some_and(|client| client.is_sign_out(head)) {
            return true;
        }
        if self.refusals.logout_path.as_ref().is_none_or(|logout| logout != head.path()) {
            return false;
        }
        match *head.method() {
            Method::POST => true,
            // Pages of other sites, images and prefetches log nobody out.
            Method::GET => {
                matches!(self.logout_methods, LogoutMethods::PostAndGet)
                    && head.initiator() != Initiator::Elsewhere
                    && head.wants_a_page()
                    && !is_prefetch(head)
            }
            _ => false,
        }
    }

    /// The session cookie with a new `Max-Age`, if this is the renewal to send it with.
    pub(crate) fn slid_cookie(
        &self,
        head: &RequestHead<'_>,
        live: &Live,
        access: Access,
    ) -> Option<SlidCookie> {
        let cookie = self.source.cookie()?;
        if !access.renews() || !cookie.slides_now(live.idle_for, live.age) {
            return None;
        }
        cookie.slid(head.headers(), live.remaining.shortest())
    }

    /// An empty id names no session; one of no plausible length neither.
    pub(crate) fn is_plausible(&self, id: &SessionId<'_>) -> bool {
        id.is_plausible(self.longest_id())
    }

    fn longest_id(&self) -> usize {
        self.source.cookie().map_or(MAX_SESSION_ID_LENGTH, SessionCookie::longest_id)
    }

    fn implausible_id(&self) -> StoreError {
        let error = StoreError::new(format!("a session id has between 1 and {} bytes", self.longest_id()));
        self.store_failed(&error);
        error
    }

    /// Whether another layer reads its session ids in the same place.
    pub(crate) fn reads_the_same(&self, other: &Self) -> bool {
        std::ptr::eq(self, other) || self.source.is_same_place(&other.source)
    }

    /// Whether another layer, further in, times this layer's session of a request.
    pub(crate) fn times_the_same(&self, inner: &Self, head: &RequestHead<'_>) -> bool {
        self.reads_the_same(inner) && (self.source.cookie().is_some() || self.finds_the_same(inner, head))
    }

    /// Whether two layers find the same ids in a request.
    pub(crate) fn finds_the_same(&self, other: &Self, head: &RequestHead<'_>) -> bool {
        let ids = |config: &Self| config.source.ids(head, MAX_DUPLICATES);
        let (ours, theirs) = (ids(self), ids(other));
        !ours.is_empty() && ours.iter().map(SessionId::expose).eq(theirs.iter().map(SessionId::expose))
    }

    pub(crate) fn policy_for(&self, head: &RequestHead<'_>) -> Policy {
        let cap = self.limits_for.as_ref().and_then(|limits_for| limits_for(head));
        Policy { cap, ..self.policy }
    }

    /// The store for a request with these fields, if its client keeps the record.
    pub(crate) fn own_store(&self, headers: &HeaderMap) -> OwnStore {
        let Some(cookie) = self.source.cookie() else { return OwnStore::NONE };
        let Some(companions) = cookie.companions() else { return OwnStore::NONE };
        let received = companions.received(headers);
        if !received.is_empty() {
            self.hints.companion();
        }
        OwnStore(self.store.for_request(&String::from_utf8_lossy(cookie.name()), received))
    }

    /// Whom to ask for a request.
    pub(crate) fn store<'a>(&'a self, own: &'a OwnStore) -> &'a dyn Store {
        match &own.0 {
            Some(own) => &**own,
            None => &*self.store,
        }
    }

    /// Leaves the session's record with the client, beside the session id that is set, or the one it has. Whether there
    /// was anything to leave, or to take away.
    pub(crate) fn leave_with_client(
        &self,
        own: &OwnStore,
        set: Option<&SessionId<'_>>,
        headers: &mut HeaderMap,
    ) -> bool {
        let companions = self.source.cookie().and_then(SessionCookie::companions);
        let (Some(own), Some(companions)) = (&own.0, companions) else { return false };
        let Some(left) = own.left(set, &self.policy) else {
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
            Answer::Pending(answer) => tokio::time::timeout(self.store_deadline, answer)
                .await
                .unwrap_or_else(|_| Err(StoreError::new("no answer within the deadline"))),
        };
        answer.inspect_err(|error| self.store_failed(error))
    }

    pub(crate) async fn start(
        &self,
        own: &OwnStore,
        id: &SessionId<'_>,
        new: &NewSession,
    ) -> Result<Started, StoreError> {
        if !self.is_plausible(id) {
            return Err(self.implausible_id());
        }
        let started = self.ask(self.store(own).start(id, &self.limited(new), &self.policy)).await?;
        self.hints.session();
        match started {
            Started::New(session) => self.began(session, new),
            Started::AtCapacity => self.tell(&SessionEvent::AtCapacity),
            Started::TooMany => self.tell(&SessionEvent::TooManySessions { owner: new.owner.clone() }),
            Started::AlreadyLive(_) => {}
        }
        Ok(started)
    }

    /// Begins a session that was authenticated elsewhere, unless its id is known.
    pub(crate) async fn adopt(&self, id: &SessionId<'_>, new: &NewSession) -> Result<(), StoreError> {
        match self.ask(self.store.adopt(id, &self.limited(new), &self.policy)).await? {
            Adopted::New(session) => self.began(session, new),
            Adopted::Known => {}
            // Its id stays unknown, and so its request is refused.
            Adopted::TooMany => self.tell(&SessionEvent::TooManySessions { owner: new.owner.clone() }),
            Adopted::AtCapacity => {
                self.tell(&SessionEvent::AtCapacity);
                return Err(StoreError::new("at capacity: no session can be adopted"));
            }
        }
        self.hints.session();
        Ok(())
    }

    /// As many sessions of its owner's as this layer allows, if the application does not say.
    fn limited(&self, new: &NewSession) -> NewSession {
        NewSession { max_sessions: new.max_sessions.or(self.max_sessions), ..new.clone() }
    }

    fn began(&self, session: SessionKey, new: &NewSession) {
        let (owner, label) = (new.owner.clone(), new.label.clone());
        self.tell(&SessionEvent::Started { session, owner, label });
    }

    /// Begins a session's clocks anew.
    pub(crate) async fn restart(
        &self,
        own: &OwnStore,
        key: SessionKey,
        new: &NewSession,
    ) -> Result<Restarted, StoreError> {
        let restarted = self.ask(self.store(own).restart(key, &self.limited(new), &self.policy)).await?;
        if restarted == Restarted::TooMany {
            self.tell(&SessionEvent::TooManySessions { owner: new.owner.clone() });
        }
        Ok(restarted)
    }

    pub(crate) async fn rotate(
        &self,
        own: &OwnStore,
        key: SessionKey,
        presented: IdTag,
        new: &SessionId<'_>,
    ) -> Result<Rotated, StoreError> {
        if !self.is_plausible(new) {
            return Err(self.implausible_id());
        }
        let rotated = self.ask(self.store(own).rotate(key, new, presented, &self.policy)).await?;
        if rotated == Rotated::New {
            self.tell(&SessionEvent::Rotated { session: key });
        }
        Ok(rotated)
    }

    /// Ends a session. If the store fails, it is tried again in the background.
    pub(crate) async fn end(
        self: &Arc<Self>,
        own: &OwnStore,
        key: SessionKey,
        reason: EndReason,
    ) -> Result<bool, StoreError> {
        let ended = self.ask(self.store(own).end(key, reason)).await;
        if ended.is_err() {
            self.end_later(key, reason);
        }
        ended
    }

    /// As [`end`](Self::end), unless the presented id is superseded.
    pub(crate) async fn end_by(
        self: &Arc<Self>,
        own: &OwnStore,
        key: SessionKey,
        presented: IdTag,
        reason: EndReason,
    ) -> Result<bool, StoreError> {
        let ended = self.ask(self.store(own).end_by(key, presented, reason)).await;
        if ended.is_err() {
            self.end_later(key, reason);
        }
        ended
    }

    /// Ends a session though nobody waits for it: at once if the store can, else in the background.
    pub(crate) fn end_in_background(self: &Arc<Self>, own: &OwnStore, key: SessionKey, reason: EndReason) {
        match self.store(own).end(key, reason) {
            Answer::Ready(Ok(_)) => {}
            Answer::Ready(Err(error)) => {
                self.store_failed(&error);
                self.end_later(key, reason);
            }
            pending @ Answer::Pending(_) => {
                let config = Arc::clone(self);
                if let Ok(runtime) = Handle::try_current() {
                    runtime.spawn(async move {
                        if config.ask(pending).await.is_err() {
                            config.end_later(key, reason);
                        }
                    });
                }
            }
        }
    }

    fn end_later(&self, key: SessionKey, reason: EndReason) {
        let store = Arc::clone(&self.store);
        self.remember_end(Box::new(move || store.end(key, reason)));
    }

    /// The store is away: it is told of this end as soon as it is there again.
    pub(crate) fn remember_end(&self, end: EndLater) {
        if !self.pending_ends.add(end, self.store_deadline) {
            let error = "too many sessions are to be ended: one that was to end lives on".to_owned();
            self.tell(&SessionEvent::StoreFailed { error });
        }
    }

    pub(crate) fn refused(&self, reason: EndReason, session: Option<SessionKey>, owner: Option<Owner>) {
        if reason == EndReason::Unknown {
            self.hints.unknown_id(self.source.cookie());
        }
        self.tell(&SessionEvent::Refused { reason, session, owner });
    }

    pub(crate) fn store_failed(&self, error: &StoreError) {
        self.tell(&SessionEvent::StoreFailed { error: error.to_string() });
    }

    pub(crate) fn tell(&self, event: &SessionEvent) {
        if let Some(sink) = &self.sink {
            sink.send(event);
        }
    }
}

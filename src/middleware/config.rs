//! Everything a layer is told, behind one `Arc`; and a store call under its deadline.

use std::{sync::Arc, time::Duration};

use http::{HeaderValue, Method, Response};

use crate::{
    cookie::{CookieSource, MAX_DUPLICATES, RenewedCookie},
    event::{EventSink, SessionEvent},
    middleware::{ends::PendingEnds, hints::Hints},
    request::{
        activity::{Rules, Signs},
        extract::Source,
        head::RequestHead,
    },
    respond::{Refusals, is_of_type},
    rules::{
        decision::{Access, Live},
        id::{Label, MAX_SESSION_ID_LENGTH, Owner, SessionId, SessionKey},
        limits::{EndReason, Limits, Policy},
        new_session::MaxSessions,
    },
    store::{answer::StoreError, contract::Store},
};
#[cfg(feature = "rescue")]
use crate::{
    rescue::user::User,
    respond::{
        negotiation::Negotiation,
        return_to::{FormWatch, Seen},
    },
};

pub(crate) type LimitsFor = Box<dyn Fn(&RequestHead<'_>) -> Option<Limits> + Send + Sync>;
pub(crate) type SessionLabel = Box<dyn Fn(&RequestHead<'_>) -> Option<Label> + Send + Sync>;
pub(crate) type OwnerFrom = Box<dyn Fn(&RequestHead<'_>, &Response<()>) -> Option<Owner> + Send + Sync>;
pub(crate) type FreshLogin = Box<dyn Fn(&RequestHead<'_>, &Response<()>) -> bool + Send + Sync>;

pub(crate) struct Config {
    pub(crate) source: Source,
    pub(crate) policy: Policy,
    pub(crate) max_sessions: Option<MaxSessions>,
    pub(crate) session_label: Option<SessionLabel>,
    pub(crate) owner_from: Option<OwnerFrom>,
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
    #[cfg(feature = "rescue")]
    pub(crate) rescue: Option<crate::rescue::Rescue>,
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
    pub(crate) fn access(&self, head: &RequestHead<'_>, signs: &Signs) -> Access {
        let is_passive = signs.are_passive(head.method()) || self.passive.apply_to(head);
        if is_passive { Access::Passive } else { Access::Hold }
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

    /// The session cookie with a new `Max-Age`, if this is the renewal to send it with.
    pub(crate) fn renewed_cookie(
        &self,
        head: &RequestHead<'_>,
        live: &Live,
        access: Access,
    ) -> Option<RenewedCookie> {
        let cookie = self.source.cookie()?;
        if !access.renews() || !cookie.slides_now(live.idle_for(), live.age()) {
            return None;
        }
        cookie.slid(head.headers(), live.remaining().shortest())
    }

    /// An empty id names no session; one of no plausible length neither.
    pub(crate) fn is_plausible(&self, id: &SessionId<'_>) -> bool {
        id.is_plausible(self.longest_id())
    }

    fn longest_id(&self) -> usize {
        self.source.cookie().map_or(MAX_SESSION_ID_LENGTH, CookieSource::longest_id)
    }

    pub(crate) fn implausible_id(&self) -> StoreError {
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

    /// Whose session it is, if their browser has to be told: on a page, for others may come late.
    #[cfg(feature = "rescue")]
    pub(crate) fn unintroduced(&self, head: &RequestHead<'_>, live: &Live) -> Option<Owner> {
        let (rescue, owner) = (self.rescue.as_ref()?, live.owner.as_ref()?);
        let is_page = Negotiation::of(head).is_navigation;
        (is_page && rescue.recognize(head.headers()) != Some(rescue.user(owner))).then(|| owner.clone())
    }

    /// Notes what became of the session of a request with a form.
    #[cfg(feature = "rescue")]
    pub(crate) fn note(&self, head: &RequestHead<'_>, seen: impl FnOnce() -> Seen) {
        if self.rescue.is_some()
            && let Some(watch) = head.extensions().get::<FormWatch>()
        {
            watch.watched().seen.get_or_init(seen);
        }
    }

    #[cfg(feature = "rescue")]
    pub(crate) fn user(&self, owner: Option<&Owner>) -> Option<User> {
        Some(self.rescue.as_ref()?.user(owner?))
    }

    /// Whose session this browser had last, as it says itself.
    #[cfg(feature = "rescue")]
    pub(crate) fn recognized(&self, head: &RequestHead<'_>) -> Option<User> {
        self.rescue.as_ref()?.recognize(head.headers())
    }

    /// These users have signed out. A form that could not be discarded is gone after a day.
    #[cfg(feature = "rescue")]
    pub(crate) async fn discard_forms(&self, users: impl IntoIterator<Item = User>) {
        let Some(rescue) = &self.rescue else { return };
        for user in users {
            if let Err(error) = rescue.discard_all(user).await {
                self.store_failed(&error);
            }
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

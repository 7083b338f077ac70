//! Identify and check: which session id a request carries, and what the store says of it.

use std::time::Duration;

use http::Request;

use crate::{
    cookie::{Keep, MAX_DUPLICATES},
    middleware::{config::Config, kind::RequestKind, nest, session::Session, store_handle::StoreHandle},
    request::{
        activity::Signs,
        extract::{Found, Source},
        head::RequestHead,
    },
    rules::{
        decision::{Access, Decision, Live},
        id::{SessionId, SessionKey},
        limits::{EndReason, Policy, Remaining, Verdict},
        new_session::NewSession,
    },
    store::answer::{Answer, BoxFuture, StoreError},
};

/// What is known of a request's session.
pub(crate) enum Admission {
    Anonymous,
    Decided {
        decision: Decision,
        /// What the store was asked for.
        access: Access,
        /// The one cookie of several that is live.
        one_of_several: Option<SessionId<'static>>,
    },
    /// A layer further out has decided.
    Outer(Verdict),
    /// A log-out with several live ids. Which of them its user means, nobody knows: they all end.
    LogoutOfSeveral(Vec<SessionKey>),
    /// Ids of several live sessions: nobody knows which of them the application would take.
    SeveralLive {
        /// Somebody had logged in to one of them.
        owned: bool,
    },
    /// A log-out with more ids than are looked at. It is not pretended.
    TooManyToLogOut,
    /// The store failed, and that was told.
    Failed,
    /// The layer has answered: the request was for one of its own endpoints.
    #[cfg(feature = "client")]
    Answered(Box<http::Response<crate::respond::body::RefusalBody>>),
    Misconfigured(&'static str),
}

impl Admission {
    /// An id that no store was asked about, for it cannot be live.
    const UNKNOWN: Self = Self::decided(Decision::UNKNOWN, Access::Peek);

    const fn decided(decision: Decision, access: Access) -> Self {
        Self::Decided { decision, access, one_of_several: None }
    }
}

/// The store's answer, or what will bring it.
pub(crate) enum Checked {
    Now(Admission),
    Later(BoxFuture<Admission>),
}

/// Reads the session id, and asks the store about it: one operation that decides and renews.
pub(crate) fn check<Q>(store: &StoreHandle, kind: RequestKind, request: &mut Request<Q>) -> Checked {
    let config = &*store.config;
    nest::enter(config, request);
    if let Some(verdict) = judge_outer_session(config, kind, request) {
        return Checked::Now(Admission::Outer(verdict));
    }
    if let Some(verdict) = judge_session_of_same_id(config, kind, request) {
        return Checked::Now(Admission::Outer(verdict));
    }
    look(store, kind, request, |head, signs| {
        let policy = config.policy_for(head);
        // A cap keeps nobody from logging out. But what it might have refused must not renew.
        if policy.cap.is_some() && kind.is_logout() {
            return (config.policy, Access::Passive);
        }
        (policy, config.access(head, signs))
    })
}

/// Asks the store about the request's session id.
pub(crate) fn look<Q>(
    store: &StoreHandle,
    kind: RequestKind,
    request: &mut Request<Q>,
    how: impl FnOnce(&RequestHead<'_>, &Signs) -> (Policy, Access),
) -> Checked {
    let config = &*store.config;
    let mut signs = Signs::default();
    let found = match &config.source {
        Source::Cookie(cookie) => {
            // One look at all names is cheaper than a search for each.
            let mut presented =
                cookie.presented_beside(request.headers(), |name, value| signs.see(name, value));
            if presented.disguised {
                cookie.strip(request.headers_mut(), Keep::Sessions);
                presented = cookie.presented(request.headers());
            }
            if presented.several {
                let (policy, access) = how(&RequestHead::of(request), &signs);
                return resolve_duplicates(
                    store,
                    kind,
                    cookie.ids(request.headers(), MAX_DUPLICATES + 1),
                    policy,
                    access,
                );
            }
            match presented.id {
                Some(id) => Found::Id(id),
                None if presented.is_broken => Found::Unusable,
                None => Found::Nothing,
            }
        }
        Source::Custom { extractor, .. } => {
            let head = RequestHead::of(request);
            signs = Signs::of(&head);
            extractor.extract(&head)
        }
    };
    let (id, newcomer) = match found {
        Found::Id(id) => (id, None),
        Found::Verified(verified) => {
            let label = |head| config.session_label.as_ref().and_then(|label| label(&head));
            let newcomer = verified.newcomer(&config.policy.limits).map(|new| NewSession {
                label: new.label.or_else(|| label(RequestHead::of(request))),
                ..new
            });
            (verified.id, newcomer)
        }
        Found::Unusable => return Checked::Now(Admission::UNKNOWN),
        Found::Nothing => return Checked::Now(Admission::Anonymous),
        Found::Misconfigured(what) => return Checked::Now(Admission::Misconfigured(what)),
    };
    if !config.is_plausible(&id) {
        return Checked::Now(Admission::UNKNOWN);
    }
    let (policy, access) = how(&RequestHead::of(request), &signs);
    let answer = store.store().check(&id, &policy, access);
    // Not for one that is known: what holds its session must not be in a future that may never be polled.
    if let Some(newcomer) = newcomer.filter(|_| !knows_id(&answer)) {
        let (store, id) = (store.clone(), id.into_owned());
        return Checked::Later(Box::pin(async move {
            let decision = known_or_adopted(&store, answer, &id, &newcomer, &policy, access).await;
            decision.map_or(Admission::Failed, |decision| Admission::decided(decision, access))
        }));
    }
    match answer {
        Answer::Ready(Ok(decision)) => Checked::Now(Admission::decided(decision, access)),
        Answer::Ready(Err(error)) => {
            config.store_failed(&error);
            Checked::Now(Admission::Failed)
        }
        pending @ Answer::Pending(_) => {
            let store = store.clone();
            Checked::Later(Box::pin(async move {
                let decision = store.ask(pending).await;
                decision.map_or(Admission::Failed, |decision| Admission::decided(decision, access))
            }))
        }
    }
}

fn knows_id(answer: &Answer<Decision>) -> bool {
    let Answer::Ready(Ok(decision)) = answer else { return false };
    !matches!(decision, Decision::Ended { reason: EndReason::Unknown, .. })
}

/// What the store decides about a session that was authenticated elsewhere: its first request here begins it.
async fn known_or_adopted(
    store: &StoreHandle,
    answer: Answer<Decision>,
    id: &SessionId<'_>,
    newcomer: &NewSession,
    policy: &Policy,
    access: Access,
) -> Result<Decision, StoreError> {
    let decision = store.ask(answer).await?;
    if !matches!(decision, Decision::Ended { reason: EndReason::Unknown, .. }) {
        return Ok(decision);
    }
    store.adopt(id, newcomer).await?;
    store.ask(store.store().check(id, policy, access)).await
}

/// The session a layer further out has admitted this request with, judged by this layer's limits.
fn judge_outer_session<Q>(config: &Config, kind: RequestKind, request: &mut Request<Q>) -> Option<Verdict> {
    let head = RequestHead::of(request);
    let session = head.extensions().get::<Session>()?;
    let (verdict, left) = judge(config, kind, &head, session);
    if !config.access(&head, &Signs::of(&head)).renews() {
        session.is_passive_within();
    }
    if let Some(session) = request.extensions_mut().get_mut::<Session>() {
        let left = session.live.remaining().min(left);
        session.live = session.live.clone().with_remaining(left);
        let cap =
            session.cap.as_deref().map_or(config.policy.limits, |cap| cap.tighter(config.policy.limits));
        session.cap = Some(Box::new(cap));
    }
    Some(verdict)
}

/// If the outer layer's session has the same id as this layer's, its check may have renewed what this layer is about to
/// ask for: what came too late by this layer's limits stays so.
fn judge_session_of_same_id<Q>(
    config: &Config,
    kind: RequestKind,
    request: &mut Request<Q>,
) -> Option<Verdict> {
    let head = RequestHead::of(request);
    let at = nest::of_same_id(config, &head)?;
    let (verdict, _) = judge(config, kind, &head, nest::session_at(at, &head)?);
    if matches!(verdict, Verdict::Live(_)) {
        return None;
    }
    nest::show(at, request.extensions_mut());
    Some(verdict)
}

/// The verdict of this layer's limits, and what they leave after this request.
fn judge(
    config: &Config,
    kind: RequestKind,
    head: &RequestHead<'_>,
    outer: &Session,
) -> (Verdict, Remaining) {
    let policy = config.policy_for(head);
    let verdict = match policy.judge(None, outer.idle_for(), outer.age()) {
        // Stricter limits keep nobody from logging out.
        _ if kind.is_logout() => Verdict::Live(outer.live.remaining()),
        verdict => verdict,
    };
    (verdict, policy.renewed(None, Duration::ZERO, outer.age()))
}

/// Several different session cookies: if exactly one is live, it is the session.
fn resolve_duplicates(
    store: &StoreHandle,
    kind: RequestKind,
    ids: Vec<SessionId<'static>>,
    policy: Policy,
    access: Access,
) -> Checked {
    let is_logout = kind.is_logout();
    if ids.len() > MAX_DUPLICATES {
        return Checked::Now(if is_logout { Admission::TooManyToLogOut } else { Admission::UNKNOWN });
    }
    let store = store.clone();
    Checked::Later(Box::pin(async move {
        let admission = only_live_of(&store, ids, &policy, access, is_logout).await;
        admission.unwrap_or(Admission::Failed)
    }))
}

async fn only_live_of(
    store: &StoreHandle,
    ids: Vec<SessionId<'static>>,
    policy: &Policy,
    access: Access,
    is_logout: bool,
) -> Result<Admission, StoreError> {
    let mut sessions: Vec<(SessionId<'static>, Live)> = Vec::new();
    let mut ended = Decision::UNKNOWN;
    for id in ids {
        if !store.config.is_plausible(&id) {
            continue;
        }
        // Whether the request's own limits refuse it is for the check to say.
        match store.ask(store.store().check(&id, &store.config.policy, Access::Peek)).await? {
            Decision::Ended { reason: EndReason::Unknown, .. } => {}
            found @ (Decision::Ended { .. } | Decision::Capped(_)) => ended = found,
            Decision::Live(live) => match sessions.iter_mut().find(|(_, known)| known.key == live.key) {
                // The newest id of a session is the one that goes on.
                Some(known) if live.id_age < known.1.id_age => *known = (id, live),
                Some(_) => {}
                None => sessions.push((id, live)),
            },
        }
    }
    if sessions.len() > 1 {
        return Ok(if is_logout {
            Admission::LogoutOfSeveral(sessions.iter().map(|(_, live)| live.key).collect())
        } else {
            Admission::SeveralLive { owned: sessions.iter().any(|(_, live)| live.owner.is_some()) }
        });
    }
    let Some((id, _)) = sessions.pop() else { return Ok(Admission::decided(ended, Access::Peek)) };
    let decision = store.ask(store.store().check(&id, policy, access)).await?;
    Ok(Admission::Decided { decision, access, one_of_several: Some(id) })
}

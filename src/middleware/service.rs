//! The way of a request in; `future.rs` is its way out.

use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Method, Request, Response, header::COOKIE};
use http_body::Body;
use tower_service::Service;

use crate::{
    cookie::{Had, Keep, SessionCookie},
    event,
    middleware::{
        body::SessionBody,
        config::{Config, OwnStore},
        future::ResponseFuture,
        logout::Logout,
        nest,
        observe::{Hold, Rare, Visit, VisitedSession},
        session::{Session, SharedWithAnswer},
    },
    request::{
        extract::{Found, Source},
        head::{OwnedHead, RequestHead},
    },
    respond::{self, body::RefusalBody},
    rules::{
        decision::{Access, Decision, Live},
        id::{Owner, SessionId, SessionKey},
        limits::{EndReason, Policy, Remaining, Verdict},
        new_session::NewSession,
    },
    store::answer::{Answer, BoxFuture, StoreError},
};

/// Of how many different session cookies in one request the live one is looked for.
pub(crate) const MAX_DUPLICATES: usize = 4;

/// A service whose requests need a live session, or none: what
/// [`SessionTimeoutLayer`](crate::SessionTimeoutLayer) makes.
#[derive(Clone)]
pub struct SessionTimeout<S> {
    inner: S,
    config: Arc<Config>,
}

impl<S> SessionTimeout<S> {
    pub(crate) fn new(inner: S, config: Arc<Config>) -> Self {
        Self { inner, config }
    }

    /// The inner service.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The inner service.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// The inner service.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S, P, Q> Service<Request<Q>> for SessionTimeout<S>
where
    S: Service<Request<Q>, Response = Response<P>> + Clone,
    P: Body<Data = Bytes>,
{
    type Response = Response<SessionBody<P>>;
    type Error = S::Error;
    type Future = ResponseFuture<S, Q>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Q>) -> Self::Future {
        let config = &self.config;
        let own = config.own_store(request.headers());
        let admitted = match check(config, &own, &mut request) {
            Checked::Now(admission) => admit(config, own, &mut request, admission),
            Checked::Later(check) => {
                // The readied service waits for the store; its clone has to be readied anew.
                let clone = self.inner.clone();
                let ready = std::mem::replace(&mut self.inner, clone);
                return ResponseFuture::checking(check, ready, request, Arc::clone(&self.config), own);
            }
        };
        match admitted {
            Ok(visit) => ResponseFuture::calling(self.inner.call(request), visit),
            Err(response) => {
                // What readiness reserved (a permit, say) is given back with the service that reserved it.
                let clone = self.inner.clone();
                self.inner = clone;
                ResponseFuture::refused(response)
            }
        }
    }
}

impl<S: fmt::Debug> fmt::Debug for SessionTimeout<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionTimeout").field("inner", &self.inner).finish_non_exhaustive()
    }
}

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
    Answered(Box<Response<RefusalBody>>),
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
fn check<Q>(config: &Arc<Config>, own: &OwnStore, request: &mut Request<Q>) -> Checked {
    #[cfg(feature = "client")]
    if let Some(endpoint) =
        config.client.as_ref().and_then(|client| client.endpoint(&RequestHead::of(request)))
    {
        return super::endpoints::answer(config, own, endpoint, request);
    }
    nest::enter(config, request);
    if let Some(verdict) = judge_outer_session(config, request) {
        return Checked::Now(Admission::Outer(verdict));
    }
    if let Some(verdict) = judge_session_of_same_id(config, request) {
        return Checked::Now(Admission::Outer(verdict));
    }
    look(config, own, request, |head| {
        let policy = config.policy_for(head);
        // A cap keeps nobody from logging out. But what it might have refused must not renew.
        if policy.cap.is_some() && config.is_logout(head) {
            return (config.policy, Access::Peek);
        }
        (policy, config.access(head))
    })
}

/// Asks the store about the request's session id.
pub(crate) fn look<Q>(
    config: &Arc<Config>,
    own: &OwnStore,
    request: &mut Request<Q>,
    how: impl FnOnce(&RequestHead<'_>) -> (Policy, Access),
) -> Checked {
    let found = match &config.source {
        Source::Cookie(cookie) => {
            let mut carried = cookie.carried(request.headers());
            if carried.disguised {
                cookie.strip(request.headers_mut(), Keep::Sessions);
                carried = cookie.carried(request.headers());
            }
            if carried.several {
                let (policy, access) = how(&RequestHead::of(request));
                return find_the_live_one(config, own, cookie, request, policy, access);
            }
            match carried.id {
                Some(id) => Found::Id(id),
                None if carried.is_broken => Found::Unusable,
                None => Found::Nothing,
            }
        }
        Source::Custom { extractor, .. } => extractor.extract(&RequestHead::of(request)),
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
    let (policy, access) = how(&RequestHead::of(request));
    let answer = config.store(own).check(&id, &policy, access);
    // Not for one that is known: what holds its session must not be in a future that may never be polled.
    if let Some(newcomer) = newcomer.filter(|_| !is_known(&answer)) {
        let (config, id) = (Arc::clone(config), id.into_owned());
        return Checked::Later(Box::pin(async move {
            let decision = known_or_adopted(&config, answer, &id, &newcomer, &policy, access).await;
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
            let config = Arc::clone(config);
            Checked::Later(Box::pin(async move {
                let decision = config.ask(pending).await;
                decision.map_or(Admission::Failed, |decision| Admission::decided(decision, access))
            }))
        }
    }
}

fn is_known(answer: &Answer<Decision>) -> bool {
    let Answer::Ready(Ok(decision)) = answer else { return false };
    !matches!(decision, Decision::Ended { reason: EndReason::Unknown, .. })
}

/// What the store decides about a session that was authenticated elsewhere: its first request here begins it.
async fn known_or_adopted(
    config: &Config,
    answer: Answer<Decision>,
    id: &SessionId<'_>,
    newcomer: &NewSession,
    policy: &Policy,
    access: Access,
) -> Result<Decision, StoreError> {
    let decision = config.ask(answer).await?;
    if !matches!(decision, Decision::Ended { reason: EndReason::Unknown, .. }) {
        return Ok(decision);
    }
    config.adopt(id, newcomer).await?;
    config.ask(config.store.check(id, policy, access)).await
}

/// The session a layer further out has admitted this request with, judged by this layer's limits.
fn judge_outer_session<Q>(config: &Config, request: &mut Request<Q>) -> Option<Verdict> {
    let head = RequestHead::of(request);
    let (verdict, left) = judge(config, &head, head.extensions().get::<Session>()?);
    if let Some(session) = request.extensions_mut().get_mut::<Session>() {
        session.live.remaining = session.live.remaining.min(left);
    }
    Some(verdict)
}

/// If the outer layer's session has the same id as this layer's, its check may have renewed what this layer is about to
/// ask for: what came too late by this layer's limits stays so.
fn judge_session_of_same_id<Q>(config: &Config, request: &mut Request<Q>) -> Option<Verdict> {
    let head = RequestHead::of(request);
    let at = nest::of_same_id(config, &head)?;
    let (verdict, _) = judge(config, &head, nest::session_at(at, &head)?);
    if matches!(verdict, Verdict::Live(_)) {
        return None;
    }
    nest::show(at, request.extensions_mut());
    Some(verdict)
}

/// The verdict of this layer's limits, and what they leave after this request.
fn judge(config: &Config, head: &RequestHead<'_>, outer: &Session) -> (Verdict, Remaining) {
    let policy = config.policy_for(head);
    let verdict = match policy.judge(None, outer.idle_for(), outer.age()) {
        // Stricter limits keep nobody from logging out.
        _ if config.is_logout(head) => Verdict::Live(outer.live.remaining),
        verdict => verdict,
    };
    (verdict, policy.renewed(None, Duration::ZERO, outer.age()))
}

/// Several different session cookies: if exactly one is live, it is the session.
fn find_the_live_one<Q>(
    config: &Arc<Config>,
    own: &OwnStore,
    cookie: &SessionCookie,
    request: &Request<Q>,
    policy: Policy,
    access: Access,
) -> Checked {
    let ids = cookie.ids(request.headers(), MAX_DUPLICATES + 1);
    let is_logout = config.is_logout(&RequestHead::of(request));
    if ids.len() > MAX_DUPLICATES {
        return Checked::Now(if is_logout { Admission::TooManyToLogOut } else { Admission::UNKNOWN });
    }
    let (config, own) = (Arc::clone(config), own.clone());
    Checked::Later(Box::pin(async move {
        let admission = only_live_of(&config, &own, ids, &policy, access, is_logout).await;
        admission.unwrap_or(Admission::Failed)
    }))
}

async fn only_live_of(
    config: &Config,
    own: &OwnStore,
    ids: Vec<SessionId<'static>>,
    policy: &Policy,
    access: Access,
    is_logout: bool,
) -> Result<Admission, StoreError> {
    let mut sessions: Vec<(SessionId<'static>, Live)> = Vec::new();
    let mut over = Decision::UNKNOWN;
    for id in ids {
        if !config.is_plausible(&id) {
            continue;
        }
        // Whether the request's own limits refuse it is for the check to say.
        match config.ask(config.store(own).check(&id, &config.policy, Access::Peek)).await? {
            Decision::Ended { reason: EndReason::Unknown, .. } => {}
            ended @ (Decision::Ended { .. } | Decision::Capped(_)) => over = ended,
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
    let Some((id, _)) = sessions.pop() else { return Ok(Admission::decided(over, Access::Peek)) };
    let decision = config.ask(config.store(own).check(&id, policy, access)).await?;
    Ok(Admission::Decided { decision, access, one_of_several: Some(id) })
}

/// Lets the request through, made ready for what comes after, or answers it.
pub(crate) fn admit<Q>(
    config: &Arc<Config>,
    own: OwnStore,
    request: &mut Request<Q>,
    admission: Admission,
) -> Result<Visit, Box<Response<RefusalBody>>> {
    let mut may_go_on = true;
    if let Admission::Outer(Verdict::Capped(_) | Verdict::Over(_)) = admission
        && let Some(session) = request.extensions().get::<Session>()
    {
        session.refuse_within();
    }
    let refused = match admission {
        Admission::Anonymous => return Ok(visit(config, own, request, VisitedSession::None)),
        Admission::Outer(Verdict::Live(_)) => return Ok(visit(config, own, request, VisitedSession::Outer)),
        Admission::Decided { decision: Decision::Live(live), access, one_of_several } => {
            let (Some(id), Source::Cookie(cookie)) = (one_of_several, &config.source) else {
                return Ok(visit_live(config, own, request, live, access));
            };
            let parts = cookie.parts(request.headers());
            cookie.strip(request.headers_mut(), Keep::Session(&id));
            let mut visit = visit_live(config, own, request, live, access);
            if let Some(had) = visit.rare.as_mut().and_then(|rare| rare.had.as_mut()) {
                had.parts = parts;
            }
            return Ok(visit);
        }
        Admission::LogoutOfSeveral(keys) => {
            let mut visit =
                visit(config, own.clone(), request, VisitedSession::Stripped { forget_cookie: false });
            config.source.remove(request);
            if let Some(logout) = visit.logout() {
                logout.add_several(config, &own, &keys);
            }
            return Ok(visit);
        }
        Admission::Failed => {
            if config.admit_on_store_failure {
                return Ok(visit(config, own, request, VisitedSession::Unchecked));
            }
            let head = RequestHead::of(request);
            if config.is_logout(&head) {
                // Dropped at once: nobody waits for it.
                Logout::new(&head).add_unknown(config, &head);
            }
            return Err(Box::new(respond::unavailable(*request.method() == Method::HEAD)));
        }
        #[cfg(feature = "client")]
        Admission::Answered(response) => return Err(response),
        Admission::Misconfigured(what) => {
            event::error(what);
            return Err(Box::new(respond::misconfigured(*request.method() == Method::HEAD)));
        }
        Admission::Decided { decision: Decision::Ended { reason, session, owner }, .. } => {
            Refused { reason, session, is_owned: owner.is_some(), owner, lives_on: false }
        }
        Admission::Decided { decision: Decision::Capped(reason), .. }
        | Admission::Outer(Verdict::Capped(reason) | Verdict::Over(reason)) => Refused::live(reason, true),
        Admission::SeveralLive { owned } => Refused::live(EndReason::Unknown, owned),
        Admission::TooManyToLogOut => {
            may_go_on = false;
            Refused { lives_on: false, ..Refused::live(EndReason::Unknown, false) }
        }
    };
    let head = RequestHead::of(request);
    may_go_on &= config.is_public(&head) || (!refused.is_owned && config.lets_ownerless_sessions_go_on);
    if may_go_on {
        let forget_cookie = !refused.lives_on && respond::is_navigation(&head);
        let stripped = visit(config, own, request, VisitedSession::Stripped { forget_cookie });
        if config.source.remove(request) {
            // The request goes on, but somebody may have stolen the id.
            let reason = refused.reason;
            if reason == EndReason::Superseded {
                refused.tell(config);
            }
            nest::ended(config, request.extensions_mut(), reason);
            return Ok(stripped);
        }
    }
    let Refused { reason, lives_on, .. } = refused;
    refused.tell(config);
    Err(Box::new(respond::ended(config, RequestHead::of(request), reason, lives_on)))
}

/// Why a request is not admitted with its session, and what is known of that.
struct Refused {
    reason: EndReason,
    session: Option<SessionKey>,
    owner: Option<Owner>,
    /// Somebody had logged in to it.
    is_owned: bool,
    /// Other requests may still be admitted with it.
    lives_on: bool,
}

impl Refused {
    fn live(reason: EndReason, is_owned: bool) -> Self {
        Self { reason, session: None, owner: None, is_owned, lives_on: true }
    }

    fn tell(self, config: &Config) {
        config.refused(self.reason, self.session, self.owner);
    }
}

fn visit_live<Q>(
    config: &Arc<Config>,
    own: OwnStore,
    request: &mut Request<Q>,
    live: Live,
    access: Access,
) -> Visit {
    config.hints.session();
    let hold = match access {
        _ if live.held => Hold::Store,
        Access::Hold => Hold::Layer { idle: live.remaining.idle },
        _ => Hold::Nothing,
    };
    let session = VisitedSession::Live { key: live.key, presented: live.presented, hold };
    let has_first_id = live.id_age >= live.age;
    #[cfg(feature = "client")]
    let told = config
        .client
        .is_some()
        .then(|| Box::new(crate::client::Told::of(&RequestHead::of(request), live.clone(), access)));
    let slid_cookie = config.slid_cookie(&RequestHead::of(request), &live, access);
    let shared = config.with_extension.then(|| {
        let shared = Arc::new(SharedWithAnswer::new(live.owner.clone()));
        request.extensions_mut().insert(Session {
            config: Arc::clone(config),
            own_store: own.clone(),
            live,
            shared: Arc::clone(&shared),
        });
        shared
    });
    let mut visit = visit(config, own, request, session);
    visit.shared = shared;
    if let Some(rare) = &mut visit.rare {
        rare.has_first_id = has_first_id;
    }
    if slid_cookie.is_some() {
        visit.rare.get_or_insert_default().slid_cookie = slid_cookie;
    }
    #[cfg(feature = "client")]
    {
        visit.told = told;
    }
    visit
}

fn visit<Q>(config: &Arc<Config>, own: OwnStore, request: &Request<Q>, session: VisitedSession) -> Visit {
    let head = RequestHead::of(request);
    let is_live = matches!(session, VisitedSession::Live { .. });
    let is_chunked = config.source.cookie().is_some_and(SessionCookie::is_chunked);
    let head_is_needed = config.fresh_login.is_some() && is_live;
    let logout = logout(config, &own, &head, session);
    let label = config.session_label.as_ref().and_then(|label| label(&head));
    let rare = (is_chunked || head_is_needed || logout.is_some() || label.is_some()).then(|| {
        let client_had = is_chunked.then(|| Had {
            given: request.headers().get_all(COOKIE).iter().filter(|_| is_live).cloned().collect(),
            parts: config.source.parts(request.headers()),
        });
        let head = head_is_needed.then(|| OwnedHead::of(&head));
        Box::new(Rare { logout, had: client_had, head, label, ..Rare::default() })
    });
    Visit {
        session,
        keeper: None,
        is_head: *head.method() == Method::HEAD,
        shared: None,
        #[cfg(feature = "client")]
        told: None,
        rare,
        config: Arc::clone(config),
        own_store: own,
    }
}

/// Not for a request without a session: a cross-site form, which `SameSite` sends without the cookie, must not make the
/// browser forget it (T71).
fn logout(
    config: &Arc<Config>,
    own: &OwnStore,
    head: &RequestHead<'_>,
    session: VisitedSession,
) -> Option<Logout> {
    if matches!(session, VisitedSession::None) || !config.is_logout(head) {
        return None;
    }
    let mut logout = Logout::new(head);
    let shown = head.extensions().get::<Session>();
    match session {
        VisitedSession::Live { key, .. } => {
            logout.add(config, own, key);
            logout.shows(shown);
        }
        VisitedSession::Outer => {
            if let Some(outer) = shown {
                logout.add_outer(outer);
            }
            logout.shows(shown);
        }
        VisitedSession::Unchecked => logout.add_unknown(config, head),
        VisitedSession::None | VisitedSession::Stripped { .. } => {}
    }
    Some(logout)
}

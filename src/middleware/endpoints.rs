//! The endpoints: each answers with what the store says, and none revives a session.

use std::{sync::Arc, time::Duration};

use http::{
    HeaderMap, HeaderValue, Request, Response, StatusCode,
    header::{ALLOW, CONTENT_TYPE, REFERER},
};
use serde::Serialize;
use tokio::time::Instant;

#[cfg(feature = "rescue")]
use crate::rescue::{kept::Forms, user::User};
use crate::{
    client::{Client, Endpoint, Operation, RESOURCE_POLICY},
    cookie::{MAX_DUPLICATES, Parts},
    middleware::{
        check::{Admission, Checked, look},
        config::Config,
        kind::RequestKind,
        logout::Logout,
        nest,
        session::Session,
        store_handle::StoreHandle,
    },
    request::head::RequestHead,
    respond::{self, body::RefusalBody},
    rules::{
        decision::{Access, Decision, Live},
        id::SessionId,
        limits::{EndReason, Policy},
    },
    store::answer::{BoxFuture, StoreError},
};

const IDLE_FOR: &str = "session-idle-for";
const USER: &str = "session-user";

/// What is known of the caller's session. Times are relative, for no page's clock can be trusted.
#[derive(Default, Serialize)]
struct Status {
    v: u8,
    state: &'static str,
    reason: Option<String>,
    limit: Option<&'static str>,
    expires_in_ms: Option<u128>,
    idle_ms: Option<u128>,
    absolute_in_ms: Option<u128>,
    warn_ms: Option<u128>,
    can_extend: bool,
    session: Option<String>,
    user: Option<String>,
}

impl Status {
    fn anonymous() -> Self {
        Self { v: 1, state: "anonymous", ..Self::default() }
    }

    /// A made-up id learns nothing (T63).
    fn ended(reason: EndReason) -> Self {
        let reason = (reason != EndReason::Unknown).then(|| reason.as_str().replace('-', "_"));
        Self { v: 1, state: "ended", reason, ..Self::default() }
    }

    /// As a look saw it.
    fn active(client: &Client, live: &Live) -> Self {
        let remaining = live.remaining();
        let is_absolute_first = remaining.absolute.is_some_and(|absolute| absolute <= remaining.idle);
        Self {
            v: 1,
            state: "active",
            reason: None,
            limit: Some(if is_absolute_first { "absolute" } else { "idle" }),
            expires_in_ms: Some(remaining.shortest().as_millis()),
            idle_ms: Some(live.idle_timeout(Access::Peek).as_millis()),
            absolute_in_ms: remaining.absolute.map(|absolute| absolute.as_millis()),
            warn_ms: Some(client.warn_before.as_millis()),
            can_extend: !is_absolute_first,
            session: Some(client.session_digest(live.key)),
            user: live.owner.as_ref().map(|owner| client.user_digest(owner)),
        }
    }

    fn of(client: &Client, decision: &Decision) -> Self {
        match decision {
            Decision::Live(live) => Self::active(client, live),
            Decision::Ended { reason, .. } | Decision::Capped(reason) => Self::ended(*reason),
        }
    }
}

/// What a request asks for, as far as its answer needs it.
struct Asked {
    operation: Operation,
    from_own_page: bool,
    /// `None`: not a number.
    idle_for: Option<Duration>,
    /// The page says in its requests where it is, so it will in the next page's.
    refers: bool,
    /// Of which user the page is; if it names several, it is of none.
    users: Vec<Vec<u8>>,
    ids: Vec<SessionId<'static>>,
    parts: Parts,
    #[cfg(feature = "rescue")]
    unsent: Option<crate::rescue::page::Asked>,
    /// Whose browser it is.
    #[cfg(feature = "rescue")]
    recognized: Option<User>,
}

impl Asked {
    fn is_of_another(&self, now: &Status) -> bool {
        self.users.iter().any(|user| now.user.as_ref().map(String::as_bytes) != Some(user))
    }
}

/// Answers a request to one of the endpoints.
pub(crate) fn answer<Q>(
    store: &StoreHandle,
    endpoint: Endpoint,
    kind: RequestKind,
    request: &mut Request<Q>,
) -> Checked {
    let head = RequestHead::of(request);
    let response = match endpoint {
        Endpoint::WrongMethod { allowed } => {
            let mut response = plain(StatusCode::METHOD_NOT_ALLOWED);
            response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
            finish(&store.config, response)
        }
        Endpoint::Unknown => finish(&store.config, plain(StatusCode::NOT_FOUND)),
        // The same for everybody: no session is looked at.
        Endpoint::Script(script) => script.answer(&head),
        Endpoint::Session(operation) => {
            return Checked::Later(ask_and_answer(store, operation, kind, request));
        }
    };
    Checked::Now(Admission::Answered(Box::new(response)))
}

fn ask_and_answer<Q>(
    store: &StoreHandle,
    operation: Operation,
    kind: RequestKind,
    request: &mut Request<Q>,
) -> BoxFuture<Admission> {
    let config = &store.config;
    nest::enter(config, request);
    let mut logout = Logout::unchecked(kind, store, &RequestHead::of(request));
    if let (Some(logout), Some(outer)) = (&mut logout, request.extensions().get::<Session>()) {
        logout.add_outer(outer);
    }
    // A layer further out, which has taken this request for activity, may look after the session.
    let outer = request.extensions().get::<Session>().cloned();
    let withdrawn = outer.as_ref().and_then(Session::withdraw_within);
    // Whatever this path's own limits are: it is asked for all pages.
    let keeper = outer.map_or_else(
        || KeptBy { store: store.clone(), policy: config.policy },
        |outer| KeptBy {
            policy: Policy { cap: Some(config.policy.limits), ..outer.policy() },
            store: outer.store,
        },
    );
    let looked = look(&keeper.store, kind, request, |_, _| (keeper.policy, Access::Passive));
    let head = RequestHead::of(request);
    let mut asked = Asked {
        operation,
        idle_for: idle_for(head.headers()),
        from_own_page: matches!(kind, RequestKind::Endpoint { from_own_page: true, .. }),
        refers: head.headers().contains_key(REFERER),
        users: head.headers().get_all(USER).iter().map(|user| user.as_bytes().to_vec()).collect(),
        ids: config.source.ids(&head, MAX_DUPLICATES),
        parts: config.source.parts(head.headers()),
        #[cfg(feature = "rescue")]
        unsent: config.rescue.as_ref().filter(|_| is_unsent(operation)).map(|rescue| rescue.asked(&head)),
        #[cfg(feature = "rescue")]
        recognized: config.recognized(&head),
    };
    let config = Arc::clone(config);
    Box::pin(async move {
        if let Some(withdrawn) = withdrawn
            && keeper.store.ask(withdrawn).await.is_err()
        {
            return Admission::Answered(Box::new(respond::unavailable()));
        }
        let admission = match looked {
            Checked::Now(admission) => admission,
            Checked::Later(check) => {
                let asking = Instant::now();
                let admission = check.await;
                // What the page said was so when its request came.
                asked.idle_for = asked.idle_for.map(|idle| idle.saturating_add(asking.elapsed()));
                admission
            }
        };
        if let Some(logout) = &mut logout {
            logout.add_admitted(&keeper.store, &admission);
        }
        let response = match respond_to(&config, &keeper, &asked, admission, logout).await {
            Ok(response) => finish(&config, response),
            // Also where the application is admitted without a store: the page waits, and asks again.
            Err(Unknown) => respond::unavailable(),
        };
        Admission::Answered(Box::new(response))
    })
}

/// Nobody knows of the session at the moment.
struct Unknown;

/// The layer that looks after the session, and the limits it is asked by.
struct KeptBy {
    store: StoreHandle,
    policy: Policy,
}

async fn respond_to(
    config: &Arc<Config>,
    keeper: &KeptBy,
    asked: &Asked,
    admission: Admission,
    logout: Option<Logout>,
) -> Result<Response<RefusalBody>, Unknown> {
    let Some(client) = &config.client else { return Ok(plain(StatusCode::NOT_FOUND)) };
    if !asked.from_own_page && !is_for_anybody(asked.operation) {
        return Ok(plain(StatusCode::FORBIDDEN));
    }
    let (decision, id) = match admission {
        Admission::Anonymous => (None, None),
        Admission::Decided { decision, one_of_several, .. } => {
            (Some(decision), one_of_several.or_else(|| asked.ids.first().map(SessionId::borrowed)))
        }
        Admission::SeveralLive { .. } | Admission::LogoutOfSeveral(_) => (Some(Decision::UNKNOWN), None),
        // What is to end is remembered.
        _ => return Err(Unknown),
    };
    match asked.operation {
        Operation::Status => Ok(json(StatusCode::OK, &decision_status(client, decision.as_ref()))),
        Operation::DraftKey => Ok(match &decision {
            Some(Decision::Live(live)) if asked.is_of_another(&Status::active(client, live)) => {
                json(StatusCode::CONFLICT, &Status::active(client, live))
            }
            Some(Decision::Live(Live { owner: Some(owner), .. })) => {
                let key = client.draft_key(owner);
                json(StatusCode::OK, &serde_json::json!({ "v": 1, "key": key, "refers": asked.refers }))
            }
            _ => plain(StatusCode::FORBIDDEN),
        }),
        Operation::KeepAlive => {
            let (Some(Decision::Live(live)), Some(id)) = (&decision, id) else {
                return Ok(json(StatusCode::OK, &decision_status(client, decision.as_ref())));
            };
            let now = Status::active(client, live);
            if asked.is_of_another(&now) {
                return Ok(json(StatusCode::CONFLICT, &now));
            }
            let Some(idle_for) = asked.idle_for else { return Ok(plain(StatusCode::BAD_REQUEST)) };
            let renewed = renew(keeper, &id, idle_for).await.map_err(|_| Unknown)?;
            let mut response = json(StatusCode::OK, &Status::of(client, &renewed));
            keeper.store.leave_with_client(None, response.headers_mut());
            Ok(response)
        }
        Operation::SignOut => {
            let ended = match logout {
                Some(mut logout) if logout.is_of_any() => {
                    logout.end().await.map_err(|_| Unknown)?;
                    Status::ended(EndReason::SignedOut)
                }
                _ => decision_status(client, decision.as_ref()),
            };
            let mut response = json(StatusCode::OK, &ended);
            #[cfg(feature = "rescue")]
            if let Some(rescue) = &config.rescue {
                let owner = match &decision {
                    Some(Decision::Live(Live { owner, .. }) | Decision::Ended { owner, .. }) => {
                        owner.as_ref()
                    }
                    _ => None,
                };
                rescue.cookies.remove_from_browser(response.headers_mut());
                config.discard_forms(config.user(owner).or(asked.recognized)).await;
            }
            if let (Some(cookie), Some(_)) = (config.source.cookie(), decision) {
                cookie.remove_from_browser(response.headers_mut(), asked.parts);
            }
            Ok(response)
        }
        #[cfg(feature = "rescue")]
        Operation::ShowUnsent | Operation::DiscardUnsent => unsent(config, asked, decision).await,
    }
}

/// Who may ask that is on no page of this site: a program; and a user who comes back from where they logged in.
fn is_for_anybody(operation: Operation) -> bool {
    match operation {
        Operation::Status => true,
        #[cfg(feature = "rescue")]
        Operation::ShowUnsent => true,
        _ => false,
    }
}

#[cfg(feature = "rescue")]
fn is_unsent(operation: Operation) -> bool {
    matches!(operation, Operation::ShowUnsent | Operation::DiscardUnsent)
}

/// The page with a form that was not sent, for its user alone.
#[cfg(feature = "rescue")]
async fn unsent(
    config: &Config,
    asked: &Asked,
    decision: Option<Decision>,
) -> Result<Response<RefusalBody>, Unknown> {
    let (Some(rescue), Some(unsent)) = (&config.rescue, &asked.unsent) else {
        return Ok(plain(StatusCode::NOT_FOUND));
    };
    let Some(Decision::Live(live)) = decision else {
        let Some(login) = &config.refusals.login_path else { return Ok(plain(StatusCode::UNAUTHORIZED)) };
        return Ok(respond::see_other(&respond::login_location(login.location(), &rescue.page)));
    };
    let Some(user) = live.owner.as_ref().map(|owner| rescue.user(owner)) else {
        return Ok(rescue.show(unsent, &Forms::default()));
    };
    let failed = |error| {
        config.store_failed(&error);
        Unknown
    };
    if let (Operation::DiscardUnsent, Some(form)) = (asked.operation, &unsent.form) {
        rescue.discard(user, form).await.map_err(failed)?;
        return Ok(respond::see_other(&rescue.page));
    }
    let forms = rescue.forms(user).await.map_err(failed)?;
    let is_there = forms.all.iter().any(|form| Some(&form.id) == unsent.form.as_ref());
    Ok(match forms.all.first() {
        Some(first) if !is_there => respond::see_other(&rescue.page_of(first)),
        _ => rescue.show(unsent, &forms),
    })
}

fn decision_status(client: &Client, decision: Option<&Decision>) -> Status {
    decision.map_or_else(Status::anonymous, |decision| Status::of(client, decision))
}

/// Reports the time left as a look would: `idle_for` is not zero, but what the page said.
async fn renew(keeper: &KeptBy, id: &SessionId<'_>, idle_for: Duration) -> Result<Decision, StoreError> {
    let KeptBy { store, policy } = keeper;
    let access = Access::RenewAgo(idle_for);
    match store.ask(store.store().check(id, policy, access)).await? {
        Decision::Live(_) => store.ask(store.store().check(id, policy, Access::Peek)).await,
        ended => Ok(ended),
    }
}

/// Of several, the longest: activity is what a page can vouch for.
fn idle_for(headers: &HeaderMap) -> Option<Duration> {
    headers.get_all(IDLE_FOR).iter().try_fold(Duration::ZERO, |longest, ms| {
        let ms = ms.to_str().ok()?.parse().ok()?;
        Some(longest.max(Duration::from_millis(ms)))
    })
}

fn json(code: StatusCode, body: &impl Serialize) -> Response<RefusalBody> {
    let body = serde_json::to_vec(body).unwrap_or_default();
    let mut response = Response::new(RefusalBody::text(body));
    *response.status_mut() = code;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn plain(code: StatusCode) -> Response<RefusalBody> {
    let mut response = Response::new(RefusalBody::text(code.canonical_reason().unwrap_or_default()));
    *response.status_mut() = code;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

fn finish(config: &Config, mut response: Response<RefusalBody>) -> Response<RefusalBody> {
    let headers = response.headers_mut();
    respond::protect(headers);
    headers.insert(RESOURCE_POLICY, HeaderValue::from_static("same-origin"));
    for name in config.source.vary() {
        respond::vary_by(headers, name);
    }
    respond::with_length(response)
}

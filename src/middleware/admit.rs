//! Admit: a request goes on with its session, or without one, or is answered.

use std::sync::Arc;

use http::{Method, Request, Response, header::COOKIE};

use crate::{
    cookie::{Had, Keep, SessionCookie},
    event,
    middleware::{
        check::Admission,
        config::Config,
        logout::Logout,
        nest,
        observe::{Hold, Rare, Visit, VisitedSession},
        session::{Session, SharedWithAnswer},
        store_handle::StoreHandle,
    },
    request::{
        extract::Source,
        head::{OwnedHead, RequestHead},
    },
    respond::{self, body::RefusalBody},
    rules::{
        decision::{Access, Decision, Live},
        id::{Owner, SessionKey},
        limits::{EndReason, Verdict},
    },
};

/// Lets the request through, made ready for what comes after, or answers it.
#[inline]
pub(crate) fn admit<Q>(
    store: StoreHandle,
    request: &mut Request<Q>,
    admission: Admission,
) -> Result<Visit, Box<Response<RefusalBody>>> {
    match admission {
        Admission::Anonymous => Ok(visit(store, request, VisitedSession::None)),
        Admission::Decided { decision: Decision::Live(live), access, one_of_several: None } => {
            Ok(visit_live(store, request, live, access))
        }
        admission => admit_or_answer(store, request, admission),
    }
}

fn admit_or_answer<Q>(
    store: StoreHandle,
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
        Admission::Anonymous => return Ok(visit(store, request, VisitedSession::None)),
        Admission::Outer(Verdict::Live(_)) => return Ok(visit(store, request, VisitedSession::Outer)),
        Admission::Decided { decision: Decision::Live(live), access, one_of_several } => {
            let (Some(id), Source::Cookie(cookie)) = (one_of_several, &store.config.source) else {
                return Ok(visit_live(store, request, live, access));
            };
            let parts = cookie.parts(request.headers());
            cookie.strip(request.headers_mut(), Keep::Session(&id));
            let mut visit = visit_live(store, request, live, access);
            if let Some(had) = visit.rare.as_mut().and_then(|rare| rare.had.as_mut()) {
                had.parts = parts;
            }
            return Ok(visit);
        }
        Admission::LogoutOfSeveral(keys) => {
            let mut visit = visit(store.clone(), request, VisitedSession::Stripped { forget_cookie: false });
            store.config.source.remove(request);
            if let Some(logout) = visit.logout() {
                logout.add_several(&store, &keys);
            }
            return Ok(visit);
        }
        Admission::Failed => {
            if store.config.admit_on_store_failure {
                return Ok(visit(store, request, VisitedSession::Unchecked));
            }
            let head = RequestHead::of(request);
            if store.config.is_logout(&head) {
                // Dropped at once: nobody waits for it.
                Logout::new(&head).add_unknown(&store, &head);
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
    let config = Arc::clone(&store.config);
    let head = RequestHead::of(request);
    may_go_on &= config.is_public(&head) || (!refused.is_owned && config.lets_ownerless_sessions_go_on);
    if may_go_on {
        // One that is superseded may be followed in the browser by that of a new log-in already.
        let forget_cookie =
            !refused.lives_on && refused.reason != EndReason::Superseded && respond::is_navigation(&head);
        let stripped = visit(store, request, VisitedSession::Stripped { forget_cookie });
        if config.source.remove(request) {
            // The request goes on, but somebody may have stolen the id.
            let reason = refused.reason;
            if reason == EndReason::Superseded {
                refused.tell(&config);
            }
            nest::ended(&config, request.extensions_mut(), reason);
            return Ok(stripped);
        }
    }
    let Refused { reason, lives_on, .. } = refused;
    refused.tell(&config);
    let head = RequestHead::of(request);
    Err(Box::new(respond::ended(&config.refusals, &config.source, head, reason, lives_on)))
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

#[inline]
fn visit_live<Q>(store: StoreHandle, request: &mut Request<Q>, live: Live, access: Access) -> Visit {
    let config = &*store.config;
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
            store: store.clone(),
            live,
            cap: None,
            shared: Arc::clone(&shared),
        });
        shared
    });
    let mut visit = visit(store, request, session);
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

#[inline]
fn visit<Q>(store: StoreHandle, request: &Request<Q>, session: VisitedSession) -> Visit {
    let config = &*store.config;
    let head = RequestHead::of(request);
    let is_live = matches!(session, VisitedSession::Live { .. });
    let is_chunked = config.source.cookie().is_some_and(SessionCookie::is_chunked);
    let head_is_needed = config.fresh_login.is_some() && is_live;
    let logout = logout(&store, &head, session);
    let label = config.session_label.as_ref().and_then(|label| label(&head));
    let is_no_logout = config.is_no_logout(&head);
    let outer = match session {
        VisitedSession::Outer => {
            config.hints.inner_layer(config.outermost_only);
            head.extensions().get::<Session>().filter(|_| !config.end_streams.is_empty()).cloned()
        }
        _ => None,
    };
    let is_rare = is_chunked
        || head_is_needed
        || is_no_logout
        || logout.is_some()
        || label.is_some()
        || outer.is_some();
    let rare = is_rare.then(|| {
        let client_had = is_chunked.then(|| Had {
            given: request.headers().get_all(COOKIE).iter().filter(|_| is_live).cloned().collect(),
            parts: config.source.parts(request.headers()),
        });
        let head = head_is_needed.then(|| OwnedHead::of(&head));
        Box::new(Rare { logout, had: client_had, head, label, is_no_logout, outer, ..Rare::default() })
    });
    Visit {
        session,
        keeper: None,
        is_head: *head.method() == Method::HEAD,
        shared: None,
        #[cfg(feature = "client")]
        told: None,
        rare,
        store,
    }
}

/// Not for a request without a session: a cross-site form, which `SameSite` sends without the cookie, must not make the
/// browser forget it (T71).
fn logout(store: &StoreHandle, head: &RequestHead<'_>, session: VisitedSession) -> Option<Logout> {
    if matches!(session, VisitedSession::None) || !store.config.is_logout(head) {
        return None;
    }
    let mut logout = Logout::new(head);
    let shown = head.extensions().get::<Session>();
    match session {
        VisitedSession::Live { key, .. } => {
            logout.add(store, key);
            logout.shows(shown);
        }
        VisitedSession::Outer => {
            if let Some(outer) = shown {
                logout.add_outer(outer);
            }
            logout.shows(shown);
        }
        VisitedSession::Unchecked => logout.add_unknown(store, head),
        VisitedSession::None | VisitedSession::Stripped { .. } => {}
    }
    Some(logout)
}

//! Admit: a request goes on with its session, or without one, or is answered.

use std::sync::Arc;

use http::{Method, Request, Response, header::COOKIE};

use crate::{
    cookie::{ClientCookies, CookieSource, Keep},
    event::{self, SessionEvent},
    middleware::{
        admitted::{Admitted, Hold, Rare, RequestSession},
        check::Admission,
        config::Config,
        kind::RequestKind,
        logout::Logout,
        nest,
        session::{Session, SharedWithAnswer},
        store_handle::StoreHandle,
    },
    request::{
        extract::Source,
        head::{OwnedHead, RequestHead},
    },
    respond::{self, body::RefusalBody, negotiation::Negotiation},
    rules::{
        decision::{Access, Decision, Live},
        id::{Owner, SessionKey},
        limits::{EndReason, Verdict},
    },
};
#[cfg(feature = "rescue")]
use crate::{request::head::Initiator, rescue::user::User, respond::return_to::Seen};

/// Lets the request through, made ready for what comes after, or answers it.
#[inline]
pub(crate) fn admit<Q>(
    store: StoreHandle,
    kind: RequestKind,
    request: &mut Request<Q>,
    admission: Admission,
) -> Result<Admitted, Box<Response<RefusalBody>>> {
    match admission {
        // Nearly every request: the rest is kept out of their way.
        Admission::Decided { decision: Decision::Live(live), access, one_of_several: None } => {
            event::passed(if access.renews() { "live, renewed" } else { "live, passive" });
            Ok(admit_live(store, kind, request, live, access))
        }
        admission => admit_or_answer(store, kind, request, admission).map_err(|response| {
            let is_head = *request.method() == Method::HEAD;
            if is_head { Box::new(respond::without_body(*response)) } else { response }
        }),
    }
}

fn admit_or_answer<Q>(
    store: StoreHandle,
    kind: RequestKind,
    request: &mut Request<Q>,
    admission: Admission,
) -> Result<Admitted, Box<Response<RefusalBody>>> {
    let mut may_go_on = true;
    #[cfg(feature = "rescue")]
    let is_capped = matches!(admission, Admission::Decided { decision: Decision::Capped(_), .. });
    #[cfg(feature = "rescue")]
    if matches!(admission, Admission::Outer(_)) {
        // It is for the layer further out to know whose it is.
        store.config.note(&RequestHead::of(request), || Seen::Live(None));
    }
    if let Admission::Outer(Verdict::Capped(_) | Verdict::Ended(_)) = admission
        && let Some(session) = request.extensions().get::<Session>()
    {
        session.refuse_within();
    }
    let refused = match admission {
        Admission::Anonymous => {
            event::passed("without a session id");
            return Ok(admitted(store, kind, request, RequestSession::None));
        }
        Admission::Outer(Verdict::Live(_)) => {
            event::passed("live, to a layer further out");
            return Ok(admitted(store, kind, request, RequestSession::Outer));
        }
        Admission::Decided { decision: Decision::Live(live), access, one_of_several } => {
            let (Some(id), Source::Cookie(cookie)) = (one_of_several, &store.config.source) else {
                return Ok(admit_live(store, kind, request, live, access));
            };
            event::passed("live, the one of several ids");
            let parts = cookie.parts(request.headers());
            cookie.strip(request.headers_mut(), Keep::Session(&id));
            let mut admitted = admit_live(store, kind, request, live, access);
            if let Some(client) = admitted.rare.as_mut().and_then(|rare| rare.client_cookies.as_mut()) {
                client.parts = parts;
            }
            return Ok(admitted);
        }
        Admission::LogoutOfSeveral(keys) => {
            event::passed("a log-out of several sessions, without them");
            let mut admitted =
                admitted(store.clone(), kind, request, RequestSession::Stripped { forget_cookie: false });
            store.config.source.remove(request);
            if let Some(logout) = admitted.logout() {
                logout.add_several(&store, &keys);
            }
            return Ok(admitted);
        }
        Admission::Failed => {
            if store.config.admit_on_store_failure {
                event::passed("unchecked, for the store failed");
                #[cfg(feature = "rescue")]
                store.config.note(&RequestHead::of(request), || Seen::Live(None));
                return Ok(admitted(store, kind, request, RequestSession::Unchecked));
            }
            // Nobody waits for it.
            drop(Logout::unchecked(kind, &store, &RequestHead::of(request)));
            return Err(Box::new(respond::unavailable()));
        }
        #[cfg(feature = "client")]
        Admission::Answered(response) => return Err(response),
        Admission::Misconfigured(what) => {
            store.config.tell(&SessionEvent::Misconfigured { hint: what.to_owned(), fails: true });
            return Err(Box::new(respond::misconfigured()));
        }
        Admission::Decided { decision: Decision::Ended { reason, session, owner }, .. } => {
            Refused { reason, session, is_owned: owner.is_some(), owner, lives_on: false }
        }
        Admission::Decided { decision: Decision::Capped(reason), .. }
        | Admission::Outer(Verdict::Capped(reason) | Verdict::Ended(reason)) => Refused::live(reason, true),
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
        let forget_cookie = !refused.lives_on
            && refused.reason != EndReason::Superseded
            && Negotiation::of(&head).is_navigation;
        let stripped = admitted(store, kind, request, RequestSession::Stripped { forget_cookie });
        if config.source.remove(request) {
            // The request goes on, but somebody may have stolen the id.
            let reason = refused.reason;
            if reason == EndReason::Superseded {
                refused.tell(&config);
            }
            event::passed("public, without the id of its session, which has ended");
            nest::ended(&config, request.extensions_mut(), reason);
            return Ok(stripped);
        }
    }
    let Refused { reason, lives_on, .. } = refused;
    let head = RequestHead::of(request);
    #[cfg(feature = "rescue")]
    config.note(&head, || {
        let (is_known, owner) = (refused.session.is_some(), refused.owner.clone());
        if is_capped { Seen::Capped } else { Seen::Refused { is_known, owner } }
    });
    refused.tell(&config);
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
fn admit_live<Q>(
    store: StoreHandle,
    kind: RequestKind,
    request: &mut Request<Q>,
    live: Live,
    access: Access,
) -> Admitted {
    let config = &*store.config;
    config.hints.session();
    let hold = match access {
        _ if live.held => Hold::Store,
        Access::Hold => Hold::Layer { idle: live.remaining().idle },
        _ => Hold::Nothing,
    };
    let session = RequestSession::Live { key: live.key, presented: live.presented, hold };
    let head = RequestHead::of(request);
    #[cfg(feature = "rescue")]
    config.note(&head, || Seen::Live(live.owner.clone()));
    let has_first_id = live.id_age >= live.age;
    #[cfg(feature = "client")]
    let page_info =
        config.client.is_some().then(|| Box::new(crate::client::PageInfo::of(&head, live.clone(), access)));
    #[cfg(feature = "rescue")]
    let page_info = page_info.map(|mut info| {
        info.unintroduced = config.unintroduced(&head, &live);
        info
    });
    let renewed_cookie = config.renewed_cookie(&head, &live, access);
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
    let mut admitted = admitted(store, kind, request, session);
    admitted.shared = shared;
    if let Some(rare) = &mut admitted.rare {
        rare.has_first_id = has_first_id;
    }
    if renewed_cookie.is_some() {
        admitted.rare.get_or_insert_default().renewed_cookie = renewed_cookie;
    }
    #[cfg(feature = "client")]
    {
        admitted.page_info = page_info;
    }
    #[cfg(feature = "rescue")]
    admitted.name_leaver();
    admitted
}

#[inline]
fn admitted<Q>(
    store: StoreHandle,
    kind: RequestKind,
    request: &Request<Q>,
    session: RequestSession,
) -> Admitted {
    let config = &*store.config;
    let head = RequestHead::of(request);
    let is_live = matches!(session, RequestSession::Live { .. });
    let is_chunked = config.source.cookie().is_some_and(CookieSource::is_chunked);
    let head_is_needed = (config.fresh_login.is_some() && is_live) || config.owner_from.is_some();
    let logout = logout(&store, kind, &head, session);
    let label = config.session_label.as_ref().and_then(|label| label(&head));
    let is_no_logout = matches!(kind, RequestKind::NoLogout);
    let outer = match session {
        RequestSession::Outer => {
            config.hints.inner_layer(config.outermost_only);
            head.extensions().get::<Session>().filter(|_| !config.end_streams.is_empty()).cloned()
        }
        _ => None,
    };
    #[cfg(feature = "rescue")]
    let leaver = leaver(config, kind, &head, session);
    // A log-out that comes too late.
    #[cfg(feature = "rescue")]
    let logout = logout.or_else(|| Logout::of(kind).filter(|it| leaver.is_some() && !it.may_be_forged()));
    #[cfg(feature = "rescue")]
    let logout = logout.map(|mut logout| {
        logout.by(&store.config, leaver);
        logout
    });
    #[cfg(feature = "rescue")]
    let has_leaver = leaver.is_some();
    #[cfg(not(feature = "rescue"))]
    let has_leaver = false;
    let is_rare = is_chunked
        || head_is_needed
        || is_no_logout
        || logout.is_some()
        || label.is_some()
        || outer.is_some()
        || has_leaver;
    let rare = is_rare.then(|| {
        let client_cookies = is_chunked.then(|| ClientCookies {
            given: request.headers().get_all(COOKIE).iter().filter(|_| is_live).cloned().collect(),
            parts: config.source.parts(request.headers()),
        });
        let head = head_is_needed.then(|| OwnedHead::of(&head));
        Box::new(Rare {
            logout,
            client_cookies,
            head,
            label,
            outer,
            is_no_logout,
            #[cfg(feature = "rescue")]
            leaver,
            ..Rare::default()
        })
    });
    Admitted {
        session,
        guard: None,
        is_head: *head.method() == Method::HEAD,
        shared: None,
        #[cfg(feature = "client")]
        page_info: None,
        rare,
        store,
    }
}

/// Whose browser a request without a live session comes from.
#[cfg(feature = "rescue")]
fn leaver(
    config: &Config,
    kind: RequestKind,
    head: &RequestHead<'_>,
    session: RequestSession,
) -> Option<User> {
    let is_without = matches!(session, RequestSession::None | RequestSession::Stripped { .. });
    // A page that merely clears what is left of a session is no log-out.
    let may_sign_out = kind.is_logout() || !head.method().is_safe();
    let is_elsewhere = head.initiator() == Initiator::Elsewhere;
    if is_without && may_sign_out && !is_elsewhere { config.recognized(head) } else { None }
}

/// Not for a request without a session: a cross-site form, which `SameSite` sends without the cookie, must not make the
/// browser forget it (T71).
fn logout(
    store: &StoreHandle,
    kind: RequestKind,
    head: &RequestHead<'_>,
    session: RequestSession,
) -> Option<Logout> {
    let mut logout = Logout::of(kind).filter(|_| !matches!(session, RequestSession::None))?;
    let shown = head.extensions().get::<Session>();
    match session {
        RequestSession::Live { key, .. } => {
            logout.add(store, key);
            logout.shows(shown);
        }
        RequestSession::Outer => {
            if let Some(outer) = shown {
                logout.add_outer(outer);
            }
            logout.shows(shown);
        }
        RequestSession::Unchecked => logout.add_unknown(store, head),
        RequestSession::None | RequestSession::Stripped { .. } => {}
    }
    Some(logout)
}

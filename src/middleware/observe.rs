//! What an answer says happened to the session, and settling it with the store.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    task::Context,
    time::Duration,
};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, Response,
    header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, SET_COOKIE},
};
use http_body::Body;

use crate::{
    cookie::{Had, Parts, Said, SessionCookie, SlidCookie, speaks_of_cookies},
    middleware::{
        body::SessionBody,
        hints,
        keep::Keeper,
        logout::Logout,
        nest,
        session::{Session, SharedWithAnswer, until_over},
        store_handle::StoreHandle,
    },
    request::head::OwnedHead,
    respond::{
        self,
        caching::{is_for_shared_caches, keep_from_shared_caches},
    },
    rules::{
        decision::{Access, Decision, Live},
        id::{IdTag, Label, SessionId, SessionKey},
        limits::{EndReason, Verdict},
        new_session::NewSession,
    },
    store::answer::{BoxFuture, Restarted, Rotated, Started},
};

/// A request that was let through, as its answer will need it. Dropping it lets go of its session.
pub(crate) struct Visit {
    pub(crate) store: StoreHandle,
    pub(crate) session: VisitedSession,
    /// As long as the application takes its time, if the layer is to hold the session.
    pub(crate) keeper: Option<Box<Keeper>>,
    pub(crate) is_head: bool,
    /// With the request's [`Session`](crate::Session), if it has one.
    pub(crate) shared: Option<Arc<SharedWithAnswer>>,
    /// What the page is told of; and what the store was asked for.
    #[cfg(feature = "client")]
    pub(crate) told: Option<Box<crate::client::Told>>,
    /// A larger visit would cost every request.
    pub(crate) rare: Option<Box<Rare>>,
}

/// What few requests have.
#[derive(Default)]
pub(crate) struct Rare {
    /// A log-out, of a session.
    pub(crate) logout: Option<Logout>,
    /// The session cookie is to be set again.
    pub(crate) slid_cookie: Option<SlidCookie>,
    /// Of a session cookie that may be chunked, what the client has of it.
    pub(crate) had: Option<Had>,
    /// This request was no activity of its session: a layer further in says so.
    pub(crate) withdrawal: Option<Live>,
    /// Kept only where `fresh_login` will ask for it.
    pub(crate) head: Option<OwnedHead>,
    /// The session has had this id since it began.
    pub(crate) has_first_id: bool,
    /// Of a session that the answer begins.
    pub(crate) label: Option<Label>,
    /// The session of a layer further out, if its answers may have to end with it.
    pub(crate) outer: Option<Session>,
    /// Of a request that is no log-out, though it looks like one: what its answer removes stays.
    pub(crate) is_no_logout: bool,
}

#[derive(Clone, Copy)]
pub(crate) enum VisitedSession {
    /// The request carried no id.
    None,
    /// It went on without its id, which was over.
    Stripped {
        /// On a navigation: a background request's late answer could remove the cookie of a new log-in.
        forget_cookie: bool,
    },
    Live {
        key: SessionKey,
        presented: IdTag,
        hold: Hold,
    },
    /// The store could not say, and the request was let through all the same.
    Unchecked,
    /// A layer further out looks after this session.
    Outer,
}

/// What keeps the session from ending as idle while its request is under way.
#[derive(Clone, Copy)]
pub(crate) enum Hold {
    /// Nothing: the request is passive.
    Nothing,
    Store,
    /// The layer, for the store cannot; `idle` is what the session had left.
    Layer {
        idle: Duration,
    },
}

/// What to do with the answer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Settled {
    /// Its session cookie may leave.
    Pass,
    /// Its session cookie must not leave: its value is not live.
    DropCookie,
    /// Its session cookie is replaced by a removal.
    RemoveCookie,
    /// The store could not do what the answer promises.
    Unavailable,
    /// The owner has as many sessions as allowed.
    TooManySessions,
}

/// What the answer says happened.
pub(crate) enum Happened {
    /// A value was set: by a log-in or not.
    Set {
        value: Vec<u8>,
        login: Option<Login>,
    },
    /// The user proved who they are, and the session keeps its id.
    Reauthenticated(Box<NewSession>),
    SignedOut,
    /// The application removes its cookie from a request that is no log-out, though it looks like one.
    NoLogOut,
    /// Nothing, and it is time to set the session cookie again.
    Slid,
    /// As signed out, and the application's session cookie is replaced.
    LoggedOut,
    /// Nothing; and the request was no activity after all.
    RefusedWithin,
}

/// How an answer is known for a log-in.
#[derive(Clone)]
pub(crate) enum Login {
    /// The application said so.
    Announced(NewSession),
    /// `fresh_login` recognized it. Without a new id it is none.
    Recognized,
}

impl Drop for Visit {
    fn drop(&mut self) {
        let is_released =
            || self.shared.as_ref().is_some_and(|shared| matches!(shared.passive_within.get(), Some(None)));
        if let VisitedSession::Live { key, hold: Hold::Store, .. } = self.session
            && !is_released()
        {
            self.store.store().release(key);
        }
    }
}

impl Visit {
    /// While the application takes its time.
    pub(crate) fn keep(&mut self, cx: &mut Context<'_>) {
        let VisitedSession::Live { key, hold: Hold::Layer { idle }, .. } = self.session else { return };
        if self.keeper.is_none() {
            self.keeper = Keeper::new(&self.store, key, idle).map(Box::new);
        }
        if let Some(keeper) = &mut self.keeper {
            keeper.poll(cx);
        }
    }

    /// Reads the answer. `None`: nothing happened, and nothing is to be done.
    pub(crate) fn observe<P>(&mut self, response: &mut Response<P>) -> Option<Happened> {
        if let Some(logout) = self.logout()
            && logout.is_granted(response)
        {
            return Some(Happened::LoggedOut);
        }
        if matches!(self.session, VisitedSession::Outer) {
            return None;
        }
        self.take_refusal();
        self.take_passivity();
        let said = match self.store.config.source.cookie() {
            Some(cookie) if speaks_of_cookies(response.headers()) => {
                self.read_cookies(cookie, response.headers())
            }
            _ => Said::Nothing,
        };
        self.watch_lifetime(&said);
        let reauthentication = match said {
            Said::Nothing => self.reauthentication(response),
            Said::Set(_) | Said::Removed => None,
        };
        match said {
            Said::Set(value) => {
                let announced = nest::announced_with_cookie(response.extensions_mut()).map(Login::Announced);
                let login = announced.or_else(|| self.is_fresh_login(response).then_some(Login::Recognized));
                Some(Happened::Set { value, login })
            }
            Said::Removed if self.rare.as_ref().is_some_and(|rare| rare.is_no_logout) => {
                Some(Happened::NoLogOut)
            }
            Said::Removed => Some(Happened::SignedOut),
            Said::Nothing if reauthentication.is_some() => reauthentication.map(Happened::Reauthenticated),
            Said::Nothing if self.is_withdrawn() => Some(Happened::RefusedWithin),
            Said::Nothing => (self.slid_cookie().is_some() && !is_for_shared_caches(response.headers()))
                .then_some(Happened::Slid),
        }
    }

    /// Whether an announced log-in that sets no cookie of this layer's is its session's. What is not stays in the answer,
    /// for layers further out.
    fn reauthentication<P>(&self, response: &mut Response<P>) -> Option<Box<NewSession>> {
        let answer = response.extensions();
        let announced = answer.get::<NewSession>().filter(|_| !nest::is_of_cookie(answer))?;
        let sets_another = hints::sets_session_cookie(response.headers());
        if !matches!(self.session, VisitedSession::Live { .. }) {
            if !sets_another {
                self.store.config.hints.login_without_cookie();
            }
            return None;
        }
        if sets_another {
            self.store.config.hints.ambiguous_login();
            return None;
        }
        let owner = self.shared.as_ref().and_then(|shared| shared.owner.as_ref());
        if owner.zip(announced.owner.as_ref()).is_some_and(|(ours, announced)| ours != announced) {
            self.store.config.hints.login_of_another_owner();
            return None;
        }
        response.extensions_mut().remove::<NewSession>().map(Box::new)
    }

    fn withdrawal(&self) -> Option<&Live> {
        self.rare.as_ref()?.withdrawal.as_ref()
    }

    fn is_withdrawn(&self) -> bool {
        self.withdrawal().is_some()
    }

    fn take_refusal(&mut self) {
        let refused = self.shared.as_ref().and_then(|shared| shared.refused_within.get().cloned());
        if refused.is_none() {
            return;
        }
        self.rare.get_or_insert_default().withdrawal = refused;
        // The application has seen no session: what it begins is none's further id. What the store holds is released with
        // what it renewed.
        self.session = VisitedSession::Stripped { forget_cookie: false };
        #[cfg(feature = "client")]
        {
            self.told = None;
        }
    }

    /// Not after a refusal: that is taken back in any case.
    fn take_passivity(&mut self) {
        let Some(passive) = self.shared.as_ref().and_then(|shared| shared.passive_within.get().cloned())
        else {
            return;
        };
        let VisitedSession::Live { hold, .. } = &mut self.session else { return };
        // What the store holds is released with what it renewed.
        *hold = Hold::Nothing;
        if let Some(keeper) = self.keeper.take() {
            keeper.cancel();
        }
        if passive.is_some() {
            self.rare.get_or_insert_default().withdrawal = passive;
        }
    }

    fn read_cookies(&self, cookie: &SessionCookie, headers: &HeaderMap) -> Said {
        let said = cookie.said(headers, self.had());
        match said {
            Said::Set(_) | Said::Removed => self.store.config.hints.session_cookie(),
            Said::Nothing if !matches!(self.session, VisitedSession::Live { .. }) => {
                self.store.config.hints.other_cookies(cookie, headers);
            }
            Said::Nothing => {}
        }
        if matches!(said, Said::Set(_)) && !cookie.slides() {
            let lasts = self.store.config.policy.limits.absolute();
            self.store.config.hints.short_cookie.was_set(cookie.name(), headers, lasts);
        }
        said
    }

    /// Whether browsers keep the session cookie as long as its session may last.
    fn watch_lifetime(&self, said: &Said) {
        let is_activity =
            matches!(self.session, VisitedSession::Live { hold: Hold::Store | Hold::Layer { .. }, .. });
        if is_activity && *said == Said::Nothing {
            self.store.config.hints.short_cookie.was_not_set();
        }
    }

    /// How a session begins that the answer begins.
    fn new_session(&self, login: Option<&Login>) -> NewSession {
        let announced = match login {
            Some(Login::Announced(new)) => new.clone(),
            Some(Login::Recognized) | None => NewSession::new(),
        };
        let label = || self.rare.as_ref().and_then(|rare| rare.label.clone());
        NewSession { label: announced.label.or_else(label), ..announced }
    }

    fn had(&self) -> &Had {
        static NOTHING: Had = Had::NOTHING;
        self.rare.as_ref().and_then(|rare| rare.had.as_ref()).unwrap_or(&NOTHING)
    }

    fn is_fresh_login<P>(&self, response: &Response<P>) -> bool {
        let head = self.rare.as_ref().and_then(|rare| rare.head.as_ref());
        let (Some(fresh_login), Some(head)) = (&self.store.config.fresh_login, head) else { return false };
        let mut answer = Response::new(());
        *answer.status_mut() = response.status();
        answer.headers_mut().clone_from(response.headers());
        fresh_login(&head.head(), &answer)
    }

    pub(crate) fn logout(&mut self) -> Option<&mut Logout> {
        self.rare.as_mut()?.logout.as_mut()
    }

    /// Whether the request merely asked for something, so that its answer is no log-in `fresh_login` might have missed.
    fn is_safe(&self) -> bool {
        let head = self.rare.as_ref().and_then(|rare| rare.head.as_ref());
        head.is_some_and(|head| matches!(*head.head().method(), Method::GET | Method::HEAD))
    }

    fn slid_cookie(&self) -> Option<&SlidCookie> {
        self.rare.as_ref()?.slid_cookie.as_ref()
    }

    /// Whether this very request has ended its session, through its [`Session`](crate::Session).
    fn has_ended_itself(&self) -> bool {
        self.shared.as_ref().is_some_and(|shared| shared.was_ended.load(Relaxed))
    }

    /// Settles with the store what happened. It borrows nothing, so that it can go on without its request.
    pub(crate) fn settle(&mut self, happened: &Happened) -> BoxFuture<Settled> {
        let settled = self.settle_answer(happened);
        let withdrawal = self.rare.as_mut().and_then(|rare| rare.withdrawal.take());
        let Some(live) = withdrawal else { return settled };
        let store = self.store.clone();
        Box::pin(async move {
            match store.ask(store.store().withdraw(&live)).await {
                Ok(()) => settled.await,
                Err(_) => Settled::Unavailable,
            }
        })
    }

    fn settle_answer(&mut self, happened: &Happened) -> BoxFuture<Settled> {
        let store = self.store.clone();
        match (happened, self.session) {
            (Happened::Set { value, login }, VisitedSession::Live { presented, .. })
                if self.has_ended_itself() =>
            {
                let value = SessionId::from(value.clone());
                let new = self.new_session(login.as_ref());
                Box::pin(async move { begin_after_end(&store, presented, &value, &new).await })
            }
            (Happened::Set { value, login }, VisitedSession::Live { key, presented, .. }) => {
                let value = SessionId::from(value.clone());
                let new = self.new_session(login.as_ref());
                match login {
                    Some(Login::Announced(_)) => {
                        Box::pin(async move { log_in_again(&store, key, &value, &new).await })
                    }
                    Some(Login::Recognized) => {
                        let has_first_id = self.rare.as_ref().is_some_and(|rare| rare.has_first_id);
                        Box::pin(async move {
                            log_in_under_new_id(&store, key, presented, &value, &new, has_first_id).await
                        })
                    }
                    None => {
                        let is_safe = self.is_safe();
                        Box::pin(async move { rotate(&store, key, presented, &value, is_safe).await })
                    }
                }
            }
            (Happened::Slid, VisitedSession::Live { key, presented, .. }) => {
                let id = self.slid_cookie().map(|slid| slid.id.clone());
                Box::pin(async move {
                    match id {
                        Some(id) => rotate(&store, key, presented, &id, false).await,
                        None => Settled::DropCookie,
                    }
                })
            }
            (Happened::Slid | Happened::NoLogOut, _) => Box::pin(std::future::ready(Settled::DropCookie)),
            (Happened::Set { .. }, VisitedSession::Unchecked) => {
                Box::pin(std::future::ready(Settled::DropCookie))
            }
            (Happened::SignedOut | Happened::LoggedOut, VisitedSession::Unchecked) => {
                Box::pin(std::future::ready(Settled::Unavailable))
            }
            (Happened::Set { value, login }, _) => {
                let value = SessionId::from(value.clone());
                let new = self.new_session(login.as_ref());
                // A layer further in has hidden this session from the application, which logs its user in anew.
                let hidden = self.withdrawal().filter(|_| login.is_some()).map(|live| live.key);
                Box::pin(async move {
                    match hidden {
                        Some(old) => log_in_again(&store, old, &value, &new).await,
                        None => begin(&store, &value, &new).await,
                    }
                })
            }
            (Happened::Reauthenticated(new), VisitedSession::Live { key, .. }) => {
                let new = (**new).clone();
                Box::pin(async move {
                    match store.restart(key, &new).await {
                        Ok(Restarted::Done | Restarted::Over) => Settled::Pass,
                        Ok(Restarted::TooMany) => Settled::TooManySessions,
                        Err(_) => Settled::Unavailable,
                    }
                })
            }
            (Happened::SignedOut, VisitedSession::Live { key, presented, .. }) => {
                let has_ended_itself = self.has_ended_itself();
                Box::pin(async move { end(&store, key, presented, has_ended_itself).await })
            }
            (Happened::SignedOut | Happened::Reauthenticated(_) | Happened::RefusedWithin, _) => {
                Box::pin(std::future::ready(Settled::Pass))
            }
            (Happened::LoggedOut, _) => {
                let ended = self.logout().map(Logout::end);
                Box::pin(async move {
                    let Some(ended) = ended else { return Settled::RemoveCookie };
                    if ended.await.is_ok() { Settled::RemoveCookie } else { Settled::Unavailable }
                })
            }
        }
    }

    /// The answer, its body cut at the session's end if it is a stream that was asked to be.
    #[inline]
    fn with_body<P: Body<Data = Bytes>>(&self, response: Response<P>) -> Response<SessionBody<P>> {
        if self.store.config.end_streams.is_empty() {
            return response.map(SessionBody::application);
        }
        let outer = self.rare.as_ref().and_then(|rare| rare.outer.as_ref());
        let (store, key, policy) = match (self.session, outer) {
            (VisitedSession::Live { key, .. }, _) => (&self.store, key, self.store.config.policy),
            (VisitedSession::Outer, Some(outer)) => (&outer.store, outer.live.key, outer.policy()),
            _ => return response.map(SessionBody::application),
        };
        let mut kinds = response.headers().get_all(CONTENT_TYPE).iter();
        let content_type = kinds.find(|kind| self.store.config.ends_streams_of(kind));
        let has_length =
            response.body().size_hint().exact().is_some() || response.headers().contains_key(CONTENT_LENGTH);
        if content_type.is_none() || has_length {
            return response.map(SessionBody::application);
        }
        let is_grpc = content_type.is_some_and(|kind| respond::is_of_type(kind, respond::GRPC));
        let store = store.clone();
        let over = Box::pin(async move {
            until_over(&store, key, policy).await;
        });
        response.map(|body| SessionBody::stream(body, over, is_grpc))
    }

    /// The answer as it leaves.
    pub(crate) fn conclude<P: Body<Data = Bytes>>(
        &self,
        response: Response<P>,
        happened: Option<(&Happened, Settled)>,
    ) -> Response<SessionBody<P>> {
        let mut response = match happened {
            Some((_, Settled::Unavailable)) => {
                return respond::unavailable(self.is_head).map(SessionBody::refusal);
            }
            Some((_, Settled::TooManySessions)) => {
                return respond::too_many_sessions(self.is_head).map(SessionBody::refusal);
            }
            _ => self.with_body(response),
        };
        #[cfg(feature = "client")]
        if let (Some(client), Some(told)) = (&self.store.config.client, &self.told)
            && !self.has_ended_itself()
            && matches!(
                happened,
                None | Some((Happened::Slid | Happened::Set { login: None, .. }, Settled::Pass))
            )
        {
            let status = response.status();
            client.tell(response.headers_mut(), status, told);
        }
        let Some(cookie) = self.store.config.source.cookie() else { return response };
        let headers: &mut HeaderMap = response.headers_mut();
        match happened {
            // An answer with several values has the last one settled: only that one may leave.
            Some((Happened::Set { .. }, Settled::Pass)) => cookie.let_set_leave(headers, self.had()),
            Some((Happened::SignedOut, Settled::Pass)) => cookie.let_removed_leave(headers, self.had()),
            Some((Happened::Slid, Settled::Pass)) => {
                if let Some(slid) = self.slid_cookie() {
                    for cookie in &slid.set_cookies {
                        headers.append(SET_COOKIE, cookie.clone());
                    }
                    keep_from_shared_caches(headers);
                }
            }
            Some((_, Settled::DropCookie)) => cookie.let_none_leave(headers),
            Some((_, Settled::RemoveCookie)) => {
                cookie.let_none_leave(headers);
                remove_from_browser(cookie, headers, self.had().parts);
            }
            None if matches!(self.session, VisitedSession::Stripped { forget_cookie: true }) => {
                remove_from_browser(cookie, headers, self.had().parts);
            }
            _ => {}
        }
        if self.store.leaves_records() {
            self.leave_with_client(happened, headers);
        }
        response
    }

    fn leave_with_client(&self, happened: Option<(&Happened, Settled)>, headers: &mut HeaderMap) {
        let set = match (happened, self.session) {
            // Removed, with the session cookie.
            (Some((_, Settled::RemoveCookie)), _) => return,
            (Some((Happened::Set { value, .. }, Settled::Pass)), _) => {
                Some(SessionId::from(value.as_slice()))
            }
            (None | Some((Happened::Slid, _)), _) if is_for_shared_caches(headers) => return,
            (_, VisitedSession::Live { .. }) => None,
            _ => return,
        };
        if self.store.leave_with_client(set.as_ref(), headers) {
            keep_from_shared_caches(headers);
        }
    }
}

/// What a cache would hand to others would sign them out (T58).
fn remove_from_browser(cookie: &SessionCookie, headers: &mut HeaderMap, parts: Parts) {
    cookie.remove_from_browser(headers, parts);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    respond::vary_by(headers, COOKIE);
}

/// No live session came with the request: the application begins one, and may do so under any id.
async fn begin(store: &StoreHandle, id: &SessionId<'_>, new: &NewSession) -> Settled {
    match store.start(id, new).await {
        Ok(Started::New(_) | Started::AlreadyLive(_)) => Settled::Pass,
        Ok(Started::TooMany) => Settled::TooManySessions,
        Ok(Started::AtCapacity) | Err(_) => Settled::Unavailable,
    }
}

/// As [`begin`], but not under an id that the store knows: a session library that sets its cookie with every answer must
/// not bring back what has ended.
async fn begin_under_unknown_id(store: &StoreHandle, id: &SessionId<'_>, new: &NewSession) -> Settled {
    match store.ask(store.store().check(id, &store.config.policy, Access::Peek)).await {
        Ok(Decision::Ended { reason: EndReason::Unknown, .. }) => begin(store, id, new).await,
        Ok(_) => Settled::RemoveCookie,
        Err(_) => Settled::Unavailable,
    }
}

/// This request has ended its session: its answer does not bring it back, whoever has forgotten of it.
async fn begin_after_end(
    store: &StoreHandle,
    presented: IdTag,
    id: &SessionId<'_>,
    new: &NewSession,
) -> Settled {
    if store.store().tag(id).is_none_or(|tag| tag == presented) {
        return Settled::RemoveCookie;
    }
    begin_under_unknown_id(store, id, new).await
}

/// A live session came with the request, and its user logged in anew: the old session ends at once, ids and all
/// (OWASP ASVS 5.0 §7.2.4). If its user has signed out meanwhile, a slow answer must not undo that.
async fn log_in_again(store: &StoreHandle, old: SessionKey, id: &SessionId<'_>, new: &NewSession) -> Settled {
    match store.end(old, EndReason::Superseded).await {
        Ok(true) => begin(store, id, new).await,
        Ok(false) if may_log_in_after(store, old).await => begin(store, id, new).await,
        Ok(false) => Settled::DropCookie,
        Err(_) => Settled::Unavailable,
    }
}

/// Whether the session ended without its user: by a clock, by another log-in (a form sent twice), or because somebody ended
/// all of its owner's, as one does where a password was changed. Who logs in after that may.
async fn may_log_in_after(store: &StoreHandle, key: SessionKey) -> bool {
    use EndReason::{Absolute, Idle, Revoked, Superseded};
    matches!(
        store.ask(store.store().remaining(key, &store.config.policy)).await,
        Ok(Verdict::Over(Idle | Absolute | Revoked | Superseded))
    )
}

/// `fresh_login` took an answer to a live session for a log-in. That is one only under an id the session has not had: an
/// application that keeps the id has merely sent on somebody who is signed in already. And where ids change on other
/// answers, too, a new one proves nothing.
async fn log_in_under_new_id(
    store: &StoreHandle,
    old: SessionKey,
    presented: IdTag,
    id: &SessionId<'_>,
    new: &NewSession,
    has_first_id: bool,
) -> Settled {
    let is_proof = has_first_id && !store.config.hints.do_ids_change();
    match store.rotate(old, presented, id).await {
        Ok(Rotated::New) if is_proof => log_in_again(store, old, id, new).await,
        Ok(Rotated::New) => {
            store.config.hints.doubtful_login();
            Settled::Pass
        }
        Ok(Rotated::AlreadyLive) => Settled::Pass,
        Ok(Rotated::Refused) if is_proof && may_log_in_after(store, old).await => {
            match begin_under_unknown_id(store, id, new).await {
                // As it was before: the browser may hold the cookie of another log-in.
                Settled::RemoveCookie => Settled::DropCookie,
                settled => settled,
            }
        }
        Ok(Rotated::Refused) | Err(_) => Settled::DropCookie,
    }
}

async fn rotate(
    store: &StoreHandle,
    key: SessionKey,
    presented: IdTag,
    id: &SessionId<'_>,
    is_safe: bool,
) -> Settled {
    match store.rotate(key, presented, id).await {
        Ok(Rotated::New) => {
            if is_safe {
                store.config.hints.changing_id();
            }
            Settled::Pass
        }
        Ok(Rotated::AlreadyLive) => Settled::Pass,
        Ok(Rotated::Refused) | Err(_) => Settled::DropCookie,
    }
}

/// The application removes the session cookie. If the session had ended before, or goes on under a newer id, the browser has
/// another cookie by now, perhaps that of a new log-in.
async fn end(store: &StoreHandle, key: SessionKey, presented: IdTag, has_ended_itself: bool) -> Settled {
    match store.end_by(key, presented, EndReason::SignedOut).await {
        Ok(true) => Settled::Pass,
        Ok(false) if has_ended_itself => Settled::Pass,
        Ok(false) => Settled::DropCookie,
        Err(_) => Settled::Unavailable,
    }
}

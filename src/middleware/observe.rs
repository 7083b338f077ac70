//! Observe: what an answer says happened to its request's session.

use http::{HeaderMap, Method, Response};

use crate::{
    cookie::{CookieChange, CookieSource, speaks_of_cookies},
    middleware::{
        admitted::{Admitted, Hold, RequestSession},
        hints, nest,
        plan::{Facts, Login, Observed},
    },
    request::head::RequestHead,
    respond::caching::is_for_shared_caches,
    rules::{
        id::{Owner, SessionId},
        new_session::NewSession,
    },
};

impl Admitted {
    /// Reads the answer. `None`: nothing happened, and nothing is to be done.
    pub(crate) fn observe<P>(&mut self, response: &mut Response<P>) -> Option<Observed> {
        if let Some(logout) = self.logout()
            && logout.is_granted(response)
        {
            return Some(Observed::LoggedOut);
        }
        if matches!(self.session, RequestSession::Outer) {
            return None;
        }
        self.take_refusal();
        self.take_passivity();
        let change = match self.store.config.source.cookie() {
            Some(cookie) if speaks_of_cookies(response.headers()) => {
                self.read_cookies(cookie, response.headers())
            }
            _ => CookieChange::None,
        };
        self.watch_lifetime(&change);
        match change {
            CookieChange::Set(value) => Some(self.cookie_set(value, response)),
            CookieChange::Removed if self.rare.as_ref().is_some_and(|rare| rare.is_no_logout) => {
                Some(Observed::RemovalWithoutLogout)
            }
            CookieChange::Removed => Some(Observed::CookieRemoved),
            CookieChange::None => self.without_cookie(response),
        }
    }

    fn cookie_set<P>(&self, value: Vec<u8>, response: &mut Response<P>) -> Observed {
        let announced = nest::announced_with_cookie(response.extensions_mut());
        let login = match announced {
            Some(_) => Some(Login::Announced),
            None => self.is_fresh_login(response).then_some(Login::Recognized),
        };
        let new = announced.unwrap_or_default();
        let label = || self.rare.as_ref().and_then(|rare| rare.label.clone());
        let begins = login.is_some() || !matches!(self.session, RequestSession::Live { .. });
        let owner = || if begins { self.owner_of(response) } else { None };
        let new = NewSession { label: new.label.or_else(label), owner: new.owner.or_else(owner), ..new };
        Observed::CookieSet { id: SessionId::from(value), login, new: Box::new(new) }
    }

    fn without_cookie<P>(&self, response: &mut Response<P>) -> Option<Observed> {
        if let Some(new) = self.reauthentication(response) {
            return Some(Observed::Reauthenticated(new));
        }
        if self.withdrawal().is_some() {
            return Some(Observed::RefusedWithin);
        }
        #[cfg(feature = "rescue")]
        if self.store.config.rescue.is_some() && self.has_ended_itself() {
            return Some(Observed::EndedByItself);
        }
        let renewed = self.renewed_cookie().filter(|_| !is_for_shared_caches(response.headers()))?;
        Some(Observed::CookieDue { id: renewed.id.clone() })
    }

    /// What of the request counts for what is made of its answer.
    pub(crate) fn facts(&self) -> Facts {
        let head = self.rare.as_ref().and_then(|rare| rare.head.as_ref());
        Facts {
            session: self.session,
            has_ended_itself: self.has_ended_itself(),
            has_first_id: self.rare.as_ref().is_some_and(|rare| rare.has_first_id),
            is_safe: self.store.config.fresh_login.is_some()
                && head.is_some_and(|head| matches!(*head.head().method(), Method::GET | Method::HEAD)),
            hidden: self.withdrawal().map(|live| live.key),
        }
    }

    /// Whether an announced log-in that sets no cookie of this layer's is its session's. What is not stays in the answer,
    /// for layers further out.
    fn reauthentication<P>(&self, response: &mut Response<P>) -> Option<Box<NewSession>> {
        let answer = response.extensions();
        let announced = answer.get::<NewSession>().filter(|_| !nest::is_of_cookie(answer))?;
        let sets_another = hints::sets_session_cookie(response.headers());
        if !matches!(self.session, RequestSession::Live { .. }) {
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

    fn take_refusal(&mut self) {
        let refused = self.shared.as_ref().and_then(|shared| shared.refused_within.get().cloned());
        if refused.is_none() {
            return;
        }
        self.rare.get_or_insert_default().withdrawal = refused;
        // The application has seen no session: what it begins is none's further id. What the store holds is released with
        // what it renewed.
        self.session = RequestSession::Stripped { forget_cookie: false };
        #[cfg(feature = "client")]
        {
            self.page_info = None;
        }
    }

    /// Not after a refusal: that is taken back in any case.
    fn take_passivity(&mut self) {
        let Some(passive) = self.shared.as_ref().and_then(|shared| shared.passive_within.get().cloned())
        else {
            return;
        };
        let RequestSession::Live { hold, .. } = &mut self.session else { return };
        // What the store holds is released with what it renewed.
        *hold = Hold::Nothing;
        if let Some(guard) = self.guard.take() {
            guard.cancel();
        }
        if passive.is_some() {
            self.rare.get_or_insert_default().withdrawal = passive;
        }
    }

    fn read_cookies(&self, cookie: &CookieSource, headers: &HeaderMap) -> CookieChange {
        let change = cookie.change(headers, self.client_cookies());
        match change {
            CookieChange::Set(_) | CookieChange::Removed => self.store.config.hints.session_cookie(),
            CookieChange::None if !matches!(self.session, RequestSession::Live { .. }) => {
                self.store.config.hints.other_cookies(cookie, headers);
            }
            CookieChange::None => {}
        }
        if matches!(change, CookieChange::Set(_)) && !cookie.slides() {
            let lasts = self.store.config.policy.limits.absolute();
            self.store.config.hints.short_cookie.was_set(cookie.name(), headers, lasts);
        }
        change
    }

    /// Whether browsers keep the session cookie as long as its session may last.
    fn watch_lifetime(&self, change: &CookieChange) {
        let is_activity =
            matches!(self.session, RequestSession::Live { hold: Hold::Store | Hold::Layer { .. }, .. });
        if is_activity && *change == CookieChange::None {
            self.store.config.hints.cookie_not_set();
        }
    }

    fn is_fresh_login<P>(&self, response: &Response<P>) -> bool {
        self.store
            .config
            .fresh_login
            .as_ref()
            .and_then(|judge| self.judged(judge, response))
            .unwrap_or_default()
    }

    /// Whose a session is that this answer begins.
    fn owner_of<P>(&self, response: &Response<P>) -> Option<Owner> {
        self.store.config.owner_from.as_ref().and_then(|judge| self.judged(judge, response)).flatten()
    }

    /// `None`: the request's head was not kept.
    fn judged<P, T>(
        &self,
        judge: impl Fn(&RequestHead<'_>, &Response<()>) -> T,
        response: &Response<P>,
    ) -> Option<T> {
        let head = self.rare.as_ref().and_then(|rare| rare.head.as_ref())?;
        let mut answer = Response::new(());
        *answer.status_mut() = response.status();
        answer.headers_mut().clone_from(response.headers());
        Some(judge(&head.head(), &answer))
    }
}

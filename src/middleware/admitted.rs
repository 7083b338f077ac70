//! A request that was let through, as its answer will need it.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    task::Context,
    time::Duration,
};

use crate::{
    cookie::{ClientCookies, RenewedCookie},
    middleware::{
        in_flight::InFlightGuard,
        logout::Logout,
        session::{Session, SharedWithAnswer},
        store_handle::StoreHandle,
    },
    request::head::OwnedHead,
    rules::{
        decision::Live,
        id::{IdTag, Label, SessionKey},
    },
};

/// A request that was let through. Dropping it lets go of its session.
pub(crate) struct Admitted {
    pub(crate) store: StoreHandle,
    pub(crate) session: RequestSession,
    /// As long as the application takes its time, if the layer is to hold the session.
    pub(crate) guard: Option<Box<InFlightGuard>>,
    pub(crate) is_head: bool,
    /// With the request's [`Session`](crate::Session), if it has one.
    pub(crate) shared: Option<Arc<SharedWithAnswer>>,
    /// What the page is told of; and what the store was asked for.
    #[cfg(feature = "client")]
    pub(crate) page_info: Option<Box<crate::client::PageInfo>>,
    /// Boxed, for it would cost every request to carry this about.
    pub(crate) rare: Option<Box<Rare>>,
}

/// What few requests have.
#[derive(Default)]
pub(crate) struct Rare {
    /// A log-out, of a session.
    pub(crate) logout: Option<Logout>,
    /// The session cookie is to be set again.
    pub(crate) renewed_cookie: Option<RenewedCookie>,
    /// Of a session cookie that may be chunked, what the client has of it.
    pub(crate) client_cookies: Option<ClientCookies>,
    /// This request was no activity of its session: a layer further in says so.
    pub(crate) withdrawal: Option<Live>,
    /// Kept only where `fresh_login` or `owner_from` will ask for it.
    pub(crate) head: Option<OwnedHead>,
    /// The session has had this id since it began.
    pub(crate) has_first_id: bool,
    /// Of a session that the answer begins.
    pub(crate) label: Option<Label>,
    /// The session of a layer further out, if its answers may have to end with it.
    pub(crate) outer: Option<Session>,
    /// Of a request that is no log-out, though it looks like one: what its answer removes stays.
    pub(crate) is_no_logout: bool,
    /// Whose browser a request without a live session comes from.
    #[cfg(feature = "rescue")]
    pub(crate) leaver: Option<crate::rescue::user::User>,
}

/// The session a request was let through with.
#[derive(Clone, Copy)]
pub(crate) enum RequestSession {
    /// The request presented no id.
    None,
    /// It went on without its id, which was not live.
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

impl Drop for Admitted {
    fn drop(&mut self) {
        let is_released =
            || self.shared.as_ref().is_some_and(|shared| matches!(shared.passive_within.get(), Some(None)));
        if let RequestSession::Live { key, hold: Hold::Store, .. } = self.session
            && !is_released()
        {
            self.store.store().release(key);
        }
    }
}

impl Admitted {
    /// While the application takes its time.
    pub(crate) fn keep(&mut self, cx: &mut Context<'_>) {
        let RequestSession::Live { key, hold: Hold::Layer { idle }, .. } = self.session else { return };
        if self.guard.is_none() {
            self.guard = InFlightGuard::new(&self.store, key, idle).map(Box::new);
        }
        if let Some(guard) = &mut self.guard {
            guard.poll(cx);
        }
    }

    pub(crate) fn client_cookies(&self) -> &ClientCookies {
        static NONE: ClientCookies = ClientCookies::NONE;
        self.rare.as_ref().and_then(|rare| rare.client_cookies.as_ref()).unwrap_or(&NONE)
    }

    pub(crate) fn logout(&mut self) -> Option<&mut Logout> {
        self.rare.as_mut()?.logout.as_mut()
    }

    /// Whose forms go with a log-out, for this is their session.
    #[cfg(feature = "rescue")]
    pub(crate) fn name_leaver(&mut self) {
        let config = Arc::clone(&self.store.config);
        let owner = self.page_info.as_ref().and_then(|info| info.live.owner.as_ref());
        let user = config.user(owner);
        if let Some(logout) = self.logout() {
            logout.by(&config, user);
        }
    }

    pub(crate) fn renewed_cookie(&self) -> Option<&RenewedCookie> {
        self.rare.as_ref()?.renewed_cookie.as_ref()
    }

    pub(crate) fn withdrawal(&self) -> Option<&Live> {
        self.rare.as_ref()?.withdrawal.as_ref()
    }

    /// Whether this very request has ended its session, through its [`Session`](crate::Session).
    pub(crate) fn has_ended_itself(&self) -> bool {
        self.shared.as_ref().is_some_and(|shared| shared.was_ended.load(Relaxed))
    }
}

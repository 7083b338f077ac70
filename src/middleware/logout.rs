//! A log-out ends what it says, also where nobody is left to say that it was right.

use std::sync::{Arc, atomic::Ordering::Relaxed};

use http::Response;
#[cfg(feature = "rescue")]
use tokio::runtime::Handle;

#[cfg(feature = "rescue")]
use crate::{middleware::config::Config, rescue::user::User};

use crate::{
    cookie::MAX_DUPLICATES,
    middleware::{
        check::Admission,
        kind::RequestKind,
        session::{Session, SharedWithAnswer},
        store_handle::StoreHandle,
    },
    request::head::RequestHead,
    rules::{decision::Decision, id::SessionKey, limits::EndReason},
    store::{
        answer::{BoxFuture, StoreError},
        contract::EndLater,
    },
};

/// The sessions a request to the log-out path came with. If it is dropped before its answer was read, they end all the
/// same: the client went away, or the application failed or hangs.
pub(crate) struct Logout {
    sessions: Vec<Of>,
    /// For its ids, of which the store could not say whose they are: how to end their sessions once it is there again.
    unknown: Vec<(StoreHandle, EndLater)>,
    /// The application saw one session, and could judge.
    is_judged: bool,
    /// Of the session that is shown to it, unless a layer further in hides that.
    shown: Option<Arc<SharedWithAnswer>>,
    /// A page elsewhere may have forged it. The application knows; where it did not say, nothing ends (T71).
    may_be_forged: bool,
    /// Whose forms that came too late go with it.
    #[cfg(feature = "rescue")]
    leaver: Option<(Arc<Config>, User)>,
}

/// A session, and whom to tell of its end.
struct Of {
    store: StoreHandle,
    key: SessionKey,
    /// Of a session that a layer further out looks after: its answer says so, too.
    shared: Option<Arc<SharedWithAnswer>>,
}

impl Logout {
    /// A log-out of no session as yet, if the request is one.
    pub(crate) fn of(kind: RequestKind) -> Option<Self> {
        let may_be_forged = matches!(kind, RequestKind::Logout { may_be_forged: true });
        let logout = || Self {
            sessions: Vec::new(),
            unknown: Vec::new(),
            is_judged: true,
            shown: None,
            may_be_forged,
            #[cfg(feature = "rescue")]
            leaver: None,
        };
        kind.is_logout().then(logout)
    }

    /// It is this user's.
    #[cfg(feature = "rescue")]
    pub(crate) fn by(&mut self, config: &Arc<Config>, user: Option<User>) {
        self.leaver = user.map(|user| (Arc::clone(config), user));
    }

    #[cfg(feature = "rescue")]
    pub(crate) fn may_be_forged(&self) -> bool {
        self.may_be_forged
    }

    /// Of a request whose session ids the store has not been asked for: whatever sessions they are of.
    pub(crate) fn unchecked(kind: RequestKind, store: &StoreHandle, head: &RequestHead<'_>) -> Option<Self> {
        let mut logout = Self::of(kind)?;
        logout.add_unknown(store, head);
        #[cfg(feature = "rescue")]
        logout.by(&store.config, store.config.recognized(head));
        Some(logout)
    }

    /// The sessions of its ids, whatever they are: the store is away, or may be.
    pub(crate) fn add_unknown(&mut self, store: &StoreHandle, head: &RequestHead<'_>) {
        for id in store.config.source.ids(head, MAX_DUPLICATES) {
            if !store.config.is_plausible(&id) {
                continue;
            }
            let end = store.config.store.end_later(&id, EndReason::SignedOut);
            self.unknown.extend(end.map(|end| (store.clone(), end)));
        }
    }

    /// The store has answered.
    pub(crate) fn forget_unknown(&mut self) {
        self.unknown.clear();
    }

    /// Another one goes on with it.
    pub(crate) fn hand_over(&mut self) {
        self.forget_unknown();
        #[cfg(feature = "rescue")]
        {
            self.leaver = None;
        }
    }

    pub(crate) fn add(&mut self, store: &StoreHandle, key: SessionKey) {
        self.sessions.push(Of { store: store.clone(), key, shared: None });
    }

    /// What the request's extensions show.
    pub(crate) fn shows(&mut self, session: Option<&Session>) {
        self.shown = session.map(|session| Arc::clone(&session.shared));
    }

    /// The session a layer further out looks after.
    pub(crate) fn add_outer(&mut self, session: &Session) {
        let (store, shared) = (session.store.clone(), Some(Arc::clone(&session.shared)));
        self.sessions.push(Of { store, key: session.live.key, shared });
    }

    /// Several live sessions: the application is shown none of them.
    pub(crate) fn add_several(&mut self, store: &StoreHandle, keys: &[SessionKey]) {
        for &key in keys {
            self.add(store, key);
        }
        self.is_judged = keys.is_empty();
    }

    /// What the store has found, after its client went away.
    pub(crate) fn add_admitted(&mut self, store: &StoreHandle, admission: &Admission) {
        match admission {
            Admission::Decided { decision: Decision::Live(live), .. } => {
                if live.held {
                    store.store().release(live.key);
                }
                self.add(store, live.key);
            }
            Admission::LogoutOfSeveral(keys) => self.add_several(store, keys),
            Admission::Failed => return,
            _ => {}
        }
        self.forget_unknown();
    }

    /// Whether there is a session to end.
    #[cfg(feature = "client")]
    pub(crate) fn is_of_any(&self) -> bool {
        !self.sessions.is_empty()
    }

    /// Whether the answer is a log-out. If not, the application has refused it, and nothing is to end.
    pub(crate) fn is_granted<P>(&mut self, answer: &Response<P>) -> bool {
        let status = answer.status();
        let is_refused = status.is_client_error() || is_refused_by_grpc(answer);
        // The reason of an end: a layer further in has answered, not the application.
        let is_judged = self.is_judged
            && answer.extensions().get::<EndReason>().is_none()
            && self.shown.as_ref().is_none_or(|shown| shown.refused_within.get().is_none());
        let is_granted = (status.is_success() || status.is_redirection()) && !is_refused;
        let has_no_say = status.is_server_error() || (is_refused && !is_judged);
        if if self.may_be_forged { is_granted && is_judged } else { is_granted || has_no_say } {
            return true;
        }
        self.sessions.clear();
        self.hand_over();
        false
    }

    /// Ends them, all of them. An end that fails is tried again in the background.
    pub(crate) fn end(&mut self) -> BoxFuture<Result<(), StoreError>> {
        self.remember_unknown();
        let sessions = std::mem::take(&mut self.sessions);
        #[cfg(feature = "rescue")]
        let leaver = self.leaver.take();
        Box::pin(async move {
            let mut all = Ok(());
            for Of { store, key, shared } in sessions {
                if let Some(shared) = shared {
                    shared.was_ended.store(true, Relaxed);
                }
                all = store.end(key, EndReason::SignedOut).await.map(drop).and(all);
            }
            #[cfg(feature = "rescue")]
            if let Some((config, user)) = leaver {
                config.discard_forms([user]).await;
            }
            all
        })
    }
}

impl Logout {
    fn remember_unknown(&mut self) {
        for (store, end) in self.unknown.drain(..) {
            store.remember_end(end);
        }
    }
}

/// Its status is `200` whatever happened.
fn is_refused_by_grpc<P>(answer: &Response<P>) -> bool {
    answer.headers().get_all("grpc-status").iter().any(|status| status.as_bytes().trim_ascii() != b"0")
}

impl Drop for Logout {
    fn drop(&mut self) {
        if self.may_be_forged {
            return;
        }
        self.remember_unknown();
        for Of { store, key, .. } in self.sessions.drain(..) {
            store.end_in_background(key, EndReason::SignedOut);
        }
        #[cfg(feature = "rescue")]
        if let (Some((config, user)), Ok(runtime)) = (self.leaver.take(), Handle::try_current()) {
            runtime.spawn(async move { config.discard_forms([user]).await });
        }
    }
}

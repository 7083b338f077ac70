//! A log-out ends what it says, also where nobody is left to say that it was right.

use std::sync::Arc;

use http::Response;

use crate::{
    BoxFuture, Decision, EndReason, RequestHead, Session, SessionKey, StoreError,
    config::{Config, OwnStore},
    head::Initiator,
    service::Admission,
};

/// The sessions a request to the log-out path came with. If it is dropped before its answer was read, they end all the
/// same: the client went away, or the application failed or hangs.
pub(crate) struct Logout {
    sessions: Vec<Of>,
    /// The application saw one session, and could judge.
    is_judged: bool,
    /// A page elsewhere may have forged it. The application knows; where it did not say, nothing ends (T71).
    may_be_forged: bool,
}

/// A session, and whom to tell of its end.
struct Of {
    config: Arc<Config>,
    own_store: OwnStore,
    key: SessionKey,
}

impl Logout {
    /// A log-out of no live session, as yet.
    pub(crate) fn new(head: &RequestHead<'_>) -> Self {
        let may_be_forged = head.initiator() == Initiator::Elsewhere;
        Self { sessions: Vec::new(), is_judged: true, may_be_forged }
    }

    pub(crate) fn add(&mut self, config: &Arc<Config>, own_store: &OwnStore, key: SessionKey) {
        self.sessions.push(Of { config: Arc::clone(config), own_store: own_store.clone(), key });
    }

    /// The session a layer further out looks after.
    pub(crate) fn add_outer(&mut self, session: &Session) {
        self.add(&session.config, &session.own_store, session.live.key);
    }

    /// Several live sessions: the application is shown none of them.
    pub(crate) fn add_several(&mut self, config: &Arc<Config>, own_store: &OwnStore, keys: &[SessionKey]) {
        for &key in keys {
            self.add(config, own_store, key);
        }
        self.is_judged = keys.is_empty();
    }

    /// What the store has found, after its client went away.
    pub(crate) fn add_admitted(&mut self, config: &Arc<Config>, own_store: &OwnStore, admission: &Admission) {
        match admission {
            Admission::Decided { decision: Decision::Live(live), .. } => {
                if live.held {
                    config.store(own_store).release(live.key);
                }
                self.add(config, own_store, live.key);
            }
            Admission::LogoutOfSeveral(keys) => self.add_several(config, own_store, keys),
            _ => {}
        }
    }

    /// Whether the answer is a log-out. If not, the application has refused it, and nothing is to end.
    pub(crate) fn is_granted<P>(&mut self, answer: &Response<P>) -> bool {
        let status = answer.status();
        // The reason of an end: a layer further in has answered, not the application.
        let is_judged = self.is_judged && answer.extensions().get::<EndReason>().is_none();
        let is_granted = status.is_success() || status.is_redirection();
        let has_no_say = status.is_server_error() || (status.is_client_error() && !is_judged);
        if is_granted || (has_no_say && !self.may_be_forged) {
            return true;
        }
        self.sessions.clear();
        false
    }

    /// Ends them, all of them. An end that fails is tried again in the background.
    pub(crate) fn end(&mut self) -> BoxFuture<Result<(), StoreError>> {
        let sessions = std::mem::take(&mut self.sessions);
        Box::pin(async move {
            let mut all = Ok(());
            for Of { config, own_store, key } in sessions {
                all = config.end(&own_store, key, EndReason::SignedOut).await.map(drop).and(all);
            }
            all
        })
    }
}

impl Drop for Logout {
    fn drop(&mut self) {
        if self.may_be_forged {
            return;
        }
        for Of { config, own_store, key } in self.sessions.drain(..) {
            config.end_in_background(&own_store, key, EndReason::SignedOut);
        }
    }
}

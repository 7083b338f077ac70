//! What the application can say about sessions: about this request's, and about any.

use std::{
    fmt,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use crate::{
    middleware::store_handle::StoreHandle,
    rules::{
        decision::{Access, Decision, Live},
        id::{Owner, SessionId, SessionKey},
        limits::{EndReason, Limits, Policy, Verdict},
        new_session::{NewSession, SessionInfo},
    },
    store::answer::{Restarted, Rotated, Started, StoreError},
};

/// The live session a request was admitted with, in the request's extensions.
///
/// Times are as of the admission.
///
/// ```
/// # use tower_session_timeout::Session;
/// async fn remaining<B>(request: http::Request<B>) -> String {
///     match request.extensions().get::<Session>() {
///         Some(session) => format!("{} seconds left", session.remaining().as_secs()),
///         None => "nobody is signed in".to_owned(),
///     }
/// }
/// ```
#[derive(Clone)]
pub struct Session {
    pub(crate) store: StoreHandle,
    pub(crate) live: Live,
    /// Of the layers further in. Boxed, for nearly no request has any.
    pub(crate) cap: Option<Box<Limits>>,
    pub(crate) shared: Arc<SharedWithAnswer>,
}

/// What a request's answer has to know of its [`Session`].
pub(crate) struct SharedWithAnswer {
    /// By this request: a log-in in its answer is not the late answer of a session that somebody else has ended.
    pub(crate) was_ended: AtomicBool,
    pub(crate) owner: Option<Owner>,
    /// The session as it was shown to a layer further in that did not take the request for one of a live session: by stricter
    /// limits, it came too late to be activity. The answer could not say so, for others may make it anew.
    pub(crate) refused_within: OnceLock<Live>,
    /// To a layer further in the request is passive: what its check has renewed is to be taken back, unless that is done.
    pub(crate) passive_within: OnceLock<Option<Live>>,
}

impl SharedWithAnswer {
    pub(crate) fn new(owner: Option<Owner>) -> Self {
        Self {
            was_ended: AtomicBool::new(false),
            owner,
            refused_within: OnceLock::new(),
            passive_within: OnceLock::new(),
        }
    }
}

impl Session {
    /// To the layer that admitted the request with it.
    pub(crate) fn refuse_within(&self) {
        // Of several layers further in, the first has said it.
        let _ = self.shared.refused_within.set(self.live.clone());
    }

    /// To the layer that admitted the request with it.
    pub(crate) fn is_passive_within(&self) {
        let _ = self.shared.passive_within.set(Some(self.live.clone()));
    }

    /// As [`is_passive_within`](Self::is_passive_within), at once.
    #[cfg(feature = "client")]
    pub(crate) fn withdraw_within(&self) -> Option<crate::store::answer::Answer<()>> {
        let is_first = self.shared.passive_within.set(None).is_ok();
        is_first.then(|| self.store.store().withdraw(&self.live))
    }

    /// The limits of its own layer and of those further in.
    pub(crate) fn policy(&self) -> Policy {
        Policy { cap: self.cap.as_deref().copied(), ..self.store.config.policy }
    }

    /// Whose session it is, if its start said so.
    pub fn owner(&self) -> Option<&Owner> {
        self.live.owner.as_ref()
    }

    /// Names this session in a list of its owner's sessions: [`SessionInfo::tag`].
    pub fn tag(&self) -> String {
        self.live.key.tag()
    }

    /// The time between the activity before this request and this request.
    pub fn idle_for(&self) -> Duration {
        self.live.idle_for()
    }

    /// The time since the session began, or since it was last reauthenticated.
    pub fn age(&self) -> Duration {
        self.live.age()
    }

    /// The time until the session ends if nothing else happens.
    pub fn remaining(&self) -> Duration {
        self.live.remaining().shortest()
    }

    /// Whether the session id is older than [`rotate_after`](crate::SessionTimeoutBuilder::rotate_after), so that the
    /// application should change it: by its session library's own means, which the layer notices.
    pub fn rotation_due(&self) -> bool {
        self.store.config.rotate_after.is_some_and(|age| self.live.id_age() >= age)
    }

    /// Whether the user proved who they are less than `time` ago: when the session began, or was last
    /// [reauthenticated](Self::reauthenticated). Activity does not count. For sensitive routes (OWASP ASVS 5.0 §7.5.1,
    /// §7.5.3).
    pub fn authenticated_within(&self, time: Duration) -> bool {
        self.live.age() < time
    }

    /// Waits until the session has ended, and says why: for the loop of a WebSocket or an event stream. Other requests
    /// of the session put it off; waiting is no activity.
    ///
    /// An end by the clocks is told in time, one by a log-out within 30 seconds. Needs tokio's timer.
    ///
    /// ```no_run
    /// # async fn socket(session: tower_session_timeout::Session, mut next_message: impl AsyncFnMut() -> String) {
    /// loop {
    ///     tokio::select! {
    ///         message = next_message() => println!("{message}"),
    ///         reason = session.ended() => {
    ///             println!("closed with 1008: the session has ended ({reason})");
    ///             break;
    ///         }
    ///     }
    /// }
    /// # }
    /// ```
    pub async fn ended(&self) -> EndReason {
        until_ended(&self.store, self.live.key, self.policy()).await
    }

    /// Signs the user out: the session has ended, under all its ids. `false` if it was already.
    ///
    /// A session cookie in the answer to this request then begins another session, if its value is new to the store; any
    /// other value is replaced by a removal.
    ///
    /// # Errors
    ///
    /// If the store fails; the end is then tried again in the background.
    pub async fn end(&self) -> Result<bool, StoreError> {
        self.shared.was_ended.store(true, Relaxed);
        self.store.end(self.live.key, EndReason::SignedOut).await
    }

    /// The user proved again who they are: both clocks begin anew (NIST SP 800-63B-4 §5.2), and ids that a newer
    /// one superseded end at once. `false` if the session has ended.
    ///
    /// If the answer gives the browser a new id, put a [`NewSession`] into its extensions instead: then the present
    /// id ends at once, too.
    ///
    /// # Errors
    ///
    /// If the store fails.
    pub async fn reauthenticated(&self) -> Result<bool, StoreError> {
        let restarted = self.store.restart(self.live.key, &NewSession::new()).await?;
        Ok(restarted == Restarted::Done)
    }

    /// Gives the session a further id, for a client that is told it outside the session cookie. (A new session
    /// cookie is noticed by the layer itself.) `false` if the session has ended.
    ///
    /// # Errors
    ///
    /// If the store fails, or the id is empty or too long.
    pub async fn rotate_to(&self, new: &SessionId<'_>) -> Result<bool, StoreError> {
        let Live { key, presented, .. } = self.live;
        Ok(self.store.rotate(key, presented, new).await? != Rotated::Refused)
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("live", &self.live).finish_non_exhaustive()
    }
}

/// The sessions of a layer, for code that has no request, or begins sessions itself: a service that issues bearer
/// tokens, an admin page. Cheap to clone.
///
/// ```
/// use tower_session_timeout::{NewSession, SessionId, SessionTimeoutLayer};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let layer = SessionTimeoutLayer::builder().bearer().build()?;
/// let sessions = layer.sessions();
///
/// let token = SessionId::from("a fresh random token");
/// sessions.start(&token, &NewSession::new().owner("user-4711")).await?;
/// assert!(sessions.end(&token).await?);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Sessions {
    pub(crate) store: StoreHandle,
}

impl Sessions {
    /// Begins a session under this id. A live one is left as it is; anything else under the id is replaced.
    ///
    /// # Errors
    ///
    /// If the store fails, or the id is empty or too long.
    pub async fn start(&self, id: &SessionId<'_>, new: &NewSession) -> Result<Started, StoreError> {
        self.store.start(id, new).await
    }

    /// What the store would decide about this id now. It renews nothing.
    ///
    /// # Errors
    ///
    /// If the store fails.
    pub async fn peek(&self, id: &SessionId<'_>) -> Result<Decision, StoreError> {
        let store = &self.store;
        if !store.config.is_plausible(id) {
            return Ok(Decision::UNKNOWN);
        }
        store.ask(store.store().check(id, &store.config.policy, Access::Peek)).await
    }

    /// Ends the session of this id from outside. `false` if it had ended already.
    ///
    /// # Errors
    ///
    /// If the store fails; once the session was found, the end is then tried again in the background.
    pub async fn end(&self, id: &SessionId<'_>) -> Result<bool, StoreError> {
        match self.peek(id).await? {
            Decision::Live(live) => self.store.end(live.key, EndReason::Revoked).await,
            Decision::Ended { .. } | Decision::Capped(_) => Ok(false),
        }
    }

    /// The live sessions of this owner, longest idle last: for a page that shows a user where they are signed in
    /// (OWASP ASVS 5.0 §7.5.2).
    ///
    /// # Errors
    ///
    /// If the store fails, or keeps no index of owners.
    pub async fn sessions_of(&self, owner: &Owner) -> Result<Vec<SessionInfo>, StoreError> {
        let store = &self.store;
        let mut sessions = store.ask(store.store().sessions_of(owner, &store.config.policy)).await?;
        sessions.sort_by_key(|session| (session.idle_for, session.age));
        Ok(sessions)
    }

    /// Ends that session of this owner which has this [tag](SessionInfo::tag). `false` if the owner has none such.
    ///
    /// # Errors
    ///
    /// If the store fails, or keeps no index of owners.
    pub async fn end_tagged(&self, owner: &Owner, tag: &str) -> Result<bool, StoreError> {
        let sessions = self.sessions_of(owner).await?;
        match sessions.iter().find(|session| session.tag() == tag) {
            Some(session) => self.store.end(session.key, EndReason::Revoked).await,
            None => Ok(false),
        }
    }

    /// Ends all sessions of this owner ("sign out everywhere"), or all but one ("everywhere else"), and says how many
    /// were live (OWASP ASVS 5.0 §7.4.2, §7.4.3, §7.4.5). Every session that had begun before is ended.
    ///
    /// # Errors
    ///
    /// If the store fails, or keeps no index of owners.
    pub async fn end_all(&self, owner: &Owner, except: Option<&Session>) -> Result<usize, StoreError> {
        let store = &self.store;
        store.ask(store.store().end_all(owner, except.map(|session| session.live.key))).await
    }

    /// The user of this session proved again who they are: see [`Session::reauthenticated`].
    ///
    /// # Errors
    ///
    /// If the store fails.
    pub async fn reauthenticated(&self, id: &SessionId<'_>) -> Result<bool, StoreError> {
        match self.peek(id).await? {
            Decision::Live(live) => {
                let restarted = self.store.restart(live.key, &NewSession::new()).await?;
                Ok(restarted == Restarted::Done)
            }
            Decision::Ended { .. } | Decision::Capped(_) => Ok(false),
        }
    }

    /// Gives the session of this id a further one: see [`Session::rotate_to`].
    ///
    /// # Errors
    ///
    /// If the store fails, or the new id is empty or too long.
    pub async fn rotate_to(&self, id: &SessionId<'_>, new: &SessionId<'_>) -> Result<bool, StoreError> {
        match self.peek(id).await? {
            Decision::Live(live) => {
                Ok(self.store.rotate(live.key, live.presented, new).await? != Rotated::Refused)
            }
            Decision::Ended { .. } | Decision::Capped(_) => Ok(false),
        }
    }
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sessions(..)")
    }
}

/// How late an end is told that comes by no clock.
const LOOK_AGAIN: Duration = Duration::from_secs(30);
/// How soon a store that failed is asked again.
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// Waits for the end of a session. While the store fails, nobody knows, and the wait goes on.
pub(crate) async fn until_ended(store: &StoreHandle, key: SessionKey, policy: Policy) -> EndReason {
    loop {
        let wait = match store.ask(store.store().remaining(key, &policy)).await {
            Ok(Verdict::Live(remaining)) => remaining.shortest().min(LOOK_AGAIN),
            Ok(Verdict::Ended(reason) | Verdict::Capped(reason)) => return reason,
            Err(_) => TRY_AGAIN,
        };
        tokio::time::sleep(wait).await;
    }
}

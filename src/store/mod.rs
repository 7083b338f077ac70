//! Where sessions are kept: the contract of a store.

#[cfg(feature = "shared")]
mod backend;
mod cached;
#[cfg(feature = "test-util")]
pub mod conformance;
mod memory;
#[cfg(feature = "shared")]
mod shared;
#[cfg(feature = "stateless")]
mod stateless;

use std::{error::Error, fmt, pin::Pin, sync::Arc, time::Duration};

#[cfg(feature = "stateless")]
pub use self::stateless::{KeyError, StatelessStore};
#[cfg(feature = "shared")]
pub use self::{
    backend::{Backend, Key, Loaded, Swap, Swapped},
    shared::SharedStore,
};
pub use self::{
    cached::CachedStore,
    memory::{MemoryStore, Sweeper},
};
use crate::{
    EndReason, EventSink, IdTag, Label, Limits, Owner, Policy, Remaining, SessionId, SessionKey, Verdict,
};

/// Keeps the clocks of sessions and decides by them: what a layer asks. For sessions in a place of your own, write a
/// `Backend` (feature `shared`) instead: then the rules are there already.
///
/// Every method is one atomic operation on one session. There is no `get` and no `set`, so no store can be written
/// whose renewal races a log-out.
///
/// - **An id the store does not know is over** ([`EndReason::Unknown`]).
/// - **Only [`start`](Self::start) creates a session.** Nothing else brings one into being or back.
/// - The boundary is closed: a session is over once `elapsed >= limit` ([`Policy::judge`]).
/// - A look ends nothing for a layer with laxer limits. An activity that is refused ends the session for all.
/// - An ended session keeps its reason for 5 minutes, so that parallel requests hear the same one; and for as long as any
///   layer could [adopt](Self::adopt) its id.
/// - Several ids may be those of one session. An old id works for [`Policy::rotation_grace`] from the moment a newer one is
///   first used: one that was issued after the old one was last set. One that is not superseded is never given up, up to
///   1,024 of them; superseded ones are told apart from unknown ones for 5 minutes after their grace, 63 of them at most.
/// - Arguments are ages and durations: each store has a clock of its own.
/// - Ids are kept hashed.
pub trait Store: Send + Sync + 'static {
    /// Is this id's session live? With [`Access::Renew`] its last activity is now, unless it is over.
    fn check(&self, id: &SessionId<'_>, policy: &Policy, access: Access) -> Answer<Decision>;

    /// What this session has left, whichever of its ids is used; or why it is over. It renews nothing. Whoever waits
    /// for the end of a session asks again and again.
    fn remaining(&self, session: SessionKey, policy: &Policy) -> Answer<Verdict>;

    /// This session was active so long `ago`: its last activity moves there, unless it is over, and never back. What it has
    /// left.
    ///
    /// Asked of stores that do not [hold](Live::held): again and again while a request is under way, and once it was
    /// answered. Default: renews nothing, so that a request that takes longer than the idle timeout loses its session.
    fn renew(&self, session: SessionKey, ago: Duration, policy: &Policy) -> Answer<Verdict> {
        let _ = ago;
        self.remaining(session, policy)
    }

    /// Begins a session under this id. A live one is left as it is; anything else under the id is replaced.
    ///
    /// Where [`NewSession::max_sessions`] says so, the owner never has more once this is answered, however many begin at the
    /// same time. A store that keeps no owners fails then.
    fn start(&self, id: &SessionId<'_>, new: &NewSession, policy: &Policy) -> Answer<Started>;

    /// Begins a session that was authenticated elsewhere, [`NewSession::age`] ago, and has not been active since. Only
    /// under an id the store does not know: what has ended stays so, and must be remembered for the idle timeout of
    /// such a session at least, come what may. A store that cannot promise that refuses.
    fn adopt(&self, id: &SessionId<'_>, new: &NewSession, policy: &Policy) -> Answer<Adopted> {
        let _ = (id, new, policy);
        Answer::Ready(Err(StoreError::new("this store adopts no sessions")))
    }

    /// Makes `new` an id of this session. `presented` is the id the request came with.
    ///
    /// Refused if this session is over. Refused, too, if `new` is the presented id itself, and was superseded meanwhile
    /// or a newer one was set less than twice [`Policy::rotation_grace`] ago: a slow answer must not bring the old id back.
    /// Any other id of this session is set again thereby, and is the newest.
    fn rotate(
        &self,
        session: SessionKey,
        new: &SessionId<'_>,
        presented: IdTag,
        policy: &Policy,
    ) -> Answer<Rotated>;

    /// The user proved again who they are: both clocks begin anew and superseded ids end at once. `false` if the
    /// session is over.
    fn restart(&self, session: SessionKey, policy: &Policy) -> Answer<bool>;

    /// A request that was [held](Live::held) has been answered, or dropped. That is activity, too, if the session is
    /// still live.
    fn release(&self, session: SessionKey) {
        let _ = session;
    }

    /// The request that this session was admitted with was no activity after all: an inner layer refused it. What its check
    /// renewed is as before, and what it [held](Live::held) is released; another activity since then stays one. Default:
    /// nothing is taken back.
    fn withdraw(&self, live: &Live) -> Answer<()> {
        if live.held {
            self.release(live.key);
        }
        Answer::Ready(Ok(()))
    }

    /// Ends this session, all its ids. `true` if it was live until now.
    fn end(&self, session: SessionKey, reason: EndReason) -> Answer<bool>;

    /// How to end the session of this id later, as often as it takes, without keeping the id: for a log-out that comes while
    /// the store is away. Default: there is no way, for the store is never away.
    fn end_later(&self, id: &SessionId<'_>, reason: EndReason) -> Option<EndLater> {
        let _ = (id, reason);
        None
    }

    /// The live sessions of this owner, in no particular order. A store without an index of owners refuses.
    fn sessions_of(&self, owner: &Owner, policy: &Policy) -> Answer<Vec<SessionInfo>> {
        let _ = (owner, policy);
        Answer::Ready(Err(no_owners()))
    }

    /// Ends the sessions of this owner, but for `except`, and says how many were live. Every session whose start had
    /// been answered before is among them. A store without an index of owners refuses.
    fn end_all(&self, owner: &Owner, except: Option<SessionKey>) -> Answer<usize> {
        let _ = (owner, except);
        Answer::Ready(Err(no_owners()))
    }

    /// A layer that will ask this store is being built. Default: that is nothing to the store, but that it does not count
    /// sessions, for it has no index of owners.
    ///
    /// # Errors
    ///
    /// If the store cannot do what the layer will ask of it. The layer is not built then.
    fn attach(&self, layer: &LayerSettings) -> Result<(), StoreError> {
        if layer.counts_sessions { Err(no_owners()) } else { Ok(()) }
    }

    /// Where to tell of [`SessionEvent::Ended`](crate::SessionEvent::Ended). A store that cannot tell ignores it.
    fn events(&self, sink: EventSink) {
        let _ = sink;
    }

    /// For a store that leaves its records with the clients, in cookies beside the session cookie: what each is called.
    /// Default: none, for the store keeps its records itself.
    fn companions(&self) -> &'static [&'static str] {
        &[]
    }

    /// For a store that leaves its records with the clients: the store as one request asks it. `cookie` is the session
    /// cookie's name, `received` what came with the request, of each companion perhaps several.
    fn for_request(&self, cookie: &str, received: Vec<Companion>) -> Option<Arc<dyn RequestStore>> {
        let _ = (cookie, received);
        None
    }
}

/// A store as one request asks it, with the records its client was left with: see [`Store::companions`].
pub trait RequestStore: Store {
    /// What the client is to keep from now on, instead of what it has; nothing for most requests. `None`: its session is
    /// over, and it is to keep none of it.
    ///
    /// `set` is the session id the answer leaves with; without one, the client keeps the id that was checked last.
    fn left(&self, set: Option<&SessionId<'_>>, policy: &Policy) -> Option<Vec<Companion>>;
}

/// A record, or a part of one, that is left with a client in a cookie of its own. `Debug` shows nothing of its value.
#[derive(Clone)]
#[non_exhaustive]
pub struct Companion {
    /// Which of the store's [companions](Store::companions).
    pub name: &'static str,
    /// The cookie's value.
    pub value: String,
    /// How long it may be of use at most.
    pub lasts: Option<Duration>,
}

impl Companion {
    /// A companion of this value.
    pub fn new(name: &'static str, value: impl Into<String>) -> Self {
        Self { name, value: value.into(), lasts: None }
    }

    /// The same, of no use after this time.
    pub fn lasting(self, lasts: Duration) -> Self {
        Self { lasts: Some(lasts), ..self }
    }
}

impl fmt::Debug for Companion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Companion").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Implements [`Store`] by another store: here, and in the crates of stores beside this one.
#[doc(hidden)]
#[macro_export]
macro_rules! forward_store {
    ([$($generics:tt)+] $store:ty, |$this:ident| $inner:expr) => {
        impl<$($generics)+> $crate::Store for $store {
            fn check(
                &self,
                id: &$crate::SessionId<'_>,
                policy: &$crate::Policy,
                access: $crate::Access,
            ) -> $crate::Answer<$crate::Decision> {
                let $this = self;
                $inner.check(id, policy, access)
            }

            fn remaining(
                &self,
                session: $crate::SessionKey,
                policy: &$crate::Policy,
            ) -> $crate::Answer<$crate::Verdict> {
                let $this = self;
                $inner.remaining(session, policy)
            }

            fn renew(
                &self,
                session: $crate::SessionKey,
                ago: std::time::Duration,
                policy: &$crate::Policy,
            ) -> $crate::Answer<$crate::Verdict> {
                let $this = self;
                $inner.renew(session, ago, policy)
            }

            fn start(
                &self,
                id: &$crate::SessionId<'_>,
                new: &$crate::NewSession,
                policy: &$crate::Policy,
            ) -> $crate::Answer<$crate::Started> {
                let $this = self;
                $inner.start(id, new, policy)
            }

            fn adopt(
                &self,
                id: &$crate::SessionId<'_>,
                new: &$crate::NewSession,
                policy: &$crate::Policy,
            ) -> $crate::Answer<$crate::Adopted> {
                let $this = self;
                $inner.adopt(id, new, policy)
            }

            fn rotate(
                &self,
                session: $crate::SessionKey,
                new: &$crate::SessionId<'_>,
                presented: $crate::IdTag,
                policy: &$crate::Policy,
            ) -> $crate::Answer<$crate::Rotated> {
                let $this = self;
                $inner.rotate(session, new, presented, policy)
            }

            fn restart(&self, session: $crate::SessionKey, policy: &$crate::Policy) -> $crate::Answer<bool> {
                let $this = self;
                $inner.restart(session, policy)
            }

            fn release(&self, session: $crate::SessionKey) {
                let $this = self;
                $inner.release(session);
            }

            fn withdraw(&self, live: &$crate::Live) -> $crate::Answer<()> {
                let $this = self;
                $inner.withdraw(live)
            }

            fn end_later(
                &self,
                id: &$crate::SessionId<'_>,
                reason: $crate::EndReason,
            ) -> Option<$crate::EndLater> {
                let $this = self;
                $inner.end_later(id, reason)
            }

            fn end(&self, session: $crate::SessionKey, reason: $crate::EndReason) -> $crate::Answer<bool> {
                let $this = self;
                $inner.end(session, reason)
            }

            fn sessions_of(
                &self,
                owner: &$crate::Owner,
                policy: &$crate::Policy,
            ) -> $crate::Answer<Vec<$crate::SessionInfo>> {
                let $this = self;
                $inner.sessions_of(owner, policy)
            }

            fn end_all(
                &self,
                owner: &$crate::Owner,
                except: Option<$crate::SessionKey>,
            ) -> $crate::Answer<usize> {
                let $this = self;
                $inner.end_all(owner, except)
            }

            fn attach(&self, layer: &$crate::LayerSettings) -> Result<(), $crate::StoreError> {
                let $this = self;
                $inner.attach(layer)
            }

            fn events(&self, sink: $crate::EventSink) {
                let $this = self;
                $inner.events(sink);
            }

            fn companions(&self) -> &'static [&'static str] {
                let $this = self;
                $inner.companions()
            }

            fn for_request(
                &self,
                cookie: &str,
                received: Vec<$crate::Companion>,
            ) -> Option<std::sync::Arc<dyn $crate::RequestStore>> {
                let $this = self;
                $inner.for_request(cookie, received)
            }
        }
    };
}
// A store that is shared: between layers, or to sweep it.
forward_store!([S: Store + ?Sized] Arc<S>, |this| (**this));

/// What a store has to know of a layer that asks it.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct LayerSettings {
    /// The layer's limits.
    pub limits: Limits,
    /// Whether it limits the [number of an owner's sessions](NewSession::max_sessions).
    pub counts_sessions: bool,
    /// Whether it may [adopt](Store::adopt) sessions: for as long as its idle timeout, an end has to be remembered.
    pub adopts: bool,
    /// How long it waits for an answer.
    pub deadline: Duration,
}

impl LayerSettings {
    /// A layer with these limits, which counts and adopts nothing and waits for half a second.
    pub const fn new(limits: Limits) -> Self {
        Self { limits, counts_sessions: false, adopts: false, deadline: Duration::from_millis(500) }
    }
}

fn no_owners() -> StoreError {
    StoreError::new(NoOwners)
}

#[derive(Debug)]
struct NoOwners;

impl fmt::Display for NoOwners {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("this store keeps no index of owners")
    }
}

impl Error for NoOwners {}

/// Ends a session when it is called: see [`Store::end_later`]. It knows no session id.
pub type EndLater = Box<dyn Fn() -> Answer<bool> + Send + Sync>;

/// A boxed future, as stores on a network answer with.
pub type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// A store's answer: there already, or on its way.
///
/// An answer that is `Ready` costs a request neither an allocation nor a clone of the inner service.
pub enum Answer<T> {
    /// The answer of a store in memory.
    Ready(Result<T, StoreError>),
    /// The answer of a store on a network. It borrows nothing.
    Pending(BoxFuture<Result<T, StoreError>>),
}

impl<T> IntoFuture for Answer<T>
where
    T: Send + 'static,
{
    type Output = Result<T, StoreError>;
    type IntoFuture = BoxFuture<Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        match self {
            Self::Ready(result) => Box::pin(std::future::ready(result)),
            Self::Pending(future) => future,
        }
    }
}

impl<T: fmt::Debug> fmt::Debug for Answer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ready(result) => f.debug_tuple("Ready").field(result).finish(),
            Self::Pending(_) => f.write_str("Pending(..)"),
        }
    }
}

/// Whether a check renews.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// The request is activity: it renews.
    Renew,
    /// As `Renew`; and while the request is in flight, the session does not end as idle: until
    /// [`release`](Store::release). A store that answers later cannot [hold](Live::held), for by then nobody may be there
    /// to let go: it only renews, and is asked to [again and again](Store::renew).
    Hold,
    /// The user was active this long ago, and the client tells it now: the last activity moves there, but never back.
    RenewAgo(Duration),
    /// The request is passive, or merely a look: no later decision changes.
    Peek,
}

/// What a store decided about an id.
#[derive(Clone, Debug)]
pub enum Decision {
    /// The session is live.
    Live(Live),
    /// The session is over.
    Ended {
        /// Why.
        reason: EndReason,
        /// Which one, if the store knows the id.
        session: Option<SessionKey>,
        /// Whose session it was, if its start named an owner.
        owner: Option<Owner>,
    },
    /// The session lives, but this request's cap refuses the request.
    Capped(EndReason),
}

impl Decision {
    /// About an id the store does not know.
    pub const UNKNOWN: Self = Self::Ended { reason: EndReason::Unknown, session: None, owner: None };
}

/// A live session, as of the moment it was checked.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Live {
    /// Names the session in later calls.
    pub key: SessionKey,
    /// Tells the presented id from the session's others.
    pub presented: IdTag,
    /// The time since the activity before this one.
    pub idle_for: Duration,
    /// The time since the session began.
    pub age: Duration,
    /// The time since the presented id was issued.
    pub id_age: Duration,
    /// What is left, this check's own renewal included.
    pub remaining: Remaining,
    /// Whether the session is held until [`Store::release`], once for each answer that says so.
    pub held: bool,
    /// Whose session it is, if its start said so.
    pub owner: Option<Owner>,
    /// The last activity as this check has recorded it, by the store's clock; if it has.
    pub(crate) renewed_at: Option<u64>,
}

impl Live {
    /// A live session under its first id, that nobody owns and nothing holds.
    pub fn new(
        key: SessionKey,
        presented: IdTag,
        idle_for: Duration,
        age: Duration,
        remaining: Remaining,
    ) -> Self {
        Self {
            key,
            presented,
            idle_for,
            age,
            id_age: age,
            remaining,
            held: false,
            owner: None,
            renewed_at: None,
        }
    }

    /// The same, under an id issued later.
    pub fn with_id_age(self, id_age: Duration) -> Self {
        Self { id_age, ..self }
    }

    /// The same, held or not.
    pub fn with_held(self, held: bool) -> Self {
        Self { held, ..self }
    }

    /// The same, with its owner.
    pub fn with_owner(self, owner: Option<Owner>) -> Self {
        Self { owner, ..self }
    }

    /// The idle timeout this session is under: a mere look leaves what has passed of it.
    #[cfg(feature = "client")]
    pub(crate) fn idle_timeout(&self, access: Access) -> Duration {
        let passed = if access == Access::Peek { self.idle_for } else { Duration::ZERO };
        self.remaining.idle.saturating_add(passed)
    }
}

/// A live session, as its owner may see it in a list.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SessionInfo {
    /// Names the session in later calls.
    pub key: SessionKey,
    /// The time since its last activity.
    pub idle_for: Duration,
    /// The time since it began.
    pub age: Duration,
    /// What its start said of it.
    pub label: Option<Label>,
}

impl SessionInfo {
    /// A session with these times.
    pub fn new(key: SessionKey, idle_for: Duration, age: Duration) -> Self {
        Self { key, idle_for, age, label: None }
    }

    /// The same, with its label.
    pub fn with_label(self, label: Option<Label>) -> Self {
        Self { label, ..self }
    }

    /// Names the session in a form: see [`Sessions::end_tagged`](crate::Sessions::end_tagged). It is of no use in
    /// place of a session id.
    pub fn tag(&self) -> String {
        self.key.tag()
    }
}

/// How a session begins.
///
/// Given to [`Sessions::start`](crate::Sessions::start), or put into a response's extensions: such an answer *is* a
/// log-in, and the session cookie it sets begins a session of this kind (a live session the request came with ends).
///
/// ```
/// use tower_session_timeout::NewSession;
///
/// let login = NewSession::new().owner("user-4711");
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct NewSession {
    /// Whose session it is.
    pub owner: Option<Owner>,
    /// Limits of its own, instead of the layer's.
    pub limits: Option<Limits>,
    /// How long ago the user was authenticated: the absolute clock starts there.
    pub age: Duration,
    /// What tells it from its owner's others.
    pub label: Option<Label>,
    /// How many sessions its owner may have, instead of what the layer says.
    pub max_sessions: Option<MaxSessions>,
}

impl NewSession {
    /// A session nobody owns, under the layer's limits, beginning now.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whose session it is: a short, opaque user id.
    pub fn owner(self, owner: impl Into<Owner>) -> Self {
        Self { owner: Some(owner.into()), ..self }
    }

    /// Limits of its own ("remember me"), which replace the layer's for this session.
    pub fn limits(self, limits: Limits) -> Self {
        Self { limits: Some(limits), ..self }
    }

    /// How long ago the user was authenticated, if elsewhere and earlier.
    pub fn age(self, age: Duration) -> Self {
        Self { age, ..self }
    }

    /// What tells it from its owner's others, in a [list](crate::Sessions::sessions_of) and in events: a device, an address,
    /// a user agent. Instead of what [`session_label`](crate::SessionTimeoutBuilder::session_label) finds.
    pub fn label(self, label: impl Into<Label>) -> Self {
        Self { label: Some(label.into()), ..self }
    }

    /// How many sessions its owner may have, this one included, instead of what
    /// [the layer](crate::SessionTimeoutBuilder::max_sessions) says.
    pub fn max_sessions(self, max_sessions: MaxSessions) -> Self {
        Self { max_sessions: Some(max_sessions), ..self }
    }

    /// Whose sessions are limited to how many, if they are.
    pub(crate) fn limit(&self) -> Option<(&Owner, MaxSessions)> {
        Some((self.owner.as_ref()?, self.max_sessions?))
    }
}

/// How many sessions an owner may have at the same time, and what becomes of a further one (OWASP ASVS 5.0 §7.1.2).
///
/// A session counts as long as a layer of this process admits it, used or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaxSessions {
    number: usize,
    refuses: bool,
}

impl MaxSessions {
    /// For a further one, the owner's session that has been idle longest ends ([`EndReason::Revoked`]). The number is one at
    /// least.
    pub const fn end_longest_idle(number: usize) -> Self {
        Self { number, refuses: false }
    }

    /// A further one is refused.
    pub const fn refuse_new(number: usize) -> Self {
        Self { number, refuses: true }
    }

    /// How many.
    pub const fn number(self) -> usize {
        self.number
    }

    /// How many of the owner's other live sessions have to go for a new one; `None`: it is refused.
    pub(crate) fn to_end(self, others: usize) -> Option<usize> {
        let excess = (others + 1).saturating_sub(self.number);
        (!self.refuses || excess == 0).then_some(excess.min(others))
    }
}

/// The longest idle come first.
pub(crate) fn sort_longest_idle_first(sessions: &mut [SessionInfo]) {
    sessions.sort_by_key(|session| std::cmp::Reverse((session.idle_for, session.age)));
}

/// What became of [`Store::start`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Started {
    /// A new session.
    New(SessionKey),
    /// The id already led to a live session, which was left as it is.
    AlreadyLive(SessionKey),
    /// The store is full of live sessions. Nothing was begun.
    AtCapacity,
    /// Its owner has as many sessions as [allowed](MaxSessions::refuse_new). Nothing was begun.
    TooMany,
}

/// What became of [`Store::adopt`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Adopted {
    /// A new session.
    New(SessionKey),
    /// The id is known already: live, or over.
    Known,
    /// The store is full of sessions that are live or have to be remembered. Nothing was begun.
    AtCapacity,
    /// Its owner has as many sessions as [allowed](MaxSessions::refuse_new). Nothing was begun.
    TooMany,
}

/// What became of [`Store::rotate`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rotated {
    /// The value is an id of this session now.
    New,
    /// The value leads to a live session already: to this one, as a rule.
    AlreadyLive,
    /// The value is not live, and must not reach the client.
    Refused,
}

/// A store could not answer.
#[derive(Debug)]
pub struct StoreError(Box<dyn Error + Send + Sync>);

impl StoreError {
    /// The store failed for this reason. Keep session ids and passwords out of it.
    pub fn new(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self(source.into())
    }

    /// There is no room for what is to be written: no session can begin for want of it. For [`Backend::list`].
    #[cfg(feature = "shared")]
    pub fn no_room() -> Self {
        shared::no_room()
    }

    /// Under the key of a record is something that is none, and cannot be read as one: no session. For [`Backend::load`].
    #[cfg(feature = "shared")]
    pub fn foreign() -> Self {
        shared::foreign()
    }

    #[cfg(feature = "shared")]
    fn is<E: Error + 'static>(&self) -> bool {
        self.0.is::<E>()
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the session store failed: {}", self.0)
    }
}

impl Error for StoreError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.0)
    }
}

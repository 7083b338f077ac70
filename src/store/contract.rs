//! The contract of a store.

use std::{fmt, sync::Arc, time::Duration};

use crate::{
    event::EventSink,
    rules::{
        decision::{Access, Decision, Live},
        id::{IdTag, Owner, SessionId, SessionKey},
        limits::{EndReason, Limits, Policy, Verdict},
        new_session::{NewSession, SessionInfo},
    },
    store::answer::{Adopted, Answer, Restarted, Rotated, Started, StoreError, no_owners},
};

/// Keeps the clocks of sessions and decides by them: what a layer asks.
///
/// This crate's stores implement it, and those of the crates beside it. For sessions in a place of your own, write a
/// `Backend` (feature `shared`), and `SharedStore` makes a store of it: the rules are there already. What the rules are:
///
/// Every method is one atomic operation on one session. There is no `get` and no `set`, so no store can be written
/// whose renewal races a log-out.
///
/// - **An id the store does not know has ended** ([`EndReason::Unknown`]).
/// - **Only a start creates a session.** Nothing else brings one into being or back.
/// - The boundary is closed: a session has ended once `elapsed >= limit` .
/// - A look ends nothing for a layer with laxer limits. An activity that is refused ends the session for all.
/// - An ended session keeps its reason for 5 minutes, so that parallel requests hear the same one; and for as long as any
///   layer could adopt its id ([`Found::Verified`](crate::Found::Verified)).
/// - Several ids may be those of one session. An old id works for the rotation grace from the moment a newer one is
///   first used: one that was issued after the old one was last set. One that is not superseded is never given up, up to
///   1,024 of them; superseded ones are told apart from unknown ones for 5 minutes after their grace, 63 of them at most.
/// - Arguments are ages and durations: each store has a clock of its own.
/// - Ids are kept hashed.
pub trait Store: Send + Sync + 'static {
    /// Is this id's session live? With [`Access::Renew`] its last activity is now, unless it has ended.
    #[doc(hidden)]
    fn check(&self, id: &SessionId<'_>, policy: &Policy, access: Access) -> Answer<Decision>;

    /// What this session has left, whichever of its ids is used; or why it has ended. It renews nothing. Whoever waits
    /// for the end of a session asks again and again.
    #[doc(hidden)]
    fn remaining(&self, session: SessionKey, policy: &Policy) -> Answer<Verdict>;

    /// This session was active so long `ago`: its last activity moves there, unless it has ended, and never back. What it has
    /// left.
    ///
    /// Asked of stores that do not [hold](Live::held): again and again while a request is under way, and once it was
    /// answered. Default: renews nothing, so that a request that takes longer than the idle timeout loses its session.
    #[doc(hidden)]
    fn renew(&self, session: SessionKey, ago: Duration, policy: &Policy) -> Answer<Verdict> {
        let _ = ago;
        self.remaining(session, policy)
    }

    /// Begins a session under this id. A live one is left as it is; anything else under the id is replaced.
    ///
    /// Where [`NewSession::max_sessions`] says so, the owner never has more once this is answered, however many begin at the
    /// same time. A store that keeps no owners fails then.
    #[doc(hidden)]
    fn start(&self, id: &SessionId<'_>, new: &NewSession, policy: &Policy) -> Answer<Started>;

    /// Begins a session that was authenticated elsewhere, [`NewSession::age`] ago, and has not been active since. Only
    /// under an id the store does not know: what has ended stays so, and must be remembered for the idle timeout of
    /// such a session at least, come what may. A store that cannot promise that refuses.
    #[doc(hidden)]
    fn adopt(&self, id: &SessionId<'_>, new: &NewSession, policy: &Policy) -> Answer<Adopted> {
        let _ = (id, new, policy);
        Answer::Ready(Err(StoreError::new("this store adopts no sessions")))
    }

    /// Makes `new` an id of this session. `presented` is the id the request came with.
    ///
    /// Refused if this session has ended. Refused, too, if `new` is the presented id itself, and was superseded meanwhile
    /// or a newer one was set less than twice [`Policy::rotation_grace`] ago: a slow answer must not bring the old id back.
    /// Any other id of this session is set again thereby, and is the newest.
    #[doc(hidden)]
    fn rotate(
        &self,
        session: SessionKey,
        new: &SessionId<'_>,
        presented: IdTag,
        policy: &Policy,
    ) -> Answer<Rotated>;

    /// The user proved again who they are: both clocks begin anew and superseded ids end at once. What `new` says (limits, a
    /// label, an owner if there is none) is so from now on; what it does not say stays as it is.
    #[doc(hidden)]
    fn restart(&self, session: SessionKey, new: &NewSession, policy: &Policy) -> Answer<Restarted>;

    /// A request that was [held](Live::held) has been answered, or dropped. That is activity, too, if the session is
    /// still live.
    #[doc(hidden)]
    fn release(&self, session: SessionKey) {
        let _ = session;
    }

    /// The request that this session was admitted with was no activity after all: an inner layer refused it. What its check
    /// renewed is as before, and what it [held](Live::held) is released; another activity since then stays one. Default:
    /// nothing is taken back.
    #[doc(hidden)]
    fn withdraw(&self, live: &Live) -> Answer<()> {
        if live.held {
            self.release(live.key);
        }
        Answer::Ready(Ok(()))
    }

    /// Ends this session, all its ids. `true` if it was live until now.
    #[doc(hidden)]
    fn end(&self, session: SessionKey, reason: EndReason) -> Answer<bool>;

    /// As [`end`](Self::end); but not if a newer id has superseded the presented one: a late answer signs nobody out who goes
    /// on with another id. Default: it is not looked at.
    #[doc(hidden)]
    fn end_by(&self, session: SessionKey, presented: IdTag, reason: EndReason) -> Answer<bool> {
        let _ = presented;
        self.end(session, reason)
    }

    /// The tag of this id, by which [`Live::presented`] is told from others. Default: nobody knows.
    #[doc(hidden)]
    fn tag(&self, id: &SessionId<'_>) -> Option<IdTag> {
        let _ = id;
        None
    }

    /// How to end the session of this id later, as often as it takes, without keeping the id: for a log-out that comes while
    /// the store is away. Default: there is no way, for the store is never away.
    #[doc(hidden)]
    fn end_later(&self, id: &SessionId<'_>, reason: EndReason) -> Option<EndLater> {
        let _ = (id, reason);
        None
    }

    /// The live sessions of this owner, in no particular order. A store without an index of owners refuses.
    #[doc(hidden)]
    fn sessions_of(&self, owner: &Owner, policy: &Policy) -> Answer<Vec<SessionInfo>> {
        let _ = (owner, policy);
        Answer::Ready(Err(no_owners()))
    }

    /// Ends the sessions of this owner, but for `except`, and says how many were live. Every session whose start had
    /// been answered before is among them. A store without an index of owners refuses.
    #[doc(hidden)]
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
    #[doc(hidden)]
    fn attach(&self, layer: &LayerSettings) -> Result<(), StoreError> {
        if layer.counts_sessions { Err(no_owners()) } else { Ok(()) }
    }

    /// Where to tell of [`SessionEvent::Ended`](crate::SessionEvent::Ended). A store that cannot tell ignores it.
    #[doc(hidden)]
    fn events(&self, sink: EventSink) {
        let _ = sink;
    }

    /// For a store that leaves its records with the clients, in cookies beside the session cookie: what each is called.
    /// Default: none, for the store keeps its records itself.
    #[doc(hidden)]
    fn companions(&self) -> &'static [&'static str] {
        &[]
    }

    /// For a store that leaves its records with the clients: the store as one request asks it. `cookie` is the session
    /// cookie's name, `received` what came with the request, of each companion perhaps several.
    #[doc(hidden)]
    fn for_request(&self, cookie: &str, received: Vec<Companion>) -> Option<Arc<dyn RequestStore>> {
        let _ = (cookie, received);
        None
    }
}

/// A store as one request asks it, with the records its client was left with: see [`Store::companions`].
#[doc(hidden)]
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
                policy: &$crate::contract::Policy,
                access: $crate::contract::Access,
            ) -> $crate::contract::Answer<$crate::Decision> {
                let $this = self;
                $inner.check(id, policy, access)
            }

            fn remaining(
                &self,
                session: $crate::SessionKey,
                policy: &$crate::contract::Policy,
            ) -> $crate::contract::Answer<$crate::contract::Verdict> {
                let $this = self;
                $inner.remaining(session, policy)
            }

            fn renew(
                &self,
                session: $crate::SessionKey,
                ago: std::time::Duration,
                policy: &$crate::contract::Policy,
            ) -> $crate::contract::Answer<$crate::contract::Verdict> {
                let $this = self;
                $inner.renew(session, ago, policy)
            }

            fn start(
                &self,
                id: &$crate::SessionId<'_>,
                new: &$crate::NewSession,
                policy: &$crate::contract::Policy,
            ) -> $crate::contract::Answer<$crate::Started> {
                let $this = self;
                $inner.start(id, new, policy)
            }

            fn adopt(
                &self,
                id: &$crate::SessionId<'_>,
                new: &$crate::NewSession,
                policy: &$crate::contract::Policy,
            ) -> $crate::contract::Answer<$crate::contract::Adopted> {
                let $this = self;
                $inner.adopt(id, new, policy)
            }

            fn rotate(
                &self,
                session: $crate::SessionKey,
                new: &$crate::SessionId<'_>,
                presented: $crate::contract::IdTag,
                policy: &$crate::contract::Policy,
            ) -> $crate::contract::Answer<$crate::contract::Rotated> {
                let $this = self;
                $inner.rotate(session, new, presented, policy)
            }

            fn restart(
                &self,
                session: $crate::SessionKey,
                new: &$crate::NewSession,
                policy: &$crate::contract::Policy,
            ) -> $crate::contract::Answer<$crate::contract::Restarted> {
                let $this = self;
                $inner.restart(session, new, policy)
            }

            fn end_by(
                &self,
                session: $crate::SessionKey,
                presented: $crate::contract::IdTag,
                reason: $crate::EndReason,
            ) -> $crate::contract::Answer<bool> {
                let $this = self;
                $inner.end_by(session, presented, reason)
            }

            fn tag(&self, id: &$crate::SessionId<'_>) -> Option<$crate::contract::IdTag> {
                let $this = self;
                $inner.tag(id)
            }

            fn release(&self, session: $crate::SessionKey) {
                let $this = self;
                $inner.release(session);
            }

            fn withdraw(&self, live: &$crate::Live) -> $crate::contract::Answer<()> {
                let $this = self;
                $inner.withdraw(live)
            }

            fn end_later(
                &self,
                id: &$crate::SessionId<'_>,
                reason: $crate::EndReason,
            ) -> Option<$crate::contract::EndLater> {
                let $this = self;
                $inner.end_later(id, reason)
            }

            fn end(&self, session: $crate::SessionKey, reason: $crate::EndReason) -> $crate::contract::Answer<bool> {
                let $this = self;
                $inner.end(session, reason)
            }

            fn sessions_of(
                &self,
                owner: &$crate::Owner,
                policy: &$crate::contract::Policy,
            ) -> $crate::contract::Answer<Vec<$crate::SessionInfo>> {
                let $this = self;
                $inner.sessions_of(owner, policy)
            }

            fn end_all(
                &self,
                owner: &$crate::Owner,
                except: Option<$crate::SessionKey>,
            ) -> $crate::contract::Answer<usize> {
                let $this = self;
                $inner.end_all(owner, except)
            }

            fn attach(&self, layer: &$crate::LayerSettings) -> Result<(), $crate::StoreError> {
                let $this = self;
                $inner.attach(layer)
            }

            fn events(&self, sink: $crate::contract::EventSink) {
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
                received: Vec<$crate::contract::Companion>,
            ) -> Option<std::sync::Arc<dyn $crate::contract::RequestStore>> {
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

/// Ends a session when it is called: see [`Store::end_later`]. It knows no session id.
pub type EndLater = Box<dyn Fn() -> Answer<bool> + Send + Sync>;

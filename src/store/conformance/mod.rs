//! Whether a store of your own keeps the contract of [`Store`], or a backend that of [`Backend`](crate::Backend).
//!
//! [`check`] is what every store promises. What a store may do besides is tried by [`owners`], [`in_flight`] and
//! [`adoptions`].
//!
//! The functions panic with the promise that is broken, as tests do. They want an empty store on the clock they give, which
//! counts milliseconds at least, and which has its activities recorded at once: no granularity.
//!
//! ```
//! use tower_session_timeout::{MemoryStore, conformance};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let make = |clock| MemoryStore::new().clock(clock);
//! conformance::check(&make).await;
//! conformance::owners(&make).await;
//! # }
//! ```

mod adoption;
#[cfg(feature = "shared")]
mod backend;
mod in_flight;
mod owners;

use std::{fmt::Debug, sync::Arc, time::Duration};

#[cfg(feature = "shared")]
pub use self::backend::backend;
pub use self::{adoption::adoptions, in_flight::in_flight, owners::owners};
use crate::{
    clock::ManualClock,
    rules::{
        decision::{Access, Decision, Live},
        id::{SessionId, SessionKey},
        limits::{EndReason, Limits, Policy, Verdict},
        new_session::NewSession,
    },
    store::{
        answer::{Restarted, Rotated, Started},
        contract::Store,
    },
};

const IDLE: Duration = Duration::from_secs(15 * 60);
const ABSOLUTE: Duration = Duration::from_secs(60 * 60);
const GRACE: Duration = Duration::from_secs(30);
const MILLISECOND: Duration = Duration::from_millis(1);
const ROUNDS: usize = 100;
/// How many renewals race an end.
const AT_ONCE: usize = 8;

/// What every store promises.
///
/// # Panics
///
/// If the store breaks a promise.
pub async fn check<S: Store>(make: &impl Fn(ManualClock) -> S) {
    clocks(make).await;
    ends(make).await;
    rotations(make).await;
    races(make, ROUNDS).await;
}

fn keeps(kept: bool, promise: &str, seen: impl Debug) {
    assert!(kept, "the store breaks a promise: {promise}; it says {seen:?}");
}

/// A store under test, and its clock.
struct Tried<S> {
    store: Arc<S>,
    clock: ManualClock,
    policy: Policy,
}

impl<S: Store> Tried<S> {
    fn new(make: &impl Fn(ManualClock) -> S) -> Self {
        let clock = ManualClock::new();
        // A session may be older than a clock that began just now.
        clock.advance(2 * ABSOLUTE);
        let policy = Policy { rotation_grace: GRACE, ..Policy::new(Limits::new(IDLE, ABSOLUTE)) };
        Self { store: Arc::new(make(clock.clone())), clock, policy }
    }

    async fn decide(&self, id: &str, access: Access) -> Decision {
        self.decide_by(&self.policy, id, access).await
    }

    async fn decide_by(&self, policy: &Policy, id: &str, access: Access) -> Decision {
        self.store.check(&SessionId::from(id), policy, access).await.expect("the store answers")
    }

    async fn start(&self, id: &str, new: &NewSession) -> Started {
        self.store.start(&SessionId::from(id), new, &self.policy).await.expect("the store answers")
    }

    /// Begins a session, and names it.
    async fn begin(&self, id: &str) -> SessionKey {
        match self.start(id, &NewSession::new()).await {
            Started::New(key) => key,
            other => panic!(
                "the store breaks a promise: a session begins under an id that is free; it says {other:?}"
            ),
        }
    }

    async fn rotate(&self, from: &Live, to: &str) -> Rotated {
        let to = SessionId::from(to);
        self.store.rotate(from.key, &to, from.presented, &self.policy).await.expect("the store answers")
    }

    async fn restart(&self, session: SessionKey) -> bool {
        let new = NewSession::new();
        let restarted = self.store.restart(session, &new, &self.policy).await.expect("the store answers");
        restarted == Restarted::Done
    }

    async fn renew(&self, session: SessionKey) -> Verdict {
        self.store.renew(session, Duration::ZERO, &self.policy).await.expect("the store answers")
    }

    async fn end(&self, session: SessionKey, reason: EndReason) -> bool {
        self.store.end(session, reason).await.expect("the store answers")
    }

    /// The live session of this id, renewed.
    async fn live(&self, id: &str, promise: &str) -> Live {
        match self.decide(id, Access::Renew).await {
            Decision::Live(live) => live,
            over => panic!("the store breaks a promise: {promise}; it says {over:?}"),
        }
    }

    async fn has_ended(&self, id: &str, reason: EndReason, promise: &str) {
        for access in [Access::Renew, Access::Peek] {
            let decision = self.decide(id, access).await;
            keeps(is_ended(&decision, reason), promise, decision);
        }
    }
}

fn is_ended(decision: &Decision, expected: EndReason) -> bool {
    matches!(decision, Decision::Ended { reason, .. } if *reason == expected)
}

/// Idle and absolute timeouts, whatever is looked at or refused in between.
///
/// # Panics
///
/// If the store breaks a promise.
pub async fn clocks<S: Store>(make: &impl Fn(ManualClock) -> S) {
    let tried = Tried::new(make);
    tried.has_ended("unknown", EndReason::Unknown, "a renewal creates nothing").await;

    tried.begin("idle").await;
    tried.clock.advance(IDLE.saturating_sub(MILLISECOND));
    let live = tried.live("idle", "live until the idle timeout").await;
    keeps(live.idle_for() == IDLE.saturating_sub(MILLISECOND), "idle since the last activity", &live);
    keeps(live.remaining().idle == IDLE, "a renewal gives the whole idle timeout again", &live);
    tried.clock.advance(IDLE);
    tried.has_ended("idle", EndReason::Idle, "over at the idle timeout itself").await;
    tried.clock.advance(Duration::from_secs(4 * 60));
    tried.has_ended("idle", EndReason::Idle, "an ended session keeps its reason for 5 minutes").await;
    keeps(
        matches!(tried.start("idle", &NewSession::new()).await, Started::New(_)),
        "a start replaces what has ended",
        "not new",
    );
    let again = tried.live("idle", "a session begun anew is live").await;
    keeps(again.age() == Duration::ZERO, "a session begun anew is new", again);

    let tried = Tried::new(make);
    let key = tried.begin("absolute").await;
    let step = ABSOLUTE / 8;
    for passed in 1..8_u32 {
        tried.clock.advance(step);
        let live = tried.live("absolute", "a session in use is live until the absolute timeout").await;
        keeps(live.age() == step * passed, "the absolute clock counts from the start", &live);
        let left = Some(ABSOLUTE.saturating_sub(step * passed));
        keeps(live.remaining().absolute == left, "activity moves no absolute timeout", live);
    }
    let again = tried.start("absolute", &NewSession::new()).await;
    keeps(again == Started::AlreadyLive(key), "a start leaves a live session as it is", again);
    tried.clock.advance(step);
    tried.has_ended("absolute", EndReason::Absolute, "over at the absolute timeout itself").await;

    looks(make).await;
    renewals(make).await;
    caps(make).await;
}

/// Looks, and renewals of the past.
async fn looks<S: Store>(make: &impl Fn(ManualClock) -> S) {
    let tried = Tried::new(make);
    let key = tried.begin("id").await;
    tried.clock.advance(IDLE / 2);
    let looked = tried.decide("id", Access::Peek).await;
    keeps(matches!(looked, Decision::Live(_)), "a look finds a live session", looked);
    let left = tried.store.remaining(key, &tried.policy).await.expect("the store answers");
    keeps(
        matches!(left, Verdict::Live(left) if left.idle == IDLE / 2),
        "what is left is told without renewing it",
        left,
    );
    tried.decide("id", Access::RenewAgo(IDLE / 4)).await;
    tried.decide("id", Access::RenewAgo(IDLE)).await;
    tried.clock.advance((IDLE * 3 / 4).saturating_sub(MILLISECOND));
    let looked = tried.decide("id", Access::Peek).await;
    keeps(
        matches!(looked, Decision::Live(_)),
        "an activity of the past renews as of then, and never back",
        looked,
    );
    tried.clock.advance(MILLISECOND);
    tried.has_ended("id", EndReason::Idle, "a look renews nothing").await;
}

/// A request that takes its time, of which the store is told again and again.
async fn renewals<S: Store>(make: &impl Fn(ManualClock) -> S) {
    let tried = Tried::new(make);
    let key = tried.begin("id").await;
    tried.clock.advance(IDLE / 2);
    let renewed = tried.renew(key).await;
    let Verdict::Live(left) = renewed else {
        panic!("the store breaks a promise: a live session is live; it says {renewed:?}")
    };
    tried.clock.advance(left.idle.saturating_sub(2 * MILLISECOND));
    for ago in [IDLE.saturating_sub(MILLISECOND), IDLE] {
        let earlier = tried.store.renew(key, ago, &tried.policy).await;
        keeps(
            matches!(earlier, Ok(Verdict::Live(left)) if left.idle == 2 * MILLISECOND),
            "an activity of the past moves the last one never back",
            earlier,
        );
    }
    tried.clock.advance(MILLISECOND);
    let looked = tried.decide("id", Access::Peek).await;
    keeps(matches!(looked, Decision::Live(_)), "a renewed session lives as long as was said", looked);
    tried.clock.advance(MILLISECOND);
    let renewed = tried.renew(key).await;
    keeps(
        renewed == Verdict::Ended(EndReason::Idle),
        "a session that has ended is not renewed by its name",
        renewed,
    );
    tried.has_ended("id", EndReason::Idle, "such a renewal brings nothing back").await;
}

/// What a request may demand, and what not.
async fn caps<S: Store>(make: &impl Fn(ManualClock) -> S) {
    let tried = Tried::new(make);
    tried.begin("id").await;
    tried.clock.advance(IDLE / 2);
    let capped = Policy { cap: Some(Limits::new(IDLE / 4, ABSOLUTE)), ..tried.policy };
    let decision = tried.decide_by(&capped, "id", Access::Renew).await;
    keeps(matches!(decision, Decision::Capped(EndReason::Idle)), "a cap refuses the request", decision);
    let live = tried.live("id", "a cap ends no session").await;
    keeps(live.idle_for() == IDLE / 2, "a request that was refused is no activity", live);
}

/// Limits and ages that a session is given at its start.
async fn starts<S: Store>(make: &impl Fn(ManualClock) -> S) {
    let tried = Tried::new(make);
    let own = NewSession::new().limits(Limits::new(2 * IDLE, 2 * ABSOLUTE));
    tried.start("own", &own).await;
    tried.clock.advance((2 * IDLE).saturating_sub(MILLISECOND));
    tried.live("own", "a session's own limits take the place of the layer's").await;
    tried.clock.advance(2 * IDLE);
    tried.has_ended("own", EndReason::Idle, "a session's own limits end it").await;

    let aged = NewSession::new().age(ABSOLUTE.saturating_sub(IDLE / 2));
    tried.start("aged", &aged).await;
    tried.clock.advance(IDLE / 2);
    tried.has_ended("aged", EndReason::Absolute, "the absolute clock counts from the authentication").await;
}

/// How sessions begin, end, and begin anew.
///
/// # Panics
///
/// If the store breaks a promise.
pub async fn ends<S: Store>(make: &impl Fn(ManualClock) -> S) {
    let tried = Tried::new(make);
    let key = tried.begin("id").await;
    let live = tried.live("id", "a session that has begun is live").await;
    keeps(tried.end(key, EndReason::SignedOut).await, "an end says that the session was live", false);
    keeps(!tried.end(key, EndReason::Revoked).await, "a session ends once", true);
    tried.has_ended("id", EndReason::SignedOut, "an end is final, and keeps its reason").await;
    keeps(!tried.restart(key).await, "an ended session is not restarted", true);
    let rotated = tried.rotate(&live, "other").await;
    keeps(rotated == Rotated::Refused, "an ended session gets no further id", rotated);
    tried.has_ended("id", EndReason::SignedOut, "nothing revives an ended session").await;
    tried.has_ended("other", EndReason::Unknown, "what was refused leads nowhere").await;

    let key = tried.begin("restarted").await;
    tried.clock.advance(IDLE / 2);
    keeps(tried.restart(key).await, "a live session can be restarted", false);
    let live = tried.live("restarted", "a restarted session is live").await;
    keeps(
        live.age() == Duration::ZERO && live.idle_for() == Duration::ZERO,
        "a restart begins both clocks anew",
        live,
    );

    starts(make).await;
}

/// Ids that lead to one session.
///
/// # Panics
///
/// If the store breaks a promise.
pub async fn rotations<S: Store>(make: &impl Fn(ManualClock) -> S) {
    let tried = Tried::new(make);
    tried.begin("first").await;
    tried.clock.advance(IDLE / 2);
    let first = tried.live("first", "a session that has begun is live").await;
    let rotated = tried.rotate(&first, "second").await;
    keeps(rotated == Rotated::New, "a live session may get a further id", rotated);
    let looked = tried.decide("second", Access::Peek).await;
    let Decision::Live(second) = looked else {
        panic!("the store breaks a promise: a further id leads to its session; it says {looked:?}")
    };
    keeps(
        second.age() == IDLE / 2 && second.idle_for() == Duration::ZERO,
        "a rotation resets no clock",
        &second,
    );
    keeps(second.key == first.key, "a further id leads to the same session", &second);
    keeps(second.presented != first.presented, "ids of one session are told apart", &second);

    tried.clock.advance(GRACE * 2);
    tried.live("first", "an old id works until a newer one is used").await;
    tried.live("second", "a further id leads to its session").await;
    tried.clock.advance(GRACE.saturating_sub(MILLISECOND));
    tried.live("first", "an old id works for the grace after a newer one is first used").await;
    tried.clock.advance(MILLISECOND);
    tried.has_ended("first", EndReason::Superseded, "an old id has ended after the grace").await;
    let again = tried.rotate(&first, "first").await;
    keeps(again == Rotated::Refused, "a slow answer does not bring a superseded id back", again);
    tried.has_ended("first", EndReason::Superseded, "an old id has ended after the grace").await;

    let second = tried.live("second", "the newest id works").await;
    let rotated = tried.rotate(&second, "third").await;
    keeps(rotated == Rotated::New, "a session may get several ids", rotated);
    keeps(tried.end(second.key, EndReason::SignedOut).await, "an end says that the session was live", false);
    for id in ["second", "third"] {
        tried.has_ended(id, EndReason::SignedOut, "an end is that of all ids").await;
    }

    sets_of_ids(make).await;
}

/// Answers that arrive in another order than they were sent in.
async fn sets_of_ids<S: Store>(make: &impl Fn(ManualClock) -> S) {
    let tried = Tried::new(make);
    tried.begin("first").await;
    let first = tried.live("first", "a session that has begun is live").await;
    tried.rotate(&first, "second").await;
    let slow = tried.rotate(&first, "first").await;
    keeps(
        slow == Rotated::Refused,
        "while a newer id is on its way, an answer does not set the old one",
        slow,
    );
    tried.clock.advance((2 * GRACE).saturating_sub(MILLISECOND));
    let slow = tried.rotate(&first, "first").await;
    keeps(
        slow == Rotated::Refused,
        "the newer id has the grace to arrive, and an answer from before that another",
        slow,
    );
    tried.clock.advance(MILLISECOND);
    let late = tried.rotate(&first, "first").await;
    keeps(late != Rotated::Refused, "a newer id that was lost makes no id unusable", late);
    let second = tried.live("second", "an id that was issued works").await;
    let again = tried.rotate(&second, "first").await;
    keeps(again == Rotated::AlreadyLive, "an older id of the session may be set again", again);
    tried.clock.advance(GRACE * 2);
    tried.live("first", "an id set again is not superseded by one issued before that").await;

    tried.begin("one").await;
    let one = tried.live("one", "a session that has begun is live").await;
    tried.rotate(&one, "two").await;
    let looked = tried.decide("two", Access::Peek).await;
    if let Decision::Live(two) = &looked {
        tried.rotate(two, "one").await;
    }
    tried.live("one", "an id that is set again works").await;
    tried.clock.advance(GRACE * 2);
    tried
        .live("two", "an id set meanwhile is not superseded by one issued before it: the client may have it")
        .await;

    let other = tried.begin("other").await;
    let rotated = tried.rotate(&first, "other").await;
    keeps(rotated == Rotated::AlreadyLive, "another live session is not taken over", rotated);
    let live = tried.live("other", "another live session goes on").await;
    keeps(live.key == other, "another live session is not taken over", live);

    many_ids(make).await;
}

/// An application whose id changes with each answer, asked by a busy browser.
async fn many_ids<S: Store>(make: &impl Fn(ManualClock) -> S) {
    let tried = Tried::new(make);
    tried.begin("first").await;
    let first = tried.live("first", "a session that has begun is live").await;
    for number in 0..100 {
        let rotated = tried.rotate(&first, &format!("id-{number}")).await;
        keeps(rotated == Rotated::New, "a session may always get a further id", rotated);
    }
    for number in 0..100 {
        let id = format!("id-{number}");
        let looked = tried.decide(&id, Access::Peek).await;
        keeps(
            matches!(looked, Decision::Live(_)),
            "an id that is not superseded is never given up: the browser may have just received it",
            looked,
        );
    }
    tried.live("first", "the id in use works").await;
    tried.live("id-99", "the newest id works").await;
    tried.clock.advance(GRACE);
    tried.has_ended("id-98", EndReason::Superseded, "an old id has ended after the grace").await;
    tried.clock.advance(Duration::from_secs(5 * 60));
    let live = tried.live("id-99", "the newest id works").await;
    tried.rotate(&live, "last").await;
    tried.has_ended("id-98", EndReason::Unknown, "long after its grace an id is forgotten").await;
    tried.live("last", "a further id leads to its session").await;
}

/// Renewals that race an end, again and again. Best on a runtime of several threads.
///
/// # Panics
///
/// If the store breaks a promise; and outside a tokio runtime.
pub async fn races<S: Store>(make: &impl Fn(ManualClock) -> S, rounds: usize) {
    let tried = Arc::new(Tried::new(make));
    for round in 0..rounds {
        let id = format!("round-{round}");
        let key = tried.begin(&id).await;
        let renewals: Vec<_> = (0..AT_ONCE)
            .map(|_| {
                let (tried, id) = (Arc::clone(&tried), id.clone());
                tokio::spawn(async move {
                    let decision = tried.decide(&id, Access::Renew).await;
                    if let Decision::Live(live) = decision {
                        tried.rotate(&live, &format!("{id}-rotated")).await;
                    }
                })
            })
            .collect();
        let ends: Vec<_> = (0..2)
            .map(|_| {
                let tried = Arc::clone(&tried);
                tokio::spawn(async move { tried.end(key, EndReason::SignedOut).await })
            })
            .collect();
        let mut ended = 0;
        for end in ends {
            ended += usize::from(end.await.expect("an end does not panic"));
        }
        for renewal in renewals {
            renewal.await.expect("a renewal does not panic");
        }
        tried.has_ended(&id, EndReason::SignedOut, "no renewal revives a session that was ended").await;
        let rotated = tried.decide(&format!("{id}-rotated"), Access::Peek).await;
        keeps(matches!(rotated, Decision::Ended { .. }), "no rotation outlives the end", rotated);
        keeps(ended == 1, "of several ends, one is told that it ended the session", ended);
    }
}

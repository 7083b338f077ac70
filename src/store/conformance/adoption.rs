//! Sessions that were authenticated elsewhere.

use super::{ABSOLUTE, IDLE, MILLISECOND, Tried, keeps};
use crate::{
    rules::{
        id::SessionId,
        limits::EndReason,
        new_session::{MaxSessions, NewSession},
    },
    store::{
        answer::{Adopted, Started},
        contract::Store,
    },
};

/// Sessions begin by a token, once. For stores that [adopt](Store::adopt).
///
/// # Panics
///
/// If the store breaks a promise.
pub async fn adoptions<S: Store>(make: &impl Fn(crate::ManualClock) -> S) {
    let tried = Tried::new(make);
    let ago = NewSession::new().owner("alice").age(IDLE / 2);
    let adopted = tried.adopt("token", &ago).await;
    keeps(matches!(adopted, Adopted::New(_)), "a session is adopted under an id that is free", adopted);
    let again = tried.adopt("token", &ago).await;
    keeps(again == Adopted::Known, "a session is adopted once", again);
    tried.clock.advance((IDLE / 2).saturating_sub(MILLISECOND));
    let live = tried.live("token", "an adopted session is live").await;
    keeps(
        live.age() == IDLE.saturating_sub(MILLISECOND) && live.idle_for() == live.age(),
        "the clocks of an adopted session count from the authentication",
        &live,
    );
    tried.end(live.key, EndReason::SignedOut).await;
    tried.clock.advance(IDLE.saturating_sub(MILLISECOND));
    let again = tried.adopt("token", &NewSession::new()).await;
    keeps(again == Adopted::Known, "what has ended is remembered for the idle timeout", again);
    tried.has_ended("token", EndReason::SignedOut, "what has ended is not adopted again").await;

    let tried = Tried::new(make);
    tried.adopt("token", &NewSession::new().age(IDLE / 2)).await;
    tried.clock.advance(IDLE / 2);
    tried
        .has_ended("token", EndReason::Idle, "an adopted session was not active since its authentication")
        .await;

    let tried = Tried::new(make);
    tried.adopt("token", &NewSession::new().age(ABSOLUTE.saturating_sub(MILLISECOND))).await;
    tried.clock.advance(MILLISECOND);
    let again = tried.adopt("token", &NewSession::new()).await;
    keeps(again == Adopted::Known, "what has ended is known", again);

    let tried = Tried::new(make);
    let limited = NewSession::new().owner("alice").max_sessions(MaxSessions::refuse_new(1));
    if tried.store.start(&SessionId::from("id"), &limited, &tried.policy).await.is_ok_and(is_new) {
        let refused = tried.adopt("token", &limited).await;
        keeps(refused == Adopted::TooMany, "no token gets round the number of sessions", refused);
        tried.has_ended("token", EndReason::Unknown, "what was refused has not begun").await;
    }
}

/// Stores without owners say that they have none.
fn is_new(started: Started) -> bool {
    matches!(started, Started::New(_))
}

impl<S: Store> Tried<S> {
    async fn adopt(&self, id: &str, new: &NewSession) -> Adopted {
        self.store.adopt(&SessionId::from(id), new, &self.policy).await.expect("the store answers")
    }
}

//! Requests that take their time, and requests that come to nothing.

use std::time::Duration;

use super::{IDLE, MILLISECOND, Tried, keeps};
use crate::{
    rules::{
        decision::{Access, Decision},
        limits::EndReason,
    },
    store::contract::Store,
};

/// A session does not end as idle while a request of it is under way, whether the store holds it or is told again and
/// again; and a request that was refused after all is no activity. For stores that do more than [`Store::renew`],
/// [`Store::release`] and [`Store::withdraw`] do by default.
///
/// # Panics
///
/// If the store breaks a promise.
pub async fn in_flight<S: Store>(make: &impl Fn(crate::ManualClock) -> S) {
    let tried = Tried::new(make);
    let key = tried.begin("id").await;
    let admitted = tried.decide("id", Access::Hold).await;
    let Decision::Live(live) = &admitted else {
        panic!("the store breaks a promise: a session that has begun is live; it says {admitted:?}")
    };
    for _ in 0..3 {
        tried.clock.advance(IDLE.saturating_sub(MILLISECOND));
        if !live.held {
            tried.renew(key).await;
        }
    }
    tried.clock.advance(MILLISECOND);
    let looked = tried.decide("id", Access::Peek).await;
    keeps(matches!(looked, Decision::Live(_)), "a session with a request under way is not idle", looked);
    if live.held {
        tried.store.release(key);
    } else {
        tried.renew(key).await;
    }
    tried.clock.advance(IDLE.saturating_sub(MILLISECOND));
    let looked = tried.decide("id", Access::Peek).await;
    keeps(matches!(looked, Decision::Live(_)), "that a request was answered is activity", looked);
    tried.clock.advance(MILLISECOND);
    tried
        .has_ended("id", EndReason::Idle, "a session is held until its request was answered, and no longer")
        .await;

    let tried = Tried::new(make);
    let key = tried.begin("id").await;
    let admitted = tried.decide("id", Access::Hold).await;
    keeps(
        tried.end(key, EndReason::SignedOut).await,
        "a request under way keeps nobody from logging out",
        &admitted,
    );
    if matches!(&admitted, Decision::Live(live) if live.held) {
        tried.store.release(key);
    }
    tried.renew(key).await;
    tried.has_ended("id", EndReason::SignedOut, "that a request was answered brings nothing back").await;

    withdrawals(make).await;
}

async fn withdrawals<S: Store>(make: &impl Fn(crate::ManualClock) -> S) {
    let tried = Tried::new(make);
    tried.begin("id").await;
    tried.clock.advance(IDLE / 2);
    let admitted = tried.decide("id", Access::Hold).await;
    if let Decision::Live(live) = &admitted {
        tried.store.withdraw(live).await.expect("the store answers");
    }
    tried.clock.advance((IDLE / 2).saturating_sub(MILLISECOND));
    let looked = tried.decide("id", Access::Peek).await;
    keeps(matches!(looked, Decision::Live(_)), "what is taken back is one activity", looked);
    tried.clock.advance(MILLISECOND);
    tried.has_ended("id", EndReason::Idle, "a request that was refused after all is no activity").await;

    let tried = Tried::new(make);
    tried.begin("id").await;
    tried.clock.advance(IDLE / 2);
    let admitted = tried.decide("id", Access::Hold).await;
    tried.clock.advance(Duration::from_secs(1));
    tried.live("id", "a session in use is live").await;
    if let Decision::Live(live) = &admitted {
        tried.store.withdraw(live).await.expect("the store answers");
    }
    tried.clock.advance(IDLE.saturating_sub(MILLISECOND));
    let looked = tried.decide("id", Access::Peek).await;
    keeps(matches!(looked, Decision::Live(_)), "another activity stays one", looked);
}

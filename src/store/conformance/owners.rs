//! Whose sessions there are, and how many they may be.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use super::{AT_ONCE, IDLE, MILLISECOND, Tried, keeps};
use crate::{
    event::{EventSink, SessionEvent},
    rules::{
        decision::{Access, Decision},
        id::{Label, Owner, SessionId, SessionKey},
        limits::EndReason,
        new_session::{MaxSessions, NewSession, SessionInfo},
    },
    store::{
        answer::{Started, StoreError},
        contract::Store,
    },
};

/// The index of owners: who is listed, who is ended, and how many there are at most. For stores that keep one.
///
/// # Panics
///
/// If the store breaks a promise; and outside a tokio runtime.
pub async fn owners<S: Store>(make: &impl Fn(crate::ManualClock) -> S) {
    lists(make).await;
    events(make).await;
    limits(make).await;
    log_ins_at_once(make, 10).await;
}

impl<S: Store> Tried<S> {
    async fn log_in(&self, id: &str, new: NewSession) -> SessionKey {
        match self.start(id, &new).await {
            Started::New(key) => key,
            other => panic!("the store breaks a promise: a log-in begins a session; it says {other:?}"),
        }
    }

    async fn sessions_of(&self, owner: &str) -> Vec<SessionInfo> {
        self.store.sessions_of(&Owner::from(owner), &self.policy).await.expect("the store answers")
    }

    async fn end_all(&self, owner: &str, except: Option<SessionKey>) -> Result<usize, StoreError> {
        self.store.end_all(&Owner::from(owner), except).await
    }
}

fn of(owner: &str) -> NewSession {
    NewSession::new().owner(owner)
}

async fn lists<S: Store>(make: &impl Fn(crate::ManualClock) -> S) {
    let tried = Tried::new(make);
    let labelled = tried.log_in("one", of("alice").label("a telephone")).await;
    tried.clock.advance(IDLE / 2);
    tried.log_in("two", of("alice")).await;
    tried.log_in("other", of("bob")).await;
    tried.begin("nobody's").await;
    let listed = tried.sessions_of("alice").await;
    keeps(listed.len() == 2, "an owner's live sessions are listed, and nobody else's", &listed);
    let one = listed.iter().find(|session| session.key == labelled);
    keeps(
        one.is_some_and(|one| one.label.as_ref().map(Label::as_str) == Some("a telephone")),
        "a session keeps its label",
        &listed,
    );
    keeps(
        one.is_some_and(|one| one.idle_for == IDLE / 2 && one.age == IDLE / 2),
        "a list tells each session's times",
        &listed,
    );
    let looked = tried.decide("one", Access::Peek).await;
    let owner = if let Decision::Live(live) = &looked { live.owner.as_ref() } else { None };
    keeps(owner == Some(&Owner::from("alice")), "a live session says whose it is", &looked);
    tried.clock.advance((IDLE / 2).saturating_sub(MILLISECOND));
    tried.sessions_of("alice").await;
    tried.clock.advance(MILLISECOND);
    let listed = tried.sessions_of("alice").await;
    let only = matches!(&listed[..], [two] if two.key != labelled);
    keeps(only, "a list renews nothing, and has no session that has ended", &listed);

    let tried = Tried::new(make);
    for id in ["one", "two", "three"] {
        tried.log_in(id, of("alice")).await;
    }
    let one = tried.live("one", "a session that has begun is live").await;
    tried.rotate(&one, "one, rotated").await;
    let two = tried.live("two", "a session that has begun is live").await;
    tried.log_in("other", of("bob")).await;
    let ended = tried.end_all("alice", Some(two.key)).await;
    keeps(matches!(ended, Ok(2)), "an end of all says how many were live", &ended);
    for id in ["one", "one, rotated", "three"] {
        tried.has_ended(id, EndReason::Revoked, "an end of all is that of each, under all its ids").await;
    }
    tried.live("two", "an end of all but one spares that one").await;
    tried.live("other", "an end of all is that of one owner's").await;
    let again = tried.end_all("alice", None).await;
    keeps(matches!(again, Ok(1)), "what was spared is ended by the next end of all", again);
    let none = tried.end_all("nobody", None).await;
    keeps(matches!(none, Ok(0)), "who has no session has none to end", none);
}

/// Each end is told once, with what is known of its session.
async fn events<S: Store>(make: &impl Fn(crate::ManualClock) -> S) {
    let tried = Tried::new(make);
    let told = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&told);
    tried.store.events(EventSink::new(move |event| {
        if let SessionEvent::Ended { session, reason, owner, label, .. } = event {
            let mut told = sink.lock().expect("no test panics while it listens");
            told.push((*session, *reason, owner.clone(), label.clone()));
        }
    }));
    let key = tried.log_in("id", of("alice").label("a telephone")).await;
    tried.end(key, EndReason::SignedOut).await;
    tried.end(key, EndReason::Revoked).await;
    tried.has_ended("id", EndReason::SignedOut, "an end is final, and keeps its reason").await;
    tried.log_in("idle", of("alice")).await;
    tried.clock.advance(IDLE);
    tried.has_ended("idle", EndReason::Idle, "over at the idle timeout itself").await;
    let told = told.lock().expect("no test panics while it listens");
    let once = told.iter().filter(|(session, ..)| *session == key).count() == 1 && told.len() == 2;
    keeps(once, "each end is told, once", told.len());
    let owner = Some(Owner::from("alice"));
    let first = (key, EndReason::SignedOut, owner, Some(Label::from("a telephone")));
    keeps(told.first() == Some(&first), "an end says whose session it was, and its label", told.first());
}

/// As many as are allowed, one after the other.
async fn limits<S: Store>(make: &impl Fn(crate::ManualClock) -> S) {
    let tried = Tried::new(make);
    let limited = |owner: &str| of(owner).max_sessions(MaxSessions::end_longest_idle(2));
    for id in ["one", "two"] {
        tried.log_in(id, limited("alice")).await;
        tried.clock.advance(MILLISECOND);
    }
    tried.log_in("other", limited("bob")).await;
    let one = tried.live("one", "as many sessions as are allowed are live").await;
    tried.rotate(&one, "one, rotated").await;
    tried.clock.advance(MILLISECOND);
    tried.log_in("three", limited("alice")).await;
    tried.has_ended("two", EndReason::Revoked, "for one more, the longest idle one has ended").await;
    tried.live("one, rotated", "for one more, none but the longest idle one has ended").await;
    tried.live("other", "the sessions of one owner are no other's").await;
    let again = tried.start("three", &limited("alice")).await;
    keeps(matches!(again, Started::AlreadyLive(_)), "a session that is live is no further one", again);
    keeps(tried.sessions_of("alice").await.len() == 2, "there are as many as are allowed", "more or fewer");

    let tried = Tried::new(make);
    let limited = of("alice").max_sessions(MaxSessions::refuse_new(2));
    tried.log_in("one", limited.clone()).await;
    tried.clock.advance(IDLE / 2);
    let two = tried.log_in("two", limited.clone()).await;
    let refused = tried.start("three", &limited).await;
    keeps(refused == Started::TooMany, "one more than allowed is refused", refused);
    tried.has_ended("three", EndReason::Unknown, "what was refused has not begun").await;
    let again = tried.start("two", &limited).await;
    keeps(again == Started::AlreadyLive(two), "a session that is live is no further one", again);
    tried.clock.advance(IDLE / 2);
    tried.log_in("three", limited.clone()).await;
    tried.end(two, EndReason::SignedOut).await;
    tried.log_in("four", limited.clone()).await;
    let refused = tried.start("five", &limited).await;
    keeps(refused == Started::TooMany, "who has logged out makes room for one alone", refused);
}

/// Best on a runtime of several threads.
async fn log_ins_at_once<S: Store>(make: &impl Fn(crate::ManualClock) -> S, rounds: usize) {
    for round in 0..rounds {
        let number = 1 + round % 3;
        for (limit, promise) in [
            (MaxSessions::refuse_new(number), "however many log in at once, as many as allowed may"),
            (MaxSessions::end_longest_idle(number), "however many log in at once, as many as allowed stay"),
        ] {
            let tried = Arc::new(Tried::new(make));
            tried.log_in("before", of("alice").max_sessions(limit)).await;
            tried.clock.advance(Duration::from_secs(1));
            let log_ins: Vec<_> = (0..AT_ONCE)
                .map(|at| {
                    let tried = Arc::clone(&tried);
                    tokio::spawn(async move {
                        let (id, new) = (format!("at once {at}"), of("alice").max_sessions(limit));
                        tried.store.start(&SessionId::from(id), &new, &tried.policy).await
                    })
                })
                .collect();
            let mut began = 1;
            for log_in in log_ins {
                let started = log_in.await.expect("a log-in does not panic");
                began += usize::from(matches!(started, Ok(Started::New(_))));
            }
            let live = tried.sessions_of("alice").await.len();
            keeps(live == number.min(began), promise, (live, began, number));
        }
    }
}

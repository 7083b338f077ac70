//! What the documentation says of sessions, written down as simply as possible, for stores to be held against (I9).

use std::{collections::HashMap, time::Duration};

use proptest::{prelude::*, sample::select};
use tower_session_timeout::{
    Decision, EndReason, Limits, Live, NewSession, SessionId, Started, Store,
    contract::{Access, Policy, Restarted, Rotated, Verdict},
};

pub const IDS: [&str; 6] = ["a", "b", "c", "d", "e", "f"];
pub const IDLE: u64 = 15;
pub const ABSOLUTE: u64 = 60;
pub const GRACE: u64 = 3;

/// What every store is asked.
#[derive(Clone, Debug)]
pub enum Step {
    Advance(u64),
    Check(&'static str, Access),
    Start(&'static str),
    Rotate(&'static str, &'static str),
    Restart(&'static str),
    /// By its name, for a request of it is under way.
    Renew(&'static str),
    End(&'static str),
}

pub fn step() -> impl Strategy<Value = Step> {
    let id = || select(&IDS[..]);
    let ago = || (0..20_u64).prop_map(|ago| Access::RenewAgo(Duration::from_secs(ago)));
    prop_oneof![
        4 => (0..=IDLE).prop_map(Step::Advance),
        1 => Just(Step::Advance(1)),
        6 => id().prop_map(|id| Step::Check(id, Access::Renew)),
        2 => id().prop_map(|id| Step::Check(id, Access::Peek)),
        2 => id().prop_map(|id| Step::Check(id, Access::Passive)),
        1 => (id(), ago()).prop_map(|(id, ago)| Step::Check(id, ago)),
        3 => id().prop_map(Step::Start),
        4 => (id(), id()).prop_map(|(from, to)| Step::Rotate(from, to)),
        1 => id().prop_map(Step::Restart),
        2 => id().prop_map(Step::Renew),
        1 => id().prop_map(Step::End),
    ]
}

pub fn policy() -> Policy {
    let mut policy = Policy::new(Limits::new(Duration::from_secs(IDLE), Duration::from_secs(ABSOLUTE)));
    policy.rotation_grace = Duration::from_secs(GRACE);
    policy
}

pub async fn decide(store: &impl Store, id: &str, access: Access) -> Decision {
    store.check(&SessionId::from(id), &policy(), access).await.unwrap()
}

pub async fn peek(store: &impl Store, id: &str) -> Option<Live> {
    match decide(store, id, Access::Peek).await {
        Decision::Live(live) => Some(live),
        _ => None,
    }
}

/// What the documentation says, written down as simply as possible. Seconds.
#[derive(Default)]
pub struct Model {
    pub now: u64,
    pub sessions: Vec<ModelSession>,
    /// To which session an id led last.
    pub led_to: HashMap<&'static str, usize>,
}

pub struct ModelSession {
    started: u64,
    pub active: u64,
    pub in_flight: usize,
    ended: Option<EndReason>,
    ids: Vec<ModelId>,
    /// How often an id was set.
    sets: u64,
}

#[derive(Clone)]
struct ModelId {
    id: &'static str,
    set_at: u64,
    first_set: u64,
    last_set: u64,
    /// The end of the grace, once superseded.
    until: Option<u64>,
}

impl ModelSession {
    fn issue(&mut self, id: &'static str, now: u64) {
        self.sets += 1;
        self.ids.push(ModelId { id, set_at: now, first_set: self.sets, last_set: self.sets, until: None });
    }
}

impl Model {
    /// The live session of this id, or why there is none.
    pub fn find(&mut self, id: &str) -> Result<usize, EndReason> {
        let index = *self.led_to.get(id).ok_or(EndReason::Unknown)?;
        let now = self.now;
        let session = &mut self.sessions[index];
        if session.ended.is_none() {
            let idle_since = if session.in_flight > 0 { now } else { session.active };
            let (idle_end, absolute_end) = (idle_since + IDLE, session.started + ABSOLUTE);
            if now >= idle_end.min(absolute_end) {
                session.ended =
                    Some(if idle_end < absolute_end { EndReason::Idle } else { EndReason::Absolute });
            }
        }
        match session.ended {
            Some(reason) => Err(reason),
            None if session
                .ids
                .iter()
                .any(|own| own.id == id && own.until.is_some_and(|until| now >= until)) =>
            {
                Err(EndReason::Superseded)
            }
            None => Ok(index),
        }
    }

    pub fn check(&mut self, id: &str, access: Access) -> Result<(u64, u64), EndReason> {
        let index = self.find(id)?;
        let now = self.now;
        let session = &mut self.sessions[index];
        if session.in_flight > 0 {
            session.active = now;
        }
        session.active = match access {
            Access::Passive | Access::Peek => session.active,
            Access::RenewAgo(ago) => session.active.max(now.saturating_sub(ago.as_secs())),
            Access::Renew | Access::Hold => now,
        };
        if access != Access::Peek {
            let used = session.ids.iter().find(|own| own.id == id).unwrap().first_set;
            for own in &mut session.ids {
                if own.last_set < used {
                    own.until.get_or_insert(now + GRACE);
                }
            }
        }
        Ok((session.active + IDLE - now, session.started + ABSOLUTE - now))
    }

    fn start(&mut self, id: &'static str) -> bool {
        if self.find(id).is_ok() {
            return false;
        }
        self.forget(id);
        self.led_to.insert(id, self.sessions.len());
        let (started, active) = (self.now, self.now);
        let mut session =
            ModelSession { started, active, in_flight: 0, ended: None, ids: Vec::new(), sets: 0 };
        session.issue(id, self.now);
        self.sessions.push(session);
        true
    }

    fn rotate(&mut self, from: &'static str, to: &'static str) -> Option<Rotated> {
        let index = self.find(from).ok()?;
        let now = self.now;
        let session = &mut self.sessions[index];
        let known = session.ids.iter().find(|own| own.id == to).cloned();
        if let Some(known) = known {
            let is_overtaken = known.until.is_some()
                || session
                    .ids
                    .iter()
                    .any(|own| own.last_set > known.last_set && now < own.set_at + 2 * GRACE);
            if to == from {
                return Some(if is_overtaken { Rotated::Refused } else { Rotated::AlreadyLive });
            }
            session.ids.retain(|own| own.id != to);
            session.issue(to, now);
            if known.until.is_none() {
                session.ids.last_mut().unwrap().first_set = known.first_set;
            }
            return Some(Rotated::AlreadyLive);
        }
        if self.find(to).is_ok() {
            return Some(Rotated::AlreadyLive);
        }
        self.forget(to);
        self.sessions[index].issue(to, now);
        self.led_to.insert(to, index);
        Some(Rotated::New)
    }

    /// An id leads to one session at most.
    fn forget(&mut self, id: &str) {
        if let Some(&index) = self.led_to.get(id) {
            self.sessions[index].ids.retain(|own| own.id != id);
        }
    }

    fn restart(&mut self, id: &str) -> bool {
        let Ok(index) = self.find(id) else { return false };
        let session = &mut self.sessions[index];
        (session.started, session.active) = (self.now, self.now);
        let dropped: Vec<_> =
            session.ids.iter().filter(|own| own.until.is_some()).map(|own| own.id).collect();
        session.ids.retain(|own| own.until.is_none());
        for id in dropped {
            self.led_to.remove(id);
        }
        true
    }

    fn renew(&mut self, id: &str) -> bool {
        let Ok(index) = self.find(id) else { return false };
        self.sessions[index].active = self.now;
        true
    }

    fn end(&mut self, id: &str) -> bool {
        let Ok(index) = self.find(id) else { return false };
        self.sessions[index].ended = Some(EndReason::SignedOut);
        true
    }
}

/// Either the same reason, or forgotten: an ended session's reason is kept for a while only.
fn is_same_end(store: EndReason, model: EndReason) -> bool {
    store == model || store == EndReason::Unknown
}

/// Takes one step with both, which have to agree. The store's clock is moved by whoever calls.
pub async fn compare(store: &impl Store, model: &mut Model, step: &Step) {
    let seconds = Duration::from_secs;
    match *step {
        Step::Advance(by) => model.now += by,
        Step::Check(id, access) => match (decide(store, id, access).await, model.check(id, access)) {
            (Decision::Live(live), Ok((idle, absolute))) => {
                assert_eq!(live.remaining().idle, seconds(idle), "{id}");
                assert_eq!(live.remaining().absolute, Some(seconds(absolute)), "{id}");
            }
            (Decision::Ended { reason: store, .. }, Err(model)) if is_same_end(store, model) => {}
            (store, model) => panic!("{id}: {store:?}, not {model:?}"),
        },
        Step::Start(id) => {
            let started = store.start(&SessionId::from(id), &NewSession::new(), &policy()).await.unwrap();
            assert_eq!(matches!(started, Started::New(_)), model.start(id), "{id}");
        }
        Step::Rotate(from, to) => {
            let rotated = match peek(store, from).await {
                Some(live) => {
                    let new = SessionId::from(to);
                    Some(store.rotate(live.key, &new, live.presented, &policy()).await.unwrap())
                }
                None => None,
            };
            assert_eq!(rotated, model.rotate(from, to), "{from} to {to}");
        }
        Step::Restart(id) => {
            let restarted = match peek(store, id).await {
                Some(live) => {
                    let restarted = store.restart(live.key, &NewSession::new(), &policy()).await.unwrap();
                    restarted == Restarted::Done
                }
                None => false,
            };
            assert_eq!(restarted, model.restart(id), "{id}");
        }
        Step::Renew(id) => {
            let renewed = match peek(store, id).await {
                Some(live) => {
                    let verdict = store.renew(live.key, Duration::ZERO, &policy()).await.unwrap();
                    matches!(verdict, Verdict::Live(left) if left.idle == seconds(IDLE))
                }
                None => false,
            };
            assert_eq!(renewed, model.renew(id), "{id}");
        }
        Step::End(id) => {
            let ended = match peek(store, id).await {
                Some(live) => store.end(live.key, EndReason::SignedOut).await.unwrap(),
                None => false,
            };
            assert_eq!(ended, model.end(id), "{id}");
        }
    }
    for id in IDS {
        let looks_live = peek(store, id).await.is_some();
        assert_eq!(looks_live, model.find(id).is_ok(), "{id} (I10: looking changes nothing)");
    }
}

//! The promises I1–I5, I8 and I10 on random traces, against a plain model.

use std::{collections::HashMap, time::Duration};

use crate::support::App;
use http::{HeaderValue, Request, header::COOKIE};
use http_body_util::Full;
use proptest::{prelude::*, sample::select};
use tower_session_timeout::{
    Access, Answer, Decision, EndReason, Limits, ManualClock, MemoryStore, NewSession, Policy, Rotated,
    SessionId, Started, Store,
};

const IDLE: u64 = 15;
const ABSOLUTE: u64 = 60;
const GRACE: u64 = 3;
const IDS: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

#[derive(Clone, Debug)]
enum Step {
    Advance(u64),
    Check(&'static str, Access),
    Start(&'static str),
    Rotate(&'static str, &'static str),
    Restart(&'static str),
    End(&'static str),
    /// A request begins that holds its session,
    Hold(&'static str),
    /// and one of those ends.
    Release(usize),
    Sweep,
}

fn step() -> impl Strategy<Value = Step> {
    let id = || select(&IDS[..]);
    prop_oneof![
        4 => (0..=IDLE).prop_map(Step::Advance),
        1 => Just(Step::Advance(1)),
        6 => id().prop_map(|id| Step::Check(id, Access::Renew)),
        2 => id().prop_map(|id| Step::Check(id, Access::Peek)),
        3 => id().prop_map(Step::Start),
        4 => (id(), id()).prop_map(|(from, to)| Step::Rotate(from, to)),
        1 => id().prop_map(Step::Restart),
        1 => id().prop_map(Step::End),
        2 => id().prop_map(Step::Hold),
        3 => (0..4_usize).prop_map(Step::Release),
        1 => Just(Step::Sweep),
    ]
}

/// What the documentation says, written down as simply as possible. Seconds.
#[derive(Default)]
struct Model {
    now: u64,
    sessions: Vec<ModelSession>,
    /// To which session an id led last.
    led_to: HashMap<&'static str, usize>,
}

struct ModelSession {
    started: u64,
    active: u64,
    in_flight: usize,
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
    fn find(&mut self, id: &str) -> Result<usize, EndReason> {
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

    fn check(&mut self, id: &str, access: Access) -> Result<(u64, u64), EndReason> {
        let index = self.find(id)?;
        let now = self.now;
        let session = &mut self.sessions[index];
        if session.in_flight > 0 {
            session.active = now;
        }
        if access != Access::Peek {
            session.active = now;
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

    fn end(&mut self, id: &str) -> bool {
        let Ok(index) = self.find(id) else { return false };
        self.sessions[index].ended = Some(EndReason::SignedOut);
        true
    }
}

fn ready<T>(answer: Answer<T>) -> T {
    let Answer::Ready(Ok(answer)) = answer else { panic!("the memory store answers at once") };
    answer
}

/// Either the same reason, or forgotten: an ended session's reason is kept for a while only.
fn is_same_end(store: EndReason, model: EndReason) -> bool {
    store == model || store == EndReason::Unknown
}

fn run(trace: Vec<Step>) {
    let clock = ManualClock::new();
    let store = MemoryStore::new().clock(clock.clone());
    let seconds = Duration::from_secs;
    let mut policy = Policy::new(Limits::new(seconds(IDLE), seconds(ABSOLUTE)));
    policy.rotation_grace = seconds(GRACE);
    let mut model = Model::default();
    let mut held = Vec::new();
    let peek = |id: &str| match ready(store.check(&SessionId::from(id), &policy, Access::Peek)) {
        Decision::Live(live) => Some(live),
        _ => None,
    };
    for step in trace {
        match step {
            Step::Advance(by) => {
                clock.advance(seconds(by));
                model.now += by;
            }
            Step::Check(id, access) => {
                let decision = ready(store.check(&SessionId::from(id), &policy, access));
                match (decision, model.check(id, access)) {
                    (Decision::Live(live), Ok((idle, absolute))) => {
                        assert_eq!(live.remaining.idle, seconds(idle));
                        assert_eq!(live.remaining.absolute, Some(seconds(absolute)));
                    }
                    (Decision::Ended { reason: store, .. }, Err(model)) if is_same_end(store, model) => {}
                    (store, model) => panic!("{id}: {store:?}, not {model:?}"),
                }
            }
            Step::Start(id) => {
                let started = ready(store.start(&SessionId::from(id), &NewSession::new(), &policy));
                assert_eq!(matches!(started, Started::New(_)), model.start(id), "{id}");
            }
            Step::Rotate(from, to) => {
                let rotated = peek(from)
                    .map(|live| ready(store.rotate(live.key, &SessionId::from(to), live.presented, &policy)));
                assert_eq!(rotated, model.rotate(from, to), "{from} to {to}");
            }
            Step::Restart(id) => {
                let restarted = peek(id).is_some_and(|live| ready(store.restart(live.key, &policy)));
                assert_eq!(restarted, model.restart(id));
            }
            Step::End(id) => {
                let ended = peek(id).is_some_and(|live| ready(store.end(live.key, EndReason::SignedOut)));
                assert_eq!(ended, model.end(id));
            }
            Step::Hold(id) => {
                let decision = ready(store.check(&SessionId::from(id), &policy, Access::Hold));
                match (decision, model.check(id, Access::Hold)) {
                    (Decision::Live(live), Ok(_)) => {
                        assert!(live.held);
                        let index = model.led_to[id];
                        model.sessions[index].in_flight += 1;
                        held.push((live.key, index));
                    }
                    (Decision::Ended { .. }, Err(_)) => {}
                    (store, model) => panic!("{id}: {store:?}, not {model:?}"),
                }
            }
            Step::Release(which) => {
                if !held.is_empty() {
                    let (key, index) = held.remove(which % held.len());
                    store.release(key);
                    let session = &mut model.sessions[index];
                    session.in_flight -= 1;
                    session.active = model.now;
                }
            }
            Step::Sweep => store.sweep(),
        }
        for id in IDS {
            assert_eq!(peek(id).is_some(), model.find(id).is_ok(), "{id} (I10: looking changes nothing)");
        }
        // I5: a session's own slot may outlive its first id.
        assert!(store.len() <= 2 * IDS.len() + 1 + model.sessions.len());
    }
    clock.advance(seconds(ABSOLUTE));
    store.sweep();
    clock.advance(seconds(5 * 60));
    store.sweep();
    assert!(store.is_empty());
}

proptest! {
    #![proptest_config(crate::support::cases())]

    #[test]
    fn the_memory_store_decides_as_the_model_does(trace in prop::collection::vec(step(), 1..120)) {
        run(trace);
    }
}

/// The bytes a header value can have.
fn header_bytes() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(b"sid".to_vec()),
        Just(b"=".to_vec()),
        Just(b"; ".to_vec()),
        Just(b"\"".to_vec()),
        Just(b"%73".to_vec()),
        Just(b"%".to_vec()),
        Just(b"\xa0".to_vec()),
        Just(b"[".to_vec()),
        Just(b"live".to_vec()),
        prop::collection::vec(any::<u8>(), 0..6),
    ];
    prop::collection::vec(piece, 0..20).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(crate::support::cases())]

    /// I8; and whatever is sent, the application sees the live id or none that reads as ours.
    #[test]
    fn no_request_panics_or_smuggles_an_id(
        cookies in prop::collection::vec(header_bytes(), 0..4),
        other in header_bytes(),
        path in "/[ -~]{0,20}",
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let app = App::with(|builder| builder.public_if(|_| true));
            app.log_in("live").await;
            let mut request = Request::new(Full::default());
            if let Ok(uri) = path.parse() {
                *request.uri_mut() = uri;
            }
            for cookie in &cookies {
                if let Ok(value) = HeaderValue::from_bytes(cookie) {
                    request.headers_mut().append(COOKIE, value);
                }
            }
            if let Ok(value) = HeaderValue::from_bytes(&other) {
                for name in ["authorization", "accept", "sec-purpose", "hx-current-url", "x-set-cookie"] {
                    request.headers_mut().append(name, value.clone());
                }
            }
            let response = app.send(request).await;
            let seen = response.body().to_ascii_lowercase();
            for pair in seen.split(|byte| b";\n".contains(byte)) {
                let ours = pair.trim_ascii().strip_prefix(b"sid=");
                assert!(ours.is_none_or(|id| id == b"live"), "{}", String::from_utf8_lossy(&seen));
            }
        });
    }
}

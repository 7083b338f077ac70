//! The store as one request asks it: what the client sent, read and judged; and what it is to keep.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, UNIX_EPOCH},
};

use super::{
    ACTIVITY, RECORD, SKEW, Settings,
    seal::{Activity, Record, millis},
};
use crate::{
    Access, Answer, Companion, Decision, EndReason, IdTag, Live, NewSession, Policy, RequestStore, Rotated,
    SessionEvent, SessionId, SessionKey, Started, Store, StoreError, Verdict, rules::Granularity,
    store::no_owners,
};

/// What browsers accept for a cookie's name and value (RFC 6265bis §5.6), less room for the name.
const LONGEST_VALUE: usize = 3500;
/// RFC 6265bis §5.5.
const LONGEST_COOKIE_LIFE: Duration = Duration::from_secs(400 * 24 * 60 * 60);

pub(super) struct Request {
    settings: Arc<Settings>,
    /// The session cookie's name.
    cookie: String,
    received: Vec<Companion>,
    known: Mutex<Vec<Known>>,
}

/// A session under one of its ids, as this request knows it.
struct Known {
    id: Vec<u8>,
    record: Record,
    ended: Option<EndReason>,
    leaves: Leaves,
    /// Something of it was signed with a previous key.
    is_signed_anew: bool,
    checked_last: bool,
}

/// What the client is to be left anew.
struct Leaves {
    record: bool,
    activity: bool,
}

impl Known {
    fn new(id: &[u8], record: Record) -> Self {
        Self {
            id: id.to_vec(),
            record,
            ended: None,
            leaves: Leaves { record: true, activity: false },
            is_signed_anew: false,
            checked_last: false,
        }
    }
}

impl Request {
    pub(super) fn new(settings: Arc<Settings>, cookie: &str, received: Vec<Companion>) -> Self {
        Self { settings, cookie: cookie.to_owned(), received, known: Mutex::default() }
    }

    fn now(&self) -> u64 {
        millis(self.settings.clock.now())
    }

    /// Nothing under the lock panics half-way but the application's closure, which changes nothing.
    fn known(&self) -> MutexGuard<'_, Vec<Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where the session of this id is among the known ones. The first look reads what the client sent.
    fn find(&self, known: &mut Vec<Known>, id: &[u8]) -> Option<usize> {
        if let Some(at) = known.iter().position(|known| known.id == id) {
            return Some(at);
        }
        known.push(self.read(id)?);
        Some(known.len() - 1)
    }

    /// Of several that are sealed for this id, the one that began last counts, and its last activity.
    fn read(&self, id: &[u8]) -> Option<Known> {
        let keys = &self.settings.keys;
        let sent = |name| self.received.iter().filter(move |sent| sent.name == name);
        let latest = self.now().saturating_add(SKEW);
        let (mut record, mut is_current) = sent(RECORD)
            .filter_map(|sent| keys.unseal_record(&self.cookie, id, &sent.value))
            .map(|unsealed| (unsealed.content, unsealed.is_current))
            .filter(|(record, _)| record.active.max(record.started).max(record.issued) <= latest)
            .max_by_key(|(record, _)| (record.started, record.active))?;
        for unsealed in sent(ACTIVITY).filter_map(|sent| keys.unseal_activity(&self.cookie, &sent.value)) {
            if unsealed.content.key == record.key && unsealed.content.active <= latest {
                record.active = record.active.max(unsealed.content.active);
                is_current &= unsealed.is_current;
            }
        }
        Some(Known {
            leaves: Leaves { record: false, activity: false },
            is_signed_anew: !is_current,
            ..Known::new(id, record)
        })
    }

    /// Judges by the application's word and both clocks. Also says for how long the session has been idle, and its age.
    fn judge(&self, known: &Known, policy: &Policy, now: u64) -> (Verdict, Duration, Duration) {
        let record = &known.record;
        let idle_for = Duration::from_millis(now.saturating_sub(record.active));
        let age = Duration::from_millis(now.saturating_sub(record.started));
        let verdict = match known.ended {
            Some(reason) => Verdict::Over(reason),
            None if self.is_revoked(record) => Verdict::Over(EndReason::Revoked),
            None => policy.judge(record.limits, idle_for, age),
        };
        (verdict, idle_for, age)
    }

    fn is_revoked(&self, record: &Record) -> bool {
        let not_before = self.settings.not_before.as_ref().and_then(|ask| ask(record.owner.as_ref()));
        not_before.is_some_and(|begin| {
            begin.duration_since(UNIX_EPOCH).is_ok_and(|begin| Duration::from_millis(record.started) < begin)
        })
    }

    fn is_over(&self, known: &Known, policy: &Policy, now: u64) -> bool {
        matches!(self.judge(known, policy, now).0, Verdict::Over(_))
    }

    fn granularity(&self, idle: Duration) -> u64 {
        millis(Granularity { configured: self.settings.granularity, ..Granularity::default() }.of(idle))
    }

    /// Moves the last activity, if that is worth a cookie.
    fn renew(&self, known: &mut Known, active: u64, policy: &Policy) {
        let record = &mut known.record;
        let idle = record.limits.unwrap_or(policy.limits).idle();
        let moved = active.checked_sub(record.active);
        if known.is_signed_anew || moved.is_some_and(|moved| moved >= self.granularity(idle)) {
            record.active = record.active.max(active);
            known.leaves.activity = true;
            known.leaves.record |= known.is_signed_anew;
            known.is_signed_anew = false;
        }
    }

    fn decide(&self, id: &SessionId<'_>, policy: &Policy, access: Access) -> Decision {
        let mut all = self.known();
        let Some(at) = self.find(&mut all, id.expose()) else { return Decision::UNKNOWN };
        for (other, known) in all.iter_mut().enumerate() {
            known.checked_last = other == at;
        }
        let known = &mut all[at];
        let now = self.now();
        let (verdict, idle_for, age) = self.judge(known, policy, now);
        let mut remaining = match verdict {
            Verdict::Live(remaining) => remaining,
            Verdict::Capped(reason) => return Decision::Capped(reason),
            Verdict::Over(reason) => {
                let (session, owner) = (Some(known.record.key), known.record.owner.clone());
                return Decision::Ended { reason, session, owner };
            }
        };
        let active = match access {
            Access::Renew | Access::Hold => Some(now),
            Access::RenewAgo(ago) => Some(now.saturating_sub(millis(ago))),
            Access::Peek => None,
        };
        if let Some(active) = active {
            self.renew(known, active, policy);
            let since = Duration::from_millis(now.saturating_sub(known.record.active));
            remaining = policy.renewed(known.record.limits, since, age);
        }
        let id_age = Duration::from_millis(now.saturating_sub(known.record.issued));
        Decision::Live(
            Live::new(known.record.key, tag(at), idle_for, age, remaining)
                .with_id_age(id_age)
                .with_owner(known.record.owner.clone()),
        )
    }

    fn begin(&self, id: &SessionId<'_>, new: &NewSession, policy: &Policy) -> Result<Started, StoreError> {
        if new.limit().is_some() {
            return Err(no_owners());
        }
        let mut all = self.known();
        let now = self.now();
        if let Some(at) = self.find(&mut all, id.expose())
            && !self.is_over(&all[at], policy, now)
        {
            return Ok(Started::AlreadyLive(all[at].record.key));
        }
        let started = now.saturating_sub(millis(new.age));
        let key = self.settings.keys.session_key(&self.cookie, id.expose(), now);
        let (limits, owner) = (new.limits, new.owner.clone());
        let record = Record { key, started, issued: now, active: now, limits, owner };
        if self.settings.keys.seal_record(&self.cookie, id.expose(), &record).len() > LONGEST_VALUE {
            return Err(StoreError::new("the owner is too long for a cookie"));
        }
        put(&mut all, Known::new(id.expose(), record));
        Ok(Started::New(key))
    }

    fn join(&self, session: SessionKey, new: &SessionId<'_>, presented: IdTag, policy: &Policy) -> Rotated {
        let mut all = self.known();
        let now = self.now();
        let Some(known) = all
            .iter()
            .enumerate()
            .find(|(at, known)| tag(*at) == presented && known.record.key == session)
            .map(|(_, known)| known)
        else {
            return Rotated::Refused;
        };
        if self.is_over(known, policy, now) {
            return Rotated::Refused;
        }
        let record = Record { issued: now, ..known.record.clone() };
        if let Some(at) = self.find(&mut all, new.expose())
            && !self.is_over(&all[at], policy, now)
        {
            return Rotated::AlreadyLive;
        }
        put(&mut all, Known::new(new.expose(), record));
        Rotated::New
    }

    fn finish(&self, session: SessionKey, reason: EndReason) -> bool {
        let mut all = self.known();
        let mut ended = None;
        for known in all.iter_mut().filter(|known| known.record.key == session && known.ended.is_none()) {
            known.ended = Some(reason);
            ended = Some(known.record.clone());
        }
        drop(all);
        let Some(record) = ended else { return false };
        if let Some(sink) = self.settings.sink.get() {
            let now = self.now();
            sink.send(&SessionEvent::Ended {
                session,
                reason,
                idle_for: Duration::from_millis(now.saturating_sub(record.active)),
                age: Duration::from_millis(now.saturating_sub(record.started)),
                owner: record.owner,
                label: None,
            });
        }
        true
    }
}

/// In place of what was known of its id. The others stay where they are: their tags are handed out.
fn put(all: &mut Vec<Known>, new: Known) {
    match all.iter_mut().find(|known| known.id == new.id) {
        Some(known) => *known = new,
        None => all.push(new),
    }
}

/// Tells apart the ids of one request.
fn tag(at: usize) -> IdTag {
    IdTag::new((at as u64).to_be_bytes())
}

impl Store for Request {
    fn check(&self, id: &SessionId<'_>, policy: &Policy, access: Access) -> Answer<Decision> {
        Answer::Ready(Ok(self.decide(id, policy, access)))
    }

    fn remaining(&self, session: SessionKey, policy: &Policy) -> Answer<Verdict> {
        let all = self.known();
        let known = all.iter().rfind(|known| known.record.key == session);
        let verdict = known.map(|known| self.judge(known, policy, self.now()).0);
        Answer::Ready(Ok(verdict.unwrap_or(Verdict::Over(EndReason::Unknown))))
    }

    fn start(&self, id: &SessionId<'_>, new: &NewSession, policy: &Policy) -> Answer<Started> {
        Answer::Ready(self.begin(id, new, policy))
    }

    fn rotate(
        &self,
        session: SessionKey,
        new: &SessionId<'_>,
        presented: IdTag,
        policy: &Policy,
    ) -> Answer<Rotated> {
        Answer::Ready(Ok(self.join(session, new, presented, policy)))
    }

    fn restart(&self, session: SessionKey, policy: &Policy) -> Answer<bool> {
        let mut all = self.known();
        let now = self.now();
        let mut restarted = false;
        for known in all.iter_mut().filter(|known| known.record.key == session) {
            if !self.is_over(known, policy, now) {
                (known.record.started, known.record.active) = (now, now);
                known.leaves.record = true;
                restarted = true;
            }
        }
        Answer::Ready(Ok(restarted))
    }

    fn end(&self, session: SessionKey, reason: EndReason) -> Answer<bool> {
        Answer::Ready(Ok(self.finish(session, reason)))
    }
}

impl RequestStore for Request {
    fn left(&self, set: Option<&SessionId<'_>>, policy: &Policy) -> Option<Vec<Companion>> {
        let all = self.known();
        let known = all.iter().find(|known| match set {
            Some(id) => known.id == id.expose(),
            None => known.checked_last,
        });
        let Some(known) = known else { return Some(Vec::new()) };
        if known.ended.is_some() {
            return None;
        }
        let record = &known.record;
        let keys = &self.settings.keys;
        let mut left = Vec::new();
        if known.leaves.record {
            let age = Duration::from_millis(self.now().saturating_sub(record.started));
            let absolute = record.limits.unwrap_or(policy.limits).absolute();
            let lasts = absolute.map_or(LONGEST_COOKIE_LIFE, |absolute| absolute.saturating_sub(age));
            let sealed = keys.seal_record(&self.cookie, &known.id, record);
            left.push(Companion::new(RECORD, sealed).lasting(lasts.min(LONGEST_COOKIE_LIFE)));
        }
        if known.leaves.activity {
            let activity = Activity { key: record.key, active: record.active };
            let lasts = record.limits.unwrap_or(policy.limits).idle();
            let sealed = keys.seal_activity(&self.cookie, &activity);
            left.push(Companion::new(ACTIVITY, sealed).lasting(lasts.min(LONGEST_COOKIE_LIFE)));
        }
        Some(left)
    }
}

//! The store as one request asks it: what the client sent, read and judged; and what it is to keep.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, UNIX_EPOCH},
};

use super::{
    ACTIVITY, RECORD, SKEW, Settings,
    seal::{Activity, NamedRecord},
};
use crate::{
    event::SessionEvent,
    rules::{
        Context, Effects, Granularity, IdHash, Record, Widest,
        decision::{Access, Decision},
        id::{IdTag, SessionId, SessionKey},
        limits::{EndReason, Policy, Verdict},
        nanos,
        new_session::NewSession,
    },
    store::{
        answer::{Answer, Restarted, Rotated, Started, StoreError, no_owners},
        contract::{Companion, RequestStore, Store},
    },
};

/// What browsers accept for a cookie's name and value (RFC 6265bis §5.6), less room for the name.
const LONGEST_VALUE: usize = 3500;
/// RFC 6265bis §5.5.
const LONGEST_COOKIE_LIFE: Duration = Duration::from_secs(400 * 24 * 60 * 60);

/// A record says nothing of any id but the one it is bound to.
const THIS_ID: IdHash = IdHash { high: 0, low: 0 };

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
    named: NamedRecord,
    leaves: Leaves,
    /// This request is activity of it, until it is answered.
    is_active: bool,
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
    fn new(id: &[u8], named: NamedRecord) -> Self {
        Self {
            id: id.to_vec(),
            named,
            leaves: Leaves { record: true, activity: false },
            is_active: false,
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
        nanos(self.settings.clock.now())
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
        let latest = self.now().saturating_add(nanos(SKEW));
        let (mut named, mut is_current) = sent(RECORD)
            .filter_map(|sent| keys.unseal_record(&self.cookie, id, &sent.value))
            .map(|unsealed| (unsealed.content, unsealed.is_current))
            .filter(|(named, _)| named.record.latest_instant() <= latest)
            .max_by_key(|(named, _)| (named.record.began(), named.record.latest()))?;
        for unsealed in sent(ACTIVITY).filter_map(|sent| keys.unseal_activity(&self.cookie, &sent.value)) {
            if unsealed.content.key == named.key && unsealed.content.active <= latest {
                named.record.was_active(unsealed.content.active);
                is_current &= unsealed.is_current;
            }
        }
        Some(Known {
            leaves: Leaves { record: false, activity: false },
            is_signed_anew: !is_current,
            ..Known::new(id, named)
        })
    }

    fn context<'a>(&self, policy: &'a Policy, granularity: Option<Granularity>) -> Context<'a> {
        // A look ends nothing: the next request knows nothing of it.
        Context { policy, now: self.now(), widest: Widest { idle: 0, absolute: 0 }, granularity }
    }

    /// Judges by the application's word and both clocks.
    fn judge(&self, known: &mut Known, policy: &Policy) -> Verdict {
        self.end_if_revoked(known);
        known.named.record.look(&self.context(policy, None), &mut Effects::default()).0
    }

    fn end_if_revoked(&self, known: &mut Known) {
        let record = &mut known.named.record;
        let not_before = self.settings.not_before.as_ref().and_then(|ask| ask(record.owner()));
        let is_revoked = not_before.is_some_and(|begin| {
            begin.duration_since(UNIX_EPOCH).is_ok_and(|begin| record.began() < nanos(begin))
        });
        if is_revoked {
            record.end(EndReason::Revoked, self.now(), &mut Effects::default());
        }
    }

    fn is_over(&self, known: &mut Known, policy: &Policy) -> bool {
        matches!(self.judge(known, policy), Verdict::Ended(_))
    }

    fn renew(&self, known: &mut Known, policy: &Policy) {
        let granularity = Granularity { configured: self.settings.granularity, ..Granularity::default() };
        let before = known.named.record.latest();
        let context = self.context(policy, Some(granularity));
        known.named.record.renew(Duration::ZERO, &context, &mut Effects::default());
        known.leaves.activity |= known.named.record.latest() != before;
    }

    fn decide(&self, id: &SessionId<'_>, policy: &Policy, access: Access) -> Decision {
        let mut all = self.known();
        let Some(at) = self.find(&mut all, id.expose()) else { return Decision::UNKNOWN };
        for (other, known) in all.iter_mut().enumerate() {
            known.checked_last = other == at;
        }
        let known = &mut all[at];
        self.end_if_revoked(known);
        // What was signed with a previous key is left anew with the next activity.
        let granularity = Granularity { configured: self.settings.granularity, ..Granularity::default() };
        let context = self.context(policy, (!known.is_signed_anew).then_some(granularity));
        // Nobody could let go of what is held.
        let access = if access == Access::Hold { Access::Renew } else { access };
        let NamedRecord { key, record } = &mut known.named;
        let before = record.latest();
        let mut decision = record.check(THIS_ID, THIS_ID, *key, access, &context, &mut Effects::default());
        if let Decision::Live(live) = &mut decision {
            live.presented = tag(at);
            let is_signed_anew = known.is_signed_anew && access.renews();
            known.is_active |= matches!(access, Access::Renew);
            known.leaves.activity |= record.latest() != before || is_signed_anew;
            known.leaves.record |= is_signed_anew;
            known.is_signed_anew &= !is_signed_anew;
        }
        decision
    }

    fn begin(&self, id: &SessionId<'_>, new: &NewSession, policy: &Policy) -> Result<Started, StoreError> {
        if new.limit().is_some() {
            return Err(no_owners());
        }
        let mut all = self.known();
        let now = self.now();
        if let Some(at) = self.find(&mut all, id.expose())
            && !self.is_over(&mut all[at], policy)
        {
            return Ok(Started::AlreadyLive(all[at].named.key));
        }
        let key = self.settings.keys.session_key(&self.cookie, id.expose(), now);
        let record = Record::new(new, now);
        let named = NamedRecord { key, record };
        if self.settings.keys.seal_record(&self.cookie, id.expose(), &named).len() > LONGEST_VALUE {
            return Err(StoreError::new("the owner and the label are too long for a cookie"));
        }
        put(&mut all, Known::new(id.expose(), named));
        Ok(Started::New(key))
    }

    fn join(&self, session: SessionKey, new: &SessionId<'_>, presented: IdTag, policy: &Policy) -> Rotated {
        let mut all = self.known();
        let is_presented =
            |(at, known): &(usize, &mut Known)| tag(*at) == presented && known.named.key == session;
        let Some((_, known)) = all.iter_mut().enumerate().find(is_presented) else { return Rotated::Refused };
        if self.is_over(known, policy) {
            return Rotated::Refused;
        }
        let record = known.named.record.under(THIS_ID, self.now());
        if let Some(at) = self.find(&mut all, new.expose())
            && !self.is_over(&mut all[at], policy)
        {
            return Rotated::AlreadyLive;
        }
        put(&mut all, Known::new(new.expose(), NamedRecord { key: session, record }));
        Rotated::New
    }

    fn finish(&self, session: SessionKey, reason: EndReason) -> bool {
        let mut effects = Effects::default();
        for known in self.known().iter_mut().filter(|known| known.named.key == session) {
            known.named.record.end(reason, self.now(), &mut effects);
        }
        let Some(ended) = effects.ended else { return false };
        if let Some(sink) = self.settings.sink.get() {
            sink.send(&SessionEvent::ended(session, *ended));
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
        let mut all = self.known();
        let known = all.iter_mut().rfind(|known| known.named.key == session);
        let verdict = known.map(|known| self.judge(known, policy));
        Answer::Ready(Ok(verdict.unwrap_or(Verdict::Ended(EndReason::Unknown))))
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

    fn restart(&self, session: SessionKey, new: &NewSession, policy: &Policy) -> Answer<Restarted> {
        if new.limit().is_some() {
            return Answer::Ready(Err(no_owners()));
        }
        let mut restarted = Restarted::Ended;
        for known in self.known().iter_mut().filter(|known| known.named.key == session) {
            if !self.is_over(known, policy) {
                known.named.record.restart(THIS_ID, new, self.now(), &mut Effects::default());
                known.leaves.record = true;
                restarted = Restarted::Done;
            }
        }
        Answer::Ready(Ok(restarted))
    }

    fn tag(&self, id: &SessionId<'_>) -> Option<IdTag> {
        let at = self.known().iter().position(|known| known.id == id.expose());
        Some(tag(at.unwrap_or(usize::MAX)))
    }

    fn end(&self, session: SessionKey, reason: EndReason) -> Answer<bool> {
        Answer::Ready(Ok(self.finish(session, reason)))
    }
}

impl RequestStore for Request {
    fn left(&self, set: Option<&SessionId<'_>>, policy: &Policy) -> Option<Vec<Companion>> {
        let mut all = self.known();
        let known = all.iter_mut().find(|known| match set {
            Some(id) => known.id == id.expose(),
            None => known.checked_last,
        });
        let Some(known) = known else { return Some(Vec::new()) };
        if known.named.record.ended_at().is_some() {
            return None;
        }
        if known.is_active && !self.is_over(known, policy) {
            // The answer is activity, too: it comes last, and must not take a later one's place.
            self.renew(known, policy);
        }
        let NamedRecord { key, record } = &known.named;
        let limits = record.own_limits().unwrap_or(policy.limits);
        let keys = &self.settings.keys;
        let mut left = Vec::new();
        if known.leaves.record {
            let age = record.age(self.now());
            let lasts =
                limits.absolute().map_or(LONGEST_COOKIE_LIFE, |absolute| absolute.saturating_sub(age));
            let sealed = keys.seal_record(&self.cookie, &known.id, &known.named);
            left.push(Companion::new(RECORD, sealed).lasting(lasts.min(LONGEST_COOKIE_LIFE)));
        }
        if known.leaves.activity {
            let sealed = keys.seal_activity(&self.cookie, &Activity { key: *key, active: record.latest() });
            left.push(Companion::new(ACTIVITY, sealed).lasting(limits.idle().min(LONGEST_COOKIE_LIFE)));
        }
        Some(left)
    }
}

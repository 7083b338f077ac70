//! One session as a value: its clocks, its ids, its end; and everything that can happen to it.
//!
//! Instants are nanoseconds by the store's own clock.

use std::time::Duration;

use super::{Granularity, IdHash, KEEP_ENDED, MAX_SUPERSEDED_IDS, MAX_WORKING_IDS, Widest, nanos};
use crate::rules::{
    decision::{Access, Decision, Live, NEVER},
    id::{IdTag, Label, Owner, SessionKey},
    limits::{EndReason, Limits, Policy, Verdict},
    new_session::{NewSession, SessionInfo},
};

#[cfg_attr(test, derive(Debug))]
#[derive(Clone, PartialEq)]
pub(crate) struct Record {
    pub(super) started: u64,
    pub(super) state: State,
    /// What few sessions have, out of the way of those that do not.
    pub(super) rare: Option<Box<Rare>>,
}

#[cfg_attr(test, derive(Debug))]
#[derive(Clone, Copy, PartialEq)]
pub(super) enum State {
    /// `in_flight` counts the requests that hold it: as long as there are any, it is in use. What they renew is recorded
    /// as they are answered, for a layer further in may refuse them.
    Live {
        active: u64,
        in_flight: u32,
    },
    Ended {
        at: u64,
        reason: EndReason,
    },
}

#[cfg_attr(test, derive(Debug))]
#[derive(Clone, Default, PartialEq)]
pub(super) struct Rare {
    pub(super) limits: Option<Limits>,
    pub(super) owner: Option<Owner>,
    pub(super) label: Option<Label>,
    /// It was authenticated elsewhere, so that a token may ask to begin it again.
    pub(super) adopted: bool,
    /// Empty as long as there is only the first.
    pub(super) ids: Vec<IssuedId>,
}

#[cfg_attr(test, derive(Debug))]
#[derive(Clone, PartialEq)]
pub(crate) struct IssuedId {
    pub(crate) id: IdHash,
    pub(super) issued: u64,
    /// Its places in the order in which the application set ids: its first one, and its last one.
    pub(super) first_set: u32,
    pub(super) last_set: u32,
    pub(super) last_set_at: u64,
    /// Once superseded: the end of its grace.
    pub(super) works_until: Option<u64>,
}

/// By what a record is judged, and when.
#[derive(Clone, Copy)]
pub(crate) struct Context<'a> {
    pub(crate) policy: &'a Policy,
    pub(crate) now: u64,
    /// Of all layers, if the store knows them. A session that has expired by these may be ended by a look.
    pub(crate) widest: Widest,
    /// `None`: every activity is recorded.
    pub(crate) granularity: Option<Granularity>,
}

/// What a transition leaves to be done by the store.
#[derive(Default)]
pub(crate) struct Effects {
    /// Boxed, for nearly every request has none.
    pub(crate) ended: Option<Box<EndedNow>>,
    /// Ids that are none of this session any more.
    pub(crate) dropped: Vec<IdHash>,
    /// Ids that worked will cease to, or have.
    pub(crate) retired: bool,
}

/// A session that ended just now.
pub(crate) struct EndedNow {
    pub(crate) reason: EndReason,
    pub(crate) idle_for: Duration,
    pub(crate) age: Duration,
    pub(crate) owner: Option<Owner>,
    pub(crate) label: Option<Label>,
}

/// What it means that the application sets an id.
pub(crate) enum Reissued {
    /// It is not yet an id of this session.
    New,
    /// It works already.
    Works,
    /// It must not reach the client again.
    Stale,
}

enum Standing {
    Works,
    Superseded,
    Unknown,
}

impl Record {
    pub(crate) fn new(new: &NewSession, now: u64) -> Self {
        let NewSession { owner, limits, label, .. } = new;
        let rare = (owner.is_some() || limits.is_some() || label.is_some()).then(|| {
            let (owner, label) = (owner.clone(), label.clone());
            Box::new(Rare { limits: *limits, owner, label, ..Rare::default() })
        });
        Self {
            started: now.saturating_sub(nanos(new.age)),
            state: State::Live { active: now, in_flight: 0 },
            rare,
        }
    }

    /// Authenticated elsewhere, and not active since.
    pub(crate) fn adopted(new: &NewSession, now: u64) -> Self {
        let mut record = Self::new(new, now);
        record.state = State::Live { active: record.started, in_flight: 0 };
        record.rare.get_or_insert_default().adopted = true;
        record
    }

    pub(crate) fn own_limits(&self) -> Option<Limits> {
        self.rare.as_ref().and_then(|rare| rare.limits)
    }

    pub(crate) fn owner(&self) -> Option<&Owner> {
        self.rare.as_ref().and_then(|rare| rare.owner.as_ref())
    }

    fn label(&self) -> Option<&Label> {
        self.rare.as_ref().and_then(|rare| rare.label.as_ref())
    }

    pub(crate) fn ids(&self) -> &[IssuedId] {
        self.rare.as_ref().map_or(&[], |rare| &rare.ids)
    }

    pub(crate) fn ended_at(&self) -> Option<u64> {
        match self.state {
            State::Live { .. } => None,
            State::Ended { at, .. } => Some(at),
        }
    }

    fn in_flight(&self) -> u32 {
        match self.state {
            State::Live { in_flight, .. } => in_flight,
            State::Ended { .. } => 0,
        }
    }

    pub(crate) fn age(&self, now: u64) -> Duration {
        Duration::from_nanos(now.saturating_sub(self.started))
    }

    /// The time since this id was issued; the first was issued when the session began.
    fn id_age(&self, id: IdHash, now: u64) -> Duration {
        let issued =
            self.ids().iter().find(|issued| issued.id == id).map_or(self.started, |issued| issued.issued);
        Duration::from_nanos(now.saturating_sub(issued))
    }

    /// Now, while a request is in flight; or why it has ended.
    fn last_activity(&self, now: u64) -> Result<u64, EndReason> {
        match self.state {
            State::Live { active, in_flight: 0 } => Ok(active),
            State::Live { .. } => Ok(now),
            State::Ended { reason, .. } => Err(reason),
        }
    }

    /// Judges by both clocks. Also says for how long it has been idle.
    fn judge(&self, policy: &Policy, now: u64) -> (Verdict, Duration) {
        match self.last_activity(now) {
            Ok(active) => {
                let idle_for = Duration::from_nanos(now.saturating_sub(active));
                (policy.judge(self.own_limits(), idle_for, self.age(now)), idle_for)
            }
            Err(reason) => (Verdict::Ended(reason), Duration::ZERO),
        }
    }

    /// Judges for an activity: who is refused by a layer's own limits is refused for good.
    fn judge_and_end(&mut self, policy: &Policy, now: u64, effects: &mut Effects) -> (Verdict, Duration) {
        let judged = self.judge(policy, now);
        if let (Verdict::Ended(reason), _) = judged {
            self.end(reason, now, effects);
        }
        judged
    }

    /// Judges for a mere look, which changes no later decision of any layer.
    pub(crate) fn look(&mut self, context: &Context<'_>, effects: &mut Effects) -> (Verdict, Duration) {
        let judged = self.judge(context.policy, context.now);
        if matches!(judged.0, Verdict::Ended(_)) {
            self.end_if_expired_for_all(context.widest, context.now, effects);
        }
        judged
    }

    /// Whether this id is live; if so, an activity renews it.
    #[inline]
    pub(crate) fn check(
        &mut self,
        id: IdHash,
        first_id: IdHash,
        key: SessionKey,
        access: Access,
        context: &Context<'_>,
        effects: &mut Effects,
    ) -> Decision {
        match self.check_ordinary(id, first_id, key, access, context) {
            Some(live) => Decision::Live(live),
            None => self.check_any(id, first_id, key, access, context, effects),
        }
    }

    /// The same for nearly every request to a store in memory: the session is live, by the layer's limits alone, and has one
    /// id. A test holds it against [`check_any`](Self::check_any).
    #[inline]
    fn check_ordinary(
        &mut self,
        id: IdHash,
        first_id: IdHash,
        key: SessionKey,
        access: Access,
        context: &Context<'_>,
    ) -> Option<Live> {
        let State::Live { active: before, in_flight } = self.state else { return None };
        let Context { policy: Policy { limits, cap: None, .. }, now, granularity: None, .. } = context else {
            return None;
        };
        let is_plain = self.rare.as_ref().is_none_or(|rare| rare.limits.is_none() && rare.ids.is_empty());
        if id != first_id || !is_plain {
            return None;
        }
        let passed = now.saturating_sub(before);
        let age = now.saturating_sub(self.started);
        let is_idle = in_flight == 0 && passed >= nanos(limits.idle());
        if is_idle || limits.absolute().is_some_and(|absolute| age >= nanos(absolute)) {
            return None;
        }
        let renewed_at = match access {
            Access::Hold => {
                self.state = State::Live { active: before, in_flight: in_flight.saturating_add(1) };
                NEVER
            }
            Access::Renew => {
                self.state = State::Live { active: *now, in_flight };
                if *now == before { NEVER } else { *now }
            }
            Access::RenewAgo(_) | Access::Passive | Access::Peek => return None,
        };
        Some(Live {
            key,
            presented: id.tag(),
            held: access == Access::Hold,
            owner: self.owner().cloned(),
            idle_for: passed,
            age,
            id_age: age,
            idle_left: nanos(limits.idle()),
            absolute_left: limits.absolute().map_or(NEVER, |absolute| nanos(absolute).saturating_sub(age)),
            renewed_at,
            works_for: NEVER,
        })
    }

    fn check_any(
        &mut self,
        id: IdHash,
        first_id: IdHash,
        key: SessionKey,
        access: Access,
        context: &Context<'_>,
        effects: &mut Effects,
    ) -> Decision {
        let Context { policy, now, .. } = *context;
        // An id that does not work changes nothing.
        match self.standing(id, first_id, now) {
            Standing::Works => {}
            Standing::Unknown => return Decision::UNKNOWN,
            Standing::Superseded => {
                let Verdict::Ended(reason) = self.judge(policy, now).0 else {
                    return self.ended(EndReason::Superseded, key);
                };
                return self.ended(reason, key);
            }
        }
        let (verdict, idle_for) = if access.renews() {
            self.judge_and_end(policy, now, effects)
        } else {
            self.look(context, effects)
        };
        let mut remaining = match verdict {
            Verdict::Live(remaining) => remaining,
            Verdict::Ended(reason) => return self.ended(reason, key),
            Verdict::Capped(reason) => return Decision::Capped(reason),
        };
        let age = self.age(now);
        let (mut idle_for, mut renewed_at) = (idle_for, NEVER);
        let mut superseded = false;
        if access != Access::Peek {
            let grace_ends = now.saturating_add(nanos(policy.rotation_grace));
            superseded = self.supersede_older_than(id, grace_ends);
            effects.retired |= superseded;
        }
        if let (State::Live { active: before, in_flight }, true) = (self.state, access.renews()) {
            idle_for = Duration::from_nanos(now.saturating_sub(before));
            let ago = if let Access::RenewAgo(ago) = access { ago.min(idle_for) } else { Duration::ZERO };
            let active = self.recorded(now.saturating_sub(nanos(ago)), superseded, context);
            self.state = if access == Access::Hold {
                State::Live { active: before, in_flight: in_flight.saturating_add(1) }
            } else {
                if active != before {
                    renewed_at = active;
                }
                State::Live { active, in_flight }
            };
            let since = now.saturating_sub(self.last_activity(now).unwrap_or(active));
            remaining = policy.renewed(self.own_limits(), Duration::from_nanos(since), age);
        }
        Decision::Live(Live {
            id_age: nanos(self.id_age(id, now)),
            held: access == Access::Hold,
            owner: self.owner().cloned(),
            renewed_at,
            works_for: self.works_until(id).map_or(NEVER, |until| until.saturating_sub(now)),
            ..Live::new(key, id.tag(), idle_for, age, remaining)
        })
    }

    /// The last activity as it is to be recorded: not each is worth it everywhere.
    fn recorded(&self, active: u64, by_all_means: bool, context: &Context<'_>) -> u64 {
        let (Some(granularity), State::Live { active: before, in_flight: 0 }) =
            (context.granularity, self.state)
        else {
            return active;
        };
        let idle = self.own_limits().unwrap_or(context.policy.limits).idle();
        let moved = active.saturating_sub(before);
        if by_all_means || moved >= nanos(granularity.of(idle)) { active.max(before) } else { before }
    }

    fn ended(&self, reason: EndReason, key: SessionKey) -> Decision {
        Decision::Ended { reason, session: Some(key), owner: self.owner().cloned() }
    }

    /// It was active so long ago, whichever of its ids is in use; unless it has ended.
    pub(crate) fn renew(&mut self, ago: Duration, context: &Context<'_>, effects: &mut Effects) -> Verdict {
        let Context { policy, now, .. } = *context;
        let (verdict, idle_for) = self.judge_and_end(policy, now, effects);
        if !matches!(verdict, Verdict::Live(_)) {
            return verdict;
        }
        let active = self.recorded(now.saturating_sub(nanos(ago.min(idle_for))), false, context);
        self.state = State::Live { active, in_flight: self.in_flight() };
        let since = Duration::from_nanos(now.saturating_sub(active));
        Verdict::Live(policy.renewed(self.own_limits(), since, self.age(now)))
    }

    /// A request that held it was answered. What has ended stays so.
    pub(crate) fn release(&mut self, now: u64) {
        if let State::Live { in_flight, .. } = self.state {
            self.state = State::Live { active: now, in_flight: in_flight.saturating_sub(1) };
        }
    }

    /// The request it was admitted with was no activity after all. An activity since then stays one.
    pub(crate) fn withdraw(&mut self, live: &Live) {
        if let State::Live { mut active, in_flight } = self.state {
            if live.renewed_at == active {
                active = active.saturating_sub(live.idle_for);
            }
            self.state = State::Live { active, in_flight: in_flight.saturating_sub(u32::from(live.held)) };
        }
    }

    /// Live by the layers' limits, and without any of its own: nearly every session. Told at the least expense.
    pub(crate) fn is_clearly_live(&self, now: u64, widest: Widest) -> bool {
        let State::Live { active, in_flight } = self.state else { return false };
        (in_flight > 0 || now.saturating_sub(active) < widest.idle)
            && now.saturating_sub(self.started) < widest.absolute
            && self.own_limits().is_none()
    }

    /// What its owner may see of it, if it is live.
    pub(crate) fn info(
        &mut self,
        key: SessionKey,
        context: &Context<'_>,
        effects: &mut Effects,
    ) -> Option<SessionInfo> {
        let policy = Policy { cap: None, ..*context.policy };
        match self.look(&Context { policy: &policy, ..*context }, effects) {
            (Verdict::Ended(_), _) => None,
            (_, idle_for) => {
                let info = SessionInfo::new(key, idle_for, self.age(context.now));
                Some(info.with_label(self.label().cloned()))
            }
        }
    }

    /// Whether the session has ended, which ends it. A cap does not.
    pub(crate) fn end_if_expired(&mut self, policy: &Policy, now: u64, effects: &mut Effects) -> bool {
        matches!(self.judge_and_end(policy, now, effects), (Verdict::Ended(_), _))
    }

    /// Where no layer asks: by its own limits, or the most generous ones any layer asks by.
    pub(crate) fn end_if_expired_for_all(&mut self, widest: Widest, now: u64, effects: &mut Effects) {
        if let Some(limits) = self.own_limits().or_else(|| widest.limits()) {
            self.end_if_expired(&Policy::new(limits), now, effects);
        }
    }

    /// For whoever wants to begin a session under this id.
    pub(crate) fn is_live_under(
        &mut self,
        id: IdHash,
        first_id: IdHash,
        policy: &Policy,
        now: u64,
        effects: &mut Effects,
    ) -> bool {
        matches!(self.standing(id, first_id, now), Standing::Works)
            && !self.end_if_expired(policy, now, effects)
    }

    /// `false` if it had ended before.
    pub(crate) fn end(&mut self, reason: EndReason, now: u64, effects: &mut Effects) -> bool {
        let Ok(active) = self.last_activity(now) else { return false };
        self.state = State::Ended { at: now, reason };
        effects.ended = Some(Box::new(EndedNow {
            reason,
            idle_for: Duration::from_nanos(now.saturating_sub(active)),
            age: self.age(now),
            owner: self.owner().cloned(),
            label: self.label().cloned(),
        }));
        true
    }

    /// Both clocks begin anew, and superseded ids end. The others are as old as they are. What `new` says of the session
    /// takes the place of what was said before; but nobody becomes the owner of another's.
    pub(crate) fn restart(&mut self, first_id: IdHash, new: &NewSession, now: u64, effects: &mut Effects) {
        let superseded = self.ids_with(first_id).extract_if(.., |issued| issued.works_until.is_some());
        effects.dropped.extend(superseded.map(|issued| issued.id));
        effects.retired |= !effects.dropped.is_empty();
        self.started = now.saturating_sub(nanos(new.age));
        self.state = State::Live { active: now, in_flight: self.in_flight() };
        let NewSession { owner, limits, label, .. } = new;
        if owner.is_some() || limits.is_some() || label.is_some() {
            let rare = self.rare.get_or_insert_default();
            rare.owner = rare.owner.take().or_else(|| owner.clone());
            rare.limits = limits.or(rare.limits);
            rare.label = label.clone().or_else(|| rare.label.take());
        }
    }

    /// It is nobody's again.
    #[cfg(feature = "shared")]
    pub(crate) fn disown(&mut self) {
        if let Some(rare) = &mut self.rare {
            rare.owner = None;
        }
    }

    /// Its first id is not what it is named after.
    #[cfg(feature = "shared")]
    pub(crate) fn begin_ids_with(&mut self, first_id: IdHash) {
        self.ids_with(first_id);
    }

    fn ids_mut(&mut self) -> &mut Vec<IssuedId> {
        &mut self.rare.get_or_insert_default().ids
    }

    /// The list of its ids, begun with the first.
    fn ids_with(&mut self, first_id: IdHash) -> &mut Vec<IssuedId> {
        let issued = self.started;
        let ids = self.ids_mut();
        if ids.is_empty() {
            ids.push(IssuedId {
                id: first_id,
                issued,
                first_set: 0,
                last_set: 0,
                last_set_at: issued,
                works_until: None,
            });
        }
        ids
    }

    #[inline]
    fn standing(&self, id: IdHash, first_id: IdHash, now: u64) -> Standing {
        let ids = self.ids();
        match ids.iter().find(|issued| issued.id == id) {
            None if ids.is_empty() && id == first_id => Standing::Works,
            None => Standing::Unknown,
            Some(issued) if issued.works_until.is_some_and(|until| now >= until) => Standing::Superseded,
            Some(_) => Standing::Works,
        }
    }

    /// The end of this id's grace, if it is superseded.
    fn works_until(&self, id: IdHash) -> Option<u64> {
        self.ids().iter().find(|issued| issued.id == id)?.works_until
    }

    /// Whether the id with this tag is superseded, in its grace or after it.
    pub(crate) fn is_superseded(&self, presented: IdTag) -> bool {
        self.ids().iter().any(|issued| issued.id.tag() == presented && issued.works_until.is_some())
    }

    /// This id is in use: the grace of every older one begins, if it has not yet. One that was set again since this one
    /// was issued is not older: that answer may come last, and then the browser has it.
    fn supersede_older_than(&mut self, id: IdHash, works_until: u64) -> bool {
        let Some(rare) = &mut self.rare else { return false };
        let Some(in_use) = rare.ids.iter().find(|issued| issued.id == id) else { return false };
        let first_set = in_use.first_set;
        let mut superseded = false;
        for older in rare.ids.iter_mut().filter(|issued| issued.last_set < first_set) {
            superseded |= older.works_until.is_none();
            older.works_until.get_or_insert(works_until);
        }
        superseded
    }

    /// The application sets a value that may be an id already.
    ///
    /// An answer that sets its request's own id says nothing new. As long as a newer id may be on its way, it must
    /// not take that one's place in the browser.
    pub(crate) fn reissue(
        &mut self,
        id: IdHash,
        first_id: IdHash,
        is_presented: bool,
        grace: Duration,
        now: u64,
    ) -> Reissued {
        let Some(known) = self.ids().iter().find(|issued| issued.id == id) else {
            return match is_presented {
                _ if id == first_id && self.ids().is_empty() => Reissued::Works,
                true => Reissued::Stale,
                false => Reissued::New,
            };
        };
        let is_superseded = known.works_until.is_some();
        if is_presented {
            // The newer one arrives within the grace, and what the browser asked before that is answered within another.
            let may_be_late = nanos(grace.saturating_mul(2));
            let is_on_its_way = |newer: &IssuedId| {
                newer.last_set > known.last_set && now.saturating_sub(newer.last_set_at) < may_be_late
            };
            let is_overtaken = is_superseded || self.ids().iter().any(is_on_its_way);
            return if is_overtaken { Reissued::Stale } else { Reissued::Works };
        }
        let next = next_place(self.ids());
        if let Some(again) = self.ids_mut().iter_mut().find(|issued| issued.id == id) {
            (again.last_set, again.last_set_at) = (next, now);
            if is_superseded {
                (again.first_set, again.issued, again.works_until) = (next, now, None);
            }
        }
        Reissued::Works
    }

    /// The id is another session's from now on.
    pub(crate) fn forget(&mut self, id: IdHash, first_id: IdHash) {
        let ids = self.ids_with(first_id);
        // Without any, it would go by its first again.
        if ids.len() > 1 {
            ids.retain(|issued| issued.id != id);
        }
    }

    /// A further id. One that still works is never given up for it: it may be the one the browser has just received.
    /// `room`: for how many ids the store has room, two at least.
    pub(crate) fn add_id(
        &mut self,
        id: IdHash,
        first_id: IdHash,
        now: u64,
        room: usize,
        effects: &mut Effects,
    ) {
        let ids = self.ids_with(first_id);
        if ids.iter().any(|issued| issued.id == id) {
            // A parallel answer set the same value.
            return;
        }
        let next = next_place(ids);
        ids.push(IssuedId {
            id,
            issued: now,
            first_set: next,
            last_set: next,
            last_set_at: now,
            works_until: None,
        });
        let long_over = |until: u64| now.saturating_sub(until) >= nanos(KEEP_ENDED);
        let old = ids.extract_if(.., |issued| issued.works_until.is_some_and(long_over));
        effects.dropped.extend(old.map(|issued| issued.id));
        while let Some(excess) = excess_id(ids, room) {
            effects.dropped.push(ids.remove(excess).id);
        }
    }

    /// As it is written down: no request that holds it outlives the process.
    #[cfg(feature = "snapshot")]
    pub(crate) fn at_rest(&self, now: u64) -> Self {
        let state = match self.last_activity(now) {
            Ok(active) => State::Live { active, in_flight: 0 },
            Err(_) => self.state,
        };
        Self { state, ..self.clone() }
    }

    /// By another clock: instants are later by this many nanoseconds, or earlier.
    #[cfg(any(feature = "shared", feature = "snapshot"))]
    pub(crate) fn shift(&mut self, by: i128) {
        let shift = |instant: &mut u64| {
            let shifted = i128::from(*instant).saturating_add(by).clamp(0, i128::from(u64::MAX));
            *instant = u64::try_from(shifted).unwrap_or(u64::MAX);
        };
        shift(&mut self.started);
        match &mut self.state {
            State::Live { active: at, .. } | State::Ended { at, .. } => shift(at),
        }
        for issued in self.rare.iter_mut().flat_map(|rare| &mut rare.ids) {
            shift(&mut issued.issued);
            shift(&mut issued.last_set_at);
            issued.works_until.iter_mut().for_each(shift);
        }
    }

    /// Until when a store has to keep it: as long as any layer may ask for it.
    #[cfg(feature = "shared")]
    pub(crate) fn kept_until(&self, widest: Limits, ended: Duration) -> u64 {
        match self.state {
            State::Ended { at, .. } => at.saturating_add(nanos(ended)),
            State::Live { active, .. } => {
                let limits = self.own_limits().unwrap_or(widest);
                let idle = active.saturating_add(nanos(limits.idle()));
                let absolute = limits
                    .absolute()
                    .map_or(u64::MAX, |absolute| self.started.saturating_add(nanos(absolute)));
                idle.min(absolute).saturating_add(nanos(ended))
            }
        }
    }

    /// When it was last active, or ended.
    #[cfg(any(feature = "shared", feature = "stateless"))]
    pub(crate) fn latest(&self) -> u64 {
        let (State::Live { active: latest, .. } | State::Ended { at: latest, .. }) = self.state;
        latest
    }

    /// Another machine has seen an activity.
    #[cfg(feature = "stateless")]
    pub(crate) fn was_active(&mut self, at: u64) {
        if let State::Live { active, .. } = &mut self.state {
            *active = at.max(*active);
        }
    }

    #[cfg(feature = "stateless")]
    pub(crate) fn began(&self) -> u64 {
        self.started
    }

    /// When any instant of it is at the latest.
    #[cfg(feature = "stateless")]
    pub(crate) fn latest_instant(&self) -> u64 {
        self.ids().iter().map(|issued| issued.issued).fold(self.latest().max(self.started), u64::max)
    }

    /// The same session under this id alone, which was issued now.
    #[cfg(feature = "stateless")]
    pub(crate) fn under(&self, id: IdHash, now: u64) -> Self {
        let mut record = self.clone();
        *record.ids_mut() = vec![IssuedId {
            id,
            issued: now,
            first_set: 0,
            last_set: 0,
            last_set_at: now,
            works_until: None,
        }];
        record
    }

    #[cfg(feature = "shared")]
    pub(crate) fn began_after(&self, instant: u64) -> bool {
        self.started > instant
    }

    /// Those that are not superseded.
    #[cfg(feature = "shared")]
    pub(crate) fn working_ids(&self) -> impl Iterator<Item = IdHash> {
        self.ids().iter().filter(|issued| issued.works_until.is_none()).map(|issued| issued.id)
    }

    #[cfg(feature = "shared")]
    pub(crate) fn is_adopted(&self) -> bool {
        self.rare.as_ref().is_some_and(|rare| rare.adopted)
    }

    /// Where the clock can be set back: the session is then as old as it was when it was last in use.
    #[cfg(feature = "shared")]
    pub(crate) fn set_back_to(&mut self, now: u64) {
        if self.latest() > now {
            self.shift(i128::from(now) - i128::from(self.latest()));
        }
    }
}

/// Which id is to go if there are too many: the oldest superseded one; of those that work, the oldest but one, for the
/// oldest is the one in use.
fn excess_id(ids: &[IssuedId], room: usize) -> Option<usize> {
    let oldest = |superseded: bool, but: Option<usize>| {
        let others = ids
            .iter()
            .enumerate()
            .filter(|&(at, issued)| issued.works_until.is_some() == superseded && Some(at) != but);
        others.min_by_key(|(_, issued)| issued.last_set).map(|(at, _)| at)
    };
    let superseded = ids.iter().filter(|issued| issued.works_until.is_some()).count();
    if superseded > MAX_SUPERSEDED_IDS || (superseded > 0 && ids.len() > room) {
        oldest(true, None)
    } else if ids.len() - superseded > MAX_WORKING_IDS.min(room) {
        oldest(false, oldest(false, None))
    } else {
        None
    }
}

fn next_place(ids: &[IssuedId]) -> u32 {
    ids.iter().map(|issued| issued.last_set.saturating_add(1)).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ID: IdHash = IdHash { high: 1, low: 2 };
    const LATER_ID: IdHash = IdHash { high: 3, low: 4 };

    /// Instants and limits close to each other, so that every boundary is met. (A record shows nothing of itself.)
    #[derive(Clone, Debug)]
    struct Given {
        started: u64,
        active: u64,
        in_flight: u32,
        has_ended: bool,
        has_owner: bool,
        own_idle: Option<u64>,
        is_rotated: bool,
    }

    prop_compose! {
        fn given()(
            started in 0..50u64,
            active in 0..50u64,
            in_flight in 0..3u32,
            has_ended in prop::bool::weighted(0.1),
            has_owner: bool,
            own_idle in prop::option::weighted(0.2, 1..20u64),
            is_rotated in prop::bool::weighted(0.2),
        ) -> Given {
            Given { started, active, in_flight, has_ended, has_owner, own_idle, is_rotated }
        }
    }

    fn record(given: &Given) -> Record {
        let Given { started, active, in_flight, has_ended, .. } = *given;
        let state = if has_ended {
            State::Ended { at: active, reason: EndReason::SignedOut }
        } else {
            State::Live { active, in_flight }
        };
        let rare = Rare {
            limits: given.own_idle.map(|idle| Limits::idle_only(Duration::from_nanos(idle))),
            owner: given.has_owner.then(|| Owner::from("alice")),
            ..Rare::default()
        };
        let mut record = Record { started, state, rare: (rare != Rare::default()).then(|| Box::new(rare)) };
        if given.is_rotated {
            record.add_id(LATER_ID, ID, active, usize::MAX, &mut Effects::default());
        }
        record
    }

    fn access() -> impl Strategy<Value = Access> {
        let ago = (0..20u64).prop_map(Duration::from_nanos).prop_map(Access::RenewAgo);
        prop_oneof![Just(Access::Hold), Just(Access::Renew), ago, Just(Access::Passive), Just(Access::Peek)]
    }

    proptest! {
        #[test]
        fn the_ordinary_check_decides_and_changes_what_the_whole_one_does(
            given in given(),
            access in access(),
            now in 0..100u64,
            idle in 1..40u64,
            absolute in prop::option::of(1..60u64),
            cap in prop::option::weighted(0.2, 1..20u64),
            is_coarse: bool,
            is_later_id: bool,
        ) {
            let limit = Duration::from_nanos;
            let limits = absolute.map_or(Limits::idle_only(limit(idle)), |absolute| Limits::new(limit(idle), limit(absolute)));
            let policy = Policy { cap: cap.map(|idle| Limits::idle_only(limit(idle))), ..Policy::new(limits) };
            let widest = Widest { idle, absolute: absolute.unwrap_or(u64::MAX) };
            let granularity = is_coarse.then(Granularity::default);
            let context = Context { policy: &policy, now, widest, granularity };
            let key = SessionKey::new([7; 16]);
            let id = if is_later_id { LATER_ID } else { ID };
            let record = record(&given);
            let mut ordinary = record.clone();
            if let Some(live) = ordinary.check_ordinary(id, ID, key, access, &context) {
                let (mut whole, mut effects) = (record, Effects::default());
                let decision = whole.check_any(id, ID, key, access, &context, &mut effects);
                prop_assert_eq!(format!("{:?}", Decision::Live(live)), format!("{decision:?}"));
                prop_assert!(ordinary == whole);
                prop_assert!(effects.ended.is_none() && effects.dropped.is_empty() && !effects.retired);
            } else {
                prop_assert!(ordinary == record, "what it leaves to the whole check it leaves as it was");
            }
        }
    }
}

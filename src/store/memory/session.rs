//! One session: its clocks, its ids, its end. What happens to it under its shard's lock.

use std::time::Duration;

#[cfg(feature = "snapshot")]
use serde::{Deserialize, Serialize};

use super::{
    MAX_IDS_PER_SESSION, nanos,
    shard::{Aftermath, IdHash, Widest},
};
use crate::{
    Access, Decision, EndReason, Limits, Live, NewSession, Owner, Policy, SessionEvent, SessionInfo,
    SessionKey, Verdict,
};

pub(super) struct Session {
    started: u64,
    state: State,
    /// What few sessions have, out of the way of those that do not.
    rare: Option<Box<Rare>>,
}

#[derive(Clone, Copy)]
enum State {
    /// `in_flight` counts the requests that hold it: as long as there are any, it is in use.
    Live {
        active: u64,
        in_flight: u32,
    },
    Ended {
        at: u64,
        reason: EndReason,
    },
}

#[derive(Default)]
struct Rare {
    limits: Option<Limits>,
    owner: Option<Owner>,
    /// How long its end is remembered at least, in nanoseconds, for it could be adopted anew.
    remembered: u64,
    /// Empty as long as there is only the first.
    ids: Vec<IssuedId>,
}

pub(super) struct IssuedId {
    pub(super) id: IdHash,
    issued: u64,
    /// Its places in the order in which the application set ids: its first one, and its last one.
    first_set: u32,
    last_set: u32,
    last_set_at: u64,
    used: bool,
    /// Set once a newer id is in use: the end of this one's grace.
    works_until: Option<u64>,
}

/// What issuing an id again means.
pub(super) enum Reissue {
    New,
    Works,
    Stale,
}

impl Session {
    pub(super) fn new(new: &NewSession, now: u64) -> Self {
        let rare = (new.owner.is_some() || new.limits.is_some())
            .then(|| Box::new(Rare { limits: new.limits, owner: new.owner.clone(), ..Rare::default() }));
        Self {
            started: now.saturating_sub(nanos(new.age)),
            state: State::Live { active: now, in_flight: 0 },
            rare,
        }
    }

    /// Authenticated elsewhere, and not active since.
    pub(super) fn adopted(new: &NewSession, policy: &Policy, now: u64) -> Self {
        let mut session = Self::new(new, now);
        session.state = State::Live { active: session.started, in_flight: 0 };
        let idle = new.limits.unwrap_or(policy.limits).idle();
        session.rare.get_or_insert_default().remembered = nanos(idle);
        session
    }

    /// How long its end has to be remembered, however short of memory the store is.
    pub(super) fn remembered(&self) -> u64 {
        self.rare.as_ref().map_or(0, |rare| rare.remembered)
    }

    pub(super) fn own_limits(&self) -> Option<Limits> {
        self.rare.as_ref().and_then(|rare| rare.limits)
    }

    pub(super) fn owner(&self) -> Option<Owner> {
        self.rare.as_ref().and_then(|rare| rare.owner.clone())
    }

    fn in_flight(&self) -> u32 {
        match self.state {
            State::Live { in_flight, .. } => in_flight,
            State::Ended { .. } => 0,
        }
    }

    /// A request that held it is over. What has ended stays so.
    pub(super) fn release(&mut self, now: u64) {
        if let State::Live { in_flight, .. } = self.state {
            self.state = State::Live { active: now, in_flight: in_flight.saturating_sub(1) };
        }
    }

    pub(super) fn ended_at(&self) -> Option<u64> {
        match self.state {
            State::Live { .. } => None,
            State::Ended { at, .. } => Some(at),
        }
    }

    fn age(&self, now: u64) -> Duration {
        Duration::from_nanos(now.saturating_sub(self.started))
    }

    /// The time since this id was issued; the first was issued when the session began.
    fn id_age(&self, id: IdHash, now: u64) -> Duration {
        let issued =
            self.ids().iter().find(|issued| issued.id == id).map_or(self.started, |issued| issued.issued);
        Duration::from_nanos(now.saturating_sub(issued))
    }

    /// What the store says to a request with this id.
    pub(super) fn check(
        &mut self,
        id: IdHash,
        key: SessionKey,
        policy: &Policy,
        access: Access,
        now: u64,
        aftermath: &mut Aftermath,
    ) -> Decision {
        let (verdict, idle_for) = self.judge(policy, now, aftermath);
        let mut remaining = match verdict {
            Verdict::Over(reason) => return self.ended(reason),
            _ if self.is_superseded(id, now) => return self.ended(EndReason::Superseded),
            Verdict::Capped(reason) => return Decision::Capped(reason),
            Verdict::Live(remaining) => remaining,
        };
        let age = self.age(now);
        let active = match access {
            Access::Renew | Access::Hold => Some(now),
            Access::RenewAgo(ago) => Some(now.saturating_sub(nanos(ago.min(idle_for)))),
            Access::Peek => None,
        };
        if let Some(active) = active {
            let in_flight = self.in_flight() + u32::from(access == Access::Hold);
            self.state = State::Live { active, in_flight };
            self.supersede_older_than(id, now.saturating_add(nanos(policy.rotation_grace)));
            let since = Duration::from_nanos(now.saturating_sub(active));
            remaining = policy.renewed(self.own_limits(), since, age);
        }
        Decision::Live(
            Live::new(key, id.tag(), idle_for, age, remaining)
                .with_id_age(self.id_age(id, now))
                .with_held(access == Access::Hold)
                .with_owner(self.owner()),
        )
    }

    fn ended(&self, reason: EndReason) -> Decision {
        Decision::Ended { reason, owned: self.rare.as_ref().is_some_and(|rare| rare.owner.is_some()) }
    }

    /// Now, while a request is in flight; or why it is over.
    fn last_activity(&self, now: u64) -> Result<u64, EndReason> {
        match self.state {
            State::Live { active, in_flight: 0 } => Ok(active),
            State::Live { .. } => Ok(now),
            State::Ended { reason, .. } => Err(reason),
        }
    }

    /// Judges by both clocks, and ends the session if it is over. Also says for how long it has been idle.
    pub(super) fn judge(
        &mut self,
        policy: &Policy,
        now: u64,
        aftermath: &mut Aftermath,
    ) -> (Verdict, Duration) {
        let active = match self.last_activity(now) {
            Ok(active) => active,
            Err(reason) => return (Verdict::Over(reason), Duration::ZERO),
        };
        let idle_for = Duration::from_nanos(now.saturating_sub(active));
        let verdict = policy.judge(self.own_limits(), idle_for, self.age(now));
        if let Verdict::Over(reason) = verdict {
            self.end(reason, now, aftermath);
        }
        (verdict, idle_for)
    }

    /// Its last activity is now, unless it is over.
    pub(super) fn renew(&mut self, policy: &Policy, now: u64, aftermath: &mut Aftermath) -> Verdict {
        let (verdict, _) = self.judge(policy, now, aftermath);
        if !matches!(verdict, Verdict::Live(_)) {
            return verdict;
        }
        self.state = State::Live { active: now, in_flight: self.in_flight() };
        Verdict::Live(policy.renewed(self.own_limits(), Duration::ZERO, self.age(now)))
    }

    /// Live by the layers' limits, and without any of its own: nearly every session. Told at the least expense.
    pub(super) fn is_clearly_live(&self, now: u64, widest: Widest) -> bool {
        let State::Live { active, in_flight } = self.state else { return false };
        (in_flight > 0 || now.saturating_sub(active) < widest.idle)
            && now.saturating_sub(self.started) < widest.absolute
            && self.own_limits().is_none()
    }

    /// What its owner may see of it, if it is live.
    pub(super) fn info(
        &mut self,
        key: SessionKey,
        policy: &Policy,
        now: u64,
        aftermath: &mut Aftermath,
    ) -> Option<SessionInfo> {
        match self.judge(policy, now, aftermath) {
            (Verdict::Over(_), _) => None,
            (_, idle_for) => Some(SessionInfo::new(key, idle_for, self.age(now))),
        }
    }

    /// Whether the session is over. A cap does not end it.
    pub(super) fn end_if_over(&mut self, policy: &Policy, now: u64, aftermath: &mut Aftermath) -> bool {
        matches!(self.judge(policy, now, aftermath), (Verdict::Over(_), _))
    }

    /// Where no layer asks: by its own limits, or the most generous ones any layer has asked by.
    pub(super) fn end_if_over_for_all(&mut self, widest: Widest, now: u64, aftermath: &mut Aftermath) {
        if let Some(limits) = self.own_limits().or(widest.limits()) {
            self.end_if_over(&Policy::new(limits), now, aftermath);
        }
    }

    pub(super) fn is_live_under(
        &mut self,
        id: IdHash,
        policy: &Policy,
        now: u64,
        aftermath: &mut Aftermath,
    ) -> bool {
        !self.end_if_over(policy, now, aftermath) && !self.is_superseded(id, now)
    }

    /// `false` if it had ended before.
    pub(super) fn end(&mut self, reason: EndReason, now: u64, aftermath: &mut Aftermath) -> bool {
        let Ok(active) = self.last_activity(now) else { return false };
        self.state = State::Ended { at: now, reason };
        aftermath.events.push(SessionEvent::Ended {
            session: aftermath.session,
            reason,
            idle_for: Duration::from_nanos(now.saturating_sub(active)),
            age: self.age(now),
            owner: self.owner(),
        });
        true
    }

    /// Both clocks begin anew, and superseded ids end. The others are as old as they are.
    pub(super) fn restart(&mut self, first_id: IdHash, key: SessionKey, now: u64, aftermath: &mut Aftermath) {
        let superseded = self.ids_with(first_id).extract_if(.., |issued| issued.works_until.is_some());
        aftermath.orphans.extend(superseded.map(|issued| (issued.id, key)));
        self.started = now;
        self.state = State::Live { active: now, in_flight: self.in_flight() };
    }

    pub(super) fn ids(&self) -> &[IssuedId] {
        self.rare.as_ref().map_or(&[], |rare| &rare.ids)
    }

    fn ids_mut(&mut self) -> &mut Vec<IssuedId> {
        &mut self.rare.get_or_insert_default().ids
    }

    /// The list of its ids, begun with the first.
    fn ids_with(&mut self, first_id: IdHash) -> &mut Vec<IssuedId> {
        let issued = self.started;
        let ids = self.ids_mut();
        if ids.is_empty() {
            let (id, works_until) = (first_id, None);
            ids.push(IssuedId {
                id,
                issued,
                first_set: 0,
                last_set: 0,
                last_set_at: issued,
                used: true,
                works_until,
            });
        }
        ids
    }

    fn is_superseded(&self, id: IdHash, now: u64) -> bool {
        let ids = self.ids();
        let issued = ids.iter().find(|issued| issued.id == id);
        // One it has forgotten already may still lead here for a moment.
        !ids.is_empty() && issued.is_none_or(|issued| issued.works_until.is_some_and(|until| now >= until))
    }

    /// This id is in use: the grace of every older one begins, if it has not yet. One that was set again since this one
    /// was issued is not older: that answer may come last, and then the browser has it.
    fn supersede_older_than(&mut self, id: IdHash, works_until: u64) {
        let Some(rare) = &mut self.rare else { return };
        let Some(in_use) = rare.ids.iter_mut().find(|issued| issued.id == id) else { return };
        in_use.used = true;
        let first_set = in_use.first_set;
        for older in rare.ids.iter_mut().filter(|issued| issued.last_set < first_set) {
            older.works_until.get_or_insert(works_until);
        }
    }

    /// The application sets a value that may be an id already.
    ///
    /// An answer that sets its request's own id says nothing new. As long as a newer id may be on its way, it must
    /// not take that one's place in the browser.
    pub(super) fn reissue(
        &mut self,
        id: IdHash,
        first_id: IdHash,
        is_presented: bool,
        grace: Duration,
        now: u64,
    ) -> Reissue {
        let Some(known) = self.ids().iter().find(|issued| issued.id == id) else {
            return match is_presented {
                _ if id == first_id && self.ids().is_empty() => Reissue::Works,
                true => Reissue::Stale,
                false => Reissue::New,
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
            return if is_overtaken { Reissue::Stale } else { Reissue::Works };
        }
        let next = next_place(self.ids());
        let ids = self.ids_mut();
        ids.iter_mut().filter(|issued| issued.id == id).for_each(|again| {
            (again.last_set, again.last_set_at) = (next, now);
            if is_superseded {
                (again.first_set, again.issued, again.used, again.works_until) = (next, now, false, None);
            }
        });
        Reissue::Works
    }

    pub(super) fn forget(&mut self, id: IdHash) {
        self.ids_mut().retain(|issued| issued.id != id);
    }

    pub(super) fn add_id(
        &mut self,
        id: IdHash,
        first_id: IdHash,
        key: SessionKey,
        now: u64,
        store_is_full: bool,
        aftermath: &mut Aftermath,
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
            used: false,
            works_until: None,
        });
        while ids.len() > MAX_IDS_PER_SESSION || (store_is_full && ids.len() > 2) {
            let is_over = |issued: &IssuedId| issued.works_until.is_some_and(|until| now >= until);
            let others = ids.iter().enumerate().filter(|(_, issued)| issued.id != id);
            let least_needed =
                others.min_by_key(|(_, issued)| (!is_over(issued), issued.used, issued.last_set));
            let Some((least_needed, _)) = least_needed else { break };
            aftermath.orphans.push((ids.remove(least_needed).id, key));
        }
    }
}

fn next_place(ids: &[IssuedId]) -> u32 {
    ids.iter().map(|issued| issued.last_set.saturating_add(1)).max().unwrap_or(0)
}

/// A session in a file: ages, of which the next process makes instants of its own clock. All in nanoseconds.
#[cfg(feature = "snapshot")]
#[derive(Serialize, Deserialize)]
pub(super) struct SavedSession {
    pub(super) first_id: IdHash,
    age: u64,
    state: SavedState,
    limits: Option<(u64, Option<u64>)>,
    owner: Option<String>,
    remembered: u64,
    ids: Vec<SavedId>,
}

#[cfg(feature = "snapshot")]
#[derive(Serialize, Deserialize)]
enum SavedState {
    Live { idle_for: u64 },
    Ended { ago: u64, reason: String },
}

#[cfg(feature = "snapshot")]
#[derive(Serialize, Deserialize)]
struct SavedId {
    id: IdHash,
    age: u64,
    first_set: u32,
    last_set: u32,
    last_set_ago: u64,
    used: bool,
    works_for: Option<u64>,
}

#[cfg(feature = "snapshot")]
impl Session {
    pub(super) fn save(&self, first_id: IdHash, now: u64) -> SavedSession {
        let age = |instant: u64| now.saturating_sub(instant);
        let limits = self.own_limits();
        SavedSession {
            first_id,
            age: age(self.started),
            state: match self.state {
                State::Live { active, in_flight: 0 } => SavedState::Live { idle_for: age(active) },
                State::Live { .. } => SavedState::Live { idle_for: 0 },
                State::Ended { at, reason } => {
                    SavedState::Ended { ago: age(at), reason: reason.as_str().to_owned() }
                }
            },
            limits: limits.map(|limits| (nanos(limits.idle()), limits.absolute().map(nanos))),
            owner: self.owner().map(|owner| owner.as_str().to_owned()),
            remembered: self.remembered(),
            ids: self
                .ids()
                .iter()
                .map(|issued| SavedId {
                    id: issued.id,
                    age: age(issued.issued),
                    first_set: issued.first_set,
                    last_set: issued.last_set,
                    last_set_ago: age(issued.last_set_at),
                    used: issued.used,
                    works_for: issued.works_until.map(|until| until.saturating_sub(now)),
                })
                .collect(),
        }
    }

    /// `None` if no session was ever saved like that.
    pub(super) fn restore(saved: SavedSession, now: u64, lay: Duration) -> Option<Self> {
        let lay = nanos(lay);
        let instant = |age: u64| now.saturating_sub(age).saturating_sub(lay);
        let limits = saved.limits.map(|(idle, absolute)| match absolute {
            Some(absolute) => Limits::new(Duration::from_nanos(idle), Duration::from_nanos(absolute)),
            None => Limits::idle_only(Duration::from_nanos(idle)),
        });
        let state = match saved.state {
            SavedState::Live { idle_for } => State::Live { active: instant(idle_for), in_flight: 0 },
            SavedState::Ended { ago, reason } => {
                State::Ended { at: instant(ago), reason: EndReason::from_word(&reason)? }
            }
        };
        let ids = saved.ids.into_iter().map(|id| IssuedId {
            id: id.id,
            issued: instant(id.age),
            first_set: id.first_set,
            last_set: id.last_set,
            last_set_at: instant(id.last_set_ago),
            used: id.used,
            works_until: id.works_for.map(|left| now.saturating_add(left).saturating_sub(lay)),
        });
        let rare = Rare {
            limits,
            owner: saved.owner.map(Owner::from),
            remembered: saved.remembered,
            ids: ids.collect(),
        };
        let is_rare =
            rare.limits.is_some() || rare.owner.is_some() || rare.remembered > 0 || !rare.ids.is_empty();
        Some(Self { started: instant(saved.age), state, rare: is_rare.then(|| Box::new(rare)) })
    }
}

//! How a record is written down: for stores on a network, and for the file of a snapshot.
//!
//! Fixed-width, big-endian. A text that was cut short, changed, or written under another key is refused by its checksum;
//! so is one that says the same in another way.

use std::time::Duration;

use siphasher::sip128::SipHasher24;

use super::{
    IdHash, nanos,
    record::{IssuedId, Rare, Record, State},
};
use crate::rules::{
    id::{Label, Owner},
    limits::{EndReason, Limits},
};

const VERSION: u8 = 3;
const HAS_ALIAS: u16 = 1;
const HAS_RECORD: u16 = 1 << 1;
const ENDED: u16 = 1 << 2;
const HAS_LIMITS: u16 = 1 << 3;
const HAS_ABSOLUTE: u16 = 1 << 4;
const ADOPTED: u16 = 1 << 5;
const HAS_OWNER: u16 = 1 << 6;
const HAS_IDS: u16 = 1 << 7;
const HAS_LABEL: u16 = 1 << 8;
const HAS_ROSTER: u16 = 1 << 9;
const CHECKSUM: usize = 8;
/// Of a session with an owner and one id.
const USUAL_LENGTH: usize = 96;

/// What is kept under the hash of an id. Both, if the id began a session that lives on under newer ids, and is another
/// session's by now.
#[cfg_attr(test, derive(Debug))]
#[derive(Clone, Default, PartialEq)]
pub(crate) struct Entry {
    /// The id is one of the session that is kept under this key.
    pub(crate) alias: Option<Kept<[u8; 16]>>,
    /// The session that is kept here.
    pub(crate) record: Option<Kept<Record>>,
    /// The sessions of the owner whose roster is kept here, if they are limited.
    pub(crate) roster: Option<Kept<Vec<[u8; 16]>>>,
}

/// Something, and the instant until which it has to be kept.
#[cfg_attr(test, derive(Debug))]
#[derive(Clone, PartialEq)]
pub(crate) struct Kept<T> {
    pub(crate) content: T,
    pub(crate) until: u64,
}

impl Entry {
    #[cfg(feature = "shared")]
    pub(crate) fn is_empty(&self) -> bool {
        self.alias.is_none() && self.record.is_none() && self.roster.is_none()
    }

    #[cfg(feature = "shared")]
    pub(crate) fn kept_until(&self) -> u64 {
        let alias = self.alias.as_ref().map_or(0, |alias| alias.until);
        let roster = self.roster.as_ref().map_or(0, |roster| roster.until);
        self.record.as_ref().map_or(0, |record| record.until).max(alias).max(roster)
    }

    pub(crate) fn encode(&self, key: &[u8; 16]) -> Vec<u8> {
        let record = self.record.as_ref().map(|record| &record.content);
        let rare = record.and_then(|record| record.rare.as_deref());
        let limits = rare.and_then(|rare| rare.limits);
        let owner = rare.and_then(|rare| rare.owner.as_ref());
        let label = rare.and_then(|rare| rare.label.as_ref());
        let ids = rare.map_or(&[][..], |rare| &rare.ids);
        let has = |flag: u16, it_has: bool| if it_has { flag } else { 0 };
        let flags = has(HAS_ALIAS, self.alias.is_some())
            | has(HAS_RECORD, record.is_some())
            | has(ENDED, record.is_some_and(|record| record.ended_at().is_some()))
            | has(HAS_LIMITS, limits.is_some())
            | has(HAS_ABSOLUTE, limits.is_some_and(|limits| limits.absolute().is_some()))
            | has(ADOPTED, rare.is_some_and(|rare| rare.adopted))
            | has(HAS_OWNER, owner.is_some())
            | has(HAS_IDS, !ids.is_empty())
            | has(HAS_LABEL, label.is_some())
            | has(HAS_ROSTER, self.roster.is_some());
        let mut text = Vec::with_capacity(USUAL_LENGTH);
        text.push(VERSION);
        text.extend(flags.to_be_bytes());
        let put = |text: &mut Vec<u8>, number: u64| text.extend(number.to_be_bytes());
        if let Some(Kept { content: session, until }) = &self.alias {
            text.extend(session);
            put(&mut text, *until);
        }
        if let Some(Kept { content: sessions, until }) = &self.roster {
            put(&mut text, *until);
            put(&mut text, sessions.len() as u64);
            text.extend(sessions.as_flattened());
        }
        if let Some(Kept { content: record, until }) = &self.record {
            put(&mut text, *until);
            put(&mut text, record.started);
            match record.state {
                State::Live { active, .. } => put(&mut text, active),
                State::Ended { at, reason } => {
                    put(&mut text, at);
                    text.push(reason.to_code());
                }
            }
        }
        if let Some(limits) = limits {
            put(&mut text, nanos(limits.idle()));
            if let Some(absolute) = limits.absolute() {
                put(&mut text, nanos(absolute));
            }
        }
        for string in owner.map(Owner::as_str).into_iter().chain(label.map(Label::as_str)) {
            put(&mut text, string.len() as u64);
            text.extend(string.as_bytes());
        }
        for issued in ids {
            text.extend(issued.id.to_bytes());
            put(&mut text, issued.issued);
            put(&mut text, u64::from(issued.first_set) << 32 | u64::from(issued.last_set));
            put(&mut text, issued.last_set_at);
            put(&mut text, issued.works_until.unwrap_or(u64::MAX));
        }
        text.extend(checksum(key, &text));
        text
    }

    /// `None`: no store of this version wrote that here.
    pub(crate) fn decode(key: &[u8; 16], text: &[u8]) -> Option<Self> {
        let entry = Self::read(text)?;
        (entry.encode(key) == text).then_some(entry)
    }

    fn read(text: &[u8]) -> Option<Self> {
        let (mut rest, _) = text.split_at_checked(text.len().checked_sub(CHECKSUM)?)?;
        let rest = &mut rest;
        let [VERSION] = take(rest)? else { return None };
        let flags = u16::from_be_bytes(take(rest)?);
        let has = |flag: u16| flags & flag != 0;
        let mut entry = Self::default();
        if has(HAS_ALIAS) {
            entry.alias = Some(Kept { content: take(rest)?, until: number(rest)? });
        }
        if has(HAS_ROSTER) {
            let until = number(rest)?;
            let sessions: Option<_> = (0..number(rest)?).map(|_| take(rest)).collect();
            entry.roster = Some(Kept { content: sessions?, until });
        }
        if !has(HAS_RECORD) {
            return Some(entry);
        }
        let (until, started, at) = (number(rest)?, number(rest)?, number(rest)?);
        let state = if has(ENDED) {
            let [reason] = take(rest)?;
            State::Ended { at, reason: EndReason::from_code(reason)? }
        } else {
            State::Live { active: at, in_flight: 0 }
        };
        let mut rare = Rare { adopted: has(ADOPTED), ..Rare::default() };
        if has(HAS_LIMITS) {
            let idle = Duration::from_nanos(number(rest)?);
            rare.limits = Some(if has(HAS_ABSOLUTE) {
                Limits::new(idle, Duration::from_nanos(number(rest)?))
            } else {
                Limits::idle_only(idle)
            });
        }
        if has(HAS_OWNER) {
            rare.owner = Some(Owner::from(string(rest)?));
        }
        if has(HAS_LABEL) {
            rare.label = Some(Label::from(string(rest)?));
        }
        while has(HAS_IDS) && !rest.is_empty() {
            let (id, issued, places) = (IdHash::from_bytes(take(rest)?), number(rest)?, number(rest)?);
            rare.ids.push(IssuedId {
                id,
                issued,
                first_set: u32::try_from(places >> 32).ok()?,
                last_set: u32::try_from(places & u64::from(u32::MAX)).ok()?,
                last_set_at: number(rest)?,
                works_until: Some(number(rest)?).filter(|&until| until != u64::MAX),
            });
        }
        let rare = (rare != Rare::default()).then(|| Box::new(rare));
        entry.record = Some(Kept { content: Record { started, state, rare }, until });
        Some(entry)
    }
}

/// Against damage, not against forgery: who can write a record can compute any checksum.
fn checksum(key: &[u8; 16], text: &[u8]) -> [u8; CHECKSUM] {
    SipHasher24::new_with_key(key).hash(text).h1.to_be_bytes()
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (first, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(*first)
}

fn string<'a>(rest: &mut &'a [u8]) -> Option<&'a str> {
    let length = usize::try_from(number(rest)?).ok()?;
    let (string, after) = rest.split_at_checked(length)?;
    *rest = after;
    str::from_utf8(string).ok()
}

fn number(rest: &mut &[u8]) -> Option<u64> {
    take(rest).map(u64::from_be_bytes)
}

impl EndReason {
    fn to_code(self) -> u8 {
        match self {
            Self::Idle => 1,
            Self::Absolute => 2,
            Self::SignedOut => 3,
            Self::Revoked => 4,
            Self::Superseded => 5,
            Self::Unknown => 6,
        }
    }

    fn from_code(code: u8) -> Option<Self> {
        let all =
            [Self::Idle, Self::Absolute, Self::SignedOut, Self::Revoked, Self::Superseded, Self::Unknown];
        all.into_iter().find(|reason| reason.to_code() == code)
    }
}

#[cfg(test)]
mod tests {
    use proptest::{option, prelude::*, sample::select};

    use super::*;

    const KEY: [u8; 16] = [7; 16];

    fn kept<T: std::fmt::Debug>(content: impl Strategy<Value = T>) -> impl Strategy<Value = Option<Kept<T>>> {
        option::of((content, any::<u64>()).prop_map(|(content, until)| Kept { content, until }))
    }

    fn state() -> impl Strategy<Value = State> {
        let reason = select(
            &[
                EndReason::Idle,
                EndReason::Absolute,
                EndReason::SignedOut,
                EndReason::Revoked,
                EndReason::Superseded,
            ][..],
        );
        prop_oneof![
            any::<u64>().prop_map(|active| State::Live { active, in_flight: 0 }),
            (any::<u64>(), reason).prop_map(|(at, reason)| State::Ended { at, reason }),
        ]
    }

    fn limits() -> impl Strategy<Value = Limits> {
        (any::<u64>(), option::of(any::<u64>())).prop_map(|(idle, absolute)| {
            let idle = Duration::from_nanos(idle);
            absolute
                .map_or(Limits::idle_only(idle), |absolute| Limits::new(idle, Duration::from_nanos(absolute)))
        })
    }

    fn issued() -> impl Strategy<Value = IssuedId> {
        let works_until = option::of(0..u64::MAX);
        (any::<[u8; 16]>(), any::<u64>(), any::<[u32; 2]>(), any::<u64>(), works_until).prop_map(
            |(id, issued, [first_set, last_set], last_set_at, works_until)| IssuedId {
                id: IdHash::from_bytes(id),
                issued,
                first_set,
                last_set,
                last_set_at,
                works_until,
            },
        )
    }

    fn record() -> impl Strategy<Value = Record> {
        let text = || option::of(".{0,40}");
        let ids = prop::collection::vec(issued(), 0..4);
        let rare = (option::of(limits()), text(), text(), any::<bool>(), ids).prop_map(
            |(limits, owner, label, adopted, ids)| {
                let (owner, label) = (owner.map(Owner::from), label.map(Label::from));
                Rare { limits, owner, label, adopted, ids }
            },
        );
        (any::<u64>(), state(), rare).prop_map(|(started, state, rare)| {
            let rare = (rare != Rare::default()).then(|| Box::new(rare));
            Record { started, state, rare }
        })
    }

    fn entry() -> impl Strategy<Value = Entry> {
        let roster = prop::collection::vec(any::<[u8; 16]>(), 0..4);
        (kept(any::<[u8; 16]>()), kept(record()), kept(roster)).prop_map(|(alias, record, roster)| Entry {
            alias,
            record,
            roster,
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_was_written_is_read(entry in entry()) {
            prop_assert!(Entry::decode(&KEY, &entry.encode(&KEY)).is_some_and(|read| read == entry));
        }

        #[test]
        fn what_was_changed_cut_lengthened_or_is_of_another_key_is_not_read(
            entry in entry(),
            at in any::<prop::sample::Index>(),
            bits in 1..=u8::MAX,
            more in prop::collection::vec(any::<u8>(), 1..20),
        ) {
            let text = entry.encode(&KEY);
            let at = at.index(text.len());
            let mut changed = text.clone();
            changed[at] ^= bits;
            let longer = [&text[..], &more].concat();
            for other in [&changed, &text[..at], &text[at + 1..], &longer] {
                prop_assert!(Entry::decode(&KEY, other).is_none());
            }
            prop_assert!(Entry::decode(&[8; 16], &text).is_none());
        }

        #[test]
        fn no_bytes_at_all_make_it_panic(mut text in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Entry::decode(&KEY, &text);
            // With the version, and a sum that is right: flags and lengths are what was made up.
            if let [version, ..] = &mut text[..] {
                *version = VERSION;
            }
            text.extend(checksum(&KEY, &text));
            if let Some(read) = Entry::decode(&KEY, &text) {
                prop_assert_eq!(read.encode(&KEY), text);
            }
        }
    }
}

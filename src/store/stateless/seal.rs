//! What is left with a client: written, sealed with a MAC, and read again.

use std::{error::Error, fmt, time::Duration};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::{Limits, Owner, SessionKey};

const SHORTEST_KEY: usize = 32;
const VERSION: u8 = 1;
const MAC_LENGTH: usize = 32;
const HAS_LIMITS: u8 = 1;
const HAS_ABSOLUTE: u8 = 2;
const HAS_OWNER: u8 = 4;
/// Whatever else the same keys are used for cannot be taken for one of ours.
const RECORD: &[u8] = b"tower-session-timeout record";
const ACTIVITY: &[u8] = b"tower-session-timeout activity";
const SESSION_KEY: &[u8] = b"tower-session-timeout session key";

/// What is known of a session. Times are milliseconds since 1970.
#[derive(Clone)]
pub(super) struct Record {
    pub(super) key: SessionKey,
    pub(super) started: u64,
    /// When the id was issued that it is bound to.
    pub(super) issued: u64,
    pub(super) active: u64,
    pub(super) limits: Option<Limits>,
    pub(super) owner: Option<Owner>,
}

/// When a session was last active.
pub(super) struct Activity {
    pub(super) key: SessionKey,
    pub(super) active: u64,
}

/// What was read, and whether it was sealed with the current key.
pub(super) struct Unsealed<T> {
    pub(super) content: T,
    pub(super) is_current: bool,
}

/// The keys: the first one seals, all of them are accepted. Kept as they are used, so that there is nothing to print.
pub(super) struct Keys(Vec<Hmac<Sha256>>);

impl Keys {
    pub(super) fn new(keys: impl IntoIterator<Item = impl AsRef<[u8]>>) -> Result<Self, KeyError> {
        let keys: Result<Vec<_>, _> = keys
            .into_iter()
            .enumerate()
            .map(|(index, key)| {
                let key = key.as_ref();
                if key.len() < SHORTEST_KEY {
                    return Err(KeyError::TooShort { index, bytes: key.len() });
                }
                if key.iter().all(|&byte| byte == key[0]) {
                    return Err(KeyError::AllBytesEqual { index });
                }
                Ok(Hmac::new_from_slice(key).expect("HMAC takes keys of any length"))
            })
            .collect();
        let keys = keys?;
        if keys.is_empty() { Err(KeyError::NoKey) } else { Ok(Self(keys)) }
    }

    /// Names a new session. It depends on the id, and tells nothing of it.
    pub(super) fn session_key(&self, cookie: &str, id: &[u8], started: u64) -> SessionKey {
        let mac = mac(&self.0[0], SESSION_KEY, cookie, id, &started.to_be_bytes()).finalize().into_bytes();
        let mut key = [0; 16];
        key.copy_from_slice(&mac[..16]);
        SessionKey::new(key)
    }

    /// Bound to the session cookie's name and the id: it says nothing about any other.
    pub(super) fn seal_record(&self, cookie: &str, id: &[u8], record: &Record) -> String {
        let mut text = vec![VERSION];
        text.extend(record.key.to_bytes());
        for time in [record.started, record.issued, record.active] {
            text.extend(time.to_be_bytes());
        }
        let absolute = record.limits.and_then(|limits| limits.absolute());
        text.push(
            u8::from(record.limits.is_some()) * HAS_LIMITS
                + u8::from(absolute.is_some()) * HAS_ABSOLUTE
                + u8::from(record.owner.is_some()) * HAS_OWNER,
        );
        if let Some(limits) = record.limits {
            text.extend(millis(limits.idle()).to_be_bytes());
            text.extend(absolute.map_or(0, millis).to_be_bytes());
        }
        if let Some(owner) = &record.owner {
            text.extend(owner.as_str().as_bytes());
        }
        self.seal(RECORD, cookie, id, text)
    }

    /// Bound to the session, whichever of its ids is in use.
    pub(super) fn seal_activity(&self, cookie: &str, activity: &Activity) -> String {
        let mut text = vec![VERSION];
        text.extend(activity.key.to_bytes());
        text.extend(activity.active.to_be_bytes());
        self.seal(ACTIVITY, cookie, &[], text)
    }

    pub(super) fn unseal_record(&self, cookie: &str, id: &[u8], sealed: &str) -> Option<Unsealed<Record>> {
        let (text, is_current) = self.unseal(RECORD, cookie, id, sealed)?;
        let mut rest = text.as_slice();
        let key = SessionKey::new(take(&mut rest)?);
        let [started, issued, active] = [take(&mut rest)?, take(&mut rest)?, take(&mut rest)?];
        let [flags] = take(&mut rest)?;
        let limits = if flags & HAS_LIMITS == 0 {
            None
        } else {
            let idle = Duration::from_millis(u64::from_be_bytes(take(&mut rest)?));
            let absolute = Duration::from_millis(u64::from_be_bytes(take(&mut rest)?));
            let is_absolute = flags & HAS_ABSOLUTE != 0;
            Some(if is_absolute { Limits::new(idle, absolute) } else { Limits::idle_only(idle) })
        };
        let owner = match (flags & HAS_OWNER != 0, rest) {
            (true, owner) => Some(Owner::from(str::from_utf8(owner).ok()?)),
            (false, []) => None,
            (false, _) => return None,
        };
        let [started, issued, active] = [started, issued, active].map(u64::from_be_bytes);
        Some(Unsealed { content: Record { key, started, issued, active, limits, owner }, is_current })
    }

    pub(super) fn unseal_activity(&self, cookie: &str, sealed: &str) -> Option<Unsealed<Activity>> {
        let (text, is_current) = self.unseal(ACTIVITY, cookie, &[], sealed)?;
        let mut rest = text.as_slice();
        let key = SessionKey::new(take(&mut rest)?);
        let active = u64::from_be_bytes(take(&mut rest)?);
        rest.is_empty().then_some(Unsealed { content: Activity { key, active }, is_current })
    }

    fn seal(&self, purpose: &[u8], cookie: &str, id: &[u8], mut text: Vec<u8>) -> String {
        let mac = mac(&self.0[0], purpose, cookie, id, &text).finalize().into_bytes();
        text.extend(mac);
        URL_SAFE_NO_PAD.encode(text)
    }

    /// The text after its version, once its MAC was found right: nothing is read before. There is no other format to
    /// fall back to (T40).
    fn unseal(&self, purpose: &[u8], cookie: &str, id: &[u8], sealed: &str) -> Option<(Vec<u8>, bool)> {
        let mut text = URL_SAFE_NO_PAD.decode(sealed).ok()?;
        let tag = text.split_off(text.len().checked_sub(MAC_LENGTH)?);
        let made_by = |key| mac(key, purpose, cookie, id, &text).verify_slice(&tag).is_ok();
        let index = self.0.iter().position(made_by)?;
        let version = *text.first()?;
        text.remove(0);
        (version == VERSION).then_some((text, index == 0))
    }
}

/// Over all parts, each with its length, so that none can pass for another.
fn mac(key: &Hmac<Sha256>, purpose: &[u8], cookie: &str, id: &[u8], text: &[u8]) -> Hmac<Sha256> {
    let mut mac = key.clone();
    for part in [purpose, cookie.as_bytes(), id, text] {
        mac.update(&(part.len() as u64).to_be_bytes());
        mac.update(part);
    }
    mac
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (first, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(*first)
}

/// Rounded down: a limit is never longer than was asked for.
pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Keys that a [`StatelessStore`](crate::StatelessStore) does not take. It shows none of them.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyError {
    /// There is none.
    NoKey,
    /// A key is shorter than 32 bytes, what HMAC-SHA-256 is worth (RFC 2104 §3).
    TooShort {
        /// Which one, from 0.
        index: usize,
        /// Its length.
        bytes: usize,
    },
    /// A key is one byte over and over: a placeholder.
    AllBytesEqual {
        /// Which one, from 0.
        index: usize,
    },
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoKey => f.write_str("there is no key to sign with"),
            Self::TooShort { index, bytes } => {
                write!(f, "key {index} has {bytes} bytes; {SHORTEST_KEY} random ones are the least")
            }
            Self::AllBytesEqual { index } => {
                write!(f, "all bytes of key {index} are equal: it is no random key")
            }
        }
    }
}

impl Error for KeyError {}

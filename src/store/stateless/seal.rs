//! What is left with a client: written, sealed with a MAC, and read again.

use std::{error::Error, fmt};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::rules::{
    Record,
    codec::{Entry, Kept},
    id::SessionKey,
};

const SHORTEST_KEY: usize = 32;
const MAC_LENGTH: usize = 32;
/// Whatever else the same keys are used for cannot be taken for one of ours.
const RECORD: &[u8] = b"tower-session-timeout record 2";
const ACTIVITY: &[u8] = b"tower-session-timeout activity 2";
const SESSION_KEY: &[u8] = b"tower-session-timeout session key";

/// What is known of a session, and its name.
#[derive(Clone)]
pub(super) struct NamedRecord {
    pub(super) key: SessionKey,
    pub(super) record: Record,
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
    pub(super) fn seal_record(&self, cookie: &str, id: &[u8], named: &NamedRecord) -> String {
        let key = named.key.to_bytes();
        // The cookie lasts for as long as it is of use.
        let record = Some(Kept { content: named.record.clone(), until: 0 });
        let mut text = key.to_vec();
        text.extend(Entry { record, ..Entry::default() }.encode(&key));
        self.seal(RECORD, cookie, id, text)
    }

    /// Bound to the session, whichever of its ids is in use.
    pub(super) fn seal_activity(&self, cookie: &str, activity: &Activity) -> String {
        let mut text = activity.key.to_bytes().to_vec();
        text.extend(activity.active.to_be_bytes());
        self.seal(ACTIVITY, cookie, &[], text)
    }

    pub(super) fn unseal_record(
        &self,
        cookie: &str,
        id: &[u8],
        sealed: &str,
    ) -> Option<Unsealed<NamedRecord>> {
        let (text, is_current) = self.unseal(RECORD, cookie, id, sealed)?;
        let mut rest = text.as_slice();
        let key = take(&mut rest)?;
        let record = Entry::decode(&key, rest)?.record?.content;
        Some(Unsealed { content: NamedRecord { key: SessionKey::new(key), record }, is_current })
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

    /// The text, once its MAC was found right: nothing is read before. There is no other format to fall back to (T40).
    fn unseal(&self, purpose: &[u8], cookie: &str, id: &[u8], sealed: &str) -> Option<(Vec<u8>, bool)> {
        let mut text = URL_SAFE_NO_PAD.decode(sealed).ok()?;
        let tag = text.split_off(text.len().checked_sub(MAC_LENGTH)?);
        let made_by = |key| mac(key, purpose, cookie, id, &text).verify_slice(&tag).is_ok();
        let index = self.0.iter().position(made_by)?;
        Some((text, index == 0))
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

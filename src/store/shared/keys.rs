//! Under which keys a backend has what.

use sha2::{Digest, Sha256};

use crate::{
    rules::{
        IdHash,
        id::{Owner, SessionId},
    },
    store::backend::Key,
};

pub(super) fn key_of(id: &SessionId<'_>) -> Key {
    key_of_bytes(id.expose())
}

pub(super) fn key_of_owner(owner: &Owner) -> Key {
    key_of_bytes(owner.as_str().as_bytes())
}

/// No session id has this hash.
pub(super) fn key_of_roster(owner: &Owner) -> Key {
    let hash = key_of_owner(owner).to_bytes();
    key_of_bytes(&[b"the roster of\0".as_slice(), &hash].concat())
}

fn key_of_bytes(bytes: &[u8]) -> Key {
    let hash: [u8; 32] = Sha256::digest(bytes).into();
    let mut key = [0; 16];
    key.copy_from_slice(&hash[..16]);
    Key::new(key)
}

pub(super) fn hash_of(key: Key) -> IdHash {
    IdHash::from_bytes(key.to_bytes())
}

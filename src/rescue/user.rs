//! Whose browser it is, after the store has forgotten its session.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::HeaderMap;

use crate::{
    rescue::{COMPANIONS, Rescue},
    rules::id::Owner,
    store::contract::Companion,
};

const LENGTH: usize = 16;
const ID_LENGTH: usize = 9;

/// A user, without a name.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct User(pub(super) [u8; LENGTH]);

impl Rescue {
    pub(crate) fn user(&self, owner: &Owner) -> User {
        User(first_half(self.secret.mac(b"user", owner.as_str().as_bytes())))
    }

    /// Whose session this browser had last.
    pub(crate) fn recognize(&self, headers: &HeaderMap) -> Option<User> {
        let mut users = self.cookies.received(headers).into_iter().filter_map(|it| self.verified(&it.value));
        let user = users.next()?;
        users.all(|other| other == user).then_some(user)
    }

    fn verified(&self, value: &str) -> Option<User> {
        let bytes: [u8; 2 * LENGTH] = URL_SAFE_NO_PAD.decode(value).ok()?.try_into().ok()?;
        let user = User(*bytes.first_chunk()?);
        // What it guards is no more than the forms it names, and whoever guesses has to ask the network each time.
        (self.proof(user) == bytes[LENGTH..]).then_some(user)
    }

    fn proof(&self, user: User) -> [u8; LENGTH] {
        first_half(self.secret.mac(b"cookie", &user.0))
    }

    /// A name for a form of this user's.
    pub(super) fn new_id(&self, user: User) -> String {
        let mut random = [0; ID_LENGTH];
        getrandom::fill(&mut random).expect("the operating system gives random numbers");
        URL_SAFE_NO_PAD.encode([random, self.id_proof(user, random)].concat())
    }

    pub(super) fn is_id_of(&self, user: User, id: &str) -> bool {
        let bytes = URL_SAFE_NO_PAD.decode(id).ok();
        let bytes: Option<[u8; 2 * ID_LENGTH]> = bytes.and_then(|bytes| bytes.try_into().ok());
        let Some((random, proof)) = bytes.as_ref().and_then(|bytes| bytes.split_first_chunk()) else {
            return false;
        };
        self.id_proof(user, *random) == proof
    }

    fn id_proof(&self, user: User, random: [u8; ID_LENGTH]) -> [u8; ID_LENGTH] {
        let mac = self.secret.mac(b"form", &[&user.0[..], &random].concat());
        *mac.first_chunk().expect("a MAC is longer")
    }

    /// Lets the browser know whose its session is.
    pub(crate) fn introduce(&self, owner: &Owner, headers: &mut HeaderMap) {
        let user = self.user(owner);
        let value = URL_SAFE_NO_PAD.encode([user.0, self.proof(user)].concat());
        self.cookies.set(&Companion::new(COMPANIONS[0], value), headers);
    }
}

fn first_half(mac: [u8; 32]) -> [u8; LENGTH] {
    let mut half = [0; LENGTH];
    half.copy_from_slice(&mac[..LENGTH]);
    half
}

//! What only this user's next session opens.

use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce, aead::Aead};

use crate::{
    rescue::{Rescue, user::User},
    store::backend::Key,
};

const NONCE_LENGTH: usize = 24;

impl Rescue {
    /// Under which a user's forms are kept.
    pub(super) fn key(&self, user: User) -> Key {
        let mut key = [0; 16];
        key.copy_from_slice(&self.secret.mac(b"forms", &user.0)[..16]);
        Key::new(key)
    }

    fn cipher(&self, user: User) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new(&self.secret.mac(b"seal", &user.0).into())
    }

    pub(super) fn seal(&self, user: User, text: &[u8]) -> Vec<u8> {
        let mut nonce = [0; NONCE_LENGTH];
        getrandom::fill(&mut nonce).expect("the operating system gives random numbers");
        let sealed = self.cipher(user).encrypt(&XNonce::from(nonce), text).expect("there is room for a form");
        [&nonce[..], &sealed].concat()
    }

    /// `None`: it is another user's, damaged, or sealed with another secret.
    pub(super) fn open(&self, user: User, sealed: &[u8]) -> Option<Vec<u8>> {
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE_LENGTH>()?;
        self.cipher(user).decrypt(&XNonce::from(*nonce), sealed).ok()
    }
}

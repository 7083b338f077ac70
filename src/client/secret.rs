//! From which digests and keys are derived.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

pub(crate) struct Secret([u8; 32]);

impl Secret {
    pub(crate) fn new(secret: [u8; 32]) -> Self {
        Self(secret)
    }

    pub(crate) fn mac(&self, purpose: &[u8], text: &[u8]) -> [u8; 32] {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes keys of any length");
        mac.update(purpose);
        mac.update(&[0]);
        mac.update(text);
        mac.finalize().into_bytes().into()
    }

    /// One of its own for another purpose.
    #[cfg(feature = "rescue")]
    pub(crate) fn derived(&self, purpose: &[u8]) -> Self {
        Self(self.mac(purpose, b""))
    }
}

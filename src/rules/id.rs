//! A session's names: the id the client sends, the key the store hands out. Neither prints itself.

use std::{borrow::Cow, fmt};

/// The longest session id that is looked at, in bytes: what a browser accepts for a whole cookie
/// (RFC 6265bis §5.6). A longer one has ended before it is hashed. Of a session cookie that may be
/// [chunked](crate::CookieChunks), it is [`MAX_CHUNKED_SESSION_ID_LENGTH`](crate::MAX_CHUNKED_SESSION_ID_LENGTH).
pub const MAX_SESSION_ID_LENGTH: usize = 4096;

/// A session id as it travelled: a cookie's value, a token. Borrowed from a header, or computed.
///
/// `Debug` shows nothing of it; only [`expose`](Self::expose) does.
///
/// ```
/// use tower_session_timeout::SessionId;
///
/// let id = SessionId::from("k3y");
/// assert_eq!(format!("{id:?}"), "SessionId(..)");
/// assert_eq!(id.expose(), b"k3y");
/// ```
#[derive(Clone)]
pub struct SessionId<'a>(Cow<'a, [u8]>);

impl SessionId<'_> {
    /// The id itself. Keep it out of logs and error messages.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// An id that borrows nothing.
    #[must_use]
    pub fn into_owned(self) -> SessionId<'static> {
        SessionId(Cow::Owned(self.0.into_owned()))
    }

    /// The same id, borrowed.
    pub fn borrowed(&self) -> SessionId<'_> {
        SessionId(Cow::Borrowed(&self.0))
    }

    /// An empty id names no session; one of no plausible length neither.
    pub(crate) fn is_plausible(&self, longest: usize) -> bool {
        !self.0.is_empty() && self.0.len() <= longest
    }
}

impl<'a> From<&'a [u8]> for SessionId<'a> {
    fn from(id: &'a [u8]) -> Self {
        Self(Cow::Borrowed(id))
    }
}

impl<'a> From<&'a str> for SessionId<'a> {
    fn from(id: &'a str) -> Self {
        Self(Cow::Borrowed(id.as_bytes()))
    }
}

impl From<Vec<u8>> for SessionId<'_> {
    fn from(id: Vec<u8>) -> Self {
        Self(Cow::Owned(id))
    }
}

impl From<String> for SessionId<'_> {
    fn from(id: String) -> Self {
        Self(Cow::Owned(id.into_bytes()))
    }
}

impl fmt::Debug for SessionId<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionId(..)")
    }
}

/// Names one session of one store, whichever of its ids was sent: what a store hands out when it admits.
///
/// Made by the store, understood by the store that made it alone, and no session id.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct SessionKey([u8; 16]);

impl SessionKey {
    /// A key of a store's own making.
    pub const fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The bytes the store put in.
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0
    }

    /// Names the session in a log or a form. It is of no use in place of a session id.
    pub fn tag(self) -> String {
        format!("{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionKey(..)")
    }
}

/// Tells one id of a session from its others: a short digest made by the store.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct IdTag([u8; 8]);

impl IdTag {
    /// A tag of a store's own making. It must not let anyone compute the id.
    pub const fn new(bytes: [u8; 8]) -> Self {
        Self(bytes)
    }

    /// The bytes the store put in.
    pub const fn to_bytes(self) -> [u8; 8] {
        self.0
    }
}

impl fmt::Debug for IdTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IdTag(..)")
    }
}

/// Whose session it is: a short, opaque user id of the application's, to find and end a user's sessions by.
///
/// `Debug` does not show it, for it may be a name or an address.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Owner(std::sync::Arc<str>);

impl Owner {
    /// The user id.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Owner {
    fn from(owner: &str) -> Self {
        Self(owner.into())
    }
}

impl From<String> for Owner {
    fn from(owner: String) -> Self {
        Self(owner.into())
    }
}

/// What tells a session from its owner's others in a list: a device, an address, a user agent.
///
/// It is cut after 256 characters, and control characters become spaces. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Label(std::sync::Arc<str>);

const MAX_LABEL_LENGTH: usize = 256;

impl Label {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Label {
    fn from(label: &str) -> Self {
        let kept = label.chars().take(MAX_LABEL_LENGTH);
        let kept: String =
            kept.map(|character| if character.is_control() { ' ' } else { character }).collect();
        Self(kept.into())
    }
}

impl From<String> for Label {
    fn from(label: String) -> Self {
        Self::from(label.as_str())
    }
}

impl fmt::Debug for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Label(..)")
    }
}

impl fmt::Debug for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Owner(..)")
    }
}

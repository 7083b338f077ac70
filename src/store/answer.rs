//! How a store answers, at once or later, and what a start, an adoption or a rotation comes to.

use std::{error::Error, fmt, pin::Pin};

use crate::rules::id::SessionKey;

/// A boxed future, as stores on a network answer with.
pub type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// A store's answer: there already, or on its way.
///
/// An answer that is `Ready` costs a request neither an allocation nor a clone of the inner service.
pub enum Answer<T> {
    /// The answer of a store in memory.
    Ready(Result<T, StoreError>),
    /// The answer of a store on a network. It borrows nothing.
    Pending(BoxFuture<Result<T, StoreError>>),
}

impl<T> IntoFuture for Answer<T>
where
    T: Send + 'static,
{
    type Output = Result<T, StoreError>;
    type IntoFuture = BoxFuture<Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        match self {
            Self::Ready(result) => Box::pin(std::future::ready(result)),
            Self::Pending(future) => future,
        }
    }
}

impl<T: fmt::Debug> fmt::Debug for Answer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ready(result) => f.debug_tuple("Ready").field(result).finish(),
            Self::Pending(_) => f.write_str("Pending(..)"),
        }
    }
}

/// What became of [`Store::start`](crate::Store::start).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Started {
    /// A new session.
    New(SessionKey),
    /// The id already led to a live session, which was left as it is.
    AlreadyLive(SessionKey),
    /// The store is full of live sessions. Nothing was begun.
    AtCapacity,
    /// Its owner has as many sessions as [allowed](crate::MaxSessions::refuse_new). Nothing was begun.
    TooMany,
}

/// What became of [`Store::adopt`](crate::Store::adopt).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Adopted {
    /// A new session.
    New(SessionKey),
    /// The id is known already: live, or ended.
    Known,
    /// The store is full of sessions that are live or have to be remembered. Nothing was begun.
    AtCapacity,
    /// Its owner has as many sessions as [allowed](crate::MaxSessions::refuse_new). Nothing was begun.
    TooMany,
}

/// What became of [`Store::restart`](crate::Store::restart).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restarted {
    /// Both clocks have begun anew.
    Done,
    /// The session has ended.
    Ended,
    /// The owner it would have has as many sessions as [allowed](crate::MaxSessions::refuse_new). It stays as nobody's.
    TooMany,
}

/// What became of [`Store::rotate`](crate::Store::rotate).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rotated {
    /// The value is an id of this session now.
    New,
    /// The value leads to a live session already: to this one, as a rule.
    AlreadyLive,
    /// The value is not live, and must not reach the client.
    Refused,
}

/// A store could not answer.
#[derive(Debug)]
pub struct StoreError(Box<dyn Error + Send + Sync>);

impl StoreError {
    /// The store failed for this reason. Keep session ids and passwords out of it.
    pub fn new(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self(source.into())
    }

    /// There is no room for what is to be written: no session can begin for want of it. For a `Backend`'s `list`.
    #[cfg(feature = "shared")]
    pub fn no_room() -> Self {
        Self::new(NoRoom)
    }

    /// Under the key of a record is something that is none, and cannot be read as one: no session. For a `Backend`'s `load`.
    #[cfg(feature = "shared")]
    pub fn foreign() -> Self {
        Self::new(Foreign)
    }

    #[cfg(feature = "rescue")]
    pub(crate) fn is_no_room(&self) -> bool {
        self.is::<NoRoom>()
    }

    #[cfg(feature = "shared")]
    pub(super) fn is<E: Error + 'static>(&self) -> bool {
        self.0.is::<E>()
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the session store failed: {}", self.0)
    }
}

impl Error for StoreError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.0)
    }
}

pub(super) fn no_owners() -> StoreError {
    StoreError::new(NoOwners)
}

#[derive(Debug)]
pub(super) struct NoOwners;

impl fmt::Display for NoOwners {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("this store keeps no index of owners")
    }
}

impl Error for NoOwners {}

/// Under a key of ours is something else.
#[cfg(feature = "shared")]
#[derive(Debug)]
pub(super) struct Foreign;

#[cfg(feature = "shared")]
impl fmt::Display for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("under a session's key is something that no store of this version wrote")
    }
}

#[cfg(feature = "shared")]
impl Error for Foreign {}

/// There is no room for a session.
#[cfg(feature = "shared")]
#[derive(Debug)]
pub(super) struct NoRoom;

#[cfg(feature = "shared")]
impl fmt::Display for NoRoom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("there is no room for another session")
    }
}

#[cfg(feature = "shared")]
impl Error for NoRoom {}

//! A session id from a session library's own request extension.

use std::marker::PhantomData;

use http::{Extensions, HeaderMap, HeaderName, header::COOKIE};

use super::{ExtractSessionId, Found};
use crate::{request::head::RequestHead, rules::id::SessionId};

/// Reads the session id from a request extension that a layer outside this one has put there.
///
/// If the extension is missing, the layers are in the wrong order. That is not "no session": every request is
/// answered `500` until it is put right.
pub struct FromExtension<T, F> {
    read: F,
    extension: PhantomData<fn(&T)>,
}

impl<T, F> FromExtension<T, F>
where
    T: Clone + Send + Sync + 'static,
    F: for<'a> Fn(&'a T) -> Option<SessionId<'a>> + Send + Sync + 'static,
{
    /// Reads the id of an extension of type `T`; `None` is an anonymous request.
    pub fn new(read: F) -> Self {
        Self { read, extension: PhantomData }
    }
}

impl<T, F> ExtractSessionId for FromExtension<T, F>
where
    T: Clone + Send + Sync + 'static,
    F: for<'a> Fn(&'a T) -> Option<SessionId<'a>> + Send + Sync + 'static,
{
    fn extract<'a>(&self, head: &RequestHead<'a>) -> Found<'a> {
        match head.extensions().get::<T>() {
            None => Found::Misconfigured(
                "the request extension with the session id is missing: put the session layer outside the timeout layer",
            ),
            Some(extension) => (self.read)(extension).map_or(Found::Nothing, Found::Id),
        }
    }

    fn remove(&self, _: &mut HeaderMap, extensions: &mut Extensions) {
        extensions.remove::<T>();
    }

    fn vary(&self) -> Vec<HeaderName> {
        vec![COOKIE]
    }
}

impl<T, F> std::fmt::Debug for FromExtension<T, F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "FromExtension<{}>", std::any::type_name::<T>())
    }
}

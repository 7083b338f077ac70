//! The way of a request in; `future.rs` is its way out.

use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

use crate::middleware::{
    admit::admit,
    body::SessionBody,
    check::{Checked, check},
    config::Config,
    future::ResponseFuture,
    store_handle::StoreHandle,
};

/// A service whose requests need a live session, or none: what
/// [`SessionTimeoutLayer`](crate::SessionTimeoutLayer) makes.
#[derive(Clone)]
pub struct SessionTimeout<S> {
    inner: S,
    config: Arc<Config>,
}

impl<S> SessionTimeout<S> {
    pub(crate) fn new(inner: S, config: Arc<Config>) -> Self {
        Self { inner, config }
    }

    /// The inner service.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The inner service.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// The inner service.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S, P, Q> Service<Request<Q>> for SessionTimeout<S>
where
    S: Service<Request<Q>, Response = Response<P>> + Clone,
    P: Body<Data = Bytes>,
{
    type Response = Response<SessionBody<P>>;
    type Error = S::Error;
    type Future = ResponseFuture<S, Q>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Q>) -> Self::Future {
        let store = StoreHandle::of_request(&self.config, request.headers());
        let admitted = match check_or_answer(&store, &mut request) {
            Checked::Now(admission) => admit(store, &mut request, admission),
            Checked::Later(check) => {
                // The readied service waits for the store; its clone has to be readied anew.
                let clone = self.inner.clone();
                let ready = std::mem::replace(&mut self.inner, clone);
                return ResponseFuture::checking(check, ready, request, store);
            }
        };
        match admitted {
            Ok(admitted) => ResponseFuture::calling(self.inner.call(request), admitted),
            Err(response) => {
                // What readiness reserved (a permit, say) is given back with the service that reserved it.
                let clone = self.inner.clone();
                self.inner = clone;
                ResponseFuture::refused(response)
            }
        }
    }
}

impl<S: fmt::Debug> fmt::Debug for SessionTimeout<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionTimeout").field("inner", &self.inner).finish_non_exhaustive()
    }
}

/// An endpoint of the layer's own answers by itself.
fn check_or_answer<Q>(store: &StoreHandle, request: &mut Request<Q>) -> Checked {
    #[cfg(feature = "client")]
    if let Some(endpoint) = store
        .config
        .client
        .as_ref()
        .and_then(|client| client.endpoint(&crate::request::head::RequestHead::of(request)))
    {
        return super::endpoints::answer(store, endpoint, request);
    }
    check(store, request)
}

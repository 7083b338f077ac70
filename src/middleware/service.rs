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

#[cfg(feature = "client")]
use crate::middleware::endpoints::answer;
use crate::{
    middleware::{
        admit::admit,
        body::SessionBody,
        check::{Checked, check},
        config::Config,
        future::ResponseFuture,
        kind::RequestKind,
        store_handle::StoreHandle,
    },
    request::head::RequestHead,
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

    #[cfg(feature = "rescue")]
    pub(crate) fn config(&self) -> &Arc<Config> {
        &self.config
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
        let kind = RequestKind::of(&self.config, &RequestHead::of(&request));
        let checked = match kind {
            // The layer answers by itself.
            #[cfg(feature = "client")]
            RequestKind::Endpoint { endpoint, .. } => answer(&store, endpoint, kind, &mut request),
            _ => check(&store, kind, &mut request),
        };
        let admitted = match checked {
            Checked::Now(admission) => admit(store, kind, &mut request, admission),
            Checked::Later(check) => {
                // The readied service waits for the store; its clone has to be readied anew.
                let clone = self.inner.clone();
                let ready = std::mem::replace(&mut self.inner, clone);
                return ResponseFuture::checking(check, ready, request, store, kind);
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

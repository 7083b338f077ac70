//! The layer that keeps forms which come after their session has ended: around [`SessionTimeout`], whose refusals it sees
//! (`late_form.rs`); and within it, where a form that was kept is sent at last (`unsent_form.rs`).

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Method, Request, Response, header::ACCEPT};
use http_body::Body;
use tower_layer::Layer;
use tower_service::Service;

use crate::{
    middleware::{
        body::SessionBody,
        config::Config,
        late_form::Form,
        layer::SessionTimeoutLayer,
        service::SessionTimeout,
        unsent_form::{InnerBody, UnsentForms},
    },
    request::{
        activity::lists,
        head::{Initiator, RequestHead},
    },
    rescue::{
        body::{BoxError, FormBody},
        form::Envelope,
    },
};

/// A [`SessionTimeoutLayer`] that keeps forms which come too late: what
/// [`rescue_forms`](crate::SessionTimeoutBuilder::rescue_forms) builds.
///
/// Services get their requests with a [`FormBody`] in place of the body, and are `Send + 'static`, as axum's and tonic's are.
#[derive(Clone, Debug)]
pub struct FormRescueLayer(SessionTimeoutLayer);

impl FormRescueLayer {
    pub(crate) fn new(timeout: SessionTimeoutLayer) -> Self {
        Self(timeout)
    }

    /// The layer without it, for its [`sessions`](SessionTimeoutLayer::sessions) and its
    /// [`client_script`](SessionTimeoutLayer::client_script).
    pub fn timeout(&self) -> &SessionTimeoutLayer {
        &self.0
    }
}

impl<S: Clone> Layer<S> for FormRescueLayer {
    type Service = FormRescue<S>;

    fn layer(&self, inner: S) -> FormRescue<S> {
        let config = Arc::clone(self.0.config());
        FormRescue { timeout: self.0.layer(UnsentForms::new(inner, config)) }
    }
}

/// A [`SessionTimeout`] that keeps forms which come too late: what a [`FormRescueLayer`] makes.
#[derive(Clone)]
pub struct FormRescue<S> {
    timeout: SessionTimeout<UnsentForms<S>>,
}

impl<S: fmt::Debug> fmt::Debug for FormRescue<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FormRescue").field("inner", self.timeout.get_ref().get_ref()).finish_non_exhaustive()
    }
}

/// A form by which a browser leaves a page of this site.
fn form(config: &Config, head: &RequestHead<'_>) -> Option<Envelope> {
    if *head.method() != Method::POST || head.initiator() != Initiator::OwnPage {
        return None;
    }
    // Browsers say how they came by it to sites on HTTPS only.
    let mode = head.headers().get("sec-fetch-mode");
    let leaves_page = mode.map_or_else(
        || head.headers().get_all(ACCEPT).iter().any(|accept| lists(accept, "text/html")),
        |mode| mode == "navigate",
    );
    let is_own = config.client.as_ref().is_some_and(|client| client.endpoint(head).is_some());
    (leaves_page && !is_own && !config.refusals.is_login_or_logout(head.path()))
        .then(|| Envelope::of(head))?
}

type Answer<R, E> = Pin<Box<dyn Future<Output = Result<R, E>> + Send>>;

impl<S, P, Q> Service<Request<Q>> for FormRescue<S>
where
    S: Service<Request<FormBody<Q>>, Response = Response<P>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Send,
    P: Body<Data = Bytes> + Send + 'static,
    Q: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    type Response = Response<SessionBody<InnerBody<P>>>;
    type Error = S::Error;
    type Future = Answer<Self::Response, S::Error>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.timeout.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Q>) -> Self::Future {
        let envelope = form(self.timeout.config(), &RequestHead::of(&request));
        let Some(envelope) = envelope else {
            return Box::pin(self.timeout.call(request.map(FormBody::from)));
        };
        let clone = self.timeout.clone();
        let ready = std::mem::replace(&mut self.timeout, clone);
        Box::pin(Form::of(Arc::clone(ready.config()), &request, envelope).send(ready, request))
    }
}

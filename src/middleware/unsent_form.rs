//! A form that was kept, and that its user sends: once.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response, StatusCode, header::LOCATION};
use http_body::Body;
use pin_project_lite::pin_project;
use tower_service::Service;

use crate::{
    middleware::{body::SessionBody, config::Config},
    request::head::RequestHead,
    rescue::{Rescue, kept::Claim},
    respond::{
        self, ToLogin,
        return_to::{FormWatch, Seen},
    },
    rules::id::Owner,
};

/// The application's, or that of an answer to a form that is not sent again.
pub(crate) type InnerBody<P> = SessionBody<P>;

/// The application, with what forms that were kept need when they are sent.
#[derive(Clone)]
pub(crate) struct UnsentForms<S> {
    inner: S,
    config: Arc<Config>,
}

impl<S> UnsentForms<S> {
    pub(crate) fn new(inner: S, config: Arc<Config>) -> Self {
        Self { inner, config }
    }

    pub(crate) fn get_ref(&self) -> &S {
        &self.inner
    }
}

impl<S, P, B> Service<Request<B>> for UnsentForms<S>
where
    S: Service<Request<B>, Response = Response<P>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Send,
    P: Body<Data = Bytes> + Send + 'static,
    B: Send + 'static,
{
    type Response = Response<InnerBody<P>>;
    type Error = S::Error;
    type Future = UnsentFuture<S::Future, Result<Response<InnerBody<P>>, S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let Some((owner, id)) = sent(&request) else {
            return UnsentFuture { state: State::Passed { answer: self.inner.call(request) } };
        };
        let clone = self.inner.clone();
        let ready = std::mem::replace(&mut self.inner, clone);
        let place = Place::of(&RequestHead::of(&request));
        let unsent = Unsent { config: Arc::clone(&self.config), owner, id, place };
        UnsentFuture { state: State::Watched { answer: Box::pin(unsent.send(ready, request)) } }
    }
}

/// A form that was kept, and that the user of this session sends.
fn sent<B>(request: &Request<B>) -> Option<(Owner, String)> {
    let watched = request.extensions().get::<FormWatch>()?.watched();
    let Some(Seen::Live(Some(owner))) = watched.seen.get() else { return None };
    Some((owner.clone(), watched.unsent.clone()?))
}

pin_project! {
    #[project = Projected]
    enum State<F, A> {
        Passed { #[pin] answer: F },
        Watched { answer: Pin<Box<dyn Future<Output = A> + Send>> },
    }
}

pin_project! {
    pub(crate) struct UnsentFuture<F, A> {
        #[pin]
        state: State<F, A>,
    }
}

impl<F, P, E> Future for UnsentFuture<F, Result<Response<InnerBody<P>>, E>>
where
    F: Future<Output = Result<Response<P>, E>>,
{
    type Output = Result<Response<InnerBody<P>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            Projected::Passed { answer } => {
                answer.poll(cx).map_ok(|response| response.map(SessionBody::application))
            }
            Projected::Watched { answer } => answer.as_mut().poll(cx),
        }
    }
}

struct Unsent {
    config: Arc<Config>,
    owner: Owner,
    id: String,
    place: Place,
}

impl Unsent {
    async fn send<S, P, B>(
        self,
        mut inner: S,
        request: Request<B>,
    ) -> Result<Response<InnerBody<P>>, S::Error>
    where
        S: Service<Request<B>, Response = Response<P>>,
    {
        let Self { config, owner, id, place } = self;
        let rescue = rescue(&config);
        let user = rescue.user(&owner);
        match rescue.claim(user, &id).await {
            Ok(Claim::Granted) => {}
            Ok(Claim::Denied) => return Ok(respond::see_other(&rescue.page).map(SessionBody::refusal)),
            Err(error) => {
                config.store_failed(&error);
                return Ok(respond::unavailable().map(SessionBody::refusal));
            }
        }
        let response = inner.call(request).await;
        let is_taken = response.as_ref().is_ok_and(|response| {
            // With these the browser sends the same to another place (RFC 9110 §15.4.8): that answer decides.
            let is_sent_on =
                matches!(response.status(), StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT);
            // Rather sent twice, by somebody who sees that it was not taken, than lost.
            let may_be_login = place.is_sent_to_login(&config, response) != ToLogin::No;
            response.status() < StatusCode::BAD_REQUEST && !is_sent_on && !may_be_login
        });
        // Though its client may have gone away.
        let noting = tokio::spawn(async move {
            let rescue = self::rescue(&config);
            let noted =
                if is_taken { rescue.take(user, &id).await } else { rescue.give_back(user, &id).await };
            if let Err(error) = noted {
                // Its page says that no answer is known.
                config.store_failed(&error);
            }
        });
        let _ = noting.await;
        response.map(|response| response.map(SessionBody::application))
    }
}

/// Where a request went.
pub(crate) struct Place {
    host: Option<String>,
    path: String,
}

impl Place {
    pub(crate) fn of(head: &RequestHead<'_>) -> Self {
        Self { host: head.host().map(str::to_owned), path: head.path().to_owned() }
    }

    /// Whether the application asks for a log-in.
    pub(crate) fn is_sent_to_login<B>(&self, config: &Config, response: &Response<B>) -> ToLogin {
        let location = response.headers().get(LOCATION).filter(|_| response.status().is_redirection());
        location.map_or(ToLogin::No, |location| {
            config.refusals.leads_to_login(location, self.host.as_deref(), &self.path)
        })
    }
}

pub(crate) fn rescue(config: &Config) -> &Rescue {
    config.rescue.as_ref().expect("only a builder with it makes this layer")
}

//! The layer that keeps forms which come after their session has ended: around [`SessionTimeout`], whose refusals it sees.

use std::{
    error::Error,
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{
    HeaderValue, Method, Request, Response, StatusCode, Uri,
    header::{LOCATION, REFERER, SET_COOKIE, VARY},
};
use http_body::Body;
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use crate::{
    event::SessionEvent,
    middleware::{
        body::SessionBody, config::Config, future::ResponseFuture, layer::SessionTimeoutLayer,
        service::SessionTimeout,
    },
    request::head::{Initiator, RequestHead},
    rescue::{
        Rescue,
        body::{FormBody, FormCopy},
        form::{Envelope, Lost},
        kept::Claim,
        page::form_named,
        text::Texts,
        user::User,
    },
    respond::{
        self, LoginPath,
        negotiation::Negotiation,
        return_to::{UnsentPage, keeps_forms},
    },
    rules::limits::EndReason,
};

type BoxError = Box<dyn Error + Send + Sync>;

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
        FormRescue { timeout: self.0.layer(inner) }
    }
}

/// A [`SessionTimeout`] that keeps forms which come too late: what a [`FormRescueLayer`] makes.
#[derive(Clone)]
pub struct FormRescue<S> {
    timeout: SessionTimeout<S>,
}

impl<S: fmt::Debug> fmt::Debug for FormRescue<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FormRescue").field("timeout", &self.timeout).finish()
    }
}

/// What a request is to this layer.
enum Kind {
    /// A form, which is kept if its session has ended.
    Form(Envelope),
    /// A form that was kept, and that its user sends now.
    Unsent { id: String },
}

fn kind(rescue: &Rescue, head: &RequestHead<'_>) -> Option<Kind> {
    let is_form = *head.method() == Method::POST
        && head.initiator() == Initiator::OwnPage
        && Negotiation::of(head).is_navigation;
    let envelope = Envelope::of(head).filter(|_| is_form)?;
    Some(unsent(rescue, head).map_or(Kind::Form(envelope), |id| Kind::Unsent { id }))
}

/// The page of the form says so, for it tells its whole address to its own site.
fn unsent(rescue: &Rescue, head: &RequestHead<'_>) -> Option<String> {
    let page = Uri::try_from(head.only(REFERER)?.as_bytes()).ok()?;
    form_named(page.query()).filter(|_| page.path() == &*rescue.page)
}

impl<S, P, Q> Service<Request<Q>> for FormRescue<S>
where
    S: Service<Request<FormBody<Q>>, Response = Response<P>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Send,
    P: Body<Data = Bytes> + Send + 'static,
    Q: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    type Response = Response<SessionBody<P>>;
    type Error = S::Error;
    type Future = FormRescueFuture<S, P, Q>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.timeout.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Q>) -> Self::Future {
        let head = RequestHead::of(&request);
        let concerned = self.timeout.config().rescue.as_ref().and_then(|rescue| {
            let user = rescue.recognize(head.headers())?;
            Some((user, kind(rescue, &head)?))
        });
        let Some((user, kind)) = concerned else {
            let answer = self.timeout.call(request.map(FormBody::other));
            return FormRescueFuture { state: State::Passed { answer } };
        };
        let clone = self.timeout.clone();
        let ready = std::mem::replace(&mut self.timeout, clone);
        let call = Call { config: Arc::clone(ready.config()), user, timeout: ready };
        let answer: Pin<Box<dyn Future<Output = _> + Send>> = match kind {
            Kind::Form(envelope) => Box::pin(call.form(envelope, request)),
            Kind::Unsent { id } => Box::pin(call.unsent(id, request.map(FormBody::other))),
        };
        FormRescueFuture { state: State::Watched { answer } }
    }
}

pin_project! {
    /// The future of [`FormRescue`].
    pub struct FormRescueFuture<S, P, Q>
    where
        S: Service<Request<FormBody<Q>>>,
    {
        #[pin]
        state: State<ResponseFuture<S, FormBody<Q>>, Result<Response<SessionBody<P>>, S::Error>>,
    }
}

pin_project! {
    #[project = Projected]
    enum State<F, A> {
        Passed { #[pin] answer: F },
        Watched { answer: Pin<Box<dyn Future<Output = A> + Send>> },
    }
}

impl<S, P, Q> Future for FormRescueFuture<S, P, Q>
where
    S: Service<Request<FormBody<Q>>, Response = Response<P>>,
    P: Body<Data = Bytes>,
{
    type Output = Result<Response<SessionBody<P>>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            Projected::Passed { answer } => answer.poll(cx),
            Projected::Watched { answer } => answer.as_mut().poll(cx),
        }
    }
}

impl<S, P, Q> fmt::Debug for FormRescueFuture<S, P, Q>
where
    S: Service<Request<FormBody<Q>>>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FormRescueFuture(..)")
    }
}

/// A request that carries a form.
struct Call<S> {
    config: Arc<Config>,
    user: User,
    timeout: SessionTimeout<S>,
}

/// Who sends a form back, and so what becomes of it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Turned {
    /// Nobody: it is the application's.
    In,
    /// The layer, by a timeout; or the application, to the log-in page.
    Away,
    /// The layer, for the session has ended otherwise.
    Down,
}

impl<S> Call<S> {
    fn rescue(&self) -> &Rescue {
        self.config.rescue.as_ref().expect("it has recognized the user")
    }

    async fn form<P, Q>(
        mut self,
        envelope: Envelope,
        mut request: Request<Q>,
    ) -> Result<Response<SessionBody<P>>, S::Error>
    where
        S: Service<Request<FormBody<Q>>, Response = Response<P>> + Clone,
        P: Body<Data = Bytes>,
        Q: Body<Data = Bytes, Error: Into<BoxError>>,
    {
        let rescue = self.rescue();
        request.extensions_mut().insert(UnsentPage(Arc::clone(&rescue.page)));
        let texts = Texts::of(&RequestHead::of(&request), rescue.translate.as_ref());
        let may_be_a_log_in = self.config.refusals.is_login_or_logout(RequestHead::of(&request).path());
        let host = RequestHead::of(&request).host().map(str::to_owned);
        let (parts, body) = request.into_parts();
        let (body, copy) = FormBody::form(body, rescue.limit, envelope.length);
        let mut response = self.timeout.call(Request::from_parts(parts, body)).await?;
        if may_be_a_log_in || self.turned(&response, host.as_deref()) != Turned::Away {
            return Ok(response);
        }
        if let Err(lost) = self.keep(envelope, copy).await {
            self.config.tell(&SessionEvent::FormLost { reason: lost.reason() });
            return Ok(self.lost(&texts, lost, response));
        }
        self.config.tell(&SessionEvent::FormKept);
        if let (Some(login), true) = (&self.config.refusals.login_path, response.status().is_redirection()) {
            let login = respond::login_location(login.location(), &self.rescue().page);
            if let Ok(login) = HeaderValue::try_from(login) {
                response.headers_mut().insert(LOCATION, login);
            }
        }
        Ok(response)
    }

    fn turned<B>(&self, response: &Response<B>, host: Option<&str>) -> Turned {
        if let Some(reason) = response.extensions().get::<EndReason>() {
            return if keeps_forms(*reason) { Turned::Away } else { Turned::Down };
        }
        let location = response.headers().get(LOCATION).filter(|_| response.status().is_redirection());
        let is_login = location.is_some_and(|location| self.config.refusals.is_login(location, host));
        let is_away = is_login || response.status() == StatusCode::UNAUTHORIZED;
        if is_away { Turned::Away } else { Turned::In }
    }

    fn keep<Q>(&self, envelope: Envelope, copy: FormCopy<Q>) -> impl Future<Output = Result<(), Lost>>
    where
        Q: Body<Data = Bytes, Error: Into<BoxError>>,
    {
        let (config, user) = (Arc::clone(&self.config), self.user);
        async move {
            let Some(rescue) = &config.rescue else { return Err(Lost::StoreFailed) };
            let form = envelope.open(copy.whole().await?, &rescue.secrets).await?;
            rescue.keep(user, form).await
        }
    }

    /// In place of the answer, with what that says of the session.
    fn lost<P>(
        &self,
        texts: &Texts,
        lost: Lost,
        answer: Response<SessionBody<P>>,
    ) -> Response<SessionBody<P>> {
        let login = self.config.refusals.login_path.as_ref().map(LoginPath::location);
        let mut response = self.rescue().lost(texts, lost, login);
        let (parts, _) = answer.into_parts();
        for name in [SET_COOKIE, VARY, respond::SESSION_ENDED] {
            for value in parts.headers.get_all(&name) {
                response.headers_mut().append(&name, value.clone());
            }
        }
        *response.extensions_mut() = parts.extensions;
        respond::with_length(response).map(SessionBody::refusal)
    }

    async fn unsent<P, B>(
        mut self,
        id: String,
        mut request: Request<B>,
    ) -> Result<Response<SessionBody<P>>, S::Error>
    where
        S: Service<Request<B>, Response = Response<P>> + Clone,
        P: Body<Data = Bytes>,
    {
        let (config, user) = (Arc::clone(&self.config), self.user);
        let Some(rescue) = &config.rescue else { return self.timeout.call(request).await };
        match rescue.claim(user, &id).await {
            Ok(Claim::Granted) => {}
            Ok(Claim::Denied) => return Ok(respond::see_other(&rescue.page).map(SessionBody::refusal)),
            Err(error) => {
                config.store_failed(&error);
                return Ok(respond::unavailable().map(SessionBody::refusal));
            }
        }
        request.extensions_mut().insert(UnsentPage(Arc::clone(&rescue.page)));
        let host = RequestHead::of(&request).host().map(str::to_owned);
        let response = self.timeout.call(request).await;
        let is_taken = response.as_ref().is_ok_and(|response| {
            response.status() < StatusCode::BAD_REQUEST
                && self.turned(response, host.as_deref()) == Turned::In
        });
        let told = if is_taken { rescue.discard(user, &id).await } else { rescue.give_back(user, &id).await };
        if let Err(error) = told {
            // Its page says that no answer is known.
            config.store_failed(&error);
        }
        response
    }
}

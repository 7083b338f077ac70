//! The layer that keeps forms which come after their session has ended. It is around [`SessionTimeout`], whose refusals it
//! sees; and within it, where a form that was kept is sent at last.

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
    header::{ACCEPT, LOCATION, REFERER, SET_COOKIE, VARY},
};
use http_body::Body;
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use crate::{
    event::SessionEvent,
    middleware::{
        body::SessionBody, config::Config, layer::SessionTimeoutLayer, service::SessionTimeout,
        store_handle::StoreHandle,
    },
    request::{
        activity::lists,
        head::{Initiator, OwnedHead, RequestHead},
    },
    rescue::{
        Rescue,
        body::{FormBody, FormCopy},
        form::{Envelope, LateForm, Lost},
        kept::Claim,
        page::form_named,
        text::Texts,
        user::User,
    },
    respond::{
        self, LoginPath, ToLogin,
        return_to::{FormWatch, Seen, keeps_forms, with_next},
    },
    rules::{
        decision::{Access, Decision},
        id::{Owner, SessionId},
        limits::EndReason,
    },
};

type BoxError = Box<dyn Error + Send + Sync>;

/// Of a form that is too large to be kept, so much is shown to its user.
const SHOWN: usize = 1 << 20;

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
        FormRescue { timeout: self.0.layer(UnsentForms { inner, config }) }
    }
}

/// A [`SessionTimeout`] that keeps forms which come too late: what a [`FormRescueLayer`] makes.
#[derive(Clone)]
pub struct FormRescue<S> {
    timeout: SessionTimeout<UnsentForms<S>>,
}

impl<S: fmt::Debug> fmt::Debug for FormRescue<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FormRescue").field("inner", &self.timeout.get_ref().inner).finish_non_exhaustive()
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

/// The page with the form that was kept says so, for it tells its whole address to its own site.
fn unsent(rescue: &Rescue, head: &RequestHead<'_>) -> Option<String> {
    let page = Uri::try_from(head.only(REFERER)?.as_bytes()).ok()?;
    form_named(page.query()).filter(|_| page.path() == &*rescue.page)
}

type InnerBody<P> = SessionBody<P>;
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

/// A form on its way, and what its head said.
struct Form {
    config: Arc<Config>,
    envelope: Envelope,
    watch: FormWatch,
    /// For the texts in its user's language, if the application has any.
    head: Option<OwnedHead>,
    place: Place,
    is_public: bool,
    /// Whose session this browser had last, as it says itself.
    recognized: Option<User>,
    /// The ids it came with, where the request's own limits may refuse a session that lives.
    ids: Vec<SessionId<'static>>,
}

/// Where a request went.
struct Place {
    host: Option<String>,
    path: String,
}

impl Place {
    fn of(head: &RequestHead<'_>) -> Self {
        Self { host: head.host().map(str::to_owned), path: head.path().to_owned() }
    }

    /// Whether the application asks for a log-in.
    fn is_sent_to_login<B>(&self, config: &Config, response: &Response<B>) -> ToLogin {
        let location = response.headers().get(LOCATION).filter(|_| response.status().is_redirection());
        location.map_or(ToLogin::No, |location| {
            config.refusals.leads_to_login(location, self.host.as_deref(), &self.path)
        })
    }
}

/// A form that is not the application's, and who sent it.
struct Late {
    sender: Sender,
    /// Not by a timeout, so that it is not kept.
    was_ended: bool,
    /// The layer has refused it. Else the application sends its browser to the log-in page.
    is_refused: bool,
}

enum Sender {
    /// If anybody knows.
    User(Option<User>),
    /// The owner of a session that lives.
    Capped,
}

impl Form {
    fn of<Q>(config: Arc<Config>, request: &Request<Q>, envelope: Envelope) -> Self {
        let head = RequestHead::of(request);
        let rescue = rescue(&config);
        let ids = match &config.limits_for {
            Some(_) => config.source.ids(&head, 1),
            None => Vec::new(),
        };
        Self {
            watch: FormWatch::new(Arc::clone(&rescue.page), unsent(rescue, &head)),
            head: rescue.translate.as_ref().map(|_| OwnedHead::of(&head)),
            place: Place::of(&head),
            is_public: config.is_public(&head),
            recognized: rescue.recognize(head.headers()),
            ids,
            config,
            envelope,
        }
    }

    async fn send<S, P, Q>(
        self,
        mut timeout: SessionTimeout<S>,
        mut request: Request<Q>,
    ) -> Result<Response<SessionBody<P>>, S::Error>
    where
        S: Service<Request<FormBody<Q>>, Response = Response<P>> + Clone,
        P: Body<Data = Bytes>,
        Q: Body<Data = Bytes, Error: Into<BoxError>>,
    {
        request.extensions_mut().insert(self.watch.clone());
        let (parts, body) = request.into_parts();
        let limit = rescue(&self.config).limit.max(SHOWN);
        let (body, copy) = FormBody::form(body, limit, self.envelope.length, self.watch.clone());
        let response = timeout.call(Request::from_parts(parts, body)).await?;
        match self.late(&response) {
            Some(late) => Ok(self.keep(late, copy, response).await),
            None => Ok(response),
        }
    }

    fn late<B>(&self, response: &Response<B>) -> Option<Late> {
        let reason = response.extensions().get::<EndReason>();
        let sender = match (self.watch.watched().seen.get(), reason) {
            // A session that nobody had logged in to was nobody's, whoever used the browser before.
            (Some(Seen::Refused { is_known: true, owner }), Some(_)) => {
                Sender::User(owner.as_ref().map(|owner| rescue(&self.config).user(owner)))
            }
            (Some(Seen::Refused { .. }), Some(_)) => Sender::User(self.recognized),
            (Some(Seen::Capped), Some(_)) => Sender::Capped,
            // It is the application's, whatever that makes of it, or a layer's further in.
            (Some(_), _) | (None, Some(_)) => return None,
            (None, None) => {
                let is_late = self.recognized.is_some()
                    && !self.is_public
                    && self.place.is_sent_to_login(&self.config, response) == ToLogin::Yes;
                let sender = Sender::User(self.recognized);
                return is_late.then_some(Late { sender, was_ended: false, is_refused: false });
            }
        };
        Some(Late { sender, was_ended: !reason.is_some_and(|reason| keeps_forms(*reason)), is_refused: true })
    }

    async fn user(&self, sender: &Sender) -> Option<User> {
        if let Sender::User(user) = sender {
            return *user;
        }
        let store = StoreHandle::new(&self.config);
        let id = self.ids.first()?;
        let checked = store.store().check(id, &self.config.policy, Access::Peek);
        let Ok(Decision::Live(live)) = store.ask(checked).await else { return None };
        live.owner.map(|owner| rescue(&self.config).user(&owner))
    }

    async fn keep<P, Q>(
        self,
        late: Late,
        copy: FormCopy<Q>,
        mut response: Response<SessionBody<P>>,
    ) -> Response<SessionBody<P>>
    where
        Q: Body<Data = Bytes, Error: Into<BoxError>>,
    {
        let user = self.user(&late.sender).await;
        let Self { config, envelope, head, .. } = self;
        let rescue = rescue(&config);
        let (form, kept) = match opened(rescue, envelope, copy).await {
            Ok((form, _)) if form.is_empty() => return response,
            // With a password in it, it is a log-in of another kind, which has failed.
            Ok((form, _)) if !late.is_refused && !form.secrets.is_empty() => return response,
            Ok((form, size)) => {
                let kept = match user {
                    _ if late.was_ended => Err(Lost::SessionEnded),
                    _ if size > rescue.limit => Err(Lost::TooLarge),
                    _ if form.action.is_empty() => Err(Lost::Unreadable),
                    Some(user) => rescue.keep(user, &form).await,
                    None => Err(Lost::OfNobody),
                };
                (Some(form), kept)
            }
            // What the application answers says more than that.
            Err(_) if !late.is_refused => return response,
            Err(lost) => (None, Err(lost)),
        };
        if let Err(lost) = kept {
            config.tell(&SessionEvent::FormLost { reason: lost.reason() });
            let head = head.as_ref().map(OwnedHead::head);
            let texts = Texts::of(head.as_ref().zip(rescue.translate.as_ref()));
            return told_lost(&config, &texts, lost, form.as_ref(), response);
        }
        config.tell(&SessionEvent::FormKept);
        let Some(login) = &config.refusals.login_path else { return response };
        if !late.is_refused {
            let location = response.headers().get(LOCATION).and_then(|it| it.to_str().ok());
            let next = location.map(|location| with_next(location, &rescue.page));
            if let Some(next) = next.and_then(|next| HeaderValue::try_from(next).ok()) {
                response.headers_mut().insert(LOCATION, next);
            }
        } else if response.status() == StatusCode::UNAUTHORIZED && config.refusals.expired_response.is_none()
        {
            // A browser that did not say that it would show the answer.
            let login = respond::login_location(login.location(), &rescue.page);
            let (parts, _) = response.into_parts();
            response = respond::see_other(&login).map(SessionBody::refusal);
            take_over(&mut response, parts);
        }
        response
    }
}

fn rescue(config: &Config) -> &Rescue {
    config.rescue.as_ref().expect("only a builder with it makes this layer")
}

/// And how long it is.
async fn opened<Q>(rescue: &Rescue, envelope: Envelope, copy: FormCopy<Q>) -> Result<(LateForm, usize), Lost>
where
    Q: Body<Data = Bytes, Error: Into<BoxError>>,
{
    let body = copy.whole().await?;
    let size = body.len();
    Ok((envelope.open(body, &rescue.secrets).await?, size))
}

/// In place of the answer, with what that says of the session.
fn told_lost<P>(
    config: &Config,
    texts: &Texts,
    lost: Lost,
    form: Option<&LateForm>,
    answer: Response<SessionBody<P>>,
) -> Response<SessionBody<P>> {
    let login = config.refusals.login_path.as_ref().map(LoginPath::location);
    let mut response = rescue(config).lost(texts, lost, form, login);
    let (parts, _) = answer.into_parts();
    take_over(&mut response, parts);
    respond::with_length(response).map(SessionBody::refusal)
}

fn take_over<B>(response: &mut Response<B>, answer: http::response::Parts) {
    for name in [SET_COOKIE, VARY, respond::SESSION_ENDED] {
        for value in answer.headers.get_all(&name) {
            response.headers_mut().append(&name, value.clone());
        }
    }
    *response.extensions_mut() = answer.extensions;
}

/// The application, with what forms that were kept need when they are sent.
#[derive(Clone)]
pub(crate) struct UnsentForms<S> {
    inner: S,
    config: Arc<Config>,
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
            // Rather sent twice, by somebody who sees that it was not taken, than lost.
            response.status() < StatusCode::BAD_REQUEST
                && place.is_sent_to_login(&config, response) == ToLogin::No
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

//! A form on its way: if it comes too late, it is kept, or shown to its sender.

use std::sync::Arc;

use bytes::Bytes;
use http::{
    HeaderValue, Request, Response, StatusCode, Uri,
    header::{LOCATION, REFERER, SET_COOKIE, VARY},
};
use http_body::Body;
use tower_service::Service;

use crate::{
    event::SessionEvent,
    middleware::{
        body::SessionBody,
        config::Config,
        service::SessionTimeout,
        store_handle::StoreHandle,
        unsent_form::{Place, rescue},
    },
    request::head::{OwnedHead, RequestHead},
    rescue::{
        Rescue,
        body::{BoxError, FormBody, FormCopy},
        form::{Envelope, LateForm, Lost},
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
        id::SessionId,
        limits::EndReason,
    },
};

/// Of a form that is too large to be kept, so much is shown to its user.
const SHOWN: usize = 1 << 20;

/// A form on its way, and what its head said.
pub(crate) struct Form {
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
    pub(crate) fn of<Q>(config: Arc<Config>, request: &Request<Q>, envelope: Envelope) -> Self {
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
            recognized: config.recognized(&head),
            ids,
            config,
            envelope,
        }
    }

    pub(crate) async fn send<S, P, Q>(
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
        // Whoever is known may see more than is kept.
        let shown = if self.recognized.is_some() { SHOWN } else { 0 };
        let limit = rescue(&self.config).limit.max(shown);
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
                Sender::User(self.config.user(owner.as_ref()))
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
        self.config.user(live.owner.as_ref())
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
        let Self { config, envelope, watch, head, .. } = self;
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
                    Some(user) => rescue.keep(user, &form, watch.watched().unsent.as_deref()).await,
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

/// The page with the form that was kept says so, for it tells its whole address to its own site.
fn unsent(rescue: &Rescue, head: &RequestHead<'_>) -> Option<String> {
    let page = Uri::try_from(head.only(REFERER)?.as_bytes()).ok()?;
    form_named(page.query()).filter(|_| page.path() == &*rescue.page)
}

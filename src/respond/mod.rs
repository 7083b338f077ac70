//! What the client hears instead of the application's answer.

pub(crate) mod body;
pub(crate) mod caching;
pub(crate) mod negotiation;
mod ready_made;
pub(crate) mod return_to;

use std::{
    borrow::Cow,
    fmt::{self, Write as _},
};

use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Uri,
    header::{
        CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, LOCATION, REFERRER_POLICY, RETRY_AFTER, VARY,
        WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
    },
};

pub use self::{
    ready_made::{problem, redirect, status},
    return_to::{login_location, safe_return_to},
};
use crate::{
    request::{extract::Source, head::RequestHead},
    respond::{
        body::RefusalBody,
        negotiation::{Negotiation, negotiated_by},
    },
    rules::limits::EndReason,
    store::answer::Started,
};

/// The response header that says why a session ended, if the store itself held its record.
pub(crate) const SESSION_ENDED: HeaderName = HeaderName::from_static("session-ended");
pub(crate) const GRPC: &str = "application/grpc";
const PROBLEM: HeaderValue = HeaderValue::from_static("application/problem+json");
/// A problem document, as nearly every refused request gets it.
const UNAUTHORIZED: &str = r#"{"type":"about:blank","title":"Unauthorized","status":401,"detail":"The session is over. Log in again."}"#;
const RETRY_AFTER_SECONDS: HeaderValue = HeaderValue::from_static("5");

pub(crate) type ExpiredResponse = Box<dyn Fn(&Ended<'_>) -> Response<RefusalBody> + Send + Sync>;

/// What the answers to refused requests depend on.
pub(crate) struct Refusals {
    pub(crate) login_path: Option<LoginPath>,
    pub(crate) logout_path: Option<String>,
    pub(crate) expired_response: Option<ExpiredResponse>,
    /// What of these answers is always the same.
    made_once: MadeOnce,
}

struct MadeOnce {
    vary: HeaderValue,
    /// Of the answer that nearly every refused request gets.
    unauthorized: HeaderMap,
}

impl Refusals {
    pub(crate) fn new(
        login_path: Option<LoginPath>,
        logout_path: Option<String>,
        expired_response: Option<ExpiredResponse>,
        source: &Source,
    ) -> Self {
        let vary = negotiation::vary(source);
        let mut unauthorized = Response::new(RefusalBody::text(UNAUTHORIZED));
        unauthorized.headers_mut().insert(CONTENT_TYPE, PROBLEM);
        unauthorized.headers_mut().insert(WWW_AUTHENTICATE, source.challenge());
        let unauthorized = complete(unauthorized, source, &vary).into_parts().0.headers;
        Self { login_path, logout_path, expired_response, made_once: MadeOnce { vary, unauthorized } }
    }

    fn unauthorized(&self) -> Response<RefusalBody> {
        let mut response = Response::new(RefusalBody::text(UNAUTHORIZED));
        *response.status_mut() = StatusCode::UNAUTHORIZED;
        response.headers_mut().clone_from(&self.made_once.unauthorized);
        response
    }

    /// Whether an answer with this location, to a request for this path of this host, leads to the log-in page.
    #[cfg(feature = "rescue")]
    pub(crate) fn leads_to_login(&self, location: &HeaderValue, host: Option<&str>, from: &str) -> ToLogin {
        let (Some(login), Ok(location)) = (&self.login_path, location.to_str()) else { return ToLogin::No };
        let (to, path) = return_to::target(location, from);
        let is_here = to.zip(host).map_or(to.is_none(), |(to, host)| return_to::is_same_host(to, host));
        let last = |path: &str| path.rsplit('/').next().map(str::to_owned);
        match path == login.path() {
            true if is_here => ToLogin::Yes,
            // A single sign-on elsewhere may have the same path; and somebody may have rewritten the host.
            true => ToLogin::Perhaps,
            false if last(&path) == last(login.path()) => ToLogin::Perhaps,
            false => ToLogin::No,
        }
    }

    pub(crate) fn is_login_or_logout(&self, path: &str) -> bool {
        self.login_path.as_ref().is_some_and(|login| login.path() == path)
            || self.logout_path.as_ref().is_some_and(|logout| logout == path)
    }
}

/// Whether an answer leads to the log-in page.
#[cfg(feature = "rescue")]
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum ToLogin {
    Yes,
    Perhaps,
    No,
}

/// The log-in page: a path, perhaps with a query.
#[derive(Debug)]
pub(crate) struct LoginPath(String);

impl LoginPath {
    pub(crate) fn new(location: String) -> Self {
        Self(location)
    }

    pub(crate) fn location(&self) -> &str {
        &self.0
    }

    fn path(&self) -> &str {
        self.0.split('?').next().unwrap_or_default()
    }
}

/// A refused request and why: what [`expired_response`](crate::SessionTimeoutBuilder::expired_response) answers to.
pub struct Ended<'a> {
    reason: EndReason,
    head: RequestHead<'a>,
    negotiation: Negotiation,
    refusals: &'a Refusals,
    source: &'a Source,
}

impl<'a> Ended<'a> {
    /// Why the session has ended.
    pub fn reason(&self) -> EndReason {
        self.reason
    }

    /// The refused request.
    pub fn head(&self) -> &RequestHead<'a> {
        &self.head
    }

    /// Path and query to come back to after the log-in: of a `GET` or `HEAD` to an ordinary page, and only if they
    /// are safe ([`safe_return_to`]). For htmx, those of the page around the fragment. Of a form that is
    /// rescued (`SessionTimeoutBuilder::rescue_forms`), the page that shows it.
    pub fn return_to(&self) -> Option<Cow<'a, str>> {
        #[cfg(feature = "rescue")]
        if let Some(watch) = self.head.extensions().get::<return_to::FormWatch>()
            && return_to::keeps_forms(self.reason)
        {
            return Some(Cow::Owned(watch.watched().page.to_string()));
        }
        if !matches!(*self.head.method(), Method::GET | Method::HEAD) {
            return None;
        }
        let next = if self.negotiation.is_htmx && !self.head.header_is("hx-boosted", "true") {
            let page = self.head.only("hx-current-url")?;
            let page = Uri::try_from(page.as_bytes()).ok()?;
            Cow::Owned(return_to::of_request(page.path_and_query())?.to_owned())
        } else {
            Cow::Borrowed(return_to::of_request(self.head.uri().path_and_query())?)
        };
        let path = next.split('?').next().unwrap_or_default();
        (!self.refusals.is_login_or_logout(path)).then_some(next)
    }

    /// The log-in page with [`return_to`](Self::return_to) as its `next`, if there is a log-in page.
    pub fn login_location(&self) -> Option<String> {
        let login = self.refusals.login_path.as_ref()?;
        Some(match self.return_to() {
            Some(next) => login_location(login.location(), &next),
            None => login.location().to_owned(),
        })
    }

    /// The response the layer would give by itself.
    fn by_default(&self) -> Response<RefusalBody> {
        let Negotiation { is_navigation, is_htmx, is_grpc } = self.negotiation;
        if is_grpc {
            return self.complete(grpc_unauthenticated());
        }
        if !is_htmx && !is_navigation {
            return self.refusals.unauthorized();
        }
        let login = self.login_location().and_then(|login| HeaderValue::try_from(login).ok());
        let Some(login) = login else { return self.refusals.unauthorized() };
        if is_htmx {
            let mut response = self.refusals.unauthorized();
            response.headers_mut().insert("hx-redirect", login);
            return response;
        }
        let mut response = Response::new(RefusalBody::text(""));
        // Never 307 or 308, which would post a form again, to the log-in page.
        *response.status_mut() = StatusCode::SEE_OTHER;
        response.headers_mut().insert(LOCATION, login);
        self.complete(response)
    }

    fn complete(&self, response: Response<RefusalBody>) -> Response<RefusalBody> {
        complete(response, self.source, &self.refusals.made_once.vary)
    }
}

impl fmt::Debug for Ended<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ended").field("reason", &self.reason).finish_non_exhaustive()
    }
}

/// The answer to a request whose session has ended. `lives_on`: merely a cap refused it.
pub(crate) fn ended(
    refusals: &Refusals,
    source: &Source,
    head: RequestHead<'_>,
    reason: EndReason,
    lives_on: bool,
) -> Response<RefusalBody> {
    let negotiation = Negotiation::of(&head);
    let ended = Ended { reason, head, negotiation, refusals, source };
    let mut response = match &refusals.expired_response {
        Some(respond) => ended.complete(respond(&ended)),
        None => ended.by_default(),
    };
    let headers = response.headers_mut();
    if reason != EndReason::Unknown {
        headers.insert(SESSION_ENDED, HeaderValue::from_static(reason.as_str()));
    }
    // Not on background requests: their late answer could remove the cookie of a new log-in.
    if let Some(cookie) = source.cookie()
        && negotiation.is_navigation
        && !lives_on
        && reason != EndReason::Superseded
    {
        cookie.remove_from_browser(headers, cookie.parts(head.headers()));
    }
    // Whoever looks at answers further out can tell this one.
    response.extensions_mut().insert(reason);
    response
}

/// With all that an answer to a refused request has, whoever has made it; without what none may have.
fn complete(
    mut response: Response<RefusalBody>,
    source: &Source,
    vary: &HeaderValue,
) -> Response<RefusalBody> {
    let headers = response.headers_mut();
    protect(headers);
    // Nothing began under such an id.
    if let Some(cookie) = source.cookie() {
        cookie.let_none_leave(headers);
    }
    if headers.contains_key(VARY) {
        for name in negotiated_by(source) {
            vary_by(headers, name);
        }
    } else {
        headers.insert(VARY, vary.clone());
    }
    with_length(response)
}

/// The store could not say: that is neither a log-in nor a log-out (OWASP ASVS 5.0 §16.5.3).
pub(crate) fn unavailable() -> Response<RefusalBody> {
    let detail = "Sessions cannot be checked at the moment.";
    let mut response = problem_document(StatusCode::SERVICE_UNAVAILABLE, detail).map(RefusalBody::text);
    response.headers_mut().insert(RETRY_AFTER, RETRY_AFTER_SECONDS);
    protect(response.headers_mut());
    with_length(response)
}

/// The application's answer was a log-in, and its session may not begin. Whoever looks at answers further out can tell it.
pub(crate) fn too_many_sessions() -> Response<RefusalBody> {
    let detail = "This user has as many sessions as allowed. Log out somewhere else, and log in again.";
    let mut response = problem_document(StatusCode::FORBIDDEN, detail).map(RefusalBody::text);
    response.extensions_mut().insert(Started::TooMany);
    protect(response.headers_mut());
    with_length(response)
}

/// The layers are in the wrong order.
pub(crate) fn misconfigured() -> Response<RefusalBody> {
    let detail = "The session timeout cannot find the session. The server's log says what to change.";
    let mut response = problem_document(StatusCode::INTERNAL_SERVER_ERROR, detail).map(RefusalBody::text);
    protect(response.headers_mut());
    with_length(response)
}

/// RFC 9457.
fn problem_document(status: StatusCode, detail: &str) -> Response<String> {
    let title = status.canonical_reason().unwrap_or("Refused");
    let code = status.as_u16();
    let body = format!(
        r#"{{"type":"about:blank","title":{},"status":{code},"detail":{}}}"#,
        json_string(title),
        json_string(detail)
    );
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, PROBLEM);
    response
}

fn json_string(text: &str) -> String {
    let mut json = String::with_capacity(text.len() + 2);
    json.push('"');
    for character in text.chars() {
        match character {
            '"' => json.push_str("\\\""),
            '\\' => json.push_str("\\\\"),
            // Control characters, and what would end a script element, wherever the document ends up.
            '\0'..' ' | '<' | '>' | '&' | '\x7f'..'\u{a0}' | '\u{2028}' | '\u{2029}' => {
                let _ = write!(json, "\\u{:04x}", u32::from(character));
            }
            other => json.push(other),
        }
    }
    json.push('"');
    json
}

/// `UNAUTHENTICATED`, as the fields of an answer or the trailers of a stream.
pub(crate) fn grpc_status() -> impl Iterator<Item = (HeaderName, HeaderValue)> {
    [
        (HeaderName::from_static("grpc-status"), HeaderValue::from_static("16")),
        (HeaderName::from_static("grpc-message"), HeaderValue::from_static("the session is over")),
    ]
    .into_iter()
}

/// Trailers-only, as gRPC over HTTP/2 has it for a call that never began.
fn grpc_unauthenticated() -> Response<RefusalBody> {
    let mut response = Response::new(RefusalBody::text(""));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.extend(grpc_status());
    response
}

pub(crate) fn protect(headers: &mut HeaderMap) {
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    headers.entry(X_CONTENT_TYPE_OPTIONS).or_insert(HeaderValue::from_static("nosniff"));
    headers.entry(REFERRER_POLICY).or_insert(HeaderValue::from_static("no-referrer"));
}

/// Appends to `Vary` what is not there yet; `*` says it all.
pub(crate) fn vary_by(headers: &mut HeaderMap, name: HeaderName) {
    let listed = headers.get_all(VARY).iter().any(|vary| {
        let mut names = vary.as_bytes().split(|&byte| byte == b',').map(<[u8]>::trim_ascii);
        names.any(|listed| listed == b"*" || listed.eq_ignore_ascii_case(name.as_str().as_bytes()))
    });
    if !listed {
        headers.append(VARY, HeaderValue::from(name));
    }
}

pub(crate) fn with_length(mut response: Response<RefusalBody>) -> Response<RefusalBody> {
    if let Some(length) = response.body().size_hint().exact() {
        let is_grpc = response.headers().contains_key("grpc-status");
        if !is_grpc {
            response.headers_mut().entry(CONTENT_LENGTH).or_insert(HeaderValue::from(length));
        }
    }
    response
}

#[cfg(feature = "rescue")]
pub(crate) fn see_other(path: &str) -> Response<RefusalBody> {
    let mut response = Response::new(RefusalBody::text(""));
    *response.status_mut() = StatusCode::SEE_OTHER;
    let headers = response.headers_mut();
    headers.extend(HeaderValue::try_from(path).ok().map(|path| (LOCATION, path)));
    protect(headers);
    with_length(response)
}

/// An answer to `HEAD` has all but its body (RFC 9110 §9.3.2).
pub(crate) fn without_body(response: Response<RefusalBody>) -> Response<RefusalBody> {
    response.map(|_| RefusalBody::text(""))
}

/// Whether a content type is this media type, with any parameters and any suffix: `application/grpc+proto` is
/// `application/grpc`, and `application/grpc-web` is another.
pub(crate) fn is_of_type(content_type: &HeaderValue, media_type: &str) -> bool {
    let kind = content_type.as_bytes().split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii();
    kind.split_at_checked(media_type.len()).is_some_and(|(kind, suffix)| {
        kind.eq_ignore_ascii_case(media_type.as_bytes()) && matches!(suffix.first(), None | Some(b'+'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_refusal_is_a_problem_document() {
        let made = problem_document(StatusCode::UNAUTHORIZED, "The session is over. Log in again.");
        assert_eq!(made.body(), UNAUTHORIZED);
    }
}

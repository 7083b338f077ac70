//! What the proxy takes for a log-in: a form posted to the log-in page whose answer changes the session cookie and leads
//! somewhere else.
//!
//! That is no proof that a password was right. Applications send on whoever is signed in already, whatever was posted,
//! and many set their cookie anew with every answer. So it begins the absolute timeout of a session that nobody has
//! logged in to yet, and only once: over any other, the old session ends, and its absolute timeout goes on.

use std::time::Duration;

use cookie::Cookie;
use http::{
    HeaderName, Method, Response,
    header::{COOKIE, HOST, LOCATION, SET_COOKIE},
    uri::Authority,
};
use percent_encoding::percent_decode_str;
use tokio::time::Instant;
use tower_session_timeout::{NewSession, RequestHead, Session};
use url::Url;

/// For what passes between the layer's look at a clock and this one. An absolute timeout may come early, not late.
const MARGIN: Duration = Duration::from_millis(1);

/// The application's log-in page, and its session cookie.
#[derive(Clone)]
pub(crate) struct LogIn {
    pub(crate) path: String,
    pub(crate) cookie: String,
    /// In which it says who has logged in.
    pub(crate) user_header: Option<HeaderName>,
}

/// A request that may log somebody in.
pub(crate) struct Attempt {
    /// The log-in page, as the browser calls it.
    page: Url,
    cookie: String,
    user_header: Option<HeaderName>,
    /// The session cookies that came with it.
    had: Vec<String>,
    /// How old a session is that somebody has logged in to, and when.
    signed_in: Option<(Duration, Instant)>,
}

impl LogIn {
    /// `None`: the request is no form posted to the log-in page.
    pub(crate) fn attempted_by(&self, request: &RequestHead<'_>) -> Option<Attempt> {
        if *request.method() != Method::POST || segments(request.path()) != segments(&self.path) {
            return None;
        }
        let authority = request.uri().authority().map(Authority::as_str);
        let host = authority.or_else(|| request.headers().get(HOST)?.to_str().ok())?;
        let page = Url::parse(&format!("http://{host}")).ok()?.join(&self.path).ok()?;
        let session = request.extensions().get::<Session>().filter(|session| session.owner().is_some());
        let signed_in = session.map(|session| (session.age(), Instant::now()));
        let fields = request.headers().get_all(COOKIE).iter().filter_map(|field| field.to_str().ok());
        let had = fields
            .flat_map(Cookie::split_parse)
            .filter_map(Result::ok)
            .filter(|cookie| cookie.name() == self.cookie)
            .map(|cookie| cookie.value().to_owned())
            .collect();
        let (cookie, user_header) = (self.cookie.clone(), self.user_header.clone());
        Some(Attempt { page, cookie, user_header, had, signed_in })
    }
}

impl Attempt {
    /// Tells the layer, if this is the answer to a log-in.
    pub(crate) fn announce<B>(&self, answer: &mut Response<B>) {
        if answer.status().is_redirection() && self.changes_cookie(answer) && self.leads_on(answer) {
            let owner = self.user(answer).unwrap_or_else(somebody);
            answer.extensions_mut().insert(NewSession::new().owner(owner).age(self.age()));
        }
    }

    /// Who it was, if the application says so. What was typed into the form is no proof of it.
    fn user<B>(&self, answer: &Response<B>) -> Option<String> {
        let mut users = answer.headers().get_all(self.user_header.as_ref()?).iter();
        let user = users.next().filter(|_| users.next().is_none())?.to_str().ok()?;
        (!user.is_empty()).then(|| format!("user {user}"))
    }

    fn age(&self) -> Duration {
        self.signed_in.map_or(Duration::ZERO, |(age, since)| age + since.elapsed() + MARGIN)
    }

    /// A log-in that does not is session fixation.
    fn changes_cookie<B>(&self, answer: &Response<B>) -> bool {
        let fields = answer.headers().get_all(SET_COOKIE).iter().filter_map(|field| field.to_str().ok());
        fields.filter_map(|field| Cookie::parse(field).ok()).any(|cookie| {
            cookie.name() == self.cookie
                && !cookie.value().is_empty()
                && self.had.iter().all(|had| had != cookie.value())
        })
    }

    /// To another page of this site. Many applications answer a wrong password with a redirect to the log-in page.
    fn leads_on<B>(&self, answer: &Response<B>) -> bool {
        let location = answer.headers().get(LOCATION).and_then(|location| location.to_str().ok());
        // As browsers resolve it: `//host/login` and `/x/../login` are `/login`.
        let to = location.and_then(|location| self.page.join(location).ok());
        to.is_some_and(|to| {
            to.host() == self.page.host() && segments(to.path()) != segments(self.page.path())
        })
    }
}

/// The proxy does not know who it was, but that somebody has logged in.
fn somebody() -> String {
    format!("{:032x}", rand::random::<u128>())
}

/// A path as the laxest server reads it: percent-encoded however often, with empty segments and parameters, in any case.
fn segments(path: &str) -> Vec<String> {
    let mut path = path.to_owned();
    loop {
        let decoded = percent_decode_str(&path).decode_utf8_lossy().into_owned();
        if decoded == path {
            break;
        }
        path = decoded;
    }
    let mut segments = Vec::new();
    for segment in path.split(['/', '\\']) {
        match segment.split(';').next().unwrap_or_default() {
            "" | "." => {}
            ".." => drop(segments.pop()),
            name => segments.push(name.trim().to_lowercase()),
        }
    }
    segments
}

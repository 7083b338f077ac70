//! What the proxy takes for a log-in: a form posted to the log-in page whose answer changes the session cookie and leads
//! somewhere else.
//!
//! That is no proof that a password was right. Applications send on whoever is signed in already, whatever was posted,
//! and many set their cookie anew with every answer. So it begins the absolute timeout of a session that nobody has
//! logged in to yet, and only once: over any other, the old session ends, and its absolute timeout goes on.

use std::time::Duration;

use http::{
    Method, Response,
    header::{HOST, LOCATION},
    uri::Authority,
};
use percent_encoding::percent_decode_str;
use tower_session_timeout::{NewSession, RequestHead};
use url::Url;

use super::{
    session_cookies::SessionCookies,
    users::{LiveSession, somebody},
};

/// The application's log-in page, and its session cookie.
#[derive(Clone)]
pub(crate) struct LogIn {
    pub(crate) path: String,
    pub(crate) cookie: String,
}

/// A request that may log somebody in.
pub(crate) struct Attempt {
    /// The log-in page, as the browser calls it.
    page: Url,
    cookies: SessionCookies,
    /// A session that somebody has logged in to.
    signed_in: Option<LiveSession>,
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
        let signed_in = LiveSession::of(request).filter(|session| session.owner().is_some());
        Some(Attempt { page, cookies: SessionCookies::of(request, &self.cookie), signed_in })
    }
}

impl Attempt {
    /// Tells the layer, if this is the answer to a log-in; `user`, if the application says who it was.
    pub(crate) fn announce<B>(&self, answer: &mut Response<B>, user: Option<&str>) -> bool {
        // Without another cookie, it is session fixation.
        let is_log_in =
            answer.status().is_redirection() && self.cookies.are_changed_by(answer) && self.leads_on(answer);
        if is_log_in {
            let owner = user.map_or_else(somebody, str::to_owned);
            let age = self.signed_in.as_ref().map_or(Duration::ZERO, LiveSession::age);
            answer.extensions_mut().insert(NewSession::new().owner(owner).age(age));
        }
        is_log_in
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

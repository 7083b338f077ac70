//! Whose session it is, as the application says in a field of its answers. What is typed into a log-in form is no proof of it.

use std::time::Duration;

use http::{HeaderName, Response};
use percent_encoding::{NON_ALPHANUMERIC, percent_encode};
use tokio::time::Instant;
use tower_session_timeout::{NewSession, Owner, RequestHead, Session};

use super::session_cookies::SessionCookies;

/// For what passes between the layer's look at a clock and this one. An absolute timeout may come early, not late.
const MARGIN: Duration = Duration::from_millis(1);
/// Before a user's name. Whom nobody names is [`somebody`].
const NAMED: &str = "user ";

/// The live session of a request, and when it was looked at.
pub(crate) struct LiveSession {
    session: Session,
    since: Instant,
}

impl LiveSession {
    pub(crate) fn of(request: &RequestHead<'_>) -> Option<Self> {
        let session = request.extensions().get::<Session>()?.clone();
        Some(Self { session, since: Instant::now() })
    }

    pub(crate) fn owner(&self) -> Option<&str> {
        self.session.owner().map(Owner::as_str)
    }

    /// At least.
    pub(crate) fn age(&self) -> Duration {
        self.session.age() + self.since.elapsed() + MARGIN
    }
}

/// The proxy does not know who it was, but that somebody has logged in.
pub(crate) fn somebody() -> String {
    format!("{:032x}", rand::random::<u128>())
}

/// A request whose answer may name its user.
pub(crate) struct Visit {
    /// In which it does.
    field: HeaderName,
    session: Option<LiveSession>,
    cookies: SessionCookies,
}

impl Visit {
    pub(crate) fn of(request: &RequestHead<'_>, field: HeaderName, cookie: &str) -> Self {
        Self { field, session: LiveSession::of(request), cookies: SessionCookies::of(request, cookie) }
    }

    /// Whom the answer names. The field does not leave.
    pub(crate) fn take_user<B>(&self, answer: &mut Response<B>) -> Option<String> {
        let mut users = answer.headers().get_all(&self.field).iter();
        let user = users.next().filter(|user| users.next().is_none() && !user.is_empty());
        let user = user.map(|user| format!("{NAMED}{}", percent_encode(user.as_bytes(), NON_ALPHANUMERIC)));
        answer.headers_mut().remove(&self.field);
        user
    }

    /// An answer that is no log-in the proxy knows for one names a user: nobody else's session goes on as theirs.
    pub(crate) async fn is_by<B>(&self, user: String, answer: &mut Response<B>) {
        let is_new_id = self.cookies.are_changed_by(answer);
        let Some(live) = &self.session else {
            if is_new_id {
                answer.extensions_mut().insert(NewSession::new().owner(user));
            }
            return;
        };
        match live.owner() {
            Some(owner) if owner == user => {}
            // The answer to the log-in did not say.
            Some(owner) if !owner.starts_with(NAMED) => {}
            // A session has one owner for as long as it has its id. (A store in memory does not fail.)
            Some(_) if !is_new_id => drop(live.session.end().await),
            _ => {
                answer.extensions_mut().insert(NewSession::new().owner(user).age(live.age()));
            }
        }
    }
}

//! Forms that came after their session had ended: kept for their user, who is shown them after the next log-in.
//!
//! It uses `clock.rs`, `rules/`, `event.rs`, `store/`, `cookie/`, `request/`, `respond/` and `client/`.

pub(crate) mod body;
pub(crate) mod form;
pub(crate) mod kept;
pub(crate) mod memory;
pub(crate) mod page;
mod seal;
pub(crate) mod text;
pub(crate) mod user;

use std::{sync::Arc, time::Duration};

use crate::{
    client::secret::Secret,
    cookie::{CompanionCookies, SessionCookie},
    request::head::RequestHead,
    rescue::{form::Secrets, text::Translate},
    store::backend::Backend,
};

/// Gives the application's new token against cross-site forms for a form of before.
pub(crate) type FreshToken = Box<dyn Fn(&RequestHead<'_>) -> Option<String> + Send + Sync>;

/// How forms are kept, and shown.
pub(crate) struct Rescue {
    /// Where the forms that were not sent are shown.
    pub(crate) page: Arc<str>,
    /// Of one form, in bytes.
    pub(crate) limit: usize,
    pub(crate) deadline: Duration,
    pub(crate) backend: Arc<dyn Backend>,
    pub(crate) secret: Secret,
    /// Which user a browser's session was of, though the store has forgotten it.
    pub(crate) cookies: CompanionCookies,
    pub(crate) secrets: Secrets,
    pub(crate) csrf: Option<(String, FreshToken)>,
    pub(crate) stylesheet: Option<String>,
    pub(crate) translate: Option<Translate>,
}

/// The cookie beside the session cookie.
const COMPANIONS: [&str; 1] = ["user"];

pub(crate) fn cookies(session_cookie: &SessionCookie) -> CompanionCookies {
    CompanionCookies::new(&COMPANIONS, session_cookie, true)
}

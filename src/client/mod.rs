//! What a page needs to tell its user in time: endpoints of the layer's own, and headers on the application's answers.

mod private;
mod script;
pub(crate) mod secret;

use std::{fmt::Write, time::Duration};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

pub(crate) use self::private::keep_private;
use self::{script::Script, secret::Secret};
use crate::{
    request::head::RequestHead,
    rules::{
        decision::{Access, Live},
        id::{Owner, SessionKey},
    },
};

pub(crate) const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");
const SESSION_TIMEOUT: HeaderName = HeaderName::from_static("session-timeout");
const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");
const SEC_FETCH_SITE: &str = "sec-fetch-site";

/// How the page is told.
pub(crate) struct Client {
    /// Without a slash at its end.
    pub(crate) base: String,
    pub(crate) warn_before: Duration,
    pub(crate) secret: Secret,
}

/// What an answer of the application's is to tell of its session.
pub(crate) struct PageInfo {
    pub(crate) live: Live,
    access: Access,
    /// A page of this site may read it, or it is the page.
    is_for_page: bool,
    /// Whose session it is, if their browser is to be told so.
    #[cfg(feature = "rescue")]
    pub(crate) unintroduced: Option<Owner>,
}

impl PageInfo {
    pub(crate) fn of(head: &RequestHead<'_>, live: Live, access: Access) -> Self {
        Self {
            live,
            access,
            is_for_page: is_for_page(head),
            #[cfg(feature = "rescue")]
            unintroduced: None,
        }
    }
}

/// A page of another site could read the timing of what it loads from here, if the application lets it
/// (`Timing-Allow-Origin`). Older browsers, and programs, do not say who asks.
fn is_for_page(head: &RequestHead<'_>) -> bool {
    let says = |name, value: &str| head.headers().get(name).is_some_and(|said| said == value);
    !head.headers().contains_key(SEC_FETCH_SITE)
        || says(SEC_FETCH_SITE, "same-origin")
        || says(SEC_FETCH_SITE, "none")
        || says("sec-fetch-dest", "document")
}

/// What was asked for below the base path.
#[derive(Clone, Copy)]
pub(crate) enum Endpoint {
    Script(&'static Script),
    Session(Operation),
    WrongMethod { allowed: &'static str },
    Unknown,
}

/// What a page asks about its session, or for it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    Status,
    KeepAlive,
    SignOut,
    DraftKey,
    /// The page with a form that was not sent.
    #[cfg(feature = "rescue")]
    ShowUnsent,
    #[cfg(feature = "rescue")]
    DiscardUnsent,
}

impl Client {
    pub(crate) fn endpoint(&self, head: &RequestHead<'_>) -> Option<Endpoint> {
        let name = head.path().strip_prefix(&self.base)?.strip_prefix('/')?;
        let (endpoint, is_read) = match name {
            "client.js" => (Endpoint::Script(&script::CLIENT), true),
            "drafts.js" => (Endpoint::Script(&script::DRAFTS), true),
            "status" => (Endpoint::Session(Operation::Status), true),
            "keep-alive" => (Endpoint::Session(Operation::KeepAlive), false),
            "sign-out" => (Endpoint::Session(Operation::SignOut), false),
            "draft-key" => (Endpoint::Session(Operation::DraftKey), true),
            #[cfg(feature = "rescue")]
            "unsent" if *head.method() == Method::POST => {
                (Endpoint::Session(Operation::DiscardUnsent), false)
            }
            #[cfg(feature = "rescue")]
            "unsent" => (Endpoint::Session(Operation::ShowUnsent), true),
            _ => return Some(Endpoint::Unknown),
        };
        let is_allowed = match *head.method() {
            Method::GET | Method::HEAD => is_read,
            Method::POST => !is_read,
            _ => false,
        };
        let allowed = if is_read { "GET, HEAD" } else { "POST" };
        Some(if is_allowed { endpoint } else { Endpoint::WrongMethod { allowed } })
    }

    /// Tells a session from another one without naming it.
    pub(crate) fn session_digest(&self, session: SessionKey) -> String {
        URL_SAFE_NO_PAD.encode(&self.secret.mac(b"session", &session.to_bytes())[..16])
    }

    /// Tells a user from another one without naming them.
    pub(crate) fn user_digest(&self, owner: &Owner) -> String {
        URL_SAFE_NO_PAD.encode(&self.secret.mac(b"user", owner.as_str().as_bytes())[..16])
    }

    pub(crate) fn draft_key(&self, owner: &Owner) -> String {
        URL_SAFE_NO_PAD.encode(self.secret.mac(b"draft", owner.as_str().as_bytes()))
    }

    /// Where the script is, its version included, so that a browser may keep it for ever.
    pub(crate) fn script_path(&self) -> String {
        format!("{}/client.js?v={}", self.base, script::version())
    }

    /// Tells the time left with an answer of the application's: to programs in seconds (RFC 9651), to scripts in the
    /// page, which can read no other header of what they did not fetch themselves, as a timing. It is nobody else's.
    pub(crate) fn tell(&self, headers: &mut HeaderMap, status: StatusCode, told: &PageInfo) {
        if !keep_private(headers) {
            return;
        }
        let PageInfo { live, access, is_for_page, .. } = told;
        let (remaining, warn) = (live.remaining(), self.warn_before);
        let mut field = format!("remaining={}", remaining.shortest().as_secs());
        if let Some(absolute) = remaining.absolute {
            let _ = write!(field, ", absolute={}", absolute.as_secs());
        }
        let _ = write!(field, ", warn={}", warn.as_secs());
        // What a page would have to ask for otherwise, at each load: see `readTiming` in the script.
        let timing = format!(
            r#"st;dur={};desc="{} {} {} {} {}{}""#,
            remaining.shortest().as_millis(),
            live.idle_timeout(*access).as_millis(),
            remaining.absolute.map_or_else(|| "-".to_owned(), |absolute| absolute.as_millis().to_string()),
            warn.as_millis(),
            self.session_digest(live.key),
            live.owner.as_ref().map_or_else(|| "-".to_owned(), |owner| self.user_digest(owner)),
            // Not every browser tells its pages whether they are errors.
            if status.as_u16() < 400 { String::new() } else { format!(" {}", status.as_u16()) },
        );
        if let Ok(field) = HeaderValue::try_from(field) {
            headers.insert(SESSION_TIMEOUT, field);
        }
        if *is_for_page && let Ok(timing) = HeaderValue::try_from(timing) {
            headers.append(SERVER_TIMING, timing);
        }
    }
}

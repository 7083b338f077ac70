//! What a page needs to tell its user in time: endpoints of the layer's own, and headers on the application's answers.

mod endpoints;
mod script;

use std::{fmt::Write, time::Duration};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use sha2::Sha256;

pub(crate) use self::endpoints::answer;
use self::script::Script;
use crate::{Live, Owner, RequestHead, SessionKey};

const SESSION_TIMEOUT: HeaderName = HeaderName::from_static("session-timeout");
const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

/// How the page is told.
pub(crate) struct Client {
    /// Without a slash at its end.
    pub(crate) base: String,
    pub(crate) warn_before: Duration,
    pub(crate) secret: [u8; 32],
}

/// What was asked for below the base path.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Endpoint {
    Client,
    Drafts,
    Status,
    KeepAlive,
    SignOut,
    DraftKey,
    Unknown,
}

impl Endpoint {
    fn allows(self, method: &Method) -> bool {
        match self {
            Self::Client | Self::Drafts | Self::Status | Self::DraftKey => {
                matches!(*method, Method::GET | Method::HEAD)
            }
            Self::KeepAlive | Self::SignOut => *method == Method::POST,
            Self::Unknown => true,
        }
    }

    fn script(self) -> Option<&'static Script> {
        match self {
            Self::Client => Some(&script::CLIENT),
            Self::Drafts => Some(&script::DRAFTS),
            _ => None,
        }
    }

    fn allowed(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::KeepAlive | Self::SignOut => "POST",
            Self::Client | Self::Drafts | Self::Status | Self::DraftKey | Self::Unknown => "GET, HEAD",
        })
    }
}

impl Client {
    pub(crate) fn endpoint(&self, head: &RequestHead<'_>) -> Option<Endpoint> {
        let name = head.path().strip_prefix(&self.base)?.strip_prefix('/')?;
        Some(match name {
            "client.js" => Endpoint::Client,
            "drafts.js" => Endpoint::Drafts,
            "status" => Endpoint::Status,
            "keep-alive" => Endpoint::KeepAlive,
            "sign-out" => Endpoint::SignOut,
            "draft-key" => Endpoint::DraftKey,
            _ => Endpoint::Unknown,
        })
    }

    /// Tells a session from another one without naming it.
    fn session_digest(&self, session: SessionKey) -> String {
        URL_SAFE_NO_PAD.encode(&self.mac(b"session", &session.to_bytes())[..16])
    }

    /// Tells a user from another one without naming them.
    fn user_digest(&self, owner: &Owner) -> String {
        URL_SAFE_NO_PAD.encode(&self.mac(b"user", owner.as_str().as_bytes())[..16])
    }

    fn draft_key(&self, owner: &Owner) -> String {
        URL_SAFE_NO_PAD.encode(self.mac(b"draft", owner.as_str().as_bytes()))
    }

    fn mac(&self, purpose: &[u8], text: &[u8]) -> [u8; 32] {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.secret).expect("HMAC takes keys of any length");
        mac.update(purpose);
        mac.update(&[0]);
        mac.update(text);
        mac.finalize().into_bytes().into()
    }

    /// Where the script is, its version included, so that a browser may keep it for ever.
    pub(crate) fn script_path(&self) -> String {
        format!("{}/client.js?v={}", self.base, script::version())
    }

    /// What an answer of the application's to this session tells. `idle_for`: since its last activity, which may be
    /// this request.
    pub(crate) fn told(&self, live: &Live, idle_for: Duration) -> Option<Box<Told>> {
        let (remaining, warn) = (live.remaining, self.warn_before);
        let mut field = format!("remaining={}", remaining.shortest().as_secs());
        if let Some(absolute) = remaining.absolute {
            let _ = write!(field, ", absolute={}", absolute.as_secs());
        }
        let _ = write!(field, ", warn={}", warn.as_secs());
        // What a page would have to ask for otherwise, at each load: see `readTiming` in the script.
        let timing = format!(
            r#"st;dur={};desc="{} {} {} {} {}""#,
            remaining.shortest().as_millis(),
            remaining.idle.saturating_add(idle_for).as_millis(),
            remaining.absolute.map_or_else(|| "-".to_owned(), |absolute| absolute.as_millis().to_string()),
            warn.as_millis(),
            self.session_digest(live.key),
            live.owner.as_ref().map_or_else(|| "-".to_owned(), |owner| self.user_digest(owner)),
        );
        let (field, timing) = (HeaderValue::try_from(field).ok()?, HeaderValue::try_from(timing).ok()?);
        Some(Box::new(Told { field, timing }))
    }
}

/// The time left: to programs in seconds (RFC 9651), to scripts in the page, which can read no other header of what
/// they did not fetch themselves, as a timing.
pub(crate) struct Told {
    field: HeaderValue,
    timing: HeaderValue,
}

impl Told {
    pub(crate) fn add_to(&self, headers: &mut HeaderMap) {
        headers.insert(SESSION_TIMEOUT, self.field.clone());
        headers.append(SERVER_TIMING, self.timing.clone());
    }
}

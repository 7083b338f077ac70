//! What a page needs to tell its user in time: endpoints of the layer's own, and headers on the application's answers.

mod endpoints;

use std::{fmt::Write, time::Duration};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use sha2::Sha256;

pub(crate) use self::endpoints::answer;
use crate::{Owner, Remaining, RequestHead, SessionKey};

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
    Status,
    KeepAlive,
    SignOut,
    DraftKey,
    Unknown,
}

impl Endpoint {
    fn allows(self, method: &Method) -> bool {
        match self {
            Self::Status | Self::DraftKey => matches!(*method, Method::GET | Method::HEAD),
            Self::KeepAlive | Self::SignOut => *method == Method::POST,
            Self::Unknown => true,
        }
    }

    fn allowed(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::KeepAlive | Self::SignOut => "POST",
            Self::Status | Self::DraftKey | Self::Unknown => "GET, HEAD",
        })
    }
}

impl Client {
    pub(crate) fn endpoint(&self, head: &RequestHead<'_>) -> Option<Endpoint> {
        let name = head.path().strip_prefix(&self.base)?.strip_prefix('/')?;
        Some(match name {
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

    /// Tells the time left on an answer of the application's: to programs in seconds (RFC 9651), to scripts in the
    /// page, which can read no other header of what they did not fetch themselves, as a timing.
    pub(crate) fn tell(&self, remaining: Remaining, headers: &mut HeaderMap) {
        let mut field = format!("remaining={}", remaining.shortest().as_secs());
        if let Some(absolute) = remaining.absolute {
            let _ = write!(field, ", absolute={}", absolute.as_secs());
        }
        let _ = write!(field, ", warn={}", self.warn_before.as_secs());
        let timing = format!("st;dur={}", remaining.shortest().as_millis());
        if let (Ok(field), Ok(timing)) = (HeaderValue::try_from(field), HeaderValue::try_from(timing)) {
            headers.insert(SESSION_TIMEOUT, field);
            headers.append(SERVER_TIMING, timing);
        }
    }
}

//! A form as it was sent, without what is nobody's to keep.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::{
    HeaderMap, Uri,
    header::{CONTENT_TYPE, REFERER},
};
use http_body_util::{BodyDataStream, Full};
use serde::{Deserialize, Serialize};

use crate::{
    request::head::RequestHead,
    respond::{is_of_type, return_to},
};

const URLENCODED: &str = "application/x-www-form-urlencoded";
const MULTIPART: &str = "multipart/form-data";

/// Why a form was not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lost {
    TooLarge,
    /// It is no form, or not of Unicode text, or did not come whole.
    Unreadable,
    NoRoom,
    StoreFailed,
}

impl Lost {
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::TooLarge => "it is larger than the limit",
            Self::Unreadable => "it is no form of Unicode text, or did not come whole",
            Self::NoRoom => "there is no room, or its user has as many as are kept",
            Self::StoreFailed => "the store failed",
        }
    }
}

/// A form that was not sent on.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct LateForm {
    pub(crate) id: String,
    /// Path and query it was sent to.
    pub(crate) action: String,
    /// The page it was on.
    pub(crate) page: Option<String>,
    pub(crate) is_multipart: bool,
    pub(crate) fields: Vec<(String, String)>,
    /// The names of fields that were not kept, for they hold secrets.
    pub(crate) secrets: Vec<String>,
    /// The names of files, which were not kept.
    pub(crate) files: Vec<String>,
    /// By the clock of where it is kept.
    pub(crate) came: Duration,
    /// Its user has sent it at that time, and no answer is known.
    pub(crate) sent: Option<Duration>,
}

/// Where a form is going, and how it is encoded: what its head says.
pub(crate) struct Envelope {
    action: String,
    page: Option<String>,
    /// `None`: it is not multipart.
    boundary: Option<String>,
    pub(crate) length: Option<u64>,
}

impl Envelope {
    /// `None`: this is no form that could be sent again.
    pub(crate) fn of(head: &RequestHead<'_>) -> Option<Self> {
        let content_type = head.only(CONTENT_TYPE)?;
        let boundary = if is_of_type(content_type, MULTIPART) {
            Some(multer::parse_boundary(content_type.to_str().ok()?).ok()?)
        } else if is_of_type(content_type, URLENCODED) {
            None
        } else {
            return None;
        };
        Some(Self {
            action: return_to::of_request(head.uri().path_and_query())?.to_owned(),
            page: page(head.headers()),
            boundary,
            length: head.only("content-length").and_then(|length| length.to_str().ok()?.parse().ok()),
        })
    }

    /// The form, if that is what this is.
    pub(crate) async fn open(self, body: Bytes, secrets: &Secrets) -> Result<LateForm, Lost> {
        let is_multipart = self.boundary.is_some();
        let (sent, files) = match self.boundary {
            Some(boundary) => multipart(body, boundary).await.ok_or(Lost::Unreadable)?,
            None => (urlencoded(&body).ok_or(Lost::Unreadable)?, Vec::new()),
        };
        let (hidden, fields): (Vec<_>, Vec<_>) =
            sent.into_iter().partition(|(name, value)| secrets.hold(name, value));
        let mut secrets: Vec<_> = hidden.into_iter().map(|(name, _)| name).collect();
        secrets.dedup();
        let mut id = [0; 12];
        getrandom::fill(&mut id).expect("the operating system gives random numbers");
        Ok(LateForm {
            id: URL_SAFE_NO_PAD.encode(id),
            action: self.action,
            page: self.page,
            is_multipart,
            fields,
            secrets,
            files,
            came: Duration::ZERO,
            sent: None,
        })
    }
}

/// Browsers name the whole page to its own site only.
fn page(headers: &HeaderMap) -> Option<String> {
    let page = Uri::try_from(headers.get(REFERER)?.as_bytes()).ok()?;
    return_to::of_request(page.path_and_query()).map(str::to_owned)
}

/// Only what was Unicode: text in another encoding would not be what its user wrote.
fn urlencoded(body: &[u8]) -> Option<Vec<(String, String)>> {
    let fields: Vec<_> = form_urlencoded::parse(body).into_owned().collect();
    let is_text = |text: &String| !text.contains(char::REPLACEMENT_CHARACTER);
    fields.iter().all(|(name, value)| is_text(name) && is_text(value)).then_some(fields)
}

async fn multipart(body: Bytes, boundary: String) -> Option<(Vec<(String, String)>, Vec<String>)> {
    let mut parts = multer::Multipart::new(BodyDataStream::new(Full::new(body)), boundary);
    let (mut fields, mut files) = (Vec::new(), Vec::new());
    while let Some(part) = parts.next_field().await.ok()? {
        let name = part.name()?.to_owned();
        if let Some(file) = part.file_name() {
            // Where no file was chosen, browsers send one without a name.
            files.extend((!file.is_empty()).then(|| file.to_owned()));
        } else {
            let value = part.bytes().await.ok()?;
            fields.push((name, String::from_utf8(value.to_vec()).ok()?));
        }
    }
    Some((fields, files))
}

/// What must not lie about: passwords, one-time codes, card numbers (PCI DSS 4.0.1, 3.3), and what the application names.
#[derive(Clone, Debug, Default)]
pub(crate) struct Secrets(pub(crate) Vec<String>);

/// In a field's name, whatever else is in it.
const SECRET_PARTS: [&str; 16] = [
    "pass",
    "passwd",
    "pwd",
    "kennwort",
    "senha",
    "contrase",
    "secret",
    "otp",
    "cvc",
    "cvv",
    "csc",
    "cardnum",
    "ccnum",
    "securitycode",
    "onetimecode",
    "verificationcode",
];
/// All there is of a field's name, or the last word of it.
const SECRET_WORDS: [&str; 3] = ["pin", "tan", "mfa"];

impl Secrets {
    fn hold(&self, name: &str, value: &str) -> bool {
        self.0.iter().any(|named| named == name) || is_secret(name) || is_card_number(value)
    }
}

fn is_secret(name: &str) -> bool {
    let letters: String =
        name.chars().filter(|it| it.is_alphanumeric()).flat_map(char::to_lowercase).collect();
    let last =
        name.rsplit(|it: char| !it.is_alphanumeric()).find(|word| !word.is_empty()).unwrap_or_default();
    SECRET_PARTS.iter().any(|part| letters.contains(part))
        || SECRET_WORDS.iter().any(|word| last.eq_ignore_ascii_case(word))
}

/// 13 to 19 digits whose last one checks the others (ISO/IEC 7812-1).
fn is_card_number(value: &str) -> bool {
    let digits: Option<Vec<u32>> =
        value.chars().filter(|it| !matches!(it, ' ' | '-')).map(|it| it.to_digit(10)).collect();
    let Some(digits) = digits.filter(|digits| (13..=19).contains(&digits.len())) else { return false };
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(at, &digit)| match (at % 2, digit * 2) {
            (0, _) => digit,
            (_, doubled) if doubled > 9 => doubled - 9,
            (_, doubled) => doubled,
        })
        .sum();
    sum.is_multiple_of(10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_a_secret_by_its_name_or_its_digits_is_told_from_what_is_not() {
        let secrets = Secrets(vec!["ssn".to_owned()]);
        for name in [
            "password",
            "new_password1",
            "user[password]",
            "Passwort",
            "pwd",
            "otp_code",
            "card-number".replace('-', "").as_str(),
            "cc-number".replace("number", "num").as_str(),
            "cvc",
            "PIN",
            "user.pin",
            "one-time-code",
            "ssn",
            "client_secret",
        ] {
            assert!(secrets.hold(name, "x"), "{name}");
        }
        for name in ["note", "title", "spinning", "opinion", "tangent", "csrf_token", "ssn2"] {
            assert!(!secrets.hold(name, "x"), "{name}");
        }
        for value in ["4111 1111 1111 1111", "378282246310005", "5555-5555-5555-4444"] {
            assert!(secrets.hold("note", value), "{value}");
        }
        for value in ["4111 1111 1111 1112", "123", "+49 30 123456", "4111 1111 1111 1111 and more"] {
            assert!(!secrets.hold("note", value), "{value}");
        }
    }
}

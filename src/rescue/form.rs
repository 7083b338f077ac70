//! A form as it was sent, without what is nobody's to keep.

use std::{borrow::Cow, time::Duration};

use bytes::Bytes;
use http::{
    HeaderMap, Uri,
    header::{CONTENT_LENGTH, CONTENT_TYPE, REFERER},
};
use http_body_util::{BodyDataStream, Full};
use memchr::memchr;
use percent_encoding::percent_decode;
use serde::{Deserialize, Serialize};

use crate::{
    request::head::RequestHead,
    respond::{is_of_type, return_to},
};

const URLENCODED: &str = "application/x-www-form-urlencoded";
const MULTIPART: &str = "multipart/form-data";

/// Of one form. A page with more is of no use to anybody.
const MOST_FIELDS: usize = 500;

/// Why a form was not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lost {
    TooLarge,
    TooManyFields,
    /// It is no form, or not of Unicode text, or did not come whole.
    Unreadable,
    /// Its user has as many as are kept.
    TooManyForms,
    NoRoom,
    StoreFailed,
    /// It is not known who sent it.
    OfNobody,
    /// The session was ended, by whomever, and not by a timeout.
    SessionEnded,
}

impl Lost {
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::TooLarge => "it is larger than the limit",
            Self::TooManyFields => "it has too many fields",
            Self::Unreadable => "it is no form of Unicode text, or did not come whole",
            Self::TooManyForms => "its user has as many as are kept",
            Self::NoRoom => "there is no room",
            Self::StoreFailed => "the store failed",
            Self::OfNobody => "it is not known whose it is",
            Self::SessionEnded => "its session was not ended by a timeout",
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

impl LateForm {
    /// Nothing was lost with it.
    pub(crate) fn is_empty(&self) -> bool {
        self.fields.is_empty() && self.secrets.is_empty() && self.files.is_empty()
    }

    pub(super) fn is_alike(&self, other: &Self) -> bool {
        (&self.action, &self.fields, &self.files) == (&other.action, &other.fields, &other.files)
    }
}

/// Where a form is going, and how it is encoded: what its head says.
pub(crate) struct Envelope {
    /// `None`: where no form could be sent again.
    action: Option<String>,
    page: Option<String>,
    encoding: Encoding,
    pub(crate) length: Option<u64>,
}

enum Encoding {
    Urlencoded,
    /// With its boundary, if it has one.
    Multipart(Option<String>),
}

impl Envelope {
    /// `None`: this is no form.
    pub(crate) fn of(head: &RequestHead<'_>) -> Option<Self> {
        let content_type = head.only(CONTENT_TYPE)?;
        let encoding = if is_of_type(content_type, MULTIPART) {
            Encoding::Multipart(content_type.to_str().ok().and_then(|it| multer::parse_boundary(it).ok()))
        } else if is_of_type(content_type, URLENCODED) {
            Encoding::Urlencoded
        } else {
            return None;
        };
        Some(Self {
            action: return_to::of_request(head.uri().path_and_query()).map(str::to_owned),
            page: page(head.headers()),
            encoding,
            length: head.only(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok()),
        })
    }

    /// The form, if that is what this is.
    pub(crate) async fn open(self, body: Bytes, secrets: &Secrets) -> Result<LateForm, Lost> {
        let is_multipart = matches!(self.encoding, Encoding::Multipart(_));
        let (sent, files) = match self.encoding {
            Encoding::Multipart(boundary) => multipart(body, boundary.ok_or(Lost::Unreadable)?).await?,
            Encoding::Urlencoded => (urlencoded(&body)?, Vec::new()),
        };
        let (hidden, fields): (Vec<_>, Vec<_>) =
            sent.into_iter().partition(|(name, value)| secrets.hold(name, value));
        let mut secrets: Vec<String> = Vec::new();
        for (name, _) in hidden {
            if !secrets.contains(&name) {
                secrets.push(name);
            }
        }
        Ok(LateForm {
            id: String::new(),
            action: self.action.ok_or(Lost::Unreadable)?,
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

/// The pairs of a query or a body (WHATWG URL, 5.1). `None`: some are not of Unicode text, and would not be what their user
/// wrote.
pub(super) fn pairs(encoded: &[u8]) -> Option<Vec<(String, String)>> {
    let decoded = |text: &[u8]| {
        let text: Vec<u8> = text.iter().map(|&byte| if byte == b'+' { b' ' } else { byte }).collect();
        percent_decode(&text).decode_utf8().ok().map(Cow::into_owned)
    };
    let pairs = encoded.split(|&byte| byte == b'&').filter(|pair| !pair.is_empty());
    pairs
        .take(MOST_FIELDS + 1)
        .map(|pair| {
            let (name, value) =
                memchr(b'=', pair).map_or((pair, &[][..]), |at| (&pair[..at], &pair[at + 1..]));
            Some((decoded(name)?, decoded(value)?))
        })
        .collect()
}

fn urlencoded(body: &[u8]) -> Result<Vec<(String, String)>, Lost> {
    let fields = pairs(body).ok_or(Lost::Unreadable)?;
    if fields.len() > MOST_FIELDS { Err(Lost::TooManyFields) } else { Ok(fields) }
}

async fn multipart(body: Bytes, boundary: String) -> Result<(Vec<(String, String)>, Vec<String>), Lost> {
    let mut parts = multer::Multipart::new(BodyDataStream::new(Full::new(body)), boundary);
    let (mut fields, mut files) = (Vec::new(), Vec::new());
    while let Some(part) = parts.next_field().await.map_err(|_| Lost::Unreadable)? {
        if fields.len() + files.len() == MOST_FIELDS {
            return Err(Lost::TooManyFields);
        }
        let name = part.name().ok_or(Lost::Unreadable)?.to_owned();
        if let Some(file) = part.file_name() {
            // Where no file was chosen, browsers send one without a name.
            files.extend((!file.is_empty()).then(|| file.to_owned()));
        } else {
            let value = part.bytes().await.map_err(|_| Lost::Unreadable)?;
            fields.push((name, String::from_utf8(value.to_vec()).map_err(|_| Lost::Unreadable)?));
        }
    }
    Ok((fields, files))
}

/// What must not lie about: passwords, one-time codes, card numbers (PCI DSS 4.0.1, 3.3), and what the application names.
#[derive(Clone, Debug, Default)]
pub(crate) struct Secrets(pub(crate) Vec<String>);

/// As a word of a field's name.
const SECRET_WORDS: [&str; 31] = [
    "pass",
    "password",
    "passwd",
    "passphrase",
    "passcode",
    "pw",
    "pwd",
    "secret",
    "pin",
    "tan",
    "otp",
    "totp",
    "mfa",
    "cvc",
    "cvv",
    "csc",
    "passwort",
    "kennwort",
    "wachtwoord",
    "senha",
    "contrasena",
    "contraseña",
    "clave",
    "haslo",
    "hasło",
    "salasana",
    "lozinka",
    "parola",
    "lösenord",
    "losenord",
    "motdepasse",
];
/// As words of a field's name that follow each other.
const SECRET_TERMS: [&str; 12] = [
    "cardnumber",
    "cardno",
    "ccnumber",
    "ccnum",
    "securitycode",
    "securityanswer",
    "onetimecode",
    "verificationcode",
    "authcode",
    "mfacode",
    "motdepasse",
    "newpassword",
];

impl Secrets {
    fn hold(&self, name: &str, value: &str) -> bool {
        self.0.iter().any(|named| named == name) || is_secret(name) || is_card_number(value)
    }
}

fn is_secret(name: &str) -> bool {
    let words = words(name);
    let are_term = |words: &[String]| SECRET_TERMS.contains(&words.concat().as_str());
    words.iter().any(|word| SECRET_WORDS.contains(&word.as_str()) || SECRET_TERMS.contains(&word.as_str()))
        || words.windows(2).any(are_term)
        || words.windows(3).any(are_term)
}

/// `newPassword2`, `new-password`, `user[new_password]`: in lower case, without the digits at their ends.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut was_lower = false;
    for letter in name.chars() {
        if !letter.is_alphanumeric() || (letter.is_uppercase() && was_lower) {
            words.push(String::new());
        }
        if letter.is_alphanumeric() {
            words.last_mut().expect("there is one").extend(letter.to_lowercase());
        }
        was_lower = letter.is_lowercase();
    }
    let without_digits = |word: String| word.trim_end_matches(|it: char| it.is_ascii_digit()).to_owned();
    words.into_iter().map(without_digits).filter(|word| !word.is_empty()).collect()
}

/// 13 to 19 digits whose last one checks the others (ISO/IEC 7812-1), and what people put between them.
fn is_card_number(value: &str) -> bool {
    let is_between = |it: char| it.is_whitespace() || matches!(it, '-' | '.' | '/' | '\u{2010}'..='\u{2015}');
    let digits: Option<Vec<u32>> =
        value.chars().filter(|it| !is_between(*it)).map(|it| it.to_digit(10)).collect();
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
        let secret_names = [
            "password",
            "newPassword1",
            "user[password]",
            "new_password_2",
            "Passwort",
            "pwd",
            "pw",
            "otp",
            "user.pin",
            "PIN",
            "card-number",
            "cc-number",
            "cardNumber",
            "cvc2",
            "one-time-code",
            "security_answer",
            "client_secret",
            "ssn",
            "clave",
        ];
        for name in secret_names {
            assert!(secrets.hold(name, "x"), "{name}");
        }
        let others = [
            "note",
            "title",
            "passenger_name",
            "passage",
            "compass",
            "secretary",
            "spot_price",
            "plot_points",
            "footprint",
            "not_paid",
            "root_page",
            "spinning",
            "opinion",
            "tangent",
            "csrf_token",
            "ssn2",
            "postal_code",
        ];
        for name in others {
            assert!(!secrets.hold(name, "x"), "{name}");
        }
        for value in [
            "4111 1111 1111 1111",
            "378282246310005",
            "5555-5555-5555-4444",
            "4111.1111.1111.1111",
            "4111\u{a0}1111\u{a0}1111\u{a0}1111",
        ] {
            assert!(secrets.hold("note", value), "{value}");
        }
        for value in ["4111 1111 1111 1112", "123", "+49 30 123456", "4111 1111 1111 1111 and more"] {
            assert!(!secrets.hold("note", value), "{value}");
        }
    }

    #[test]
    fn pairs_are_decoded_as_browsers_encode_them_or_not_at_all() {
        let decoded = |body: &str| pairs(body.as_bytes());
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            decoded("a=1+2%2B3&b&=c&&d=%EF%BF%BD%00").unwrap(),
            [pair("a", "1 2+3"), pair("b", ""), pair("", "c"), pair("d", "\u{fffd}\0")]
        );
        assert!(decoded("a=%FF").is_none());
    }
}

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
const LONGEST_NAME: usize = 256;

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
    /// Path and query it was sent to. Empty: to where no form can be sent again.
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
    /// There is nothing in it that is worth keeping.
    pub(crate) fn is_empty(&self) -> bool {
        self.fields.is_empty() && self.files.is_empty()
    }

    /// But for the application's token.
    pub(super) fn is_alike(&self, other: &Self, token: Option<&str>) -> bool {
        let fields = |form: &Self| {
            form.fields.iter().filter(|(name, _)| Some(name.as_str()) != token).cloned().collect::<Vec<_>>()
        };
        (&self.action, &self.files) == (&other.action, &other.files) && fields(self) == fields(other)
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
            action: self.action.unwrap_or_default(),
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
pub(crate) struct Secrets {
    pub(crate) named: Vec<String>,
    /// The field with the application's token against forged forms, whose name may sound like one.
    pub(crate) token: Option<String>,
}

/// Anywhere in a field's name: in no other word.
const SECRET_PARTS: [&str; 9] = [
    "password",
    "passwd",
    "passwort",
    "kennwort",
    "wachtwoord",
    "passphrase",
    "passcode",
    "creditcard",
    "2fa",
];
/// As a word of a field's name, or the end of one.
const SECRET_ENDS: [&str; 4] = ["pwd", "cvc", "cvv", "otp"];
/// As a word of a field's name.
const SECRET_WORDS: [&str; 26] = [
    "pass",
    "pw",
    "secret",
    "pin",
    "tan",
    "totp",
    "mfa",
    "csc",
    "iban",
    "senha",
    "contrasena",
    "contraseña",
    "clave",
    "haslo",
    "hasło",
    "heslo",
    "sifre",
    "şifre",
    "salasana",
    "lozinka",
    "parola",
    "lösenord",
    "losenord",
    "пароль",
    "密码",
    "パスワード",
];
/// As words of a field's name that follow each other.
const SECRET_TERMS: [&str; 15] = [
    "cardnumber",
    "cardno",
    "cardnum",
    "ccnumber",
    "ccnum",
    "securitycode",
    "securityanswer",
    "onetimecode",
    "verificationcode",
    "authcode",
    "mfacode",
    "smscode",
    "recoverycode",
    "backupcode",
    "motdepasse",
];

impl Secrets {
    fn hold(&self, name: &str, value: &str) -> bool {
        self.token.as_deref() != Some(name)
            && (self.named.iter().any(|named| named == name) || is_secret(name) || is_card_number(value))
    }
}

fn is_secret(name: &str) -> bool {
    // Nobody names a field so, but to have it looked through.
    if name.len() > LONGEST_NAME {
        return true;
    }
    let lower = name.to_lowercase();
    let words = words(name);
    let are_term = |words: &[String]| SECRET_TERMS.contains(&words.concat().as_str());
    SECRET_PARTS.iter().any(|part| lower.contains(part))
        || words.iter().any(|word| {
            SECRET_WORDS.contains(&word.as_str()) || SECRET_ENDS.iter().any(|end| word.ends_with(end))
        })
        || (1..=3).any(|length| words.windows(length).any(are_term))
}

/// `newPassword2`, `new-password`, `user[new_password]`, `OTPCode`: in lower case, without digits.
fn words(name: &str) -> Vec<String> {
    let letters: Vec<char> = name.chars().collect();
    let mut words = vec![String::new()];
    for (at, &letter) in letters.iter().enumerate() {
        let before = at.checked_sub(1).map(|at| letters[at]);
        let is_lower = |letter: Option<&char>| letter.is_some_and(|letter| letter.is_lowercase());
        // At `C`, both in `pinCode` and in `PINCode`.
        let begins = letter.is_uppercase()
            && (is_lower(before.as_ref())
                || (before.is_some_and(char::is_uppercase) && is_lower(letters.get(at + 1))));
        if !letter.is_alphabetic() || begins {
            words.push(String::new());
        }
        if letter.is_alphabetic() {
            words.last_mut().expect("there is one").extend(letter.to_lowercase());
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// As many digits as the cards of their first digits have, of which the last one checks the others (ISO/IEC 7812-1), and what
/// people put between them.
fn is_card_number(value: &str) -> bool {
    let is_between = |it: char| it.is_whitespace() || matches!(it, '-' | '.' | '/' | '\u{2010}'..='\u{2015}');
    let digits: Option<Vec<u32>> =
        value.chars().filter(|it| !is_between(*it)).map(|it| it.to_digit(10)).collect();
    let Some(digits) = digits else { return false };
    let is_of_card = matches!(
        (digits.as_slice(), digits.len()),
        ([4, ..], 13 | 16 | 19)
            | ([5, 1..=5, ..] | [2, 2..=7, ..], 16)
            | ([3, 4 | 7, ..], 15)
            | ([3, 0 | 6 | 8 | 9, ..], 14..=19)
            | ([3, 5, ..], 16..=19)
            | ([5, 0 | 6..=8, ..] | [6, ..], 13..=19)
    );
    let doubled = |digit: u32| if digit > 4 { digit * 2 - 9 } else { digit * 2 };
    let places = digits.iter().rev().enumerate();
    let sum: u32 = places.map(|(at, &digit)| if at % 2 == 0 { digit } else { doubled(digit) }).sum();
    is_of_card && sum.is_multiple_of(10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_a_secret_by_its_name_or_its_digits_is_told_from_what_is_not() {
        let secrets = Secrets { named: vec!["ssn".to_owned()], token: Some("secret_token".to_owned()) };
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
        for value in [
            "4111 1111 1111 1112",
            "123",
            "1234567890123452",
            "+49 30 123456",
            "4111 1111 1111 1111 and more",
        ] {
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

//! One `Set-Cookie` field, as browsers read it: RFC 6265 §5.2, RFC 6265bis §5.6 and CHIPS.

use http::{
    HeaderMap, HeaderValue,
    header::{Entry, SET_COOKIE},
};
use memchr::memchr;

use super::{SessionCookie, bytes::trim, date};
use crate::clock::wall_clock;

/// Of how many bytes a cookie's name and value are together at most.
const LONGEST_COOKIE: usize = 4096;
/// Browsers pass over attributes whose value is longer (RFC 6265bis §5.6).
const LONGEST_ATTRIBUTE: usize = 1024;

#[derive(Default)]
pub(super) struct SetCookie<'a> {
    pub(super) name: &'a [u8],
    pub(super) value: &'a [u8],
    /// In lower case. Without one, it is a cookie of this host alone, and another cookie.
    domain: Option<Vec<u8>>,
    /// Without one, it is what the browser makes of the request's path.
    path: Option<&'a [u8]>,
    /// In a jar of its own for each site that embeds this one.
    partitioned: bool,
    max_age: Option<MaxAge>,
    expires: Option<time::OffsetDateTime>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum MaxAge {
    /// Zero or less.
    Expired,
    Seconds,
}

impl<'a> SetCookie<'a> {
    pub(super) fn parse(field: &'a [u8]) -> Self {
        let mut parts = field.split(|&byte| byte == b';');
        let pair = parts.next().unwrap_or_default();
        let (name, value) = split_at_equals(pair).unwrap_or((b"", trim(pair)));
        // A nameless cookie is sent back as its value, which may read as a named one.
        let (name, value) =
            if name.is_empty() { split_at_equals(value).unwrap_or((name, value)) } else { (name, value) };
        let mut cookie = Self { name, value, ..Self::default() };
        // Of several attributes of one name, the last that can be read counts.
        for attribute in parts {
            let (name, value) = split_at_equals(attribute).unwrap_or((trim(attribute), b""));
            if value.len() <= LONGEST_ATTRIBUTE {
                cookie.read_attribute(name, value);
            }
        }
        cookie
    }

    fn read_attribute(&mut self, name: &[u8], value: &'a [u8]) {
        if name.eq_ignore_ascii_case(b"max-age") {
            self.max_age = read_max_age(value).or(self.max_age);
        } else if name.eq_ignore_ascii_case(b"expires") {
            self.expires = date::parse(value).or(self.expires);
        } else if name.eq_ignore_ascii_case(b"path") {
            self.path = value.starts_with(b"/").then_some(value);
        } else if name.eq_ignore_ascii_case(b"domain") {
            let domain = value.strip_prefix(b".").unwrap_or(value);
            self.domain = (!domain.is_empty()).then(|| domain.to_ascii_lowercase());
        } else if name.eq_ignore_ascii_case(b"partitioned") {
            self.partitioned = true;
        }
    }

    /// Whether browsers pass over the field, as if it were not there (RFC 6265bis §5.7).
    pub(super) fn is_too_long(&self) -> bool {
        self.name.len() + self.value.len() > LONGEST_COOKIE
    }

    /// Whether the browser has no such cookie after this, or one without a value.
    pub(super) fn is_removal(&self) -> bool {
        self.value.is_empty()
            || self.value == b"\"\""
            || match (self.max_age, self.expires) {
                // RFC 6265bis §4.1.2.2: `Max-Age` has precedence.
                (Some(max_age), _) => max_age == MaxAge::Expired,
                (None, Some(expires)) => expires <= wall_clock(),
                (None, None) => false,
            }
    }

    /// Whether this may be the cookie that is set with these attributes, and not another one of its name. (Not by
    /// `Partitioned`: browsers that do not know of it take the two for one, and few frameworks can say it in a removal.)
    pub(super) fn may_be_set_with(&self, attributes: &SessionCookie) -> bool {
        let domain = attributes.domain.as_deref().map(|domain| domain.strip_prefix('.').unwrap_or(domain));
        let is_same_domain = match (&self.domain, domain) {
            (None, None) => true,
            (Some(this), Some(domain)) => this.eq_ignore_ascii_case(domain.as_bytes()),
            _ => false,
        };
        is_same_domain && self.path.is_none_or(|path| path == attributes.path.as_bytes())
    }

    /// Whether the two may be the same cookie to a browser, which then keeps the later one only. (The path of one without
    /// `Path` is not known here.)
    pub(super) fn may_replace(&self, other: &Self) -> bool {
        self.name == other.name
            && self.domain == other.domain
            && self.partitioned == other.partitioned
            && (self.path.is_none() || other.path.is_none() || self.path == other.path)
    }
}

fn split_at_equals(text: &[u8]) -> Option<(&[u8], &[u8])> {
    memchr(b'=', text).map(|equals| (trim(&text[..equals]), trim(&text[equals + 1..])))
}

/// RFC 6265 §5.2.2.
fn read_max_age(value: &[u8]) -> Option<MaxAge> {
    let digits = value.strip_prefix(b"-").unwrap_or(value);
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let is_over = digits.len() < value.len() || digits.iter().all(|&digit| digit == b'0');
    Some(if is_over { MaxAge::Expired } else { MaxAge::Seconds })
}

/// Leaves those of an answer's cookies that are wanted.
pub(super) fn retain(headers: &mut HeaderMap, keep: impl Fn(&[u8]) -> bool) {
    let Entry::Occupied(entry) = headers.entry(SET_COOKIE) else { return };
    let (_, all) = entry.remove_entry_mult();
    let kept: Vec<HeaderValue> = all.filter(|field| keep(field.as_bytes())).collect();
    for field in kept {
        headers.append(SET_COOKIE, field);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_removal(attributes: &str) -> bool {
        SetCookie::parse(format!("sid=A; {attributes}").as_bytes()).is_removal()
    }

    #[test]
    fn max_age_is_read_as_browsers_read_it() {
        for removal in [
            "Max-Age=0",
            "max-age=-1",
            "MAX-AGE = 000 ",
            "Max-Age=-99999999999999999999",
            "Max-Age=9; Max-Age=0",
        ] {
            assert!(is_removal(removal), "{removal}");
        }
        for set in [
            "Max-Age=1",
            "Max-Age=99999999999999999999",
            "Max-Age",
            "Max-Age=",
            "Max-Age=-",
            "Max-Age=+0",
            "Max-Age=0x",
            "Max-Age=\"0\"",
            "Max-Age=0.5",
            "Max-Age=0; Max-Age=9",
            "Max-Age=9; Max-Age=x",
            "xMax-Age=0",
            "Path=Max-Age=0",
            "Max-Age=9; Expires=Thu, 01 Jan 1970 00:00:00 GMT",
        ] {
            assert!(!is_removal(set), "{set}");
        }
    }

    #[test]
    fn dates_are_read_as_browsers_read_them() {
        for past in [
            "Thu, 01 Jan 1970 00:00:00 GMT",
            "Thu, 1 Jan 1970 00:00:00 GMT",
            "Thu, 01-Jan-1970 00:00:01 GMT",
            "Thursday, 01-Jan-70 00:00:00 GMT",
            "Thu Jan  1 00:00:00 1970",
            "Thu, 1 Jan 1970 0:0:0 +0000",
            "1970 jAnUaRy 1st 00:00:00x",
            "01 Jan 1601 00:00:00",
            "29 Feb 2000 23:59:59",
            "1 Jan 1970 1:2:3:4",
        ] {
            assert!(is_removal(&format!("Expires={past}")), "{past}");
        }
        for unreadable_or_future in [
            "",
            "0",
            "-1",
            "Thu, 01 Jan 1970",
            "Thu, 01 Jan 1970 24:00:00 GMT",
            "Thu, 01 Jan 1970 00:60:00 GMT",
            "Thu, 32 Jan 1970 00:00:00 GMT",
            "Thu, 0 Jan 1970 00:00:00 GMT",
            "01 Jan 1600 00:00:00",
            "30 Feb 2000 00:00:00",
            "01 Jan 19700 00:00:00",
            "01 Xxx 1970 00:00:00",
            "01 Jan 1970 00:00",
            "001 Jan 1970 00:00:000",
            "Fri, 01 Jan 2100 00:00:00 GMT",
            "Tue, 1 Jan 69 00:00:00 GMT",
        ] {
            assert!(!is_removal(&format!("Expires={unreadable_or_future}")), "{unreadable_or_future}");
        }
        assert!(is_removal("Expires=soon; Expires=1 Jan 1970 00:00:00; Expires=never"));
    }

    #[test]
    fn attributes_that_browsers_find_too_long_are_passed_over() {
        let zeros = |number| "0".repeat(number);
        assert!(is_removal(&format!("Max-Age={}", zeros(1024))));
        assert!(!is_removal(&format!("Max-Age={}", zeros(1025))));
        assert!(is_removal(&format!("Expires=1 Jan 1970 00:00:00 {}", zeros(1003))));
        assert!(!is_removal(&format!("Expires=1 Jan 1970 00:00:00 {}", zeros(1005))));
        let long = format!("sid=A; Path=/{}; Domain={}", zeros(1024), zeros(1025));
        assert!(SetCookie::parse(long.as_bytes()).may_be_set_with(&SessionCookie::new("sid")));
    }

    #[test]
    fn two_fields_are_one_cookie_unless_a_browser_would_keep_both() {
        let may_replace = |one: &str, other: &str| {
            SetCookie::parse(one.as_bytes()).may_replace(&SetCookie::parse(other.as_bytes()))
        };
        for (one, other) in [
            ("sid=A", "sid=B"),
            ("sid=A; Path=/", "sid=B"),
            ("sid=A; Path=/", "sid=B; path=/ "),
            ("sid=A; Path=x", "sid=B; Path=/"),
            ("sid=A; Domain=.Example.com", "sid=B; domain=example.com"),
            ("sid=A", "=sid=B"),
            ("sid=A; Partitioned", "sid=B; partitioned=1"),
            ("sid=A; Path=/; Partitioned", "sid=B; PARTITIONED ; Path=/"),
        ] {
            assert!(may_replace(one, other) && may_replace(other, one), "{one} {other}");
        }
        for (one, other) in [
            ("sid=A", "SID=B"),
            ("sid=A; Path=/", "sid=B; Path=/x"),
            ("sid=A; Path=/", "sid=B; Path=/X; Path=/x"),
            ("sid=A", "sid=B; Domain=example.com"),
            ("sid=A", "sid=B; Partitioned"),
            ("sid=A; Path=/; Partitioned", "sid=B; Path=/"),
        ] {
            assert!(!may_replace(one, other) && !may_replace(other, one), "{one} {other}");
        }
    }
}

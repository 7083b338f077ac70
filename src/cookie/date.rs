//! Dates in cookies, as browsers read them: RFC 6265 §5.1.1.

use time::{Date, Month, OffsetDateTime, Time};

/// The date that this `Expires` names. What no browser can read is none.
pub(super) fn parse(text: &[u8]) -> Option<OffsetDateTime> {
    let (mut time, mut day, mut month, mut year) = (None, None, None, None);
    for token in text.split(|&byte| is_delimiter(byte)).filter(|token| !token.is_empty()) {
        // Each token is the first of these that it can be and that is still missing.
        if time.is_none() {
            time = read_time(token);
            if time.is_some() {
                continue;
            }
        }
        if day.is_none() {
            day = read_number(token, 1..=2);
            if day.is_some() {
                continue;
            }
        }
        if month.is_none() {
            month = read_month(token);
            if month.is_some() {
                continue;
            }
        }
        if year.is_none() {
            year = read_number(token, 2..=4);
        }
    }
    let year = match year? {
        year @ 0..=69 => year + 2000,
        year @ 70..=99 => year + 1900,
        year @ 1601.. => year,
        _ => return None,
    };
    let (hour, minute, second) = time?;
    let date = Date::from_calendar_date(i32::from(year), month?, u8::try_from(day?).ok()?).ok()?;
    Some(OffsetDateTime::new_utc(date, Time::from_hms(hour, minute, second).ok()?))
}

fn is_delimiter(byte: u8) -> bool {
    matches!(byte, b'\t' | b' '..=b'/' | b';'..=b'@' | b'['..=b'`' | b'{'..=b'~')
}

/// `h:m:s` with one or two digits each, and then anything but a digit.
fn read_time(token: &[u8]) -> Option<(u8, u8, u8)> {
    let mut fields = token.splitn(3, |&byte| byte == b':');
    let exactly = |field: &[u8]| {
        let all_digits = field.iter().all(u8::is_ascii_digit);
        all_digits.then(|| read_number(field, 1..=2)).flatten()
    };
    let hour = exactly(fields.next()?)?;
    let minute = exactly(fields.next()?)?;
    let second = read_number(fields.next()?, 1..=2)?;
    Some((u8::try_from(hour).ok()?, u8::try_from(minute).ok()?, u8::try_from(second).ok()?))
}

/// The number a token begins with, if it has this many digits.
fn read_number(token: &[u8], digits: std::ops::RangeInclusive<usize>) -> Option<u16> {
    let end = token.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(token.len());
    let number = digits.contains(&end).then(|| str::from_utf8(&token[..end]).ok())??;
    number.parse().ok()
}

/// Its first three letters, in any case.
fn read_month(token: &[u8]) -> Option<Month> {
    const NAMES: [&[u8; 3]; 12] =
        [b"jan", b"feb", b"mar", b"apr", b"may", b"jun", b"jul", b"aug", b"sep", b"oct", b"nov", b"dec"];
    let begin = token.get(..3)?;
    let index = NAMES.iter().position(|name| begin.eq_ignore_ascii_case(*name))?;
    Month::try_from(u8::try_from(index + 1).ok()?).ok()
}

//! Notices a session cookie that browsers drop while its user is active: the layer renews the session, and nobody the
//! cookie.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use cookie::Cookie;
use http::{HeaderMap, header::SET_COOKIE};

use crate::{clock::wall_clock, event::Operator};

/// No browser keeps a cookie longer (RFC 6265bis §5.6.1).
const LONGEST: Duration = Duration::from_secs(400 * 24 * 3600);

#[derive(Default)]
pub(crate) struct ShortCookie {
    /// How many seconds the application let a session cookie live, if that is less than a session may. Zero: it did not.
    lasts: AtomicU64,
    told: AtomicBool,
}

impl ShortCookie {
    /// An answer set the session cookie; sessions last at most so long.
    pub(crate) fn was_set(&self, name: &str, headers: &HeaderMap, absolute: Option<Duration>) {
        let cookies = headers.get_all(SET_COOKIE).iter().rev();
        let mut cookies = cookies.filter_map(|set| Cookie::parse(str::from_utf8(set.as_bytes()).ok()?).ok());
        let last = cookies.find(|cookie| cookie.name() == name);
        let Some(lasts) = last.as_ref().and_then(lifetime) else { return };
        if lasts < absolute.unwrap_or(LONGEST).min(LONGEST) {
            self.lasts.store(lasts.as_secs().max(1), Relaxed);
        }
    }

    /// An answer to an activity of a live session did not set it.
    pub(crate) fn was_not_set(&self, operator: &Operator) {
        let lasts = self.lasts.load(Relaxed);
        if lasts > 0 && !self.told.load(Relaxed) && !self.told.swap(true, Relaxed) {
            operator.warn(format!(
                "the application lets its session cookie live for {lasts} s, which is less than its sessions may, and does \
                 not set it again with each answer: browsers drop it while their users are active. Say `SessionCookie::sliding`, \
                 or set the cookie without `Max-Age` and `Expires`"
            ));
        }
    }
}

/// `None`: as long as the browser likes, or not at all.
fn lifetime(cookie: &Cookie<'_>) -> Option<Duration> {
    // RFC 6265bis §4.1.2.2: `Max-Age` has precedence.
    let lasts =
        cookie.max_age().or_else(|| cookie.expires_datetime().map(|expires| expires - wall_clock()))?;
    Duration::try_from(lasts).ok().filter(|lasts| !lasts.is_zero())
}

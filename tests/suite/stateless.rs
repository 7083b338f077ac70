//! Sessions that are left with their clients (T35–T46).
#![cfg(feature = "stateless")]
#![allow(clippy::unchecked_time_subtraction)] // of constants

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use crate::support::{ABSOLUTE, App, IDLE, get, header, post, set_cookie, set_cookies, slow, with};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use proptest::prelude::*;
use tower_session_timeout::{
    Clock, ConfigError, CookieChunks, Decision, EndReason, KeyError, Limits, Live, ManualClock, MemoryStore,
    NewSession, OwnerlessSessions, RequestHead, SameSite, SessionCookie, SessionEvent, SessionId,
    SessionTimeoutBuilder, SessionTimeoutLayer, Started, StatelessStore, Store,
    contract::{Access, Companion, Policy, RequestStore, Restarted, Rotated},
};

const K1: &str = "the first of two keys, 32 bytes!";
const K2: &str = "the second one, as long as this!";
const RECORD: &str = "__Host-sid-record";
const ACTIVITY: &str = "__Host-sid-activity";
const SECOND: Duration = Duration::from_secs(1);
/// A sixtieth of [`IDLE`].
const GRANULARITY: Duration = Duration::from_secs(15);

fn clock() -> ManualClock {
    let clock = ManualClock::new();
    clock.advance(Duration::from_secs(1_800_000_000));
    clock
}

fn builder(store: StatelessStore) -> SessionTimeoutBuilder {
    SessionTimeoutLayer::builder()
        .cookie(SessionCookie::new("sid").secure(true))
        .idle_timeout(IDLE)
        .absolute_timeout(ABSOLUTE)
        .login_path("/login")
        .logout_path("/logout")
        .public_paths(["/"])
        .passive_paths(["/poll"])
        .store(store)
}

fn around(builder: SessionTimeoutBuilder, clock: &ManualClock) -> App {
    App::around(builder.build().unwrap(), clock.clone(), Arc::new(MemoryStore::new()))
}

fn app_with(keys: &[&str], clock: &ManualClock, set: impl FnOnce(StatelessStore) -> StatelessStore) -> App {
    around(builder(set(StatelessStore::new(keys).unwrap().clock(clock.clone()))), clock)
}

fn app() -> App {
    app_with(&[K1], &clock(), |store| store)
}

/// Keeps cookies as a browser does.
#[derive(Clone, Default)]
struct Browser {
    cookies: BTreeMap<String, String>,
    over_plain_http: bool,
}

impl Browser {
    fn request(&self, mut request: Request<Full<Bytes>>) -> Request<Full<Bytes>> {
        for (name, value) in &self.cookies {
            request = with(request, "cookie", &format!("{name}={value}"));
        }
        request
    }

    fn keep(&mut self, response: &Response<Bytes>) {
        for set in set_cookies(response) {
            let (name, rest) = set.split_once('=').unwrap();
            let value = rest.split(';').next().unwrap();
            if rest.contains("Max-Age=0") {
                self.cookies.remove(name);
            } else if !(self.over_plain_http && rest.contains("; Secure")) {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
    }

    async fn send(&mut self, app: &App, request: Request<Full<Bytes>>) -> Response<Bytes> {
        let response = app.send(self.request(request)).await;
        self.keep(&response);
        response
    }

    async fn visit(&mut self, app: &App) -> StatusCode {
        self.send(app, get("/account", &[])).await.status()
    }

    async fn log_in(&mut self, app: &App, id: &str) {
        let login = with(set_cookie(post("/login"), &format!("sid={id}")), "x-login", "alice");
        assert_eq!(self.send(app, login).await.status(), StatusCode::OK);
    }

    async fn logged_in(app: &App, id: &str) -> Self {
        let mut browser = Self::default();
        browser.log_in(app, id).await;
        browser
    }

    fn holding(pairs: &[(&str, &str)]) -> Self {
        let cookies = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Self { cookies: cookies.collect(), over_plain_http: false }
    }
}

const OK: StatusCode = StatusCode::OK;
const OVER: StatusCode = StatusCode::UNAUTHORIZED;

#[tokio::test]
async fn a_log_in_that_is_recognized_begins_the_record_anew_under_a_new_id_alone() {
    let clock = clock();
    let store = StatelessStore::new([K1]).unwrap().clock(clock.clone());
    let is_login = |request: &RequestHead<'_>, _: &Response<()>| request.path() == "/login";
    let app = around(builder(store).fresh_login(is_login), &clock);
    let mut browser = Browser::logged_in(&app, "A").await;
    let step = IDLE / 2;
    let mut age = Duration::ZERO;
    while age + step < ABSOLUTE {
        app.advance(step);
        age += step;
        browser.send(&app, set_cookie(post("/login"), "sid=A")).await;
        assert_eq!(browser.visit(&app).await, StatusCode::OK, "{age:?}");
    }
    let redirected = browser.clone();
    browser.send(&app, set_cookie(post("/login"), "sid=B")).await;
    app.advance(step);
    assert_eq!(browser.visit(&app).await, StatusCode::OK, "a new id");
    assert_eq!({ redirected }.visit(&app).await, StatusCode::UNAUTHORIZED, "the same id");
}

#[tokio::test]
async fn a_session_lives_while_it_is_used_and_ends_at_both_limits() {
    let app = app();
    let mut browser = Browser::logged_in(&app, "A").await;
    let names: Vec<_> = browser.cookies.keys().cloned().collect();
    assert_eq!(names, [RECORD, "sid"]);
    let response = browser.send(&app, get("/account", &[])).await;
    assert_eq!(header(&response, "x-session"), "alice");
    assert!(set_cookies(&response).is_empty(), "nothing moved by the granularity");
    for _ in 0..32 {
        app.advance(IDLE - SECOND);
        assert_eq!(browser.visit(&app).await, OK);
    }
    app.advance(32 * SECOND - Duration::from_millis(1));
    assert_eq!(browser.visit(&app).await, OK);
    app.advance(Duration::from_millis(1));
    let over = browser.send(&app, get("/account", &[])).await;
    assert_eq!((over.status(), header(&over, "session-ended")), (OVER, "absolute"));

    let mut idle = Browser::logged_in(&app, "B").await;
    app.advance(IDLE);
    let over = idle.send(&app, get("/account", &[])).await;
    assert_eq!((over.status(), header(&over, "session-ended")), (OVER, "idle"));
}

#[tokio::test]
async fn processes_that_share_the_keys_share_the_sessions() {
    let clock = clock();
    let [one, other] = [0, 1].map(|_| app_with(&[K1], &clock, |store| store));
    let mut browser = Browser::logged_in(&one, "A").await;
    for _ in 0..10 {
        clock.advance(IDLE - GRANULARITY);
        assert_eq!(browser.visit(&other).await, OK);
        clock.advance(IDLE - GRANULARITY);
        assert_eq!(browser.visit(&one).await, OK);
    }
    let stranger = app_with(&[K2], &clock, |store| store);
    assert_eq!(browser.visit(&stranger).await, OVER);
}

#[tokio::test]
async fn a_companion_is_private_http_only_and_short() {
    let app = app();
    let login = with(set_cookie(post("/login"), "sid=A"), "x-login", "0b5c7a3e-8a5b-4b6e-9a55-f6c2b1d7e901");
    let response = app.send(login).await;
    let cookies = set_cookies(&response);
    assert_eq!(cookies.len(), 2);
    assert!(cookies[1].starts_with("__Host-sid-record="), "{cookies:?}");
    assert!(cookies[1].ends_with("; HttpOnly; SameSite=Lax; Secure; Path=/"), "{cookies:?}");
    assert!(cookies[1].len() < 250, "{}", cookies[1].len());
    assert_eq!(header(&response, "cache-control"), "private");
    assert_eq!(header(&response, "vary"), "cookie");
    let mut browser = Browser::logged_in(&app, "A").await;
    app.advance(GRANULARITY);
    let response = browser.send(&app, get("/account", &[])).await;
    assert!(set_cookies(&response)[0].starts_with("__Host-sid-activity="), "{response:?}");
    assert_eq!(header(&response, "cache-control"), "private");
    assert_eq!(header(&response, "vary"), "cookie");
}

#[tokio::test]
async fn companions_follow_the_session_cookies_attributes() {
    let names = async |cookie: SessionCookie, name: &str| {
        let clock = clock();
        let store = StatelessStore::new([K1]).unwrap().clock(clock.clone());
        let app = around(builder(store).cookie(cookie), &clock);
        let response = app.send(set_cookie(post("/login"), &format!("{name}=A"))).await;
        set_cookies(&response)[1].split_once('=').map(|(name, rest)| {
            let (_, attributes) = rest.split_once(';').unwrap();
            format!("{name};{attributes}")
        })
    };
    let expect = async |cookie: SessionCookie, name, expected: &str| {
        assert_eq!(names(cookie, name).await.as_deref(), Some(expected));
    };
    let cookie = || SessionCookie::new("sid");
    expect(cookie(), "sid", "sid-record; HttpOnly; SameSite=Lax; Path=/").await;
    expect("__Host-sid".into(), "__Host-sid", "__Host-sid-record; HttpOnly; SameSite=Lax; Secure; Path=/")
        .await;
    expect(
        cookie().secure(true).path("/app").same_site(SameSite::Strict).http_only(false),
        "sid",
        "__Secure-sid-record; HttpOnly; SameSite=Strict; Secure; Path=/app",
    )
    .await;
    expect(
        cookie().domain("example.com").max_age(SECOND),
        "sid",
        "sid-record; HttpOnly; SameSite=Lax; Path=/; Domain=example.com; Max-Age=28800",
    )
    .await;
}

/// Auth.js reads what begins with its session cookie's name as a part of the session.
#[tokio::test]
async fn no_companions_name_begins_with_the_session_cookie_of_auth_js() {
    for name in ["authjs.session-token", "__Secure-authjs.session-token"] {
        for chunks in [None, Some(CookieChunks::AuthJs)] {
            let clock = clock();
            let cookie = chunks.into_iter().fold(SessionCookie::new(name), SessionCookie::chunks);
            let builder = builder(StatelessStore::new([K1]).unwrap().clock(clock.clone())).cookie(cookie);
            let app = around(builder, &clock);
            let login = app.send(set_cookie(post("/login"), &format!("{name}=A"))).await;
            let cookies = set_cookies(&login);
            assert_eq!(cookies.len(), 2, "{cookies:?}");
            assert!(cookies[0].starts_with(name) && !cookies[1].starts_with(name), "{cookies:?}");
            let pairs: Vec<&str> = cookies.iter().map(|cookie| cookie.split(';').next().unwrap()).collect();
            let visit = app.send(get("/account", &[("cookie", &pairs.join("; "))])).await;
            assert_eq!(visit.status(), StatusCode::OK);
            assert_eq!(String::from_utf8_lossy(visit.body()), pairs.join("; "));
        }
    }
}

#[tokio::test]
async fn t35_without_its_record_a_session_is_over() {
    let app = app();
    let mut browser = Browser::logged_in(&app, "A").await;
    app.advance(GRANULARITY);
    assert_eq!(browser.visit(&app).await, OK);
    app.advance(IDLE);
    assert_eq!(browser.clone().visit(&app).await, OVER);
    browser.cookies.remove(RECORD);
    assert_eq!(browser.clone().visit(&app).await, OVER, "with the activity alone");
    browser.cookies.remove(ACTIVITY);
    assert_eq!(browser.visit(&app).await, OVER);
    assert_eq!(Browser::holding(&[("sid", "made-up")]).visit(&app).await, OVER);
}

/// Leaving out the newest activity makes a session older, never younger.
#[tokio::test]
async fn t35_without_its_activity_a_session_counts_from_its_start() {
    let app = app();
    let mut browser = Browser::logged_in(&app, "A").await;
    app.advance(IDLE - SECOND);
    assert_eq!(browser.visit(&app).await, OK);
    app.advance(SECOND);
    assert_eq!(browser.clone().visit(&app).await, OK);
    browser.cookies.remove(ACTIVITY);
    assert_eq!(browser.visit(&app).await, OVER);
}

#[tokio::test]
async fn t36_a_record_says_nothing_of_another_id() {
    let app = app();
    let stolen = Browser::logged_in(&app, "X").await;
    app.advance(IDLE);
    let mut own = Browser::logged_in(&app, "A").await;
    app.advance(GRANULARITY);
    assert_eq!(own.visit(&app).await, OK);
    let (record, activity) = (&own.cookies[RECORD], &own.cookies[ACTIVITY]);
    let swapped = [("sid", "X"), (RECORD, record), (ACTIVITY, activity)];
    assert_eq!(Browser::holding(&swapped).visit(&app).await, OVER);
    let mixed = [("sid", "X"), (RECORD, &stolen.cookies[RECORD]), (ACTIVITY, activity)];
    assert_eq!(Browser::holding(&mixed).visit(&app).await, OVER);
}

/// Not even in an application whose session cookie has another name.
#[tokio::test]
async fn t36_a_record_says_nothing_of_another_cookie() {
    let clock = clock();
    let shop = app_with(&[K1], &clock, |store| store);
    let store = StatelessStore::new([K1]).unwrap().clock(clock.clone());
    let admin = around(builder(store).cookie("admin"), &clock);
    let customer = Browser::logged_in(&shop, "A").await;
    let forged = [("admin", "A"), ("__Host-admin-record", customer.cookies[RECORD].as_str())];
    assert_eq!(Browser::holding(&forged).visit(&admin).await, OVER);
    let store = StatelessStore::new([K1]).unwrap().clock(clock.clone());
    let shorter = around(builder(store).cookie("si"), &clock);
    let forged = [("si", "dA"), ("__Host-si-record", customer.cookies[RECORD].as_str())];
    assert_eq!(
        Browser::holding(&forged).visit(&shorter).await,
        OVER,
        "nor where both together read the same"
    );
}

#[tokio::test]
async fn t37_an_old_companion_counts_by_its_own_stamp() {
    let app = app();
    let minute = 60 * SECOND;
    let mut browser = Browser::logged_in(&app, "A").await;
    let old = browser.clone();
    app.advance(10 * minute);
    assert_eq!(browser.visit(&app).await, OK);
    app.advance(4 * minute);
    assert_eq!(old.clone().visit(&app).await, OK);
    app.advance(2 * minute);
    assert_eq!(old.clone().visit(&app).await, OVER, "16 minutes");
    assert_eq!(browser.visit(&app).await, OK);
    let mut renewed_late = old;
    renewed_late.cookies.insert(ACTIVITY.to_owned(), browser.cookies[ACTIVITY].clone());
    app.advance(ABSOLUTE - 16 * minute);
    let over = renewed_late.send(&app, get("/account", &[])).await;
    assert_eq!(over.status(), OVER, "and the start is kept");
}

#[tokio::test]
async fn t38_a_log_out_empties_the_browser_and_does_not_reach_copies() {
    let app = app();
    let mut browser = Browser::logged_in(&app, "A").await;
    app.advance(GRANULARITY);
    assert_eq!(browser.visit(&app).await, OK);
    let mut copy = browser.clone();
    assert_eq!(browser.send(&app, post("/logout")).await.status(), OK);
    assert!(browser.cookies.is_empty(), "{:?}", browser.cookies);
    assert_eq!(copy.visit(&app).await, OK, "as documented");
    app.advance(IDLE);
    assert_eq!(copy.visit(&app).await, OVER);
}

#[tokio::test]
async fn t38_the_application_says_from_when_on_sessions_count() {
    let signed_out = Arc::new(Mutex::new(None::<SystemTime>));
    let not_before = Arc::clone(&signed_out);
    let clock = clock();
    let app = app_with(&[K1], &clock, |store| {
        store.not_before(move |owner| {
            assert_eq!(owner.unwrap().as_str(), "alice");
            *not_before.lock().unwrap()
        })
    });
    let mut browser = Browser::logged_in(&app, "A").await;
    app.advance(SECOND);
    assert_eq!(browser.visit(&app).await, OK);
    *signed_out.lock().unwrap() = Some(UNIX_EPOCH + Duration::from_secs(1_800_000_001));
    let over = browser.clone().send(&app, get("/account", &[])).await;
    assert_eq!((over.status(), header(&over, "session-ended")), (OVER, "revoked"));
    let mut again = Browser::logged_in(&app, "B").await;
    assert_eq!(again.visit(&app).await, OK);

    let mut used_since = again.clone();
    app.advance(GRANULARITY);
    used_since.send(&app, set_cookie(get("/account", &[]), "sid=C")).await;
    assert_eq!((used_since.visit(&app).await, &*used_since.cookies["sid"]), (OK, "C"));
    *signed_out.lock().unwrap() = Some(UNIX_EPOCH + clock.now());
    assert_eq!(used_since.visit(&app).await, OVER, "neither use nor a new id makes it a later one");
}

#[tokio::test]
async fn an_end_by_the_application_or_a_removed_cookie_empties_the_browser() {
    let app = app();
    let mut browser = Browser::logged_in(&app, "A").await;
    let response = browser.send(&app, with(get("/account", &[]), "x-say", "end")).await;
    assert!(set_cookies(&response).iter().all(|cookie| cookie.contains("Max-Age=0")), "{response:?}");
    assert_eq!(browser.visit(&app).await, OVER);

    let mut browser = Browser::logged_in(&app, "A").await;
    browser.send(&app, set_cookie(get("/account", &[]), "sid=; Max-Age=0")).await;
    assert!(browser.cookies.is_empty(), "{:?}", browser.cookies);
}

#[tokio::test]
async fn t39_whatever_is_changed_is_refused() {
    let app = app();
    let mut browser = Browser::logged_in(&app, "A").await;
    let record = browser.cookies[RECORD].clone();
    app.advance(IDLE - SECOND);
    assert_eq!(browser.visit(&app).await, OK);
    // The record alone is over by now, so a forged activity would show.
    app.advance(2 * SECOND);
    let activity = browser.cookies[ACTIVITY].clone();
    let changes = |value: &str| {
        let mut changed = vec![
            String::new(),
            format!("{value}A"),
            format!("{value}AAAA"),
            format!("{value}="),
            format!("A{value}"),
            value.repeat(2),
        ];
        changed.extend((0..value.len()).map(|end| value[..end].to_owned()));
        changed.extend((1..value.len()).map(|start| value[start..].to_owned()));
        for (at, bit) in (0..value.len()).flat_map(|at| (0..7).map(move |bit| (at, bit))) {
            let mut bytes = value.as_bytes().to_vec();
            bytes[at] ^= 1 << bit;
            let changed_byte = bytes[at];
            if changed_byte.is_ascii_graphic() && changed_byte != b';' {
                changed.push(String::from_utf8(bytes).unwrap());
            }
        }
        changed
    };
    for changed in changes(&activity).iter().chain([&record]) {
        let forged = [("sid", "A"), (RECORD, record.as_str()), (ACTIVITY, changed)];
        assert_eq!(Browser::holding(&forged).visit(&app).await, OVER, "{changed}");
    }
    for changed in changes(&record).iter().chain([&activity]) {
        let forged = [("sid", "A"), (RECORD, changed.as_str()), (ACTIVITY, activity.as_str())];
        assert_eq!(Browser::holding(&forged).visit(&app).await, OVER, "{changed}");
    }
    assert_eq!(browser.visit(&app).await, OK);
}

#[tokio::test]
async fn t40_nothing_unsigned_is_read() {
    let app = app();
    let unsigned =
        ["A", "1", "1800000000", "{\"started\":1800000000000}", "A.1800000000", "AQ", "%41", "\"A\""];
    for value in unsigned {
        let forged = [("sid", "A"), (RECORD, value), (ACTIVITY, value)];
        assert_eq!(Browser::holding(&forged).visit(&app).await, OVER, "{value}");
    }
}

#[tokio::test]
async fn a_stamp_from_a_clock_too_far_ahead_is_refused() {
    let (behind, ahead) = (clock(), clock());
    let (here, there) = (app_with(&[K1], &behind, |s| s), app_with(&[K1], &ahead, |s| s));
    ahead.advance(30 * SECOND);
    assert_eq!(Browser::logged_in(&there, "A").await.visit(&here).await, OK);
    ahead.advance(Duration::from_millis(1));
    assert_eq!(Browser::logged_in(&there, "A").await.visit(&here).await, OVER);

    // Nor does it prolong a session that began here.
    let mut browser = Browser::logged_in(&here, "B").await;
    for path in ["/account", "/poll"] {
        let mut rotated = browser.clone();
        rotated.send(&there, set_cookie(get(path, &[]), "sid=C")).await;
        assert_eq!(rotated.cookies["sid"], "C");
        assert_eq!(rotated.visit(&here).await, OVER, "{path}");
    }
    ahead.advance(IDLE / 2);
    assert_eq!(browser.visit(&there).await, OK);
    assert!(browser.cookies.contains_key(ACTIVITY));
    behind.advance(GRANULARITY);
    assert_eq!(browser.visit(&here).await, OK);
    behind.advance(IDLE);
    assert_eq!(browser.visit(&here).await, OVER);
}

#[cfg(feature = "client")]
#[tokio::test]
async fn t41_a_page_cannot_say_that_it_was_active_later_than_now() {
    let clock = clock();
    let store = StatelessStore::new([K1]).unwrap().clock(clock.clone());
    let app = around(builder(store).client_endpoints("/_t"), &clock);
    let mut browser = Browser::logged_in(&app, "A").await;
    let keep_alive = |ago: &str| {
        let request = with(post("/_t/keep-alive"), "sec-fetch-site", "same-origin");
        with(request, "session-idle-for", ago)
    };
    app.advance(600 * SECOND);
    let status = browser.send(&app, get("/_t/status", &[])).await;
    assert!(set_cookies(&status).is_empty(), "a status renews nothing");
    for nonsense in ["-1", "NaN", "1e3", "9007199254740993000000"] {
        let response = browser.send(&app, keep_alive(nonsense)).await;
        assert_eq!((response.status(), set_cookies(&response).len()), (StatusCode::BAD_REQUEST, 0));
    }
    let long_ago = browser.send(&app, keep_alive("9000000000000000")).await;
    assert!(set_cookies(&long_ago).is_empty());
    let response = browser.send(&app, keep_alive("60000")).await;
    let body = String::from_utf8_lossy(response.body()).into_owned();
    assert!(body.contains("\"expires_in_ms\":840000"), "{body}");
    assert!(set_cookies(&response)[0].starts_with("__Host-sid-activity="));
    app.advance(840 * SECOND - SECOND);
    assert_eq!(browser.clone().send(&app, with(get("/poll", &[]), "x", "y")).await.status(), OK);
    app.advance(SECOND);
    assert_eq!(browser.visit(&app).await, OVER);
    let mut browser = Browser::logged_in(&app, "B").await;
    let sign_out = with(post("/_t/sign-out"), "sec-fetch-site", "same-origin");
    assert_eq!(browser.send(&app, sign_out).await.status(), OK);
    assert!(browser.cookies.is_empty(), "{:?}", browser.cookies);
}

#[tokio::test]
async fn t42_a_previous_key_is_accepted_and_replaced_with_the_next_renewal() {
    let clock = clock();
    let [old, both, new] = [&[K1][..], &[K2, K1], &[K2]].map(|keys| app_with(keys, &clock, |store| store));
    let mut browser = Browser::logged_in(&old, "A").await;
    assert_eq!(browser.clone().visit(&new).await, OVER);
    let passive = browser.send(&both, get("/poll", &[])).await;
    assert!(passive.status() == OK && set_cookies(&passive).is_empty());
    clock.advance(SECOND);
    assert_eq!(browser.visit(&both).await, OK);
    assert_eq!(browser.clone().visit(&old).await, OVER, "the first key signs");
    clock.advance(IDLE - SECOND);
    assert_eq!(browser.visit(&new).await, OK);
    for _ in 0..31 {
        clock.advance(IDLE - SECOND);
        assert_eq!(browser.visit(&new).await, OK);
    }
    clock.advance(ABSOLUTE - IDLE - 31 * (IDLE - SECOND) - SECOND);
    assert_eq!(browser.visit(&new).await, OK);
    clock.advance(SECOND);
    assert_eq!(browser.visit(&new).await, OVER, "the start was kept");
}

/// As while processes that sign with different keys take turns.
#[tokio::test]
async fn t42_what_any_previous_key_signed_is_replaced() {
    let clock = clock();
    let other = "the third of two keys, 32 bytes!";
    let [old, new] = [&[K1, K2][..], &[K2, other, K1]].map(|keys| app_with(keys, &clock, |store| store));
    let mut browser = Browser::logged_in(&new, "A").await;
    clock.advance(GRANULARITY);
    let mut elsewhere = browser.clone();
    assert_eq!(elsewhere.visit(&old).await, OK);
    browser.cookies.insert(ACTIVITY.to_owned(), elsewhere.cookies[ACTIVITY].clone());
    assert_eq!(browser.visit(&new).await, OK);
    clock.advance(IDLE - SECOND);
    let without_the_old_key = app_with(&[K2], &clock, |store| store);
    assert_eq!(browser.visit(&without_the_old_key).await, OK);
    assert_eq!(Browser::logged_in(&old, "B").await.visit(&new).await, OK, "with the last of three keys");
}

#[cfg(feature = "client")]
#[tokio::test]
async fn t42_signing_anew_moves_no_activity_back() {
    let clock = clock();
    let app = |keys: &[&str]| {
        let store = StatelessStore::new(keys).unwrap().clock(clock.clone());
        around(builder(store).client_endpoints("/_t"), &clock)
    };
    let (old, new) = (app(&[K1]), app(&[K2, K1]));
    let mut browser = Browser::logged_in(&old, "A").await;
    clock.advance(600 * SECOND);
    assert_eq!(browser.visit(&old).await, OK);
    let request = with(post("/_t/keep-alive"), "sec-fetch-site", "same-origin");
    let response = browser.send(&new, with(request, "session-idle-for", "500000")).await;
    assert_eq!(set_cookies(&response).len(), 2);
    let body = String::from_utf8_lossy(response.body()).into_owned();
    assert!(body.contains("\"expires_in_ms\":900000"), "{body}");
}

#[cfg(feature = "client")]
#[tokio::test]
async fn what_is_not_left_with_the_client_is_not_promised() {
    let clock = clock();
    let store = StatelessStore::new([K1]).unwrap().clock(clock.clone());
    let app = around(builder(store).client_endpoints("/_t"), &clock);
    let mut browser = Browser::logged_in(&app, "A").await;
    for (passes, left) in [(GRANULARITY - SECOND, IDLE - GRANULARITY + SECOND), (SECOND, IDLE)] {
        app.advance(passes);
        let response = browser.send(&app, get("/account", &[])).await;
        let told = format!("remaining={}, ", left.as_secs());
        assert!(header(&response, "session-timeout").starts_with(&told), "{response:?}");
    }
}

#[tokio::test]
async fn the_granularity_is_a_minute_at_most() {
    let clock = clock();
    let store = StatelessStore::new([K1]).unwrap().clock(clock.clone());
    let app = around(builder(store).idle_timeout(8 * IDLE), &clock);
    let mut browser = Browser::logged_in(&app, "A").await;
    for (passes, sets) in [(59 * SECOND, 0), (SECOND, 1)] {
        app.advance(passes);
        assert_eq!(set_cookies(&browser.send(&app, get("/account", &[])).await).len(), sets);
    }
}

/// Which a browser sends back where they were set for several paths.
#[tokio::test]
async fn of_several_records_of_an_id_the_newest_counts() {
    let clock = clock();
    let [old, new] = [&[K1][..], &[K2, K1]].map(|keys| app_with(keys, &clock, |store| store));
    let first = Browser::logged_in(&old, "A").await;
    let mut signed_anew = first.clone();
    clock.advance(IDLE - SECOND);
    assert_eq!(signed_anew.visit(&new).await, OK);
    let both = async |one: &Browser, other: &Browser| {
        let request = with(get("/account", &[]), "cookie", "sid=A");
        let request = with(request, "cookie", &format!("{RECORD}={}", one.cookies[RECORD]));
        new.send(with(request, "cookie", &format!("{RECORD}={}", other.cookies[RECORD]))).await.status()
    };
    clock.advance(SECOND);
    assert_eq!((both(&first, &signed_anew).await, both(&signed_anew, &first).await), (OK, OK));
    clock.advance(IDLE);
    let again = Browser::logged_in(&new, "A").await;
    assert_eq!((both(&signed_anew, &again).await, both(&again, &signed_anew).await), (OK, OK));
}

#[test]
fn t43_weak_keys_are_refused() {
    let refused = |keys: &[&[u8]]| StatelessStore::new(keys).unwrap_err();
    assert_eq!(refused(&[]), KeyError::NoKey);
    assert_eq!(refused(&[b"short"]), KeyError::TooShort { index: 0, bytes: 5 });
    assert_eq!(refused(&[K1.as_bytes(), &[1; 31]]), KeyError::TooShort { index: 1, bytes: 31 });
    assert_eq!(refused(&[K1.as_bytes(), &[0; 64]]), KeyError::AllBytesEqual { index: 1 });
    assert_eq!(refused(&[&[b'x'; 32]]), KeyError::AllBytesEqual { index: 0 });
    let shown = refused(&[b"hunter2"]).to_string();
    assert!(shown.contains("7 bytes") && !shown.contains("hunter2"), "{shown}");
    let store = StatelessStore::new([K1]).unwrap();
    assert!(!format!("{store:?}").contains("first"), "{store:?}");
}

#[tokio::test]
async fn t44_a_late_answer_is_activity_and_moves_no_stamp_back() {
    let app = app();
    let mut browser = Browser::logged_in(&app, "A").await;
    app.advance(GRANULARITY);
    let late = app.send_slow(slow(browser.request(get("/account", &[])))).await;
    app.advance(60 * SECOND);
    assert_eq!(browser.visit(&app).await, OK);
    app.release();
    browser.keep(&late.await.unwrap());
    app.advance(IDLE - Duration::from_millis(1));
    assert_eq!(browser.clone().send(&app, get("/poll", &[])).await.status(), OK, "since it was answered");
    app.advance(Duration::from_millis(1));
    assert_eq!(browser.visit(&app).await, OVER);
}

#[tokio::test]
async fn t44_what_renews_nothing_sets_nothing() {
    let clock = clock();
    let store = StatelessStore::new([K1]).unwrap().clock(clock.clone());
    let admin = Limits::new(SECOND, SECOND);
    let limits_for =
        move |head: &tower_session_timeout::RequestHead<'_>| (head.path() == "/admin").then_some(admin);
    let app = around(builder(store).limits_for(limits_for), &clock);
    let mut browser = Browser::logged_in(&app, "A").await;
    app.advance(GRANULARITY);
    for (path, status) in [("/poll", OK), ("/admin", OVER)] {
        let response = browser.send(&app, get(path, &[])).await;
        assert_eq!((response.status(), set_cookies(&response).len()), (status, 0), "{path}");
    }
    app.advance(IDLE);
    let over = browser.send(&app, get("/account", &[])).await;
    assert_eq!((over.status(), set_cookies(&over).len()), (OVER, 0));
}

/// The late answer to an old id must not log the user out of the new one.
#[tokio::test]
async fn t44_a_late_answer_to_an_old_id_leaves_the_new_one_alone() {
    let app = app();
    let mut browser = Browser::logged_in(&app, "A").await;
    app.advance(GRANULARITY);
    let late = app.send_slow(slow(browser.request(get("/account", &[])))).await;
    browser.send(&app, set_cookie(get("/account", &[]), "sid=B")).await;
    app.release();
    let late = late.await.unwrap();
    assert_eq!(set_cookies(&late).len(), 1);
    browser.keep(&late);
    assert_eq!(browser.cookies["sid"], "B");
    assert_eq!(browser.visit(&app).await, OK);

    // Nor, after a log-out, out of a new session.
    app.advance(GRANULARITY);
    let late = app.send_slow(slow(browser.request(get("/account", &[])))).await;
    browser.send(&app, post("/logout")).await;
    browser.log_in(&app, "C").await;
    app.release();
    browser.keep(&late.await.unwrap());
    assert_eq!(browser.visit(&app).await, OK);
    browser.cookies.remove("sid");
    browser.cookies.insert("sid".to_owned(), "B".to_owned());
    assert_eq!(browser.visit(&app).await, OVER, "and restores nothing");
}

#[tokio::test]
async fn t45_other_cookies_are_left_alone_and_our_own_is_set_once() {
    let app = app();
    let mut browser = Browser::logged_in(&app, "A").await;
    app.advance(GRANULARITY);
    let request = set_cookie(set_cookie(get("/account", &[]), "theme=dark"), "lang=en; Path=/");
    let response = browser.send(&app, set_cookie(request, &format!("{ACTIVITY}=theirs"))).await;
    let cookies = set_cookies(&response);
    assert_eq!(cookies.len(), 3, "{cookies:?}");
    assert_eq!(cookies[..2], ["theme=dark", "lang=en; Path=/"]);
    assert!(cookies[2].starts_with(ACTIVITY) && !cookies[2].contains("theirs"));
    assert_eq!(browser.visit(&app).await, OK);
}

#[cfg(feature = "tracing")]
#[tokio::test]
async fn t46_over_plain_http_the_log_says_what_to_change() {
    let (log, _guard) = crate::support::log::Log::listen();
    let app = app();
    let mut browser = Browser { over_plain_http: true, ..Browser::default() };
    browser.log_in(&app, "A").await;
    for _ in 0..3 {
        assert_eq!(browser.visit(&app).await, OVER);
    }
    assert_eq!(log.lines_with("plain http"), 1, "{}", log.text());
    assert_eq!(log.lines_with("secure(false)"), 1, "{}", log.text());
}

#[tokio::test]
async fn t46_without_secure_it_works_over_plain_http() {
    let clock = clock();
    let store = StatelessStore::new([K1]).unwrap().clock(clock.clone());
    let app = around(builder(store).cookie("sid"), &clock);
    let mut browser = Browser { over_plain_http: true, ..Browser::default() };
    browser.log_in(&app, "A").await;
    assert_eq!(browser.visit(&app).await, OK);
}

#[tokio::test]
async fn a_rotation_keeps_the_start_and_the_old_id_works_on() {
    let app = app();
    let mut browser = Browser::logged_in(&app, "A").await;
    app.advance(SECOND);
    let old = browser.clone();
    let response = browser.send(&app, set_cookie(get("/account", &[]), "sid=B")).await;
    assert_eq!(header(&response, "x-session"), "alice");
    let tag = header(&response, "x-tag").to_owned();
    let response = browser.send(&app, get("/account", &[])).await;
    assert_eq!((header(&response, "x-tag"), header(&response, "x-session")), (&*tag, "alice"));
    app.advance(120 * SECOND);
    assert_eq!(old.clone().visit(&app).await, OK, "as documented");
    for _ in 0..40 {
        app.advance(IDLE - 2 * GRANULARITY);
        browser.visit(&app).await;
    }
    let over = browser.send(&app, get("/account", &[])).await;
    assert_eq!(over.status(), OVER);
}

#[tokio::test]
async fn an_answer_later_than_the_session_issues_no_new_id() {
    let app = app();
    let mut browser = Browser::logged_in(&app, "A").await;
    let late = app.send_slow(slow(browser.request(set_cookie(get("/account", &[]), "sid=B")))).await;
    app.advance(IDLE);
    app.release();
    let late = late.await.unwrap();
    assert!(set_cookies(&late).is_empty(), "{late:?}");
    browser.keep(&late);
    assert_eq!(browser.visit(&app).await, OVER);
}

#[tokio::test]
async fn whoever_proves_anew_who_they_are_begins_both_clocks_anew() {
    let app = app();
    let mut browser = Browser::logged_in(&app, "A").await;
    for _ in 0..20 {
        app.advance(IDLE - GRANULARITY);
        assert_eq!(browser.visit(&app).await, OK);
    }
    browser.send(&app, with(get("/account", &[]), "x-say", "reauthenticated")).await;
    for _ in 0..31 {
        app.advance(IDLE - GRANULARITY);
        assert_eq!(browser.visit(&app).await, OK);
    }
    let mut over = OK;
    for _ in 0..2 {
        app.advance(IDLE - GRANULARITY);
        over = browser.visit(&app).await;
    }
    assert_eq!(over, OVER);
}

#[tokio::test]
async fn who_does_so_in_a_passive_request_was_active_all_the_same() {
    let app = app();
    let mut browser = Browser::logged_in(&app, "A").await;
    app.advance(IDLE - SECOND);
    browser.send(&app, with(get("/poll", &[]), "x-say", "reauthenticated")).await;
    app.advance(IDLE - SECOND);
    assert_eq!(browser.visit(&app).await, OK);
}

#[tokio::test]
async fn the_age_of_an_id_counts_from_the_answer_that_set_it() {
    let clock = clock();
    let store = StatelessStore::new([K1]).unwrap().clock(clock.clone());
    let app = around(builder(store).rotate_after(60 * SECOND), &clock);
    let mut browser = Browser::logged_in(&app, "A").await;
    app.advance(60 * SECOND);
    let response = browser.send(&app, set_cookie(get("/account", &[]), "sid=B")).await;
    assert_eq!(header(&response, "x-rotation-due"), "true");
    for (passes, due) in [(59 * SECOND, "false"), (SECOND, "true")] {
        app.advance(passes);
        let response = browser.send(&app, get("/account", &[])).await;
        assert_eq!(header(&response, "x-rotation-due"), due);
    }
}

/// One request's view of a session that nobody has told of before.
fn asked(store: &StatelessStore, received: Vec<Companion>) -> Arc<dyn RequestStore> {
    store.for_request("sid", received).unwrap()
}

fn policy() -> Policy {
    Policy::new(Limits::new(IDLE, ABSOLUTE))
}

async fn live(request: &Arc<dyn RequestStore>, id: &str) -> Result<Live, EndReason> {
    match request.check(&SessionId::from(id), &policy(), Access::Renew).await.unwrap() {
        Decision::Live(live) => Ok(live),
        Decision::Ended { reason, .. } | Decision::Capped(reason) => Err(reason),
    }
}

async fn begin(request: &Arc<dyn RequestStore>, id: &str, new: &NewSession) -> Started {
    request.start(&SessionId::from(id), new, &policy()).await.unwrap()
}

#[tokio::test]
async fn within_a_request_the_store_keeps_its_contract() {
    let clock = clock();
    let store = StatelessStore::new([K1]).unwrap().clock(clock.clone());
    let request = asked(&store, Vec::new());
    let Started::New(key) = begin(&request, "A", &NewSession::new()).await else { panic!("a new id") };
    let Started::New(other) = begin(&request, "X", &NewSession::new()).await else { panic!("a new id") };
    assert_ne!(key, other);
    let again = begin(&request, "A", &NewSession::new().owner("somebody else")).await;
    assert_eq!(again, Started::AlreadyLive(key));
    let (a, x) = (live(&request, "A").await.unwrap(), live(&request, "X").await.unwrap());
    assert_eq!(a.owner, None);
    let left = |set| {
        let left = request.left(set, &policy()).unwrap();
        left.into_iter().map(|left| left.value).collect::<Vec<_>>()
    };
    assert_eq!(
        left(None),
        left(Some(&SessionId::from("X"))),
        "what is checked last is what the client keeps"
    );

    let rotate = async |session, to: &str, presented| {
        request.rotate(session, &SessionId::from(to), presented, &policy()).await.unwrap()
    };
    assert_eq!(rotate(key, "B", x.presented).await, Rotated::Refused, "by an id of another session");
    assert_eq!(rotate(other, "B", a.presented).await, Rotated::Refused);
    assert_eq!(rotate(key, "B", a.presented).await, Rotated::New);
    assert_eq!(rotate(key, "B", a.presented).await, Rotated::AlreadyLive);
    assert_eq!(rotate(key, "X", a.presented).await, Rotated::AlreadyLive);
    assert_eq!(live(&request, "X").await.unwrap().key, other, "it was not taken over");

    assert!(request.end(key, EndReason::SignedOut).await.unwrap());
    for id in ["A", "B"] {
        assert_eq!(live(&request, id).await.unwrap_err(), EndReason::SignedOut, "{id}");
    }
    assert!(!request.end(key, EndReason::Revoked).await.unwrap(), "it ends once");
    assert_ne!(request.restart(key, &NewSession::new(), &policy()).await.unwrap(), Restarted::Done);
    assert!(live(&request, "X").await.is_ok());
    clock.advance(SECOND);
    let again = begin(&request, "A", &NewSession::new()).await;
    assert!(matches!(again, Started::New(new) if new != key), "another session: {again:?}");
}

#[tokio::test]
async fn what_timed_out_is_not_restarted() {
    let clock = clock();
    let store = StatelessStore::new([K1]).unwrap().clock(clock.clone());
    let request = asked(&store, Vec::new());
    let new = NewSession::new().age(ABSOLUTE - SECOND);
    let Started::New(key) = begin(&request, "A", &new).await else { panic!("a new id") };
    assert!(live(&request, "A").await.is_ok());
    clock.advance(SECOND);
    assert_eq!(live(&request, "A").await.unwrap_err(), EndReason::Absolute, "as of the authentication");
    assert_ne!(request.restart(key, &NewSession::new(), &policy()).await.unwrap(), Restarted::Done);
    assert_eq!(live(&request, "A").await.unwrap_err(), EndReason::Absolute);
}

#[tokio::test]
async fn companions_last_as_long_as_they_may_be_of_use() {
    let days = |days: u32| days * 24 * 3600 * SECOND;
    let none = NewSession::new;
    let cases = [
        (none(), ABSOLUTE - SECOND, IDLE),
        (none().age(SECOND), ABSOLUTE - 2 * SECOND, IDLE),
        (none().limits(Limits::new(days(2), days(3))), days(3) - SECOND, days(2)),
        (none().limits(Limits::idle_only(days(2))), days(400), days(2)),
        (none().limits(Limits::new(days(500), days(600))), days(400), days(400)),
    ];
    for (number, (new, record, activity)) in cases.into_iter().enumerate() {
        let clock = clock();
        let store = StatelessStore::new([K1]).unwrap().granularity(Duration::ZERO).clock(clock.clone());
        let request = asked(&store, Vec::new());
        begin(&request, "A", &new).await;
        clock.advance(SECOND);
        live(&request, "A").await.unwrap();
        let left = request.left(None, &policy()).unwrap();
        let lasts: Vec<_> = left.iter().map(|left| (left.name, left.lasts.unwrap())).collect();
        assert_eq!(lasts, [("record", record), ("activity", activity)], "{number}");
    }
}

/// In processes of this version and of later ones, while one replaces the other.
#[tokio::test]
async fn what_was_left_with_a_client_stays_valid() {
    let clock = clock();
    let store = StatelessStore::new([K1]).unwrap().granularity(Duration::ZERO).clock(clock.clone());
    let request = asked(&store, Vec::new());
    let limits = Limits::new(2 * IDLE, 3 * IDLE);
    let new = NewSession::new().owner("alice").label("a telephone").limits(limits).age(SECOND);
    begin(&request, "A", &new).await;
    clock.advance(SECOND);
    live(&request, "A").await.unwrap();
    let left = request.left(None, &policy()).unwrap();
    let values: Vec<_> = left.iter().map(|left| left.value.as_str()).collect();
    let record = "josgULvwq6OqmSS0VxlZwgMBWgAAAAAAAAAAGPridlgZNgAY-uJ2z07KAAAAAaMYXFAAAAACdKSKeAAAAAAAAAAABWFsaWNlAAAAAAAAAAth\
        IHRlbGVwaG9uZbrEdn_7YP64yo9UhnW02_V3DeJcIl11rT4sPuH-vQNQTiDH8Ji_Yn8";
    let activity = "josgULvwq6OqmSS0VxlZwhj64nbPTsoAGlXMvAnmIjdrovdCzI8VzQ5WNJoHFKXgybsBI2n_zd4";
    assert_eq!(values, [record, activity]);
}

#[tokio::test]
async fn an_end_is_told_with_its_times_and_its_owner() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let clock = clock();
    let store = StatelessStore::new([K1]).unwrap().clock(clock.clone());
    let sink = Arc::clone(&told);
    let app = around(
        builder(store).on_event(move |event| {
            if let SessionEvent::Ended { reason, idle_for, age, owner, .. } = event {
                sink.lock().unwrap().push((*reason, *idle_for, *age, owner.clone()));
            }
        }),
        &clock,
    );
    let mut browser = Browser::logged_in(&app, "A").await;
    app.advance(GRANULARITY);
    assert_eq!(browser.visit(&app).await, OK);
    app.advance(SECOND);
    browser.send(&app, with(get("/poll", &[]), "x-say", "end")).await;
    let expected = (EndReason::SignedOut, SECOND, GRANULARITY + SECOND, Some("alice".into()));
    assert_eq!(*told.lock().unwrap(), [expected]);
}

#[tokio::test]
async fn what_a_request_has_ended_its_answer_does_not_bring_back() {
    for (id, is_live) in [("A", false), ("B", true)] {
        let app = app();
        let mut browser = Browser::logged_in(&app, "A").await;
        let set = format!("sid={id}; Path=/");
        let answer = browser.send(&app, with(set_cookie(get("/account", &[]), &set), "x-say", "end")).await;
        assert_eq!(set_cookies(&answer).contains(&set), is_live, "{:?}", set_cookies(&answer));
        assert_eq!(browser.cookies.is_empty(), !is_live, "{:?}", browser.cookies);
        assert_eq!(browser.visit(&app).await, OK);
        assert_eq!(header(&browser.send(&app, get("/account", &[])).await, "x-session").is_empty(), !is_live);
    }
}

#[tokio::test]
async fn who_had_logged_in_is_asked_to_do_so_again_and_others_go_on() {
    let clock = clock();
    let store = StatelessStore::new([K1]).unwrap().clock(clock.clone());
    let ownerless = OwnerlessSessions::ContinueWithoutId;
    let app = around(builder(store).ownerless_sessions(ownerless), &clock);
    let mut alice = Browser::logged_in(&app, "A").await;
    let mut visitor = Browser::default();
    visitor.send(&app, set_cookie(get("/", &[]), "sid=V")).await;
    assert_eq!(visitor.visit(&app).await, OK);
    app.advance(IDLE);
    assert_eq!((alice.visit(&app).await, visitor.visit(&app).await), (OVER, OK));
}

#[tokio::test]
async fn limits_of_its_own_travel_with_the_session() {
    let clock = clock();
    let store = StatelessStore::new([K1]).unwrap().clock(clock.clone());
    let layer = builder(store).build().unwrap();
    let day = 24 * 3600 * SECOND;
    let application = tower::service_fn(move |request: Request<Full<Bytes>>| async move {
        let mut response = Response::new(Full::<Bytes>::default());
        if request.uri().path() == "/login" {
            response.headers_mut().insert("set-cookie", "sid=A".parse().unwrap());
            response.extensions_mut().insert(NewSession::new().limits(Limits::idle_only(day)));
        }
        Ok::<_, std::convert::Infallible>(response)
    });
    let service = tower::Layer::layer(&layer, application);
    let mut browser = Browser::default();
    for (path, after, status) in [
        ("/login", SECOND, OK),
        ("/", day - SECOND, OK),
        ("/account", day - SECOND, OK),
        ("/account", day, OVER),
    ] {
        clock.advance(after);
        let request = browser.request(get(path, &[]));
        let (parts, _) = tower::ServiceExt::oneshot(service.clone(), request).await.unwrap().into_parts();
        let response = Response::from_parts(parts, Bytes::new());
        assert_eq!(response.status(), status, "{path}");
        browser.keep(&response);
    }
}

#[tokio::test]
async fn limits_of_its_own_end_a_session_at_both() {
    let (idle, absolute) = (60 * SECOND, 75 * SECOND);
    let at = async |passes: &[Duration]| {
        let clock = clock();
        let store = StatelessStore::new([K1]).unwrap().clock(clock.clone());
        let mut received = Vec::new();
        let request = asked(&store, received.clone());
        begin(&request, "A", &NewSession::new().limits(Limits::new(idle, absolute))).await;
        received.extend(request.left(Some(&SessionId::from("A")), &policy()).unwrap());
        for passes in passes {
            clock.advance(*passes);
            let request = asked(&store, received.clone());
            live(&request, "A").await?;
            received.extend(request.left(None, &policy()).unwrap());
        }
        Ok(())
    };
    assert_eq!(at(&[idle]).await, Err(EndReason::Idle));
    assert_eq!(at(&[SECOND, idle - Duration::from_millis(1)]).await, Ok(()), "a sixtieth of its own");
    assert_eq!(at(&[idle - SECOND, absolute - idle]).await, Ok(()));
    assert_eq!(at(&[idle - SECOND, absolute - idle + SECOND]).await, Err(EndReason::Absolute));
}

/// Which of several is the live one is told by their records.
#[tokio::test]
async fn of_several_companions_the_valid_one_counts() {
    let app = app();
    let browser = Browser::logged_in(&app, "A").await;
    let mut request = get("/account", &[]);
    for value in ["injected", "another", &browser.cookies[RECORD]] {
        request = with(request, "cookie", &format!("{RECORD}={value}"));
    }
    let request = with(request, "cookie", "sid=EVIL");
    let response = app.send(with(request, "cookie", "sid=A")).await;
    assert_eq!(response.status(), OK);
    assert!(!String::from_utf8_lossy(response.body()).contains("EVIL"));
}

#[tokio::test]
async fn without_a_request_no_session_is_known() {
    let app = app();
    Browser::logged_in(&app, "A").await;
    let (sessions, id) = (app.layer.sessions(), SessionId::from("A"));
    assert!(
        sessions.start(&id, &NewSession::new()).await.unwrap_err().to_string().contains("sets its cookie")
    );
    assert!(!sessions.end(&id).await.unwrap());
    assert!(!sessions.reauthenticated(&id).await.unwrap());
    assert!(sessions.sessions_of(&"alice".into()).await.is_err());
    assert!(sessions.end_all(&"alice".into(), None).await.is_err());
}

#[tokio::test]
async fn an_owner_too_long_for_a_cookie_begins_no_session() {
    let app = app();
    let login = with(set_cookie(post("/login"), "sid=A"), "x-login", &"a".repeat(4000));
    let response = app.send(login).await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(set_cookies(&response).is_empty());
}

#[test]
fn it_needs_a_session_cookie() {
    let store = StatelessStore::ephemeral;
    let bearer = SessionTimeoutLayer::builder().bearer().store(store()).build().unwrap_err();
    assert_eq!(bearer, ConfigError::CompanionsWithoutCookie);
    assert!(bearer.to_string().contains("cookie"), "{bearer}");
    let nothing = SessionTimeoutLayer::builder().store(store()).build().unwrap_err();
    assert_eq!(nothing, ConfigError::NoSessionId);
    let cross_site = SessionCookie::new("sid").same_site(SameSite::None);
    let insecure = SessionTimeoutLayer::builder().cookie(cross_site).store(store()).build();
    assert!(insecure.unwrap_err().to_string().contains("Secure"));
}

/// What both kinds of store can know of: one browser for each session, which always uses its newest id.
#[derive(Clone, Copy, Debug)]
enum Step {
    Advance(u64),
    Visit(usize),
    Poll(usize),
    Rotate(usize),
    SetAgain(usize),
    LogIn(usize),
    Reauthenticate(usize),
    LogOut(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let browser = || 0..2_usize;
    prop_oneof![
        6 => (0..=IDLE.as_secs()).prop_map(Step::Advance),
        2 => (0..=GRANULARITY.as_secs()).prop_map(Step::Advance),
        8 => browser().prop_map(Step::Visit),
        2 => browser().prop_map(Step::Poll),
        3 => browser().prop_map(Step::Rotate),
        1 => browser().prop_map(Step::SetAgain),
        3 => browser().prop_map(Step::LogIn),
        1 => browser().prop_map(Step::Reauthenticate),
        1 => browser().prop_map(Step::LogOut),
    ]
}

/// Both applications are asked the same. The one without a state may be early by its granularity, and never late.
async fn run(trace: Vec<Step>, granularity: Option<Duration>) {
    let clock = clock();
    let layer = |builder: SessionTimeoutBuilder| around(builder.absolute_timeout(3 * IDLE), &clock);
    let memory = layer(builder(StatelessStore::ephemeral()).store(MemoryStore::new().clock(clock.clone())));
    let store = StatelessStore::new([K1]).unwrap().clock(clock.clone());
    let stateless = layer(builder(match granularity {
        Some(granularity) => store.granularity(granularity),
        None => store,
    }));
    let early = granularity.unwrap_or(GRANULARITY);
    let mut browsers = [(Browser::default(), Browser::default()), (Browser::default(), Browser::default())];
    let mut active = [clock.now(); 2];
    for (number, step) in trace.into_iter().enumerate() {
        let sets_new = |request| set_cookie(request, &format!("sid=id-{number}"));
        let visit = || get("/account", &[]);
        let (browser, request) = match step {
            Step::Advance(by) => {
                clock.advance(Duration::from_secs(by));
                continue;
            }
            Step::Visit(browser) => (browser, visit()),
            Step::Poll(browser) => (browser, get("/poll", &[])),
            Step::Rotate(browser) => (browser, sets_new(visit())),
            Step::SetAgain(browser) => {
                let id = browsers[browser].0.cookies.get("sid").map_or("", String::as_str);
                (browser, set_cookie(visit(), &format!("sid={id}")))
            }
            Step::LogIn(browser) => (browser, with(sets_new(post("/login")), "x-login", "alice")),
            Step::Reauthenticate(browser) => (browser, with(visit(), "x-say", "reauthenticated")),
            Step::LogOut(browser) => (browser, post("/logout")),
        };
        let (with_memory, without) = &mut browsers[browser];
        let expected = with_memory.send(&memory, request.clone()).await;
        let found = without.send(&stateless, request).await;
        let told = |response: &Response<Bytes>| (response.status(), header(response, "x-session").to_owned());
        let (expected, found) = (told(&expected), told(&found));
        if expected != found {
            let idle_for = clock.now() - active[browser];
            assert!(!early.is_zero(), "{step:?}: {found:?}, not {expected:?}");
            assert!(found.1.is_empty(), "{step:?}: late");
            assert!(idle_for + early > IDLE, "{step:?}: too early, after {idle_for:?}");
            return;
        }
        assert_eq!(with_memory.cookies.get("sid"), without.cookies.get("sid"), "{step:?}");
        if !matches!(step, Step::Poll(_)) && found.0 == OK {
            active[browser] = clock.now();
        }
    }
}

fn check(trace: Vec<Step>, granularity: Option<Duration>) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(run(trace, granularity));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..crate::support::cases() })]

    /// I9
    #[test]
    fn it_decides_as_the_memory_store_does(trace in prop::collection::vec(step(), 1..80)) {
        check(trace, Some(Duration::ZERO));
    }

    /// I9, I1, I2
    #[test]
    fn it_is_early_by_its_granularity_at_most(trace in prop::collection::vec(step(), 1..80)) {
        check(trace, None);
    }
}

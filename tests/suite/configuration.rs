//! What cannot work is refused by `build`, with its name and a reason: T94–T97.

use std::time::Duration;

use http::HeaderName;
use tower_session_timeout::{
    BearerToken, ConfigError, Limits, SessionCookie, SessionTimeoutBuilder, SessionTimeoutLayer,
};

fn refusal(configure: impl FnOnce(SessionTimeoutBuilder) -> SessionTimeoutBuilder) -> ConfigError {
    configure(SessionTimeoutLayer::builder().cookie("sid")).build().unwrap_err()
}

fn accepted(configure: impl FnOnce(SessionTimeoutBuilder) -> SessionTimeoutBuilder) {
    configure(SessionTimeoutLayer::builder().cookie("sid")).build().unwrap();
}

const DAY: Duration = Duration::from_secs(24 * 3600);

#[test]
fn where_the_session_id_travels_has_to_be_said() {
    let error = SessionTimeoutLayer::builder().build().unwrap_err();
    assert_eq!(error, ConfigError::NoSessionId);
    assert!(error.to_string().contains("`cookie`"));
}

/// Who asks for both would have one of them unchecked.
#[test]
fn an_id_that_travels_in_a_second_place_needs_a_layer_of_its_own() {
    type Configure = fn(SessionTimeoutBuilder) -> SessionTimeoutBuilder;
    let cookie: Configure = |b| b.cookie("sid");
    let others: [Configure; 4] = [
        |b| b.bearer(),
        |b| b.header(HeaderName::from_static("x-sid")),
        |b| b.session_id(BearerToken),
        |b| b.session_id_from(|_| None),
    ];
    for other in others {
        for (first, second) in [(cookie, other), (other, cookie), (other, other)] {
            let error = second(first(SessionTimeoutLayer::builder())).build().unwrap_err();
            assert_eq!(error, ConfigError::SeveralSources);
            assert!(error.to_string().contains("a layer of its own"), "{error}");
        }
        other(SessionTimeoutLayer::builder()).build().unwrap();
    }
    accepted(|b| b.cookie(SessionCookie::new("sid").secure(true)));
}

/// T95
#[test]
fn zero_is_never_unlimited() {
    let error = refusal(|b| b.idle_timeout(Duration::ZERO));
    assert_eq!(error, ConfigError::ZeroTimeout { which: "idle timeout" });
    assert_eq!(error.to_string(), "the idle timeout is zero; zero never means unlimited");
    let error = refusal(|b| b.absolute_timeout(Duration::ZERO));
    assert_eq!(error, ConfigError::ZeroTimeout { which: "absolute timeout" });
    let error = refusal(|b| b.store_deadline(Duration::ZERO));
    assert_eq!(error, ConfigError::ZeroTimeout { which: "store deadline" });
}

/// T95
#[test]
fn times_below_a_millisecond_are_refused() {
    for value in [Duration::from_nanos(1), Duration::from_micros(999)] {
        let error = refusal(|b| b.idle_timeout(value));
        assert_eq!(error, ConfigError::BelowOneMillisecond { which: "idle timeout", value });
        let error = refusal(|b| b.idle_timeout(value).absolute_timeout(value));
        assert!(error.to_string().contains("below one millisecond"), "{error}");
    }
    accepted(|b| b.idle_timeout(Duration::from_millis(1)));
}

/// T94
#[test]
fn more_than_400_days_have_to_be_meant() {
    let error = refusal(|b| b.absolute_timeout(DAY * 401));
    assert_eq!(error, ConfigError::Beyond400Days { which: "absolute timeout", value: DAY * 401 });
    assert!(error.to_string().contains("401 days") && error.to_string().contains("allow_beyond_400_days"));
    refusal(|b| b.idle_timeout(Duration::MAX).absolute_timeout(None));
    accepted(|b| b.absolute_timeout(DAY * 400));
    accepted(|b| b.idle_timeout(Duration::MAX).absolute_timeout(Duration::MAX).allow_beyond_400_days());
}

/// T96
#[test]
fn an_idle_timeout_beyond_the_absolute_one_is_refused() {
    let error = refusal(|b| b.idle_timeout(DAY));
    let absolute = Duration::from_secs(8 * 3600);
    assert_eq!(error, ConfigError::IdleBeyondAbsolute { idle: DAY, absolute });
    accepted(|b| b.idle_timeout(absolute));
    accepted(|b| b.idle_timeout(DAY).absolute_timeout(None));
}

#[test]
fn ids_are_not_rotated_within_their_grace() {
    let grace = Duration::from_secs(30);
    let error = refusal(|b| b.rotate_after(grace));
    assert_eq!(error, ConfigError::RotationWithinGrace { grace });
    accepted(|b| b.rotate_after(Duration::from_secs(31)));
    accepted(|b| b.rotate_after(Duration::from_secs(1)).rotation_grace(Duration::ZERO));
}

#[test]
fn cookie_names_that_cannot_be_are_refused() {
    for name in ["", "a b", "a=b", "a;b", "é", "a\n", "a%b", "\"sid\"", "a,b"] {
        let error = refusal(|b| b.cookie(name));
        assert!(matches!(&error, ConfigError::InvalidCookie { name: named, .. } if named == name), "{error}");
    }
    for name in ["sid", "__Host-sid", "__Secure-sid", "connect.sid", "!#$&'*+-.^_`|~"] {
        accepted(|b| b.cookie(name));
    }
}

#[test]
fn the_rules_of_host_cookies_hold() {
    for name in ["__Host-sid", "__host-sid"] {
        let cookie = || SessionCookie::new(name);
        for cookie in [cookie().path("/app"), cookie().domain("example.com")] {
            let error = refusal(|b| b.cookie(cookie));
            assert!(error.to_string().contains("Path=/ and no Domain"), "{error}");
        }
    }
    accepted(|b| b.cookie(SessionCookie::new("__Host-sid").secure(true)));
}

/// T55
#[test]
fn cookie_attributes_that_would_break_the_header_are_refused() {
    let cookie = || SessionCookie::new("sid");
    for cookie in [
        cookie().path("app"),
        cookie().path("/a;b"),
        cookie().path("/a\r\nx: y"),
        cookie().domain(""),
        cookie().domain("a; Secure"),
        cookie().domain("a b"),
    ] {
        let error = refusal(|b| b.cookie(cookie));
        assert!(matches!(error, ConfigError::InvalidCookie { .. }));
    }
}

#[test]
fn log_in_and_log_out_pages_are_safe_paths_of_this_site() {
    let unsafe_paths = [
        "",
        "login",
        "//evil.example",
        "/\\evil",
        "https://sso.example/",
        "javascript:alert(1)",
        "/a b",
        "/a\n",
        "/a/../b",
    ];
    for path in unsafe_paths {
        let error = refusal(|b| b.login_path(path));
        assert_eq!(error, ConfigError::UnsafePath { which: "log-in path", path: path.to_owned() });
        let error = refusal(|b| b.logout_path(path));
        assert_eq!(error, ConfigError::UnsafePath { which: "log-out path", path: path.to_owned() });
    }
    accepted(|b| b.login_path("/login?tenant=1").logout_path("/auth/logout"));
    assert!(matches!(refusal(|b| b.logout_path("/logout?x=1")), ConfigError::InvalidPath { .. }));
    for path in ["/sign/*", "/sign/{what}"] {
        for error in [refusal(|b| b.login_path(path)), refusal(|b| b.logout_path(path))] {
            assert!(
                matches!(&error, ConfigError::InvalidPath { path: named, .. } if named == path),
                "{error}"
            );
        }
    }
}

/// Each log-in would log out.
#[test]
fn log_in_and_log_out_page_are_two() {
    for login in ["/session", "/session?tenant=1"] {
        let error = refusal(|b| b.login_path(login).logout_path("/session"));
        assert!(matches!(&error, ConfigError::InvalidPath { path, .. } if path == "/session"), "{error}");
        assert!(
            error.to_string().contains("\"/session\"") && error.to_string().contains("log-in"),
            "{error}"
        );
    }
    accepted(|b| b.login_path("/session").logout_path("/session/end"));
}

/// The application never sees a request to what is below them.
#[cfg(feature = "client")]
#[test]
fn log_in_and_log_out_page_are_not_below_the_client_endpoints() {
    for path in ["/_st/sign-out", "/_st/log-in", "/_st/a/b", "/_st/"] {
        for error in [
            refusal(|b| b.client_endpoints("/_st").logout_path(path)),
            refusal(|b| b.logout_path(path).client_endpoints("/_st")),
            refusal(|b| b.client_endpoints("/_st").login_path(path)),
        ] {
            assert!(
                matches!(&error, ConfigError::InvalidPath { path: named, .. } if named == path),
                "{error}"
            );
            assert!(error.to_string().contains("endpoints"), "{error}");
        }
    }
    let error = refusal(|b| b.client_endpoints("/_st").login_path("/_st/log-in?tenant=1"));
    assert!(error.to_string().contains("/_st/log-in"), "{error}");
    accepted(|b| b.client_endpoints("/_st").login_path("/_st").logout_path("/_stop"));
    accepted(|b| b.login_path("/_st/log-in").logout_path("/_st/sign-out"));
}

#[test]
fn paths_that_match_nothing_or_too_much_are_refused() {
    for path in
        ["", "public", "/a/*", "/{id}", "/a?b", "/a#b", "/a/../b", "/a//b", "//", "/%2e%2e/", "/a%2fb"]
    {
        for error in [refusal(|b| b.public_paths([path])), refusal(|b| b.passive_paths(["/ok", path]))] {
            assert!(
                matches!(&error, ConfigError::InvalidPath { path: named, .. } if named == path),
                "{error}"
            );
        }
    }
    accepted(|b| b.public_paths(["/", "/a", "/a/", "/a.b/c-d", "/caf%C3%A9"]));
}

#[test]
fn what_could_have_no_effect_is_refused() {
    let error = refusal(SessionTimeoutBuilder::logout_by_get);
    assert_eq!(error, ConfigError::LogoutByGetWithoutPath);
    assert!(error.to_string().contains("`logout_path`"));
    accepted(|b| b.logout_by_get().logout_path("/logout"));

    let error = SessionTimeoutLayer::builder().bearer().fresh_login(|_, _| true).build().unwrap_err();
    assert_eq!(error, ConfigError::FreshLoginWithoutCookie);
    assert!(error.to_string().contains("`Sessions::start`"));
    accepted(|b| b.fresh_login(|_, _| true));

    for media_type in
        ["", "text", "text/", "/plain", "text/event-stream; charset=utf-8", "text/a/b", "text/*, a/b"]
    {
        let error = refusal(|b| b.end_streams(["text/event-stream", media_type]));
        assert_eq!(error, ConfigError::InvalidMediaType { media_type: media_type.to_owned() });
        assert!(error.to_string().contains(&format!("{media_type:?}")), "{error}");
    }
    accepted(|b| b.end_streams(["text/event-stream", "application/grpc+proto", "Application/X-NDJSON"]));
}

#[test]
fn presets_are_what_their_standards_say() {
    let minutes = |limits: Limits| (limits.idle().as_secs() / 60, limits.absolute().unwrap().as_secs() / 60);
    assert_eq!(minutes(Limits::owasp_high_value()), (5, 4 * 60));
    assert_eq!(minutes(Limits::owasp_low_risk()), (30, 8 * 60));
    assert_eq!(minutes(Limits::nist_aal2()), (60, 24 * 60));
    assert_eq!(minutes(Limits::nist_aal3()), (15, 12 * 60));
    assert_eq!(minutes(Limits::pci_dss()), (15, 8 * 60));
    for limits in [
        Limits::owasp_high_value(),
        Limits::owasp_low_risk(),
        Limits::nist_aal2(),
        Limits::nist_aal3(),
        Limits::pci_dss(),
    ] {
        accepted(|b| b.limits(limits));
    }
}

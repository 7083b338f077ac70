//! The session cookie set again with a new `Max-Age`.

use std::time::Duration;

use crate::support::{App, IDLE, get, header, post, set_cookie, set_cookies, sid, slow, with};
use http::StatusCode;
use tower_session_timeout::{Limits, NewSession, SameSite, SessionCookie, SessionId, SessionTimeoutLayer};

/// A twentieth of the `Max-Age` of 15 minutes.
const STEP: Duration = Duration::from_secs(45);
const SLID: &str = "sid=A; HttpOnly; SameSite=Lax; Secure; Path=/; Max-Age=990";

fn cookie() -> SessionCookie {
    SessionCookie::new("sid").secure(true).max_age(IDLE).sliding()
}

fn app() -> App {
    App::with(|builder| builder.cookie(cookie()))
}

fn visit() -> http::Request<http_body_util::Full<bytes::Bytes>> {
    sid(get("/account", &[]), "A")
}

#[tokio::test]
async fn the_cookie_is_set_again_once_in_each_twentieth_of_its_max_age() {
    let app = app();
    app.log_in("A").await;
    let mut set_again = 0;
    for _ in 0..90 {
        app.advance(Duration::from_secs(10));
        let cookies = set_cookies(&app.send(visit()).await);
        assert!(cookies.is_empty() || cookies == [SLID], "{cookies:?}");
        set_again += cookies.len();
    }
    assert_eq!(set_again, 20, "in 15 minutes");
}

/// T58
#[tokio::test]
async fn an_answer_with_the_cookie_is_for_this_user_alone() {
    let app = app();
    app.log_in("A").await;
    app.advance(STEP);
    let response = app.send(visit()).await;
    assert_eq!(set_cookies(&response), [SLID]);
    assert_eq!(header(&response, "cache-control"), "private");
    assert_eq!(header(&response, "vary"), "cookie");
    assert_eq!(header(&app.send(visit()).await, "cache-control"), "", "no cookie, no change");
}

/// T58: what the application lets caches share goes out as it is; what it did not is kept from them.
#[tokio::test]
async fn a_cookie_never_goes_into_a_shared_cache() {
    for (control, becomes) in [
        ("public, max-age=60", None),
        ("max-age=0, S-MaxAge=60", None),
        ("max-age=60", Some(&["max-age=60", "private"][..])),
        ("No-Store", Some(&["No-Store"])),
        ("private, max-age=60", Some(&["private, max-age=60"])),
        ("", Some(&["", "private"])),
    ] {
        let app = app();
        app.log_in("A").await;
        app.advance(STEP);
        let response = app.send(with(visit(), "x-cache-control", control)).await;
        let all = response.headers().get_all("cache-control").iter();
        let all: Vec<_> = all.map(|field| field.to_str().unwrap()).collect();
        assert_eq!(set_cookies(&response).is_empty(), becomes.is_none(), "{control}");
        assert_eq!(all, becomes.unwrap_or(&[control]), "{control}");
        assert_eq!(header(&response, "vary") == "cookie", becomes.is_some(), "{control}");
        if becomes.is_none() {
            assert_eq!(set_cookies(&app.send(visit()).await).len(), 0, "the step is over");
            app.advance(STEP);
            assert_eq!(set_cookies(&app.send(visit()).await), [SLID], "the next one comes");
        }
    }
}

#[tokio::test]
async fn what_extends_nothing_slides_nothing() {
    let app = app();
    app.log_in("A").await;
    app.advance(STEP);
    let passive = app.send(with(visit(), "session-activity", "passive")).await;
    assert_eq!(passive.status(), StatusCode::OK);
    assert!(set_cookies(&passive).is_empty());
    assert!(set_cookies(&app.send(get("/account", &[])).await).is_empty(), "anonymous");
    assert_eq!(set_cookies(&app.send(visit()).await), [SLID]);
}

#[tokio::test]
async fn the_applications_own_cookie_stands() {
    let app = app();
    app.log_in("A").await;
    app.advance(STEP);
    let response = app.send(set_cookie(visit(), "sid=B; Max-Age=60")).await;
    assert_eq!(set_cookies(&response), ["sid=B; Max-Age=60"]);
    app.advance(STEP);
    let response = app.send(sid(post("/logout"), "B")).await;
    assert!(set_cookies(&response).iter().all(|cookie| cookie.contains("Max-Age=0")), "{response:?}");
}

/// I11, T05: a slow answer must not bring back the cookie of a session that ended meanwhile.
#[tokio::test]
async fn a_session_that_ended_meanwhile_slides_no_cookie() {
    let app = app();
    app.log_in("A").await;
    app.advance(STEP);
    let answer = app.send_slow(slow(visit())).await;
    app.layer.sessions().end(&SessionId::from("A")).await.unwrap();
    app.release();
    assert!(set_cookies(&answer.await.unwrap()).is_empty());
}

/// A "remember me" must not be cut down to the layer's own time.
#[tokio::test]
async fn longer_limits_of_the_sessions_own_make_a_longer_cookie() {
    let app = app();
    let month = Duration::from_secs(30 * 24 * 3600);
    let remembered = NewSession::new().limits(Limits::idle_only(month));
    app.layer.sessions().start(&SessionId::from("A"), &remembered).await.unwrap();
    app.advance(STEP);
    let cookies = set_cookies(&app.send(visit()).await);
    assert!(cookies[0].ends_with("Max-Age=2851200"), "{cookies:?}");
}

#[test]
fn a_cookie_that_cannot_slide_is_refused() {
    let build = |cookie: SessionCookie| SessionTimeoutLayer::builder().cookie(cookie).build();
    let invalid = |cookie, reason: &str| {
        let error = build(cookie).unwrap_err().to_string();
        assert!(error.contains("sid") && error.contains(reason), "{error}");
    };
    invalid(SessionCookie::new("sid").sliding(), "Max-Age");
    invalid(cookie().max_age(IDLE / 2), "shorter than the idle timeout");
    invalid(cookie().secure(false).same_site(SameSite::None), "Secure");
    assert!(build(cookie()).is_ok());
}

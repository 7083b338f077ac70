//! Whose a session is, for applications that only have cookies: `owner_from`.

use http::StatusCode;
use tower_session_timeout::{ConfigError, MaxSessions, SessionTimeoutBuilder, SessionTimeoutLayer};

use crate::support::{App, header, post, set_cookie, sid, with};

/// The application says in its answers who is signed in; the test's does what the request says.
fn names_users(builder: SessionTimeoutBuilder) -> SessionTimeoutBuilder {
    builder.owner_from(|head, answer| {
        assert!(answer.headers().contains_key("set-cookie"), "nothing begins with other answers");
        head.headers().get("x-user")?.to_str().ok().map(Into::into)
    })
}

async fn log_in(app: &App, id: &str, user: &str) -> StatusCode {
    app.send(set_cookie(with(post("/login"), "x-user", user), &format!("sid={id}"))).await.status()
}

async fn owner_of(app: &App, id: &str) -> String {
    header(&app.visit(id).await, "x-session").to_owned()
}

#[tokio::test]
async fn the_answer_that_begins_a_session_says_whose_it_is() {
    let app = App::with(names_users);
    log_in(&app, "A", "ada").await;
    assert_eq!(owner_of(&app, "A").await, "ada");
    app.send(set_cookie(post("/"), "sid=B")).await;
    assert_eq!(owner_of(&app, "B").await, "nobody");
}

#[tokio::test]
async fn what_the_application_announces_counts() {
    let app = App::with(names_users);
    let request = with(with(post("/login"), "x-user", "ada"), "x-login", "grace");
    app.send(set_cookie(request, "sid=A")).await;
    assert_eq!(owner_of(&app, "A").await, "grace");
}

#[tokio::test]
async fn nobody_becomes_the_owner_of_a_session_that_goes_on() {
    let app = App::with(names_users);
    log_in(&app, "A", "ada").await;
    app.send(set_cookie(sid(with(post("/"), "x-user", "mallory"), "A"), "sid=B")).await;
    assert_eq!(owner_of(&app, "B").await, "ada");
}

#[tokio::test]
async fn a_recognized_log_in_is_its_users() {
    let app = App::with(|builder| names_users(builder).fresh_login(|head, _| head.path() == "/login"));
    log_in(&app, "A", "ada").await;
    app.send(set_cookie(sid(with(post("/login"), "x-user", "grace"), "A"), "sid=B")).await;
    assert_eq!(owner_of(&app, "B").await, "grace");
    assert!(!app.admits("A").await);
}

#[tokio::test]
async fn an_owners_sessions_are_counted() {
    let app = App::with(|builder| names_users(builder).max_sessions(MaxSessions::refuse_new(1)));
    assert_eq!(log_in(&app, "A", "ada").await, StatusCode::OK);
    assert_eq!(log_in(&app, "B", "ada").await, StatusCode::FORBIDDEN);
    assert_eq!(log_in(&app, "C", "grace").await, StatusCode::OK);
}

#[test]
fn where_no_cookie_begins_a_session_it_is_refused() {
    let refused = SessionTimeoutLayer::builder().bearer().owner_from(|_, _| None).build().unwrap_err();
    assert!(matches!(refused, ConfigError::OwnerFromWithoutCookie), "{refused}");
}

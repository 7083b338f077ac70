//! What `examples/proxy` takes for a log-in.

use http::{
    HeaderName, HeaderValue, Method, Request, Response, StatusCode,
    header::{LOCATION, SET_COOKIE},
};
use tower_session_timeout::{NewSession, RequestHead};

use self::{
    log_in::{Attempt, LogIn},
    users::Visit,
};

#[path = "../../examples/proxy/log_in.rs"]
mod log_in;
#[path = "../../examples/proxy/session_cookies.rs"]
mod session_cookies;
#[path = "../../examples/proxy/users.rs"]
#[allow(dead_code, reason = "the proxy knows more of users")]
mod users;

fn attempt(method: Method, path: &str) -> Option<Attempt> {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", "shop.example:8080")
        .header("cookie", "a=1; sid=old")
        .body(())
        .unwrap();
    let log_in = LogIn { path: "/login".to_owned(), cookie: "sid".to_owned() };
    log_in.attempted_by(&RequestHead::of(&request))
}

fn is_announced(location: &str, cookie: &'static str) -> bool {
    announced(location, cookie, &[]).is_some()
}

fn announced(location: &str, cookie: &'static str, users: &[&[u8]]) -> Option<NewSession> {
    let mut answer = Response::new(());
    for user in users {
        answer.headers_mut().append("x-user", HeaderValue::from_bytes(user).unwrap());
    }
    let request = Request::new(());
    let visit = Visit::of(&RequestHead::of(&request), HeaderName::from_static("x-user"), "sid");
    let user = visit.take_user(&mut answer);
    assert!(!answer.headers().contains_key("x-user"));
    *answer.status_mut() = StatusCode::FOUND;
    answer.headers_mut().insert(LOCATION, location.parse().unwrap());
    answer.headers_mut().insert(SET_COOKIE, HeaderValue::from_static(cookie));
    attempt(Method::POST, "/login?next=%2F").unwrap().announce(&mut answer, user.as_deref());
    answer.extensions().get::<NewSession>().cloned()
}

#[test]
fn only_a_form_posted_to_the_log_in_page_may_be_a_log_in() {
    assert!(attempt(Method::POST, "/login").is_some());
    assert!(attempt(Method::POST, "https://shop.example/login").is_some());
    assert!(attempt(Method::POST, "/log%69n/").is_some(), "whoever logs in there has logged in");
    assert!(attempt(Method::GET, "/login").is_none());
    assert!(attempt(Method::POST, "/account").is_none());
}

#[test]
fn a_redirect_to_another_page_with_a_session_cookie_is_a_log_in() {
    for location in [
        "/",
        "/account",
        "account",
        "https://shop.example/account?next=/login",
        "//shop.example/account",
        "/login/welcome",
    ] {
        assert!(is_announced(location, "sid=new; Path=/"), "{location}");
        assert!(!is_announced(location, "theme=dark"), "{location}");
        assert!(!is_announced(location, "sid=old; Path=/"), "{location}");
        assert!(!is_announced(location, "sid=; Max-Age=0"), "{location}");
    }
}

/// Sessions of somebody that nobody names are no two of the same user's.
#[test]
fn the_owner_is_whom_the_application_names_and_else_nobody_known() {
    let owner = |users: &[&[u8]]| {
        let announced = announced("/account", "sid=new; Path=/", users).unwrap();
        announced.owner.unwrap().as_str().to_owned()
    };
    for known in [&b"ada"[..], b"m\xfcller", "m\u{fc}ller".as_bytes()] {
        assert_eq!(owner(&[known]), owner(&[known]));
        assert_ne!(owner(&[known]), owner(&[b"m\xf6ller"]));
    }
    let unknown: [&[&[u8]]; 3] = [&[], &[b""], &[b"ada", b"grace"]];
    for unknown in unknown {
        assert_ne!(owner(unknown), owner(unknown), "{unknown:?}");
    }
    assert!(announced("/login", "sid=new; Path=/", &[b"ada"]).is_none(), "which alone is no log-in");
}

#[test]
fn no_spelling_of_the_log_in_page_is_another_page() {
    for location in [
        "/login",
        "",
        "?again",
        "login",
        "./login",
        "#form",
        "/login/",
        "//login",
        "//host/login",
        "///host/login",
        "/\\host/login",
        "\\\\host\\login",
        "/x/../login",
        "/x/%2e%2e/login",
        "/x/%252e%252e/login",
        "/./login",
        "//host//login",
        "/log%69n",
        "/log%2569n",
        "/login;a=b",
        "/LOGIN",
        "/login%20",
        "/%2flogin",
        "/%5clogin",
        "https://host/login?wrong=1",
        "https:/login",
        "https://elsewhere.example/account",
        "//account",
        "javascript:0",
        "data:,",
    ] {
        assert!(!is_announced(location, "sid=new; Path=/"), "{location:?}");
    }
}

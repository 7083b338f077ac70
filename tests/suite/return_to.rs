//! Where a browser may be sent after the log-in: T53, T55.

use crate::support::{App, header};
use http::{Request, StatusCode, Uri};
use proptest::prelude::*;
use tower_session_timeout::safe_return_to;
use url::Url;

const UNSAFE: &[&str] = &[
    "",
    "evil",
    "//evil.example",
    "///evil.example",
    "////evil.example",
    "/\\evil.example",
    "/\\/evil.example",
    "\\\\evil.example",
    "\\/evil.example",
    "/\t/evil.example",
    "/\n/evil.example",
    "/\r\nSet-Cookie: a=b",
    "/\0/evil.example",
    "\t//evil.example",
    " //evil.example",
    " /account",
    "/ /evil.example",
    "/%09/evil.example",
    "/%0a/evil.example",
    "/%0d%0aSet-Cookie:a=b",
    "/%00/evil.example",
    "/%20/evil.example",
    "/%5cevil.example",
    "/%5Cevil.example",
    "/%2fevil.example",
    "/%2f%2fevil.example",
    "/a%5c..%5cb",
    "/.//evil.example",
    "/..//evil.example",
    "/./\\evil.example",
    "/%2e//evil.example",
    "/%2e%2e//evil.example",
    "/a/..//evil.example",
    "/a/../..//evil.example",
    "https://evil.example",
    "https:evil.example",
    "https:/evil.example",
    "http:///evil.example",
    "HTTPS://evil.example",
    "javascript:alert(1)",
    "JavaScript:alert(1)//",
    "data:text/html,x",
    "user@evil.example",
    "//user:pass@evil.example",
    "*",
    "?next=//evil.example",
    "#//evil.example",
    "/account#fragment",
    "/a?b=c#d",
    "/a?b= c",
    "/a?b=\\c",
    "/a?b=\u{0}",
    "/嘊嘍",
    "/\u{2028}/evil.example",
    "/\u{a0}/evil.example",
];

const SAFE: &[&str] = &[
    "/",
    "/account",
    "/account?tab=2&q=a%20b",
    "/files/my%20report.pdf",
    "/a//b",
    "/a/",
    "/?next=//evil.example",
    "/a?redirect=https://evil.example/",
    "/a?b=%0d%0a",
    "/@evil.example",
    "/evil.example:443",
    "/%E5%98%8A",
    "/...",
    "/.well-known/x",
    "/a:b;c=d,e!'()*~",
];

#[test]
fn the_corpus_of_open_redirects_is_refused() {
    for target in UNSAFE {
        assert_eq!(safe_return_to(target), None, "{target:?}");
    }
    let long = format!("/{}", "a".repeat(2048));
    assert_eq!(safe_return_to(&long), None);
    assert_eq!(safe_return_to(&long[..2048]), Some(&long[..2048]));
}

#[test]
fn ordinary_targets_pass() {
    for target in SAFE {
        assert_eq!(safe_return_to(target), Some(*target));
    }
}

/// What a browser makes of it, and what it makes of it once a server has decoded it.
fn stays_here(target: &str) {
    let here = Url::parse("https://app.example/login").unwrap();
    let decoded = percent_encoding::percent_decode_str(target).decode_utf8_lossy().into_owned();
    let path_decoded = match target.split_once('?') {
        Some((path, _)) => percent_encoding::percent_decode_str(path).decode_utf8_lossy().into_owned(),
        None => decoded,
    };
    for target in [target, &path_decoded] {
        let resolved = here.join(target).unwrap();
        assert_eq!(resolved.origin(), here.origin(), "{target:?}");
        assert!(!resolved.path().starts_with("//"), "{target:?}");
    }
}

#[test]
fn what_passes_stays_on_this_site() {
    for target in UNSAFE.iter().chain(SAFE) {
        if let Some(target) = safe_return_to(target) {
            stays_here(target);
        }
    }
}

/// Pieces of which attacks are made.
fn hostile() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("/".to_owned()),
        Just("\\".to_owned()),
        Just(".".to_owned()),
        Just("..".to_owned()),
        Just("%2f".to_owned()),
        Just("%5C".to_owned()),
        Just("%2e".to_owned()),
        Just("%09".to_owned()),
        Just("%25".to_owned()),
        Just("\t".to_owned()),
        Just("@".to_owned()),
        Just(":".to_owned()),
        Just("?".to_owned()),
        Just("#".to_owned()),
        Just("https:".to_owned()),
        Just("evil.example".to_owned()),
        "[ -~]{0,3}",
        any::<char>().prop_map(String::from),
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(crate::support::cases())]

    #[test]
    fn whatever_passes_stays_on_this_site(target in prop_oneof![hostile(), hostile().prop_map(|rest| format!("/{rest}"))]) {
        if let Some(target) = safe_return_to(&target) {
            stays_here(target);
        }
    }

    #[test]
    fn whatever_is_requested_the_log_in_page_gets_a_next_of_this_site(target in hostile().prop_map(|rest| format!("/{rest}"))) {
        let Ok(uri) = Uri::try_from(target.as_str()) else { return Ok(()) };
        let location = redirect_for(uri);
        let (page, next) = location.split_once("?next=").unwrap_or((&location, "%2F"));
        prop_assert_eq!(page, "/login");
        prop_assert!(next.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"%-._~".contains(&byte)));
        let next = percent_encoding::percent_decode_str(next).decode_utf8().unwrap();
        stays_here(&next);
        let path = next.split('?').next().unwrap();
        prop_assert!(path != "/login" && path != "/logout", "T50");
    }
}

fn redirect_for(uri: Uri) -> String {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let app = App::with(|builder| builder.public_if(|_| false));
        let request = Request::get(uri).header("accept", "text/html").header("cookie", "sid=dead");
        let response = app.send(request.body(http_body_util::Full::default()).unwrap()).await;
        if response.status() == StatusCode::OK {
            return "/login".to_owned(); // A public page.
        }
        assert_eq!(response.status(), StatusCode::SEE_OTHER);
        header(&response, "location").to_owned()
    })
}

/// Absolute form: the authority is the client's word, and no part of the return.
#[test]
fn an_absolute_form_target_returns_to_its_path_here() {
    let location = redirect_for(Uri::from_static("http://evil.example/account?x=1"));
    assert_eq!(location, "/login?next=%2Faccount%3Fx%3D1");
    assert_eq!(redirect_for(Uri::from_static("http://evil.example//x")), "/login");
    assert_eq!(redirect_for(Uri::from_static("*")), "/login");
}

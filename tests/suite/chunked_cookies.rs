//! A session cookie that is split over several: `NAME.0`, `NAME.1`, …
#![allow(clippy::unchecked_time_subtraction)] // of constants

use std::{collections::BTreeMap, time::Duration};

use crate::support::{App, IDLE, NANO, cases, get, post, set_cookie, set_cookies, with};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use proptest::prelude::*;
use tower_session_timeout::{
    ConfigError, CookieChunks, Decision, MAX_CHUNKED_SESSION_ID_LENGTH, NewSession, SessionCookie, SessionId,
    SessionTimeoutBuilder, SessionTimeoutLayer,
};

fn chunked(chunks: CookieChunks) -> SessionCookie {
    SessionCookie::new("sid").chunks(chunks)
}

fn app() -> App {
    App::with(|builder| builder.cookie(chunked(CookieChunks::Supabase)))
}

fn request(cookie: &str) -> Request<Full<Bytes>> {
    with(get("/account", &[]), "cookie", cookie)
}

fn setting(request: Request<Full<Bytes>>, cookies: &[&str]) -> Request<Full<Bytes>> {
    cookies.iter().fold(request, |request, cookie| set_cookie(request, cookie))
}

async fn live(app: &App, id: &str) {
    app.layer.sessions().start(&SessionId::from(id), &NewSession::new()).await.unwrap();
}

fn text(response: &Response<Bytes>) -> String {
    String::from_utf8_lossy(response.body()).into_owned()
}

/// What the application saw, or `None` if it was not asked.
async fn seen(app: &App, cookie: &str) -> Option<String> {
    let before = app.calls();
    let response = app.send(request(cookie)).await;
    let asked = app.calls() > before;
    assert_eq!(asked, response.status() == StatusCode::OK, "{response:?}");
    asked.then(|| text(&response))
}

fn is_removal(cookie: &str) -> bool {
    cookie.contains("=;") && cookie.contains("Max-Age=0")
}

fn names(cookies: &[String]) -> Vec<&str> {
    cookies.iter().map(|cookie| cookie.split('=').next().unwrap()).collect()
}

#[tokio::test]
async fn a_log_in_in_chunks_begins_one_session() {
    let app = app();
    let response = app.send(setting(post("/login"), &["sid.0=AB; Path=/", "sid.1=CD; Path=/"])).await;
    assert_eq!(set_cookies(&response), ["sid.0=AB; Path=/", "sid.1=CD; Path=/"]);
    assert_eq!(seen(&app, "sid.0=AB; x=1; sid.1=CD").await.unwrap(), "sid.0=AB; x=1; sid.1=CD");
    assert!(seen(&app, "sid.1=CD; sid.0=AB").await.is_some(), "in any order");
    assert!(seen(&app, "sid=ABCD").await.is_some(), "the same id in one piece");
    app.advance(IDLE - NANO);
    assert!(seen(&app, "sid.0=AB; sid.1=CD").await.is_some());
    app.advance(IDLE);
    for late in ["sid.0=AB; sid.1=CD", "sid.0=ABCD", "sid=ABCD", "sid.0=A; sid.1=B; sid.2=C; sid.3=D"] {
        assert_eq!(seen(&app, late).await, None, "{late}");
    }
}

#[tokio::test]
async fn chunks_that_make_no_whole_are_over() {
    let app = app();
    for id in ["AB", "ABCD", "CD"] {
        live(&app, id).await;
    }
    for broken in [
        "sid.1=CD",
        "sid.0=AB; sid.2=CD",
        "sid.0=AB; sid.1=; sid.2=CD",
        "sid.0=AB; sid.1=CD; sid.1=EF",
        "sid.0=AB; sid.15=CD",
        "sid.1=AB; sid.2=CD",
    ] {
        assert_eq!(seen(&app, broken).await, None, "{broken}");
    }
    assert!(seen(&app, "sid.0=AB; sid.1=CD; sid.0=AB").await.is_some(), "the same chunk twice");
}

/// Parsers would take them for parts of the session, or for none.
#[tokio::test]
async fn what_only_looks_like_a_chunk_is_removed() {
    let app = app();
    live(&app, "AB").await;
    for stray in [
        "sid.00",
        "sid.01",
        "sid.16",
        "sid.99999999999999999999",
        "SID.1",
        "sid.%31",
        "\u{a0}sid.1",
        "a=1,sid.1",
        "sid.+1",
        "sid__1",
        "sid_1",
        "sid-1",
        "sid1",
        "sidC1",
        "s%u0069d.1",
    ] {
        let went = seen(&app, &format!("sid.0=AB; {stray}=CD; x=1")).await;
        assert_eq!(went.unwrap(), "sid.0=AB; x=1", "{stray}");
    }
    let others = "sid.0=AB; sid-code-verifier=1; sid-code-verifier.0=2; sid.x=3; sidx=4";
    assert_eq!(seen(&app, others).await.unwrap(), others);
    let app = App::with(|builder| builder.cookie(chunked(CookieChunks::AuthJs)));
    live(&app, "AB").await;
    assert_eq!(seen(&app, others).await.unwrap(), "sid.0=AB", "Auth.js would join them all");
    assert_eq!(seen(&app, "sidx=AB; sid.a=1; csid=2").await.unwrap(), "csid=2", "anonymous");
}

#[tokio::test]
async fn of_the_whole_and_chunks_the_live_one_goes_on_alone() {
    for (cookie, goes_on) in [
        ("sid=A; sid.0=dead; sid.1=dead", Some("sid=A")),
        ("sid.0=A; sid=dead", Some("sid.0=A")),
        ("sid.0=A; sid=A; x=1", Some("sid=A; x=1")),
        ("sid=A; sid.1=stale", Some("sid=A")),
        ("sid=A; sid.0=x; sid.0=y", Some("sid=A")),
        ("sid=A; sid.0=B", None),
        ("sid=dead; sid.0=dead", None),
    ] {
        let app = app();
        live(&app, "A").await;
        live(&app, "B").await;
        assert_eq!(seen(&app, cookie).await.as_deref(), goes_on, "{cookie}");
    }
}

#[tokio::test]
async fn other_chunks_in_an_answer_are_another_id_of_the_session() {
    let app = app();
    live(&app, "ABCD").await;
    for (carried, answer, becomes, leaves) in [
        // The same again.
        ("sid.0=AB; sid.1=CD", &["sid.0=AB", "sid.1=CD"][..], "ABCD", &["sid.0=AB", "sid.1=CD"][..]),
        ("sid.0=AB; sid.1=CD", &["sid.0=EF", "sid.1=GH"][..], "EFGH", &["sid.0=EF", "sid.1=GH"][..]),
        // Only what is not the same (Supabase).
        ("sid.0=AB; sid.1=CD", &["sid.1=XY"], "ABXY", &["sid.1=XY"]),
        // One fewer.
        ("sid.0=AB; sid.1=CD", &["sid.1=; Max-Age=0", "sid.0=Z"], "Z", &["sid.1=; Max-Age=0", "sid.0=Z"]),
        // From chunks to one piece, as the libraries do it.
        (
            "sid.0=AB; sid.1=CD",
            &["sid.0=; Max-Age=0", "sid.1=; Max-Age=0", "sid=W"],
            "W",
            &["sid.0=; Max-Age=0", "sid.1=; Max-Age=0", "sid=W"],
        ),
        (
            "sid=ABCD",
            &["sid=; Max-Age=0", "sid.0=P", "sid.1=Q"],
            "PQ",
            &["sid=; Max-Age=0", "sid.0=P", "sid.1=Q"],
        ),
    ] {
        let response = app.send(setting(request(carried), answer)).await;
        assert_eq!(set_cookies(&response), leaves, "{answer:?}");
        let Decision::Live(live) = app.peek(becomes).await else { panic!("{becomes} is live") };
        let Decision::Live(first) = app.peek("ABCD").await else { panic!("and in its grace the old id") };
        assert_eq!(live.key, first.key, "of one session");
    }
}

#[tokio::test]
async fn what_the_answer_leaves_in_the_browser_of_another_shape_is_removed() {
    let app = app();
    live(&app, "ABCD").await;
    let response = app.send(setting(request("sid.0=AB; sid.1=CD"), &["sid=W"])).await;
    let cookies = set_cookies(&response);
    assert_eq!(names(&cookies), ["sid", "sid.0", "sid.1"]);
    assert!(cookies[1..].iter().all(|cookie| is_removal(cookie)), "{cookies:?}");
    let response = app.send(setting(request("sid=W"), &["sid.0=X", "sid.1=Y"])).await;
    let cookies = set_cookies(&response);
    assert_eq!(names(&cookies), ["sid.0", "sid.1", "sid"]);
    assert!(is_removal(&cookies[2]));
    // The application did not see the dead chunks, so it could not remove them.
    let login = with(post("/login"), "cookie", "sid.0=dead; sid.1=dead; sid.2=dead");
    let response = app.send(setting(login, &["sid.0=new", "sid.1=er"])).await;
    let cookies = set_cookies(&response);
    assert_eq!(names(&cookies), ["sid.0", "sid.1", "sid.2"]);
    assert!(is_removal(&cookies[2]));
    assert!(seen(&app, "sid.0=new; sid.1=er").await.is_some());
    // Nor those beside a live one.
    let response =
        app.send(setting(request("sid=stale; sid.0=new; sid.1=er"), &["sid.0=n", "sid.1=e"])).await;
    let cookies = set_cookies(&response);
    assert_eq!(names(&cookies), ["sid.0", "sid.1", "sid"]);
    assert!(is_removal(&cookies[2]));
}

#[tokio::test]
async fn removing_a_part_removes_the_session() {
    for removed in [
        &["sid.0=; Max-Age=0", "sid.1=; Max-Age=0"][..],
        &["sid=; Max-Age=0"],
        &["sid.1="],
        &["sid.0=x", "sid.0="],
    ] {
        let app = app();
        live(&app, "ABCD").await;
        let response = app.send(setting(request("sid.0=AB; sid.1=CD"), removed)).await;
        let cookies = set_cookies(&response);
        for name in ["sid.0", "sid.1"] {
            assert!(names(&cookies).contains(&name), "{cookies:?}");
        }
        assert!(
            cookies.iter().all(|cookie| cookie.starts_with("sid") && !cookie.contains("=x")),
            "{cookies:?}"
        );
        assert!(matches!(app.peek("ABCD").await, Decision::Ended { .. }), "{removed:?}");
    }
}

/// I11
#[tokio::test]
async fn no_chunk_leaves_but_of_a_live_session() {
    let app = app();
    live(&app, "ABCD").await;
    let slow = with(setting(request("sid.0=AB; sid.1=CD"), &["sid.0=EF", "sid.1=GH"]), "x-slow", "1");
    let answer = app.send_slow(slow).await;
    app.layer.sessions().end(&SessionId::from("ABCD")).await.unwrap();
    app.release();
    assert!(set_cookies(&answer.await.unwrap()).is_empty(), "the session ended meanwhile");
    let response = app.send(setting(post("/login"), &["sid.1=CD"])).await;
    assert_eq!(
        response.status(),
        StatusCode::SERVICE_UNAVAILABLE,
        "no session can begin with its second chunk"
    );
    assert!(set_cookies(&response).is_empty());
    for too_many in ["sid.16=B", "sid.00=B", "sid__1=B", "sidC1=B", "sid1=B"] {
        let response = app.send(setting(post("/login"), &["sid.0=A", too_many])).await;
        assert_eq!(
            response.status(),
            StatusCode::SERVICE_UNAVAILABLE,
            "nor with chunks that nobody may read"
        );
        live(&app, "EFGH").await;
        let response = app.send(setting(request("sid.0=EF; sid.1=GH"), &["sid.0=A", too_many])).await;
        assert_eq!((response.status(), set_cookies(&response).len()), (StatusCode::OK, 0));
    }
    let response = app.send(setting(post("/login"), &["sid.0=A", "sid=D"])).await;
    assert_eq!(set_cookies(&response), ["sid=D"], "one of the two");
}

#[tokio::test]
async fn a_removal_by_the_layer_removes_all_parts_that_came() {
    let all = |response: &Response<Bytes>| {
        let cookies = set_cookies(response);
        assert!(cookies.iter().all(|cookie| is_removal(cookie)), "{cookies:?}");
        let mut names: Vec<String> = names(&cookies).into_iter().map(str::to_owned).collect();
        names.sort();
        names
    };
    let navigation =
        |path: &str, cookie: &str| with(with(get(path, &[]), "cookie", cookie), "accept", "text/html");
    let app = app();
    live(&app, "ABCD").await;
    assert_eq!(
        all(&app.send(navigation("/account", "sid.0=x; sid.1=y; sid.2=z")).await),
        ["sid", "sid.0", "sid.1", "sid.2"]
    );
    assert_eq!(all(&app.send(navigation("/account", "sid.1=y; sid.3=z")).await), ["sid", "sid.1", "sid.3"]);
    assert_eq!(all(&app.send(navigation("/", "sid.0=x; sid.1=y")).await), ["sid", "sid.0", "sid.1"]);
    let logout = with(post("/logout"), "cookie", "sid.0=AB; sid.1=CD");
    assert_eq!(all(&app.send(setting(logout, &["sid.0=; Max-Age=0"])).await), ["sid", "sid.0", "sid.1"]);
    assert!(matches!(app.peek("ABCD").await, Decision::Ended { .. }));
}

#[tokio::test]
async fn chunks_slide_together() {
    let cookie = chunked(CookieChunks::Supabase).max_age(IDLE).sliding();
    let app = App::with(|builder| builder.cookie(cookie));
    live(&app, "ABCD").await;
    app.advance(Duration::from_secs(45));
    let response = app.send(request("sid.1=CD; sid.0=AB")).await;
    assert_eq!(
        set_cookies(&response),
        [
            "sid.0=AB; HttpOnly; SameSite=Lax; Path=/; Max-Age=990",
            "sid.1=CD; HttpOnly; SameSite=Lax; Path=/; Max-Age=990"
        ]
    );
}

#[tokio::test]
async fn sixteen_full_chunks_are_the_longest_session() {
    let app = app();
    // A name and a value of 4096 bytes together are what browsers keep.
    let full = |n: usize| format!("sid.{n}={}", "x".repeat(4096 - format!("sid.{n}").len()));
    let longest: Vec<String> = (0..16).map(full).collect();
    let fields: Vec<&str> = longest.iter().map(String::as_str).collect();
    assert_eq!(set_cookies(&app.send(setting(post("/login"), &fields)).await), fields);
    assert!(seen(&app, &longest.join("; ")).await.is_some());
    let too_long = "x".repeat(MAX_CHUNKED_SESSION_ID_LENGTH + 1);
    assert_eq!(seen(&app, &format!("sid={too_long}")).await, None);
    assert!(app.layer.sessions().start(&SessionId::from(too_long), &NewSession::new()).await.is_err());
}

proptest! {
    #![proptest_config(cases())]

    /// I11: whatever an application sets and removes, and whatever is in the browser from before.
    #[test]
    fn after_an_answer_that_sets_a_part_the_browser_has_one_live_session(
        before in proptest::collection::btree_map(0..5_usize, "[a-c]", 0..4),
        answers in proptest::collection::vec(proptest::collection::vec((0..5_usize, "[d-z]?"), 1..5), 1..4),
    ) {
        const PARTS: [&str; 5] = ["sid", "sid.0", "sid.1", "sid.2", "sid.3"];
        let mut jar: BTreeMap<usize, String> = before;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let app = app();
            for answer in answers {
                let fields = answer.iter().map(|(part, value)| format!("{}={value}", PARTS[*part]));
                let mut request = fields.fold(get("/public/", &[]), |request, field| set_cookie(request, &field));
                if !jar.is_empty() {
                    let pairs: Vec<String> = jar.iter().map(|(part, value)| format!("{}={value}", PARTS[*part])).collect();
                    request = with(request, "cookie", &pairs.join("; "));
                }
                let mut is_set = false;
                for field in set_cookies(&app.send(request).await) {
                    let (name, rest) = field.split_once('=').unwrap();
                    let part = PARTS.iter().position(|part| *part == name).unwrap();
                    let value = rest.split(';').next().unwrap();
                    is_set |= !value.is_empty();
                    if value.is_empty() { jar.remove(&part) } else { jar.insert(part, value.to_owned()) };
                }
                if is_set {
                    let parts: Vec<usize> = jar.keys().copied().collect();
                    let is_one = parts == [0] || parts == (1..=parts.len()).collect::<Vec<_>>();
                    assert!(is_one, "{answer:?}: {jar:?}");
                    let id: String = jar.values().map(String::as_str).collect();
                    assert!(matches!(app.peek(&id).await, Decision::Live(_)), "{answer:?}: {jar:?}");
                }
            }
        });
    }
}

#[test]
fn a_name_that_a_library_would_find_in_others_is_refused() {
    let build = |name, chunks| {
        SessionTimeoutLayer::builder().cookie(SessionCookie::new(name).secure(true).chunks(chunks)).build()
    };
    // `@auth0/nextjs-auth0` would read `myXsid__0`.
    let pattern = build("my.sid", CookieChunks::Auth0).unwrap_err();
    assert!(matches!(&pattern, ConfigError::InvalidCookie { name, .. } if name == "my.sid"));
    assert!(pattern.to_string().contains("regular expression"));
    for (name, chunks) in [("my.sid", CookieChunks::Supabase), ("__Host-my_sid", CookieChunks::Auth0)] {
        assert!(build(name, chunks).is_ok(), "{name}");
    }
}

/// ASP.NET Core sets `NAME=chunks-2`, `NAMEC1` and `NAMEC2`, and others do likewise: the first of them is the same for many.
#[tokio::test]
async fn no_session_begins_under_the_number_of_chunks_that_are_not_declared() {
    for configure in [(|builder| builder) as fn(SessionTimeoutBuilder) -> SessionTimeoutBuilder, |builder| {
        builder.cookie(chunked(CookieChunks::Supabase))
    }] {
        let app = App::with(configure);
        live(&app, "A").await;
        for (number, chunks) in [
            ("sid=chunks-2; Path=/", ["sidC1=ada1; Path=/", "sidC2=ada2; Path=/"]),
            ("sid=__chunked__2", ["sid_1=a", "sid_2=b"]),
            ("sid=first", ["sid2=second", "sid3=third"]),
        ] {
            let id = number.trim_start_matches("sid=").split(';').next().unwrap();
            let cookies = [chunks[0], number, chunks[1]];
            let response = app.send(setting(post("/login"), &cookies)).await;
            assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE, "{number}");
            assert!(set_cookies(&response).is_empty());
            assert!(matches!(app.peek(id).await, Decision::Ended { .. }), "{number}");
            // A session in one piece that grows goes on as it is.
            let response = app.send(setting(request("sid=A"), &cookies)).await;
            assert_eq!((response.status(), set_cookies(&response).len()), (StatusCode::OK, 0), "{number}");
            assert!(matches!(app.peek(id).await, Decision::Ended { .. }), "{number}");
            assert!(app.admits("A").await);
        }
        // The chunks of a session before are removed with it.
        let response = app.send(setting(post("/login"), &["sid=B", "sidC1=; Max-Age=0"])).await;
        assert_eq!(set_cookies(&response), ["sid=B", "sidC1=; Max-Age=0"]);
        // A cookie whose name merely reads so is no session's.
        let response = app.send(setting(post("/theme"), &["sid2=dark"])).await;
        assert_eq!(
            (response.status(), set_cookies(&response)),
            (StatusCode::OK, vec!["sid2=dark".to_owned()])
        );
    }
}

/// `@auth0/nextjs-auth0`
#[tokio::test]
async fn chunks_are_named_as_the_library_names_them() {
    let app = App::with(|builder| builder.cookie(chunked(CookieChunks::Auth0)));
    let response = app.send(setting(post("/login"), &["sid__0=AB; Path=/", "sid__1=CD; Path=/"])).await;
    assert_eq!(set_cookies(&response), ["sid__0=AB; Path=/", "sid__1=CD; Path=/"]);
    assert_eq!(seen(&app, "sid__1=CD; x=1; sid__0=AB").await.unwrap(), "sid__1=CD; x=1; sid__0=AB");
    assert!(seen(&app, "sid=ABCD").await.is_some(), "the same id in one piece");
    for stray in
        ["sid.0", "sid__2x0", "sid_1", "sid__00", "sid__16", "appSession", "appSession.0", "APPsession__1"]
    {
        let went = seen(&app, &format!("sid__0=AB; sid__1=CD; {stray}=EVIL")).await.unwrap();
        assert_eq!(
            went,
            if stray == "sid__2x0" { "sid__0=AB; sid__1=CD; sid__2x0=EVIL" } else { "sid__0=AB; sid__1=CD" }
        );
    }
    assert_eq!(seen(&app, "appSession=ABCD; a=1,appSession.0=ABCD; b=2").await.unwrap(), "b=2", "anonymous");
    let response =
        app.send(with(setting(post("/logout"), &["sid__0="]), "cookie", "sid__0=AB; sid__1=CD")).await;
    let cookies = set_cookies(&response);
    let mut names = names(&cookies);
    names.sort_unstable();
    assert_eq!(names, ["sid", "sid__0", "sid__1"]);
    assert!(cookies.iter().all(|cookie| is_removal(cookie)), "{cookies:?}");
    assert_eq!(seen(&app, "sid__0=AB; sid__1=CD").await, None);
}

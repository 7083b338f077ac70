//! Which cookie is the session's: T20–T30, and what other parsers would take for it.
#![allow(clippy::unchecked_time_subtraction)] // of constants

use crate::support::{self, App, get, header, post, removes_cookie, set_cookie, set_cookies, with};
use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header::COOKIE};
use http_body_util::Full;
use tower_session_timeout::{Limits, MAX_SESSION_ID_LENGTH, NewSession, OwnerlessSessions, SessionId};

fn cookies(fields: &[&[u8]]) -> Request<Full<Bytes>> {
    let mut request = get("/account", &[]);
    for field in fields {
        request.headers_mut().append(COOKIE, HeaderValue::from_bytes(field).unwrap());
    }
    request
}

/// Sends these `Cookie` fields with session A live: what the application saw, or `None` if it was not asked.
async fn seen(fields: &[&[u8]]) -> Option<String> {
    let app = App::new();
    app.log_in("A").await;
    let before = app.calls();
    let response = app.send(cookies(fields)).await;
    (app.calls() > before).then(|| text(&response))
}

fn text(response: &Response<Bytes>) -> String {
    String::from_utf8_lossy(response.body()).into_owned()
}

/// T20
#[tokio::test]
async fn the_session_is_found_in_any_cookie_field() {
    assert_eq!(seen(&[b"a=1", b"b=2; sid=A"]).await.unwrap(), "a=1\nb=2; sid=A");
    assert!(seen(&[b"sid=A"]).await.is_some());
    assert!(seen(&[b"a=1;sid=A;b=2"]).await.is_some());
    assert!(seen(&[b"a=1;   sid=A  ; b=2"]).await.is_some());
}

/// T28
#[tokio::test]
async fn neighbours_that_are_no_utf8_do_no_harm() {
    assert!(seen(&[b"x=\xff\xfe; sid=A; y=\xe9"]).await.unwrap().contains("sid=A"));
    assert_eq!(seen(&[b"x=\xff\xfe; sid=\xff"]).await, None);
}

/// T25: every spelling but the very bytes that were set is unknown.
#[tokio::test]
async fn other_spellings_of_the_id_are_over() {
    for id in ["a", "%41", "\"A\"", "A\\", "A,", "A=", "'A'", "A A", "A\"", "A%20", "A\u{a0}"] {
        let app = App::new();
        app.log_in("A").await;
        let response = app.send(cookies(&[format!("sid={id}").as_bytes()])).await;
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "{id}");
        assert!(app.admits("A").await);
    }
}

/// T26: a quoted string hides nothing.
#[tokio::test]
async fn quotes_are_not_special() {
    assert_eq!(seen(&[b"lang=\"b; sid=EVIL; c=d\""]).await, None);
    assert_eq!(seen(&[b"lang=\"b; sid=A; c=d\""]).await.unwrap(), "lang=\"b; sid=A; c=d\"");
}

#[tokio::test]
async fn an_id_set_with_quotes_is_read_with_quotes() {
    let app = App::new();
    app.log_in("\"A\"").await;
    assert!(app.admits("\"A\"").await);
    assert!(!app.admits("A").await);
}

/// T22, T30
#[tokio::test]
async fn look_alikes_and_empty_values_are_no_session() {
    for other in
        ["xsid=1; id=3; id=sid2", "si=A", "sidsid=A", "s=id=A", "_sid=A", "sid-=A", "theme=sid", "a=sid b"]
    {
        let app = App::new();
        let response = app.send(cookies(&[other.as_bytes()])).await;
        assert_eq!(text(&response), other, "anonymous, and nothing is taken away");
    }
    for empty in ["sid=", "sid= ", "a=1; sid=;", "sid=;sid=", "sid=\"\""] {
        let app = App::new();
        let response = app.send(cookies(&[empty.as_bytes()])).await;
        assert_eq!(response.status(), StatusCode::OK, "{empty:?}");
        assert!(!text(&response).contains("sid"), "{empty:?}");
    }
    assert_eq!(seen(&[b"sid=; sid=A; sid="]).await.unwrap(), "sid=A");
}

/// One case for each way in which a parser known to be in use reads names that RFC 6265bis does not. Each would be a
/// session to it and none to us, so each has to go.
#[tokio::test]
async fn what_a_laxer_parser_reads_as_the_session_is_removed() {
    let disguises: &[(&str, &[u8])] = &[
        ("non-breaking space, Latin-1 (Django, Starlette, PHP trim it)", b"\xa0sid=EVIL"),
        ("non-breaking space after", b"sid\xa0=EVIL"),
        ("non-breaking space, UTF-8", b"\xc2\xa0sid=EVIL"),
        ("next line, a white space to Python", b"\x85sid=EVIL"),
        ("byte order mark", b"\xef\xbb\xbfsid=EVIL"),
        ("tab", b"\tsid\t=EVIL"),
        ("space before the =", b"sid =EVIL"),
        ("letter case", b"SID=EVIL"),
        ("letter case, in part", b"Sid=EVIL"),
        ("percent-encoding", b"%73id=EVIL"),
        ("percent-encoding, upper case letter", b"%53ID=EVIL"),
        ("percent-encoded space", b"%20sid=EVIL"),
        ("percent-encoding of its own (Perl's CGI)", b"%u0073id=EVIL"),
        ("the same further on", b"s%u0069d=EVIL"),
        ("the same behind an old separator", b"a=1,%u0073id=EVIL"),
        ("percent-encoding, twice", b"%2573id=EVIL"),
        ("a per cent that nobody is known to decode", b"%x=EVIL"),
        ("a per cent after the name", b"sid%=EVIL"),
        ("a quoted name with a per cent", b"\"s%{105}d\"=EVIL"),
        ("percent-encoded NUL ends the name in C", b"sid%00x=EVIL"),
        ("percent-encoded control", b"sid%0d%0a=EVIL"),
        ("PHP array", b"sid[]=EVIL"),
        ("PHP array with a key", b"sid[x]=EVIL"),
        ("quoted name", b"\"sid\"=EVIL"),
        ("nameless cookie holding a pair", b"=sid=EVIL"),
        ("comma, an old separator (RFC 2109)", b"a=1,sid=EVIL"),
        ("comma and space", b"a=1, sid=EVIL"),
        ("white space separates for SimpleCookie", b"a=1 sid=EVIL"),
        ("white space around the = for SimpleCookie", b"a=1 sid = EVIL"),
        ("tab separates for SimpleCookie", b"a=1\tsid=EVIL"),
        ("non-breaking space separates for SimpleCookie", b"a=1\xa0sid=EVIL"),
        ("quote, then a pair", b"a=\"1\" sid=EVIL"),
        ("a backslash, a bracket (WebOb)", b"a=b\\]sid=EVIL"),
        ("a bracket within a value (WebOb)", b"a=b]sid=EVIL"),
        ("an array behind an old separator", b"a=1,sid[x]=EVIL"),
        ("a plus, once a space to PHP", b"+sid=EVIL"),
        ("a quoted string over two pairs", b"y\" sid=EVIL"),
        ("an array that may go on in another field (PHP)", b"sid[x]EVIL"),
        ("right behind a date (WebOb)", b"a=Thu, 01-Jan-1970 00:00:00 GMTsid=EVIL"),
        ("several at once", b"\xa0%53I\xadD[0] =EVIL"),
    ];
    for (why, disguise) in disguises {
        let app = App::new();
        app.log_in("A").await;
        let mut field = b"theme=dark; ".to_vec();
        field.extend_from_slice(disguise);
        field.extend_from_slice(b"; lang=en");
        let response = app.send(cookies(&[&field])).await;
        assert_eq!(text(&response), "theme=dark; lang=en", "anonymous: {why}");

        field.extend_from_slice(b"; sid=A");
        let response = app.send(cookies(&[&field])).await;
        assert_eq!(text(&response), "theme=dark; lang=en; sid=A", "signed in: {why}");

        let response = app.send(cookies(&[b"sid=A", &field])).await;
        assert!(!text(&response).contains("EVIL"), "in a second field: {why}");
    }
}

/// RFC 9110's token characters alone make up a name.
#[tokio::test]
async fn every_byte_that_is_no_token_separates() {
    let separators = (0x20..=0xff).chain([b'\t']).filter(|&byte| {
        byte != 0x7f
            && byte != b';'
            && byte != b'='
            && !byte.is_ascii_alphanumeric()
            && !b"!#$%&'*+-.^_`|~".contains(&byte)
    });
    let app = App::new();
    app.log_in("A").await;
    for byte in separators {
        for (before, after) in [
            ("a=b", ""),
            ("a=b=c", ""),
            ("a=1", " "),
            ("", ""),
            ("x", ""),
            ("a=b;", ""),
            ("a={\"b\":[1,2]}", ""),
        ] {
            for name in ["sid", "SID", "%73id", "%u0073id", "sid.0", "sid__0", "sid[0]"] {
                let mut field = before.as_bytes().to_vec();
                field.push(byte);
                field.extend_from_slice(format!("{after}{name}").as_bytes());
                for end in [&[][..], &[byte], &[b' ', byte]] {
                    let field = [&field, end, b"=EVIL"].concat();
                    let fields =
                        [&field, &[&field, &b"; lang=en"[..]].concat(), &[b"lang=en; ", &field[..]].concat()];
                    for field in fields {
                        let response = app.send(cookies(&[field])).await;
                        assert!(!text(&response).contains("EVIL"), "{}", field.escape_ascii());
                        let response = app.send(cookies(&[field, b"sid=A"])).await;
                        assert!(!text(&response).contains("EVIL"), "{}", field.escape_ascii());
                    }
                }
            }
        }
    }
}

/// To one parser or another (lightcookie), what follows such a name is its value.
#[tokio::test]
async fn a_pair_without_equals_whose_first_word_is_the_session_name_is_removed() {
    let app = App::new();
    app.log_in("A").await;
    for pair in [
        "sid EVIL",
        "sid  EVIL",
        "sid\tEVIL",
        "sid,EVIL",
        "sid\"EVIL\"",
        "SID EVIL",
        "%73id EVIL",
        "sid.0 EVIL",
        "sid__0 EVIL",
        "\"sid\" EVIL",
        "sid EVIL=",
        "sid EVIL=1",
        "=sid EVIL",
        "= =sid EVIL",
        "sid",
    ] {
        for field in [pair.to_owned(), format!("{pair}; lang=en"), format!("theme=dark; {pair}; lang=en")] {
            let others = field.replace(&format!("{pair}; "), "").replace(pair, "");
            let response = app.send(cookies(&[field.as_bytes()])).await;
            assert_eq!((response.status(), &*text(&response)), (StatusCode::OK, &*others), "{field}");
            let response = app.send(cookies(&[format!("{field}; sid=A").as_bytes()])).await;
            let others = format!("{others}; sid=A").trim_start_matches("; ").to_owned();
            assert_eq!(text(&response), others, "{field}");
        }
    }
    for ordinary in ["sidecar EVIL", "xsid EVIL", "a sid EVIL", "theme", "=side", "a=sid EVIL"] {
        assert_eq!(text(&app.send(cookies(&[ordinary.as_bytes()])).await), ordinary);
    }
}

/// To libraries that split a long session over several cookies.
#[tokio::test]
async fn chunks_of_a_cookie_that_is_not_chunked_are_removed() {
    let app = App::new();
    for chunk in [
        "sid.0",
        "sid.1",
        "sid.10",
        "sid__0",
        "sid_0",
        "sid-0",
        "sid0",
        "sid2",
        "sidC1",
        "sid#:1",
        "sid...7",
        "sid_c_12",
        "Sid__0",
        "%73id__0",
        "a=1,sidC1",
        "\u{a0}sid__0",
        "sid.00",
        "sid.123456789012345678901234567890",
        "SID.0",
        "\u{a0}sid.0",
        "a=1,sid.0",
    ] {
        let response = app.send(cookies(&[format!("{chunk}=EVIL; lang=en").as_bytes()])).await;
        assert_eq!((response.status(), &*text(&response)), (StatusCode::OK, "lang=en"), "{chunk}");
    }
    for other in [
        "sid.",
        "sid.x",
        "sid.0x",
        "sid.0.x",
        "a.sid.x",
        "sid-code-verifier.0",
        "xsid0",
        "sid0a",
        "sid____0",
        "sid_0_0",
    ] {
        let field = format!("{other}=1");
        assert_eq!(text(&app.send(cookies(&[field.as_bytes()])).await), field);
    }
}

/// Auth.js takes every cookie that begins with its session cookie's name for a part of the session.
#[tokio::test]
async fn what_begins_with_the_session_cookie_of_auth_js_is_removed() {
    for name in ["authjs.session-token", "__Secure-authjs.session-token", "__Host-next-auth.session-token"] {
        let app = App::with(|builder| builder.cookie(name));
        for longer in ["x", ".0", ".x", "-1", "]", "_", "%", " .0"] {
            let response = app.send(cookies(&[format!("{name}{longer}=EVIL; lang=en").as_bytes()])).await;
            assert_eq!(text(&response), "lang=en", "{name}{longer}");
            let response = app.send(cookies(&[format!("{name}{longer}; lang=en").as_bytes()])).await;
            assert_eq!(text(&response), "lang=en", "{name}{longer}, which has a value to Next.js");
        }
        let others = "authjs.csrf-token=1; next-auth.callback-url=2; authjs.session=3";
        assert_eq!(text(&app.send(cookies(&[others.as_bytes()])).await), others);
    }
}

#[tokio::test]
async fn php_reads_dots_spaces_and_brackets_as_underscores() {
    let app = App::with(|builder| builder.cookie("my_app.sid"));
    for disguise in ["my.app.sid", "my app sid", "my[app.sid", "my_app_sid", "My.App_sid", "my%20app.sid"] {
        let response = app.send(cookies(&[format!("{disguise}=EVIL; a=1").as_bytes()])).await;
        assert_eq!(text(&response), "a=1", "{disguise}");
    }
    let app = App::with(|builder| builder.cookie("__Host-sid"));
    for disguise in ["..Host-sid", "__host-sid", "._Host-sid", "_%5fHost-sid", "_ Host-sid"] {
        let response = app.send(cookies(&[format!("{disguise}=EVIL; a=1").as_bytes()])).await;
        assert_eq!(text(&response), "a=1", "{disguise}");
    }
}

/// What has nothing to do with us is forwarded byte for byte.
#[tokio::test]
async fn ordinary_cookies_are_not_touched() {
    let ordinary = [
        "_ga=GA1.1.1234567890.1700000000; sid=A",
        "sid=A;",
        "sid=A;;",
        "sso=abc==; s=1; sidebar=open; sid=A; SidX=1",
        "prefs={\"a\":1,\"b\":2}; sid=A",
        "q=a b; sid=A",
        "q=a b; x=sid=5; y=a,b; sid=A; z=sid",
        "x=y=z; sid=A; AMCV_5A%40AdobeOrg=1; next=/in?a=1&b=/foo%20bar&c=2",
        "a=\"x\"; b=/p/q?r=s&t=u; sid=A; c=[1,{\"d\":\"e==\"}]; e=YWJjZA==; f=(g); h=@i\\j",
        "jwt=eyJhbGciOiJIUzI1NiJ9.e30.Zm9v; sid=A; u=https://example.com/?q=sidecar&sid=2; d=2024-01-01T00:00:00Z",
        "s_id=1; s.id=2; id=3; id=sid; a=sid]; b=,sid; sid=A; sid_=4; c=%73id; d=b=c=1",
    ];
    for field in ordinary {
        assert_eq!(seen(&[field.as_bytes()]).await.unwrap(), field);
    }
}

/// T24
#[tokio::test]
async fn of_different_duplicates_the_one_that_is_live_is_used() {
    for fields in [
        &[&b"sid=A; sid=dead"[..]][..],
        &[b"sid=dead; sid=A"],
        &[b"sid=dead", b"a=1; sid=A"],
        &[b"sid=x; sid=y; sid=z; sid=A"],
        &[b"sid=A; sid=A; sid=dead; SID=A"],
    ] {
        let saw = seen(fields).await.expect("let through");
        assert_eq!(saw.matches("sid=").count(), saw.matches("sid=A").count(), "{saw}");
        assert!(saw.contains("sid=A"));
    }
    assert_eq!(seen(&[b"sid=A; sid=A"]).await.unwrap(), "sid=A; sid=A");
}

/// T24
#[tokio::test]
async fn duplicates_of_which_not_exactly_one_is_live_are_refused() {
    let app = App::new();
    app.log_in("A").await;
    app.log_in("B").await;
    let before = app.calls();
    for field in ["sid=A; sid=B", "sid=x; sid=y", "sid=a; sid=b; sid=c; sid=d; sid=A"] {
        let response = app.send(cookies(&[field.as_bytes()])).await;
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "{field}");
    }
    assert_eq!(app.calls(), before);
    assert!(app.admits("A").await && app.admits("B").await, "the users themselves suffer nothing");
}

/// An application that has moved its cookie to another path: the browser holds an old id of its session, too.
#[tokio::test]
async fn several_ids_of_one_live_session_are_that_session() {
    for field in ["sid=B; sid=A", "sid=A; sid=B", "sid=dead; sid=A; sid=B"] {
        let app = App::with(|builder| builder.rotation_grace(support::IDLE));
        app.log_in("A").await;
        app.advance(support::NANO);
        app.send(set_cookie(cookies(&[b"sid=A"]), "sid=B; Path=/admin")).await;
        let response = app.send(cookies(&[field.as_bytes()])).await;
        assert_eq!(response.status(), StatusCode::OK, "{field}");
        assert_eq!(text(&response), "sid=B", "the newest one");
        let answer = app.send(with(post("/logout"), "cookie", field)).await;
        assert_eq!(text(&answer), "sid=B", "and the application judges its log-out");
        assert!(!app.admits("A").await && !app.admits("B").await);
    }
}

/// A cap judges the session, not whether it is one.
#[tokio::test]
async fn several_ids_of_one_live_session_are_that_session_to_a_cap_too() {
    let minute = std::time::Duration::from_secs(60);
    let app = App::with(|builder| builder.limits_for(move |_| Some(Limits::idle_only(minute))));
    app.log_in("A").await;
    app.send(set_cookie(cookies(&[b"sid=A"]), "sid=B")).await;
    assert_eq!(app.send(cookies(&[b"sid=B; sid=A"])).await.status(), StatusCode::OK);
    app.advance(minute);
    let refused = app.send(cookies(&[b"sid=B; sid=A"])).await;
    assert_eq!((refused.status(), header(&refused, "session-ended")), (StatusCode::UNAUTHORIZED, "idle"));
}

#[tokio::test]
async fn a_refusal_for_several_live_sessions_removes_no_cookie() {
    let app = App::new();
    app.log_in("A").await;
    app.log_in("B").await;
    for path in ["/account", "/"] {
        let request =
            get(path, &[("cookie", "sid=A; sid=B"), ("accept", "text/html"), ("sec-fetch-mode", "navigate")]);
        let answer = app.send(request).await;
        assert!(!text(&answer).contains("sid="));
        assert!(set_cookies(&answer).is_empty(), "{path} {:?}", set_cookies(&answer));
    }
    assert!(app.admits("A").await && app.admits("B").await);
}

/// None of them goes on without an id where only sessions that nobody owns may.
#[tokio::test]
async fn several_live_sessions_go_on_without_id_only_if_nobody_owns_one() {
    for (owner, status) in [(None, StatusCode::OK), (Some("ada"), StatusCode::UNAUTHORIZED)] {
        let app = App::with(|builder| builder.ownerless_sessions(OwnerlessSessions::ContinueWithoutId));
        app.log_in("A").await;
        let mut login = set_cookie(post("/login"), "sid=B");
        if let Some(owner) = owner {
            login = with(login, "x-login", owner);
        }
        app.send(login).await;
        assert_eq!(app.send(cookies(&[b"sid=A; sid=B"])).await.status(), status);
    }
}

#[tokio::test]
async fn duplicates_are_all_removed_on_a_public_page() {
    let app = App::new();
    let request =
        get("/", &[("cookie", "sid=x; a=1; SID=z"), ("cookie", "sid=y; b=2"), ("accept", "text/html")]);
    let response = app.send(request).await;
    assert_eq!(text(&response), "a=1; b=2");
    assert!(removes_cookie(&response));
}

#[tokio::test]
async fn a_duplicate_request_of_the_live_session_is_activity() {
    let app = App::new();
    app.log_in("A").await;
    for _ in 0..3 {
        app.advance(support::IDLE - support::NANO);
        let response = app.send(cookies(&[b"sid=dead; sid=A"])).await;
        assert_eq!(response.status(), StatusCode::OK);
    }
}

/// T27
#[tokio::test]
async fn an_oversized_id_is_over() {
    let app = App::new();
    let longest = "x".repeat(MAX_SESSION_ID_LENGTH);
    app.layer.sessions().start(&SessionId::from(longest.as_str()), &NewSession::new()).await.unwrap();
    assert!(app.admits(&longest).await);
    for length in [MAX_SESSION_ID_LENGTH + 1, 8 << 10, 1 << 20] {
        assert!(!app.admits(&"x".repeat(length)).await);
    }
}

/// T29: also the slow checks are linear; this takes minutes if they are not.
#[tokio::test]
async fn a_flood_of_cookies_is_read_in_linear_time() {
    let app = App::new();
    app.log_in("A").await;
    for piece in [
        "a=;",
        ";",
        "=",
        "s",
        "si d=",
        "%73",
        "sid ,",
        "a=1 sid",
        "\u{a0}",
        "sid=x;",
        "s[=",
        "a,sid",
        "sid[",
        "a=%",
        "]sid",
        "sid.0",
        "sid__0",
        "%u0073id=",
        "a=b,%",
        "s%",
    ] {
        let flood = piece.repeat(200_000 / piece.len());
        app.send(cookies(&[flood.as_bytes()])).await;
        let before = app.calls();
        app.send(cookies(&[format!("{flood};sid=A").as_bytes()])).await;
        assert!(app.calls() > before || piece == "sid=x;" || piece == "sid ,", "{piece}");
    }
}

/// T21, T23
#[tokio::test]
async fn the_exact_name_wins_over_its_look_alikes() {
    assert_eq!(seen(&[b"SID=EVIL; sid=A; =sid=EVIL"]).await.unwrap(), "sid=A");
    assert_eq!(seen(&[b"SID=A"]).await.unwrap(), "", "no session");
    let app = App::with(|builder| builder.cookie("__Host-sid"));
    for nameless in ["=__Host-sid=evil", "__Host-sid", ";;;", "="] {
        let response = app.send(cookies(&[nameless.as_bytes()])).await;
        assert_eq!(response.status(), StatusCode::OK, "no id: {nameless}");
        assert!(!text(&response).contains("evil"));
    }
}

#[tokio::test]
async fn a_request_without_cookies_is_anonymous() {
    let app = App::new();
    let response = app.send(get("/account", &[])).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(header(&response, "x-session"), "");
    assert!(set_cookies(&app.send(post("/login")).await).is_empty());
    assert!(app.store.is_empty());
}

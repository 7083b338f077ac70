//! What a page asks the layer itself, and what the application's answers tell it. `T` numbers are those of `tests/browser`,
//! unless they are said to be of the security cases.
#![cfg(feature = "client")]
#![allow(clippy::unchecked_time_subtraction)] // of constants

use std::{collections::HashSet, sync::atomic::Ordering::SeqCst, time::Duration};

use crate::support::{
    ABSOLUTE, App, IDLE, RuntimeClock, get, header, post, remote::Remote, removes_cookie, set_cookie,
    set_cookies, sid, with,
};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use serde_json::{Value, json};
use tower::{Layer, ServiceExt};
use tower_session_timeout::{
    ClientEndpoints, ConfigError, Decision, EndReason, Limits, MemoryStore, NewSession, OwnerlessSessions,
    RequestHead, SessionId, SessionKey, SessionTimeoutBuilder, SessionTimeoutLayer, Started, Store,
    StoreError,
    contract::{Access, Answer, IdTag, Policy, Restarted, Rotated, Verdict},
};

const MINUTE: Duration = Duration::from_secs(60);
const STATUS: &str = "/_session-timeout/status";
const KEEP_ALIVE: &str = "/_session-timeout/keep-alive";
const SIGN_OUT: &str = "/_session-timeout/sign-out";
const DRAFT_KEY: &str = "/_session-timeout/draft-key";

fn configure(builder: SessionTimeoutBuilder) -> SessionTimeoutBuilder {
    builder.client_endpoints(ClientEndpoints::at("/_session-timeout").secret([7; 32]))
}

async fn signed_in(id: &str, owner: &str) -> App {
    let app = App::with(configure);
    log_in(&app, id, owner).await;
    app
}

async fn log_in(app: &App, id: &str, owner: &str) {
    app.send(with(set_cookie(post("/login"), &format!("sid={id}")), "x-login", owner)).await;
}

fn own_page(request: Request<Full<Bytes>>) -> Request<Full<Bytes>> {
    with(request, "sec-fetch-site", "same-origin")
}

fn parsed(response: &Response<Bytes>) -> Value {
    assert_eq!(header(response, "content-type"), "application/json");
    serde_json::from_slice(response.body()).unwrap()
}

async fn status(app: &App, id: &str) -> Value {
    let response = app.send(sid(get(STATUS, &[]), id)).await;
    assert_eq!(response.status(), StatusCode::OK);
    parsed(&response)
}

fn keep_alive(id: &str, idle_for: Duration) -> Request<Full<Bytes>> {
    let request = own_page(sid(post(KEEP_ALIVE), id));
    with(request, "session-idle-for", &idle_for.as_millis().to_string())
}

#[tokio::test]
async fn the_status_of_a_live_session_is_told_in_relative_times() {
    let app = signed_in("A", "ada").await;
    app.advance(MINUTE);
    let mut told = status(&app, "A").await;
    for digest in ["session", "user"] {
        assert_eq!(told[digest].as_str().unwrap().len(), 22, "128 bits");
        told[digest].take();
    }
    let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap();
    let expected = json!({
        "v": 1, "state": "active", "reason": null, "limit": "idle", "expires_in_ms": ms(IDLE) - ms(MINUTE),
        "idle_ms": ms(IDLE), "absolute_in_ms": ms(ABSOLUTE) - ms(MINUTE), "warn_ms": 120_000, "can_extend": true,
        "session": null, "user": null,
    });
    assert_eq!(told, expected);
}

/// T4, I10; T72 of the security cases.
#[tokio::test]
async fn asking_for_the_status_changes_nothing() {
    let app = signed_in("A", "ada").await;
    for second in 0..IDLE.as_secs() {
        let response = app.send(sid(get(STATUS, &[("session-idle-for", "0")]), "A")).await;
        assert_eq!(parsed(&response)["expires_in_ms"], (IDLE.as_secs() - second) * 1000);
        assert!(set_cookies(&response).is_empty());
        assert_eq!(header(&response, "cache-control"), "no-store");
        assert_eq!(header(&response, "vary"), "cookie");
        assert_eq!(header(&response, "x-content-type-options"), "nosniff");
        assert_eq!(header(&response, "cross-origin-resource-policy"), "same-origin");
        app.advance(Duration::from_secs(1));
    }
    let calls = app.calls();
    let over = status(&app, "A").await;
    assert_eq!((&over["state"], &over["reason"]), (&json!("ended"), &json!("idle")));
    assert_eq!(over["expires_in_ms"], Value::Null);
    assert_eq!(app.calls(), calls, "the application is asked nothing");
}

#[tokio::test]
async fn a_made_up_id_learns_nothing_and_none_is_anonymous() {
    let app = signed_in("A", "ada").await;
    let unknown = status(&app, "made-up").await;
    assert_eq!((&unknown["state"], &unknown["reason"]), (&json!("ended"), &Value::Null));
    let response = app.send(get(STATUS, &[])).await;
    assert_eq!(parsed(&response)["state"], "anonymous");
}

#[tokio::test]
async fn digests_stay_with_session_and_user_and_name_neither() {
    let app = signed_in("A", "ada").await;
    log_in(&app, "B", "ada").await;
    log_in(&app, "C", "bob").await;
    let (one, two, bob) = (status(&app, "A").await, status(&app, "B").await, status(&app, "C").await);
    assert_eq!(one["user"], two["user"]);
    assert_ne!(one["session"], two["session"]);
    assert_ne!(one["user"], bob["user"]);
    app.send(set_cookie(sid(get("/account", &[]), "A"), "sid=A2")).await;
    assert_eq!(status(&app, "A2").await["session"], one["session"], "another id of the same session");
    app.log_in("D").await;
    assert_eq!(status(&app, "D").await["user"], Value::Null);
}

/// T12: the idle clock begins anew when the user was last active, not when the page says so.
#[tokio::test(start_paused = true)]
async fn keep_alive_renews_as_of_the_last_activity() {
    let app = signed_in("A", "ada").await;
    app.advance(MINUTE * 10);
    let told = parsed(&app.send(keep_alive("A", MINUTE * 3)).await);
    assert_eq!(told["expires_in_ms"], 12 * 60_000);
    assert_eq!(told["idle_ms"], 15 * 60_000);
    let older = parsed(&app.send(keep_alive("A", MINUTE * 9)).await);
    assert_eq!(older["expires_in_ms"], 12 * 60_000, "never back");
    let clamped = parsed(&app.send(keep_alive("A", Duration::from_secs(u64::MAX / 2000))).await);
    assert_eq!(clamped["expires_in_ms"], 12 * 60_000);
    app.advance(MINUTE * 12);
    let over = parsed(&app.send(keep_alive("A", Duration::ZERO)).await);
    assert_eq!((&over["state"], &over["reason"]), (&json!("ended"), &json!("idle")), "never revived");
    assert!(!app.admits("A").await);
}

#[tokio::test]
async fn near_the_absolute_timeout_nothing_can_be_extended() {
    let app = signed_in("A", "ada").await;
    let mut age = Duration::ZERO;
    while age < ABSOLUTE.saturating_sub(MINUTE * 10) {
        app.advance(MINUTE * 10);
        age += MINUTE * 10;
        app.send(keep_alive("A", Duration::ZERO)).await;
    }
    let told = status(&app, "A").await;
    assert_eq!((&told["limit"], &told["can_extend"]), (&json!("absolute"), &json!(false)));
    assert_eq!(told["expires_in_ms"], 10 * 60_000);
}

#[tokio::test]
async fn what_both_limits_end_at_once_cannot_be_extended() {
    let app = App::with(|builder| configure(builder).absolute_timeout(IDLE));
    app.log_in("A").await;
    let told = status(&app, "A").await;
    assert_eq!((&told["limit"], &told["can_extend"]), (&json!("absolute"), &json!(false)));
}

/// T46; T70 of the security cases.
#[tokio::test]
async fn only_the_sites_own_pages_keep_alive_sign_out_or_get_a_key() {
    let app = signed_in("A", "ada").await;
    app.advance(MINUTE);
    let elsewhere: [&[(&'static str, &str)]; 11] = [
        &[],
        &[("sec-fetch-site", "cross-site")],
        &[("sec-fetch-site", "same-site")],
        &[("sec-fetch-site", "none")],
        &[("sec-fetch-site", "same-origin"), ("sec-fetch-site", "cross-site")],
        &[("origin", "https://shop.example"), ("origin", "https://evil.example"), ("host", "shop.example")],
        &[("origin", "https://shop.example"), ("host", "shop.example"), ("host", "evil.example")],
        &[("sec-fetch-site", "cross-site"), ("origin", "https://shop.example"), ("host", "shop.example")],
        &[("origin", "https://evil.example"), ("host", "shop.example")],
        &[("origin", "https://shop.example"), ("host", "shop.example:8443")],
        &[("origin", "https://shop.example"), ("host", "shop.example.evil.example")],
    ];
    for headers in elsewhere {
        let add = |request| headers.iter().fold(request, |request, (name, value)| with(request, name, value));
        for request in [post(KEEP_ALIVE), post(SIGN_OUT), get(DRAFT_KEY, &[])] {
            let path = request.uri().path().to_owned();
            let response = app.send(add(sid(request, "A"))).await;
            assert_eq!(response.status(), StatusCode::FORBIDDEN, "{path} {headers:?}");
        }
    }
    assert_eq!(status(&app, "A").await["expires_in_ms"], 14 * 60_000, "not renewed");
    let older_browser = with(
        with(sid(post(KEEP_ALIVE), "A"), "origin", "https://shop.example:8443"),
        "host",
        "shop.example:8443",
    );
    assert_eq!(app.send(older_browser).await.status(), StatusCode::OK);
}

/// T64 of the security cases: what a page of another site can tell of an answer that it may not read, its status and whether
/// it loaded at all, is the same whoever is signed in.
#[tokio::test]
async fn a_page_of_another_site_cannot_tell_who_is_signed_in() {
    let app = signed_in("A", "ada").await;
    let elsewhere =
        |request| with(with(request, "sec-fetch-site", "cross-site"), "origin", "https://evil.example");
    let seen = async |request: Request<Full<Bytes>>| {
        let response = app.send(elsewhere(request)).await;
        let mut names: Vec<_> = response.headers().keys().map(ToString::to_string).collect();
        names.sort();
        assert!(
            names.iter().all(|name| !name.starts_with("access-control-") && name != "timing-allow-origin")
        );
        assert_eq!(header(&response, "cross-origin-resource-policy"), "same-origin");
        assert_eq!(header(&response, "x-content-type-options"), "nosniff");
        assert!(set_cookies(&response).is_empty());
        (response.status(), names)
    };
    for request in [get(STATUS, &[]), post(KEEP_ALIVE), post(SIGN_OUT), get(DRAFT_KEY, &[])] {
        let path = request.uri().path().to_owned();
        let nobody = seen(request.clone()).await;
        for id in ["A", "made-up"] {
            assert_eq!(seen(sid(request.clone(), id)).await, nobody, "{path} with {id}");
        }
    }
    assert!(app.admits("A").await);
}

/// T76 of the security cases: a script that never tires.
#[tokio::test]
async fn no_keep_alive_outlives_the_absolute_timeout() {
    let app = signed_in("A", "ada").await;
    for minute in 1..ABSOLUTE.as_secs() / 60 {
        app.advance(MINUTE);
        let told = parsed(&app.send(keep_alive("A", Duration::ZERO)).await);
        let left = (ABSOLUTE - MINUTE * u32::try_from(minute).unwrap()).as_millis();
        assert!(u128::from(told["expires_in_ms"].as_u64().unwrap()) <= left, "minute {minute}");
    }
    app.advance(MINUTE);
    let told = parsed(&app.send(keep_alive("A", Duration::ZERO)).await);
    assert_eq!((&told["state"], &told["reason"]), (&json!("ended"), &json!("absolute")));
    assert!(!app.admits("A").await);
}

/// As in HTTP/2, which has no `Host`.
#[tokio::test]
async fn the_sites_name_may_be_part_of_the_target() {
    let app = signed_in("A", "ada").await;
    for (origin, expected) in [
        ("https://shop.example:8443", StatusCode::OK),
        ("https://shop.example", StatusCode::FORBIDDEN),
        ("https://evil.example:8443", StatusCode::FORBIDDEN),
    ] {
        let request = sid(post(&format!("https://shop.example:8443{KEEP_ALIVE}")), "A");
        let response = app.send(with(request, "origin", origin)).await;
        assert_eq!(response.status(), expected, "{origin}");
    }
}

#[tokio::test]
async fn signing_out_with_several_live_ids_ends_them_all() {
    let app = signed_in("A", "ada").await;
    log_in(&app, "B", "ada").await;
    let request = own_page(with(post(SIGN_OUT), "cookie", "sid=A; sid=made-up; sid=B"));
    let response = app.send(request).await;
    assert_eq!(parsed(&response)["state"], "ended");
    assert_eq!(parsed(&response)["reason"], "signed_out");
    assert!(removes_cookie(&response));
    for id in ["A", "B"] {
        assert_eq!(app.end_reason(id).await, Some(EndReason::SignedOut), "{id}");
    }
}

#[tokio::test]
async fn several_live_ids_are_no_session_to_the_other_endpoints() {
    let app = signed_in("A", "ada").await;
    log_in(&app, "B", "ada").await;
    let told = app.send(with(get(STATUS, &[]), "cookie", "sid=A; sid=B")).await;
    assert_eq!(parsed(&told)["state"], "ended");
    let elsewhere = with(with(post(SIGN_OUT), "sec-fetch-site", "cross-site"), "cookie", "sid=A; sid=B");
    assert_eq!(app.send(elsewhere).await.status(), StatusCode::FORBIDDEN);
    assert!(app.admits("A").await && app.admits("B").await);
}

/// There is a bound to how many are looked at. Then the end is not pretended.
#[tokio::test]
async fn signing_out_with_too_many_ids_is_not_pretended() {
    let app = signed_in("A", "ada").await;
    let request = own_page(with(post(SIGN_OUT), "cookie", "sid=1; sid=2; sid=3; sid=4; sid=A"));
    assert!(!app.send(request).await.status().is_success());
    assert!(app.admits("A").await);
}

/// A store that takes its time.
#[tokio::test(start_paused = true)]
async fn signing_out_is_not_lost_if_the_page_goes_away() {
    let second = Duration::from_secs(1);
    for after in [Duration::ZERO, second / 2, 3 * second / 2] {
        let store = Remote::new(RuntimeClock::new());
        let app = App::on(store.clone(), |builder| configure(builder).store_deadline(10 * second));
        app.layer.sessions().start(&SessionId::from("A"), &NewSession::new()).await.unwrap();
        store.takes.store(1, SeqCst);
        let answer = app.send(own_page(sid(post(SIGN_OUT), "A")));
        assert!(tokio::time::timeout(after, answer).await.is_err(), "the page goes away");
        tokio::time::sleep(5 * second).await;
        assert_eq!(app.end_reason("A").await, Some(EndReason::SignedOut), "{after:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn signing_out_while_the_store_is_away_is_remembered() {
    let store = Remote::new(RuntimeClock::new());
    let app = App::on(store.clone(), configure);
    for id in ["A", "B"] {
        app.layer.sessions().start(&SessionId::from(id), &NewSession::new()).await.unwrap();
    }
    store.failing.store(3, SeqCst);
    let request = own_page(with(post(SIGN_OUT), "cookie", "sid=A; sid=B"));
    assert_eq!(app.send(request).await.status(), StatusCode::SERVICE_UNAVAILABLE);
    tokio::time::sleep(Duration::from_secs(5)).await;
    for id in ["A", "B"] {
        assert_eq!(app.end_reason(id).await, Some(EndReason::SignedOut), "{id}");
    }
}

/// The session of the outer layer, which has admitted the request with it.
#[tokio::test]
async fn signing_out_at_an_inner_layer_ends_the_outer_ones_session() {
    let outer = SessionTimeoutLayer::builder().cookie("sid").build().unwrap();
    let inner = configure(SessionTimeoutLayer::builder().cookie("sid")).build().unwrap();
    let application =
        tower::service_fn(async |_: Request<Full<Bytes>>| -> Result<_, std::convert::Infallible> {
            Ok(Response::new(Full::<Bytes>::default()))
        });
    let id = SessionId::from("A");
    outer.sessions().start(&id, &NewSession::new()).await.unwrap();
    let request = own_page(sid(post(SIGN_OUT), "A"));
    let answer = outer.layer(inner.layer(application)).oneshot(request).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert!(removes_cookie(&answer));
    let over = outer.sessions().peek(&id).await.unwrap();
    assert!(matches!(over, Decision::Ended { reason: EndReason::SignedOut, .. }), "{over:?}");
}

#[tokio::test]
async fn head_gets_the_headers_of_get_and_no_body() {
    let app = signed_in("A", "ada").await;
    for path in [STATUS, DRAFT_KEY] {
        let asked = own_page(sid(get(path, &[]), "A"));
        let mut head = asked.clone();
        *head.method_mut() = http::Method::HEAD;
        let (whole, head) = (app.send(asked).await, app.send(head).await);
        assert_eq!((head.status(), head.headers()), (StatusCode::OK, whole.headers()), "{path}");
        assert_eq!(header(&head, "content-length"), whole.body().len().to_string());
        assert!(head.body().is_empty());
    }
}

#[tokio::test]
async fn wrong_methods_paths_and_numbers_are_refused() {
    let app = signed_in("A", "ada").await;
    let calls = app.calls();
    for (request, allow) in
        [(get(KEEP_ALIVE, &[]), "POST"), (get(SIGN_OUT, &[]), "POST"), (post(STATUS), "GET, HEAD")]
    {
        let response = app.send(own_page(sid(request, "A"))).await;
        assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(header(&response, "allow"), allow);
    }
    for path in ["/_session-timeout/", "/_session-timeout/stat", "/_session-timeout/status/"] {
        assert_eq!(app.send(sid(get(path, &[]), "A")).await.status(), StatusCode::NOT_FOUND, "{path}");
    }
    for number in ["-1", "soon", "1.5", ""] {
        let request = with(own_page(sid(post(KEEP_ALIVE), "A")), "session-idle-for", number);
        assert_eq!(app.send(request).await.status(), StatusCode::BAD_REQUEST, "{number}");
    }
    let two = with(keep_alive("A", Duration::ZERO), "session-idle-for", "soon");
    assert_eq!(app.send(two).await.status(), StatusCode::BAD_REQUEST, "the second one counts, too");
    assert_eq!(app.calls(), calls);
    app.send(sid(get("/_session-timeouts", &[]), "A")).await;
    assert_eq!(app.calls(), calls + 1, "another path is the application's");
}

/// T23: a page loaded by one user must not keep another one's session alive.
#[tokio::test(start_paused = true)]
async fn a_page_of_another_user_is_told_so_and_renews_nothing() {
    let app = signed_in("A", "ada").await;
    log_in(&app, "B", "bob").await;
    let ada = status(&app, "A").await["user"].as_str().unwrap().to_owned();
    app.advance(MINUTE);
    let response = app.send(with(keep_alive("B", Duration::ZERO), "session-user", &ada)).await;
    assert_eq!(response.status(), StatusCode::CONFLICT);
    let told = parsed(&response);
    assert_ne!(told["user"], ada);
    assert_eq!(status(&app, "B").await["expires_in_ms"], 14 * 60_000);
    app.log_in("C").await;
    let nobody = app.send(with(keep_alive("C", Duration::ZERO), "session-user", &ada)).await;
    assert_eq!(nobody.status(), StatusCode::CONFLICT, "nor one that is nobody's");
    let both = with(
        with(keep_alive("B", Duration::ZERO), "session-user", told["user"].as_str().unwrap()),
        "session-user",
        &ada,
    );
    assert_eq!(app.send(both).await.status(), StatusCode::CONFLICT, "a page of two users is of neither");
    let own = app.send(with(keep_alive("A", Duration::ZERO), "session-user", &ada)).await;
    assert_eq!((own.status(), &parsed(&own)["expires_in_ms"]), (StatusCode::OK, &json!(15 * 60_000)));
}

#[tokio::test]
async fn signing_out_ends_the_session_and_removes_the_cookie() {
    let app = signed_in("A", "ada").await;
    let response = app.send(own_page(sid(post(SIGN_OUT), "A"))).await;
    let told = parsed(&response);
    assert_eq!((&told["state"], &told["reason"]), (&json!("ended"), &json!("signed_out")));
    assert!(removes_cookie(&response));
    assert_eq!(app.end_reason("A").await, Some(EndReason::SignedOut));
    let again = app.send(own_page(sid(post(SIGN_OUT), "A"))).await;
    assert!(removes_cookie(&again), "an id that is over is of no more use");
    let nobody = app.send(own_page(post(SIGN_OUT))).await;
    assert!(!removes_cookie(&nobody), "a request that brought none loses none");
}

#[tokio::test]
async fn a_draft_key_is_its_users_alone() {
    let app = signed_in("A", "ada").await;
    log_in(&app, "B", "bob").await;
    log_in(&app, "A2", "ada").await;
    app.log_in("nobody").await;
    let key = async |id: &str| {
        let response = app.send(own_page(sid(get(DRAFT_KEY, &[]), id))).await;
        assert_eq!(header(&response, "cache-control"), "no-store");
        (response.status() == StatusCode::OK).then(|| parsed(&response)["key"].as_str().unwrap().to_owned())
    };
    let ada = key("A").await.unwrap();
    assert_eq!(ada.len(), 43, "256 bits");
    let told = status(&app, "A").await["user"].as_str().unwrap().to_owned();
    assert!(!ada.starts_with(&told[..21]), "what pages of other sites may learn is no part of it");
    assert_eq!(key("A2").await, Some(ada.clone()), "also after the next log-in");
    assert_ne!(key("B").await, Some(ada));
    assert_eq!(key("nobody").await, None);
    assert_eq!(key("made-up").await, None);
    app.advance(IDLE);
    assert_eq!(key("A").await, None);
}

/// A page asks for it again where it was not answered; meanwhile, somebody else may be signed in.
#[tokio::test]
async fn a_page_of_another_user_gets_no_draft_key() {
    let app = signed_in("A", "ada").await;
    log_in(&app, "B", "bob").await;
    let ada = status(&app, "A").await["user"].as_str().unwrap().to_owned();
    let ask =
        async |id: &str| app.send(with(own_page(sid(get(DRAFT_KEY, &[]), id)), "session-user", &ada)).await;
    assert_eq!(ask("A").await.status(), StatusCode::OK);
    let other = ask("B").await;
    assert_eq!(other.status(), StatusCode::CONFLICT);
    assert_eq!(parsed(&other)["key"], json!(null));
}

/// Without that, an address that was typed looks like the answer to a form.
#[tokio::test]
async fn a_page_learns_with_its_draft_key_whether_it_says_where_it_is() {
    let app = signed_in("A", "ada").await;
    let ask = || own_page(sid(get(DRAFT_KEY, &[]), "A"));
    assert_eq!(parsed(&app.send(ask()).await)["refers"], json!(false));
    let told = app.send(with(ask(), "referer", "https://app.example/notes")).await;
    assert_eq!(parsed(&told)["refers"], json!(true));
}

#[tokio::test]
async fn digests_and_keys_are_the_same_wherever_the_secret_is() {
    let told = async |secret: [u8; 32]| {
        let app = App::with(|builder| {
            builder.client_endpoints(ClientEndpoints::at("/_session-timeout").secret(secret))
        });
        log_in(&app, "A", "ada").await;
        let key = app.send(own_page(sid(get(DRAFT_KEY, &[]), "A"))).await;
        (status(&app, "A").await["user"].clone(), parsed(&key)["key"].clone())
    };
    let (one, other) = (told([7; 32]).await, told([8; 32]).await);
    assert_eq!(told([7; 32]).await, one);
    assert!(one.0 != other.0 && one.1 != other.1, "and nowhere else");
}

#[tokio::test]
async fn near_the_absolute_timeout_answers_tell_what_is_left_of_it() {
    let app = App::with(|builder| configure(builder).absolute_timeout(IDLE + MINUTE));
    app.log_in("A").await;
    app.advance(MINUTE * 10);
    let response = app.send(sid(get("/account", &[]), "A")).await;
    assert_eq!(header(&response, "session-timeout"), "remaining=360, absolute=360, warn=120");
    assert!(header(&response, "server-timing").starts_with(r#"st;dur=360000;desc="900000 360000 "#));
}

#[tokio::test]
async fn timings_of_the_applications_own_stay_and_the_time_left_is_told_once() {
    let app = signed_in("A", "ada").await;
    let application = tower::service_fn(|_: Request<Full<Bytes>>| async {
        let response =
            Response::builder().header("server-timing", "db;dur=1").header("session-timeout", "theirs");
        Ok::<_, std::convert::Infallible>(response.body(Full::<Bytes>::default()).unwrap())
    });
    let service = tower::Layer::layer(&app.layer, application);
    let request = sid(get("/account", &[]), "A");
    let response = tower::ServiceExt::oneshot(service, request).await.unwrap();
    let all = |name| response.headers().get_all(name).iter().map(|value| value.to_str().unwrap());
    assert_eq!(all("server-timing").next(), Some("db;dur=1"));
    assert_eq!(all("server-timing").count(), 2);
    assert_eq!(all("session-timeout").collect::<Vec<_>>(), ["remaining=900, absolute=28800, warn=120"]);
}

/// What an application that sends these headers has told of a live session.
async fn told_with(headers: &[(&'static str, &'static str)]) -> Response<Bytes> {
    let app = signed_in("A", "ada").await;
    let headers = headers.to_vec();
    let application = tower::service_fn(move |_: Request<Full<Bytes>>| {
        let response = headers.iter().fold(Response::builder(), |it, (name, value)| it.header(*name, *value));
        std::future::ready(Ok::<_, std::convert::Infallible>(
            response.body(Full::<Bytes>::default()).unwrap(),
        ))
    });
    let service = tower::Layer::layer(&app.layer, application);
    let response = tower::ServiceExt::oneshot(service, sid(get("/account", &[]), "A")).await.unwrap();
    response.map(|_| Bytes::new())
}

/// T58, of the time left and the digests: what may be kept by a cache for all tells nobody's.
#[tokio::test]
async fn an_answer_that_a_shared_cache_may_keep_tells_nothing_and_stays_as_it_is() {
    let answers: [&[(&'static str, &'static str)]; 23] = [
        &[("cache-control", "public")],
        &[("cache-control", "PUBLIC, max-age=0")],
        &[("cache-control", "max-age=60")],
        &[("cache-control", "no-transform, Max-Age=60")],
        &[("cache-control", "s-maxage=60")],
        &[("cache-control", "private, s-maxage=60")],
        &[("cache-control", "private"), ("cache-control", "public")],
        &[("cache-control", "immutable")],
        &[("cache-control", "stale-while-revalidate=60")],
        &[("cache-control", "must-understand, max-age=1")],
        &[("cache-control", "private=\"set-cookie\"")],
        &[("cache-control", "max-age=60, x=\"a, private, b\"")],
        &[("cache-control", "xprivate")],
        &[("cache-control", "max-age=1;private")],
        &[("expires", "Thu, 01 Jan 2099 00:00:00 GMT")],
        &[("last-modified", "Thu, 01 Jan 2020 00:00:00 GMT")],
        &[("last-modified", "Thu, 01 Jan 2020 00:00:00 GMT"), ("cache-control", "must-revalidate")],
        &[("cdn-cache-control", "max-age=60")],
        &[("cache-control", "private"), ("cdn-cache-control", "max-age=60")],
        &[("cache-control", "no-store"), ("example-cdn-cache-control", "max-age=60")],
        &[("cache-control", "private"), ("surrogate-control", "max-age=60")],
        &[("cache-control", "private"), ("edge-control", "cache-maxage=60s")],
        &[("cache-control", "private"), ("x-accel-expires", "60")],
    ];
    for headers in answers {
        let response = told_with(headers).await;
        assert_eq!(header(&response, "session-timeout"), "", "{headers:?}");
        assert_eq!(header(&response, "server-timing"), "", "{headers:?}");
        assert_eq!(response.headers().len(), headers.len(), "{headers:?}");
    }
}

#[tokio::test]
async fn an_answer_that_tells_is_kept_by_no_shared_cache() {
    let private: [&[(&'static str, &'static str)]; 5] = [
        &[("cache-control", "private")],
        &[("cache-control", "no-store")],
        &[("cache-control", "max-age=60, Private")],
        &[("cache-control", "max-age=60"), ("cache-control", "no-cache,no-store")],
        &[("cache-control", "private, max-age=60"), ("last-modified", "Thu, 01 Jan 2020 00:00:00 GMT")],
    ];
    let undecided: [&[(&'static str, &'static str)]; 6] = [
        &[],
        &[("cache-control", "")],
        &[("cache-control", "no-cache")],
        &[("cache-control", "max-age=0, must-revalidate")],
        &[("cache-control", "No-Cache, must-revalidate"), ("expires", "0")],
        &[("etag", "\"1\"")],
    ];
    for (headers, added) in
        private.map(|headers| (headers, false)).into_iter().chain(undecided.map(|it| (it, true)))
    {
        let response = told_with(headers).await;
        assert_ne!(header(&response, "session-timeout"), "", "{headers:?}");
        assert_ne!(header(&response, "server-timing"), "", "{headers:?}");
        let controls = response.headers().get_all("cache-control");
        let given = headers.iter().filter(|(name, _)| *name == "cache-control").count();
        assert_eq!(controls.iter().count(), given + usize::from(added), "{headers:?}");
        assert!(!added || controls.iter().any(|control| control == "private"), "{headers:?}");
    }
}

/// It could read the timing, digests and all, where the application sends `Timing-Allow-Origin`.
#[tokio::test]
async fn what_a_page_of_another_site_loads_has_no_timing() {
    let app = signed_in("A", "ada").await;
    let cases: [(&[(&'static str, &str)], bool); 9] = [
        (&[], true),
        (&[("sec-fetch-site", "same-origin"), ("sec-fetch-dest", "image")], true),
        (&[("sec-fetch-site", "none"), ("sec-fetch-dest", "document")], true),
        (&[("sec-fetch-site", "cross-site"), ("sec-fetch-dest", "document")], true),
        (&[("sec-fetch-site", "cross-site"), ("sec-fetch-dest", "image")], false),
        (&[("sec-fetch-site", "cross-site"), ("sec-fetch-dest", "iframe")], false),
        (&[("sec-fetch-site", "same-site"), ("sec-fetch-dest", "empty")], false),
        (&[("sec-fetch-site", "cross-site")], false),
        (&[("sec-fetch-site", "something-new"), ("sec-fetch-dest", "empty")], false),
    ];
    for (headers, is_told) in cases {
        let response = app.send(sid(get("/account", headers), "A")).await;
        assert_eq!(!header(&response, "server-timing").is_empty(), is_told, "{headers:?}");
        assert_ne!(
            header(&response, "session-timeout"),
            "",
            "a program of another site may be told, {headers:?}"
        );
    }
}

#[tokio::test]
async fn answers_to_live_sessions_tell_the_time_left() {
    let app = signed_in("A", "ada").await;
    app.advance(MINUTE);
    let live = app.send(sid(get("/account", &[]), "A")).await;
    assert_eq!(header(&live, "session-timeout"), "remaining=900, absolute=28740, warn=120");
    let told = status(&app, "A").await;
    let [session, user] = ["session", "user"].map(|digest| told[digest].as_str().unwrap().to_owned());
    let timing = format!(r#"st;dur=900000;desc="900000 28740000 120000 {session} {user}""#);
    assert_eq!(header(&live, "server-timing"), timing, "what a page would have to ask for at each load");
    app.advance(MINUTE);
    let passive = app.send(with(sid(get("/poll", &[]), "A"), "session-activity", "passive")).await;
    assert_eq!(header(&passive, "session-timeout"), "remaining=840, absolute=28680, warn=120");
    let timing = format!(r#"st;dur=840000;desc="900000 28680000 120000 {session} {user}""#);
    assert_eq!(header(&passive, "server-timing"), timing, "the idle timeout, not what is left of it");
    let silent = [
        app.send(get("/", &[])).await,
        app.send(sid(get("/", &[]), "made-up")).await,
        app.send(sid(get("/account", &[]), "made-up")).await,
        app.send(sid(post("/logout"), "A")).await,
    ];
    for response in silent {
        assert_eq!(header(&response, "session-timeout"), "");
        assert_eq!(header(&response, "server-timing"), "");
    }
    let without = App::new();
    without.log_in("A").await;
    assert_eq!(header(&without.send(sid(get("/", &[]), "A")).await, "session-timeout"), "");
    assert_eq!(without.send(get(STATUS, &[])).await.body().as_ref(), b"", "the path is the application's");
}

/// What was left of the session before is not what is left of the one that began.
#[tokio::test]
async fn the_answer_of_a_log_in_or_out_tells_no_time_of_the_session_before() {
    let redirects = |request: &RequestHead<'_>, answer: &Response<()>| {
        request.path() == "/login" && answer.status() == StatusCode::SEE_OTHER
    };
    let over_a_session = |set: &str| set_cookie(sid(post("/login"), "A"), set);
    for (request, tells) in [
        (over_a_session("theme=dark"), true),
        (over_a_session("sid=A"), true),
        (over_a_session("sid=B"), true),
        (with(over_a_session("sid=B"), "x-login", "ada"), false),
        (with(over_a_session("sid=A"), "x-login", "ada"), false),
        (with(sid(post("/login"), "A"), "x-login", "ada"), false),
        (with(over_a_session("sid=B"), "x-status", "303"), false),
        (over_a_session("sid="), false),
        (with(over_a_session("sid=B"), "x-say", "end"), false),
        (with(sid(post("/bye"), "A"), "x-say", "end"), false),
    ] {
        let shown = format!("{:?}", request.headers());
        let app = App::with(|builder| configure(builder).fresh_login(redirects));
        log_in(&app, "A", "ada").await;
        app.advance(MINUTE);
        let response = app.send(request).await;
        for name in ["session-timeout", "server-timing"] {
            assert_eq!(response.headers().contains_key(name), tells, "{name}: {shown}");
        }
    }
}

#[tokio::test]
async fn the_timing_of_an_error_says_so_for_browsers_that_do_not() {
    let app = signed_in("A", "ada").await;
    for (status, is_told) in [("200", false), ("303", false), ("404", true), ("500", true)] {
        let response = app.send(with(sid(get("/account", &[]), "A"), "x-status", status)).await;
        assert_eq!(response.status().as_str(), status);
        let timing = header(&response, "server-timing");
        assert!(timing.starts_with("st;dur="), "{timing}");
        assert_eq!(timing.ends_with(&format!(" {status}\"")), is_told, "{timing}");
    }
}

#[tokio::test]
async fn without_owner_and_absolute_timeout_the_timing_says_so() {
    let app = App::with(|builder| configure(builder).absolute_timeout(None));
    app.log_in("A").await;
    let response = app.send(sid(get("/account", &[]), "A")).await;
    let timing = header(&response, "server-timing");
    assert!(timing.starts_with(r#"st;dur=900000;desc="900000 - 120000 "#), "{timing}");
    assert!(timing.ends_with(r#" -""#), "{timing}");
}

fn script_path(app: &App) -> String {
    app.layer.client_script().unwrap()
}

#[tokio::test]
async fn the_script_is_served_to_everybody_and_touches_no_session() {
    let app = signed_in("A", "ada").await;
    app.advance(MINUTE);
    let calls = app.calls();
    for path in [script_path(&app), script_path(&app).replace("client.js", "drafts.js")] {
        for request in [get(&path, &[]), sid(get(&path, &[]), "A"), sid(get(&path, &[]), "made-up")] {
            let response = app.send(request).await;
            assert_eq!(response.status(), StatusCode::OK);
            assert_eq!(header(&response, "content-type"), "text/javascript; charset=utf-8");
            assert_eq!(header(&response, "cache-control"), "public, max-age=31536000, immutable");
            assert_eq!(header(&response, "x-content-type-options"), "nosniff");
            assert_eq!(header(&response, "cross-origin-resource-policy"), "same-origin");
            assert_eq!(header(&response, "content-length"), response.body().len().to_string());
            assert!(set_cookies(&response).is_empty());
            assert!(response.body().len() > 1000);
        }
    }
    assert_eq!(app.calls(), calls, "the application is asked nothing");
    let Decision::Live(live) = app.peek("A").await else { panic!("it lives") };
    assert_eq!(live.idle_for(), MINUTE, "nothing was renewed");
    assert_eq!(App::new().layer.client_script(), None);
}

#[tokio::test]
async fn the_script_is_kept_for_ever_under_its_version_only() {
    let app = App::with(configure);
    for path in ["/_session-timeout/client.js", "/_session-timeout/client.js?v=0123456789abcdef"] {
        let response = app.send(get(path, &[])).await;
        assert_eq!(header(&response, "cache-control"), "public, max-age=3600", "{path}");
    }
    let path = script_path(&app);
    let etag = header(&app.send(get(&path, &[])).await, "etag").to_owned();
    assert!(etag.starts_with('"') && etag.contains(path.split_once("?v=").unwrap().1), "{etag}");
    for known in [etag.clone(), format!("\"other\", W/{etag}"), "*".to_owned()] {
        let response = app.send(get(&path, &[("if-none-match", &known)])).await;
        assert_eq!(response.status(), StatusCode::NOT_MODIFIED, "{known}");
        assert_eq!(header(&response, "etag"), etag);
        assert!(response.body().is_empty());
    }
    let mut several = get(&path, &[("if-none-match", "\"other\"")]);
    several = with(several, "if-none-match", &etag);
    assert_eq!(app.send(several).await.status(), StatusCode::NOT_MODIFIED);
    let other = app.send(get(&path, &[("if-none-match", "\"other\"")])).await;
    assert_eq!(other.status(), StatusCode::OK);
}

#[tokio::test]
async fn the_script_comes_in_the_smallest_encoding_the_browser_takes() {
    let app = App::with(configure);
    let path = script_path(&app);
    let mut etags = HashSet::new();
    for (accepted, encoding) in [
        ("gzip, deflate, br, zstd", "br"),
        ("gzip;q=1.0, br;q=0", "gzip"),
        ("gzip;q=0.001, br;q=0.000", "gzip"),
        ("GZIP", "gzip"),
        ("deflate", ""),
        ("xbr, brx", ""),
    ] {
        let response = app.send(get(&path, &[("accept-encoding", accepted)])).await;
        assert_eq!(header(&response, "content-encoding"), encoding, "{accepted}");
        assert_eq!(header(&response, "vary"), "accept-encoding");
        assert_eq!(header(&response, "content-length"), response.body().len().to_string());
        assert_eq!(response.body().starts_with(&[0x1f, 0x8b]), encoding == "gzip");
        etags.insert(header(&response, "etag").to_owned());
    }
    assert_eq!(etags.len(), 3, "a cache must not mix them up");
    let several = with(get(&path, &[("accept-encoding", "deflate")]), "accept-encoding", "br");
    assert_eq!(header(&app.send(several).await, "content-encoding"), "br");
}

/// A page must not be left with one of them from before and the other from after a release.
#[tokio::test]
async fn the_version_is_that_of_both_scripts_and_each_comes_in_its_own_encodings() {
    use sha2::Digest;
    let app = App::with(configure);
    let client = script_path(&app);
    let drafts = client.replace("client.js", "drafts.js");
    let mut bodies = Vec::new();
    for coding in ["identity", "gzip", "br"] {
        for path in [&client, &drafts] {
            bodies.push(app.send(get(path, &[("accept-encoding", coding)])).await.into_body());
        }
    }
    let hash = sha2::Sha256::digest(bodies[..2].concat());
    let version = format!("{:016x}", u64::from_be_bytes(hash[..8].try_into().unwrap()));
    assert_eq!(client.split_once("?v=").unwrap().1, version);
    for (plain, gzip) in bodies[..2].iter().zip(&bodies[2..4]) {
        let length = u32::try_from(plain.len()).unwrap().to_le_bytes();
        assert!(gzip.ends_with(&length), "gzip ends with the length of what is in it (RFC 1952)");
    }
    assert_ne!(bodies[4], bodies[5]);
}

#[tokio::test]
async fn the_script_is_for_get_and_head() {
    let app = App::with(configure);
    let path = script_path(&app);
    let mut head = get(&path, &[]);
    *head.method_mut() = http::Method::HEAD;
    let whole = app.send(get(&path, &[])).await;
    let head = app.send(head).await;
    assert_eq!(head.status(), StatusCode::OK);
    assert_eq!(header(&head, "content-length"), whole.body().len().to_string());
    assert!(head.body().is_empty());
    let posted = app.send(post(&path)).await;
    assert_eq!((posted.status(), header(&posted, "allow")), (StatusCode::METHOD_NOT_ALLOWED, "GET, HEAD"));
}

#[tokio::test(start_paused = true)]
async fn of_several_cookies_the_live_one_is_meant() {
    let app = signed_in("A", "ada").await;
    app.advance(MINUTE);
    let two = [("cookie", "sid=stale; sid=A"), ("sec-fetch-site", "same-origin")];
    assert_eq!(parsed(&app.send(get(STATUS, &two)).await)["state"], "active");
    let mut request = get(KEEP_ALIVE, &two);
    *request.method_mut() = http::Method::POST;
    assert_eq!(parsed(&app.send(request).await)["expires_in_ms"], 15 * 60_000);
    let disguised = app.send(get(STATUS, &[("cookie", "SID=A")])).await;
    assert_eq!(parsed(&disguised)["state"], "anonymous");
}

struct Broken;

impl Store for Broken {
    fn check(&self, _: &SessionId<'_>, _: &Policy, _: Access) -> Answer<Decision> {
        Answer::Ready(Err(StoreError::new("away")))
    }
    fn remaining(&self, _: SessionKey, _: &Policy) -> Answer<Verdict> {
        unimplemented!()
    }
    fn start(&self, _: &SessionId<'_>, _: &NewSession, _: &Policy) -> Answer<Started> {
        unimplemented!()
    }
    fn rotate(&self, _: SessionKey, _: &SessionId<'_>, _: IdTag, _: &Policy) -> Answer<Rotated> {
        unimplemented!()
    }
    fn restart(&self, _: SessionKey, _: &NewSession, _: &Policy) -> Answer<Restarted> {
        unimplemented!()
    }
    fn end(&self, _: SessionKey, _: EndReason) -> Answer<bool> {
        unimplemented!()
    }
}

/// T29: that is "unknown", not "ended".
#[tokio::test]
async fn while_the_store_is_away_nobody_knows() {
    let app = App::with(|builder| configure(builder).store(Broken).dangerously_admit_on_store_failure());
    for request in [get(STATUS, &[]), post(KEEP_ALIVE), post(SIGN_OUT), get(DRAFT_KEY, &[])] {
        let response = app.send(own_page(sid(request, "A"))).await;
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    }
    let mut head = sid(get(STATUS, &[]), "A");
    *head.method_mut() = http::Method::HEAD;
    let head = app.send(head).await;
    assert_eq!((head.status(), &head.body()[..]), (StatusCode::SERVICE_UNAVAILABLE, &b""[..]));
    assert_eq!(app.calls(), 0);
}

/// Tells of sessions, and never answers to what would change one.
struct Stuck(MemoryStore);

impl Store for Stuck {
    fn check(&self, id: &SessionId<'_>, policy: &Policy, access: Access) -> Answer<Decision> {
        if matches!(access, Access::Passive | Access::Peek) {
            self.0.check(id, policy, access)
        } else {
            never()
        }
    }
    fn remaining(&self, session: SessionKey, policy: &Policy) -> Answer<Verdict> {
        self.0.remaining(session, policy)
    }
    fn start(&self, id: &SessionId<'_>, new: &NewSession, policy: &Policy) -> Answer<Started> {
        self.0.start(id, new, policy)
    }
    fn rotate(&self, _: SessionKey, _: &SessionId<'_>, _: IdTag, _: &Policy) -> Answer<Rotated> {
        never()
    }
    fn restart(&self, _: SessionKey, _: &NewSession, _: &Policy) -> Answer<Restarted> {
        never()
    }
    fn end(&self, _: SessionKey, _: EndReason) -> Answer<bool> {
        never()
    }
}

fn never<T: Send + 'static>() -> Answer<T> {
    Answer::Pending(Box::pin(std::future::pending()))
}

#[tokio::test(start_paused = true)]
async fn nobody_is_told_of_a_renewal_or_an_end_that_the_store_did_not_confirm() {
    let app = App::on(Stuck(MemoryStore::new()), configure);
    app.log_in("A").await;
    assert_eq!(status(&app, "A").await["state"], "active");
    for request in [post(KEEP_ALIVE), post(SIGN_OUT)] {
        let answer = app.send(own_page(sid(request, "A")));
        let response = tokio::time::timeout(MINUTE, answer).await.expect("by the store's deadline");
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(set_cookies(&response).is_empty());
    }
}

/// Whatever else is made of ended sessions, and however tight this request's limits are.
#[tokio::test]
async fn the_endpoints_are_no_page_of_the_application() {
    let app = App::with(|builder| {
        configure(builder)
            .ownerless_sessions(OwnerlessSessions::ContinueWithoutId)
            .limits_for(|_| Some(Limits::idle_only(MINUTE)))
    });
    app.log_in("A").await;
    app.advance(MINUTE * 2);
    assert_eq!(status(&app, "A").await["state"], "active");
    app.advance(IDLE);
    assert_eq!(status(&app, "A").await["state"], "ended");
}

/// A7: WCAG 2.2, 2.2.1.
#[test]
fn a_warning_that_comes_too_late_or_too_early_is_refused() {
    let build = |lead: u64| {
        let builder = SessionTimeoutLayer::builder().cookie("sid").idle_timeout(MINUTE);
        builder.client_endpoints(ClientEndpoints::at("/st").warn_before(Duration::from_secs(lead))).build()
    };
    for lead in [0, 19, 60, 120] {
        let error = build(lead).unwrap_err();
        assert!(matches!(error, ConfigError::WarningOutOfRange { .. }), "{lead}: {error}");
        assert!(error.to_string().contains(&format!("{lead}s")), "{error}");
    }
    assert!(build(20).is_ok() && build(59).is_ok());
    for base in ["", "/", "st", "/st/", "/a/../b", "/st?x"] {
        let layer = SessionTimeoutLayer::builder().cookie("sid").client_endpoints(base).build();
        assert!(matches!(layer, Err(ConfigError::InvalidPath { .. })), "{base}");
    }
}

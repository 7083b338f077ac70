//! Sessions begin, change their id and end as the application's answers say; and the sequences that break naive
//! designs.
#![allow(clippy::unchecked_time_subtraction)] // of constants

use std::time::Duration;

use crate::support::{
    self, ABSOLUTE, App, IDLE, NANO, get, header, post, removes_cookie, set_cookie, set_cookies, sid, slow,
    with,
};
use http::{Request, StatusCode};
use tower_session_timeout::{Decision, EndReason, NewSession, SessionCookie, SessionId, Started};

const GRACE: Duration = Duration::from_secs(30);

fn rotate(from: &str, to: &str) -> Request<http_body_util::Full<bytes::Bytes>> {
    set_cookie(sid(get("/account", &[]), from), &format!("sid={to}"))
}

#[tokio::test]
async fn a_cookie_set_without_a_live_session_begins_one() {
    let app = App::new();
    app.log_in("A").await;
    assert!(app.admits("A").await);
}

#[tokio::test]
async fn an_ended_id_may_begin_again_if_the_application_says_so() {
    let app = App::new();
    app.log_in("A").await;
    app.advance(IDLE);
    assert!(!app.admits("A").await);
    app.log_in("A").await;
    assert!(app.admits("A").await);
    app.advance(IDLE - NANO);
    assert!(app.admits("A").await);
}

/// T18
#[tokio::test]
async fn a_log_in_with_a_dead_cookie_succeeds_and_its_cookie_is_not_removed() {
    let app = App::new();
    app.log_in("A").await;
    app.advance(IDLE);
    let response = app.send(set_cookie(sid(post("/login"), "A"), "sid=B; Path=/")).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(set_cookies(&response), ["sid=B; Path=/"]);
    assert!(app.admits("B").await);
    assert!(!app.admits("A").await);
}

/// T11
#[tokio::test]
async fn a_rotation_keeps_the_absolute_clock() {
    let app = App::with(|builder| builder.idle_timeout(ABSOLUTE));
    app.log_in("A").await;
    app.advance(ABSOLUTE - Duration::from_secs(600));
    assert_eq!(app.send(rotate("A", "B")).await.status(), StatusCode::OK);
    app.advance(Duration::from_secs(600) - NANO);
    assert!(app.admits("B").await);
    app.advance(NANO);
    assert!(!app.admits("B").await);
    assert_eq!(app.end_reason("B").await, Some(EndReason::Absolute));
}

/// T12
#[tokio::test]
async fn an_old_id_works_for_the_grace_after_the_new_one_is_first_used() {
    let app = App::new();
    app.log_in("A").await;
    app.send(rotate("A", "B")).await;
    app.advance(GRACE * 2);
    assert!(app.admits("A").await, "nobody has used B yet");
    assert!(app.admits("B").await);
    app.advance(GRACE - NANO);
    assert!(app.admits("A").await, "a parallel tab, late");
    app.advance(NANO);
    assert!(!app.admits("A").await);
    assert_eq!(app.end_reason("A").await, Some(EndReason::Superseded));
    assert!(app.admits("B").await);
}

#[tokio::test]
async fn looking_at_a_new_id_does_not_supersede_the_old_one() {
    let app = App::new();
    app.log_in("A").await;
    app.send(rotate("A", "B")).await;
    app.peek("B").await;
    app.advance(GRACE * 2);
    assert!(app.admits("A").await);
}

/// The browser has the new one: whoever still sends the old one is somebody else.
#[tokio::test]
async fn a_passive_request_with_a_new_id_supersedes_the_old_one_and_renews_nothing() {
    let app = App::with(|builder| builder.passive_paths(["/poll"]));
    app.log_in("A").await;
    app.send(rotate("A", "B")).await;
    app.send(sid(get("/poll", &[]), "B")).await;
    app.advance(GRACE);
    assert!(!app.admits("A").await);
    assert_eq!(app.end_reason("A").await, Some(EndReason::Superseded));
    app.advance(IDLE.saturating_sub(GRACE));
    assert_eq!(app.end_reason("B").await, Some(EndReason::Idle));
}

#[tokio::test]
async fn without_grace_an_old_id_ends_when_the_new_one_is_used() {
    let app = App::with(|builder| builder.rotation_grace(Duration::ZERO));
    app.log_in("A").await;
    app.send(rotate("A", "B")).await;
    assert!(app.admits("A").await);
    assert!(app.admits("B").await);
    assert!(!app.admits("A").await);
}

/// A signed client-side session changes its value on every answer.
#[tokio::test]
async fn a_value_that_changes_with_every_answer_stays_one_session() {
    let app = App::in_memory();
    app.log_in("v0").await;
    for n in 0..500 {
        app.advance(Duration::from_secs(10));
        let response = app.send(rotate(&format!("v{n}"), &format!("v{}", n + 1))).await;
        assert_eq!(response.status(), StatusCode::OK, "{n}");
    }
    assert_eq!(
        app.store.len(),
        36,
        "the ids that work, those whose grace ended within five minutes, and the session itself"
    );
    assert!(!app.admits("v1").await);
    assert!(!app.admits("v490").await);
    assert!(app.admits("v499").await, "in its grace");
    app.layer.sessions().end(&SessionId::from("v500")).await.unwrap();
    for n in [436, 470, 499, 500] {
        assert!(!app.admits(&format!("v{n}")).await, "one end for all ids");
    }
}

#[tokio::test]
async fn a_value_from_before_set_again_is_current_again() {
    let app = App::new();
    app.log_in("empty-cart").await;
    app.send(rotate("empty-cart", "one-item")).await;
    let response = app.send(rotate("one-item", "empty-cart")).await;
    assert_eq!(set_cookies(&response), ["sid=empty-cart"]);
    app.advance(GRACE * 2);
    assert!(app.admits("empty-cart").await);
    app.advance(GRACE * 2);
    assert!(!app.admits("one-item").await);
}

/// It may be the answer that arrives last, and then the browser has it.
#[tokio::test]
async fn a_value_set_again_outlives_the_use_of_one_issued_before_that() {
    let app = App::new();
    app.log_in("A").await;
    app.send(rotate("A", "B")).await;
    app.send(rotate("A", "C")).await;
    app.send(rotate("A", "B")).await;
    assert!(app.admits("C").await, "C has arrived, and the second B has not");
    app.advance(GRACE);
    assert!(!app.admits("A").await, "both are newer than A");
    assert!(app.admits("B").await);
    app.advance(GRACE);
    assert!(app.admits("C").await, "B was issued first");
    app.send(rotate("B", "D")).await;
    assert!(app.admits("D").await);
    app.advance(GRACE);
    assert!(!app.admits("B").await);
    assert!(!app.admits("C").await);
}

/// An application that sets its cookie with every answer: two requests under way, and one of them rotates.
#[tokio::test]
async fn while_a_new_value_is_on_its_way_no_answer_puts_the_old_one_in_its_place() {
    let app = App::new();
    app.log_in("A").await;
    let slow = app.send_slow(slow(rotate("A", "A"))).await;
    app.send(rotate("A", "B")).await;
    app.release();
    assert!(set_cookies(&slow.await.unwrap()).is_empty(), "the browser keeps what it has, A or B");
    app.advance(2 * GRACE - NANO);
    let answer = app.send(rotate("A", "A")).await;
    assert!(set_cookies(&answer).is_empty(), "B may take the grace to arrive, and an older answer as long");
    app.advance(NANO);
    assert_eq!(set_cookies(&app.send(rotate("A", "A")).await), ["sid=A"], "B was lost");
}

#[tokio::test]
async fn the_same_value_set_again_changes_nothing() {
    let app = App::in_memory();
    app.log_in("A").await;
    let response = app.send(rotate("A", "A")).await;
    assert_eq!(set_cookies(&response), ["sid=A"]);
    assert_eq!(app.store.len(), 1);
    app.advance(ABSOLUTE);
    assert!(!app.admits("A").await);
}

#[tokio::test]
async fn a_value_that_is_another_live_session_keeps_that_sessions_clocks() {
    let app = App::new();
    app.log_in("A").await;
    app.advance(Duration::from_secs(60));
    app.log_in("B").await;
    let response = app.send(rotate("B", "A")).await;
    assert_eq!(set_cookies(&response), ["sid=A"], "A is live, so it may leave");
    app.advance(IDLE - Duration::from_secs(60));
    assert!(!app.admits("A").await);
    assert!(app.admits("B").await);
}

#[tokio::test]
async fn a_removed_cookie_ends_the_session() {
    for removal in [
        "sid=; Path=/",
        "sid=gone; Max-Age=0",
        "sid=gone; Max-Age=-1; Expires=Fri, 01 Jan 2100 00:00:00 GMT",
        "sid=gone; Expires=Thu, 01 Jan 1970 00:00:00 GMT",
        " sid = gone ; path=/ ; MAX-AGE=0",
    ] {
        let app = App::new();
        app.log_in("A").await;
        let response = app.send(set_cookie(sid(post("/bye"), "A"), removal)).await;
        assert_eq!(set_cookies(&response), [removal], "it leaves as it is");
        assert!(!app.admits("A").await, "{removal}");
        assert_eq!(app.end_reason("A").await, Some(EndReason::SignedOut));
    }
}

#[tokio::test]
async fn other_cookies_and_other_names_mean_nothing() {
    let app = App::in_memory();
    app.log_in("A").await;
    let answers =
        ["theme=", "xsid=1", "sid2=; Max-Age=0", "SID=; Max-Age=0", "sid", "=sid", "", "a=sid=; Max-Age=0"];
    for cookie in answers {
        let response = app.send(set_cookie(sid(get("/account", &[]), "A"), cookie)).await;
        assert_eq!(set_cookies(&response), [cookie]);
    }
    assert!(app.admits("A").await);
    assert_eq!(app.store.len(), 1);
}

/// RFC 6265bis §5.7: a name and a value of more than 4096 bytes together are passed over.
#[tokio::test]
async fn what_no_browser_keeps_is_not_set() {
    let app = App::in_memory();
    let field = |length: usize| format!("sid={}; Path=/", "x".repeat(length - "sid".len()));
    for length in [4097, 5000, 20_000] {
        let response = app.send(set_cookie(get("/", &[]), &field(length))).await;
        assert_eq!(response.status(), StatusCode::OK, "the page all the same: {length}");
        assert!(app.store.is_empty(), "{length}");
    }
    let response = app.send(set_cookie(get("/", &[]), &field(4096))).await;
    assert_eq!((response.status(), app.store.len()), (StatusCode::OK, 1), "the longest");
    assert!(app.admits(&"x".repeat(4093)).await);

    app.log_in("A").await;
    for order in [["sid=B".to_owned(), field(4097)], [field(4097), "sid=B".to_owned()]] {
        let request =
            order.iter().fold(sid(get("/account", &[]), "A"), |request, field| set_cookie(request, field));
        assert_eq!(set_cookies(&app.send(request).await), ["sid=B"], "the one that the browser takes");
    }
    let response =
        app.send(set_cookie(sid(get("/account", &[]), "A"), &format!("{}; Max-Age=0", field(4097)))).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert!(app.admits("A").await && app.admits("B").await, "nor is anything removed");
}

#[tokio::test]
async fn a_removal_beside_a_new_value_is_a_rotation() {
    let app = App::new();
    app.log_in("A").await;
    let request = set_cookie(sid(get("/account", &[]), "A"), "sid=; Max-Age=0; Path=/old");
    let response = app.send(set_cookie(request, "sid=B; Path=/")).await;
    assert_eq!(set_cookies(&response), ["sid=; Max-Age=0; Path=/old", "sid=B; Path=/"], "both leave");
    assert!(app.admits("B").await);
}

/// As in a browser: of the fields of one cookie, the last counts.
#[tokio::test]
async fn a_value_set_and_then_removed_ends_the_session() {
    for (set, removal) in [
        ("sid=B", "sid=; Max-Age=0"),
        ("sid=B; Path=/", "sid=deleted; expires=Thu, 1 Jan 1970 00:00:00 GMT; path=/"),
        ("sid=B; Path=/", "sid="),
        ("sid=B; Domain=example.com", "sid=; Domain=.EXAMPLE.com"),
    ] {
        let app = App::new();
        app.log_in("A").await;
        let request = set_cookie(sid(post("/bye"), "A"), set);
        let response = app.send(set_cookie(request, removal)).await;
        assert_eq!(set_cookies(&response), [removal], "B is not live: it does not leave");
        assert!(!app.admits("A").await && !app.admits("B").await);
        assert_eq!(app.end_reason("A").await, Some(EndReason::SignedOut));
        let response = app.send(set_cookie(set_cookie(post("/x"), set), removal)).await;
        assert_eq!(set_cookies(&response), [removal], "nor from a request without a session");
        assert!(!app.admits("B").await);
    }
}

#[tokio::test]
async fn a_value_removed_and_then_set_is_set() {
    let app = App::new();
    app.log_in("A").await;
    let fields = ["sid=; Max-Age=0", "sid=B", "sid=C; Max-Age=0", "sid=D"];
    let request = fields.into_iter().fold(sid(get("/account", &[]), "A"), set_cookie);
    let response = app.send(request).await;
    assert_eq!(set_cookies(&response), ["sid=; Max-Age=0", "sid=C; Max-Age=0", "sid=D"]);
    assert!(app.admits("D").await && !app.admits("B").await && !app.admits("C").await);
}

/// A browser keeps both, so the one that is set counts.
#[tokio::test]
async fn the_removal_of_another_cookie_of_the_name_ends_nothing() {
    for other in ["sid=; Max-Age=0; Path=/old", "sid=; Max-Age=0; Path=/; Domain=example.com"] {
        let app = App::new();
        app.log_in("A").await;
        let request = set_cookie(sid(get("/account", &[]), "A"), "sid=B; Path=/");
        let response = app.send(set_cookie(request, other)).await;
        assert_eq!(set_cookies(&response), ["sid=B; Path=/", other]);
        assert!(app.admits("B").await);
    }
}

/// CHIPS: to a browser that knows of `Partitioned`, it is part of a cookie's identity.
#[tokio::test]
async fn a_partitioned_cookie_is_another_one_than_an_unpartitioned_one() {
    let (set, removal) = ("sid=B; Path=/; Secure; partitioned", "sid=; Path=/; Secure; Max-Age=0");
    for order in [[set, removal], [removal, set]] {
        let app =
            App::with(|builder| builder.cookie(SessionCookie::new("sid").secure(true).partitioned(true)));
        let response = app.send(order.into_iter().fold(post("/login"), set_cookie)).await;
        assert_eq!(set_cookies(&response), order);
        assert!(app.admits("B").await, "the browser has it");

        let response = app.send(order.into_iter().fold(sid(get("/account", &[]), "B"), set_cookie)).await;
        assert_eq!(set_cookies(&response), order);
        assert!(app.admits("B").await);
    }
    let app = App::new();
    app.log_in("A").await;
    let request = set_cookie(sid(post("/bye"), "A"), set);
    app.send(set_cookie(request, "sid=; Path=/; Secure; Partitioned; Max-Age=0")).await;
    assert!(!app.admits("A").await && !app.admits("B").await, "the same one");
}

/// Browsers differ about `Partitioned`: to some, an unpartitioned removal is one of the session cookie. And few frameworks
/// can say `Partitioned` in a removal.
#[tokio::test]
async fn a_removal_that_does_not_say_partitioned_ends_the_session_all_the_same() {
    let app = App::with(|builder| builder.cookie(SessionCookie::new("sid").secure(true).partitioned(true)));
    app.send(set_cookie(post("/login"), "sid=A; Path=/; Secure; Partitioned")).await;
    app.send(set_cookie(sid(post("/bye"), "A"), "sid=; Path=/; Secure; Max-Age=0")).await;
    assert_eq!(app.end_reason("A").await, Some(EndReason::SignedOut));
}

#[tokio::test]
async fn an_answer_that_clears_the_browsers_cookies_ends_the_session() {
    for fields in
        [&["\"cookies\""][..], &["\"*\""], &["\"cache\", \"cookies\""], &["\"storage\"", " \"cookies\" "]]
    {
        let app = App::new();
        app.log_in("A").await;
        let clear =
            |request| fields.iter().fold(request, |request, field| with(request, "x-clear-site-data", field));
        app.send(clear(sid(post("/bye"), "A"))).await;
        assert_eq!(app.end_reason("A").await, Some(EndReason::SignedOut), "{fields:?}");

        app.log_in("A").await;
        app.send(clear(set_cookie(sid(post("/bye"), "A"), "theme=; Max-Age=0"))).await;
        assert_eq!(
            app.end_reason("A").await,
            Some(EndReason::SignedOut),
            "beside another cookie: {fields:?}"
        );

        let response = app.send(clear(set_cookie(post("/login"), "sid=B"))).await;
        assert_eq!(set_cookies(&response), ["sid=B"]);
        assert!(app.admits("B").await, "it sets one");
        app.send(clear(get("/account", &[]))).await;
        assert!(app.admits("B").await, "of somebody else");
    }
    for other in ["\"storage\", \"cache\"", "cookies", "*", "", "\"cookie\"", "\"Cookies\"", "\"cookies"] {
        let app = App::new();
        app.log_in("A").await;
        app.send(with(sid(post("/bye"), "A"), "x-clear-site-data", other)).await;
        assert!(app.admits("A").await, "browsers do not clear cookies: {other}");
    }
}

/// One that the application has moved away from, with nothing else in the answer.
#[tokio::test]
async fn another_cookie_of_the_name_is_removed_alone_without_an_end() {
    for other in [
        "sid=; Path=/old; Max-Age=0",
        "sid=; Domain=example.com; Path=/; Max-Age=0",
        "sid=x; Path=/old; expires=Thu, 01 Jan 1970 00:00:00 GMT",
    ] {
        for as_configured in ["sid=A", "sid=A; Path=/; HttpOnly"] {
            let app = App::new();
            app.send(set_cookie(post("/login"), as_configured)).await;
            let response = app.send(set_cookie(sid(get("/account", &[]), "A"), other)).await;
            assert_eq!(set_cookies(&response), [other]);
            assert!(app.admits("A").await, "{other}");
            let both = set_cookie(set_cookie(sid(post("/bye"), "A"), other), "sid=; Path=/; Max-Age=0");
            app.send(both).await;
            assert!(!app.admits("A").await, "{other}");
        }
    }
}

/// Nobody has told the layer how the application sets it: then no log-out is lost for that.
#[tokio::test]
async fn a_cookie_that_is_not_set_as_configured_ends_its_session_when_it_is_removed() {
    for (set, removal) in [
        ("sid=A; Path=/app", "sid=; Path=/app; Max-Age=0"),
        ("sid=A; Domain=example.com; Path=/", "sid=; Domain=.example.com; Path=/; Max-Age=0"),
    ] {
        let app = App::new();
        app.log_in("B").await;
        app.send(set_cookie(post("/login"), set)).await;
        app.send(set_cookie(sid(post("/bye"), "A"), removal)).await;
        assert_eq!(app.end_reason("A").await, Some(EndReason::SignedOut), "{set}");

        let app = App::new();
        app.layer.sessions().start(&SessionId::from("A"), &NewSession::new()).await.unwrap();
        app.send(set_cookie(sid(post("/bye"), "A"), removal)).await;
        assert_eq!(app.end_reason("A").await, Some(EndReason::SignedOut), "of another process: {set}");
    }
}

/// PHP, and whoever writes one digit.
#[tokio::test]
async fn a_value_that_has_expired_as_browsers_read_dates_begins_nothing() {
    for expires in [
        "Thu, 1 Jan 1970 00:00:00 GMT",
        "Thu, 01-Jan-1970 00:00:01 GMT",
        "Thu Jan 1 0:0:0 1970",
        "1-jan-70 00:00:00",
    ] {
        let app = App::new();
        let removal = format!("sid=deleted; expires={expires}; Max-Age=soon; path=/");
        let response = app.send(set_cookie(post("/logout"), &removal)).await;
        assert_eq!(set_cookies(&response), [removal]);
        assert!(!app.admits("deleted").await, "{expires}");
    }
}

/// A browser sends a nameless cookie back as its value.
#[tokio::test]
async fn a_nameless_cookie_that_reads_as_the_session_is_one() {
    let app = App::new();
    app.log_in("A").await;
    app.send(set_cookie(sid(get("/account", &[]), "A"), "=sid=B")).await;
    assert!(app.admits("B").await);
    app.layer.sessions().end(&SessionId::from("A")).await.unwrap();
    let response = app.send(set_cookie(sid(get("/", &[]), "A"), "=sid=C; Path=/")).await;
    assert!(app.admits("C").await, "begun: {response:?}");
}

/// I11: of several values only one was settled, so only that one leaves.
#[tokio::test]
async fn of_several_values_only_the_last_leaves() {
    let app = App::new();
    let request = set_cookie(set_cookie(set_cookie(post("/login"), "sid=A"), "theme=dark"), "sid=B");
    let response = app.send(request).await;
    let mut cookies = set_cookies(&response);
    cookies.sort();
    assert_eq!(cookies, ["sid=B", "theme=dark"]);
    assert!(app.admits("B").await);
    assert!(!app.admits("A").await);
}

#[tokio::test]
async fn a_successful_post_to_the_log_out_path_ends_the_session_whatever_is_set() {
    for set in [None, Some("sid=still-here; Path=/")] {
        let app = App::new();
        app.log_in("A").await;
        let mut request = sid(post("/logout"), "A");
        if let Some(set) = set {
            request = set_cookie(request, set);
        }
        let response = app.send(request).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(set_cookies(&response).len(), 1);
        assert!(removes_cookie(&response));
        assert!(!app.admits("A").await);
        assert!(!app.admits("still-here").await);
        assert_eq!(app.end_reason("A").await, Some(EndReason::SignedOut));
    }
}

#[tokio::test]
async fn a_refused_log_out_ends_nothing() {
    let app = App::new();
    app.log_in("A").await;
    let response = app.send(with(sid(post("/logout"), "A"), "x-status", "403")).await;
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
    assert!(app.admits("A").await);
}

#[tokio::test]
async fn get_logout_that_shows_a_confirmation_page_ends_nothing() {
    let app = App::new();
    app.log_in("A").await;
    let response = app.send(sid(get("/logout", &[]), "A")).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert!(set_cookies(&response).is_empty());
    assert!(app.admits("A").await);
}

/// T04
#[tokio::test]
async fn a_log_out_during_a_slow_answer_is_not_undone_by_it() {
    for value in ["B", "A"] {
        let app = App::new();
        app.log_in("A").await;
        let slow_answer = app.send_slow(slow(rotate("A", value))).await;
        app.send(sid(post("/logout"), "A")).await;
        app.release();
        let response = slow_answer.await.unwrap();
        assert_eq!(response.status(), StatusCode::OK, "the answer itself is delivered");
        assert!(set_cookies(&response).is_empty());
        assert!(!app.admits(value).await);
        assert!(!app.admits("A").await);
    }
}

#[tokio::test]
async fn the_slow_answer_of_an_old_session_does_not_overwrite_a_new_log_in() {
    let app = App::new();
    app.log_in("A").await;
    let slow_answer = app.send_slow(slow(rotate("A", "A2"))).await;
    app.send(sid(post("/logout"), "A")).await;
    app.log_in("B").await;
    app.release();
    assert!(set_cookies(&slow_answer.await.unwrap()).is_empty());
    assert!(app.admits("B").await);
    assert!(!app.admits("A2").await);
}

/// The same id, as an application may use it again: the old session's answer is not the new session's.
#[tokio::test]
async fn a_slow_answer_has_no_part_in_a_new_session_under_its_old_id() {
    let app = App::new();
    app.log_in("A").await;
    let slow_answer = app.send_slow(slow(rotate("A", "B"))).await;
    app.send(sid(post("/logout"), "A")).await;
    app.log_in("A").await;
    app.release();
    assert!(set_cookies(&slow_answer.await.unwrap()).is_empty());
    assert!(!app.admits("B").await);
    assert!(app.admits("A").await);
}

#[tokio::test]
async fn an_upload_that_ends_after_another_tab_rotated_logs_nobody_out() {
    let app = App::new();
    app.log_in("A").await;
    let upload = app.send_slow(slow(rotate("A", "C"))).await;
    app.send(rotate("A", "B")).await;
    assert!(app.admits("B").await);
    app.advance(GRACE * 2);
    assert!(!app.admits("A").await);
    app.release();
    assert_eq!(set_cookies(&upload.await.unwrap()), ["sid=C"]);
    assert!(app.admits("C").await);
    assert!(app.admits("B").await);
}

/// A sliding cookie's late answer repeats the id it was asked with, which another tab has replaced meanwhile.
#[tokio::test]
async fn a_superseded_id_repeated_by_a_slow_answer_does_not_come_back() {
    let app = App::new();
    app.log_in("A").await;
    let slow_answer = app.send_slow(slow(rotate("A", "A"))).await;
    app.send(rotate("A", "B")).await;
    assert!(app.admits("B").await);
    app.release();
    assert!(set_cookies(&slow_answer.await.unwrap()).is_empty(), "the browser keeps B");
    app.advance(GRACE);
    assert!(!app.admits("A").await);
    assert!(app.admits("B").await);
}

#[tokio::test]
async fn a_lost_answer_retried_after_the_grace_logs_nobody_out() {
    let app = App::new();
    app.log_in("A").await;
    app.send(rotate("A", "B")).await; // never arrives
    app.advance(GRACE * 10);
    let response = app.send(rotate("A", "C")).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert!(app.admits("C").await);
}

#[tokio::test]
async fn a_visit_to_the_log_in_page_restarts_no_absolute_clock() {
    let app = App::new();
    app.log_in("A").await;
    for _ in 1..ABSOLUTE.as_secs() / 600 {
        app.advance(Duration::from_secs(600));
        app.send(set_cookie(sid(get("/login", &[]), "A"), "sid=A")).await;
    }
    assert!(matches!(app.peek("A").await, Decision::Live(_)));
    app.advance(Duration::from_secs(600));
    assert_eq!(app.end_reason("A").await, Some(EndReason::Absolute));
}

#[tokio::test]
async fn an_announced_log_in_names_the_owner_and_replaces_a_live_session() {
    let app = App::new();
    app.send(with(set_cookie(post("/login"), "sid=A"), "x-login", "alice")).await;
    let response = app.send(sid(get("/account", &[]), "A")).await;
    assert_eq!(header(&response, "x-session"), "alice");

    app.send(with(set_cookie(sid(post("/login"), "A"), "sid=B"), "x-login", "bob")).await;
    let response = app.send(sid(get("/account", &[]), "B")).await;
    assert_eq!(header(&response, "x-session"), "bob");
    assert!(!app.admits("A").await);
}

#[tokio::test]
async fn a_slow_log_in_does_not_undo_a_log_out() {
    let app = App::new();
    app.log_in("A").await;
    let login = with(set_cookie(sid(post("/login"), "A"), "sid=B"), "x-login", "alice");
    let slow_login = app.send_slow(slow(login)).await;
    app.send(sid(post("/logout"), "A")).await;
    app.release();
    assert!(set_cookies(&slow_login.await.unwrap()).is_empty());
    assert!(!app.admits("B").await);
}

/// T143
#[tokio::test]
async fn a_previous_cookie_replayed_after_log_out_is_refused() {
    let app = App::new();
    app.log_in("A").await;
    app.send(rotate("A", "B")).await;
    app.send(sid(post("/logout"), "B")).await;
    for id in ["A", "B"] {
        assert!(!app.admits(id).await);
    }
    app.advance(Duration::from_secs(3600));
    app.store.sweep();
    for id in ["A", "B"] {
        assert!(!app.admits(id).await);
    }
    assert!(app.store.is_empty());
}

/// T142: an id planted before the log-in has no age and no life of its own.
#[tokio::test]
async fn a_planted_id_lives_only_from_its_log_in() {
    let app = App::new();
    assert!(!app.admits("planted").await);
    app.advance(ABSOLUTE);
    app.log_in("planted").await;
    let Decision::Live(live) = app.peek("planted").await else { panic!("live") };
    assert_eq!(live.age(), Duration::ZERO);
}

#[tokio::test]
async fn the_application_can_say_it_through_its_session() {
    let app = App::new();
    app.log_in("A").await;
    app.send(with(sid(get("/account", &[]), "A"), "x-say", "rotate_to=B")).await;
    app.advance(IDLE - NANO);
    assert!(app.admits("B").await, "the grace of A begins");
    app.send(with(sid(get("/account", &[]), "B"), "x-say", "reauthenticated")).await;
    let Decision::Live(live) = app.peek("B").await else { panic!("live") };
    assert_eq!(live.age(), Duration::ZERO);
    assert!(!app.admits("A").await, "superseded ids end at once");
    app.send(with(sid(get("/account", &[]), "B"), "x-say", "end")).await;
    assert_eq!(app.end_reason("B").await, Some(EndReason::SignedOut));
}

#[tokio::test]
async fn the_application_can_say_it_without_a_request() {
    let app = App::new();
    let sessions = app.layer.sessions();
    let (a, b) = (SessionId::from("A"), SessionId::from("B"));
    assert!(matches!(sessions.start(&a, &NewSession::new()).await.unwrap(), Started::New(_)));
    app.advance(Duration::from_secs(60));
    assert!(matches!(sessions.start(&a, &NewSession::new()).await.unwrap(), Started::AlreadyLive(_)));
    let Decision::Live(live) = sessions.peek(&a).await.unwrap() else { panic!("live") };
    assert_eq!(live.age(), Duration::from_secs(60), "a live one is left as it is");
    assert!(sessions.rotate_to(&a, &b).await.unwrap());
    assert!(sessions.reauthenticated(&b).await.unwrap());
    assert!(sessions.end(&b).await.unwrap());
    assert!(!sessions.end(&b).await.unwrap());
    assert!(!sessions.reauthenticated(&a).await.unwrap());
    assert!(!sessions.rotate_to(&a, &SessionId::from("C")).await.unwrap());
    assert_eq!(app.end_reason("A").await, Some(EndReason::Revoked));
}

#[tokio::test]
async fn empty_and_oversized_ids_are_never_begun() {
    let app = App::new();
    let sessions = app.layer.sessions();
    let long = "x".repeat(4097);
    for id in ["", &long] {
        assert!(sessions.start(&SessionId::from(id), &NewSession::new()).await.is_err());
    }
    app.send(set_cookie(post("/login"), &format!("sid={long}"))).await;
    assert!(app.store.is_empty());
    assert!(!app.admits(&long).await, "to clients that keep longer cookies than browsers");
}

/// OWASP's renewal timeout.
#[tokio::test]
async fn an_id_that_is_old_enough_is_due_for_rotation() {
    let app = App::with(|builder| builder.rotate_after(Duration::from_secs(600)));
    app.log_in("A").await;
    let due = async |id: &str| {
        let response = app.send(sid(get("/account", &[]), id)).await;
        header(&response, "x-rotation-due").to_owned()
    };
    app.advance(Duration::from_secs(600) - NANO);
    assert_eq!(due("A").await, "false");
    app.advance(NANO);
    assert_eq!(due("A").await, "true");
    app.send(rotate("A", "B")).await;
    assert_eq!(due("B").await, "false");
    assert_eq!(due("A").await, "true", "in its grace");
    app.advance(Duration::from_secs(600));
    assert_eq!(due("B").await, "true");
}

/// The time of the authentication counts, not that of the last activity (OWASP ASVS 5.0 §7.5.3).
#[tokio::test]
async fn a_log_in_is_fresh_for_a_while_whatever_the_activity() {
    let app = App::new();
    app.log_in("A").await;
    let fresh = async || header(&app.send(sid(get("/account", &[]), "A")).await, "x-fresh").to_owned();
    app.advance(support::FRESH - NANO);
    assert_eq!(fresh().await, "true");
    app.advance(NANO);
    assert_eq!(fresh().await, "false");
    app.send(with(sid(get("/account", &[]), "A"), "x-say", "reauthenticated")).await;
    assert_eq!(fresh().await, "true");
}

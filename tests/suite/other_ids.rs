//! Session ids that travel elsewhere than in a cookie: T31–T33.

use std::sync::Arc;

use crate::support::{self, App, IDLE, get, header, post, with};
use http::{HeaderName, Request, StatusCode};
use tower_session_timeout::{
    Decision, FromExtension, ManualClock, MemoryStore, NewSession, SessionId, SessionTimeoutBuilder,
    SessionTimeoutLayer,
};

/// An application with session A live, its ids found as configured.
async fn app(configure: impl FnOnce(SessionTimeoutBuilder) -> SessionTimeoutBuilder) -> App {
    let app = App::without_cookie(configure);
    app.layer.sessions().start(&SessionId::from("A"), &NewSession::new()).await.unwrap();
    app
}

async fn status(app: &App, headers: &[(&str, &str)]) -> StatusCode {
    app.send(get("/account", headers)).await.status()
}

#[tokio::test]
async fn a_bearer_token_is_a_session_id() {
    let app = app(SessionTimeoutBuilder::bearer).await;
    for field in ["Bearer A", "bearer A", "BEARER   A", "Bearer A "] {
        assert_eq!(status(&app, &[("authorization", field)]).await, StatusCode::OK, "{field}");
    }
    app.advance(IDLE);
    let response = app.send(get("/account", &[("authorization", "Bearer A")])).await;
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(header(&response, "www-authenticate"), "Bearer error=\"invalid_token\"");
    assert!(header(&response, "vary").contains("authorization"));
}

/// T31
#[tokio::test]
async fn what_is_no_single_bearer_token_is_refused_and_other_schemes_are_anonymous() {
    let app = app(SessionTimeoutBuilder::bearer).await;
    for field in [
        "Bearer A, Bearer B",
        "Bearer",
        "Bearer ",
        "Bearer A B",
        "Bearer \"A\"",
        "Bearer =",
        "Bearer A=A",
        "BearerA",
    ] {
        assert_eq!(status(&app, &[("authorization", field)]).await, StatusCode::UNAUTHORIZED, "{field}");
    }
    let two = [("authorization", "Bearer A"), ("authorization", "Bearer A")];
    assert_eq!(status(&app, &two).await, StatusCode::UNAUTHORIZED);
    let mixed = [("authorization", "Basic QQ=="), ("authorization", "Bearer A")];
    assert_eq!(status(&app, &mixed).await, StatusCode::UNAUTHORIZED);
    for lax in [
        "\u{a0}Bearer A",
        "Bearer\u{a0}A",
        ",Bearer A",
        "Basic QQ==, Bearer A",
        "Bearer:A",
        "bearer_A",
        "\"Bearer\" A",
        "é",
        "XBearer A",
        "Basic x-Bearer A",
        "Token xBearer A",
        "Digest a=\"xBEARER A\"",
        "Digest realm=\"forbearers\"",
        "Token bearer=A",
        "Basic realmbearerA",
        // The token, to a reader that cuts `Bearer ` off if it is there.
        "A",
        "Negotiate",
    ] {
        assert_eq!(status(&app, &[("authorization", lax)]).await, StatusCode::UNAUTHORIZED, "{lax}");
    }
    for other in
        ["Basic QQ==", "Bear A", "", "Digest username=\"bear\", uri=\"/\"", "Negotiate YII=", "Bear er=1"]
    {
        let response = app.send(get("/account", &[("authorization", other)])).await;
        assert_eq!(response.status(), StatusCode::OK, "{other}");
        assert_eq!(header(&response, "x-session"), "", "anonymous");
    }
    let response = app.send(get("/account", &[("authorization", "Bearer A")])).await;
    assert_eq!(header(&response, "x-session"), "nobody", "a session nobody owns");
}

#[tokio::test]
async fn a_header_of_its_own_carries_a_session_id() {
    let app = app(|builder| builder.header(HeaderName::from_static("x-session-id"))).await;
    assert_eq!(status(&app, &[("x-session-id", "A")]).await, StatusCode::OK);
    assert_eq!(status(&app, &[("x-session-id", "A"), ("x-session-id", "A")]).await, StatusCode::OK);
    assert_eq!(status(&app, &[("x-session-id", "")]).await, StatusCode::OK, "anonymous");
    assert_eq!(status(&app, &[("x-session-id", "B")]).await, StatusCode::UNAUTHORIZED);
    assert_eq!(status(&app, &[("x-session-id", "A"), ("x-session-id", "B")]).await, StatusCode::UNAUTHORIZED);
    assert_eq!(
        status(&app, &[("x-session-id", ""), ("x-session-id", "")]).await,
        StatusCode::OK,
        "anonymous"
    );
}

/// Whichever of them the application looks at.
#[tokio::test]
async fn a_header_that_comes_twice_is_judged_as_all_its_values() {
    let app = app(|builder| builder.header(HeaderName::from_static("x-session-id"))).await;
    for values in [["", "B"], ["B", ""], ["", "A"], ["A", ""], ["A", "B"], ["B", "A"], [" ", "B"]] {
        for names in [["x-session-id"; 2], ["x-session-id", "x_session_id"], ["x_session_id", "x-session-id"]]
        {
            let headers = [(names[0], values[0]), (names[1], values[1])];
            assert_eq!(status(&app, &headers).await, StatusCode::UNAUTHORIZED, "{headers:?}");
        }
    }
    assert_eq!(
        status(&app, &[("x_session_id", "B")]).await,
        StatusCode::UNAUTHORIZED,
        "as CGI and WSGI read it"
    );
    assert_eq!(status(&app, &[("x_session_id", "A")]).await, StatusCode::OK);
    let public = app.send(get("/", &[("x_session_id", "B"), ("x-session-id", "B")])).await;
    assert_eq!(public.status(), StatusCode::OK, "both are taken out");
}

/// What CGI does to names differs: `-` alone, `.` (PHP) or all that is no letter and no digit becomes `_`.
#[tokio::test]
async fn a_header_is_the_same_whatever_stands_between_its_words() {
    for name in ["x-session-id", "x_session_id"] {
        let app = app(|builder| builder.header(HeaderName::from_static(name))).await;
        for between in "!#$%&'*+-.^_`|~".chars() {
            let same = format!("x{between}session.id");
            assert_eq!(status(&app, &[(&same, "B")]).await, StatusCode::UNAUTHORIZED, "{same}");
            assert_eq!(status(&app, &[(&same, "A")]).await, StatusCode::OK, "{same}");
            assert_eq!(
                status(&app, &[(name, "A"), (&same, "B")]).await,
                StatusCode::UNAUTHORIZED,
                "{same} beside {name}"
            );
            let public = app.send(get("/", &[(&same, "B"), (name, "B")])).await;
            assert_eq!(public.status(), StatusCode::OK, "both are taken out");
        }
        for other in ["x-sessionid", "x-session-id2", "x--session-id", "xsession-id"] {
            let response = app.send(get("/account", &[(other, "B")])).await;
            assert_eq!((response.status(), header(&response, "x-session")), (StatusCode::OK, ""), "{other}");
        }
    }
}

#[tokio::test]
async fn a_closure_finds_a_session_id() {
    let app = app(|builder| {
        builder.session_id_from(|head| {
            let field = head.headers().get("authorization")?.as_bytes();
            Some(SessionId::from(field.strip_prefix(b"Token ")?))
        })
    })
    .await;
    assert_eq!(status(&app, &[("authorization", "Token A")]).await, StatusCode::OK);
    assert_eq!(status(&app, &[("authorization", "Token B")]).await, StatusCode::UNAUTHORIZED);
    let response = app.send(get("/", &[("authorization", "Token B"), ("x-set-cookie", "a=b")])).await;
    assert_eq!(response.status(), StatusCode::OK, "public, without the token");
}

#[tokio::test]
async fn an_id_that_cannot_be_taken_out_of_the_request_is_refused_on_public_pages_too() {
    let in_the_path = |builder: SessionTimeoutBuilder| {
        builder.public_if(|_| true).session_id_from(|head| {
            let id = head.path().strip_prefix("/s/")?;
            Some(SessionId::from(id))
        })
    };
    let app = app(in_the_path).await;
    assert_eq!(app.send(get("/s/A", &[])).await.status(), StatusCode::OK);
    assert_eq!(app.send(get("/s/B", &[])).await.status(), StatusCode::UNAUTHORIZED);
}

#[derive(Clone)]
struct LibrarySession(Option<String>);

fn library_layer() -> (SessionTimeoutLayer, ManualClock, Arc<MemoryStore>) {
    let clock = ManualClock::new();
    let store = Arc::new(MemoryStore::new().clock(clock.clone()));
    let layer = SessionTimeoutLayer::builder()
        .session_id(FromExtension::new(|session: &LibrarySession| session.0.as_deref().map(SessionId::from)))
        .public_paths(["/"])
        .store(Arc::clone(&store))
        .build()
        .unwrap();
    (layer, clock, store)
}

fn of_library(path: &str, id: Option<&str>) -> Request<http_body_util::Full<bytes::Bytes>> {
    let mut request = get(path, &[]);
    request.extensions_mut().insert(LibrarySession(id.map(str::to_owned)));
    request
}

#[tokio::test]
async fn a_session_librarys_extension_carries_the_id() {
    let (layer, clock, store) = library_layer();
    let app = App::around(layer, clock, store);
    app.layer.sessions().start(&SessionId::from("A"), &NewSession::new()).await.unwrap();
    assert_eq!(app.send(of_library("/account", Some("A"))).await.status(), StatusCode::OK);
    assert_eq!(app.send(of_library("/account", None)).await.status(), StatusCode::OK);
    assert_eq!(app.send(of_library("/account", Some("B"))).await.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(
        app.send(of_library("/", Some("B"))).await.status(),
        StatusCode::OK,
        "its extension is removed"
    );
}

/// T33
#[tokio::test]
async fn a_missing_extension_is_a_loud_error_not_an_anonymous_request() {
    let (layer, clock, store) = library_layer();
    let app = App::around(layer, clock, store);
    for path in ["/account", "/"] {
        let response = app.send(get(path, &[])).await;
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(header(&response, "content-type"), "application/problem+json");
    }
    assert_eq!(app.calls(), 0);
}

/// T32: there is one source of ids; a fresh one elsewhere shadows nothing.
#[tokio::test]
async fn another_source_cannot_shadow_the_configured_one() {
    let app = app(|builder| builder.cookie("sid")).await;
    app.advance(IDLE);
    let both = with(get("/account", &[("cookie", "sid=A")]), "authorization", "Bearer fresh");
    assert_eq!(app.send(both).await.status(), StatusCode::UNAUTHORIZED);
}

/// Cookies mean nothing where ids do not travel in them.
#[tokio::test]
async fn with_bearer_tokens_set_cookie_begins_nothing() {
    let app = app(SessionTimeoutBuilder::bearer).await;
    app.send(support::set_cookie(post("/login"), "sid=B")).await;
    assert!(matches!(app.peek("B").await, Decision::Ended { .. }));
}

/// T34: equal ids of two layers with a store each do not meet.
#[tokio::test]
async fn two_layers_with_a_store_each_share_nothing() {
    let (one, two) = (App::new(), App::new());
    one.log_in("A").await;
    assert!(!two.admits("A").await);
}

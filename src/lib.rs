//! Idle and absolute session timeouts for any [tower] service: axum, hyper, tonic.
//!
//! A [`SessionTimeoutLayer`] sits between the network and the application. It knows when each session was last used,
//! renews it on each request, and answers instead of the application once the session has ended. It owns neither log-in
//! nor session data: it watches the session id go by, so it works with whatever session library the application has.
//!
//! With axum (feature `axum`), a log-in included:
//!
//! ```
//! # #[cfg(feature = "axum")] {
//! use axum::{Extension, Router, http::header::SET_COOKIE, response::{IntoResponse, Redirect}, routing::{get, post}};
//! use std::time::Duration;
//! use tower_session_timeout::{ConfigError, NewSession, Session, SessionTimeoutLayer};
//!
//! fn app() -> Result<Router, ConfigError> {
//!     let timeout = SessionTimeoutLayer::builder()
//!         .cookie("sid")
//!         .idle_timeout(Duration::from_secs(15 * 60))
//!         .absolute_timeout(Duration::from_secs(8 * 3600))
//!         .login_path("/login")
//!         .logout_path("/logout")
//!         .build()?;
//!     Ok(Router::new().route("/login", post(log_in)).route("/account", get(account)).layer(timeout))
//! }
//!
//! async fn log_in() -> impl IntoResponse {
//!     // After the password was found right. As a rule, a session library sets the cookie.
//!     let cookie = "sid=8Qm3vR0c9tY5wK1nB7xJ2g; Path=/; Secure; HttpOnly; SameSite=Lax";
//!     (Extension(NewSession::new().owner("user-4711")), [(SET_COOKIE, cookie)], Redirect::to("/account"))
//! }
//!
//! async fn account(session: Session) -> String {
//!     format!("{} seconds left", session.remaining().as_secs())
//! }
//! # app().unwrap();
//! # }
//! ```
//!
//! It is a tower layer like any other:
//!
//! ```
//! use std::time::Duration;
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//! use tower_session_timeout::SessionTimeoutLayer;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let layer = SessionTimeoutLayer::builder()
//!     .cookie("sid")
//!     .idle_timeout(Duration::from_secs(15 * 60))
//!     .absolute_timeout(Duration::from_secs(8 * 3600))
//!     .login_path("/login")
//!     .build()?;
//!
//! let service = ServiceBuilder::new().layer(layer).service(service_fn(|_request: http::Request<String>| async {
//!     Ok::<_, std::convert::Infallible>(http::Response::new("hello".to_owned()))
//! }));
//!
//! // A made-up session id goes nowhere.
//! let request = http::Request::get("/account").header("cookie", "sid=made-up").body(String::new())?;
//! assert_eq!(service.oneshot(request).await?.status(), http::StatusCode::UNAUTHORIZED);
//! # Ok(())
//! # }
//! ```
//!
//! # Guides
//!
//! [Configuration](_docs::configuration), [what happens to a request](_docs::requests), [where the layer
//! goes](_docs::layer_order), [where sessions are kept](_docs::stores), [how far that goes](_docs::scale) and [what it
//! costs](_docs::performance), [warn the user](_docs::warn_the_user), [recipes](_docs::recipes), [coming from Flask](_docs::flask), [security
//! notes](_docs::security). Programs to run are in the repository's
//! [`examples`](https://github.com/tower-session-timeout/tower-session-timeout/tree/main/examples).
//!
//! # Which requests pass, in order
//!
//! 1. The session id is read: a cookie, a bearer token, a header, an extension, or what a closure finds. Cookies that
//!    only a laxer parser would take for the session's are removed. Of up to four different duplicates the one that
//!    is live is used, and the others are removed; if there is not exactly one, the request is refused.
//! 2. **No session id: it passes** as anonymous. Whether it may see anything is for the application to say.
//! 3. The request is *activity*, or *passive*: `OPTIONS`, prefetches, reconnecting event streams,
//!    `Session-Activity: passive`, and what [`passive_paths`](SessionTimeoutBuilder::passive_paths) and
//!    [`passive_if`](SessionTimeoutBuilder::passive_if) say.
//! 4. The store decides, and renews if it is activity, in one atomic operation. An id it does not know has ended.
//! 5. **A live session: it passes**, with a [`Session`] in its extensions. While the handler of an activity request runs,
//!    the session does not end as idle, and its end is activity.
//! 6. **An ended session on a public page: it passes without its id**
//!    ([`public_paths`](SessionTimeoutBuilder::public_paths), the log-in and log-out page, `OPTIONS`).
//! 7. Anything else is answered here: a browser's navigation with `303` to the log-in page, htmx with `HX-Redirect`,
//!    gRPC with `UNAUTHENTICATED`, all others with `401` and a problem document; or as
//!    [`expired_response`](SessionTimeoutBuilder::expired_response) says. If the store fails: `503`.
//!
//! # How sessions begin, change and end
//!
//! With a cookie, the layer reads it off the application's answers:
//!
//! - A session cookie set for a request without a live session begins a session.
//! - One set for a request with a live session is a further id of that session: its clocks go on. If the session has
//!   ended meanwhile, the cookie does not leave: a slow answer cannot undo a log-out.
//! - One removed ends the session; so does a `POST` to [`logout_path`](SessionTimeoutBuilder::logout_path), unless the
//!   application refuses it with a `4xx` or a `grpc-status`; and so does `Clear-Site-Data: "cookies"` (or `"*"`), where the
//!   answer sets no session cookie.
//! - A [`NewSession`] in the answer's extensions, or a new id that [`fresh_login`](SessionTimeoutBuilder::fresh_login)
//!   recognizes, makes the answer a log-in: both clocks begin anew. Nothing else sets back the absolute clock.
//!
//! Without one, [`Sessions`] and [`Session`] say so.
//!
//! # Log-ins
//!
//! Only a log-in sets back the absolute clock, and a log-in is a proof, not a redirect: an application sends on whoever
//! is signed in already from its log-in page, without a password. There are three kinds of applications.
//!
//! **Those that can say so** put a [`NewSession`] into the extensions of the answer. That is all.
//!
//! **Those whose session id changes at log-ins alone** (ids drawn at random, data on the server: Django, Rails, PHP,
//! Flask-Session, tower-sessions) may be watched: [`fresh_login`](SessionTimeoutBuilder::fresh_login) says which answers
//! look like a log-in, and the layer takes them for one if they also set an id the session has not had.
//!
//! **Those whose cookie changes with other answers, too** (the session itself is in the cookie, signed or encrypted: Flask,
//! Starlette, Django's `signed_cookies`, cookie-session, iron-session; or the id is drawn anew every few minutes) change
//! it on a redirect from the log-in page as on any other answer. All their values are one session with one absolute
//! clock, which goes on, whatever `fresh_login` says, so that:
//!
//! - a user who logs in *without* a live session, having logged out or been timed out, gets a new absolute clock;
//! - one who logs in *over* a live session stays under its absolute clock, and has to log in again when that ends;
//! - to visitors who have a session before they log in, the absolute clock counts from their first visit.
//!
//! To change the last two, let the application say what only it knows, in a header of the log-in's answer that a
//! service inside the layer turns into a `NewSession`:
//!
//! ```
//! use http::Response;
//! use tower_session_timeout::NewSession;
//!
//! /// Between the layer and the application: `.layer(timeout).map_response(announce_log_in).service(application)`.
//! fn announce_log_in<B>(mut answer: Response<B>) -> Response<B> {
//!     // The application sets it where it has found a password right, to the user's id, and nowhere else.
//!     if let Some(user) = answer.headers_mut().remove("x-logged-in-as") {
//!         let owner = String::from_utf8_lossy(user.as_bytes()).into_owned();
//!         answer.extensions_mut().insert(NewSession::new().owner(owner));
//!     }
//!     answer
//! }
//! # let _ = announce_log_in::<()>;
//! ```
//!
//! Where the application cannot say so either, a log-in counts once for a session: `examples/proxy` puts a
//! `NewSession` with an owner into the answer of what looks like a log-in, if the request's [`Session`] has no owner yet.
//!
//! # Layers inside one another
//!
//! [`Session`] and [`EndReason`] in a request's extensions are of the innermost layer's sessions. What a layer further
//! out has found of another cookie, or of a token, is not shown there. Layers for the same cookie share one session: the
//! outer one looks after it, and the inner ones only tighten; so do layers that find the same token.
//!
//! A [`NewSession`] is for every layer whose cookie the answer sets. Without any session cookie in the answer, it is for the
//! innermost layer with a live session, unless both name an owner, and not the same. If the answer sets another cookie that
//! may be a session's, nobody's clocks begin anew, and the log says so once; call [`Session::reauthenticated`] there.
//!
//! # What is asked of the application
//!
//! Ids are unguessable and unique for each log-in, and travel in the configured place only. A cookie that is the session
//! itself (signed or encrypted, its time in seconds: Flask, Starlette) is unique only with something random in it: two
//! visitors of one second get the same cookie otherwise, are one session here, and log each other out.
//!
//! What needs a log-in is refused to anonymous requests by the application. A route outside the layer is outside its
//! protection.
//!
//! # Features
//!
//! None is on by default; each only adds.
//!
//! - `axum`: [`Session`] as an extractor; and `OriginalUri`, so that paths are the client's inside `Router::nest` too.
//! - `client`: a script for pages that warns their users in time and keeps their drafts, and the endpoints it asks.
//! - `snapshot`: `MemoryStore::save` and `restore`, for sessions that outlive a restart.
//! - `shared`: `SharedStore`, for sessions in a `Backend` of your own.
//!   (In Redis or Valkey: the crate `tower-session-timeout-redis`; in Postgres or SQLite: `tower-session-timeout-sqlx`.)
//! - `stateless`: `StatelessStore`, which keeps nothing: each session's record is left with its client.
//! - `tracing`: events and misconfigurations as log lines.
//! - `test-util`: `ManualClock`; and `conformance`, which tells whether a store of your own keeps the contract.
//!
//! [tower]: https://docs.rs/tower
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod builder;
#[cfg(feature = "client")]
mod client;
mod clock;
mod cookie;
mod event;
mod middleware;
mod request;
#[cfg(feature = "rescue")]
mod rescue;
mod rules;
mod store;

/// Answers for [`expired_response`](SessionTimeoutBuilder::expired_response).
pub mod respond;

#[cfg(feature = "client")]
pub use crate::builder::ClientEndpoints;
#[cfg(feature = "test-util")]
pub use crate::clock::ManualClock;
#[cfg(feature = "axum")]
pub use crate::middleware::axum::NoSession;
#[cfg(feature = "test-util")]
pub use crate::store::conformance;
#[cfg(feature = "stateless")]
pub use crate::store::stateless::{KeyError, StatelessStore};
#[cfg(feature = "shared")]
pub use crate::store::{
    backend::{Backend, Key, Loaded, Swap, Swapped},
    shared::SharedStore,
};
pub use crate::{
    builder::{ConfigError, OwnerlessSessions, SessionTimeoutBuilder},
    clock::{Clock, SystemClock, WallClock},
    cookie::{CookieChunks, MAX_CHUNKED_SESSION_ID_LENGTH, SameSite, SessionCookie},
    event::SessionEvent,
    middleware::{
        body::SessionBody,
        future::ResponseFuture,
        layer::SessionTimeoutLayer,
        service::SessionTimeout,
        session::{Session, Sessions},
    },
    request::{
        extract::{BearerToken, ExtractSessionId, Found, FromExtension, FromHeader, VerifiedId},
        head::RequestHead,
    },
    respond::{Ended, login_location, safe_return_to},
    rules::{
        decision::{Decision, Live},
        id::{Label, MAX_SESSION_ID_LENGTH, Owner, SessionId, SessionKey},
        limits::{EndReason, Limits, Remaining},
        new_session::{MaxSessions, NewSession, SessionInfo},
    },
    store::{
        answer::{BoxFuture, Started, StoreError},
        cached::CachedStore,
        contract::{LayerSettings, Store},
        memory::{MemoryStore, Sweeper},
    },
};
#[cfg(feature = "rescue")]
pub use crate::{
    builder::{FormRescueBuilder, RescueForms},
    middleware::rescue::{FormRescue, FormRescueLayer},
    rescue::{body::FormBody, memory::MemoryForms, text::RescueText},
};

/// What the stores of this crate and of those beside it are to its layers. For others there is `Backend`.
#[doc(hidden)]
pub mod contract {
    pub use crate::{
        event::EventSink,
        rules::{
            decision::Access,
            id::IdTag,
            limits::{Policy, Verdict},
        },
        store::{
            answer::{Adopted, Answer, Restarted, Rotated},
            contract::{Companion, EndLater, RequestStore},
        },
    };
}

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeDoctests;

/// The guides.
#[cfg(any(doc, doctest))]
pub mod _docs {
    /// A guide, as it is in the repository. There its links are to the other files, here to the other modules.
    macro_rules! guide {
        ($name:ident, $file:literal) => {
            #[doc = "[configuration]: self::configuration"]
            #[doc = "[flask]: self::flask#without-a-change-to-the-application"]
            #[doc = "[layer-order]: self::layer_order"]
            #[doc = "[recipes]: self::recipes"]
            #[doc = "[requests]: self::requests"]
            #[doc = "[scale]: self::scale"]
            #[doc = "[server-settings]: self::stores#settings-of-the-server"]
            #[doc = "[snapshot]: self::recipes#sessions-that-outlive-a-restart"]
            #[doc = "[sql]: self::stores#postgres-and-sqlite"]
            #[doc = "[stateless]: self::stores#stateless"]
            #[doc = "[stores]: self::stores"]
            #[doc = "[warn-the-user]: self::warn_the_user"]
            #[doc = ""]
            #[doc = include_str!($file)]
            pub mod $name {}
        };
    }

    guide!(configuration, "../docs/configuration.md");
    guide!(flask, "../docs/flask.md");
    guide!(layer_order, "../docs/layer-order.md");
    guide!(performance, "../docs/performance.md");
    guide!(requests, "../docs/requests.md");
    guide!(scale, "../docs/scale.md");
    guide!(security, "../docs/security.md");
    #[cfg(any(doc, all(feature = "axum", feature = "shared", feature = "test-util")))]
    guide!(recipes, "../docs/recipes.md");
    #[cfg(any(doc, all(feature = "stateless", feature = "test-util")))]
    guide!(stores, "../docs/stores.md");
    #[cfg(any(doc, feature = "client"))]
    guide!(warn_the_user, "../docs/warn-the-user.md");
}

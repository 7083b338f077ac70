//! [`Session`] as an axum extractor.

use std::convert::Infallible;

use axum::{
    extract::{FromRequestParts, OptionalFromRequestParts},
    response::{IntoResponse, Response},
};
use http::{StatusCode, header::WWW_AUTHENTICATE, request::Parts};

use crate::middleware::session::Session;

/// Extracts the request's live session; rejects a request without one with `401`. Take an `Option<Session>` to serve
/// anonymous visitors as well.
///
/// ```
/// use tower_session_timeout::Session;
///
/// async fn remaining(session: Session) -> String {
///     format!("{} seconds left", session.remaining().as_secs())
/// }
///
/// async fn home(session: Option<Session>) -> &'static str {
///     if session.is_some() { "welcome back" } else { "welcome" }
/// }
/// # fn is_handler<H: axum::handler::Handler<T, ()>, T>(_: H) {}
/// # is_handler(remaining);
/// # is_handler(home);
/// ```
impl<S: Sync> FromRequestParts<S> for Session {
    type Rejection = NoSession;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, NoSession> {
        parts.extensions.get().cloned().ok_or(NoSession(()))
    }
}

impl<S: Sync> OptionalFromRequestParts<S> for Session {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Infallible> {
        Ok(parts.extensions.get().cloned())
    }
}

/// The rejection of the [`Session`] extractor: nobody is signed in, or no layer looks after this route.
#[derive(Clone, Copy, Debug)]
pub struct NoSession(());

impl std::fmt::Display for NoSession {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(
            "No session came with this request. (For developers: if one did, is SessionTimeoutLayer added to the \
             router this route belongs to, without `without_extension`?)",
        )
    }
}

impl std::error::Error for NoSession {}

impl IntoResponse for NoSession {
    fn into_response(self) -> Response {
        let challenge = [(WWW_AUTHENTICATE, "Session realm=\"session\"")];
        (StatusCode::UNAUTHORIZED, challenge, self.to_string()).into_response()
    }
}

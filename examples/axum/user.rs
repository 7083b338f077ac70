//! Who is signed in: the owner of the request's session.

use std::{convert::Infallible, time::Duration};

use axum::{
    Json,
    extract::{FromRequestParts, OptionalFromRequestParts},
    http::{StatusCode, header::WWW_AUTHENTICATE, request::Parts},
    response::{IntoResponse, Response},
};
use serde_json::json;
use tower_session_timeout::{Owner, Session};

/// The layer lets requests without a session pass. A handler that takes a `User` refuses them; one that takes an
/// `Option<User>` decides by itself.
pub(crate) struct User {
    pub(crate) name: Owner,
    /// Which of the user's sessions it is.
    pub(crate) session: String,
    pub(crate) remaining: Duration,
}

impl User {
    fn of(request: &Parts) -> Option<Self> {
        let session = request.extensions.get::<Session>()?;
        Some(Self { name: session.owner()?.clone(), session: session.tag(), remaining: session.remaining() })
    }
}

impl<S: Sync> FromRequestParts<S> for User {
    type Rejection = Response;

    async fn from_request_parts(request: &mut Parts, _: &S) -> Result<Self, Response> {
        Self::of(request).ok_or_else(|| {
            let challenge = [(WWW_AUTHENTICATE, "Session realm=\"session\"")];
            (StatusCode::UNAUTHORIZED, challenge, Json(json!({ "error": "Nobody is signed in." })))
                .into_response()
        })
    }
}

impl<S: Sync> OptionalFromRequestParts<S> for User {
    type Rejection = Infallible;

    async fn from_request_parts(request: &mut Parts, _: &S) -> Result<Option<Self>, Infallible> {
        Ok(Self::of(request))
    }
}

//! Answers for [`expired_response`](crate::SessionTimeoutBuilder::expired_response) that most wishes come down to.

use http::{
    HeaderValue, Response, StatusCode,
    header::{LOCATION, WWW_AUTHENTICATE},
};

use super::{Ended, problem_document};

/// A status without a body, for whoever the client is.
///
/// ```
/// use tower_session_timeout::{SessionTimeoutLayer, respond};
///
/// // What Laravel and its front ends expect.
/// let status = http::StatusCode::from_u16(419).unwrap();
/// let layer = SessionTimeoutLayer::builder().cookie("sid").expired_response(respond::status(status)).build();
/// # layer.unwrap();
/// ```
pub fn status(status: StatusCode) -> impl Fn(&Ended<'_>) -> Response<String> + Send + Sync + 'static {
    move |_| {
        let mut response = Response::new(String::new());
        *response.status_mut() = status;
        response
    }
}

/// `303 See Other` to this location, for whoever the client is. Without it, browsers go to
/// [`login_path`](crate::SessionTimeoutBuilder::login_path) and all others hear `401`.
///
/// ```
/// use http::HeaderValue;
/// use tower_session_timeout::{SessionTimeoutLayer, respond};
///
/// let to_sso = respond::redirect(HeaderValue::from_static("https://sso.example.com/"));
/// let layer = SessionTimeoutLayer::builder().cookie("sid").expired_response(to_sso).build();
/// # layer.unwrap();
/// ```
pub fn redirect(location: HeaderValue) -> impl Fn(&Ended<'_>) -> Response<String> + Send + Sync + 'static {
    move |_| {
        let mut response = Response::new(String::new());
        *response.status_mut() = StatusCode::SEE_OTHER;
        response.headers_mut().insert(LOCATION, location.clone());
        response
    }
}

/// A problem document (RFC 9457) with this status and detail, for whoever the client is.
///
/// ```
/// use http::StatusCode;
/// use tower_session_timeout::{SessionTimeoutLayer, respond};
///
/// let problem = respond::problem(StatusCode::FORBIDDEN, "Your session has expired.");
/// let layer = SessionTimeoutLayer::builder().cookie("sid").expired_response(problem).build();
/// # layer.unwrap();
/// ```
pub fn problem(
    status: StatusCode,
    detail: impl Into<String>,
) -> impl Fn(&Ended<'_>) -> Response<String> + Send + Sync + 'static {
    let detail = detail.into();
    move |ended| {
        let mut response = problem_document(status, &detail);
        if status == StatusCode::UNAUTHORIZED {
            let challenge = ended.source.challenge();
            response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
        }
        response
    }
}

//! The application's session cookies.

use cookie::Cookie;
use http::{
    Response,
    header::{COOKIE, SET_COOKIE},
};
use tower_session_timeout::RequestHead;

/// Of the cookies of this name that came with a request.
pub(crate) fn values_of(request: &RequestHead<'_>, name: &str) -> impl Iterator<Item = String> {
    let fields = request.headers().get_all(COOKIE).iter().filter_map(|field| field.to_str().ok());
    let cookies = fields.flat_map(Cookie::split_parse).filter_map(Result::ok);
    cookies.filter(move |cookie| cookie.name() == name).map(|cookie| cookie.value().to_owned())
}

/// Those that came with a request.
pub(crate) struct SessionCookies {
    name: String,
    had: Vec<String>,
}

impl SessionCookies {
    pub(crate) fn of(request: &RequestHead<'_>, name: &str) -> Self {
        Self { name: name.to_owned(), had: values_of(request, name).collect() }
    }

    /// Whether an answer sets another one.
    pub(crate) fn are_changed_by<B>(&self, answer: &Response<B>) -> bool {
        let fields = answer.headers().get_all(SET_COOKIE).iter().filter_map(|field| field.to_str().ok());
        fields.filter_map(|field| Cookie::parse(field).ok()).any(|cookie| {
            cookie.name() == self.name
                && !cookie.value().is_empty()
                && self.had.iter().all(|had| had != cookie.value())
        })
    }
}

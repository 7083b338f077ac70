//! Signing in and out, and why one has to.

use std::{convert::Infallible, sync::Arc};

use axum::{
    Extension, Form,
    extract::{FromRequestParts, Query, State},
    http::{
        HeaderValue, StatusCode,
        header::{COOKIE, SET_COOKIE},
        request::Parts,
    },
    response::{IntoResponse, Redirect, Response},
};
use maud::{Markup, html};
use serde::Deserialize;
use tower_session_timeout::{EndReason, NewSession, safe_return_to};

use crate::{site::Site, user::User, words::in_words};

const LONGEST_NAME: usize = 64;

#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct Login {
    user: String,
    next: String,
}

impl Login {
    /// `next` comes from the address bar: it must not lead to another site.
    fn return_to(&self) -> &str {
        safe_return_to(&self.next).unwrap_or("/account")
    }
}

pub(crate) async fn page(
    State(site): State<Arc<Site>>,
    user: Option<User>,
    Ended(reason): Ended,
    Query(login): Query<Login>,
) -> Response {
    let forget_why = [(SET_COOKIE, format!("{ENDED}=; Path=/login; Max-Age=0"))];
    (forget_why, form(&site, user.as_ref(), &login, &reason, "")).into_response()
}

/// The password is not looked at: whoever types a name is signed in under it.
pub(crate) async fn log_in(
    State(site): State<Arc<Site>>,
    user: Option<User>,
    Form(login): Form<Login>,
) -> Response {
    let name = login.user.trim();
    if name.is_empty() || name.chars().count() > LONGEST_NAME {
        let problem = format!("Enter a name of 1 to {LONGEST_NAME} characters.");
        let form = form(&site, user.as_ref(), &login, "", &problem);
        return (StatusCode::UNPROCESSABLE_ENTITY, form).into_response();
    }
    // `SameSite=Lax` keeps the cookie off forms other sites send, which is all the CSRF protection a demo needs.
    let cookie = format!(
        "{}={:032x}; Path=/; HttpOnly; SameSite=Lax{}",
        site.options.cookie_name(),
        rand::random::<u128>(),
        if site.options.secure { "; Secure" } else { "" }
    );
    // The layer sees the cookie and begins the session; `NewSession` tells it whose.
    let session = NewSession::new().owner(name);
    (Extension(session), [(SET_COOKIE, cookie)], Redirect::to(login.return_to())).into_response()
}

fn form(site: &Site, user: Option<&User>, login: &Login, reason: &str, problem: &str) -> Markup {
    let invalid = (!problem.is_empty()).then_some("true");
    let main = html! {
        h1 { "Sign in" }
        (why_here(site, reason))
        p #problem role="alert" { (problem) }
        form method="post" action="/login" {
            input type="hidden" name="next" value=(login.return_to());
            label for="user" { "Name" }
            input #user name="user" value=(login.user) autocomplete="username" required maxlength=(LONGEST_NAME)
                aria-invalid=[invalid] aria-describedby=[invalid.map(|_| "problem")];
            label for="password" { "Password" }
            input #password name="password" type="password" autocomplete="current-password" aria-describedby="any";
            p #any { "This is a demonstration: any name will do, and the password is ignored." }
            button { "Sign in" }
        }
        p.note {
            "You are signed out once you have not used this site for " (in_words(site.options.common.idle))
            ", and after " (in_words(site.options.common.absolute)) " in any case."
        }
    };
    site.page("Sign in", user, main)
}

/// WCAG 2.2, 2.2.6: users learn why, and whether their work is lost.
fn why_here(site: &Site, reason: &str) -> Markup {
    let why = match reason {
        "idle" => "because of inactivity",
        "absolute" => "because you had been signed in for as long as one can be",
        "revoked" => "from another device",
        _ => return Markup::default(),
    };
    html! {
        p.why role="status" {
            "You were signed out " (why) "."
            @if site.script.is_some() { " If you were writing a note, it is kept on this device." }
        }
    }
}

const ENDED: &str = "ended";

/// Why the last session of this browser ended.
pub(crate) struct Ended(String);

impl<S: Sync> FromRequestParts<S> for Ended {
    type Rejection = Infallible;

    async fn from_request_parts(request: &mut Parts, _: &S) -> Result<Self, Infallible> {
        // The layer lets a request whose session has ended pass to public pages, and says that it did.
        let just_now = request.extensions.get::<EndReason>().map(|reason| reason.as_str().to_owned());
        let cookies = request.headers.get_all(COOKIE).iter().filter_map(|cookies| cookies.to_str().ok());
        let before = cookies
            .flat_map(|cookies| cookies.split("; "))
            .find_map(|cookie| cookie.strip_prefix(ENDED)?.strip_prefix('='));
        Ok(Self(just_now.or(before.map(str::to_owned)).unwrap_or_default()))
    }
}

/// Where a page is refused, the layer sends the browser to the log-in page, and removes its session cookie. The reason
/// goes along in a cookie of its own.
pub(crate) async fn remember_why(mut response: Response) -> Response {
    if response.status().is_redirection()
        && let Some(reason) = response.extensions().get::<EndReason>()
    {
        let cookie = format!("{ENDED}={}; Path=/login; Max-Age=60; HttpOnly; SameSite=Lax", reason.as_str());
        let cookie = HeaderValue::try_from(cookie).expect("a reason is one word");
        response.headers_mut().append(SET_COOKIE, cookie);
    }
    response
}

pub(crate) async fn log_out_page(State(site): State<Arc<Site>>, user: Option<User>) -> Markup {
    let main = html! {
        @if let Some(user) = &user {
            h1 { "Sign out?" }
            p { "You are signed in as " (user.name.as_str()) "." }
            form method="post" action="/logout" { button { "Sign out" } }
        } @else {
            h1 { "You are signed out" }
            p { a href="/login" { "Sign in" } }
        }
    };
    site.page("Sign out", user.as_ref(), main)
}

/// The layer ends the session and removes its cookie, for this is its `logout_path`.
pub(crate) async fn log_out() -> Redirect {
    Redirect::to("/")
}

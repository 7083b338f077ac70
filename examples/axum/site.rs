//! What all pages have.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use axum::{
    extract::State,
    http::{
        StatusCode,
        header::{CACHE_CONTROL, CONTENT_TYPE},
    },
    response::{IntoResponse, Redirect},
};
use maud::{DOCTYPE, Markup, html};
use tower_session_timeout::{Owner, SessionTimeoutLayer, Sessions, login_location};

use crate::{options::Options, user::User};

/// What handlers share.
pub(crate) struct Site {
    pub(crate) options: Options,
    pub(crate) sessions: Sessions,
    /// Where pages get the script from that warns their users, if there is one.
    pub(crate) script: Option<String>,
    /// The last note of each user.
    pub(crate) notes: Mutex<HashMap<Owner, String>>,
}

impl Site {
    pub(crate) fn new(options: Options, layer: &SessionTimeoutLayer) -> Self {
        Self { options, sessions: layer.sessions(), script: layer.client_script(), notes: Mutex::default() }
    }

    #[expect(clippy::needless_pass_by_value, reason = "a page is made of it")]
    pub(crate) fn page(&self, title: &str, user: Option<&User>, main: Markup) -> Markup {
        html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    title { (title) " – Session timeout" }
                    link rel="stylesheet" href="/style.css";
                    @if let Some(script) = &self.script {
                        script src=(script) defer data-login-url="/login" data-logout="/logout" {}
                    }
                }
                body {
                    header {
                        nav aria-label="Site" {
                            a href="/" { "Session timeout" }
                            @if user.is_some() {
                                a href="/account" { "Account" }
                                a href="/notes" { "Note" }
                                form method="post" action="/logout" { button { "Sign out" } }
                            } @else {
                                a href="/login" { "Sign in" }
                            }
                        }
                    }
                    main { (main) }
                }
            }
        }
    }
}

/// Where pages send visitors who are not signed in.
pub(crate) fn to_login(return_to: &str) -> Redirect {
    Redirect::to(&login_location("/login", return_to))
}

pub(crate) async fn not_found(State(site): State<Arc<Site>>, user: Option<User>) -> (StatusCode, Markup) {
    let main = html! {
        h1 { "There is no such page" }
        p { a href="/" { "Home" } }
    };
    (StatusCode::NOT_FOUND, site.page("Not found", user.as_ref(), main))
}

pub(crate) async fn stylesheet() -> impl IntoResponse {
    ([(CONTENT_TYPE, "text/css; charset=utf-8"), (CACHE_CONTROL, "max-age=3600")], include_str!("style.css"))
}

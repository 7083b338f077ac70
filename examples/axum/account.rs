//! Where one is signed in, and how to end it.

use std::sync::Arc;

use axum::{
    Form,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Redirect, Response},
};
use maud::{Markup, html};
use serde::Deserialize;
use tower_session_timeout::{Label, Session, SessionInfo, StoreError};

use crate::{
    site::{Site, to_login},
    stores::StoreChoice,
    user::User,
    words::whole_seconds,
};

pub(crate) async fn page(State(site): State<Arc<Site>>, user: Option<User>) -> Result<Markup, Response> {
    let user = user.ok_or_else(|| to_login("/account").into_response())?;
    let list = if site.options.store == StoreChoice::Stateless {
        // Each browser keeps its own, and the store knows of none.
        Markup::default()
    } else {
        let sessions = site.sessions.sessions_of(&user.name).await.map_err(|error| no_store(&error))?;
        session_list(&sessions, &user)
    };
    let main = html! {
        h1 { "Your account" }
        dl {
            dt { "Name" }
            dd { (user.name.as_str()) }
            dt { "Time left without another click" }
            dd { (whole_seconds(user.remaining)) }
        }
        (list)
    };
    Ok(site.page("Your account", Some(&user), main))
}

fn session_list(sessions: &[SessionInfo], user: &User) -> Markup {
    html! {
        h2 { "Where you are signed in" }
        table {
            thead {
                tr {
                    @for title in ["Where", "Signed in", "Last used", "Session"] { th scope="col" { (title) } }
                }
            }
            tbody { @for session in sessions { (session_row(session, user)) } }
        }
        form method="post" action="/account/end-others" { button { "Sign out everywhere else" } }
    }
}

fn session_row(session: &SessionInfo, user: &User) -> Markup {
    let tag = session.tag();
    html! {
        tr {
            td { (session.label.as_ref().map_or("unknown", Label::as_str)) }
            td { (whole_seconds(session.age)) " ago" }
            td { (whole_seconds(session.idle_for)) " ago" }
            td {
                @if tag == user.session {
                    "this one"
                } @else {
                    form method="post" action="/account/end-session" {
                        input type="hidden" name="tag" value=(tag);
                        button { "Sign out" }
                    }
                }
            }
        }
    }
}

#[derive(Deserialize)]
pub(crate) struct Tagged {
    tag: String,
}

/// One of this user's sessions: a tag of anybody else's is none.
pub(crate) async fn end_session(
    State(site): State<Arc<Site>>,
    user: User,
    Form(session): Form<Tagged>,
) -> Result<Redirect, Response> {
    site.sessions.end_tagged(&user.name, &session.tag).await.map_err(|error| no_store(&error))?;
    Ok(Redirect::to("/account"))
}

pub(crate) async fn end_others(
    State(site): State<Arc<Site>>,
    user: User,
    this: Session,
) -> Result<Redirect, Response> {
    site.sessions.end_all(&user.name, Some(&this)).await.map_err(|error| no_store(&error))?;
    Ok(Redirect::to("/account"))
}

fn no_store(error: &StoreError) -> Response {
    eprintln!("{error}");
    (StatusCode::SERVICE_UNAVAILABLE, "Try again in a moment.").into_response()
}

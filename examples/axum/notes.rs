//! A note for each user, whose draft outlives the session.

use std::sync::Arc;

use axum::{Form, extract::State, response::Redirect};
use maud::{Markup, html};
use serde::Deserialize;

use crate::{
    site::{Site, to_login},
    user::User,
};

pub(crate) async fn page(State(site): State<Arc<Site>>, user: Option<User>) -> Result<Markup, Redirect> {
    let user = user.ok_or_else(|| to_login("/notes"))?;
    let note = site.notes.lock().expect("no handler panics").get(&user.name).cloned().unwrap_or_default();
    let main = html! {
        h1 { "Your note" }
        form method="post" action="/notes" data-session-draft="note" {
            label for="text" { "Text" }
            // HTML drops one line break after `<textarea>`, and must not take it from the note.
            textarea #text name="text" rows="8" { "\n" (note) }
            button { "Save" }
        }
    };
    Ok(site.page("Your note", Some(&user), main))
}

#[derive(Deserialize)]
pub(crate) struct Note {
    text: String,
}

pub(crate) async fn save(
    State(site): State<Arc<Site>>,
    user: Option<User>,
    Form(note): Form<Note>,
) -> Redirect {
    let Some(user) = user else { return to_login("/notes") };
    site.notes.lock().expect("no handler panics").insert(user.name, note.text);
    Redirect::to("/notes")
}

//! The first page, for everybody.

use std::sync::Arc;

use axum::extract::State;
use maud::{Markup, html};

use crate::{site::Site, user::User, words::in_words};

pub(crate) async fn page(State(site): State<Arc<Site>>, user: Option<User>) -> Markup {
    let options = &site.options;
    let main = html! {
        h1 {
            @match &user {
                Some(user) => { "You are signed in as " (user.name.as_str()) }
                None => { "Nobody is signed in" }
            }
        }
        p.lead {
            "This page is public. Everything else asks who you are, and asks again once your session has ended: "
            "here you are then a visitor like any other."
        }
        @if user.is_some() {
            p { a.button href="/notes" { "Write a note" } " " a href="/account" { "See your sessions" } }
        } @else {
            p { a.button href="/login" { "Sign in" } " with any name" }
        }
        dl.limits {
            div { dt { "Idle timeout" } dd { (in_words(options.common.idle)) } }
            div { dt { "Absolute timeout" } dd { (in_words(options.common.absolute)) } }
            div {
                dt { "Warning before the end" }
                dd {
                    @if site.script.is_some() { (in_words(options.warn)) } @else { "none" }
                }
            }
        }
        h2 { "Try it" }
        ol {
            li { "Sign in, and begin to write a note, but do not save it." }
            @if site.script.is_some() {
                li { "Leave the page alone. A dialog says how much time is left, and one click keeps you signed in." }
                li { "Let the time run out: the page is covered, and the text is kept, sealed." }
                li { "Sign in under the same name. Your text is there again." }
                @if options.common.idle.as_secs() > 60 {
                    li { "No patience? Start it with " code { "--idle 40 --warn 25" } "." }
                }
            } @else {
                li { "Leave the page alone for " (in_words(options.common.idle)) ": the next click asks you to sign in." }
                li { "See the warning, too: start it with " code { "--idle 40 --warn 25" } "." }
            }
        }
        h2 { "For programs" }
        ul.calls {
            li { a href="/api/me" { code { "GET /api/me" } } " Who is signed in. Like any request, it keeps the session alive." }
            li { a href="/poll" { code { "GET /poll" } } " The time left. It does " em { "not" } " keep the session alive." }
            li { a href="/events" { code { "GET /events" } } " Server-sent events, two a second, until the session ends." }
            li { code { "POST /upload" } " Takes a body of any length, and says how long it was." }
        }
    };
    site.page("Home", user.as_ref(), main)
}

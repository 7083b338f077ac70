//! One layer inside another. `Session` and `EndReason` in a request's extensions are of the innermost layer's sessions:
//! what layers further out have found of others is put aside, for layers of theirs further in.

use std::sync::Arc;

use http::{Extensions, Request};

use crate::{
    middleware::{config::Config, session::Session},
    request::head::RequestHead,
    rules::{limits::EndReason, new_session::NewSession},
};

/// What is put aside. Only where it is needed.
#[derive(Clone, Default)]
struct Nest {
    /// Whose the `EndReason` in the extensions is.
    ended_for: Option<Arc<Config>>,
    aside: Vec<Found>,
}

/// What a layer has found.
#[derive(Clone)]
enum Found {
    Live(Box<Session>),
    Ended(Arc<Config>, EndReason),
}

impl Found {
    fn is_for(&self, config: &Config, head: &RequestHead<'_>) -> bool {
        match self {
            Self::Live(session) => session.store.config.times_the_same(config, head),
            // Its id is taken out of the request already.
            Self::Ended(finder, _) => finder.reads_the_same(config),
        }
    }

    fn session(&self) -> Option<&Session> {
        match self {
            Self::Live(session) => Some(session),
            Self::Ended(..) => None,
        }
    }
}

/// From here on the extensions show what was found of this layer's sessions.
pub(crate) fn enter<Q>(config: &Config, request: &mut Request<Q>) {
    let head = RequestHead::of(request);
    let found = head.extensions().get::<Session>();
    let is_another = found.is_some_and(|session| !session.store.config.times_the_same(config, &head));
    if !is_another && head.extensions().get::<Nest>().is_none() {
        return;
    }
    put_aside(request.extensions_mut());
    let head = RequestHead::of(request);
    let is_ours = |found: &Found| found.is_for(config, &head);
    let ours = aside(&head).iter().rposition(is_ours);
    if let Some(at) = ours {
        show(at, request.extensions_mut());
    }
}

/// Where, of what is put aside, there is a session of an outer layer with this layer's id, though it may travel elsewhere.
/// Anybody can send one id in two places: it is this layer's session, too, only if this layer's own store knows it.
pub(crate) fn of_same_id(config: &Config, head: &RequestHead<'_>) -> Option<usize> {
    let is_same = |session: &Session| session.store.config.finds_the_same(config, head);
    aside(head).iter().rposition(|found| found.session().is_some_and(is_same))
}

/// A session that is put aside.
pub(crate) fn session_at<'a>(at: usize, head: &RequestHead<'a>) -> Option<&'a Session> {
    aside(head).get(at)?.session()
}

fn aside<'a>(head: &RequestHead<'a>) -> &'a [Found] {
    head.extensions().get::<Nest>().map_or(&[], |nest| &nest.aside)
}

fn put_aside(extensions: &mut Extensions) {
    let mut nest = extensions.remove::<Nest>().unwrap_or_default();
    nest.aside.extend(extensions.remove::<Session>().map(Box::new).map(Found::Live));
    if let Some(finder) = nest.ended_for.take() {
        nest.aside.extend(extensions.remove::<EndReason>().map(|reason| Found::Ended(finder, reason)));
    }
    extensions.insert(nest);
}

/// Brings back what was put aside.
pub(crate) fn show(at: usize, extensions: &mut Extensions) {
    let Some(nest) = extensions.get_mut::<Nest>() else { return };
    match nest.aside.remove(at) {
        Found::Live(session) => {
            extensions.insert(*session);
        }
        Found::Ended(finder, reason) => {
            nest.ended_for = Some(finder);
            extensions.insert(reason);
        }
    }
}

/// Put into an answer that announces a log-in, by a layer whose cookie it sets: it is no other layer's without its cookie.
#[derive(Clone, Copy)]
struct OfCookie;

/// The log-in that an answer announces, for a layer whose cookie it sets. It is told to the layers further out, too: they
/// may keep the same cookie's sessions.
pub(crate) fn announced_with_cookie(answer: &mut Extensions) -> Option<NewSession> {
    let announced = answer.get::<NewSession>().cloned()?;
    answer.insert(OfCookie);
    Some(announced)
}

pub(crate) fn is_of_cookie(answer: &Extensions) -> bool {
    answer.get::<OfCookie>().is_some()
}

/// The request goes on without its session, which has ended.
pub(crate) fn ended(config: &Arc<Config>, extensions: &mut Extensions, reason: EndReason) {
    extensions.remove::<Session>();
    extensions.insert(reason);
    extensions.get_or_insert_default::<Nest>().ended_for = Some(Arc::clone(config));
}

//! One layer inside another. `Session` and `EndReason` in a request's extensions are of the innermost layer's sessions:
//! what layers further out have found of others is put aside, for layers of theirs further in.

use std::sync::Arc;

use http::Extensions;

use crate::{EndReason, Session, config::Config};

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
    Live(Session),
    Ended(Arc<Config>, EndReason),
}

impl Found {
    fn is_for(&self, config: &Config) -> bool {
        match self {
            Self::Live(session) => session.config.times_the_same(config),
            Self::Ended(finder, _) => finder.times_the_same(config),
        }
    }
}

/// From here on the extensions show what was found of this layer's sessions.
pub(crate) fn enter(config: &Config, extensions: &mut Extensions) {
    let is_another =
        extensions.get::<Session>().is_some_and(|session| !session.config.times_the_same(config));
    if !is_another && extensions.get::<Nest>().is_none() {
        return;
    }
    let mut nest = extensions.remove::<Nest>().unwrap_or_default();
    nest.aside.extend(extensions.remove::<Session>().map(Found::Live));
    if let Some(finder) = nest.ended_for.take() {
        nest.aside.extend(extensions.remove::<EndReason>().map(|reason| Found::Ended(finder, reason)));
    }
    let ours = nest.aside.iter().rposition(|found| found.is_for(config));
    match ours.map(|at| nest.aside.remove(at)) {
        Some(Found::Live(session)) => {
            extensions.insert(session);
        }
        Some(Found::Ended(finder, reason)) => {
            extensions.insert(reason);
            nest.ended_for = Some(finder);
        }
        None => {}
    }
    extensions.insert(nest);
}

/// The request goes on without its session, which is over.
pub(crate) fn ended(config: &Arc<Config>, extensions: &mut Extensions, reason: EndReason) {
    extensions.remove::<Session>();
    extensions.insert(reason);
    extensions.get_or_insert_default::<Nest>().ended_for = Some(Arc::clone(config));
}

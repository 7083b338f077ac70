//! One layer inside another. `Session` and `EndReason` in a request's extensions are of the innermost layer's sessions:
//! what layers further out have found of others is put aside, for layers of theirs further in.

use std::sync::Arc;

use http::Extensions;

use crate::{EndReason, Live, Session, config::Config};

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

/// Put into an answer by a layer that did not take its request for one of a live session, though a layer further out had:
/// by stricter limits, it came too late to be activity.
#[derive(Clone)]
pub(crate) struct RefusedWithin(Session);

impl RefusedWithin {
    pub(crate) fn of(extensions: &Extensions) -> Option<Self> {
        extensions.get().cloned().map(Self)
    }

    /// The session, if this layer admitted the request with it.
    pub(crate) fn admitted_by(&self, config: &Arc<Config>) -> Option<&Live> {
        Arc::ptr_eq(&self.0.config, config).then_some(&self.0.live)
    }
}

/// The request goes on without its session, which is over.
pub(crate) fn ended(config: &Arc<Config>, extensions: &mut Extensions, reason: EndReason) {
    extensions.remove::<Session>();
    extensions.insert(reason);
    extensions.get_or_insert_default::<Nest>().ended_for = Some(Arc::clone(config));
}

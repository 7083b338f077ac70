//! What kind of request it is: told once, as it arrives.

use http::Method;

#[cfg(feature = "client")]
use crate::client::{Endpoint, Operation};
use crate::{
    middleware::config::{Config, LogoutMethods},
    request::{
        activity::is_prefetch,
        head::{Initiator, RequestHead},
    },
};

#[derive(Clone, Copy)]
pub(crate) enum RequestKind {
    /// For the layer's own endpoints.
    #[cfg(feature = "client")]
    Endpoint {
        endpoint: Endpoint,
        from_own_page: bool,
    },
    Logout {
        /// A page elsewhere may have sent it.
        may_be_forged: bool,
    },
    /// It only looks like a log-out: a prefetch, an image or a page elsewhere has followed the link.
    NoLogout,
    Ordinary,
}

impl RequestKind {
    pub(crate) fn of(config: &Config, head: &RequestHead<'_>) -> Self {
        #[cfg(feature = "client")]
        if let Some(endpoint) = config.client.as_ref().and_then(|client| client.endpoint(head)) {
            return Self::Endpoint { endpoint, from_own_page: head.initiator() == Initiator::OwnPage };
        }
        if config.refusals.logout_path.as_ref().is_none_or(|logout| logout != head.path()) {
            return Self::Ordinary;
        }
        match (head.method(), config.logout_methods) {
            (&Method::POST, _) => Self::Logout { may_be_forged: head.initiator() == Initiator::Elsewhere },
            // Pages of other sites, images and prefetches log nobody out.
            (&Method::GET, LogoutMethods::PostAndGet) => {
                if head.initiator() != Initiator::Elsewhere && head.wants_a_page() && !is_prefetch(head) {
                    Self::Logout { may_be_forged: false }
                } else {
                    Self::NoLogout
                }
            }
            _ => Self::Ordinary,
        }
    }

    pub(crate) fn is_logout(self) -> bool {
        match self {
            #[cfg(feature = "client")]
            Self::Endpoint { endpoint, from_own_page } => {
                // No other site signs a user out.
                from_own_page && matches!(endpoint, Endpoint::Session(Operation::SignOut))
            }
            Self::Logout { .. } => true,
            Self::NoLogout | Self::Ordinary => false,
        }
    }
}

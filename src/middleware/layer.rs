//! The layer.

use std::{fmt, sync::Arc};

use tower_layer::Layer;

use crate::middleware::{
    config::Config, service::SessionTimeout, session::Sessions, store_handle::StoreHandle,
};

/// Ends sessions that were idle, or lived, too long; wraps any HTTP service.
///
/// One type, whatever it is configured with; clones share everything. Put it outside the session library's layer and
/// outside CSRF protection, inside tracing and request ids.
///
/// ```
/// use std::time::Duration;
/// use tower_session_timeout::SessionTimeoutLayer;
///
/// # fn main() -> Result<(), tower_session_timeout::ConfigError> {
/// let layer = SessionTimeoutLayer::builder()
///     .cookie("sid")
///     .idle_timeout(Duration::from_secs(15 * 60))
///     .absolute_timeout(Duration::from_secs(8 * 3600))
///     .login_path("/login")
///     .logout_path("/logout")
///     .build()?;
/// # Ok(())
/// # }
/// ```
///
/// # Which services
///
/// The inner service is cloned, as tower's services are wont to be: one that waits for a store is put aside, and its clone
/// takes its place. One that is not `Clone` goes into tower's `Buffer`.
///
/// Response bodies have [`Bytes`](bytes::Bytes) for data, as those of axum, hyper and tonic do. Other data become `Bytes` on
/// the way:
///
/// ```
/// use std::{collections::VecDeque, convert::Infallible};
/// use bytes::Buf;
/// use http::{Request, Response};
/// use http_body_util::{BodyExt, Full};
/// use tower::{ServiceBuilder, service_fn};
/// use tower_session_timeout::SessionTimeoutLayer;
///
/// # fn main() -> Result<(), tower_session_timeout::ConfigError> {
/// let timeout = SessionTimeoutLayer::builder().cookie("sid").build()?;
/// let service = ServiceBuilder::new()
///     .layer(timeout)
///     .map_response(|response: Response<Full<VecDeque<u8>>>| {
///         response.map(|body| body.map_frame(|frame| frame.map_data(|mut data| data.copy_to_bytes(data.remaining()))))
///     })
///     .service(service_fn(|_: Request<()>| async {
///         Ok::<_, Infallible>(Response::new(Full::new(VecDeque::from(*b"hello"))))
///     }));
/// # let _ = tower::ServiceExt::oneshot(service, Request::new(()));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct SessionTimeoutLayer {
    config: Arc<Config>,
}

impl SessionTimeoutLayer {
    pub(crate) fn new(config: Config) -> Self {
        Self { config: Arc::new(config) }
    }

    #[cfg(feature = "rescue")]
    pub(crate) fn config(&self) -> &Arc<Config> {
        &self.config
    }

    /// The path of the script for the page, if there are
    /// [`client_endpoints`](crate::SessionTimeoutBuilder::client_endpoints), with its version: browsers keep it until it changes.
    ///
    /// ```
    /// use tower_session_timeout::SessionTimeoutLayer;
    ///
    /// let layer = SessionTimeoutLayer::builder().cookie("sid").client_endpoints("/_session-timeout").build().unwrap();
    /// let tag = format!(r#"<script src="{}" defer data-login-url="/login"></script>"#, layer.client_script().unwrap());
    /// assert!(tag.starts_with(r#"<script src="/_session-timeout/client.js?v="#));
    /// ```
    #[cfg(feature = "client")]
    pub fn client_script(&self) -> Option<String> {
        self.config.client.as_ref().map(crate::client::Client::script_path)
    }

    /// The sessions of this layer, for code that begins or ends them itself.
    pub fn sessions(&self) -> Sessions {
        Sessions { store: StoreHandle::new(&self.config) }
    }
}

impl<S: Clone> Layer<S> for SessionTimeoutLayer {
    type Service = SessionTimeout<S>;

    fn layer(&self, inner: S) -> Self::Service {
        SessionTimeout::new(inner, Arc::clone(&self.config))
    }
}

impl fmt::Debug for SessionTimeoutLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionTimeoutLayer")
            .field("limits", &self.config.policy.limits)
            .finish_non_exhaustive()
    }
}

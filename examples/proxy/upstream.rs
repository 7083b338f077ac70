//! The application behind the proxy, as a client sees it.

use std::{error::Error, io, iter, time::Duration};

use bytes::Bytes;
use http::{Request, Response, Uri, request};
use http_body_util::Empty;
use hyper::body::{Body, Incoming};
use hyper_util::{
    client::legacy::{self, Client, connect::HttpConnector},
    rt::TokioExecutor,
};

use crate::bodies::{Progress, RequestBody, Watched, WithoutTrailers};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The application.
#[derive(Clone)]
pub(crate) struct Upstream {
    pub(crate) origin: Uri,
    pub(crate) answer_timeout: Duration,
    client: Client<HttpConnector, Watched>,
    /// Connects anew for each request.
    connecting_client: Client<HttpConnector, Empty<Bytes>>,
}

pub(crate) enum Failure {
    Unreachable(legacy::Error),
    TooSlow,
}

impl Upstream {
    pub(crate) fn new(origin: Uri, answer_timeout: Duration) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
        let mut client = Client::builder(TokioExecutor::new());
        Self {
            origin,
            answer_timeout,
            client: client.build(connector.clone()),
            connecting_client: client.pool_max_idle_per_host(0).build(connector),
        }
    }

    pub(crate) async fn ask(&self, request: Request<RequestBody>) -> Result<Response<Incoming>, Failure> {
        let (head, body) = request.into_parts();
        let again = is_repeatable(&head, &body).then(|| Request::from_parts(head.clone(), Empty::new()));
        let progress = Progress::new();
        let body = WithoutTrailers(body);
        let request = Request::from_parts(head, Watched { body, progress: progress.clone() });
        let answer = async {
            match (self.client.request(request).await, again) {
                // An application closes a connection when nothing was asked for a while. What is on its way then gets no
                // answer.
                (Err(error), Some(again)) if was_closed(&error) => {
                    self.connecting_client.request(again).await
                }
                (answer, _) => answer,
            }
        };
        match progress.within(self.answer_timeout, answer).await {
            Some(answer) => answer.map_err(Failure::Unreachable),
            None => Err(Failure::TooSlow),
        }
    }
}

/// To ask twice is the same as once (RFC 9110 §9.2.2), and there is no body that has been read by then.
fn is_repeatable(head: &request::Parts, body: &RequestBody) -> bool {
    head.method.is_idempotent() && body.is_end_stream()
}

/// Whether the connection was closed before an answer began.
fn was_closed(error: &legacy::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset};

    let causes = iter::successors(error.source(), |&cause| cause.source());
    !error.is_connect()
        && causes.into_iter().any(|cause| {
            let by_hyper = cause.downcast_ref::<hyper::Error>();
            let by_system = cause.downcast_ref::<io::Error>();
            by_hyper.is_some_and(hyper::Error::is_incomplete_message)
                || by_system.is_some_and(|error| {
                    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset)
                })
        })
}

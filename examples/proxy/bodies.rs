//! Bodies as the proxy hands them on, and how far they are.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::{self, Instant};
use tower_session_timeout::FormBody;

/// A copy may be made of it, if it is a form.
pub(crate) type RequestBody = FormBody<Incoming>;

/// When a request's body last moved on: an upload takes its time, and the application is not to blame.
#[derive(Clone)]
pub(crate) struct Progress(Arc<Mutex<Instant>>);

impl Progress {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(Instant::now())))
    }

    fn last(&self) -> Instant {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn moves_on(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// What comes so long after the last progress at the latest.
    pub(crate) async fn within<T>(&self, limit: Duration, answer: impl Future<Output = T>) -> Option<T> {
        let mut answer = std::pin::pin!(answer);
        loop {
            let last = self.last();
            // Longer than time goes on is no limit.
            let Some(deadline) = last.checked_add(limit) else { return Some(answer.await) };
            match time::timeout_at(deadline, &mut answer).await {
                Ok(answer) => return Some(answer),
                Err(_) if self.last() > last => {}
                Err(_) => return None,
            }
        }
    }
}

/// A body as it goes on, in either direction. The layer has not seen trailers, and servers put those of a request among its
/// header fields (uvicorn): there, a `Cookie` would be a session that nobody has judged. None of an application's is missed:
/// it is asked by HTTP/1.1, which carries no gRPC.
pub(crate) struct WithoutTrailers<B = Incoming>(pub(crate) B);

impl<B: Body<Data = Bytes, Error = hyper::Error> + Unpin> Body for WithoutTrailers<B> {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        loop {
            match ready!(Pin::new(&mut self.0).poll_frame(cx)) {
                Some(Ok(frame)) if frame.is_trailers() => {}
                frame => return Poll::Ready(frame),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

/// A request's body, as the application reads it.
pub(crate) struct Watched {
    pub(crate) body: WithoutTrailers<RequestBody>,
    pub(crate) progress: Progress,
}

impl Body for Watched {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        self.progress.moves_on();
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

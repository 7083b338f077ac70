//! The response body: the application's own, or a refusal's.

use std::{
    fmt,
    pin::Pin,
    sync::{Mutex, PoisonError},
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::{respond, respond::body::RefusalBody, store::answer::BoxFuture};

pin_project! {
    /// The body of a response that went through [`SessionTimeout`](crate::SessionTimeout): the application's,
    /// untouched, or that of an answer the layer gave instead.
    #[project = Projected]
    pub struct SessionBody<P> {
        #[pin]
        inner: Inner<P>,
    }
}

pin_project! {
    #[project = ProjectedInner]
    enum Inner<P> {
        Application { #[pin] body: P },
        /// The application's, until the session has ended.
        Stream { #[pin] body: P, ended: Mutex<BoxFuture<()>>, last: Last },
        /// Boxed, so that a response is no larger than the application's own.
        Refusal { body: Box<RefusalBody> },
    }
}

impl<P> SessionBody<P> {
    pub(crate) fn application(body: P) -> Self {
        Self { inner: Inner::Application { body } }
    }

    /// A body that ends when `ended` does.
    pub(crate) fn stream(body: P, ended: BoxFuture<()>, is_grpc: bool) -> Self {
        let last = if is_grpc { Last::GrpcStatus } else { Last::Nothing };
        Self { inner: Inner::Stream { body, ended: Mutex::new(ended), last } }
    }

    pub(crate) fn refusal(body: RefusalBody) -> Self {
        Self { inner: Inner::Refusal { body: Box::new(body) } }
    }
}

/// How a stream ends with its session.
#[derive(Clone, Copy)]
enum Last {
    /// With nothing more.
    Nothing,
    /// With a trailers frame that says so (gRPC).
    GrpcStatus,
    /// It has.
    Done,
}

impl<P> Body for SessionBody<P>
where
    P: Body<Data = Bytes>,
{
    type Data = Bytes;
    type Error = P::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, P::Error>>> {
        match self.project().inner.project() {
            ProjectedInner::Application { body } => body.poll_frame(cx),
            ProjectedInner::Stream { last: Last::Done, .. } => Poll::Ready(None),
            // `ended` first: a stream that is never pending must end as well.
            ProjectedInner::Stream { body, ended, last } => match poll_ended(ended, cx) {
                Poll::Pending => body.poll_frame(cx),
                Poll::Ready(()) => match std::mem::replace(last, Last::Done) {
                    Last::GrpcStatus => {
                        Poll::Ready(Some(Ok(Frame::trailers(respond::grpc_status().collect()))))
                    }
                    Last::Nothing | Last::Done => Poll::Ready(None),
                },
            },
            ProjectedInner::Refusal { body } => body.poll_frame(cx).map(|frame| frame.map(Ok)),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.inner {
            Inner::Application { body } => body.is_end_stream(),
            Inner::Stream { body, last, .. } => matches!(last, Last::Done) || body.is_end_stream(),
            Inner::Refusal { body } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.inner {
            Inner::Application { body } => body.size_hint(),
            // It may end at any time.
            Inner::Stream { .. } => SizeHint::default(),
            Inner::Refusal { body } => body.size_hint(),
        }
    }
}

/// Not to be polled again once it has ended: `last` sees to that.
fn poll_ended(ended: &mut Mutex<BoxFuture<()>>, cx: &mut Context<'_>) -> Poll<()> {
    ended.get_mut().unwrap_or_else(PoisonError::into_inner).as_mut().poll(cx)
}

impl<P: Default> Default for SessionBody<P> {
    fn default() -> Self {
        Self::application(P::default())
    }
}

impl<P> fmt::Debug for SessionBody<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.inner {
            Inner::Application { .. } => "SessionBody(application)",
            Inner::Stream { .. } => "SessionBody(stream)",
            Inner::Refusal { .. } => "SessionBody(refusal)",
        })
    }
}

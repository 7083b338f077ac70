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

use crate::{BoxFuture, respond};

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
        /// The application's, until the session is over.
        Stream { #[pin] body: P, over: Mutex<BoxFuture<()>>, last: Last },
        /// Boxed, so that a response is no larger than the application's own.
        Refusal { body: Box<RefusalBody> },
    }
}

/// The body of an answer the layer gives itself.
pub(crate) enum RefusalBody {
    Text(Option<Bytes>),
    /// An application's own answer. The mutex is never locked in earnest: it makes the body `Sync`.
    Custom(Mutex<Pin<Box<dyn Body<Data = Bytes, Error = ()> + Send>>>),
}

impl<P> SessionBody<P> {
    pub(crate) fn application(body: P) -> Self {
        Self { inner: Inner::Application { body } }
    }

    /// A body that ends when `over` does.
    pub(crate) fn stream(body: P, over: BoxFuture<()>, is_grpc: bool) -> Self {
        let last = if is_grpc { Last::GrpcStatus } else { Last::Nothing };
        Self { inner: Inner::Stream { body, over: Mutex::new(over), last } }
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

impl RefusalBody {
    pub(crate) fn text(text: impl Into<Bytes>) -> Self {
        let text = text.into();
        Self::Text((!text.is_empty()).then_some(text))
    }

    pub(crate) fn custom<B>(body: B) -> Self
    where
        B: Body<Data = Bytes> + Send + 'static,
    {
        Self::Custom(Mutex::new(Box::pin(Silenced { body })))
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Frame<Bytes>>> {
        match self {
            Self::Text(text) => Poll::Ready(text.take().map(Frame::data)),
            Self::Custom(body) => {
                let body = body.get_mut().unwrap_or_else(PoisonError::into_inner);
                // The application's error type is not this body's: a failed answer ends short of its length.
                body.as_mut().poll_frame(cx).map(|frame| frame.and_then(Result::ok))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Text(text) => text.is_none(),
            Self::Custom(body) => body.lock().unwrap_or_else(PoisonError::into_inner).is_end_stream(),
        }
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        match self {
            Self::Text(text) => SizeHint::with_exact(text.as_ref().map_or(0, |text| text.len() as u64)),
            Self::Custom(body) => body.lock().unwrap_or_else(PoisonError::into_inner).size_hint(),
        }
    }
}

pin_project! {
    struct Silenced<B> {
        #[pin]
        body: B,
    }
}

impl<B: Body> Body for Silenced<B> {
    type Data = B::Data;
    type Error = ();

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, ()>>> {
        self.project().body.poll_frame(cx).map_err(drop)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
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
            // `over` first: a stream that is never pending must end as well.
            ProjectedInner::Stream { body, over, last } => match poll_over(over, cx) {
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

/// Not to be polled again once it is over: `last` sees to that.
fn poll_over(over: &mut Mutex<BoxFuture<()>>, cx: &mut Context<'_>) -> Poll<()> {
    over.get_mut().unwrap_or_else(PoisonError::into_inner).as_mut().poll(cx)
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

//! The body of an answer the layer gives itself.

use std::{
    pin::Pin,
    sync::{Mutex, PoisonError},
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

/// The body of an answer the layer gives itself.
pub(crate) enum RefusalBody {
    Text(Option<Bytes>),
    /// An application's own answer. The mutex is never locked in earnest: it makes the body `Sync`.
    Custom(Mutex<Pin<Box<dyn Body<Data = Bytes, Error = ()> + Send>>>),
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

    pub(crate) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Frame<Bytes>>> {
        match self {
            Self::Text(text) => Poll::Ready(text.take().map(Frame::data)),
            Self::Custom(body) => {
                let body = body.get_mut().unwrap_or_else(PoisonError::into_inner);
                // The application's error type is not this body's: a failed answer ends short of its length.
                body.as_mut().poll_frame(cx).map(|frame| frame.and_then(Result::ok))
            }
        }
    }

    pub(crate) fn is_end_stream(&self) -> bool {
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

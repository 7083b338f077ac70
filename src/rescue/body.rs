//! The body of a request, copied as the application reads it: what it leaves unread can be read afterwards.

use std::{
    error::Error,
    fmt, mem,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use pin_project_lite::pin_project;
use tokio::{sync::Notify, time::timeout};

use crate::{
    rescue::form::Lost,
    respond::return_to::{FormWatch, Seen},
};

/// Until when the rest of a form has to have come.
const COMES_WITHIN: Duration = Duration::from_secs(30);

pub(crate) type BoxError = Box<dyn Error + Send + Sync>;

pin_project! {
    /// The body of a request behind a [`FormRescueLayer`](crate::FormRescueLayer): as it came. Of forms a copy is made while the
    /// application reads them.
    pub struct FormBody<B> {
        #[pin]
        kind: Kind<B>,
    }
}

pin_project! {
    #[project = Projected]
    enum Kind<B> {
        Other { #[pin] body: B },
        Form { watched: Watched<B> },
    }
}

struct Watched<B> {
    body: Option<Pin<Box<B>>>,
    copy: FormCopy<B>,
    watch: FormWatch,
}

impl<B> Drop for Watched<B> {
    fn drop(&mut self) {
        if self.may_be_late() {
            let mut state = self.copy.state();
            state.rest = self.body.take();
            state.is_left = true;
            drop(state);
            self.copy.0.left.notify_one();
        }
    }
}

impl<B> Watched<B> {
    /// What comes in a live session is the application's alone.
    fn may_be_late(&self) -> bool {
        !matches!(self.watch.watched().seen.get(), Some(Seen::Live(_)))
    }
}

/// What has come of a form.
pub(crate) struct FormCopy<B>(Arc<Shared<B>>);

struct Shared<B> {
    state: Mutex<State<B>>,
    /// The application has let go of the body.
    left: Notify,
}

struct State<B> {
    bytes: Vec<u8>,
    limit: usize,
    /// Not all of it can be kept.
    lost: Option<Lost>,
    is_whole: bool,
    is_left: bool,
    /// The application has not read this.
    rest: Option<Pin<Box<B>>>,
}

impl<B> State<B> {
    fn add(&mut self, data: &[u8]) {
        if self.bytes.len() + data.len() > self.limit {
            self.lose(Lost::TooLarge);
        }
        if self.lost.is_none() {
            self.bytes.extend_from_slice(data);
        }
    }

    fn lose(&mut self, why: Lost) {
        self.lost.get_or_insert(why);
        self.bytes = Vec::new();
    }
}

impl<B> Clone for FormCopy<B> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

/// A body of which nobody makes a copy: for services that are used without a [`FormRescueLayer`](crate::FormRescueLayer), too.
impl<B> From<B> for FormBody<B> {
    fn from(body: B) -> Self {
        Self { kind: Kind::Other { body } }
    }
}

impl<B> FormBody<B> {
    /// `limit`: how much of it is copied at most; `length`: what it is said to be.
    pub(crate) fn form(body: B, limit: usize, length: Option<u64>, watch: FormWatch) -> (Self, FormCopy<B>) {
        let lost = length.is_some_and(|length| length > limit as u64).then_some(Lost::TooLarge);
        let state = State { bytes: Vec::new(), limit, lost, is_whole: false, is_left: false, rest: None };
        let copy = FormCopy(Arc::new(Shared { state: Mutex::new(state), left: Notify::new() }));
        let watched = Watched { body: Some(Box::pin(body)), copy: copy.clone(), watch };
        (Self { kind: Kind::Form { watched } }, copy)
    }
}

impl<B> FormCopy<B> {
    fn state(&self) -> MutexGuard<'_, State<B>> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<B: Body<Error: Into<BoxError>>> FormCopy<B> {
    /// All of it, once the application has answered. It may go on reading.
    pub(crate) async fn whole(&self) -> Result<Bytes, Lost> {
        let comes = async {
            if !self.state().is_left {
                self.0.left.notified().await;
            }
            let rest = self.state().rest.take();
            if let Some(rest) = rest {
                self.read(rest).await;
            }
        };
        if timeout(COMES_WITHIN, comes).await.is_err() {
            self.state().lose(Lost::Unreadable);
        }
        let mut state = self.state();
        match state.lost {
            Some(lost) => Err(lost),
            None if state.is_whole => Ok(mem::take(&mut state.bytes).into()),
            None => Err(Lost::Unreadable),
        }
    }

    async fn read(&self, mut rest: Pin<Box<B>>) {
        while self.state().lost.is_none() {
            match rest.frame().await {
                Some(Ok(frame)) => {
                    if let Ok(mut data) = frame.into_data() {
                        let data = data.copy_to_bytes(data.remaining());
                        self.state().add(&data);
                    }
                }
                Some(Err(_)) => self.state().lose(Lost::Unreadable),
                None => {
                    self.state().is_whole = true;
                    return;
                }
            }
        }
    }
}

impl<B: Body<Data = Bytes>> Body for FormBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let watched = match self.project().kind.project() {
            Projected::Other { body } => return body.poll_frame(cx),
            Projected::Form { watched } => watched,
        };
        let may_be_late = watched.may_be_late();
        let Watched { body, copy, .. } = watched;
        let Some(body) = body else { return Poll::Ready(None) };
        let frame = ready!(body.as_mut().poll_frame(cx));
        if !may_be_late {
            return Poll::Ready(frame);
        }
        let mut state = copy.state();
        match &frame {
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    state.add(data);
                }
                // Who knows its length does not ask once more.
                state.is_whole = body.is_end_stream();
            }
            Some(Err(_)) => state.lose(Lost::Unreadable),
            None => state.is_whole = true,
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Other { body } => body.is_end_stream(),
            Kind::Form { watched } => watched.body.as_ref().is_none_or(Body::is_end_stream),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Other { body } => body.size_hint(),
            Kind::Form { watched } => watched.body.as_ref().map_or_else(SizeHint::default, Body::size_hint),
        }
    }
}

impl<B> fmt::Debug for FormBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FormBody(..)")
    }
}

//! The way of a request's answer out.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use pin_project_lite::pin_project;
use tokio::runtime::Handle;
use tower_service::Service;

use crate::{
    middleware::{
        admit::admit,
        admitted::Admitted,
        body::SessionBody,
        check::Admission,
        kind::RequestKind,
        logout::Logout,
        plan::{Leaving, Outcome, Plan},
        store_handle::StoreHandle,
    },
    request::head::RequestHead,
    respond::body::RefusalBody,
    store::answer::BoxFuture,
};

pin_project! {
    /// The future of [`SessionTimeout`](crate::SessionTimeout).
    pub struct ResponseFuture<S, Q>
    where
        S: Service<Request<Q>>,
    {
        #[pin]
        state: State<S, S::Future, S::Response, Q>,
    }
}

pin_project! {
    #[project = Projected]
    enum State<S, F, R, Q> {
        /// The store is asked whether the session is live. Never with a store in memory and one cookie.
        Checking { checking: Box<Checking<S, Q>> },
        /// The application answers.
        Calling { #[pin] answer: F, admitted: Option<Admitted> },
        /// The store is told what the answer says happened.
        Settling { settling: Box<Settling<R>> },
        /// The layer has answered.
        Refused { response: Option<Box<Response<RefusalBody>>> },
    }
}

struct Checking<S, Q> {
    service: S,
    /// Both are taken once the check is done.
    check: Option<BoxFuture<Admission>>,
    request: Option<Request<Q>>,
    store: StoreHandle,
    kind: RequestKind,
    /// The request is a log-out.
    logout: Option<Logout>,
}

impl<S, Q> Drop for Checking<S, Q> {
    /// The client went away. A log-out must not be lost for that.
    fn drop(&mut self) {
        if let (Some(check), Some(mut logout), Ok(runtime)) =
            (self.check.take(), self.logout.take(), Handle::try_current())
        {
            let store = self.store.clone();
            runtime.spawn(async move { logout.add_admitted(&store, &check.await) });
        }
    }
}

struct Settling<R> {
    /// Both are taken once it is done.
    settle: Option<BoxFuture<Outcome>>,
    rest: Option<(R, Admitted, Leaving)>,
}

impl<R> Drop for Settling<R> {
    /// The client went away. An end must not be lost for that.
    fn drop(&mut self) {
        if let (Some(settle), Ok(runtime)) = (self.settle.take(), Handle::try_current()) {
            runtime.spawn(settle);
        }
    }
}

impl<S, Q> ResponseFuture<S, Q>
where
    S: Service<Request<Q>>,
{
    pub(crate) fn checking(
        check: BoxFuture<Admission>,
        service: S,
        request: Request<Q>,
        store: StoreHandle,
        kind: RequestKind,
    ) -> Self {
        let logout = Logout::unchecked(kind, &store, &RequestHead::of(&request));
        let (check, request) = (Some(check), Some(request));
        let checking = Box::new(Checking { service, check, request, store, kind, logout });
        Self { state: State::Checking { checking } }
    }

    pub(crate) fn calling(answer: S::Future, admitted: Admitted) -> Self {
        Self { state: State::Calling { answer, admitted: Some(admitted) } }
    }

    pub(crate) fn refused(response: Box<Response<RefusalBody>>) -> Self {
        Self { state: State::Refused { response: Some(response) } }
    }
}

impl<S, P, Q> Future for ResponseFuture<S, Q>
where
    S: Service<Request<Q>, Response = Response<P>>,
    P: Body<Data = Bytes>,
{
    type Output = Result<Response<SessionBody<P>>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        loop {
            let next = match state.as_mut().project() {
                Projected::Checking { checking } => {
                    let check = checking.check.as_mut().expect("polled after completion");
                    let admission = ready!(check.as_mut().poll(cx));
                    checking.check = None;
                    if let Some(mut logout) = checking.logout.take() {
                        // It goes on with what is admitted.
                        logout.hand_over();
                    }
                    let mut request = checking.request.take().expect("polled after completion");
                    match admit(checking.store.clone(), checking.kind, &mut request, admission) {
                        Ok(admitted) => State::Calling {
                            answer: checking.service.call(request),
                            admitted: Some(admitted),
                        },
                        Err(response) => State::Refused { response: Some(response) },
                    }
                }
                Projected::Calling { answer, admitted } => {
                    let Poll::Ready(answer) = answer.poll(cx) else {
                        if let Some(admitted) = admitted {
                            admitted.keep(cx);
                        }
                        return Poll::Pending;
                    };
                    let mut admitted = admitted.take().expect("polled after completion");
                    let mut response = answer?;
                    let Some(observed) = admitted.observe(&mut response) else {
                        let response = admitted.conclude(response, &Leaving::UNCHANGED, Outcome::Pass);
                        return Poll::Ready(Ok(response));
                    };
                    let Plan { change, leaving } = Plan::of(admitted.facts(), observed);
                    let settle = Some(admitted.settle(change));
                    let rest = Some((response, admitted, leaving));
                    State::Settling { settling: Box::new(Settling { settle, rest }) }
                }
                Projected::Settling { settling } => {
                    let settle = settling.settle.as_mut().expect("polled after completion");
                    let outcome = ready!(settle.as_mut().poll(cx));
                    settling.settle = None;
                    let (response, admitted, leaving) =
                        settling.rest.take().expect("polled after completion");
                    return Poll::Ready(Ok(admitted.conclude(response, &leaving, outcome)));
                }
                Projected::Refused { response } => {
                    let response = response.take().expect("polled after completion");
                    return Poll::Ready(Ok(response.map(SessionBody::refusal)));
                }
            };
            state.set(next);
        }
    }
}

impl<S, Q> fmt::Debug for ResponseFuture<S, Q>
where
    S: Service<Request<Q>>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ResponseFuture(..)")
    }
}

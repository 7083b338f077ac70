//! What answer a request gets whose session has ended.

use bytes::Bytes;
use http::Response;
use http_body::Body;

use super::SessionTimeoutBuilder;
use crate::{
    event::{EventSink, SessionEvent},
    middleware::config::LogoutMethods,
    respond::{Ended, ExpiredResponse, body::RefusalBody},
};

/// What answer.
impl SessionTimeoutBuilder {
    /// The log-in page. Browsers whose session has ended are sent there with `303` and `?next=`; it is public. Without
    /// it, everybody hears `401`. It is neither the [`logout_path`](Self::logout_path) nor below the client endpoints.
    pub fn login_path(self, path: impl Into<String>) -> Self {
        Self { login_path: Some(path.into()), ..self }
    }

    /// The log-out path: a `POST` to it ends the session, whatever cookie the application sets there, and every one if
    /// the request carries several that are live. It is public, and [`limits_for`](Self::limits_for) keeps nobody from
    /// it. Default: none.
    ///
    /// The application may refuse: a `4xx` answer, to a forged form say, ends nothing. Where it does not say (a `5xx`
    /// answer, an error, a panic, a client that went away before the answer), the session ends all the same, unless the
    /// request was made by a page of another origin (`Sec-Fetch-Site`, or else `Origin`).
    pub fn logout_path(self, path: impl Into<String>) -> Self {
        Self { logout_path: Some(path.into()), ..self }
    }

    /// A `GET` to the log-out path logs out, too: for applications whose log-out is a link. Default: only a `POST` does.
    ///
    /// Then every link to it on this site does, whoever wrote it. A prefetch, an image or a frame does not, nor a link on
    /// another site, as far as the browser tells (`Sec-Fetch-Site`, `Sec-Fetch-Dest`, `Sec-Purpose`).
    pub fn logout_by_get(self) -> Self {
        Self { logout_methods: LogoutMethods::PostAndGet, ..self }
    }

    /// The answer to requests whose session has ended, with any body. Some are ready-made: [`crate::respond`].
    ///
    /// `Cache-Control: no-store`, `Vary`, `Session-Ended` and, for navigations, the cookie's removal are added. A session cookie
    /// of its own does not leave: no session begins with it.
    pub fn expired_response<F, B>(self, respond: F) -> Self
    where
        F: Fn(&Ended<'_>) -> Response<B> + Send + Sync + 'static,
        B: Body<Data = Bytes> + Send + 'static,
    {
        let respond: ExpiredResponse = Box::new(move |ended| respond(ended).map(RefusalBody::custom));
        Self { expired_response: Some(respond), ..self }
    }

    /// Answers of these media types, with any parameters and suffix (`application/grpc` is `application/grpc+proto`, too),
    /// end with their session: server-sent events, long polls, gRPC streams. Other
    /// requests of the session put that off; a stream itself is no activity once its answer has begun. Bodies of known
    /// length are never cut. Default: none. Calls add up. Needs tokio's timer.
    ///
    /// An end by the clocks cuts in time, one by a log-out within 30 seconds. A gRPC stream ends with the trailers of
    /// `UNAUTHENTICATED`. It is the session's end that cuts: a stream opened with an id that is superseded since, or ended by
    /// [`Session::reauthenticated`](crate::Session::reauthenticated), goes on with its session.
    ///
    /// ```
    /// use tower_session_timeout::SessionTimeoutLayer;
    ///
    /// let layer = SessionTimeoutLayer::builder().cookie("sid").end_streams(["text/event-stream"]).build();
    /// # layer.unwrap();
    /// ```
    pub fn end_streams<T: Into<String>>(mut self, media_types: impl IntoIterator<Item = T>) -> Self {
        self.end_streams.extend(media_types.into_iter().map(Into::into));
        self
    }

    /// Is told what happens to sessions. It runs within requests: be quick, or hand on. It can neither keep a session
    /// alive nor end one, not even by panicking.
    pub fn on_event(self, receive: impl Fn(&SessionEvent) + Send + Sync + 'static) -> Self {
        Self { on_event: Some(EventSink::new(receive)), ..self }
    }
}

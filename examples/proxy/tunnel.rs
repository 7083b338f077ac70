//! Web sockets: once the application has agreed to one, bytes are handed through both ways, until the session ends.

use http::{
    HeaderMap, HeaderValue, Method, Request, Response, Version,
    header::{CONNECTION, UPGRADE},
};
use hyper::{
    body::Incoming,
    upgrade::{self, OnUpgrade},
};
use hyper_util::rt::TokioIo;
use tokio::io;
use tower_session_timeout::Session;

use crate::bodies::RequestBody;

const WEB_SOCKET: HeaderValue = HeaderValue::from_static("websocket");

/// A request that asks for a web socket.
pub(crate) struct Tunnel {
    client: OnUpgrade,
    session: Option<Session>,
}

impl Tunnel {
    /// `None`: it asks for none. Nothing but a web socket is let through: in another protocol (`h2c`), there would be requests
    /// that the layer does not see.
    pub(crate) fn asked_for_by(request: &mut Request<RequestBody>) -> Option<Self> {
        let asks = *request.method() == Method::GET
            && request.version() == Version::HTTP_11
            && is_for_web_socket(request.headers());
        asks.then(|| Self { session: request.extensions().get().cloned(), client: upgrade::on(request) })
    }

    /// Opens it: the application agrees.
    pub(crate) fn open(self, answer: &mut Response<Incoming>) {
        let application = upgrade::on(answer);
        tokio::spawn(async move {
            let Ok((client, application)) = tokio::try_join!(self.client, application) else { return };
            let (mut client, mut application) = (TokioIo::new(client), TokioIo::new(application));
            let both_ways = io::copy_bidirectional(&mut client, &mut application);
            match self.session {
                Some(session) => tokio::select! {
                    _ = both_ways => {}
                    // Both connections are closed, without a message: only the application may write one.
                    _ = session.ended() => {}
                },
                None => drop(both_ways.await),
            }
        });
    }
}

/// By both fields (RFC 6455 §4.1).
pub(crate) fn is_for_web_socket(headers: &HeaderMap) -> bool {
    let mut protocols = headers.get_all(UPGRADE).iter();
    let protocol = protocols.next().filter(|_| protocols.next().is_none());
    protocol.is_some_and(|protocol| protocol.as_bytes().eq_ignore_ascii_case(WEB_SOCKET.as_bytes()))
        && headers.get_all(CONNECTION).iter().any(|options| {
            let mut options = options.as_bytes().split(|&byte| byte == b',').map(<[u8]>::trim_ascii);
            options.any(|option| option.eq_ignore_ascii_case(b"upgrade"))
        })
}

/// They concern one connection, and are written anew for the next.
pub(crate) fn announce_web_socket(headers: &mut HeaderMap) {
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, WEB_SOCKET);
}

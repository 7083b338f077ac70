//! One request, from its client to the application, and the answer back.

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, Version,
    header::{
        CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, HOST, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
    },
    uri::PathAndQuery,
};
use http_body_util::{Either, Full};
use hyper::body::Body;

use crate::{
    bodies::{RequestBody, WithoutTrailers},
    page::{Asked, Page, PageScript, ask_for_page},
    tunnel::{Tunnel, announce_web_socket, is_for_web_socket},
    upstream::{Failure, Upstream},
};

/// The application's answer, or one of the proxy's own.
pub(crate) type Answer = Response<Either<Page, Full<Bytes>>>;

/// Bodies are handed on as they arrive, in both directions.
pub(crate) async fn forward(
    upstream: Upstream,
    script: Option<&PageScript>,
    mut request: Request<RequestBody>,
) -> Answer {
    // It asks for a tunnel, in which nobody would look at sessions.
    if *request.method() == Method::CONNECT {
        return refusal(StatusCode::NOT_IMPLEMENTED, "There are no tunnels here.");
    }
    let tunnel = Tunnel::asked_for_by(&mut request);
    remove_hop_by_hop(request.headers_mut());
    if tunnel.is_some() {
        announce_web_socket(request.headers_mut());
    }
    let asked = Asked::by(request.headers());
    if script.is_some() && asked != Asked::Other {
        ask_for_page(request.headers_mut());
    }
    // Of a body whose length nobody tells, hyper sends nothing with a method that has usually none.
    if !request.body().is_end_stream() && !request.headers().contains_key(CONTENT_LENGTH) {
        request.headers_mut().insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    let method = request.method().clone();
    let readdressed = readdress(&mut request, upstream.origin.clone());
    if let Err(error) = readdressed.and_then(|()| join_cookies(request.headers_mut())) {
        eprintln!("cannot pass on a request: {error}");
        return refusal(StatusCode::BAD_REQUEST, "This request cannot be passed on.");
    }
    match upstream.ask(request).await {
        Ok(mut response) if response.status() == StatusCode::SWITCHING_PROTOCOLS => {
            let Some(tunnel) = tunnel.filter(|_| is_for_web_socket(response.headers())) else {
                return refusal(
                    StatusCode::BAD_GATEWAY,
                    "The application changes to a protocol nobody asked for.",
                );
            };
            tunnel.open(&mut response);
            remove_hop_by_hop(response.headers_mut());
            announce_web_socket(response.headers_mut());
            response.map(|_| Either::Right(Full::default()))
        }
        Ok(mut response) => {
            remove_hop_by_hop(response.headers_mut());
            *response.version_mut() = Version::HTTP_11;
            let response = response.map(WithoutTrailers);
            match script {
                Some(script) => script.put_into(&method, asked, response).map(Either::Left),
                None => response.map(Page::Untouched).map(Either::Left),
            }
        }
        Err(Failure::Unreachable(error)) => {
            eprintln!("a request did not reach the application: {error:?}");
            refusal(StatusCode::BAD_GATEWAY, "The application cannot be reached.")
        }
        Err(Failure::TooSlow) => {
            eprintln!("the application did not answer within {} s", upstream.answer_timeout.as_secs_f64());
            refusal(StatusCode::GATEWAY_TIMEOUT, "The application takes too long to answer.")
        }
    }
}

/// To the application, which sees the `Host` the client asked for.
fn readdress(request: &mut Request<RequestBody>, upstream: Uri) -> Result<(), http::Error> {
    let asked_for = request.uri().clone().into_parts();
    // HTTP/2 has no `Host`, and an absolute address overrules it (RFC 9112 §3.2.2).
    if let Some(authority) = asked_for.authority {
        request.headers_mut().insert(HOST, HeaderValue::from_str(authority.as_str())?);
    }
    let mut parts = upstream.into_parts();
    parts.path_and_query = asked_for.path_and_query.or(Some(PathAndQuery::from_static("/")));
    *request.uri_mut() = Uri::from_parts(parts)?;
    *request.version_mut() = Version::HTTP_11;
    Ok(())
}

/// HTTP/2 clients split `Cookie` into fields (RFC 9113 §8.2.3). Many HTTP/1 servers would put a comma between them,
/// and read another value than the layer has checked.
fn join_cookies(headers: &mut HeaderMap) -> Result<(), http::Error> {
    let fields: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if fields.len() > 1 {
        let joined = HeaderValue::from_bytes(&fields.join(&b"; "[..]))?;
        headers.insert(COOKIE, joined);
    }
    Ok(())
}

/// What concerns this connection alone (RFC 9110 §7.6.1), by name or because `Connection` lists it; and the announcement of
/// trailers, which do not go on. What says where a request goes and how long it is cannot be listed away.
fn remove_hop_by_hop(headers: &mut HeaderMap) {
    const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
    const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
    let listed: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .flat_map(|options| options.as_bytes().split(|&byte| byte == b','))
        .filter_map(|option| HeaderName::from_bytes(option.trim_ascii()).ok())
        .filter(|name| ![HOST, CONTENT_LENGTH].contains(name))
        .collect();
    let by_name = [CONNECTION, KEEP_ALIVE, PROXY_CONNECTION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE];
    for name in by_name.into_iter().chain(listed) {
        headers.remove(name);
    }
}

fn refusal(status: StatusCode, text: &'static str) -> Answer {
    let mut response = Response::new(Either::Right(Full::from(text)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

//! Requests as hyper delivers them: header values are slices of shared buffers.

use axum_core::body::Body;
use bytes::BytesMut;
use http::{HeaderValue, Request, header};
use tower_sessions::session::Id;

/// A small generator of numbers that look random (`SplitMix64`).
pub struct Rng(pub u64);

impl Rng {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit as u64).unwrap_or_default()
    }
}

/// The number of the i-th session, as tower-sessions has it.
pub fn number(i: u64) -> Id {
    let mut rng = Rng(i.wrapping_mul(0xA24B_AED4_963E_E407) ^ 0x1234_5678);
    Id((i128::from(rng.next()) << 64) | i128::from(rng.next()))
}

/// The i-th session's id on the wire: 22 characters, base64url.
pub fn id(i: u64) -> String {
    number(i).to_string()
}

/// The requests of one client or many: 4 header fields, 3 cookies, the session's in the middle.
pub struct Requests {
    host: HeaderValue,
    user_agent: HeaderValue,
    accept: HeaderValue,
    cookies: Vec<String>,
}

impl Requests {
    /// One request for each id; with `None`, one without a session cookie.
    pub fn new(ids: impl IntoIterator<Item = Option<String>>) -> Self {
        let cookie = |id: Option<String>| {
            let session = id.map(|id| format!(" sid={id};")).unwrap_or_default();
            format!("theme=dark-blue;{session} _ga=GA1.1.1234567890.1700000000")
        };
        Self {
            host: shared("shop.example.com"),
            user_agent: shared(
                "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/131.0 Safari/537.36",
            ),
            accept: shared("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
            cookies: ids.into_iter().map(cookie).collect(),
        }
    }

    /// Each request gets more cookies.
    pub fn add_cookies(&mut self, more: &str) {
        for cookies in &mut self.cookies {
            cookies.push_str("; ");
            cookies.push_str(more);
        }
    }

    /// The same as HTTP/1.1.
    pub fn on_the_wire(&self, path: &str) -> impl Iterator<Item = String> {
        let text = |value: &HeaderValue| value.to_str().expect("ASCII").to_owned();
        let head = format!(
            "GET {path} HTTP/1.1\r\nHost: {}\r\nUser-Agent: {}\r\nAccept: {}\r\n",
            text(&self.host),
            text(&self.user_agent),
            text(&self.accept)
        );
        self.cookies.iter().map(move |cookies| format!("{head}Cookie: {cookies}\r\n\r\n"))
    }

    /// A request of a session chosen at random, its cookies just read from the socket.
    pub fn next(&self, rng: &mut Rng) -> Request<Body> {
        let mut request = Request::new(Body::empty());
        let headers = request.headers_mut();
        headers.reserve(6);
        headers.insert(header::HOST, self.host.clone());
        headers.insert(header::USER_AGENT, self.user_agent.clone());
        headers.insert(header::ACCEPT, self.accept.clone());
        headers.insert(header::COOKIE, shared(&self.cookies[rng.below(self.cookies.len())]));
        request
    }
}

fn shared(text: &str) -> HeaderValue {
    let mut buffer = BytesMut::with_capacity(text.len() + 64);
    buffer.extend_from_slice(text.as_bytes());
    let _what_follows = buffer.split_off(text.len());
    HeaderValue::from_maybe_shared(buffer.freeze()).expect("a valid header value")
}

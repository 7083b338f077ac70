//! Auth.js, NextAuth.js, Supabase and Auth0 behind the layer, with log-ins so large that they split them over several cookies.
//!
//! `tests/run parsers` installs them.
#![allow(clippy::unchecked_time_subtraction)] // of constants

use std::{
    collections::BTreeMap,
    convert::Infallible,
    sync::{Arc, Mutex},
    time::Duration,
};

use crate::support::{IDLE, NANO, get, lines::Lines, set_cookies, with};
use bytes::Bytes;
use http::{Request, Response, StatusCode, header::SET_COOKIE};
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};
use tower::{Layer, ServiceExt, util::BoxCloneSyncService};
use tower_session_timeout::{
    CookieChunks, ManualClock, MemoryStore, SessionBody, SessionCookie, SessionTimeoutBuilder,
    SessionTimeoutLayer,
};

const LARGE: usize = 9_000;
const SMALL: usize = 10;

struct Library {
    name: &'static str,
    cookie: &'static str,
    chunks: CookieChunks,
}

impl Library {
    fn chunked(&self) -> SessionCookie {
        SessionCookie::new(self.cookie).chunks(self.chunks)
    }
}

const LIBRARIES: [Library; 4] = [
    Library { name: "Auth.js", cookie: "authjs.session-token", chunks: CookieChunks::AuthJs },
    Library { name: "NextAuth.js", cookie: "next-auth.session-token", chunks: CookieChunks::AuthJs },
    Library { name: "Supabase", cookie: "sb-app-auth-token", chunks: CookieChunks::Supabase },
    Library { name: "Auth0", cookie: "__session", chunks: CookieChunks::Auth0 },
];

/// An application made with a library: `/log_in`, `/visit`, `/refresh` and `/log_out`.
struct Site {
    clock: ManualClock,
    store: Arc<MemoryStore>,
    service: BoxCloneSyncService<Request<Full<Bytes>>, Response<Bytes>, Infallible>,
}

impl Site {
    fn new(
        library: &'static Library,
        configure: fn(SessionTimeoutBuilder, &Library) -> SessionTimeoutBuilder,
    ) -> Self {
        let clock = ManualClock::new();
        let store = Arc::new(MemoryStore::new().clock(clock.clone()));
        let builder = SessionTimeoutLayer::builder()
            .cookie(library.cookie)
            .idle_timeout(IDLE)
            .public_paths(["/log_in"]);
        let layer = configure(builder.store(Arc::clone(&store)), library).build().unwrap();
        let lines = Arc::new(Mutex::new(Lines::of("node", "libraries.mjs")));
        let application = tower::service_fn(move |request: Request<Full<Bytes>>| {
            let answer = answer(library, &mut lines.lock().unwrap(), &request);
            std::future::ready(Ok::<_, Infallible>(answer))
        });
        let service =
            layer.layer(application).and_then(|response: Response<SessionBody<Full<Bytes>>>| async {
                let (parts, body) = response.into_parts();
                Ok(Response::from_parts(parts, body.collect().await?.to_bytes()))
            });
        Self { clock, store, service: BoxCloneSyncService::new(service) }
    }

    /// The user that the application finds; `None`: it was not asked.
    async fn ask(&self, cookie: &str, what: &str, size: usize) -> (Option<Value>, Response<Bytes>) {
        let request = with(get(&format!("/{what}"), &[]), "x-size", &size.to_string());
        let request = if cookie.is_empty() { request } else { with(request, "cookie", cookie) };
        let response = self.service.clone().oneshot(request).await.unwrap();
        let user =
            (response.status() == StatusCode::OK).then(|| serde_json::from_slice(response.body()).unwrap());
        (user, response)
    }
}

fn answer(library: &Library, lines: &mut Lines, request: &Request<Full<Bytes>>) -> Response<Full<Bytes>> {
    let header = |name: &str| request.headers().get(name).map_or("", |value| value.to_str().unwrap());
    let question = json!({
        "library": library.name, "what": request.uri().path().trim_start_matches('/'),
        "cookie": header("cookie"), "size": header("x-size"),
    });
    let answer: Value = serde_json::from_str(&lines.ask(&[question.to_string()])[0]).unwrap();
    let mut response = Response::new(Full::from(answer["user"].to_string()));
    for cookie in answer["set_cookies"].as_array().unwrap() {
        response.headers_mut().append(SET_COOKIE, cookie.as_str().unwrap().parse().unwrap());
    }
    response
}

/// What a browser has of the session cookie, and of no other.
struct Browser<'a> {
    site: &'a Site,
    library: &'a Library,
    jar: BTreeMap<String, String>,
}

impl<'a> Browser<'a> {
    fn new(site: &'a Site, library: &'a Library) -> Self {
        Self { site, library, jar: BTreeMap::new() }
    }

    fn cookie(&self) -> String {
        let pairs: Vec<String> = self.jar.iter().map(|(name, value)| format!("{name}={value}")).collect();
        pairs.join("; ")
    }

    fn names(&self) -> Vec<&str> {
        self.jar.keys().map(|name| &name[self.library.cookie.len()..]).collect()
    }

    async fn ask(&mut self, what: &str, size: usize) -> Option<Value> {
        let (user, response) = self.site.ask(&self.cookie(), what, size).await;
        for set in set_cookies(&response) {
            let (name, value) = set.split(';').next().unwrap().split_once('=').unwrap();
            if !name.starts_with(self.library.cookie) {
                continue;
            }
            if value.is_empty() || set.contains("Max-Age=0") {
                self.jar.remove(name);
            } else {
                self.jar.insert(name.to_owned(), value.to_owned());
            }
        }
        user
    }

    async fn is_signed_in(&mut self) -> bool {
        self.ask("visit", SMALL).await == Some(json!("ada@example.com"))
    }
}

#[tokio::test]
#[ignore = "needs what `tests/run parsers` installs"]
async fn a_large_log_in_is_one_session_that_is_timed() {
    for library in &LIBRARIES {
        let site = Site::new(library, |builder, library| builder.cookie(library.chunked()));
        let mut browser = Browser::new(&site, library);
        browser.ask("log_in", LARGE).await;
        assert!(
            browser.names().len() >= 3 && browser.names().iter().any(|name| name.ends_with('2')),
            "{}: {:?}",
            library.name,
            browser.names()
        );
        assert_eq!(site.store.len(), 1, "{}", library.name);
        for _ in 0..3 {
            site.clock.advance(IDLE - NANO);
            assert!(browser.is_signed_in().await, "{}", library.name);
        }
        let stolen = browser.jar.clone();
        site.clock.advance(IDLE);
        let mut thieves = disguises(library, &stolen);
        if library.name == "Auth0" {
            thieves.extend(under_another_name("appSession", &stolen));
        }
        for thief in thieves {
            let (user, response) = site.ask(&thief, "visit", SMALL).await;
            let is_out = user.is_none_or(|user| user == Value::Null);
            assert!(is_out, "{}: {response:?} to {}", library.name, &thief[..60]);
        }
        assert!(!browser.is_signed_in().await);
    }
}

/// Ways to send a session's chunks.
fn disguises(library: &Library, chunks: &BTreeMap<String, String>) -> Vec<String> {
    let name = library.cookie;
    let values: Vec<&str> = chunks.values().map(String::as_str).collect();
    let whole = values.concat();
    let join = |rename: &dyn Fn(usize) -> String| {
        let pairs: Vec<String> =
            values.iter().enumerate().map(|(n, value)| format!("{}={value}", rename(n))).collect();
        pairs.join("; ")
    };
    vec![
        join(&|n| format!("{name}.{n}")),
        join(&|n| format!("{name}__{n}")),
        join(&|n| format!("{name}__0{n}")),
        join(&|n| format!("{name}__{}", n + 20)),
        join(&|n| format!("{name}.0{n}")),
        join(&|n| format!("{name}.{}", n + 1)),
        join(&|n| format!("{name}.{}", n + 20)),
        join(&|n| format!("{name}x.{n}")),
        join(&|n| format!("{name}-{n}")),
        join(&|n| format!("\u{a0}{name}.{n}")),
        join(&|n| format!("{name}.{n}x")),
        format!("{name}={whole}"),
        format!("{name}.0={whole}"),
        format!("{name}.7={whole}"),
        format!("{name}x={whole}"),
        format!("{name}.={whole}"),
        format!("{name}.-1={whole}"),
        format!("a=b; {name}]={whole}"),
    ]
}

/// Ways to send them to a library that still reads sessions from before it changed the name.
fn under_another_name(name: &str, chunks: &BTreeMap<String, String>) -> Vec<String> {
    let values: Vec<&str> = chunks.values().map(String::as_str).collect();
    let pairs = values.iter().enumerate().map(|(n, value)| format!("{name}.{n}={value}"));
    vec![pairs.collect::<Vec<_>>().join("; "), format!("{name}={}", values.concat())]
}

#[tokio::test]
#[ignore = "needs what `tests/run parsers` installs"]
async fn a_refreshed_session_is_the_same_session() {
    for library in &LIBRARIES {
        let site = Site::new(library, |builder, library| {
            builder.cookie(library.chunked()).absolute_timeout(2 * IDLE)
        });
        let mut browser = Browser::new(&site, library);
        browser.ask("log_in", LARGE).await;
        let first = browser.jar.clone();
        site.clock.advance(IDLE - NANO);
        browser.ask("refresh", LARGE).await;
        assert_ne!(browser.jar, first, "{}", library.name);
        assert!(browser.is_signed_in().await, "{}", library.name);
        site.clock.advance(Duration::from_secs(60));
        let old: Vec<String> = first.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(site.ask(&old.join("; "), "visit", SMALL).await.0, None, "{}: superseded", library.name);
        site.clock.advance(IDLE - Duration::from_secs(60));
        browser.ask("refresh", SMALL).await;
        site.clock.advance(NANO);
        assert!(!browser.is_signed_in().await, "{}: no refresh sets back the absolute clock", library.name);
    }
}

#[tokio::test]
#[ignore = "needs what `tests/run parsers` installs"]
async fn a_log_out_ends_the_session_and_leaves_nothing_in_the_browser() {
    for library in &LIBRARIES {
        let site = Site::new(library, |builder, library| builder.cookie(library.chunked()));
        let mut browser = Browser::new(&site, library);
        browser.ask("log_in", LARGE).await;
        let stolen = browser.cookie();
        browser.ask("log_out", SMALL).await;
        assert!(browser.jar.is_empty(), "{}: {:?}", library.name, browser.names());
        assert_eq!(site.ask(&stolen, "visit", SMALL).await.0, None, "{}", library.name);
    }
}

/// Also where the application does not see, and so cannot remove, what is left of the session before.
#[tokio::test]
#[ignore = "needs what `tests/run parsers` installs"]
async fn the_next_log_in_may_be_of_another_size() {
    for library in &LIBRARIES {
        for sizes in [[LARGE, SMALL], [SMALL, LARGE], [2 * LARGE, LARGE]] {
            let site = Site::new(library, |builder, library| builder.cookie(library.chunked()));
            let mut browser = Browser::new(&site, library);
            browser.ask("log_in", sizes[0]).await;
            site.clock.advance(IDLE);
            assert!(!browser.is_signed_in().await);
            browser.ask("log_in", sizes[1]).await;
            assert!(browser.is_signed_in().await, "{} {sizes:?}: {:?}", library.name, browser.names());
            browser.ask("log_in", sizes[0]).await;
            assert!(browser.is_signed_in().await, "{} {sizes:?}: over a live session", library.name);
            let names = browser.names();
            assert!(
                names == [""] || !names.contains(&""),
                "{}: either the whole or chunks: {names:?}",
                library.name
            );
        }
    }
}

#[tokio::test]
#[ignore = "needs what `tests/run parsers` installs"]
async fn without_the_option_no_chunk_signs_anybody_in() {
    for library in &LIBRARIES {
        let site = Site::new(library, |builder, _| builder);
        let mut browser = Browser::new(&site, library);
        browser.ask("log_in", SMALL).await;
        assert!(browser.is_signed_in().await, "{}: in one piece", library.name);
        assert_eq!(browser.names(), [""]);
        let stolen = browser.jar.clone();
        site.clock.advance(IDLE);
        for thief in disguises(library, &stolen) {
            let user = site.ask(&thief, "visit", SMALL).await.0;
            assert!(user.is_none_or(|user| user == Value::Null), "{}: {}", library.name, &thief[..60]);
        }
    }
}

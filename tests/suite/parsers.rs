//! What the layer lets through, read by the parsers that applications have: PHP's, Perl's, those of Python's frameworks,
//! those of Node. None of them may find a session that the layer has not judged.
//!
//! `tests/run parsers` installs them. `PARSERS_HEADERS` says how many headers to try (of each kind), `PARSERS_SEED` which.

use std::{
    collections::VecDeque,
    fmt::Write as _,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    thread,
};

use crate::support::{
    App, get, header,
    lines::{Lines, folder},
};
use http::{HeaderValue, header::COOKIE};
use rand::{RngExt, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use tower_cookies::cookie::Cookie;
use tower_session_timeout::{CookieChunks, SessionCookie};

const LIVE: &str = "LIVE";
/// The value of no live session.
const OLD: &str = "OLD";
const BATCH: usize = 2_000;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |number| number.parse().expect("a number"))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").unwrap();
        hex
    })
}

/// What a parser found: its name, and the hex of the value.
type Found = Vec<(String, String)>;

fn found(line: &str) -> Found {
    let found = line.trim_end().split('\t').filter(|found| !found.is_empty());
    found
        .map(|found| found.split_once(':').expect("PARSER:HEX"))
        .map(|(p, v)| (p.to_owned(), v.to_owned()))
        .collect()
}

/// The parsers of Python, of Perl and of Node.
struct Parsers(Lines);

impl Parsers {
    fn of_python() -> Self {
        let python = std::env::var("PARSERS_PYTHON").expect("`tests/run parsers` sets it");
        Self(Lines::of(&python, "parsers.py"))
    }

    fn of_perl() -> Self {
        Self(Lines::of("perl", "parsers.pl"))
    }

    fn of_node() -> Self {
        Self(Lines::of("node", "parsers.mjs"))
    }

    fn ask(&mut self, questions: &[String]) -> Vec<Found> {
        self.0.ask(questions).iter().map(|answer| found(answer)).collect()
    }
}

/// PHP's own web server. (Not with `PHP_CLI_SERVER_WORKERS`: they outlive it.)
struct Php {
    server: Child,
    address: SocketAddr,
}

impl Php {
    fn start() -> Self {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let server = Command::new("php")
            .args(["-S", &address.to_string()])
            .arg(folder().join("parsers.php"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("`tests/run parsers` installs PHP");
        let mut php = Self { server, address };
        while TcpStream::connect(address).is_err() {
            assert!(php.server.try_wait().unwrap().is_none(), "PHP has stopped");
            thread::yield_now();
        }
        php
    }

    fn ask(&self, name: &str, fields: &[Vec<u8>]) -> Vec<Found> {
        let ask = |field: &Vec<u8>| {
            let mut stream = TcpStream::connect(self.address).unwrap();
            let mut request = format!("GET /{name} HTTP/1.0\r\nCookie: ").into_bytes();
            request.extend_from_slice(field);
            request.extend_from_slice(b"\r\n\r\n");
            stream.write_all(&request).unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            assert!(answer.contains(" 200 OK"), "{answer}");
            found(answer.split("\r\n\r\n").nth(1).unwrap())
        };
        fields.iter().map(ask).collect()
    }
}

impl Drop for Php {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// tower-cookies, axum-extra and others decode names.
fn rust(name: &str, field: &[u8]) -> Found {
    let Ok(field) = str::from_utf8(field) else { return Found::new() };
    let plain = Cookie::split_parse(field.to_owned()).map(|cookie| ("cookie", cookie));
    let decoding = Cookie::split_parse_encoded(field.to_owned()).map(|cookie| ("cookie, decoding", cookie));
    let all = plain.chain(decoding).filter_map(|(parser, cookie)| Some((parser, cookie.ok()?)));
    let ours = all.filter(|(_, cookie)| cookie.name() == name);
    ours.map(|(parser, cookie)| (parser.to_owned(), hex(cookie.value().as_bytes()))).collect()
}

/// Headers that have all to do with the cookie `name`.
struct Headers {
    rng: StdRng,
    names: Vec<Vec<u8>>,
}

impl Headers {
    fn new(seed: u64, name: &str) -> Self {
        let (first, rest) = name.split_at(1);
        let mut names: Vec<Vec<u8>> = [
            name.to_owned(),
            name.to_owned(),
            name.to_owned(),
            name.to_uppercase(),
            format!("%{:02x}{rest}", first.as_bytes()[0]),
            format!("{name}[]"),
            format!("{name}[x]"),
            format!("{name}["),
            format!("\"{name}\""),
            format!("{name}.0"),
            format!("{name}.1"),
            format!("{name}.00"),
            format!("{name}__0"),
            format!("{name}__1"),
            format!("{name}__00"),
            format!("{name}C1"),
            format!("%u00{:02x}{rest}", first.as_bytes()[0]),
            format!("{}%u00{:02x}", &name[..name.len() - 1], name.as_bytes()[name.len() - 1]),
            format!("{name}.x"),
            format!("{name}%00"),
            format!("+{name}"),
            format!("%20{name}"),
            format!("{name}x"),
            format!("x{name}"),
            format!("${name}"),
            first.to_owned(),
            rest.to_owned(),
            name.replace('_', "."),
            name.replace('_', " "),
            name.replace('_', "["),
            name.replace('_', "+"),
            "a".to_owned(),
            "lang".to_owned(),
            String::new(),
        ]
        .map(String::into_bytes)
        .to_vec();
        names.push([name.as_bytes(), b"\xa0"].concat());
        Self { rng: StdRng::seed_from_u64(seed), names }
    }

    /// A byte that may be in a header's value.
    fn byte(&mut self) -> u8 {
        const TELLING: &[u8] = b"\t !\"#$%&'()*+,-./:<>?@[\\]^_`{|}~\x80\x85\xa0\xad\xc2\xe3\xff";
        loop {
            let byte = if self.rng.random_bool(0.8) {
                *TELLING.choose(&mut self.rng).unwrap()
            } else {
                self.rng.random()
            };
            if byte == b'\t' || byte >= b' ' && byte != 0x7f {
                return byte;
            }
        }
    }

    fn separator(&mut self) -> Vec<u8> {
        match self.rng.random_range(0..10) {
            0..4 => b"; ".to_vec(),
            4 => b";".to_vec(),
            5 => [&[self.byte()][..], b" "].concat(),
            6 => vec![self.byte(), self.byte()],
            _ => vec![self.byte()],
        }
    }

    fn value(&mut self) -> Vec<u8> {
        const VALUES: &[&str] = &[
            OLD,
            OLD,
            OLD,
            OLD,
            LIVE,
            "",
            "\"",
            "1",
            "\"OLD\"",
            "\"OL\\104\"",
            "%4fLD",
            "OL",
            "D",
            "b]",
            "b\\",
            "{\"a\":[1",
            "\"a; b",
            "YWJj==",
            "Thu, 01-Jan-1970 00:00:00 GMT",
            "Thu, 01 Jan 1970 00:00:00 GMT",
            "Mon, ",
            "\\054",
            "$Path=/",
            "a=b",
        ];
        VALUES.choose(&mut self.rng).unwrap().as_bytes().to_vec()
    }

    fn field(&mut self) -> Vec<u8> {
        let mut field = Vec::new();
        for _ in 0..self.rng.random_range(1..6) {
            let mut name = self.names.choose(&mut self.rng).unwrap().clone();
            let equals: &[u8] = [&b"="[..], b"=", b"=", b"=", b" =", b"= ", b"==", b"\xa0=", b" ", b""]
                .choose(&mut self.rng)
                .unwrap();
            if self.rng.random_bool(0.1) {
                name.push(self.byte());
            }
            if self.rng.random_bool(0.15) {
                name.insert(0, self.byte());
            }
            if !field.is_empty() || self.rng.random_bool(0.1) {
                field.extend(self.separator());
            }
            field.extend(name);
            field.extend_from_slice(equals);
            field.extend(self.value());
        }
        field
    }

    fn fields(&mut self) -> Vec<Vec<u8>> {
        let count = *[1, 1, 1, 1, 2, 3].choose(&mut self.rng).unwrap();
        (0..count).map(|_| self.field()).collect()
    }
}

/// A request that the layer let through.
struct Passed {
    sent: Vec<Vec<u8>>,
    /// The `Cookie` fields that reached the application.
    fields: Vec<Vec<u8>>,
    is_live: bool,
}

impl Passed {
    /// As HTTP/2 has it, and most servers.
    fn joined(&self, with: &str) -> Vec<u8> {
        self.fields.join(with.as_bytes())
    }

    fn explain(&self, parser: &str, value: &str) -> String {
        let escaped = |fields: &[Vec<u8>]| {
            let fields: Vec<_> = fields.iter().map(|field| field.escape_ascii().to_string()).collect();
            fields.join("` and `")
        };
        format!(
            "{parser} finds {value} in `{}`, which was let through{} of `{}`",
            escaped(&self.fields),
            if self.is_live { " with a live session" } else { "" },
            escaped(&self.sent)
        )
    }
}

async fn send(app: &App, sent: Vec<Vec<u8>>) -> Option<Passed> {
    let mut request = get("/account", &[]);
    for field in &sent {
        request.headers_mut().append(COOKIE, HeaderValue::from_bytes(field).unwrap());
    }
    let before = app.calls();
    let response = app.send(request).await;
    (app.calls() > before).then(|| {
        let fields = response.body().split(|&byte| byte == b'\n').map(<[u8]>::to_vec).collect();
        Passed { sent, fields, is_live: !header(&response, "x-session").is_empty() }
    })
}

/// Whoever asks gets what they ask for, so that there is something to find.
#[test]
#[ignore = "needs what `tests/run parsers` installs"]
fn the_parsers_find_sessions() {
    let line = format!("sid\t{}", hex(b"a=1; sid=OLD"));
    let python = Parsers::of_python().ask(std::slice::from_ref(&line)).remove(0);
    let node = Parsers::of_node().ask(std::slice::from_ref(&line)).remove(0);
    let perl = Parsers::of_perl().ask(std::slice::from_ref(&line)).remove(0);
    let php = Php::start().ask("sid", &[b"a=1; sid=OLD".to_vec()]).remove(0);
    let rust = rust("sid", b"a=1; sid=OLD");
    assert_eq!((python.len(), node.len(), perl.len(), php.len(), rust.len()), (10, 5, 1, 1, 2));
    for (parser, value) in [python, node, perl, php, rust].into_iter().flatten() {
        assert_eq!(value, hex(OLD.as_bytes()), "{parser}");
    }
    let decoded = Parsers::of_perl().ask(&[format!("sid\t{}", hex(b"a=1,%u0073id=OLD"))]).remove(0);
    assert_eq!(decoded.len(), 1, "in a way of its own");
    let mut node = Parsers::of_node();
    let dots = "sid.1=D; sid.0=OL; a=1";
    for (joiner, field) in [
        ("Auth.js", dots),
        ("NextAuth.js", dots),
        ("Supabase", dots),
        ("Auth0", "sid__1=D; sid__0=OL; a=1"),
        ("Auth0", "appSession.1=D; appSession.0=OL"),
    ] {
        let found = node.ask(&[format!("sid\t{}\t{joiner}", hex(field.as_bytes()))]).remove(0);
        assert_eq!(found.len(), 5);
        assert!(found.iter().all(|(_, value)| *value == hex(OLD.as_bytes())), "{joiner}");
    }
    assert_eq!(
        Parsers::of_python().ask(&[format!("sid\t{}", hex(b"a=b]sid=OLD"))])[0].len(),
        1,
        "WebOb alone"
    );
}

#[tokio::test]
#[ignore = "needs what `tests/run parsers` installs"]
async fn no_parser_finds_a_session_that_was_not_judged() {
    for name in ["sid", "my_sid"] {
        let app = App::with(|builder| builder.cookie(name));
        try_headers(&app, name, None, |passed, value, is_joined| {
            (passed.is_live && value == LIVE) || (is_joined && value != OLD)
        })
        .await;
    }
}

#[tokio::test]
#[ignore = "needs what `tests/run parsers` installs"]
async fn no_library_joins_chunks_that_were_not_judged() {
    for (joiner, chunks) in [
        ("Auth.js", CookieChunks::AuthJs),
        ("NextAuth.js", CookieChunks::AuthJs),
        ("Supabase", CookieChunks::Supabase),
        ("Auth0", CookieChunks::Auth0),
    ] {
        let app = App::with(|builder| builder.cookie(SessionCookie::new("sid").chunks(chunks)));
        try_headers(&app, "sid", Some(joiner), |passed, value, _| passed.is_live && value == LIVE).await;
        // Without the option there are no chunks.
        let app = App::with(|builder| builder.cookie("next-auth.session-token"));
        let judged = |passed: &Passed, value: &str, _| passed.is_live && value == LIVE;
        try_headers(&app, "next-auth.session-token", Some(joiner), judged).await;
    }
}

/// Sends many headers, and has the parsers read what is let through.
async fn try_headers(
    app: &App,
    name: &str,
    joiner: Option<&str>,
    may_find: impl Fn(&Passed, &str, bool) -> bool,
) {
    let seed = number("PARSERS_SEED", rand::random());
    let count = number("PARSERS_HEADERS", 10_000);
    println!("PARSERS_SEED={seed} PARSERS_HEADERS={count}: {name}, {}", joiner.unwrap_or("all parsers"));
    let login = crate::support::set_cookie(crate::support::post("/login"), &format!("{name}={LIVE}"));
    app.send(login).await;
    let mut headers = Headers::new(seed, name);
    let mut tried = VecDeque::new();
    let (mut asked, mut live, mut passed_on) = (0, 0, 0);
    let mut node = Parsers::of_node();
    let mut others = joiner.is_none().then(|| (Parsers::of_python(), Parsers::of_perl(), Php::start()));
    while asked < count {
        tried.clear();
        while tried.len() < BATCH && asked < count {
            asked += 1;
            if let Some(passed) = send(app, headers.fields()).await {
                live += u64::from(passed.is_live);
                passed_on += 1;
                tried.push_back(passed);
            }
        }
        // The second one is what WSGI servers do to fields that come twice; Node does not.
        for with in if joiner.is_some() { &["; "][..] } else { &["; ", ","] } {
            let is_joined = *with == ",";
            let read: Vec<&Passed> =
                tried.iter().filter(|passed| !is_joined || passed.fields.len() > 1).collect();
            let fields: Vec<Vec<u8>> = read.iter().map(|passed| passed.joined(with)).collect();
            let suffix = joiner.map(|joiner| format!("\t{joiner}")).unwrap_or_default();
            let lines: Vec<String> =
                fields.iter().map(|field| format!("{name}\t{}{suffix}", hex(field))).collect();
            let mut answers = vec![node.ask(&lines)];
            if let Some((python, perl, php)) = &mut others {
                answers.push(python.ask(&lines));
                answers.push(perl.ask(&lines));
                answers.push(php.ask(name, &fields));
                answers.push(fields.iter().map(|field| rust(name, field)).collect());
            }
            for (passed, (parser, value)) in answers.iter().flat_map(|all| {
                read.iter().zip(all).flat_map(|(passed, all)| all.iter().map(move |found| (passed, found)))
            }) {
                let value: Vec<u8> = (0..value.len())
                    .step_by(2)
                    .map(|at| u8::from_str_radix(&value[at..at + 2], 16).unwrap())
                    .collect();
                // PHP alone leaves the space before a value.
                let value = String::from_utf8_lossy(value.trim_ascii());
                let harmless = value.is_empty() || may_find(passed, &value, is_joined);
                assert!(harmless, "PARSERS_SEED={seed}: {}", passed.explain(parser, &value));
            }
        }
    }
    assert!(passed_on > count / 10 && live > count / 1000, "{passed_on} let through, {live} of them live");
}

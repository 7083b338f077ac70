//! The promises I1–I5, I8 and I10 on random traces, against a plain model.

use std::time::Duration;

use crate::support::{
    App,
    model::{ABSOLUTE, IDS, Model, Step, compare, decide, step},
};
use http::{HeaderValue, Request, header::COOKIE};
use http_body_util::Full;
use proptest::{prelude::*, sample::select};
use tower_session_timeout::{Decision, ManualClock, MemoryStore, Store, contract::Access};

/// What the memory store is asked beyond what every store is.
#[derive(Clone, Debug)]
enum MemoryStep {
    Any(Step),
    /// A request begins that holds its session,
    Hold(&'static str),
    /// and one of those ends.
    Release(usize),
    Sweep,
}

fn memory_step() -> impl Strategy<Value = MemoryStep> {
    prop_oneof![
        22 => step().prop_map(MemoryStep::Any),
        2 => select(&IDS[..]).prop_map(MemoryStep::Hold),
        3 => (0..4_usize).prop_map(MemoryStep::Release),
        1 => Just(MemoryStep::Sweep),
    ]
}

async fn run(trace: Vec<MemoryStep>) {
    let clock = ManualClock::new();
    let store = MemoryStore::new().clock(clock.clone());
    let mut model = Model::default();
    let mut held = Vec::new();
    for step in trace {
        match step {
            MemoryStep::Any(step) => {
                if let Step::Advance(by) = step {
                    clock.advance(Duration::from_secs(by));
                }
                compare(&store, &mut model, &step).await;
            }
            MemoryStep::Hold(id) => {
                match (decide(&store, id, Access::Hold).await, model.check(id, Access::Hold)) {
                    (Decision::Live(live), Ok(_)) => {
                        assert!(live.held);
                        let index = model.led_to[id];
                        model.sessions[index].in_flight += 1;
                        held.push((live.key, index));
                    }
                    (Decision::Ended { .. }, Err(_)) => {}
                    (store, model) => panic!("{id}: {store:?}, not {model:?}"),
                }
            }
            MemoryStep::Release(which) => {
                if !held.is_empty() {
                    let (key, index) = held.remove(which % held.len());
                    store.release(key);
                    let session = &mut model.sessions[index];
                    session.in_flight -= 1;
                    session.active = model.now;
                }
            }
            MemoryStep::Sweep => store.sweep(),
        }
        // I5: a session's own slot may outlive its first id.
        assert!(store.len() <= 2 * IDS.len() + 1 + model.sessions.len());
    }
    clock.advance(Duration::from_secs(ABSOLUTE));
    store.sweep();
    clock.advance(Duration::from_secs(5 * 60));
    store.sweep();
    assert!(store.is_empty());
}

proptest! {
    #![proptest_config(crate::support::cases())]

    #[test]
    fn the_memory_store_decides_as_the_model_does(trace in prop::collection::vec(memory_step(), 1..120)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(run(trace));
    }
}

/// The bytes a header value can have.
fn header_bytes() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(b"sid".to_vec()),
        Just(b"=".to_vec()),
        Just(b"; ".to_vec()),
        Just(b"\"".to_vec()),
        Just(b"%73".to_vec()),
        Just(b"%".to_vec()),
        Just(b"\xa0".to_vec()),
        Just(b"[".to_vec()),
        Just(b"live".to_vec()),
        prop::collection::vec(any::<u8>(), 0..6),
    ];
    prop::collection::vec(piece, 0..20).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(crate::support::cases())]

    /// I8; and whatever is sent, the application sees the live id or none that reads as ours.
    #[test]
    fn no_request_panics_or_smuggles_an_id(
        cookies in prop::collection::vec(header_bytes(), 0..4),
        other in header_bytes(),
        path in "/[ -~]{0,20}",
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let app = App::with(|builder| builder.public_if(|_| true));
            app.log_in("live").await;
            let mut request = Request::new(Full::default());
            if let Ok(uri) = path.parse() {
                *request.uri_mut() = uri;
            }
            for cookie in &cookies {
                if let Ok(value) = HeaderValue::from_bytes(cookie) {
                    request.headers_mut().append(COOKIE, value);
                }
            }
            if let Ok(value) = HeaderValue::from_bytes(&other) {
                for name in ["authorization", "accept", "sec-purpose", "hx-current-url", "x-set-cookie"] {
                    request.headers_mut().append(name, value.clone());
                }
            }
            let response = app.send(request).await;
            let seen = response.body().to_ascii_lowercase();
            for pair in seen.split(|byte| b";\n".contains(byte)) {
                let ours = pair.trim_ascii().strip_prefix(b"sid=");
                assert!(ours.is_none_or(|id| id == b"live"), "{}", String::from_utf8_lossy(&seen));
            }
        });
    }
}

type Unify = fn(&[u8]) -> Vec<u8>;

/// How somebody's parser may read `Cookie` fields: what is between pairs, and what becomes of a name.
struct Grammar {
    separates: fn(u8) -> bool,
    unify: Unify,
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn decoded(name: &[u8]) -> Vec<u8> {
    percent_encoding::percent_decode(name).collect()
}

const SEPARATORS: [fn(u8) -> bool; 6] = [
    |byte| byte == b';',
    |byte| b";,".contains(&byte),
    |byte| b"; \t".contains(&byte),
    |byte| b";\"".contains(&byte),
    |byte| b";,:{}()<>@/\\?".contains(&byte),
    |byte| byte != b'=' && !is_token(byte),
];

/// Of a name with what separates it from others.
const READ: [Unify; 5] = [
    |name| name.trim_ascii().to_vec(),
    |name| name.trim_ascii().to_ascii_lowercase(),
    |name| decoded(name.trim_ascii()).to_ascii_lowercase(),
    |name| {
        let spaces: Vec<u8> = name.iter().map(|&byte| if byte == b'+' { b' ' } else { byte }).collect();
        decoded(&spaces).trim_ascii().to_ascii_lowercase()
    },
    // Characters outside of ASCII are white space to some.
    |name| {
        let start = name.iter().position(u8::is_ascii_graphic).unwrap_or(name.len());
        let end = name.iter().rposition(u8::is_ascii_graphic).map_or(start, |last| last + 1);
        name[start..end].to_vec()
    },
];

/// Of a name that nothing but `;` ends.
const CLEANED: [Unify; 3] = [
    // As PHP does.
    |name| {
        let name = decoded(name.trim_ascii());
        let end = name.iter().position(|byte| b"[\0".contains(byte)).unwrap_or(name.len());
        name[..end].to_vec()
    },
    |name| {
        name.iter().copied().filter(|byte| !b"\"\\".contains(byte)).collect::<Vec<_>>().trim_ascii().to_vec()
    },
    |name| name.iter().copied().filter(|&byte| is_token(byte)).collect::<Vec<_>>().to_ascii_lowercase(),
];

fn grammars() -> impl Iterator<Item = Grammar> {
    let read = SEPARATORS.iter().flat_map(|separates| READ.iter().map(move |unify| (*separates, *unify)));
    let cleaned = CLEANED.iter().map(|unify| (SEPARATORS[0], *unify));
    read.chain(cleaned).map(|(separates, unify)| Grammar { separates, unify })
}

impl Grammar {
    fn sessions<'a>(&self, field: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        field.split(|&byte| (self.separates)(byte)).filter_map(|pair| {
            let equals = pair.iter().position(|&byte| byte == b'=')?;
            ((self.unify)(&pair[..equals]) == b"sid").then_some(pair[equals + 1..].trim_ascii())
        })
    }
}

/// What cookies are made of that are to be taken for the session's.
fn suspicious() -> impl Strategy<Value = Vec<u8>> {
    let name = prop::sample::select(
        &["sid", "sid", "SID", "s%69d", "%73id", "s\"id", "sid[]", "sid%00", "+sid", "a", "si", "d", ""][..],
    );
    let value = prop::sample::select(&["live", "evil", "evil", "\"evil\"", "\"", "b]", "1", ""][..]);
    let between = prop_oneof![
        4 => Just(b"; ".to_vec()),
        1 => Just(b";".to_vec()),
        4 => (0x20..=0xff_u8).prop_filter("no header has it", |byte| *byte != 0x7f).prop_map(|byte| vec![byte]),
        1 => Just(b"\t".to_vec()),
        1 => Just(Vec::new()),
    ];
    let equals = prop::sample::select(&["=", "=", "=", "", " = ", "=="][..]);
    let pair = (name, equals, value, between).prop_map(|(name, equals, value, between)| {
        [name.as_bytes(), equals.as_bytes(), value.as_bytes(), &between].concat()
    });
    prop::collection::vec(pair, 1..5).prop_map(|pairs| pairs.concat())
}

proptest! {
    #![proptest_config(crate::support::cases())]

    /// What real parsers read, `tests/run parsers` asks them.
    #[test]
    fn no_lax_grammar_finds_a_session_that_was_not_judged(cookies in prop::collection::vec(suspicious(), 1..3)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let app = App::with(|builder| builder.public_if(|_| true));
            app.log_in("live").await;
            let mut request = Request::new(Full::default());
            for cookie in &cookies {
                request.headers_mut().append(COOKIE, HeaderValue::from_bytes(cookie).unwrap());
            }
            let response = app.send(request).await;
            let fields: Vec<&[u8]> = response.body().split(|&byte| byte == b'\n').collect();
            let mut read: Vec<_> = fields.iter().map(|field| (field.to_vec(), false)).collect();
            // HTTP/2 servers put several together with `; `, others with a comma, which is no end of a value to all.
            read.extend([(fields.join(&b"; "[..]), false), (fields.join(&b", "[..]), true)]);
            for (field, has_comma) in &read {
                for grammar in grammars().filter(|grammar| !has_comma || (grammar.separates)(b',')) {
                    let found: Vec<_> = grammar.sessions(field).collect();
                    assert!(found.iter().all(|id| *id == b"live"), "{}", field.escape_ascii());
                }
            }
        });
    }
}

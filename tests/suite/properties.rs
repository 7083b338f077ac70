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

//! What a `SharedStore` asks of its backend.

use std::{sync::Arc, time::Duration};

use super::{AT_ONCE, keeps};
use crate::store::backend::{Backend, Key, Loaded, Swap, Swapped};

const A_WHILE: Duration = Duration::from_secs(3600);
const ROUNDS: u8 = 20;

/// Whether a [`Backend`] keeps its contract. It wants an empty one, and a runtime of several threads.
///
/// An index of owners is tried if there is one.
///
/// # Panics
///
/// If the backend breaks a promise; and outside a tokio runtime.
pub async fn backend<B: Backend>(backend: B) {
    let backend = Arc::new(backend);
    swaps(&*backend).await;
    races(&backend).await;
    lists(&*backend).await;
}

fn key(number: u8) -> Key {
    Key::new([number; 16])
}

async fn load(backend: &impl Backend, key: Key) -> Loaded {
    backend.load(key).await.expect("the backend answers")
}

async fn swap(backend: &impl Backend, swap: Swap) -> Swapped {
    backend.swap(swap).await.expect("the backend answers")
}

fn put(at: u8, expected: Option<&[u8]>, record: Option<&[u8]>) -> Swap {
    let owned = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
    Swap {
        key: key(at),
        expected: owned(expected),
        record: owned(record),
        keep_for: A_WHILE,
        not_after: None,
        begins: false,
        ends: false,
    }
}

async fn swaps(backend: &impl Backend) {
    // All bytes there are, in a record of a usual length.
    let (first, second): (Vec<u8>, Vec<u8>) = ((0..=255).collect(), (0..=255).rev().collect());
    let (first, second) = (Some(&first[..]), Some(&second[..]));
    let loaded = load(backend, key(1)).await;
    keeps(loaded.record.is_none(), "there is nothing where nothing was written", &loaded);
    let lost = swap(backend, put(1, first, second)).await;
    keeps(lost == Swapped::Lost, "nothing is written where something else was expected", lost);
    let lost = swap(backend, put(1, first, None)).await;
    keeps(lost == Swapped::Lost, "what is not there is not what was expected", lost);
    let done = swap(backend, Swap { begins: true, ..put(1, None, first) }).await;
    keeps(done == Swapped::Done, "a record is written where none was expected, and is none", done);
    let now = load(backend, key(1)).await;
    keeps(now.record.as_deref() == first, "what was written is loaded, to the byte", &now);
    keeps(now.now >= loaded.now, "the clock goes forward", (loaded.now, now.now));
    let other = load(backend, key(2)).await;
    keeps(other.record.is_none(), "what is under one key is not under another", &other);
    for expected in [None, second, Some(&b""[..])] {
        let lost = swap(backend, put(1, expected, second)).await;
        keeps(lost == Swapped::Lost, "nothing is written where something else was expected", lost);
    }
    let late = now.now.saturating_sub(Duration::from_millis(1));
    let lost = swap(backend, Swap { not_after: Some(late), ..put(1, first, second) }).await;
    keeps(lost == Swapped::Lost, "nothing is written too late", lost);
    let kept = load(backend, key(1)).await;
    keeps(kept.record.as_deref() == first, "what was refused has changed nothing", kept);
    let soon = load(backend, key(1)).await.now.saturating_add(A_WHILE);
    let done = swap(backend, Swap { not_after: Some(soon), ..put(1, first, second) }).await;
    keeps(done == Swapped::Done, "what comes in time is written", done);
    let done = swap(backend, Swap { ends: true, ..put(1, second, None) }).await;
    keeps(done == Swapped::Done, "a record is taken away", done);
    let loaded = load(backend, key(1)).await;
    keeps(loaded.record.is_none(), "what was taken away is gone", loaded);
}

/// Of several who write at the same time, each expecting the same, one does.
async fn races<B: Backend>(backend: &Arc<B>) {
    let mut expected: Option<Vec<u8>> = None;
    for round in 0..ROUNDS {
        let swaps: Vec<_> = (0..AT_ONCE)
            .map(|at| {
                let (backend, expected) = (Arc::clone(backend), expected.clone());
                let record = vec![round, u8::try_from(at).unwrap_or_default()];
                tokio::spawn(async move {
                    let swapped = swap(&*backend, put(3, expected.as_deref(), Some(&record))).await;
                    (swapped == Swapped::Done).then_some(record)
                })
            })
            .collect();
        let mut done = Vec::new();
        for swap in swaps {
            done.extend(swap.await.expect("a swap does not panic"));
        }
        keeps(done.len() == 1, "of several swaps at once, one is done", done.len());
        expected = load(&**backend, key(3)).await.record;
        keeps(expected.as_ref() == done.first(), "what was done is what is there", "something else");
    }
}

async fn lists(backend: &impl Backend) {
    let (alice, bob, nobody) = (key(10), key(11), key(12));
    // Without an index it has nothing to keep.
    if backend.listed(nobody).await.is_err() {
        return;
    }
    let listed = async |owner| {
        let mut listed = backend.listed(owner).await.expect("the backend answers");
        listed.sort_unstable();
        listed
    };
    for (owner, session, keep_for) in [
        (alice, key(20), None),
        (alice, key(21), Some(A_WHILE)),
        (alice, key(20), None),
        (bob, key(22), None),
    ] {
        backend.list(owner, session, keep_for).await.expect("the backend answers");
    }
    let of_alice = listed(alice).await;
    keeps(of_alice == [key(20), key(21)], "a session is once on its owner's list", of_alice.len());
    keeps(listed(nobody).await.is_empty(), "who has no sessions has an empty list", "some");
    backend.strike(alice, vec![key(20), key(22), key(23)]).await.expect("the backend answers");
    let of_alice = listed(alice).await;
    keeps(of_alice == [key(21)], "who is struck off a list is off it, and nobody else", of_alice.len());
    let of_bob = listed(bob).await;
    keeps(of_bob == [key(22)], "each owner has a list of their own", of_bob.len());
}

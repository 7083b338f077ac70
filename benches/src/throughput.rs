//! Requests per second on several threads, building them included.

use std::{
    convert::Infallible,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::{Duration, Instant},
};

use axum_core::body::Body;
use http::{Request, Response};
use tokio::runtime::Builder;
use tower::{Service, ServiceExt};

use crate::{
    cases::{BARE, FLOOR, OURS, OURS_EXTENSION, TOWER_SESSIONS, case},
    measure::median,
    requests::{Requests, Rng, id},
};

const SESSIONS: u64 = 2_000;
const TASKS: u64 = 16;
const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_millis(300);

pub async fn client<S, B>(service: S, requests: Requests, mut rng: Rng, stop: &'static AtomicBool) -> usize
where
    S: Service<Request<Body>, Response = Response<B>, Error = Infallible> + Clone,
{
    let mut answered = 0;
    while !stop.load(Relaxed) {
        for _ in 0..64 {
            let Ok(response) = service.clone().oneshot(requests.next(&mut rng)).await;
            assert!(response.status().is_success(), "the session is live");
        }
        answered += 64;
        tokio::task::yield_now().await;
    }
    answered
}

pub fn print() {
    println!(
        "{:<40}{:>12}{:>12}{:>12}",
        "million requests per second", "1 thread", "2, random", "2, one hot"
    );
    let names = [BARE, FLOOR, OURS, OURS_EXTENSION, TOWER_SESSIONS];
    let mut figures = names.map(|_| [const { Vec::new() }; 3]);
    for _ in 0..ROUNDS {
        for (name, figures) in names.iter().zip(&mut figures) {
            for (load, figures) in [(1, false), (2, false), (2, true)].into_iter().zip(figures) {
                figures.push(one_round(name, load));
            }
        }
    }
    for (name, [alone, random, hot]) in names.iter().zip(&mut figures) {
        println!("{name:<40}{:>12.2}{:>12.2}{:>12.2}", median(alone), median(random), median(hot));
    }
}

fn one_round(name: &str, (threads, hot): (usize, bool)) -> f64 {
    let built = (case(name).build)(SESSIONS);
    let runtime = Builder::new_multi_thread().worker_threads(threads).build().expect("a runtime");
    // Static, so that no client counts references to it.
    let stop: &'static AtomicBool = Box::leak(Box::default());
    let start = Instant::now();
    let clients: Vec<_> = (0..TASKS)
        .map(|task| {
            // Buffers of its own: clients share nothing but the service.
            let requests = Requests::new((0..SESSIONS).map(|i| Some(id(if hot { 7 } else { i }))));
            runtime.spawn((built.client)(requests, Rng(task), stop))
        })
        .collect();
    std::thread::sleep(ROUND);
    stop.store(true, Relaxed);
    let answered: usize = runtime.block_on(async {
        let mut answered = 0;
        for client in clients {
            answered += client.await.expect("no panic");
        }
        answered
    });
    answered as f64 / start.elapsed().as_secs_f64() / 1e6
}

//! Prints all figures, or one part of them; draws the chart; or looks whether a request has become more expensive. Starts
//! itself under valgrind to count instructions, and anew for each store to weigh.

mod cases;
mod chart;
mod duty;
mod floor;
mod guard;
mod loopback;
mod measure;
mod parts;
#[path = "../../sqlx/tests/suite/postgres_server.rs"]
#[allow(dead_code, reason = "tests do more with a server")]
mod postgres_server;
mod requests;
mod shared;
mod sql;
mod throughput;
mod worst;

use std::{process::ExitCode, time::Instant};

use cases::{BARE, BARE_PENDING, Built, CASES, Case, FLOOR, OURS_MANY_COOKIES, TOWER_SESSIONS, case};
use measure::{Counting, allocated, instructions, p10};
use requests::Rng;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const SESSIONS: u64 = 10_000;
/// callgrind is slow.
const SESSIONS_UNDER_CALLGRIND: u64 = 2_000;
/// So few at a time that the allocator and the nearest cache behave as in a server.
const BATCH: usize = 4;
const ROUNDS: usize = 20;
/// Batches of one turn that only warm the caches, and batches that count.
const WARM_UP: usize = 5_000;
const TIMED: usize = 1_500;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match *args {
        [] => {
            print_cases();
            println!();
            throughput::print();
            println!();
            parts::print();
            println!();
            parts::print_memory();
            println!();
            worst::print();
            println!();
            loopback::print();
            println!();
            shared::print();
            println!();
            sql::print();
        }
        ["cases"] => print_cases(),
        ["accept"] => guard::accept(),
        ["guard"] => return guard::look(),
        ["chart", results] => chart::print(results),
        ["throughput"] => throughput::print(),
        ["parts"] => parts::print(),
        ["memory"] => parts::print_memory(),
        ["worst"] => worst::print(),
        ["loopback"] => loopback::print(),
        ["shared"] => shared::print(),
        ["sql"] => sql::print(),
        // From here on for itself.
        ["case", name, turns] => {
            let built = (case(name).build)(SESSIONS_UNDER_CALLGRIND);
            let mut rng = Rng(7);
            for _ in 0..turns.parse::<usize>().expect("a number") / BATCH {
                one_batch(&built, &mut rng);
            }
        }
        ["part", name, turns] => {
            let (_, build) = parts::PARTS.iter().find(|part| part.0 == name).expect("a part of this name");
            build()(turns.parse().expect("a number"));
        }
        ["memory", name, sessions] => {
            let (_, fill) = parts::STORES.iter().find(|store| store.0 == name).expect("a store of this name");
            fill(sessions.parse().expect("a number"));
        }
        _ => panic!("see README.md"),
    }
    ExitCode::SUCCESS
}

/// Asks a batch of requests; the nanoseconds and the allocations of one.
fn one_batch(built: &Built, rng: &mut Rng) -> (f64, f64, f64) {
    let mut requests: Vec<_> = (0..BATCH).map(|_| built.requests.next(rng)).collect();
    let before = allocated();
    let start = Instant::now();
    let answered = (built.answer)(&mut requests);
    let nanos = start.elapsed().as_nanos();
    let after = allocated();
    assert_eq!(answered, BATCH, "every request is answered as it should be");
    let each = |sum: u64| sum as f64 / BATCH as f64;
    (nanos as f64 / BATCH as f64, each(after.0 - before.0), each(after.1 - before.1))
}

struct Figures {
    instructions: u64,
    allocations: f64,
    bytes: f64,
    nanos: f64,
}

fn print_cases() {
    let figures = figures();
    let of = |name: &str| {
        let case = CASES.iter().position(|case| case.name == name).expect("a case of this name");
        &figures[case]
    };
    let over_bare = |case: &Case| of(case.name).instructions as f64 - of(case.bare).instructions as f64;
    let (floor, peer) = (over_bare(case(FLOOR)), over_bare(case(TOWER_SESSIONS)));
    println!(
        "{:<36}{:>13}{:>11}{:>9}{:>19}{:>13}{:>7}{:>18}",
        "a request",
        "instructions",
        "over bare",
        "x floor",
        "of tower-sessions",
        "allocations",
        "bytes",
        "ns p10 over bare"
    );
    for (case, figures) in CASES.iter().zip(&figures) {
        let over = over_bare(case);
        let (of_floor, of_peer) = match case.name {
            // Nothing to compare, or other requests than the rest.
            BARE | BARE_PENDING | OURS_MANY_COOKIES => (String::new(), String::new()),
            _ => (format!("{:.2}", over / floor), format!("1/{:.1}", peer / over)),
        };
        println!(
            "{:<36}{:>13}{over:>11.0}{of_floor:>9}{of_peer:>19}{:>13.1}{:>7.0}{:>18.0}",
            case.name,
            figures.instructions,
            figures.allocations,
            figures.bytes,
            figures.nanos - of(case.bare).nanos
        );
    }
}

fn figures() -> Vec<Figures> {
    let all: Vec<Built> = CASES.iter().map(|case| (case.build)(SESSIONS)).collect();
    let mut nanos = vec![Vec::new(); all.len()];
    let mut most = vec![(0.0_f64, 0.0_f64); all.len()];
    let mut rng = Rng(7);
    let mut order: Vec<usize> = (0..all.len()).collect();
    for _ in 0..ROUNDS {
        // In another order each time, so that nobody always follows the same neighbour.
        for i in (1..order.len()).rev() {
            order.swap(i, rng.below(i + 1));
        }
        for &case in &order {
            for batch in 0..WARM_UP + TIMED {
                let (took, allocations, bytes) = one_batch(&all[case], &mut rng);
                if batch >= WARM_UP {
                    nanos[case].push(took);
                    most[case] = (most[case].0.max(allocations), most[case].1.max(bytes));
                }
            }
        }
    }
    let figures = CASES.iter().zip(nanos).zip(most);
    figures
        .map(|((case, mut nanos), (allocations, bytes))| Figures {
            instructions: instructions(&["case", case.name]),
            allocations,
            bytes,
            nanos: p10(&mut nanos),
        })
        .collect()
}

//! Instructions, allocations and nanoseconds.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    convert::Infallible,
    hint::black_box,
    pin::pin,
    process::Command,
    task::{Context, Poll, Waker},
};

use axum_core::body::Body;
use http::{Request, Response, StatusCode};
use tower::{Service, ServiceExt};

/// Polls until it is ready; nothing measured here waits for anybody else.
pub fn drive<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let mut cx = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
            return output;
        }
    }
}

/// Asks a service as hyper-util does: a clone for each request. callgrind counts within functions of this name alone.
#[inline(never)]
pub fn measured_batch<S, B>(service: &S, requests: &mut Vec<Request<Body>>, expected: StatusCode) -> usize
where
    S: Service<Request<Body>, Response = Response<B>, Error = Infallible> + Clone,
{
    let mut answered = 0;
    for request in requests.drain(..) {
        let Ok(response) = drive(service.clone().oneshot(request));
        answered += usize::from(response.status() == expected);
    }
    answered
}

/// Does one thing again and again; callgrind counts here, too.
#[inline(never)]
pub fn measured_part<T>(times: usize, mut part: impl FnMut(usize) -> T) {
    for turn in 0..times {
        black_box(part(black_box(turn)));
    }
}

/// Instructions of one turn of `bench <args> <turns>`, counted by valgrind.
pub fn instructions(args: &[&str]) -> u64 {
    let count = |turns: &str| {
        let output = Command::new("valgrind")
            .args(["--tool=callgrind", "--callgrind-out-file=/dev/null", "--collect-atstart=no"])
            .arg("--toggle-collect=*measured_*")
            .arg(std::env::current_exe().expect("a path to this program"))
            .args(args)
            .arg(turns)
            .output()
            .expect("valgrind is installed");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
        let collected = said.lines().find_map(|line| line.split_once("Collected : "));
        collected.expect("a count").1.trim().parse::<u64>().expect("a number")
    };
    (count("2500") - count("500")) / 2000
}

/// The smallest value but for a tenth.
pub fn p10(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 10]
}

pub fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Memory this process has in use.
pub fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok());
    pages.expect("a number") * 4096
}

/// Counts each thread's allocations: some four instructions each, which are in the figures.
pub struct Counting;

thread_local! {
    static ALLOCATED: Cell<(u64, u64)> = const { Cell::new((0, 0)) };
}

/// How often this thread has allocated, and how many bytes.
pub fn allocated() -> (u64, u64) {
    ALLOCATED.get()
}

fn count(bytes: usize) {
    let (allocations, before) = ALLOCATED.get();
    ALLOCATED.set((allocations + 1, before + bytes as u64));
}

// SAFETY: everything is done by the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size);
        unsafe { System.realloc(pointer, layout, size) }
    }
}

//! Whether a request has become more expensive than it was when somebody last accepted what it costs.

use std::{
    collections::BTreeMap,
    fs,
    process::{Command, ExitCode},
};

use crate::{
    cases::{OURS, OURS_ANONYMOUS, OURS_EXTENSION, OURS_UNKNOWN, case},
    measure::instructions,
};

const CASES: [&str; 4] = [OURS, OURS_EXTENSION, OURS_ANONYMOUS, OURS_UNKNOWN];
/// In percent. The same build varies by one.
const TOLERATED: u64 = 3;
const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/instructions.txt");

/// Keeps what the cases cost now.
pub fn accept() {
    let mut lines = vec![machine()];
    lines.extend(CASES.iter().map(|name| format!("{:>6} {name}", over_bare(name))));
    let text = lines.join("\n") + "\n";
    fs::write(FILE, &text).expect("the file can be written");
    print!("{text}");
}

/// Compares what they cost now with what is kept.
pub fn look() -> ExitCode {
    let kept = fs::read_to_string(FILE).expect("instructions.txt");
    let (machine_kept, lines) = kept.split_once('\n').expect("a machine and figures");
    if machine_kept != machine() {
        println!("not compared: the figures are of {machine_kept}, this is {}", machine());
        return ExitCode::SUCCESS;
    }
    let kept: BTreeMap<&str, u64> = lines
        .lines()
        .filter_map(|line| line.trim().split_once(' '))
        .map(|(figure, name)| (name, figure.parse().expect("a number")))
        .collect();
    let mut code = ExitCode::SUCCESS;
    for name in CASES {
        let (before, now) = (kept[name], over_bare(name));
        println!("{name:<36}{before:>8}{now:>8}");
        if now * 100 > before * (100 + TOLERATED) {
            println!("that is more than {TOLERATED} % more; if it is worth that: benches/run accept");
            code = ExitCode::FAILURE;
        }
    }
    code
}

fn over_bare(name: &str) -> u64 {
    let count = |name| instructions(&["case", name]);
    count(name) - count(case(name).bare)
}

/// Of another compiler, or on another processor (the C library and memchr have code for each), the figures are others.
fn machine() -> String {
    let output = Command::new("rustc").arg("--version").output().expect("rustc");
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let cpu = cpus.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("an unknown processor");
    format!(
        "{} on {}",
        String::from_utf8_lossy(&output.stdout).trim(),
        cpu.trim_start_matches(['\t', ' ', ':'])
    )
}

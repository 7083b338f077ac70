//! The system's clock, on a machine that was suspended: as Linux shows it to the processes of a time namespace, whose
//! `CLOCK_BOOTTIME` is ahead as by a sleep, and whose `CLOCK_MONOTONIC` is not.
#![cfg(target_os = "linux")]

use std::{
    env,
    process::{Command, Output},
    time::Duration,
};

use tower_session_timeout::{Clock, SystemClock};

const ASLEEP: Duration = Duration::from_secs(1_000_000);

#[test]
#[ignore = "the process that the other test here starts"]
fn process() {
    if env::var("CLOCK").is_ok() {
        println!("\n@{}", SystemClock.now().as_nanos());
    }
}

fn in_a_time_namespace(options: &[&str]) -> Output {
    let asleep = ASLEEP.as_secs().to_string();
    Command::new("unshare")
        .args(options)
        .args(["--time", "--boottime", &asleep, "--monotonic", "0"])
        .arg(env::current_exe().unwrap())
        .args(["--exact", "clock::process", "--ignored", "--nocapture"])
        .env("CLOCK", "")
        .output()
        .expect("unshare (Debian's util-linux) runs")
}

#[test]
fn the_system_clock_counts_the_time_the_machine_was_suspended() {
    let before = SystemClock.now();
    let mut output = in_a_time_namespace(&[]);
    if !output.status.success() {
        // Who is not root has to be so in a namespace of their own.
        output = in_a_time_namespace(&["--user", "--map-root-user"]);
    }
    let said = String::from_utf8_lossy(&output.stdout);
    let there = said.lines().find_map(|line| line.strip_prefix('@')?.parse().ok());
    let there = Duration::from_nanos(there.unwrap_or_else(|| panic!("no time namespace: {output:?}")));
    let after = SystemClock.now();
    assert!((before + ASLEEP..=after + ASLEEP).contains(&there), "{before:?}, {there:?}, {after:?}");
}

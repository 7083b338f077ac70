//! Snapshots of processes that are killed: real ones, each this very test binary in the role of [`process`].
#![cfg(all(feature = "snapshot", unix))]

use std::{
    collections::BTreeSet,
    env, fs,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    thread,
    time::Duration,
};

use tempfile::TempDir;
use tower_session_timeout::{
    Decision, EndReason, Limits, MemoryStore, NewSession, SessionId, SessionKey, Started, Store,
    contract::{Access, Answer, Policy},
};

const KILLS: usize = 200;
const SESSIONS: usize = 400;

fn policy() -> Policy {
    Policy::new(Limits::default())
}

fn now<T>(answer: Answer<T>) -> T {
    match answer {
        Answer::Ready(answer) => answer.unwrap(),
        Answer::Pending(_) => panic!("a store in memory answers at once"),
    }
}

fn live(store: &MemoryStore, number: usize) -> Option<SessionKey> {
    match now(store.check(&SessionId::from(format!("{number}")), &policy(), Access::Peek)) {
        Decision::Live(live) => Some(live.key),
        _ => None,
    }
}

fn all_live(store: &MemoryStore) -> BTreeSet<usize> {
    (0..SESSIONS).filter(|&number| live(store, number).is_some()).collect()
}

fn save_sessions(file: &Path) {
    let store = MemoryStore::new();
    for number in 0..SESSIONS {
        let id = SessionId::from(format!("{number}"));
        assert!(matches!(now(store.start(&id, &NewSession::new(), &policy())), Started::New(_)));
    }
    store.save(file).unwrap();
}

/// What a started process does: it takes the sessions over and says which are live. Then, as it is told, it
///
/// - `works`: ends one, saves, and takes them over again, as often as it can
/// - `ends`: ends one
/// - `waits`
///
/// until its input ends.
#[test]
#[ignore = "the process that the other tests here start"]
fn process() {
    let (Ok(file), Ok(role)) = (env::var("SNAPSHOT_FILE"), env::var("SNAPSHOT_ROLE")) else { return };
    let mut store = MemoryStore::new().restore(&file).unwrap();
    let sessions = all_live(&store);
    say(&format!("live {sessions:?}"));
    if let (true, Some(&number)) = (role != "waits", sessions.first()) {
        let key = live(&store, number).unwrap();
        say(&format!("ending {number}"));
        assert!(now(store.end(key, EndReason::SignedOut)));
        say(&format!("ended {number}"));
    }
    if role == "works" {
        loop {
            store.save(&file).unwrap();
            store = MemoryStore::new().restore(&file).unwrap();
        }
    }
    let _ = std::io::stdin().read_line(&mut String::new());
}

/// At once, and at the beginning of a line.
fn say(line: &str) {
    let line = format!("\n@{line}\n");
    std::io::stdout().write_all(line.as_bytes()).unwrap();
}

struct Process {
    child: Child,
    said: BufReader<ChildStdout>,
    _input: ChildStdin,
}

impl Process {
    fn start(file: &Path, role: &str) -> Self {
        Self::start_by(Command::new(env::current_exe().unwrap()), file, role)
    }

    fn start_by(mut command: Command, file: &Path, role: &str) -> Self {
        let mut child = command
            .args(["--exact", "snapshot_kill::process", "--ignored", "--nocapture"])
            .env("SNAPSHOT_FILE", file)
            .env("SNAPSHOT_ROLE", role)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let said = BufReader::new(child.stdout.take().unwrap());
        let input = child.stdin.take().unwrap();
        Self { child, said, _input: input }
    }

    /// What it says next; `None` if it says no more.
    fn says(&mut self) -> Option<String> {
        loop {
            let mut line = String::new();
            if self.said.read_line(&mut line).unwrap() == 0 {
                return None;
            }
            if let Some(said) = line.trim_end().strip_prefix('@') {
                return Some(said.to_owned());
            }
        }
    }

    fn live(&mut self) -> BTreeSet<usize> {
        numbers(&self.says().expect("it has restored"))
    }

    /// As `kill -9`. What it had said and nobody heard.
    fn kill(mut self) -> Vec<String> {
        self.child.kill().unwrap();
        let status = self.child.wait().unwrap();
        assert!(status.code().is_none(), "it was killed, and did not fail before: {status}");
        std::iter::from_fn(|| self.says()).collect()
    }
}

fn numbers(said: &str) -> BTreeSet<usize> {
    let text = said.strip_prefix("live ").unwrap_or_else(|| panic!("{said:?}"));
    text.split(|c: char| !c.is_ascii_digit()).filter_map(|number| number.parse().ok()).collect()
}

struct Deploy {
    directory: TempDir,
    file: PathBuf,
}

impl Deploy {
    fn new() -> Self {
        let directory = TempDir::new().unwrap();
        let file = directory.path().join("sessions");
        save_sessions(&file);
        Self { directory, file }
    }

    fn files(&self) -> Vec<PathBuf> {
        fs::read_dir(self.directory.path()).unwrap().map(|entry| entry.unwrap().path()).collect()
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "processes are killed at random moments")]
fn kills_at_any_moment_lose_no_session_bring_none_back_and_leave_no_file() {
    let deploy = Deploy::new();
    let (mut may_be_over, mut over) = (BTreeSet::<usize>::new(), BTreeSet::new());
    let (mut ended, mut leftovers) = (0, 0);
    for kill in 0..KILLS {
        let mut process = Process::start(&deploy.file, "works");
        let mut said = Vec::new();
        if kill % 4 != 0 {
            // It is at work.
            said.extend(process.says());
        }
        thread::sleep(Duration::from_micros(rand::random_range(0..15_000)));
        said.extend(process.kill());
        for line in said {
            match line.split_once(' ') {
                Some(("ending", number)) => drop(may_be_over.insert(number.parse().unwrap())),
                Some(("ended", number)) => {
                    ended += 1;
                    over.insert(number.parse().unwrap());
                }
                _ => {
                    let live = numbers(&line);
                    let expected: BTreeSet<usize> = (0..SESSIONS).collect();
                    let lost: Vec<_> =
                        expected.difference(&live).filter(|number| !may_be_over.contains(number)).collect();
                    assert!(lost.is_empty(), "after {kill} kills {lost:?} are lost");
                    let back: Vec<_> = live.intersection(&over).collect();
                    assert!(back.is_empty(), "after {kill} kills {back:?} are live again");
                }
            }
        }
        leftovers += usize::from(deploy.files().len() > 1);
    }
    assert!(ended > KILLS / 4, "{ended} of the processes got to an end");
    assert!(leftovers > 0, "some were killed while they saved");
    let store = MemoryStore::new().restore(&deploy.file).unwrap();
    let live = all_live(&store);
    assert!(live.is_disjoint(&over));
    assert!(live.len() + may_be_over.len() >= SESSIONS);
    assert_eq!(deploy.files(), std::slice::from_ref(&deploy.file), "the next start clears what they left");
}

#[test]
fn of_processes_that_live_one_has_the_sessions() {
    let deploy = Deploy::new();
    for round in 0..3 {
        let mut processes: Vec<_> = (0..4).map(|_| Process::start(&deploy.file, "waits")).collect();
        let numbers: Vec<usize> = processes.iter_mut().map(|process| process.live().len()).collect();
        assert_eq!(numbers.iter().sum::<usize>(), SESSIONS, "round {round}: {numbers:?}");
        assert!(numbers.contains(&SESSIONS), "round {round}: {numbers:?}");
        for process in processes {
            process.kill();
        }
    }
}

/// As `kill -9` by a script that does not wait for its end.
#[test]
#[expect(clippy::disallowed_methods, reason = "a process goes on for a moment")]
fn a_process_that_is_about_to_die_is_waited_for() {
    let deploy = Deploy::new();
    let mut old = Process::start(&deploy.file, "waits");
    assert_eq!(old.live().len(), SESSIONS);
    let mut new = Process::start(&deploy.file, "waits");
    thread::sleep(Duration::from_millis(200));
    old.kill();
    assert_eq!(new.live().len(), SESSIONS);
    new.kill();
}

#[test]
fn a_log_out_is_kept_by_a_process_that_is_killed_right_after_it() {
    let deploy = Deploy::new();
    for number in 0..20 {
        let mut process = Process::start(&deploy.file, "ends");
        assert_eq!(process.live(), (number..SESSIONS).collect());
        while process.says().is_some_and(|said| !said.starts_with("ended")) {}
        process.kill();
    }
}

/// It must not come back: then rather none does.
#[test]
fn an_end_that_cannot_be_noted_takes_the_file_with_it() {
    let deploy = Deploy::new();
    // No file may grow, as on a disk that is full.
    let mut shell = Command::new("bash");
    shell.args(["-c", r#"trap '' XFSZ; ulimit -f 0; exec "$0" "$@""#]).arg(env::current_exe().unwrap());
    let mut process = Process::start_by(shell, &deploy.file, "ends");
    assert_eq!(process.live().len(), SESSIONS);
    while process.says().is_some_and(|said| !said.starts_with("ended")) {}
    process.kill();
    assert_eq!(deploy.files(), [] as [PathBuf; 0]);
}

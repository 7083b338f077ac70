//! A program that answers each line with a line.

use std::{
    io::{BufRead, BufReader, Write},
    path::PathBuf,
    process::{Child, ChildStdout, Command, Stdio},
    thread,
};

pub struct Lines {
    program: Child,
    answers: BufReader<ChildStdout>,
}

impl Lines {
    /// One that `tests/run parsers` has installed what it needs for.
    pub fn of(interpreter: &str, program: &str) -> Self {
        let mut command = Command::new(interpreter);
        command
            .arg(folder().join(program))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut program = command.spawn().expect("`tests/run parsers` installs it");
        let answers = BufReader::new(program.stdout.take().unwrap());
        Self { program, answers }
    }

    pub fn ask(&mut self, questions: &[String]) -> Vec<String> {
        let text: String = questions.iter().flat_map(|question| [question.as_str(), "\n"]).collect();
        let mut stdin = self.program.stdin.take().unwrap();
        let asking = thread::spawn(move || {
            stdin.write_all(text.as_bytes()).unwrap();
            stdin
        });
        let answers = questions.iter().map(|question| {
            let mut answer = String::new();
            assert!(self.answers.read_line(&mut answer).unwrap() > 0, "no answer to {question}");
            answer
        });
        let answers = answers.collect();
        self.program.stdin = Some(asking.join().unwrap());
        answers
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}

pub fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/parsers")
}

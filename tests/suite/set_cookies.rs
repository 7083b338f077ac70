//! What an answer's `Set-Cookie` fields do, by tough-cookie's word for what a browser has afterwards.
//!
//! `tests/run parsers` installs it. `PARSERS_HEADERS` and `PARSERS_SEED` are as in `parsers.rs`.

use std::fmt::Write as _;

use crate::support::{App, lines::Lines, post, set_cookie, set_cookies};
use rand::{RngExt, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use tower_session_timeout::Decision;

const BATCH: u64 = 1_000;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |number| number.parse().expect("a number"))
}

struct Answers(StdRng);

impl Answers {
    fn one_of(&mut self, all: &[&'static str]) -> &'static str {
        all.choose(&mut self.0).unwrap()
    }

    fn date(&mut self) -> String {
        if self.0.random_bool(0.1) {
            return self
                .one_of(&["", "0", "-1", "Thu", "Thu, 01 Jan 1970", "never", "1 1 1 1:1:1"])
                .to_owned();
        }
        let separator = self.one_of(&[" ", " ", "-", ", ", "  ", "/", "_", "."]);
        let day = self.one_of(&["1", "01", "31", "30", "29", "0", "32", "1st", "001", "7x"]);
        let month = self.one_of(&["Jan", "jan", "FEBRUARY", "Feb", "Decade", "Mon", "Jam", "Apr"]);
        let year = self.one_of(&[
            "1970", "70", "69", "99", "2100", "1600", "1601", "0099", "100", "19700", "2000", "1970z",
        ]);
        let time = self.one_of(&[
            "00:00:00",
            "0:0:0",
            "23:59:59",
            "24:00:00",
            "00:60:00",
            "1:2:3:4",
            "00:00",
            "00:00:000",
            "12:00:00x",
        ]);
        let weekday = self.one_of(&["Thu, ", "Thursday, ", "", "Thu ", "Mar, "]);
        let zone = self.one_of(&[" GMT", "", " +0000", " UTC", "GMT"]);
        let mut parts = [day, month, year, time];
        if self.0.random_bool(0.3) {
            let (one, other) = (self.0.random_range(0..4), self.0.random_range(0..4));
            parts.swap(one, other);
        }
        format!("{weekday}{}{zone}", parts.join(separator))
    }

    fn field(&mut self, value: &str, has_path: bool, has_domain: bool) -> String {
        let value = if self.0.random_bool(0.2) { "" } else { value };
        let mut field = format!(
            "{}{}{value}",
            self.one_of(&["sid", "sid", "sid", " sid ", "Sid", "side"]),
            self.one_of(&["=", "= "])
        );
        for _ in 0..self.0.random_range(0..3) {
            let name = self.one_of(&["Expires", "expires", "EXPIRES ", "Max-Age", "max-age", " Max-Age "]);
            let attribute = if name.trim().eq_ignore_ascii_case("expires") {
                self.date()
            } else {
                self.one_of(&[
                    "0",
                    "-1",
                    "1",
                    "00",
                    "99999999999",
                    "-0",
                    "x",
                    "",
                    "1x",
                    "-",
                    "+0",
                    "0.5",
                    "\"0\"",
                    " 0 ",
                ])
                .to_owned()
            };
            write!(field, ";{}{name}={attribute}", self.one_of(&[" ", "", "  "])).unwrap();
        }
        field.push_str(self.one_of(&["", "", "; HttpOnly", ";;", "; Path=", "; Domain="]));
        if has_domain {
            field.push_str(self.one_of(&["; Domain=app.example", "; domain=.App.example"]));
        }
        if has_path {
            field.push_str(self.one_of(&["; Path=/", "; Path=/", "; path=/account", "; Path=/x; Path=/"]));
        }
        field
    }

    fn answer(&mut self, number: u64) -> Vec<String> {
        // What path one without `Path` has, the layer does not know; and tough-cookie knows no host's own cookies beside those
        // of its domain.
        let (has_path, has_domain) = (self.0.random_bool(0.5), self.0.random_bool(0.3));
        let fields = self.0.random_range(1..4);
        (0..fields).map(|field| self.field(&format!("V{number}-{field}"), has_path, has_domain)).collect()
    }
}

#[tokio::test]
#[ignore = "needs what `tests/run parsers` installs"]
async fn what_the_browser_has_is_live_and_what_it_has_not_is_none() {
    let seed = number("PARSERS_SEED", rand::random());
    let count = number("PARSERS_HEADERS", 10_000);
    println!("PARSERS_SEED={seed} PARSERS_HEADERS={count}: Set-Cookie");
    let mut answers = Answers(StdRng::seed_from_u64(seed));
    let mut browser = Lines::of("node", "browser.mjs");
    let app = App::new();
    let has = |browser: &mut Lines, answers: &[Vec<String>]| -> Vec<Vec<String>> {
        let questions: Vec<String> =
            answers.iter().map(|answer| serde_json::to_string(answer).unwrap()).collect();
        browser.ask(&questions).iter().map(|answer| serde_json::from_str(answer).unwrap()).collect()
    };
    let mut has_one = 0;
    for begin in (0..count).step_by(usize::try_from(BATCH).unwrap()) {
        let said: Vec<Vec<String>> = (begin..begin + BATCH).map(|number| answers.answer(number)).collect();
        let mut left = Vec::new();
        for answer in &said {
            let request = answer.iter().fold(post("/login"), |request, field| set_cookie(request, field));
            left.push(set_cookies(&app.send(request).await));
        }
        let (meant, got) = (has(&mut browser, &said), has(&mut browser, &left));
        for (((said, left), meant), got) in said.iter().zip(&left).zip(&meant).zip(&got) {
            let context = || {
                format!(
                    "PARSERS_SEED={seed}: {said:?}, of which left {left:?}, means {meant:?}, the browser has {got:?}"
                )
            };
            for value in got {
                assert!(matches!(app.peek(value).await, Decision::Live(_)), "not live: {}", context());
            }
            assert_eq!(meant.is_empty(), got.is_empty(), "{}", context());
            assert!(got.len() <= 1 && meant.last().is_none_or(|_| meant.contains(&got[0])), "{}", context());
            has_one += u64::from(!got.is_empty());
        }
    }
    assert!(has_one > count / 10 && has_one < count - count / 10, "{has_one} of {count}");
}

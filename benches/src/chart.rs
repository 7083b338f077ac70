//! The chart of what a request costs, drawn from `results.txt`.

use std::fs;

use maud::{Markup, PreEscaped, html};

use crate::cases::{DUTY, OURS, OURS_ANONYMOUS, OURS_EXTENSION, OURS_UNKNOWN, TOWER_SESSIONS};

/// What the cases are called where nobody knows the benches.
const ROWS: [(&str, &str, &str); 6] = [
    (DUTY, "by hand, the duties alone", "other"),
    (OURS, "this crate, without_extension()", "ours"),
    (OURS_EXTENSION, "this crate, with Session", "ours"),
    (OURS_ANONYMOUS, "this crate, no session id", "ours"),
    (OURS_UNKNOWN, "this crate, refused: 401", "ours"),
    (TOWER_SESSIONS, "tower-sessions, in memory", "other"),
];
const WIDTH: u64 = 760;
const ROW: u64 = 34;
const TOP: u64 = 44;
/// Where the bars begin, and how long the longest is.
const BARS: u64 = 232;
const LONGEST: u64 = 340;
const STYLE: &str = "text{font:14px system-ui,sans-serif;fill:#1f2328}.figure{fill:#59636e}.ours{fill:#0969da}\
                     .other{fill:#818b98}@media(prefers-color-scheme:dark){text{fill:#f0f6fc}.figure{fill:#9198a1}\
                     .ours{fill:#4493f8}.other{fill:#656c76}}";

/// Of one request, beyond what it costs without a layer.
struct Cost {
    instructions: String,
    nanos: f64,
}

fn cost(results: &str, case: &str) -> Cost {
    let line = results.lines().find_map(|line| line.strip_prefix(case)).expect("the case was measured");
    let columns: Vec<&str> = line.split_whitespace().collect();
    let nanos = columns.last().and_then(|nanos| nanos.parse().ok()).expect("nanoseconds come last");
    Cost { instructions: grouped(columns[1]), nanos }
}

/// With a comma for the thousands.
fn grouped(number: &str) -> String {
    match number.len().checked_sub(3) {
        Some(at @ 1..) => format!("{},{}", &number[..at], &number[at..]),
        _ => number.to_owned(),
    }
}

pub fn print(results: &str) {
    let results = fs::read_to_string(results).expect("the results");
    let costs = ROWS.map(|(case, _, _)| cost(&results, case));
    let most = costs.iter().map(|cost| cost.nanos).fold(1.0, f64::max);
    let rows = ROWS.iter().zip(&costs).zip(0..).map(|(((_, label, class), cost), row)| {
        let y = TOP + row * ROW;
        let width = (cost.nanos / most * LONGEST as f64).max(1.0);
        bar(y, label, class, width, cost)
    });
    let height = TOP + ROW * ROWS.len() as u64;
    let title = "What a session timeout adds to a request: nanoseconds, and instructions";
    let svg = html! {
        svg xmlns="http://www.w3.org/2000/svg" viewBox=(format!("0 0 {WIDTH} {height}")) width=(WIDTH) height=(height) role="img" aria-label=(title) {
            style { (PreEscaped(STYLE)) }
            text x="0" y="18" font-weight="600" { (title) }
            @for row in rows { (row) }
        }
    };
    println!("{}", svg.into_string());
}

fn bar(y: u64, label: &str, class: &str, width: f64, cost: &Cost) -> Markup {
    let figures = format!("{:.0} ns · {}", cost.nanos, cost.instructions);
    html! {
        text x=(BARS - 10) y=(y + 15) text-anchor="end" { (label) }
        rect class=(class) x=(BARS) y=(y) width=(format!("{width:.0}")) height="20" rx="2" {}
        text class="figure" x=(format!("{:.0}", BARS as f64 + width + 8.0)) y=(y + 15) { (figures) }
    }
}

//! What the examples take on their command lines besides text.

use std::time::Duration;

/// As in `--idle 900`, or `--idle 0.5`.
pub(crate) fn seconds(text: &str) -> Result<Duration, &'static str> {
    let seconds = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    seconds.ok_or("this is no number of seconds")
}

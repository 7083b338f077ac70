//! What the examples have in common on their command lines.

use std::time::Duration;

use clap::Args;

// (A doc comment would take the place of the example's own.)
#[derive(Args)]
pub(crate) struct Common {
    /// Where to listen; port 0 picks one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:3000")]
    pub(crate) listen: String,
    /// Sessions end after so long without a request
    #[arg(long, value_name = "SECONDS", default_value = "900", value_parser = seconds)]
    pub(crate) idle: Duration,
    /// Sessions end so long after the log-in, whatever happens
    #[arg(long, value_name = "SECONDS", default_value = "28800", value_parser = seconds)]
    pub(crate) absolute: Duration,
}

/// As in `--idle 900`, or `--idle 0.5`.
pub(crate) fn seconds(text: &str) -> Result<Duration, &'static str> {
    let seconds = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    seconds.ok_or("this is no number of seconds")
}

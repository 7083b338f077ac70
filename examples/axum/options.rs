//! What the command line chooses.

use std::{fmt::Display, path::PathBuf, time::Duration};

use clap::{CommandFactory, Parser, error::ErrorKind};

use crate::{
    arguments::{Common, seconds},
    stores::StoreChoice,
    words::in_words,
};

/// Nobody can react sooner (WCAG 2.2, 2.2.1).
const SHORTEST_WARNING: Duration = Duration::from_secs(20);

/// A small site with idle and absolute session timeouts.
#[derive(Parser)]
#[command(name = "axum", next_line_help = true)]
pub(crate) struct Options {
    #[command(flatten)]
    pub(crate) common: Common,
    /// How long before a session ends its pages warn: at least 20, and less than --idle
    #[arg(long, value_name = "SECONDS", default_value = "120", value_parser = seconds)]
    pub(crate) warn: Duration,
    /// Where sessions are kept:
    /// - memory: in this process
    /// - stateless: with the browsers, signed with the environment's SESSION_KEY, 32 random bytes or more
    ///   (without it: a key of this run's own)
    /// - redis://HOST:PORT: in Redis or Valkey
    /// - cluster:redis://HOST:PORT[,redis://HOST:PORT]...: in a cluster, of which these nodes are asked
    /// - sentinel:NAME@redis://HOST:PORT[,redis://HOST:PORT]...: in the primary of this name, which these
    ///   sentinels watch over
    /// - postgres://USER@HOST/DATABASE: in Postgres, in tables that are created
    /// - sqlite:FILE: in a file, which is created
    #[arg(long, default_value = "memory", verbatim_doc_comment)]
    #[expect(clippy::doc_markdown, reason = "it is printed as it stands")]
    pub(crate) store: StoreChoice,
    /// Keeps memory's sessions (not the notes) in this file from one run to the next; it is a secret
    #[arg(long, value_name = "FILE")]
    pub(crate) snapshot: Option<PathBuf>,
    /// For a site on HTTPS: the cookie is __Host-sid, and Secure
    #[arg(long)]
    pub(crate) secure: bool,
}

impl Options {
    /// What is on the command line; what is wrong with it ends the program.
    pub(crate) fn from_command_line() -> Self {
        let options = Self::parse();
        if options.snapshot.is_some() && options.store != StoreChoice::Memory {
            refuse("--snapshot is for --store memory: the others outlive this process");
        }
        options
    }

    pub(crate) fn cookie_name(&self) -> &'static str {
        // Browsers take a `__Host-` cookie from HTTPS only, for this host only (RFC 6265bis §4.1.3.2).
        if self.secure { "__Host-sid" } else { "sid" }
    }

    /// `None`: there is one.
    pub(crate) fn why_no_warning(&self) -> Option<String> {
        let (warn, idle) = (in_words(self.warn), in_words(self.common.idle));
        if self.common.idle <= SHORTEST_WARNING {
            Some(format!("--idle is {idle}, and a warning comes 20 seconds or more before the end"))
        } else if self.warn < SHORTEST_WARNING {
            Some(format!("--warn is {warn}, and nobody can react in less than 20 seconds"))
        } else if self.warn >= self.common.idle {
            Some(format!("--warn is {warn}, and has to be less than --idle, which is {idle}"))
        } else {
            None
        }
    }
}

/// Ends the program, as a mistake on the command line does.
pub(crate) fn refuse(problem: impl Display) -> ! {
    Options::command().error(ErrorKind::ValueValidation, problem).exit()
}

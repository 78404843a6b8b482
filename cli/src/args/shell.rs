//! The arguments of `completions` and `man`.

use std::path::PathBuf;

use clap::{Args, ValueHint};
use clap_complete::Shell;

/// For which shell and program.
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    pub shell: Shell,

    /// Print those of trove-couchdb-agent, the daemon, instead
    #[arg(long)]
    pub agent: bool,
}

/// Where the manual pages go.
#[derive(Debug, Args)]
pub struct ManArgs {
    /// Write all pages into this directory: the program's, one for each command, and the agent's (section 8)
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub dir: Option<PathBuf>,
}

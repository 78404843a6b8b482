//! The arguments of `apply`.

use std::path::PathBuf;

use clap::{Args, ValueHint};

/// What to apply, and how far.
// Each flag is a separate option.
#[allow(clippy::struct_excessive_bools)]
#[derive(Debug, Args)]
pub struct ApplyArgs {
    /// The file; `-` is standard input
    #[arg(value_name = "FILE.toml", value_hint = ValueHint::FilePath)]
    pub file: PathBuf,

    /// Only show what would change
    #[arg(long)]
    pub dry_run: bool,

    /// Exit with 8 if --dry-run finds something to do, or access that a file can't describe
    #[arg(long, requires = "dry_run")]
    pub exit_code: bool,

    /// Remove the users, databases and access that are not in the file
    #[arg(long)]
    pub prune: bool,

    /// Let --prune remove all users, or all databases, because the file has none
    #[arg(long, requires = "prune")]
    pub allow_empty: bool,
}

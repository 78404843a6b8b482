//! The way of the text of one oslo.config file into the agent, without a file: for the fuzzer and nobody else.
//!
//! Always compiled, not behind a feature: a feature that only the tests switch on would have the whole agent built
//! twice in each run of CI, and the tests would try another build than the one that is shipped.

use std::path::Path;

use super::{ConfigError, Settings, load, oslo_ini};

/// What errors call the file.
pub const PATH: &str = "fuzzed.conf";

/// One `option = value` line of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// In lower case, except for `DEFAULT`.
    pub section: String,
    /// As it is written.
    pub option: String,
    /// Its lines, joined by line feeds.
    pub value: String,
    /// Where it begins, counted from 1.
    pub line: usize,
}

/// The syntax alone.
pub fn assignments(text: &str) -> Result<Vec<Assignment>, ConfigError> {
    let parsed = oslo_ini::parse(Path::new(PATH), text)?;
    let public =
        |oslo_ini::Assignment { section, option, value, line }| Assignment { section, option, value, line };
    Ok(parsed.into_iter().map(public).collect())
}

/// All of it: syntax, references, merging with the defaults, checks.
pub fn settings(text: &str) -> Result<Settings, ConfigError> {
    Settings::from_inputs(&mut load::read_oslo_text(Path::new(PATH), text)?)
}

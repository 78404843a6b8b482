//! The way of the text of one oslo.config file into the agent, without a file: for the fuzzer and nobody else.
//!
//! Always compiled, not behind a feature: a feature that only the tests switch on would have the whole agent built
//! twice in each run of CI, and the tests would try another build than the one that is shipped.

use std::path::Path;

use crate::error::ConfigError;
pub use crate::layers::oslo_ini::Assignment;
use crate::layers::{oslo_files, oslo_ini};
use crate::load;
use crate::settings::Settings;

/// What errors call the file.
pub const PATH: &str = "fuzzed.conf";

/// The syntax alone.
pub fn assignments(text: &str) -> Result<Vec<Assignment>, ConfigError> {
    Ok(oslo_ini::parse(Path::new(PATH), text)?)
}

/// All of it: syntax, references, merging with the defaults, checks.
pub fn settings(text: &str) -> Result<Settings, ConfigError> {
    let texts = vec![(PATH.into(), text.to_owned())];
    Settings::of(&mut load::over_the_defaults(None, |layers| oslo_files::parse(layers, texts)))
}

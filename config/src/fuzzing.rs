//! Parses the text of an oslo.config file without a file, for the fuzzer only.
//!
//! Always compiled, because a feature only for tests would make CI build the whole agent twice, and the tests
//! would run a different build than the shipped one.

use std::path::Path;

use crate::error::ConfigError;
pub use crate::layers::oslo_ini::Assignment;
use crate::layers::{oslo_files, oslo_ini};
use crate::load;
use crate::settings::Settings;

/// The path in error messages.
pub const PATH: &str = "fuzzed.conf";

/// Parses the syntax only.
pub fn assignments(text: &str) -> Result<Vec<Assignment>, ConfigError> {
    Ok(oslo_ini::parse(Path::new(PATH), text)?)
}

/// Parses, resolves references, merges with the defaults and validates.
pub fn settings(text: &str) -> Result<Settings, ConfigError> {
    let texts = vec![(PATH.into(), text.to_owned())];
    Settings::of(&mut load::over_the_defaults(None, |layers| oslo_files::parse(layers, texts)))
}

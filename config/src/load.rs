//! Combines the layers: which files are read, and their precedence.
//!
//! [`read`] reads the layers in order of precedence, lowest first. In addition, options in the query of the
//! `transport_url` override the option of the same name: oslo.messaging does so (`_drivers/common.py`,
//! `ConfigOptsProxy`), and the control plane uses the same URL.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::broker_url;
use crate::error::ConfigError;
use crate::key::RABBIT_GROUP;
use crate::keys;
use crate::layers::Layers;
use crate::layers::{environment, oslo_files, toml_file};
use crate::section::Validation;
use crate::settings::Settings;

/// The agent's own configuration file, if the command line names none; it need not exist.
pub const DEFAULT_CONFIG_FILE: &str = "/etc/trove-couchdb-agent/agent.toml";

/// Trove's directory for injected files (`injected_config_location`), if the
/// command line names none; it need not exist.
const DEFAULT_OSLO_DIR: &str = "/etc/trove/conf.d";

/// The sources of the configuration, from the command line.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// The agent's own TOML file; must exist if given.
    pub config_file: Option<PathBuf>,
    /// oslo.config files, in order; must exist.
    pub oslo_files: Vec<PathBuf>,
    /// Directories of oslo.config files, read after `oslo_files`; must exist. If empty: `/etc/trove/conf.d`.
    pub oslo_dirs: Vec<PathBuf>,
    /// The values on the command line.
    pub overrides: Vec<Override>,
}

/// A key set on the command line.
#[derive(Debug, Clone)]
pub struct Override {
    /// The key, as `section.name`.
    pub key: &'static str,
    /// The option that set it, such as `--state-dir`.
    pub option: &'static str,
    /// The value in the text form of the environment.
    pub text: String,
}

impl Settings {
    /// Reads all layers and validates them; `environment` is usually `std::env::vars_os()`.
    ///
    /// Every [`ConfigError`] is a mistake in the configuration, so the
    /// agent should exit with `EX_USAGE` (64).
    pub fn load(
        sources: impl Into<Sources>,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, ConfigError> {
        Self::of(&mut read(&sources.into(), &environment.into_iter().collect::<Vec<_>>()))
    }
}

/// Reads all layers. The result includes their mistakes, so that all are reported at once.
pub(crate) fn read(sources: &Sources, environment: &[(OsString, OsString)]) -> Validation {
    let own = sources.config_file.as_deref();
    let default_dir = PathBuf::from(DEFAULT_OSLO_DIR);
    let oslo_dirs = match sources.oslo_dirs.as_slice() {
        [] if default_dir.exists() => std::slice::from_ref(&default_dir),
        named => named,
    };
    let home = environment.iter().find(|(name, _)| name == "HOME").map(|(_, home)| home.into());
    over_the_defaults(home, |layers| {
        toml_file::read(layers, own.unwrap_or(Path::new(DEFAULT_CONFIG_FILE)), own.is_some());
        oslo_files::read(layers, &sources.oslo_files, oslo_dirs);
        environment::read(layers, environment);
        command_line(layers, &sources.overrides);
    })
}

/// The defaults, overridden by `read` and by the query of the transport URL.
pub(crate) fn over_the_defaults(home: Option<PathBuf>, read: impl FnOnce(&mut Layers)) -> Validation {
    let mut layers = keys::defaults();
    read(&mut layers);
    transport_url_query(&mut layers);
    Validation::new(layers, keys::stand_ins(), home)
}

fn command_line(layers: &mut Layers, overrides: &[Override]) {
    for Override { key: name, option, text } in overrides {
        let origin = format!("command line option {option}");
        match keys::find(name) {
            Some(key) => layers.read(key, &origin, text),
            None => layers.mistakes.push(keys::unknown(origin, name)),
        }
    }
}

/// Sets the options in the query of the transport URL. Unknown options
/// belong to other programs and are ignored.
fn transport_url_query(layers: &mut Layers) {
    let Some(set) = layers.last(broker_url::KEY) else { return };
    let origin = set.origin().unwrap_or_default().to_owned();
    // The broker's settings report an invalid URL.
    let Ok(url) = broker_url::parse(&set.to_string()) else { return };
    for (name, text) in &url.query {
        if let Some(key) = keys::all().find(|key| key.oslo.contains(&(RABBIT_GROUP, name.as_str()))) {
            layers.read(key, &format!("query option {name} of the transport URL from {origin}"), text);
        }
    }
}

//! Puts the layers together: which files are read, and who outranks whom.
//!
//! Precedence is the order in which [`read`] reads the layers. One thing comes on top: options in the query of the
//! `transport_url` outrank the option they name, because oslo.messaging has it so (`_drivers/common.py`,
//! `ConfigOptsProxy`) and the control plane uses the same URL.

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

/// Our own configuration file, read if it exists and no other is named.
pub const DEFAULT_CONFIG_FILE: &str = "/etc/trove-couchdb-agent/agent.toml";

/// Where Trove injects its files (`injected_config_location`), read if it exists and no other is named.
const DEFAULT_OSLO_DIR: &str = "/etc/trove/conf.d";

/// Where to read the configuration from, as the command line says.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// Our own TOML file; must exist if given.
    pub config_file: Option<PathBuf>,
    /// oslo.config files, in order; must exist.
    pub oslo_files: Vec<PathBuf>,
    /// Directories of oslo.config files, read after `oslo_files`; must exist. None: `/etc/trove/conf.d`.
    pub oslo_dirs: Vec<PathBuf>,
    /// The values of the command line itself.
    pub overrides: Vec<Override>,
}

/// A key set on the command line.
#[derive(Debug, Clone)]
pub struct Override {
    /// The key, as `section.name`.
    pub key: &'static str,
    /// The option that set it, such as `--state-dir`.
    pub option: &'static str,
    /// Its value, in the text form of the environment.
    pub text: String,
}

impl Settings {
    /// Reads all layers and validates them; `environment` is usually `std::env::vars_os()`.
    ///
    /// Every [`ConfigError`] is a mistake in the configuration, so the agent should exit with `EX_USAGE` (64).
    pub fn load(
        sources: impl Into<Sources>,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, ConfigError> {
        Self::of(&mut read(&sources.into(), &environment.into_iter().collect::<Vec<_>>()))
    }
}

/// Reads all layers; mistakes in them are in the result, so that all are named at once.
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

/// What `read` adds to the defaults, with the query of the transport URL on top.
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

/// The options that the query of the transport URL sets. Names we do not read are somebody else's.
fn transport_url_query(layers: &mut Layers) {
    let Some(set) = layers.last(broker_url::KEY) else { return };
    let origin = set.origin().unwrap_or_default().to_owned();
    // Whether the URL is any good is for the broker's settings to say.
    let Ok(url) = broker_url::parse(&set.to_string()) else { return };
    for (name, text) in &url.query {
        if let Some(key) = keys::all().find(|key| key.oslo.contains(&(RABBIT_GROUP, name.as_str()))) {
            layers.read(key, &format!("query option {name} of the transport URL from {origin}"), text);
        }
    }
}

//! Puts the layers together: which files are read, and who outranks whom.
//!
//! The `config` crate does the merging, so precedence is the order in which [`layers`] lists the fragments.
//! One thing comes on top: options in the query of the `transport_url` outrank the option they name, because
//! oslo.messaging has it so (`_drivers/common.py`, `ConfigOptsProxy`) and the control plane uses the same URL.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use ::config::{Config, Source};

use super::environment;
use super::error::ConfigError;
use super::fragment::{Fragment, Layer};
use super::inputs::Inputs;
use super::keys::{self, Key};
use super::oslo_files::{self, OsloLayer, RABBIT_GROUP};
use super::settings::broker::parse_url;
use super::toml_file;

/// Our own configuration file, read if it exists and no other is named.
pub const DEFAULT_CONFIG_FILE: &str = "/etc/trove-couchdb-agent/agent.toml";

/// Where Trove injects its files (`injected_config_location`), read if it exists and no other is named.
pub const DEFAULT_OSLO_DIR: &str = "/etc/trove/conf.d";

/// Where to read the configuration from, as the command line says.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// Our own TOML file; must exist if given.
    pub config_file: Option<PathBuf>,
    /// oslo.config files, in order; must exist.
    pub oslo_files: Vec<PathBuf>,
    /// Directories of oslo.config files, read after `oslo_files`; must exist. None: [`DEFAULT_OSLO_DIR`].
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

/// Reads and merges all layers; mistakes in them are in the result, so that all are named at once.
pub(super) fn read(sources: &Sources, environment: &[(OsString, OsString)]) -> Result<Inputs, ConfigError> {
    let layers = Layers::read(sources, environment)?;
    let mut mistakes = layers.mistakes;
    let mut fragments = layers.fragments;
    match transport_url_query(&merge(&fragments, environment)?) {
        Ok(query) => fragments.extend(query),
        Err(error) => mistakes.push(error),
    }
    let mut inputs = merge(&fragments, environment)?;
    inputs.warnings = layers.warning.into_iter().collect();
    inputs.misplaced = layers.misplaced;
    inputs.mistakes = mistakes;
    Ok(inputs)
}

/// Reads one oslo.config file, given as its text, over the defaults.
pub(super) fn read_oslo_text(path: &Path, text: &str) -> Result<Inputs, ConfigError> {
    let OsloLayer { layer, misplaced } = oslo_files::parse(path.to_owned(), text);
    let mut layers = vec![Fragment::defaults()?, layer.whole()?];
    layers.extend(transport_url_query(&merge(&layers, &[])?)?);
    let mut inputs = merge(&layers, &[])?;
    inputs.misplaced = misplaced;
    Ok(inputs)
}

/// What was read of every layer.
struct Layers {
    /// From lowest to highest precedence.
    fragments: Vec<Fragment>,
    mistakes: Vec<ConfigError>,
    misplaced: Vec<(&'static Key, String)>,
    warning: Option<String>,
}

impl Layers {
    fn read(sources: &Sources, environment: &[(OsString, OsString)]) -> Result<Self, ConfigError> {
        let own = sources.config_file.as_deref();
        let own = toml_file::read(own.unwrap_or(Path::new(DEFAULT_CONFIG_FILE)), own.is_some());
        let default_dir = PathBuf::from(DEFAULT_OSLO_DIR);
        let oslo_dirs = match sources.oslo_dirs.as_slice() {
            [] if default_dir.exists() => std::slice::from_ref(&default_dir),
            named => named,
        };
        let oslo = oslo_files::read(&sources.oslo_files, oslo_dirs);
        let mut fragments = vec![Fragment::defaults()?];
        let mut mistakes = Vec::new();
        let read = [own.layer, oslo.layer, environment::read(environment), command_line(&sources.overrides)];
        for layer in read {
            fragments.push(layer.fragment);
            mistakes.extend(layer.mistakes);
        }
        Ok(Self { fragments, mistakes, misplaced: oslo.misplaced, warning: own.warning })
    }
}

fn command_line(overrides: &[Override]) -> Layer {
    let Layer { mut fragment, mut mistakes } = Layer::default();
    for Override { key: name, option, text } in overrides {
        let origin = format!("command line option {option}");
        let read = match keys::find(name) {
            Some(key) => fragment.read(key, &origin, text),
            None => {
                Err(ConfigError::UnknownKey { origin, key: (*name).to_owned(), advice: keys::advice(name) })
            }
        };
        mistakes.extend(read.err());
    }
    Layer { fragment, mistakes }
}

fn merge(layers: &[Fragment], environment: &[(OsString, OsString)]) -> Result<Inputs, ConfigError> {
    let mut builder = Config::builder();
    for layer in layers {
        builder = builder.add_source(layer.clone());
    }
    let home = environment.iter().find(|(name, _)| name == "HOME").map(|(_, home)| PathBuf::from(home));
    match builder.build().and_then(|merged| merged.collect()) {
        Ok(merged) => Ok(Inputs::new(merged, home)),
        Err(error) => Err(ConfigError::Layers { problem: error.to_string() }),
    }
}

/// The options that the query of the transport URL sets. Names we do not read are somebody else's.
fn transport_url_query(inputs: &Inputs) -> Result<Option<Fragment>, ConfigError> {
    let broker = inputs.section("broker");
    let Some(url) = broker.text("transport_url")? else {
        return Ok(None);
    };
    // Whether the URL is any good is for the broker's settings to say.
    let Ok(url) = parse_url(&url) else {
        return Ok(None);
    };
    let mut fragment = Fragment::default();
    for (name, text) in &url.query {
        if let Some(key) = keys::all().find(|key| key.oslo.contains(&(RABBIT_GROUP, name.as_str()))) {
            let origin =
                format!("query option {name} of the transport URL from {}", broker.origin("transport_url"));
            fragment.read(key, &origin, text)?;
        }
    }
    Ok(Some(fragment))
}

//! `--check-config`: the effective configuration as TOML, each value with the place it came from.
//!
//! The output is itself a valid `agent.toml`, except that secrets are masked. It is only made from settings
//! that passed validation, so an operator who sees it knows that the agent would start with it.

use std::ffi::OsString;

use config::{Value, ValueKind};

use crate::broker_url;
use crate::error::ConfigError;
use crate::key::{Key, Kind};
use crate::keys;
use crate::load::{self, Sources};
use crate::settings::Settings;

/// What stands in the place of a secret, as in `Secret`'s own `Debug`.
const MASK: &str = "REDACTED";

/// Validates the configuration and describes it as TOML with secrets masked; errors as [`Settings::load`].
pub fn check(
    sources: impl Into<Sources>,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<String, ConfigError> {
    let mut validation = load::read(&sources.into(), &environment.into_iter().collect::<Vec<_>>());
    let warnings = Settings::of(&mut validation)?.warnings.into_iter();
    let mut lines =
        vec!["# The effective configuration of trove-couchdb-agent. Secrets are masked.".to_owned()];
    lines.extend(warnings.map(|warning| format!("# WARNING: {warning}")));
    let mut section = "";
    for key in keys::all() {
        if key.section() != section {
            section = key.section();
            lines.push(format!("\n[{section}]"));
        }
        let entry = validation.inputs.entry(key.name);
        lines.push(match entry.found() {
            Some(found) => format!("# {}\n{} = {}", entry.origin(), key.leaf(), shown(key, found)),
            None => format!("# {} is not set. {}", key.leaf(), key.about()),
        });
    }
    Ok(lines.join("\n") + "\n")
}

fn shown(key: &Key, found: &Value) -> toml::Value {
    match &found.kind {
        // Hosts and virtual host of the broker are what one looks for here; the URL's `Display` masks the password.
        ValueKind::String(text) if key.name == broker_url::KEY && !broker_url::is_no_broker(text) => {
            broker_url::parse(text).map_or(MASK.to_owned(), |url| url.to_string()).into()
        }
        _ if key.name != broker_url::KEY && key.kind == Kind::Secret => MASK.into(),
        _ => found.clone().try_deserialize().unwrap_or_else(|_| MASK.into()),
    }
}

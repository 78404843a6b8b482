//! `--check-config`: the effective configuration as TOML, each value with its origin.
//!
//! The output is a valid `agent.toml`, except that secrets are masked. It is only
//! generated for a valid configuration.

use std::ffi::OsString;

use config::{Value, ValueKind};

use crate::broker_url;
use crate::error::ConfigError;
use crate::key::{Key, Kind};
use crate::keys;
use crate::load::{self, Sources};
use crate::settings::Settings;

/// Replaces a secret, as in `Secret`'s own `Debug`.
const MASK: &str = "REDACTED";

/// Validates the configuration and describes it as TOML with secrets
/// masked. Same errors as [`Settings::load`].
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
        // Operators need the hosts and the virtual host; the URL's `Display` masks the password.
        ValueKind::String(text) if key.name == broker_url::KEY && !broker_url::is_no_broker(text) => {
            broker_url::parse(text).map_or(MASK.to_owned(), |url| url.to_string()).into()
        }
        _ if key.name != broker_url::KEY && key.kind == Kind::Secret => MASK.into(),
        _ => found.clone().try_deserialize().unwrap_or_else(|_| MASK.into()),
    }
}

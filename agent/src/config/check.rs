//! `--check-config`: the effective configuration as TOML, each value with the place it came from.
//!
//! The output is itself a valid `agent.toml`, except that secrets are masked. It is only made from settings
//! that passed validation, so an operator who sees it knows that the agent would start with it.

use std::ffi::OsString;

use ::config::{Value, ValueKind};

use super::error::ConfigError;
use super::fragment::DEFAULT_ORIGIN;
use super::inputs::Inputs;
use super::keys::{self, Key, Kind};
use super::load::{self, Sources};
use super::settings::Settings;
use super::settings::broker::parse_url;
use super::settings::no_broker::is_no_broker;

/// What stands in the place of a secret, as in `Secret`'s own `Debug`.
const MASK: &str = "REDACTED";

/// Validates the configuration and describes it as TOML with secrets masked; errors as [`Settings::load`].
pub fn check(
    sources: impl Into<Sources>,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<String, ConfigError> {
    let mut inputs = load::read(&sources.into(), &environment.into_iter().collect::<Vec<_>>())?;
    let settings = Settings::from_inputs(&mut inputs)?;
    Ok(describe(&inputs, &settings.warnings))
}

fn describe(inputs: &Inputs, warnings: &[String]) -> String {
    let mut lines =
        vec!["# The effective configuration of trove-couchdb-agent. Secrets are masked.".to_owned()];
    lines.extend(warnings.iter().map(|warning| format!("# WARNING: {warning}")));
    let mut section = "";
    for key in keys::all() {
        if key.section() != section {
            section = key.section();
            lines.push(format!("\n[{section}]"));
        }
        lines.push(match inputs.get(key) {
            Some(value) => {
                let origin = value.origin().unwrap_or(DEFAULT_ORIGIN);
                format!("# {origin}\n{} = {}", key.leaf(), shown(key, value))
            }
            None => format!("# {} is not set. {}", key.leaf(), key.about),
        });
    }
    lines.join("\n") + "\n"
}

fn shown(key: &Key, value: &Value) -> toml::Value {
    match &value.kind {
        ValueKind::String(text) if key.name == "broker.transport_url" && is_no_broker(text) => {
            text.as_str().into()
        }
        // Hosts and virtual host of the broker are what one looks for here; its `Display` masks the password.
        ValueKind::String(text) if key.name == "broker.transport_url" => {
            parse_url(text).map_or(MASK.to_owned(), |url| url.to_string()).into()
        }
        _ if key.kind == Kind::Secret => MASK.into(),
        kind => to_toml(kind),
    }
}

/// The TOML form of a value.
pub(super) fn to_toml(kind: &ValueKind) -> toml::Value {
    match kind {
        ValueKind::Boolean(flag) => (*flag).into(),
        ValueKind::I64(number) => (*number).into(),
        ValueKind::Float(number) => (*number).into(),
        ValueKind::Array(items) => toml::Value::Array(items.iter().map(|item| to_toml(&item.kind)).collect()),
        other => Value::new(None, other.clone()).into_string().unwrap_or_default().into(),
    }
}

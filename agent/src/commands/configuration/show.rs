//! Shows who set which option, and whether it is in effect.

use serde_json::{Value, json};

use super::{Guest, change, error::ConfigurationError, record::Record};
use crate::couch::configuration::{
    nodes::ConfigNodes,
    option::{Applies, ConfigOption},
    table,
};

/// The options that a layer has, or with `all` every option that this CouchDB has.
pub(super) async fn show(guest: &Guest, all: bool) -> Result<Value, ConfigurationError> {
    let record = guest.options.read().await?;
    let nodes = guest.couch.config_nodes().await?;
    let required = guest.lifecycle.last_known().restart_required;
    let waits = |name: &str| required.as_ref().is_some_and(|required| change::names(&required.reason, name));
    let mut options: Vec<&'static ConfigOption> =
        table::options().filter(|option| option.is_of(nodes.version)).collect();
    options.sort_by_key(|option| option.name);
    let mut rows = Vec::new();
    for option in options {
        let setter = record.layers.setter(option);
        if setter.is_none() && !all {
            continue;
        }
        let (value, state) = state(guest, &nodes, &record, option, waits(option.name)).await?;
        rows.push(json!({
            "option": option.name, "value": value, "state": state, "set_by": setter.map(|layer| layer.word()),
            "needs_restart": option.applies == Applies::Restart,
        }));
    }
    Ok(json!({"options": rows, "missing_nodes": nodes.missing}))
}

/// The value, and how it is in effect.
async fn state(
    guest: &Guest,
    nodes: &ConfigNodes,
    record: &Record,
    option: &'static ConfigOption,
    waits: bool,
) -> Result<(Option<String>, &'static str), ConfigurationError> {
    let wanted = record.layers.merged().get(option).map(str::to_owned);
    let mut first = None;
    for (place, node) in nodes.connected.iter().enumerate() {
        let now = guest.couch.read_option(node, option, nodes.version).await?;
        if wanted.is_some() && now != wanted {
            return Ok((now, "changed elsewhere"));
        }
        if place == 0 {
            first = now;
        } else if now != first {
            return Ok((first, "differs between nodes"));
        }
    }
    let state = match (waits, first.is_some()) {
        (true, _) => "pending restart",
        (false, true) => "live",
        (false, false) => "default",
    };
    Ok((first, state))
}

//! Carries out a change of the configuration.
//!
//! The record on the disk says what is about to be set before CouchDB is asked to set it. So if the agent is
//! killed, the same command, or any later change, completes it or takes it back.

use std::collections::BTreeSet;

use tracing::{info, warn};

use super::{
    Guest,
    error::ConfigurationError,
    record::{Layers, Record},
};
use crate::couch::{
    CouchError,
    configuration::{
        nodes::{ConfigNode, ConfigNodes},
        option::{Applies, ConfigOption},
        safety::{self, JUDGED},
        values::{Values, named},
    },
};

const HANDLERS: &str = "chttpd.authentication_handlers";
const REQUIRE_LOGINS: &str = "chttpd.require_valid_user";

/// One option on one node.
struct Step<'a> {
    node: &'a ConfigNode,
    option: &'static ConfigOption,
    now: Option<String>,
    target: Option<String>,
}

/// What a change did.
pub(super) struct Changed {
    /// The names of the options that were changed on a node.
    pub(super) options: Vec<&'static str>,
    /// Those of them that take effect at CouchDB's next start.
    pub(super) waiting: Vec<&'static str>,
}

/// Changes the layers, and CouchDB's configuration with them.
pub(super) async fn change(
    guest: &Guest,
    edit: impl FnOnce(&mut Layers) + Send,
) -> Result<Changed, ConfigurationError> {
    let old = guest.options.read().await?;
    let mut new = old.clone();
    edit(&mut new.layers);
    let wanted = new.layers.merged();
    if guest.options.requires_logins && value_of(&wanted, REQUIRE_LOGINS) == Some("false") {
        return Err(ConfigurationError::AgentRequiresLogins);
    }
    let nodes = guest.couch.config_nodes().await?;
    wanted.are_for(nodes.version)?;
    if !nodes.missing.is_empty() {
        return Err(ConfigurationError::NodesMissing(nodes.missing));
    }
    let mut steps = plan(guest, &nodes, &mut new, &wanted).await?;
    steps.sort_by_key(|step| rank(step));
    if steps.is_empty() && new == old {
        return Ok(Changed { options: Vec::new(), waiting: Vec::new() });
    }

    guest.options.write(&new).await?;
    let waiting = names_of(steps.iter().filter(|step| step.option.applies == Applies::Restart));
    // First, so that a killed agent does not forget it.
    require_restart(guest, &waiting).await?;
    for (done, step) in steps.iter().enumerate() {
        let set = guest.couch.set_option(step.node, step.option, nodes.version, step.target.as_deref()).await;
        if let Err(error) = set {
            let begun: Vec<_> = steps.iter().take(done + 1).collect();
            take_back(guest, &nodes, &begun, old, new, &error).await;
            return Err(error.into());
        }
    }
    new.settle(&wanted);
    guest.options.write(&new).await?;
    let options = names_of(&steps);
    info!(options = options.join(", "), "CouchDB's configuration was changed.");
    Ok(Changed { options, waiting })
}

/// Records that these options take effect at CouchDB's next start, unless that is recorded already.
async fn require_restart(guest: &Guest, waiting: &[&str]) -> Result<(), ConfigurationError> {
    let known =
        guest.lifecycle.last_known().restart_required.map(|required| required.reason).unwrap_or_default();
    let new: Vec<_> = waiting.iter().copied().filter(|name| !names(&known, name)).collect();
    if new.is_empty() {
        return Ok(());
    }
    let required = guest.lifecycle.require_restart(&new.join(", ")).await;
    required.map_err(|error| ConfigurationError::State(error.to_string()))
}

/// Whether the reason for a restart names an option.
pub(super) fn names(reason: &str, option: &str) -> bool {
    reason.split(", ").any(|name| name == option)
}

fn names_of<'a>(steps: impl IntoIterator<Item = &'a Step<'a>>) -> Vec<&'static str> {
    let names: BTreeSet<_> = steps.into_iter().map(|step| step.option.name).collect();
    names.into_iter().collect()
}

/// Reads every node, judges the result, and records the values before.
async fn plan<'a>(
    guest: &Guest,
    nodes: &'a ConfigNodes,
    new: &mut Record,
    wanted: &Values,
) -> Result<Vec<Step<'a>>, ConfigurationError> {
    let mut steps = Vec::new();
    for node in &nodes.connected {
        let mut options: Vec<_> = wanted.iter().map(|(option, _)| option).collect();
        let kept = new.nodes.get(&node.name).into_iter().flatten();
        options.extend(kept.filter_map(|(name, _)| named(name, (*name).into()).ok()));
        options.sort_by_key(|option| option.name);
        options.dedup_by_key(|option| option.name);
        let mut of_node = Vec::new();
        for option in options {
            let now = guest.couch.read_option(node, option, nodes.version).await?;
            let target = new.target(wanted, &node.name, option, now.as_deref());
            let target = target.unwrap_or_else(|| now.clone());
            of_node.push(Step { node, option, now, target });
        }
        judge(guest, nodes, node, &of_node).await?;
        for step in of_node {
            if let Some(value) = wanted.get(step.option) {
                new.about_to_set(&node.name, step.option, step.now.as_deref(), value);
            }
            if step.target != step.now {
                steps.push(step);
            }
        }
    }
    Ok(steps)
}

/// Judges a node's resulting configuration, if a change concerns what is judged.
async fn judge(
    guest: &Guest,
    nodes: &ConfigNodes,
    node: &ConfigNode,
    steps: &[Step<'_>],
) -> Result<(), ConfigurationError> {
    let changed: Vec<_> =
        steps.iter().filter(|step| step.target != step.now).map(|step| step.option.name).collect();
    if !JUDGED.iter().any(|name| changed.contains(name)) {
        return Ok(());
    }
    let mut values = Vec::new();
    for name in JUDGED {
        let value = match steps.iter().find(|step| step.option.name == name) {
            Some(step) => step.target.clone(),
            None => {
                let option = named(name, name.into())?;
                guest.couch.read_option(node, option, nodes.version).await?
            }
        };
        values.push((name, value));
    }
    let with_rounds = changed.iter().any(|name| name.ends_with("_iterations"));
    let mut circumstances = guest.couch.config_circumstances(node, nodes.version, with_rounds).await?;
    // CouchDB says which handlers run on the node that answers. Another node may still run what it had.
    let handlers = steps.iter().find(|step| step.option.name == HANDLERS);
    let had_proxy = handlers.and_then(|step| step.now.as_deref()).is_some_and(safety::has_proxy_handler);
    let waits = guest
        .lifecycle
        .last_known()
        .restart_required
        .is_some_and(|required| names(&required.reason, HANDLERS));
    if nodes.connected.len() > 1 && (had_proxy || waits) {
        circumstances.runs_proxy_handler = true;
    }
    let value = |name: &str| values.iter().find(|(known, _)| *known == name)?.1.as_deref();
    Ok(safety::judge(value, &circumstances)?)
}

/// The order of the steps: CouchDB must not be open between two of them, and it stops to answer for a moment
/// when its address changes.
fn rank(step: &Step<'_>) -> u8 {
    match (step.option.name, step.target.as_deref()) {
        ("chttpd_auth.proxy_use_secret", Some("true")) => 0,
        (HANDLERS, _) => 2,
        ("chttpd_auth.proxy_use_secret", _) => 3,
        ("chttpd.bind_address", _) => 4,
        _ => 1,
    }
}

/// Takes back what was done, as far as CouchDB answers. What can't be taken back is done by the next change.
async fn take_back(
    guest: &Guest,
    nodes: &ConfigNodes,
    begun: &[&Step<'_>],
    old: Record,
    mut new: Record,
    error: &CouchError,
) {
    new.layers = old.layers.clone();
    let mut is_back = !error.is_outage();
    for step in begun.iter().rev() {
        if !is_back {
            break;
        }
        let set = guest.couch.set_option(step.node, step.option, nodes.version, step.now.as_deref()).await;
        // A CouchDB that can't write its files has the value in memory all the same.
        is_back = matches!(set, Ok(()) | Err(CouchError::ConfigNotWritten(_)));
    }
    let record = if is_back { old } else { new };
    if let Err(error) = guest.options.write(&record).await {
        warn!(%error, "A change of CouchDB's configuration failed, and the record still has it.");
    } else if !is_back {
        warn!("A change of CouchDB's configuration failed; the next change takes back what it had set.");
    }
}

fn value_of<'a>(values: &'a Values, name: &str) -> Option<&'a str> {
    values.iter().find(|(option, _)| option.name == name).map(|(_, value)| value)
}

//! The values that a key may have.

use std::time::Duration;

use trove_couchdb_protocol::host::{Section, Verb};

/// The verbs that a section allows, all of which must exist.
pub(super) fn known(section: Section, allow: Vec<String>) -> Result<Vec<String>, String> {
    let names = Verb::names_of(section);
    match allow.iter().find(|verb| !names.contains(&verb.as_str())) {
        None => Ok(allow),
        Some(unknown) => Err(format!(
            "{}.allow names the verb {unknown:?}, which does not exist; there are {}",
            section.name(),
            names.join(", ")
        )),
    }
}

pub(super) fn seconds(key: &str, value: u64, least: u64, most: u64) -> Result<Duration, String> {
    within(key, value, least, most).map(Duration::from_secs)
}

pub(super) fn within<T: Copy + PartialOrd + std::fmt::Display>(
    key: &str,
    value: T,
    least: T,
    most: T,
) -> Result<T, String> {
    if value >= least && value <= most {
        Ok(value)
    } else {
        Err(format!("{key} can't be {value}; write a whole number from {least} to {most}"))
    }
}

//! docs/advice.toml: what to do about each error, log line and check.

use super::read;

pub const FILE: &str = "docs/advice.toml";

/// The entries that no part has shown yet.
pub struct Advice(toml::Table);

impl Advice {
    pub fn read() -> Self {
        Self(read(FILE).parse().unwrap_or_else(|error| panic!("{FILE}: {error}")))
    }

    /// Takes out an entry.
    pub fn take(&mut self, group: &str, key: &str) -> Option<toml::Value> {
        self.0.get_mut(group)?.as_table_mut()?.remove(key)
    }

    /// The entries that are left.
    pub fn unused(&self) -> impl Iterator<Item = String> {
        self.0.iter().flat_map(|(group, entries)| {
            let entries = entries.as_table().unwrap_or_else(|| panic!("{FILE}: {group}"));
            entries.keys().map(move |key| format!("[{group}] {key:?}"))
        })
    }
}

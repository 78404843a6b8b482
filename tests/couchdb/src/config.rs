//! The configuration of a node: ini files, overridden by values set over HTTP.
//!
//! Only explicitly set keys are visible, as on a real server. Values set over HTTP act as the last ini file:
//! they override the other files and survive a restart (unless sent with `X-Couch-Persist: false`). If such a
//! value is deleted, the next start uses the value of an earlier file. A server that cannot write its files
//! still applies a change but answers with an error, and the change is lost at a restart (as in 3.3 and 3.5).
//! All modules read their settings here; this module does not depend on HTTP.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A value and its origin.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct ConfigValue {
    value: String,
    from_file: bool,
    persistent: bool,
}

/// Values by key by section.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Config {
    sections: BTreeMap<String, BTreeMap<String, ConfigValue>>,
    /// The files cannot be written.
    #[serde(skip)]
    pub(crate) is_read_only: bool,
    /// The values in the files of keys whose change could not be written.
    #[serde(skip)]
    unwritten: BTreeMap<(String, String), Option<ConfigValue>>,
}

impl Config {
    /// The value of a key that was set explicitly.
    pub(crate) fn get(&self, section: &str, key: &str) -> Option<&str> {
        self.sections.get(section)?.get(key).map(|entry| entry.value.as_str())
    }

    /// Whether a switch is on; CouchDB accepts only the word `true`.
    pub(crate) fn is_on(&self, section: &str, key: &str) -> bool {
        self.get(section, key) == Some("true")
    }

    /// A number, or `default` if the value is unset or invalid.
    pub(crate) fn number(&self, section: &str, key: &str, default: u64) -> u64 {
        self.get(section, key).and_then(|value| value.parse().ok()).unwrap_or(default)
    }

    /// All keys of a section; an unknown section is empty.
    pub(crate) fn section(&self, section: &str) -> impl Iterator<Item = (&str, &str)> {
        self.sections
            .get(section)
            .into_iter()
            .flatten()
            .map(|(key, entry)| (key.as_str(), entry.value.as_str()))
    }

    /// The names of the sections with a value.
    pub(crate) fn section_names(&self) -> impl Iterator<Item = &str> {
        self.sections.iter().filter(|(_, keys)| !keys.is_empty()).map(|(name, _)| name.as_str())
    }

    /// Sets a value and returns the old one; a non-persistent value is lost at a restart.
    pub(crate) fn set(&mut self, section: &str, key: &str, value: &str, persistent: bool) -> Option<String> {
        let entry = ConfigValue { value: value.to_owned(), from_file: false, persistent };
        let old = self.sections.entry(section.to_owned()).or_default().insert(key.to_owned(), entry);
        self.changed(section, key, old.clone());
        old.map(|old| old.value)
    }

    /// Removes a value and returns it.
    pub(crate) fn remove(&mut self, section: &str, key: &str) -> Option<String> {
        let old = self.sections.get_mut(section)?.remove(key);
        self.changed(section, key, old.clone());
        old.map(|old| old.value)
    }

    fn changed(&mut self, section: &str, key: &str, old: Option<ConfigValue>) {
        let name = (section.to_owned(), key.to_owned());
        if self.is_read_only {
            self.unwritten.entry(name).or_insert(old);
        } else {
            self.unwritten.remove(&name);
        }
    }

    /// Reads the configuration again, as a restart and `_config/_reload` do; `ini` has the current contents
    /// of the files.
    pub(crate) fn reload(&mut self, ini: &[(String, String, String)]) {
        for ((section, key), written) in std::mem::take(&mut self.unwritten) {
            let keys = self.sections.entry(section).or_default();
            match written {
                Some(entry) => drop(keys.insert(key, entry)),
                None => drop(keys.remove(&key)),
            }
        }
        let mut fresh = Self { is_read_only: self.is_read_only, ..Self::default() };
        for (section, key, value) in ini {
            let entry = ConfigValue { value: value.clone(), from_file: true, persistent: true };
            fresh.sections.entry(section.clone()).or_default().insert(key.clone(), entry);
        }
        for (section, keys) in std::mem::take(&mut self.sections) {
            for (key, entry) in keys {
                // CouchDB writes a name that begins with `;` as a comment, and trims blanks around names.
                let survives = entry.persistent && !entry.from_file && !key.starts_with(';');
                if survives {
                    fresh.sections.entry(section.clone()).or_default().insert(key.trim().to_owned(), entry);
                }
            }
        }
        *self = fresh;
    }

    /// Returns the persistent values set over HTTP since the last call; afterwards they count as read from a
    /// file.
    pub(crate) fn take_changes(&mut self) -> Vec<(String, String, String)> {
        let mut changes = Vec::new();
        for (section, keys) in &mut self.sections {
            for (key, entry) in keys.iter_mut().filter(|(_, entry)| entry.persistent && !entry.from_file) {
                entry.from_file = true;
                changes.push((section.clone(), key.clone(), entry.value.clone()));
            }
        }
        changes
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use crate::ini::parse;

    #[test]
    fn a_deleted_admin_comes_back_from_its_file_at_the_restart() {
        let ini = parse("; a comment\n[admins]\nboss = plain\n");
        let mut config = Config::default();
        config.reload(&ini);
        config.set("admins", "boss", "-pbkdf2-hash", true);
        config.reload(&ini);
        assert_eq!(config.get("admins", "boss"), Some("-pbkdf2-hash"));
        assert_eq!(config.remove("admins", "boss").as_deref(), Some("-pbkdf2-hash"));
        assert_eq!(config.get("admins", "boss"), None);
        config.reload(&ini);
        assert_eq!(config.get("admins", "boss"), Some("plain"));
    }

    #[test]
    fn what_the_files_did_not_take_is_gone_after_a_restart() {
        let mut config = Config::default();
        config.set("s", "kept", "old", true);
        config.is_read_only = true;
        config.set("s", "kept", "new", true);
        config.set("s", "kept", "newer", true);
        config.set("s", "made", "v", true);
        assert_eq!(config.section("s").collect::<Vec<_>>(), [("kept", "newer"), ("made", "v")]);
        config.reload(&[]);
        assert_eq!(config.section("s").collect::<Vec<_>>(), [("kept", "old")]);
        config.remove("s", "kept");
        config.is_read_only = false;
        config.set("s", "kept", "written", true);
        config.reload(&[]);
        assert_eq!(config.section("s").collect::<Vec<_>>(), [("kept", "written")]);
    }

    #[test]
    fn what_is_not_persistent_is_lost_and_names_are_trimmed() {
        let mut config = Config::default();
        config.set("s", "gone", "v", false);
        config.set("s", ";c", "v", true);
        config.set("s", " sp", "v", true);
        config.reload(&[]);
        assert_eq!(config.section("s").collect::<Vec<_>>(), [("sp", "v")]);
    }
}

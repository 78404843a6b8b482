//! The configuration of a node: ini files, overlaid by what was set over HTTP.
//!
//! Only explicitly set keys are visible, as on a real server. Values set over HTTP are "the last ini file of the chain":
//! they win over the files, survive a restart (unless sent with `X-Couch-Persist: false`), and deleting one uncovers
//! what an earlier file says at the next start. Called by everything that asks for a setting; knows nothing of HTTP.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::options::StartError;

/// One `key = value` and where it came from.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Entry {
    value: String,
    from_file: bool,
    persistent: bool,
}

/// Sections of keys of values.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Config {
    sections: BTreeMap<String, BTreeMap<String, Entry>>,
}

impl Config {
    /// The value of a key that was set explicitly.
    pub(crate) fn get(&self, section: &str, key: &str) -> Option<&str> {
        self.sections.get(section)?.get(key).map(|entry| entry.value.as_str())
    }

    /// Whether a switch is on; CouchDB takes only the word `true` for that.
    pub(crate) fn is_on(&self, section: &str, key: &str) -> bool {
        self.get(section, key) == Some("true")
    }

    /// A number, or `default` where none was set or it makes no sense.
    pub(crate) fn number(&self, section: &str, key: &str, default: u64) -> u64 {
        self.get(section, key).and_then(|value| value.parse().ok()).unwrap_or(default)
    }

    /// All keys of a section; an unknown section is an empty one.
    pub(crate) fn section(&self, section: &str) -> impl Iterator<Item = (&str, &str)> {
        self.sections
            .get(section)
            .into_iter()
            .flatten()
            .map(|(key, entry)| (key.as_str(), entry.value.as_str()))
    }

    /// The names of the sections that hold a value.
    pub(crate) fn section_names(&self) -> impl Iterator<Item = &str> {
        self.sections.iter().filter(|(_, keys)| !keys.is_empty()).map(|(name, _)| name.as_str())
    }

    /// Sets a value and returns the old one; a value that is not persistent is gone after a restart.
    pub(crate) fn set(&mut self, section: &str, key: &str, value: &str, persistent: bool) -> Option<String> {
        let entry = Entry { value: value.to_owned(), from_file: false, persistent };
        self.sections
            .entry(section.to_owned())
            .or_default()
            .insert(key.to_owned(), entry)
            .map(|old| old.value)
    }

    /// Removes a value and returns it.
    pub(crate) fn remove(&mut self, section: &str, key: &str) -> Option<String> {
        self.sections.get_mut(section)?.remove(key).map(|old| old.value)
    }

    /// Reads the configuration again, as a restart and `_config/_reload` do: `ini` is what the files say now.
    pub(crate) fn reload(&mut self, ini: &[(String, String, String)]) {
        let mut fresh = Self::default();
        for (section, key, value) in ini {
            let entry = Entry { value: value.clone(), from_file: true, persistent: true };
            fresh.sections.entry(section.clone()).or_default().insert(key.clone(), entry);
        }
        for (section, keys) in std::mem::take(&mut self.sections) {
            for (key, entry) in keys {
                // A name that begins with `;` is written as a comment, and blanks around one are lost.
                let survives = entry.persistent && !entry.from_file && !key.starts_with(';');
                if survives {
                    fresh.sections.entry(section.clone()).or_default().insert(key.trim().to_owned(), entry);
                }
            }
        }
        *self = fresh;
    }
}

/// Reads every `*.ini` of a `local.d`, in the order of their names.
pub(crate) fn read_ini_dir(dir: &Path) -> Result<Vec<(String, String, String)>, StartError> {
    let unreadable = |path: &Path| {
        let path = path.to_owned();
        move |source| StartError::Ini { path, source }
    };
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).map_err(unreadable(dir))? {
        let path = entry.map_err(unreadable(dir))?.path();
        if path.extension().is_some_and(|extension| extension == "ini") {
            files.push(path);
        }
    }
    files.sort();
    let mut values = Vec::new();
    for path in files {
        values.extend(parse_ini(&fs::read_to_string(&path).map_err(unreadable(&path))?));
    }
    Ok(values)
}

/// The values of an ini text: `[section]`, `key = value`, comments from a leading `;` or `#`.
pub(crate) fn parse_ini(text: &str) -> Vec<(String, String, String)> {
    let mut section = String::new();
    let mut values = Vec::new();
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            name.clone_into(&mut section);
        } else if let Some((key, value)) = line.split_once('=')
            && !line.starts_with([';', '#'])
        {
            values.push((section.clone(), key.trim().to_owned(), value.trim().to_owned()));
        }
    }
    values
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn a_deleted_admin_comes_back_from_its_file_at_the_restart() {
        let ini = parse_ini("; a comment\n[admins]\nboss = plain\n");
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
    fn what_is_not_persistent_is_lost_and_names_are_trimmed() {
        let mut config = Config::default();
        config.set("s", "gone", "v", false);
        config.set("s", ";c", "v", true);
        config.set("s", " sp", "v", true);
        config.reload(&[]);
        assert_eq!(config.section("s").collect::<Vec<_>>(), [("sp", "v")]);
    }
}

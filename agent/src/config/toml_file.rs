//! The TOML layer: our own file, `agent.toml`.
//!
//! Since nobody else reads this file, anything in it that is not a known key is a mistake worth stopping for.
//! Parsing is the `config` crate's; the error text is ours, because the parser's quotes the line at fault and
//! that line may hold a password.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use ::config::{File, FileFormat, Map, Source, Value, ValueKind};

use super::error::ConfigError;
use super::fragment::Fragment;
use super::keys::{self, Key};

/// What the file says, and what the operator should hear about it.
#[derive(Debug, Default)]
pub(super) struct TomlFile {
    pub(super) fragment: Fragment,
    pub(super) warning: Option<String>,
}

/// Reads `path`; a file that does not exist is empty unless it was `asked_for` on the command line.
pub(super) fn read(path: &Path, asked_for: bool) -> Result<TomlFile, ConfigError> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound && !asked_for => return Ok(TomlFile::default()),
        Err(error) => return Err(ConfigError::unreadable(path, error)),
    };
    let fragment = parse(path, &text)?;
    let warning = if fragment.holds_a_secret() { exposure(path)? } else { None };
    Ok(TomlFile { fragment, warning })
}

fn exposure(path: &Path) -> Result<Option<String>, ConfigError> {
    const READABLE_BY_OTHERS: u32 = 0o004;
    let mode = fs::metadata(path).map_err(|error| ConfigError::unreadable(path, error))?.permissions().mode();
    Ok((mode & READABLE_BY_OTHERS != 0).then(|| {
        format!("{0} holds a secret and every local user can read it; run: chmod o-rwx {0}", path.display())
    }))
}

fn parse(path: &Path, text: &str) -> Result<Fragment, ConfigError> {
    let origin = path.display().to_string();
    let document =
        File::from_str(text, FileFormat::Toml).collect().map_err(|error| syntax(path, text, &error))?;
    let mut fragment = Fragment::default();
    for (name, value) in flatten(document) {
        let Some(key) = keys::find(&name) else {
            let nearest = keys::nearest(&name).map(|key| key.name.to_owned());
            return Err(ConfigError::UnknownKey { origin, key: name, nearest });
        };
        key.kind.accepts(&value).map_err(|advice| wrong_kind(key, &origin, advice))?;
        fragment.set(key, &origin, value.kind);
    }
    Ok(fragment)
}

/// `section.name` to value, sorted so that the first of several mistakes is the same one on every run.
///
/// A section nobody knows stays whole if it is empty: it has no key that could be reported in its place.
fn flatten(document: Map<String, Value>) -> BTreeMap<String, Value> {
    let mut flat = BTreeMap::new();
    for (section, value) in document {
        match value.kind {
            ValueKind::Table(table) if keys::has_section(&section) || !table.is_empty() => {
                flat.extend(table.into_iter().map(|(leaf, value)| (format!("{section}.{leaf}"), value)));
            }
            _ => {
                flat.insert(section, value);
            }
        }
    }
    flat
}

fn wrong_kind(key: &'static Key, origin: &str, advice: &str) -> ConfigError {
    ConfigError::invalid(key, origin, format!("must be: {}", key.kind.describe()), advice)
}

/// The parser's own message and position, without the excerpt of the file that it would print.
fn syntax(path: &Path, text: &str, error: &::config::ConfigError) -> ConfigError {
    let cause = match error {
        ::config::ConfigError::FileParse { cause, .. } => cause.downcast_ref::<toml::de::Error>(),
        _ => None,
    };
    let (place, problem) = match cause {
        Some(cause) => {
            let before = cause.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
            let line = before.matches('\n').count() + 1;
            let column = before.chars().rev().take_while(|&c| c != '\n').count() + 1;
            (format!("line {line}, column {column}"), cause.message().to_owned())
        }
        None => ("an unknown place".to_owned(), "a number is too large".to_owned()),
    };
    ConfigError::Syntax { file: path.to_owned(), place, problem }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn refusal(text: &str) -> String {
        parse(Path::new("/etc/agent.toml"), text).unwrap_err().to_string()
    }

    #[test]
    fn unknown_keys_and_sections_name_the_file_and_the_nearest_key() {
        let cases = [
            (
                "[broker]\ndurable_queue = true",
                "no key \"broker.durable_queue\"; did you mean \"broker.durable_queues\"?",
            ),
            ("[brokr]\nheartbeat = 60", "no key \"brokr.heartbeat\"; did you mean \"broker.heartbeat\"?"),
            ("transport_url = \"x\"", "no key \"transport_url\"; did you mean \"broker.transport_url\"?"),
            ("[zzz]", "no key \"zzz\"; docs/configuration.md lists them all"),
            ("[guest.id]\nx = 1", "guest.id must be: text; write a text in double quotes"),
        ];
        for (text, expected) in cases {
            let message = refusal(text);
            assert!(message.starts_with("/etc/agent.toml: ") && message.ends_with(expected), "{message}");
        }
    }

    #[test]
    fn an_empty_section_that_exists_is_fine() {
        assert!(parse(Path::new("x"), "[broker]\n[log]\n").unwrap().collect().unwrap().is_empty());
    }

    #[test]
    fn values_of_the_wrong_kind_say_what_to_write() {
        let cases = [
            ("[rpc]\nmax_concurrent = \"16\"", "write a whole number, without quotes"),
            ("[broker]\ntls = \"yes\"", "write true or false, without quotes"),
            ("[broker]\nconnect_timeout = \"60\"", "write a number of seconds, without quotes"),
            ("[couchdb]\nignore_dbs = \"a,b\"", "write a list, such as [\"a\", \"b\"]"),
            ("[couchdb]\nignore_dbs = [1]", "every item must be a text in double quotes"),
        ];
        for (text, expected) in cases {
            assert!(refusal(text).ends_with(expected), "{}", refusal(text));
        }
    }

    #[test]
    fn syntax_errors_give_the_position_and_never_the_line() {
        let cases = [
            "[broker]\ntransport_url = rabbit://trove:planted@host/",
            "[broker]\ntransport_url = \"rabbit://trove:planted@host/",
            "[broker]\nrabbit://trove:planted@host/",
            "[guest]\nencryption_key = 'planted' planted",
            "[guest]\nencryption_key = \"\\qplanted\"",
        ];
        for text in cases {
            let message = refusal(text);
            assert!(message.starts_with("/etc/agent.toml is malformed at line 2, column "), "{message}");
            assert!(!message.contains("planted"), "{message}");
        }
        assert!(refusal("[rpc]\nmax_concurrent = 99999999999999999999").contains("too large"));
    }

    #[test]
    fn only_a_file_that_was_asked_for_must_exist() {
        let missing = Path::new("/nonexistent/agent.toml");
        assert!(read(missing, false).unwrap().fragment.collect().unwrap().is_empty());
        assert!(
            read(missing, true).unwrap_err().to_string().starts_with("cannot read /nonexistent/agent.toml: ")
        );
    }

    #[test]
    fn a_secret_in_a_world_readable_file_is_worth_a_warning() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("agent.toml");
        let warned = |text: &str, mode: u32| {
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            read(&path, true).unwrap().warning.is_some()
        };
        let secret = "[guest]\nencryption_key = \"k\"";
        assert!(warned(secret, 0o644));
        assert!(!warned(secret, 0o640));
        assert!(!warned("[guest]\nid = \"g\"", 0o644));
    }
}

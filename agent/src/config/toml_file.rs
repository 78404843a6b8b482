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

use toml::de::{DeTable, DeValue};
use trove_couchdb_protocol::text;

use super::error::ConfigError;
use super::fragment::{Fragment, Layer};
use super::keys::{self, Key};

/// What the file says, and what the operator should hear about it.
#[derive(Debug, Default)]
pub(super) struct TomlFile {
    pub(super) layer: Layer,
    pub(super) warning: Option<String>,
}

/// Reads `path`; a file that does not exist is empty unless it was `asked_for` on the command line.
pub(super) fn read(path: &Path, asked_for: bool) -> TomlFile {
    let unreadable = |error| TomlFile { layer: Layer::unreadable(error), warning: None };
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound && !asked_for => return TomlFile::default(),
        Err(error) => return unreadable(ConfigError::unreadable(path, error)),
    };
    let text = match text::decode(bytes) {
        Ok(text) => text,
        Err(problem) => return unreadable(ConfigError::NotText { path: path.to_owned(), problem }),
    };
    let layer = parse(path, text.trim_start_matches(text::BYTE_ORDER_MARK));
    let warning = if layer.fragment.holds_a_secret() { exposure(path) } else { None };
    TomlFile { layer, warning }
}

/// The mode may be asked for as the file was just read.
fn exposure(path: &Path) -> Option<String> {
    const READABLE_BY_OTHERS: u32 = 0o004;
    let mode = fs::metadata(path).ok()?.permissions().mode();
    (mode & READABLE_BY_OTHERS != 0).then(|| {
        format!("{0} holds a secret and every local user can read it; run: chmod o-rwx {0}", path.display())
    })
}

fn parse(path: &Path, text: &str) -> Layer {
    let (spans, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        return Layer { fragment: Fragment::default(), mistakes: syntax(path, text, &errors) };
    }
    let Ok(document) = File::from_str(text, FileFormat::Toml).collect() else {
        return Layer::unreadable(unread(path));
    };
    let lines = lines(spans.get_ref(), text);
    let Layer { mut fragment, mut mistakes } = Layer::default();
    for (name, value) in flatten(document) {
        let place = lines.get(&name).map(|line| format!(" line {line}")).unwrap_or_default();
        let origin = format!("{}{place}", path.display());
        match keys::find(&name) {
            None => mistakes.push(ConfigError::UnknownKey { origin, advice: keys::advice(&name), key: name }),
            Some(key) => match key.kind.accepts(&value) {
                Ok(()) => fragment.set(key, &origin, value.kind),
                Err(advice) => mistakes.push(wrong_kind(key, &origin, advice)),
            },
        }
    }
    Layer { fragment, mistakes }
}

/// Where each key begins, by the names that [`flatten`] gives them; lines are counted from 1.
fn lines(document: &DeTable<'_>, text: &str) -> BTreeMap<String, usize> {
    let line = |start: usize| text.get(..start).unwrap_or_default().matches('\n').count() + 1;
    let mut lines = BTreeMap::new();
    for (section, value) in document {
        let name = section.get_ref().as_ref();
        lines.insert(name.to_owned(), line(section.span().start));
        if let DeValue::Table(table) = value.get_ref() {
            let leaves =
                table.keys().map(|leaf| (format!("{name}.{}", leaf.get_ref()), line(leaf.span().start)));
            lines.extend(leaves);
        }
    }
    lines
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

/// The parser's own messages and positions, one for each line, without the excerpts of the file that it would print.
fn syntax(path: &Path, text: &str, errors: &[toml::de::Error]) -> Vec<ConfigError> {
    let mut lines = BTreeMap::new();
    for error in errors {
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        let column = before.chars().rev().take_while(|&c| c != '\n').count() + 1;
        lines.entry(line).or_insert_with(|| ConfigError::Syntax {
            file: path.to_owned(),
            place: format!("line {line}, column {column}"),
            problem: error.message().to_owned(),
        });
    }
    lines.into_values().collect()
}

/// TOML that is sound and holds a number that no 64 bits hold.
fn unread(path: &Path) -> ConfigError {
    ConfigError::Syntax {
        file: path.to_owned(),
        place: "an unknown place".to_owned(),
        problem: "a number is too large".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn refusal(text: &str) -> String {
        parse(Path::new("/etc/agent.toml"), text).whole().unwrap_err().to_string()
    }

    #[test]
    fn unknown_keys_and_sections_name_the_file_and_the_nearest_key() {
        let cases = [
            (
                "[broker]\ndurable_queue = true",
                "no key \"broker.durable_queue\"; did you mean \"broker.durable_queues\"?",
            ),
            ("[brokr]\nheartbeat = 60", "no key \"brokr.heartbeat\"; did you mean \"broker.heartbeat\"?"),
            (
                "transport_url = \"x\"",
                "no key \"transport_url\"; transport_url belongs in the section [broker]",
            ),
            ("[rpc]\ntls = true", "no key \"rpc.tls\"; tls belongs in the section [broker]"),
            ("[zzz]", "no key \"zzz\"; docs/configuration.md lists them all"),
            ("[guest.id]\nx = 1", "guest.id must be: text; write a text in double quotes"),
        ];
        for (text, expected) in cases {
            let message = refusal(text);
            let line = if text.contains('\n') && !text.starts_with("[guest") { 2 } else { 1 };
            let place = format!("/etc/agent.toml line {line}: ");
            assert!(message.starts_with(&place) && message.ends_with(expected), "{message}");
        }
    }

    #[test]
    fn every_mistake_is_named_at_once_with_its_line() {
        let text = "[rpc]\nmax_concurent = 1\n\n[broker]\ntls = \"yes\"\nprefetch = 7\n[zzz]\n";
        let layer = parse(Path::new("/f"), text);
        assert_eq!(layer.fragment.collect().unwrap().len(), 1, "what is right is read all the same");
        let message = ConfigError::all(layer.mistakes).unwrap().to_string();
        let lines: Vec<&str> = message.lines().map(str::trim).collect();
        assert_eq!(lines[0], "3 mistakes in the configuration:");
        assert!(lines[1].starts_with("/f line 5: broker.tls must be"), "{message}");
        assert!(lines[2].starts_with("/f line 2: there is no key \"rpc.max_concurent\""), "{message}");
        assert!(lines[3].starts_with("/f line 7: there is no key \"zzz\""), "{message}");
    }

    #[test]
    fn another_encoding_is_named_and_a_mark_at_the_start_does_no_harm() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("agent.toml");
        let refusal = |bytes: &[u8]| {
            fs::write(&path, bytes).unwrap();
            read(&path, true).layer.whole().err().map(|error| error.to_string())
        };
        assert_eq!(refusal("\u{feff}[rpc]\nmax_concurrent = 3\n".as_bytes()), None);
        let utf16: Vec<u8> = "\u{feff}[rpc]\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert!(refusal(&utf16).unwrap().contains("is no text: it is UTF-16"));
        assert!(refusal(b"[rpc]\n# \xf6\n").unwrap().contains("line 2 has a character that is not UTF-8"));
    }

    #[test]
    fn an_empty_section_that_exists_is_fine() {
        let fragment = parse(Path::new("x"), "[broker]\n[log]\n").whole().unwrap();
        assert!(fragment.collect().unwrap().is_empty());
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
        assert!(read(missing, false).layer.whole().unwrap().collect().unwrap().is_empty());
        let error = read(missing, true).layer.whole().unwrap_err().to_string();
        assert!(error.starts_with("cannot read /nonexistent/agent.toml: "), "{error}");
    }

    #[test]
    fn a_secret_in_a_world_readable_file_is_worth_a_warning() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("agent.toml");
        let warned = |text: &str, mode: u32| {
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            read(&path, true).warning.is_some()
        };
        let secret = "[guest]\nencryption_key = \"k\"";
        assert!(warned(secret, 0o644));
        assert!(!warned(secret, 0o640));
        assert!(!warned("[guest]\nid = \"g\"", 0o644));
        for no_secret in ["local:", "rabbit://h:5672/v", "rabbit://u@h/"] {
            assert!(!warned(&format!("[broker]\ntransport_url = \"{no_secret}\""), 0o644), "{no_secret}");
        }
        assert!(warned("[broker]\ntransport_url = \"rabbit://u:p@h/\"", 0o644));
    }
}

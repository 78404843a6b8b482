//! The TOML layer: the agent's own file, `agent.toml`.
//!
//! Only the agent reads this file, so an unknown key is an error. The `toml` crate parses it, but the error
//! text is the agent's: the parser's text quotes the malformed line, which may contain a password.

use std::collections::BTreeMap;
use std::io::ErrorKind::NotFound;
use std::path::Path;

use config::{Value, ValueKind};
use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue, ValueDeserializer};
use trove_couchdb_protocol::text::BYTE_ORDER_MARK;

use crate::broker_url;
use crate::error::Mistake;
use crate::key::Kind;
use crate::keys;
use crate::layers::Layers;
use crate::text_file;

/// Reads `path`. A file that does not exist counts as empty unless it was `asked_for` on the command line.
pub(crate) fn read(layers: &mut Layers, path: &Path, asked_for: bool) {
    let text = match text_file::read(path) {
        Ok(text) => text,
        Err(Mistake::Unreadable { cause, .. }) if cause.kind() == NotFound && !asked_for => return,
        Err(mistake) => return layers.mistakes.push(mistake),
    };
    let others = layers.values.len();
    parse(layers, path, text.trim_start_matches(BYTE_ORDER_MARK));
    let holds_a_secret = layers.values.iter().skip(others).any(is_secret);
    if holds_a_secret && text_file::is_open_to_everybody(path) {
        let path = path.display();
        let text = format!("{path} holds a secret and every local user can read it; run: chmod o-rwx {path}");
        layers.warnings.push((None, text));
    }
}

/// Whether a secret key has a value that must be protected.
fn is_secret((name, value): &(&str, Value)) -> bool {
    match &value.kind {
        ValueKind::String(text) if *name == broker_url::KEY => broker_url::holds_a_password(text),
        _ => keys::find(name).is_some_and(|key| key.kind == Kind::Secret),
    }
}

fn parse(layers: &mut Layers, path: &Path, text: &str) {
    let (document, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        return layers.mistakes.extend(syntax(path, text, &errors));
    }
    for (name, start, value) in flatten(document.into_inner()) {
        let origin = format!("{} line {}", path.display(), position(text, start).0);
        let Some(key) = keys::named(layers, &name, &origin) else {
            layers.mistakes.push(keys::unknown(origin, &name));
            continue;
        };
        let position = position(text, value.span().start);
        // `toml`'s own values have at most 64 bits; `config`'s numbers can have more.
        let value = toml::Value::deserialize(ValueDeserializer::from(value));
        let Ok(Value { kind: value, .. }) = value.and_then(Value::deserialize) else {
            // The TOML is valid, but a number does not fit into 64 bits.
            layers.mistakes.push(malformed(path, position, "a number is too large"));
            continue;
        };
        match key.kind.accepts(&value) {
            Ok(()) => layers.set(key, &origin, value),
            Err(wrong) => layers.refuse(key, &origin, wrong.problem, wrong.advice),
        }
    }
}

/// `section.name`, its offset, and its value. The tables are sorted, so the order
/// of mistakes is the same on every run.
///
/// An unknown section is kept whole if it is empty, because it has no key to report instead.
fn flatten(document: DeTable<'_>) -> Vec<(String, usize, Spanned<DeValue<'_>>)> {
    let mut flat = Vec::new();
    for (section, mut value) in document {
        let name = section.get_ref();
        match value.get_mut() {
            DeValue::Table(table) if keys::has_section(name) || !table.is_empty() => {
                for (leaf, value) in std::mem::take(table) {
                    flat.push((format!("{name}.{}", leaf.get_ref()), leaf.span().start, value));
                }
            }
            _ => flat.push((name.to_string(), section.span().start, value)),
        }
    }
    flat
}

/// Line and column, counted from 1.
fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or_default();
    (before.matches('\n').count() + 1, before.chars().rev().take_while(|&c| c != '\n').count() + 1)
}

/// The parser's messages and positions, one per line, without its excerpts of the file.
fn syntax(path: &Path, text: &str, errors: &[toml::de::Error]) -> Vec<Mistake> {
    let mut lines = BTreeMap::new();
    for error in errors {
        let position = position(text, error.span().unwrap_or_default().start);
        lines.entry(position.0).or_insert_with(|| malformed(path, position, error.message()));
    }
    lines.into_values().collect()
}

fn malformed(path: &Path, (line, column): (usize, usize), problem: &str) -> Mistake {
    let position = format!("line {line}, column {column}");
    Mistake::Syntax { file: path.to_owned(), position, problem: problem.to_owned() }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::error::ConfigError;

    fn parsed(text: &str) -> Layers {
        let mut layers = Layers::default();
        parse(&mut layers, Path::new("/etc/agent.toml"), text);
        layers
    }

    fn refusal(text: &str) -> String {
        ConfigError::from(parsed(text).mistakes).to_string()
    }

    fn of_a_file(path: &Path, asked_for: bool) -> Layers {
        let mut layers = Layers::default();
        read(&mut layers, path, asked_for);
        layers
    }

    #[test]
    fn unknown_keys_and_values_of_the_wrong_kind_are_named_with_file_line_and_remedy() {
        let cases = [
            (
                2,
                "[broker]\ndurable_queue = true",
                "\"broker.durable_queue\"; did you mean \"broker.durable_queues\"?",
            ),
            (2, "[brokr]\nheartbeat = 60", "no key \"brokr.heartbeat\"; did you mean \"broker.heartbeat\"?"),
            (1, "transport_url = \"x\"", "\"transport_url\"; transport_url belongs in the section [broker]"),
            (2, "[rpc]\ntls = true", "no key \"rpc.tls\"; tls belongs in the section [broker]"),
            (1, "[zzz]", "no key \"zzz\"; docs/configuration.md lists them all"),
            (1, "[guest.id]\nx = 1", "guest.id must be a string; put it in double quotes"),
            (
                2,
                "[rpc]\nmax_concurrent = \"16\"",
                "must be a whole number; write it without quotes, for example 16",
            ),
            (2, "[broker]\ntls = \"yes\"", "must be true or false; write it without quotes"),
            (
                2,
                "[broker]\nconnect_timeout = \"60\"",
                "must be a number of seconds; write it without quotes, for example 5",
            ),
            (2, "[couchdb]\nignore_dbs = \"a,b\"", "must be a list of strings; write it as [\"a\", \"b\"]"),
            (2, "[couchdb]\nignore_dbs = [1]", "must be a list of strings; write it as [\"a\", \"b\"]"),
        ];
        for (line, text, expected) in cases {
            let message = refusal(text);
            let position = format!("/etc/agent.toml line {line}: ");
            assert!(message.starts_with(&position) && message.ends_with(expected), "{message}");
        }
    }

    #[test]
    fn every_mistake_is_named_at_once_with_its_line() {
        let text = "[rpc]\nmax_concurent = 1\n\n[broker]\ntls = \"yes\"\nprefetch = 7\n[zzz]\n";
        assert_eq!(parsed(text).values.len(), 1, "what is right is read all the same");
        let message = refusal(text);
        let lines: Vec<&str> = message.lines().map(str::trim).collect();
        assert_eq!(lines[0], "3 mistakes in the configuration:");
        assert!(lines[1].starts_with("/etc/agent.toml line 5: broker.tls must be"), "{message}");
        assert!(
            lines[2].starts_with("/etc/agent.toml line 2: there is no key \"rpc.max_concurent\""),
            "{message}"
        );
        assert!(lines[3].starts_with("/etc/agent.toml line 7: there is no key \"zzz\""), "{message}");
    }

    #[test]
    fn another_encoding_is_named_and_a_mark_at_the_start_does_no_harm() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("agent.toml");
        let refusal = |bytes: &[u8]| {
            fs::write(&path, bytes).unwrap();
            of_a_file(&path, true).mistakes.first().map(ToString::to_string)
        };
        assert_eq!(refusal("\u{feff}[rpc]\nmax_concurrent = 3\n".as_bytes()), None);
        let utf16: Vec<u8> = "\u{feff}[rpc]\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert!(refusal(&utf16).unwrap().contains("is no text: it is UTF-16"));
        assert!(refusal(b"[rpc]\n# \xf6\n").unwrap().contains("line 2 has a character that is not UTF-8"));
    }

    #[test]
    fn an_empty_section_that_exists_is_fine() {
        let layers = parsed("[broker]\n[log]\n");
        assert!(layers.values.is_empty() && layers.mistakes.is_empty());
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
        assert!(of_a_file(missing, false).mistakes.is_empty());
        let error = of_a_file(missing, true).mistakes[0].to_string();
        assert!(error.starts_with("cannot read /nonexistent/agent.toml: "), "{error}");
    }

    #[test]
    fn a_secret_in_a_world_readable_file_is_worth_a_warning() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("agent.toml");
        let warned = |text: &str, mode: u32| {
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            !of_a_file(&path, true).warnings.is_empty()
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

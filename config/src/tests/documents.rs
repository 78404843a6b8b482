//! The sample file matches the key table.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::Layers as Given;
use crate::key::Kind;
use crate::keys;
use crate::layers::Layers;
use crate::layers::toml_file;
use crate::reference::default_of;

const SAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../etc/trove-couchdb-agent/agent.toml");

/// The sample with every key enabled: `#` directly before a name disables a
/// key; `#` and a blank start a comment.
fn uncommented(sample: &str) -> String {
    let line = |line: &str| match line.strip_prefix('#') {
        Some(rest) if rest.starts_with(|c: char| c.is_ascii_lowercase()) => format!("{rest}\n"),
        _ => format!("{line}\n"),
    };
    sample.lines().map(line).collect()
}

fn read(path: &Path) -> Layers {
    let mut layers = Layers::default();
    toml_file::read(&mut layers, path, true);
    assert!(layers.mistakes.is_empty(), "{:?}", layers.mistakes);
    layers
}

#[test]
fn the_sample_lists_every_key_with_its_default() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("agent.toml");
    fs::write(&path, uncommented(&fs::read_to_string(SAMPLE).unwrap())).unwrap();
    let layers = read(&path);
    let listed: BTreeSet<_> = layers.values.iter().map(|(name, _)| *name).collect();
    let known: BTreeSet<_> = keys::all().map(|key| key.name).collect();
    assert_eq!(listed, known);
    for key in keys::all() {
        if let Some(default) = default_of(key) {
            assert_eq!(layers.last(key.name).unwrap().kind, default, "{}", key.name);
        }
    }
}

#[test]
fn the_sample_as_shipped_sets_nothing() {
    assert!(read(SAMPLE.as_ref()).values.is_empty());
}

#[test]
fn the_sample_describes_every_key_as_the_reference_does() {
    let sample = fs::read_to_string(SAMPLE).unwrap();
    let mut described = BTreeSet::new();
    let (mut section, mut remark) = (String::new(), Vec::new());
    for line in sample.lines() {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            name.clone_into(&mut section);
        } else if let Some(text) = line.strip_prefix("# ") {
            remark.push(text);
            continue;
        } else if let Some((name, _)) = line.strip_prefix('#').and_then(|line| line.split_once(" = ")) {
            remark.retain(|text| *text != "No default; an example:");
            described.insert((format!("{section}.{name}"), remark.join(" ")));
        }
        remark.clear();
    }
    let known: BTreeSet<_> = keys::all().map(|key| (key.name.to_owned(), key.about().to_owned())).collect();
    assert_eq!(described, known);
}

#[test]
fn no_key_is_ignored() {
    let directory = tempfile::tempdir().unwrap();
    let password_file = directory.path().join("password");
    fs::write(&password_file, "from a file").unwrap();
    let base = "[guest]\nid = \"g\"\n[broker]\ntransport_url = \"rabbit://u:p@h/\"\ntls = true\n\
                tls_cert_file = \"/c\"\ntls_key_file = \"/k\"\n[audit]\nfile = \"/a\"\n[couchdb]\nbootstrap_admin = \"a\"\n\
                tls_cert_file = \"/c\"\ntls_key_file = \"/k\"\n";
    for key in keys::all() {
        // The two passwords are never shown, so the test compares a configuration with and without them.
        let (with_password, other) = match (key.name, key.kind) {
            ("couchdb.bootstrap_admin_password", _) => (false, "other"),
            ("couchdb.bootstrap_admin_password_file", _) => (false, password_file.to_str().unwrap()),
            ("couchdb.url", _) => (true, "http://127.0.0.1:1"),
            ("broker.transport_url", _) => (true, "rabbit://u:p@elsewhere/"),
            ("broker.login_method", _) => (true, "PLAIN"),
            ("log.format", _) => (true, "json"),
            ("log.filter", _) => (true, "warn"),
            ("metrics.listen", _) => (true, "127.0.0.1:9985"),
            ("trace.otlp_endpoint", _) => (true, "http://127.0.0.1:4318"),
            ("swift.url", _) => (true, "https://elsewhere/v1/AUTH_"),
            ("swift.endpoint_type", _) => (true, "internalURL"),
            ("audit.file", _) | (_, Kind::Path) => (true, "/other"),
            (_, Kind::Text | Kind::Secret) => (true, "other"),
            (_, Kind::Flag) => (
                true,
                if key.default == Some("false") && key.name != "broker.tls" { "true" } else { "false" },
            ),
            (
                "rpc.max_message_bytes"
                | "rpc.replay_window"
                | "couchdb.sha256_iterations"
                | "audit.max_bytes"
                | "guest_log.expiry"
                | "guest_log.piece_bytes",
                _,
            ) => (true, "20000"),
            (_, Kind::Count) => (true, "17"),
            ("couchdb.rotate_os_admin_after", _) => (true, "86400"),
            ("operations.keep_for", _) => (true, "3600"),
            (_, Kind::Seconds) => (true, "29"),
            (_, Kind::Fraction) => (true, "0.25"),
            (_, Kind::List) => (true, "other"),
        };
        let variable = key.environment_variable();
        let password = ("TROVE_COUCHDB_COUCHDB__BOOTSTRAP_ADMIN_PASSWORD", "p");
        let before: Vec<_> = with_password.then_some(password).into_iter().collect();
        let after: Vec<_> = before.iter().copied().chain([(variable.as_str(), other)]).collect();
        let show = |environment: &[(&str, &str)]| {
            format!("{:?}", Given { toml: base, environment, ..Given::default() }.settings())
        };
        assert_ne!(show(&before), show(&after), "{}", key.name);
        assert!(show(&after).starts_with("Ok("), "{}: {}", key.name, show(&after));
    }
}

//! An agent without a broker, its socket and its audit log.

use std::path::PathBuf;

use super::Layers;
use crate::{AuditFile, AuditSettings};

const LOCAL: &str = "[broker]\ntransport_url = \"local:\"\n";

#[test]
fn without_a_broker_nothing_has_to_be_set() {
    let settings = Layers { toml: LOCAL, ..Layers::default() }.settings().unwrap();
    assert!(settings.broker.is_none());
    assert_eq!(settings.guest.id, "local");
    assert_eq!(settings.local.socket, Some(PathBuf::from("/run/trove-couchdb-agent/agent.sock")));
    let named =
        Layers { toml: LOCAL, conf: &[("a.conf", "[DEFAULT]\nguest_id = g-1\n")], ..Layers::default() };
    assert_eq!(named.settings().unwrap().guest.id, "g-1");
    let shown = Layers { toml: LOCAL, ..Layers::default() }.check().unwrap();
    assert!(shown.contains("transport_url = \"local:\""), "{shown}");
}

#[test]
fn an_unreachable_agent_is_refused() {
    let toml = &format!("{LOCAL}[local]\nsocket = \"\"\n");
    let message = Layers { toml, ..Layers::default() }.refusal();
    assert!(
        message.contains("local.socket is switched off, and broker.transport_url is local:"),
        "{message}"
    );
    let with_broker = Layers::toml("[local]\nsocket = \"\"\n");
    assert_eq!(with_broker.settings().unwrap().local.socket, None);
}

#[test]
fn a_socket_has_a_path_that_the_kernel_takes() {
    let toml = &format!("[local]\nsocket = \"/{}\"\n", "x".repeat(107));
    let message = Layers::toml(toml).refusal();
    assert!(message.contains("local.socket has 108 bytes; write a path of at most 107"), "{message}");
}

#[test]
fn the_audit_log_goes_to_the_journal_a_file_or_nowhere() {
    let audit = |file: &str| {
        let toml = &format!("[audit]\nfile = \"{file}\"\nmax_bytes = 20000\nkeep = 2\n");
        Layers::toml(toml).settings().map(|found| found.audit)
    };
    assert_eq!(audit("off").unwrap().file, AuditFile::Off);
    assert_eq!(audit("").unwrap().file, AuditFile::Off);
    assert_eq!(audit("journal").unwrap().file, AuditFile::Journal);
    let file = AuditSettings { file: AuditFile::At("/var/log/a".into()), max_bytes: 20_000, keep: 2 };
    assert_eq!(audit("/var/log/a").unwrap(), file);
    let message = audit("jornal").unwrap_err().to_string();
    assert!(
        message.ends_with(
            "audit.file cannot be \"jornal\"; write journal, off, or a path that begins with / or ~/"
        ),
        "{message}"
    );
}

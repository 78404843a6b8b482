//! The instance and request of every log line, and changes of the log filter at run time.

use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use trove_couchdb_tests::agent::{AgentOptions, AgentProcess};
use trove_couchdb_tests::fixture::FixtureBuilder;
use trove_couchdb_tests::process::Signal;

use super::local_socket::failure;

const SOON: Duration = trove_couchdb_tests::until::HUNG;

/// The lines of a JSON log with this message.
fn lines(logs: &str, message: &str) -> Vec<Value> {
    let all = logs.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    all.filter(|line| line["fields"]["message"].as_str().is_some_and(|said| said.starts_with(message)))
        .collect()
}

fn of_spans<'a>(line: &'a Value, field: &str) -> Option<&'a str> {
    line["spans"].as_array()?.iter().find_map(|span| span[field].as_str())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_line_has_its_instance_and_those_of_a_command_its_request() -> Result<()> {
    // The filter does not affect spans.
    let builder = FixtureBuilder::default().set("log.filter", "info");
    let fixture = builder.set("log.format", "json").up().await?;
    fixture.databases(&[&fixture.name("db")]).await?;
    fixture.call("list_users", json!({})).await?;
    failure(fixture.call("create_user", json!({"users": 3})).await);
    let logs = fixture.agent.logs();
    let all: Vec<Value> = logs.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    assert!(all.len() > 5, "{logs}");
    for line in &all {
        assert_eq!(of_spans(line, "instance"), Some(fixture.id.as_str()), "{line}");
    }
    for message in ["Done.", "{\"time\"", "A request is refused."] {
        let about = lines(&logs, message);
        assert!(!about.is_empty(), "{message} is not in\n{logs}");
        for line in about {
            let request = of_spans(&line, "request_id").unwrap_or_default();
            assert!(request.starts_with("req-"), "{line}");
        }
    }
    Ok(())
}

/// Part of a line that is logged only at `debug`.
const READ_DONE: &str = "method=\"list_databases\"";

#[tokio::test(flavor = "multi_thread")]
async fn the_filter_changes_over_the_socket_and_at_sighup() -> Result<()> {
    let builder = FixtureBuilder::default().set("log.filter", "info");
    let mut fixture = builder.up().await?;
    let local = fixture.local().await?;
    let read = async || fixture.call("list_databases", json!({})).await;
    read().await?;
    assert!(!fixture.agent.logs().contains(READ_DONE), "not at info");

    let now = local.call("set_log_filter", json!({"filter": "debug"})).await?;
    assert_eq!(now, json!({"filter": "debug"}));
    read().await?;
    fixture.agent.wait_log(READ_DONE, SOON).await?;

    assert_eq!(local.call("set_log_filter", json!({"filter": null})).await?, json!({"filter": "info"}));
    let before = fixture.agent.logs().matches(READ_DONE).count();
    read().await?;
    assert_eq!(fixture.agent.logs().matches(READ_DONE).count(), before);
    let audited = fixture.agent.logs().matches("\"method\":\"set_log_filter\"").count();
    assert_eq!(audited, 2, "who made the log silent is written down");

    let refusal = failure(local.call("set_log_filter", json!({"filter": "loud"})).await);
    assert!(refusal.message.contains("filter"), "{refusal:?}");
    let refusal = failure(fixture.call("set_log_filter", json!({"filter": "off"})).await);
    assert_eq!(refusal.class, "Forbidden", "no message of the broker silences a guest");

    let file = fixture.agent.directory().join("agent.toml");
    let text = std::fs::read_to_string(&file)?;
    std::fs::write(&file, text.replace("filter = \"info\"", "filter = \"loud\""))?;
    fixture.agent.signal(Signal::HUP)?;
    fixture.agent.wait_log("what is logged stays as it was", SOON).await?;
    std::fs::write(&file, text.replace("filter = \"info\"", "filter = \"trove_couchdb_agent=debug\""))?;
    fixture.agent.signal(Signal::HUP)?;
    fixture.agent.wait_log("The log's filter was read again.", SOON).await?;
    fixture.call("list_databases", json!({})).await?;
    assert!(fixture.agent.logs().matches(READ_DONE).count() > before);
    Ok(())
}

/// Replaces systemd's directory by a directory of the test, in a separate mount namespace.
const WITH_A_JOURNAL: &str = "mkdir -p /run/systemd && mount --bind \"$0\" /run/systemd && exec \"$@\"";

#[tokio::test(flavor = "multi_thread")]
async fn the_journal_gets_each_field_as_its_own() -> Result<()> {
    let may = std::process::Command::new("unshare").args(["--mount", "true"]).output();
    if !may.is_ok_and(|output| output.status.success()) {
        eprintln!("left out: a journal in the agent's place takes root and a mount name space");
        return Ok(());
    }
    let directory = tempfile::tempdir()?;
    std::fs::create_dir(directory.path().join("journal"))?;
    let journal = tokio::net::UnixDatagram::bind(directory.path().join("journal/socket"))?;
    let mut options = AgentOptions::new("guest-of-the-journal", "rabbit://h//", "http://127.0.0.1:1")
        .set("broker.transport_url", "rabbit://127.0.0.1:1//")
        .set("log.format", "journal");
    options.user = Some(0);
    let place = directory.path().to_str().unwrap();
    let through = ["unshare", "--mount", "sh", "-c", WITH_A_JOURNAL, place];
    options.through = through.map(str::to_owned).to_vec();
    let agent = AgentProcess::start(options)?;
    let mut buffer = vec![0; 65536];
    let waiting = async {
        loop {
            let length = journal.recv(&mut buffer).await?;
            let entry = String::from_utf8_lossy(&buffer[..length]).into_owned();
            if entry.contains("The CouchDB guest agent starts.") {
                return anyhow::Ok(entry);
            }
        }
    };
    let entry = tokio::time::timeout(SOON, waiting).await.with_context(|| agent.logs())??;
    for field in ["INSTANCE\n", "guest-of-the-journal", "PRIORITY\n", "SYSLOG_IDENTIFIER\n", "VERSION\n"] {
        assert!(entry.contains(field), "{field:?} is not in {entry:?}");
    }
    assert!(!agent.logs().contains("guest agent starts"), "twice");
    Ok(())
}

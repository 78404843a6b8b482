//! Published logs, with a real Swift and with the code of Trove's clients that reads them.

mod faults;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use in_memory_couchdb::Options;
use serde_json::{Value, json};
use tempfile::TempDir;
use trove_couchdb_tests::bus::{CallError, Request};
use trove_couchdb_tests::fixture::{Fixture, FixturePlan};
use trove_couchdb_tests::swift::Swift;

const CONTAINER: &str = "database_logs";

/// A guest, its log file, and an object store.
struct Logs {
    fixture: Fixture,
    swift: Swift,
    file: PathBuf,
    _directory: TempDir,
}

fn in_memory() -> FixturePlan {
    FixturePlan::default().in_memory(Options::default())
}

impl Logs {
    async fn up() -> Result<Self> {
        Self::of(in_memory()).await
    }

    async fn of(plan: FixturePlan) -> Result<Self> {
        let (swift, directory) = (Swift::start().await?, tempfile::tempdir()?);
        let file = directory.path().join("couchdb.log");
        let plan =
            plan.set("swift.url", swift.url()).set("guest_log.couchdb_file", file.display().to_string());
        Ok(Self { fixture: plan.up().await?, swift, file, _directory: directory })
    }

    fn write(&self, text: &str) -> Result<()> {
        Ok(std::fs::write(&self.file, text)?)
    }

    async fn act(&self, wanted: &str) -> Result<Value, CallError> {
        let mut args =
            json!({"log_name": "couchdb", "enable": null, "disable": null, "publish": null, "discard": null});
        if !wanted.is_empty() {
            args[wanted] = json!(1);
        }
        self.fixture.call("guest_log_action", args).await
    }

    /// The state of the log: status, published and pending.
    async fn state(&self) -> Result<(String, u64, u64)> {
        let shown = self.act("").await?;
        Ok(state(&shown))
    }

    async fn refused(&self, wanted: &str) -> String {
        self.act(wanted).await.unwrap_err().to_string()
    }

    async fn pieces(&self) -> Result<Vec<String>> {
        let mut names = self.swift.names(CONTAINER).await?;
        names.retain(|name| name.contains("/couchdb-couchdb/"));
        Ok(names)
    }
}

pub async fn restart(fixture: &mut Fixture) -> Result<()> {
    fixture.agent.terminate().await?;
    fixture.agent.start_again()?;
    fixture.agent.wait_ready().await
}

/// A log with these numbers, of 21 bytes for each up to 9999.
fn lines(numbers: std::ops::Range<u32>) -> String {
    let all: Vec<String> = numbers.map(|number| format!("line {number:04} of the log\n")).collect();
    all.concat()
}

fn state(shown: &Value) -> (String, u64, u64) {
    let number = |member: &str| shown[member].as_u64().unwrap();
    (shown["status"].as_str().unwrap().to_owned(), number("published"), number("pending"))
}

fn is(status: &str, published: u64, pending: u64) -> (String, u64, u64) {
    (status.to_owned(), published, pending)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_is_published_and_read_as_trove_does_it() -> Result<()> {
    let logs = Logs::up().await?;
    let id = &logs.fixture.id;
    assert_eq!(logs.state().await?, is("Unavailable", 0, 0));
    logs.write("")?;
    assert_eq!(logs.state().await?, is("Enabled", 0, 0));
    logs.write("one\ntwo\nunfinis")?;
    let listed = logs.fixture.call("guest_log_list", json!({})).await?;
    assert_eq!(
        listed,
        json!([{
            "name": "couchdb", "type": "USER", "status": "Ready", "published": 0, "pending": 15, "container": "None",
            "prefix": "None", "metafile": format!("{id}/couchdb-couchdb_metafile"),
        }])
    );
    let shown = logs.act("publish").await?;
    assert_eq!(
        shown,
        json!({
            "name": "couchdb", "type": "USER", "status": "Partial", "published": 8, "pending": 7, "container": CONTAINER,
            "prefix": format!("{id}/couchdb-couchdb/"), "metafile": format!("{id}/couchdb-couchdb_metafile"),
        })
    );
    let metafile = logs.swift.content(CONTAINER, shown["metafile"].as_str().unwrap()).await?;
    assert_eq!(
        serde_json::from_str::<Value>(&metafile)?,
        json!({
            "log_name": "couchdb", "log_type": "USER", "log_file": logs.file.display().to_string(), "log_size": 8,
            "log_header_digest": "5bbf5a52328e7439ae6e719dfe712200",
        }),
        "the digest is md5(b'one\\n')"
    );
    let pieces = logs.pieces().await?;
    let (status, head, body) = logs.swift.ask("GET", &format!("/{CONTAINER}/{}", pieces[0]), "").await?;
    assert_eq!((status, body.as_str()), (200, "one\ntwo\n"));
    assert!(head.contains("x-object-meta-lines: 2\r\n") && head.contains("x-delete-at: "), "{head}");
    let time = pieces[0].rsplit("/log-").next().unwrap();
    assert!(time.len() == 26 && time.contains('T'), "{time}");

    logs.write("one\ntwo\nunfinished\nfour\n")?;
    assert_eq!(state(&logs.act("publish").await?), is("Published", 24, 0));
    assert_eq!(logs.pieces().await?.len(), 2);
    let shown = logs.act("").await?;
    assert_eq!(logs.swift.read_by_trove(&shown, None).await?, "one\ntwo\nunfinished\nfour\n");
    assert_eq!(logs.swift.read_by_trove(&shown, Some(3)).await?, "two\nunfinished\nfour\n");
    assert_eq!(logs.swift.read_by_trove(&shown, Some(1)).await?, "four\n");
    assert_eq!(logs.swift.read_by_trove(&shown, Some(99)).await?, "one\ntwo\nunfinished\nfour\n");

    assert_eq!(state(&logs.act("discard").await?), is("Ready", 0, 24));
    assert!(logs.swift.names(CONTAINER).await?.is_empty());
    let nothing = logs.act("").await?;
    let error = logs.swift.read_by_trove(&nothing, Some(5)).await.unwrap_err().to_string();
    assert!(error.contains("GuestLogNotFoundError"), "{error}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_is_cut_at_lines_and_survives_restart_and_rotation() -> Result<()> {
    let mut logs = Logs::of(in_memory().set("guest_log.piece_bytes", 4096)).await?;
    let text = lines(0..1000);
    logs.write(&text)?;
    let size = u64::try_from(text.len())?;
    let shown = logs.act("publish").await?;
    assert_eq!(state(&shown), is("Published", size, 0));
    assert_eq!(logs.pieces().await?.len(), text.len().div_ceil(4096));
    assert_eq!(logs.swift.read_by_trove(&shown, None).await?, text);
    let last = lines(700..1000);
    assert_eq!(logs.swift.read_by_trove(&shown, Some(300)).await?, last);

    restart(&mut logs.fixture).await?;
    assert_eq!(logs.state().await?, is("Published", size, 0));

    // Longer than before, but another file.
    let other = format!("another\n{text}");
    logs.write(&other)?;
    assert_eq!(logs.state().await?, is("Rotated", size, size + 8));
    let shown = logs.act("publish").await?;
    assert_eq!(state(&shown), is("Published", size + 8, 0));
    assert_eq!(logs.swift.read_by_trove(&shown, None).await?, other);

    // Truncated by logrotate, with the same first line.
    logs.write("another\n")?;
    assert_eq!(logs.state().await?, is("Rotated", size + 8, 8));
    let shown = logs.act("publish").await?;
    assert_eq!(logs.swift.read_by_trove(&shown, None).await?, "another\n");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_reach_neither_the_object_store_nor_the_agents_log() -> Result<()> {
    let logs = Logs::up().await?;
    let stored = std::fs::read_to_string(logs.fixture.agent.credentials_file())?;
    let password =
        serde_json::from_str::<Value>(&stored)?["password"].as_str().context("no password")?.to_owned();
    logs.write(&format!(
        "admin {password} logs in\nauthorization: Basic b3NfYWRtaW46eA==\n{{<<\"password\">>,<<\"hunter2\">>}}\n\
         Cookie: AuthSession=YWxpY2U6\nhttp://al:hunter2@db/\nplain\n"
    ))?;
    let mut request = Request::new("guest_log_action", json!({"log_name": "couchdb", "publish": 1}));
    request.context.insert("auth_token".to_owned(), json!("gAAAAverysecret"));
    logs.swift.tokens("gAAAAverysecret test-tenant\nTOKEN test-tenant\n")?;
    let shown = logs.fixture.bus.request(&request).await?;
    let published = logs.swift.read_by_trove(&shown, None).await?;
    for secret in [password.as_str(), "hunter2", "b3NfYWRt", "YWxpY2U6"] {
        assert!(!published.contains(secret), "{secret} in {published}");
    }
    assert!(published.ends_with("plain\n") && published.matches("REDACTED").count() == 5, "{published}");

    logs.swift.faults("GET couchdb-couchdb 500\n")?;
    assert!(logs.fixture.bus.request(&request).await.is_err());
    assert!(!logs.fixture.agent.logs().contains("verysecret"));
    for entry in walk(logs.fixture.agent.directory())? {
        let content = std::fs::read(&entry).unwrap_or_default();
        let found = content.windows(10).any(|part| part == b"verysecret");
        assert!(!found, "the token is in {}", entry.display());
    }
    Ok(())
}

fn walk(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            files.extend(walk(&entry.path())?);
        } else if entry.file_type()?.is_file() {
            files.push(entry.path());
        }
    }
    Ok(files)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disabled_log_stays_disabled_until_it_is_published() -> Result<()> {
    let mut logs = Logs::up().await?;
    logs.write("one\n")?;
    assert_eq!(state(&logs.act("disable").await?), is("Disabled", 0, 4));
    restart(&mut logs.fixture).await?;
    assert_eq!(logs.state().await?, is("Disabled", 0, 4));
    assert_eq!(state(&logs.act("enable").await?), is("Ready", 0, 4));
    logs.act("disable").await?;
    assert_eq!(state(&logs.act("publish").await?), is("Published", 4, 0));
    let both = json!({"log_name": "couchdb", "publish": 1, "disable": 1});
    assert_eq!(state(&logs.fixture.call("guest_log_action", both).await?), is("Disabled", 4, 0));
    let both = json!({"log_name": "couchdb", "enable": 1, "disable": 1});
    let error = logs.fixture.call("guest_log_action", both).await.unwrap_err().to_string();
    assert!(error.contains("Cannot enable and disable log 'couchdb'."), "{error}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_agents_own_log_is_for_administrators() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let own = directory.path().join("agent.log");
    let logs = Logs::of(in_memory().set("guest_log.agent_file", own.display().to_string())).await?;
    std::fs::write(&own, "ready\n")?;
    let ask = async |method: &str, args: Value, is_admin: bool| {
        let mut request = Request::new(method, args);
        request.context.insert("is_admin".to_owned(), json!(is_admin));
        logs.fixture.bus.request(&request).await
    };
    let names = |listed: &Value| -> Vec<String> {
        listed.as_array().unwrap().iter().map(|log| log["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(&ask("guest_log_list", json!({}), false).await?), ["couchdb"]);
    assert_eq!(names(&ask("guest_log_list", json!({}), true).await?), ["couchdb", "guest"]);
    let publish = json!({"log_name": "guest", "publish": 1});
    let error = ask("guest_log_action", publish.clone(), false).await.unwrap_err().to_string();
    assert!(error.contains("You must be admin to publish log 'guest'."), "{error}");
    let shown = ask("guest_log_action", publish, true).await?;
    assert_eq!(state(&shown), is("Published", 6, 0));
    assert_eq!(shown["type"], "SYS");
    for (argument, words) in
        [("enable", "Cannot enable a SYSTEM log"), ("disable", "Cannot disable a SYSTEM log")]
    {
        let error =
            ask("guest_log_action", json!({"log_name": "guest", argument: 1}), true).await.unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_catalog_of_the_request_names_the_object_store() -> Result<()> {
    let (swift, directory) = (Swift::start().await?, tempfile::tempdir()?);
    let file = directory.path().join("couchdb.log");
    std::fs::write(&file, "one\n")?;
    let plan = in_memory().encrypted().set("guest_log.couchdb_file", file.display().to_string());
    let fixture = plan.up().await?;
    let publish = json!({"log_name": "couchdb", "publish": 1});
    let error = fixture.call("guest_log_action", publish.clone()).await.unwrap_err().to_string();
    assert!(error.contains("SwiftError") && error.contains("no publicURL of type object-store"), "{error}");
    let mut request = Request::new("guest_log_action", publish);
    let url = format!("{}test-tenant", swift.url());
    let catalog = json!([{"type": "object-store", "endpoints": [{"region": "RegionOne", "publicURL": url}]}]);
    request.context.insert("service_catalog".to_owned(), catalog);
    let shown = fixture.bus.request(&request).await?;
    assert_eq!(swift.read_by_trove(&shown, None).await?, "one\n");
    // As of an operator of the machine.
    request.context.insert("auth_token".to_owned(), Value::Null);
    let error = fixture.bus.request(&request).await.unwrap_err().to_string();
    assert!(error.contains("has no token of a user"), "{error}");
    Ok(())
}

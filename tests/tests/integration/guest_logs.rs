//! Published logs, with a real Swift and with the code of Trove's clients that reads them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use in_memory_couchdb::Options;
use serde_json::{Value, json};
use tempfile::TempDir;
use trove_couchdb_tests::bus::{CallError, Request};
use trove_couchdb_tests::fixture::{Fixture, FixturePlan};
use trove_couchdb_tests::swift::Swift;
use trove_couchdb_tests::until::until;

use super::full_disk::Disk;

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
    let text: String = (0..1000).map(|number| format!("line {number:04} of the log\n")).collect();
    logs.write(&text)?;
    let size = u64::try_from(text.len())?;
    let shown = logs.act("publish").await?;
    assert_eq!(state(&shown), is("Published", size, 0));
    assert_eq!(logs.pieces().await?.len(), text.len().div_ceil(4096));
    assert_eq!(logs.swift.read_by_trove(&shown, None).await?, text);
    let last: String = (700..1000).map(|number| format!("line {number:04} of the log\n")).collect();
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

#[tokio::test(flavor = "multi_thread")]
async fn an_object_store_that_fails_is_named_and_what_was_published_counts() -> Result<()> {
    let plan =
        in_memory().set("swift.timeout", 1).set("guest_log.timeout", 30).set("guest_log.piece_bytes", 4096);
    let logs = Logs::of(plan).await?;
    logs.write("one\n")?;

    logs.swift.tokens("OTHER test-tenant\n")?;
    let error = logs.refused("publish").await;
    assert!(
        error.contains("SwiftError") && error.contains("token") && error.contains("log in again"),
        "{error}"
    );
    logs.swift.tokens("TOKEN other-tenant\n")?;
    let error = logs.refused("publish").await;
    assert!(error.contains("does not let the user write to the container database_logs"), "{error}");
    logs.swift.tokens("TOKEN test-tenant\n")?;
    for (fault, words) in [
        ("PUT /couchdb-couchdb/log 413", "413"),
        ("PUT /couchdb-couchdb/log 500", "the object store answered 500"),
        ("GET metafile 503", "the object store answered 503"),
        ("PUT /couchdb-couchdb/log hang", "did not answer within 1 s"),
        ("GET metafile hang", "did not answer within 1 s"),
    ] {
        logs.swift.faults(&format!("{fault}\n"))?;
        let error = logs.refused("publish").await;
        assert!(error.contains("SwiftError") && error.contains(words), "{fault}: {error}");
        logs.swift.faults("")?;
        assert_eq!(logs.state().await?, is("Ready", 0, 4), "{fault}");
    }
    let shown = logs.act("publish").await?;
    assert_eq!(logs.swift.read_by_trove(&shown, None).await?, "one\n", "nothing is there twice");

    // A quota that the second piece exceeds.
    logs.act("discard").await?;
    let text: String = (0..1000).map(|number| format!("line {number:04} of the log\n")).collect();
    logs.write(&text)?;
    logs.swift.ask("POST", &format!("/{CONTAINER}"), "X-Container-Meta-Quota-Bytes: 6000\r\n").await?;
    let error = logs.refused("publish").await;
    assert!(
        error.contains("a quota is exhausted") && error.contains(" bytes were published before"),
        "{error}"
    );
    let (status, published, pending) = logs.state().await?;
    assert!(status == "Partial" && published > 4000 && published + pending == u64::try_from(text.len())?);
    logs.swift.ask("POST", &format!("/{CONTAINER}"), "X-Remove-Container-Meta-Quota-Bytes: x\r\n").await?;
    let shown = logs.act("publish").await?;
    assert_eq!(logs.swift.read_by_trove(&shown, None).await?, text);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publication_that_takes_too_long_goes_on_the_next_time() -> Result<()> {
    let logs = Logs::of(in_memory().set("guest_log.timeout", 15).set("guest_log.piece_bytes", 4096)).await?;
    let text: String = (0..400_000).map(|number| format!("line {number:06} of the log\n")).collect();
    logs.write(&text)?;
    let (status, published, pending) = state(&logs.act("publish").await?);
    assert_eq!(status, "Partial");
    assert!(published > 0 && pending > 0);
    let (_, more, _) = state(&logs.act("publish").await?);
    assert!(more > published);
    Ok(())
}

/// A piece is written, and the answer never comes; the agent is killed then, and between any two requests.
#[tokio::test(flavor = "multi_thread")]
async fn killed_during_a_publication_nothing_is_lost_or_twice() -> Result<()> {
    let mut logs = Logs::of(in_memory().set("guest_log.piece_bytes", 4096)).await?;
    let text: String = (0..500).map(|number| format!("line {number:04} of the log\n")).collect();
    logs.write(&text)?;
    for (round, fault) in
        ["PUT metafile late", "PUT /couchdb-couchdb/log late", "PUT /couchdb-couchdb/log hang"]
            .into_iter()
            .cycle()
            .take(6)
            .enumerate()
    {
        logs.swift.faults(&format!("{fault}\n"))?;
        let publish = json!({"log_name": "couchdb", "publish": 1});
        let message = logs.fixture.bus.encode_call(&Request::new("guest_log_action", publish));
        logs.fixture.bus.send(&message).await?;
        let before = logs.pieces().await?.len();
        if fault.contains("log late") {
            until("the piece is there", async || Ok(logs.pieces().await?.len() > before || before > round))
                .await?;
        } else {
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        logs.fixture.agent.kill9()?;
        logs.swift.faults("")?;
        logs.fixture.agent.start_again()?;
        logs.fixture.agent.wait_ready().await?;
        // The broker delivers the command again; a publication of ours waits for its end.
        let shown = logs.act("publish").await?;
        assert_eq!(logs.swift.read_by_trove(&shown, None).await?, text, "after {fault}");
        if round % 2 == 1 {
            logs.act("discard").await?;
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_not_couchdbs_log_is_not_read() -> Result<()> {
    let logs = Logs::up().await?;
    let credentials = logs.fixture.agent.credentials_file();
    std::os::unix::fs::symlink(&credentials, &logs.file)?;
    let error = logs.refused("publish").await;
    assert!(error.contains("FilesystemError") && error.contains("is a symbolic link"), "{error}");
    assert_eq!(logs.state().await?, is("Unavailable", 0, 0));
    std::fs::remove_file(&logs.file)?;
    std::fs::hard_link(&credentials, &logs.file)?;
    let error = logs.refused("publish").await;
    assert!(error.contains("has several names"), "{error}");
    std::fs::remove_file(&logs.file)?;
    assert!(logs.refused("publish").await.contains("does not exist"));
    assert!(logs.swift.names(CONTAINER).await?.iter().all(|name| !name.contains("/log-")));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_names_contents_and_metafiles_do_no_harm() -> Result<()> {
    let logs = Logs::up().await?;
    for name in ["", "../../etc/passwd", "couchdb/", "general", "%00", "guest\n", "'; --", &"x".repeat(5000)]
    {
        let error = logs.fixture.call("guest_log_action", json!({"log_name": name, "publish": 1})).await;
        let error = error.unwrap_err().to_string();
        assert!(error.contains("`log_name` must be the name of a log") && error.len() < 200, "{error}");
    }
    let mut content = b"\xff\xfe\x00 not text \x1b[31m\n".to_vec();
    content.extend(vec![b'y'; 3_000_000]);
    content.push(b'\n');
    std::fs::write(&logs.file, &content)?;
    let shown = logs.act("publish").await?;
    assert_eq!(state(&shown), is("Published", u64::try_from(content.len())?, 0));
    let read = logs.swift.read_by_trove(&shown, None).await?;
    assert!(read.starts_with("\u{fffd}\u{fffd}\0 not text") && read.matches('y').count() == 3_000_000);

    // Its owner may write anything into the container.
    let metafile = shown["metafile"].as_str().unwrap();
    let put = async |text: &str| logs.swift.put(CONTAINER, metafile, text).await;
    for text in ["", "[]", "{", "{\"log_size\": -1}", &"x".repeat(100_000)] {
        put(text).await?;
        assert!(logs.refused("publish").await.contains("is not the agent's record"), "{text}");
        let listed = logs.fixture.call("guest_log_list", json!({})).await?;
        assert_eq!(state(&listed[0]).1, 0);
    }
    let known = |size: u64, next: Value| json!({"log_name": "x", "log_type": "x", "log_file": "/x", "log_size": size, "log_header_digest": "x", "next_piece": next});
    for next in
        [json!({"name": "../../other", "end": 5}), json!({"name": "log-1", "end": u64::MAX}), json!(null)]
    {
        put(&known(0, next).to_string()).await?;
        assert_eq!(state(&logs.act("publish").await?).1, u64::try_from(content.len())?);
    }
    put(&known(u64::MAX, json!(null)).to_string()).await?;
    assert_eq!(state(&logs.act("").await?).0, "Rotated");
    assert!(logs.swift.names(CONTAINER).await?.iter().all(|name| name.starts_with(&logs.fixture.id)));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_state_directory_stops_no_publication() -> Result<()> {
    let Some(disk) = Disk::of_mib(8)? else { return Ok(()) };
    let logs = Logs::of(in_memory().set("guest.state_dir", disk.path().display().to_string())).await?;
    logs.write("one\n")?;
    disk.fill();
    assert_eq!(state(&logs.act("publish").await?), is("Published", 4, 0));
    let error = logs.refused("disable").await;
    assert!(error.contains("FilesystemError") && error.contains("nothing was done"), "{error}");
    assert_eq!(logs.state().await?, is("Published", 4, 0));
    std::fs::remove_file(disk.filling())?;
    assert_eq!(state(&logs.act("disable").await?), is("Disabled", 4, 0));
    Ok(())
}

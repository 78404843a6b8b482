//! State that must survive a power failure is synced before the message is acknowledged; checked in the
//! agent's system calls.

use std::collections::BTreeSet;
use std::path::PathBuf;

use anyhow::{Context, Result};
use serde_json::json;
use trove_couchdb_tests::agent::AgentProcess;
use trove_couchdb_tests::fixture::Fixture;
use trove_couchdb_tests::strace::Strace;
use trove_couchdb_tests::until::until;

const CALLS: &str = "trace=fsync,fdatasync,write,writev,sendto,sendmsg";
/// `basic.ack`: class 60, method 80.
const ACKNOWLEDGEMENT: &str = r"\x00\x3c\x00\x50";

/// The system calls of a running agent, as printed by `strace`.
struct Calls {
    strace: Strace,
    output: PathBuf,
}

impl Calls {
    /// `None`, reported as skipped, if tracing is not permitted.
    async fn of(agent: &AgentProcess) -> Result<Option<Self>> {
        let output = agent.directory().join("strace");
        let file = output.to_str().context("a path that is UTF-8")?;
        let strace = Strace::attach(agent, &["-y", "-xx", "-s", "4096", "-e", CALLS, "-o", file]).await?;
        Ok(strace.map(|strace| Self { strace, output }))
    }

    fn lines(&self) -> Result<Vec<String>> {
        Ok(std::fs::read_to_string(&self.output)?.lines().map(str::to_owned).collect())
    }

    /// The lines from this effect on CouchDB to the acknowledgement of its command.
    async fn until_acknowledged(&mut self, effect: &str) -> Result<Vec<String>> {
        let effect = as_shown(effect);
        let mut found = Vec::new();
        until("the acknowledgement", async || {
            self.strace.must_be_attached()?;
            let lines = self.lines()?;
            let Some(begin) = lines.iter().position(|line| line.contains(&effect)) else { return Ok(false) };
            let Some(length) = lines[begin..].iter().position(|line| line.contains(ACKNOWLEDGEMENT)) else {
                return Ok(false);
            };
            found = lines[begin..begin + length].to_vec();
            Ok(true)
        })
        .await?;
        Ok(found)
    }
}

/// A text as `strace -xx` prints it, in strings and file names.
fn as_shown(text: &str) -> String {
    text.bytes().fold(String::new(), |shown, byte| shown + &format!("\\x{byte:02x}"))
}

/// Whether the file with the outcomes was synced, and the call has returned.
fn synced(lines: &[String], directory: &str) -> bool {
    let file = format!("<{}>", as_shown(&format!("{directory}/outcomes")));
    let mut under_way = BTreeSet::new();
    lines.iter().any(|line| {
        let Some((pid, call)) = line.split_once(' ') else { return false };
        let call = call.trim_start();
        let begins = call.starts_with("fsync(") || call.starts_with("fdatasync(");
        let ours = begins && call.contains(&file);
        let resumed = call.starts_with("<... fsync resumed") || call.starts_with("<... fdatasync resumed");
        if ours && call.contains("<unfinished") {
            under_way.insert(pid.to_owned());
        }
        (ours || (resumed && under_way.remove(pid))) && call.ends_with("= 0")
    })
}

/// Mutation: outcomes-not-synced (docs/guarantees.md).
#[tokio::test(flavor = "multi_thread")]
async fn what_was_done_is_on_the_disk_before_it_is_acknowledged() -> Result<()> {
    let fixture = Fixture::up().await?;
    let Some(mut calls) = Calls::of(&fixture.agent).await? else { return Ok(()) };
    let directory = fixture.agent.directory().join("state");
    let directory = directory.to_str().context("a path that is UTF-8")?;
    for number in 0..4 {
        let db = fixture.name(&format!("db{number}"));
        fixture.must_cast("create_database", json!({"databases": [{"_name": db}]})).await?;
        let lines = calls.until_acknowledged(&format!("PUT /{db} HTTP")).await?;
        // The first write creates the file, under a temporary name.
        assert!(number == 0 || synced(&lines, directory), "acknowledged and not synced: {lines:#?}");
    }
    Ok(())
}

#[test]
fn a_sync_counts_when_it_has_come_back() {
    let (ours, other) = (as_shown("/d/outcomes"), as_shown("/d/last_sent"));
    let counts = |text: &str| synced(&text.lines().map(str::to_owned).collect::<Vec<_>>(), "/d");
    assert!(counts(&format!("7  fdatasync(9<{ours}>) = 0")));
    assert!(!counts(&format!("7  fdatasync(9<{ours}>) = -1 EIO (Input/output error)")));
    assert!(!counts(&format!("7  fsync(9<{other}>) = 0")));
    let begun = format!("7  fsync(9<{ours}> <unfinished ...>\n8  <... fsync resumed>) = 0");
    assert!(!counts(&begun));
    assert!(counts(&format!("{begun}\n7  <... fsync resumed>) = 0")));
}

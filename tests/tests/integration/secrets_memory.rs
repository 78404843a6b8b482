//! A password is gone from the agent's memory after its command.
//!
//! This holds for encrypted messages: of an unencrypted one, lapin keeps a copy in its buffer until it is
//! overwritten.

use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use trove_couchdb_tests::fixture::FixtureBuilder;

/// Whether the memory of a process contains `text`; `None` if reading is not permitted.
fn is_in_memory(pid: u32, text: &str) -> Result<Option<bool>> {
    let mut memory = match File::open(format!("/proc/{pid}/mem")) {
        Ok(memory) => memory,
        Err(error) if error.kind() == ErrorKind::PermissionDenied => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    for line in std::fs::read_to_string(format!("/proc/{pid}/maps"))?.lines() {
        let mut words = line.split_whitespace();
        let (range, rights) = (words.next().context("no range")?, words.next().context("no rights")?);
        if !rights.starts_with("rw") {
            continue;
        }
        let (start, end) = range.split_once('-').context("no range")?;
        let (start, end) = (u64::from_str_radix(start, 16)?, u64::from_str_radix(end, 16)?);
        let mut bytes = Vec::new();
        memory.seek(SeekFrom::Start(start))?;
        // Some ranges are unreadable; the readable part is in `bytes`.
        drop((&memory).take(end - start).read_to_end(&mut bytes));
        if bytes.windows(text.len()).any(|window| window == text.as_bytes()) {
            return Ok(Some(true));
        }
    }
    Ok(Some(false))
}

/// Mutation: arguments-not-wiped.
#[tokio::test(flavor = "multi_thread")]
async fn a_password_that_was_dealt_with_is_gone() -> Result<()> {
    let fixture = FixtureBuilder::default().encrypted().set("couchdb.sha256_iterations", 1000).up().await?;
    let pid = fixture.agent.pid();
    let Some(key_is_there) = is_in_memory(pid, &fixture.id)? else {
        trove_couchdb_tests::test_log::skipped("the agent's memory may not be read");
        return Ok(());
    };
    assert!(key_is_there, "the net holds: the guest's id is there");
    // Many long passwords, because remains of a single one may be overwritten by chance.
    let planted = format!("Planted{}", fixture.id);
    let password = |number: u32| format!("Memory{number:03}{}", planted.repeat(16));
    let name = |number: u32| fixture.name(&format!("u{number:03}"));
    let user = |number| json!({"_name": name(number), "_password": password(number), "_databases": []});
    let users: Vec<Value> = (0..100).map(user).collect();
    fixture.must_cast("create_user", json!({ "users": users })).await?;
    let change = |number| json!({"name": name(number), "host": "%", "password": password(100 + number)});
    let users: Vec<Value> = (0..100).map(change).collect();
    fixture.must_cast("change_passwords", json!({ "users": users })).await?;
    let update = json!({"username": name(0), "hostname": "%", "user_attrs": {"password": password(200)}});
    fixture.must_cast("update_attributes", update).await?;
    fixture.call("list_users", json!({})).await?;
    // The result of a command is reported a moment before the command is dropped.
    for _ in 0..600 {
        if is_in_memory(pid, &planted)? == Some(false) {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    anyhow::bail!("a password is still there")
}

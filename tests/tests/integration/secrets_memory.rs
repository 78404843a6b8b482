//! A password that the agent has dealt with is gone from its memory.
//!
//! Shown for encrypted messages: of one in clear, lapin keeps a copy in a buffer of its own until others overwrite it.

use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom};

use anyhow::{Context, Result};
use serde_json::json;
use trove_couchdb_tests::stage::Plan;

/// Whether `text` stands anywhere in the memory of a process; `None` if we may not look.
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
        // Some ranges can't be read; what could be is in `bytes`.
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
    let stage = Plan::default().encrypted().up().await?;
    let pid = stage.agent.pid();
    let Some(key_is_there) = is_in_memory(pid, &stage.id)? else {
        eprintln!("skipped: the agent's memory may not be read");
        return Ok(());
    };
    assert!(key_is_there, "the net holds: the guest's id is there");
    let al = stage.name("al");
    let passwords: Vec<String> = (0..3).map(|n| format!("Memory{n}Planted{}", stage.id)).collect();
    let user = json!({"users": [{"_name": al, "_password": passwords[0], "_databases": []}]});
    stage.must_cast("create_user", user).await?;
    let change = json!({"users": [{"name": al, "host": "%", "password": passwords[1]}]});
    stage.must_cast("change_passwords", change).await?;
    let update = json!({"username": al, "hostname": "%", "user_attrs": {"password": passwords[2]}});
    stage.must_cast("update_attributes", update).await?;
    stage.call("list_users", json!({})).await?;
    for password in &passwords {
        assert_eq!(is_in_memory(pid, password)?, Some(false), "{password}");
    }
    Ok(())
}

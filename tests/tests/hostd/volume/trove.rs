//! Trove's commands on the volume: an agent, the helper, CouchDB, and a loop device.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use trove_couchdb_tests::agent::AgentProcess;
use trove_couchdb_tests::hostd::HostdProcess;
use trove_couchdb_tests::local::LocalClient;
use trove_couchdb_tests::rpc::CallError;
use trove_couchdb_tests::strace::Strace;
use trove_couchdb_tests::until::until;

use super::disk::{Disk, grows_online, mounted, run};
use super::machine::section;
use crate::service::{EVERY_VERB, Service};

async fn helper(service: &Service, disk: &Disk) -> Result<HostdProcess> {
    let volume = section(&[disk.path()], "ext4", &service.data());
    let hostd = service.helper(&format!("{EVERY_VERB}\n{volume}")).await?;
    hostd.ask(&json!({"id": "first", "verb": "service-start"})).await?;
    Ok(hostd)
}

fn order(disk: &Disk) -> Value {
    json!({
        "packages": "", "databases": [{"_name": "shop"}], "memory_mb": 512, "users": [], "device_path": disk.path(),
        "mount_point": "/var/lib/couchdb", "config_contents": "", "overrides": {}, "modules": [], "ds_version": "3.5.0",
    })
}

/// The only operation, when it has ended.
async fn ended(agent: &AgentProcess) -> Result<Value> {
    let mut found = Value::Null;
    until("prepare has ended", async || {
        let Ok(client) = LocalClient::connect(&agent.socket()).await else { return Ok(false) };
        let all = client.call("operation_list", json!({})).await?;
        let all = all.as_array().or_else(|| all["operations"].as_array()).context("no list")?;
        found = all.first().cloned().context("no operation")?;
        Ok(!found["ended"].is_null())
    })
    .await?;
    Ok(found)
}

/// Whether CouchDB has the database of the order. An operation that has just ended may still hold its scopes.
async fn has_shop(agent: &AgentProcess) -> Result<bool> {
    let client = LocalClient::connect(&agent.socket()).await?;
    let mut found = Value::Null;
    until("the databases are listed", async || {
        let args = json!({"limit": 20, "marker": null, "include_marker": false});
        match client.call("list_databases", args).await {
            Err(CallError::Failure(failure)) if failure.class == "Busy" => Ok(false),
            listed => {
                found = listed?;
                Ok(true)
            }
        }
    })
    .await?;
    Ok(found.to_string().contains("shop"))
}

fn failure(result: Result<Value, CallError>) -> Result<String> {
    match result {
        Err(CallError::Failure(failure)) => Ok(failure.message),
        other => bail!("no failure: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn trove_orders_a_volume_and_resizes_it_online_and_offline() -> Result<()> {
    let Some(disk) = Disk::new(32)? else { return Ok(()) };
    let Some(service) = Service::new()? else { return Ok(()) };
    let hostd = helper(&service, &disk).await?;
    let (agent, client) = service.agent(&hostd, None).await?;
    client.call("prepare", order(&disk)).await?;
    let over = ended(&agent).await?;
    assert_eq!(over["state"], "succeeded", "{over}");
    assert_eq!(mounted(disk.path()), [service.data()]);
    assert!(has_shop(&agent).await?);
    let usage = client.call("get_filesystem_stats", json!({"fs_path": null})).await?;
    assert!(usage["total"].as_f64().is_some());

    let resize = |online: bool| {
        let args = json!({"device_path": disk.path(), "mount_point": "/var/lib/couchdb", "online": online});
        (disk.grow(if online { 64 } else { 96 }), args)
    };
    let blocks = || rustix::fs::statvfs(service.data()).map(|stat| stat.f_blocks);
    let before = blocks()?;
    let mut online = before;
    if grows_online("ext4")? {
        let (grown, args) = resize(true);
        grown?;
        assert_eq!(client.call("resize_fs", args).await?, Value::Null);
        online = blocks()?;
        assert!(online > before && service.answers().await);
    }

    client.call("stop_db", json!({})).await?;
    let place = json!({"device_path": disk.path(), "mount_point": "/var/lib/couchdb"});
    client.call("unmount_volume", place.clone()).await?;
    assert!(mounted(disk.path()).is_empty());
    let message = failure(client.call("restart", json!({})).await)?;
    assert!(message.contains("CouchDB is not started without its data"), "{message}");
    assert!(service.pid().is_none());
    let (grown, args) = resize(false);
    grown?;
    client.call("resize_fs", args).await?;
    client.call("mount_volume", place).await?;
    client.call("restart", json!({})).await?;
    assert!(blocks()? > online);
    assert!(has_shop(&agent).await?);

    // The volume is lost, and CouchDB with it: health names it.
    let pid = service.pid().context("it does not run")?;
    run("kill", &["-9", &pid.to_string()])?;
    run("umount", &[service.data().to_str().unwrap()])?;
    until("health names the volume", async || {
        let status = client.call("get_agent_status", json!({})).await?;
        Ok(status.to_string().contains("CouchDB's volume is missing"))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_that_cannot_be_made_fails_the_order_and_says_why() -> Result<()> {
    let Some(disk) = Disk::new(32)? else { return Ok(()) };
    let Some(service) = Service::new()? else { return Ok(()) };
    let hostd = helper(&service, &disk).await?;
    let (agent, client) = service.agent(&hostd, None).await?;
    run("mkfs.ext4", &["-q", "-L", "theirs", disk.path()])?;
    client.call("prepare", order(&disk)).await?;
    let over = ended(&agent).await?;
    let reason = over["reason"].as_str().context("no reason")?;
    assert!(reason.starts_with("prepare failed at stage \"format\": CouchDB's volume: "), "{reason}");
    assert!(reason.contains("label theirs") && service.answers().await, "{reason}");
    Ok(())
}

/// Whether the unfinished operation on the disk is in this step.
fn is_in(agent: &AgentProcess, step: &str) -> bool {
    let Ok(entries) = std::fs::read_dir(agent.directory().join("state/operations")) else { return false };
    let texts = entries.flatten().filter_map(|entry| std::fs::read_to_string(entry.path()).ok());
    let mut records = texts.filter_map(|text| serde_json::from_str::<Value>(&text).ok());
    records.any(|record| record["step"] == step && record["ended"].is_null())
}

/// The next agent begins with the first step again, which changes nothing any more.
#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_is_killed_in_a_step_of_the_volume_is_continued() -> Result<()> {
    for step in ["format", "move", "mount"] {
        let Some(disk) = Disk::new(32)? else { return Ok(()) };
        let Some(service) = Service::new()? else { return Ok(()) };
        let hostd = helper(&service, &disk).await?;
        let (mut agent, client) = service.agent(&hostd, None).await?;
        let Some(_slow) = Strace::slow_renames(&agent, Duration::from_millis(800)).await? else {
            return Ok(());
        };
        client.call("prepare", order(&disk)).await?;
        until("the step begins", async || Ok(is_in(&agent, step))).await?;
        agent.kill9()?;
        let before = disk.hash_seed();
        agent.start_again()?;
        agent.wait_ready().await?;
        let over = ended(&agent).await?;
        assert_eq!(over["state"], "succeeded", "killed in {step}: {over}");
        if step != "format" {
            assert_eq!(disk.hash_seed()?, before?, "formatted again");
        }
        assert_eq!(mounted(disk.path()), [service.data()]);
        assert!(has_shop(&agent).await?);
    }
    Ok(())
}

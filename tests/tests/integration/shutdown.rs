//! SIGTERM finishes or requeues everything in flight, and the agent exits with 0 within the grace period.

use std::process::Command;

use anyhow::Result;
use in_memory_couchdb::{Fault, Options, Rule};
use serde_json::json;
use trove_couchdb_tests::agent::{AgentOptions, AgentProcess};
use trove_couchdb_tests::fixture::{Fixture, FixtureBuilder};
use trove_couchdb_tests::process::Signal;
use trove_couchdb_tests::rpc::Request;
use trove_couchdb_tests::until::{HUNG, until, until_hit};

/// Mutation: sigterm-does-not-wait (docs/guarantees.md).
#[tokio::test(flavor = "multi_thread")]
async fn what_runs_is_finished_and_what_waits_is_handed_back() -> Result<()> {
    let mut fixture = FixtureBuilder::default().in_memory(Options::default()).up().await?;
    let (db, al) = (fixture.name("db"), fixture.name("al"));
    fixture.databases(&[&db]).await?;
    fixture.user(&al, &[]).await?;
    fixture.memory()?.faults().add(Rule::new("PUT", "*/_security", Fault::Hang).times(1));
    let grant = fixture.rpc.encode_call(&Request::new(
        "grant_access",
        json!({"username": al, "hostname": "%", "databases": [db]}),
    ));
    let granted = fixture.rpc.expect_reply(&grant);
    fixture.rpc.send(&grant).await?;
    until_hit(fixture.memory()?).await?;
    let list =
        fixture.rpc.encode_call(&Request::new("list_access", json!({"username": al, "hostname": "%"})));
    let listed = fixture.rpc.expect_reply(&list);
    fixture.rpc.send(&list).await?;
    // A later reply shows that it has arrived.
    fixture.call("rpc_ping", json!({})).await?;

    fixture.agent.signal(Signal::TERM)?;
    fixture.agent.wait_notification(HUNG, |line| line == "STOPPING=1").await?;
    fixture.memory()?.faults().clear();
    let status = fixture.agent.exit_within(HUNG).await?;
    assert!(status.success(), "{status}");
    granted.within(HUNG).await?;
    fixture.agent.start_again()?;
    let access = listed.within(HUNG).await?;
    assert_eq!(access.as_array().unwrap().len(), 1);
    Ok(())
}

/// Mutation: sigterm-waits-for-ever (docs/guarantees.md).
#[tokio::test(flavor = "multi_thread")]
async fn a_hanging_couchdb_does_not_hold_up_the_end() -> Result<()> {
    let mut fixture =
        FixtureBuilder::default().in_memory(Options::default()).set("rpc.shutdown_grace", 2).up().await?;
    let db = fixture.name("db");
    fixture.memory()?.faults().add(Rule::new("PUT", &format!("/{db}"), Fault::Hang).times(1));
    fixture.rpc.cast(&Request::new("create_database", json!({"databases": [{"_name": db}]}))).await?;
    until_hit(fixture.memory()?).await?;
    assert!(fixture.agent.terminate().await?.success());
    fixture.agent.start_again()?;
    fixture.agent.wait_ready().await?;
    let listed = fixture.call("list_databases", json!({})).await?.to_string();
    assert!(listed.contains(&db), "the broker delivered it again: {listed}");
    Ok(())
}

/// A library loaded before all others: it finds no groups, and a file records that a group is looked up.
const NO_GROUPS: &str = r#"
#include <fcntl.h>
#include <grp.h>
#include <stdlib.h>
#include <unistd.h>
int getgrnam_r(const char *name, struct group *group, char *buffer, size_t length, struct group **found) {
    close(open(getenv("LOOKED_FOR"), O_CREAT | O_WRONLY, 0600));
    for (;;) pause();
}
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_network_of_groups_that_hangs_does_not_hold_up_the_end() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let [source, library, looked_for] =
        ["no_groups.c", "no_groups.so", "looked_for"].map(|name| directory.path().join(name));
    std::fs::write(&source, NO_GROUPS)?;
    let compiled = Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&library).arg(&source).status()?;
    assert!(compiled.success(), "{compiled}");
    let mut options = AgentOptions::without_broker("http://127.0.0.1:1").set("local.group", "operators");
    for (name, path) in [("LD_PRELOAD", &library), ("LOOKED_FOR", &looked_for)] {
        options.environment.push((name.to_owned(), path.display().to_string()));
    }
    for signal in [Signal::TERM, Signal::INT] {
        let mut agent = AgentProcess::start(options.clone())?;
        until("a group is looked for", async || Ok(looked_for.exists())).await?;
        agent.signal(signal)?;
        assert!(agent.exit_within(HUNG).await?.success());
        assert!(agent.logs().contains("Stopped before anything had begun."));
        std::fs::remove_file(&looked_for)?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn sigint_ends_it_too_and_without_a_broker() -> Result<()> {
    let mut fixture = Fixture::up().await?;
    let mut options = fixture.agent.options().clone();
    options.transport_url = "rabbit://nobody:x@127.0.0.1:1//".to_owned();
    let mut lonely = AgentProcess::start(options)?;
    lonely.wait_log("No connection to the broker", HUNG).await?;
    lonely.signal(Signal::INT)?;
    assert!(lonely.exit_within(HUNG).await?.success());
    assert!(!lonely.logs().contains("nobody:x"));
    Ok(())
}

//! A CouchDB that answers but can't do all of its work: the instance is not healthy, and the status, failed
//! commands, `/readyz` and the metrics name the cause.

use anyhow::Result;
use in_memory_couchdb::{Options, Trouble, Version};
use serde_json::{Value, json};
use trove_couchdb_tests::local_fixture::{LocalFixture, LocalFixturePlan};
use trove_couchdb_tests::ports::PortBlock;
use trove_couchdb_tests::until::until;
use trove_couchdb_tests::web;

const OLD: &str = "couchdb@old.example";

/// A fixture whose agent checks writing all the time, and the address of its metrics.
async fn watched(options: Options, ports: &PortBlock) -> Result<(LocalFixture, String)> {
    let address = format!("127.0.0.1:{}", ports.port(0));
    let plan = LocalFixturePlan::default().in_memory(options).set("metrics.listen", address.as_str());
    let plan = plan.set("couchdb.write_check_interval", 0.1).set("couchdb.sha1_iterations", 10);
    let fixture = plan.set("heartbeat.interval", 1).set("rpc.call_patience", 1).up().await?;
    until("it is healthy", async || Ok(state(&fixture).await?.0 == "healthy")).await?;
    Ok((fixture, address))
}

async fn state(fixture: &LocalFixture) -> Result<(String, String)> {
    let couchdb = fixture.call("get_agent_status", json!({})).await?["couchdb"].clone();
    let text = |key: &str| couchdb[key].as_str().unwrap_or_default().to_owned();
    Ok((text("state"), text("reason")))
}

async fn readyz(address: &str) -> Result<(u16, String)> {
    let page = web::get_tcp(address, "/readyz").await?;
    Ok((page.status, page.body))
}

async fn has_series(address: &str, line: &str) -> Result<bool> {
    Ok(web::get_tcp(address, "/metrics").await?.body.lines().any(|have| have == line))
}

async fn refused(fixture: &LocalFixture, method: &str, args: Value) -> String {
    fixture.call(method, args).await.unwrap_err().to_string()
}

/// Reads and logins work, so only a write shows it. The disk is not visible to the agent.
#[tokio::test(flavor = "multi_thread")]
async fn a_couchdb_that_cannot_write_is_not_healthy() -> Result<()> {
    for version in [Version::V1, Version::V2, Version::V3_3, Version::V3_5] {
        let ports = PortBlock::reserve()?;
        let (fixture, address) = watched(Options::new(version), &ports).await?;
        fixture.memory()?.trouble(Trouble { disk_full: true, ..Trouble::default() });
        until("it is degraded", async || {
            let (state, reason) = state(&fixture).await?;
            Ok(state == "degraded"
                && reason.starts_with("CouchDB can't write to _users: CouchDB failed (500"))
        })
        .await?;
        let said = "no broker configured; CouchDB can't write\n".to_owned();
        assert_eq!(readyz(&address).await?, (503, said), "{version:?}");
        assert!(has_series(&address, r#"trove_couchdb_agent_couchdb_state{state="no_writes"} 1"#).await?);
        assert!(has_series(&address, r#"trove_couchdb_agent_couchdb_state{state="healthy"} 0"#).await?);
        fixture.memory()?.trouble(Trouble::default());
        until("it is healthy again", async || Ok(state(&fixture).await?.0 == "healthy")).await?;
    }
    Ok(())
}

/// Other clients must not notice the check.
#[tokio::test(flavor = "multi_thread")]
async fn the_check_writes_one_local_document() -> Result<()> {
    let ports = PortBlock::reserve()?;
    let (fixture, _) = watched(Options::default(), &ports).await?;
    let log = || fixture.memory().unwrap().log();
    until("several checks", async || Ok(log().count("PUT", "/_users/_local/*") >= 3)).await?;
    let (_, users) = fixture.client.get("/_users", Some(fixture.couch.admin())).await?;
    assert_eq!(users["doc_count"], 1, "only _design/_auth: {users}");
    let written: Vec<_> = log().entries().into_iter().filter(|entry| entry.method != "GET").collect();
    let others = written.iter().filter(|entry| {
        entry.target.starts_with("/_users/") && entry.target != "/_users/_local/trove-couchdb-agent"
    });
    assert_eq!(others.count(), 0, "{written:#?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_interval_nothing_is_written() -> Result<()> {
    let plan = LocalFixturePlan::default().in_memory(Options::default()).set("heartbeat.interval", 1);
    let fixture = plan.set("couchdb.write_check_interval", 0).up().await?;
    until("it is healthy", async || Ok(state(&fixture).await?.0 == "healthy")).await?;
    let probes = || fixture.memory().unwrap().log().count("GET", "/_up");
    let before = probes();
    until("further checks", async || Ok(probes() >= before + 3)).await?;
    assert_eq!(fixture.memory()?.log().count("PUT", "/_users/_local/*"), 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_node_name_is_named_with_the_way_back() -> Result<()> {
    let ports = PortBlock::reserve()?;
    let (fixture, address) = watched(Options::default(), &ports).await?;
    fixture.databases(&["shop"]).await?;
    fixture.memory()?.trouble(Trouble { renamed_from: Some(OLD.to_owned()), ..Trouble::default() });
    until("it is degraded", async || {
        let (state, reason) = state(&fixture).await?;
        Ok(state == "degraded" && reason.contains(OLD) && reason.contains(&format!("-name {OLD}")))
    })
    .await?;
    let said = "no broker configured; CouchDB's node name has changed\n".to_owned();
    assert_eq!(readyz(&address).await?, (503, said));
    assert!(has_series(&address, r#"trove_couchdb_agent_couchdb_state{state="node_renamed"} 1"#).await?);
    let access = json!({"username": "al", "hostname": "%", "databases": ["shop"]});
    let users = json!({"users": [{"_name": "al", "_password": "pw", "_databases": []}]});
    for (method, args) in [("create_user", users), ("grant_access", access)] {
        let error = refused(&fixture, method, args).await;
        assert!(error.contains(&format!("-name {OLD}")) && error.len() < 500, "{method}: {error}");
    }
    fixture.memory()?.trouble(Trouble::default());
    until("it is healthy again", async || Ok(state(&fixture).await?.0 == "healthy")).await
}

/// Reads and logins work, and the old node may be a different machine.
#[tokio::test(flavor = "multi_thread")]
async fn files_that_can_be_seen_tell_a_changed_name_from_an_absent_node() -> Result<()> {
    for has_files in [true, false] {
        let data = tempfile::tempdir()?;
        let range = data.path().join("shards/00000000-7fffffff");
        std::fs::create_dir_all(&range)?;
        if has_files {
            std::fs::write(range.join("_users.1700000000.couch"), "")?;
        }
        let ports = PortBlock::reserve()?;
        let options = Options::default().set("couchdb", "database_dir", &data.path().display().to_string());
        let (fixture, _) = watched(options, &ports).await?;
        fixture.memory()?.trouble(Trouble { renamed_from: Some(OLD.to_owned()), ..Trouble::default() });
        let expected =
            if has_files { "CouchDB's node name has changed to" } else { "if the node name was changed" };
        until(expected, async || Ok(state(&fixture).await?.1.contains(expected))).await?;
    }
    Ok(())
}

/// The same answer as with a changed node name, and a different remedy.
#[tokio::test(flavor = "multi_thread")]
async fn exhausted_file_descriptors_are_named() -> Result<()> {
    let ports = PortBlock::reserve()?;
    let (fixture, _) = watched(Options::default(), &ports).await?;
    fixture.databases(&["shop"]).await?;
    fixture.user("al", &[]).await?;
    fixture.memory()?.trouble(Trouble { no_files: true, ..Trouble::default() });
    let access = json!({"username": "al", "hostname": "%", "databases": ["shop"]});
    let create = json!({"databases": [{"_name": "new"}]});
    for (method, args) in [("grant_access", access), ("create_database", create)] {
        let error = refused(&fixture, method, args).await;
        assert!(error.contains("(emfile): raise LimitNOFILE"), "{method}: {error}");
        assert!(!error.contains("node name"), "{method}: {error}");
    }
    Ok(())
}

/// One database with damaged files is neither of the two.
#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_database_gets_no_cause_that_was_not_checked() -> Result<()> {
    let ports = PortBlock::reserve()?;
    let (fixture, _) = watched(Options::default(), &ports).await?;
    fixture.databases(&["shop"]).await?;
    fixture.user("al", &[]).await?;
    let unopenable = ["shop".to_owned()].into();
    fixture.memory()?.trouble(Trouble { unopenable, ..Trouble::default() });
    let access = json!({"username": "al", "hostname": "%", "databases": ["shop"]});
    let error = refused(&fixture, "grant_access", access).await;
    assert!(error.contains("look at CouchDB's log") && !error.contains("LimitNOFILE"), "{error}");
    assert_eq!(state(&fixture).await?.0, "healthy");
    Ok(())
}

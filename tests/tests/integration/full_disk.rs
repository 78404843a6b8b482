//! A full disk: it is reported, the status is not healthy, and databases can be deleted.
//!
//! The disk is a tmpfs of this test, which requires root; CouchDB is the in-memory one, which answers like a
//! real one on such a disk.

use anyhow::Result;
use in_memory_couchdb::{Options, Trouble, Version};
use serde_json::{Value, json};
use trove_couchdb_protocol::trove::{ConductorCast, ServiceStatus};
use trove_couchdb_tests::disk::Disk;
use trove_couchdb_tests::fixture::{Fixture, FixturePlan, user_object};
use trove_couchdb_tests::until::until;

fn full() -> Trouble {
    Trouble { disk_full: true, ..Trouble::default() }
}

async fn couchdb_state(fixture: &Fixture) -> Result<Value> {
    Ok(fixture.call("get_agent_status", json!({})).await?["couchdb"].clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_named_and_not_healthy() -> Result<()> {
    let Some(disk) = Disk::of_mib(8)? else { return Ok(()) };
    let options = Options::default().set("couchdb", "database_dir", &disk.path().display().to_string());
    let plan =
        FixturePlan::default().in_memory(options).set("heartbeat.interval", 1).set("couchdb.min_free_mib", 4);
    let fixture = plan.set("rpc.call_patience", 1).set("rpc.cast_patience", 1).up().await?;
    let (db, al) = (fixture.name("db"), fixture.name("al"));
    fixture.databases(&[&db]).await?;
    fixture.user(&al, &[]).await?;
    assert_eq!(couchdb_state(&fixture).await?["state"], "healthy");
    let stats = fixture.call("get_filesystem_stats", json!({"fs_path": "/"})).await?;
    assert_eq!(stats["total_blocks"].as_u64().unwrap() * stats["block_size"].as_u64().unwrap(), 8 << 20);

    disk.fill();
    fixture.memory()?.trouble(full());
    let place = disk.path().display().to_string();
    until("it is not healthy", async || {
        let couchdb = couchdb_state(&fixture).await?;
        let reason = couchdb["reason"].as_str().unwrap_or_default();
        Ok(couchdb["state"] == "degraded" && reason.contains(&place) && reason.contains("0 MiB free"))
    })
    .await?;
    // Not `crashed`: Trove would refuse the deletion that frees space.
    until("the conductor hears of it", async || {
        Ok(fixture.conductor.received().iter().rev().find_map(|cast| match cast {
            ConductorCast::Heartbeat { status, .. } => Some(*status == Some(ServiceStatus::Running)),
            _ => None,
        }) == Some(true))
    })
    .await?;
    let create = json!({"databases": [{"_name": fixture.name("new")}]});
    let users = json!({"users": [user_object(&fixture.name("bo"), &[])]});
    let grant = json!({"username": al, "hostname": "%", "databases": [db]});
    for (method, args) in [("create_database", create), ("create_user", users), ("grant_access", grant)] {
        let error = fixture.cast(method, args).await?.unwrap_err();
        assert!(error.contains("500") && error.contains(&place), "{method}: {error}");
        assert!(error.contains("0 MiB free") && error.contains("delete databases"), "{method}: {error}");
    }
    fixture.must_cast("delete_database", json!({"database": {"_name": db}})).await?;

    disk.free()?;
    fixture.memory()?.trouble(Trouble::default());
    until("it is healthy again", async || Ok(couchdb_state(&fixture).await?["state"] == "healthy")).await
}

/// A directory of that name may be unrelated to CouchDB, which may run in a container.
#[tokio::test(flavor = "multi_thread")]
async fn a_directory_without_databases_says_nothing_of_couchdbs_disk() -> Result<()> {
    let Some(disk) = Disk::of_mib(8)? else { return Ok(()) };
    std::fs::remove_dir(disk.path().join("shards"))?;
    let options = Options::default().set("couchdb", "database_dir", &disk.path().display().to_string());
    let plan = FixturePlan::default().in_memory(options).set("heartbeat.interval", 1);
    let fixture = plan.set("rpc.call_patience", 1).set("rpc.cast_patience", 1).up().await?;
    disk.fill();
    fixture.memory()?.trouble(full());
    let create = json!({"databases": [{"_name": fixture.name("new")}]});
    let error = fixture.cast("create_database", create).await?.unwrap_err();
    assert!(error.contains("500: internal_server_error") && !error.contains("free"), "{error}");
    assert_eq!(couchdb_state(&fixture).await?["state"], "healthy");
    Ok(())
}

/// The first DELETE fails and leaves an empty database, a public one on 2.x; the second DELETE removes it at
/// once.
#[tokio::test(flavor = "multi_thread")]
async fn a_database_is_deleted_on_a_full_disk() -> Result<()> {
    for version in [Version::V2, Version::V3_5] {
        let plan = FixturePlan::default().in_memory(Options::new(version)).set("couchdb.sha1_iterations", 10);
        let fixture = plan.up().await?;
        let db = fixture.name("db");
        fixture.databases(&[&db]).await?;
        fixture.memory()?.trouble(full());
        fixture.memory()?.log().clear();
        let local = fixture.local().await?;
        local.call("delete_database", json!({"database": {"_name": db}})).await?;
        let (status, _) = fixture.client.get(&format!("/{db}"), Some(fixture.couch.admin())).await?;
        assert_eq!(status.as_u16(), 404, "{version:?}");
        let mut asked = fixture.memory()?.log().entries();
        asked.retain(|entry| entry.target == format!("/{db}"));
        let first = asked.iter().position(|entry| entry.method == "DELETE").unwrap();
        assert_eq!(
            (asked[first + 1].method.as_str(), asked[first + 1].status),
            ("DELETE", Some(200)),
            "{version:?}"
        );
        assert_eq!(
            (asked[first + 2].method.as_str(), asked[first + 2].status),
            ("GET", Some(404)),
            "{version:?}"
        );
    }
    Ok(())
}

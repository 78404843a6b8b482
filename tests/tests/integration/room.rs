//! Before the disk is full: the agent warns, compacts where that gains most, and says what that freed.
//!
//! The disk is a tmpfs, which requires root; CouchDB is the in-memory one, whose databases have sizes that the
//! test sets.

use anyhow::Result;
use in_memory_couchdb::{Fat, Options, Trouble};
use serde_json::json;
use trove_couchdb_tests::disk::Disk;
use trove_couchdb_tests::local_fixture::{LocalFixture, LocalFixturePlan};
use trove_couchdb_tests::ports::PortBlock;
use trove_couchdb_tests::until::until;
use trove_couchdb_tests::web;

const MIB: u64 = 1 << 20;

fn fat(file: u64, active: u64) -> Fat {
    Fat { file: file * MIB, active: active * MIB }
}

/// An agent whose CouchDB has its databases on this disk. It compacts below 50 % of free space.
fn plan(disk: &Disk) -> LocalFixturePlan {
    let options = Options::default().set("couchdb", "database_dir", &disk.path().display().to_string());
    let plan = LocalFixturePlan::default().in_memory(options).set("heartbeat.interval", 1);
    let plan = plan.set("couchdb.min_free_mib", 1).set("room.interval", 0.1);
    plan.set("room.warn_free_percent", 60).set("room.compact_free_percent", 50)
}

async fn note(fixture: &LocalFixture) -> Result<String> {
    let status = fixture.call("get_agent_status", json!({})).await?;
    Ok(status["couchdb"]["room"].as_str().unwrap_or_default().to_owned())
}

/// The databases that were compacted, in order.
fn compacted(fixture: &LocalFixture) -> Vec<String> {
    let entries = fixture.memory().unwrap().log().entries();
    let targets = entries.iter().filter(|entry| entry.method == "POST").map(|entry| entry.target.as_str());
    targets
        .filter_map(|target| Some(target.strip_suffix("/_compact")?.trim_start_matches('/').to_owned()))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_fills_up_is_told_and_compactions_gain_room() -> Result<()> {
    let Some(disk) = Disk::of_mib(100)? else { return Ok(()) };
    let ports = PortBlock::reserve()?;
    let address = format!("127.0.0.1:{}", ports.port(0));
    let fixture = plan(&disk).set("metrics.listen", address.as_str()).up().await?;
    fixture.databases(&["big", "small", "lean", "huge"]).await?;
    fixture.memory()?.trouble(Trouble {
        fat: [("big", fat(50, 2)), ("small", fat(30, 2)), ("lean", fat(40, 39)), ("huge", fat(900, 60))]
            .map(|(name, fat)| (name.to_owned(), fat))
            .into(),
        ..Trouble::default()
    });
    assert_eq!(note(&fixture).await?, "");
    disk.fill_mib(45);
    until("it is said", async || Ok(note(&fixture).await? == "55 % of its disk is free")).await?;
    let ready = web::get_tcp(&address, "/readyz").await?;
    let said = "no broker configured; CouchDB is healthy; its disk is filling up\n";
    assert_eq!((ready.status, ready.body.as_str()), (200, said), "it still serves");
    assert!(compacted(&fixture).is_empty());

    disk.fill_mib(10);
    // Nothing becomes free on this disk, so the agent goes on until nothing is to be gained.
    until("there is nothing more to gain", async || Ok(note(&fixture).await?.contains("and no other would")))
        .await?;
    assert_eq!(compacted(&fixture), ["big", "small"], "huge does not fit, and lean gains too little");
    let said = "45 % of its disk is free; 2 compaction(s) freed 76 MiB, and no other would: delete databases, or enlarge \
                the volume";
    assert_eq!(note(&fixture).await?, said);
    let metrics = web::get_tcp(&address, "/metrics").await?.body;
    for line in [
        "trove_couchdb_agent_compactions_total 2".to_owned(),
        format!("trove_couchdb_agent_compactions_freed_bytes_total {}", 76 * MIB),
        format!("trove_couchdb_agent_couchdb_disk_size_bytes {}", 100 * MIB),
    ] {
        assert!(metrics.lines().any(|have| have == line), "{line} is not in\n{metrics}");
    }
    let log = fixture.memory()?.log();
    assert_eq!(log.count("DELETE", "*"), 0, "nothing is deleted");

    disk.free()?;
    until("there is room again", async || Ok(note(&fixture).await?.is_empty())).await
}

/// CouchDB confirms a compaction (202) that it can't carry out.
#[tokio::test(flavor = "multi_thread")]
async fn a_compaction_that_frees_nothing_is_not_repeated() -> Result<()> {
    let Some(disk) = Disk::of_mib(100)? else { return Ok(()) };
    let fixture = plan(&disk).set("couchdb.write_check_interval", 0).up().await?;
    fixture.databases(&["big"]).await?;
    let fat = [("big".to_owned(), fat(50, 2))].into();
    fixture.memory()?.trouble(Trouble { fat, disk_full: true, ..Trouble::default() });
    disk.fill_mib(70);
    until("it was tried", async || {
        Ok(note(&fixture).await?.contains("1 compaction(s) freed 0 MiB, and no other would"))
    })
    .await?;
    let log = fixture.agent.logs();
    assert!(log.contains("The compaction of a database has freed nothing"), "{log}");
    let looks = || fixture.memory().unwrap().log().count("GET", "/_up");
    let before = looks();
    until("time passes", async || Ok(looks() >= before + 3)).await?;
    assert_eq!(compacted(&fixture), ["big"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn compactions_can_be_switched_off() -> Result<()> {
    let Some(disk) = Disk::of_mib(100)? else { return Ok(()) };
    let fixture = plan(&disk).set("room.compact_free_percent", 0).up().await?;
    fixture.databases(&["big"]).await?;
    let fat = [("big".to_owned(), fat(50, 2))].into();
    fixture.memory()?.trouble(Trouble { fat, ..Trouble::default() });
    disk.fill_mib(70);
    until("it is said", async || Ok(note(&fixture).await? == "30 % of its disk is free")).await?;
    let looks = || fixture.memory().unwrap().log().count("GET", "/_up");
    let before = looks();
    until("time passes", async || Ok(looks() >= before + 3)).await?;
    assert!(compacted(&fixture).is_empty());
    Ok(())
}

//! Databases that CouchDB creates as public (1.x, 2.x, `default_security = everyone`): a database that a
//! command created never stays public, wherever the command was interrupted, and one that was public on
//! purpose stays so.

use std::time::Duration;

use anyhow::Result;
use in_memory_couchdb::{Fault, Options, Rule, Version};
use reqwest::Method;
use serde_json::json;
use trove_couchdb_tests::fixture::{Fixture, FixtureBuilder};
use trove_couchdb_tests::rpc::Request;
use trove_couchdb_tests::until::{until, until_hit};

async fn up(version: Version) -> Result<Fixture> {
    let options = Options::new(version).set("couchdb", "default_security", "everyone");
    FixtureBuilder::default().in_memory(options).set("couchdb.sha1_iterations", 10).up().await
}

async fn make_public(fixture: &Fixture, database: &str) -> Result<()> {
    let path = format!("/{database}");
    let (status, _) = fixture.client.request(Method::PUT, &path, Some(fixture.couch.admin()), None).await?;
    anyhow::ensure!(status.is_success(), "{status}");
    fixture.set_security(database, &json!({})).await
}

async fn is_closed(fixture: &Fixture, database: &str) -> Result<bool> {
    Ok(!fixture.client.reads(database, None).await?)
}

/// Mutation: creation-not-written-down (docs/guarantees.md).
#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_was_killed_closes_what_it_began_and_nothing_else() -> Result<()> {
    for version in [Version::V1, Version::V2, Version::V3_5] {
        let mut fixture = up(version).await?;
        let (new, public) = (fixture.name("new"), fixture.name("public"));
        make_public(&fixture, &public).await?;
        let path = format!("/{new}/_security");
        fixture.memory()?.faults().add(Rule::new("PUT", &path, Fault::Hang).times(1));
        let create = json!({"databases": [{"_name": new}, {"_name": public}]});
        fixture.rpc.cast(&Request::new("create_database", create)).await?;
        until_hit(fixture.memory()?).await?;
        assert!(fixture.anonymous_writes(&new).await?, "{version:?}: the window");
        fixture.agent.kill9()?;
        fixture.memory()?.faults().clear();
        assert!(!is_closed(&fixture, &new).await?);
        fixture.agent.start_again()?;
        fixture.agent.wait_ready().await?;
        until("it is closed", async || is_closed(&fixture, &new).await).await?;
        // After the command that the broker has redelivered.
        fixture
            .must_cast("create_database", json!({"databases": [{"_name": new}, {"_name": public}]}))
            .await?;
        assert!(!is_closed(&fixture, &public).await?, "{version:?}: it is public on purpose");
        let (status, _) =
            fixture.client.get(&format!("/{new}/written-by-anybody"), Some(fixture.couch.admin())).await?;
        assert!(status.is_success(), "{version:?}: nothing is destroyed");
    }
    Ok(())
}

/// The broker has nothing to redeliver in this case.
#[tokio::test(flavor = "multi_thread")]
async fn a_local_command_that_was_killed_leaves_no_public_database() -> Result<()> {
    let mut fixture = up(Version::V2).await?;
    let new = fixture.name("new");
    fixture.memory()?.faults().add(Rule::new("PUT", &format!("/{new}/_security"), Fault::Hang));
    let local = fixture.local().await?;
    let create = json!({"databases": [{"_name": new}]});
    let asking = tokio::spawn(async move { local.call("create_database", create).await });
    until_hit(fixture.memory()?).await?;
    fixture.agent.kill9()?;
    assert!(asking.await?.is_err());
    fixture.memory()?.faults().clear();
    assert!(!is_closed(&fixture, &new).await?);
    fixture.agent.start_again()?;
    until("it is closed", async || is_closed(&fixture, &new).await).await
}

/// Both requests take effect or are lost without an answer, and a different client has written meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn two_requests_that_are_cut_leave_no_public_database() -> Result<()> {
    let fixture = up(Version::V2).await?;
    let new = fixture.name("new");
    let faults = fixture.memory()?.faults();
    faults.add(Rule::new("PUT", &format!("/{new}"), Fault::Cut).times(1).after_effect());
    faults.add(Rule::new("GET", &format!("/{new}/_security"), Fault::DelayMs(300)).times(1));
    faults.add(Rule::new("PUT", &format!("/{new}/_security"), Fault::Cut).times(2));
    faults.add(Rule::new("DELETE", &format!("/{new}"), Fault::Cut).times(2));
    let writing = async { until("the poller gets in", async || fixture.anonymous_writes(&new).await).await };
    let names = [new.as_str()];
    let (created, written) = tokio::join!(fixture.databases(&names), writing);
    created?;
    written?;
    assert!(is_closed(&fixture, &new).await?);
    Ok(())
}

/// The agent sends no other request between the two.
#[tokio::test(flavor = "multi_thread")]
async fn a_new_database_is_closed_by_the_next_request() -> Result<()> {
    for version in [Version::V1, Version::V2] {
        let fixture = up(version).await?;
        let new = fixture.name("new");
        fixture.memory()?.log().clear();
        fixture.databases(&[&new]).await?;
        let asked: Vec<String> = fixture
            .memory()?
            .log()
            .entries()
            .into_iter()
            .filter(|entry| entry.target.contains(&new))
            .map(|entry| format!("{} {}", entry.method, entry.target))
            .collect();
        let put = asked.iter().position(|line| *line == format!("PUT /{new}")).unwrap();
        assert_eq!(asked[put + 1], format!("PUT /{new}/_security"), "{version:?}: {asked:?}");
    }
    Ok(())
}

/// Stopping the agent in between also interrupts the creation.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_closed_is_no_longer_written_down() -> Result<()> {
    let fixture = up(Version::V2).await?;
    let new = fixture.name("new");
    fixture.databases(&[&new]).await?;
    fixture.set_security(&new, &json!({})).await?;
    fixture.databases(&[&new]).await?;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!is_closed(&fixture, &new).await?, "opened on purpose, after the command that made it");
    let file = fixture.agent.directory().join("state/pending_security.json");
    assert_eq!(std::fs::read_to_string(file)?, "{}");
    Ok(())
}

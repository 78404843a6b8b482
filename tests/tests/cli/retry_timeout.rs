//! The output while a command takes long, and that an interrupted or timed-out command loses nothing.

use anyhow::Result;
use in_memory_couchdb::{Fault, Options, Rule};
use serde_json::Value;
use trove_couchdb_tests::couch::Credentials;
use trove_couchdb_tests::local_fixture::{LocalFixture, LocalFixtureBuilder};

use crate::tool::Tool;

async fn fixture() -> Result<(LocalFixture, Tool)> {
    let builder =
        LocalFixtureBuilder::default().in_memory(Options::default()).set("rpc.call_retry_timeout", 4);
    let fixture = builder.up().await?;
    let cli = Tool::local(&fixture.agent);
    Ok((fixture, cli))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_waited_for_is_said_and_for_how_long() -> Result<()> {
    let (mut fixture, cli) = fixture().await?;
    fixture.couch.memory_mut().unwrap().stop().await;
    let ended = cli.run(&["database-list"]).await?;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.errors.contains("Waiting for CouchDB: "), "{ended:?}");
    assert!(ended.errors.contains("The agent tries again for up to 4 s."), "{ended:?}");
    let quiet = cli.run(&["database-list", "--quiet"]).await?;
    assert!(!quiet.errors.contains("Waiting"), "{quiet:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_generated_password_outlives_a_timeout() -> Result<()> {
    let (fixture, cli) = fixture().await?;
    let slow = Rule::new("POST", "/_users/_bulk_docs", Fault::DelayMs(3_000));
    fixture.memory()?.faults().add(slow);
    let create = |name: &'static str| ["user-create", name, "--generate", "--timeout", "1"];
    let table = cli.run(&create("al")).await?;
    let json = cli.run(&[&create("bo")[..], &["-o", "json"]].concat()).await?;
    assert_eq!((table.code, json.code), (Some(5), Some(5)), "{table:?} {json:?}");
    let al = table.output.strip_prefix("password: ").unwrap().trim_end().to_owned();
    let document: Value = serde_json::from_str(&json.output)?;
    assert_eq!(document["outcome"], "unknown", "{document}");
    let bo = document["password"].as_str().unwrap().to_owned();
    fixture.memory()?.faults().clear();
    for (name, password) in [("al", al), ("bo", bo)] {
        let login = Credentials::new(name, &password);
        trove_couchdb_tests::until::until("the user that was on its way is there", async || {
            Ok(cli.run(&["user-show", name]).await?.code == Some(0))
        })
        .await?;
        assert!(fixture.client.logs_in(&login).await?, "{name}");
    }
    Ok(())
}

//! Trove's commands on CouchDB's process, through the helper.

use anyhow::{Context, Result};
use serde_json::{Value, json};
use trove_couchdb_tests::local::LocalClient;
use trove_couchdb_tests::rpc::CallError;
use trove_couchdb_tests::until::until;

use super::service::Service;

async fn server(client: &LocalClient) -> Result<String> {
    let status = client.call("get_agent_status", json!({})).await?;
    Ok(status["guest"]["server"].as_str().context("no server")?.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn trove_stops_starts_and_restarts_couchdb() -> Result<()> {
    let Some(service) = Service::new()? else { return Ok(()) };
    let hostd = service.helper("").await?;
    hostd.ask(&json!({"id": "first", "verb": "service-start"})).await?;
    let (_agent, client) = service.agent(&hostd, None).await?;

    let before = service.pid().context("it does not run")?;
    assert_eq!(client.call("restart", json!({})).await?, Value::Null);
    assert!(service.answers().await, "a restart is done when CouchDB answers");
    let after = service.pid().context("it does not run")?;
    assert_ne!(before, after);

    for stop in [json!({}), json!({"do_not_start_on_reboot": false})] {
        assert_eq!(client.call("stop_db", stop).await?, Value::Null);
        assert_eq!((service.pid(), server(&client).await?.as_str()), (None, "stopped"));
    }
    let start = json!({"config_contents": "", "ds_version": "3.5.0"});
    assert_eq!(client.call("start_db_with_conf_changes", start).await?, Value::Null);
    assert!(service.answers().await);
    assert_eq!(server(&client).await?, "running");
    // A start of a running CouchDB changes nothing.
    let running = service.pid();
    client.call("start_db_with_conf_changes", json!({"config_contents": ""})).await?;
    assert_eq!(service.pid(), running);

    client.call("stop_db", json!({})).await?;
    client.call("restart", json!({})).await?;
    assert_eq!((service.answers().await, server(&client).await?.as_str()), (true, "running"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_couchdb_that_does_not_come_back_is_reported_with_the_end_of_its_log() -> Result<()> {
    let Some(service) = Service::new()? else { return Ok(()) };
    let hostd = service.helper("").await?;
    hostd.ask(&json!({"id": "first", "verb": "service-start"})).await?;
    let (_agent, client) = service.agent(&hostd, None).await?;
    service.break_start("older line\n{badmatch,http://admin:hunter2@h/}\nlast line\n")?;

    let Err(CallError::Failure(failure)) = client.call("restart", json!({})).await else {
        anyhow::bail!("a restart that failed was reported as done");
    };
    assert_eq!(failure.class, "HostdFailed");
    let text = failure.message;
    assert!(text.starts_with("CouchDB is down: "), "{text}");
    assert!(text.contains("older line | {badmatch,http://admin:REDACTED@h/} | last line"), "{text}");
    assert!(!text.contains("hunter2"), "{text}");
    assert_ne!(server(&client).await?, "stopped", "it was not stopped on purpose");
    Ok(())
}

/// A reboot starts CouchDB's service. It stays stopped if Trove said so.
#[tokio::test(flavor = "multi_thread")]
async fn a_stop_may_outlast_a_reboot() -> Result<()> {
    let Some(service) = Service::new()? else { return Ok(()) };
    let hostd = service.helper("").await?;
    hostd.ask(&json!({"id": "first", "verb": "service-start"})).await?;
    let (mut agent, _client) = service.agent(&hostd, None).await?;

    for (stays_down, boot) in [(false, "second"), (true, "third")] {
        let client = LocalClient::connect(&agent.socket()).await?;
        client.call("stop_db", json!({"do_not_start_on_reboot": stays_down})).await?;
        agent.kill9()?;
        hostd.ask(&json!({"id": boot, "verb": "service-start"})).await?;
        agent.options().environment.push(("BOOT_ID".to_owned(), boot.to_owned()));
        agent.start_again()?;
        agent.wait_ready().await?;
        let client = LocalClient::connect(&agent.socket()).await?;
        let expected = if stays_down { "stopped" } else { "running" };
        until("the agent has decided", async || Ok(server(&client).await? == expected)).await?;
        assert_eq!(service.pid().is_none(), stays_down);
    }
    Ok(())
}

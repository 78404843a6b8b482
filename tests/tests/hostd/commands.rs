//! The agent starts, stops and restarts a CouchDB through the helper, and survives a crash of the helper.

use anyhow::{Context, Result};
use serde_json::{Value, json};
use trove_couchdb_tests::until::until;
use trove_couchdb_tests::{local::LocalClient, rpc::CallError};

use super::service::{Service, last};

fn failure(result: Result<Value, CallError>) -> (String, String) {
    match result {
        Err(CallError::Failure(failure)) => (failure.class, failure.message),
        other => panic!("no failure: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_starts_stops_and_restarts_its_couchdb() -> Result<()> {
    let Some(service) = Service::new()? else { return Ok(()) };
    let hostd = service.helper("").await?;
    let started = hostd.ask(&json!({"id": "first", "verb": "service-start"})).await?;
    assert_eq!((&started["done"]["state"], &started["done"]["changed"]), (&json!("running"), &json!(true)));
    let (_agent, client) = service.agent(&hostd, None).await?;

    let status = client.call("service_status", json!({})).await?;
    assert_eq!((&status["service"], &status["state"]), (&json!("couchdb"), &json!("running")));
    let again = client.call("service_start", json!({"service": "couchdb"})).await?;
    assert_eq!(again["changed"], false, "it runs already");

    let before = service.pid().context("it does not run")?;
    let restarted = client.call("service_restart", json!({})).await?;
    assert_eq!((&restarted["state"], &restarted["changed"]), (&json!("running"), &json!(true)));
    let after = service.pid().context("it does not run")?;
    assert_ne!(before, after);
    until("CouchDB answers after the restart", async || Ok(service.answers().await)).await?;

    let stopped = client.call("service_stop", json!({})).await?;
    assert_ne!(stopped["state"], "running");
    assert_eq!((stopped["changed"].as_bool(), service.pid()), (Some(true), None));
    assert!(!service.answers().await);
    let waiting = client.call("service_wait", json!({"state": "stopped"})).await?;
    assert_eq!(waiting["changed"], false);
    let (class, message) =
        failure(client.call("service_wait", json!({"state": "running", "within": 1})).await);
    assert_eq!(class, "HostdFailed");
    assert!(message.starts_with("service couchdb is not running after 1 s"), "{message}");

    client.call("service_start", json!({})).await?;
    until("CouchDB answers after the start", async || Ok(service.answers().await)).await?;
    let verbs: Vec<_> =
        hostd.audit()?.iter().map(|line| (line["verb"].clone(), line["outcome"].clone())).collect();
    let expected = [
        ("service-start", "done"),
        ("service-status", "done"),
        ("service-start", "done"),
        ("service-restart", "done"),
        ("service-stop", "done"),
        ("service-wait", "done"),
        ("service-wait", "late"),
        ("service-start", "done"),
    ];
    assert_eq!(verbs, expected.map(|(verb, outcome)| (json!(verb), json!(outcome))));
    Ok(())
}

/// A deliberate stop is not an outage: commands do not wait for it to end, and it survives an agent restart.
#[tokio::test(flavor = "multi_thread")]
async fn a_couchdb_that_was_stopped_on_purpose_is_not_waited_for() -> Result<()> {
    let Some(service) = Service::new()? else { return Ok(()) };
    let hostd = service.helper("").await?;
    hostd.ask(&json!({"id": "first", "verb": "service-start"})).await?;
    let (mut agent, client) = service.agent(&hostd, None).await?;
    let databases = json!({"databases": [{"_name": "orders", "_character_set": "", "_collate": ""}]});
    client.call("service_stop", json!({})).await?;

    for again in [false, true] {
        let client = LocalClient::connect(&agent.socket()).await?;
        assert_eq!(server(&client).await?, "stopped");
        // The retry timeout is a minute.
        let (class, message) = failure(client.call("create_database", databases.clone()).await);
        assert_eq!(class, "CouchDBError");
        assert!(
            message.starts_with("CouchDB was stopped on purpose: an operator starts it with "),
            "{message}"
        );
        if !again {
            agent.kill9()?;
            agent.start_again()?;
            agent.wait_ready().await?;
        }
    }
    let client = LocalClient::connect(&agent.socket()).await?;
    client.call("service_start", json!({})).await?;
    assert_eq!(server(&client).await?, "running");
    client.call("create_database", databases).await?;

    // The service is started without the agent.
    client.call("service_stop", json!({})).await?;
    hostd.ask(&json!({"id": "last", "verb": "service-start"})).await?;
    until("the agent has seen it", async || Ok(server(&client).await? == "running")).await?;
    Ok(())
}

/// `prepare` waits up to ten minutes for a CouchDB that is still starting, but not for a stopped one.
#[tokio::test(flavor = "multi_thread")]
async fn prepare_fails_at_once_while_couchdb_is_stopped_on_purpose() -> Result<()> {
    let Some(service) = Service::new()? else { return Ok(()) };
    let hostd = service.helper("").await?;
    hostd.ask(&json!({"id": "first", "verb": "service-start"})).await?;
    let (_agent, client) = service.agent(&hostd, None).await?;
    let order = json!({"databases": [{"_name": "orders"}], "users": [], "ds_version": "3.5.0"});
    client.call("service_stop", json!({})).await?;

    let failed = prepare(&client, &order).await?;
    assert_eq!(failed["state"], "failed", "{failed}");
    let reason = failed["reason"].as_str().context("no reason")?;
    assert!(
        reason.starts_with("prepare failed at stage \"secure\": CouchDB was stopped on purpose; run "),
        "{reason}"
    );

    client.call("service_start", json!({})).await?;
    let done = prepare(&client, &order).await?;
    assert_eq!(done["state"], "succeeded", "{done}");
    // Its locks are released a moment after its end is recorded.
    until("the database is there", async || {
        let databases = client.call("list_databases", json!({})).await;
        Ok(databases.is_ok_and(|databases| databases.to_string().contains("orders")))
    })
    .await
}

/// The operation of a `prepare`, when it has ended.
async fn prepare(client: &LocalClient, order: &Value) -> Result<Value> {
    let id = client.call("prepare", order.clone()).await?;
    let mut operation = Value::Null;
    until("prepare has ended", async || {
        operation = client.call("operation_show", json!({"operation": id})).await?;
        Ok(!operation["ended"].is_null())
    })
    .await?;
    Ok(operation)
}

/// The agent's state of CouchDB's process.
async fn server(client: &LocalClient) -> Result<String> {
    let status = client.call("get_agent_status", json!({})).await?;
    Ok(status["guest"]["server"].as_str().context("no server")?.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_outside_the_policy_is_refused_and_audited() -> Result<()> {
    let Some(service) = Service::new()? else { return Ok(()) };
    let hostd = service.helper("allow = [\"service-status\", \"service-start\"]").await?;
    hostd.ask(&json!({"id": "first", "verb": "service-start"})).await?;
    let (_agent, client) = service.agent(&hostd, None).await?;

    let (class, message) = failure(client.call("service_restart", json!({"service": "ssh"})).await);
    assert_eq!(class, "Forbidden");
    assert_eq!(
        message,
        "service-restart of service ssh is not allowed by host.toml: its [service] is couchdb"
    );
    let line = last(&hostd)?;
    assert_eq!((&line["service"], &line["outcome"]), (&json!("ssh"), &json!("not-allowed")));

    let before = service.pid();
    let (class, message) = failure(client.call("service_stop", json!({})).await);
    assert_eq!(class, "Forbidden");
    assert!(message.ends_with("add \"service-stop\" to service.allow"), "{message}");
    assert_eq!(last(&hostd)?["outcome"], "not-allowed");
    assert_eq!(service.pid(), before, "it runs on");

    // A name that could be a path is never sent to the helper.
    let (class, _) = failure(client.call("service_status", json!({"service": "../ssh"})).await);
    assert_eq!(class, "InvalidRequest");
    assert_eq!(hostd.audit()?.len(), 3);
    Ok(())
}

/// The helper is killed between stop and start: CouchDB is down, the agent retries, and the next helper
/// finishes the restart.
#[tokio::test(flavor = "multi_thread")]
async fn a_helper_that_is_killed_in_the_middle_of_a_restart_leaves_no_half() -> Result<()> {
    let Some(service) = Service::new()? else { return Ok(()) };
    let mut hostd = service.helper("").await?;
    hostd.ask(&json!({"id": "first", "verb": "service-start"})).await?;
    let (agent, client) = service.agent(&hostd, None).await?;
    let before = service.pid().context("it does not run")?;

    std::fs::write(service.hold(), "")?;
    let restarting = tokio::spawn(async move { client.call("service_restart", json!({})).await });
    until("CouchDB is stopped", async || Ok(service.pid().is_none())).await?;
    hostd.kill9()?;
    agent.wait_log("A command waits for trove-couchdb-hostd", trove_couchdb_tests::until::HUNG).await?;
    assert_eq!(service.pid(), None, "nobody starts it meanwhile");
    std::fs::remove_file(service.hold())?;
    hostd.start_again().await?;

    let restarted = restarting.await??;
    assert_eq!(restarted["state"], "running");
    let after = service.pid().context("it does not run")?;
    assert_ne!(before, after);
    until("CouchDB answers", async || Ok(service.answers().await)).await?;
    let line = last(&hostd)?;
    assert_eq!((&line["verb"], &line["outcome"]), (&json!("service-restart"), &json!("done")));
    hostd.terminate().await?;
    assert!(service.answers().await, "CouchDB outlives the helper");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_without_a_helper_works_and_says_what_is_missing() -> Result<()> {
    use trove_couchdb_tests::local_fixture::LocalFixtureBuilder;

    let fixture = LocalFixtureBuilder::default().set("host.socket", "/nonexistent/hostd.sock").up().await?;
    let (class, message) = failure(fixture.call("service_restart", json!({})).await);
    assert_eq!(class, "NotSupported");
    assert!(message.ends_with("systemctl enable --now trove-couchdb-hostd.socket"), "{message}");
    fixture.databases(&[&fixture.name("db")]).await?;

    let fixture = LocalFixtureBuilder::default().set("host.socket", "").up().await?;
    let (class, message) = failure(fixture.call("service_status", json!({})).await);
    assert_eq!(class, "NotSupported");
    assert!(message.contains("host.socket is empty"), "{message}");
    Ok(())
}

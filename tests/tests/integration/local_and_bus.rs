//! Both ways in at once: one order, one memory of what was done, and a socket that serves while the broker is away.

use std::time::Duration;

use anyhow::Result;
use in_memory_couchdb::{Fault, Options, Rule};
use serde_json::{Value, json};
use trove_couchdb_tests::bus::{CallError, Message, Request};
use trove_couchdb_tests::couch::Credentials;
use trove_couchdb_tests::local::LocalClient;
use trove_couchdb_tests::process::Signal;
use trove_couchdb_tests::rabbitmq::RabbitNode;
use trove_couchdb_tests::stage::Plan;
use trove_couchdb_tests::until::until_hit;

use super::broker_loss::consumes_again;
use super::local_socket::failure;

const LIMIT: Duration = trove_couchdb_tests::until::HUNG;

fn create(name: &str) -> Request {
    Request::new("create_database", json!({"databases": [{"_name": name}]}))
}

/// The same request, to be answered over the socket.
fn over_the_socket(message: &Message) -> Message {
    let mut envelope: Value = serde_json::from_slice(&message.body).unwrap();
    let mut inner: Value = serde_json::from_str(envelope["oslo.message"].as_str().unwrap()).unwrap();
    inner["_reply_q"] = "local".into();
    envelope["oslo.message"] = inner.to_string().into();
    Message { body: envelope.to_string().into_bytes(), ..message.clone() }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_broker_is_away_the_socket_serves() -> Result<()> {
    let mut broker = RabbitNode::start().await?;
    let stage = Plan::default().in_memory(Options::default()).encrypted().up_on(&broker).await?;
    let (running, al) = (stage.name("running"), stage.name("al"));
    // One that came over the bus is under way when the broker dies: its answer has to wait for the broker.
    stage.memory()?.faults().add(Rule::new("PUT", &format!("/{running}"), Fault::Hang));
    stage
        .bus
        .cast(&create(&running).notified(trove_couchdb_tests::bus::notification(&stage.id, "x")))
        .await?;
    until_hit(stage.memory()?).await?;
    broker.stop().await?;
    stage.agent.wait_notification(LIMIT, |line| line.contains("no broker (127.0.0.1:")).await?;
    // In clear, although the guest has a key.
    let local = stage.local().await?;
    let status = local.call("get_agent_status", json!({})).await?;
    assert_eq!(status["broker"]["state"], "down", "{status}");
    assert!(status["broker"]["address"].as_str().unwrap().starts_with("127.0.0.1:"), "{status}");
    assert!(status["broker"]["reason"].is_string() && status["heartbeat"]["status"] == "healthy", "{status}");

    // It waits for what was before it, and for nothing else.
    let list = LocalClient::encode_call(&Request::new("list_databases", json!({})));
    let mut listed = local.expect_answer(&list);
    local.send(&list).await?;
    assert_eq!(local.call("rpc_ping", json!({})).await?, true);
    assert!(!listed.is_settled());
    stage.memory()?.faults().clear();
    assert!(listed.within(LIMIT).await?.to_string().contains(&running));
    let user = trove_couchdb_tests::stage::user_object(&al, &[&running]);
    local.call("create_user", json!({"users": [user]})).await?;
    let login = Credentials::new(&al, &format!("{al}-pw"));
    assert!(stage.client.reads(&running, Some(&login)).await?);
    local.call("revoke_access", json!({"username": al, "hostname": "%", "database": running})).await?;
    assert!(!stage.client.reads(&running, Some(&login)).await?);
    local.call("enable_root", json!({})).await?;
    local.call("disable_root", json!({})).await?;
    assert_eq!(local.call("check_databases", json!({})).await?["public"], json!([]));
    local.call("delete_user", json!({"user": {"_name": al}})).await?;
    local.call("delete_database", json!({"database": {"_name": running}})).await?;

    broker.start_again().await?;
    consumes_again(&stage).await?;
    let status = local.call("get_agent_status", json!({})).await?;
    assert_eq!(
        status["broker"],
        json!({"state": "up", "address": format!("127.0.0.1:{}", broker.port()), "reason": null})
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn both_ways_share_one_order() -> Result<()> {
    let stage = Plan::default().in_memory(Options::default()).up().await?;
    let (db, al) = (stage.name("db"), stage.name("al"));
    let local = stage.local().await?;
    local.call("create_database", json!({"databases": [{"_name": db}]})).await?;
    stage.user(&al, &[]).await?;
    stage.memory()?.faults().add(Rule::new("PUT", "*/_security", Fault::Hang));
    let args = json!({"username": al, "hostname": "%", "databases": [db]});
    let grant = stage.bus.encode_call(&Request::new("grant_access", args));
    let granted = stage.bus.expect_reply(&grant);
    stage.bus.send(&grant).await?;
    until_hit(stage.memory()?).await?;
    // From the socket, on the same user; and from the bus, behind it.
    let access =
        LocalClient::encode_call(&Request::new("list_access", json!({"username": al, "hostname": "%"})));
    let mut accessed = local.expect_answer(&access);
    local.send(&access).await?;
    let delete = LocalClient::encode_call(&Request::new("delete_user", json!({"user": {"_name": al}})));
    let mut deleted = local.expect_answer(&delete);
    local.send(&delete).await?;
    // Answered behind both of them, so both have been looked at.
    assert_eq!(local.call("rpc_ping", json!({})).await?, true);
    assert!(!accessed.is_settled() && !deleted.is_settled());
    let gone = stage.bus.encode_call(&Request::new("get_user", json!({"username": al, "hostname": "%"})));
    let read = stage.bus.expect_reply(&gone);
    stage.bus.send(&gone).await?;
    stage.memory()?.faults().clear();
    granted.within(LIMIT).await?;
    assert!(accessed.within(LIMIT).await?.to_string().contains(&db), "after the grant, before the deletion");
    deleted.within(LIMIT).await?;
    assert_eq!(read.within(LIMIT).await?, Value::Null);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_message_over_both_ways_runs_once() -> Result<()> {
    let stage = Plan::default().in_memory(Options::default()).up().await?;
    let (db, local) = (stage.name("db"), stage.local().await?);
    stage.memory()?.faults().add(Rule::new("PUT", &format!("/{db}"), Fault::Hang));
    let message = stage.bus.encode_call(&create(&db));
    let over_bus = stage.bus.expect_reply(&message);
    stage.bus.send(&message).await?;
    until_hit(stage.memory()?).await?;
    let again = over_the_socket(&message);
    let mut over_socket = local.expect_answer(&again);
    local.send(&again).await?;
    assert_eq!(local.call("rpc_ping", json!({})).await?, true);
    assert!(!over_socket.is_settled(), "it waits for the first");
    stage.memory()?.faults().clear();
    assert_eq!(over_bus.within(LIMIT).await?, Value::Null);
    assert_eq!(over_socket.within(LIMIT).await?, Value::Null, "who sent it twice hears twice how it ended");
    assert_eq!(stage.memory()?.log().count("PUT", &format!("/{db}")), 1);

    // The other way round, and with an answer that is not kept.
    let message = stage.bus.encode_call(&Request::new("enable_root", json!({})));
    let first = over_the_socket(&message);
    let answer = local.expect_answer(&first);
    local.send(&first).await?;
    assert!(answer.within(LIMIT).await?["_password"].is_string());
    let reply = stage.bus.expect_reply(&message);
    stage.bus.send(&message).await?;
    assert_eq!(failure(reply.within(LIMIT).await).class, "Duplicate");
    assert_eq!(stage.memory()?.log().count("PUT", "*/admins/root"), 1);
    let status = local.call("get_agent_status", json!({})).await?;
    assert_eq!(status["commands"]["duplicates"], 2, "{status}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn at_the_end_what_runs_is_answered_and_what_waits_is_told() -> Result<()> {
    let mut stage = Plan::default().in_memory(Options::default()).up().await?;
    let (db, local) = (stage.name("db"), stage.local().await?);
    stage.memory()?.faults().add(Rule::new("PUT", &format!("/{db}"), Fault::Hang));
    let call = LocalClient::encode_call(&create(&db));
    let created = local.expect_answer(&call);
    local.send(&call).await?;
    let list = LocalClient::encode_call(&Request::new("list_databases", json!({})));
    let listed = local.expect_answer(&list);
    local.send(&list).await?;
    until_hit(stage.memory()?).await?;
    let idle = stage.local().await?;
    assert_eq!(local.call("rpc_ping", json!({})).await?, true);
    assert_eq!(idle.call("rpc_ping", json!({})).await?, true);
    stage.agent.signal(Signal::TERM)?;
    let told = failure(listed.within(LIMIT).await);
    assert_eq!(told.class, "Stopping");
    assert!(idle.hung_up(LIMIT).await?.is_none());
    stage.memory()?.faults().clear();
    let status = stage.agent.exit_within(LIMIT).await?;
    assert!(status.success(), "{status}");
    created.within(LIMIT).await?;
    assert!(!stage.agent.socket().exists());
    Ok(())
}

/// A failed cast of an operator is nothing that Trove's API has to end.
#[tokio::test(flavor = "multi_thread")]
async fn the_conductor_does_not_hear_of_local_commands() -> Result<()> {
    let stage = Plan::default().up().await?;
    let local = stage.local().await?;
    let notification = trove_couchdb_tests::bus::notification(&stage.id, "x");
    let cast = LocalClient::encode_cast(&create(&stage.name("db")).notified(notification));
    local.send(&cast).await?;
    assert!(local.call("list_databases", json!({})).await?.to_string().contains(&stage.name("db")));
    stage.must_cast("rpc_ping", json!({})).await?;
    let ends =
        stage.conductor.received().iter().filter(|cast| format!("{cast:?}").contains("NotifyEnd")).count();
    assert_eq!(ends, 1, "that of the bus");
    Ok(())
}

/// A request that is encrypted for the bus is not taken over the socket, and the other way round.
#[tokio::test(flavor = "multi_thread")]
async fn the_key_protects_the_bus_only() -> Result<()> {
    let stage = Plan::default().encrypted().up().await?;
    let local = stage.local().await?;
    assert_eq!(local.call("rpc_ping", json!({})).await?, true);
    let sealed = over_the_socket(&stage.bus.encode_call(&Request::new("rpc_ping", json!({}))));
    let answer = local.expect_answer(&sealed);
    local.send(&sealed).await?;
    assert!(failure(answer.within(LIMIT).await).message.contains("encrypted"));
    let clear = LocalClient::encode_call(&Request::new("rpc_ping", json!({})));
    let mut clear_on_bus = clear.clone();
    let inner = String::from_utf8(clear.body)?
        .replace("\\\"local\\\"", &format!("\\\"{}\\\"", stage.bus.reply_queue()));
    clear_on_bus.body = inner.into_bytes();
    let reply = stage.bus.expect_reply(&clear_on_bus);
    stage.bus.send(&clear_on_bus).await?;
    match reply.within(LIMIT).await {
        Err(CallError::Failure(failure)) => {
            assert!(failure.message.contains("must be encrypted"), "{failure}");
        }
        other => panic!("{other:?}"),
    }
    Ok(())
}

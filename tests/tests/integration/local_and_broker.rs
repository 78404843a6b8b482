//! Both transports at once: one order, one record of finished commands, and a socket that works while the
//! broker is down.

use std::time::Duration;

use anyhow::Result;
use in_memory_couchdb::{Fault, Options, Rule};
use serde_json::{Value, json};
use trove_couchdb_tests::couch::Credentials;
use trove_couchdb_tests::fixture::FixtureBuilder;
use trove_couchdb_tests::local::LocalClient;
use trove_couchdb_tests::process::Signal;
use trove_couchdb_tests::rabbitmq::RabbitNode;
use trove_couchdb_tests::rpc::{CallError, Message, Request};
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
async fn during_an_outage_of_the_broker_the_socket_serves() -> Result<()> {
    let mut broker = RabbitNode::start().await?;
    let fixture = FixtureBuilder::default().in_memory(Options::default()).encrypted().up_on(&broker).await?;
    let (running, al) = (fixture.name("running"), fixture.name("al"));
    // A command from the broker is in flight when the broker dies: its reply must wait for the broker.
    fixture.memory()?.faults().add(Rule::new("PUT", &format!("/{running}"), Fault::Hang));
    fixture
        .rpc
        .cast(&create(&running).notified(trove_couchdb_tests::rpc::notification(&fixture.id, "x")))
        .await?;
    until_hit(fixture.memory()?).await?;
    broker.stop().await?;
    fixture.agent.wait_notification(LIMIT, |line| line.contains("no broker (127.0.0.1:")).await?;
    // Unencrypted, although the guest has a key.
    let local = fixture.local().await?;
    let status = local.call("get_agent_status", json!({})).await?;
    assert_eq!(status["broker"]["state"], "down", "{status}");
    assert!(status["broker"]["address"].as_str().unwrap().starts_with("127.0.0.1:"), "{status}");
    assert!(status["broker"]["reason"].is_string() && status["heartbeat"]["status"] == "healthy", "{status}");

    // It waits only for earlier commands.
    let list = LocalClient::encode_call(&Request::new("list_databases", json!({})));
    let mut listed = local.expect_answer(&list);
    local.send(&list).await?;
    assert_eq!(local.call("rpc_ping", json!({})).await?, true);
    assert!(!listed.is_settled());
    fixture.memory()?.faults().clear();
    assert!(listed.within(LIMIT).await?.to_string().contains(&running));
    let user = trove_couchdb_tests::fixture::user_object(&al, &[&running]);
    local.call("create_user", json!({"users": [user]})).await?;
    let login = Credentials::new(&al, &format!("{al}-pw"));
    assert!(fixture.client.reads(&running, Some(&login)).await?);
    local.call("revoke_access", json!({"username": al, "hostname": "%", "database": running})).await?;
    assert!(!fixture.client.reads(&running, Some(&login)).await?);
    local.call("enable_root", json!({})).await?;
    local.call("disable_root", json!({})).await?;
    assert_eq!(local.call("check_databases", json!({})).await?["public"], json!([]));
    local.call("delete_user", json!({"user": {"_name": al}})).await?;
    local.call("delete_database", json!({"database": {"_name": running}})).await?;

    broker.start_again().await?;
    consumes_again(&fixture).await?;
    let status = local.call("get_agent_status", json!({})).await?;
    assert_eq!(
        status["broker"],
        json!({"state": "up", "address": format!("127.0.0.1:{}", broker.port()), "reason": null})
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn both_ways_share_one_order() -> Result<()> {
    let fixture = FixtureBuilder::default().in_memory(Options::default()).up().await?;
    let (db, al) = (fixture.name("db"), fixture.name("al"));
    let local = fixture.local().await?;
    local.call("create_database", json!({"databases": [{"_name": db}]})).await?;
    fixture.user(&al, &[]).await?;
    fixture.memory()?.faults().add(Rule::new("PUT", "*/_security", Fault::Hang));
    let args = json!({"username": al, "hostname": "%", "databases": [db]});
    let grant = fixture.rpc.encode_call(&Request::new("grant_access", args));
    let granted = fixture.rpc.expect_reply(&grant);
    fixture.rpc.send(&grant).await?;
    until_hit(fixture.memory()?).await?;
    // One command from the socket on the same user, and then one from the broker.
    let access =
        LocalClient::encode_call(&Request::new("list_access", json!({"username": al, "hostname": "%"})));
    let mut accessed = local.expect_answer(&access);
    local.send(&access).await?;
    let delete = LocalClient::encode_call(&Request::new("delete_user", json!({"user": {"_name": al}})));
    let mut deleted = local.expect_answer(&delete);
    local.send(&delete).await?;
    // Answered after both, so both have been received.
    assert_eq!(local.call("rpc_ping", json!({})).await?, true);
    assert!(!accessed.is_settled() && !deleted.is_settled());
    let gone = fixture.rpc.encode_call(&Request::new("get_user", json!({"username": al, "hostname": "%"})));
    let read = fixture.rpc.expect_reply(&gone);
    fixture.rpc.send(&gone).await?;
    fixture.memory()?.faults().clear();
    granted.within(LIMIT).await?;
    assert!(accessed.within(LIMIT).await?.to_string().contains(&db), "after the grant, before the deletion");
    deleted.within(LIMIT).await?;
    assert_eq!(read.within(LIMIT).await?, Value::Null);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_message_over_both_ways_runs_once() -> Result<()> {
    let fixture = FixtureBuilder::default().in_memory(Options::default()).up().await?;
    let (db, local) = (fixture.name("db"), fixture.local().await?);
    fixture.memory()?.faults().add(Rule::new("PUT", &format!("/{db}"), Fault::Hang));
    let message = fixture.rpc.encode_call(&create(&db));
    let over_broker = fixture.rpc.expect_reply(&message);
    fixture.rpc.send(&message).await?;
    until_hit(fixture.memory()?).await?;
    let again = over_the_socket(&message);
    let mut over_socket = local.expect_answer(&again);
    local.send(&again).await?;
    assert_eq!(local.call("rpc_ping", json!({})).await?, true);
    assert!(!over_socket.is_settled(), "it waits for the first");
    fixture.memory()?.faults().clear();
    assert_eq!(over_broker.within(LIMIT).await?, Value::Null);
    assert_eq!(over_socket.within(LIMIT).await?, Value::Null, "who sent it twice hears twice how it ended");
    assert_eq!(fixture.memory()?.log().count("PUT", &format!("/{db}")), 1);

    // The other way round, and with a reply that is not stored.
    let message = fixture.rpc.encode_call(&Request::new("enable_root", json!({})));
    let first = over_the_socket(&message);
    let answer = local.expect_answer(&first);
    local.send(&first).await?;
    assert!(answer.within(LIMIT).await?["_password"].is_string());
    let reply = fixture.rpc.expect_reply(&message);
    fixture.rpc.send(&message).await?;
    assert_eq!(failure(reply.within(LIMIT).await).class, "Duplicate");
    assert_eq!(fixture.memory()?.log().count("PUT", "*/admins/root"), 1);
    let status = local.call("get_agent_status", json!({})).await?;
    assert_eq!(status["commands"]["duplicates"], 2, "{status}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn at_the_end_what_runs_is_answered_and_what_waits_gets_an_error() -> Result<()> {
    let mut fixture = FixtureBuilder::default().in_memory(Options::default()).up().await?;
    let (db, local) = (fixture.name("db"), fixture.local().await?);
    fixture.memory()?.faults().add(Rule::new("PUT", &format!("/{db}"), Fault::Hang));
    let call = LocalClient::encode_call(&create(&db));
    let created = local.expect_answer(&call);
    local.send(&call).await?;
    let list = LocalClient::encode_call(&Request::new("list_databases", json!({})));
    let listed = local.expect_answer(&list);
    local.send(&list).await?;
    until_hit(fixture.memory()?).await?;
    let idle = fixture.local().await?;
    assert_eq!(local.call("rpc_ping", json!({})).await?, true);
    assert_eq!(idle.call("rpc_ping", json!({})).await?, true);
    fixture.agent.signal(Signal::TERM)?;
    let reported = failure(listed.within(LIMIT).await);
    assert_eq!(reported.class, "Stopping");
    assert!(idle.hung_up(LIMIT).await?.is_none());
    fixture.memory()?.faults().clear();
    let status = fixture.agent.exit_within(LIMIT).await?;
    assert!(status.success(), "{status}");
    created.within(LIMIT).await?;
    assert!(!fixture.agent.socket().exists());
    Ok(())
}

/// The failure of an operator's cast is not a notification that Trove's API must end.
#[tokio::test(flavor = "multi_thread")]
async fn the_conductor_does_not_hear_of_local_commands() -> Result<()> {
    let fixture = FixtureBuilder::default().up().await?;
    let local = fixture.local().await?;
    let notification = trove_couchdb_tests::rpc::notification(&fixture.id, "x");
    let cast = LocalClient::encode_cast(&create(&fixture.name("db")).notified(notification));
    local.send(&cast).await?;
    assert!(local.call("list_databases", json!({})).await?.to_string().contains(&fixture.name("db")));
    fixture.must_cast("rpc_ping", json!({})).await?;
    let ends =
        fixture.conductor.received().iter().filter(|cast| format!("{cast:?}").contains("NotifyEnd")).count();
    assert_eq!(ends, 1, "that of the broker");
    Ok(())
}

/// A request encrypted for the broker is not accepted over the socket, and vice versa.
#[tokio::test(flavor = "multi_thread")]
async fn the_key_protects_the_broker_only() -> Result<()> {
    let fixture = FixtureBuilder::default().encrypted().up().await?;
    let local = fixture.local().await?;
    assert_eq!(local.call("rpc_ping", json!({})).await?, true);
    let sealed = over_the_socket(&fixture.rpc.encode_call(&Request::new("rpc_ping", json!({}))));
    let answer = local.expect_answer(&sealed);
    local.send(&sealed).await?;
    assert!(failure(answer.within(LIMIT).await).message.contains("encrypted"));
    let clear = LocalClient::encode_call(&Request::new("rpc_ping", json!({})));
    let mut clear_on_broker = clear.clone();
    let inner = String::from_utf8(clear.body)?
        .replace("\\\"local\\\"", &format!("\\\"{}\\\"", fixture.rpc.reply_queue()));
    clear_on_broker.body = inner.into_bytes();
    let reply = fixture.rpc.expect_reply(&clear_on_broker);
    fixture.rpc.send(&clear_on_broker).await?;
    match reply.within(LIMIT).await {
        Err(CallError::Failure(failure)) => {
            assert!(failure.message.contains("must be encrypted"), "{failure}");
        }
        other => panic!("{other:?}"),
    }
    Ok(())
}

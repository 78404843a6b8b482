//! A command keeps its lock until its outcome is on the disk; later deliveries are answered but not run
//! again.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use in_memory_couchdb::{Fault, Options, Rule};
use lapin::options::{BasicGetOptions, BasicPublishOptions, QueueDeclareOptions, QueuePurgeOptions};
use lapin::types::{AMQPValue, FieldTable};
use serde_json::{Value, json};
use trove_couchdb_protocol::{Outcome, decode_reply, envelope, new_id};
use trove_couchdb_tests::couch::Credentials;
use trove_couchdb_tests::fixture::{Fixture, FixtureBuilder};
use trove_couchdb_tests::rabbitmq::RabbitNode;
use trove_couchdb_tests::rpc::{Request, notification};
use trove_couchdb_tests::until::{until, until_hit};

use super::local_socket::failure;

/// Only stops a hung test.
const LIMIT: Duration = Duration::from_secs(300);

fn database(method: &str, name: &str) -> Request {
    let args = match method {
        "create_database" => json!({"databases": [{"_name": name}]}),
        _ => json!({"database": {"_name": name}}),
    };
    Request::new(method, args)
}

async fn send(fixture: &Fixture, request: Request) -> Result<()> {
    let notification = notification(&fixture.id, "x");
    fixture.rpc.cast(&request.notified(notification)).await
}

/// Waits until the agent has received all messages.
async fn all_is_delivered(fixture: &Fixture) -> Result<()> {
    let channel = fixture.rpc.channel().await?;
    until("the delivery", async || {
        let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let queue = channel.queue_declare(fixture.rpc.topic().into(), passive, FieldTable::default()).await?;
        Ok(queue.message_count() == 0)
    })
    .await
}

fn durable() -> FixtureBuilder {
    FixtureBuilder::default().in_memory(Options::default()).oslo("amqp_durable_queues = true")
}

async fn put_document(fixture: &Fixture, db: &str) -> Result<()> {
    let (status, body) =
        fixture.client.put(&format!("/{db}/kept"), Some(fixture.couch.admin()), &json!({"a": 1})).await?;
    anyhow::ensure!(status.is_success(), "{status} {body}");
    Ok(())
}

async fn document_is_there(fixture: &Fixture, db: &str) -> Result<bool> {
    Ok(fixture.client.get(&format!("/{db}/kept"), Some(fixture.couch.admin())).await?.0.is_success())
}

/// The broker dies while a database is deleted and the creation of a new database with the same name waits.
/// Both are carried out, a tenant writes to the new database, the agent dies, and the broker delivers both
/// again.
///
/// Mutation: outcome-not-recorded (docs/guarantees.md).
#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_was_made_after_a_deletion_survives_its_second_delivery() -> Result<()> {
    let mut broker = RabbitNode::start().await?;
    let mut fixture = durable().up_on(&broker).await?;
    let db = fixture.name("db");
    fixture.databases(&[&db]).await?;
    fixture.memory()?.faults().add(Rule::new("DELETE", &format!("/{db}"), Fault::Hang).times(1));
    send(&fixture, database("delete_database", &db)).await?;
    until_hit(fixture.memory()?).await?;
    send(&fixture, database("create_database", &db)).await?;
    all_is_delivered(&fixture).await?;
    broker.kill9()?;
    fixture.agent.wait_log("No connection to the broker", LIMIT).await?;
    let done = |fixture: &Fixture| fixture.agent.logs().matches("Done. method=\"create_database\"").count();
    fixture.memory()?.faults().clear();
    until("the new database", async || Ok(done(&fixture) == 2)).await?;
    put_document(&fixture, &db).await?;
    // The outcome is written shortly after the command ends.
    let outcomes = fixture.agent.directory().join("state/outcomes");
    let recorded = || std::fs::read_to_string(&outcomes).map_or(0, |text| text.matches("\"done\"").count());
    until("the outcomes", async || Ok(recorded() >= 3)).await?;
    fixture.agent.kill9()?;
    broker.start_again().await?;
    fixture.agent.start_again()?;
    fixture.agent.wait_ready().await?;
    let rpc = trove_couchdb_tests::rpc::RpcClient::connect(
        &broker.amqp_uri(),
        fixture.exchange(),
        &fixture.id,
        None,
    )
    .await?;
    let read = Request::new("list_databases", json!({})).timeout(LIMIT);
    assert!(rpc.request(&read).await?.to_string().contains(&db));
    assert!(document_is_there(&fixture, &db).await?, "a second run of the deletion has destroyed it");
    Ok(())
}

/// While the first command runs, a command from the local socket waits for it, although the connection for
/// the first one's acknowledgement is lost; afterwards the local command does not wait for the broker.
#[tokio::test(flavor = "multi_thread")]
async fn a_local_command_waits_for_the_end_of_an_earlier_one_and_not_for_the_broker() -> Result<()> {
    let mut broker = RabbitNode::start().await?;
    let mut fixture = durable().up_on(&broker).await?;
    let db = fixture.name("db");
    fixture.databases(&[&db]).await?;
    fixture.memory()?.faults().add(Rule::new("DELETE", &format!("/{db}"), Fault::Hang).times(1));
    send(&fixture, database("delete_database", &db)).await?;
    until_hit(fixture.memory()?).await?;
    broker.kill9()?;
    fixture.agent.wait_log("No connection to the broker", LIMIT).await?;
    let local = fixture.local().await?;
    let create = trove_couchdb_tests::local::LocalClient::encode_call(&database("create_database", &db));
    let mut created = local.expect_answer(&create);
    local.send(&create).await?;
    assert_eq!(local.call("rpc_ping", json!({})).await?, true);
    assert!(!created.is_settled());
    fixture.memory()?.faults().clear();
    created.within(LIMIT).await?;
    put_document(&fixture, &db).await?;
    fixture.agent.kill9()?;
    broker.start_again().await?;
    fixture.agent.start_again()?;
    fixture.agent.wait_ready().await?;
    let local = fixture.local().await?;
    assert!(local.call("list_databases", json!({})).await?.to_string().contains(&db));
    // The deletion was redelivered and recognised.
    until("the redelivery", async || {
        Ok(local.call("get_agent_status", json!({})).await?["commands"]["duplicates"] != json!(0))
    })
    .await?;
    assert!(document_is_there(&fixture, &db).await?);
    Ok(())
}

/// The disk refuses an outcome, and the broker cannot take an acknowledgement: later commands do not run
/// until one of them works, and local callers get the reason.
///
/// Fails if the lock is released as soon as the command has ended.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_disk_a_command_keeps_its_lock_and_local_ones_get_the_reason() -> Result<()> {
    let mut broker = RabbitNode::start().await?;
    let mut fixture = durable().up_on(&broker).await?;
    let (db, other) = (fixture.name("db"), fixture.name("other"));
    fixture.databases(&[&db]).await?;
    // A directory in place of the file: it can be neither appended to nor replaced.
    let file = fixture.agent.directory().join("state/outcomes");
    fixture.agent.terminate().await?;
    std::fs::remove_file(&file).context("no outcomes")?;
    std::fs::create_dir(&file)?;
    fixture.agent.start_again()?;
    fixture.agent.wait_ready().await?;
    fixture.memory()?.faults().add(Rule::new("DELETE", &format!("/{db}"), Fault::Hang).times(1));
    send(&fixture, database("delete_database", &db)).await?;
    until_hit(fixture.memory()?).await?;
    send(&fixture, database("create_database", &db)).await?;
    all_is_delivered(&fixture).await?;
    broker.kill9()?;
    fixture.agent.wait_log("No connection to the broker", LIMIT).await?;
    fixture.memory()?.faults().clear();
    fixture.agent.wait_log("can't be written down", LIMIT).await?;
    let local = fixture.local().await?;
    let reported = failure(local.call("create_database", json!({"databases": [{"_name": db}]})).await);
    assert!(reported.message.contains("can't be written to the agent's state directory"), "{reported}");
    assert_eq!(reported.class, "Busy");
    local.call("create_database", json!({"databases": [{"_name": other}]})).await?;
    let (status, _) = fixture.client.get(&format!("/{db}"), Some(fixture.couch.admin())).await?;
    assert_eq!(status.as_u16(), 404, "the command behind it has run");
    std::fs::remove_dir(&file)?;
    until("the new database", async || {
        Ok(fixture.client.get(&format!("/{db}"), Some(fixture.couch.admin())).await?.0.is_success())
    })
    .await?;
    let again = local.call("create_database", json!({"databases": [{"_name": db}]})).await;
    assert!(again.is_ok(), "{again:?}");
    Ok(())
}

/// The agent dies during a deletion, and its next run finds no broker: a local command must not create the
/// database again, because the second run of the deletion would destroy it.
///
/// Fails if the beginning of a command is not recorded.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_interrupted_comes_again_before_a_local_command() -> Result<()> {
    let mut broker = RabbitNode::start().await?;
    let mut fixture = durable().up_on(&broker).await?;
    let (db, other) = (fixture.name("db"), fixture.name("other"));
    fixture.databases(&[&db]).await?;
    fixture.memory()?.faults().add(Rule::new("DELETE", &format!("/{db}"), Fault::Hang).times(1));
    send(&fixture, database("delete_database", &db)).await?;
    until_hit(fixture.memory()?).await?;
    broker.kill9()?;
    fixture.agent.kill9()?;
    fixture.memory()?.faults().clear();
    fixture.agent.start_again()?;
    let local = async || -> Result<_> {
        until("the socket", async || Ok(fixture.local().await.is_ok())).await?;
        fixture.local().await
    };
    let local = local().await?;
    let create = json!({"databases": [{"_name": db}]});
    // The first call may fail because the agent has not logged in yet.
    until("the refusal", async || {
        let reported = local.call("create_database", create.clone()).await;
        Ok(reported.is_err_and(|error| error.to_string().contains("was interrupted and may be half done")))
    })
    .await?;
    local.call("create_database", json!({"databases": [{"_name": other}]})).await?;
    broker.start_again().await?;
    until("the second run", async || Ok(local.call("create_database", create.clone()).await.is_ok())).await?;
    put_document(&fixture, &db).await?;
    assert_eq!(fixture.agent.logs().matches("Done. method=\"delete_database\"").count(), 1);
    assert!(document_is_there(&fixture, &db).await?);
    Ok(())
}

/// The next reply in a queue.
async fn answer_in(fixture: &Fixture, queue: &str) -> Result<Value> {
    let channel = fixture.rpc.channel().await?;
    let mut answer = None;
    until("the answer", async || {
        let got = channel.basic_get(queue.into(), BasicGetOptions { no_ack: true }).await?;
        answer = got.and_then(|got| decode_reply(&got.delivery.data, None).ok());
        Ok(answer.is_some())
    })
    .await?;
    match answer.context("no answer")?.outcome {
        Outcome::Success(value) => Ok(value),
        Outcome::Failure(failure) => bail!("{failure}"),
    }
}

/// A generated password was set but its answer could not be sent; the agent dies, and its next run first
/// changes `os_admin`'s own password, which is due. The password in the answer is the effective one.
///
/// Mutation: root-password-of-chance (docs/guarantees.md).
#[tokio::test(flavor = "multi_thread")]
async fn a_generated_root_password_that_was_answered_late_holds() -> Result<()> {
    let mut fixture = FixtureBuilder::default().in_memory(Options::default()).up().await?;
    let queue = format!("reply_{}", new_id());
    let channel = fixture.rpc.channel().await?;
    let mut full = FieldTable::default();
    full.insert("x-max-length".into(), AMQPValue::LongInt(1));
    full.insert("x-overflow".into(), AMQPValue::LongString("reject-publish".into()));
    channel.queue_declare(queue.as_str().into(), QueueDeclareOptions::default(), full).await?;
    let properties = trove_couchdb_guest::broker::properties();
    let options = BasicPublishOptions::default();
    drop(channel.basic_publish("".into(), queue.as_str().into(), options, b"full", properties).await?);
    let call = envelope::encode(&json!({
        "method": "enable_root", "args": {}, "version": "1.0", "_msg_id": new_id(), "_reply_q": queue,
        "_timeout": null, "_unique_id": new_id(),
    }));
    fixture.rpc.publish_raw(&call).await?;
    fixture.agent.wait_log("The broker could not take a message", LIMIT).await?;
    fixture.agent.kill9()?;
    let file = fixture.agent.credentials_file();
    let mut credentials: Value = serde_json::from_str(&std::fs::read_to_string(&file)?)?;
    credentials["since"] = json!(9);
    std::fs::write(&file, credentials.to_string())?;
    fixture.agent.options().settings.push(("couchdb.rotate_os_admin_after".to_owned(), 3600.into()));
    fixture.memory()?.log().clear();
    channel.queue_purge(queue.as_str().into(), QueuePurgeOptions::default()).await?;
    fixture.agent.start_again()?;
    fixture.agent.wait_ready().await?;
    let answer = answer_in(&fixture, &queue).await?;
    until("another password of os_admin", async || {
        let now: Value = serde_json::from_str(&std::fs::read_to_string(&file)?)?;
        Ok(now["password"] != credentials["password"] && now["next_password"].is_null())
    })
    .await?;
    let root = Credentials::new("root", answer["_password"].as_str().context("no password")?);
    assert!(
        fixture.client.get("/_session", Some(&root)).await?.0.is_success(),
        "the shown password does not hold"
    );
    assert_eq!(fixture.memory()?.log().count("PUT", "*/admins/root"), 0, "it was answered, not run");
    let outcomes = fixture.agent.directory().join("state/outcomes");
    until("the end of the seed", async || Ok(!std::fs::read_to_string(&outcomes)?.contains("\"answered\"")))
        .await?;
    Ok(())
}

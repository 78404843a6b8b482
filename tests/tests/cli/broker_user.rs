//! The account from `broker-user`: created by the printed commands, used by an agent, and attacked with what
//! a tenant finds on the instance.

use std::fmt::Debug;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lapin::options::{
    BasicConsumeOptions, BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, ExchangeDeclareOptions,
    ExchangeDeleteOptions, QueueBindOptions, QueueDeclareOptions, QueueDeleteOptions, QueuePurgeOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties, ExchangeKind};
use serde_json::{Value, json};
use trove_couchdb_protocol::new_id;
use trove_couchdb_protocol::trove::ConductorCast;
use trove_couchdb_tests::fixture::{Fixture, FixtureBuilder};
use trove_couchdb_tests::rabbitmq::{self, RabbitNode};

use crate::doctor_host::Found;
use crate::tool::{Tool, private};

/// Four runs of `rabbitmqctl`, each of which starts an Erlang VM.
const SCRIPT_LIMIT: Duration = trove_couchdb_tests::until::HUNG;
const LIMIT: Duration = trove_couchdb_tests::until::HUNG;

/// Runs the output of `broker-user`, as an operator does who pipes it into a shell.
async fn run_script(broker: &RabbitNode, script: &str) -> Result<()> {
    let path = format!("{}:/usr/bin:/bin", broker.rabbitmqctl()?.display());
    let mut shell = tokio::process::Command::new("/bin/sh");
    shell.args(["-c", script]).env_clear().env("PATH", path).stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(SCRIPT_LIMIT, shell.output()).await.context("rabbitmqctl hangs")??;
    ensure!(output.status.success(), "{script}\n{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// An agent that uses its instance's own account, and that account's name and password.
async fn on_its_own_account(broker: &RabbitNode) -> Result<(Fixture, String, String)> {
    let mut fixture =
        FixtureBuilder::default().encrypted().set("heartbeat.interval", 1).up_on(broker).await?;
    let account = Tool::broker(&fixture.agent, &fixture.id);
    let script = account.must(&["broker-user"]).await?;
    run_script(broker, &script).await?;
    let url = script.lines().find_map(|line| line.strip_prefix("# transport_url = ")).context("no URL")?;
    let user = format!("guestagent-{}", fixture.id);
    let password = script.split('\'').nth(3).context("no password")?.to_owned();
    // As the script says: after the files that Trove injected.
    let file = fixture.agent.directory().join("conf.d/zz-broker-user.conf");
    private(&file, &format!("[DEFAULT]\ntransport_url = {url}\n"))?;
    fixture.agent.terminate().await?;
    fixture.agent.start_again()?;
    fixture.agent.wait_ready().await?;
    // The node may write its log later.
    let login = format!("user '{user}' authenticated and granted access");
    let seen = async {
        while !broker.log().contains(&login) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(LIMIT, seen)
        .await
        .with_context(|| format!("not {user}:\n{}", fixture.agent.logs()))?;
    Ok((fixture, user, password))
}

async fn every_kind_of_command_works(fixture: &Fixture) -> Result<()> {
    let round = new_id();
    let (db, al) = (fixture.name(&format!("db-{round}")), fixture.name(&format!("al-{round}")));
    fixture.databases(&[&db]).await?;
    let login = fixture.user(&al, &[&db]).await?;
    assert!(fixture.client.reads(&db, Some(&login)).await?);
    assert!(fixture.call("list_users", json!({})).await?.to_string().contains(&al));
    assert_eq!(fixture.call("rpc_ping", json!({})).await?, true);
    // A failed call, and a failed cast that is reported to the conductor.
    assert!(fixture.call("grant_access", json!({"username": al, "databases": ["nowhere"]})).await.is_err());
    assert!(fixture.cast("create_user", json!({"users": [{"_name": "_bad"}]})).await?.is_err());
    fixture.conductor.next(LIMIT, |cast| matches!(cast, ConductorCast::Heartbeat { .. })).await?;
    Ok(())
}

/// The broker answered 403.
fn assert_refused<T: Debug>(what: &str, result: Result<T, lapin::Error>) {
    match result {
        Err(error)
            if error.to_string().contains("ACCESS_REFUSED")
                || error.to_string().contains("ACCESS-REFUSED") => {}
        other => panic!("{what} is not refused: {other:?}"),
    }
}

/// The actions that a tenant tries with its instance's account. Each refusal closes the channel.
struct Tenant {
    connection: Connection,
}

impl Tenant {
    async fn channel(&self) -> Result<Channel> {
        let channel = self.connection.create_channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        Ok(channel)
    }

    async fn publish(&self, exchange: &str, key: &str) -> Result<(), lapin::Error> {
        let channel = self.connection.create_channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        let (exchange, key) = (exchange.into(), key.into());
        let options = BasicPublishOptions::default();
        // A refusal closes the channel instead of confirming.
        channel
            .basic_publish(exchange, key, options, b"{}", BasicProperties::default())
            .await?
            .await
            .map(drop)
    }

    async fn bind(&self, queue: &str, exchange: &str, key: &str) -> Result<(), lapin::Error> {
        let channel = self.connection.create_channel().await?;
        let options = QueueBindOptions::default();
        channel.queue_bind(queue.into(), exchange.into(), key.into(), options, FieldTable::default()).await
    }

    async fn can_neither_read_nor_change_the_queue(&self, queue: &str) -> Result<()> {
        let consume = BasicConsumeOptions::default();
        let consumed = self
            .channel()
            .await?
            .basic_consume(queue.into(), "".into(), consume, FieldTable::default())
            .await;
        assert_refused(&format!("consuming {queue}"), consumed.map(drop));
        let got = self.channel().await?.basic_get(queue.into(), BasicGetOptions::default()).await;
        assert_refused(&format!("reading {queue}"), got.map(drop));
        let purged = self.channel().await?.queue_purge(queue.into(), QueuePurgeOptions::default()).await;
        assert_refused(&format!("purging {queue}"), purged);
        let deleted = self.channel().await?.queue_delete(queue.into(), QueueDeleteOptions::default()).await;
        assert_refused(&format!("deleting {queue}"), deleted);
        let declare = QueueDeclareOptions::default();
        let declared =
            self.channel().await?.queue_declare(queue.into(), declare, FieldTable::default()).await;
        assert_refused(&format!("declaring {queue}"), declared);
        Ok(())
    }
}

/// Fails if a pattern of `Permissions::of_guest` is too wide, if the topic permissions are missing, or if the
/// agent insists on declaring the control exchange.
#[tokio::test(flavor = "multi_thread")]
async fn an_agent_works_on_its_own_account_and_a_tenant_reaches_no_other_guest_with_it() -> Result<()> {
    let broker = rabbitmq::shared().await?;
    let (mut fixture, user, password) = on_its_own_account(broker).await?;
    every_kind_of_command_works(&fixture).await?;
    let found = Found::by(&Tool::configured(&fixture.agent)).await?;
    assert_eq!(
        (found.status("broker.login"), found.status("broker.queue_flags")),
        ("ok", "ok"),
        "{found:#?}"
    );

    // A different guest of the same control plane, with a waiting command.
    let (exchange, own) = (fixture.exchange().to_owned(), format!("guestagent.{}", fixture.id));
    let conductor = fixture.agent.options().conductor_queue.clone();
    let (other, fanout) = (format!("guestagent.{}", new_id()), format!("guestagent.{}_fanout", new_id()));
    let admin = fixture.rpc.channel().await?;
    admin.queue_declare(other.as_str().into(), QueueDeclareOptions::default(), FieldTable::default()).await?;
    let bind = QueueBindOptions::default();
    admin
        .queue_bind(
            other.as_str().into(),
            exchange.as_str().into(),
            other.as_str().into(),
            bind,
            FieldTable::default(),
        )
        .await?;
    admin
        .exchange_declare(
            fanout.as_str().into(),
            ExchangeKind::Fanout,
            ExchangeDeclareOptions::default(),
            FieldTable::default(),
        )
        .await?;

    let uri = format!("{}?frame_max=131072", broker.amqp_uri_of(&user, &password));
    let tenant = Tenant { connection: Connection::connect(&uri, ConnectionProperties::default()).await? };
    let unknown = format!("reply_{}", new_id());
    for queue in [other.as_str(), &conductor, fixture.rpc.reply_queue(), &unknown] {
        tenant.can_neither_read_nor_change_the_queue(queue).await?;
    }

    // Eavesdropping: binds its own queue with a foreign routing key, or with all of them.
    for key in [other.as_str(), &conductor, "#", "guestagent.*"] {
        assert_refused(&format!("a binding with {key}"), tenant.bind(&own, &exchange, key).await);
    }
    assert_refused("a binding to another's fanout", tenant.bind(&own, &fanout, &own).await);
    tenant.bind(&own, &exchange, &own).await?;

    // Sending commands to others through the control exchange, and deleting the exchange.
    for key in [other.as_str(), "trove-taskmanager", "trove-conductor.x"] {
        assert_refused(&format!("publishing to {key}"), tenant.publish(&exchange, key).await);
    }
    assert_refused("publishing to another's fanout", tenant.publish(&fanout, "x").await);
    let (channel, name) = (tenant.channel().await?, exchange.as_str());
    let declare = ExchangeDeclareOptions::default();
    let declared = channel.exchange_declare(name.into(), ExchangeKind::Topic, declare, FieldTable::default());
    assert_refused("declaring the control exchange", declared.await);
    let channel = tenant.channel().await?;
    let deleted = channel.exchange_delete(name.into(), ExchangeDeleteOptions::default());
    assert_refused("deleting the control exchange", deleted.await);

    // RabbitMQ cannot forbid this to an account that may answer callers (SECURITY.md): the default exchange
    // has no topics. It accepts the message, but only the owner of the key can create one that an agent
    // accepts.
    tenant.publish("", &other).await?;
    let waiting = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    let waiting = admin.queue_declare(other.as_str().into(), waiting, FieldTable::default()).await?;
    assert_eq!(waiting.message_count(), 1);

    // The connection limit of the account: the agent has one of four connections, the tenant has one.
    let mut more = Vec::new();
    for _ in 0..4 {
        more.push(Connection::connect(&uri, ConnectionProperties::default()).await);
    }
    assert!(more.iter().any(Result::is_err), "no limit of connections");
    drop(more);

    // Control plane and agent still work, also after a restart of the agent.
    every_kind_of_command_works(&fixture).await?;
    drop(tenant);
    fixture.agent.kill9()?;
    fixture.agent.start_again()?;
    fixture.agent.wait_ready().await?;
    assert_eq!(fixture.call("rpc_ping", json!({})).await?, true);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_shown_in_every_form_and_nothing_is_run() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let trove_conf = directory.path().join("trove.conf");
    private(
        &trove_conf,
        "[DEFAULT]\ntransport_url = rabbit://trove:control-planes-own@h1:5671,trove:control-planes-own@h2:5671/trove?ssl=1\n\
         control_exchange = trove\n",
    )?;
    let tool = Tool::plain(&["--config-file", trove_conf.to_str().unwrap()]);
    let document =
        tool.json(&["--instance", "i-1", "broker-user", "--user", "u-1", "--vhost", "guests"]).await?;
    let told = |path: &str| document.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned();
    let password = told("/password");
    assert!(password.len() >= 24);
    assert_eq!(
        told("/transport_url"),
        format!("rabbit://u%2D1:{password}@h1:5671,u%2D1:{password}@h2:5671/guests?ssl=1")
    );
    assert_eq!(told("/topic_permissions/exchange"), "trove");
    assert_eq!(told("/topic_permissions/write"), "^trove-conductor$");
    assert_eq!(told("/permissions/configure"), r"^guestagent\.i-1(\.i-1|_fanout(_[0-9a-f]{32})?)?$");
    assert_eq!(document["commands"].as_array().map(Vec::len), Some(4));
    let again = tool.json(&["--instance", "i-1", "broker-user"]).await?;
    assert_ne!(again["password"], document["password"], "a new password each time");
    assert_eq!((again["user"].as_str(), again["vhost"].as_str()), (Some("guestagent-i-1"), Some("trove")));
    let commands = tool.must(&["--instance", "i-1", "broker-user", "-o", "value"]).await?;
    assert!(commands.lines().all(|line| line.contains("rabbitmqctl")), "{commands}");
    assert!(!format!("{document}{again}{commands}").contains("control-planes-own"));

    // The instance and the broker have no defaults.
    let error = tool.refused(64, &["broker-user"]).await?;
    assert!(error.contains("--instance"), "{error}");
    let error = Tool::plain(&["--instance", "i-1"]).refused(64, &["broker-user"]).await?;
    assert!(error.contains("--config-file"), "{error}");
    Ok(())
}

//! Tests with Python on the other side: the real oslo.messaging with Trove's own serializer, with and without
//! encryption, with every login method and every kind of queue.

use std::time::Duration;

use anyhow::{Context, Result};
use in_memory_couchdb::Options;
use serde_json::{Value, json};
use trove_couchdb_protocol::new_id;
use trove_couchdb_tests::agent::{AgentOptions, AgentProcess};
use trove_couchdb_tests::couch::{CouchServer, Credentials};
use trove_couchdb_tests::python::{PeerOptions, PythonPeer};
use trove_couchdb_tests::rabbitmq;
use trove_couchdb_tests::rpc::notification;
use trove_couchdb_tests::shared_server::{own_name, root_alone, with_way_in};

const SOON: Duration = trove_couchdb_tests::until::HUNG;

struct Scene {
    peer: PythonPeer,
    agent: AgentProcess,
    couch: CouchServer,
    id: String,
    encrypted: bool,
}

async fn scene(key: Option<&str>, oslo: &[&str]) -> Result<Scene> {
    scene_on(CouchServer::start().await?, key, oslo).await
}

/// Python declares the queues first, as the taskmanager does, and then the agent does.
async fn scene_on(couch: CouchServer, key: Option<&str>, oslo: &[&str]) -> Result<Scene> {
    let broker = rabbitmq::shared().await?;
    let id = new_id();
    let options = AgentOptions::new(&id, &broker.transport_url(), &couch.url());
    let mut options = with_way_in(options, &couch).await?.set("heartbeat.interval", 1);
    options.oslo = oslo.iter().map(|line| (*line).to_owned()).collect();
    options.encryption_key = key.map(str::to_owned);
    let peer = PythonPeer::start(&PeerOptions {
        transport_url: broker.transport_url(),
        exchange: options.control_exchange.clone(),
        guest_id: id.clone(),
        key: key.map(str::to_owned),
        oslo: options.oslo.clone(),
    })
    .await?;
    peer.predeclare().await?;
    peer.start_conductor(&options.conductor_queue).await?;
    let agent = AgentProcess::start_ready(options).await?;
    Ok(Scene { peer, agent, couch, id, encrypted: key.is_some() })
}

impl Scene {
    async fn call(&self, method: &str, args: Value) -> Result<Value> {
        match self.peer.call(method, args).await? {
            Ok(value) => Ok(value),
            Err(error) => anyhow::bail!("{method}: {error:?}"),
        }
    }

    /// Casts with a notification and waits for the report to Python's conductor.
    async fn cast(&self, method: &str, args: Value) -> Result<Value> {
        let mut context = json!({"user": "alice", "project_id": "test-tenant"});
        context["trove_notification"] = notification(&self.id, method);
        let request = json!({"op": "cast", "method": method, "args": args, "context": context});
        self.peer.request(request).await?.map_err(|error| anyhow::anyhow!("{error:?}"))?;
        loop {
            let event = self.peer.event(SOON).await?;
            let name = event["event"].as_str().context("no event")?;
            if name.starts_with("notify") {
                return Ok(event);
            }
        }
    }

    async fn everything(&self) -> Result<()> {
        let client = self.couch.client()?;
        let [db, al, zoe] = ["db", "al", "zoe"].map(|base| own_name(base, &self.id));
        let database = json!({"_name": db, "_collate": null, "_character_set": null});
        let user = json!({"_name": al, "_host": "%", "_password": "pwé", "_is_root": false,
            "_databases": [database]});
        assert_eq!(self.call("rpc_ping", json!({})).await?, true);
        let casts = [
            ("create_database", json!({"databases": [database]})),
            ("create_user", json!({ "users": [user] })),
            ("change_passwords", json!({"users": [{"name": al, "host": "%", "password": "second"}]})),
            ("update_attributes", json!({"username": al, "hostname": "%", "user_attrs": {"name": zoe}})),
        ];
        for (method, args) in casts {
            let ended = self.cast(method, args).await?;
            assert_eq!(ended["event"], "notify_end", "{method}: {ended}");
        }
        let shown = json!({"_name": zoe, "_host": "%", "_password": null, "_is_root": false, "_databases": [database]});
        let name = json!({"username": zoe, "hostname": "%"});
        self.lists("list_databases", &database).await?;
        self.lists("list_users", &shown).await?;
        assert_eq!(self.call("get_user", name.clone()).await?, shown);
        assert_eq!(self.call("list_access", name).await?, json!([database]));
        assert_eq!(self.call("get_user", json!({"username": al, "hostname": "%"})).await?, Value::Null);
        let revoke = json!({"username": zoe, "hostname": "%", "database": db});
        assert_eq!(self.call("revoke_access", revoke).await?, Value::Null);
        let grant = json!({"username": zoe, "hostname": "%", "databases": [db]});
        assert_eq!(self.call("grant_access", grant).await?, Value::Null);
        assert!(client.reads(&db, Some(&Credentials::new(&zoe, "second"))).await?);

        self.root().await?;
        let stats = self.call("get_filesystem_stats", json!({"fs_path": "/var/lib/couchdb"})).await?;
        assert!(stats["total"].as_f64().unwrap_or(0.0) > 0.0 && stats["used"].is_f64(), "{stats}");
        self.failures().await?;
        for (method, args) in [
            ("delete_user", json!({"user": {"_name": zoe, "_host": "%", "_password": null}})),
            ("delete_database", json!({"database": database})),
        ] {
            assert_eq!(self.cast(method, args).await?["event"], "notify_end", "{method}");
        }
        let left = self.call("list_databases", json!({})).await?;
        assert!(left[0].is_array() && left[1].is_null() && !left.to_string().contains(&db), "{left}");
        Ok(())
    }

    /// Lists from the item on; an in-memory server, which is not shared, has no other items.
    async fn lists(&self, method: &str, item: &Value) -> Result<()> {
        let args = json!({"limit": 20, "marker": item["_name"], "include_marker": true});
        let page = self.call(method, args).await?;
        assert_eq!(page[0][0], *item, "{method}");
        if self.couch.memory().is_some() {
            assert_eq!(page, json!([[item], null]), "{method}");
        }
        Ok(())
    }

    async fn root(&self) -> Result<()> {
        let client = self.couch.client()?;
        let _alone = root_alone(&self.couch).await;
        let root = self.call("enable_root", json!({})).await?;
        let password = root["_password"].as_str().context("no password")?;
        assert!(client.logs_in(&Credentials::new("root", password)).await?);
        let root = self.call("enable_root_with_password", json!({"root_password": "given"})).await?;
        assert_eq!((&root["_name"], &root["_password"]), (&json!("root"), &json!("given")));
        assert_eq!(self.call("is_root_enabled", json!({})).await?, true);
        assert_eq!(self.call("disable_root", json!({})).await?, Value::Null);
        assert_eq!(self.call("is_root_enabled", json!({})).await?, false);
        Ok(())
    }

    async fn failures(&self) -> Result<()> {
        let refused = self
            .peer
            .call("grant_access", json!({"username": "ghost", "hostname": "%", "databases": ["db"]}));
        let error = refused.await?.unwrap_err();
        assert_eq!(error.class, "RemoteError", "{error:?}");
        assert_eq!(error.remote_class.as_deref(), Some("UserNotFound"));
        // Values from encrypted messages are not shown in full.
        let user = if self.encrypted { "user \"g…\" (5 characters)" } else { "user \"ghost\"" };
        let message = format!("{user} does not exist; create it first");
        assert_eq!(error.remote_message.as_ref(), Some(&message));
        assert!(
            error.remote_traceback.as_ref().is_none_or(|lines| lines.as_array().is_none_or(Vec::is_empty))
        );
        let unsupported = self.peer.call("get_diagnostics", json!({})).await?.unwrap_err();
        assert!(unsupported.message.contains("get_diagnostics is not supported"), "{unsupported:?}");
        let unknown = self.peer.call("no_such_method", json!({})).await?.unwrap_err();
        assert_eq!(unknown.remote_class.as_deref(), Some("NoSuchMethod"), "{unknown:?}");
        let failed = self.cast("delete_user", json!({"user": {"_name": "ghost"}})).await?;
        assert_eq!(failed["event"], "notify_exc_info", "{failed}");
        assert_eq!(failed["args"]["message"], message);
        assert!(failed["args"]["exception"].is_array());
        Ok(())
    }

    async fn heartbeat(&self) -> Result<()> {
        loop {
            let event = self.peer.event(SOON).await?;
            // The status is "running" until bootstrap has finished.
            if event["event"] == "heartbeat" && event["args"]["payload"]["service_status"] == "healthy" {
                assert_eq!(event["args"]["instance_id"], self.id.as_str());
                assert!(event["args"]["sent"].is_f64());
                return Ok(());
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_in_clear() -> Result<()> {
    let scene = scene(None, &[]).await?;
    scene.heartbeat().await?;
    scene.everything().await
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_encrypted() -> Result<()> {
    let scene = scene(Some("oj47q4kuzlRq7dAFMPggh1Lj5XClBLVU"), &[]).await?;
    scene.heartbeat().await?;
    scene.everything().await
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_with_the_plain_login() -> Result<()> {
    scene(None, &["rabbit_login_method = PLAIN"]).await?.everything().await
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_with_the_amqplain_login() -> Result<()> {
    scene(None, &["rabbit_login_method = AMQPLAIN"]).await?.everything().await
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_on_durable_queues() -> Result<()> {
    scene(None, &["amqp_durable_queues = true"]).await?.everything().await
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_on_quorum_queues() -> Result<()> {
    let flags = ["rabbit_quorum_queue = true", "rabbit_quorum_delivery_limit = 20"];
    scene(Some("oj47q4kuzlRq7dAFMPggh1Lj5XClBLVU"), &flags).await?.everything().await
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_on_transient_quorum_queues() -> Result<()> {
    scene(None, &["rabbit_quorum_queue = true", "rabbit_transient_quorum_queue = true"])
        .await?
        .everything()
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_compressed_in_clear() -> Result<()> {
    scene(None, &["kombu_compression = gzip"]).await?.everything().await
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_compressed_and_encrypted() -> Result<()> {
    let key = Some("oj47q4kuzlRq7dAFMPggh1Lj5XClBLVU");
    scene(key, &["kombu_compression = gzip"]).await?.everything().await
}

/// kombu's names of compressions; with oslo's `bz2` it cannot send at all.
#[tokio::test(flavor = "multi_thread")]
async fn a_compression_that_is_not_read_is_named_in_the_log() -> Result<()> {
    for (alias, name) in [("bzip2", "application/x-bz2"), ("lzma", "application/x-lzma")] {
        let mut scene = scene(None, &[&format!("kombu_compression = {alias}")]).await?;
        assert!(scene.agent.logs().contains("and the agent reads gzip only"), "at its start");
        let call = json!({"op": "call", "method": "rpc_ping", "args": {}, "timeout": 2});
        let unheard = scene.peer.request(call).await?.unwrap_err();
        assert_eq!(unheard.class, "MessagingTimeout", "{unheard:?}");
        scene.agent.wait_log("correct kombu_compression.", SOON).await?;
        let logs = scene.agent.logs();
        assert!(logs.contains(&format!("the message is compressed ({name})")), "{logs}");
        assert!(scene.agent.terminate().await?.success());
    }
    Ok(())
}

/// The guest's options differ from the control plane's: the agent uses existing queues, and the taskmanager
/// still can.
#[tokio::test(flavor = "multi_thread")]
async fn a_mismatch_of_flags_is_survived_on_both_sides() -> Result<()> {
    let mut scene = scene(None, &["amqp_durable_queues = true"]).await?;
    scene.agent.terminate().await?;
    scene.agent.options().oslo.clear();
    scene.agent.start_again()?;
    scene.agent.wait_ready().await?;
    assert!(scene.agent.logs().contains("with other flags than configured"));
    scene.peer.predeclare().await?;
    assert_eq!(scene.call("rpc_ping", json!({})).await?, true);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_asks_for_signs_of_life_gets_them() -> Result<()> {
    use in_memory_couchdb::{Fault, Rule};

    let scene = scene_on(CouchServer::in_memory(Options::default()).await?, None, &[]).await?;
    let faults = scene.couch.memory().context("in memory")?.faults();
    // Without a heartbeat every second the call would time out after two; fractions are truncated.
    for timeout in [json!(2), json!(2.5)] {
        faults.add(Rule::new("GET", "/_all_dbs*", Fault::DelayMs(6000)).times(1));
        let request = json!({"op": "call", "method": "list_databases", "args": {}, "timeout": 20, "call_monitor_timeout": timeout});
        let listed = scene.peer.request(request).await?;
        assert_eq!(listed.map_err(|error| anyhow::anyhow!("{error:?}"))?, json!([[], null]), "{timeout}");
    }
    Ok(())
}

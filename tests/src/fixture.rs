//! The fixture of one test: a CouchDB, its agent, a caller on the broker and a listening conductor.
//!
//! Callers: the integration tests. All tests of a process share one broker. Each test has its own guest,
//! exchange, users and databases, so that tests run in parallel, also on one real server (`COUCHDB_URL`).

use std::time::Duration;

use anyhow::{Context, Result, bail};
use in_memory_couchdb::{InMemoryCouch, Options};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use trove_couchdb_protocol::new_id;
use trove_couchdb_protocol::trove::ConductorCast;

use crate::agent::{AgentOptions, AgentProcess};
use crate::conductor::Conductor;
use crate::couch::{CouchClient, CouchServer, Credentials, escape};
use crate::local::LocalClient;
use crate::rabbitmq::{self, RabbitNode};
use crate::real_couch::RealNode;
use crate::rpc::{CallError, Request, RpcClient, declare_exchange, notification};
use crate::shared_server::{own_name, with_way_in};

/// A cast that is not reported as ended within this counts as lost.
const CAST_LIMIT: Duration = crate::until::HUNG;

/// The parts that a test needs.
#[derive(Debug, Default)]
pub struct FixtureBuilder {
    in_memory: Option<Options>,
    real: Option<CouchServer>,
    alone: bool,
    key: Option<String>,
    settings: Vec<(String, toml::Value)>,
    oslo: Vec<String>,
    transport_url: Option<String>,
}

impl FixtureBuilder {
    /// Uses an in-memory server with these options, even if a real one is configured.
    #[must_use]
    pub fn in_memory(mut self, options: Options) -> Self {
        self.in_memory = Some(options);
        self
    }

    /// Uses a server that no other test uses: a real one with `COUCHDB_HOME`.
    #[must_use]
    pub fn alone(mut self) -> Self {
        self.alone = true;
        self
    }

    /// Uses the test's own node, which must outlive the fixture.
    #[must_use]
    pub fn on(mut self, node: &RealNode) -> Self {
        self.real = Some(node.server());
        self
    }

    /// Uses encrypted RPC.
    #[must_use]
    pub fn encrypted(mut self) -> Self {
        self.key = Some(new_id());
        self
    }

    /// Adds a setting of `agent.toml`.
    #[must_use]
    pub fn set(mut self, name: &str, value: impl Into<toml::Value>) -> Self {
        self.settings.push((name.to_owned(), value.into()));
        self
    }

    /// Adds a `NAME=VALUE` line of `[oslo_messaging_rabbit]`.
    #[must_use]
    pub fn oslo(mut self, line: &str) -> Self {
        self.oslo.push(line.to_owned());
        self
    }

    /// Sets the agent's transport URL; all other clients keep the usual one.
    #[must_use]
    pub fn transport_url(mut self, url: &str) -> Self {
        self.transport_url = Some(url.to_owned());
        self
    }

    /// Starts everything on the shared broker and waits until the agent is ready.
    pub async fn up(self) -> Result<Fixture> {
        self.up_on(rabbitmq::shared().await?).await
    }

    /// Starts everything on the test's own broker.
    pub async fn up_on(self, broker: &RabbitNode) -> Result<Fixture> {
        let couch = match (self.real, self.in_memory) {
            (Some(server), _) => server,
            (None, Some(options)) => CouchServer::in_memory(options).await?,
            (None, None) if self.alone => CouchServer::alone().await?,
            (None, None) => CouchServer::start().await?,
        };
        let id = new_id();
        let url = self.transport_url.unwrap_or_else(|| broker.transport_url());
        let mut options = AgentOptions::new(&id, &url, &couch.url());
        options.settings.extend(self.settings);
        options.oslo = self.oslo;
        options.encryption_key.clone_from(&self.key);
        let options = with_way_in(options, &couch).await?;
        let (exchange, queue) = (options.control_exchange.clone(), options.conductor_queue.clone());
        let (uri, key) = (broker.amqp_uri(), self.key.as_deref());
        let durable = ["amqp_durable_queues", "rabbit_quorum_queue"];
        if options.oslo.iter().any(|line| durable.iter().any(|option| line.starts_with(option))) {
            declare_exchange(&uri, &exchange, true).await?;
        }
        let conductor = Conductor::listen(&uri, &exchange, &queue, key).await?;
        let agent = AgentProcess::start_ready(options).await?;
        let rpc = RpcClient::connect(&uri, &exchange, &id, key).await?;
        let client = couch.client()?;
        Ok(Fixture { rpc, conductor, agent, client, couch, key: self.key, id, exchange })
    }
}

/// The running parts of one test.
#[derive(Debug)]
pub struct Fixture {
    /// The caller.
    pub rpc: RpcClient,
    /// Receives heartbeats and notifications.
    pub conductor: Conductor,
    /// The agent under test.
    pub agent: AgentProcess,
    /// Inspects CouchDB directly.
    pub client: CouchClient,
    /// The server.
    pub couch: CouchServer,
    /// `instance_rpc_encr_key`, if RPC is encrypted.
    pub key: Option<String>,
    /// The guest's id.
    pub id: String,
    exchange: String,
}

impl Fixture {
    /// Starts the fixture that most tests need.
    pub async fn up() -> Result<Self> {
        FixtureBuilder::default().up().await
    }

    /// A name that no other test uses, legal for users and databases.
    pub fn name(&self, base: &str) -> String {
        own_name(base, &self.id)
    }

    /// The fixture's control exchange.
    pub fn exchange(&self) -> &str {
        &self.exchange
    }

    /// The in-memory server; an error on a real one.
    pub fn memory(&self) -> Result<&InMemoryCouch> {
        self.couch.memory().context("this test needs the in-memory CouchDB")
    }

    /// A new connection to the agent's own socket.
    pub async fn local(&self) -> Result<LocalClient> {
        LocalClient::connect(&self.agent.socket()).await
    }

    /// Calls a method.
    pub async fn call(&self, method: &str, args: Value) -> Result<Value, CallError> {
        self.rpc.call(method, args).await
    }

    /// Casts a method and waits for its result; the inner error is the one that the agent reported.
    pub async fn cast(&self, method: &str, args: Value) -> Result<Result<(), String>> {
        let notification = notification(&self.id, method);
        let wanted = notification["request_id"].clone();
        self.rpc.cast(&Request::new(method, args).notified(notification)).await?;
        let deadline = Instant::now() + CAST_LIMIT;
        loop {
            let ended = self.conductor.received().into_iter().find_map(|cast| match cast {
                ConductorCast::NotifyEnd { notification } if notification["request_id"] == wanted => {
                    Some(Ok(()))
                }
                ConductorCast::NotifyExcInfo { notification, message, .. }
                    if notification["request_id"] == wanted =>
                {
                    Some(Err(message))
                }
                _ => None,
            });
            match ended {
                Some(ended) => return Ok(ended),
                None if Instant::now() > deadline => {
                    bail!(
                        "{method} did not end within {CAST_LIMIT:?}; the agent's log:\n{}",
                        self.agent.logs()
                    )
                }
                None => sleep(Duration::from_millis(10)).await,
            }
        }
    }

    /// Casts a method that must succeed.
    pub async fn must_cast(&self, method: &str, args: Value) -> Result<()> {
        match self.cast(method, args).await? {
            Ok(()) => Ok(()),
            Err(message) => bail!("{method} failed: {message}"),
        }
    }

    /// Creates databases.
    pub async fn databases(&self, names: &[&str]) -> Result<()> {
        let databases: Vec<Value> = names.iter().map(|name| json!({"_name": name})).collect();
        self.must_cast("create_database", json!({ "databases": databases })).await
    }

    /// Creates a user with the password `NAME-pw` and access to databases.
    pub async fn user(&self, name: &str, databases: &[&str]) -> Result<Credentials> {
        let user = user_object(name, databases);
        self.must_cast("create_user", json!({ "users": [user] })).await?;
        Ok(login(name))
    }

    /// Makes a user a member of databases.
    pub async fn grant(&self, user: &str, databases: &[&str]) -> Result<Value, CallError> {
        self.call("grant_access", json!({"username": user, "hostname": "%", "databases": databases})).await
    }

    /// Removes a user from a database.
    pub async fn revoke(&self, user: &str, database: &str) -> Result<Value, CallError> {
        self.call("revoke_access", json!({"username": user, "hostname": "%", "database": database})).await
    }

    /// `_security` of a database, as the server's administrator sees it.
    pub async fn security(&self, database: &str) -> Result<Value> {
        let path = format!("/{}/_security", escape(database));
        Ok(self.client.get(&path, Some(self.couch.admin())).await?.1)
    }

    /// Writes `_security` directly, without the agent.
    pub async fn set_security(&self, database: &str, object: &Value) -> Result<()> {
        let path = format!("/{}/_security", escape(database));
        let (status, body) = self.client.put(&path, Some(self.couch.admin()), object).await?;
        anyhow::ensure!(status.is_success(), "PUT {path}: {status} {body}");
        Ok(())
    }

    /// A user's document, `None` if there is none.
    pub async fn user_document(&self, name: &str) -> Result<Option<Value>> {
        let path = format!("/_users/org.couchdb.user%3A{}", escape(name));
        let (status, body) = self.client.get(&path, Some(self.couch.admin())).await?;
        Ok(status.is_success().then_some(body))
    }

    /// Whether anonymous users may write to a database.
    pub async fn anonymous_writes(&self, database: &str) -> Result<bool> {
        let path = format!("/{}/written-by-anybody", escape(database));
        Ok(self.client.put(&path, None, &json!({})).await?.0.is_success())
    }

    /// The databases of a user object from `list_users` or `get_user`.
    pub fn databases_of(user: &Value) -> Vec<String> {
        let names = user["_databases"].as_array().into_iter().flatten();
        names.filter_map(|database| database["_name"].as_str()).map(str::to_owned).collect()
    }
}

/// The user object of `create_user`, with the password `NAME-pw`.
pub fn user_object(name: &str, databases: &[&str]) -> Value {
    let databases: Vec<Value> = databases
        .iter()
        .map(|name| json!({"_name": name, "_collate": null, "_character_set": null}))
        .collect();
    json!({"_name": name, "_host": "%", "_password": format!("{name}-pw"), "_is_root": false, "_databases": databases})
}

/// The credentials of a user created from [`user_object`].
pub fn login(name: &str) -> Credentials {
    Credentials::new(name, &format!("{name}-pw"))
}

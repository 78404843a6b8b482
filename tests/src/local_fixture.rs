//! The fixture without a broker: a CouchDB, the agent on it in its embedded mode, and a client of its socket.
//!
//! Callers: integration tests and the tour. See also [`crate::fixture`].

use anyhow::{Context, Result};
use in_memory_couchdb::{InMemoryCouch, Options};
use serde_json::{Value, json};
use trove_couchdb_protocol::new_id;

use crate::agent::{AgentOptions, AgentProcess};
use crate::couch::{CouchClient, CouchServer, Credentials};
use crate::fixture::{login, user_object};
use crate::local::LocalClient;
use crate::real_couch::RealNode;
use crate::rpc::CallError;
use crate::shared_server::{own_name, with_way_in};

/// The parts that a test needs.
#[derive(Debug, Default)]
pub struct LocalFixtureBuilder {
    in_memory: Option<Options>,
    real: Option<CouchServer>,
    alone: bool,
    settings: Vec<(String, toml::Value)>,
    user: Option<u32>,
    environment: Vec<(String, String)>,
}

impl LocalFixtureBuilder {
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

    /// Adds a setting of `agent.toml`.
    #[must_use]
    pub fn set(mut self, name: &str, value: impl Into<toml::Value>) -> Self {
        self.settings.push((name.to_owned(), value.into()));
        self
    }

    /// Adds a variable to the agent's environment.
    #[must_use]
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Runs the agent as this user.
    #[must_use]
    pub fn user(mut self, user: u32) -> Self {
        self.user = Some(user);
        self
    }

    /// Starts everything and waits until the agent is ready.
    pub async fn up(self) -> Result<LocalFixture> {
        let couch = match (self.real, self.in_memory) {
            (Some(server), _) => server,
            (None, Some(options)) => CouchServer::in_memory(options).await?,
            (None, None) if self.alone => CouchServer::alone().await?,
            (None, None) => CouchServer::start().await?,
        };
        let mut options = AgentOptions::without_broker(&couch.url());
        options.settings.extend(self.settings);
        options.user = self.user;
        options.environment.extend(self.environment);
        let agent = AgentProcess::start_ready(with_way_in(options, &couch).await?).await?;
        let local = LocalClient::connect(&agent.socket()).await?;
        let client = couch.client()?;
        Ok(LocalFixture { local, agent, client, couch, id: new_id() })
    }
}

/// The running parts of one test without a broker.
#[derive(Debug)]
pub struct LocalFixture {
    /// The caller.
    pub local: LocalClient,
    /// The agent under test.
    pub agent: AgentProcess,
    /// Inspects CouchDB directly.
    pub client: CouchClient,
    /// The server.
    pub couch: CouchServer,
    id: String,
}

impl LocalFixture {
    /// A name that no other test uses, legal for users and databases.
    pub fn name(&self, base: &str) -> String {
        own_name(base, &self.id)
    }

    /// The in-memory server; an error on a real one.
    pub fn memory(&self) -> Result<&InMemoryCouch> {
        self.couch.memory().context("this test needs the in-memory CouchDB")
    }

    /// Opens an additional connection.
    pub async fn connect(&self) -> Result<LocalClient> {
        LocalClient::connect(&self.agent.socket()).await
    }

    /// Calls a method.
    pub async fn call(&self, method: &str, args: Value) -> Result<Value, CallError> {
        self.local.call(method, args).await
    }

    /// Creates databases.
    pub async fn databases(&self, names: &[&str]) -> Result<Value, CallError> {
        let databases: Vec<Value> = names.iter().map(|name| json!({"_name": name})).collect();
        self.call("create_database", json!({ "databases": databases })).await
    }

    /// Creates a user with the password `NAME-pw` and access to databases.
    pub async fn user(&self, name: &str, databases: &[&str]) -> Result<Credentials, CallError> {
        self.call("create_user", json!({"users": [user_object(name, databases)]})).await?;
        Ok(login(name))
    }
}

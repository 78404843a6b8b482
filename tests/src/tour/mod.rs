//! The tour: the whole agent on one machine. It sends every command once and checks each reply and effect.
//!
//! Caller: `src/bin/tour.rs`, which is `make run BROKER=rabbit`; plain `make run` is `local.rs`. It starts a
//! private broker, a CouchDB (in-memory, or that of `COUCHDB_URL`) and the agent. Then it acts as Trove's
//! control plane: it sends commands, encrypted as by Trove, and checks CouchDB with its own client. It never
//! uses an operator's broker, database or configuration files.

mod local;
mod steps;
mod transcript;

use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;
use trove_couchdb_protocol::new_id;
use trove_couchdb_protocol::trove::ConductorCast;

use crate::agent::{AgentOptions, AgentProcess};
use crate::conductor::Conductor;
use crate::couch::{CouchClient, CouchServer, Credentials};
use crate::rabbitmq::RabbitNode;
use crate::rpc::{CallError, Request, RpcClient, notification};
use crate::shared_server::{remove_leftovers, with_way_in};

pub use local::LocalTour;
pub use transcript::Transcript;

/// The guest's id; the exchange is named after it.
const GUEST: &str = "tour";
/// A cast that is not reported as ended within this counts as failed.
const CAST_LIMIT: Duration = crate::until::HUNG;

/// The running parts of the tour.
#[derive(Debug)]
pub struct Tour {
    transcript: Transcript,
    client: CouchClient,
    os_admin: Credentials,
    rpc: RpcClient,
    conductor: Conductor,
    agent: AgentProcess,
    couch: CouchServer,
    broker: RabbitNode,
    exchange: String,
    key: String,
}

impl Tour {
    /// Starts broker, CouchDB and agent, and waits until the agent is ready.
    pub async fn start() -> Result<Self> {
        // Checked first because starting the broker takes 5 s.
        crate::agent::binary()?;
        let transcript = Transcript::default();
        println!("Starting a private RabbitMQ node (5 s), a CouchDB and the agent");
        let couch = CouchServer::start().await?;
        // Left by an interrupted tour on the same server.
        remove_leftovers(&couch, |name| steps::NAMES.contains(&name)).await?;
        let broker = RabbitNode::start().await?;
        // Trove's keys are 32 letters and digits.
        let key = new_id();
        let options = AgentOptions::new(GUEST, &broker.transport_url(), &couch.url())
            .encrypted(&key)
            .set("log.filter", "info");
        let options = with_way_in(options, &couch).await?;
        let (exchange, queue) = (options.control_exchange.clone(), options.conductor_queue.clone());
        let conductor = Conductor::listen(&broker.amqp_uri(), &exchange, &queue, Some(&key)).await?;
        let agent = AgentProcess::start_ready(options).await?;
        let rpc = RpcClient::connect(&broker.amqp_uri(), &exchange, GUEST, Some(&key)).await?;
        let os_admin = read_credentials(&agent)?;
        let client = couch.client()?;
        let tour = Self { transcript, client, os_admin, rpc, conductor, agent, couch, broker, exchange, key };
        tour.describe();
        Ok(tour)
    }

    /// Sends every command; true if every check passed.
    pub async fn run(&mut self) -> Result<bool> {
        steps::all(self).await?;
        Ok(self.transcript.finish())
    }

    /// Stops the agent as systemd does; true if it exited cleanly.
    pub async fn stop(mut self) -> Result<bool> {
        let status = self.agent.terminate().await?;
        println!("agent ended: {status}");
        Ok(status.success())
    }

    /// Prints what to try while everything is running.
    pub fn invite(&self) {
        let (broker, couch) = (self.broker.transport_url(), self.couch.url());
        println!(
            "\nThe agent runs until Ctrl-C. In another terminal, look at what it serves:\n\n  \
             curl -u os_admin:{password} {couch}/_all_dbs\n\n\
             or send it a command as Trove does, over Python's oslo.messaging:\n\n  \
             echo '{{\"id\": 1, \"op\": \"call\", \"method\": \"list_databases\"}}' | $(tests/scripts/venv.sh) -W ignore \
             tests/python/peer.py \\\n    --transport-url {broker} --exchange {exchange} --guest-id {GUEST} --key {key}\n\n\
             Its log: {log}",
            password = self.os_admin.password,
            exchange = self.exchange,
            key = self.key,
            log = self.agent.log_file().display(),
        );
    }

    fn describe(&self) {
        self.transcript
            .note("RabbitMQ", format!("127.0.0.1:{}, queue {}", self.broker.port(), self.rpc.topic()));
        let kind = if self.couch.memory().is_some() { "in-memory" } else { "real" };
        self.transcript.note("CouchDB", format!("{} ({kind})", self.couch.url()));
        self.transcript.note("agent", format!("pid {}, ready, commands encrypted", self.agent.pid()));
    }

    /// Calls a method and prints the reply; a failure is a failed check and returns `null`.
    async fn call(&mut self, method: &str, args: Value) -> Value {
        self.transcript.command("call", method, &args);
        let outcome = self.rpc.call(method, args).await;
        self.transcript.outcome(outcome)
    }

    /// Calls a method that the agent must refuse with a message that contains `reason`. The agent shortens
    /// names to their beginning and length, because the tour's commands are encrypted.
    async fn refused(&mut self, method: &str, args: Value, reason: &str) {
        self.transcript.command("call", method, &args);
        match self.rpc.call(method, args).await {
            Err(CallError::Failure(failure)) => {
                let ok = failure.message.to_lowercase().contains(reason);
                self.transcript.check(&format!("refused: {}", failure.message), ok);
            }
            Err(error) => self.transcript.check(&format!("must be refused, but: {error}"), false),
            Ok(answer) => {
                self.transcript.check(&format!("must be refused, but was answered: {answer}"), false);
            }
        }
    }

    /// Casts a method and waits until the agent has reported the result to the conductor.
    async fn cast(&mut self, method: &str, args: Value) -> Result<()> {
        self.transcript.command("cast", method, &args);
        let notification = notification(GUEST, method);
        self.rpc.cast(&Request::new(method, args).notified(notification)).await?;
        let ended = |cast: &ConductorCast| {
            matches!(cast, ConductorCast::NotifyEnd { .. } | ConductorCast::NotifyExcInfo { .. })
        };
        match self.conductor.next(CAST_LIMIT, ended).await {
            Ok(ConductorCast::NotifyExcInfo { message, .. }) => {
                self.transcript.check(&format!("must succeed, but: {message}"), false);
            }
            Ok(_) => self.transcript.check("the conductor was told that it is done", true),
            Err(error) => self.transcript.check(&format!("the conductor must be told: {error:#}"), false),
        }
        Ok(())
    }
}

fn read_credentials(agent: &AgentProcess) -> Result<Credentials> {
    let path = agent.credentials_file();
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("the agent did not write {}", path.display()))?;
    let value: Value = serde_json::from_str(&text).context("the credentials file is not JSON")?;
    let field =
        |name: &str| value[name].as_str().with_context(|| format!("no {name} in the credentials file"));
    Ok(Credentials::new(field("username")?, field("password")?))
}

//! The environment of a campaign: one broker, several guests with a CouchDB each, proxies between them, and
//! the counts.
//!
//! Each part that a fault affects has a lock that the fault holds while it lasts, so only faults of different
//! processes overlap. Callers: all other modules here; this module uses only the harness.

use std::path::PathBuf;
use std::sync::Mutex as StdMutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use in_memory_couchdb::Options;
use tokio::sync::{Mutex, watch};
use trove_couchdb_protocol::new_id;

use super::caller::{Caller, Ears};
use super::line::Setup;
use super::proxy::Proxy;
use super::report::{Counts, Finding};
use super::schedule::SHARED;
use crate::agent::{AgentOptions, AgentProcess};
use crate::couch::{CouchClient, CouchServer, Credentials};
use crate::rabbitmq::RabbitNode;

/// A command that was sent this long after the end of a fault may still be delivered twice because of it: the
/// agent notices a dead connection only when a heartbeat is missing.
const AFTERMATH: Duration = Duration::from_secs(15);
/// `rpc.cast_retry_timeout` of the agents: longer than any planned fault, and short enough to end a failed run.
const CAST_RETRY_TIMEOUT: u64 = 120;

/// All parts of a campaign.
#[derive(Debug)]
pub struct Environment {
    /// The broker of all guests.
    pub broker: Mutex<RabbitNode>,
    /// How often the broker lost the contents of non-durable queues.
    pub broker_deaths: watch::Sender<u64>,
    /// For callers, which have no proxy.
    pub amqp_uri: String,
    /// The guests, each with its own key or none.
    pub guests: Vec<Guest>,
    /// `amqp_durable_queues`.
    pub durable: bool,
    /// Commands sent so far.
    pub sent: watch::Sender<usize>,
    /// Counts of commands and answers.
    pub counts: StdMutex<Counts>,
    findings: StdMutex<Vec<Finding>>,
    /// The directory for the logs of disagreements.
    pub directory: PathBuf,
    /// True when no further command or fault is to begin.
    pub over: watch::Sender<bool>,
    /// How long each caller rests before it sends.
    pub rest: Duration,
}

/// One guest.
#[derive(Debug)]
pub struct Guest {
    /// `guest_id`.
    pub id: String,
    /// `instance_rpc_encr_key`.
    pub key: Option<String>,
    /// The control exchange.
    pub exchange: String,
    /// The agent under test.
    pub agent: Mutex<AgentProcess>,
    /// Its log file.
    pub log: PathBuf,
    /// Its CouchDB.
    pub couch: Mutex<CouchServer>,
    /// A client that reaches CouchDB without the agent and the proxy.
    pub client: CouchClient,
    /// The credentials of that client.
    pub admin: Credentials,
    /// The proxy between agent and broker.
    pub broker_link: Proxy,
    /// The proxy between agent and CouchDB.
    pub couch_link: Proxy,
    /// Receives the reports to the conductor.
    pub ears: Ears,
    faults: AtomicU64,
    at_work: AtomicUsize,
    last_end: StdMutex<Option<Instant>>,
    successes: StdMutex<Vec<Instant>>,
}

/// A point in time, for [`Guest::disturbed_since`].
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    faults: u64,
    disturbed: bool,
}

impl Environment {
    /// Starts everything and waits until the agents are ready; every second guest is encrypted. `settings`
    /// are added to the agents' settings.
    pub async fn start(
        guests: usize,
        durable: bool,
        directory: PathBuf,
        settings: &[(String, toml::Value)],
        rest: Duration,
    ) -> Result<Self> {
        std::fs::create_dir_all(&directory)?;
        let broker = RabbitNode::start().await?;
        let mut started = Vec::new();
        for number in 0..guests {
            started.push(Guest::start(&broker, number % 2 == 1, durable, settings).await?);
        }
        Ok(Self {
            amqp_uri: broker.amqp_uri(),
            broker: Mutex::new(broker),
            broker_deaths: watch::Sender::new(0),
            guests: started,
            durable,
            sent: watch::Sender::new(0),
            counts: StdMutex::default(),
            findings: StdMutex::default(),
            directory,
            over: watch::Sender::new(false),
            rest,
        })
    }

    /// A new caller of a guest.
    pub fn caller(&self, guest: &Guest) -> Caller {
        Caller::connect(
            &self.amqp_uri,
            &guest.exchange,
            self.durable,
            &guest.id,
            guest.key.as_deref(),
            &guest.ears,
        )
    }

    /// Updates the counts.
    pub fn count(&self, change: impl FnOnce(&mut Counts)) {
        change(&mut super::locked(&self.counts));
    }

    /// Records a disagreement, with the agent's log lines about the messages with these ids.
    pub fn disagree(&self, guest: &Guest, what: String, ids: &[String]) {
        let mut findings = super::locked(&self.findings);
        let file = self.directory.join(format!("finding-{}.log", findings.len() + 1));
        let log = std::fs::read_to_string(&guest.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let named = lines.iter().filter(|line| ids.iter().any(|id| line.contains(id.as_str())));
        let named: Vec<&str> = named.copied().collect();
        let recent = &lines[lines.len().saturating_sub(400)..];
        let text = format!(
            "{what}\nmessages: {ids:?}\n\n== the agent on these messages ==\n{}\n\n== the agent's last 400 lines ==\n{}\n",
            named.join("\n"),
            recent.join("\n")
        );
        if let Err(error) = std::fs::write(&file, text) {
            eprintln!("cannot write {}: {error}", file.display());
        }
        eprintln!("DISAGREEMENT on guest {}: {what}\n  see {}", guest.id, file.display());
        findings.push(Finding { guest: guest.id.clone(), what, log: file.display().to_string() });
    }

    /// All disagreements so far.
    pub fn findings(&self) -> Vec<Finding> {
        super::locked(&self.findings).clone()
    }
}

impl Guest {
    async fn start(
        broker: &RabbitNode,
        encrypted: bool,
        durable: bool,
        settings: &[(String, toml::Value)],
    ) -> Result<Self> {
        // The final check tries hundreds of passwords; lockouts have their own tests.
        let options = Options::default().set("chttpd_auth_lockout", "mode", "off");
        let couch = CouchServer::in_memory(options).await?;
        let port = couch.memory().map(in_memory_couchdb::InMemoryCouch::port).unwrap_or_default();
        let broker_link = Proxy::start(broker.port()).await?;
        let couch_link = Proxy::start(port).await?;
        let (id, key) = (new_id(), encrypted.then(new_id));
        let url = format!("http://127.0.0.1:{}", couch_link.port());
        let admin = couch.admin().clone();
        let mut options = AgentOptions::new(&id, &broker.transport_url_at(broker_link.port()), &url)
            .bootstrap_admin(&admin.name, &admin.password)
            .set("log.filter", "info,trove_couchdb_agent=debug")
            .set("heartbeat.interval", 5)
            // Faults last seconds here, not minutes, so all retry intervals and time-outs are shortened.
            .set("broker.reconnect_min", 0.2)
            .set("broker.reconnect_max", 2)
            .set("couchdb.connect_timeout", 2)
            .set("couchdb.request_timeout", 3)
            .set("couchdb.sha256_iterations", 1_000)
            .set("rpc.cast_retry_timeout", i64::try_from(CAST_RETRY_TIMEOUT)?)
            .set("rpc.shutdown_grace", 5);
        options.oslo.push("heartbeat_timeout_threshold = 5".to_owned());
        options.oslo.push(format!("amqp_durable_queues = {durable}"));
        options.settings.extend(settings.iter().cloned());
        options.encryption_key.clone_from(&key);
        let setup = Setup {
            amqp_uri: broker.amqp_uri(),
            exchange: options.control_exchange.clone(),
            durable,
            queue: options.conductor_queue.clone(),
            bound: true,
        };
        let exchange = setup.exchange.clone();
        let ears = Ears::listen(setup, key.as_deref());
        ears.ready().await?;
        let client = couch.client()?;
        let agent = AgentProcess::start_ready(options).await?;
        Ok(Self {
            id,
            key,
            exchange,
            log: agent.log_file(),
            agent: Mutex::new(agent),
            couch: Mutex::new(couch),
            client,
            admin,
            broker_link,
            couch_link,
            ears,
            faults: AtomicU64::new(0),
            at_work: AtomicUsize::new(0),
            last_end: StdMutex::default(),
            successes: StdMutex::default(),
        })
    }

    /// Creates the database that every caller uses.
    pub async fn make_shared_database(&self) -> Result<()> {
        let path = format!("/{SHARED}");
        let (status, body) = self.client.put(&path, Some(&self.admin), &serde_json::Value::Null).await?;
        anyhow::ensure!(status.is_success(), "PUT {path}: {status} {body}");
        Ok(())
    }

    /// Records that a fault begins.
    pub fn fault_begins(&self) {
        self.at_work.fetch_add(1, Ordering::SeqCst);
        self.faults.fetch_add(1, Ordering::SeqCst);
    }

    /// Records that a fault ends.
    pub fn fault_ends(&self) {
        *super::locked(&self.last_end) = Some(Instant::now());
        self.at_work.fetch_sub(1, Ordering::SeqCst);
    }

    /// The current point in time.
    pub fn moment(&self) -> Moment {
        let lingers = super::locked(&self.last_end).is_some_and(|end| end.elapsed() < AFTERMATH);
        Moment {
            faults: self.faults.load(Ordering::SeqCst),
            disturbed: lingers || self.at_work.load(Ordering::SeqCst) > 0,
        }
    }

    /// Whether a fault was active since then, or shortly before.
    pub fn disturbed_since(&self, moment: Moment) -> bool {
        moment.disturbed || self.faults.load(Ordering::SeqCst) != moment.faults
    }

    /// Records that a command succeeded.
    pub fn succeeded(&self) {
        super::locked(&self.successes).push(Instant::now());
    }

    /// When commands succeeded, in order.
    pub fn successes(&self) -> Vec<Instant> {
        super::locked(&self.successes).clone()
    }
}

/// How long a campaign waits for an event that must come, such as the result of a cast. It allows for a
/// broker that takes minutes to start on a busy machine.
pub const LOST_AFTER: Duration = Duration::from_secs(CAST_RETRY_TIMEOUT + 300);

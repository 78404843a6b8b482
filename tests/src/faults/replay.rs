//! Replays a schedule of `make explore` with a real agent, a real RabbitMQ and the in-memory CouchDB.
//!
//! Events with a counterpart outside of the agent are performed or awaited: casts, `kill -9`, SIGTERM, a cut
//! connection, a disk that refuses outcomes, and a process that dies between the end of a command and its
//! record (for that, CouchDB's answer is held back). All other events happen by themselves or not at all.
//! Events that did not happen are reported, because an agent that keeps its guarantees departs from a
//! schedule that breaks one. Callers: `bin/chaos.rs` and a test.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use in_memory_couchdb::{Fault, Options, Rule};
use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use serde_json::json;
use tokio::time::{sleep, timeout};

use super::explored_schedule::{Command, Event, Line, Run};
use super::proxy::Proxy;
use crate::fixture::{Fixture, FixtureBuilder};
use crate::rabbitmq::RabbitNode;
use crate::rpc::{Message, Request, notification};
use crate::until::until;

/// How long to wait for events that a correct agent does not cause.
const IN_VAIN: Duration = Duration::from_secs(4);
/// The time for events inside the agent.
const SETTLES: Duration = Duration::from_millis(300);

/// The result of a replay.
#[derive(Debug, Default)]
pub struct Replayed {
    /// Each line, and how it was replayed.
    pub steps: Vec<(String, &'static str)>,
    /// Violated guarantees.
    pub wrong: Vec<String>,
}

impl fmt::Display for Replayed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (text, what) in &self.steps {
            writeln!(formatter, "{what:>14}  {text}")?;
        }
        for wrong in &self.wrong {
            writeln!(formatter, "✗ {wrong}")?;
        }
        if self.wrong.is_empty() { write!(formatter, "✓ every guarantee held") } else { Ok(()) }
    }
}

struct Replay {
    fixture: Fixture,
    link: Proxy,
    sent: Vec<(Command, Message)>,
    runs_agent: bool,
    /// Runs for which CouchDB's answers are held back.
    held: Vec<Run>,
    /// Requests of earlier processes.
    earlier: usize,
    /// Whether the database that was created last has the marker document.
    marked: bool,
}

/// Replays a schedule.
///
/// # Errors
/// If the schedule cannot be replayed.
pub async fn replay(lines: &[Line]) -> Result<Replayed> {
    let broker = RabbitNode::start().await?;
    let mut replay = Replay::start(&broker, lines).await?;
    let mut replayed = Replayed::default();
    for (at, line) in lines.iter().enumerate() {
        // The events before the process or its connection ends.
        let ends = |line: &Line| matches!(line.event, Event::Killed | Event::Terminated | Event::Cut);
        let length = lines[at..].iter().position(ends);
        let life: Vec<&Event> =
            lines[at..].iter().take(length.unwrap_or(lines.len())).map(|line| &line.event).collect();
        let done = replay.step(&line.event, &life, length.is_some()).await;
        replayed.steps.push((line.text.clone(), done.with_context(|| line.text.clone())?));
    }
    replayed.wrong = replay.checker().await?;
    Ok(replayed)
}

impl Replay {
    async fn start(broker: &RabbitNode, lines: &[Line]) -> Result<Self> {
        let link = Proxy::start(broker.port()).await?;
        let builder = FixtureBuilder::default()
            .in_memory(Options::default())
            .oslo("amqp_durable_queues = true")
            .set("broker.reconnect_min", 0.2)
            .set("broker.reconnect_max", 1)
            .set("rpc.shutdown_grace", 2)
            .transport_url(&broker.transport_url_at(link.port()));
        let mut fixture = builder.up_on(broker).await?;
        let mut known = Vec::new();
        for line in lines {
            if let Event::Sent(command) = &line.event
                && !known.contains(&&command.database)
            {
                if command.method == "delete_database" {
                    fixture.databases(&[&fixture.name(&command.database)]).await?;
                }
                known.push(&command.database);
            }
        }
        fixture.agent.terminate().await?;
        fixture.memory()?.log().clear();
        Ok(Self {
            fixture,
            link,
            sent: Vec::new(),
            runs_agent: false,
            held: Vec::new(),
            earlier: 0,
            marked: false,
        })
    }

    /// `life` has the events from here to the end of the process or its connection, if it `ends`.
    async fn step(&mut self, event: &Event, life: &[&Event], ends: bool) -> Result<&'static str> {
        Ok(match event {
            Event::Starts | Event::Inside => "by itself",
            Event::Connects if self.runs_agent => "by itself",
            Event::Connects => {
                self.prepare(life, ends)?;
                self.fixture.agent.start_again()?;
                self.fixture.agent.wait_ready().await?;
                self.runs_agent = true;
                "done"
            }
            Event::Sent(command) => {
                let notification = notification(&self.fixture.id, &command.method);
                let message = self.fixture.rpc.encode_cast(&self.request(command).notified(notification));
                self.fixture.rpc.send(&message).await?;
                self.sent.push((command.clone(), message));
                "done"
            }
            Event::SentAgain(command) => {
                let sent = self.sent.iter().find(|(sent, _)| sent == command).context("it was not sent")?;
                self.fixture.rpc.send(&sent.1).await?;
                "done"
            }
            Event::Delivered(_) => {
                self.all_is_delivered().await?;
                "waited for"
            }
            Event::Begins(run) | Event::HasRun(run) => self.has_run(run).await?,
            Event::Refused(run) => {
                ensure!(
                    self.held.contains(run),
                    "a disk that fails after the start of the agent can't be replayed"
                );
                let acknowledged =
                    life.iter().any(|event| matches!(event, Event::Acknowledged(of) if of == run));
                if !acknowledged {
                    self.link.silence();
                }
                self.fixture.memory()?.faults().clear();
                self.held.clear();
                let said = self.fixture.agent.wait_log("can't be written down", IN_VAIN).await;
                if said.is_ok() { "done" } else { "did not happen" }
            }
            Event::Recorded(_) | Event::Acknowledged(_) => {
                sleep(SETTLES).await;
                "by itself"
            }
            Event::Killed => {
                self.fixture.agent.kill9()?;
                self.has_ended()?
            }
            Event::Terminated => {
                self.fixture.agent.terminate().await?;
                self.has_ended()?
            }
            Event::Cut => {
                self.link.cut();
                "done"
            }
        })
    }

    /// Before the agent starts, decides which answers of CouchDB are held back and whether the disk accepts
    /// outcomes.
    fn prepare(&mut self, life: &[&Event], ends: bool) -> Result<()> {
        self.earlier = self.fixture.memory()?.log().entries().len();
        let refused = life.iter().any(|event| matches!(event, Event::Refused(_)));
        for event in life {
            let Event::Begins(run) = event else { continue };
            let is_refused = life.iter().any(|event| matches!(event, Event::Refused(of) if of == run));
            let is_recorded = life.iter().any(|event| matches!(event, Event::Recorded(of) if of == run));
            // If the disk refuses one outcome, it refuses those of later commands too.
            if is_refused || (ends && !is_recorded && !refused) {
                let (method, path) = self.asks_for(&run.command);
                self.fixture
                    .memory()?
                    .faults()
                    .add(Rule::new(method, &path, Fault::Hang).after_effect().times(1));
                self.held.push(run.clone());
            }
        }
        if refused {
            let file = self.outcomes();
            if file.exists() {
                std::fs::remove_file(&file)?;
            }
            std::fs::create_dir(&file)?;
        }
        Ok(())
    }

    async fn has_run(&mut self, run: &Run) -> Result<&'static str> {
        let memory = self.fixture.memory()?;
        let (method, path) = self.asks_for(&run.command);
        let is_held = self.held.contains(run);
        let is_asked = || {
            let entries = memory.log().entries();
            entries.iter().skip(self.earlier).any(|entry| entry.method == method && entry.target == path)
        };
        let happened = async {
            while !(if is_held { memory.faults().hits() > 0 } else { is_asked() }) {
                sleep(Duration::from_millis(10)).await;
            }
        };
        if timeout(IN_VAIN, happened).await.is_err() {
            return Ok("did not happen");
        }
        let is_last = self.sent.last().is_some_and(|(last, _)| *last == run.command);
        if is_last && !is_held && run.command.method == "create_database" && !self.marked {
            self.marked = self.document(true).await?;
        }
        Ok("waited for")
    }

    fn has_ended(&mut self) -> Result<&'static str> {
        self.runs_agent = false;
        self.link.end_silent();
        self.fixture.memory()?.faults().clear();
        self.held.clear();
        let file = self.outcomes();
        if file.is_dir() {
            std::fs::remove_dir(&file)?;
        }
        Ok("done")
    }

    /// After the schedule, waits until everything has settled and checks the guarantees.
    async fn checker(&mut self) -> Result<Vec<String>> {
        self.link.end_silent();
        self.fixture.memory()?.faults().clear();
        if !self.runs_agent {
            self.fixture.agent.start_again()?;
            self.fixture.agent.wait_ready().await?;
        }
        // This call waits for all commands sent before it.
        drop(self.fixture.rpc.request(&Request::new("list_databases", json!({}))).await?);
        let mut wrong = Vec::new();
        let Some((last, _)) = self.sent.last().cloned() else { return Ok(wrong) };
        let path = format!("/{}", self.fixture.name(&last.database));
        let is_there = self.fixture.client.get(&path, Some(self.fixture.couch.admin())).await?.0.is_success();
        if is_there != (last.method == "create_database") {
            wrong.push(format!(
                "database {} is not as {} left it, which was the last",
                last.database, last.method
            ));
        } else if self.marked && !self.document(false).await? {
            wrong.push(format!("what was in database {} is gone", last.database));
        }
        wrong.extend(self.overtaken()?);
        Ok(wrong)
    }

    /// Commands that ran again although a later command on the same database has run in between.
    fn overtaken(&self) -> Result<Vec<String>> {
        let entries = self.fixture.memory()?.log().entries();
        let ran = |command: &Command| {
            let (method, path) = self.asks_for(command);
            let is_done = |status: Option<u16>| status.is_some_and(|status| status < 300);
            let of = entries.iter().enumerate().filter(move |(_, entry)| {
                entry.method == method && entry.target == path && is_done(entry.status)
            });
            of.map(|(at, _)| at).collect::<Vec<_>>()
        };
        let mut wrong = Vec::new();
        for (at, (earlier, _)) in self.sent.iter().enumerate() {
            for (later, _) in
                self.sent.iter().skip(at + 1).filter(|(later, _)| later.database == earlier.database)
            {
                if ran(earlier).last() > ran(later).first() && !ran(later).is_empty() {
                    let (earlier, later) = (&earlier.method, &later.method);
                    wrong.push(format!("{earlier} ran again although {later} has run since"));
                }
            }
        }
        Ok(wrong)
    }

    /// Puts a document into the database of the last command, or checks whether it exists.
    async fn document(&self, put: bool) -> Result<bool> {
        let Some((last, _)) = self.sent.last() else { return Ok(false) };
        let path = format!("/{}/kept", self.fixture.name(&last.database));
        let admin = Some(self.fixture.couch.admin());
        let (status, _) = if put {
            self.fixture.client.put(&path, admin, &json!({})).await?
        } else {
            self.fixture.client.get(&path, admin).await?
        };
        Ok(status.is_success())
    }

    fn request(&self, command: &Command) -> Request {
        let name = self.fixture.name(&command.database);
        let args = match command.method.as_str() {
            "create_database" => json!({"databases": [{"_name": name}]}),
            _ => json!({"database": {"_name": name}}),
        };
        Request::new(&command.method, args)
    }

    /// The CouchDB request of a command.
    fn asks_for(&self, command: &Command) -> (&'static str, String) {
        let method = if command.method == "create_database" { "PUT" } else { "DELETE" };
        (method, format!("/{}", self.fixture.name(&command.database)))
    }

    async fn all_is_delivered(&self) -> Result<()> {
        let channel = self.fixture.rpc.channel().await?;
        until("the delivery", async || {
            let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
            let topic = self.fixture.rpc.topic().into();
            Ok(channel.queue_declare(topic, passive, FieldTable::default()).await?.message_count() == 0)
        })
        .await
    }

    fn outcomes(&self) -> PathBuf {
        self.fixture.agent.directory().join("state/outcomes")
    }
}

//! Replays a schedule of `make explore` with a real agent, a real RabbitMQ and the in-memory CouchDB.
//!
//! Events with a counterpart outside of the agent are performed or awaited: casts, calls, messages over the
//! socket, callers that give up, `kill -9`, SIGTERM, a cut connection, a lost channel or queue, a CouchDB
//! that fails, a disk that refuses outcomes or has torn ones, and a process that dies between the end of a
//! command and its record (for that, CouchDB's answer is held back). All other events happen by themselves or
//! not at all. Events that did not happen are reported, because an agent that keeps its guarantees departs
//! from a schedule that breaks one. Callers: `bin/chaos.rs` and a test.

use std::fmt;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use in_memory_couchdb::Options;
use lapin::options::{QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::FieldTable;
use serde_json::json;
use tokio::time::{Instant, sleep, sleep_until, timeout};

mod check;
mod life;
mod send;

use super::proxy::Proxy;
use super::schedule::{Command, Event, Line, Run};
use crate::bus::{Message, PendingReply};
use crate::fixture::{Fixture, FixturePlan};
use crate::local::{LocalClient, PendingAnswer};
use crate::rabbitmq::RabbitNode;
use crate::until::until;

/// How long to wait for events that a correct agent does not cause.
const IN_VAIN: Duration = Duration::from_secs(4);
/// The time for events inside the agent.
const SETTLES: Duration = Duration::from_millis(300);

/// How long a caller waits that gives up in the schedule.
const GIVES_UP: Duration = Duration::from_secs(6);
/// A broker with this limit closes the channel of a publisher of more (`max_message_size`).
const LARGEST_MESSAGE: usize = 80_000;

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
    /// Callers that wait, and until when those wait that give up.
    calls: Vec<(Command, PendingReply, Option<Instant>)>,
    /// Commands over the socket, with their connections.
    local: Vec<(Command, PendingAnswer, LocalClient)>,
    /// Commands whose callers give up.
    give_up: Vec<Command>,
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
    let broker =
        RabbitNode::start_with(|usual| format!("{usual}max_message_size = {LARGEST_MESSAGE}\n")).await?;
    let mut replay = Replay::start(&broker, lines).await?;
    let mut replayed = Replayed::default();
    for (at, line) in lines.iter().enumerate() {
        // The events before the process or its connection ends.
        let ends = |line: &Line| {
            matches!(line.event, Event::Killed | Event::Torn | Event::Told | Event::Cut | Event::QueueLost)
        };
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
        let plan = FixturePlan::default()
            .in_memory(Options::default())
            .oslo("amqp_durable_queues = true")
            .set("broker.reconnect_min", 0.2)
            .set("broker.reconnect_max", 1)
            .set("rpc.shutdown_grace", 2)
            .transport_url(&broker.transport_url_at(link.port()));
        let mut fixture = plan.up_on(broker).await?;
        let mut known = Vec::new();
        for command in lines.iter().filter_map(|line| sent_command(&line.event)) {
            for thing in command.things().filter(|thing| command.makes(*thing) != Some(true)) {
                let name = fixture.name(thing.1);
                match thing {
                    _ if known.contains(&thing) => {}
                    (true, _) => drop(fixture.user(&name, &[]).await?),
                    (false, _) => fixture.databases(&[&name]).await?,
                }
                known.push(thing);
            }
            known.extend(command.things());
        }
        fixture.agent.terminate().await?;
        fixture.memory()?.log().clear();
        let give_up = lines.iter().filter_map(|line| match &line.event {
            Event::GaveUp(command) => Some(command.clone()),
            _ => None,
        });
        Ok(Self {
            fixture,
            link,
            sent: Vec::new(),
            calls: Vec::new(),
            local: Vec::new(),
            give_up: give_up.collect(),
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
                self.start_agent(life, ends).await?;
                "done"
            }
            Event::Sent(command) => {
                self.send(command).await?;
                "done"
            }
            Event::SentLocally(run) => {
                // It connects to the broker by itself, perhaps earlier than in the schedule.
                if !self.runs_agent {
                    self.start_agent(life, ends).await?;
                }
                self.send_locally(&run.command).await?;
                "done"
            }
            Event::GaveUp(command) => {
                let call = self.calls.iter().find(|(call, ..)| call == command);
                let until = call.and_then(|(.., until)| *until).context("it was not sent as a call")?;
                sleep_until(until).await;
                "done"
            }
            Event::SentAgain(command) => {
                let sent = self.sent.iter().find(|(sent, _)| sent == command).context("it was not sent")?;
                self.fixture.bus.send(&sent.1).await?;
                "done"
            }
            Event::Delivered(_) => {
                self.all_is_delivered().await?;
                "waited for"
            }
            Event::Begins(run) | Event::HasRun(run) | Event::FailsForNow(run) | Event::Fails(run) => {
                self.has_run(run).await?
            }
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
            Event::Torn => {
                self.fixture.agent.kill9()?;
                self.tear()?;
                self.has_ended()?
            }
            Event::Told => {
                self.fixture.agent.terminate().await?;
                self.has_ended()?
            }
            Event::Cut => {
                self.link.cut();
                "done"
            }
            Event::QueueLost => {
                let channel = self.fixture.bus.channel().await?;
                channel.queue_delete(self.fixture.bus.topic().into(), QueueDeleteOptions::default()).await?;
                self.link.cut();
                if self.runs_agent {
                    self.queue_is_back().await?;
                }
                "done"
            }
            Event::ChannelClosed => {
                self.close_channel().await?;
                "done"
            }
        })
    }

    async fn has_run(&mut self, run: &Run) -> Result<&'static str> {
        let memory = self.fixture.memory()?;
        let (method, path) = run.command.asks_for(&self.fixture);
        let is_held = self.held.contains(run);
        let is_asked = || {
            let entries = memory.log().entries();
            entries
                .iter()
                .skip(self.earlier)
                .any(|entry| entry.method == method && path_of(&entry.target) == path)
        };
        let happened = async {
            while !(if is_held { memory.faults().hits() > 0 } else { is_asked() }) {
                sleep(Duration::from_millis(10)).await;
            }
        };
        if timeout(IN_VAIN, happened).await.is_err() {
            return Ok("did not happen");
        }
        let is_last = self.sent.last().is_some_and(|(last, _)| last.is_same(&run.command));
        if is_last && !is_held && run.command.method == "create_database" && !self.marked {
            self.marked = self.document(true).await?;
        }
        Ok("waited for")
    }

    /// Puts a document into the database of the last command, or checks whether it exists.
    async fn document(&self, put: bool) -> Result<bool> {
        let Some((last, _)) = self.sent.last() else { return Ok(false) };
        let name = last.on.last().map(|name| self.fixture.name(name)).unwrap_or_default();
        let path = format!("/{name}/kept");
        let admin = Some(self.fixture.couch.admin());
        let (status, _) = if put {
            self.fixture.client.put(&path, admin, &json!({})).await?
        } else {
            self.fixture.client.get(&path, admin).await?
        };
        Ok(status.is_success())
    }

    /// Waits until the agent has declared its queue again: until then, what is sent gets lost.
    async fn queue_is_back(&self) -> Result<()> {
        until("the queue", async || {
            let channel = self.fixture.bus.channel().await?;
            let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
            let topic = self.fixture.bus.topic().into();
            Ok(channel.queue_declare(topic, passive, FieldTable::default()).await.is_ok())
        })
        .await
    }

    async fn all_is_delivered(&self) -> Result<()> {
        let channel = self.fixture.bus.channel().await?;
        until("the delivery", async || {
            let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
            let topic = self.fixture.bus.topic().into();
            Ok(channel.queue_declare(topic, passive, FieldTable::default()).await?.message_count() == 0)
        })
        .await
    }
}

fn sent_command(event: &Event) -> Option<&Command> {
    match event {
        Event::Sent(command) => Some(command),
        Event::SentLocally(run) => Some(&run.command),
        _ => None,
    }
}

/// The path of a request, without its query.
fn path_of(target: &str) -> &str {
    target.split('?').next().unwrap_or(target)
}

//! Replays a schedule of `make explore` with a real agent, a real RabbitMQ and the in-memory CouchDB.
//!
//! Events with a counterpart outside of the agent are performed or awaited: casts, calls, messages over the
//! socket, callers that give up, `kill -9`, SIGTERM, a cut connection, a lost channel or queue, a CouchDB
//! that fails, a disk that refuses outcomes or has torn ones, and a process that dies between the end of a
//! command and its record (for that, CouchDB's answer is held back). All other events happen by themselves or
//! not at all. Events that did not happen are reported, because an agent that keeps its guarantees departs
//! from a schedule that breaks one. Callers: `bin/chaos.rs` and a test.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use in_memory_couchdb::{Fault, Options, Rule};
use lapin::options::{QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::FieldTable;
use serde_json::json;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::proxy::Proxy;
use super::schedule::{Command, Event, Line, Run, Way};
use crate::bus::{CallError, Message, PendingReply, Request, notification};
use crate::fixture::{Fixture, FixturePlan};
use crate::local::{LocalClient, PendingAnswer};
use crate::rabbitmq::RabbitNode;
use crate::until::{HUNG, until};

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
                "done"
            }
            Event::ChannelClosed => {
                self.close_channel().await?;
                "done"
            }
        })
    }

    async fn start_agent(&mut self, life: &[&Event], ends: bool) -> Result<()> {
        self.prepare(life, ends)?;
        self.fixture.agent.start_again()?;
        self.fixture.agent.wait_ready().await?;
        self.runs_agent = true;
        Ok(())
    }

    /// Before the agent starts, decides which answers of CouchDB are held back and whether the disk accepts
    /// outcomes.
    fn prepare(&mut self, life: &[&Event], ends: bool) -> Result<()> {
        self.earlier = self.fixture.memory()?.log().entries().len();
        let refused = life.iter().any(|event| matches!(event, Event::Refused(_)));
        for event in life {
            // CouchDB fails at once, before the request has an effect or after.
            let (run, answer) = match event {
                Event::FailsForNow(run) => (run, (500, r#"{"error":"unknown_error","reason":"replayed"}"#)),
                Event::Fails(run) => (run, (400, r#"{"error":"bad_request","reason":"replayed"}"#)),
                Event::Begins(run) => (run, (0, "")),
                _ => continue,
            };
            if let (status @ 400.., body) = answer {
                let (method, path) = run.command.asks_for(&self.fixture);
                let fault = Fault::Answer { status, body: body.to_owned() };
                let rule = Rule::new(method, &path, fault).times(1);
                let rule = if status == 500 { rule.after_effect() } else { rule };
                self.fixture.memory()?.faults().add(rule);
                continue;
            }
            let is_refused = life.iter().any(|event| matches!(event, Event::Refused(of) if of == run));
            let is_recorded = life.iter().any(|event| matches!(event, Event::Recorded(of) if of == run));
            // If the disk refuses one outcome, it refuses those of later commands too.
            if is_refused || (ends && !is_recorded && !refused) {
                let (method, path) = run.command.asks_for(&self.fixture);
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
        let (method, path) = run.command.asks_for(&self.fixture);
        let is_held = self.held.contains(run);
        let is_asked = || {
            let entries = memory.log().entries();
            entries.iter().skip(self.earlier).any(|entry| entry.method == method && path_of(&entry.target) == path)
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
        drop(self.fixture.bus.request(&Request::new("list_databases", json!({}))).await?);
        let mut wrong = self.answers().await;
        let order = self.first_runs()?;
        for thing in self.things() {
            let last = order.iter().rev().find_map(|command| Some((command, command.makes(thing)?)));
            let Some((last, is_made)) = last else { continue };
            if self.is_there(thing).await? != is_made {
                wrong.push(format!("{} is not as {} left it, which was the last", thing.1, last.method));
            }
        }
        if wrong.is_empty() && self.marked && !self.document(false).await? {
            wrong.push("what was in the last database is gone".to_owned());
        }
        wrong.extend(self.overtaken()?);
        Ok(wrong)
    }

    /// Calls whose callers still wait, and commands that succeeded for one caller and failed for another.
    async fn answers(&mut self) -> Vec<String> {
        let (mut wrong, mut answered): (Vec<String>, Vec<(Command, bool)>) = (Vec::new(), Vec::new());
        let mut all = Vec::new();
        for (command, reply, until) in std::mem::take(&mut self.calls) {
            let gives_up = until.is_some();
            all.push((command, gives_up, reply.within(IN_VAIN).await));
        }
        for (command, answer, _connection) in std::mem::take(&mut self.local) {
            all.push((command, false, answer.within(IN_VAIN).await));
        }
        for (command, gives_up, answer) in all {
            match answer {
                Err(CallError::Timeout(_)) if !gives_up => {
                    wrong.push(format!("{} is never answered ({:?})", command.method, command.way));
                }
                Ok(_) | Err(CallError::Failure(_)) => answered.push((command, answer.is_ok())),
                // The caller gave up, or the agent was killed with its socket.
                Err(_) => {}
            }
        }
        for (at, (command, succeeded)) in answered.iter().enumerate() {
            let differs = |(other, result): &&(Command, bool)| other.is_same(command) && result != succeeded;
            if let Some((other, _)) = answered.iter().skip(at + 1).find(differs) {
                let (method, one, two) = (&command.method, command.way, other.way);
                wrong.push(format!("{method} is answered differently to {one:?} and {two:?}"));
            }
        }
        wrong
    }

    fn things(&self) -> Vec<(bool, &str)> {
        let mut all: Vec<_> = self.sent.iter().flat_map(|(command, _)| command.things()).collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    async fn is_there(&self, (is_user, name): (bool, &str)) -> Result<bool> {
        let name = self.fixture.name(name);
        if is_user {
            return Ok(self.fixture.user_document(&name).await?.is_some());
        }
        let admin = Some(self.fixture.couch.admin());
        Ok(self.fixture.client.get(&format!("/{name}"), admin).await?.0.is_success())
    }

    /// When CouchDB has carried a command out: places in its log.
    fn runs_of(&self, command: &Command) -> Result<Vec<usize>> {
        let (method, path) = command.asks_for(&self.fixture);
        let entries = self.fixture.memory()?.log().entries();
        let is_done = |status: Option<u16>| status.is_some_and(|status| status < 300);
        let of = entries.iter().enumerate().filter(|(_, entry)| {
            entry.method == method && path_of(&entry.target) == path && is_done(entry.status)
        });
        Ok(of.map(|(at, _)| at).collect())
    }

    /// The commands that have run, in the order of their first runs.
    fn first_runs(&self) -> Result<Vec<&Command>> {
        let mut all = Vec::new();
        for (command, _) in self.sent.iter().filter(|(command, _)| !command.only_reads()) {
            if let Some(first) = self.runs_of(command)?.first() {
                all.push((*first, command));
            }
        }
        all.sort_by_key(|(first, _)| *first);
        Ok(all.into_iter().map(|(_, command)| command).collect())
    }

    /// Commands that ran again although a conflicting one has run in between.
    fn overtaken(&self) -> Result<Vec<String>> {
        let order = self.first_runs()?;
        let mut wrong = Vec::new();
        for (at, earlier) in order.iter().enumerate() {
            for later in order.iter().skip(at + 1).filter(|later| later.conflicts_with(earlier)) {
                // Two commands that CouchDB sees as the same request can't be told apart.
                let is_seen_as = earlier.asks_for(&self.fixture) == later.asks_for(&self.fixture);
                if !is_seen_as && self.runs_of(earlier)?.last() > self.runs_of(later)?.first() {
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

    async fn send(&mut self, command: &Command) -> Result<()> {
        let gives_up = self.give_up.contains(command);
        let mut request = command.request(&self.fixture);
        if let Some(id) = self.id_of(command) {
            request = request.id(&id);
        }
        let message = if command.way == Way::Call {
            let message = self.fixture.bus.encode_call(&request.timeout(if gives_up { GIVES_UP } else { HUNG }));
            let reply = self.fixture.bus.expect_reply(&message);
            self.calls.push((command.clone(), reply, gives_up.then(|| Instant::now() + GIVES_UP)));
            message
        } else {
            let notification = notification(&self.fixture.id, &request.method);
            self.fixture.bus.encode_cast(&request.notified(notification))
        };
        self.fixture.bus.send(&message).await?;
        self.sent.push((command.clone(), message));
        Ok(())
    }

    async fn send_locally(&mut self, command: &Command) -> Result<()> {
        let mut request = command.request(&self.fixture);
        if let Some(id) = self.id_of(command) {
            request = request.id(&id);
        }
        let message = LocalClient::encode_call(&request);
        let client = self.fixture.local().await?;
        let answer = client.expect_answer(&message);
        client.send(&message).await?;
        self.local.push((command.clone(), answer, client));
        self.sent.push((command.clone(), message));
        Ok(())
    }

    /// The id of the same command, sent before.
    fn id_of(&self, command: &Command) -> Option<String> {
        let sent = self.sent.iter().find(|(sent, _)| sent.is_same(command));
        sent.map(|(_, message)| message.unique_id.clone())
    }

    /// Has the agent publish a message that the broker finds too large: the report of a cast's end contains its
    /// notification twice.
    async fn close_channel(&self) -> Result<()> {
        let mut end = notification(&self.fixture.id, "create_database");
        end["padding"] = "x".repeat(LARGEST_MESSAGE * 6 / 10).into();
        let args = json!({"databases": [{"_name": self.fixture.name("padding")}]});
        self.fixture.bus.cast(&Request::new("create_database", args).notified(end)).await?;
        sleep(SETTLES).await;
        Ok(())
    }

    /// Takes the end away from the last line of the file of outcomes.
    fn tear(&self) -> Result<()> {
        let mut text = std::fs::read(self.outcomes())?;
        text.truncate(text.len().saturating_sub(10));
        Ok(std::fs::write(self.outcomes(), text)?)
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

    fn outcomes(&self) -> PathBuf {
        self.fixture.agent.directory().join("state/outcomes")
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

//! The time from start to ready, and the cost of an idle process.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokio::time::sleep;
use trove_couchdb_protocol::new_id;
use trove_couchdb_tests::{agent, rabbitmq::RabbitNode};

use crate::{
    counting,
    environment::{self, Child, Couch},
    load::Caller,
    results::{Goal, Ratio, Section, Table, number, spread},
    sizes::Sizes,
    stats::{Spread, ratios},
    usage::{self, WakeUps},
};

const START_LIMIT: Duration = Duration::from_secs(30);
/// The interval of sampling an idle process's threads: those of tokio's blocking pool live for ten seconds.
const LOOK: Duration = Duration::from_secs(1);

/// One idle process over the observed time.
struct Idle {
    name: &'static str,
    rss_mib: f64,
    threads: usize,
    cpu_s_per_hour: f64,
    wake_ups_per_minute: f64,
    bytes_per_minute: f64,
}

/// A figure of an idle process: its name and its getter.
type Pick = (&'static str, fn(&Idle) -> f64);

/// Measures the section.
pub async fn measure(sizes: &Sizes) -> Result<Section> {
    let broker = RabbitNode::start().await?;
    let mut section = Section::default();
    // A CouchDB for each agent: the second agent would not get the first one's os_admin, and wait.
    starts(&broker, &Couch::start("3.5")?, sizes, &mut section).await?;
    idle(&broker, &Couch::start("3.5")?, sizes, &mut section).await?;
    size(&mut section)?;
    Ok(section)
}

async fn starts(broker: &RabbitNode, couch: &Couch, sizes: &Sizes, section: &mut Section) -> Result<()> {
    let exchange = "bench-start";
    let caller = Caller::connect(&broker.amqp_uri(), exchange).await?;
    let (agent_id, python_id) = (new_id(), new_id());
    let mut options = environment::agent_options(&agent_id, &broker.transport_url(), couch);
    exchange.clone_into(&mut options.control_exchange);
    // The first start creates os_admin and the queues; only later starts are measured.
    let mut agent = environment::agent(options).await?;
    drop(Child::start(&mut environment::python_echo(broker, exchange, &python_id)?)?);

    let [mut consuming, mut answering, mut python] = [const { Vec::new() }; 3];
    for _ in 0..sizes.starts {
        agent.terminate().await?;
        let answer = waiting_call(&caller, &agent_id).await;
        let began = Instant::now();
        agent.start_again()?;
        agent.wait_notification(START_LIMIT, |line| line.starts_with("STATUS=serving")).await?;
        consuming.push(milliseconds(began));
        answering.push(answer.await??.duration_since(began).as_secs_f64() * 1e3);
        agent.wait_ready().await?;

        let mut command = environment::python_echo(broker, exchange, &python_id)?;
        let answer = waiting_call(&caller, &python_id).await;
        let began = Instant::now();
        let server = Child::start(&mut command)?;
        python.push(answer.await??.duration_since(began).as_secs_f64() * 1e3);
        drop(server);
    }
    let mut table = Table {
        caption: "From exec to serving (a call waits in the queue already), in ms".to_owned(),
        head: ["server", "consuming", "first answer"].map(str::to_owned).to_vec(),
        rows: Vec::new(),
    };
    let [consuming, answering_spread, python_spread] =
        [&consuming, &answering, &python].map(|all| Spread::of(all));
    table.rows.push(vec!["agent".to_owned(), spread(consuming), spread(answering_spread)]);
    table.rows.push(vec!["python (bare)".to_owned(), "–".to_owned(), spread(python_spread)]);
    section.tables.push(table);
    section.figures.insert("agent, exec to consuming, ms".to_owned(), consuming);
    section.figures.insert("agent, exec to first answer, ms".to_owned(), answering_spread);
    section.figures.insert("python, exec to first answer, ms".to_owned(), python_spread);
    section.goals.push(Goal::at_most("From exec to consuming", 50.0, consuming.median, "ms"));
    let ratio = Ratio { value: ratios(&python, &answering).median, more_is_better: true };
    section.ratios.insert("start to first answer, Python's over the agent's".to_owned(), ratio);
    Ok(())
}

/// Sends a call before a server is running; the task ends when the call is answered.
async fn waiting_call(caller: &Caller, guest_id: &str) -> tokio::task::JoinHandle<Result<Instant>> {
    let (caller, guest_id) = (caller.clone(), guest_id.to_owned());
    let call = tokio::spawn(async move {
        caller.ping(&guest_id).await?;
        Ok(Instant::now())
    });
    sleep(Duration::from_millis(200)).await;
    call
}

async fn idle(broker: &RabbitNode, couch: &Couch, sizes: &Sizes, section: &mut Section) -> Result<()> {
    let exchange = "bench-idle";
    let (agent_id, python_id) = (new_id(), new_id());
    let (port, agent_bytes) = counting::door_to(broker.port()).await?;
    let mut options = environment::agent_options(&agent_id, &broker.transport_url_at(port), couch);
    exchange.clone_into(&mut options.control_exchange);
    let _caller = Caller::connect(&broker.amqp_uri(), exchange).await?;
    let agent = environment::agent(options).await?;
    let (port, python_bytes) = counting::door_to(broker.port()).await?;
    let mut command = environment::python_echo(broker, exchange, &python_id)?;
    let through_the_door = command.get_args().map(|argument| {
        let text = argument.to_string_lossy().into_owned();
        if text.starts_with("rabbit://") { broker.transport_url_at(port) } else { text }
    });
    let mut through = std::process::Command::new(command.get_program());
    through.args(through_the_door.collect::<Vec<_>>()).env("PYTHONDONTWRITEBYTECODE", "1");
    command = through;
    let python = Child::start(&mut command)?;
    // Threads of the blocking pool and caches of the start are gone after this.
    sleep(Duration::from_secs(15).min(sizes.idle)).await;

    let watched = [("agent", agent.pid(), agent_bytes), ("python (bare)", python.pid(), python_bytes)];
    let began = Instant::now();
    let mut before = Vec::new();
    for (_, pid, bytes) in &watched {
        before.push((usage::cpu_time(*pid)?, WakeUps::of(*pid)?, bytes.both()));
    }
    while began.elapsed() < sizes.idle {
        sleep(LOOK).await;
        for (_, wake_ups, _) in &mut before {
            wake_ups.look()?;
        }
    }
    let minutes = began.elapsed().as_secs_f64() / 60.0;
    let mut all = Vec::new();
    for ((name, pid, bytes), (cpu, wake_ups, passed)) in watched.into_iter().zip(before) {
        eprintln!("   {name}: wake-ups by thread {:?}", wake_ups.by_name());
        all.push(Idle {
            name,
            rss_mib: usage::memory_kib(pid, "VmRSS")? / 1024.0,
            threads: usage::threads(pid)?,
            cpu_s_per_hour: usage::cpu_time(pid)?.saturating_sub(cpu).as_secs_f64() / minutes * 60.0,
            wake_ups_per_minute: whole(wake_ups.count()) / minutes,
            bytes_per_minute: whole(bytes.both() - passed) / minutes,
        });
    }
    tell_idle(&all, minutes, section);
    Ok(())
}

fn tell_idle(all: &[Idle], minutes: f64, section: &mut Section) {
    let picks: [Pick; 5] = [
        ("RSS MiB", |idle| idle.rss_mib),
        ("threads", |idle| whole(u64::try_from(idle.threads).unwrap_or_default())),
        ("CPU s per hour", |idle| idle.cpu_s_per_hour),
        ("wake-ups per min", |idle| idle.wake_ups_per_minute),
        ("bytes to and from the broker per min", |idle| idle.bytes_per_minute),
    ];
    let mut table = Table {
        caption: format!("Idle, watched for {} min", number(minutes)),
        head: std::iter::once("server").chain(picks.map(|(name, _)| name)).map(str::to_owned).collect(),
        rows: Vec::new(),
    };
    for idle in all {
        let mut row = vec![idle.name.to_owned()];
        for (what, pick) in picks {
            section.figures.insert(format!("{}, idle, {what}", idle.name), Spread::once(pick(idle)));
            row.push(number(pick(idle)));
        }
        table.rows.push(row);
    }
    section.tables.push(table);
    if let [agent, python] = all {
        section.goals.push(Goal::at_most("Idle: resident memory", 10.0, agent.rss_mib, "MiB"));
        section.goals.push(Goal::at_most("Idle: processor time in an hour", 1.0, agent.cpu_s_per_hour, "s"));
        section.goals.push(Goal::at_most("Idle: wake-ups in a minute", 10.0, agent.wake_ups_per_minute, ""));
        let ratio = |value| Ratio { value, more_is_better: true };
        section.ratios.insert(
            "idle memory, Python's over the agent's".to_owned(),
            ratio(python.rss_mib / agent.rss_mib),
        );
    }
}

fn size(section: &mut Section) -> Result<()> {
    let path = agent::binary()?;
    let bytes = std::fs::metadata(&path).with_context(|| path.display().to_string())?.len();
    let megabytes = whole(bytes) / 1e6;
    section.figures.insert("agent, binary MB".to_owned(), Spread::once(megabytes));
    section.goals.push(Goal::at_most("Size of the binary, stripped", 8.0, megabytes, "MB"));
    let ratio = Ratio { value: 1.0 / megabytes, more_is_better: true };
    section.ratios.insert("1 MB over the size of the binary".to_owned(), ratio);
    Ok(())
}

fn milliseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
fn whole(count: u64) -> f64 {
    count as f64
}

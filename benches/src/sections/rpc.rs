//! `rpc_ping`, which needs no CouchDB: the agent, a plain Python server and a minimal Rust server.
//!
//! All servers use one broker and are loaded in turn by the same client; the others are idle.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, Result};
use trove_couchdb_protocol::new_id;
use trove_couchdb_tests::rabbitmq::RabbitNode;

use crate::{
    environment::{self, Child, Couch},
    load::Caller,
    results::{Goal, Line, Plot, Ratio, Section, Table, number, spread},
    sizes::Sizes,
    stats::{Spread, ratios},
    usage,
};

const AGENT: &str = "agent";
const PYTHON: &str = "python";
const ECHO: &str = "lapin echo";
const CONFIRMED: &str = "lapin echo, confirmed";
const SERVERS: [&str; 4] = [AGENT, PYTHON, ECHO, CONFIRMED];
const CALLERS: [usize; 3] = [1, 8, MANY];

/// Fewer than the broker hands out at once of the queue that Trove sends to (56 of `broker.prefetch = 64`). With
/// more, the agent takes one message after the other, so that an expired call stays in the broker.
const MANY: usize = 48;

/// The measurement of one server under one load.
struct Sample {
    throughput: f64,
    p50: f64,
    p99: f64,
    /// CPU time of one call, in µs: the server's, the broker's, the client's.
    cpu: [f64; 3],
}

/// A figure of a sample: its name and its getter.
type Pick = (&'static str, fn(&Sample) -> f64);

type Samples = BTreeMap<(usize, usize), Vec<Sample>>;

/// Measures the section.
pub async fn measure(sizes: &Sizes) -> Result<Section> {
    let broker = RabbitNode::start().await?;
    let exchange = "bench-rpc";
    let caller = Caller::connect(&broker.amqp_uri(), exchange).await?;
    let couch = Couch::start("3.5")?;
    let ids = SERVERS.map(|_| new_id());

    let mut options = environment::agent_options(&ids[0], &broker.transport_url(), &couch);
    exchange.clone_into(&mut options.control_exchange);
    let agent = environment::agent(options).await?;
    let python = Child::start(&mut environment::python_echo(&broker, exchange, &ids[1])?)?;
    let echo = Child::start(&mut environment::lapin_echo(&broker, exchange, &ids[2], false)?)?;
    let confirmed = Child::start(&mut environment::lapin_echo(&broker, exchange, &ids[3], true)?)?;
    let pids = [agent.pid(), python.pid(), echo.pid(), confirmed.pid()];
    let broker_pid = broker.pid();

    for (id, name) in ids.iter().zip(SERVERS) {
        caller.load(id, 8, Duration::from_millis(500)).await.context(name)?;
    }
    let mut samples = Samples::new();
    for round in 0..sizes.rounds {
        for callers in CALLERS {
            // Each round begins with a different server.
            for server in (0..SERVERS.len()).map(|server| (server + round) % SERVERS.len()) {
                let watched = [pids[server], broker_pid, std::process::id()];
                let sample = one(&caller, &ids[server], callers, sizes.load, watched).await?;
                samples.entry((server, callers)).or_default().push(sample);
            }
        }
        eprintln!("   round {} of {}", round + 1, sizes.rounds);
    }
    let mut memory = Vec::new();
    for pid in pids {
        memory.push(usage::memory_kib(pid, "VmRSS")? / 1024.0);
    }
    Ok(section(&samples, &memory))
}

async fn one(
    caller: &Caller,
    id: &str,
    callers: usize,
    duration: Duration,
    watched: [u32; 3],
) -> Result<Sample> {
    let before = watched.map(usage::cpu_time);
    let load = caller.load(id, callers, duration).await?;
    let mut cpu = [0.0; 3];
    for ((cpu, before), pid) in cpu.iter_mut().zip(before).zip(watched) {
        let used = usage::cpu_time(pid)?.saturating_sub(before?);
        *cpu = used.as_secs_f64() * load.throughput().recip() / load.elapsed.as_secs_f64() * 1e6;
    }
    Ok(Sample { throughput: load.throughput(), p50: load.latency(0.5), p99: load.latency(0.99), cpu })
}

fn section(samples: &Samples, memory: &[f64]) -> Section {
    let mut section = Section::default();
    let values = |server: usize, callers: usize, pick: fn(&Sample) -> f64| -> Vec<f64> {
        samples.get(&(server, callers)).map(|all| all.iter().map(pick).collect()).unwrap_or_default()
    };
    let picks: [Pick; 6] = [
        ("calls per s", |sample| sample.throughput),
        ("p50 ms", |sample| sample.p50),
        ("p99 ms", |sample| sample.p99),
        ("server µs per call", |sample| sample.cpu[0]),
        ("broker µs per call", |sample| sample.cpu[1]),
        ("client µs per call", |sample| sample.cpu[2]),
    ];
    for callers in CALLERS {
        let mut table = Table {
            caption: format!("`rpc_ping`, {callers} caller{}", if callers == 1 { "" } else { "s" }),
            head: std::iter::once("server").chain(picks.map(|(name, _)| name)).map(str::to_owned).collect(),
            rows: Vec::new(),
        };
        for (server, name) in SERVERS.iter().enumerate() {
            let mut row = vec![(*name).to_owned()];
            for (what, pick) in picks {
                let figure = Spread::of(&values(server, callers, pick));
                section.figures.insert(format!("{name}, {callers} callers, {what}"), figure);
                row.push(spread(figure));
            }
            table.rows.push(row);
        }
        section.tables.push(table);
    }
    let mut table = Table {
        caption: "Memory after all of that".to_owned(),
        head: vec!["server".to_owned(), "RSS MiB".to_owned()],
        rows: Vec::new(),
    };
    for (name, rss) in SERVERS.iter().zip(memory) {
        section.figures.insert(format!("{name}, RSS MiB"), Spread::once(*rss));
        table.rows.push(vec![(*name).to_owned(), number(*rss)]);
    }
    section.tables.push(table);
    let lines = SERVERS.iter().enumerate().map(|(server, name)| Line {
        name: (*name).to_owned(),
        points: CALLERS
            .map(|callers| {
                (count(callers), Spread::of(&values(server, callers, |sample| sample.throughput)).median)
            })
            .to_vec(),
    });
    section.plots.push(Plot {
        name: "rpc-throughput".to_owned(),
        title: "rpc_ping: calls per second".to_owned(),
        x: "callers".to_owned(),
        y: "calls per second".to_owned(),
        log: (true, true),
        lines: lines.collect(),
    });

    let throughput = |server, callers| values(server, callers, |sample| sample.throughput);
    let cpu = |server, callers| values(server, callers, |sample| sample.cpu[0]);
    let p50 = |server, callers| values(server, callers, |sample| sample.p50);
    for callers in CALLERS {
        let more = ratios(&throughput(0, callers), &throughput(1, callers)).median;
        let less = ratios(&throughput(2, callers), &throughput(0, callers)).median;
        let same = ratios(&throughput(3, callers), &throughput(0, callers)).median;
        let ratio = |value, more_is_better| Ratio { value, more_is_better };
        section.ratios.insert(format!("throughput over Python's, {callers} callers"), ratio(more, true));
        section.ratios.insert(
            format!("lapin echo's throughput over the agent's, {callers} callers"),
            ratio(less, false),
        );
        section.ratios.insert(
            format!("confirmed lapin echo's throughput over the agent's, {callers} callers"),
            ratio(same, false),
        );
        section.ratios.insert(
            format!("CPU per call, Python's over the agent's, {callers} callers"),
            ratio(ratios(&cpu(1, callers), &cpu(0, callers)).median, true),
        );
    }
    let best = |server| {
        CALLERS.map(|callers| Spread::of(&throughput(server, callers)).median).into_iter().fold(0.0, f64::max)
    };
    section.goals.push(Goal::at_least(
        "Throughput over that of Python's threading server, 48 callers",
        10.0,
        ratios(&throughput(0, MANY), &throughput(1, MANY)).median,
        "×",
    ));
    section.goals.push(Goal::at_most(
        "The minimal lapin echo's throughput over the agent's, 48 callers",
        1.3,
        ratios(&throughput(2, MANY), &throughput(0, MANY)).median,
        "×",
    ));
    section.goals.push(Goal::at_most("The same at its best number of callers", 1.3, best(2) / best(0), "×"));
    section.goals.push(Goal::at_most(
        "Latency at one caller over the minimal lapin echo's (p50)",
        1.3,
        ratios(&p50(0, 1), &p50(2, 1)).median,
        "×",
    ));
    section
}

#[expect(clippy::cast_precision_loss, reason = "small numbers of callers")]
fn count(callers: usize) -> f64 {
    callers as f64
}

//! Many guests on one broker: the cost of each, their response times, and their recovery after the broker's
//! restart.

use std::{
    process::Command,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, ensure};
use futures_util::{StreamExt, TryStreamExt, stream};
use tempfile::TempDir;
use tokio::time::sleep;
use trove_couchdb_tests::rabbitmq::RabbitNode;

use crate::{
    environment,
    fleet::Fleet,
    load::Caller,
    results::{Goal, Line, Plot, Ratio, Section, Table, number},
    sizes::Sizes,
    stats::{Spread, quantile},
    usage,
};

const EXCHANGE: &str = "bench-fleet";
const CONDUCTOR: &str = "bench-fleet-conductor";
/// Guests that are called at the same time.
const CALLERS: usize = 32;
const CONNECT_LIMIT: Duration = Duration::from_secs(300);
/// The values of `broker.reconnect_max` for which the reconnect storm is shown; 30 s is the default.
const LONGEST: [f64; 3] = [5.0, 30.0, 120.0];
/// The interval between starts, where only later events are measured.
const PACE: Duration = Duration::from_millis(5);
/// The number of guests for the extrapolation.
const GUESTS: f64 = 100_000.0;

/// Measures the section.
pub async fn measure(sizes: &Sizes) -> Result<Section> {
    let mut section = Section::default();
    let mut lines = vec![curve("all started at once", &steady(sizes, &mut section).await?)];
    let mut rates = Vec::new();
    for longest in LONGEST {
        let back = storm(sizes, longest).await?;
        let all = back.last().copied().unwrap_or_default();
        rates.push(vec![
            number(longest),
            number(quantile(&back, 0.5)),
            number(quantile(&back, 0.99)),
            number(all),
            number(busiest_second(&back)),
        ]);
        section
            .figures
            .insert(format!("storm, reconnect_max {longest} s, all back after s"), Spread::once(all));
        section.figures.insert(
            format!("storm, reconnect_max {longest} s, busiest second"),
            Spread::once(busiest_second(&back)),
        );
        lines.push(curve(&format!("reconnect_max {} s", number(longest)), &back));
        eprintln!("   storm with reconnect_max {longest} s: all back after {all:.1} s");
    }
    section.tables.push(Table {
        caption: format!(
            "{} agents after the broker was killed and started again: seconds from its first AMQP answer",
            sizes.fleet
        ),
        head: ["reconnect_max s", "half are back", "99 % are back", "all are back", "most in one second"]
            .map(str::to_owned)
            .to_vec(),
        rows: rates,
    });
    section.plots.push(Plot {
        name: "reconnect-storm".to_owned(),
        title: format!("{} agents come back after the broker's restart", sizes.fleet),
        x: "seconds since the broker answers again".to_owned(),
        y: "agents connected".to_owned(),
        log: (false, false),
        lines,
    });
    Ok(section)
}

/// Measures the cost of idle guests; returns when each was connected after all were started at once.
async fn steady(sizes: &Sizes, section: &mut Section) -> Result<Vec<f64>> {
    let broker = RabbitNode::start().await?;
    let caller = Caller::connect(&broker.amqp_uri(), EXCHANGE).await?;
    let conductor = caller.count_messages(CONDUCTOR).await?;
    environment::settle().await;
    let empty = usage::memory_kib(broker.pid(), "VmRSS")?;
    let directory = tempfile::tempdir()?;
    let began = unix_time()?;
    let mut fleet = start(&broker, &directory, sizes.fleet, 30.0, Duration::ZERO)?;
    fleet.connected(sizes.fleet, CONNECT_LIMIT).await?;
    let mut first: Vec<f64> = fleet.report()?.into_iter().map(|(_, at)| at - began).collect();
    first.sort_by(f64::total_cmp);
    let connecting = first.last().copied().unwrap_or_default();
    // Two heartbeat intervals, so that allocations of the start are released.
    sleep(Duration::from_secs(20).min(sizes.idle)).await;

    let guests = whole(sizes.fleet);
    let broker_kib = (usage::memory_kib(broker.pid(), "VmRSS")? - empty) / guests;
    let agent_kib = usage::memory_kib(fleet.pid(), "VmRSS")? / guests;
    let (broker_cpu, agent_cpu) = (usage::cpu_time(broker.pid())?, usage::cpu_time(fleet.pid())?);
    let (heard, watched) = (conductor.count(), Instant::now());
    sleep((sizes.idle / 3).max(Duration::from_secs(10))).await;
    let seconds = watched.elapsed().as_secs_f64();
    let per_guest_hour = |now: Duration, before: Duration| {
        now.saturating_sub(before).as_secs_f64() / seconds * 3600.0 / guests
    };
    let broker_cpu = per_guest_hour(usage::cpu_time(broker.pid())?, broker_cpu);
    let agent_cpu = per_guest_hour(usage::cpu_time(fleet.pid())?, agent_cpu);
    let messages = whole(conductor.count() - heard) / seconds / guests * 60.0;

    let asked = Instant::now();
    let mut latencies: Vec<f64> = stream::iter(0..sizes.fleet)
        .map(|number| {
            let caller = caller.clone();
            async move {
                let sent = Instant::now();
                caller.ping(&format!("fleet-{number:05}")).await?;
                anyhow::Ok(sent.elapsed().as_secs_f64() * 1e3)
            }
        })
        .buffer_unordered(CALLERS)
        .try_collect()
        .await?;
    let answered = guests / asked.elapsed().as_secs_f64();
    latencies.sort_by(f64::total_cmp);

    let rows = [
        ("connections", 1.0, "per guest"),
        ("channels", 2.0, "per guest"),
        ("queues", 3.0, "per guest"),
        ("broker's memory", broker_kib, "KiB per guest"),
        ("broker's processor time, all idle", broker_cpu, "s per guest and hour"),
        ("heartbeats to the conductor", messages, "per guest and minute"),
        ("agent's memory, in one process with the others", agent_kib, "KiB per guest"),
        ("agent's processor time, likewise", agent_cpu, "s per guest and hour"),
    ];
    let mut table = Table {
        caption: format!(
            "{} agents on one broker; the right column is the figure for {} guests",
            sizes.fleet,
            number(GUESTS)
        ),
        head: ["what", "measured", "unit", "100,000 guests"].map(str::to_owned).to_vec(),
        rows: Vec::new(),
    };
    for (what, value, unit) in rows {
        section.figures.insert(format!("{what}, {unit}"), Spread::once(value));
        let all = match unit {
            "KiB per guest" => format!("{} GiB", number(value * GUESTS / 1024.0 / 1024.0)),
            "s per guest and hour" => format!("{} cores", number(value * GUESTS / 3600.0)),
            "per guest and minute" => format!("{} per s", number(value * GUESTS / 60.0)),
            _ => number(value * GUESTS),
        };
        table.rows.push(vec![what.to_owned(), number(value), unit.to_owned(), all]);
    }
    section.tables.push(table);
    section.tables.push(Table {
        caption: format!("`rpc_ping` to each of {} agents once, {CALLERS} at a time", sizes.fleet),
        head: ["answers per s", "p50 ms", "p99 ms", "all connected, started at once, s"]
            .map(str::to_owned)
            .to_vec(),
        rows: vec![vec![
            number(answered),
            number(quantile(&latencies, 0.5)),
            number(quantile(&latencies, 0.99)),
            number(connecting),
        ]],
    });
    section.figures.insert("answers per s".to_owned(), Spread::once(answered));
    section.goals.push(Goal::at_least(
        "Simulated agents on one broker, all of which answer",
        2_000.0,
        whole(latencies.len()),
        "",
    ));
    section
        .ratios
        .insert("broker's KiB per guest".to_owned(), Ratio { value: broker_kib, more_is_better: false });
    Ok(first)
}

fn start(
    broker: &RabbitNode,
    directory: &TempDir,
    agents: usize,
    longest: f64,
    pace: Duration,
) -> Result<Fleet> {
    let config = directory.path().join("fleet.toml");
    let text = format!(
        "[guest]\nid = \"fleet\"\nstate_dir = \"{}\"\n[local]\nsocket = \"\"\n[broker]\ntransport_url = \"{}\"\n\
         control_exchange = \"{EXCHANGE}\"\nconductor_queue = \"{CONDUCTOR}\"\nreconnect_max = {longest:?}\n\
         [heartbeat]\nassume_prepared = true\n",
        directory.path().display(),
        broker.transport_url()
    );
    trove_couchdb_tests::agent::write_private(&config, &text)?;
    let mut command = Command::new(environment::sibling("fleet")?);
    command
        .args(["--agents", &agents.to_string(), "--pace-ms", &pace.as_millis().to_string()])
        .arg("--config")
        .arg(&config)
        .arg("--directory")
        .arg(directory.path());
    Fleet::start(&mut command)
}

/// Kills the broker and starts it again. Returns when each agent was back, in seconds since the broker
/// answered, sorted.
async fn storm(sizes: &Sizes, longest: f64) -> Result<Vec<f64>> {
    let mut broker = RabbitNode::start().await?;
    let directory = tempfile::tempdir()?;
    // The exchange survives this connection, because it is not auto-delete.
    drop(Caller::connect(&broker.amqp_uri(), EXCHANGE).await?);
    let mut fleet = start(&broker, &directory, sizes.fleet, longest, PACE)?;
    fleet.connected(sizes.fleet, CONNECT_LIMIT).await?;
    broker.kill9()?;
    // As long as an operator takes, or a node that recovers its data: the agents' retry intervals have grown
    // by then.
    sleep(Duration::from_secs(20).min(sizes.idle)).await;
    broker.start_again().await?;
    let returned = unix_time()?;
    fleet.connected(sizes.fleet * 2, CONNECT_LIMIT).await?;
    let mut back: Vec<f64> =
        fleet.report()?.into_iter().skip(sizes.fleet).map(|(_, at)| (at - returned).max(0.0)).collect();
    back.sort_by(f64::total_cmp);
    ensure!(back.len() >= sizes.fleet, "some agents did not come back");
    Ok(back)
}

fn unix_time() -> Result<f64> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH).context("a clock before 1970")?.as_secs_f64())
}

/// The number of connected agents over time.
fn curve(name: &str, back: &[f64]) -> Line {
    let step = (back.len() / 100).max(1);
    let mut points = vec![(0.0, 0.0)];
    points.extend(back.iter().enumerate().step_by(step).map(|(index, at)| (*at, whole(index + 1))));
    points.extend(back.last().map(|at| (*at, whole(back.len()))));
    Line { name: name.to_owned(), points }
}

fn busiest_second(back: &[f64]) -> f64 {
    let within = |from: f64| back.iter().filter(|at| (from..from + 1.0).contains(*at)).count();
    whole(back.iter().map(|from| within(*from)).max().unwrap_or_default())
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
fn whole(count: usize) -> f64 {
    count as f64
}

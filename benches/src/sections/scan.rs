//! A list over many databases, against the minimum cost of its requests: the same requests, replayed over
//! open sockets, with discarded answers.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use trove_couchdb_tests::{couch::Method, rabbitmq::RabbitNode};

use super::commands::{agent, fill, request};
use crate::{
    environment::Couch,
    raw,
    results::{Goal, Ratio, Section, Table, spread},
    sizes::Sizes,
    stats::{Spread, ratios},
    usage,
};

/// The agent's default maximum of connections (`couchdb.max_connections`).
const CONNECTIONS: usize = 32;

/// Repetitions in one round: a sweep takes a fraction of a second.
const SCANS: usize = 5;

/// A real CouchDB 3.5 took 0.66 ms for one `_security` on two cores; the fault injector supports only whole
/// milliseconds.
const REAL_MS: u64 = 1;

/// Measures the sweep at the speed of the in-memory CouchDB and at that of a real one.
pub(super) async fn measure(broker: &RabbitNode, sizes: &Sizes, section: &mut Section) -> Result<()> {
    let (users, databases) = sizes.scan;
    let couch = Couch::start("1.x")?;
    fill(&couch.client()?, users, databases).await?;
    let (agent, rpc) = agent(broker, &couch).await?;
    let list = request("list_users", json!({"limit": null, "marker": null, "include_marker": false}));
    couch.forget_requests().await?;
    let listed = rpc.request(&list).await?;
    ensure!(listed[0].as_array().map(Vec::len) == Some(users + 1), "not all users are listed");
    let (_, log) = couch.client()?.get("/_fault/log", None).await?;
    let entries = log.as_array().context("no log")?;
    let targets: Vec<String> =
        entries.iter().filter_map(|entry| Some(entry["target"].as_str()?.to_owned())).collect();

    let mut table = Table {
        caption: format!(
            "List {users} users × {databases} databases ({} requests, {CONNECTIONS} connections): the agent over RabbitMQ, \
             and the same requests over bare sockets whose answers nobody reads",
            targets.len()
        ),
        head: ["CouchDB", "agent ms", "raw ms", "ratio", "agent CPU ms", "CouchDB CPU ms"]
            .map(str::to_owned)
            .to_vec(),
        rows: Vec::new(),
    };
    for speed in ["in memory", "in memory, 1 ms for each answer"] {
        if speed != "in memory" {
            let rule = json!({"path": "/*/_security", "fault": {"delay_ms": REAL_MS}});
            let (status, _) = couch.client()?.request(Method::POST, "/_fault", None, Some(&rule)).await?;
            ensure!(status.is_success(), "no delay: {status}");
        }
        let [mut ours, mut raw, mut cpu, mut server] = [const { Vec::new() }; 4];
        for _ in 0..(sizes.rounds * SCANS) {
            let [agent_before, couch_before] = [agent.pid(), couch.pid()].map(usage::cpu_time);
            let began = Instant::now();
            rpc.request(&list).await?;
            ours.push(began.elapsed().as_secs_f64() * 1e3);
            cpu.push(usage::cpu_time(agent.pid())?.saturating_sub(agent_before?).as_secs_f64() * 1e3);
            server.push(usage::cpu_time(couch.pid())?.saturating_sub(couch_before?).as_secs_f64() * 1e3);
            raw.push(raw::scan(couch.port()?, targets.clone(), CONNECTIONS).await?.as_secs_f64() * 1e3);
            couch.forget_requests().await?;
        }
        let ratio = ratios(&ours, &raw);
        let figures = [&ours, &raw, &cpu, &server].map(|values| Spread::of(values));
        for (what, figure) in ["agent ms", "raw ms", "agent CPU ms", "CouchDB CPU ms"].iter().zip(figures) {
            section.figures.insert(format!("sweep, CouchDB {speed}, {what}"), figure);
        }
        let [ours, raw, cpu, server] = figures.map(spread);
        table.rows.push(vec![speed.to_owned(), ours, raw, spread(ratio), cpu, server]);
        let what = format!(
            "List {users} × {databases}, CouchDB {speed}: the agent's time over a raw keep-alive sweep's"
        );
        section.goals.push(Goal::at_most(&what, 1.2, ratio.median, "×"));
        section.ratios.insert(what, Ratio { value: ratio.median, more_is_better: false });
    }
    section.tables.push(table);
    Ok(())
}

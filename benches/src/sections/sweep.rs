//! A list over many databases, against the least that its requests can cost: the same ones, replayed over sockets that
//! stay open, with answers that nobody reads.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use trove_couchdb_tests::rabbitmq::RabbitNode;

use super::commands::{agent, fill, request};
use crate::{
    ground::Couch,
    raw,
    results::{Goal, Ratio, Section, Table, spread},
    sizes::Sizes,
    stats::{Spread, ratios},
    usage,
};

/// What the agent opens at most by default (`couchdb.max_connections`).
const CONNECTIONS: usize = 32;

/// How often it is repeated in one round of the others: it takes a fraction of a second.
const SWEEPS: usize = 5;

/// Measures the sweep.
pub(super) async fn measure(broker: &RabbitNode, sizes: &Sizes, section: &mut Section) -> Result<()> {
    let (users, databases) = sizes.sweep;
    let couch = Couch::start("1.x")?;
    fill(&couch.client()?, users, databases).await?;
    let (agent, bus) = agent(broker, &couch).await?;
    let list = request("list_users", json!({"limit": null, "marker": null, "include_marker": false}));
    couch.forget_requests().await?;
    let listed = bus.request(&list).await?;
    ensure!(listed[0].as_array().map(Vec::len) == Some(users + 1), "not all users are listed");
    let (_, log) = couch.client()?.get("/_fault/log", None).await?;
    let targets: Vec<String> = log
        .as_array()
        .context("no log")?
        .iter()
        .filter_map(|entry| Some(entry["target"].as_str()?.to_owned()))
        .collect();
    couch.forget_requests().await?;

    let [mut ours, mut raw, mut cpu, mut server] = [const { Vec::new() }; 4];
    for _ in 0..(sizes.rounds * SWEEPS) {
        let before = [agent.pid(), couch.pid()].map(usage::cpu_time);
        let began = Instant::now();
        bus.request(&list).await?;
        ours.push(began.elapsed().as_secs_f64() * 1e3);
        let [agent_cpu, couch_cpu] = before;
        cpu.push(usage::cpu_time(agent.pid())?.saturating_sub(agent_cpu?).as_secs_f64() * 1e3);
        server.push(usage::cpu_time(couch.pid())?.saturating_sub(couch_cpu?).as_secs_f64() * 1e3);
        raw.push(raw::sweep(couch.port()?, targets.clone(), CONNECTIONS).await?.as_secs_f64() * 1e3);
        couch.forget_requests().await?;
    }
    let ratio = ratios(&ours, &raw);
    let [ours, raw, cpu, server] = [&ours, &raw, &cpu, &server].map(|values| Spread::of(values));
    section.tables.push(Table {
        caption: format!(
            "List {users} users × {databases} databases ({} requests, {CONNECTIONS} connections): the agent over RabbitMQ, \
             and the same requests over bare sockets whose answers nobody reads",
            targets.len()
        ),
        head: ["agent ms", "raw ms", "ratio", "agent CPU ms", "CouchDB CPU ms"].map(str::to_owned).to_vec(),
        rows: vec![vec![spread(ours), spread(raw), spread(ratio), spread(cpu), spread(server)]],
    });
    for (what, figure) in
        [("agent ms", ours), ("raw ms", raw), ("agent CPU ms", cpu), ("CouchDB CPU ms", server)]
    {
        section.figures.insert(format!("sweep, {what}"), figure);
    }
    let what = format!("List {users} × {databases}: the agent's time over a raw keep-alive sweep's");
    section.goals.push(Goal::at_most(&what, 1.2, ratio.median, "×"));
    section.ratios.insert(what, Ratio { value: ratio.median, more_is_better: false });
    Ok(())
}

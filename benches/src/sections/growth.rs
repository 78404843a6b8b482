//! The cost of pages for growing numbers of users and databases, and the CouchDB requests of several
//! concurrent callers.

use std::time::Instant;

use anyhow::{Result, ensure};
use futures_util::future::try_join_all;
use serde_json::{Value, json};
use trove_couchdb_tests::{agent::AgentProcess, rabbitmq::RabbitNode, rpc::RpcClient};

use super::commands::{agent, fill, request};
use crate::{
    environment::Couch,
    results::{Goal, Line, Plot, Ratio, Section, Table, number, spread},
    sizes::Sizes,
    stats::Spread,
    usage,
};

/// The number that stays constant while the other one grows.
const FEW: usize = 100;
/// The default page size of Trove's API (`users_page_size`, `databases_page_size`).
const PAGE: usize = 20;
/// Concurrent callers.
const CALLERS: usize = 8;

/// One kind of page at one size.
struct Point {
    users: usize,
    databases: usize,
    method: &'static str,
    wall: Spread,
    requests: usize,
    peak_mib: f64,
}

/// Measures the section.
pub async fn measure(sizes: &Sizes) -> Result<Section> {
    let broker = RabbitNode::start().await?;
    let mut points = Vec::new();
    let mut together = None;
    let grow_users = sizes.growth.iter().map(|users| (*users, FEW));
    let grow_databases = sizes.growth.iter().map(|databases| (FEW, *databases));
    for (users, databases) in grow_users.chain(grow_databases) {
        let couch = Couch::start("3.5")?;
        fill(&couch.client()?, users, databases).await?;
        let (agent, rpc) = agent(&broker, &couch).await?;
        for method in ["list_users", "list_databases"] {
            points.push(page(&couch, &agent, &rpc, method, (users, databases), sizes).await?);
        }
        if databases == 1_000 || (databases == FEW && together.is_none()) {
            together = Some(at_once(&couch, &rpc, databases).await?);
        }
        eprintln!("   {users} users, {databases} databases");
    }
    let mut section = Section::default();
    tell(&points, &mut section);
    if let Some((databases, alone, all)) = together {
        tell_together(databases, alone, all, &mut section);
    }
    Ok(section)
}

fn list(method: &str) -> trove_couchdb_tests::rpc::Request {
    request(method, json!({"limit": PAGE, "marker": null, "include_marker": false}))
}

async fn page(
    couch: &Couch,
    agent: &AgentProcess,
    rpc: &RpcClient,
    method: &'static str,
    (users, databases): (usize, usize),
    sizes: &Sizes,
) -> Result<Point> {
    let first: Value = rpc.request(&list(method)).await?;
    let wanted = PAGE.min(if method == "list_users" { users + 1 } else { databases });
    ensure!(first[0].as_array().map(Vec::len) == Some(wanted), "{method}: not a whole page");
    couch.forget_requests().await?;
    rpc.request(&list(method)).await?;
    let requests = couch.requests().await?;
    usage::reset_peak(agent.pid())?;
    let mut walls = Vec::new();
    for _ in 0..(sizes.rounds * 3) {
        let began = Instant::now();
        rpc.request(&list(method)).await?;
        walls.push(began.elapsed().as_secs_f64() * 1e3);
    }
    couch.forget_requests().await?;
    let peak_mib = usage::memory_kib(agent.pid(), "VmHWM")? / 1024.0;
    Ok(Point { users, databases, method, wall: Spread::of(&walls), requests, peak_mib })
}

/// The number of requests of one caller, and of several concurrent callers.
async fn at_once(couch: &Couch, rpc: &RpcClient, databases: usize) -> Result<(usize, usize, usize)> {
    couch.forget_requests().await?;
    rpc.request(&list("list_users")).await?;
    let alone = couch.requests().await?;
    couch.forget_requests().await?;
    let request = list("list_users");
    try_join_all((0..CALLERS).map(|_| rpc.request(&request))).await?;
    Ok((databases, alone, couch.requests().await?))
}

fn tell(points: &[Point], section: &mut Section) {
    let mut table = Table {
        caption: format!("One page of {PAGE}"),
        head: ["command", "users", "databases", "ms", "requests", "peak memory of the agent, MiB"]
            .map(str::to_owned)
            .to_vec(),
        rows: Vec::new(),
    };
    for point in points {
        let Point { users, databases, method, wall, requests, peak_mib } = point;
        let name = format!("{method}, {users} users, {databases} databases");
        section.figures.insert(format!("{name}, ms"), *wall);
        section.figures.insert(format!("{name}, requests"), Spread::once(whole(*requests)));
        section.figures.insert(format!("{name}, peak MiB"), Spread::once(*peak_mib));
        table.rows.push(vec![
            (*method).to_owned(),
            users.to_string(),
            databases.to_string(),
            spread(*wall),
            requests.to_string(),
            number(*peak_mib),
        ]);
    }
    section.tables.push(table);
    let line = |name: &str, method: &str, by_users: bool| Line {
        name: name.to_owned(),
        points: points
            .iter()
            .filter(|point| point.method == method)
            .filter(|point| if by_users { point.databases == FEW } else { point.users == FEW })
            .map(|point| (whole(if by_users { point.users } else { point.databases }), point.wall.median))
            .collect(),
    };
    section.plots.push(Plot {
        name: "growth".to_owned(),
        title: format!("One page of {PAGE}, {FEW} of the other kind"),
        x: "users, or databases".to_owned(),
        y: "ms".to_owned(),
        log: (true, true),
        lines: vec![
            line("list_users, by users", "list_users", true),
            line("list_users, by databases", "list_users", false),
            line("list_databases, by users", "list_databases", true),
            line("list_databases, by databases", "list_databases", false),
        ],
    });
    let wall = |users: usize, databases: usize| {
        let found = points.iter().find(|point| {
            point.method == "list_users" && (point.users, point.databases) == (users, databases)
        });
        found.map(|point| point.wall.median)
    };
    let most = points.iter().map(|point| point.users).max().unwrap_or(FEW);
    if let (Some(few), Some(many)) = (wall(FEW, FEW), wall(most, FEW)) {
        let what = format!("A page of users among {most} users over one among {FEW}");
        section.goals.push(Goal::at_most(&what, 1.2, many / few, "×"));
        section.ratios.insert(what, Ratio { value: many / few, more_is_better: false });
    }
}

fn tell_together(databases: usize, alone: usize, all: usize, section: &mut Section) {
    section.tables.push(Table {
        caption: format!("Requests for `list_users` over {databases} databases"),
        head: ["callers", "requests"].map(str::to_owned).to_vec(),
        rows: vec![vec!["1".to_owned(), alone.to_string()], vec![CALLERS.to_string(), all.to_string()]],
    });
    let ratio = whole(all) / whole(alone);
    let what = format!("Requests of {CALLERS} callers at once over those of one");
    section.goals.push(Goal::at_most(&what, 2.2, ratio, "×"));
    section.ratios.insert(what, Ratio { value: ratio, more_is_better: false });
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
fn whole(count: usize) -> f64 {
    count as f64
}

//! `make dashboard`: draws the Grafana dashboard from a real run, into `docs/pictures/dashboard.svg`.
//!
//! It runs an agent under a mixed load, with an outage of CouchDB and a killed broker, and a real Prometheus
//! that scrapes the agent. Then it sends every query of `packaging/grafana/dashboard.json` to Prometheus, and
//! each must have a result. Grafana itself is in no package registry.

use std::{
    fmt::Write as _,
    fs,
    path::Path,
    process::Command,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, ensure};
use in_memory_couchdb::Options;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use trove_couchdb_benches::{
    environment,
    report::svg,
    results::{Line, Plot},
};
use trove_couchdb_tests::{
    fixture::{Fixture, FixturePlan, user_object},
    local::LocalClient,
    ports::PortBlock,
    process::Process,
    rabbitmq::RabbitNode,
    web,
};

/// The duration of the run in seconds, and the times of its events.
const RUN: u64 = 150;
const COUCHDB_GOES: u64 = 50;
const COUCHDB_IS_BACK: u64 = 62;
const BROKER_DIES: u64 = 95;

/// The scrape interval, and the step of a line, in seconds.
const SCRAPE: u64 = 1;
const STEP: u64 = 2;

/// Grafana's `$__rate_interval` is four scrapes.
const RATE: &str = "8s";

const CALLERS: u64 = 4;
/// The pause of a caller between two commands.
const PAUSE: Duration = Duration::from_millis(150);

const PANEL: (f64, f64) = (760.0, 400.0);
const STAT: (f64, f64) = (252.0, 90.0);

#[tokio::main]
async fn main() -> Result<()> {
    let root = environment::directory().parent().context("no workspace")?;
    let dashboard: Value =
        serde_json::from_str(&fs::read_to_string(root.join("packaging/grafana/dashboard.json"))?)?;
    let ports = PortBlock::reserve()?;
    let (agent_at, prometheus_at) =
        (format!("127.0.0.1:{}", ports.port(0)), format!("127.0.0.1:{}", ports.port(1)));
    let mut broker = RabbitNode::start().await?;
    let directory = tempfile::tempdir()?;
    // The agent watches a disk only if it has CouchDB's files.
    let data = directory.path().join("data");
    fs::create_dir_all(data.join("shards"))?;
    let options = Options::default().set("couchdb", "database_dir", &data.display().to_string());
    let plan = FixturePlan::default().in_memory(options).set("metrics.listen", agent_at.as_str());
    let mut fixture = plan.set("heartbeat.interval", 10).up_on(&broker).await?;
    let _prometheus = prometheus(root, directory.path(), &agent_at, &prometheus_at)?;

    println!("A run of {RUN} s");
    let begun = now()?;
    live(&mut fixture, &mut broker).await?;
    let asked = Range { at: prometheus_at, from: begun, to: now()? };
    let document = draw(&dashboard, &asked).await?;
    let path = root.join("docs/pictures/dashboard.svg");
    fs::create_dir_all(path.parent().context("no directory")?)?;
    fs::write(&path, document)?;
    println!("{}", path.display());
    Ok(())
}

fn now() -> Result<u64> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs())
}

fn prometheus(root: &Path, directory: &Path, agent: &str, listen: &str) -> Result<Process> {
    let own = root.join("target/tools/prometheus");
    let program = if own.is_file() { own } else { "prometheus".into() };
    let configuration = directory.join("prometheus.yml");
    let scrape = json!({
        "global": {"scrape_interval": format!("{SCRAPE}s")},
        "scrape_configs": [{"job_name": "trove-couchdb-agent", "static_configs": [{"targets": [agent]}]}],
    });
    // JSON is YAML.
    fs::write(&configuration, scrape.to_string())?;
    let mut command = Command::new(program);
    command
        .arg(format!("--config.file={}", configuration.display()))
        .arg(format!("--storage.tsdb.path={}", directory.join("data").display()))
        .arg(format!("--web.listen-address={listen}"))
        .arg("--log.level=error");
    Process::spawn(&mut command, None).context("no prometheus: run `make deps`")
}

/// Runs load and faults until the run is over.
async fn live(fixture: &mut Fixture, broker: &mut RabbitNode) -> Result<()> {
    let begun = Instant::now();
    let until = begun + Duration::from_secs(RUN);
    let mut callers = Vec::new();
    for number in 0..CALLERS {
        let client = LocalClient::connect(&fixture.agent.socket()).await?;
        callers.push(tokio::spawn(call(client, fixture.name(&format!("c{number}")), until)));
    }
    let at = |second| tokio::time::sleep_until(begun + Duration::from_secs(second));
    at(COUCHDB_GOES).await;
    fixture.couch.memory_mut().context("not in memory")?.stop().await;
    at(COUCHDB_IS_BACK).await;
    fixture.couch.memory_mut().context("not in memory")?.start_again().await?;
    at(BROKER_DIES).await;
    broker.kill9()?;
    broker.start_again().await?;
    for caller in callers {
        caller.await?;
    }
    Ok(())
}

/// Repeats the life cycle of an application: create database and user, grant access, read, delete.
async fn call(client: LocalClient, name: String, until: Instant) {
    for round in 0_u64.. {
        let (db, user) = (format!("{name}-d{}", round % 5), format!("{name}-u{}", round % 5));
        let access = json!({"username": user, "hostname": "%", "databases": [db]});
        let revoked = json!({"username": user, "hostname": "%", "database": db});
        for (method, args) in [
            ("create_database", json!({"databases": [{"_name": db}]})),
            ("create_user", json!({"users": [user_object(&user, &[])]})),
            ("grant_access", access),
            ("list_users", json!({})),
            ("list_databases", json!({})),
            ("list_access", json!({"username": user, "hostname": "%"})),
            ("revoke_access", revoked),
            ("delete_user", json!({"user": {"_name": user}})),
            ("delete_database", json!({"database": {"_name": db}})),
        ] {
            if Instant::now() >= until {
                return;
            }
            // Some commands fail, as intended.
            drop(client.call(method, args).await);
            sleep(PAUSE).await;
        }
    }
}

/// The time range of the queries, and Prometheus's address.
struct Range {
    at: String,
    from: u64,
    to: u64,
}

impl Range {
    async fn ask(&self, what: &str, query: &str, more: &str) -> Result<Vec<Value>> {
        let query = query
            .replace("$__rate_interval", RATE)
            .replace("$job", "trove-couchdb-agent")
            .replace("$instance", ".*");
        let encoded = trove_couchdb_tests::couch::escape(&query);
        // HTTP/1.0, so that the answer is not chunked and ends with the connection.
        let request = format!("GET /api/v1/{what}?query={encoded}&{more} HTTP/1.0\r\n\r\n");
        let page = web::send_tcp(&self.at, &request).await?;
        let answer: Value = serde_json::from_str(&page.body).context(page.head)?;
        let found = answer["data"]["result"].as_array().with_context(|| format!("{query}: {answer}"))?;
        ensure!(!found.is_empty(), "the dashboard asks for what is not there: {query}");
        Ok(found.clone())
    }

    async fn lines(&self, query: &str, legend: &str) -> Result<Vec<Line>> {
        let more = format!("start={}&end={}&step={STEP}", self.from, self.to);
        let found = self.ask("query_range", query, &more).await?;
        let line = |series: &Value| {
            let points = series["values"].as_array().into_iter().flatten();
            let points = points.filter_map(|point| Some((seconds(point, self.from)?, number(point)?)));
            Line { name: named(legend, &series["metric"]), points: points.collect() }
        };
        Ok(found.iter().map(line).collect())
    }
}

#[expect(clippy::cast_precision_loss, reason = "seconds of this century")]
fn seconds(point: &Value, from: u64) -> Option<f64> {
    Some(point[0].as_f64()? - from as f64)
}

/// Prometheus writes numbers as strings, and `NaN` for a division by zero.
fn number(point: &Value) -> Option<f64> {
    point[1].as_str()?.parse().ok().filter(|value: &f64| value.is_finite())
}

/// The legend with its labels filled in, except for the port of this run.
fn named(legend: &str, labels: &Value) -> String {
    let mut name = legend.to_owned();
    for (label, value) in labels.as_object().into_iter().flatten() {
        let value = if label == "instance" { "agent" } else { value.as_str().unwrap_or_default() };
        name = name.replace(&format!("{{{{{label}}}}}"), value);
    }
    name
}

async fn draw(dashboard: &Value, range: &Range) -> Result<String> {
    let panels = dashboard["panels"].as_array().context("no panels")?;
    let (stats, plots): (Vec<_>, Vec<_>) = panels.iter().partition(|panel| panel["type"] == "stat");
    let mut parts = String::new();
    let mut left = 4.0;
    for panel in stats {
        let target = &panel["targets"][0];
        let (query, legend) = (words(&target["expr"])?, words(&target["legendFormat"])?);
        let found = range.ask("query", query, &format!("time={}", range.to)).await?;
        let value = number(&found[0]["value"]).context("no number")?;
        let shown = match words(&panel["title"])? {
            "Version" => named(legend, &found[0]["metric"]),
            "Broker" | "CouchDB" => if value > 0.0 { "up" } else { "down" }.to_owned(),
            _ => trove_couchdb_benches::results::number(value),
        };
        stat(&mut parts, left, words(&panel["title"])?, &shown);
        left += STAT.0;
    }
    let mut top = STAT.1 + 10.0;
    for (index, panel) in plots.iter().enumerate() {
        let mut lines = Vec::new();
        for target in panel["targets"].as_array().context("no targets")? {
            lines.extend(range.lines(words(&target["expr"])?, words(&target["legendFormat"])?).await?);
        }
        let plot = Plot {
            title: words(&panel["title"])?.to_owned(),
            x: "seconds".to_owned(),
            y: words(&panel["fieldConfig"]["defaults"]["unit"])?.to_owned(),
            lines,
            ..Plot::default()
        };
        let left = if index % 2 == 0 { 0.0 } else { PANEL.0 };
        let place = format!("<svg x=\"{left}\" y=\"{top}\" ");
        parts += &svg::draw(&plot).replacen("<svg ", &place, 1);
        top += if index % 2 == 0 { 0.0 } else { PANEL.1 };
    }
    let (width, height) = (2.0 * PANEL.0, top);
    Ok(format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n{parts}</svg>\n"
    ))
}

fn words(value: &Value) -> Result<&str> {
    value.as_str().context("the dashboard lacks a text")
}

fn stat(parts: &mut String, left: f64, title: &str, value: &str) {
    // Writing to a String cannot fail.
    let _written = writeln!(
        parts,
        "<g text-anchor=\"middle\"><rect x=\"{left}\" y=\"4\" width=\"{}\" height=\"{}\" fill=\"none\" stroke=\"#ddd\"/>\
         <text x=\"{middle}\" y=\"24\" font-size=\"13\">{title}</text>\
         <text x=\"{middle}\" y=\"66\" font-size=\"30\" fill=\"#0072b2\">{value}</text></g>",
        STAT.0 - 8.0,
        STAT.1 - 8.0,
        middle = left + STAT.0 / 2.0 - 4.0,
    );
}

//! `/metrics`, `/healthz` and `/readyz`.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use in_memory_couchdb::Options;
use serde_json::json;
use trove_couchdb_protocol::trove::{ConductorCast, Method};
use trove_couchdb_tests::agent::{AgentOptions, AgentProcess};
use trove_couchdb_tests::bus::Request;
use trove_couchdb_tests::fixture::{Fixture, FixturePlan};
use trove_couchdb_tests::local_fixture::LocalFixturePlan;
use trove_couchdb_tests::ports::PortBlock;
use trove_couchdb_tests::promtool::promtool;
use trove_couchdb_tests::web;

use super::local_socket::failure;

const SOON: Duration = trove_couchdb_tests::until::HUNG;

async fn metrics(address: &str) -> Result<String> {
    let page = web::get_tcp(address, "/metrics").await?;
    anyhow::ensure!(page.status == 200, "{page:?}");
    anyhow::ensure!(
        page.head.to_lowercase().contains("content-type: text/plain; version=0.0.4"),
        "{}",
        page.head
    );
    Ok(page.body)
}

fn value(text: &str, series: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
}

async fn until(address: &str, what: &str, reached: impl Fn(&str) -> bool) -> Result<String> {
    let wait = async {
        loop {
            let text = metrics(address).await?;
            if reached(&text) {
                return Ok(text);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(SOON, wait).await.with_context(|| format!("not within {SOON:?}: {what}"))?
}

/// Names and types of the metrics in an exposition.
fn types(text: &str) -> BTreeMap<String, String> {
    let lines = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    lines.map(|(name, kind)| (name.to_owned(), kind.to_owned())).collect()
}

/// Names and types in the documentation's table.
fn documented() -> BTreeMap<String, String> {
    let document = include_str!("../../../docs/metrics.md");
    let rows = document.lines().filter_map(|line| {
        let mut cells = line.strip_prefix("| `")?.split(" | ");
        Some((cells.next()?.trim_end_matches('`').to_owned(), cells.next()?.to_owned()))
    });
    rows.collect()
}

/// The values of a label.
fn labels<'a>(text: &'a str, label: &str) -> Vec<&'a str> {
    let start = format!("{label}=\"");
    text.split(&start).skip(1).filter_map(|rest| Some(rest.split_once('"')?.0)).collect()
}

async fn use_it(fixture: &Fixture) -> Result<()> {
    let (db, al) = (fixture.name("db"), fixture.name("al"));
    fixture.databases(&[&db]).await?;
    fixture.user(&al, &[&db]).await?;
    fixture.call("list_users", json!({})).await?;
    failure(fixture.call("list_access", json!({"username": fixture.name("nobody"), "hostname": "%"})).await);
    failure(fixture.call("no_such_method_of_mine", json!({})).await);
    let request = Request::new("delete_database", json!({"database": {"_name": db}}));
    let message = fixture.bus.encode_call(&request);
    for _ in 0..2 {
        fixture.bus.publish_raw(&message.body).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happens_is_counted_and_prometheus_finds_no_fault() -> Result<()> {
    let ports = PortBlock::reserve()?;
    let address = format!("127.0.0.1:{}", ports.port(0));
    let data = tempfile::tempdir()?;
    std::fs::create_dir(data.path().join("shards"))?;
    let options = Options::default().set("couchdb", "database_dir", &data.path().display().to_string());
    let plan = FixturePlan::default().in_memory(options).set("heartbeat.interval", 1);
    let fixture = plan.set("metrics.listen", address.as_str()).up().await?;
    use_it(&fixture).await?;
    fixture.conductor.next(SOON, |cast| matches!(cast, ConductorCast::Heartbeat { .. })).await?;
    let text = until(&address, "a duplicate and a heartbeat", |text| {
        value(text, "trove_couchdb_agent_duplicates_total") == Some(1.0)
            && value(text, r#"trove_couchdb_agent_commands_total{method="delete_database",outcome="ok"}"#)
                == Some(1.0)
    })
    .await?;
    for (series, expected) in [
        (r#"trove_couchdb_agent_commands_total{method="create_user",outcome="ok"}"#, 1.0),
        (r#"trove_couchdb_agent_commands_total{method="unknown",outcome="refused"}"#, 1.0),
        (r#"trove_couchdb_agent_command_duration_seconds_count{method="create_user"}"#, 1.0),
        (r#"trove_couchdb_agent_commands_in_flight{state="running"}"#, 0.0),
        ("trove_couchdb_agent_broker_reconnects_total", 0.0),
        ("trove_couchdb_agent_broker_up", 1.0),
        ("trove_couchdb_agent_couchdb_up", 1.0),
        ("trove_couchdb_agent_prepared", 1.0),
    ] {
        assert_eq!(value(&text, series), Some(expected), "{series} of\n{text}");
    }
    let age = value(&text, "trove_couchdb_agent_heartbeat_age_seconds").context("no heartbeat's age")?;
    assert!((0.0..60.0).contains(&age), "{age}");
    let success = value(&text, "trove_couchdb_agent_last_success_timestamp_seconds").context("no success")?;
    assert!(success > 1_700_000_000.0, "{success}");

    fixture.local().await?.call("operation_rehearse", json!({"seconds": 600})).await?;
    let progress = r#"trove_couchdb_agent_operation_progress_ratio{kind="operation_rehearse"}"#;
    let text = until(&address, "an operation", |text| value(text, progress).is_some()).await?;
    let running = r#"trove_couchdb_agent_operations_running{kind="operation_rehearse"}"#;
    assert_eq!(value(&text, running), Some(1.0), "{text}");

    let said = promtool(Path::new("/"), &["check", "metrics"], &text)?;
    assert_eq!(said, "", "promtool remarks on\n{text}");
    assert_eq!(types(&text), documented(), "what is exposed, and docs/metrics.md");

    // No tenant data, and nothing that other parties can choose.
    let text = text.replace("rotate_os_admin", "rotate");
    for name in [fixture.id.as_str(), &fixture.name("db"), &fixture.name("al"), "no_such_method", "os_admin"]
    {
        assert!(!text.contains(name), "{name} is in\n{text}");
    }
    for method in labels(&text, "method") {
        assert!(["unknown", "rotate"].contains(&method) || Method::from_name(method).is_some(), "{method}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_couchdb_that_is_away_shows_and_the_agent_is_alive() -> Result<()> {
    let ports = PortBlock::reserve()?;
    let address = format!("127.0.0.1:{}", ports.port(0));
    let mut fixture = FixturePlan::default()
        .in_memory(Options::default())
        .set("metrics.listen", address.as_str())
        .up()
        .await?;
    let ready = web::get_tcp(&address, "/readyz").await?;
    assert_eq!((ready.status, ready.body.as_str()), (200, "the broker is connected; CouchDB is healthy\n"));

    fixture.couch.memory_mut().unwrap().stop().await;
    // A command notices the outage at once, the probe a little later.
    failure(fixture.call("list_databases", json!({})).await);
    until(&address, "CouchDB is down", |text| value(text, "trove_couchdb_agent_couchdb_up") == Some(0.0))
        .await?;
    let waits = web::get_tcp(&address, "/readyz").await?;
    assert_eq!((waits.status, waits.body.as_str()), (503, "the broker is connected; CouchDB is down\n"));
    let alive = web::get_tcp(&address, "/healthz").await?;
    assert_eq!((alive.status, alive.body.as_str()), (200, "alive\n"), "it waits and is well");
    let text = metrics(&address).await?;
    let unreachable = labels(&text, "status").into_iter().any(|status| status == "unreachable");
    assert!(unreachable, "{text}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unix_socket_is_for_the_agents_user_alone_and_goes_with_the_agent() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let socket = directory.path().join("metrics.sock");
    let plan = LocalFixturePlan::default().in_memory(Options::default());
    let mut fixture = plan.set("metrics.listen", socket.to_str().unwrap()).up().await?;
    let text = web::get_unix(&socket, "/metrics").await?.body;
    assert_eq!(value(&text, "trove_couchdb_agent_couchdb_up"), Some(1.0), "{text}");
    assert!(!text.contains("broker_up"), "it has none");
    assert_eq!(std::fs::metadata(&socket)?.permissions().mode() & 0o777, 0o600);
    fixture.agent.terminate().await?;
    assert!(!socket.exists());
    Ok(())
}

/// As in docs/metrics.md: the unit's sandbox forbids changing a file's group, so the directory sets it.
#[tokio::test(flavor = "multi_thread")]
async fn a_unix_socket_is_for_the_group_that_its_directory_gives_it() -> Result<()> {
    const AGENT: u32 = 64_251;
    const GROUP: u32 = 64_252;
    if !rustix::process::geteuid().is_root() {
        trove_couchdb_tests::ledger::skipped("only root can give a directory away");
        return Ok(());
    }
    let above = tempfile::tempdir()?;
    std::fs::set_permissions(above.path(), std::fs::Permissions::from_mode(0o755))?;
    let directory = above.path().join("metrics");
    std::fs::create_dir(&directory)?;
    std::os::unix::fs::chown(&directory, Some(AGENT), Some(GROUP))?;
    std::fs::set_permissions(&directory, std::fs::Permissions::from_mode(0o2750))?;
    let socket = directory.join("metrics.sock");
    let plan = LocalFixturePlan::default().in_memory(Options::default()).user(AGENT);
    let plan = plan.set("metrics.listen", socket.to_str().unwrap()).set("metrics.group", GROUP.to_string());
    let _stage = plan.up().await?;
    assert_eq!(web::get_unix(&socket, "/healthz").await?.status, 200);
    let made = std::fs::metadata(&socket)?;
    assert_eq!((made.uid(), made.gid(), made.mode() & 0o777), (AGENT, GROUP, 0o660));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_bounded_and_change_nothing() -> Result<()> {
    let ports = PortBlock::reserve()?;
    let address = format!("127.0.0.1:{}", ports.port(0));
    let plan = LocalFixturePlan::default();
    let fixture = plan.set("metrics.listen", address.as_str()).set("metrics.max_connections", 2).up().await?;
    let post = web::send_tcp(&address, &web::request("POST", "/metrics")).await?;
    assert!(post.status == 405 && post.head.to_lowercase().contains("allow: get, head"), "{post:?}");
    assert_eq!(web::get_tcp(&address, "/../etc/passwd").await?.status, 404);
    let head = web::send_tcp(&address, &web::request("HEAD", "/metrics")).await?;
    assert!(head.status == 200 && head.body.is_empty(), "{head:?}");
    let long = format!("GET /metrics HTTP/1.1\r\nHost: h\r\nX: {}\r\n\r\n", "x".repeat(20_000));
    assert_eq!(web::send_tcp(&address, &long).await?.status, 431);
    let many = "X-Again: y\r\n".repeat(200);
    let many = format!("GET /metrics HTTP/1.1\r\nHost: h\r\n{many}\r\n");
    assert_eq!(web::send_tcp(&address, &many).await?.status, 431);

    // Silent clients that occupy all connections are disconnected, and the next client is served.
    let mut silent = Vec::new();
    for _ in 0..2 {
        silent.push(tokio::net::TcpStream::connect(&address).await?);
    }
    assert_eq!(web::get_tcp(&address, "/healthz").await?.status, 200);
    // The third client could not be served while both were connected.
    let let_go = silent.iter().filter(|stream| !matches!(stream.try_read(&mut [0; 512]), Err(error) if error.kind() == ErrorKind::WouldBlock));
    assert!(let_go.count() >= 1, "a third one was served beside two");
    fixture.call("rpc_ping", json!({})).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_others_reach_needs_consent() -> Result<()> {
    let options = || AgentOptions::new("g", "rabbit://h//", "http://127.0.0.1:1");
    for (listen, reason) in [
        ("0.0.0.0:9985", "metrics.allow_remote"),
        ("[::]:9985", "metrics.allow_remote"),
        ("localhost:9985", "ADDRESS:PORT"),
        ("127.0.0.1:0", "ADDRESS:PORT"),
        ("metrics.sock", "ADDRESS:PORT"),
    ] {
        let mut agent = AgentProcess::start(options().set("metrics.listen", listen))?;
        let status = agent.exit_within(SOON).await?;
        assert!(status.code() == Some(64) && agent.logs().contains(reason), "{listen}: {}", agent.logs());
    }
    let ports = PortBlock::reserve()?;
    let listen = format!("0.0.0.0:{}", ports.port(0));
    let plan = LocalFixturePlan::default().set("metrics.allow_remote", true);
    let _stage = plan.set("metrics.listen", listen).up().await?;
    assert_eq!(web::get_tcp(&format!("127.0.0.1:{}", ports.port(0)), "/healthz").await?.status, 200);
    Ok(())
}

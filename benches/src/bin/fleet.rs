//! Many agents in one process: each with the agent's own transport and heartbeat, on its own connection.
//!
//! Caller: the section `fleet`. CouchDB and everything that requires it are left out: each agent considers
//! CouchDB healthy, reports that, and answers `rpc_ping`. It reads commands from standard input, one per
//! line: `agent_status` prints when each agent was connected.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result};
use clap::Parser;
use serde_json::json;
use tokio::{sync::watch, time::sleep};
use tokio_util::sync::CancellationToken;
use trove_couchdb_agent::{
    audit::Audit,
    bootstrap::Rotator,
    commands::{Guest, ImageBrings},
    guest::Lifecycle,
    log,
    metrics::Metrics,
    operations::Operations,
    room::RoomReport,
    status::{AgentStatus, CommandCounters, Heartbeat, Link, Outbox, ProbeResult},
    transport::{Dependencies, Transport},
};
use trove_couchdb_client::{
    AdminLogin, Client, Couch, Disk, Hasher, Health, Iterations, Limits, PendingEdits, Policy,
};
use trove_couchdb_config::{Settings, Sources};
use trove_couchdb_guest::{host::Host, redact::Redactor};

/// Runs many agents.
#[derive(Debug, Parser)]
struct Args {
    /// An `agent.toml` with the common settings.
    #[arg(long)]
    config: PathBuf,
    /// A directory for the agents' state.
    #[arg(long)]
    directory: PathBuf,
    /// The number of agents.
    #[arg(long)]
    agents: usize,
    /// Milliseconds between two starts.
    #[arg(long, default_value_t = 5)]
    pace_ms: u64,
}

/// Unix times at which an agent was connected.
type Connected = Arc<Mutex<Vec<(usize, f64)>>>;

#[tokio::main]
async fn main() -> Result<()> {
    let args = Args::parse();
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        eprintln!("a TLS provider was installed before");
    }
    let sources = Sources { config_file: Some(args.config.clone()), ..Sources::default() };
    let settings = Settings::load(sources, std::iter::empty())?;
    let connected = Connected::default();
    println!("starting");
    for number in 0..args.agents {
        start(number, &settings, &args.directory, &connected)?;
        sleep(Duration::from_millis(args.pace_ms)).await;
    }
    // A separate thread, because reading the pipe blocks.
    tokio::task::spawn_blocking(move || answer(&connected)).await??;
    // The parent has exited, and no state is worth saving: the agents stop with the process.
    Ok(())
}

fn answer(connected: &Connected) -> Result<()> {
    for line in std::io::stdin().lines() {
        let line = line?;
        let agent_status = connected.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let answer =
            if line == "report" { json!({ "connected": agent_status }) } else { json!({"error": line}) };
        println!("{answer}");
        std::io::stdout().flush()?;
    }
    Ok(())
}

fn start(number: usize, shared: &Settings, directory: &Path, connected: &Connected) -> Result<()> {
    let mut settings = shared.clone();
    settings.guest.id = format!("fleet-{number:05}");
    settings.guest.state_dir = directory.join(&settings.guest.id);
    std::fs::create_dir(&settings.guest.state_dir).context("no directory for an agent's state")?;
    let stopping = CancellationToken::new();
    let (_, admin) = watch::channel(AdminLogin::Pending("not in a fleet".to_owned()));
    let (health_writer, health) = watch::channel(ProbeResult::from(Health::Healthy));
    let (link_writer, link) = watch::channel(Link::not_tried());
    let (post, outbox, last_reported) = Outbox::new();
    let counters = CommandCounters::default();
    let (lifecycle, owner, states) = Lifecycle::load(&settings.guest.state_dir, &settings.guest.id);
    let owning = owner.run(settings.heartbeat.interval);
    let heartbeat = Heartbeat {
        terms: (&settings).into(),
        lifecycle: lifecycle.clone(),
        states,
        health: health.clone(),
        link: link.clone(),
        outbox: post,
    };
    let operations = Operations::load(&settings.guest.state_dir, settings.operations);
    let agent_status = AgentStatus {
        guest_id: settings.guest.id.clone(),
        couchdb_url: String::new(),
        started: Instant::now(),
        lifecycle: lifecycle.clone(),
        assume_prepared: true,
        health,
        room: watch::channel(RoomReport::default()).1,
        link: link.clone(),
        last_reported,
        counters: counters.clone(),
        operations: operations.clone(),
    };
    let couchdb = &settings.couchdb;
    let limits = Limits {
        connect: couchdb.connect_timeout,
        request: couchdb.request_timeout,
        connections: couchdb.max_connections,
    };
    let hasher = Hasher::new(Iterations { sha256: couchdb.sha256_iterations, sha1: couchdb.sha1_iterations });
    let client = Client::new(&couchdb.url, limits, couchdb.tls.clone());
    let couch = Arc::new(Couch::new(
        client,
        admin.clone(),
        hasher,
        Policy::new(&[], &[]),
        PendingEdits::default(),
        Disk::new(Path::new("/"), 0, false),
    ));
    let guest = Guest {
        couch,
        lifecycle,
        image_brings: ImageBrings { packages: true, volume: true },
        agent_status,
        rotator: Rotator::new(admin).0,
        log: log::Control::without_a_log(settings.log.filter.clone()),
        host: Host::new(&settings.host),
        redactor: Redactor::default(),
        operations,
    };
    let dependencies = Dependencies {
        guest,
        audit: Audit::new(&settings.audit),
        counters,
        metrics: Metrics::off(),
        outbox,
        link: link_writer,
        stopping,
    };
    let transport = Transport::new(&settings, None, dependencies);
    tokio::spawn(owning);
    tokio::spawn(heartbeat.run());
    tokio::spawn(note(number, link, Arc::clone(connected)));
    tokio::spawn(async move {
        // Kept alive for the whole run: the agent would stop if it were dropped.
        let _health = health_writer;
        transport.run().await;
    });
    Ok(())
}

async fn note(number: usize, mut link: watch::Receiver<Link>, connected: Connected) {
    while link.wait_for(Link::is_up).await.is_ok() {
        let now =
            SystemTime::now().duration_since(UNIX_EPOCH).map(|since| since.as_secs_f64()).unwrap_or_default();
        connected.lock().unwrap_or_else(PoisonError::into_inner).push((number, now));
        if link.wait_for(|link| !link.is_up()).await.is_err() {
            return;
        }
    }
}

//! Builds the agent from its settings and runs it until it gets a signal. All parts are constructed here.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::future::OptionFuture;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
    task::JoinSet,
    time,
};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};
use trove_couchdb_config::{ConfigError, LogSettings, Settings};
use trove_couchdb_guest::redact::Redactor;
use trove_couchdb_protocol::trove::Method;

use crate::{
    audit::Audit,
    bootstrap::{Bootstrap, RotationDue, Rotator},
    commands::{self, Configuration, Guest, ImageBrings, RotateOsAdmin},
    couch::{AdminLogin, Client, Couch, Disk, Hasher, Health, Iterations, PendingEdits, Policy},
    guest::Lifecycle,
    host::Host,
    log,
    metrics::Metrics,
    monitor::{Monitor, Routes},
    operations::Operations,
    requests::{Requests, limits},
    status::{self, AgentStatus, CommandCounters, Heartbeat, Link, Notify, Outbox},
    system, trace,
    transport::{Dependencies, LocalError, LocalServer, OwnCommands, Transport},
};

/// The number of health checks per heartbeat interval, so that a change is reported soon.
const PROBES_PER_INTERVAL: u32 = 3;

/// Why an interrupted `prepare` failed.
const NO_OPERATION: &str = "prepare was interrupted, and the agent's state directory has no operation that goes on with it: make \
                            the instance again";

/// Why the agent could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A signal handler could not be installed.
    #[error("the signals can't be handled")]
    Signals(#[source] std::io::Error),
    /// No broker is configured and the local socket cannot be opened, so no command could reach the agent.
    #[error("cannot open the local socket, which is required because no broker is configured")]
    NoWayIn(#[source] LocalError),
    /// A part that must run as long as the agent has stopped.
    #[error("a part of the agent ended unexpectedly; its log says which")]
    PartEnded,
}

/// Reads the log section of the configuration again.
pub type Reread = Box<dyn Fn() -> Result<LogSettings, ConfigError> + Send + Sync>;

/// The log, and how to reconfigure it on SIGHUP.
pub struct Logging {
    /// Changes the log filter.
    pub control: log::Control,
    /// Reads the new filter.
    pub reread: Reread,
    /// The export of commands' spans.
    pub export: Option<trace::Export>,
}

impl std::fmt::Debug for Logging {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Logging").field("control", &self.control).finish_non_exhaustive()
    }
}

/// Runs the agent until SIGTERM or SIGINT, plus at most the grace period.
pub async fn run(settings: Settings, logging: Logging) -> Result<(), StartError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(StartError::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(StartError::Signals)?;
    let hangup = signal(SignalKind::hangup()).map_err(StartError::Signals)?;
    let stopping = CancellationToken::new();
    // Looking up group names may hang on a network.
    let built = tokio::select! {
        biased;
        _ = terminate.recv() => None,
        _ = interrupt.recv() => None,
        built = build(&settings, &logging.control, &stopping) => Some(built?),
    };
    let Some((transport, mut background)) = built else {
        info!("Stopped before anything had begun.");
        return Ok(());
    };
    background.spawn(reread_on_hangup(hangup, logging.control, logging.reread));
    let all_traced = CancellationToken::new();
    let exporting = logging.export.map(|export| tokio::spawn(export.run(all_traced.clone())));
    let mut transport = tokio::spawn(transport.run());

    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        // systemd would take half an agent for a healthy one, so exit and let systemd restart it.
        _ = &mut transport => return Err(StartError::PartEnded),
        Some(_) = background.join_next() => return Err(StartError::PartEnded),
    }
    let grace = settings.rpc.shutdown_grace;
    info!(grace_s = grace.as_secs(), "Stopping: what runs is finished, the rest is handed back.");
    Notify::stopping();
    stopping.cancel();
    if time::timeout(grace, &mut transport).await.is_err() {
        warn!("The grace period is over; unfinished commands from the broker will be redelivered.");
    }
    background.shutdown().await;
    all_traced.cancel();
    if let Some(Err(error)) = OptionFuture::from(exporting).await {
        error!(%error, "The export of spans ended in a panic.");
    }
    info!("Stopped.");
    Ok(())
}

/// Builds the parts. The tasks that accompany the transport are already running.
async fn build(
    settings: &Settings,
    log: &log::Control,
    stopping: &CancellationToken,
) -> Result<(Transport, JoinSet<()>), StartError> {
    // First, so that the socket exists when systemd reports the agent as ready.
    let local = open_local(settings).await?;
    remove_leftovers(settings).await;
    let mut background = JoinSet::new();
    let (admin_writer, admin) = watch::channel(AdminLogin::Pending("not asked yet".to_owned()));
    let (health_writer, health) = watch::channel(status::ProbeResult::from(Health::Unknown));
    let no_link = if settings.broker.is_some() { Link::not_tried() } else { Link::Absent };
    let (link_writer, link) = watch::channel(no_link);
    let counters = CommandCounters::default();
    let metrics = if settings.metrics.listen.is_some() { Metrics::on() } else { Metrics::off() };
    let (post, outbox, last_reported) = Outbox::new();

    let couchdb = &settings.couchdb;
    let client = Client::new(&couchdb.url, limits(couchdb), couchdb.tls.clone())
        .observed(Arc::new(Requests(metrics.clone())));
    let hasher = Hasher::new(Iterations { sha256: couchdb.sha256_iterations, sha1: couchdb.sha1_iterations });
    let (rotator, rotations, rotation_due) = Rotator::new(admin.clone());
    let bootstrap = Bootstrap::new(
        couchdb.clone(),
        settings.guest.state_dir.clone(),
        client.clone(),
        hasher.clone(),
        admin_writer,
        stopping.clone(),
    );
    background.spawn(bootstrap.run(rotations));

    let policy = Policy::new(&couchdb.ignore_users, &couchdb.ignore_dbs);
    let pending = PendingEdits::load(&settings.guest.state_dir);
    let disk = Disk::new(&couchdb.data_dir, couchdb.min_free_mib, couchdb.is_local());
    let couch = Arc::new(Couch::new(client, admin.clone(), hasher, policy, pending, disk));
    background.spawn(finish_pending(Arc::clone(&couch)));
    let operations = Operations::load(&settings.guest.state_dir, settings.operations);
    let (lifecycle, owner, states) = Lifecycle::load(&settings.guest.state_dir, &settings.guest.id);
    background.spawn(owner.run(settings.heartbeat.interval));
    let host = commands::stay_stopped(&lifecycle, Host::new(&settings.host), &mut background).await;
    let every = (settings.heartbeat.interval / PROBES_PER_INTERVAL).max(Duration::from_millis(100));
    background.spawn(status::probe_for_ever(
        Arc::clone(&couch),
        admin,
        every,
        lifecycle.clone(),
        host.clone(),
        health_writer,
    ));
    end_an_interrupted_prepare(&lifecycle, &operations).await;
    if settings.broker.is_some() {
        let heartbeat = Heartbeat {
            terms: settings.into(),
            lifecycle: lifecycle.clone(),
            states,
            health: health.clone(),
            link: link.clone(),
            outbox: post,
        };
        background.spawn(heartbeat.run());
    }
    background
        .spawn(Notify { lifecycle: lifecycle.clone(), health: health.clone(), link: link.clone() }.run());

    if settings.metrics.listen.is_some() {
        let routes = Routes {
            metrics: metrics.clone(),
            counters: counters.clone(),
            health: health.clone(),
            link: link.clone(),
            last_reported: last_reported.clone(),
            lifecycle: lifecycle.clone(),
            assume_prepared: settings.heartbeat.assume_prepared,
            operations: operations.clone(),
        };
        background.spawn(Monitor::new(settings.metrics.clone(), routes).run());
    }
    let agent_status = AgentStatus {
        guest_id: settings.guest.id.clone(),
        couchdb_url: couchdb.url.as_str().trim_end_matches('/').to_owned(),
        started: Instant::now(),
        lifecycle: lifecycle.clone(),
        assume_prepared: settings.heartbeat.assume_prepared,
        health,
        link,
        last_reported,
        counters: counters.clone(),
        operations: operations.clone(),
    };
    let image_brings =
        ImageBrings { packages: settings.prepare.ignore_packages, volume: settings.prepare.ignore_volume };
    let (redactor, log) = (Redactor::of(settings), log.clone());
    let options = Configuration::of(settings);
    let guest = Guest {
        couch,
        lifecycle,
        options,
        image_brings,
        agent_status,
        rotator,
        log,
        host,
        redactor,
        operations,
    };
    let dependencies = Dependencies {
        guest,
        audit: Audit::new(&settings.audit),
        counters,
        metrics,
        outbox,
        link: link_writer,
        stopping: stopping.clone(),
    };
    let transport = Transport::new(settings, local, dependencies);
    background.spawn(rotate_when_due(rotation_due, transport.own_commands()));
    Ok((transport, background))
}

/// Finishes edits of `_security` that an earlier agent began.
async fn finish_pending(couch: Arc<Couch>) {
    couch.finish_pending_for_ever().await;
}

/// Fails a `prepare` that an earlier agent began, unless it continues as an operation.
async fn end_an_interrupted_prepare(lifecycle: &Lifecycle, operations: &Operations) {
    let is_prepare = |kind: &str| kind == Method::Prepare.name();
    if !operations.all().iter().any(|one| one.end.is_none() && is_prepare(&one.request.kind)) {
        lifecycle.interrupt_prepare(NO_OPERATION).await;
    }
}

/// Rotates `os_admin`'s password by schedule, in order with all other commands.
async fn rotate_when_due(mut due: RotationDue, own: OwnCommands) {
    while due.next().await.is_some() {
        own.run(Box::new(RotateOsAdmin)).await;
    }
    // Never return: the agent exits if one of its tasks ends.
    std::future::pending::<()>().await;
}

/// Removes temporary files of an agent that was killed while it wrote a file. They may hold `os_admin`'s
/// password.
async fn remove_leftovers(settings: &Settings) {
    let (state, couchdb) = (settings.guest.state_dir.clone(), &settings.couchdb);
    let credentials = couchdb.credentials_file.parent().map(Path::to_owned);
    let shared = credentials.into_iter().chain(couchdb.local_ini_dir.clone());
    let places: Vec<_> = std::iter::once((state, true)).chain(shared.map(|place| (place, false))).collect();
    let removed = system::blocking(move || {
        for (directory, private) in places {
            let directory_shown = directory.display();
            match system::remove_leftovers(&directory, private) {
                Ok(files) if files.is_empty() => {}
                Ok(files) => info!(?files, "Removed what a killed agent had left."),
                Err(error) => {
                    warn!(directory = %directory_shown, %error, "What a killed agent left may not be removed.");
                }
            }
        }
    });
    if let Err(error) = removed.await {
        error!(%error, "Looking for what a killed agent left ended in a panic.");
    }
}

/// Applies `log.filter` on every SIGHUP. All other settings need a restart.
async fn reread_on_hangup(mut hangup: Signal, control: log::Control, reread: Reread) {
    let reread = Arc::new(reread);
    while hangup.recv().await.is_some() {
        let reread = Arc::clone(&reread);
        match system::blocking(move || reread()).await {
            Ok(Ok(settings)) => {
                control.configure(&settings.filter);
                info!(filter = settings.filter.as_str(), "The log's filter was read again.");
            }
            Ok(Err(error)) => {
                let reason = error.to_string();
                error!(reason, "The configuration has a mistake; what is logged stays as it was.");
            }
            Err(stopped) => error!(%stopped, "The configuration could not be read again."),
        }
    }
    // Never return: the agent exits if one of its tasks ends.
    std::future::pending::<()>().await;
}

/// Opens the local socket. With a broker a failure is only logged, because Trove can still reach the agent.
async fn open_local(settings: &Settings) -> Result<Option<LocalServer>, StartError> {
    let Some(mut local) = LocalServer::new(&settings.local, &settings.guest.id) else { return Ok(None) };
    match local.open().await {
        Ok(()) => {}
        Err(error) if settings.broker.is_some() => {
            let reason = error.to_string();
            error!(reason, "No local socket; trying again.");
        }
        Err(error) => return Err(StartError::NoWayIn(error)),
    }
    Ok(Some(local))
}

/// Checks what would prevent [`run`] from starting, as far as that is visible without starting. An agent that
/// already runs on the same socket does not count.
pub fn check(settings: &Settings) -> Result<(), StartError> {
    let needed = settings.broker.is_none();
    let local = LocalServer::new(&settings.local, &settings.guest.id).filter(|_| needed);
    local.map_or(Ok(()), |local| local.check()).map_err(StartError::NoWayIn)
}

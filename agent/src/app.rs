//! Builds the agent from its settings and runs it until a signal comes. Nothing else constructs.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    signal::unix::{SignalKind, signal},
    sync::{mpsc, watch},
    task::JoinSet,
    time,
};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::{
    audit::Audit,
    bootstrap::{Bootstrap, Rotator},
    config::{CouchSettings, Settings},
    couch::{AdminLogin, Client, Couch, Hasher, Health, Iterations, Limits, Policy},
    dispatch::Dispatcher,
    handlers::{Handlers, ImageBrings},
    preparation::Preparation,
    status::{self, Heartbeat, Link, Notify, Report, Tally},
    transport::{LocalError, LocalServer, Surroundings, Transport},
};

/// Casts of our own that may wait for the broker.
const OUTBOX: usize = 16;

/// CouchDB is looked at so many times in one interval of the heartbeat, so that a change is told soon.
const PROBES_PER_INTERVAL: u32 = 3;

/// Why the agent could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No signal handler.
    #[error("the signals can't be handled")]
    Signals(#[source] std::io::Error),
    /// Nobody could give the agent a command.
    #[error("there is no broker, and so no way in without the local socket")]
    NoWayIn(#[source] LocalError),
    /// A part that works as long as the agent does has ended by itself.
    #[error("a part of the agent ended unexpectedly; its log says which")]
    PartEnded,
}

/// Runs the agent until SIGTERM or SIGINT, and at most the grace period longer.
pub async fn run(settings: Settings) -> Result<(), StartError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(StartError::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(StartError::Signals)?;
    let stopping = CancellationToken::new();
    let (transport, mut background) = build(&settings, &stopping).await?;
    let mut transport = tokio::spawn(transport.run());

    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        // Half an agent would look healthy to systemd: better a new one.
        _ = &mut transport => return Err(StartError::PartEnded),
        Some(_) = background.join_next() => return Err(StartError::PartEnded),
    }
    let grace = settings.rpc.shutdown_grace;
    info!(grace_s = grace.as_secs(), "Stopping: what runs is finished, the rest is handed back.");
    Notify::stopping();
    stopping.cancel();
    if time::timeout(grace, &mut transport).await.is_err() {
        warn!(
            "The grace period is over; what came over the bus and is not finished will be delivered again."
        );
    }
    background.shutdown().await;
    info!("Stopped.");
    Ok(())
}

/// Puts the parts together. The tasks that only accompany the transport run already.
async fn build(
    settings: &Settings,
    stopping: &CancellationToken,
) -> Result<(Transport, JoinSet<()>), StartError> {
    // First of all, so that whoever hears that the agent is ready finds it.
    let local = open_local(settings).await?;
    let mut background = JoinSet::new();
    let (admin_writer, admin) = watch::channel(AdminLogin::Pending("not asked yet".to_owned()));
    let (health_writer, health) = watch::channel(Health::Unknown);
    let no_link = if settings.broker.is_some() { Link::not_tried() } else { Link::Absent };
    let (link_writer, link) = watch::channel(no_link);
    let (told_writer, told) = watch::channel(None);
    let tally = Tally::default();
    let (outbox, posted) = mpsc::channel(OUTBOX);

    let couchdb = &settings.couchdb;
    let client = Client::new(&couchdb.url, limits(couchdb), couchdb.tls.clone());
    let hasher = Hasher::new(Iterations { sha256: couchdb.sha256_iterations, sha1: couchdb.sha1_iterations });
    let (rotator, rotations) = Rotator::new();
    let bootstrap = Bootstrap::new(
        couchdb.clone(),
        client.clone(),
        hasher.clone(),
        admin_writer,
        rotations,
        stopping.clone(),
    );
    background.spawn(bootstrap.run());

    let policy = Policy::new(&couchdb.ignore_users, &couchdb.ignore_dbs);
    let couch = Arc::new(Couch::new(client, admin.clone(), hasher, policy));
    let every = (settings.heartbeat.interval / PROBES_PER_INTERVAL).max(Duration::from_millis(100));
    background.spawn(status::probe_for_ever(Arc::clone(&couch), admin, every, health_writer));
    let (preparation, stages) = Preparation::load(&settings.guest.state_dir, &settings.guest.id);
    if settings.broker.is_some() {
        let heartbeat = Heartbeat {
            terms: settings.into(),
            preparation: preparation.clone(),
            stages,
            health: health.clone(),
            link: link.clone(),
            outbox,
            told: told_writer,
        };
        background.spawn(heartbeat.run());
    }
    background.spawn(Notify { health: health.clone(), link: link.clone() }.run());

    let report = Report {
        guest_id: settings.guest.id.clone(),
        couchdb_url: couchdb.url.as_str().trim_end_matches('/').to_owned(),
        started: Instant::now(),
        preparation: preparation.clone(),
        assume_prepared: settings.heartbeat.assume_prepared,
        health,
        link,
        told,
        tally: tally.clone(),
    };
    let image_brings =
        ImageBrings { packages: settings.prepare.ignore_packages, volume: settings.prepare.ignore_volume };
    let data_dir = couchdb.data_dir.clone();
    let handlers = Handlers { couch, data_dir, preparation, image_brings, report, rotator };
    let dispatcher = Dispatcher::new(handlers, settings.rpc.max_concurrent, tally.clone(), stopping.clone());
    let surroundings = Surroundings {
        dispatcher: Arc::new(dispatcher),
        audit: Audit::new(&settings.audit),
        tally,
        outbox: posted,
        link: link_writer,
        stopping: stopping.clone(),
    };
    Ok((Transport::new(settings, local, surroundings), background))
}

/// A guest that Trove can reach serves Trove, whatever is wrong with its socket.
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

fn limits(settings: &CouchSettings) -> Limits {
    Limits {
        connect: settings.connect_timeout,
        request: settings.request_timeout,
        connections: settings.max_connections,
    }
}

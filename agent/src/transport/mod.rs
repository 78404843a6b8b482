//! The two ways in, RabbitMQ and the local socket, and the one path that commands take from there.
//!
//! ```text
//! RabbitMQ ----- broker: connect, declare, consume --+
//!                                                    +--> Intake: decode, dedupe, turn, run, answer, acknowledge
//! local socket - local: who is it? frames -----------+                (one task per command)
//! ```
//!
//! The only user of lapin in the agent; the operator's tool connects and declares with the same functions. Tasks
//! outlive the connection that brought their command: the broker then delivers the command again on the next one, and
//! `dedupe` joins the two.

mod accept;
mod answer;
mod backoff;
mod broker;
mod compression;
mod connect;
mod consume;
mod consumer;
mod dedupe;
mod events;
mod ledger;
mod local;
mod names;
mod origin;
mod outcomes;
mod publisher;
mod reminder;
mod replay;
mod reports;
mod secure;
mod session;
mod topology;

use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use trove_couchdb_config::Settings;

use crate::{
    audit::Audit,
    dispatch::Dispatcher,
    metrics::Metrics,
    status::{Link, Outbox, Tally},
};
use broker::Broker;
use consume::Intake;
use dedupe::Seen;
use ledger::Ledger;

pub use connect::{ConnectError, Hosts, Socket, connect};
pub use local::{LocalError, LocalServer};
pub use publisher::properties;
use replay::Receipts;
pub use topology::{guest_queue, is_mismatch, short, transient_queue};

/// What the transport needs of the rest of the agent.
#[derive(Debug)]
pub struct Surroundings {
    /// Where commands are run.
    pub dispatcher: Arc<Dispatcher>,
    /// Where they are written down.
    pub audit: Audit,
    /// Where they are counted.
    pub tally: Tally,
    /// Where they are counted for Prometheus.
    pub metrics: Metrics,
    /// What goes to the conductor while there is a broker.
    pub outbox: Outbox,
    /// Is told whether there is one.
    pub link: watch::Sender<Link>,
    /// Cancelled when the agent stops.
    pub stopping: CancellationToken,
}

/// Everything that brings commands.
#[derive(Debug)]
pub struct Transport {
    intake: Intake,
    broker: Option<Broker>,
    local: Option<LocalServer>,
    stopping: CancellationToken,
}

impl Transport {
    /// Not connected to a broker yet.
    pub fn new(settings: &Settings, local: Option<LocalServer>, surroundings: Surroundings) -> Self {
        let Surroundings { dispatcher, audit, tally, metrics, outbox, link, stopping } = surroundings;
        let intake = Intake {
            dispatcher,
            seen: Seen::new(settings.rpc.duplicate_window),
            receipts: Receipts::load(&settings.guest.state_dir, settings.rpc.replay_window),
            ledger: Ledger { audit, tally, metrics },
            limits: settings.rpc.clone(),
            tasks: TaskTracker::new(),
        };
        if settings.broker.is_some() {
            for (mark, changes) in intake.receipts.interrupted() {
                intake.dispatcher.is_interrupted(mark, &changes);
            }
        }
        let broker = settings
            .broker
            .clone()
            .map(|broker| Broker::new(broker, &settings.guest, &intake, outbox, link, stopping.clone()));
        Self { intake, broker, local, stopping }
    }

    /// Serves until told to stop; returns when nothing is under way any more.
    pub async fn run(self) {
        let Self { intake, broker, local, stopping } = self;
        let receipts = intake.receipts.clone();
        let over_the_bus = async {
            if let Some(broker) = broker {
                return broker.run(&intake).await;
            }
            stopping.cancelled().await;
            intake.finish_tasks().await;
        };
        let over_the_socket = async {
            if let Some(local) = local {
                local.run(&intake, &stopping).await;
            }
        };
        tokio::join!(over_the_bus, over_the_socket);
        receipts.finish().await;
    }
}

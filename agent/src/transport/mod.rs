//! The two transports, RabbitMQ and the local socket, and the pipeline that they share.
//!
//! ```text
//! RabbitMQ ----- amqp: connect, declare, consume ---+
//!                                                   +--> rpc: decode, ask the delivery core, act
//! local socket - local: identify the peer, frames --+         (one task per action)
//! ```
//!
//! `rpc` does not depend on the other two: both implement its trait `RequestSource`. This module connects the
//! three. A task outlives the connection that delivered its command: the broker redelivers the command on the
//! next connection, and the core matches the two.

mod amqp;
mod local;
mod rpc;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use trove_couchdb_config::Settings;

use crate::{
    audit::Audit,
    commands::Guest,
    metrics::Metrics,
    status::{CommandCounters, Link, Outbox},
};
use amqp::Broker;
use rpc::{CommandLog, Records, RequestPipeline};

pub use local::{LocalError, LocalServer};
pub use rpc::OwnCommands;

/// The parts of the agent that the transports need.
#[derive(Debug)]
pub struct Dependencies {
    /// What commands work on.
    pub guest: Guest,
    /// The audit log.
    pub audit: Audit,
    /// Counts commands for the agent's status.
    pub counters: CommandCounters,
    /// Counts commands for Prometheus.
    pub metrics: Metrics,
    /// Messages to the conductor, to be sent while the broker is connected.
    pub outbox: Outbox,
    /// Receives the state of the broker's connection.
    pub link: watch::Sender<Link>,
    /// Cancelled when the agent stops.
    pub stopping: CancellationToken,
}

/// All transports.
#[derive(Debug)]
pub struct Transport {
    pipeline: RequestPipeline,
    broker: Option<Broker>,
    local: Option<LocalServer>,
    stopping: CancellationToken,
}

impl Transport {
    /// Does not connect yet.
    pub fn new(settings: &Settings, local: Option<LocalServer>, dependencies: Dependencies) -> Self {
        let Dependencies { guest, audit, counters, metrics, outbox, link, stopping } = dependencies;
        let (records, from_disk) = Records::load(&settings.guest.state_dir, settings.rpc.replay_window);
        let mut known = from_disk.resume(&guest.operations, settings.broker.is_some());
        let unfinished = std::mem::take(&mut known.unfinished);
        let command_log = CommandLog { audit, counters, metrics };
        let limits = settings.rpc.clone();
        let pipeline = RequestPipeline::new(guest, records, known, command_log, limits, stopping.clone());
        let broker = settings
            .broker
            .clone()
            .map(|broker| Broker::new(broker, &settings.guest, &pipeline, outbox, link, stopping.clone()));
        pipeline.resume_operations(&unfinished);
        Self { pipeline, broker, local, stopping }
    }

    /// Runs the agent's own commands, in the order of all commands.
    pub fn own_commands(&self) -> OwnCommands {
        OwnCommands(self.pipeline.clone())
    }

    /// Serves until the agent stops; returns when no command is in flight.
    pub async fn run(self) {
        let Self { pipeline, broker, local, stopping } = self;
        let over_the_bus = async {
            if let Some(broker) = broker {
                return broker.run(&pipeline).await;
            }
            stopping.cancelled().await;
            pipeline.finish_tasks().await;
        };
        let over_the_socket = async {
            if let Some(local) = local {
                local.run(&pipeline, &stopping).await;
            }
        };
        tokio::join!(over_the_bus, over_the_socket, pipeline.terminate_when_told());
        pipeline.finish_records().await;
    }
}

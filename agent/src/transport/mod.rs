//! The two ways in, RabbitMQ and the local socket, and the one path that commands take from there.
//!
//! ```text
//! RabbitMQ ----- amqp: connect, declare, consume ---+
//!                                                   +--> rpc: decode, tell the delivery core, carry out
//! local socket - local: who is it? frames ----------+         (one task per action)
//! ```
//!
//! `rpc` knows neither of the other two: both implement its trait `RequestSource`. Here the three are put together. Tasks
//! outlive the connection that brought their command: the broker then delivers the command again on the next one, and
//! the core joins the two.

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

/// What the transport needs of the rest of the agent.
#[derive(Debug)]
pub struct Dependencies {
    /// What commands work on.
    pub guest: Guest,
    /// Where they are written down.
    pub audit: Audit,
    /// Where they are counted.
    pub counters: CommandCounters,
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
    pipeline: RequestPipeline,
    broker: Option<Broker>,
    local: Option<LocalServer>,
    stopping: CancellationToken,
}

impl Transport {
    /// Not connected to a broker yet.
    pub fn new(settings: &Settings, local: Option<LocalServer>, dependencies: Dependencies) -> Self {
        let Dependencies { guest, audit, counters, metrics, outbox, link, stopping } = dependencies;
        let (records, mut from_disk) = Records::load(&settings.guest.state_dir, settings.rpc.replay_window);
        if settings.broker.is_none() {
            // Nobody delivers them again.
            from_disk.interrupted.clear();
        }
        rpc::add_operations(&mut from_disk, &guest.operations);
        let command_log = CommandLog { audit, counters, metrics };
        let limits = settings.rpc.clone();
        let pipeline = RequestPipeline::new(guest, records, from_disk, command_log, limits, stopping.clone());
        let broker = settings
            .broker
            .clone()
            .map(|broker| Broker::new(broker, &settings.guest, &pipeline, outbox, link, stopping.clone()));
        pipeline.resume_operations();
        Self { pipeline, broker, local, stopping }
    }

    /// For what the agent does by itself, in the order of all commands.
    pub fn own_commands(&self) -> OwnCommands {
        OwnCommands(self.pipeline.clone())
    }

    /// Serves until told to stop; returns when nothing is under way any more.
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

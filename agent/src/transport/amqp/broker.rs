//! An oslo.messaging RPC server. It uses one connection at a time and reconnects when the connection is lost.
//!
//! ```text
//!     +--------------------- lost or refused: back off with jitter, try the next host ---------------------+
//!     v                                                                                                    |
//! connect -> declare -> consume ==> RequestPipeline (a task per action) ==> Publisher (replies, conductor) +
//!                       |
//!                       +-- stopping: cancel consumers -> finish running commands -> close
//! ```

use std::sync::Arc;

use tokio::{
    sync::watch,
    time::{self, Instant},
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use trove_couchdb_config::{BrokerSettings, GuestSettings};
use trove_couchdb_guest::broker::{ConnectError, Hosts, Names};
use trove_couchdb_protocol::{Cipher, transport_url::Host};

use super::{
    backoff::Backoff,
    publisher::{ConfirmChannel, ReplyPublisher},
    session::{End, Session},
    source_ref::BrokerReplies,
};
use crate::{
    status::{Link, Outbox},
    transport::rpc::{ReplyEncoder, RequestPipeline},
};

/// The agent's connection to the broker.
#[derive(Debug)]
pub(in crate::transport) struct Broker {
    settings: BrokerSettings,
    guest_id: String,
    names: Arc<Names>,
    replies: Arc<BrokerReplies>,
    channel: watch::Sender<Option<ConfirmChannel>>,
    outbox: Outbox,
    link: watch::Sender<Link>,
    stopping: CancellationToken,
}

impl Broker {
    /// Does not connect yet.
    pub(in crate::transport) fn new(
        settings: BrokerSettings,
        guest: &GuestSettings,
        pipeline: &RequestPipeline,
        outbox: Outbox,
        link: watch::Sender<Link>,
        stopping: CancellationToken,
    ) -> Self {
        let (channel, newest) = watch::channel(None);
        let missing_consumer = settings.missing_consumer_retry_timeout;
        let encoder = ReplyEncoder {
            guest_id: guest.id.clone(),
            cipher: guest.encryption_key.as_ref().map(Cipher::new),
        };
        let metrics = pipeline.metrics().clone();
        let (tasks, stop) = (pipeline.tasks().clone(), stopping.clone());
        let publisher = ReplyPublisher::start(newest, missing_consumer, metrics, tasks, stop);
        let replies = Arc::new(BrokerReplies { encoder, publisher });
        pipeline.tells_over(Arc::<BrokerReplies>::clone(&replies));
        let names = Arc::new(Names::new(&guest.id, &settings));
        Self { settings, guest_id: guest.id.clone(), names, replies, channel, outbox, link, stopping }
    }

    /// Serves until the agent stops; returns when no command is in flight.
    pub(in crate::transport) async fn run(mut self, pipeline: &RequestPipeline) {
        let mut hosts = Hosts::shuffled(&self.settings.transport_url);
        let mut backoff = Backoff::new(self.settings.reconnect_min, self.settings.reconnect_max);
        let mut failed_before = false;
        while let Some((host, new_round)) = hosts.next() {
            if new_round && failed_before {
                tokio::select! {
                    () = self.stopping.cancelled() => break,
                    () = time::sleep(backoff.wait()) => {}
                }
            }
            failed_before = true;
            let address = format!("{}:{}", host.host, host.port);
            let opened = tokio::select! {
                () = self.stopping.cancelled() => break,
                opened = self.open(&host) => opened,
            };
            let reason = match opened {
                Ok(session) => {
                    info!(broker = address, "Consuming.");
                    let since = Instant::now();
                    match self.serve(session, pipeline, &address).await {
                        End::Stopping => return,
                        End::Lost(reason) => {
                            backoff.stood(since.elapsed());
                            reason
                        }
                    }
                }
                Err(error) => error.to_string(),
            };
            let reason = one_line(&reason);
            warn!(broker = address, reason, "No connection to the broker.");
            self.link.send_replace(Link::Down { address: Some(address), reason });
        }
        pipeline.finish_tasks().await;
    }

    async fn open(&self, host: &Host) -> Result<Session, ConnectError> {
        Session::open(&self.settings, &self.guest_id, &self.names, host).await
    }

    async fn serve(&mut self, mut session: Session, pipeline: &RequestPipeline, address: &str) -> End {
        pipeline.metrics().connected();
        self.channel.send_replace(Some(session.channel()));
        self.link.send_replace(Link::Up { address: address.to_owned() });
        let outbox = &mut self.outbox;
        let alarm = |reason: Option<String>| {
            let address = address.to_owned();
            let state = if let Some(reason) = reason.map(|reason| one_line(&reason)) {
                pipeline.metrics().broker_alarm();
                warn!(reason, "The broker takes no messages for the time being; answers wait until it does.");
                Link::Blocked { address, reason }
            } else {
                info!("The broker takes messages again.");
                Link::Up { address }
            };
            self.link.send_replace(state);
        };
        let end = session.serve(pipeline, &self.replies, outbox, &self.channel, alarm, &self.stopping).await;
        if matches!(end, End::Stopping) {
            // No new messages are taken, running commands finish, and closing the connection requeues the
            // rest.
            tokio::join!(session.cancel_consumers(), pipeline.finish_tasks());
        }
        self.channel.send_replace(None);
        session.close().await;
        end
    }
}

/// Removes control characters: the broker's text goes to the log and to systemd's status.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(600).collect()
}

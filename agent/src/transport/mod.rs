//! The agent on RabbitMQ: an oslo.messaging RPC server, for as long as the process lives.
//!
//! ```text
//!           +-------------------- lost, or refused: back-off with jitter, next host --------------------+
//!           v                                                                                            |
//! connect -> declare -> consume ==> Intake (one task per command) ==> Publisher (replies, conductor) ----+
//!                          |
//!                          +-- stopping: cancel consumers -> what runs ends -> close
//! ```
//!
//! The only user of lapin. Tasks outlive the connection that brought their command: the broker then delivers
//! the command again on the next one, and `dedupe` joins the two.

mod answer;
mod connect;
mod consume;
mod dedupe;
mod publish;
mod topology;

use std::{sync::Arc, time::Duration};

use futures_util::{StreamExt, stream::SelectAll};
use lapin::{
    Channel, Connection, Consumer,
    options::{BasicCancelOptions, BasicConsumeOptions, BasicQosOptions},
    types::FieldTable,
};
use tokio::{
    sync::{mpsc, watch},
    time,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{info, warn};
use trove_couchdb_protocol::{Cipher, Context, trove::ConductorCast};

use crate::{config::Settings, dispatch::Dispatcher, status::Link};
use answer::Pen;
use connect::{Backoff, ConnectError, Hosts};
use consume::Intake;
use dedupe::Seen;
use publish::Publisher;
use topology::Names;

/// How long a heartbeat may take to reach the broker.
const CAST_LIMIT: Duration = Duration::from_secs(5);

/// The RPC server.
#[derive(Debug)]
pub struct Transport {
    settings: Arc<Settings>,
    names: Arc<Names>,
    intake: Intake,
    outbox: mpsc::Receiver<ConductorCast>,
    link: watch::Sender<Link>,
    stopping: CancellationToken,
}

/// How serving on one connection ended.
enum End {
    Stopping,
    Lost(String),
}

/// One connection, consuming.
struct Session {
    connection: Connection,
    channel: Channel,
    tags: Vec<String>,
    consumers: SelectAll<Consumer>,
    publisher: Publisher,
}

impl Transport {
    /// A server that is not connected yet. What `outbox` yields goes to the conductor while there is a broker,
    /// and `link` tells whether there is.
    pub fn new(
        settings: Arc<Settings>,
        dispatcher: Arc<Dispatcher>,
        outbox: mpsc::Receiver<ConductorCast>,
        link: watch::Sender<Link>,
        stopping: CancellationToken,
    ) -> Self {
        let pen = Pen {
            guest_id: settings.guest.id.clone(),
            cipher: settings.guest.encryption_key.as_ref().map(Cipher::new),
        };
        let intake = Intake {
            dispatcher,
            pen: Arc::new(pen),
            seen: Seen::new(settings.rpc.duplicate_window),
            limits: settings.rpc.clone(),
            tasks: TaskTracker::new(),
        };
        let names = Arc::new(Names::new(&settings.guest.id, &settings.broker));
        Self { settings, names, intake, outbox, link, stopping }
    }

    /// Serves until told to stop; returns when nothing is under way any more.
    pub async fn run(mut self) {
        let broker = &self.settings.broker;
        let mut hosts = Hosts::shuffled(&broker.transport_url);
        let mut backoff = Backoff::new(broker.reconnect_min, broker.reconnect_max);
        while let Some((host, new_round)) = hosts.next() {
            if new_round && matches!(&*self.link.borrow(), Link::Down(reason) if !reason.is_empty()) {
                let wait = backoff.wait();
                tokio::select! {
                    () = self.stopping.cancelled() => break,
                    () = time::sleep(wait) => {}
                }
            }
            let address = format!("{}:{}", host.host, host.port);
            let opened = tokio::select! {
                () = self.stopping.cancelled() => break,
                opened = self.open(&host) => opened,
            };
            let reason = match opened {
                Ok(session) => {
                    info!(broker = address, "Consuming.");
                    backoff.reset();
                    self.link.send_replace(Link::Up);
                    match self.serve(session).await {
                        End::Stopping => return,
                        End::Lost(reason) => reason,
                    }
                }
                Err(error) => error.to_string(),
            };
            warn!(broker = address, reason, "No connection to the broker.");
            self.link.send_replace(Link::Down(format!("{address}: {reason}")));
        }
        self.finish_tasks().await;
    }

    async fn open(
        &self,
        host: &trove_couchdb_protocol::transport_url::Host,
    ) -> Result<Session, ConnectError> {
        let broker = &self.settings.broker;
        let connection = connect::connect(broker, host, &self.settings.guest.id).await?;
        let limit = broker.connect_timeout;
        match time::timeout(limit, self.consume(connection)).await {
            Ok(session) => Ok(session?),
            Err(_) => Err(ConnectError::Timeout(limit)),
        }
    }

    async fn consume(&self, connection: Connection) -> Result<Session, lapin::Error> {
        let broker = &self.settings.broker;
        topology::declare(&connection, &self.names, broker).await?;
        let replies = topology::confirming_channel(&connection).await?;
        let publisher =
            Publisher::new(replies, Arc::clone(&self.names), broker.missing_consumer_retry_timeout);
        let channel = connection.create_channel().await?;
        channel.basic_qos(broker.prefetch, BasicQosOptions::default()).await?;
        let mut consumers = SelectAll::new();
        let mut tags = Vec::new();
        for (number, queue) in self.names.queues(broker).into_iter().enumerate() {
            let tag = (number + 1).to_string();
            let (name, tag_name) = (topology::short(queue)?, topology::short(&tag)?);
            let options = BasicConsumeOptions::default();
            consumers.push(channel.basic_consume(name, tag_name, options, FieldTable::default()).await?);
            tags.push(tag);
        }
        Ok(Session { connection, channel, tags, consumers, publisher })
    }

    async fn serve(&mut self, mut session: Session) -> End {
        loop {
            tokio::select! {
                biased;
                () = self.stopping.cancelled() => {
                    self.stop(session).await;
                    return End::Stopping;
                }
                () = session.publisher.broken() => {
                    return lost(session, "the channel for replies is closed".to_owned()).await;
                }
                Some(cast) = self.outbox.recv() => {
                    let publication = self.intake.pen.conductor_cast(&cast, &guest_context());
                    // A broker in trouble holds publishers up; commands that are here already must not wait for it.
                    let publishing = session.publisher.publish(&publication);
                    if !matches!(time::timeout(CAST_LIMIT, publishing).await, Ok(Ok(()))) {
                        warn!("A heartbeat did not get through to the broker.");
                    }
                }
                delivery = session.consumers.next() => match delivery {
                    Some(Ok(delivery)) => self.intake.take(delivery, &session.publisher),
                    Some(Err(error)) => return lost(session, error.to_string()).await,
                    None => return lost(session, "the broker cancelled the consumers".to_owned()).await,
                },
            }
        }
    }

    /// Takes nothing new, lets what runs come to its end, and closes: the broker requeues the rest.
    async fn stop(&self, session: Session) {
        for tag in &session.tags {
            if let Ok(tag) = topology::short(tag)
                && let Err(error) = session.channel.basic_cancel(tag, BasicCancelOptions::default()).await
            {
                warn!(%error, "A consumer could not be cancelled.");
            }
        }
        self.finish_tasks().await;
        close(&session.connection, "the agent stops").await;
    }

    async fn finish_tasks(&self) {
        self.intake.tasks.close();
        self.intake.tasks.wait().await;
    }
}

async fn lost(session: Session, reason: String) -> End {
    close(&session.connection, "reconnecting").await;
    End::Lost(reason)
}

/// Closes politely, but doesn't wait for a broker that is gone.
async fn close(connection: &Connection, why: &'static str) {
    const PATIENCE: Duration = Duration::from_secs(2);
    if !matches!(time::timeout(PATIENCE, connection.close(200, why.into())).await, Ok(Ok(()))) {
        info!("The connection to the broker was gone before it was closed.");
    }
}

/// The context of what the guest says by itself.
fn guest_context() -> Context {
    Context::for_guest(&format!("req-{}", trove_couchdb_protocol::new_id()))
}

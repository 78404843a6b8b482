//! One connection to one broker, from the declarations to the close.

use std::{sync::Arc, time::Duration};

use lapin::Connection;
use tokio::{
    sync::{mpsc, watch},
    time,
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};
use trove_couchdb_config::BrokerSettings;
use trove_couchdb_guest::broker::{self, ConnectError, Names, Socket};
use trove_couchdb_protocol::{Context, new_id, transport_url::Host};

use super::{
    consumer::Consumer,
    events::Events,
    publisher::{Closure, ConfirmChannel},
    source_ref::BrokerReplies,
};
use crate::{status::Outbox, transport::rpc::RequestPipeline};

/// How long to wait for the broker while a connection closes.
const FAREWELL: Duration = Duration::from_secs(2);

/// How long opening a new channel for replies may take.
const CHANNEL_LIMIT: Duration = Duration::from_secs(10);

/// How often the connection is checked. Consumers are notified when it is lost. If a notification were ever
/// missing, the agent would wait forever for deliveries and look healthy.
const LOOK: Duration = Duration::from_secs(15);

/// How serving on one connection ended.
#[derive(Debug)]
pub(super) enum End {
    /// The agent stops.
    Stopping,
    /// The connection can no longer be used.
    Lost(String),
}

/// A consuming connection.
pub(super) struct Session {
    connection: Connection,
    socket: Socket,
    channel: ConfirmChannel,
    consumer: Consumer,
    alarms: mpsc::UnboundedReceiver<Option<String>>,
}

impl Session {
    /// Connects, declares and consumes. Goes on without the fanout queue if the broker refuses only that one.
    pub(super) async fn open(
        broker: &BrokerSettings,
        guest_id: &str,
        names: &Arc<Names>,
        host: &Host,
    ) -> Result<Self, ConnectError> {
        match Self::try_open(broker, guest_id, names, host).await {
            Err(ConnectError::Topology(refused)) if names.goes_without_fanout(&refused) => {
                warn!(reason = %refused, "The broker refuses the fanout queue; the agent goes on without it, as Trove does not use it.");
                Self::try_open(broker, guest_id, names, host).await
            }
            opened => opened,
        }
    }

    /// Connects once; closes the connection on any error.
    async fn try_open(
        broker: &BrokerSettings,
        guest_id: &str,
        names: &Arc<Names>,
        host: &Host,
    ) -> Result<Self, ConnectError> {
        let (connection, socket) =
            broker::connect(broker, host, format!("trove-couchdb-agent:{guest_id}")).await?;
        let limit = broker.connect_timeout;
        let Events { ended, alarms } = Events::listen(&connection);
        let preparing = prepare(&connection, names, broker, ended);
        match time::timeout(limit, preparing).await.unwrap_or(Err(ConnectError::Timeout(limit))) {
            Ok((consumer, channel)) => Ok(Self { connection, socket, channel, consumer, alarms }),
            Err(error) => {
                close(&connection, &socket).await;
                Err(error)
            }
        }
    }

    /// The channel for replies.
    pub(super) fn channel(&self) -> ConfirmChannel {
        self.channel.clone()
    }

    /// Takes deliveries until the agent stops or the connection is lost. `newest` receives each new channel
    /// for replies. `alarm` is called with the broker's reason when it stops accepting messages, and with
    /// `None` when it accepts them again.
    pub(super) async fn serve(
        &mut self,
        pipeline: &RequestPipeline,
        replies: &Arc<BrokerReplies>,
        outbox: &mut Outbox,
        newest: &watch::Sender<Option<ConfirmChannel>>,
        alarm: impl Fn(Option<String>),
        stopping: &CancellationToken,
    ) -> End {
        let events = &mut self.alarms;
        let alarms = async {
            while let Some(reason) = events.recv().await {
                alarm(reason);
            }
        };
        let channels = channels(&self.connection, self.channel.clone(), newest);
        // In parallel with the deliveries: a heartbeat that the broker delays must not delay commands.
        let heartbeats = async {
            while let Some(cast) = outbox.next().await {
                if replies
                    .publisher
                    .try_publish(&replies.encoder.conductor_cast(&cast, &guest_context()))
                    .await
                {
                    outbox.has_gone_out(&cast);
                }
            }
            std::future::pending().await
        };
        let (connection, channel_is_open) = (self.connection.status(), self.consumer.is_open());
        let disconnected = async {
            while connection.connected() && channel_is_open() {
                time::sleep(LOOK).await;
            }
        };
        let deliveries = async { End::Lost(self.consumer.run(pipeline, replies).await) };
        tokio::select! {
            biased;
            () = stopping.cancelled() => End::Stopping,
            end = channels => end,
            end = deliveries => end,
            () = disconnected => End::Lost("the connection is closed".to_owned()),
            never = heartbeats => never,
            () = alarms => End::Lost("the connection is closed".to_owned()),
        }
    }

    /// Asks the broker to stop delivering.
    pub(super) async fn cancel_consumers(&mut self) {
        self.consumer.cancel().await;
    }

    /// Closes the connection; the broker requeues what is not acknowledged.
    pub(super) async fn close(self) {
        close(&self.connection, &self.socket).await;
    }
}

async fn prepare(
    connection: &Connection,
    names: &Arc<Names>,
    broker: &BrokerSettings,
    ended: watch::Receiver<Option<Closure>>,
) -> Result<(Consumer, ConfirmChannel), ConnectError> {
    broker::declare(connection, names, broker).await?;
    let replies = broker::confirming_channel(connection).await?;
    let answers = ConfirmChannel::new(replies, Arc::clone(names), connection.status().clone(), ended);
    let channel = connection.create_channel().await?;
    let consumer = Consumer::new(channel, names.queues(broker.prefetch));
    Ok((consumer, answers))
}

/// Opens a new channel for replies whenever one closes. A channel closed because of a single message is no
/// reason to give up the consumers and the commands they have delivered.
async fn channels(
    connection: &Connection,
    mut channel: ConfirmChannel,
    newest: &watch::Sender<Option<ConfirmChannel>>,
) -> End {
    while channel.ends().await {
        let Ok(Ok(another)) = time::timeout(CHANNEL_LIMIT, broker::confirming_channel(connection)).await
        else {
            break;
        };
        channel = channel.on(another);
        newest.send_replace(Some(channel.clone()));
    }
    End::Lost("the channel for replies is closed".to_owned())
}

/// Closes the connection cleanly, but does not wait for a broker that is gone.
async fn close(connection: &Connection, socket: &Socket) {
    let closing = connection.close(200, "the agent leaves".into());
    if !matches!(time::timeout(FAREWELL, closing).await, Ok(Ok(()))) {
        debug!("The connection to the broker was gone before it was closed.");
    }
    socket.shut_down();
}

/// The context of messages that the guest sends on its own.
fn guest_context() -> Context {
    Context::for_guest(&format!("req-{}", new_id()))
}

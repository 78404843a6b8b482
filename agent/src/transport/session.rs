//! One connection to one broker, from the declarations to the close.

use std::{sync::Arc, time::Duration};

use futures_util::{
    FutureExt, StreamExt,
    future::join_all,
    stream::{self, BoxStream, SelectAll},
};
use lapin::{
    Channel, Connection,
    message::Delivery,
    options::{BasicCancelOptions, BasicConsumeOptions, BasicQosOptions},
    types::FieldTable,
};
use tokio::{
    sync::watch,
    time::{self, Instant},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};
use trove_couchdb_protocol::{Context, new_id, transport_url::Host};

use super::{
    connect::{self, ConnectError, Socket},
    consume::Intake,
    origin::{Arrival, Bus, HandedOut},
    publish::{Broken, Publisher},
    topology::{self, Names},
};
use crate::{config::BrokerSettings, status::Outbox};

/// How long a broker that is still there takes to answer the last words of a connection.
const FAREWELL: Duration = Duration::from_secs(2);

/// To have another channel for answers.
const CHANNEL_LIMIT: Duration = Duration::from_secs(10);

/// How often a connection is looked at. Consumers are told that it is lost; but should one ever not be, it would wait for
/// deliveries for ever, and the agent look healthy.
const LOOK: Duration = Duration::from_secs(15);

/// A broker that hands nothing out for so long has nothing, unless it has handed out as much as it may.
const QUIET: Duration = Duration::from_millis(100);

/// What had gathered in the broker before the connection has come after so long, unless the broker may not hand it out.
const GATHERED: Duration = Duration::from_secs(5);

/// As long as this after the broker could hand nothing more out, what comes may have waited there.
const CATCHING_UP: Duration = Duration::from_secs(1);

/// A delivery, an error of the channel, or the end of one consumer.
type Item = Option<Result<Delivery, lapin::Error>>;

/// How serving on one connection ended.
#[derive(Debug)]
pub(super) enum End {
    /// The agent stops.
    Stopping,
    /// The connection is of no use any more.
    Lost(String),
}

/// A connection that consumes.
pub(super) struct Session {
    connection: Connection,
    socket: Socket,
    channel: Channel,
    tags: Vec<String>,
    deliveries: SelectAll<BoxStream<'static, Item>>,
    publisher: Publisher,
    prefetch: usize,
}

impl Session {
    /// Connects, declares and consumes. Whatever goes wrong, no half of a connection is left behind.
    pub(super) async fn open(
        broker: &BrokerSettings,
        guest_id: &str,
        names: &Arc<Names>,
        host: &Host,
    ) -> Result<Self, ConnectError> {
        let (connection, socket) =
            connect::connect(broker, host, format!("trove-couchdb-agent:{guest_id}")).await?;
        let limit = broker.connect_timeout;
        let preparing = prepare(&connection, names, broker);
        match time::timeout(limit, preparing).await.unwrap_or(Err(ConnectError::Timeout(limit))) {
            Ok((channel, tags, deliveries, publisher)) => {
                let prefetch = usize::from(broker.prefetch);
                Ok(Self { connection, socket, channel, tags, deliveries, publisher, prefetch })
            }
            Err(error) => {
                close(&connection, &socket).await;
                Err(error)
            }
        }
    }

    /// Where answers go.
    pub(super) fn publisher(&self) -> Publisher {
        self.publisher.clone()
    }

    /// Takes deliveries until the agent stops or the connection is lost. `newest` hears of each publisher.
    pub(super) async fn serve(
        &mut self,
        intake: &Intake,
        bus: &Arc<Bus>,
        outbox: &mut Outbox,
        newest: &watch::Sender<Option<Publisher>>,
        stopping: &CancellationToken,
    ) -> End {
        let publishers = publishers(&self.connection, self.publisher.clone(), newest);
        // Beside the deliveries and not among them: a broker that holds a heartbeat up holds no command up.
        let heartbeats = async {
            while let Some(cast) = outbox.next().await {
                if bus.outlet.mention(&bus.pen.conductor_cast(&cast, &guest_context())).await {
                    outbox.has_gone_out(&cast);
                }
            }
            std::future::pending().await
        };
        let status = (self.connection.status(), self.channel.status());
        let disconnected = async {
            while status.0.connected() && status.1.connected() {
                time::sleep(LOOK).await;
            }
        };
        let deliveries = async {
            let handed_out = HandedOut::default();
            // Until then what comes may have waited in the broker.
            let mut behind_until = Instant::now() + GATHERED;
            loop {
                let next = self.deliveries.next();
                let behind = Instant::now() < behind_until;
                let next = if behind { time::timeout(QUIET, next).await } else { Ok(next.await) };
                let all_handed_out = handed_out.count() >= self.prefetch;
                if all_handed_out {
                    behind_until = behind_until.max(Instant::now() + CATCHING_UP);
                }
                let Ok(item) = next else {
                    if !all_handed_out {
                        behind_until = Instant::now();
                    }
                    continue;
                };
                match item {
                    Some(Some(Ok(delivery))) => {
                        let behind = Instant::now() < behind_until;
                        intake.take(Arrival::from_bus(delivery, bus, &handed_out, behind));
                    }
                    Some(Some(Err(error))) => return End::Lost(error.to_string()),
                    // Also when only one queue was deleted, or moved to another node of the cluster: to go on
                    // without it would be to be deaf and look healthy.
                    Some(None) | None => return End::Lost("the broker cancelled a consumer".to_owned()),
                }
            }
        };
        tokio::select! {
            biased;
            () = stopping.cancelled() => End::Stopping,
            end = publishers => end,
            end = deliveries => end,
            () = disconnected => End::Lost("the connection is closed".to_owned()),
            never = heartbeats => never,
        }
    }

    /// Asks the broker for no more deliveries.
    pub(super) async fn cancel_consumers(&mut self) {
        let cancels = self.tags.iter().filter_map(|tag| topology::short(tag).ok()).map(|tag| {
            let cancelling = self.channel.basic_cancel(tag, BasicCancelOptions::default());
            time::timeout(FAREWELL, cancelling)
        });
        for cancelled in join_all(cancels).await {
            if !matches!(cancelled, Ok(Ok(()))) {
                warn!("A consumer could not be cancelled; closing the connection does it.");
            }
        }
    }

    /// Closes the connection; the broker requeues what is not acknowledged.
    pub(super) async fn close(self) {
        close(&self.connection, &self.socket).await;
    }
}

type Prepared = (Channel, Vec<String>, SelectAll<BoxStream<'static, Item>>, Publisher);

async fn prepare(
    connection: &Connection,
    names: &Arc<Names>,
    broker: &BrokerSettings,
) -> Result<Prepared, ConnectError> {
    topology::declare(connection, names, broker).await?;
    let replies = topology::confirming_channel(connection).await?;
    let publisher = Publisher::new(replies, Arc::clone(names));
    let channel = connection.create_channel().await?;
    // For each consumer by itself; quorum queues refuse a limit for the whole channel.
    channel.basic_qos(broker.prefetch, BasicQosOptions::default()).await?;
    let mut deliveries = SelectAll::new();
    let mut tags = Vec::new();
    for (number, queue) in names.queues(broker).into_iter().enumerate() {
        let tag = (number + 1).to_string();
        let (name, tag_name) = (topology::short(queue)?, topology::short(&tag)?);
        let options = BasicConsumeOptions::default();
        let consumer = channel.basic_consume(name, tag_name, options, FieldTable::default()).await?;
        // SelectAll would drop a stream that ends without a word.
        let with_end = consumer.map(Some).chain(stream::once(async { None }.boxed()));
        deliveries.push(with_end.boxed());
        tags.push(tag);
    }
    Ok((channel, tags, deliveries, publisher))
}

/// Publishes on one channel after the other: that the broker closed one because of a single message is no reason to
/// give up the consumers, and all commands that they have brought.
async fn publishers(
    connection: &Connection,
    mut publisher: Publisher,
    newest: &watch::Sender<Option<Publisher>>,
) -> End {
    while publisher.broken().await == Broken::ByMessage {
        let Ok(Ok(channel)) = time::timeout(CHANNEL_LIMIT, topology::confirming_channel(connection)).await
        else {
            break;
        };
        publisher = publisher.on(channel);
        newest.send_replace(Some(publisher.clone()));
    }
    End::Lost("the channel for replies is closed".to_owned())
}

/// Closes politely, but doesn't wait for a broker that is gone.
async fn close(connection: &Connection, socket: &Socket) {
    let closing = connection.close(200, "the agent leaves".into());
    if !matches!(time::timeout(FAREWELL, closing).await, Ok(Ok(()))) {
        debug!("The connection to the broker was gone before it was closed.");
    }
    socket.shut_down();
}

/// The context of what the guest says by itself.
fn guest_context() -> Context {
    Context::for_guest(&format!("req-{}", new_id()))
}

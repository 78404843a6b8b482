//! A connection to RabbitMQ that reconnects, as kombu's do: one consumed queue, one channel for publishing.
//!
//! The control plane's side of the campaign must survive the same faults as the agent. Caller:
//! [`super::caller`]. Messages are acknowledged after they were handled, so a lost connection leads to
//! redeliveries; duplicates are recognised by `_unique_id`, as in oslo.messaging.

use std::future::Future;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures_util::StreamExt;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, ConfirmSelectOptions, ExchangeDeclareOptions,
    QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, ExchangeKind};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

const CONNECT_LIMIT: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(150);
/// Longer than any planned fault; a slower confirm counts as a lost connection.
const CONFIRM_LIMIT: Duration = Duration::from_secs(20);
/// After this long without a broker, something other than the agent is broken.
const PUBLISH_LIMIT: Duration = Duration::from_secs(360);
/// `rabbit_transient_queues_ttl`.
const TTL_MS: i32 = 1_800_000;

/// What a line declares and consumes.
#[derive(Debug, Clone)]
pub struct Setup {
    /// The broker, for lapin.
    pub amqp_uri: String,
    /// The control exchange.
    pub exchange: String,
    /// `amqp_durable_queues`: the exchange, and the queue if it is bound.
    pub durable: bool,
    /// The queue to consume.
    pub queue: String,
    /// True if the queue is bound to the exchange with its own name; false for a reply queue.
    pub bound: bool,
}

/// A line; dropping it disconnects.
#[derive(Debug)]
pub struct Line {
    channel: watch::Receiver<Option<Channel>>,
    task: JoinHandle<()>,
}

/// The result of a message that the broker confirmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handed {
    /// A queue has the message.
    Queued,
    /// There was no queue for the message.
    NoQueue,
}

impl Line {
    /// Connects in the background and reconnects; `handle` gets each body.
    pub fn open(setup: Setup, handle: impl Fn(&[u8]) + Send + Sync + 'static) -> Self {
        let (sender, channel) = watch::channel(None);
        let task = tokio::spawn(async move {
            loop {
                // Whatever the error is, reconnecting fixes it.
                drop(connected(&setup, &sender, &handle).await);
                sender.send_replace(None);
                sleep(PAUSE).await;
            }
        });
        Self { channel, task }
    }

    /// Waits until there is a connection.
    pub async fn ready(&self) -> Result<Channel> {
        let mut channel = self.channel.clone();
        let ready = channel.wait_for(Option::is_some).await.context("the line is closed")?;
        ready.clone().context("the line is closed")
    }

    /// Publishes until a broker confirms; returns the result and the number of tries. Calls on one line must
    /// not overlap: lapin could confuse which message was returned.
    pub async fn publish(
        &self,
        exchange: &str,
        key: &str,
        body: &[u8],
        properties: &BasicProperties,
    ) -> Result<(Handed, u32)> {
        let mut tries = 0;
        let publishing = async {
            loop {
                let channel = self.ready().await?;
                tries += 1;
                match try_publish(&channel, exchange, key, body, properties).await {
                    Ok(handed) => return anyhow::Ok(handed),
                    Err(_lost) => {
                        let close = async move { drop(channel.close(200, "not confirmed".into()).await) };
                        drop(tokio::spawn(close));
                        sleep(PAUSE).await;
                    }
                }
            }
        };
        let handed = timeout(PUBLISH_LIMIT, publishing).await;
        let handed =
            handed.with_context(|| format!("no broker took a command within {PUBLISH_LIMIT:?}"))??;
        Ok((handed, tries))
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn try_publish(
    channel: &Channel,
    exchange: &str,
    key: &str,
    body: &[u8],
    properties: &BasicProperties,
) -> Result<Handed> {
    let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    let confirmed = async {
        channel.basic_publish(exchange.into(), key.into(), options, body, properties.clone()).await?.await
    };
    match limited(CONFIRM_LIMIT, confirmed).await? {
        Confirmation::Ack(None) => Ok(Handed::Queued),
        Confirmation::Ack(Some(_)) | Confirmation::Nack(Some(_)) => Ok(Handed::NoQueue),
        other => anyhow::bail!("not confirmed: {other:?}"),
    }
}

/// Returns when the connection is lost or cannot be established.
async fn connected(
    setup: &Setup,
    sender: &watch::Sender<Option<Channel>>,
    handle: &(impl Fn(&[u8]) + Send + Sync + 'static),
) -> Result<()> {
    let uri = format!("{}?frame_max=131072&heartbeat=5", setup.amqp_uri);
    let connection =
        limited(CONNECT_LIMIT, Connection::connect(&uri, ConnectionProperties::default())).await?;
    let channel = limited(CONNECT_LIMIT, connection.create_channel()).await?;
    let mut consumer = limited(CONNECT_LIMIT, consume(&channel, setup)).await?;
    sender.send_replace(Some(channel));
    loop {
        let Ok(next) = timeout(LOOK, consumer.next()).await else {
            // lapin does not always notify a consumer.
            ensure!(connection.status().connected(), "the connection is lost");
            continue;
        };
        let delivery = next.context("the consumer is cancelled")??;
        handle(&delivery.data);
        limited(CONNECT_LIMIT, delivery.ack(BasicAckOptions::default())).await?;
    }
}

async fn consume(channel: &Channel, setup: &Setup) -> Result<lapin::Consumer, lapin::Error> {
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    let arguments = FieldTable::default;
    let exchange = ExchangeDeclareOptions { durable: setup.durable, ..ExchangeDeclareOptions::default() };
    channel
        .exchange_declare(setup.exchange.as_str().into(), ExchangeKind::Topic, exchange, arguments())
        .await?;
    let name = setup.queue.as_str();
    if setup.bound {
        let queue = QueueDeclareOptions { durable: setup.durable, ..QueueDeclareOptions::default() };
        channel.queue_declare(name.into(), queue, arguments()).await?;
        let bind = QueueBindOptions::default();
        channel
            .queue_bind(name.into(), setup.exchange.as_str().into(), name.into(), bind, arguments())
            .await?;
    } else {
        let mut expires = FieldTable::default();
        expires.insert("x-expires".into(), AMQPValue::LongInt(TTL_MS));
        channel.queue_declare(name.into(), QueueDeclareOptions::default(), expires).await?;
    }
    channel.basic_consume(name.into(), "".into(), BasicConsumeOptions::default(), arguments()).await
}

async fn limited<T, E>(limit: Duration, work: impl Future<Output = Result<T, E>>) -> Result<T>
where
    E: std::error::Error + Send + Sync + 'static,
{
    Ok(timeout(limit, work).await.with_context(|| format!("nothing within {limit:?}"))??)
}

//! An RPC client in Rust: sends calls and casts to one guest, as oslo.messaging does.
//!
//! Callers: the integration tests and the tour. It starts faster than the Python peer and can send what
//! Python never sends: the same message twice, a body that is not JSON, a call whose reply queue is gone.
//! `tests/tests/harness.rs` shows that both clients agree on the wire.

mod message;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use futures_util::StreamExt;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, ConfirmSelectOptions, ExchangeDeclareOptions,
    QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties, Consumer, ExchangeKind};
use serde_json::Value;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use trove_couchdb_protocol::{Cipher, Failure, Outcome, Reply, Secret, decode_reply, new_id};

pub use message::{LOW_TIMEOUT, Message, Request, notification};

/// `rabbit_transient_queues_ttl`: oslo lets an abandoned reply queue expire after this.
const REPLY_QUEUE_TTL_MS: i32 = 1_800_000;

/// Why a call returned no value.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The guest answered with a failure.
    #[error("{}: {}", .0.class, .0.message)]
    Failure(Failure),
    /// The guest did not answer in time.
    #[error("no reply within {0:?}")]
    Timeout(Duration),
    /// The broker or the harness failed, not the guest.
    #[error("{0:#}")]
    Transport(anyhow::Error),
}

type Waiting = Arc<Mutex<HashMap<String, oneshot::Sender<Reply>>>>;

/// A client of one guest; dropping it disconnects.
#[derive(Debug)]
pub struct RpcClient {
    channel: Channel,
    exchange: String,
    topic: String,
    reply_queue: String,
    cipher: Option<Cipher>,
    waiting: Waiting,
    unexpected: Arc<Mutex<Vec<Reply>>>,
    reader: JoinHandle<()>,
    // Last: dropping it closes the channel.
    connection: Connection,
}

impl RpcClient {
    /// Connects to the broker; `key` is the guest's `instance_rpc_encr_key`.
    pub async fn connect(amqp_uri: &str, exchange: &str, guest_id: &str, key: Option<&str>) -> Result<Self> {
        let connection = connect(amqp_uri).await?;
        ensure_exchange(&connection, exchange).await?;
        let channel = connection.create_channel().await?;
        // With publisher confirms a publish returns only after the broker has the message: tests rely on the
        // order.
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        let reply_queue = format!("reply_{}", new_id());
        let consumer = consume_replies(&channel, &reply_queue).await?;
        let waiting = Waiting::default();
        let unexpected = Arc::default();
        let cipher = key.map(|key| Cipher::new(&Secret::new(key)));
        let reader = tokio::spawn(read_replies(
            consumer,
            cipher.clone(),
            Arc::clone(&waiting),
            Arc::clone(&unexpected),
        ));
        let (exchange, topic) = (exchange.to_owned(), format!("guestagent.{guest_id}"));
        Ok(Self { channel, exchange, topic, reply_queue, cipher, waiting, unexpected, reader, connection })
    }

    /// Calls a method with version 1.0 and a time-out that only stops a hung test.
    pub async fn call(&self, method: &str, args: Value) -> Result<Value, CallError> {
        self.request(&Request::new(method, args)).await
    }

    /// Sends a call as described and waits for its reply.
    pub async fn request(&self, request: &Request) -> Result<Value, CallError> {
        let message = self.encode_call(request);
        let reply = self.expect_reply(&message);
        self.send(&message).await.map_err(CallError::Transport)?;
        reply.within(request.timeout).await
    }

    /// Sends a cast; returns when the broker has confirmed it.
    pub async fn cast(&self, request: &Request) -> Result<()> {
        self.send(&self.encode_cast(request)).await
    }

    /// Encodes a call without sending it.
    pub fn encode_call(&self, request: &Request) -> Message {
        request.encode(Some(&self.reply_queue), self.cipher.as_ref())
    }

    /// Encodes a cast without sending it.
    pub fn encode_cast(&self, request: &Request) -> Message {
        request.encode(None, self.cipher.as_ref())
    }

    /// Registers for the reply to a message; call it before the message is sent.
    pub fn expect_reply(&self, message: &Message) -> PendingReply {
        let (sender, receiver) = oneshot::channel();
        if let Some(msg_id) = &message.msg_id {
            lock(&self.waiting).insert(msg_id.clone(), sender);
        }
        PendingReply(receiver)
    }

    /// Sends an encoded message to the guest's queue through the control exchange.
    pub async fn send(&self, message: &Message) -> Result<()> {
        self.publish(&message.body, oslo_properties(message.expiration.as_deref())).await
    }

    /// Sends arbitrary bytes to the guest's queue.
    pub async fn publish_raw(&self, body: &[u8]) -> Result<()> {
        self.publish(body, oslo_properties(None)).await
    }

    /// Sends arbitrary bytes with arbitrary properties to the guest's queue.
    pub async fn publish(&self, body: &[u8], properties: BasicProperties) -> Result<()> {
        let (exchange, topic) = (self.exchange.as_str().into(), self.topic.as_str().into());
        let confirmation = self
            .channel
            .basic_publish(exchange, topic, BasicPublishOptions::default(), body, properties)
            .await?;
        anyhow::ensure!(confirmation.await?.is_ack(), "the broker refused a message to {}", self.topic);
        Ok(())
    }

    /// Replies without a waiting caller: second replies, replies to casts, call-monitor heartbeats, late
    /// replies.
    pub fn unexpected_replies(&self) -> Vec<Reply> {
        lock(&self.unexpected).clone()
    }

    /// The queue of the replies.
    pub fn reply_queue(&self) -> &str {
        &self.reply_queue
    }

    /// The guest's queue, `guestagent.<id>`.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// A channel on this client's connection, to inspect or consume queues.
    pub async fn channel(&self) -> Result<Channel> {
        self.connection.create_channel().await.context("cannot open a channel")
    }
}

impl Drop for RpcClient {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

/// The reply to a message; it may not have arrived yet.
#[derive(Debug)]
pub struct PendingReply(oneshot::Receiver<Reply>);

impl PendingReply {
    /// Waits up to `limit` for the reply; a failure of the guest is an error.
    pub async fn within(self, limit: Duration) -> Result<Value, CallError> {
        let reply = tokio::time::timeout(limit, self.0).await.map_err(|_| CallError::Timeout(limit))?;
        match reply.map_err(|_| CallError::Transport(anyhow::anyhow!("the reply queue is gone")))?.outcome {
            Outcome::Success(value) => Ok(value),
            Outcome::Failure(failure) => Err(CallError::Failure(failure)),
        }
    }
}

/// Connects with the frame size that keeps lapin from aborting on brokers that offer "no limit" (STACK.md).
pub(crate) async fn connect(amqp_uri: &str) -> Result<Connection> {
    let uri = format!("{amqp_uri}?frame_max=131072&heartbeat=60");
    Connection::connect(&uri, ConnectionProperties::default()).await.context("cannot connect to RabbitMQ")
}

/// Declares a control exchange; if `durable`, as a control plane with `amqp_durable_queues` or
/// `rabbit_quorum_queue` does. A test that sets one of these options must call this first.
pub async fn declare_exchange(amqp_uri: &str, name: &str, durable: bool) -> Result<()> {
    let channel = connect(amqp_uri).await?.create_channel().await?;
    let options = ExchangeDeclareOptions { durable, ..ExchangeDeclareOptions::default() };
    let declared = channel.exchange_declare(name.into(), ExchangeKind::Topic, options, FieldTable::default());
    declared.await.with_context(|| format!("cannot declare exchange {name}"))
}

/// Uses the exchange as it is, durable or not; if it does not exist, declares it as oslo does by default.
pub(crate) async fn ensure_exchange(connection: &Connection, name: &str) -> Result<()> {
    let declare = async |passive| {
        let channel = connection.create_channel().await?;
        let options = ExchangeDeclareOptions { passive, ..ExchangeDeclareOptions::default() };
        channel.exchange_declare(name.into(), ExchangeKind::Topic, options, FieldTable::default()).await
    };
    if declare(true).await.is_err() {
        declare(false).await.with_context(|| format!("cannot declare exchange {name}"))?;
    }
    Ok(())
}

/// The properties that oslo.messaging sets on every message (PROTOCOL.md section 2).
pub(crate) fn oslo_properties(expiration: Option<&str>) -> BasicProperties {
    let properties = BasicProperties::default()
        .with_content_type("application/json".into())
        .with_content_encoding("utf-8".into())
        .with_delivery_mode(2)
        .with_priority(0)
        .with_headers(FieldTable::default());
    match expiration {
        Some(milliseconds) => properties.with_expiration(milliseconds.into()),
        None => properties,
    }
}

async fn consume_replies(channel: &Channel, queue: &str) -> Result<Consumer> {
    let mut arguments = FieldTable::default();
    arguments.insert("x-expires".into(), AMQPValue::LongInt(REPLY_QUEUE_TTL_MS));
    channel.queue_declare(queue.into(), QueueDeclareOptions::default(), arguments).await?;
    let options = BasicConsumeOptions::default();
    channel
        .basic_consume(queue.into(), "".into(), options, FieldTable::default())
        .await
        .context("cannot consume")
}

async fn read_replies(
    mut consumer: Consumer,
    cipher: Option<Cipher>,
    waiting: Waiting,
    unexpected: Arc<Mutex<Vec<Reply>>>,
) {
    while let Some(Ok(delivery)) = consumer.next().await {
        if let Err(error) = delivery.ack(BasicAckOptions::default()).await {
            eprintln!("cannot acknowledge a reply: {error}");
        }
        let reply = match decode_reply(&delivery.data, cipher.as_ref()) {
            Ok(reply) => reply,
            Err(error) => {
                eprintln!("a reply cannot be decoded: {error}");
                continue;
            }
        };
        let waiter = if reply.ending { lock(&waiting).remove(&reply.msg_id) } else { None };
        let unheard = match waiter {
            Some(waiter) => waiter.send(reply).err(),
            None => Some(reply),
        };
        lock(&unexpected).extend(unheard);
    }
    // Dropping the senders notifies every caller that no reply will come.
    lock(&waiting).clear();
}

/// A poisoned lock only means that a test panicked; the maps and lists are intact.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

//! The load: many callers in one process, each of which sends its next call as soon as it has a reply.
//!
//! Callers: the sections `rpc`, `start` and `fleet`. One connection and one reply queue, as in Trove's API.
//! No confirmations and no acknowledgements of replies, to minimise the broker's work for the client. The
//! client's CPU time is reported together with the servers', to show that the client is not the limit.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use futures_util::{StreamExt, future::try_join_all};
use lapin::{
    Channel, Connection, ConnectionProperties, ExchangeKind,
    options::{
        BasicConsumeOptions, BasicPublishOptions, ExchangeDeclareOptions, QueueBindOptions,
        QueueDeclareOptions,
    },
    types::{AMQPValue, FieldTable},
};
use serde_json::{Map, Value, json};
use tokio::{sync::oneshot, time::timeout};
use trove_couchdb_guest::broker;
use trove_couchdb_protocol::{
    Context, NewRequest, Outcome, Reply, ReplyAddress, ReplyQueue, decode_reply, new_id,
};

use crate::stats::quantile;

const REPLY_QUEUE_TTL_MS: i32 = 1_800_000;
/// Longer than any reply takes; a lost one must not hang the run.
const REPLY_TIMEOUT: Duration = Duration::from_secs(60);

type Waiting = Arc<Mutex<HashMap<String, oneshot::Sender<Reply>>>>;

/// A client of many guests on one broker.
#[derive(Debug, Clone)]
pub struct Caller {
    channel: Channel,
    exchange: String,
    reply_queue: ReplyQueue,
    waiting: Waiting,
    _connection: Arc<Connection>,
}

/// The result of one measurement.
#[derive(Debug, Clone)]
pub struct Load {
    /// Calls answered.
    pub calls: usize,
    /// The duration.
    pub elapsed: Duration,
    /// The duration of each call in milliseconds, sorted.
    pub latencies: Vec<f64>,
}

/// The number of messages received so far.
#[derive(Debug, Clone, Default)]
pub struct Counter(Arc<AtomicUsize>);

impl Counter {
    /// The number.
    pub fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Load {
    /// Calls per second.
    #[expect(clippy::cast_precision_loss)]
    pub fn throughput(&self) -> f64 {
        self.calls as f64 / self.elapsed.as_secs_f64()
    }

    /// The latency that a share of the calls did not exceed, in milliseconds.
    pub fn latency(&self, share: f64) -> f64 {
        quantile(&self.latencies, share)
    }
}

impl Caller {
    /// Connects, and declares the control exchange as oslo.messaging does.
    pub async fn connect(amqp_uri: &str, exchange: &str) -> Result<Self> {
        let uri = format!("{amqp_uri}?frame_max=131072&heartbeat=60");
        let connection = Connection::connect(&uri, ConnectionProperties::default()).await?;
        let channel = connection.create_channel().await?;
        let options = ExchangeDeclareOptions::default();
        channel
            .exchange_declare(exchange.into(), ExchangeKind::Topic, options, FieldTable::default())
            .await?;
        let reply_queue = ReplyQueue::unique();
        let mut arguments = FieldTable::default();
        arguments.insert("x-expires".into(), AMQPValue::LongInt(REPLY_QUEUE_TTL_MS));
        channel.queue_declare(reply_queue.as_str().into(), QueueDeclareOptions::default(), arguments).await?;
        let options = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
        let mut replies = channel
            .basic_consume(reply_queue.as_str().into(), "".into(), options, FieldTable::default())
            .await?;
        let waiting = Waiting::default();
        let route = Arc::clone(&waiting);
        tokio::spawn(async move {
            while let Some(Ok(delivery)) = replies.next().await {
                let Ok(reply) = decode_reply(&delivery.data, None) else { continue };
                if let Some(waiter) = lock(&route).remove(&reply.msg_id) {
                    // The caller has given up and reported that.
                    let _unheard = waiter.send(reply);
                }
            }
            lock(&route).clear();
        });
        let exchange = exchange.to_owned();
        Ok(Self { channel, exchange, reply_queue, waiting, _connection: Arc::new(connection) })
    }

    /// Counts and discards the messages to a queue of the control exchange, such as the conductor's.
    pub async fn count_messages(&self, queue: &str) -> Result<Counter> {
        let none = FieldTable::default;
        self.channel.queue_declare(queue.into(), QueueDeclareOptions::default(), none()).await?;
        let (exchange, bind) = (self.exchange.as_str().into(), QueueBindOptions::default());
        self.channel.queue_bind(queue.into(), exchange, queue.into(), bind, none()).await?;
        let options = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
        let mut messages = self.channel.basic_consume(queue.into(), "".into(), options, none()).await?;
        let counter = Counter::default();
        let count = Arc::clone(&counter.0);
        tokio::spawn(async move {
            while let Some(Ok(_)) = messages.next().await {
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
        Ok(counter)
    }

    /// Sends `rpc_ping` once; any reply other than `true` is an error.
    pub async fn ping(&self, guest_id: &str) -> Result<()> {
        let msg_id = new_id();
        let mut request = NewRequest::new("rpc_ping", Map::new(), context());
        request.call = Some(ReplyAddress { msg_id: msg_id.clone(), reply_queue: self.reply_queue.clone() });
        let body = request.encode(None);
        let (sender, receiver) = oneshot::channel();
        lock(&self.waiting).insert(msg_id, sender);
        let (exchange, topic) = (self.exchange.as_str().into(), format!("guestagent.{guest_id}").into());
        let options = BasicPublishOptions::default();
        // Dropped, because without confirmations there is nothing to wait for.
        let properties = broker::properties().with_expiration("60000".into());
        drop(self.channel.basic_publish(exchange, topic, options, &body, properties).await?);
        let reply = timeout(REPLY_TIMEOUT, receiver)
            .await
            .with_context(|| format!("{guest_id} does not answer"))?
            .context("the connection is gone")?;
        match reply.outcome {
            Outcome::Success(Value::Bool(true)) => Ok(()),
            other => bail!("rpc_ping was answered with {other:?}"),
        }
    }

    /// `callers` call one guest repeatedly for this long.
    pub async fn load(&self, guest_id: &str, callers: usize, duration: Duration) -> Result<Load> {
        let began = Instant::now();
        let until = began + duration;
        let tasks = (0..callers).map(|_| {
            let (caller, guest_id) = (self.clone(), guest_id.to_owned());
            tokio::spawn(async move {
                let mut latencies = Vec::new();
                while Instant::now() < until {
                    let sent = Instant::now();
                    caller.ping(&guest_id).await?;
                    latencies.push(sent.elapsed().as_secs_f64() * 1e3);
                }
                anyhow::Ok(latencies)
            })
        });
        let each = try_join_all(tasks).await?;
        let elapsed = began.elapsed();
        let mut latencies = Vec::new();
        for one in each {
            latencies.extend(one?);
        }
        latencies.sort_by(f64::total_cmp);
        Ok(Load { calls: latencies.len(), elapsed, latencies })
    }
}

/// A context as in requests of trove-api, with a realistic size.
fn context() -> Context {
    let entries = json!({
        "user": "alice", "project_id": "bench", "system_scope": null, "project": "bench", "domain": null,
        "user_domain": null, "project_domain": null, "is_admin": false, "read_only": false, "show_deleted": false,
        "auth_token": "TOKEN", "request_id": "req-00000000-0000-4000-8000-000000000000", "global_request_id": null,
        "resource_uuid": null, "roles": ["member"], "user_identity": "alice bench - - -",
        "is_admin_project": true, "limit": null, "marker": null, "service_catalog": [],
    });
    Context::new(entries.as_object().cloned().unwrap_or_default())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

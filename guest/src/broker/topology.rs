//! The exchanges and queues of a guest, declared exactly as oslo.messaging declares them.
//!
//! The control plane declares the same names (taskmanager does so before `prepare`), and RabbitMQ refuses a
//! declaration that differs in a single flag. So the flags come from the same options as the control plane's
//! (`[oslo_messaging_rabbit]`). If an exchange or a queue exists with different flags, the agent uses it as
//! it is: a queue that the agent created with different flags would break `prepare` permanently. The agent
//! also uses an existing topic exchange if its account may not declare one (`trove-couchdb broker-user`).
//!
//! | object | name | flags |
//! |---|---|---|
//! | topic exchange | `control_exchange` | durable and auto-delete as configured |
//! | guest queue | `guestagent.ID` | the same, bound with its own name |
//! | server queue | `guestagent.ID.ID` | the same, bound with its own name |
//! | fanout exchange | `guestagent.ID_fanout` | auto-delete |
//! | fanout queue | `guestagent.ID_fanout_RANDOM` | `x-expires`, bound with `guestagent.ID` |
//!
//! Source: `oslo_messaging/_drivers/impl_rabbit.py`, `Consumer.declare`, `declare_topic_consumer`,
//! `declare_fanout_consumer`, `_get_queue_arguments`.

use lapin::{
    Channel, Connection, ErrorKind, ExchangeKind,
    options::{ConfirmSelectOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions},
    protocol::{AMQPErrorKind, AMQPSoftError},
    types::{AMQPValue, FieldTable, ShortString},
};
use tracing::{debug, warn};
use trove_couchdb_config::BrokerSettings;

use super::names::{Names, TopologyError};

/// Declares all exchanges and queues on `connection`.
pub async fn declare(
    connection: &Connection,
    names: &Names,
    settings: &BrokerSettings,
) -> Result<(), TopologyError> {
    let durable = settings.durable_queues || settings.quorum_queue;
    let exchange = ExchangeDeclareOptions {
        durable,
        auto_delete: settings.auto_delete,
        ..ExchangeDeclareOptions::default()
    };
    let (queue, arguments) = guest_queue(settings);
    let fanout_exchange = ExchangeDeclareOptions {
        durable: settings.transient_quorum_queue,
        auto_delete: true,
        ..ExchangeDeclareOptions::default()
    };
    let (fanout_queue, fanout_arguments) = transient_queue(settings);

    let channel =
        connection.create_channel().await.map_err(TopologyError::at("declare the queue", &names.topic))?;
    let mut declarer = Declarer { connection, channel };
    declarer.exchange(&names.exchange, &ExchangeKind::Topic, exchange).await?;
    for name in [&names.topic, &names.server] {
        declarer.queue(name, queue, arguments.clone()).await?;
        declarer.bind(name, &names.exchange, name).await?;
    }
    // With streams there is one shared queue, which no version of Trove uses to address a guest.
    if names.has_fanout() {
        declarer.exchange(&names.fanout, &ExchangeKind::Fanout, fanout_exchange).await?;
        declarer.queue(&names.fanout_queue, fanout_queue, fanout_arguments).await?;
        declarer.bind(&names.fanout_queue, &names.fanout, &names.topic).await?;
    }
    let closed = declarer.channel.close(200, "declared".into()).await;
    closed.map_err(TopologyError::at("declare the queue", &names.topic))
}

/// A channel with publisher confirms.
pub async fn confirming_channel(connection: &Connection) -> Result<Channel, lapin::Error> {
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    Ok(channel)
}

/// The options and arguments of a guest queue.
pub fn guest_queue(settings: &BrokerSettings) -> (QueueDeclareOptions, FieldTable) {
    let options = QueueDeclareOptions {
        durable: settings.durable_queues || settings.quorum_queue,
        auto_delete: settings.auto_delete,
        ..QueueDeclareOptions::default()
    };
    (options, guest_arguments(settings))
}

/// The options and arguments of a fanout or reply queue (`declare_fanout_consumer`,
/// `declare_direct_consumer`).
pub fn transient_queue(settings: &BrokerSettings) -> (QueueDeclareOptions, FieldTable) {
    let options =
        QueueDeclareOptions { durable: settings.transient_quorum_queue, ..QueueDeclareOptions::default() };
    (options, transient_arguments(settings))
}

fn guest_arguments(settings: &BrokerSettings) -> FieldTable {
    let mut arguments = FieldTable::default();
    if settings.ha_queues {
        set(&mut arguments, "x-ha-policy", text("all"));
    }
    if settings.quorum_queue {
        set(&mut arguments, "x-queue-type", text("quorum"));
        let limits = [
            ("x-delivery-limit", u64::from(settings.quorum_delivery_limit)),
            ("x-max-in-memory-length", settings.quorum_max_memory_length),
            ("x-max-in-memory-bytes", settings.quorum_max_memory_bytes),
        ];
        for (key, limit) in limits.into_iter().filter(|(_, limit)| *limit > 0) {
            set(&mut arguments, key, number(limit));
        }
    }
    arguments
}

fn transient_arguments(settings: &BrokerSettings) -> FieldTable {
    let mut arguments = FieldTable::default();
    if settings.ha_queues {
        set(&mut arguments, "x-ha-policy", text("all"));
    }
    if settings.transient_quorum_queue {
        set(&mut arguments, "x-queue-type", text("quorum"));
    }
    let milliseconds = u64::try_from(settings.transient_queues_ttl.as_millis()).unwrap_or(u64::MAX);
    if milliseconds > 0 {
        set(&mut arguments, "x-expires", number(milliseconds));
    }
    arguments
}

fn set(arguments: &mut FieldTable, key: &'static str, value: AMQPValue) {
    arguments.insert(key.into(), value);
}

fn text(value: &'static str) -> AMQPValue {
    AMQPValue::LongString(value.into())
}

fn number(value: u64) -> AMQPValue {
    AMQPValue::LongLongInt(i64::try_from(value).unwrap_or(i64::MAX))
}

/// Declares objects one at a time. Opens a new channel after each refusal, which closes the channel.
struct Declarer<'a> {
    connection: &'a Connection,
    channel: Channel,
}

impl Declarer<'_> {
    /// Declares a queue as configured. On a mismatch tries the opposite `durable`, as oslo.messaging does,
    /// then uses the queue as it is.
    async fn queue(
        &mut self,
        name: &str,
        wanted: QueueDeclareOptions,
        arguments: FieldTable,
    ) -> Result<(), TopologyError> {
        let declared = self.try_queue(name, wanted, arguments).await;
        declared.map_err(TopologyError::at("declare the queue", name))
    }

    async fn try_queue(
        &mut self,
        name: &str,
        wanted: QueueDeclareOptions,
        arguments: FieldTable,
    ) -> Result<(), lapin::Error> {
        let flipped = QueueDeclareOptions { durable: !wanted.durable, ..wanted };
        let passive = QueueDeclareOptions { passive: true, ..wanted };
        for options in [wanted, flipped] {
            match self.channel.queue_declare(short(name)?, options, arguments.clone()).await {
                Ok(_) => return Ok(()),
                Err(error) if is_mismatch(&error) => self.after_mismatch(name).await?,
                Err(error) => return Err(error),
            }
        }
        self.channel.queue_declare(short(name)?, passive, FieldTable::default()).await.map(drop)
    }

    async fn exchange(
        &mut self,
        name: &str,
        kind: &ExchangeKind,
        wanted: ExchangeDeclareOptions,
    ) -> Result<(), TopologyError> {
        let declared = self.try_exchange(name, kind, wanted).await;
        declared.map_err(TopologyError::at("declare the exchange", name))
    }

    async fn try_exchange(
        &mut self,
        name: &str,
        kind: &ExchangeKind,
        wanted: ExchangeDeclareOptions,
    ) -> Result<(), lapin::Error> {
        let flipped = ExchangeDeclareOptions { durable: !wanted.durable, ..wanted };
        let passive = ExchangeDeclareOptions { passive: true, ..wanted };
        for options in [wanted, flipped] {
            let declared =
                self.channel.exchange_declare(short(name)?, kind.clone(), options, FieldTable::default());
            match declared.await {
                Ok(()) => return Ok(()),
                Err(error) if is_mismatch(&error) => self.after_mismatch(name).await?,
                // An account that may declare an exchange may also delete it. So the account of a single
                // instance may not, and uses the control plane's exchange.
                Err(error) if is_refused(&error) => {
                    debug!(name, "Not ours to declare.");
                    self.channel = self.connection.create_channel().await?;
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        self.channel.exchange_declare(short(name)?, kind.clone(), passive, FieldTable::default()).await
    }

    async fn bind(&self, queue: &str, exchange: &str, routing_key: &str) -> Result<(), TopologyError> {
        let options = QueueBindOptions::default();
        let arguments = FieldTable::default();
        let bound = async {
            let (name, exchange, routing_key) = (short(queue)?, short(exchange)?, short(routing_key)?);
            self.channel.queue_bind(name, exchange, routing_key, options, arguments).await
        };
        bound.await.map_err(TopologyError::at("bind the queue", queue))
    }

    async fn after_mismatch(&mut self, name: &str) -> Result<(), lapin::Error> {
        warn!(
            name,
            "The broker has this with other flags than configured; set [oslo_messaging_rabbit] as on the \
             control plane."
        );
        self.channel = self.connection.create_channel().await?;
        Ok(())
    }
}

/// 406 `PRECONDITION_FAILED`: the object exists with different flags.
pub fn is_mismatch(error: &lapin::Error) -> bool {
    is_soft(error, &AMQPSoftError::PRECONDITIONFAILED)
}

/// 403 `ACCESS_REFUSED`: the account lacks the permission.
fn is_refused(error: &lapin::Error) -> bool {
    is_soft(error, &AMQPSoftError::ACCESSREFUSED)
}

fn is_soft(error: &lapin::Error, soft: &AMQPSoftError) -> bool {
    matches!(error.kind(), ErrorKind::ProtocolError(error)
        if matches!(error.kind(), AMQPErrorKind::Soft(kind) if kind == soft))
}

/// AMQP's short strings hold 255 bytes; validated settings are shorter.
pub fn short(name: &str) -> Result<ShortString, lapin::Error> {
    ShortString::try_new(name.to_owned()).map_err(|_| {
        let problem = format!("the name {name:?} is too long for AMQP");
        std::io::Error::new(std::io::ErrorKind::InvalidInput, problem).into()
    })
}

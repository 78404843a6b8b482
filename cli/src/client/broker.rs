//! Calls an instance's agent over RabbitMQ, as an oslo.messaging caller does.
//!
//! The reply queue has oslo's own arguments (`_drivers/impl_rabbit.py`, `declare_direct_consumer`) and is
//! deleted at the end. oslo leaves its queue to `x-expires`, because it keeps one queue for the life of a
//! service; this program would leave one for each command. The request is published with `mandatory`, so that
//! an instance without a queue is an error at once and not a timeout.

use std::time::Duration;

use futures_util::StreamExt;
use lapin::{
    BasicProperties, Channel, Confirmation, Connection, Consumer,
    options::{
        BasicConsumeOptions, BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions,
        QueueDeleteOptions,
    },
    types::FieldTable,
};
use serde_json::{Map, Value};
use tokio::{sync::Mutex, time};
use trove_couchdb_config::BrokerSettings;
use trove_couchdb_guest::broker::{self, ConnectError, Hosts, Socket, properties, short};
use trove_couchdb_protocol::{Cipher, NewRequest, ReplyAddress, ReplyQueue, Secret, decode_reply, new_id};

use super::{CallError, operator, outcome};

/// A client of one instance's agent.
#[derive(Debug)]
pub struct BrokerClient {
    instance: String,
    queue: String,
    exchange: String,
    reply_queue: ReplyQueue,
    cipher: Option<Cipher>,
    timeout: Duration,
    /// The broker's address, for errors; without credentials.
    peer: String,
    channel: Channel,
    replies: Mutex<Consumer>,
    connection: Connection,
    // Dropped last: it shuts the socket down.
    _socket: Socket,
}

impl BrokerClient {
    /// Connects to the first broker that answers.
    pub async fn connect(
        settings: &BrokerSettings,
        instance: &str,
        key: Option<&Secret>,
        timeout: Duration,
    ) -> Result<Self, CallError> {
        let (connection, socket, peer) = first_broker(settings, timeout).await?;
        let failed =
            |error: lapin::Error| CallError::BrokenOff { peer: peer.clone(), reason: error.to_string() };
        let channel = connection.create_channel().await.map_err(failed)?;
        channel.confirm_select(ConfirmSelectOptions::default()).await.map_err(failed)?;
        let reply_queue = ReplyQueue::unique();
        let replies = consume_replies(&channel, reply_queue.as_str(), settings).await.map_err(failed)?;
        Ok(Self {
            instance: instance.to_owned(),
            queue: format!("guestagent.{instance}"),
            exchange: settings.control_exchange.clone(),
            reply_queue,
            cipher: key.map(Cipher::new),
            timeout,
            peer,
            channel,
            replies: Mutex::new(replies),
            connection,
            _socket: socket,
        })
    }

    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }

    pub(super) async fn call(&self, method: &str, args: Map<String, Value>) -> Result<Value, CallError> {
        // Locked until the end, to run one call at a time and never mix up replies.
        let mut replies = self.replies.lock().await;
        let to = ReplyAddress { msg_id: new_id(), reply_queue: self.reply_queue.clone() };
        let request = NewRequest::new(method, args, operator::context()).answered_to(to.clone());
        let exchange = async {
            self.publish(&request.encode(self.cipher.as_ref())).await?;
            self.answer(&mut replies, &to.msg_id).await
        };
        match time::timeout(self.timeout, exchange).await {
            Ok(answer) => answer,
            Err(_) => Err(self.why_silent(method).await),
        }
    }

    /// Deletes the reply queue and closes the connection. If that fails, the broker removes both later.
    pub async fn close(&self) {
        let limit = Duration::from_secs(2);
        let good_bye = async {
            self.channel
                .queue_delete(short(self.reply_queue.as_str())?, QueueDeleteOptions::default())
                .await?;
            self.connection.close(200, "done".into()).await
        };
        drop(time::timeout(limit, good_bye).await);
    }

    async fn publish(&self, body: &[u8]) -> Result<(), CallError> {
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let confirmed = async {
            let (exchange, key) = (short(&self.exchange)?, short(&self.queue)?);
            self.channel.basic_publish(exchange, key, options, body, self.properties()).await?.await
        };
        match confirmed.await {
            Ok(Confirmation::Ack(Some(_)) | Confirmation::Nack(Some(_))) => Err(self.no_agent("has no")),
            Ok(Confirmation::Ack(None) | Confirmation::NotRequested) => Ok(()),
            Ok(Confirmation::Nack(None)) => Err(self.broken("the broker did not take the request")),
            Err(error) => Err(self.broken(&error.to_string())),
        }
    }

    async fn answer(&self, replies: &mut Consumer, msg_id: &str) -> Result<Value, CallError> {
        loop {
            let delivery = match replies.next().await {
                Some(Ok(delivery)) => delivery,
                Some(Err(error)) => return Err(self.broken(&error.to_string())),
                None => return Err(self.broken("the broker cancelled the reply queue")),
            };
            let reply = decode_reply(&delivery.data, self.cipher.as_ref()).map_err(CallError::Undecodable)?;
            if reply.ending && reply.msg_id == msg_id {
                return outcome(reply);
            }
        }
    }

    /// Explains a timeout. The broker drops a request that no agent took in
    /// time, so such a request did not run.
    async fn why_silent(&self, method: &str) -> CallError {
        let late = CallError::Timeout { method: method.to_owned(), limit: self.timeout };
        let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let look = async {
            let channel = self.connection.create_channel().await?;
            channel.queue_declare(short(&self.queue)?, passive, FieldTable::default()).await
        };
        match time::timeout(Duration::from_secs(2), look).await {
            Ok(Ok(queue)) if queue.consumer_count() == 0 => self.no_agent("has no consumer on"),
            _ => late,
        }
    }

    fn no_agent(&self, problem: &'static str) -> CallError {
        CallError::NoAgent { instance: self.instance.clone(), queue: self.queue.clone(), problem }
    }

    fn broken(&self, reason: &str) -> CallError {
        CallError::BrokenOff { peer: self.peer.clone(), reason: reason.to_owned() }
    }

    /// oslo.messaging's properties of a call; the broker drops the request after its timeout (`expiration`).
    fn properties(&self) -> BasicProperties {
        properties().with_expiration(self.timeout.as_millis().to_string().into())
    }
}

/// Tries each broker of the transport URL once.
async fn first_broker(
    settings: &BrokerSettings,
    timeout: Duration,
) -> Result<(Connection, Socket, String), CallError> {
    let name = format!("trove-couchdb:{}", operator::login_name());
    let settings =
        BrokerSettings { connect_timeout: settings.connect_timeout.min(timeout), ..settings.clone() };
    let mut hosts = Hosts::shuffled(&settings.transport_url);
    let mut problem = CallError::Unreachable {
        peer: "RabbitMQ".to_owned(),
        reason: "the transport URL names no host".to_owned(),
        advice: "write rabbit://USER:PASSWORD@HOST:PORT/VHOST".to_owned(),
    };
    for _ in 0..settings.transport_url.hosts.len() {
        let Some((host, _)) = hosts.next() else { break };
        let peer = format!("RabbitMQ at {}:{}", host.host, host.port);
        match broker::connect(&settings, &host, name.clone()).await {
            Ok((connection, socket)) => return Ok((connection, socket, peer)),
            Err(error) => {
                let advice = advice_of(&error).to_owned();
                problem = CallError::Unreachable { peer, reason: error.to_string(), advice };
            }
        }
    }
    Err(problem)
}

/// RabbitMQ refuses a login with 403 `ACCESS_REFUSED` and an unknown virtual host with 530 `NOT_ALLOWED`.
fn advice_of(error: &ConnectError) -> &'static str {
    let reason = error.to_string();
    if matches!(error, ConnectError::Insecure { .. } | ConnectError::Files(_)) {
        "`trove-couchdb-agent --check-config` shows which TLS files are in force"
    } else if reason.contains("ACCESS") {
        "check user and password of the transport URL; the broker's log names the refused account"
    } else if reason.contains("NOT_ALLOWED") || reason.contains("NOTALLOWED") {
        "check the virtual host at the end of the transport URL, and the account's rights on it"
    } else {
        "check host and port of the transport URL, and that the broker runs"
    }
}

async fn consume_replies(
    channel: &Channel,
    queue: &str,
    settings: &BrokerSettings,
) -> Result<Consumer, lapin::Error> {
    let (mut options, arguments) = broker::transient_queue(settings);
    // Exclusive, because RabbitMQ 4.3 refuses other transient queues, and only this program reads it.
    options.exclusive = !options.durable;
    channel.queue_declare(short(queue)?, options, arguments).await?;
    let options = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
    channel.basic_consume(short(queue)?, "".into(), options, FieldTable::default()).await
}

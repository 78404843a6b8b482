//! A stand-in for trove-conductor: receives the guests' reports and stores them for the test.
//!
//! Callers: integration tests and the tour. Listen first and start the agent afterwards: without the queue
//! the broker drops a report, as it does when the real conductor is down.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use futures_util::StreamExt;
use lapin::options::{BasicConsumeOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{Connection, Consumer};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use trove_couchdb_protocol::trove::ConductorCast;
use trove_couchdb_protocol::{Cipher, Secret};

use crate::rpc::{connect, ensure_exchange};

/// A conductor that listens on one queue; dropping it stops it.
#[derive(Debug)]
pub struct Conductor {
    received: watch::Receiver<Vec<ConductorCast>>,
    /// How many of `received` [`Conductor::next`] has returned or skipped.
    taken: AtomicUsize,
    reader: JoinHandle<()>,
    _connection: Connection,
}

impl Conductor {
    /// Declares the conductor's queue as trove-conductor does and consumes it; `key` is that of the only
    /// guest.
    pub async fn listen(amqp_uri: &str, exchange: &str, queue: &str, key: Option<&str>) -> Result<Self> {
        let connection = connect(amqp_uri).await?;
        ensure_exchange(&connection, exchange).await?;
        let channel = connection.create_channel().await?;
        let arguments = FieldTable::default;
        channel.queue_declare(queue.into(), QueueDeclareOptions::default(), arguments()).await?;
        let bind = QueueBindOptions::default();
        channel.queue_bind(queue.into(), exchange.into(), queue.into(), bind, arguments()).await?;
        let options = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
        let consumer = channel.basic_consume(queue.into(), "".into(), options, arguments()).await?;
        let (sender, received) = watch::channel(Vec::new());
        let cipher = key.map(|key| Cipher::new(&Secret::new(key)));
        let reader = tokio::spawn(read(consumer, cipher, sender));
        Ok(Self { received, taken: AtomicUsize::new(0), reader, _connection: connection })
    }

    /// All reports received so far, in order.
    pub fn received(&self) -> Vec<ConductorCast> {
        self.received.borrow().clone()
    }

    /// The first report after the previously returned one that `wanted` accepts; skips others.
    pub async fn next(
        &self,
        limit: Duration,
        wanted: impl Fn(&ConductorCast) -> bool,
    ) -> Result<ConductorCast> {
        let start = self.taken.load(Ordering::SeqCst);
        let find = |casts: &[ConductorCast]| casts.iter().skip(start).position(&wanted);
        let mut received = self.received.clone();
        let Ok(casts) = tokio::time::timeout(limit, received.wait_for(|casts| find(casts).is_some())).await
        else {
            bail!("no such report within {limit:?}; received since: {:?}", self.received().get(start..));
        };
        let casts = casts.context("the conductor's queue is gone")?;
        let index = start + find(&casts).context("a report was lost")?;
        self.taken.store(index + 1, Ordering::SeqCst);
        casts.get(index).cloned().context("a report was lost")
    }
}

impl Drop for Conductor {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

async fn read(mut consumer: Consumer, cipher: Option<Cipher>, received: watch::Sender<Vec<ConductorCast>>) {
    while let Some(Ok(delivery)) = consumer.next().await {
        match ConductorCast::decode(&delivery.data, cipher.as_ref()) {
            Ok(cast) => received.send_modify(|casts| casts.push(cast)),
            Err(error) => eprintln!("a report to the conductor cannot be decoded: {error}"),
        }
    }
}

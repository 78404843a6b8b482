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
//! The only user of lapin in the agent; the operator's tool connects and declares by the same functions. Tasks outlive the connection that brought their command: the broker then delivers
//! the command again on the next one, and `dedupe` joins the two.

mod answer;
mod backoff;
mod connect;
mod consume;
mod dedupe;
mod outlet;
mod publish;
mod session;
mod topology;

use std::sync::Arc;

use tokio::{
    sync::{mpsc, watch},
    time::{self, Instant},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{info, warn};
use trove_couchdb_protocol::{Cipher, transport_url::Host, trove::ConductorCast};

pub use connect::{ConnectError, Hosts, Socket, connect};
pub use topology::{guest_queue, is_mismatch, short, transient_queue};

use crate::{config::Settings, dispatch::Dispatcher, status::Link};
use answer::Pen;
use backoff::Backoff;
use consume::Intake;
use dedupe::Seen;
use outlet::Outlet;
use publish::Publisher;
use session::{End, Session};
use topology::Names;

/// The RPC server.
#[derive(Debug)]
pub struct Transport {
    settings: Arc<Settings>,
    names: Arc<Names>,
    intake: Intake,
    publisher: watch::Sender<Option<Publisher>>,
    outbox: mpsc::Receiver<ConductorCast>,
    link: watch::Sender<Link>,
    stopping: CancellationToken,
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
        let (publisher, newest) = watch::channel(None);
        let tasks = TaskTracker::new();
        let missing_consumer = settings.broker.missing_consumer_retry_timeout;
        let pen = Pen {
            guest_id: settings.guest.id.clone(),
            cipher: settings.guest.encryption_key.as_ref().map(Cipher::new),
        };
        let intake = Intake {
            dispatcher,
            pen: Arc::new(pen),
            outlet: Outlet::new(newest, missing_consumer, tasks.clone(), stopping.clone()),
            seen: Seen::new(settings.rpc.duplicate_window),
            limits: settings.rpc.clone(),
            tasks,
        };
        let names = Arc::new(Names::new(&settings.guest.id, &settings.broker));
        Self { settings, names, intake, publisher, outbox, link, stopping }
    }

    /// Serves until told to stop; returns when nothing is under way any more.
    pub async fn run(mut self) {
        let broker = &self.settings.broker;
        let mut hosts = Hosts::shuffled(&broker.transport_url);
        let mut backoff = Backoff::new(broker.reconnect_min, broker.reconnect_max);
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
                    match self.serve(session).await {
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
            self.link.send_replace(Link::Down(format!("{address}: {reason}")));
        }
        self.finish_tasks().await;
    }

    async fn open(&self, host: &Host) -> Result<Session, connect::ConnectError> {
        Session::open(&self.settings, &self.names, host).await
    }

    async fn serve(&mut self, mut session: Session) -> End {
        self.publisher.send_replace(Some(session.publisher()));
        self.link.send_replace(Link::Up);
        let end = session.serve(&self.intake, &mut self.outbox, &self.stopping).await;
        if matches!(end, End::Stopping) {
            // Nothing new is taken; what runs comes to its end; closing makes the broker requeue the rest.
            tokio::join!(session.cancel_consumers(), self.finish_tasks());
        }
        self.publisher.send_replace(None);
        session.close().await;
        end
    }

    async fn finish_tasks(&self) {
        self.intake.tasks.close();
        self.intake.tasks.wait().await;
    }
}

/// A broker's words may hold anything, and go to the log and to systemd's status.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(300).collect()
}

//! RabbitMQ: whether it is reachable, accepts the agent's account, and has the
//! guest's queue with the configured flags.
//!
//! The doctor declares nothing that does not exist: a queue created by the doctor could keep Trove's
//! `prepare` from declaring its own.

use std::time::Duration;

use lapin::{Connection, options::QueueDeclareOptions, types::FieldTable};
use serde_json::Value;
use tokio::{net::TcpStream, time};
use trove_couchdb_config::{BrokerSettings, Settings};
use trove_couchdb_guest::broker::{self, ConnectError, Hosts, Socket};

use super::{Check, Finding};

static REACHABLE: Check = Check::new("broker.reachable", "Every broker of the transport URL can be reached");
static LOGIN: Check = Check::new("broker.login", "The broker takes the account and the virtual host");
static QUEUE: Check = Check::new("broker.queue", "The guest's queue is there, and the agent reads it");
static CONSUMERS: Check = Check::new("broker.consumers", "No second agent reads the guest's queue");
static FLAGS: Check =
    Check::new("broker.queue_flags", "The queue is declared with the flags of the configuration");

pub(super) const CHECKS: &[&Check] = &[&REACHABLE, &LOGIN, &QUEUE, &CONSUMERS, &FLAGS];

/// The timeout for connecting, and for each answer.
const TIMEOUT: Duration = Duration::from_secs(5);

/// More waiting commands than this are a warning.
const BACKLOG: u32 = 100;

pub(super) async fn look(settings: &Settings, status: Option<&Value>, findings: &mut Vec<Finding>) {
    let Some(broker) = &settings.broker else {
        findings.extend(CHECKS.iter().map(|check| check.skipped("no broker is configured")));
        return;
    };
    let (reached, finding) = reach(broker).await;
    findings.push(finding);
    if !reached {
        findings.extend(
            [&LOGIN, &QUEUE, &CONSUMERS, &FLAGS].map(|check| check.skipped("no broker can be reached")),
        );
        return;
    }
    match log_in(broker).await {
        Ok((connection, _socket)) => {
            findings.push(LOGIN.ok(format!("virtual host {}", broker.transport_url.vhost)));
            findings.extend(queue(&connection, settings, broker, status.is_some()).await);
            drop(time::timeout(TIMEOUT, connection.close(200, "done".into())).await);
        }
        Err((reason, is_tls)) => {
            findings.push(refused(&reason, is_tls));
            findings.extend([&QUEUE, &CONSUMERS, &FLAGS].map(|check| check.skipped("without a login")));
        }
    }
}

/// Whether any broker is reachable, and the finding.
async fn reach(broker: &BrokerSettings) -> (bool, Finding) {
    let (mut up, mut down) = (Vec::new(), Vec::new());
    for host in &broker.transport_url.hosts {
        let address = format!("{}:{}", host.host, host.port);
        match time::timeout(TIMEOUT, TcpStream::connect((host.host.as_str(), host.port))).await {
            Ok(Ok(_)) => up.push(address),
            Ok(Err(error)) => down.push(format!("{address}: {error}")),
            Err(_) => down.push(format!("{address}: no answer within {} s", TIMEOUT.as_secs())),
        }
    }
    let advice = "check that RabbitMQ runs there, the network between, and the transport URL";
    match (up.is_empty(), down.is_empty()) {
        (_, true) => (true, REACHABLE.ok(up.join(", "))),
        (false, false) => (true, REACHABLE.warning(down.join("; "), advice)),
        (true, false) => (false, REACHABLE.failed(down.join("; "), advice)),
    }
}

/// The error is the last reason, and whether TLS caused it.
async fn log_in(broker: &BrokerSettings) -> Result<(Connection, Socket), (String, bool)> {
    let settings = BrokerSettings { connect_timeout: TIMEOUT, ..broker.clone() };
    let mut hosts = Hosts::shuffled(&settings.transport_url);
    let mut reason = ("the transport URL names no host".to_owned(), false);
    for _ in 0..settings.transport_url.hosts.len() {
        let Some((host, _)) = hosts.next() else { break };
        match broker::connect(&settings, &host, "trove-couchdb doctor".to_owned()).await {
            Ok(connected) => return Ok(connected),
            Err(error) => {
                let is_tls = matches!(error, ConnectError::Insecure { .. } | ConnectError::Files(_));
                reason = (format!("{}:{}: {error}", host.host, host.port), is_tls);
            }
        }
    }
    Err(reason)
}

/// RabbitMQ refuses a wrong account with 403 `ACCESS_REFUSED` and a virtual host with 530 `NOT_ALLOWED`.
fn refused(reason: &str, is_tls: bool) -> Finding {
    let text = reason.to_uppercase().replace([' ', '_'], "");
    let advice = if is_tls {
        "the agent reads the certificates again with each try, so no restart is needed once they are right"
    } else if text.contains("ACCESSREFUSED") {
        "correct user and password in the transport URL (Trove's guest_config), or the account in RabbitMQ"
    } else if text.contains("NOTALLOWED") {
        "correct the virtual host in the transport URL, or give the account its rights on it"
    } else {
        "look at the broker's log"
    };
    LOGIN.failed(reason, advice)
}

/// Checks the queue without creating it: first passively, then with its flags only if it exists.
async fn queue(
    connection: &Connection,
    settings: &Settings,
    broker: &BrokerSettings,
    agent_runs: bool,
) -> [Finding; 3] {
    let name = format!("guestagent.{}", settings.guest.id);
    let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    let found = declare(connection, &name, passive, FieldTable::default()).await;
    let queue = match found {
        Ok(queue) => queue,
        Err(problem) => {
            let advice =
                "start the agent, which declares it; if it runs, check the virtual host and guest.id";
            let detail = format!("the broker has no queue {name}: {}", problem.text);
            let [consumers, flags] =
                [&CONSUMERS, &FLAGS].map(|check| check.skipped("there is no queue to look at"));
            return [QUEUE.failed(detail, advice), consumers, flags];
        }
    };
    let (readers, waiting) = (queue.consumer_count(), queue.message_count());
    let there = match (readers, waiting) {
        (0, _) if agent_runs => QUEUE.failed(
            format!("{name} has no consumer although the agent runs; {waiting} commands wait"),
            "look at the agent's journal; `systemctl restart trove-couchdb-agent` is always safe",
        ),
        (0, _) => QUEUE.warning(
            format!("{name} has no consumer; {waiting} commands wait"),
            "start the agent: it finds the commands there",
        ),
        (_, BACKLOG..) => QUEUE.warning(
            format!("{waiting} commands wait in {name}"),
            "`trove-couchdb status` shows whether the agent waits for CouchDB",
        ),
        _ => QUEUE.ok(format!("{name}, {waiting} waiting")),
    };
    let (options, arguments) = broker::guest_queue(broker);
    let flags = match declare(connection, &name, options, arguments).await {
        Ok(_) => FLAGS.ok("as configured"),
        Err(problem) if problem.is_mismatch => FLAGS.failed(
            problem.text,
            "Trove's next `prepare` or rebuild fails like this: set amqp_durable_queues, rabbit_quorum_queue and the \
             like in [oslo_messaging_rabbit] of trove-guestagent.conf as in the control plane's file, then delete \
             the queue while no command waits and restart the agent",
        ),
        Err(problem) => FLAGS.not_run(problem.text),
    };
    [there, alone(&name, readers), flags]
}

/// A cloned machine has the same id, so it receives every second command.
fn alone(name: &str, readers: u32) -> Finding {
    match readers {
        0 | 1 => CONSUMERS.ok(format!("{readers} reads {name}")),
        more => CONSUMERS.failed(
            format!("{more} consumers read {name}, so each carries out only a part of the commands, on its own CouchDB"),
            "a copy of this machine runs with the same guest_id: `rabbitmqctl list_consumers` and `rabbitmqctl \
             list_connections name peer_host client_properties` name the other address. Stop the copy's agent, or give \
             it a guest_id of its own. After a lost connection the old consumer may be listed for two minutes more",
        ),
    }
}

/// Why a declaration was refused.
struct Refusal {
    text: String,
    is_mismatch: bool,
}

/// Declares on a separate channel, because a refusal closes the channel.
async fn declare(
    connection: &Connection,
    name: &str,
    options: QueueDeclareOptions,
    arguments: FieldTable,
) -> Result<lapin::Queue, Refusal> {
    let declared = async {
        let channel = connection.create_channel().await?;
        channel.queue_declare(broker::short(name)?, options, arguments).await
    };
    match time::timeout(TIMEOUT, declared).await {
        Ok(Ok(queue)) => Ok(queue),
        Ok(Err(error)) => Err(Refusal { is_mismatch: broker::is_mismatch(&error), text: error.to_string() }),
        Err(_) => Err(Refusal { text: "the broker does not answer".to_owned(), is_mismatch: false }),
    }
}

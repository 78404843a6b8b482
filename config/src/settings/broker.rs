//! `[broker]`: the connection to RabbitMQ, and the flags of the exchanges and queues.
//!
//! Durable, auto-delete, quorum and ttl must equal the control plane's `[oslo_messaging_rabbit]`; otherwise
//! RabbitMQ refuses the second declaration of a queue with 406 (PROTOCOL.md section 1). So Trove's file
//! overrides the agent's, and the names and defaults are those of oslo.messaging 18.3.1
//! (`_drivers/impl_rabbit.py`, `_drivers/amqp.py`; deprecated names from 12.13.0 and 14.4.0).

use std::path::PathBuf;
use std::time::Duration;

use trove_couchdb_protocol::transport_url::TransportUrl;

use crate::broker_url;
use crate::error::Mistake;
use crate::inputs::{Entry, Inputs};
use crate::key::{Key, RABBIT_GROUP as RABBIT};
use crate::section::{Section, Validation, section};
use crate::settings::tls::{self, TlsFiles};

/// The names that mean the same compression to kombu (`kombu/compression.py`).
const READ_COMPRESSIONS: [&str; 3] = ["gzip", "zlib", "application/x-gzip"];

/// The maximum length of an exchange or queue name, in bytes: AMQP 0-9-1 writes names as short strings.
const MAX_NAME: usize = 255;

/// RabbitMQ's numbers are signed 64-bit integers.
const MAX_NUMBER: u64 = i64::MAX.unsigned_abs();

section! {
    /// The message broker and how its queues are declared.
    #[derive(Debug, Clone)]
    pub struct BrokerSettings = "broker" {
        /// The address of RabbitMQ: rabbit://USER:PASSWORD@HOST:PORT[,USER:PASSWORD@HOST2:PORT2]/VHOST. Required;
        /// the control plane's trove-guestagent.conf has it. Options in its query override the keys that they name.
        /// "local:" means no broker: commands come over local.socket only.
        transport_url: TransportUrl, by Secret transport_url, oslo [("DEFAULT", "transport_url")];
        /// The topic exchange that commands come through; must equal the control plane's (devstack: trove).
        control_exchange: String = "openstack", by Text name, oslo [("DEFAULT", "control_exchange")];
        /// The queue that trove-conductor reads status reports from.
        conductor_queue: String = "trove-conductor", by Text name, oslo [("DEFAULT", "conductor_queue")];
        /// Declare the exchange and the guest's queues durable; must equal the control plane's.
        durable_queues: bool = "false", oslo [(RABBIT, "amqp_durable_queues")];
        /// Declare the exchange and the guest's queues auto-delete; must equal the control plane's.
        auto_delete: bool = "false", oslo [(RABBIT, "amqp_auto_delete"), ("DEFAULT", "amqp_auto_delete")];
        /// Declare the guest's queues as quorum queues (durable by nature); must equal the control plane's.
        quorum_queue: bool = "false", oslo [(RABBIT, "rabbit_quorum_queue")];
        /// x-delivery-limit of quorum queues; 0 declares none.
        quorum_delivery_limit: u32 = "0", in 0..=u32::MAX,
            oslo [(RABBIT, "rabbit_quorum_delivery_limit")];
        /// x-max-in-memory-length of quorum queues, in messages; 0 declares none.
        quorum_max_memory_length: u64 = "0", in 0..=MAX_NUMBER,
            oslo [(RABBIT, "rabbit_quorum_max_memory_length"), (RABBIT, "rabbit_quroum_max_memory_length")];
        /// x-max-in-memory-bytes of quorum queues; 0 declares none.
        quorum_max_memory_bytes: u64 = "0", in 0..=MAX_NUMBER,
            oslo [(RABBIT, "rabbit_quorum_max_memory_bytes"), (RABBIT, "rabbit_quroum_max_memory_bytes")];
        /// Declare the fanout exchange durable and its queue as a quorum queue; must equal the control plane's.
        transient_quorum_queue: bool = "false", oslo [(RABBIT, "rabbit_transient_quorum_queue")];
        /// x-expires of the fanout queue; 0 declares none.
        // In RabbitMQ x-expires is a 32-bit number of milliseconds.
        transient_queues_ttl: Duration = "1800", in 0.0..=4_294_967.0,
            oslo [(RABBIT, "rabbit_transient_queues_ttl")];
        /// The control plane declares fanout queues as streams. The agent then leaves them alone, because Trove
        /// sends no fanout messages.
        stream_fanout: bool = "false", oslo [(RABBIT, "rabbit_stream_fanout")];
        /// Declare queues with x-ha-policy=all, for RabbitMQ before 3.0; must equal the control plane's.
        ha_queues: bool = "false", oslo [(RABBIT, "rabbit_ha_queues"), ("DEFAULT", "rabbit_ha_queues")];
        /// How many unacknowledged commands the broker hands out over all queues of the guest: at least one from
        /// each queue, and nearly all from the queue that Trove sends to. 64 of the largest possible commands take
        /// 150 MiB. 0, which oslo reads as unlimited, would let a backlog fill the memory: it is an error here and
        /// ignored in Trove's files.
        prefetch: u16 = "64", in 1..=u16::MAX,
            oslo [(RABBIT, "rabbit_qos_prefetch_count")], blank "0";
        /// The compression that the control plane uses. The agent always reads gzip and uncompressed messages, and
        /// warns about any other value. It does not compress its own messages.
        compression: Option<String>, oslo [(RABBIT, "kombu_compression")];
        /// The SASL mechanism: AMQPLAIN or PLAIN.
        login_method: LoginMethod = "AMQPLAIN", by Text login_method,
            oslo [(RABBIT, "rabbit_login_method"), ("DEFAULT", "rabbit_login_method")];
        /// The connection counts as dead after this many seconds without data; 0 turns AMQP heartbeats off.
        heartbeat: Duration = "60", by Count heartbeat, oslo [(RABBIT, "heartbeat_timeout_threshold")];
        /// The time limit for one attempt to connect to one host.
        connect_timeout: Duration = "10", in 0.1..=600.0;
        /// The first pause between attempts to connect; it doubles each time.
        reconnect_min: Duration = "0.5", in 0.01..=3600.0, oslo [(RABBIT, "rabbit_retry_interval")];
        /// The longest pause between attempts to connect.
        reconnect_max: Duration = "30", in 0.01..=3600.0, oslo [(RABBIT, "rabbit_interval_max")];
        /// How long the agent keeps sending a reply while the caller's reply queue does not exist.
        missing_consumer_retry_timeout: Duration = "60", in 0.0..=3600.0,
            oslo [(RABBIT, "kombu_missing_consumer_retry_timeout"), (RABBIT, "kombu_reconnect_timeout")];
    }
    keys {
        /// Connect with TLS. The agent always verifies the server's certificate, also where oslo would not.
        tls: bool = "false", oslo [(RABBIT, "ssl"), (RABBIT, "rabbit_use_ssl")];
        /// PEM file of the only authorities to trust; without it the agent trusts those of the system.
        tls_ca_file: Option<PathBuf>, oslo [(RABBIT, "ssl_ca_file"), (RABBIT, "kombu_ssl_ca_certs")];
        /// PEM file of the client's certificate, if the broker asks for one.
        tls_cert_file: Option<PathBuf>, oslo [(RABBIT, "ssl_cert_file"), (RABBIT, "kombu_ssl_certfile")];
        /// PEM file of the key for tls_cert_file, without a pass phrase.
        tls_key_file: Option<PathBuf>, oslo [(RABBIT, "ssl_key_file"), (RABBIT, "kombu_ssl_keyfile")];
    }
    made {
        /// TLS to the broker, if enabled.
        tls: Option<TlsFiles> = tls;
    }
}

/// The SASL mechanism for the login at the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoginMethod {
    /// RabbitMQ's own mechanism and oslo's default.
    Amqplain,
    /// RFC 4616.
    Plain,
}

/// `None` for an agent without a broker.
impl Section for Option<BrokerSettings> {
    const KEYS: &'static [Key] = BrokerSettings::KEYS;

    fn read(validation: &mut Validation) -> Option<Self> {
        if validation.inputs.entry(broker_url::KEY).text().is_some_and(broker_url::is_no_broker) {
            return Some(None);
        }
        let settings = BrokerSettings::read(validation)?;
        validation.check(|inputs| settings.agree(inputs));
        Some(Some(settings))
    }
}

impl BrokerSettings {
    /// Checks values that must agree with each other.
    fn agree(&self, inputs: &Inputs) -> [Result<(), Mistake>; 2] {
        let both = self.ha_queues && self.quorum_queue;
        let [min, max] = [self.reconnect_min, self.reconnect_max].map(|pause| pause.as_secs_f64());
        let problem = format!("({min} s) is above broker.reconnect_max ({max} s)");
        let advice = "keep the one that the control plane uses (oslo.messaging refuses both together, too)";
        let [ha_queues, reconnect_min] =
            ["broker.ha_queues", "broker.reconnect_min"].map(|key| inputs.entry(key));
        [
            ha_queues.ensure(!both, "and broker.quorum_queue are both on", advice),
            reconnect_min.ensure(min <= max, &problem, "lower the one or raise the other"),
        ]
    }
}

/// Warns if the agent cannot read the control plane's compression.
pub(crate) fn warning(inputs: &Inputs) -> Option<String> {
    let entry = inputs.entry("broker.compression");
    let name = entry.text().filter(|name| !READ_COMPRESSIONS.contains(name))?;
    Some(format!(
        "{}: broker.compression (kombu_compression) is {name:?}, and the agent reads gzip only: commands that are \
         compressed otherwise are lost. Set it to gzip on the control plane and here, or take it out",
        entry.origin()
    ))
}

fn transport_url(entry: Entry<'_>) -> Result<TransportUrl, Mistake> {
    let advice = "Trove copies it from the control plane's trove-guestagent.conf (option guest_config) to \
                  /etc/trove/conf.d; put it there, into agent.toml or into TROVE_COUCHDB_BROKER__TRANSPORT_URL; for an \
                  agent without a broker write local:";
    let url = entry.text().ok_or_else(|| entry.missing(advice))?;
    if broker_url::is_nearly_local(url) {
        let advice = "write \"local:\", with the colon and nothing behind it, for an agent without a broker";
        return Err(entry.invalid(format!("cannot be {:?}", url.trim()), advice));
    }
    let advice = "write rabbit://USER:PASSWORD@HOST:PORT/VHOST, special characters percent-encoded";
    let refused = |error| entry.invalid(format!("is no transport URL: {error}"), advice);
    broker_url::parse(url).map_err(refused)
}

fn tls(inputs: &Inputs) -> Result<Option<TlsFiles>, Mistake> {
    let files = tls::files(inputs, ["broker.tls_ca_file", "broker.tls_cert_file", "broker.tls_key_file"])?;
    let by_its_url = transport_url(inputs.entry(broker_url::KEY))?.is_tls();
    Ok((inputs.entry("broker.tls").get()? || by_its_url).then_some(files))
}

fn name(entry: Entry<'_>) -> Result<String, Mistake> {
    let name = entry.required_text()?;
    let advice = format!("write at most {MAX_NAME} bytes without control characters");
    let is_name = name.len() <= MAX_NAME && !name.chars().any(char::is_control);
    entry.ensure(is_name, "is no AMQP name", &advice)?;
    Ok(name.to_owned())
}

fn login_method(entry: Entry<'_>) -> Result<LoginMethod, Mistake> {
    entry.choice(&[("AMQPLAIN", LoginMethod::Amqplain), ("PLAIN", LoginMethod::Plain)])
}

/// Whole seconds, as in the protocol.
fn heartbeat(entry: Entry<'_>) -> Result<Duration, Mistake> {
    entry.get_in::<u16>(0..=u16::MAX).map(|seconds| Duration::from_secs(seconds.into()))
}

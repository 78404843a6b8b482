//! `[broker]`: the connection to RabbitMQ, and the flags of everything declared there.
//!
//! Durable, auto-delete, quorum and ttl must equal the control plane's own `[oslo_messaging_rabbit]`, or RabbitMQ
//! refuses the second declaration of the same queue with 406 (PROTOCOL.md section 1). That is why Trove's file
//! outranks ours, and why the names and defaults are those of oslo.messaging 18.3.1
//! (`_drivers/impl_rabbit.py`, `_drivers/amqp.py`; deprecated names from 12.13.0 and 14.4.0).

use std::str::FromStr;
use std::time::Duration;

use trove_couchdb_protocol::{text, transport_url::TransportUrl};

use crate::config::error::ConfigError;
use crate::config::inputs::Section;
use crate::config::keys::{Key, Kind};
use crate::config::oslo_files::RABBIT_GROUP as RABBIT;
use crate::config::settings::no_broker::{is_local, is_nearly_local};
use crate::config::settings::tls;
use crate::tls::Files;

/// One and the same to kombu (`kombu/compression.py`).
const READ_COMPRESSIONS: [&str; 3] = ["gzip", "zlib", "application/x-gzip"];

/// AMQP 0-9-1 writes exchange and queue names as short strings.
const MAX_NAME: usize = 255;

pub(in crate::config) const KEYS: &[Key] = &[
    Key::new(
        "broker.transport_url",
        Kind::Secret,
        "Where RabbitMQ is: rabbit://USER:PASSWORD@HOST:PORT[,USER:PASSWORD@HOST2:PORT2]/VHOST. Required; the \
         control plane's trove-guestagent.conf has it. Options in its query outrank the keys they name. \"local:\" \
         means no broker at all: commands come over local.socket only.",
    )
    .oslo(&[("DEFAULT", "transport_url")]),
    Key::new(
        "broker.control_exchange",
        Kind::Text,
        "The topic exchange that commands come through; must equal the control plane's (devstack: trove).",
    )
    .default("openstack")
    .oslo(&[("DEFAULT", "control_exchange")]),
    Key::new("broker.conductor_queue", Kind::Text, "The queue that trove-conductor reads status reports from.")
        .default("trove-conductor")
        .oslo(&[("DEFAULT", "conductor_queue")]),
    Key::new(
        "broker.durable_queues",
        Kind::Flag,
        "Declare the exchange and the guest's queues durable; must equal the control plane's.",
    )
    .default("false")
    .oslo(&[(RABBIT, "amqp_durable_queues")]),
    Key::new(
        "broker.auto_delete",
        Kind::Flag,
        "Declare the exchange and the guest's queues auto-delete; must equal the control plane's.",
    )
    .default("false")
    .oslo(&[(RABBIT, "amqp_auto_delete"), ("DEFAULT", "amqp_auto_delete")]),
    Key::new(
        "broker.quorum_queue",
        Kind::Flag,
        "Declare the guest's queues as quorum queues (durable by nature); must equal the control plane's.",
    )
    .default("false")
    .oslo(&[(RABBIT, "rabbit_quorum_queue")]),
    Key::new("broker.quorum_delivery_limit", Kind::Count, "x-delivery-limit of quorum queues; 0 declares none.")
        .default("0")
        .oslo(&[(RABBIT, "rabbit_quorum_delivery_limit")]),
    Key::new(
        "broker.quorum_max_memory_length",
        Kind::Count,
        "x-max-in-memory-length of quorum queues, in messages; 0 declares none.",
    )
    .default("0")
    .oslo(&[(RABBIT, "rabbit_quorum_max_memory_length"), (RABBIT, "rabbit_quroum_max_memory_length")]),
    Key::new(
        "broker.quorum_max_memory_bytes",
        Kind::Count,
        "x-max-in-memory-bytes of quorum queues; 0 declares none.",
    )
    .default("0")
    .oslo(&[(RABBIT, "rabbit_quorum_max_memory_bytes"), (RABBIT, "rabbit_quroum_max_memory_bytes")]),
    Key::new(
        "broker.transient_quorum_queue",
        Kind::Flag,
        "Declare the fanout exchange durable and its queue as a quorum queue; must equal the control plane's.",
    )
    .default("false")
    .oslo(&[(RABBIT, "rabbit_transient_quorum_queue")]),
    Key::new(
        "broker.transient_queues_ttl",
        Kind::Seconds,
        "x-expires of the fanout queue; 0 declares none.",
    )
    .default("1800")
    .oslo(&[(RABBIT, "rabbit_transient_queues_ttl")]),
    Key::new(
        "broker.stream_fanout",
        Kind::Flag,
        "The control plane declares fanout queues as streams. Trove sends no fanout messages, so the agent then \
         leaves them alone.",
    )
    .default("false")
    .oslo(&[(RABBIT, "rabbit_stream_fanout")]),
    Key::new(
        "broker.ha_queues",
        Kind::Flag,
        "Declare queues with x-ha-policy=all, for RabbitMQ before 3.0; must equal the control plane's.",
    )
    .default("false")
    .oslo(&[(RABBIT, "rabbit_ha_queues"), ("DEFAULT", "rabbit_ha_queues")]),
    Key::new(
        "broker.prefetch",
        Kind::Count,
        "How many unacknowledged commands the broker hands out, over all queues of the guest; nearly all of them from the one \
         that Trove sends to, at least one from each. 64 of the largest that can be sent take 150 MiB. 0, oslo's \
         \"unlimited\", would let a backlog fill the memory: it is refused here and passed over in Trove's files.",
    )
    .default("64")
    .oslo(&[(RABBIT, "rabbit_qos_prefetch_count")])
    .oslo_blank("0"),
    Key::new(
        "broker.compression",
        Kind::Text,
        "What the control plane compresses its messages with. The agent reads gzip and what is not compressed, whatever \
         is set here, and warns of anything else. Its own messages are not compressed.",
    )
    .oslo(&[(RABBIT, "kombu_compression")]),
    Key::new("broker.login_method", Kind::Text, "The SASL mechanism: AMQPLAIN or PLAIN.")
        .default("AMQPLAIN")
        .oslo(&[(RABBIT, "rabbit_login_method"), ("DEFAULT", "rabbit_login_method")]),
    Key::new(
        "broker.heartbeat",
        Kind::Count,
        "The connection counts as dead when nothing came for so many seconds; 0 turns AMQP heartbeats off.",
    )
    .default("60")
    .oslo(&[(RABBIT, "heartbeat_timeout_threshold")]),
    Key::new("broker.connect_timeout", Kind::Seconds, "How long one attempt to connect to one host may take.")
        .default("10"),
    Key::new("broker.reconnect_min", Kind::Seconds, "The first pause between attempts to connect; it doubles.")
        .default("0.5")
        .oslo(&[(RABBIT, "rabbit_retry_interval")]),
    Key::new("broker.reconnect_max", Kind::Seconds, "The longest pause between attempts to connect.")
        .default("30")
        .oslo(&[(RABBIT, "rabbit_interval_max")]),
    Key::new(
        "broker.missing_consumer_retry_timeout",
        Kind::Seconds,
        "How long a reply is offered again when the caller's reply queue does not exist.",
    )
    .default("60")
    .oslo(&[(RABBIT, "kombu_missing_consumer_retry_timeout"), (RABBIT, "kombu_reconnect_timeout")]),
    Key::new(
        "broker.tls",
        Kind::Flag,
        "Connect with TLS. The server's certificate is always verified, also where oslo would not.",
    )
    .default("false")
    .oslo(&[(RABBIT, "ssl"), (RABBIT, "rabbit_use_ssl")]),
    Key::new(
        "broker.tls_ca_file",
        Kind::Path,
        "PEM file of the authorities to trust, and no others; without it those of the system.",
    )
    .oslo(&[(RABBIT, "ssl_ca_file"), (RABBIT, "kombu_ssl_ca_certs")]),
    Key::new("broker.tls_cert_file", Kind::Path, "PEM file of the client's certificate, if the broker asks for one.")
        .oslo(&[(RABBIT, "ssl_cert_file"), (RABBIT, "kombu_ssl_certfile")]),
    Key::new("broker.tls_key_file", Kind::Path, "PEM file of the key that belongs to tls_cert_file, without a pass phrase.")
        .oslo(&[(RABBIT, "ssl_key_file"), (RABBIT, "kombu_ssl_keyfile")]),
];

/// The message broker and how its queues are declared.
#[derive(Debug, Clone)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a flag of oslo.messaging with a meaning of its own"
)]
pub struct BrokerSettings {
    /// Hosts, credentials and virtual host.
    pub transport_url: TransportUrl,
    /// The topic exchange of the control plane.
    pub control_exchange: String,
    /// Routing key of casts to the conductor.
    pub conductor_queue: String,
    /// Exchange and guest queues are durable.
    pub durable_queues: bool,
    /// Exchange and guest queues delete themselves.
    pub auto_delete: bool,
    /// Guest queues are quorum queues; never together with `ha_queues`.
    pub quorum_queue: bool,
    /// `x-delivery-limit` of quorum queues; 0 for none.
    pub quorum_delivery_limit: u32,
    /// `x-max-in-memory-length` of quorum queues, in messages; 0 for none.
    pub quorum_max_memory_length: u64,
    /// `x-max-in-memory-bytes` of quorum queues; 0 for none.
    pub quorum_max_memory_bytes: u64,
    /// The fanout exchange is durable and its queue a quorum queue.
    pub transient_quorum_queue: bool,
    /// `x-expires` of the fanout queue; zero for none.
    pub transient_queues_ttl: Duration,
    /// Fanout queues of this cloud are streams, which the agent must not declare otherwise.
    pub stream_fanout: bool,
    /// Queues carry `x-ha-policy=all`.
    pub ha_queues: bool,
    /// The most unacknowledged deliveries of all queues; at least 1.
    pub prefetch: u16,
    /// The SASL mechanism.
    pub login_method: LoginMethod,
    /// The heartbeat asked of the broker, whole seconds; zero turns it off.
    pub heartbeat: Duration,
    /// The limit of one attempt to connect to one host.
    pub connect_timeout: Duration,
    /// The first pause between attempts.
    pub reconnect_min: Duration,
    /// The longest pause between attempts; not below `reconnect_min`.
    pub reconnect_max: Duration,
    /// How long an unroutable reply is offered again.
    pub missing_consumer_retry_timeout: Duration,
    /// TLS to the broker, if it is wanted.
    pub tls: Option<Files>,
}

/// How the agent proves who it is to the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoginMethod {
    /// RabbitMQ's own, and oslo's default.
    Amqplain,
    /// RFC 4616.
    Plain,
}

impl BrokerSettings {
    /// `None` for an agent without a broker.
    pub(super) fn from_input(input: Section<'_>) -> Result<Option<Self>, ConfigError> {
        if is_local(input)? {
            return Ok(None);
        }
        let transport_url = transport_url(input)?;
        let files = tls::files(input)?;
        let tls = (input.flag("tls")? || transport_url.is_tls()).then_some(files);
        let settings = Self {
            transport_url,
            control_exchange: name(input, "control_exchange")?,
            conductor_queue: name(input, "conductor_queue")?,
            durable_queues: input.flag("durable_queues")?,
            auto_delete: input.flag("auto_delete")?,
            quorum_queue: input.flag("quorum_queue")?,
            quorum_delivery_limit: input.count("quorum_delivery_limit", 0..=i64::from(u32::MAX))?,
            quorum_max_memory_length: input.count("quorum_max_memory_length", 0..=i64::MAX)?,
            quorum_max_memory_bytes: input.count("quorum_max_memory_bytes", 0..=i64::MAX)?,
            transient_quorum_queue: input.flag("transient_quorum_queue")?,
            // RabbitMQ takes x-expires as milliseconds in 32 bits.
            transient_queues_ttl: input.seconds("transient_queues_ttl", 0.0..=4_294_967.0)?,
            stream_fanout: input.flag("stream_fanout")?,
            ha_queues: input.flag("ha_queues")?,
            prefetch: input.count("prefetch", 1..=i64::from(u16::MAX))?,
            login_method: input.choice(
                "login_method",
                &[("AMQPLAIN", LoginMethod::Amqplain), ("PLAIN", LoginMethod::Plain)],
            )?,
            heartbeat: Duration::from_secs(input.count("heartbeat", 0..=i64::from(u16::MAX))?),
            connect_timeout: input.seconds("connect_timeout", 0.1..=600.0)?,
            reconnect_min: input.seconds("reconnect_min", 0.01..=3600.0)?,
            reconnect_max: input.seconds("reconnect_max", 0.01..=3600.0)?,
            missing_consumer_retry_timeout: input.seconds("missing_consumer_retry_timeout", 0.0..=3600.0)?,
            tls,
        };
        settings.agree(input)?;
        Ok(Some(settings))
    }

    /// What no single value can be blamed for.
    fn agree(&self, input: Section<'_>) -> Result<(), ConfigError> {
        if self.ha_queues && self.quorum_queue {
            let advice =
                "keep the one that the control plane uses (oslo.messaging refuses both together, too)";
            return Err(input.invalid("ha_queues", "and broker.quorum_queue are both on", advice));
        }
        if self.reconnect_min > self.reconnect_max {
            let problem = format!(
                "({} s) is above broker.reconnect_max ({} s)",
                self.reconnect_min.as_secs_f64(),
                self.reconnect_max.as_secs_f64()
            );
            return Err(input.invalid("reconnect_min", problem, "lower the one or raise the other"));
        }
        Ok(())
    }
}

/// What the control plane sends may not be readable.
pub(super) fn warning(input: Section<'_>) -> Result<Option<String>, ConfigError> {
    let unread = input.text("compression")?.filter(|name| !READ_COMPRESSIONS.contains(&name.as_str()));
    Ok(unread.map(|name| {
        format!(
            "{}: broker.compression (kombu_compression) is {name:?}, and the agent reads gzip only: commands that are \
             compressed otherwise are lost. Set it to gzip on the control plane and here, or take it out",
            input.origin("compression")
        )
    }))
}

fn transport_url(input: Section<'_>) -> Result<TransportUrl, ConfigError> {
    let Some(url) = input.text("transport_url")? else {
        return Err(input.missing(
            "transport_url",
            "Trove copies it from the control plane's trove-guestagent.conf (option guest_config) to \
             /etc/trove/conf.d; put it there, into agent.toml or into TROVE_COUCHDB_BROKER__TRANSPORT_URL; for an \
             agent without a broker write local:",
        ));
    };
    if is_nearly_local(&url) {
        let advice = "write \"local:\", with the colon and nothing behind it, for an agent without a broker";
        return Err(input.invalid("transport_url", format!("cannot be {:?}", url.trim()), advice));
    }
    parse_url(&url).map_err(|error| {
        let advice = "write rabbit://USER:PASSWORD@HOST:PORT/VHOST, special characters percent-encoded";
        input.invalid("transport_url", format!("is no transport URL: {error}"), advice)
    })
}

/// Reads a transport URL; `urllib` drops line breaks from URLs, so oslo's files may hold it on several lines.
pub(in crate::config) fn parse_url(text: &str) -> Result<TransportUrl, <TransportUrl as FromStr>::Err> {
    text::secret(text).replace(['\r', '\n'], "").parse()
}

fn name(input: Section<'_>, leaf: &'static str) -> Result<String, ConfigError> {
    let name = input.required_text(leaf)?;
    if name.len() <= MAX_NAME && !name.chars().any(char::is_control) {
        return Ok(name);
    }
    let advice = format!("write at most {MAX_NAME} bytes without control characters");
    Err(input.invalid(leaf, "is no AMQP name", advice))
}

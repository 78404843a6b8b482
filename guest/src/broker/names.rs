//! The names of a guest's exchanges and queues, the prefetch of each queue, and
//! the error if the broker refuses one.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use lapin::ErrorKind;

use trove_couchdb_config::BrokerSettings;

/// Each queue other than the guest queue gets this part of the prefetch.
const PART_OF_THE_OTHERS: u16 = 16;

/// The names of a guest's exchanges and queues.
#[derive(Debug, Clone)]
pub struct Names {
    /// The control plane's exchange.
    pub exchange: String,
    /// The conductor's queue.
    pub conductor: String,
    pub(super) topic: String,
    pub(super) server: String,
    pub(super) fanout: String,
    pub(super) fanout_queue: String,
    /// The broker refused the fanout queue, which receives no messages anyway.
    without_fanout: Arc<AtomicBool>,
}

/// The broker refused a declaration or a consumer.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {name:?} on the broker: {source}{}", advice(.source))]
pub struct TopologyError {
    action: &'static str,
    name: String,
    source: lapin::Error,
}

impl TopologyError {
    pub(super) fn at(action: &'static str, name: &str) -> impl FnOnce(lapin::Error) -> Self {
        let name = name.to_owned();
        move |source| Self { action, name, source }
    }

    /// The error for a consumer that could not be created.
    pub fn consuming(name: &str) -> impl FnOnce(lapin::Error) -> Self {
        Self::at("consume the queue", name)
    }

    fn is_refusal(&self) -> bool {
        matches!(self.source.kind(), ErrorKind::ProtocolError(_))
    }
}

/// RabbitMQ 4.3 refuses transient queues that are not exclusive, and closes the connection (541).
fn advice(error: &lapin::Error) -> &'static str {
    if error.to_string().contains("transient_nonexcl_queues") {
        "; set amqp_durable_queues or rabbit_quorum_queue of [oslo_messaging_rabbit] to true, on the control plane as well"
    } else {
        ""
    }
}

impl Names {
    /// The names for a guest; the name of the fanout queue is unique per process.
    pub fn new(guest_id: &str, settings: &BrokerSettings) -> Self {
        let topic = format!("guestagent.{guest_id}");
        Self {
            exchange: settings.control_exchange.clone(),
            conductor: settings.conductor_queue.clone(),
            server: format!("{topic}.{guest_id}"),
            fanout: format!("{topic}_fanout"),
            fanout_queue: format!("{topic}_fanout_{}", trove_couchdb_protocol::new_id()),
            topic,
            without_fanout: Arc::new(AtomicBool::new(settings.stream_fanout)),
        }
    }

    /// Whether to reconnect without the fanout queue, because the broker has just refused it.
    /// RabbitMQ 4 refuses the queue by closing the connection. The agent does not need the queue: no
    /// version of Trove sends to all guests.
    pub fn goes_without_fanout(&self, error: &TopologyError) -> bool {
        let refused = [&self.fanout, &self.fanout_queue].contains(&&error.name) && error.is_refusal();
        refused && !self.without_fanout.swap(true, Ordering::Relaxed)
    }

    pub(super) fn has_fanout(&self) -> bool {
        !self.without_fanout.load(Ordering::Relaxed)
    }

    /// The queues to consume, with the prefetch of each; they add up to `prefetch`. Quorum queues do not
    /// support a limit for the whole channel. Trove sends only to the first queue, so it gets most.
    pub fn queues(&self, prefetch: u16) -> Vec<(&str, u16)> {
        let fanout = self.has_fanout().then_some(self.fanout_queue.as_str());
        let others: Vec<_> = std::iter::once(self.server.as_str()).chain(fanout).collect();
        let of_another = (prefetch / PART_OF_THE_OTHERS).max(1);
        let of_others = of_another * u16::try_from(others.len()).unwrap_or(1);
        let first = (self.topic.as_str(), prefetch.saturating_sub(of_others).max(1));
        std::iter::once(first).chain(others.into_iter().map(|name| (name, of_another))).collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use trove_couchdb_config::{ConfigError, Override, Settings, Sources};

    use super::*;
    use crate::broker::short;

    fn names(fanout: bool) -> Names {
        let text = |name: &str| name.to_owned();
        Names {
            exchange: text("e"),
            conductor: text("c"),
            topic: text("t"),
            server: text("s"),
            fanout: text("f"),
            fanout_queue: text("q"),
            without_fanout: Arc::new(AtomicBool::new(!fanout)),
        }
    }

    /// AMQP writes names as short strings.
    #[test]
    fn no_name_is_too_long_for_amqp_and_the_longest_id_uses_all_there_is() {
        let names = |length: usize| {
            let set = |key, text: &str| Override { key, option: "--test", text: text.to_owned() };
            let (id, url) = ("i".repeat(length), "rabbit://h/");
            let overrides = vec![set("guest.id", &id), set("broker.transport_url", url)];
            let nothing = tempfile::tempdir().unwrap();
            let sources = Sources {
                config_file: Some("/dev/null".into()),
                oslo_dirs: vec![nothing.path().to_owned()],
                overrides,
                ..Sources::default()
            };
            let settings = Settings::load(sources, [])?;
            Ok::<_, ConfigError>(settings.broker.map(|broker| Names::new(&id, &broker)))
        };
        let longest = (1..=255).take_while(|length| names(*length).is_ok()).last().unwrap();
        let Names { exchange, conductor, topic, server, fanout, fanout_queue, .. } =
            names(longest).unwrap().unwrap();
        let all = [exchange, conductor, topic, server, fanout, fanout_queue];
        let bytes = all.iter().map(String::len).max().unwrap();
        assert!(all.iter().all(|name| short(name).is_ok()), "{all:?}");
        assert!((254..=255).contains(&bytes), "{bytes} bytes of an id with {longest}");
    }

    /// Mutation: prefetch-of-each-queue (docs/guarantees.md).
    #[test]
    fn the_prefetch_is_one_limit_for_all_queues() {
        assert_eq!(names(true).queues(64), [("t", 56), ("s", 4), ("q", 4)]);
        assert_eq!(names(false).queues(64), [("t", 60), ("s", 4)]);
        for prefetch in 3..=u16::MAX {
            let shares: u32 = names(true).queues(prefetch).iter().map(|(_, share)| u32::from(*share)).sum();
            assert_eq!(shares, u32::from(prefetch));
        }
        // Each consumer needs at least one message, and 0 would mean no limit.
        assert_eq!(names(true).queues(1), [("t", 1), ("s", 1), ("q", 1)]);
    }

    #[test]
    fn only_a_refused_fanout_queue_is_left_out_and_once() {
        let words = "INTERNAL_ERROR - Feature `transient_nonexcl_queues` is deprecated.";
        let refused = |name: &str| {
            let kind = lapin::protocol::AMQPHardError::INTERNALERROR.into();
            let error = lapin::protocol::AMQPError::new(kind, words.into());
            TopologyError::at("declare the queue", name)(ErrorKind::ProtocolError(error).into())
        };
        let names = names(true);
        assert!(!names.goes_without_fanout(&refused("t")) && names.has_fanout());
        let text = refused("t").to_string();
        assert!(
            text.starts_with("cannot declare the queue \"t\" on the broker: ")
                && text.contains("amqp_durable_queues"),
            "{text}"
        );
        assert!(names.goes_without_fanout(&refused("q")) && !names.has_fanout());
        assert!(!names.goes_without_fanout(&refused("q")), "there is nothing left to do without");
    }
}

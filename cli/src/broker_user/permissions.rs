//! The permissions of an instance's RabbitMQ account: only what the agent needs.
//!
//! | the agent | RabbitMQ requires |
//! |---|---|
//! | declares `guestagent.ID`, `guestagent.ID.ID`, `guestagent.ID_fanout` and its queue | configure |
//! | binds the first two to the control exchange | write the queue, read the
//! exchange, read topic = the queue's name |
//! | binds the fanout queue | write the queue, read the fanout exchange |
//! | consumes the three queues | read |
//! | reports to the conductor | write the control exchange, write topic = the conductor's queue |
//! | answers a caller through the default exchange | write `amq.default` |
//!
//! Without the topic permissions an account that may bind could read every other guest's messages, and an
//! account that may report could send commands to other guests. The account may not declare the control
//! exchange, because it could then delete it. Source: RabbitMQ's Access Control guide, and
//! `rabbit_channel.erl` (`binding_action`, `check_write_permitted_on_topic`). The agent's declarations are in
//! `guest/src/broker/topology.rs`.

use trove_couchdb_config::BrokerSettings;

/// RabbitMQ's name for the default exchange in permissions.
const DEFAULT_EXCHANGE: &str = "amq.default";

/// The regular expressions of `set_permissions` and `set_topic_permissions`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permissions {
    /// The objects that may be declared and deleted.
    pub configure: String,
    /// The objects that may be published to and bound.
    pub write: String,
    /// The objects that may be consumed and bound to.
    pub read: String,
    /// The exchange of the topic permissions.
    pub exchange: String,
    /// The routing keys for publishing.
    pub topic_write: String,
    /// The routing keys for binding queues.
    pub topic_read: String,
}

impl Permissions {
    /// The permissions of a guest, for a broker with these settings.
    pub fn of_guest(guest_id: &str, broker: &BrokerSettings) -> Self {
        let id = escaped(guest_id);
        let (exchange, conductor) = (escaped(&broker.control_exchange), escaped(&broker.conductor_queue));
        let topics = format!(r"guestagent\.{id}(\.{id})?");
        // With stream fanout the agent declares no fanout queue.
        let own = if broker.stream_fanout {
            topics.clone()
        } else {
            format!(r"guestagent\.{id}(\.{id}|_fanout(_[0-9a-f]{{32}})?)?")
        };
        Self {
            configure: format!("^{own}$"),
            write: format!("^({}|{exchange}|{own})$", escaped(DEFAULT_EXCHANGE)),
            read: format!("^({exchange}|{own})$"),
            exchange: broker.control_exchange.clone(),
            topic_write: format!("^{conductor}$"),
            topic_read: format!("^{topics}$"),
        }
    }
}

/// A regular expression that matches exactly this text.
fn escaped(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c) || !c.is_ascii();
    text.chars().map(|c| if plain(c) { c.to_string() } else { format!("\\{c}") }).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use trove_couchdb_config::{Override, Settings, Sources};

    use super::*;

    fn of(guest_id: &str, options: &str) -> Permissions {
        let set = |key, text: &str| Override { key, option: "test", text: text.to_owned() };
        let overrides = vec![
            set("guest.id", guest_id),
            set("broker.transport_url", &format!("rabbit://h/{options}")),
            set("broker.control_exchange", "trove.x"),
        ];
        let empty = tempfile::NamedTempFile::new().unwrap();
        let sources = Sources {
            config_file: Some(empty.path().to_owned()),
            oslo_files: vec![empty.path().to_owned()],
            oslo_dirs: vec![tempfile::tempdir().unwrap().keep()],
            overrides,
        };
        let settings = Settings::load(sources, []).unwrap();
        Permissions::of_guest(guest_id, settings.broker.as_ref().unwrap())
    }

    #[test]
    fn every_name_is_spelt_out() {
        let permissions = of("a-1", "");
        assert_eq!(permissions.configure, r"^guestagent\.a-1(\.a-1|_fanout(_[0-9a-f]{32})?)?$");
        assert_eq!(
            permissions.write,
            r"^(amq\.default|trove\.x|guestagent\.a-1(\.a-1|_fanout(_[0-9a-f]{32})?)?)$"
        );
        assert_eq!(permissions.read, r"^(trove\.x|guestagent\.a-1(\.a-1|_fanout(_[0-9a-f]{32})?)?)$");
        assert_eq!(permissions.topic_write, "^trove-conductor$");
        assert_eq!(permissions.topic_read, r"^guestagent\.a-1(\.a-1)?$");
    }

    #[test]
    fn an_id_is_no_pattern() {
        assert_eq!(of("a.b", "").topic_read, r"^guestagent\.a\.b(\.a\.b)?$");
        assert_eq!(escaped("{username}|(x)"), r"\{username\}\|\(x\)");
    }

    #[test]
    fn with_streams_there_is_no_fanout() {
        assert!(!of("a", "?rabbit_stream_fanout=true").configure.contains("fanout"));
    }
}

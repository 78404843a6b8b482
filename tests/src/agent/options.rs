//! The configuration of an agent under test, written as the files that Trove and an operator write.
//!
//! Callers: tests build an [`AgentOptions`]; [`super::AgentProcess`] writes and passes it. All tests of a
//! binary share one broker, so each test has its own guest id, exchange and conductor queue.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result};
use toml::{Table, Value};

/// The agent's environment and settings.
#[derive(Debug, Clone)]
pub struct AgentOptions {
    /// `guest_id` of `guest_info.conf`.
    pub guest_id: String,
    /// `transport_url` of `trove-guestagent.conf`.
    pub transport_url: String,
    /// `control_exchange` of `trove-guestagent.conf`.
    pub control_exchange: String,
    /// `conductor_queue` of `trove-guestagent.conf`.
    pub conductor_queue: String,
    /// `instance_rpc_encr_key` of `guest_info.conf`.
    pub encryption_key: Option<String>,
    /// `NAME=VALUE` lines of `[oslo_messaging_rabbit]`.
    pub oslo: Vec<String>,
    /// `section.key` and value of `agent.toml`; later entries override earlier ones.
    pub settings: Vec<(String, Value)>,
    /// The environment besides `PATH`, `HOME` and `NOTIFY_SOCKET`.
    pub environment: Vec<(String, String)>,
    /// Command-line arguments after those that name the configuration files.
    pub arguments: Vec<String>,
    /// The user to run as, if not the current one; requires root.
    pub user: Option<u32>,
    /// A program with arguments that executes the agent instead of a direct start. It must switch to `user`
    /// itself.
    pub through: Vec<String>,
}

/// The transport URL of an agent without a broker.
const NO_BROKER: &str = "local:";

impl AgentOptions {
    /// A prepared guest with its own names on this broker and CouchDB, without encryption.
    pub fn new(guest_id: &str, transport_url: &str, couchdb_url: &str) -> Self {
        let options = Self {
            guest_id: guest_id.to_owned(),
            transport_url: transport_url.to_owned(),
            control_exchange: format!("exchange-{guest_id}"),
            conductor_queue: format!("conductor-{guest_id}"),
            encryption_key: None,
            oslo: Vec::new(),
            settings: Vec::new(),
            environment: Vec::new(),
            arguments: Vec::new(),
            user: None,
            through: Vec::new(),
        };
        options
            .set("couchdb.url", couchdb_url)
            .set("heartbeat.assume_prepared", true)
            .set("log.filter", "trace")
    }

    /// An agent without a broker and without Trove's configuration files.
    pub fn without_broker(couchdb_url: &str) -> Self {
        Self::new("", NO_BROKER, couchdb_url).set("broker.transport_url", NO_BROKER)
    }

    /// Adds a setting of `agent.toml`, e.g. `set("heartbeat.interval", 1)`.
    #[must_use]
    pub fn set(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.settings.push((name.to_owned(), value.into()));
        self
    }

    /// Encrypts RPC with this `instance_rpc_encr_key`.
    #[must_use]
    pub fn encrypted(mut self, key: &str) -> Self {
        self.encryption_key = Some(key.to_owned());
        self
    }

    /// Sets the server admin that a CouchDB 3.x is bootstrapped with.
    #[must_use]
    pub fn bootstrap_admin(self, name: &str, password: &str) -> Self {
        self.set("couchdb.bootstrap_admin", name).set("couchdb.bootstrap_admin_password", password)
    }

    /// The `section.key` of `agent.toml`, if it is set to a string.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.settings.iter().rev().find(|(set, _)| set == name)?.1.as_str()
    }

    /// Writes `conf.d/` and `agent.toml` below `directory`, replacing those of an earlier run.
    pub(super) fn write(&self, directory: &Path) -> Result<()> {
        let conf_d = directory.join("conf.d");
        std::fs::create_dir_all(&conf_d).context("cannot create conf.d")?;
        if self.transport_url != NO_BROKER {
            std::fs::write(conf_d.join("guest_info.conf"), self.guest_info())?;
            std::fs::write(conf_d.join("trove-guestagent.conf"), self.trove_guestagent())?;
        }
        let file = directory.join("agent.toml");
        write_private(&file, &toml::to_string(&self.agent_toml(directory))?)
    }

    /// As Trove's taskmanager writes it (PROTOCOL.md section 7). The agent must ignore the manager named
    /// here.
    fn guest_info(&self) -> String {
        let key = self.encryption_key.iter().map(|key| format!("instance_rpc_encr_key={key}\n"));
        let mut text = format!(
            "[DEFAULT]\nguest_id={}\ndatastore_manager=postgresql\ndatastore_version=3.5\ntenant_id=test-tenant\n\
             ssl_mode=None\nnetwork_isolation=True\n",
            self.guest_id
        );
        text.extend(key);
        text
    }

    fn trove_guestagent(&self) -> String {
        format!(
            "[DEFAULT]\ntransport_url = {}\ncontrol_exchange = {}\nconductor_queue = {}\n\n\
             [oslo_messaging_rabbit]\n{}\n",
            self.transport_url,
            self.control_exchange,
            self.conductor_queue,
            self.oslo.join("\n")
        )
    }

    /// Paths point into `directory`, so that no test touches `/var/lib` or a real home.
    fn agent_toml(&self, directory: &Path) -> Table {
        let path = |name: &str| Value::from(directory.join(name).to_string_lossy().into_owned());
        let mut table = Table::new();
        let own = [
            ("guest.state_dir", path("state")),
            ("local.socket", path(super::SOCKET)),
            ("couchdb.credentials_file", path(super::CREDENTIALS)),
            ("couchdb.data_dir", path("")),
        ];
        let given = self.settings.iter().map(|(name, value)| (name.as_str(), value.clone()));
        for (name, value) in own.into_iter().chain(given) {
            let (section, key) = name.split_once('.').unwrap_or(("", name));
            let section = table.entry(section).or_insert_with(|| Value::Table(Table::new()));
            if let Value::Table(section) = section {
                section.insert(key.to_owned(), value);
            }
        }
        table
    }
}

/// Writes a file that only its owner may read.
pub fn write_private(path: &Path, content: &str) -> Result<()> {
    std::fs::write(path, content).with_context(|| format!("cannot write {}", path.display()))?;
    std::fs::set_permissions(path, Permissions::from_mode(0o600))
        .with_context(|| format!("cannot protect {}", path.display()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn the_last_setting_wins_and_sections_are_tables() {
        let options = AgentOptions::new("g", "rabbit://h//", "http://127.0.0.1:1")
            .set("heartbeat.interval", 30)
            .set("heartbeat.interval", 1);
        let table = options.agent_toml(Path::new("/d"));
        assert_eq!(table["heartbeat"]["interval"].as_integer(), Some(1));
        assert_eq!(table["guest"]["state_dir"].as_str(), Some("/d/state"));
    }

    #[test]
    fn the_key_is_written_only_when_there_is_one() {
        let clear = AgentOptions::new("g", "rabbit://h//", "http://127.0.0.1:1");
        assert!(!clear.guest_info().contains("encr_key"));
        assert!(clear.encrypted("K").guest_info().ends_with("instance_rpc_encr_key=K\n"));
    }

    #[test]
    fn the_file_with_secrets_is_for_its_owner_only() {
        let directory = tempfile::tempdir().unwrap();
        AgentOptions::new("g", "rabbit://h//", "http://127.0.0.1:1").write(directory.path()).unwrap();
        let mode = std::fs::metadata(directory.path().join("agent.toml")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}

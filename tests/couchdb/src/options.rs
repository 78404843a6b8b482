//! The options of a node, and the reasons why it may refuse to start.
//!
//! The defaults suit a fast test; only `iterations: None` and the default delays are those of a real server
//! or shorter.

use std::path::PathBuf;
use std::time::Duration;

use crate::personality::Version;

/// The options of a node.
#[derive(Clone)]
pub struct Options {
    /// The release line; 3.5 by default.
    pub version: Version,
    /// A server admin: name, and password or hash; without one, 3.x refuses to start unless `ini_dir` has
    /// one.
    pub admin: Option<(String, String)>,
    /// A `local.d` directory; its `*.ini` files are read in alphabetical order at every start.
    pub ini_dir: Option<PathBuf>,
    /// Configuration values before the first start: section, key, value.
    pub config: Vec<(String, String, String)>,
    /// A file for the node's state, written at each change and read at the start; without it a killed node
    /// loses everything. With an `ini_dir`, values set over HTTP go to its last file, as with a real CouchDB.
    pub keep: Option<PathBuf>,
    /// TCP port on 127.0.0.1; 0 takes a free one and keeps it over restarts.
    pub port: u16,
    /// PBKDF2 rounds for plain passwords; `None` is the version's default (600,000 from 3.4 on, 10 before).
    pub iterations: Option<u32>,
    /// How long a plain admin password stays readable and cannot log in after the PUT; 150 ms by default.
    pub admin_hash_delay: Duration,
    /// How long a `_users` that was created on a running node has no `_design/_auth`; 300 ms by default, 5 s
    /// on a real server.
    pub settle_after: Duration,
    /// Whether to serve `/_fault`, so that other processes can inject faults and read the request log.
    pub fault_routes: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            version: Version::default(),
            admin: None,
            ini_dir: None,
            config: Vec::new(),
            keep: None,
            port: 0,
            iterations: None,
            admin_hash_delay: Duration::from_millis(150),
            settle_after: Duration::from_millis(300),
            fault_routes: false,
        }
    }
}

impl Options {
    /// The default options of this version.
    #[must_use]
    pub fn new(version: Version) -> Self {
        Self { version, ..Self::default() }
    }

    /// Adds the server admin that a 3.x requires; `secret` is a plain password or a hash.
    #[must_use]
    pub fn admin(mut self, name: &str, secret: &str) -> Self {
        self.admin = Some((name.to_owned(), secret.to_owned()));
        self
    }

    /// Sets a configuration value, like an ini file.
    #[must_use]
    pub fn set(mut self, section: &str, key: &str, value: &str) -> Self {
        self.config.push((section.to_owned(), key.to_owned(), value.to_owned()));
        self
    }
}

impl std::fmt::Debug for Options {
    /// Written by hand to keep the admin's secret and configured secrets out of logs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options")
            .field("version", &self.version)
            .field("admin", &self.admin.as_ref().map(|(name, _)| name))
            .field("ini_dir", &self.ini_dir)
            .field("port", &self.port)
            .field("iterations", &self.iterations)
            .finish_non_exhaustive()
    }
}

/// Why a node did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The message of a 3.x that exits because its ini files have no `[admins]`.
    #[error(
        "No Admin Account Found, aborting startup: add one under [admins] in an ini file, or pass an admin"
    )]
    NoAdmin,
    /// An ini file or its directory cannot be read.
    #[error("can't read {path}: {source}")]
    Ini {
        /// The file or directory.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// The file of [`Options::keep`] cannot be read or written, or has an invalid content.
    #[error("what is to be kept: {source}")]
    NotRestored {
        /// The error.
        source: std::io::Error,
    },
    /// The port is in use, usually by a real CouchDB.
    #[error("can't listen on 127.0.0.1:{port}: {source}")]
    Bind {
        /// The requested port.
        port: u16,
        /// The system's error.
        source: std::io::Error,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_hides_the_secret() {
        let options = Options::default().admin("boss", "s3cret").set("chttpd_auth", "secret", "k3y");
        let shown = format!("{options:?}");
        assert!(shown.contains("boss"));
        assert!(!shown.contains("s3cret") && !shown.contains("k3y"));
    }
}

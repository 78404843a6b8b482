//! What bootstrap remembers between two steps. It is dropped when bootstrap starts over.

use std::{sync::Arc, time::Duration};

use trove_couchdb_guest::credentials::Credentials;
use trove_couchdb_protocol::Secret;

use super::state::{BootstrapAdmin, BootstrapStep, Ini};
use crate::couch::{CouchError, Login};

/// What the agent has learned since it, or the server, started.
#[derive(Debug, Default)]
pub(super) struct Observations {
    pub(super) credentials: Option<Credentials>,
    pub(super) login: Option<Arc<Login>>,
    pub(super) tried: Option<bool>,
    pub(super) again: Option<Duration>,
    pub(super) last_step: Option<BootstrapStep>,
    pub(super) bootstrap_admin: Option<BootstrapAdmin>,
    pub(super) down: Option<CouchError>,
    /// The agent wrote the credentials file, and no server has accepted the password yet.
    pub(super) file_is_new: bool,
    /// CouchDB was down while the ini file held the password's hash.
    pub(super) started_with_ini: bool,
}

impl Observations {
    /// Records CouchDB's verdict on the file's password, and how long to wait before the next try.
    pub(super) fn tried(&mut self, login: Option<Arc<Login>>, again: Option<Duration>) {
        self.tried = Some(login.is_some());
        self.file_is_new &= login.is_none();
        (self.login, self.again) = (login, again);
    }

    /// Whether the step differs from the last one and is worth logging.
    pub(super) fn is_new(&mut self, step: BootstrapStep) -> bool {
        step != BootstrapStep::AwaitServer && self.last_step.replace(step) != Some(step)
    }

    /// How long to wait before trying the password again.
    pub(super) fn again(&self) -> Option<Duration> {
        self.again
    }

    /// Records the content of the credentials file after the agent changed it.
    pub(super) fn hold(&mut self, credentials: Credentials) {
        self.credentials = Some(credentials);
    }

    /// The login that CouchDB accepted.
    pub(super) fn login(&self) -> Option<Arc<Login>> {
        self.login.clone()
    }

    /// Forgets the login, because a server that comes back may have a different configuration.
    pub(super) fn server_was_away(&mut self) {
        (self.tried, self.login, self.bootstrap_admin) = (None, None, None);
    }

    /// CouchDB reads the ini file when it starts.
    pub(super) fn server_is_down(&mut self, ini: Ini) {
        self.server_was_away();
        self.started_with_ini = ini == Ini::Installed;
    }

    /// Records a new password and its login.
    pub(super) fn rotated(&mut self, credentials: Credentials, login: Arc<Login>) {
        (self.credentials, self.login) = (Some(credentials), Some(login));
    }

    /// The content of the credentials file.
    pub(super) fn credentials(&self) -> Option<&Credentials> {
        self.credentials.as_ref()
    }

    pub(super) fn password(&self) -> Option<&Secret> {
        self.credentials.as_ref().map(|credentials| &credentials.password)
    }

    /// Why CouchDB is unreachable.
    pub(super) fn why_down(&self) -> CouchError {
        self.down.clone().unwrap_or(CouchError::NotBootstrapped("CouchDB is down".to_owned()))
    }
}

/// Which password the server accepts after a failed rotation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holds {
    /// The old one: nothing was sent.
    Old,
    /// Either one.
    Unknown,
}

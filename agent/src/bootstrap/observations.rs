//! What is known between two steps, and is forgotten when everything is to be looked at anew.

use std::{sync::Arc, time::Duration};

use trove_couchdb_guest::credentials::Credentials;
use trove_couchdb_protocol::Secret;

use super::state::{BootstrapAdmin, BootstrapStep, Ini};
use crate::couch::{CouchError, Login};

/// What one life of the agent, or of the server, has learned.
#[derive(Debug, Default)]
pub(super) struct Observations {
    pub(super) credentials: Option<Credentials>,
    pub(super) login: Option<Arc<Login>>,
    pub(super) tried: Option<bool>,
    pub(super) again: Option<Duration>,
    pub(super) last_step: Option<BootstrapStep>,
    pub(super) bootstrap_admin: Option<BootstrapAdmin>,
    pub(super) down: Option<CouchError>,
    /// The credentials file was written, and no server has shown that it knows the password.
    pub(super) file_is_new: bool,
    /// CouchDB was down while the ini file held the password's hash.
    pub(super) started_with_ini: bool,
}

impl Observations {
    /// What CouchDB said to the password of the file; the agent waits so long until it asks again.
    pub(super) fn tried(&mut self, login: Option<Arc<Login>>, again: Option<Duration>) {
        self.tried = Some(login.is_some());
        self.file_is_new &= login.is_none();
        (self.login, self.again) = (login, again);
    }

    /// Whether the step differs from the last one, and so is worth a line.
    pub(super) fn is_new(&mut self, step: BootstrapStep) -> bool {
        step != BootstrapStep::AwaitServer && self.last_step.replace(step) != Some(step)
    }

    /// How long CouchDB shall not be asked again.
    pub(super) fn again(&self) -> Option<Duration> {
        self.again
    }

    /// Which passwords the file holds, after the agent changed it.
    pub(super) fn hold(&mut self, credentials: Credentials) {
        self.credentials = Some(credentials);
    }

    /// The login that was accepted.
    pub(super) fn login(&self) -> Option<Arc<Login>> {
        self.login.clone()
    }

    /// A server that comes back may have another configuration.
    pub(super) fn server_was_away(&mut self) {
        (self.tried, self.login, self.bootstrap_admin) = (None, None, None);
    }

    /// When the server comes back it has read the ini file.
    pub(super) fn server_is_down(&mut self, ini: Ini) {
        self.server_was_away();
        self.started_with_ini = ini == Ini::Installed;
    }

    /// Another password was set, and logs in.
    pub(super) fn rotated(&mut self, credentials: Credentials, login: Arc<Login>) {
        (self.credentials, self.login) = (Some(credentials), Some(login));
    }

    /// What the credentials file holds.
    pub(super) fn credentials(&self) -> Option<&Credentials> {
        self.credentials.as_ref()
    }

    pub(super) fn password(&self) -> Option<&Secret> {
        self.credentials.as_ref().map(|credentials| &credentials.password)
    }

    /// Why the server did not answer.
    pub(super) fn why_down(&self) -> CouchError {
        self.down.clone().unwrap_or(CouchError::NotBootstrapped("CouchDB is down".to_owned()))
    }
}

/// Which password the server takes after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holds {
    /// Nothing was sent.
    Old,
    /// The server may know either.
    Unknown,
}

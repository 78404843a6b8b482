//! What a file says there should be.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use trove_couchdb_protocol::{DatabaseName, UserName};

/// Which databases a user has access to.
pub type Access = BTreeSet<DatabaseName>;

/// The state that a file describes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// The databases.
    pub databases: BTreeSet<DatabaseName>,
    /// The users.
    pub users: BTreeMap<UserName, WantedUser>,
}

/// A user that a file describes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WantedUser {
    /// Its access.
    pub databases: Access,
    /// Where its password comes from when one is set.
    pub password: Option<PasswordSource>,
    /// Whether it gets that password also if it is there already.
    pub rotate_password: bool,
}

/// Where a password comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PasswordSource {
    /// The first line of a file.
    File(PathBuf),
    /// A variable of the environment.
    Environment(String),
    /// Generated and shown once.
    Generated,
}

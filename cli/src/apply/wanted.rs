//! The state that a file describes.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use trove_couchdb_protocol::{DatabaseName, UserName};

/// The databases that a user can access.
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
    /// The source of its password, for when it is set.
    pub password: Option<PasswordSource>,
    /// Whether to set the password also if the user already exists.
    pub rotate_password: bool,
}

/// The source of a password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PasswordSource {
    /// The first line of a file.
    File(PathBuf),
    /// An environment variable.
    Environment(String),
    /// Generated and shown once.
    Generated,
}

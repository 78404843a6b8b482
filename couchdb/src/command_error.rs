//! Why a command failed, worded for its sender.

use trove_couchdb_protocol::{DatabaseName, UserName};

use crate::{
    accounts::progress::Progress,
    permissions::security::Malformed,
    reply::error::CouchError,
    server::{cause::Cause, disk::LowDisk},
};

/// The reason returned to the caller. It never contains a secret: failures travel in clear even when the
/// payload is encrypted.
///
/// Names are formatted with their own `{:?}`, never with `as_str()`. Names that arrived encrypted are not
/// shown, because an attacker may have put a recorded password in the place of a name. Exception: the error
/// itself says that the name exists (`known`).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// The account is reserved for the service.
    #[error("user {:?} is reserved; choose another name", .0.known())]
    ReservedUser(UserName),
    /// The database is reserved for the service.
    #[error("database {:?} is reserved; choose another name", .0.known())]
    ReservedDatabase(DatabaseName),
    /// CouchDB uses the administrator's password and ignores a user document of that name.
    #[error("{:?} is the name of a server administrator; choose another name", .0.known())]
    AdminName(UserName),
    /// The user does not exist. Nothing was changed.
    #[error("user {0:?} does not exist; create it first")]
    NoSuchUser(UserName),
    /// The database does not exist. Nothing was changed.
    #[error("database {0:?} does not exist; create it first")]
    NoSuchDatabase(DatabaseName),
    /// The name is taken. Nothing was changed.
    #[error("user {:?} already exists; change its password or delete it first", .0.known())]
    UserExists(UserName),
    /// One command names the same user twice.
    #[error("user {0:?} is named twice in one command")]
    UserTwice(UserName),
    /// The password is empty. Nothing was changed.
    #[error("user {0:?} needs a password that is not empty")]
    PasswordMissing(UserName),
    /// Root can't log in with an empty password.
    #[error("root needs a password that is not empty")]
    RootPasswordEmpty,
    /// `root` is the last server administrator.
    #[error("root is the last server administrator; without it CouchDB would let everybody in as one")]
    LastAdmin,
    /// `_security` is malformed.
    #[error("database {database:?}: {source}")]
    Security {
        /// The database as CouchDB lists it.
        database: String,
        /// The problem.
        source: Malformed,
    },
    /// CouchDB rejected one document of several.
    #[error("CouchDB did not take user {user:?}: {}", .user.kept_back_in(reason))]
    UserRejected {
        /// The user.
        user: UserName,
        /// CouchDB's reason.
        reason: String,
    },
    /// CouchDB rejected the password. Nothing was changed.
    #[error("CouchDB did not take the password of root: {0}")]
    RootPasswordRejected(String),
    /// CouchDB looks for users outside `_users`. Nothing was changed.
    #[error(
        "CouchDB looks for users in database {database:?} (authentication_db of [{section}]), and the agent keeps them in \
         _users: remove that setting"
    )]
    UsersElsewhere {
        /// The configured database.
        database: String,
        /// The configuration section that sets it.
        section: &'static str,
    },
    /// The document is correct, but CouchDB refuses the login.
    #[error(
        "CouchDB refuses the login of user {:?} with the password that was just set ({reason}): check the settings of \
         [chttpd] and [chttpd_auth]", .user.known()
    )]
    LoginRefused {
        /// The user.
        user: UserName,
        /// The server's reason, if it gave one.
        reason: String,
    },
    /// The user's document has conflicting revisions. Nothing was changed.
    #[error(
        "the document of user {:?} has {revisions} conflicting revision(s) that differ in more than the password, and \
         CouchDB refuses every login with it: delete all revisions but one in _users, then try again", .user.known()
    )]
    UserConflicts {
        /// The user.
        user: UserName,
        /// The number of revisions in addition to the one that is read.
        revisions: usize,
    },
    /// A different `create_user` was interrupted.
    #[error(
        "user {:?} already exists: it is half made by a create_user with {databases} database(s) that was cut short; send \
         that command again to finish it, or delete the user", .user.known()
    )]
    HalfMade {
        /// The user.
        user: UserName,
        /// The number of databases in that command.
        databases: usize,
    },
    /// A rename was interrupted. Nothing was changed.
    #[error(
        "the rename of user {:?} to {:?} was cut short, and both exist: send that command again to finish it", .from.known(),
        .to.known()
    )]
    HalfRenamed {
        /// The old name.
        from: UserName,
        /// The new name.
        to: UserName,
    },
    /// The agent can't copy attachments. Nothing was changed.
    #[error(
        "the document of user {:?} has attachments, which would be lost; remove them, or create another user", .0.known()
    )]
    HasAttachments(UserName),
    /// `couch_peruser` would handle the rename as a deletion. Nothing was changed.
    #[error(
        "CouchDB would delete the database that it made for user {:?} (couch_peruser), with all documents; set delete_dbs \
         of [couch_peruser] to false first", .0.known()
    )]
    HasOwnDatabase(UserName),
    /// CouchDB may lose the write again.
    #[error(
        "_security of database {database:?} was not written on a majority of its nodes (500: no_majority){}",
        because(.cause.as_deref())
    )]
    NoMajority {
        /// The database as CouchDB lists it.
        database: String,
        /// The cause and its remedy, if known.
        cause: Option<String>,
    },
    /// CouchDB failed, and its disk is full or nearly full.
    #[error("{error}; {disk}")]
    DiskFull {
        /// CouchDB's error.
        error: CouchError,
        /// The state of the disk.
        disk: LowDisk,
    },
    /// CouchDB failed, and the cause is known.
    #[error("{}; {cause}", .error.without_advice())]
    Caused {
        /// CouchDB's error.
        error: CouchError,
        /// The cause and its remedy.
        cause: Box<Cause>,
    },
    /// A new user would inherit the access of an earlier user of the same name. Nothing was changed.
    #[error(
        "user {user:?} can't be created yet: an older user of that name may still have access to database {database:?}, which \
         can't be edited now ({reason}); repair that database or delete it, or choose another name"
    )]
    LeftBehind {
        /// The name.
        user: String,
        /// The database as CouchDB lists it.
        database: String,
        /// Why it can't be edited.
        reason: String,
    },
    /// Without this record, the command would stay half done if the agent were killed.
    #[error("the agent can't write down in its state directory what is still to be done: {0}")]
    Unrecorded(String),
    /// CouchDB acknowledged the write, but the change was gone when it was read back.
    #[error("the change to {0} was overwritten by another writer again and again")]
    Overwritten(String),
    /// The agent is stopping.
    #[error("the agent is stopping; send the command again")]
    Stopping,
    /// The state of the file system is unknown.
    #[error("the file system of {path:?} can't be read: {reason}")]
    Filesystem {
        /// The path of the query.
        path: String,
        /// The system's error message.
        reason: String,
    },
    /// An error of CouchDB or of the connection to it.
    #[error(transparent)]
    Couch(#[from] CouchError),
    /// A part of the command was done before the error.
    #[error(transparent)]
    Unfinished(Box<CommandError>),
    /// A part of the command was done, and the agent knows which.
    #[error("{cause}; {progress}")]
    HalfDone {
        /// Why the command stopped.
        cause: Box<CommandError>,
        /// What was done.
        progress: Progress,
    },
}

fn because(cause: Option<&str>) -> String {
    cause.map(|cause| format!(": {cause}")).unwrap_or_default()
}

impl CommandError {
    /// Whether the command was refused without a request to CouchDB.
    pub fn is_refusal(&self) -> bool {
        matches!(
            self,
            Self::ReservedUser(_)
                | Self::ReservedDatabase(_)
                | Self::UserTwice(_)
                | Self::PasswordMissing(_)
                | Self::RootPasswordEmpty
        )
    }

    /// Whether the same command may succeed later.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Couch(error) => error.is_transient(),
            Self::DiskFull { error, disk } => error.is_transient() && !disk.is_full(),
            Self::Caused { error, cause } => error.is_transient() && cause.may_end(),
            Self::Overwritten(_) | Self::NoMajority { .. } => true,
            Self::Unfinished(error) => error.is_transient(),
            Self::HalfDone { cause, .. } => cause.is_transient(),
            _ => false,
        }
    }

    /// Whether CouchDB is down or not ready for the agent, rather than running and failing.
    pub fn is_outage(&self) -> bool {
        match self {
            Self::Couch(error) => error.is_outage(),
            Self::Unfinished(error) => error.is_outage(),
            Self::HalfDone { cause, .. } => cause.is_outage(),
            _ => false,
        }
    }

    /// Whether the failed command may have taken effect in full or in part. If so, another try is a second
    /// run.
    pub fn may_have_taken_effect(&self) -> bool {
        match self {
            Self::Couch(error) | Self::DiskFull { error, .. } | Self::Caused { error, .. } => {
                error.may_have_taken_effect()
            }
            Self::Unfinished(_)
            | Self::HalfDone { .. }
            | Self::Overwritten(_)
            | Self::NoMajority { .. }
            | Self::UserRejected { .. }
            | Self::LoginRefused { .. }
            | Self::Stopping => true,
            _ => false,
        }
    }

    /// The progress of the command, if known.
    pub fn progress(&self) -> Option<&Progress> {
        match self {
            Self::HalfDone { progress, .. } => Some(progress),
            _ => None,
        }
    }

    /// Adds the progress of the command to the error.
    #[must_use]
    pub fn half_done(self, progress: Progress) -> Self {
        match self {
            Self::HalfDone { cause, progress: known } => {
                Self::HalfDone { cause, progress: known.max(Some(progress)) }
            }
            error => Self::HalfDone { cause: Box::new(error), progress },
        }
    }

    /// The same error, after a part of the command was done.
    pub(crate) fn after_a_part(self) -> Self {
        match self {
            Self::Unfinished(_) | Self::HalfDone { .. } => self,
            error => Self::Unfinished(Box::new(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_halfway_keeps_its_words_and_is_no_first_run_any_more() {
        let nothing_sent = CommandError::from(CouchError::Unreachable {
            origin: "http://h".into(),
            reason: "refused".into(),
        });
        assert!(nothing_sent.is_transient() && !nothing_sent.may_have_taken_effect());
        let halfway = nothing_sent.clone().after_a_part().after_a_part();
        assert!(halfway.is_transient() && halfway.is_outage() && halfway.may_have_taken_effect());
        assert_eq!(halfway.to_string(), nothing_sent.to_string());
        assert!(
            CommandError::from(CouchError::Server { status: 500, reason: "x".into() })
                .may_have_taken_effect()
        );
        assert!(!CommandError::from(CouchError::Exists).may_have_taken_effect());
    }
}

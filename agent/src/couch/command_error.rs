//! Why a command was not carried out, in words for the person who sent it.

use trove_couchdb_protocol::{DatabaseName, FailureClass, UserName};

use super::{error::CouchError, security::Malformed};

/// The reason that goes back to the caller. Never holds a secret: failures travel in clear even when the
/// payload is encrypted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// The account belongs to the service.
    #[error("user {:?} is reserved; choose another name", .0.as_str())]
    ReservedUser(UserName),
    /// The database belongs to the service.
    #[error("database {:?} is reserved; choose another name", .0.as_str())]
    ReservedDatabase(DatabaseName),
    /// The password of a server administrator counts, whatever a user document of that name says.
    #[error("{:?} is the name of a server administrator; choose another name", .0.as_str())]
    AdminName(UserName),
    /// Nothing was changed.
    #[error("user {:?} does not exist; create it first", .0.as_str())]
    NoSuchUser(UserName),
    /// Nothing was changed.
    #[error("database {:?} does not exist; create it first", .0.as_str())]
    NoSuchDatabase(DatabaseName),
    /// Nothing was changed.
    #[error("user {:?} already exists; change its password or delete it first", .0.as_str())]
    UserExists(UserName),
    /// The same user twice in one command.
    #[error("user {:?} is named twice in one command", .0.as_str())]
    UserTwice(UserName),
    /// Nothing was changed.
    #[error("user {:?} needs a password that is not empty", .0.as_str())]
    PasswordMissing(UserName),
    /// Root can't log in without one.
    #[error("root needs a password that is not empty")]
    RootPasswordEmpty,
    /// `root` is the last server administrator.
    #[error("root is the last server administrator; without it CouchDB would let everybody in as one")]
    LastAdmin,
    /// Somebody wrote an odd `_security`.
    #[error("database {database:?}: {source}")]
    Security {
        /// The database as CouchDB lists it.
        database: String,
        /// What was odd.
        source: Malformed,
    },
    /// CouchDB refused one document of several.
    #[error("CouchDB did not take user {:?}: {reason}", .user.as_str())]
    UserRejected {
        /// The user.
        user: UserName,
        /// CouchDB's own words.
        reason: String,
    },
    /// The agent knows no way to take them along. Nothing was changed.
    #[error(
        "the document of user {:?} has attachments, which would be lost; remove them, or create another user", .0.as_str()
    )]
    HasAttachments(UserName),
    /// `couch_peruser` would see a deletion. Nothing was changed.
    #[error(
        "CouchDB would delete the database that it made for user {:?} (couch_peruser), with all documents; set delete_dbs \
         of [couch_peruser] to false first", .0.as_str()
    )]
    HasOwnDatabase(UserName),
    /// The write was answered and then not there.
    #[error("the change to {0} was overwritten by somebody else again and again")]
    Overwritten(String),
    /// The agent is stopping.
    #[error("the agent is stopping; send the command again")]
    Stopping,
    /// The disk did not say.
    #[error("the file system of {path:?} can't be read: {reason}")]
    Filesystem {
        /// The path that was asked for.
        path: String,
        /// The system's own words.
        reason: String,
    },
    /// CouchDB itself.
    #[error(transparent)]
    Couch(#[from] CouchError),
    /// A part of the command was done before.
    #[error(transparent)]
    Unfinished(Box<CommandError>),
}

impl CommandError {
    /// What kind of failure the caller gets.
    pub fn class(&self) -> FailureClass {
        match self {
            Self::ReservedUser(_) | Self::ReservedDatabase(_) | Self::AdminName(_) => {
                FailureClass::ReservedName
            }
            Self::NoSuchUser(_) => FailureClass::UserNotFound,
            Self::NoSuchDatabase(_) => FailureClass::DatabaseNotFound,
            Self::UserExists(_) => FailureClass::UserAlreadyExists,
            Self::UserTwice(_) | Self::PasswordMissing(_) | Self::RootPasswordEmpty => {
                FailureClass::BadRequest
            }
            Self::LastAdmin => FailureClass::LastAdmin,
            Self::Security { .. } => FailureClass::MalformedSecurity,
            Self::UserRejected { .. } | Self::HasAttachments(_) | Self::HasOwnDatabase(_) => {
                FailureClass::UserRejected
            }
            Self::Overwritten(_) => FailureClass::Overwritten,
            Self::Stopping => FailureClass::Stopping,
            Self::Filesystem { .. } => FailureClass::FilesystemError,
            Self::Couch(_) => FailureClass::CouchDbError,
            Self::Unfinished(error) => error.class(),
        }
    }

    /// Whether the command itself was refused before anything was asked of CouchDB.
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

    /// Whether the same command may succeed a little later.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Couch(error) => error.is_transient(),
            Self::Overwritten(_) => true,
            Self::Unfinished(error) => error.is_transient(),
            _ => false,
        }
    }

    /// Whether CouchDB is away, or not ready for the agent yet, rather than there and failing.
    pub fn is_outage(&self) -> bool {
        match self {
            Self::Couch(error) => error.is_outage(),
            Self::Unfinished(error) => error.is_outage(),
            _ => false,
        }
    }

    /// Whether the command, or a part of it, may stand although it failed: another try is then a second run.
    pub fn may_have_taken_effect(&self) -> bool {
        match self {
            Self::Couch(error) => error.may_have_taken_effect(),
            Self::Unfinished(_) | Self::Overwritten(_) | Self::UserRejected { .. } | Self::Stopping => true,
            _ => false,
        }
    }

    /// The same error, after a part of the command was done.
    pub(super) fn after_a_part(self) -> Self {
        match self {
            Self::Unfinished(_) => self,
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
        assert_eq!(
            (halfway.to_string(), halfway.class()),
            (nothing_sent.to_string(), FailureClass::CouchDbError)
        );
        assert!(
            CommandError::from(CouchError::Server { status: 500, reason: "x".into() })
                .may_have_taken_effect()
        );
        assert!(!CommandError::from(CouchError::Exists).may_have_taken_effect());
    }
}

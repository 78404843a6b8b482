//! Why a command was not carried out, in words for the person who sent it.

use trove_couchdb_protocol::{DatabaseName, UserName};

use crate::{
    accounts::progress::Progress, permissions::security::Malformed, reply::error::CouchError,
    server::disk::LowDisk,
};

/// The reason that goes back to the caller. Never holds a secret: failures travel in clear even when the
/// payload is encrypted.
///
/// Names are shown by their own `{:?}`, never by `as_str()`: what arrived encrypted is kept back, as it may be a recorded
/// password in the place of a name, unless the error itself says that the name is that of something that exists (`known`).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// The account belongs to the service.
    #[error("user {:?} is reserved; choose another name", .0.known())]
    ReservedUser(UserName),
    /// The database belongs to the service.
    #[error("database {:?} is reserved; choose another name", .0.known())]
    ReservedDatabase(DatabaseName),
    /// The password of a server administrator counts, whatever a user document of that name says.
    #[error("{:?} is the name of a server administrator; choose another name", .0.known())]
    AdminName(UserName),
    /// Nothing was changed.
    #[error("user {0:?} does not exist; create it first")]
    NoSuchUser(UserName),
    /// Nothing was changed.
    #[error("database {0:?} does not exist; create it first")]
    NoSuchDatabase(DatabaseName),
    /// Nothing was changed.
    #[error("user {:?} already exists; change its password or delete it first", .0.known())]
    UserExists(UserName),
    /// The same user twice in one command.
    #[error("user {0:?} is named twice in one command")]
    UserTwice(UserName),
    /// Nothing was changed.
    #[error("user {0:?} needs a password that is not empty")]
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
    #[error("CouchDB did not take user {user:?}: {}", .user.kept_back_in(reason))]
    UserRejected {
        /// The user.
        user: UserName,
        /// CouchDB's own words.
        reason: String,
    },
    /// Nothing was changed.
    #[error("CouchDB did not take the password of root: {0}")]
    RootPasswordRejected(String),
    /// Nothing was changed.
    #[error(
        "CouchDB looks for users in database {database:?} (authentication_db of [{section}]), and the agent keeps them in \
         _users: remove that setting"
    )]
    UsersElsewhere {
        /// Where it looks.
        database: String,
        /// Where that is set.
        section: &'static str,
    },
    /// The document is as it should be, and no help.
    #[error(
        "CouchDB refuses the login of user {:?} with the password that was just set ({reason}): check the settings of \
         [chttpd] and [chttpd_auth]", .user.known()
    )]
    LoginRefused {
        /// Who.
        user: UserName,
        /// In the server's words, if it gave any.
        reason: String,
    },
    /// Nothing was changed.
    #[error(
        "the document of user {:?} has {revisions} conflicting revision(s) that differ in more than the password, and \
         CouchDB lets nobody log in with it: delete all revisions but one in _users, then try again", .user.known()
    )]
    UserConflicts {
        /// Who.
        user: UserName,
        /// How many beside the one that is read.
        revisions: usize,
    },
    /// By another command than this one.
    #[error(
        "user {:?} already exists: it is half made by a create_user with {databases} database(s) that was cut short; send \
         that command again to finish it, or delete the user", .user.known()
    )]
    HalfMade {
        /// Who.
        user: UserName,
        /// How many databases it was to use.
        databases: usize,
    },
    /// Nothing was changed.
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
    /// The agent knows no way to take them along. Nothing was changed.
    #[error(
        "the document of user {:?} has attachments, which would be lost; remove them, or create another user", .0.known()
    )]
    HasAttachments(UserName),
    /// `couch_peruser` would see a deletion. Nothing was changed.
    #[error(
        "CouchDB would delete the database that it made for user {:?} (couch_peruser), with all documents; set delete_dbs \
         of [couch_peruser] to false first", .0.known()
    )]
    HasOwnDatabase(UserName),
    /// Where a write went it may be lost again.
    #[error(
        "_security of database {database:?} was not written on a majority of its nodes (500: no_majority){}",
        because(.cause.as_deref())
    )]
    NoMajority {
        /// The database as CouchDB lists it.
        database: String,
        /// What was found out about it, and what to do, if anything.
        cause: Option<String>,
    },
    /// CouchDB failed, and its disk is full or nearly so.
    #[error("{error}; {disk}")]
    DiskFull {
        /// What CouchDB said.
        error: CouchError,
        /// What was seen.
        disk: LowDisk,
    },
    /// A new user would inherit what an older one of the same name had. Nothing was changed.
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
    /// Without the record a kill of the agent would leave the command half done for ever.
    #[error("the agent can't write down in its state directory what is still to be done: {0}")]
    Unrecorded(String),
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
    /// A part of the command stands, and it is known which.
    #[error("{cause}; {progress}")]
    HalfDone {
        /// Why it went no further.
        cause: Box<CommandError>,
        /// What is there.
        progress: Progress,
    },
}

fn because(cause: Option<&str>) -> String {
    cause.map(|cause| format!(": {cause}")).unwrap_or_default()
}

impl CommandError {
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
            Self::DiskFull { error, disk } => error.is_transient() && !disk.is_full(),
            Self::Overwritten(_) | Self::NoMajority { .. } => true,
            Self::Unfinished(error) => error.is_transient(),
            Self::HalfDone { cause, .. } => cause.is_transient(),
            _ => false,
        }
    }

    /// Whether CouchDB is away, or not ready for the agent yet, rather than there and failing.
    pub fn is_outage(&self) -> bool {
        match self {
            Self::Couch(error) => error.is_outage(),
            Self::Unfinished(error) => error.is_outage(),
            Self::HalfDone { cause, .. } => cause.is_outage(),
            _ => false,
        }
    }

    /// Whether the command, or a part of it, may stand although it failed: another try is then a second run.
    pub fn may_have_taken_effect(&self) -> bool {
        match self {
            Self::Couch(error) | Self::DiskFull { error, .. } => error.may_have_taken_effect(),
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

    /// What stands of the command, where that is known.
    pub fn progress(&self) -> Option<&Progress> {
        match self {
            Self::HalfDone { progress, .. } => Some(progress),
            _ => None,
        }
    }

    /// The same error, of a command of which so much stands.
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

//! The kinds of failure in the agent's replies, by their names on the wire.
//!
//! The names of Trove's own exceptions are used where one fits (trove/common/exception.py).
//! docs/advice.toml explains each class.

/// The kind of a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureClass {
    /// The answer exceeds the broker's size limit.
    AnswerTooLarge,
    /// The command contradicts itself.
    BadRequest,
    /// The command waited too long for its lock.
    Busy,
    /// An option of CouchDB's configuration is not set.
    ConfigurationRefused,
    /// CouchDB is unreachable or refused the request.
    CouchDbError,
    /// The database does not exist.
    DatabaseNotFound,
    /// The command was already run, and its answer is no longer known.
    Duplicate,
    /// The disk usage could not be read.
    FilesystemError,
    /// The sender is not permitted to do this.
    Forbidden,
    /// `trove-couchdb-hostd`, the privileged helper, refused or failed.
    HostdFailed,
    /// The agent panicked.
    InternalError,
    /// The local socket received data that is not a frame.
    InvalidFrame,
    /// The message cannot be read, or breaks a rule.
    InvalidRequest,
    /// CouchDB would have no administrator left.
    LastAdmin,
    /// A `_security` object of an unknown form.
    MalformedSecurity,
    /// oslo.messaging's class: no version of the guest API has the method.
    NoSuchMethod,
    /// Trove has the method, but this agent does not support it.
    NotSupported,
    /// An operator cancelled the operation.
    OperationCancelled,
    /// No operation has this id, or the operation is finished.
    OperationNotFound,
    /// Another client repeatedly overwrote the change.
    Overwritten,
    /// The guest could not be prepared.
    PrepareFailed,
    /// The message contains parts of an earlier message.
    Replayed,
    /// The name is reserved for the agent or CouchDB.
    ReservedName,
    /// The password of `os_admin` was not changed.
    RotationFailed,
    /// The agent is stopping.
    Stopping,
    /// The local socket has too many connections.
    TooManyConnections,
    /// oslo.messaging's class: the version is not supported.
    UnsupportedVersion,
    /// The user already exists.
    UserAlreadyExists,
    /// The user does not exist.
    UserNotFound,
    /// CouchDB refused this document but accepted others.
    UserRejected,
}

impl FailureClass {
    /// All classes.
    pub const ALL: [Self; 30] = [
        Self::AnswerTooLarge,
        Self::BadRequest,
        Self::Busy,
        Self::ConfigurationRefused,
        Self::CouchDbError,
        Self::DatabaseNotFound,
        Self::Duplicate,
        Self::FilesystemError,
        Self::Forbidden,
        Self::HostdFailed,
        Self::InternalError,
        Self::InvalidFrame,
        Self::InvalidRequest,
        Self::LastAdmin,
        Self::MalformedSecurity,
        Self::NoSuchMethod,
        Self::NotSupported,
        Self::OperationCancelled,
        Self::OperationNotFound,
        Self::Overwritten,
        Self::PrepareFailed,
        Self::Replayed,
        Self::ReservedName,
        Self::RotationFailed,
        Self::Stopping,
        Self::TooManyConnections,
        Self::UnsupportedVersion,
        Self::UserAlreadyExists,
        Self::UserNotFound,
        Self::UserRejected,
    ];

    /// The name of the class on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AnswerTooLarge => "AnswerTooLarge",
            Self::BadRequest => "BadRequest",
            Self::Busy => "Busy",
            Self::ConfigurationRefused => "ConfigurationRefused",
            Self::CouchDbError => "CouchDBError",
            Self::DatabaseNotFound => "DatabaseNotFound",
            Self::Duplicate => "Duplicate",
            Self::FilesystemError => "FilesystemError",
            Self::Forbidden => "Forbidden",
            Self::HostdFailed => "HostdFailed",
            Self::InternalError => "InternalError",
            Self::InvalidFrame => "InvalidFrame",
            Self::InvalidRequest => "InvalidRequest",
            Self::LastAdmin => "LastAdmin",
            Self::MalformedSecurity => "MalformedSecurity",
            Self::NoSuchMethod => "NoSuchMethod",
            Self::NotSupported => "NotSupported",
            Self::OperationCancelled => "OperationCancelled",
            Self::OperationNotFound => "OperationNotFound",
            Self::Overwritten => "Overwritten",
            Self::PrepareFailed => "PrepareFailed",
            Self::Replayed => "Replayed",
            Self::ReservedName => "ReservedName",
            Self::RotationFailed => "RotationFailed",
            Self::Stopping => "Stopping",
            Self::TooManyConnections => "TooManyConnections",
            Self::UnsupportedVersion => "UnsupportedVersion",
            Self::UserAlreadyExists => "UserAlreadyExists",
            Self::UserNotFound => "UserNotFound",
            Self::UserRejected => "UserRejected",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_listed_once_and_in_order() {
        // The variants are in order, so a gap is a class that is missing from the list.
        for (place, class) in FailureClass::ALL.iter().enumerate() {
            assert_eq!(*class as usize, place, "{class:?}");
        }
        assert_eq!(FailureClass::UserRejected as usize + 1, FailureClass::ALL.len(), "the last one");
    }
}

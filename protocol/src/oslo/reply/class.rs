//! The kinds of failure that this agent answers with, by the name that each has on the wire.
//!
//! Trove's own exceptions lend their names where there is a like one (trove/common/exception.py). docs/advice.toml explains
//! each.

/// What kind of failure it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureClass {
    /// The answer is larger than a broker carries.
    AnswerTooLarge,
    /// The command contradicts itself.
    BadRequest,
    /// Its turn came too late.
    Busy,
    /// CouchDB is away, or refused.
    CouchDbError,
    /// The database is not there.
    DatabaseNotFound,
    /// The command was carried out before, and its answer is gone.
    Duplicate,
    /// The disk did not say.
    FilesystemError,
    /// The sender may not.
    Forbidden,
    /// `trove-couchdb-hostd`, the privileged helper, refused or failed.
    HostdFailed,
    /// A panic.
    InternalError,
    /// The local socket carried something else than frames.
    InvalidFrame,
    /// The message can't be read, or breaks a rule.
    InvalidRequest,
    /// CouchDB would be left without an administrator.
    LastAdmin,
    /// A `_security` of no known shape.
    MalformedSecurity,
    /// oslo.messaging's: no version of the guest API has the method.
    NoSuchMethod,
    /// Trove has the method, this agent does not.
    NotSupported,
    /// An operator ended the operation.
    OperationCancelled,
    /// There is no operation of this id, or it is over.
    OperationNotFound,
    /// Somebody else wrote over it, again and again.
    Overwritten,
    /// The guest could not be prepared.
    PrepareFailed,
    /// Parts of the message were in another one.
    Replayed,
    /// The name belongs to the service.
    ReservedName,
    /// `os_admin` keeps its password.
    RotationFailed,
    /// The agent is stopping.
    Stopping,
    /// The local socket has no place left.
    TooManyConnections,
    /// oslo.messaging's: the version is not served.
    UnsupportedVersion,
    /// The user is there.
    UserAlreadyExists,
    /// The user is not there.
    UserNotFound,
    /// CouchDB took other documents and not this one.
    UserRejected,
}

impl FailureClass {
    /// All of them.
    pub const ALL: [Self; 29] = [
        Self::AnswerTooLarge,
        Self::BadRequest,
        Self::Busy,
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
        // As the variants are in order, a gap is one that the list lacks.
        for (place, class) in FailureClass::ALL.iter().enumerate() {
            assert_eq!(*class as usize, place, "{class:?}");
        }
        assert_eq!(FailureClass::UserRejected as usize + 1, FailureClass::ALL.len(), "the last one");
    }
}

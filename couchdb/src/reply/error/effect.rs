//! The effect of a failed request.

use super::CouchError;

impl CouchError {
    /// Whether CouchDB may have executed the request although it did not confirm it.
    ///
    /// False if nothing was sent, or if CouchDB answered that nothing was done.
    pub fn may_have_taken_effect(&self) -> bool {
        match self {
            Self::BrokenOff { .. }
            | Self::Timeout { .. }
            | Self::NodeDown(_)
            | Self::ConfigNotWritten(_)
            | Self::Server { .. }
            | Self::Unexpected { .. } => true,
            // A proxy may have passed the request on and lost, replaced or compressed the answer.
            Self::NotCouchDb { status, .. } => *status < 300 || *status >= 500,
            Self::NotBootstrapped(_)
            | Self::NoLogin(_)
            | Self::Unreachable { .. }
            | Self::Insecure { .. }
            | Self::Unauthorized
            | Self::LoginRefused
            | Self::LoginUnusable(_)
            | Self::TooManyRequests { .. }
            | Self::PathsRewritten
            | Self::LockedOut
            | Self::Forbidden(_)
            | Self::BadRequest(_)
            | Self::NotFound(_)
            | Self::Conflict
            | Self::Exists
            | Self::Maintenance
            | Self::Unopenable { .. } => false,
        }
    }
}

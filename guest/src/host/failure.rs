//! Why a request to `trove-couchdb-hostd` failed, and what to do about it.

use std::{
    io,
    path::{Path, PathBuf},
};

use trove_couchdb_protocol::host::HostError;

/// Why a request has no result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HostFailure {
    /// The configuration disables the helper.
    #[error(
        "this needs trove-couchdb-hostd, and host.socket is empty; set it to use the helper, and restart the agent"
    )]
    Off,
    /// The socket does not exist.
    #[error(
        "this needs trove-couchdb-hostd, and there is no {}; allow it in /etc/trove-couchdb-agent/host.toml, then: systemctl \
         enable --now trove-couchdb-hostd.socket", path.display()
    )]
    NotInstalled {
        /// The configured socket.
        path: PathBuf,
    },
    /// The account may not connect to the socket.
    #[error(
        "{} refuses the agent's account; check SocketGroup= and SocketMode= of trove-couchdb-hostd.socket", path.display()
    )]
    Denied {
        /// The socket.
        path: PathBuf,
    },
    /// No process is listening.
    #[error("trove-couchdb-hostd does not answer on {}: {reason}; see: systemctl status trove-couchdb-hostd.socket", path.display())]
    Unreachable {
        /// The socket.
        path: PathBuf,
        /// The system's error.
        reason: String,
    },
    /// The helper closed the connection before it answered.
    #[error(
        "trove-couchdb-hostd ended before it answered ({reason}); the state of CouchDB is unknown, see: trove-couchdb \
         service-status"
    )]
    BrokenOff {
        /// The error on the connection.
        reason: String,
    },
    /// The helper did not answer in time.
    #[error("trove-couchdb-hostd gave no answer within {seconds} s; see: journalctl -u trove-couchdb-hostd")]
    Silent {
        /// How long the agent waited.
        seconds: u64,
    },
    /// The answer cannot be read.
    #[error(
        "the answer of trove-couchdb-hostd can't be read ({reason}); install the same version of both programs"
    )]
    Undecodable {
        /// Why it cannot be read.
        reason: String,
    },
    /// The helper refused the request, or failed.
    #[error(transparent)]
    Refused(HostError),
}

impl HostFailure {
    pub(super) fn of_connect(path: &Path, error: &io::Error) -> Self {
        let path = path.to_owned();
        match error.kind() {
            io::ErrorKind::NotFound => Self::NotInstalled { path },
            io::ErrorKind::PermissionDenied => Self::Denied { path },
            _ => Self::Unreachable { path, reason: error.to_string() },
        }
    }

    /// Whether nothing was started.
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::Off | Self::NotInstalled { .. } | Self::Denied { .. } => true,
            Self::Refused(error) => {
                !matches!(error, HostError::Backend { .. } | HostError::Task { .. } | HostError::Late { .. })
            }
            Self::Unreachable { .. }
            | Self::BrokenOff { .. }
            | Self::Silent { .. }
            | Self::Undecodable { .. } => false,
        }
    }

    /// Whether the same request may succeed later.
    pub fn is_transient(&self) -> bool {
        self.is_outage()
            || matches!(self, Self::Refused(HostError::Busy { .. } | HostError::Overloaded { .. }))
    }

    /// Whether the helper is down, rather than running and failing. systemd
    /// starts it for the next connection.
    pub fn is_outage(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::BrokenOff { .. })
    }

    /// Whether CouchDB may have been started or stopped despite the failure.
    pub fn may_have_taken_effect(&self) -> bool {
        match self {
            Self::BrokenOff { .. } | Self::Silent { .. } | Self::Undecodable { .. } => true,
            Self::Refused(error) => {
                matches!(error, HostError::Backend { .. } | HostError::Task { .. } | HostError::Late { .. })
            }
            Self::Off | Self::NotInstalled { .. } | Self::Denied { .. } | Self::Unreachable { .. } => false,
        }
    }
}

//! Why `trove-couchdb-hostd` did not do something, and what to do about it.

use std::{
    io,
    path::{Path, PathBuf},
};

use trove_couchdb_protocol::host::HostError;

/// Why a request has no result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HostFailure {
    /// The configuration says that there is none.
    #[error(
        "this needs trove-couchdb-hostd, and host.socket is empty; set it to use the helper, and restart the agent"
    )]
    Off,
    /// No socket.
    #[error(
        "this needs trove-couchdb-hostd, and there is no {}; allow it in /etc/trove-couchdb-agent/host.toml, then: systemctl \
         enable --now trove-couchdb-hostd.socket", path.display()
    )]
    NotInstalled {
        /// Where it should be.
        path: PathBuf,
    },
    /// The socket is not for this account.
    #[error(
        "{} refuses the agent's account; check SocketGroup= and SocketMode= of trove-couchdb-hostd.socket", path.display()
    )]
    Denied {
        /// The socket.
        path: PathBuf,
    },
    /// No process listens.
    #[error("trove-couchdb-hostd does not answer on {}: {reason}; see: systemctl status trove-couchdb-hostd.socket", path.display())]
    Unreachable {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// It ended in the middle.
    #[error(
        "trove-couchdb-hostd ended before it answered ({reason}); the state of CouchDB is unknown, see: trove-couchdb \
         service-status"
    )]
    BrokenOff {
        /// What was seen of it.
        reason: String,
    },
    /// It hangs.
    #[error("trove-couchdb-hostd gave no answer within {seconds} s; see: journalctl -u trove-couchdb-hostd")]
    Silent {
        /// How long it was waited for.
        seconds: u64,
    },
    /// Its answer makes no sense.
    #[error(
        "the answer of trove-couchdb-hostd can't be read ({reason}); install the same version of both programs"
    )]
    Undecodable {
        /// What is wrong with it.
        reason: String,
    },
    /// It said no, or could not.
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

    /// Whether nothing was begun.
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::Off | Self::NotInstalled { .. } | Self::Denied { .. } => true,
            Self::Refused(error) => !matches!(error, HostError::Backend { .. } | HostError::Late { .. }),
            Self::Unreachable { .. }
            | Self::BrokenOff { .. }
            | Self::Silent { .. }
            | Self::Undecodable { .. } => false,
        }
    }

    /// Whether the same request may succeed a little later.
    pub fn is_transient(&self) -> bool {
        self.is_outage()
            || matches!(self, Self::Refused(HostError::Busy { .. } | HostError::Overloaded { .. }))
    }

    /// Whether the helper is gone, rather than there and failing: systemd starts it again for the next connection.
    pub fn is_outage(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::BrokenOff { .. })
    }

    /// Whether CouchDB may have been started or stopped although this failed.
    pub fn may_have_taken_effect(&self) -> bool {
        match self {
            Self::BrokenOff { .. } | Self::Silent { .. } | Self::Undecodable { .. } => true,
            Self::Refused(error) => matches!(error, HostError::Backend { .. } | HostError::Late { .. }),
            Self::Off | Self::NotInstalled { .. } | Self::Denied { .. } | Self::Unreachable { .. } => false,
        }
    }
}

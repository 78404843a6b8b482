//! The TLS files of a connection. They are read for each connection, so that a renewed certificate takes
//! effect without a restart.

use std::path::PathBuf;

/// Paths of PEM files with certificates and a key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Files {
    /// The only trusted authorities. `None` for those of the system.
    pub ca: Option<PathBuf>,
    /// The agent's own certificate and its key.
    pub identity: Option<Identity>,
}

/// The agent's identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The agent's certificate and its intermediate certificates.
    pub cert: PathBuf,
    /// The certificate's key.
    pub key: PathBuf,
}

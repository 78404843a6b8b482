//! Which files a connection is secured with, by name: they are read for each connection, so that a renewed certificate counts
//! without a restart.

use std::path::PathBuf;

/// Certificates and a key as PEM files, and where the operator has named them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Files {
    /// The authorities to trust, and no others; none for those of the system.
    pub ca: Option<PathBuf>,
    /// Our own certificate and its key.
    pub identity: Option<Identity>,
}

/// Whom we say we are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Our certificate, and those between it and the authority.
    pub cert: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

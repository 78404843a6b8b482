//! TLS as a client of RabbitMQ and CouchDB: trusted authorities, the agent's identity, and explanations of
//! failures.
//!
//! `guest` uses it for each connection to a broker, and the client of CouchDB for each HTTP client that it
//! creates. The files are read each time, so a renewed or repaired certificate takes effect without a
//! restart. The certificate and host name are always verified; there is no option to disable that.

mod complaint;
mod explain;
mod files;

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    ConfigBuilder, RootCertStore, WantsVerifier,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use tokio::fs;
use zeroize::Zeroizing;

pub use complaint::complaint;
pub use explain::{Peer, cause, explain, refuses_us};
pub use files::{Files, Identity};
pub use rustls::ClientConfig;

/// The reason why the TLS files can't be used. Never contains the content of a file.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// The file is missing or not accessible.
    #[error("the TLS file {} can't be read: {source}", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The file contains no certificate, or a malformed one.
    #[error("the TLS file {} holds no certificate in PEM format", .0.display())]
    NoCertificate(PathBuf),
    /// One of the certificates can't be used as an authority.
    #[error("the TLS file {} holds something that is no certificate of an authority", .0.display())]
    BadAuthority(PathBuf),
    /// The file contains no key, or one with a pass phrase.
    #[error(
        "the TLS file {} holds no key that can be used; write it in PEM format, without a pass phrase",
        .0.display()
    )]
    NoKey(PathBuf),
    /// The certificate and the key don't match, or are of an unknown kind.
    #[error("the certificate of {} can't be used with the key of {}: {problem}", .cert.display(), .key.display())]
    Identity {
        /// The certificate.
        cert: PathBuf,
        /// The key.
        key: PathBuf,
        /// The TLS library's message.
        problem: String,
    },
    /// The system has no authorities.
    #[error("this system has no CA certificates, so no server can be verified; name a CA file")]
    NoAuthorities,
    /// TLS is unavailable.
    #[error("TLS can't be set up: {0}")]
    Library(String),
}

/// Reads the files. `Err` names the file with the problem.
pub async fn client_config(files: &Files) -> Result<ClientConfig, FilesError> {
    let builder = builder()?.with_root_certificates(roots(files.ca.as_deref()).await?);
    let Some(Identity { cert, key }) = &files.identity else {
        return Ok(builder.with_no_client_auth());
    };
    builder.with_client_auth_cert(certificates(cert).await?, private_key(key).await?).map_err(|error| {
        let problem = match error {
            rustls::Error::InconsistentKeys(_) => "they don't belong together".to_owned(),
            other => other.to_string(),
        };
        FilesError::Identity { cert: cert.clone(), key: key.clone(), problem }
    })
}

/// A configuration for connections without TLS, for callers that require one.
pub fn nobody_trusted() -> Result<ClientConfig, FilesError> {
    Ok(builder()?.with_root_certificates(RootCertStore::empty()).with_no_client_auth())
}

/// TLS 1.2 and 1.3 with the cipher suites of rustls.
fn builder() -> Result<ConfigBuilder<ClientConfig, WantsVerifier>, FilesError> {
    let provider = CryptoProvider::get_default().cloned();
    let provider = provider.unwrap_or_else(|| Arc::new(rustls::crypto::ring::default_provider()));
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| FilesError::Library(error.to_string()))
}

async fn roots(ca: Option<&Path>) -> Result<RootCertStore, FilesError> {
    let mut roots = RootCertStore::empty();
    let Some(path) = ca else {
        let system = tokio::task::spawn_blocking(rustls_native_certs::load_native_certs)
            .await
            .map_err(|error| FilesError::Library(error.to_string()))?;
        // Some systems contain obsolete certificates that can't be parsed.
        let (added, _ignored) = roots.add_parsable_certificates(system.certs);
        return if added == 0 { Err(FilesError::NoAuthorities) } else { Ok(roots) };
    };
    for certificate in certificates(path).await? {
        roots.add(certificate).map_err(|_| FilesError::BadAuthority(path.to_owned()))?;
    }
    Ok(roots)
}

async fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, FilesError> {
    let text = read(path).await?;
    let certificates = CertificateDer::pem_slice_iter(&text).collect::<Result<Vec<_>, _>>();
    let certificates = certificates.unwrap_or_default();
    if certificates.is_empty() { Err(FilesError::NoCertificate(path.to_owned())) } else { Ok(certificates) }
}

async fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, FilesError> {
    let text = read(path).await?;
    PrivateKeyDer::from_pem_slice(&text).map_err(|_| FilesError::NoKey(path.to_owned()))
}

async fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, FilesError> {
    let unreadable = |source| FilesError::Unreadable { path: path.to_owned(), source };
    fs::read(path).await.map(Zeroizing::new).map_err(unreadable)
}

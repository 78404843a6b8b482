//! TLS as a client, to RabbitMQ and to CouchDB: whom to trust, who we are, and in words why it failed.
//!
//! Who calls: `guest` for each connection to a broker, the client of CouchDB for each HTTP client it makes. The files are read each
//! time, so a certificate that is renewed or repaired counts without a restart. Never: a connection whose certificate or
//! host name was not verified; there is no switch for that.

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

/// Why there is nothing to make a connection with. Never holds what is in a file.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// Not there, or not for us.
    #[error("the TLS file {} can't be read: {source}", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's own words.
        source: io::Error,
    },
    /// No certificate in it, or a broken one.
    #[error("the TLS file {} holds no certificate in PEM format", .0.display())]
    NoCertificate(PathBuf),
    /// One of its certificates is none.
    #[error("the TLS file {} holds something that is no certificate of an authority", .0.display())]
    BadAuthority(PathBuf),
    /// No key in it, or one that wants a pass phrase.
    #[error(
        "the TLS file {} holds no key that can be used; write it in PEM format, without a pass phrase",
        .0.display()
    )]
    NoKey(PathBuf),
    /// The two don't belong together, or are of a kind that is not known.
    #[error("the certificate of {} can't be used with the key of {}: {problem}", .cert.display(), .key.display())]
    Identity {
        /// The certificate.
        cert: PathBuf,
        /// The key.
        key: PathBuf,
        /// What the TLS library says.
        problem: String,
    },
    /// A system without authorities.
    #[error("this system has no certificates of authorities, so nobody can be trusted; name a CA file")]
    NoAuthorities,
    /// No TLS can be had at all.
    #[error("TLS can't be set up: {0}")]
    Library(String),
}

/// Reads the files anew; `Err` says which one is at fault.
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

/// For connections in clear, by somebody who wants a configuration all the same.
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
        // Some systems have ancient ones among them that nothing can read.
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

//! Real certificates for one test: an authority and the certificates it signs.
//!
//! Callers: the TLS tests, which pass the files to RabbitMQ, to a TLS server in front of CouchDB and to the
//! agent.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use tempfile::TempDir;

use crate::agent::write_private;

/// An authority for one test.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// The certificate to sign, and what is wrong with it.
#[derive(Debug, Clone)]
pub struct Wanted {
    names: Vec<String>,
    purpose: ExtendedKeyUsagePurpose,
    years: (i32, i32),
}

/// A certificate and its key, in PEM format.
#[derive(Debug, Clone)]
pub struct Pair {
    /// The certificate.
    pub cert: String,
    /// The key, PKCS#8.
    pub key: String,
}

/// The files of a [`Pair`].
#[derive(Debug, Clone)]
pub struct PairFiles {
    /// The certificate.
    pub cert: PathBuf,
    /// The key.
    pub key: PathBuf,
}

impl Wanted {
    /// For a server with these names or addresses, valid today.
    pub fn server(names: &[&str]) -> Self {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        Self { names, purpose: ExtendedKeyUsagePurpose::ServerAuth, years: (2000, 2090) }
    }

    /// For a client, valid today.
    pub fn client(name: &str) -> Self {
        Self { purpose: ExtendedKeyUsagePurpose::ClientAuth, ..Self::server(&[name]) }
    }

    /// Expired long ago.
    #[must_use]
    pub fn expired(mut self) -> Self {
        self.years = (2000, 2001);
        self
    }

    /// Not valid until far in the future.
    #[must_use]
    pub fn of_the_future(mut self) -> Self {
        self.years = (2080, 2090);
        self
    }
}

impl Authority {
    /// Creates an authority that no system trusts.
    pub fn new(name: &str) -> Result<Self> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(DnType::CommonName, name);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        Ok(Self { issuer })
    }

    /// Creates an authority in its own directory, together with the file to trust.
    pub fn in_directory(name: &str) -> Result<(Self, TempDir, PathBuf)> {
        let (authority, directory) = (Self::new(name)?, tempfile::tempdir()?);
        let trusted = directory.path().join("ca.pem");
        std::fs::write(&trusted, authority.pem()).context("cannot write a certificate")?;
        Ok((authority, directory, trusted))
    }

    /// The authority's own certificate, which clients and servers are to trust.
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// Signs a new key.
    pub fn sign(&self, wanted: &Wanted) -> Result<Pair> {
        let mut params = CertificateParams::new(wanted.names.clone())?;
        let (first, last) = wanted.years;
        params.not_before = date_time_ymd(first, 1, 1);
        params.not_after = date_time_ymd(last, 1, 1);
        params.extended_key_usages = vec![wanted.purpose.clone()];
        params.use_authority_key_identifier_extension = true;
        let name = wanted.names.first().map_or("nobody", String::as_str);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate()?;
        let cert = params.signed_by(&key, &self.issuer)?.pem();
        Ok(Pair { cert, key: key.serialize_pem() })
    }
}

impl Pair {
    /// Writes `NAME.pem` and `NAME.key`, replacing existing files.
    pub fn write(&self, directory: &Path, name: &str) -> Result<PairFiles> {
        let files = PairFiles {
            cert: directory.join(format!("{name}.pem")),
            key: directory.join(format!("{name}.key")),
        };
        std::fs::write(&files.cert, &self.cert).context("cannot write a certificate")?;
        write_private(&files.key, &self.key)?;
        Ok(files)
    }
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").finish_non_exhaustive()
    }
}

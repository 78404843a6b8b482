//! A TLS server in front of a server without TLS: gives the in-memory CouchDB https.
//!
//! Callers: the tests of TLS to CouchDB. The certificate can be changed at run time, as when an operator
//! replaces it.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use crate::certificates::{Authority, Pair};

/// A running TLS server; dropping it stops it.
#[derive(Debug)]
pub struct TlsFront {
    address: SocketAddr,
    presents: watch::Sender<Arc<ServerConfig>>,
    server: JoinHandle<()>,
}

impl TlsFront {
    /// Listens on 127.0.0.1 with the certificate `pair` and forwards connections to `target` (`HOST:PORT`).
    /// With `clients` it accepts only clients whose certificate that authority has signed.
    pub async fn start(target: &str, pair: &Pair, clients: Option<&Authority>) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("no port for the front")?;
        let address = listener.local_addr()?;
        let (presents, presented) = watch::channel(configuration(pair, clients)?);
        let server = tokio::spawn(serve(listener, target.to_owned(), presented));
        Ok(Self { address, presents, server })
    }

    /// Uses a different certificate from now on.
    pub fn present(&self, pair: &Pair, clients: Option<&Authority>) -> Result<()> {
        self.presents.send_replace(configuration(pair, clients)?);
        Ok(())
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.address.port()
    }
}

impl Drop for TlsFront {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn configuration(pair: &Pair, clients: Option<&Authority>) -> Result<Arc<ServerConfig>> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions()?;
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            roots.add(CertificateDer::from_pem_slice(authority.pem().as_bytes())?)?;
            builder.with_client_cert_verifier(
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build()?,
            )
        }
    };
    let chain = CertificateDer::pem_slice_iter(pair.cert.as_bytes()).collect::<Result<_, _>>()?;
    let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes())?;
    Ok(Arc::new(builder.with_single_cert(chain, key)?))
}

async fn serve(listener: TcpListener, target: String, presented: watch::Receiver<Arc<ServerConfig>>) {
    while let Ok((connection, _)) = listener.accept().await {
        let acceptor = TlsAcceptor::from(Arc::clone(&presented.borrow()));
        let target = target.clone();
        tokio::spawn(async move {
            // A TLS alert has already reported the failed handshake to the client.
            let Ok(mut inside) = acceptor.accept(connection).await else { return };
            let Ok(mut server) = TcpStream::connect(target).await else { return };
            drop(tokio::io::copy_bidirectional(&mut inside, &mut server).await);
        });
    }
}

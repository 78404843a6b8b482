//! TLS for the connection to a broker, and explanations for TLS errors.
//!
//! lapin's own TLS would trust the system's authorities in addition to those of
//! `tls_ca_file`, and does not explain errors.

use std::{
    io::{self, ErrorKind as Io},
    sync::Arc,
    time::Duration,
};

use async_compat::Compat;
use futures_rustls::TlsConnector;
use lapin::{ErrorKind, tcp::AsyncTcpStream};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time,
};
use trove_couchdb_config::BrokerSettings;
use trove_couchdb_protocol::transport_url::Host;

use trove_couchdb_system::tls::{self, Files, FilesError, Peer};

/// The first bytes from an AMQP client (AMQP 0-9-1, section 4.2.2).
const AMQP_HEADER: [u8; 8] = *b"AMQP\x00\x00\x09\x01";

/// The record type of a TLS alert (RFC 8446, section 5.1).
const TLS_ALERT: u8 = 21;

/// The timeout for detecting TLS on a broker's port.
const PROBE: Duration = Duration::from_secs(2);

/// The TLS settings of one connection.
#[derive(Clone)]
pub(super) struct Security(Option<(TlsConnector, Files)>);

impl Security {
    /// Reads the configured files again, as they may have changed.
    pub(super) async fn read(settings: &BrokerSettings) -> Result<Self, FilesError> {
        let Some(files) = &settings.tls else { return Ok(Self(None)) };
        let config = Arc::new(tls::client_config(files).await?);
        Ok(Self(Some((TlsConnector::from(config), files.clone()))))
    }

    /// Starts TLS on a new connection; the broker's certificate must be for `host`.
    pub(super) async fn secure(
        &self,
        host: &str,
        stream: Compat<TcpStream>,
    ) -> io::Result<AsyncTcpStream<Compat<TcpStream>>> {
        let Some((connector, _)) = &self.0 else { return Ok(AsyncTcpStream::Plain(stream)) };
        let name = host.to_owned().try_into().map_err(|_| {
            io::Error::new(Io::InvalidInput, format!("{host:?} is no name that a certificate could be for"))
        })?;
        Ok(AsyncTcpStream::Rustls(connector.connect(name, stream).await?))
    }

    /// Explains a failed connection, if TLS is the cause.
    pub(super) async fn explain(&self, error: &lapin::Error, host: &Host) -> Option<String> {
        match &self.0 {
            None if looks_deaf(error) && speaks_tls(host).await => Some(format!(
                "{} speaks TLS on this port; begin the transport URL with rabbits:// or set broker.tls",
                host.host
            )),
            None => None,
            Some((_, files)) => {
                let peer = Peer { section: "broker", host: &host.host, files };
                if let Some(cause) = tls::cause(error) {
                    return Some(tls::explain(cause, peer));
                }
                if hung_up(error) { tls::complaint(peer, host.port).await } else { None }
            }
        }
    }
}

fn hung_up(error: &lapin::Error) -> bool {
    let ErrorKind::IOError(error) = error.kind() else { return false };
    matches!(error.kind(), Io::ConnectionReset | Io::ConnectionAborted | Io::BrokenPipe | Io::UnexpectedEof)
}

/// Whether the broker did not answer with AMQP.
fn looks_deaf(error: &lapin::Error) -> bool {
    hung_up(error)
        || matches!(error.kind(), ErrorKind::ParsingError(_) | ErrorKind::InvalidProtocolVersion(_))
}

/// Sends the AMQP header again and checks whether the broker answers with a TLS alert. Sends no secrets.
async fn speaks_tls(host: &Host) -> bool {
    let ask = async {
        let mut stream = TcpStream::connect((host.host.as_str(), host.port)).await?;
        stream.write_all(&AMQP_HEADER).await?;
        stream.read_u8().await
    };
    matches!(time::timeout(PROBE, ask).await, Ok(Ok(TLS_ALERT)))
}

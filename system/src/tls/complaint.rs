//! A server's reason for rejecting the agent's certificate.
//!
//! With TLS 1.3 the server sends the reason after the handshake. If the client has sent data by then, the
//! kernel resets the connection and discards the reason; only "connection reset by peer" remains. A second
//! connection on which the client reads first reveals it.

use std::{io, sync::Arc, time::Duration};

use async_compat::Compat;
use futures_rustls::TlsConnector;
use rustls::pki_types::ServerName;
use tokio::{io::AsyncReadExt, net::TcpStream, time};

use super::{Peer, cause, client_config, explain};

/// How long an attempt takes if the server accepts the certificate and waits for data.
const ALERT_TIMEOUT: Duration = Duration::from_secs(1);

/// Connects again and reads without sending. `None` if the server does not complain.
pub async fn complaint(peer: Peer<'_>, port: u16) -> Option<String> {
    let config = Arc::new(client_config(peer.files).await.ok()?);
    let listen = async {
        let name = ServerName::try_from(peer.host.to_owned()).map_err(io::Error::other)?;
        let stream = Compat::new(TcpStream::connect((peer.host, port)).await?);
        let secured = TlsConnector::from(config).connect(name, stream).await?;
        Compat::new(secured).read_u8().await
    };
    let error = time::timeout(ALERT_TIMEOUT, listen).await.ok()?.err()?;
    cause(&error).map(|cause| explain(cause, peer))
}

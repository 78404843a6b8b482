//! What a server says to our certificate, when it is let finish.
//!
//! With TLS 1.3 it says so after the handshake. What a client has sent by then makes the kernel drop the connection, and
//! the server's last words with it: there is only "connection reset by peer". Asked once more by somebody who listens
//! first, it says why.

use std::{io, sync::Arc, time::Duration};

use async_compat::Compat;
use futures_rustls::TlsConnector;
use rustls::pki_types::ServerName;
use tokio::{io::AsyncReadExt, net::TcpStream, time};

use super::{Peer, cause, client_config, explain};

/// A server that takes our certificate waits for us to speak, so this is how long each try takes then.
const PATIENCE: Duration = Duration::from_secs(1);

/// Connects once more, sends nothing, and listens; `None` if there is no complaint.
pub async fn complaint(peer: Peer<'_>, port: u16) -> Option<String> {
    let config = Arc::new(client_config(peer.files).await.ok()?);
    let listen = async {
        let name = ServerName::try_from(peer.host.to_owned()).map_err(io::Error::other)?;
        let stream = Compat::new(TcpStream::connect((peer.host, port)).await?);
        let secured = TlsConnector::from(config).connect(name, stream).await?;
        Compat::new(secured).read_u8().await
    };
    let error = time::timeout(PATIENCE, listen).await.ok()?.err()?;
    cause(&error).map(|cause| explain(cause, peer))
}

//! A TCP proxy between a client and the broker that counts bytes.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use anyhow::Result;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// Bytes in each direction so far.
#[derive(Debug, Default)]
pub struct Bytes {
    to_broker: AtomicU64,
    from_broker: AtomicU64,
}

impl Bytes {
    /// The sum of both directions.
    pub fn both(&self) -> u64 {
        self.to_broker.load(Ordering::Relaxed) + self.from_broker.load(Ordering::Relaxed)
    }
}

/// Opens a proxy to a port of 127.0.0.1 and returns the proxy's port. It stays open as long as this process.
pub async fn door_to(port: u16) -> Result<(u16, Arc<Bytes>)> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let own = listener.local_addr()?.port();
    let bytes = Arc::new(Bytes::default());
    let counted = Arc::clone(&bytes);
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let Ok(server) = TcpStream::connect(("127.0.0.1", port)).await else { continue };
            let (from_client, to_client) = client.into_split();
            let (from_server, to_server) = server.into_split();
            tokio::spawn(pass(from_client, to_server, Arc::clone(&counted), |bytes| &bytes.to_broker));
            tokio::spawn(pass(from_server, to_client, Arc::clone(&counted), |bytes| &bytes.from_broker));
        }
    });
    Ok((own, bytes))
}

async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    bytes: Arc<Bytes>,
    counter: fn(&Bytes) -> &AtomicU64,
) {
    let mut buffer = vec![0; 65_536];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        counter(&bytes).fetch_add(u64::try_from(length).unwrap_or_default(), Ordering::Relaxed);
        if to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
    // The other side may have closed already.
    drop(to.shutdown().await);
}

//! Where the monitor listens: on a TCP or on a Unix socket.

use std::{fmt, io, net::SocketAddr, path::Path};

use tokio::net::{TcpListener, TcpStream, UnixStream};
use trove_couchdb_config::Listen;

use crate::system::{self, ListeningSocket, Purpose, SocketError};

/// The monitor does not authenticate clients, so without a group the kernel must admit only the owner.
const PURPOSE: Purpose =
    Purpose { socket_key: "metrics.listen", group_key: "metrics.group", mode_without_group: 0o600 };

/// Why the monitor cannot listen.
#[derive(Debug, thiserror::Error)]
pub(super) enum EndpointError {
    /// The address cannot be bound.
    #[error("metrics.listen = \"{0}\": {1}")]
    Address(SocketAddr, #[source] io::Error),
    /// The group in `metrics.group` was not found.
    #[error("metrics.group: {0}")]
    Group(#[source] io::Error),
    /// The Unix socket cannot be opened.
    #[error("the socket for metrics: {0}")]
    Socket(#[from] SocketError),
}

pub(super) enum Endpoint {
    Tcp(TcpListener, SocketAddr),
    Unix(ListeningSocket),
}

pub(super) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Endpoint {
    pub(super) async fn open(listen: &Listen, group: Option<&str>) -> Result<Self, EndpointError> {
        match listen {
            Listen::Tcp(address) => {
                let address = *address;
                let listener = TcpListener::bind(address).await;
                Ok(Self::Tcp(listener.map_err(|error| EndpointError::Address(address, error))?, address))
            }
            Listen::Unix(path) => Ok(Self::Unix(unix(path, group).await?)),
        }
    }

    pub(super) async fn accept(&self) -> io::Result<Stream> {
        match self {
            Self::Tcp(listener, _) => listener.accept().await.map(|(stream, _)| Stream::Tcp(stream)),
            Self::Unix(socket) => socket.listener().accept().await.map(|(stream, _)| Stream::Unix(stream)),
        }
    }
}

async fn unix(path: &Path, group: Option<&str>) -> Result<ListeningSocket, EndpointError> {
    let group = match group.map(str::to_owned) {
        // The lookup may need a slow network.
        Some(name) => match system::blocking(move || system::group_id(&name)).await {
            Ok(found) => Some(found.map_err(EndpointError::Group)?),
            Err(stopped) => return Err(EndpointError::Group(stopped.into())),
        },
        None => None,
    };
    Ok(ListeningSocket::bind(path, group, PURPOSE)?)
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(_, address) => write!(f, "http://{address}/metrics"),
            Self::Unix(socket) => write!(f, "{}", socket.path().display()),
        }
    }
}

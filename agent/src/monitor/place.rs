//! Where the monitor listens: one of two kinds of socket, told apart here only.

use std::{fmt, io, net::SocketAddr, path::Path};

use tokio::net::{TcpListener, TcpStream, UnixStream};
use trove_couchdb_config::Listen;

use crate::system::{self, ListeningSocket, Purpose, SocketError};

/// Nobody looks at who connects, so without a group the kernel must let nobody else in.
const PURPOSE: Purpose =
    Purpose { socket_key: "metrics.listen", group_key: "metrics.group", mode_without_group: 0o600 };

/// Why there is no place to listen at.
#[derive(Debug, thiserror::Error)]
pub(super) enum PlaceError {
    /// The address.
    #[error("metrics.listen = \"{0}\": {1}")]
    Address(SocketAddr, #[source] io::Error),
    /// `metrics.group` is nobody's.
    #[error("metrics.group: {0}")]
    Group(#[source] io::Error),
    /// The Unix socket.
    #[error("the socket for metrics: {0}")]
    Socket(#[from] SocketError),
}

pub(super) enum Place {
    Tcp(TcpListener, SocketAddr),
    Unix(ListeningSocket),
}

pub(super) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Place {
    pub(super) async fn open(listen: &Listen, group: Option<&str>) -> Result<Self, PlaceError> {
        match listen {
            Listen::Tcp(address) => {
                let address = *address;
                let listener = TcpListener::bind(address).await;
                Ok(Self::Tcp(listener.map_err(|error| PlaceError::Address(address, error))?, address))
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

async fn unix(path: &Path, group: Option<&str>) -> Result<ListeningSocket, PlaceError> {
    let group = match group.map(str::to_owned) {
        // Names may come from a slow network.
        Some(name) => match system::blocking(move || system::group_id(&name)).await {
            Ok(found) => Some(found.map_err(PlaceError::Group)?),
            Err(stopped) => return Err(PlaceError::Group(stopped.into())),
        },
        None => None,
    };
    Ok(ListeningSocket::bind(path, group, PURPOSE)?)
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(_, address) => write!(f, "http://{address}/metrics"),
            Self::Unix(socket) => write!(f, "{}", socket.path().display()),
        }
    }
}

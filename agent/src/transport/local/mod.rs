//! The local socket, for operators of this machine, with or without a broker.
//!
//! ```text
//! accept -> identify the peer (SO_PEERCRED) -> frames -> RequestPipeline -> replies, in any order -> frames
//! ```
//!
//! Messages have the same bodies as on the broker, but unencrypted: the key protects messages on the broker,
//! while here the kernel identifies the peer. Connections, commands in flight per connection and unread bytes
//! are limited. A peer that reads slowly slows only itself down, and is disconnected when it stops reading.

mod connection;
mod peer;
mod request;

use std::{convert::Infallible, path::PathBuf, sync::Arc, time::Duration};

use tokio::{
    net::UnixStream,
    sync::{OwnedSemaphorePermit, Semaphore},
    time,
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};
use trove_couchdb_config::LocalSettings;
use trove_couchdb_protocol::{Failure, FailureClass};

use crate::{
    system::{self, ListeningSocket, Purpose, SocketError},
    transport::rpc::{ReplyEncoder, RequestPipeline},
};
use peer::{Guard, Peer};

/// The delay before the agent tries again to open the socket: another agent may be about to exit.
const RETRY: Duration = Duration::from_secs(5);

/// The delay after a failed accept: most likely no file descriptors are left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(500);

/// How many peers are sent the reason of their refusal at the same time; more are disconnected without it.
const FAREWELLS: usize = 16;

/// The agent also checks the credentials of each peer (`peer.rs`).
const PURPOSE: Purpose =
    Purpose { socket_key: "local.socket", group_key: "local.group", mode_without_group: 0o660 };

/// Why there is no local socket.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    /// The group in `local.group` was not found.
    #[error("local.group: {0}")]
    Group(std::io::Error),
    /// The socket could not be opened.
    #[error("the local socket: {0}")]
    Socket(#[from] SocketError),
}

/// The server on the local socket.
#[derive(Debug)]
pub struct LocalServer {
    path: PathBuf,
    group: Option<String>,
    max_connections: usize,
    encoder: Arc<ReplyEncoder>,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    socket: ListeningSocket,
    guard: Guard,
}

impl LocalServer {
    /// Creates a server that does not listen yet; `None` if the socket is disabled.
    pub fn new(settings: &LocalSettings, guest_id: &str) -> Option<Self> {
        let LocalSettings { socket, group, max_connections } = settings.clone();
        // Never encrypted.
        let encoder = Arc::new(ReplyEncoder { guest_id: guest_id.to_owned(), cipher: None });
        Some(Self { path: socket?, group, max_connections, encoder, open: None })
    }

    /// Checks whether [`LocalServer::open`] can succeed, without creating or locking anything.
    pub fn check(&self) -> Result<(), LocalError> {
        let group = self.group.as_deref().map(system::group_id).transpose().map_err(LocalError::Group)?;
        Ok(ListeningSocket::check(&self.path, group, PURPOSE)?)
    }

    /// Starts to listen. After an error, [`LocalServer::run`] tries again.
    pub async fn open(&mut self) -> Result<(), LocalError> {
        let group = match self.group.clone() {
            // The lookup may need a slow network.
            Some(name) => match system::blocking(move || system::group_id(&name)).await {
                Ok(found) => Some(found.map_err(LocalError::Group)?),
                Err(stopped) => return Err(LocalError::Group(stopped.into())),
            },
            None => None,
        };
        let socket = ListeningSocket::bind(&self.path, group, PURPOSE)?;
        info!(path = %self.path.display(), group = self.group, "Serving on the local socket.");
        self.open = Some(Open { socket, guard: Guard::new(group) });
        Ok(())
    }

    /// Serves until the agent stops, then removes the socket. Commands in flight are among the pipeline's
    /// tasks.
    pub(super) async fn run(mut self, pipeline: &RequestPipeline, stopping: &CancellationToken) {
        let open = tokio::select! {
            biased;
            () = stopping.cancelled() => return,
            open = self.opened() => open,
        };
        tokio::select! {
            biased;
            () = stopping.cancelled() => {}
            never = self.accept_all(&open, pipeline, stopping) => match never {},
        }
    }

    async fn opened(&mut self) -> Open {
        let mut told = String::new();
        loop {
            if let Some(open) = self.open.take() {
                return open;
            }
            time::sleep(RETRY).await;
            if let Err(error) = self.open().await {
                let reason = error.to_string();
                if reason != told {
                    warn!(reason, "No local socket; trying again.");
                }
                told = reason;
            }
        }
    }

    async fn accept_all(
        &self,
        open: &Open,
        pipeline: &RequestPipeline,
        stopping: &CancellationToken,
    ) -> Infallible {
        let connections = Arc::new(Semaphore::new(self.max_connections));
        let farewells = Arc::new(Semaphore::new(FAREWELLS));
        loop {
            let stream = match open.socket.listener().accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    warn!(%error, "A connection to the local socket could not be accepted.");
                    time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let refusal = match admit(open, &stream).and_then(|peer| self.find_slot(peer, &connections)) {
                Ok((peer, slot)) => {
                    debug!(%peer, "A process connected to the local socket.");
                    let encoder = Arc::clone(&self.encoder);
                    let serving =
                        connection::serve(stream, peer, encoder, pipeline.clone(), stopping.clone());
                    pipeline.tasks().spawn(async move {
                        serving.await;
                        drop(slot);
                    });
                    continue;
                }
                Err(failure) => failure,
            };
            if let Ok(slot) = Arc::clone(&farewells).try_acquire_owned() {
                pipeline.tasks().spawn(async move {
                    connection::refuse(stream, &refusal).await;
                    drop(slot);
                });
            }
        }
    }

    fn find_slot(
        &self,
        peer: Peer,
        connections: &Arc<Semaphore>,
    ) -> Result<(Peer, OwnedSemaphorePermit), Failure> {
        if let Ok(slot) = Arc::clone(connections).try_acquire_owned() {
            return Ok((peer, slot));
        }
        let most = self.max_connections;
        warn!(%peer, max_connections = most, "Too many are connected to the local socket.");
        let text = format!(
            "{most} are connected to the agent's socket already (local.max_connections); try again later"
        );
        Err(Failure::new(FailureClass::TooManyConnections, text))
    }
}

fn admit(open: &Open, stream: &UnixStream) -> Result<Peer, Failure> {
    let peer = match stream.peer_cred() {
        Ok(credentials) => Peer::from(credentials),
        Err(error) => {
            warn!(%error, "The kernel does not tell who connected to the local socket.");
            return Err(Failure::new(FailureClass::Forbidden, "the agent can't tell who you are"));
        }
    };
    if open.guard.admits(&peer, || open.socket.is_guarded()) {
        return Ok(peer);
    }
    warn!(%peer, "A process is refused on the local socket.");
    Err(open.guard.refusal(&peer))
}

//! The socket: authorises clients, limits their number, and determines when the program exits.
//!
//! systemd keeps the socket while the program is down, so a client that connects during the idle exit is
//! served by the next start. With `--listen` the program never exits when idle, because nothing would start
//! it again.

use std::{
    fs, io,
    os::unix::fs::{FileTypeExt, PermissionsExt, chown},
    path::Path,
    pin::pin,
    sync::Arc,
    time::Duration,
};

use nix::unistd::User;
use tokio::{
    net::{UnixListener, UnixStream},
    time,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use trove_couchdb_protocol::host::{DEFAULT_ACCOUNT, HostError};

use crate::{
    audit::{Audit, Peer},
    changes::Changes,
    connection::{self, Shared},
    policy::{Policy, PolicyError},
};

/// The maximum number of connections and the idle time without a valid policy.
const WITHOUT_POLICY: (usize, Duration) = (4, Duration::from_secs(60));

/// The pause after an error of `accept`, such as too many open files.
const AFTER_ERROR: Duration = Duration::from_millis(200);

/// Serves connections on a socket.
#[derive(Debug)]
pub struct Server {
    listener: UnixListener,
    shared: Arc<Shared>,
    exits_when_idle: bool,
}

impl Server {
    /// Takes a socket from systemd or one that this program created.
    pub fn new(listener: UnixListener, policy: &Path, audit: Audit, exits_when_idle: bool) -> Self {
        let shared = Shared {
            policy: policy.to_owned(),
            changes: Changes::default(),
            audit,
            begun: TaskTracker::new(),
            stopping: CancellationToken::new(),
        };
        Self { listener, shared: Arc::new(shared), exits_when_idle }
    }

    /// Runs until `stop` completes or there has been no connection for `hostd.idle_exit`. Running requests
    /// are finished first.
    pub async fn run(self, stop: impl Future<Output = ()>) {
        let mut stop = pin!(stop);
        let connections = TaskTracker::new();
        loop {
            let idle = async {
                if !self.exits_when_idle {
                    return std::future::pending().await;
                }
                connections.close();
                connections.wait().await;
                self.shared.begun.close();
                self.shared.begun.wait().await;
                time::sleep(idle_exit(Policy::load(&self.shared.policy))).await;
            };
            let accepted = tokio::select! {
                biased;
                () = &mut stop => break,
                accepted = self.listener.accept() => accepted,
                () = idle => break,
            };
            self.shared.begun.reopen();
            connections.reopen();
            match accepted {
                Ok((stream, _)) => {
                    let others = connections.len();
                    connections.spawn(admit(stream, others, Arc::clone(&self.shared)));
                }
                Err(error) => {
                    eprintln!("trove-couchdb-hostd: no connection can be accepted: {error}");
                    time::sleep(AFTER_ERROR).await;
                }
            }
        }
        drop(self.listener);
        self.shared.stopping.cancel();
        self.shared.begun.close();
        self.shared.begun.wait().await;
        connections.close();
        connections.wait().await;
    }
}

/// Serves or refuses a client, with an audit line in both cases. This runs in its own task, so that a slow
/// name service or a client that does not read its answer can't block other clients.
async fn admit(stream: UnixStream, others: usize, shared: Arc<Shared>) {
    let Ok(peer) = stream.peer_cred().map(Peer::from) else { return };
    let policy = Policy::load(&shared.policy);
    let limit = policy.as_ref().map_or(WITHOUT_POLICY.0, |policy| policy.hostd.max_connections);
    let account = policy.map_or_else(|_| DEFAULT_ACCOUNT.to_owned(), |policy| policy.hostd.account);
    if !may_ask(peer.uid, uid_of(account).await) {
        let error = HostError::Forbidden { uid: peer.uid };
        connection::refuse_stream(stream, peer, &shared.audit, error).await;
    } else if others >= limit {
        connection::refuse_stream(stream, peer, &shared.audit, HostError::Overloaded { limit }).await;
    } else {
        connection::serve(stream, peer, shared).await;
    }
}

/// Only root and the agent's account may send requests, whatever the mode of the socket.
fn may_ask(uid: u32, account: Option<u32>) -> bool {
    uid == 0 || Some(uid) == account
}

/// The id of an account that is given by name or number. The name service may block, so this does not run on
/// the async threads.
async fn uid_of(account: String) -> Option<u32> {
    if let Ok(uid) = account.parse() {
        return Some(uid);
    }
    let found = tokio::task::spawn_blocking(move || User::from_name(&account).ok().flatten());
    found.await.ok().flatten().map(|user| user.uid.as_raw())
}

fn idle_exit(policy: Result<Policy, PolicyError>) -> Duration {
    policy.map_or(WITHOUT_POLICY.1, |policy| policy.hostd.idle_exit)
}

/// Creates a socket without systemd, for root and the group of the agent's account. Removes the leftover
/// socket of a killed process, but no other file and no socket that is in use.
///
/// # Errors
/// The system's error, in words.
pub fn listen(path: &Path, policy: &Path) -> Result<UnixListener, String> {
    let failed = |what: &str, error: io::Error| format!("{} can't be {what}: {error}", path.display());
    match fs::symlink_metadata(path) {
        Ok(metadata) if !metadata.file_type().is_socket() => {
            return Err(format!("{} is there and is no socket; move it away", path.display()));
        }
        Ok(_) if std::os::unix::net::UnixStream::connect(path).is_ok() => {
            return Err(format!("another process serves {}; stop it first", path.display()));
        }
        Ok(_) => fs::remove_file(path).map_err(|error| failed("removed", error))?,
        Err(_) => {}
    }
    // Until the mode is set, only root can connect.
    let listener = with_umask(|| UnixListener::bind(path)).map_err(|error| failed("bound", error))?;
    let account =
        Policy::load(policy).map_or_else(|_| DEFAULT_ACCOUNT.to_owned(), |policy| policy.hostd.account);
    if rustix::process::geteuid().is_root()
        && let Some(group) = group_of(&account)
    {
        chown(path, None, Some(group)).map_err(|error| failed("given to its group", error))?;
    }
    fs::set_permissions(path, fs::Permissions::from_mode(0o660))
        .map_err(|error| failed("protected", error))?;
    Ok(listener)
}

fn with_umask<T>(bind: impl FnOnce() -> T) -> T {
    let before = rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o177));
    let bound = bind();
    rustix::process::umask(before);
    bound
}

fn group_of(account: &str) -> Option<u32> {
    let user = match account.parse() {
        Ok(uid) => User::from_uid(nix::unistd::Uid::from_raw(uid)),
        Err(_) => User::from_name(account),
    };
    user.ok().flatten().map(|user| user.gid.as_raw())
}

#[cfg(test)]
mod tests;

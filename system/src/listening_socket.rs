//! A Unix socket that only its group may use from the start, and that a second process can't take over.
//!
//! ```text
//! lock PATH.lock -> does a process answer at PATH? -> remove leftovers -> bind -> owner, mode -> listen
//! ```
//!
//! The process holds the lock until it exits, for whatever reason, so a socket without a lock is a leftover.
//! The kernel refuses connections between `bind` and `listen`, so no connection is accepted while the mode is
//! still that of the umask.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions},
    io,
    os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt, chown},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{Access, FlockOperation, access, flock},
    io::Errno,
    net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with},
    process::{getegid, geteuid, getgroups},
};
use tokio::net::{UnixListener, UnixSocket};

/// Owner and group may connect, which requires write permission.
const MODE_WITH_GROUP: u32 = 0o660;

/// The mode of a directory that this module creates: the group must be able to pass through it.
const DIRECTORY_MODE: u32 = 0o750;

/// `RuntimeDirectory=` of the unit: systemd creates it for the agent's account at each start.
const RUNTIME_DIRECTORY: &str = "/run/trove-couchdb-agent";

/// The number of connections that may wait to be accepted.
const BACKLOG: u32 = 64;

/// The settings that depend on the purpose of a socket.
#[derive(Debug, Clone, Copy)]
pub struct Purpose {
    /// The configuration key for its path.
    pub socket_key: &'static str,
    /// The configuration key for its group.
    pub group_key: &'static str,
    /// The mode if no group is configured: 0660 if the peer is also checked. Otherwise 0600, because the
    /// group is then that of the process or the directory.
    pub mode_without_group: u32,
}

/// The reason why the socket can't be created.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// Another process serves the socket.
    #[error("another process serves {}; stop it, or give this agent another {}", .0.display(), .1.socket_key)]
    InUse(PathBuf, Purpose),
    /// The file is not a socket, so it is not removed.
    #[error("{} is there and is no socket; move it away", .0.display())]
    NotASocket(PathBuf),
    /// Only root may give a file to a group of which it is not a member.
    #[error(
        "{} can't be given to group {group}: the agent's account is no member of it. Run the agent in that group \
         (Group= in the systemd unit), put the socket into a directory of that group with the setgid bit, or set {} to \
         a group of the account", path.display(), purpose.group_key
    )]
    NotAMember {
        /// The file.
        path: PathBuf,
        /// The group id.
        group: u32,
        /// The purpose of the socket.
        purpose: Purpose,
    },
    /// A system call failed.
    #[error("{} can't be {what}: {source}", path.display())]
    System {
        /// The file.
        path: PathBuf,
        /// The failed operation.
        what: &'static str,
        /// The system's error.
        source: io::Error,
    },
}

/// A socket that is removed on drop.
#[derive(Debug)]
pub struct ListeningSocket {
    listener: UnixListener,
    path: PathBuf,
    /// Device and inode of the socket that was created.
    made: (u64, u64),
    group: Option<u32>,
    mode: u32,
    _lock: File,
}

impl ListeningSocket {
    /// Binds and listens at `path`, for members of `group` if one is given. Must be called within a runtime.
    pub fn bind(path: &Path, group: Option<u32>, purpose: Purpose) -> Result<Self, SocketError> {
        let failed = |what| {
            let path = path.to_owned();
            move |source| SocketError::System { path, what, source }
        };
        make_directory(path, group).map_err(failed("given a directory"))?;
        let lock = lock(path, purpose)?;
        remove_left_over(path, purpose)?;
        let socket = UnixSocket::new_stream().map_err(failed("made"))?;
        socket.bind(path).map_err(failed("bound"))?;
        if let Some(group) = group {
            give(path, group).map_err(|error| match error.kind() {
                io::ErrorKind::PermissionDenied => {
                    SocketError::NotAMember { path: path.to_owned(), group, purpose }
                }
                _ => failed("given to its group")(error),
            })?;
        }
        let mode = group.map_or(purpose.mode_without_group, |_| MODE_WITH_GROUP);
        fs::set_permissions(path, Permissions::from_mode(mode)).map_err(failed("protected"))?;
        let bound = identity(path).map_err(failed("looked at"))?;
        let listener = socket.listen(BACKLOG).map_err(failed("listened on"))?;
        Ok(Self { listener, path: path.to_owned(), made: bound, group, mode, _lock: lock })
    }

    /// Checks whether [`ListeningSocket::bind`] may succeed for this process's account, without creating
    /// anything.
    pub fn check(path: &Path, group: Option<u32>, purpose: Purpose) -> Result<(), SocketError> {
        let failed = |source| SocketError::System { path: path.to_owned(), what: "made", source };
        if fs::symlink_metadata(path).is_ok_and(|metadata| !metadata.file_type().is_socket()) {
            return Err(SocketError::NotASocket(path.to_owned()));
        }
        // Missing directories are created by `bind`, or before it by systemd.
        let found = path.ancestors().skip(1).find_map(|above| Some((above, fs::metadata(above).ok()?)));
        let Some((above, metadata)) = found else { return Ok(()) };
        if !metadata.is_dir() {
            return Err(failed(io::ErrorKind::NotADirectory.into()));
        }
        if !path.starts_with(RUNTIME_DIRECTORY) || above.starts_with(RUNTIME_DIRECTORY) {
            access(above, Access::WRITE_OK | Access::EXEC_OK).map_err(|error| failed(error.into()))?;
        }
        match group {
            Some(group) if !may_give(group, metadata.gid()) => {
                Err(SocketError::NotAMember { path: path.to_owned(), group, purpose })
            }
            _ => Ok(()),
        }
    }

    /// The listening end.
    pub fn listener(&self) -> &UnixListener {
        &self.listener
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the kernel still admits only root, this process's user and the group: the file is the original
    /// one, with its group and mode.
    pub fn is_guarded(&self) -> bool {
        fs::symlink_metadata(&self.path).is_ok_and(|metadata| {
            (metadata.dev(), metadata.ino()) == self.made
                && metadata.mode() & 0o777 == self.mode
                && metadata.uid() == geteuid().as_raw()
                && self.group.is_none_or(|group| metadata.gid() == group)
        })
    }
}

impl Drop for ListeningSocket {
    fn drop(&mut self) {
        // Only the original socket: an operator may have replaced it.
        if identity(&self.path).is_ok_and(|there| there == self.made)
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::warn!(%error, path = %self.path.display(), "A socket can't be removed.");
        }
    }
}

/// The sandbox of the unit forbids `chown`, so it is not called if the group is already correct.
fn give(path: &Path, group: u32) -> io::Result<()> {
    if fs::symlink_metadata(path)?.gid() == group { Ok(()) } else { chown(path, None, Some(group)) }
}

/// Whether [`give`] would succeed in a directory of the group `of_directory`.
fn may_give(group: u32, of_directory: u32) -> bool {
    let groups = getgroups().unwrap_or_default();
    let is_ours = getegid().as_raw() == group || groups.iter().any(|ours| ours.as_raw() == group);
    geteuid().is_root() || is_ours || of_directory == group
}

fn make_directory(path: &Path, group: Option<u32>) -> io::Result<()> {
    let Some(directory) = path.parent().filter(|directory| !directory.exists()) else { return Ok(()) };
    if let Some(above) = directory.parent() {
        DirBuilder::new().recursive(true).mode(0o755).create(above)?;
    }
    match DirBuilder::new().mode(DIRECTORY_MODE).create(directory) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    if let Some(group) = group {
        give(directory, group)?;
    }
    // The umask may have removed the group's permissions.
    fs::set_permissions(directory, Permissions::from_mode(DIRECTORY_MODE))
}

/// Never removed: otherwise one process could lock the removed file and another a new one.
fn lock(path: &Path, purpose: Purpose) -> Result<File, SocketError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let name = PathBuf::from(name);
    let failed = |what| {
        let path = name.clone();
        move |source| SocketError::System { path, what, source }
    };
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&name)
        .map_err(failed("opened"))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(Errno::WOULDBLOCK) => Err(SocketError::InUse(path.to_owned(), purpose)),
        Err(error) => Err(failed("locked")(error.into())),
    }
}

/// Removes the leftover socket of a killed agent, on which no process listens.
fn remove_left_over(path: &Path, purpose: Purpose) -> Result<(), SocketError> {
    let failed = |what| {
        let path = path.to_owned();
        move |source| SocketError::System { path, what, source }
    };
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed("looked at")(error)),
        Ok(metadata) if !metadata.file_type().is_socket() => {
            return Err(SocketError::NotASocket(path.to_owned()));
        }
        Ok(_) => {}
    }
    // A process that does not use the lock may serve the socket.
    match probe(path) {
        Err(Errno::CONNREFUSED) => {}
        Err(Errno::NOENT) => return Ok(()),
        // A process listens but is too busy.
        Ok(()) | Err(Errno::AGAIN) => return Err(SocketError::InUse(path.to_owned(), purpose)),
        Err(error) => return Err(failed("probed")(error.into())),
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("removed")(error)),
        _ => Ok(()),
    }
}

fn probe(path: &Path) -> rustix::io::Result<()> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    connect(&socket, &SocketAddrUnix::new(path)?)
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|metadata| (metadata.dev(), metadata.ino()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use std::os::unix::net::UnixStream;

    use super::*;

    const PURPOSE: Purpose =
        Purpose { socket_key: "local.socket", group_key: "local.group", mode_without_group: 0o660 };

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[tokio::test]
    async fn it_is_for_owner_and_group_and_goes_with_its_owner() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("run/agent.sock");
        let group = fs::metadata(directory.path()).unwrap().gid();
        let socket = ListeningSocket::bind(&path, Some(group), PURPOSE).unwrap();
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o660, 0o750));
        assert!(socket.is_guarded());
        UnixStream::connect(&path).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o666)).unwrap();
        assert!(!socket.is_guarded());
        drop(socket);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_live_socket_is_never_taken_and_a_dead_one_always() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("agent.sock");
        let alive = ListeningSocket::bind(&path, None, PURPOSE).unwrap();
        assert!(matches!(ListeningSocket::bind(&path, None, PURPOSE), Err(SocketError::InUse(..))));
        UnixStream::connect(&path).unwrap();
        drop(alive);
        // A killed process: the socket exists, but no process listens or holds the lock.
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        ListeningSocket::bind(&path, None, PURPOSE).unwrap();
        // A process that does not use the lock.
        let stranger = std::os::unix::net::UnixListener::bind(&path).unwrap();
        assert!(matches!(ListeningSocket::bind(&path, None, PURPOSE), Err(SocketError::InUse(..))));
        drop(stranger);
    }

    #[tokio::test]
    async fn what_is_no_socket_stays() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("agent.sock");
        fs::write(&path, "precious").unwrap();
        let error = ListeningSocket::bind(&path, None, PURPOSE).unwrap_err().to_string();
        assert!(error.ends_with("agent.sock is there and is no socket; move it away"), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    }

    #[tokio::test]
    async fn a_file_of_another_process_in_its_place_is_not_removed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("agent.sock");
        let socket = ListeningSocket::bind(&path, None, PURPOSE).unwrap();
        fs::remove_file(&path).unwrap();
        fs::write(&path, "theirs").unwrap();
        assert!(!socket.is_guarded());
        drop(socket);
        assert_eq!(fs::read_to_string(&path).unwrap(), "theirs");
    }

    #[tokio::test]
    async fn without_a_group_the_mode_is_that_of_its_purpose() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("metrics.sock");
        let socket =
            ListeningSocket::bind(&path, None, Purpose { mode_without_group: 0o600, ..PURPOSE }).unwrap();
        assert_eq!(mode(&path), 0o600);
        assert!(socket.is_guarded());
    }
}

//! The edges of the guest: its file systems, its files, its groups and its sockets.

mod atomic_file;
mod group;
mod listening_socket;
mod statvfs;

pub use atomic_file::{Owner, create, replace, replace_as};
pub use group::group_id;
pub use listening_socket::{ListeningSocket, SocketError};
pub use statvfs::{Usage, usage_of};

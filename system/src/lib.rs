//! The interface to the operating system: accounts, file systems, files, groups and sockets, and [`tls`].
//!
//! The crate does not depend on Trove or CouchDB. It is the only user of `nix`, and of `rustix` except for a
//! few owners and flags of files.

mod account;
mod atomic_file;
mod blocking;
mod boot_clock;
mod boot_id;
mod group;
mod leftovers;
mod listeners;
mod listening_socket;
mod machine;
mod statvfs;
pub mod tls;

pub use account::{ACCOUNT, account_of, environment_of_account, forbid_core_dumps};
pub use atomic_file::{Owner, create, replace, replace_as};
pub use blocking::blocking;
pub use boot_clock::BootInstant;
pub use boot_id::boot_id;
pub use group::group_id;
pub use leftovers::remove_leftovers;
pub use listeners::listeners;
pub use listening_socket::{ListeningSocket, Purpose, SocketError};
pub use machine::{memory, processors};
pub use statvfs::{Usage, usage_of};

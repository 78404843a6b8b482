//! The edges of the guest: its account, its file systems, its files, its groups and its sockets, and [`tls`] on them.
//!
//! Knows neither Trove nor CouchDB. The only user of `nix`, and of `rustix` but for a few owners and flags of files.

mod account;
mod atomic_file;
mod blocking;
mod boot_clock;
mod boot_id;
mod group;
mod leftovers;
mod listeners;
mod listening_socket;
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
pub use statvfs::{Usage, usage_of};

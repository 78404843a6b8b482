//! The edges of the guest: its file systems and its files.

mod atomic_file;
mod statvfs;

pub use atomic_file::{Owner, create, replace, replace_as};
pub use statvfs::{Usage, usage_of};

//! The edges of the guest: its file systems and its files.

mod atomic_file;
mod statvfs;

pub use atomic_file::replace;
pub use statvfs::{Usage, usage_of};

//! The server itself: its health, configuration and disk, and the causes of failures.

pub(crate) mod config_root;
pub(crate) mod data_dir;
pub(crate) mod disk;
pub(crate) mod explain;
pub(crate) mod health;
pub(crate) mod inspection;
pub(crate) mod nodes;

//! The server itself: its health, configuration, figures and disk, and the causes of failures.

pub(crate) mod cause;
pub(crate) mod compaction;
pub(crate) mod config_root;
pub(crate) mod data_dir;
pub(crate) mod disk;
pub(crate) mod explain;
pub(crate) mod figures;
pub(crate) mod health;
pub(crate) mod inspection;
pub(crate) mod nodes;
pub(crate) mod survey;
pub(crate) mod write_check;

//! Access to databases: reads `_security` of many databases at once, and edits it for one.

pub(crate) mod access;
pub(crate) mod database_access;
pub(crate) mod pending;
pub(crate) mod public_databases;
pub mod security;
pub(crate) mod security_edit;
pub(crate) mod security_object;
pub(crate) mod security_scan;
pub(crate) mod shared_scans;

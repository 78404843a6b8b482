//! Answers: reads them, limits their size, and recognises those that are not CouchDB's.

pub(crate) mod answer;
pub(crate) mod error;
pub(crate) mod exact;
pub(crate) mod login_problem;
pub(crate) mod reason;
pub(crate) mod session;
pub(crate) mod stranger;
pub(crate) mod version;

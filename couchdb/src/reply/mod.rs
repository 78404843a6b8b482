//! What came back: read, bounded, and told from what CouchDB never says.

pub(crate) mod answer;
pub(crate) mod error;
pub(crate) mod exact;
pub(crate) mod login_problem;
pub(crate) mod reason;
pub(crate) mod session;
pub(crate) mod stranger;
pub(crate) mod version;

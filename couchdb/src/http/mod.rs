//! How CouchDB is asked: the pool of connections, the login that a request carries, and what is told of it.

pub(crate) mod client;
pub(crate) mod connector;
pub(crate) mod line;
pub(crate) mod login;
pub(crate) mod observer;

//! How CouchDB is asked: the pool of connections, the login that a request carries, and what is told of it.

pub(crate) mod client;
pub(crate) mod connector;
mod exchange;
pub(crate) mod line;
pub(crate) mod login;
pub(crate) mod observer;
mod request;
pub(crate) mod stream;

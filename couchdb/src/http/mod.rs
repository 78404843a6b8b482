//! HTTP access to CouchDB: the connection pool, the logins and the observer.

pub(crate) mod client;
pub(crate) mod connector;
mod exchange;
pub(crate) mod line;
pub(crate) mod login;
pub(crate) mod observer;
mod request;
pub(crate) mod stream;

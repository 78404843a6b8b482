//! What the agent and the operator's tool both know of a guest: its files, the way to its broker, the way to its helper.
//!
//! A crate of its own because both programs need the same answer. The tool must not have a password refused that the agent
//! has had refused ([`RefusedLogins`]), must read a credentials file as the agent does, declare a queue with the flags that
//! the agent declares, and describe the agent's command line in its manual page ([`args`]). What only one of them
//! needs is in that one.
//!
//! | module | what it knows |
//! |---|---|
//! | [`args`] | the agent's command line |
//! | [`broker`] | connecting to a broker, and the queues of a guest |
//! | [`credentials`] | the file with `os_admin`'s password |
//! | [`ini`] | `os_admin` in CouchDB's ini files |
//! | [`host`] | the client of `trove-couchdb-hostd` |
//! | [`refusals`], [`circumstances`] | which passwords CouchDB refused, and what may have repaired that |
//! | [`state`] | how far this guest is on its way to being a database, and whether CouchDB was stopped on purpose |

pub mod args;
pub mod broker;
pub mod circumstances;
pub mod credentials;
pub mod host;
pub mod ini;
pub mod refusals;
pub mod state;

pub use circumstances::RefusedLogins;

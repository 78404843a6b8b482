//! The code that the agent and the operator's tool share: a guest's files, its broker connection, its helper.
//!
//! Both programs must behave the same. The tool must not send a password that CouchDB refused to the
//! agent ([`RefusedLogins`]). It must read the credentials file like the agent, declare queues with the
//! agent's flags, and describe the agent's command line in its manual page ([`args`]). Code that only
//! one program needs is in that program.
//!
//! | module | content |
//! |---|---|
//! | [`args`] | the agent's command line |
//! | [`broker`] | connecting to a broker, and the queues of a guest |
//! | [`credentials`] | the file with `os_admin`'s password |
//! | [`ini`] | `os_admin` in CouchDB's ini files |
//! | [`host`] | the client of `trove-couchdb-hostd` |
//! | [`redact`] | removes secrets from text that leaves the machine |
//! | [`refusals`], [`circumstances`] | passwords that CouchDB refused, and what may have repaired the login |
//! | [`redact`] | removes secrets from text that leaves the machine |
//! | [`state`] | the progress of `prepare`, and whether CouchDB was stopped on purpose |

pub mod args;
pub mod broker;
pub mod circumstances;
pub mod credentials;
pub mod host;
pub mod ini;
pub mod redact;
pub mod refusals;
pub mod state;

pub use circumstances::RefusedLogins;

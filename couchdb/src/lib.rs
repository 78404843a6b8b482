//! Administers a CouchDB 1.6, 2.x or 3.x over HTTP: users, databases, access, server administrators,
//! configuration, nodes, and health.
//!
//! Commands call [`Couch`]. It takes names that passed [`Policy`], sends requests to CouchDB as `os_admin`,
//! and returns values or a [`CommandError`]. Every function that changes something may be interrupted at any
//! point and run again with the same final state. So redelivered commands are harmless.
//!
//! ```text
//! commands -> Couch -> Client -> CouchDB
//!               |         ^
//!               |         +-- bootstrap (before there is an os_admin login)
//!               +-- Policy, Hasher, security (pure edits)
//! ```
//!
//! The crate does not depend on Trove, the transports or the metrics. An [`Observer`] is notified of its
//! requests.
//!
//! | directory | content |
//! |---|---|
//! | `http` | requests to CouchDB; [`Download`] and [`Upload`] for large bodies |
//! | `path` | the resources; a [`Node`] for what each node of a cluster keeps separately |
//! | `reply` | the answers, and how to recognise those of other servers |
//! | `permissions` | `_security` |
//! | `accounts` | users and server administrators |
//! | `server` | health, nodes, disk |
//! | [`configuration`] | the options that may be set: table, checks, nodes |

mod accounts;
mod command_error;
pub mod configuration;
mod couch;
mod databases;
mod http;
mod locks;
mod path;
mod permissions;
mod policy;
mod range;
mod reply;
mod server;

pub use accounts::{
    hash::{Hasher, Iterations, PasswordHash, Prf, Rounds},
    progress::Progress,
    user_details::{OwnDatabase, UserDetails},
    users::{ListedUser, NewAccount},
};
pub use command_error::CommandError;
pub use couch::{AdminLogin, Couch, Server};
pub use databases::CreateDatabases;
pub use http::{
    client::Client,
    connector::Limits,
    login::Login,
    observer::{Exchange, Observer},
    stream::{Download, Upload},
};
pub use path::{
    node::Node,
    resource::Resource,
    segment::{ConfigRoot, ListedDatabase, ServerAdmin, SystemDatabase},
};
pub use permissions::{
    database_access::{AccessPage, DatabaseAccess, Group},
    pending::PendingEdits,
    public_databases::{PublicDatabases, close_system_databases},
    security,
};
pub use policy::{Policy, TenantDatabase, TenantUser};
pub use range::Range;
pub use reply::{error::CouchError, login_problem::LoginProblem, session::Session, version::ServerVersion};
pub use reqwest::Method;
pub use server::{
    config_root::config_root,
    disk::{Disk, LowDisk},
    health::Health,
    inspection::ServerSettings,
    nodes::Membership,
};

//! CouchDB as this agent administers it: users, databases, access, root, and its health.
//!
//! [`Couch`] is what commands call. It takes names that passed [`Policy`], asks CouchDB over HTTP as
//! `os_admin`, and answers with values or a [`CommandError`]. Every function that changes something may be
//! run again after it was cut short at any point, and ends in the same state; that is what makes a redelivered
//! command harmless.
//!
//! ```text
//! commands -> Couch -> Client -> CouchDB
//!               |         ^
//!               |         +-- bootstrap (before there is an os_admin login)
//!               +-- Policy, Hasher, security (pure edits)
//! ```
//!
//! Nothing else in the agent names `reqwest`.

mod accounts;
mod command_error;
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
    exposure::{Exposure, close_system_databases},
    pending::PendingEdits,
    security,
    sweeps::UserAccess,
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

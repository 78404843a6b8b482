//! The administration of a CouchDB 1.6, 2.x or 3.x over HTTP: users, databases, access, server administrators, configuration,
//! nodes, and its health.
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
//! It knows neither Trove, nor how commands arrive, nor who counts its requests: whoever wants to hear of them is an
//! [`Observer`].
//!
//! | directory | what is in it |
//! |---|---|
//! | `http` | how CouchDB is asked; [`Download`] and [`Upload`] for what is longer than a command's |
//! | `path` | what can be asked for; a [`Node`] for what each node of a cluster has by itself |
//! | `reply` | what came back, and which of it is not CouchDB's |
//! | `permissions` | `_security` |
//! | `accounts` | users and server administrators |
//! | `server` | health, configuration, nodes, disk |

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

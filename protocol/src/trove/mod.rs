//! Trove's side of the wire: the commands a guest is given, the objects it answers with, what it tells the conductor.
//!
//! ```text
//! Request {method, args} --Command::decode--> Command --handlers--> UserModel, DatabaseModel, … --to_value--> result
//! ServiceStatus, notifications --ConductorCast::encode--> trove-conductor
//! ```
//!
//! [`Command`] has one variant for each method the agent carries out. Its fields are checked: names are names, passwords
//! are secrets, a list is a list. What Trove sends beyond them is ignored, what it may leave out is optional. All other
//! methods of the guest API are [`Command::Unsupported`], so that they are answered at once and not with silence.

mod access;
mod conductor;
mod databases;
mod lifecycle;
mod log_filter;
mod method;
mod models;
mod prepare;
mod root;
mod status;
mod users;

use serde_json::{Map, Value};

pub use self::{
    conductor::ConductorCast,
    log_filter::{LogFilter, LogFilterError},
    method::Method,
    models::{DatabaseModel, UserModel, root_user},
    prepare::{Demand, Prepare},
    status::ServiceStatus,
    users::{NewUser, PasswordChange},
};
use crate::{
    error::DecodeError,
    fields::{Field, Fields},
    names::{DatabaseName, HostPattern, UserName},
    secret::Secret,
};

/// A command to the guest, ready to be carried out.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// `rpc_ping`: is anybody there?
    Ping,
    /// `create_user`
    CreateUser {
        /// All are created, or the first fault is reported.
        users: Vec<NewUser>,
    },
    /// `delete_user`
    DeleteUser {
        /// Whom.
        user: UserName,
        /// From where it could log in.
        host: HostPattern,
    },
    /// `get_user`
    GetUser {
        /// Whom.
        user: UserName,
        /// From where it can log in.
        host: HostPattern,
    },
    /// `list_users`
    ListUsers(Page),
    /// `change_passwords`
    ChangePasswords {
        /// Whose, and to what.
        users: Vec<PasswordChange>,
    },
    /// `update_attributes`: whatever is `None` stays as it is.
    UpdateAttributes {
        /// Whose.
        user: UserName,
        /// From where it can log in now.
        host: HostPattern,
        /// The new name.
        rename: Option<UserName>,
        /// The new password.
        password: Option<Secret>,
        /// From where it shall be able to log in.
        new_host: Option<HostPattern>,
    },
    /// `grant_access`
    GrantAccess {
        /// To whom.
        user: UserName,
        /// From where it can log in.
        host: HostPattern,
        /// To which databases.
        databases: Vec<DatabaseName>,
    },
    /// `revoke_access`
    RevokeAccess {
        /// From whom.
        user: UserName,
        /// From where it can log in.
        host: HostPattern,
        /// From which database.
        database: DatabaseName,
    },
    /// `list_access`
    ListAccess {
        /// Whose.
        user: UserName,
        /// From where it can log in.
        host: HostPattern,
    },
    /// `create_database`
    CreateDatabase {
        /// All are created, or the first fault is reported.
        databases: Vec<DatabaseName>,
    },
    /// `delete_database`
    DeleteDatabase {
        /// Which.
        database: DatabaseName,
    },
    /// `list_databases`
    ListDatabases(Page),
    /// `enable_root`: the guest chooses the password and answers with it.
    EnableRoot,
    /// `enable_root_with_password`
    EnableRootWithPassword {
        /// The password; `None` means that the guest chooses one.
        password: Option<Secret>,
    },
    /// `disable_root`
    DisableRoot,
    /// `is_root_enabled`
    IsRootEnabled,
    /// `get_filesystem_stats`
    GetFilesystemStats {
        /// Trove 26 always sends null.
        fs_path: Option<String>,
    },
    /// `prepare`
    Prepare(Box<Prepare>),
    /// `prepare` with arguments that break a rule: to be refused, but not before the instance is told to have failed.
    MalformedPrepare(DecodeError),
    /// `stop_db`: sent before an instance is deleted, rebooted or resized.
    StopDb,
    /// `get_agent_status`, the agent's own: how it does, for its operator.
    GetAgentStatus,
    /// `check_databases`, the agent's own: which databases are open to everybody.
    CheckDatabases,
    /// `rotate_os_admin`, the agent's own: another password for its account on CouchDB.
    RotateOsAdmin,
    /// `set_log_filter`, the agent's own: what is logged from now on.
    SetLogFilter {
        /// `None` for the filter of the configuration.
        filter: Option<LogFilter>,
    },
    /// Every other method of the guest API.
    Unsupported(Method),
}

/// The longest marker, in bytes. A name of 238 bytes that trove-api has quoted twice has 1,190 characters; CouchDB takes no
/// request line of 16 KiB, and quoting makes three characters of a byte.
const LONGEST_MARKER: usize = 2_048;

/// Which part of a list is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Page {
    /// At most so many items, never 0; `None` for all.
    pub limit: Option<usize>,
    /// Where the page begins: a name, or `name@host`.
    pub marker: Option<String>,
    /// Whether the item at the marker belongs to the page.
    pub include_marker: bool,
}

impl Page {
    fn decode(args: &Fields<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            // As trove/guestagent/common/pagination.py has it.
            limit: args.optional_as("limit", Field::count)?.filter(|limit| *limit > 0),
            marker: args
                .optional_as("marker", |field| field.short::<LONGEST_MARKER>("text of a name's length"))?,
            include_marker: args.optional_as("include_marker", Field::flag)?.unwrap_or(false),
        })
    }
}

impl Command {
    /// Understands a request's method and its decrypted arguments.
    pub fn decode(method: &str, args: &Map<String, Value>) -> Result<Self, DecodeError> {
        let args = &Fields::root(args);
        let Some(method) = Method::from_name(method) else {
            return Err(DecodeError::UnknownMethod(method.to_owned()));
        };
        match method {
            Method::RpcPing => Ok(Self::Ping),
            Method::CreateUser => users::create(args),
            Method::DeleteUser => users::delete(args),
            Method::GetUser => users::get(args),
            Method::ListUsers => Page::decode(args).map(Self::ListUsers),
            Method::ChangePasswords => users::change_passwords(args),
            Method::UpdateAttributes => users::update_attributes(args),
            Method::GrantAccess => access::grant(args),
            Method::RevokeAccess => access::revoke(args),
            Method::ListAccess => access::list(args),
            Method::CreateDatabase => databases::create(args),
            Method::DeleteDatabase => databases::delete(args),
            Method::ListDatabases => Page::decode(args).map(Self::ListDatabases),
            Method::EnableRoot => Ok(Self::EnableRoot),
            Method::EnableRootWithPassword => root::enable_with_password(args),
            Method::DisableRoot => Ok(Self::DisableRoot),
            Method::IsRootEnabled => Ok(Self::IsRootEnabled),
            Method::GetFilesystemStats => lifecycle::get_filesystem_stats(args),
            Method::Prepare => Ok(prepare::prepare(args)),
            Method::StopDb => Ok(Self::StopDb),
            Method::GetAgentStatus => Ok(Self::GetAgentStatus),
            Method::CheckDatabases => Ok(Self::CheckDatabases),
            Method::RotateOsAdmin => Ok(Self::RotateOsAdmin),
            Method::SetLogFilter => log_filter::set(args),
            other => Ok(Self::Unsupported(other)),
        }
    }

    /// The method of this command.
    pub fn method(&self) -> Method {
        match self {
            Self::Ping => Method::RpcPing,
            Self::CreateUser { .. } => Method::CreateUser,
            Self::DeleteUser { .. } => Method::DeleteUser,
            Self::GetUser { .. } => Method::GetUser,
            Self::ListUsers(_) => Method::ListUsers,
            Self::ChangePasswords { .. } => Method::ChangePasswords,
            Self::UpdateAttributes { .. } => Method::UpdateAttributes,
            Self::GrantAccess { .. } => Method::GrantAccess,
            Self::RevokeAccess { .. } => Method::RevokeAccess,
            Self::ListAccess { .. } => Method::ListAccess,
            Self::CreateDatabase { .. } => Method::CreateDatabase,
            Self::DeleteDatabase { .. } => Method::DeleteDatabase,
            Self::ListDatabases(_) => Method::ListDatabases,
            Self::EnableRoot => Method::EnableRoot,
            Self::EnableRootWithPassword { .. } => Method::EnableRootWithPassword,
            Self::DisableRoot => Method::DisableRoot,
            Self::IsRootEnabled => Method::IsRootEnabled,
            Self::GetFilesystemStats { .. } => Method::GetFilesystemStats,
            Self::Prepare(_) | Self::MalformedPrepare(_) => Method::Prepare,
            Self::StopDb => Method::StopDb,
            Self::GetAgentStatus => Method::GetAgentStatus,
            Self::CheckDatabases => Method::CheckDatabases,
            Self::RotateOsAdmin => Method::RotateOsAdmin,
            Self::SetLogFilter { .. } => Method::SetLogFilter,
            Self::Unsupported(method) => *method,
        }
    }

    /// Whether the database server has a part in it.
    pub fn needs_couchdb(&self) -> bool {
        !matches!(
            self,
            Self::Ping
                | Self::GetFilesystemStats { .. }
                | Self::MalformedPrepare(_)
                | Self::StopDb
                | Self::GetAgentStatus
                | Self::SetLogFilter { .. }
                | Self::Unsupported(_)
        )
    }

    /// The method's name on the wire: from a fixed set, fit for a metric's label.
    pub fn name(&self) -> &'static str {
        self.method().name()
    }
}

#[cfg(test)]
mod tests;

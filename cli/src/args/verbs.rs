//! The verbs with their arguments: Trove's verbs in the order of `trove help`, then the agent's own.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueHint};
use trove_couchdb_protocol::{DatabaseName, UserName, trove::LogFilter};

use super::apply::ApplyArgs;
use super::configuration::{ConfigApplyArgs, ConfigSetArgs, ConfigShowArgs, ConfigUnsetArgs};
use super::operation::{OperationArgs, OperationRehearseArgs, OperationWaitArgs};
use super::service::{ServiceArgs, ServiceStatusArgs, ServiceWaitArgs};
use super::shell::{CompletionsArgs, ManArgs};

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Create a user
    ///
    /// The program prompts for the password, reads it from standard input, or generates it.
    UserCreate(NewUser),
    /// List the users with their databases
    UserList(PageArgs),
    /// Show a user
    UserShow(User),
    /// Delete a user and its access; asks first
    UserDelete(User),
    /// Change a user's name, its password, or both
    UserUpdateAttributes(UpdateArgs),
    /// Give a user access to databases
    UserGrantAccess(UserAndDatabases),
    /// Revoke a user's access to a database
    UserRevokeAccess(UserAndDatabase),
    /// List the databases that a user has access to
    UserShowAccess(User),
    /// Create a database that only administrators can access
    DatabaseCreate(NewDatabase),
    /// List the databases
    DatabaseList(PageArgs),
    /// Delete a database and all its documents; asks first
    DatabaseDelete(Database),
    /// Enable root, or give it a new password; prints the password
    ///
    /// The agent generates the password unless you give one.
    RootEnable(RootArgs),
    /// Show whether root is enabled
    RootShow,
    /// Disable root; asks first
    RootDisable,
    /// Check whether the agent answers
    Ping,

    /// Show the state of the agent, the broker and CouchDB
    Status,
    /// Check each link from the configuration to CouchDB, and suggest a fix for each failure
    ///
    /// Run it on the agent's machine, as root or as the agent's user; it works while the agent is down. It changes nothing,
    /// and sends a password at most once: CouchDB 3.4 and later lock an account after five wrong passwords.
    Doctor(DoctorArgs),
    /// Show the connection URLs of a user, of root or of os_admin
    Credentials(CredentialsArgs),
    /// Give os_admin a new password
    ///
    /// The agent generates it and saves it in its credentials file. Commands continue meanwhile, and a crash at any moment
    /// leaves a working login. To see the password, use `credentials os_admin --reveal`.
    RotateOsAdmin,
    /// Change what the agent logs, without a restart
    ///
    /// The change lasts until the agent restarts or reads log.filter again on SIGHUP. Only over the agent's socket, not
    /// over RabbitMQ.
    LogLevel(LogLevelArgs),
    /// Show the options of CouchDB that are set, who set them, and whether they are in effect
    ///
    /// Set by is template (Trove's config.template), group (Trove's configuration group), file (couchdb-config-apply) or
    /// operator (couchdb-config-set). Only over the agent's socket, not over RabbitMQ.
    CouchdbConfigShow(ConfigShowArgs),
    /// Set options of CouchDB, on every node
    ///
    /// The options are in docs/couchdb-options.md. They outrank those of a configuration group and of a file. Only over the
    /// agent's socket, not over RabbitMQ.
    CouchdbConfigSet(ConfigSetArgs),
    /// Take back options that an operator set
    ///
    /// An option returns to the value of the configuration group, or to the value before it was first set. Only over the
    /// agent's socket, not over RabbitMQ.
    CouchdbConfigUnset(ConfigUnsetArgs),
    /// Set the options of CouchDB that a file has, and take back those of the file before
    ///
    /// The file has the format of CouchDB's ini files. Only over the agent's socket, not over RabbitMQ.
    CouchdbConfigApply(ConfigApplyArgs),
    /// End all sessions of CouchDB; asks first
    ///
    /// Every node gets a new secret, so that every user with a cookie has to log in again, and proxies with
    /// proxy_use_secret need the new secret. Only over the agent's socket, not over RabbitMQ.
    SessionReset,
    /// Show the state of CouchDB's process
    ///
    /// Needs trove-couchdb-hostd, the agent's privileged helper. Only over the agent's socket, not over RabbitMQ.
    ServiceStatus(ServiceStatusArgs),
    /// Start CouchDB and wait until it runs
    ///
    /// Needs trove-couchdb-hostd, and root's host.toml must allow it. Only over the agent's socket, not over RabbitMQ.
    ServiceStart(ServiceArgs),
    /// Stop CouchDB and wait until it is stopped
    ///
    /// Needs trove-couchdb-hostd, and root's host.toml must allow it. Only over the agent's socket, not over RabbitMQ.
    ServiceStop(ServiceArgs),
    /// Restart CouchDB and wait until a new process runs
    ///
    /// Needs trove-couchdb-hostd, and root's host.toml must allow it. Only over the agent's socket, not over RabbitMQ.
    ServiceRestart(ServiceArgs),
    /// Wait until CouchDB's process is running or stopped
    ///
    /// A running process may not answer yet: `status` shows whether CouchDB answers.
    ServiceWait(ServiceWaitArgs),
    /// List the running operations, and those that finished recently
    ///
    /// An operation is a command that may take hours, such as the preparation of an instance. It continues without its
    /// message, across restarts of the agent.
    OperationList,
    /// Show an operation: its step, its progress, its outcome
    OperationShow(OperationArgs),
    /// Show what happened in an operation, step by step
    OperationLogs(OperationArgs),
    /// Wait until an operation finishes; fails if the operation failed
    OperationWait(OperationWaitArgs),
    /// Cancel an operation; asks first
    ///
    /// A part of it may already have taken effect. Only over the agent's socket, not over RabbitMQ.
    OperationCancel(OperationArgs),
    /// Start an operation that changes nothing, to test progress, metrics and alarms
    ///
    /// Only over the agent's socket, not over RabbitMQ.
    OperationRehearse(OperationRehearseArgs),
    /// Show the commands that create a RabbitMQ account for one instance, limited to what its agent needs
    ///
    /// It runs nothing and contacts no server: read the commands, then run them where rabbitmqctl is. The instance comes
    /// from --instance, the rest from the control plane's --config-file. A new password is generated on every call.
    BrokerUser(BrokerUserArgs),
    /// Bring users, databases and access to the state that a file describes
    ///
    /// Shows what would change (+ added, ~ changed, - removed) and asks. A second run changes nothing; if a run is
    /// interrupted, the next one resumes where it stopped. The format of the file is in docs/cli.md; `export` writes one.
    Apply(ApplyArgs),
    /// Print the current users, databases and access as a file for `apply`, without passwords
    Export,
    /// Print the completions for a shell
    Completions(CompletionsArgs),
    /// Print the manual page, or write all of them to a directory
    Man(ManArgs),
}

/// A user.
#[derive(Debug, Args)]
pub struct User {
    /// The user's name
    pub name: UserName,
}

/// A database.
#[derive(Debug, Args)]
pub struct Database {
    /// The database's name
    pub name: DatabaseName,
}

/// Where a password comes from.
#[derive(Debug, Default, Args)]
pub struct PasswordArgs {
    /// Read the password from standard input (its first line) instead of prompting for it
    #[arg(long, conflicts_with = "generate")]
    pub password_stdin: bool,

    /// Generate a password and print it once
    #[arg(long)]
    pub generate: bool,
}

/// A user to be created.
#[derive(Debug, Args)]
pub struct NewUser {
    /// The user's name
    pub name: UserName,

    /// Databases that the user can access, separated by commas; may be repeated. They must exist
    #[arg(long, value_name = "DATABASE,…", value_delimiter = ',')]
    pub databases: Vec<DatabaseName>,

    /// Its password.
    #[command(flatten)]
    pub password: PasswordArgs,
}

/// A database to be created.
#[derive(Debug, Args)]
pub struct NewDatabase {
    /// The database's name: a lower-case letter, then lower-case letters, digits and _ $ ( ) + - /
    pub name: DatabaseName,
}

/// A user's new attributes.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("what").required(true).multiple(true)
    .args(["new_name", "new_password", "password_stdin", "generate"]))]
pub struct UpdateArgs {
    /// The user's name
    pub name: UserName,

    /// The user's new name; its password and access stay the same
    #[arg(long, alias = "new_name", value_name = "NAME")]
    pub new_name: Option<UserName>,

    /// Prompt for a new password
    #[arg(long, alias = "new_password", conflicts_with_all = ["password_stdin", "generate"])]
    pub new_password: bool,

    /// Its new password.
    #[command(flatten)]
    pub password: PasswordArgs,
}

/// A user and databases.
#[derive(Debug, Args)]
pub struct UserAndDatabases {
    /// The user's name
    pub name: UserName,

    /// The databases
    #[arg(required = true, value_name = "DATABASE")]
    pub databases: Vec<DatabaseName>,
}

/// A user and a database.
#[derive(Debug, Args)]
pub struct UserAndDatabase {
    /// The user's name
    pub name: UserName,

    /// The database
    pub database: DatabaseName,
}

/// Which part of a list is wanted.
#[derive(Debug, Args)]
pub struct PageArgs {
    /// Maximum number of rows [default: all]
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub limit: Option<u64>,

    /// Start after this name (printed by the previous call with --limit)
    #[arg(long, value_name = "NAME")]
    pub marker: Option<String>,
}

/// Root's password.
#[derive(Debug, Args)]
pub struct RootArgs {
    /// Prompt for the password
    #[arg(long, alias = "root_password", conflicts_with = "password_stdin")]
    pub root_password: bool,

    /// Read the password from standard input (its first line)
    #[arg(long)]
    pub password_stdin: bool,
}

/// What `doctor` is to do with its findings.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Write the findings, status, configuration, versions and the last log lines to an archive for support, with all
    /// secrets removed
    #[arg(long, value_name = "FILE.tar.gz", value_hint = ValueHint::FilePath)]
    pub bundle: Option<PathBuf>,

    /// List the checks and what each one examines
    #[arg(long, conflicts_with = "bundle")]
    pub list: bool,
}

/// Whose URLs.
#[derive(Debug, Args)]
pub struct CredentialsArgs {
    /// A user, root or os_admin [default: all users]
    #[arg(value_name = "USER")]
    pub name: Option<UserName>,

    /// Include the password. os_admin's comes from the agent's credentials file. For other users the program prompts for
    /// the password and tries it once, because CouchDB stores only hashes
    #[arg(long, requires = "name")]
    pub reveal: bool,

    /// Read the password for --reveal from standard input (its first line)
    #[arg(long, requires = "reveal")]
    pub password_stdin: bool,

    /// The address that clients use for CouchDB [default: the agent's own]
    #[arg(long, value_name = "HOST[:PORT]")]
    pub host: Option<String>,

    /// The scheme that clients use, http or https [default: the agent's own]
    #[arg(long, value_name = "SCHEME", value_parser = ["http", "https"])]
    pub scheme: Option<String>,
}

/// What is logged.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("filter_or_configured").required(true).args(["filter", "configured"]))]
pub struct LogLevelArgs {
    /// off, error, warn, info, debug, trace, or target=level, separated by commas
    pub filter: Option<LogFilter>,

    /// Go back to the filter that the agent last read from its configuration
    #[arg(long)]
    pub configured: bool,
}

/// The account.
#[derive(Debug, Args)]
pub struct BrokerUserArgs {
    /// The account's name [default: guestagent-ID]
    #[arg(long, value_name = "NAME")]
    pub user: Option<String>,

    /// The virtual host [default: that of the configuration files]
    #[arg(long, value_name = "NAME")]
    pub vhost: Option<String>,
}

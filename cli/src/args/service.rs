//! The arguments of the verbs on CouchDB's process.

use clap::{Args, ValueEnum};
use trove_couchdb_protocol::host::{ServiceName, Wanted, WordError};

/// Which service, and for how long.
#[derive(Debug, Args)]
pub struct ServiceArgs {
    /// The service's name in host.toml [default: the one that host.toml has]
    #[arg(long, value_name = "NAME", value_parser = service_name)]
    pub service: Option<ServiceName>,

    /// Maximum time to wait for the new state, in seconds; host.timeout of the agent and host.toml may allow less
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub within: Option<u64>,
}

/// Which service.
#[derive(Debug, Args)]
pub struct ServiceStatusArgs {
    /// The service's name in host.toml [default: the one that host.toml has]
    #[arg(long, value_name = "NAME", value_parser = service_name)]
    pub service: Option<ServiceName>,
}

/// What to wait for.
#[derive(Debug, Args)]
pub struct ServiceWaitArgs {
    /// The state to wait for
    #[arg(value_enum, default_value_t = ServiceState::Running)]
    pub state: ServiceState,

    /// Which service, and for how long.
    #[command(flatten)]
    pub service: ServiceArgs,
}

/// A state to wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ServiceState {
    /// CouchDB's process runs
    Running,
    /// CouchDB has no process
    Stopped,
}

impl ServiceState {
    /// The state as a word, as the agent expects it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Running => Wanted::Running.word(),
            Self::Stopped => Wanted::Stopped.word(),
        }
    }
}

fn service_name(text: &str) -> Result<ServiceName, WordError> {
    ServiceName::try_from(text.to_owned())
}

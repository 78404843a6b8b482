//! The arguments of the verbs on operations.

use clap::Args;
use trove_couchdb_protocol::OperationId;

/// Which operation.
#[derive(Debug, Args)]
pub struct OperationArgs {
    /// The operation's id; `operation-list` shows it
    #[arg(value_name = "ID")]
    pub id: OperationId,
}

/// Which operation, and for how long.
#[derive(Debug, Args)]
pub struct OperationWaitArgs {
    /// The operation's id; `operation-list` shows it
    #[arg(value_name = "ID")]
    pub id: OperationId,

    /// Stop waiting after this many seconds; the operation continues [default: wait until it finishes]
    #[arg(long, value_name = "SECONDS")]
    pub within: Option<u64>,
}

/// How long a rehearsal takes.
#[derive(Debug, Args)]
pub struct OperationRehearseArgs {
    /// How long the operation takes, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u32).range(0..=86_400))]
    pub seconds: u32,
}

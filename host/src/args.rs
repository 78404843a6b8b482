//! The command line.

use std::path::PathBuf;

use clap::Parser;
use trove_couchdb_protocol::host::POLICY_FILE;

/// Starts and stops CouchDB for trove-couchdb-agent, within what root's host.toml allows.
///
/// systemd starts this program when the agent connects to its socket (trove-couchdb-hostd.socket), and it exits
/// when it has had no connection for a while. It must run as root. It listens to root and to the agent's account
/// only, and writes one JSON line on standard output for each request.
#[derive(Debug, Parser)]
#[command(name = "trove-couchdb-hostd", version, max_term_width = 100)]
pub struct Args {
    /// Listen on this socket, where there is no systemd; the program then never exits when idle
    #[arg(long, value_name = "PATH")]
    pub listen: Option<PathBuf>,

    /// Root's file that says what is allowed
    #[arg(long, value_name = "FILE", default_value = POLICY_FILE)]
    pub policy: PathBuf,

    /// Check the policy, say whether it is valid, and exit
    #[arg(long)]
    pub check: bool,

    /// Work on CouchDB's volume: how this program starts itself where there are devices
    #[arg(long, value_name = "WORK", hide = true)]
    pub volume: Option<String>,
}

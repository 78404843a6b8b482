//! The command line.

use std::path::PathBuf;

use clap::Parser;
use trove_couchdb_protocol::host::POLICY_FILE;

/// The end of `--help`; packaging/man/trove-couchdb-hostd.8 has the same.
const EXAMPLES_AND_EXIT_CODES: &str = "Examples:
  # Check the policy after a change
  trove-couchdb-hostd --check
  # Run it on a machine without systemd
  trove-couchdb-hostd --listen /run/trove-couchdb-hostd/hostd.sock

Exit codes:
  0   stopped by SIGTERM or SIGINT, idle, or the policy is valid
  1   the socket cannot be used
  64  wrong usage, or with --check an invalid policy";

/// Start and stop CouchDB for trove-couchdb-agent, within what root's host.toml allows
///
/// systemd starts this program when the agent connects to its socket (trove-couchdb-hostd.socket), and it exits when
/// it has had no connection for a while. It must run as root. It serves root and the agent's account only, and writes
/// one JSON line on standard output for each request.
#[derive(Debug, Parser)]
#[command(
    name = "trove-couchdb-hostd",
    version,
    max_term_width = 100,
    after_help = EXAMPLES_AND_EXIT_CODES
)]
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_manual_page_agrees_with_the_help() {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../packaging/man/trove-couchdb-hostd.8");
        let page = std::fs::read_to_string(page).unwrap().replace("\\-", "-");
        let mut command = Args::command();
        command.build();
        let named: Vec<String> = command
            .get_arguments()
            .filter(|argument| !argument.is_hide_set())
            .filter_map(|argument| Some(format!("--{}", argument.get_long()?)))
            .collect();
        let options = page.split_once(".SH OPTIONS").unwrap().1.split_once(".SH EXIT STATUS").unwrap().0;
        let described = options.matches(".TP\n").count();
        assert!(named.iter().all(|option| options.contains(option.as_str())), "{named:?}");
        assert_eq!(described, named.len());
        let lines = EXAMPLES_AND_EXIT_CODES.lines().filter(|line| line.starts_with("  trove-couchdb-hostd"));
        for line in lines.map(str::trim) {
            assert!(page.contains(&format!(".EX\n{line}\n.EE")), "{line}");
            Args::try_parse_from(line.split_whitespace()).unwrap();
        }
        for code in ["0", "1", "64"] {
            assert!(page.contains(&format!(".B {code}\n")), "{code}");
        }
    }
}

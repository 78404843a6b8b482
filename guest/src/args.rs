//! The agent's command line: where the configuration is, and the few keys that are changed for a trial.
//!
//! There are no options for secrets: `ps` shows the arguments of every process to every user. `main` parses
//! the arguments and passes them to `trove_couchdb_config`, where they override all other layers.

use std::path::PathBuf;

use clap::Parser;

use trove_couchdb_config::{Override, Sources};

use crate::help::{self, Example, ExitCode};

/// How the program is called.
pub const EXAMPLES: &[Example] = &[
    Example {
        what: "Show every setting with its value and origin, and check whether the agent could start",
        line: "trove-couchdb-agent --check-config",
    },
    Example {
        what: "Check a new file before it replaces agent.toml",
        line: "trove-couchdb-agent --check-config --config new.toml",
    },
    Example {
        what: "Run in the foreground with a detailed log",
        line: "trove-couchdb-agent --log-format text --log-level debug",
    },
];

/// How the program exits.
pub const EXIT_CODES: &[ExitCode] = &[
    (0, "stopped by SIGTERM or SIGINT, or the check succeeded"),
    (1, "an error on this machine; a new start may succeed"),
    (64, "wrong usage, or an invalid configuration; systemd does not restart the agent"),
];

const FILES: &str = "Configuration files";
const CHECKS: &str = "Checks, instead of running";
const SETTINGS: &str = "Settings, for a trial";

/// Guest agent of OpenStack Trove for Apache CouchDB
///
/// It receives Trove's commands from RabbitMQ and runs them on the CouchDB server of the same machine.
///
/// The value of a setting comes from the last of these that has one: its default, the agent's own file, the files that
/// Trove injects, the environment variable `TROVE_COUCHDB_<SECTION>__<KEY>`, the command line. Secrets cannot be given
/// on the command line.
#[derive(Debug, Clone, Default, Parser)]
#[command(
    name = "trove-couchdb-agent",
    version,
    max_term_width = 100,
    after_help = [help::examples(EXAMPLES), help::exit_codes(EXIT_CODES)].join("\n\n")
)]
pub struct Args {
    /// The agent's own TOML file [default: /etc/trove-couchdb-agent/agent.toml, if it exists]
    #[arg(long, value_name = "FILE", help_heading = FILES)]
    pub config: Option<PathBuf>,

    /// An oslo.config file to read; may be repeated, later files win
    #[arg(long, value_name = "FILE", help_heading = FILES)]
    pub config_file: Vec<PathBuf>,

    /// A directory whose *.conf files are read in the order of their names, after every --config-file; may be repeated
    /// [default: /etc/trove/conf.d, if it exists]
    #[arg(long, value_name = "DIR", help_heading = FILES)]
    pub config_dir: Vec<PathBuf>,

    /// Print the effective configuration, with secrets masked and the origin of each value. The exit code is 64 if the
    /// configuration is invalid, and 1 if the agent could not start with it on this machine
    #[arg(long, help_heading = CHECKS)]
    pub check_config: bool,

    /// Exit with 1 if no instance, no broker and no `local:` is configured yet, and with 0 otherwise, even if the
    /// configuration is invalid. The systemd unit runs this before each start
    #[arg(long, conflicts_with = "check_config", help_heading = CHECKS)]
    pub is_configured: bool,

    /// The instance's id (`guest.id`); Trove writes it to `guest_info.conf`
    #[arg(long, value_name = "ID", help_heading = SETTINGS)]
    pub guest_id: Option<String>,

    /// The address of CouchDB (`couchdb.url`)
    #[arg(long, value_name = "URL", help_heading = SETTINGS)]
    pub couchdb_url: Option<String>,

    /// The file with the password of os_admin (`couchdb.credentials_file`)
    #[arg(long, value_name = "FILE", help_heading = SETTINGS)]
    pub credentials_file: Option<String>,

    /// The directory of the agent's state (`guest.state_dir`)
    #[arg(long, value_name = "DIR", help_heading = SETTINGS)]
    pub state_dir: Option<String>,

    /// Report the status even if Trove never sent `prepare` (`heartbeat.assume_prepared`)
    #[arg(long, help_heading = SETTINGS)]
    pub assume_prepared: bool,

    /// What to log (`log.filter`): off, error, warn, info, debug, trace, or target=level, separated by commas
    #[arg(long, value_name = "FILTER", help_heading = SETTINGS)]
    pub log_level: Option<String>,

    /// How to log (`log.format`): text, json or journal
    #[arg(long, value_name = "FORMAT", help_heading = SETTINGS)]
    pub log_format: Option<String>,
}

impl From<&Args> for Sources {
    fn from(args: &Args) -> Self {
        let assume_prepared = args.assume_prepared.then(|| "true".to_owned());
        let given = [
            ("guest.id", "--guest-id", args.guest_id.as_ref()),
            ("couchdb.url", "--couchdb-url", args.couchdb_url.as_ref()),
            ("couchdb.credentials_file", "--credentials-file", args.credentials_file.as_ref()),
            ("guest.state_dir", "--state-dir", args.state_dir.as_ref()),
            ("heartbeat.assume_prepared", "--assume-prepared", assume_prepared.as_ref()),
            ("log.filter", "--log-level", args.log_level.as_ref()),
            ("log.format", "--log-format", args.log_format.as_ref()),
        ];
        let overrides = given
            .into_iter()
            .filter_map(|(key, option, text)| Some(Override { key, option, text: text?.clone() }));
        Self {
            config_file: args.config.clone(),
            oslo_files: args.config_file.clone(),
            oslo_dirs: args.config_dir.clone(),
            overrides: overrides.collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_is_consistent_and_offers_no_secret() {
        Args::command().debug_assert();
        let help = Args::command().render_long_help().to_string();
        for secret in ["--transport-url", "--encryption-key", "--password"] {
            assert!(!help.contains(secret), "{secret}");
        }
    }

    #[test]
    fn the_examples_are_valid() {
        for example in EXAMPLES {
            Args::try_parse_from(example.line.split_whitespace()).unwrap();
        }
    }

    #[test]
    fn every_value_becomes_an_override_that_names_its_option() {
        let line = "x --guest-id g --couchdb-url u --credentials-file c --state-dir s --assume-prepared \
                    --log-level debug --log-format json --config a.toml --config-file 1 --config-file 2 \
                    --config-dir d";
        let sources = Sources::from(&Args::try_parse_from(line.split_whitespace()).unwrap());
        let set: Vec<_> = sources.overrides.iter().map(|o| (o.key, o.option, o.text.as_str())).collect();
        assert_eq!(
            set,
            [
                ("guest.id", "--guest-id", "g"),
                ("couchdb.url", "--couchdb-url", "u"),
                ("couchdb.credentials_file", "--credentials-file", "c"),
                ("guest.state_dir", "--state-dir", "s"),
                ("heartbeat.assume_prepared", "--assume-prepared", "true"),
                ("log.filter", "--log-level", "debug"),
                ("log.format", "--log-format", "json"),
            ]
        );
        assert_eq!(sources.config_file, Some("a.toml".into()));
        assert_eq!(sources.oslo_files, [PathBuf::from("1"), PathBuf::from("2")]);
        assert_eq!(sources.oslo_dirs, [PathBuf::from("d")]);
    }

    #[test]
    fn nothing_given_overrides_nothing() {
        assert!(Sources::from(&Args::default()).overrides.is_empty());
    }
}

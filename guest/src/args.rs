//! The agent's command line: where the configuration is, and the few keys that are changed for a trial.
//!
//! There are no options for secrets: `ps` shows the arguments of every process to every user. `main` parses
//! the arguments and passes them to `trove_couchdb_config`, where they override all other layers.

use std::path::PathBuf;

use clap::Parser;

use trove_couchdb_config::{Override, Sources};

/// Guest agent of OpenStack Trove for Apache CouchDB: takes Trove's commands from RabbitMQ and carries them out
/// on the CouchDB server of the same machine.
///
/// Every setting has a default, a key in the TOML file, perhaps an option in the files that Trove injects, and an
/// environment variable `TROVE_COUCHDB_<SECTION>__<KEY>`; each outranks the one before it, and the command line
/// outranks them all. Secrets cannot be given on the command line.
#[derive(Debug, Clone, Default, Parser)]
#[command(name = "trove-couchdb-agent", version, max_term_width = 100)]
pub struct Args {
    /// The agent's own TOML file [default: /etc/trove-couchdb-agent/agent.toml, if it exists]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// An oslo.config file to read; may be repeated, later files win
    #[arg(long, value_name = "FILE")]
    pub config_file: Vec<PathBuf>,

    /// A directory whose *.conf are read in order of their names, after every --config-file; may be repeated
    /// [default: /etc/trove/conf.d, if it exists]
    #[arg(long, value_name = "DIR")]
    pub config_dir: Vec<PathBuf>,

    /// Print the effective configuration, secrets masked, with the origin of each value, and exit;
    /// exit status 64 if the configuration is refused, 1 if the agent could not start with it on this machine
    #[arg(long)]
    pub check_config: bool,

    /// Exit with 1 if no instance, no broker and no `local:` is configured yet, with 0 otherwise, also if the
    /// configuration has a mistake; the systemd unit asks this before each start
    #[arg(long, conflicts_with = "check_config")]
    pub is_configured: bool,

    /// The instance's id (`guest.id`); Trove writes it to `guest_info.conf`
    #[arg(long, value_name = "ID")]
    pub guest_id: Option<String>,

    /// Where CouchDB answers (`couchdb.url`)
    #[arg(long, value_name = "URL")]
    pub couchdb_url: Option<String>,

    /// The file of the agent's own CouchDB account (`couchdb.credentials_file`)
    #[arg(long, value_name = "FILE")]
    pub credentials_file: Option<String>,

    /// Where the agent keeps what must outlive a restart (`guest.state_dir`)
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<String>,

    /// Report the status although Trove never sent `prepare` (`heartbeat.assume_prepared`)
    #[arg(long)]
    pub assume_prepared: bool,

    /// What to log (`log.filter`): off, error, warn, info, debug, trace, or target=level,...
    #[arg(long, value_name = "FILTER")]
    pub log_level: Option<String>,

    /// How to log (`log.format`): text, json or journal
    #[arg(long, value_name = "FORMAT")]
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

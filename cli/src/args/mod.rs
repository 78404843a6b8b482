//! The command line. Verbs and arguments follow python-troveclient, without the instance argument.
//!
//! This module only defines the arguments: `main` parses a [`Cli`] and passes it on. Passwords cannot be
//! given on the command line, because `ps` shows it to every user. The only secret that can,
//! `--transport-url`, warns about this and has two alternatives.

mod apply;
mod configuration;
pub mod examples;
mod operation;
mod service;
mod shell;
mod verbs;

use std::{path::PathBuf, time::Duration};

use clap::{Arg, Args, Command, CommandFactory, Parser, ValueEnum};
use trove_couchdb_guest::help;

pub use apply::ApplyArgs;
pub use configuration::{ConfigApplyArgs, ConfigSetArgs, ConfigShowArgs, ConfigUnsetArgs};
pub use operation::{OperationArgs, OperationRehearseArgs, OperationWaitArgs};
pub use service::{ServiceArgs, ServiceState, ServiceStatusArgs, ServiceWaitArgs};
pub use shell::{CompletionsArgs, ManArgs};
pub use verbs::{
    BrokerUserArgs, CredentialsArgs, DoctorArgs, LogLevelArgs, NewDatabase, NewUser, PageArgs, PasswordArgs,
    RootArgs, UpdateArgs, UserAndDatabase, UserAndDatabases, Verb,
};

use crate::exit;

/// The agent's socket, unless its `local.socket` sets a different path.
pub const DEFAULT_SOCKET: &str = "/run/trove-couchdb-agent/agent.sock";

/// Manage users, databases and access on a CouchDB through its Trove guest agent, and inspect the agent.
///
/// By default it talks to the agent on this machine over its socket, which works while RabbitMQ is unreachable. With
/// --instance (and --transport-url-file, or a --config-file that has the URL) it talks to the agent of that instance
/// over RabbitMQ, as Trove does.
#[derive(Debug, Parser)]
#[command(
    name = "trove-couchdb",
    version,
    max_term_width = 100,
    subcommand_required = true,
    arg_required_else_help = false,
    infer_subcommands = false
)]
pub struct Cli {
    /// What applies to every verb.
    #[command(flatten)]
    pub global: Global,

    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// The command line with its whole help. The program's help has the global options; a verb's help has the verb's own
/// options and examples, and says where the global ones are.
pub fn command() -> Command {
    let program = Cli::command();
    let is_global = |argument: &&Arg| argument.is_global_set();
    let hidden: Vec<Arg> =
        program.get_arguments().filter(is_global).map(|one| one.clone().hide(true)).collect();
    let codes = help::exit_codes(&exit::Code::ALL.map(exit::Code::explained));
    program
        .after_help(codes.clone())
        .after_long_help(format!("{}\n\n{codes}", help::examples(examples::of(""))))
        .mut_subcommands(|verb| {
            let examples = help::examples(examples::of(verb.get_name()));
            verb.args(&hidden).after_help(format!("{examples}\n\n{GLOBAL_OPTIONS}"))
        })
}

/// The last line of a verb's help.
const GLOBAL_OPTIONS: &str =
    "Global options, such as --output, --yes and --instance: see `trove-couchdb --help`.";

/// What applies to every verb.
#[derive(Debug, Args)]
pub struct Global {
    /// The way to the agent.
    #[command(flatten)]
    pub transport: TransportArgs,

    /// The files of the agent's configuration.
    #[command(flatten)]
    pub sources: SourceArgs,

    /// How the result is shown.
    #[command(flatten)]
    pub output: OutputArgs,

    /// How long to wait for each answer, in seconds
    #[arg(long, global = true, value_name = "SECONDS", default_value = "60", value_parser = seconds,
          help_heading = WHICH_AGENT)]
    pub timeout: Duration,

    /// Don't ask for confirmation before something is deleted or revoked
    #[arg(long, short, global = true, help_heading = OUTPUT)]
    pub yes: bool,
}

const WHICH_AGENT: &str = "Global options (which agent)";
const SOURCES: &str = "Global options (configuration files)";
const OUTPUT: &str = "Global options (output and confirmation)";

/// The way to the agent.
#[derive(Debug, Args)]
pub struct TransportArgs {
    /// The agent's socket on this machine
    #[arg(long, global = true, value_name = "PATH", env = "TROVE_COUCHDB_SOCKET", default_value = DEFAULT_SOCKET,
          help_heading = WHICH_AGENT)]
    pub socket: PathBuf,

    /// Over RabbitMQ, to the agent of this instance [default: `guest_id` of the configuration files]
    #[arg(long, global = true, value_name = "ID", help_heading = WHICH_AGENT)]
    pub instance: Option<String>,

    /// Over RabbitMQ, at rabbit://USER:PASSWORD@HOST:PORT/VHOST. `ps` shows this to every user of the machine:
    /// prefer --transport-url-file, the environment, or a --config-file that has `transport_url`
    #[arg(long, global = true, value_name = "URL", env = "TROVE_COUCHDB_TRANSPORT_URL", hide_env_values = true,
          conflicts_with = "transport_url_file", help_heading = WHICH_AGENT)]
    pub transport_url: Option<String>,

    /// Over RabbitMQ, at the URL in this file
    #[arg(long, global = true, value_name = "FILE", help_heading = WHICH_AGENT)]
    pub transport_url_file: Option<PathBuf>,

    /// The file with the instance's `instance_rpc_encr_key`, if it has one [default: that of the configuration
    /// files]
    #[arg(long, global = true, value_name = "FILE", help_heading = WHICH_AGENT)]
    pub key_file: Option<PathBuf>,

    /// The control plane's `control_exchange` [default: that of the configuration files, else openstack]
    #[arg(long, global = true, value_name = "NAME", help_heading = WHICH_AGENT)]
    pub control_exchange: Option<String>,
}

impl TransportArgs {
    /// Whether the command goes over RabbitMQ.
    pub fn is_broker(&self) -> bool {
        self.instance.is_some() || self.transport_url.is_some() || self.transport_url_file.is_some()
    }
}

/// The files of the agent's configuration: for RabbitMQ, `doctor`, and `credentials --reveal`.
#[derive(Debug, Args)]
pub struct SourceArgs {
    /// The agent's own TOML file [default: /etc/trove-couchdb-agent/agent.toml, if it exists]
    #[arg(long, global = true, value_name = "FILE", help_heading = SOURCES)]
    pub config: Option<PathBuf>,

    /// An oslo.config file, such as /etc/trove/trove.conf; may be repeated, later files win
    #[arg(long, global = true, value_name = "FILE", help_heading = SOURCES)]
    pub config_file: Vec<PathBuf>,

    /// A directory whose *.conf files are read after every --config-file; may be repeated
    /// [default: /etc/trove/conf.d, if it exists]
    #[arg(long, global = true, value_name = "DIR", help_heading = SOURCES)]
    pub config_dir: Vec<PathBuf>,
}

/// How the result is shown.
#[derive(Debug, Args)]
pub struct OutputArgs {
    /// How to show the result
    #[arg(long, short, global = true, value_name = "FORMAT", value_enum, default_value_t, help_heading = OUTPUT)]
    pub output: Format,

    /// Suppress success messages and table headers; requested results are still printed
    #[arg(long, short, global = true, help_heading = OUTPUT)]
    pub quiet: bool,

    /// When to use colours; auto means on a terminal and if NO_COLOR is unset
    #[arg(long, global = true, value_name = "WHEN", value_enum, default_value_t, help_heading = OUTPUT)]
    pub color: ColorWhen,
}

/// The form of a result.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    #[default]
    Table,
    /// One JSON document
    Json,
    /// One YAML document
    Yaml,
    /// Bare values: one line for each row, separated by tabs, without a header
    Value,
}

/// When to use colours.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum ColorWhen {
    /// On a terminal and if NO_COLOR is unset
    #[default]
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let advice = "write a number of seconds from 0.1 to 86400";
    let number: f64 = text.parse().map_err(|_| advice.to_owned())?;
    // RabbitMQ's message TTL is in milliseconds; a day is longer than any command.
    if (0.1..=86_400.0).contains(&number) {
        Ok(Duration::from_secs_f64(number))
    } else {
        Err(advice.to_owned())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use clap::FromArgMatches;

    use super::*;

    #[test]
    fn the_definition_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn global_options_are_hidden_in_a_verbs_help_and_still_work_there() {
        let mut program = command();
        program.build();
        let verb = program.find_subcommand_mut("user-list").unwrap();
        let help = verb.render_long_help().to_string();
        assert!(
            help.contains("--limit")
                && !help.contains("--socket")
                && help.ends_with("`trove-couchdb --help`.\n"),
            "{help}"
        );
        for line in [
            "x --socket /s user-list -o json --yes",
            "x user-list --yes --socket /s --output json",
            "x -y -o json user-list --socket /s",
        ] {
            let matches = command().try_get_matches_from(line.split(' ')).unwrap();
            let Cli { global, .. } = Cli::from_arg_matches(&matches).unwrap();
            assert_eq!(
                (global.transport.socket, global.output.output, global.yes),
                ("/s".into(), Format::Json, true),
                "{line}"
            );
        }
        let both = "x ping --transport-url u --transport-url-file f";
        assert!(command().try_get_matches_from(both.split(' ')).is_err());
    }

    #[test]
    fn no_verb_takes_a_password_as_an_argument() {
        for verb in Cli::command().get_subcommands() {
            for argument in verb.get_arguments() {
                let secret = argument.get_id().as_str().contains("password");
                let takes_value = argument.get_action().takes_values();
                assert!(!(secret && takes_value), "{} {}", verb.get_name(), argument.get_id());
            }
        }
    }

    #[test]
    fn a_timeout_is_a_sensible_number() {
        assert_eq!(seconds("0.5"), Ok(Duration::from_millis(500)));
        for bad in ["0", "-1", "inf", "NaN", "1e9", "soon", ""] {
            assert!(seconds(bad).is_err(), "{bad}");
        }
    }
}

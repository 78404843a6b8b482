//! `trove-couchdb`: sends commands to the CouchDB guest agent, on this machine or over RabbitMQ.

use std::process::ExitCode;

use clap::{FromArgMatches, error::ErrorKind};
use trove_couchdb_cli::{
    args::{self, Cli},
    exit::{CliError, Code},
};
use trove_couchdb_system as system;

fn main() -> ExitCode {
    // Keeps passwords out of core dumps. Fails only if the system forbids the call for all programs.
    drop(system::forbid_core_dumps());
    let parsed = args::command().try_get_matches().and_then(|matches| Cli::from_arg_matches(&matches));
    let cli = match parsed {
        Ok(cli) => cli,
        Err(error) => {
            let helped = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
            if error.kind() == ErrorKind::MissingSubcommand {
                eprintln!("{}\n\n`trove-couchdb --help` lists the commands.", args::command().render_usage());
                return Code::NoCommand.into();
            }
            // Printing fails only if standard output is closed.
            drop(error.print());
            return if helped { Code::Done.into() } else { Code::Usage.into() };
        }
    };
    // One TLS provider for the broker and CouchDB. Only a second installation fails.
    drop(rustls::crypto::ring::default_provider().install_default());
    let ended = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(trove_couchdb_cli::run(&cli)),
        Err(error) => Err(CliError::new(Code::Failed, format!("no runtime: {error}"))),
    };
    match ended {
        Ok(code) => code.into(),
        Err(error) => {
            eprintln!("trove-couchdb: {error}");
            error.code.into()
        }
    }
}

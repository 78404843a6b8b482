//! Checks of the agent's configuration that do not start the agent.

use std::process::ExitCode;

use trove_couchdb_config::Settings;
use trove_couchdb_guest::args::Args;

use crate::{app, exit, log, system};

/// For `ExecCondition=` of the unit: a package that is not configured yet is no failure. An invalid
/// configuration is a failure, but it is reported by the start.
pub fn is_configured(args: &Args) -> ExitCode {
    match Settings::load(args, system::environment_of_account()) {
        Err(error) if error.is_unconfigured() => {
            eprintln!(
                "trove-couchdb-agent is not configured yet, so it is not started: {error}\nTrove writes its files to an \
                 instance by itself. Otherwise edit {}, then: systemctl start trove-couchdb-agent",
                trove_couchdb_config::DEFAULT_CONFIG_FILE
            );
            exit::FAILURE.into()
        }
        _ => ExitCode::SUCCESS,
    }
}

/// Prints the configuration, and checks what else on this machine would prevent the agent from starting with
/// it.
pub fn check_config(args: &Args) -> ExitCode {
    let settings = match Settings::load(args, system::environment_of_account()) {
        Ok(settings) => settings,
        Err(error) => return exit::with_error(exit::USAGE, &error),
    };
    match trove_couchdb_config::check(args, system::environment_of_account()) {
        Ok(description) => print!("{description}"),
        Err(error) => return exit::with_error(exit::USAGE, &error),
    }
    if let Err(error) = log::check(&settings.log) {
        return exit::with_error(exit::FAILURE, &error);
    }
    match app::check(&settings) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => exit::with_error(exit::FAILURE, &error),
    }
}

//! `trove-couchdb-agent`: the guest agent that puts Apache CouchDB back into OpenStack Trove.

use std::{process::ExitCode, time::Duration};

use clap::{Parser, error::ErrorKind};
use trove_couchdb_agent::{app, exit, log, trace};
use trove_couchdb_config::Settings;
use trove_couchdb_guest::args::Args;
use trove_couchdb_system as system;

/// How long a blocking call (a hung mount, a slow disk) may hold up the end.
const LEFTOVERS: Duration = Duration::from_secs(1);

/// How long a thread for blocking calls waits for the next one: longer than the heartbeat's interval, which writes a
/// file each time, so that an idle agent does not make and end a thread for every one.
const BLOCKING_THREADS: Duration = Duration::from_secs(90);

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            let helped = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
            // Only a closed standard output can keep it from being shown.
            drop(error.print());
            return if helped { ExitCode::SUCCESS } else { exit::USAGE.into() };
        }
    };
    if args.is_configured {
        return is_configured(&args);
    }
    if args.check_config {
        return check_config(&args);
    }
    // Before there is any secret in memory.
    let core_dumps = system::forbid_core_dumps();
    let settings = match Settings::load(&args, std::env::vars_os()) {
        Ok(settings) => settings,
        Err(error) => return exit::with_error(exit::USAGE, &error),
    };
    let export = trace::Export::new(&settings.trace, &settings.guest.id);
    let control = match log::init(&settings.log, export.as_ref()) {
        Ok(control) => control,
        Err(error) => return exit::with_error(exit::FAILURE, &error),
    };
    // Around all that runs on this thread, which is nearly everything.
    let _about = log::instance_span(&settings.guest.id).entered();
    if let Err(error) = core_dumps {
        tracing::warn!(%error, "A crash of this process may leave passwords in a core dump; set LimitCORE=0.");
    }
    for warning in &settings.warnings {
        tracing::warn!("{warning}");
    }
    let version = env!("CARGO_PKG_VERSION");
    tracing::info!(version, guest_id = settings.guest.id, "The CouchDB guest agent starts.");
    // One TLS stack for the broker and for CouchDB. Only a second installation fails.
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        tracing::debug!("A TLS provider was installed before.");
    }
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = match runtime.enable_all().thread_keep_alive(BLOCKING_THREADS).build() {
        Ok(runtime) => runtime,
        Err(error) => return exit::with_error(exit::FAILURE, &error),
    };
    let reread = move || Settings::load(&args, std::env::vars_os()).map(|settings| settings.log);
    let logging = app::Logging { control, reread: Box::new(reread), export };
    let ended = runtime.block_on(app::run(settings, logging));
    runtime.shutdown_timeout(LEFTOVERS);
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => exit::with_error(exit::FAILURE, &error),
    }
}

/// For `ExecCondition=` of the unit: a package that nobody has configured is no failure. A configuration with a mistake is
/// one, and is left to the start.
fn is_configured(args: &Args) -> ExitCode {
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

/// Says what the configuration is, and what of this machine would still keep the agent from starting with it.
fn check_config(args: &Args) -> ExitCode {
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

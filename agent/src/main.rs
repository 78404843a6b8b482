//! `trove-couchdb-agent`: the guest agent that adds Apache CouchDB as a datastore to OpenStack Trove.

use std::{process::ExitCode, time::Duration};

use clap::{Parser, error::ErrorKind};
use trove_couchdb_agent::{app, checks, exit, log, trace};
use trove_couchdb_config::Settings;
use trove_couchdb_guest::args::Args;
use trove_couchdb_system as system;

/// How long a blocking call (a hung mount, a slow disk) may delay the exit.
const LEFTOVERS: Duration = Duration::from_secs(1);

/// How long an idle thread for blocking calls is kept. This is longer than the heartbeat's interval: each
/// heartbeat writes a file, and an idle agent should not start a thread for every heartbeat.
const BLOCKING_THREADS: Duration = Duration::from_secs(90);

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            let helped = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
            // Printing fails only if standard output is closed.
            drop(error.print());
            return if helped { ExitCode::SUCCESS } else { exit::USAGE.into() };
        }
    };
    if args.is_configured {
        return checks::is_configured(&args);
    }
    if args.check_config {
        return checks::check_config(&args);
    }
    // Before any secret is in memory.
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
    // Covers everything on this thread, which is nearly everything.
    let _about = log::instance_span(&settings.guest.id).entered();
    if let Err(error) = core_dumps {
        tracing::warn!(%error, "A crash of this process may leave passwords in a core dump; set LimitCORE=0.");
    }
    for warning in &settings.warnings {
        tracing::warn!("{warning}");
    }
    let version = env!("CARGO_PKG_VERSION");
    tracing::info!(version, guest_id = settings.guest.id, "The CouchDB guest agent starts.");
    // A single TLS stack for the broker and CouchDB. Only a second installation fails.
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

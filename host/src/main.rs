//! `trove-couchdb-hostd`: runs privileged actions for trove-couchdb-agent, within the limits of root's policy
//! file.

use std::{io::Write, process::ExitCode};

use clap::{Parser, error::ErrorKind};
use listenfd::ListenFd;
use tokio::{
    net::UnixListener,
    signal::unix::{SignalKind, signal},
};
use trove_couchdb_hostd::{args::Args, audit::Audit, policy::Policy, server, server::Server, volume::worker};

/// Wrong usage, or an invalid policy (sysexits.h, `EX_USAGE`).
const USAGE: u8 = 64;

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            let helped = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
            // This fails only if standard output is closed.
            drop(error.print());
            return if helped { ExitCode::SUCCESS } else { USAGE.into() };
        }
    };
    if args.check {
        return match Policy::load(&args.policy) {
            Ok(_) => {
                println!("{} is valid.", args.policy.display());
                ExitCode::SUCCESS
            }
            Err(error) => failed(USAGE, &error.to_string()),
        };
    }
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(1, &error.to_string()),
    };
    if let Some(work) = &args.volume {
        let outcome = runtime.block_on(worker::run(&args.policy, work));
        // No process reads it if hostd has ended; the work is done all the same.
        return match std::io::stdout().write_all(outcome.as_bytes()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => failed(1, &error.to_string()),
        };
    }
    // The program starts even with an invalid policy: the answer to each request reports the mistake.
    if let Err(error) = Policy::load(&args.policy) {
        eprintln!("trove-couchdb-hostd: {error}");
    }
    match runtime.block_on(serve(&args)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => failed(1, &reason),
    }
}

async fn serve(args: &Args) -> Result<(), String> {
    let signals = |error: std::io::Error| format!("the signals can't be handled: {error}");
    let mut terminate = signal(SignalKind::terminate()).map_err(signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(signals)?;
    let (listener, exits_when_idle) = match &args.listen {
        Some(path) => (server::listen(path, &args.policy)?, false),
        None => (from_systemd()?, true),
    };
    let stop = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    Server::new(listener, &args.policy, Audit::new(std::io::stdout()), exits_when_idle).run(stop).await;
    if let Some(path) = &args.listen
        && let Err(error) = std::fs::remove_file(path)
    {
        eprintln!("trove-couchdb-hostd: {} can't be removed: {error}", path.display());
    }
    Ok(())
}

/// The socket of trove-couchdb-hostd.socket.
fn from_systemd() -> Result<UnixListener, String> {
    let failed =
        |error: std::io::Error| format!("the socket that systemd handed over can't be used: {error}");
    let listener = ListenFd::from_env().take_unix_listener(0).map_err(failed)?;
    let advice =
        "start trove-couchdb-hostd.socket, which starts this program by itself, or use --listen PATH";
    let listener = listener.ok_or_else(|| format!("there is no socket to listen on; {advice}"))?;
    listener.set_nonblocking(true).map_err(failed)?;
    UnixListener::from_std(listener).map_err(failed)
}

fn failed(code: u8, reason: &str) -> ExitCode {
    eprintln!("trove-couchdb-hostd: {reason}");
    ExitCode::from(code)
}

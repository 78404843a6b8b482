//! `in-memory-couchdb`: the node as a process, for `make run` and for tests in other languages.
//!
//! It prints its address when it listens, and stops on SIGTERM or Ctrl-C. Like a real 3.x it exits with 1 if
//! it has no admin.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use in_memory_couchdb::{InMemoryCouch, Options, StartError, Version};
use tokio::signal::unix::{SignalKind, signal};

/// An in-memory CouchDB on 127.0.0.1 for tests and experiments; its state is lost at exit unless --keep is
/// given.
#[derive(Debug, Parser)]
#[command(disable_version_flag = true)]
struct Args {
    /// The port to listen on; 0 takes a free one.
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// The CouchDB version to imitate: 3.5, 3.4, 3.3, 2.x or 1.x.
    #[arg(long, default_value = "3.5")]
    version: Version,
    /// The first server admin, NAME:PASSWORD or NAME:HASH.
    #[arg(long, value_parser = name_and_secret)]
    admin: Option<(String, String)>,
    /// A local.d directory with *.ini files to read at start.
    #[arg(long)]
    admin_ini_dir: Option<PathBuf>,
    /// A file for the state, which then survives even a kill.
    #[arg(long)]
    keep: Option<PathBuf>,
    /// PBKDF2 rounds for plain passwords; defaults to the real server's.
    #[arg(long)]
    iterations: Option<u32>,
    /// Milliseconds until a plain admin password is hashed.
    #[arg(long, default_value_t = 150)]
    admin_hash_delay_ms: u64,
    /// Milliseconds without `_design/_auth` after PUT /_users; 5000 on a real server.
    #[arg(long, default_value_t = 300)]
    settle_ms: u64,
    /// Serve /_fault: faults on demand and the request log.
    #[arg(long)]
    faults: bool,
}

fn name_and_secret(text: &str) -> Result<(String, String), &'static str> {
    let pair = text.split_once(':').ok_or("write NAME:PASSWORD")?;
    Ok((pair.0.to_owned(), pair.1.to_owned()))
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("in-memory-couchdb: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: Args) -> anyhow::Result<()> {
    let couch: Result<InMemoryCouch, StartError> = InMemoryCouch::start(Options {
        version: args.version,
        admin: args.admin,
        ini_dir: args.admin_ini_dir,
        keep: args.keep,
        port: args.port,
        iterations: args.iterations,
        admin_hash_delay: Duration::from_millis(args.admin_hash_delay_ms),
        settle_after: Duration::from_millis(args.settle_ms),
        fault_routes: args.faults,
        ..Options::default()
    })
    .await;
    let mut couch = couch?;
    let mut terminated = signal(SignalKind::terminate())?;
    println!("listening on {}", couch.url());
    tokio::select! {
        _ = terminated.recv() => {}
        interrupted = tokio::signal::ctrl_c() => interrupted?,
    }
    couch.stop().await;
    Ok(())
}

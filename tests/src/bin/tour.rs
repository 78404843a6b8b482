//! `make run`: shows the agent at work on this machine. All of it is in [`trove_couchdb_tests::tour`].

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use trove_couchdb_tests::tour::Tour;

/// Starts `RabbitMQ`, `CouchDB` and the agent on this machine and sends the agent every command once.
#[derive(Debug, Parser)]
#[command(
    name = "tour",
    max_term_width = 100,
    after_help = "COUCHDB_URL=http://ADMIN:PASSWORD@HOST:PORT uses that server."
)]
struct Args {
    /// Exit after the last command, with status 1 if a check failed, instead of leaving the agent running
    #[arg(long)]
    once: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(&Args::parse()).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("✗ {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// True when every check passed and the agent ended well.
async fn run(args: &Args) -> Result<bool> {
    let mut tour = Tour::start().await?;
    let passed = tour.run().await?;
    if !args.once {
        tour.invite();
        tokio::signal::ctrl_c().await?;
        println!();
    }
    Ok(tour.stop().await? && passed)
}

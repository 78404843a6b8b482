//! `make run`: shows the agent at work on this machine. All of it is in [`trove_couchdb_tests::tour`].

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, ValueEnum};
use trove_couchdb_tests::tour::{LocalTour, Tour};

/// Starts `CouchDB` and the agent on this machine: by default without a broker, for you to give it commands; with
/// `RabbitMQ`, it sends the agent every command of Trove once.
#[derive(Debug, Parser)]
#[command(
    name = "tour",
    max_term_width = 100,
    after_help = "COUCHDB_URL=http://ADMIN:PASSWORD@HOST:PORT uses that server."
)]
struct Args {
    /// Check everything once and exit, with status 1 if a check failed, instead of leaving the agent running
    #[arg(long)]
    once: bool,

    /// The broker between Trove and the agent
    #[arg(long, value_enum, default_value_t = Broker::None)]
    broker: Broker,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Broker {
    /// None: commands come over the agent's local socket
    None,
    /// A private `RabbitMQ` node
    Rabbit,
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    let ended = match args.broker {
        Broker::None => without_broker(args.once).await,
        Broker::Rabbit => with_rabbit(args.once).await,
    };
    match ended {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("✗ {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// True when the agent ended well, and every check passed if there were any.
async fn without_broker(once: bool) -> Result<bool> {
    let mut tour = LocalTour::start().await?;
    let passed = if once {
        tour.check().await?
    } else {
        tour.invite()?;
        until_ctrl_c().await?;
        true
    };
    Ok(tour.stop().await? && passed)
}

/// True when every check passed and the agent ended well.
async fn with_rabbit(once: bool) -> Result<bool> {
    let mut tour = Tour::start().await?;
    let passed = tour.run().await?;
    if !once {
        tour.invite();
        until_ctrl_c().await?;
    }
    Ok(tour.stop().await? && passed)
}

async fn until_ctrl_c() -> Result<()> {
    tokio::signal::ctrl_c().await?;
    println!();
    Ok(())
}

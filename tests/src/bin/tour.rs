//! `make run`: shows the agent at work on this machine. All of it is in [`trove_couchdb_tests::tour`].

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::{Parser, ValueEnum};
use trove_couchdb_tests::tour::{LocalTour, Tour};

/// Starts `CouchDB` and the agent on this machine: by default without a broker, for you to give it commands; with
/// `RabbitMQ`, it sends the agent every command of Trove once.
#[derive(Debug, Parser)]
#[command(
    name = "tour",
    max_term_width = 100,
    after_help = "COUCHDB_URL=http://ADMIN:PASSWORD@HOST:PORT uses that server. Its account os_admin gets a new \
                  password and its account root is deleted, so confirmation is required."
)]
struct Args {
    /// Check everything once and exit, with status 1 if a check failed, instead of leaving the agent running
    #[arg(long)]
    once: bool,

    /// The broker between Trove and the agent
    #[arg(long, value_enum, default_value_t = Broker::None)]
    broker: Broker,

    /// Use the server of `COUCHDB_URL` without asking
    #[arg(long)]
    yes: bool,
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
    let ended = async {
        confirm_server(args.yes)?;
        match args.broker {
            Broker::None => without_broker(args.once).await,
            Broker::Rabbit => with_rabbit(args.once).await,
        }
    };
    let ended = ended.await;
    match ended {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("✗ {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Asks before the tour changes a server that it did not start.
fn confirm_server(yes: bool) -> Result<()> {
    let Ok(url) = std::env::var("COUCHDB_URL") else { return Ok(()) };
    if yes {
        return Ok(());
    }
    // Without the administrator's password.
    let server = url.rsplit_once('@').map_or(url.as_str(), |(_, server)| server);
    let effect = format!("{server}: os_admin gets a new password, and root is deleted");
    if !std::io::stdin().is_terminal() {
        bail!(
            "refusing to use the server of COUCHDB_URL without confirmation ({effect}); use YES=1 or --yes"
        );
    }
    print!("Use {effect}. Continue? [y/N] ");
    std::io::stdout().flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    if !matches!(answer.trim(), "y" | "Y" | "yes") {
        bail!("not confirmed; nothing was changed");
    }
    Ok(())
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

//! `make chaos` and `make soak`: the agent among faults. All of it is in [`trove_couchdb_tests::faults`].

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use trove_couchdb_tests::faults::campaign::Campaign;
use trove_couchdb_tests::faults::plan::Size;

/// Sends random commands to agents while broker, `CouchDB`, connections and agents fail; exits with 1 if anything is lost,
/// done twice or otherwise not as the model says.
#[derive(Debug, Parser)]
#[command(name = "chaos", max_term_width = 100)]
struct Args {
    /// Commands of the whole campaign
    #[arg(long, default_value_t = 10_000)]
    commands: usize,
    /// Faults of the whole campaign
    #[arg(long, default_value_t = 200)]
    faults: usize,
    /// By which a campaign can be had again; a random one by default
    #[arg(long)]
    seed: Option<u64>,
    /// Queues as oslo.messaging declares them by default: a broker that restarts drops what they hold
    #[arg(long)]
    transient: bool,
    /// Don't send carried out messages again
    #[arg(long)]
    no_replays: bool,
    /// Guests; every second one is encrypted
    #[arg(long, default_value_t = 2)]
    guests: usize,
    /// Where report and logs go
    #[arg(long, default_value = "target/chaos")]
    directory: PathBuf,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Args::parse()).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("✗ {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: Args) -> Result<bool> {
    let seed = args.seed.unwrap_or_else(|| rand::random_range(0..1_000_000));
    println!("seed {seed}");
    let campaign = Campaign {
        seed,
        size: Size { commands: args.commands, faults: args.faults, guests: args.guests, alone: 3 },
        durable: !args.transient,
        replays: !args.no_replays,
        directory: args.directory.join(format!("seed-{seed}")),
    };
    let report = campaign.run().await?;
    println!("{report}");
    Ok(report.passed())
}

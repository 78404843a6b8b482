//! `make chaos` and `make soak`: the agent under faults. The code is in [`trove_couchdb_tests::faults`].

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Parser;
use tokio::runtime::Runtime;
use trove_couchdb_tests::faults::campaign::Campaign;
use trove_couchdb_tests::faults::explored_schedule::parse;
use trove_couchdb_tests::faults::replay::replay;
use trove_couchdb_tests::faults::schedule::Size;
use trove_couchdb_tests::faults::soak::{table, write_table};

/// Sends random commands to agents while RabbitMQ, `CouchDB`, connections and agents fail. Exits with 1 if a
/// command is lost, runs twice or has a result that the model does not allow.
#[derive(Debug, Parser)]
#[command(name = "chaos", max_term_width = 100)]
struct Args {
    /// Number of commands in the whole campaign
    #[arg(long, default_value_t = 10_000)]
    commands: usize,
    /// Number of faults in the whole campaign
    #[arg(long, default_value_t = 200)]
    faults: usize,
    /// Seed, to repeat a campaign; random by default
    #[arg(long)]
    seed: Option<u64>,
    /// Use non-durable queues, oslo.messaging's default: a restarting broker drops their messages
    #[arg(long)]
    transient: bool,
    /// Don't resend commands that were carried out
    #[arg(long)]
    no_replays: bool,
    /// Number of guests; every second guest is encrypted
    #[arg(long, default_value_t = 2)]
    guests: usize,
    /// Soak instead: an even load for this many minutes on agents that are never restarted and must not grow
    #[arg(long, value_name = "MINUTES")]
    soak: Option<u64>,
    /// Write the soak's table into this document
    #[arg(long, value_name = "FILE", requires = "soak")]
    write: Option<PathBuf>,
    /// Replay a schedule that `make explore` printed instead
    #[arg(long, value_name = "FILE", conflicts_with_all = ["soak", "seed"])]
    schedule: Option<PathBuf>,
    /// Directory for the report and the logs
    #[arg(long, default_value = "target/chaos")]
    directory: PathBuf,
}

fn main() -> ExitCode {
    // Never dropped: lapin's threads may still be connecting to the stopped broker, and they panic if the
    // runtime is dropped.
    let runtime = match Runtime::new() {
        Ok(runtime) => Box::leak(Box::new(runtime)),
        Err(error) => return failed(&error.into()),
    };
    match runtime.block_on(run(Args::parse())) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => failed(&error),
    }
}

fn failed(error: &anyhow::Error) -> ExitCode {
    eprintln!("✗ {error:#}");
    ExitCode::FAILURE
}

async fn run(args: Args) -> Result<bool> {
    if let Some(file) = &args.schedule {
        let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
        let replayed = replay(&parse(&text).with_context(|| file.display().to_string())?).await?;
        println!("{replayed}");
        return Ok(replayed.wrong.is_empty());
    }
    let seed = args.seed.unwrap_or_else(|| rand::random_range(0..1_000_000));
    println!("seed {seed}");
    let size = match args.soak {
        None => Size {
            commands: args.commands,
            faults: args.faults,
            guests: args.guests,
            alone: 3,
            lasting: false,
        },
        Some(minutes) => soak_size(minutes, args.guests),
    };
    let campaign = Campaign {
        seed,
        size,
        durable: !args.transient,
        replays: !args.no_replays,
        directory: args.directory.join(format!("seed-{seed}")),
        soak: args.soak.map(|minutes| Duration::from_secs(60 * minutes)),
    };
    let (report, agents) = campaign.run().await?;
    println!("{report}");
    let Some(minutes) = args.soak else { return Ok(report.passed()) };
    let table = table(minutes, &report, &agents);
    println!("{table}");
    if let Some(document) = args.write {
        write_table(&document, &table)?;
    }
    let growing: Vec<_> = agents.iter().flatten().filter(|developed| !developed.growth.is_flat()).collect();
    for developed in &growing {
        eprintln!("GROWS: {}: {:?}", developed.what, developed.growth);
    }
    Ok(report.passed() && growing.is_empty())
}

/// More commands than fit into the time, and a fault about every 15 s.
fn soak_size(minutes: u64, guests: usize) -> Size {
    let minutes = usize::try_from(minutes).unwrap_or(usize::MAX / 10_000);
    Size { commands: 2_400 * minutes, faults: 8 * minutes, guests, alone: 3, lasting: true }
}

//! `make bench`: measures, and writes `benches/results.json`, `docs/performance.md` and
//! `docs/performance-results.md`; `--check` compares instead.

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use trove_couchdb_benches::{environment, report, results::Results, sections, sizes::Sizes};

/// Measures the agent and the Python agent that it replaces.
#[derive(Debug, Parser)]
struct Args {
    /// Run only these sections: start, rpc, commands, growth, hashing, fleet
    #[arg(long, value_delimiter = ' ', value_name = "SECTIONS")]
    only: Vec<sections::Name>,
    /// Write nothing; fail if a ratio is more than 25 % worse than the committed one
    #[arg(long)]
    check: bool,
    /// Small sizes, to test the harness; prints the report and writes nothing
    #[arg(long)]
    quick: bool,
    /// Measure nothing; write the report again from the committed figures
    #[arg(long)]
    render: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Args::parse()).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: Args) -> Result<bool> {
    let files = report::Files::of(environment::directory());
    let committed = Results::read(&files.results)?;
    if args.render {
        report::write(&committed, &files)?;
        return Ok(true);
    }
    let sizes = if args.quick { Sizes::quick() } else { Sizes::full() };
    let mut measured = Results { machine: sections::machine(), ..Results::default() };
    for name in sections::Name::ALL {
        if args.only.is_empty() || args.only.contains(&name) {
            eprintln!("== {name}");
            let section = sections::run(name, &sizes).await?;
            print!("{}", report::section(&section));
            measured.sections.insert(name.to_string(), section);
        }
    }
    if args.check {
        return Ok(report::check(&committed, &measured));
    }
    if !args.quick {
        // Other sections keep their figures. The file is read again, because the run may have taken long.
        let mut whole = Results::read(&files.results)?;
        whole.machine = measured.machine;
        whole.sections.extend(measured.sections);
        whole.write(&files.results)?;
        report::write(&whole, &files)?;
    }
    Ok(true)
}

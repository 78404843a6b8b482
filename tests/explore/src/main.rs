//! `make explore`: runs every interleaving, or as many as the time allows.

use std::{
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

use trove_couchdb_explore::{all, search};

/// The options.
struct Wanted {
    faults: u8,
    /// The time limit of each scenario.
    limit: Duration,
    /// The file for a counterexample, for `make chaos SCHEDULE=`.
    write: Option<PathBuf>,
    /// The scenarios to run; all, if empty.
    only: Vec<String>,
}

fn main() -> ExitCode {
    let Some(wanted) = wanted(std::env::args().skip(1)) else {
        eprintln!("usage: explore [--faults N] [--seconds N] [--write FILE] [SCENARIO ...]");
        return ExitCode::from(64);
    };
    match explore(&wanted, &mut io::stdout().lock()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("explore: {error}");
            ExitCode::FAILURE
        }
    }
}

fn wanted(mut args: impl Iterator<Item = String>) -> Option<Wanted> {
    let mut wanted = Wanted { faults: 2, limit: Duration::from_secs(600), write: None, only: Vec::new() };
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--faults" => wanted.faults = args.next()?.parse().ok().filter(|faults| *faults <= 3)?,
            "--seconds" => wanted.limit = Duration::from_secs(args.next()?.parse().ok()?),
            "--write" => wanted.write = Some(args.next()?.into()),
            name if all().iter().any(|scenario| scenario.name == name) => wanted.only.push(arg),
            _ => return None,
        }
    }
    Some(wanted)
}

/// Returns whether every guarantee held.
fn explore(wanted: &Wanted, out: &mut impl Write) -> io::Result<bool> {
    let mut all_held = true;
    for scenario in all() {
        if !wanted.only.is_empty() && !wanted.only.iter().any(|name| name == scenario.name) {
            continue;
        }
        let began = Instant::now();
        let found = search(&scenario, wanted.faults, wanted.limit);
        let reach = found.reach;
        writeln!(
            out,
            "{:10} {} faults  {:>10} states  deepest {:>3}  {:>4} s  {}  ({})",
            scenario.name,
            wanted.faults,
            reach.states,
            reach.deepest,
            began.elapsed().as_secs(),
            match (&found.counterexample, reach.is_complete) {
                (Some(_), _) => "COUNTEREXAMPLE",
                (None, true) => "complete",
                (None, false) => "time over",
            },
            scenario.about,
        )?;
        if let Some(counterexample) = found.counterexample {
            all_held = false;
            if let Some(file) = &wanted.write {
                let schedule = counterexample.schedule.join("\n");
                std::fs::write(file, format!("# {}\n{schedule}\n", counterexample.violation))?;
            }
            writeln!(out, "\n{}:", counterexample.violation)?;
            for (number, event) in (1..).zip(&counterexample.schedule) {
                writeln!(out, "{number:4}  {event}")?;
            }
            writeln!(out)?;
        }
    }
    Ok(all_held)
}

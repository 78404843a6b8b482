//! `make explore`: runs every interleaving, or as many as the time allows.

use std::{
    fmt::Write as _,
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use trove_couchdb_explore::{Counterexample, Reach, Scenario, all, search_each};

/// The table of the document is between these lines.
const MARKERS: [&str; 2] = ["<!-- explored -->\n", "<!-- /explored -->\n"];

/// The options.
struct Wanted {
    faults: u8,
    /// The time limit of each scenario.
    limit: Duration,
    /// The file for a counterexample, for `make chaos SCHEDULE=`.
    write: Option<PathBuf>,
    /// The document whose table is written.
    report: Option<PathBuf>,
    /// The scenarios to run; all, if empty.
    only: Vec<String>,
}

fn main() -> ExitCode {
    let Some(wanted) = wanted(std::env::args().skip(1)) else {
        eprintln!("usage: explore [--faults N] [--seconds N] [--write FILE] [--report FILE] [SCENARIO ...]");
        return ExitCode::from(64);
    };
    match explore(&wanted) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("explore: {error}");
            ExitCode::FAILURE
        }
    }
}

fn wanted(mut args: impl Iterator<Item = String>) -> Option<Wanted> {
    let limit = Duration::from_secs(600);
    let mut wanted = Wanted { faults: 2, limit, write: None, report: None, only: Vec::new() };
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--faults" => wanted.faults = args.next()?.parse().ok().filter(|faults| *faults <= 3)?,
            "--seconds" => wanted.limit = Duration::from_secs(args.next()?.parse().ok()?),
            "--write" => wanted.write = Some(args.next()?.into()),
            "--report" => wanted.report = Some(args.next()?.into()),
            name if all().iter().any(|scenario| scenario.name == name) => wanted.only.push(arg),
            _ => return None,
        }
    }
    Some(wanted)
}

/// Returns whether every guarantee held.
fn explore(wanted: &Wanted) -> io::Result<bool> {
    let is_wanted =
        |scenario: &Scenario| wanted.only.is_empty() || wanted.only.iter().any(|name| name == scenario.name);
    let scenarios: Vec<Scenario> = all().into_iter().filter(is_wanted).collect();
    let (mut reached, mut failed) = (Vec::new(), Ok(true));
    // The table also says how far one fault less leads.
    let fewest = if wanted.report.is_some() { 1 } else { wanted.faults };
    for faults in fewest..=wanted.faults {
        search_each(
            &scenarios,
            |_| faults,
            wanted.limit,
            |scenario, found, took| {
                let said = say(
                    scenario,
                    faults,
                    found.reach,
                    found.counterexample.as_ref(),
                    took,
                    wanted.write.as_deref(),
                );
                failed = match (&failed, said) {
                    (_, Err(error)) => Err(error),
                    (Ok(true), Ok(())) => Ok(found.counterexample.is_none()),
                    _ => std::mem::replace(&mut failed, Ok(false)),
                };
                reached.push((scenario.name, faults, found.reach));
            },
        );
    }
    if let Some(document) = &wanted.report {
        report(document, wanted.limit, &scenarios, &reached)?;
    }
    failed
}

fn say(
    scenario: &Scenario,
    faults: u8,
    reach: Reach,
    counterexample: Option<&Counterexample>,
    took: Duration,
    write: Option<&Path>,
) -> io::Result<()> {
    let out = &mut io::stdout().lock();
    writeln!(
        out,
        "{:20} {faults} faults  {:>10} states  deepest {:>3}  {:>4} s  {}  ({})",
        scenario.name,
        reach.states,
        reach.deepest,
        took.as_secs(),
        match (counterexample, reach.is_complete) {
            (Some(_), _) => "COUNTEREXAMPLE",
            (None, true) => "complete",
            (None, false) => "time over",
        },
        scenario.about,
    )?;
    let Some(counterexample) = counterexample else { return Ok(()) };
    if let Some(file) = write {
        let schedule = counterexample.schedule.join("\n");
        std::fs::write(file, format!("# {}\n{schedule}\n", counterexample.violation))?;
    }
    writeln!(out, "\n{}:", counterexample.violation)?;
    for (number, event) in (1..).zip(&counterexample.schedule) {
        writeln!(out, "{number:4}  {event}")?;
    }
    writeln!(out)
}

/// Writes the table of how far the search went.
fn report(
    document: &Path,
    limit: Duration,
    scenarios: &[Scenario],
    reached: &[(&str, u8, Reach)],
) -> io::Result<()> {
    let mut table = format!("Each search had at most {} s.\n\n", limit.as_secs());
    table += "| scenario | messages | faults | states | longest schedule |\n|---|---|---|---|---|\n";
    for scenario in scenarios {
        let of = |(name, ..): &&(&str, u8, Reach)| *name == scenario.name;
        let mut all: Vec<_> = reached.iter().filter(of).map(|(_, faults, reach)| (*faults, *reach)).collect();
        all.sort_by_key(|(faults, _)| *faults);
        // The row of one fault less says nothing new if the search with more of them was complete.
        let complete = all.iter().rposition(|(_, reach)| reach.is_complete).unwrap_or_default();
        for (faults, Reach { states, deepest, is_complete }) in all.into_iter().skip(complete) {
            let deepest = if is_complete { format!("{deepest}") } else { format!("{deepest}, time over") };
            let (name, about) = (scenario.name, scenario.about);
            writeln!(table, "| `{name}` | {about} | {faults} | {} | {deepest} |", grouped(states))
                .map_err(io::Error::other)?;
        }
    }
    let text = std::fs::read_to_string(document)?;
    let [begin, end] = MARKERS.map(|marker| text.split_once(marker));
    let (Some((before, _)), Some((_, after))) = (begin, end) else {
        return Err(io::Error::other(format!("{} has no place for the table", document.display())));
    };
    let [begin, end] = MARKERS;
    std::fs::write(document, format!("{before}{begin}{table}{end}{after}"))
}

/// `1234567` as `1,234,567`.
fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

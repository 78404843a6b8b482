//! A search that CI has time for: every scenario, with one fault.

use std::{fmt::Write, time::Duration};

use trove_couchdb_explore::{all, search};

/// For each scenario.
const LIMIT: Duration = Duration::from_secs(15);

/// Fails when the core decides wrongly anywhere: the schedule is printed.
#[test]
fn every_guarantee_holds_in_every_schedule_with_one_fault() {
    let mut report = String::new();
    let mut all_held = true;
    for scenario in all() {
        let found = search(&scenario, 1, LIMIT);
        let reach = found.reach;
        let end = if reach.is_complete { "complete" } else { "time over" };
        let (name, states, deepest) = (scenario.name, reach.states, reach.deepest);
        writeln!(report, "{name}: {states} states, deepest schedule {deepest}, {end}").unwrap();
        if let Some(counterexample) = found.counterexample {
            all_held = false;
            writeln!(report, "  {}:", counterexample.violation).unwrap();
            for event in &counterexample.schedule {
                writeln!(report, "    {event}").unwrap();
            }
        }
    }
    println!("{report}");
    assert!(all_held, "a guarantee does not hold:\n{report}");
}

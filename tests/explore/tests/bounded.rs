//! A search that CI has time for: every scenario with one fault, and the smallest ones with two.

use std::{fmt::Write, time::Duration};

use trove_couchdb_explore::{all, search};

/// For each scenario.
const LIMIT: Duration = Duration::from_secs(15);

/// Small enough for two faults.
const SMALL: [&str; 3] = ["chain", "socket", "forged-read"];

/// Fails when the core decides wrongly anywhere: the schedule is printed.
///
/// Mutations: core-answer-after-acknowledgement, core-begins-at-the-end, core-begins-too-late,
/// core-begins-too-late-for-a-place, core-begins-too-late-once-noted, core-duplicate-is-new,
/// core-forged-runs, core-interrupted-is-forgotten, core-left-is-never-fetched, core-local-mark-unwritten,
/// core-no-order, core-outcome-unwritten, core-place-is-kept, core-reads-leave-no-marks,
/// core-record-is-not-read, core-redelivery-is-new, core-refused-write-is-enough, core-repeats-wait-for-ever,
/// core-rest-gives-up-the-turn, core-second-run-is-new, core-turn-before-outcome, core-twin-runs (docs/promises.md).
#[test]
fn every_guarantee_holds_in_every_schedule() {
    let mut report = String::new();
    let mut all_held = true;
    for scenario in all() {
        let faults = if SMALL.contains(&scenario.name) { 2 } else { 1 };
        let found = search(&scenario, faults, LIMIT);
        let reach = found.reach;
        let end = if reach.is_complete { "complete" } else { "time over" };
        let (name, states, deepest) = (scenario.name, reach.states, reach.deepest);
        writeln!(report, "{name}: {faults} faults, {states} states, deepest schedule {deepest}, {end}")
            .unwrap();
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

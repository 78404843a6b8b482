//! A search that is short enough for CI: every scenario with one fault, and the smallest ones with two.

use std::{fmt::Write, time::Duration};

use trove_couchdb_explore::{all, search};

/// The time limit of each scenario.
const LIMIT: Duration = Duration::from_secs(15);

/// Scenarios that are small enough for two faults.
const SMALL: [&str; 4] = ["chain", "socket", "forged-read", "call-both-ways"];

/// Fails if the core decides wrongly in any state, and prints the schedule.
///
/// Mutations: core-accepts-at-the-end, core-answer-after-acknowledgement, core-arrives-behind-an-operation,
/// core-asked-too-late, core-beginning-is-not-noted, core-begins-at-the-end, core-begins-too-late,
/// core-begins-too-late-for-a-place, core-begins-too-late-once-noted, core-call-is-not-left,
/// core-call-waits-for-an-operation, core-cut-short-is-kept, core-duplicate-is-new, core-failure-leaves-a-mark,
/// core-failure-of-a-process-counts, core-failure-that-is-over-counts, core-forged-runs,
/// core-hand-over-gives-up-the-turn, core-handed-over-is-not-recorded, core-interrupted-for-ever,
/// core-interrupted-is-forgotten, core-interrupted-refuses-reads, core-interrupted-refuses-the-broker,
/// core-interruption-is-dropped, core-left-behind-an-operation, core-left-is-never-fetched,
/// core-left-takes-a-place, core-left-twin-is-answered, core-local-mark-unwritten, core-long-takes-a-place,
/// core-marks-are-not-read, core-no-order, core-not-stored-is-no-refusal, core-noted-again,
/// core-operation-begins-at-the-end, core-operation-does-not-come-again, core-operation-is-handed-over-again,
/// core-operation-of-the-disk-is-waited-for, core-outcome-unwritten, core-panic-is-interrupted,
/// core-panic-keeps-its-place, core-parts-are-not-recorded, core-parts-under-way-are-free, core-place-is-kept,
/// core-process-is-not-answered, core-process-waits-for-the-disk, core-put-back-is-new,
/// core-reads-leave-no-marks, core-record-is-not-read, core-recorded-is-not-answered, core-records-stay,
/// core-redelivery-is-new, core-refused-write-is-enough, core-refused-write-is-not-repeated,
/// core-repeat-comes-too-late, core-repeat-is-answered-again, core-repeats-do-not-go-back,
/// core-repeats-wait-for-ever, core-rest-gives-up-the-turn, core-rests-at-the-end, core-second-run-is-new,
/// core-secret-is-not-stored, core-turn-before-outcome, core-twin-behind-an-operation-is-refused,
/// core-twin-of-a-failure, core-twin-runs, core-twin-takes-a-failure, core-unreadable-is-kept,
/// core-unreadable-operation-has-no-end, core-unsent-answer-is-acknowledged, core-waits-at-the-end,
/// core-waits-behind-an-operation (docs/guarantees.md).
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

//! A search that is short enough for CI: every scenario with one fault, and the smallest ones with two.

use std::{fmt::Write, time::Duration};

use trove_couchdb_explore::{Scenario, all, search_each};

/// The time limit of each scenario.
const LIMIT: Duration = Duration::from_secs(20);

/// Scenarios that are small enough for two faults.
const SMALL: [&str; 8] =
    ["chain", "socket", "forged-read", "call-both-ways", "both-ways", "deadline", "forgotten", "cancel"];

/// Fails if the core decides wrongly in any state, and prints the schedule.
///
/// Mutations: core-abandoned-is-kept, core-accepts-at-the-end, core-acknowledged-is-held,
/// core-answer-after-acknowledgement, core-arrives-behind-a-failing-disk, core-arrives-behind-an-operation,
/// core-asked-too-late, core-beginning-is-not-noted, core-begins-at-the-end, core-begins-too-late,
/// core-begins-too-late-for-a-place, core-begins-too-late-once-noted, core-call-is-not-left,
/// core-call-waits-for-an-operation, core-cancellation-comes-too-late, core-cancellation-is-ignored,
/// core-cut-short-is-kept, core-duplicate-is-new, core-end-is-not-resumed, core-end-is-told-again,
/// core-ends-before-its-answer, core-ends-unwritten, core-failure-leaves-a-mark,
/// core-failure-of-a-process-counts, core-failure-that-is-over-counts, core-forged-runs,
/// core-hand-over-gives-up-the-turn, core-handed-over-is-not-recorded, core-handed-over-is-not-resumed,
/// core-held-for-ever, core-interrupted-for-ever, core-interrupted-is-forgotten,
/// core-interrupted-is-not-resumed, core-interrupted-refuses-reads, core-interrupted-refuses-the-broker,
/// core-interrupted-without-a-broker, core-interruption-is-dropped, core-interruption-is-not-over,
/// core-known-twin-is-acknowledged, core-last-gets-the-place, core-left-behind-an-operation,
/// core-left-is-again, core-left-is-never-fetched, core-left-is-remembered-for-ever, core-left-takes-a-place,
/// core-left-twin-is-answered, core-local-mark-unwritten, core-long-takes-a-place, core-marks-are-not-read,
/// core-no-order, core-not-stored-is-no-refusal, core-noted-again, core-operation-begins-at-the-end,
/// core-operation-does-not-come-again, core-operation-is-handed-over-again, core-operation-is-new,
/// core-operation-is-not-resumed, core-operation-of-the-disk-is-waited-for, core-other-parts-are-answered,
/// core-outcome-is-not-resumed, core-outcome-unwritten, core-panic-is-interrupted, core-panic-keeps-its-place,
/// core-parts-are-not-recorded, core-parts-under-way-are-free, core-place-is-kept,
/// core-process-is-not-answered, core-process-waits-for-the-disk, core-put-back-is-new,
/// core-reads-leave-no-marks, core-ready-is-kept-at-the-end, core-record-is-not-read,
/// core-recorded-is-not-answered, core-records-stay, core-redelivery-is-new, core-refused-after-it-has-begun,
/// core-refused-once-noted-keeps-its-place, core-refused-write-is-enough, core-refused-write-is-not-repeated,
/// core-repeat-comes-too-late, core-repeat-is-answered-again, core-repeats-do-not-go-back,
/// core-repeats-of-the-unsent-are-kept, core-repeats-wait-for-ever, core-rest-gives-up-the-turn,
/// core-rest-is-kept-at-the-end, core-rests-at-the-end, core-second-run-is-new, core-secret-is-not-stored,
/// core-turn-before-outcome, core-twin-behind-an-operation-is-refused, core-twin-is-lost-at-the-end,
/// core-twin-keeps-its-place, core-twin-of-a-failure, core-twin-runs, core-twin-stands-for-the-ended,
/// core-twin-takes-a-failure, core-unacknowledged-marks-are-forgotten, core-unreadable-is-kept,
/// core-unreadable-operation-has-no-end, core-unsent-acknowledgement-counts,
/// core-unsent-answer-is-acknowledged, core-waits-at-the-end, core-waits-behind-an-operation
/// (docs/guarantees.md).
#[test]
fn every_guarantee_holds_in_every_schedule() {
    let mut report = String::new();
    let mut all_held = true;
    let faults = |scenario: &Scenario| match scenario.name {
        "alone" => 3,
        name => 1 + u8::from(SMALL.contains(&name)),
    };
    search_each(&all(), faults, LIMIT, |scenario, found, _| {
        let reach = found.reach;
        let end = if reach.is_complete { "complete" } else { "time over" };
        let (name, faults) = (scenario.name, faults(scenario));
        let (states, deepest) = (reach.states, reach.deepest);
        writeln!(report, "{name}: {faults} faults, {states} states, deepest schedule {deepest}, {end}")
            .unwrap();
        if let Some(counterexample) = found.counterexample {
            all_held = false;
            writeln!(report, "  {}:", counterexample.violation).unwrap();
            for event in &counterexample.schedule {
                writeln!(report, "    {event}").unwrap();
            }
        }
    });
    println!("{report}");
    assert!(all_held, "a guarantee does not hold:\n{report}");
}

/// `make explore REPORT=1` writes the table.
#[test]
fn the_document_says_how_far_every_scenario_was_searched() {
    let document = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/adr/0013-delivery-core.md");
    let text = std::fs::read_to_string(document).unwrap();
    for scenario in all() {
        assert!(text.contains(&format!("| `{}` |", scenario.name)), "the table lacks {}", scenario.name);
    }
}

#![allow(clippy::unwrap_used, clippy::panic)]

use std::{fs::File, os::unix::fs::PermissionsExt};

use trove_couchdb_protocol::{Failure, FailureClass};

use super::{
    store::{FILE_NAME, MODE},
    *,
};

fn marks(numbers: &[u8]) -> ReplayTags {
    ReplayTags::from_seals(numbers.iter().map(|number| Seal([*number; 16])).collect())
}

fn load(directory: &Path, keep: usize) -> (Records, Known) {
    let (records, from_disk) = Records::load(directory, keep);
    (records, resume(from_disk.marks, from_disk.commands, Vec::new(), true))
}

/// Ends a command that changes something, and acknowledges it.
async fn carry_out(records: &Records, numbers: &[u8]) {
    // Some tests use a disk that accepts nothing.
    drop(records.end(&marks(numbers), RecordedOutcome::Done).await);
    records.forget(Seal([numbers[0]; 16])).await;
}

/// The mark is known, but no outcome.
fn is_answered(known: &Known, number: u8) -> bool {
    let mark = Mark([number; 16]);
    known.marks.contains(&mark) && !known.ended.iter().any(|(marks, _)| marks[0] == mark)
}

/// None of these marks is known.
fn is_new(known: &Known, numbers: &[u8]) -> bool {
    numbers.iter().all(|number| {
        let mark = Mark([*number; 16]);
        let ended = known.ended.iter().any(|(marks, _)| marks.contains(&mark));
        let interrupted = known.interrupted.iter().any(|(id, _)| *id == mark);
        !known.marks.contains(&mark) && !ended && !interrupted
    })
}

fn recorded(known: &Known, numbers: &[u8]) -> RecordedOutcome {
    let all = marks(numbers).for_the_core();
    let found = known.ended.iter().find(|(marks, _)| *marks == all);
    found.unwrap_or_else(|| panic!("{numbers:?} is not recorded")).1.clone()
}

fn outcomes(directory: &Path) -> String {
    std::fs::read_to_string(directory.join("outcomes")).unwrap()
}

fn changes(name: &str) -> Changes {
    Changes { databases: vec![name.to_owned()], ..Changes::default() }
}

#[tokio::test]
async fn what_was_carried_out_is_known_to_the_next_agent_and_so_are_its_parts() {
    let directory = tempfile::tempdir().unwrap();
    let (records, _) = load(directory.path(), 100);
    carry_out(&records, &[1, 11, 12]).await;
    let (_, known) = load(directory.path(), 100);
    assert!([1, 11, 12].iter().all(|number| is_answered(&known, *number)));
    assert!(is_new(&known, &[2, 21]));
}

/// The agent is killed right after it requeued a command: the next agent must run it.
#[tokio::test]
async fn a_command_that_went_back_before_it_was_begun_is_run_by_the_next_agent() {
    let directory = tempfile::tempdir().unwrap();
    let (records, _) = load(directory.path(), 100);
    records.end(&marks(&[1]), RecordedOutcome::Done).await.unwrap();
    records.begin(&marks(&[2, 21]), Changes::default()).await.unwrap();
    records.forget(Seal([2; 16])).await;
    let (_, known) = load(directory.path(), 100);
    assert!(is_new(&known, &[2, 21]));
    assert_eq!(recorded(&known, &[1]), RecordedOutcome::Done);
}

/// Fails if an outcome is not on the disk before its command is answered.
#[tokio::test]
async fn an_outcome_is_known_to_the_next_agent_until_its_message_is_acknowledged() {
    let directory = tempfile::tempdir().unwrap();
    let (records, _) = load(directory.path(), 100);
    let failure = Failure::new(FailureClass::UserRejected, "why");
    let failed = RecordedOutcome::Failed(failure);
    records.end(&marks(&[1, 11]), failed.clone()).await.unwrap();
    records.end(&marks(&[2]), RecordedOutcome::Done).await.unwrap();
    records.forget(Seal([2; 16])).await;
    let (_, known) = load(directory.path(), 100);
    assert_eq!(recorded(&known, &[1, 11]), failed);
    assert!(is_answered(&known, 2));
    let path = directory.path().join("outcomes");
    assert_eq!(std::fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
}

#[tokio::test]
async fn a_seed_is_kept_from_before_the_run_to_the_acknowledgement() {
    let directory = tempfile::tempdir().unwrap();
    let (records, _) = load(directory.path(), 100);
    let (message, id) = (marks(&[1]), Seal([1; 16]));
    let seed = records.seed(&message).await.unwrap();
    assert!(outcomes(directory.path()).contains(seed.text().expose()));
    let (records, _) = load(directory.path(), 100);
    assert_eq!(records.seed(&message).await.unwrap(), seed, "it runs again, with the same seed");
    records.end(&message, RecordedOutcome::Answered).await.unwrap();
    let (records, known) = load(directory.path(), 100);
    assert_eq!(recorded(&known, &[1]), RecordedOutcome::Answered);
    assert_eq!(records.seed_of(id), Some(seed.clone()));
    records.forget(id).await;
    assert!(!outcomes(directory.path()).contains(seed.text().expose()));
    assert!(is_answered(&load(directory.path(), 100).1, 1));
}

#[tokio::test]
async fn what_was_begun_and_not_ended_is_known_to_the_next_agent_until_it_does_not_come_again() {
    let directory = tempfile::tempdir().unwrap();
    let (records, _) = load(directory.path(), 100);
    records.begin(&marks(&[1]), changes("a")).await.unwrap();
    records.begin(&marks(&[2]), changes("b")).await.unwrap();
    records.end(&marks(&[1]), RecordedOutcome::Done).await.unwrap();
    let (records, known) = load(directory.path(), 100);
    assert_eq!(known.interrupted, [(Mark([2; 16]), changes("b").scopes())]);
    assert_eq!(recorded(&known, &[1]), RecordedOutcome::Done);
    records.forget(Seal([2; 16])).await;
    assert!(load(directory.path(), 100).1.interrupted.is_empty());
}

/// Holds however many commands follow, and however few marks are kept.
#[tokio::test]
async fn no_outcome_is_forgotten_before_its_acknowledgement() {
    let directory = tempfile::tempdir().unwrap();
    let (records, _) = load(directory.path(), 4);
    records.end(&marks(&[200]), RecordedOutcome::Done).await.unwrap();
    for _ in 0..10 {
        for number in 1..100 {
            carry_out(&records, &[number]).await;
        }
        assert!(outcomes(directory.path()).lines().count() <= 1_026);
    }
    records.finish().await;
    let (_, known) = load(directory.path(), 4);
    assert_eq!(recorded(&known, &[200]), RecordedOutcome::Done);
    assert!(is_new(&known, &[1]));
}

/// The agent is killed during a write: the complete line counts, and the next write repairs the file.
#[tokio::test]
async fn a_torn_line_costs_that_line_alone() {
    let directory = tempfile::tempdir().unwrap();
    let (records, _) = load(directory.path(), 100);
    records.end(&marks(&[1]), RecordedOutcome::Done).await.unwrap();
    let torn = outcomes(directory.path()) + "{\"record\": {\"at\"";
    std::fs::write(directory.path().join("outcomes"), torn).unwrap();
    let (records, _) = load(directory.path(), 100);
    records.end(&marks(&[2]), RecordedOutcome::Done).await.unwrap();
    let (_, known) = load(directory.path(), 100);
    for number in [1, 2] {
        assert_eq!(recorded(&known, &[number]), RecordedOutcome::Done);
    }
}

#[tokio::test]
async fn the_file_of_marks_stays_small_and_a_torn_end_is_repaired() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(FILE_NAME);
    let (records, _) = load(directory.path(), 4);
    for number in 1..50 {
        carry_out(&records, &[number]).await;
        records.finish().await;
        assert!(std::fs::metadata(&path).unwrap().len() <= 8 * 16);
    }
    let mut torn = std::fs::read(&path).unwrap();
    torn.extend([7; 5]);
    std::fs::write(&path, torn).unwrap();
    let (records, _) = load(directory.path(), 4);
    carry_out(&records, &[100]).await;
    records.finish().await;
    assert_eq!(outcomes(directory.path()), "");
    let (_, known) = load(directory.path(), 4);
    assert!(is_answered(&known, 100) && is_answered(&known, 49));
    assert!(is_new(&known, &[1]));
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, MODE);
}

#[tokio::test]
async fn what_can_wait_reaches_the_disk_with_what_can_not() {
    let directory = tempfile::tempdir().unwrap();
    let (records, _) = load(directory.path(), 100);
    assert!(!records.remember(marks(&[1, 11]).seals()));
    assert!(!directory.path().join(FILE_NAME).exists());
    carry_out(&records, &[3, 31]).await;
    assert!(!records.remember(marks(&[4, 41]).seals()));
    carry_out(&records, &[5, 51]).await;
    records.finish().await;
    let (_, known) = load(directory.path(), 100);
    assert!([11, 31, 41, 51].iter().all(|part| is_answered(&known, *part)));
}

/// After a full disk has space again, nothing is lost that could not be written meanwhile.
#[tokio::test]
async fn what_the_disk_refused_is_written_with_the_next() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("state");
    std::fs::create_dir(&state).unwrap();
    let (records, _) = load(&state, 100);
    records.end(&marks(&[1]), RecordedOutcome::Done).await.unwrap();
    // Every append fails on this file.
    records.files().outcomes.writes_to(File::options().read(true).open("/dev/null").unwrap());
    records.end(&marks(&[2]), RecordedOutcome::Done).await.unwrap_err();
    records.end(&marks(&[3]), RecordedOutcome::Done).await.unwrap();
    records.save(Seal([2; 16])).await.unwrap();
    let (_, known) = load(&state, 100);
    for number in 1..=3 {
        assert_eq!(recorded(&known, &[number]), RecordedOutcome::Done, "{number}");
    }
}

#[tokio::test]
async fn marks_that_the_disk_refused_are_written_later() {
    let directory = tempfile::tempdir().unwrap();
    let (records, _) = load(directory.path(), 100);
    records.remember(marks(&[1]).seals());
    records.write_marks().await.unwrap();
    records.files().marks.open = Some(File::options().read(true).open("/dev/null").unwrap());
    records.remember(marks(&[2]).seals());
    records.write_marks().await.unwrap_err();
    records.remember(marks(&[3]).seals());
    records.write_marks().await.unwrap();
    let (_, known) = load(directory.path(), 100);
    assert!([1, 2, 3].iter().all(|number| is_answered(&known, *number)));
}

#[tokio::test]
async fn without_a_disk_nothing_is_saved_and_an_acknowledgement_ends_it() {
    let (records, _) = load(Path::new("/proc/nowhere"), 4);
    records.end(&marks(&[1]), RecordedOutcome::Done).await.unwrap_err();
    records.seed(&marks(&[1])).await.unwrap_err();
    records.save(Seal([1; 16])).await.unwrap_err();
    records.forget(Seal([1; 16])).await;
    records.save(Seal([1; 16])).await.unwrap();
}

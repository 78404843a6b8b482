#![allow(clippy::unwrap_used, clippy::panic)]

use std::{fs::File, os::unix::fs::PermissionsExt};

use trove_couchdb_protocol::{Failure, FailureClass};

use super::{
    store::{FILE_NAME, MODE},
    *,
};

fn marks(numbers: &[u8]) -> Marks {
    Marks(numbers.iter().map(|number| Seal([*number; 16])).collect())
}

fn fresh(receipts: &Receipts, numbers: &[u8]) -> UnderWay {
    match receipts.judge(marks(numbers)) {
        Judgement::Fresh(under_way) => under_way,
        other => panic!("{numbers:?}: {other:?}"),
    }
}

/// A command that changes something, from its arrival to its acknowledgement.
async fn carry_out(receipts: &Receipts, numbers: &[u8]) {
    let under_way = fresh(receipts, numbers).lasting();
    drop(under_way.record(RecordedOutcome::Done).await);
    receipts.acknowledged(under_way.mark().unwrap()).await;
}

/// One that only reads.
async fn read(receipts: &Receipts, numbers: &[u8]) {
    fresh(receipts, numbers).answered().await;
}

fn is_answered(receipts: &Receipts, numbers: &[u8]) -> bool {
    matches!(receipts.judge(marks(numbers)), Judgement::Known(None))
}

fn recorded(receipts: &Receipts, numbers: &[u8]) -> (RecordedOutcome, Option<Seed>) {
    match receipts.judge(marks(numbers)) {
        Judgement::Known(Some(recorded)) => recorded,
        other => panic!("{numbers:?}: {other:?}"),
    }
}

fn outcomes(directory: &Path) -> String {
    std::fs::read_to_string(directory.join("outcomes")).unwrap()
}

#[tokio::test]
async fn what_was_carried_out_is_known_to_the_next_agent_and_so_are_its_parts() {
    let directory = tempfile::tempdir().unwrap();
    let receipts = Receipts::load(directory.path(), 100);
    carry_out(&receipts, &[1, 11, 12]).await;
    drop(fresh(&receipts, &[2, 21]));
    for receipts in [receipts, Receipts::load(directory.path(), 100)] {
        assert!(is_answered(&receipts, &[1, 11, 12]));
        assert!(matches!(receipts.judge(marks(&[3, 11, 12])), Judgement::Forged), "under another id");
        assert!(matches!(receipts.judge(marks(&[3, 31, 12])), Judgement::Forged), "one part of it");
        drop(fresh(&receipts, &[2, 21]));
    }
}

/// The agent is killed right after it gave a command back: the next one must run it.
#[tokio::test]
async fn a_command_that_went_back_before_it_was_begun_is_run_by_the_next_agent() {
    let directory = tempfile::tempdir().unwrap();
    let receipts = Receipts::load(directory.path(), 100);
    let other = fresh(&receipts, &[1]).lasting();
    other.record(RecordedOutcome::Done).await.unwrap();
    let handed_back = fresh(&receipts, &[2, 21]).lasting();
    handed_back.begin(Changes::default()).await;
    receipts.acknowledged(handed_back.mark().unwrap()).await;
    drop(handed_back);
    for receipts in [receipts, Receipts::load(directory.path(), 100)] {
        drop(fresh(&receipts, &[2, 21]));
    }
}

/// Fails when an outcome is not on the disk before its command is answered.
#[tokio::test]
async fn an_outcome_is_known_to_the_next_agent_until_its_message_is_acknowledged() {
    let directory = tempfile::tempdir().unwrap();
    let receipts = Receipts::load(directory.path(), 100);
    let failure = Failure::new(FailureClass::UserRejected, "why");
    let failed = RecordedOutcome::Failed(failure);
    let (first, second) = (fresh(&receipts, &[1, 11]).lasting(), fresh(&receipts, &[2]).lasting());
    first.record(failed.clone()).await.unwrap();
    second.record(RecordedOutcome::Done).await.unwrap();
    receipts.acknowledged(second.mark().unwrap()).await;
    for receipts in [receipts, Receipts::load(directory.path(), 100)] {
        assert_eq!(recorded(&receipts, &[1, 11]).0, failed);
        assert!(is_answered(&receipts, &[1, 99]), "not wholly the same: nothing is told");
        assert!(matches!(receipts.judge(marks(&[3, 11])), Judgement::Forged));
        assert!(is_answered(&receipts, &[2]));
    }
    let path = directory.path().join("outcomes");
    assert_eq!(std::fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
}

#[tokio::test]
async fn a_seed_is_kept_from_before_the_run_to_the_acknowledgement() {
    let directory = tempfile::tempdir().unwrap();
    let receipts = Receipts::load(directory.path(), 100);
    let seed = fresh(&receipts, &[1]).lasting().seed().await.unwrap();
    assert!(outcomes(directory.path()).contains(seed.text().expose()));
    let receipts = Receipts::load(directory.path(), 100);
    let under_way = fresh(&receipts, &[1]).lasting();
    assert_eq!(under_way.seed().await.unwrap(), seed, "it runs again, with the same seed");
    under_way.record(RecordedOutcome::Answered).await.unwrap();
    let receipts = Receipts::load(directory.path(), 100);
    assert_eq!(recorded(&receipts, &[1]), (RecordedOutcome::Answered, Some(seed.clone())));
    receipts.acknowledged(under_way.mark().unwrap()).await;
    assert!(!outcomes(directory.path()).contains(seed.text().expose()));
    assert!(is_answered(&Receipts::load(directory.path(), 100), &[1]));
}

#[tokio::test]
async fn what_was_begun_and_not_ended_is_known_to_the_next_agent_until_it_does_not_come_again() {
    let directory = tempfile::tempdir().unwrap();
    let receipts = Receipts::load(directory.path(), 100);
    let changes = |name: &str| Changes { databases: vec![name.to_owned()], ..Changes::default() };
    let (ended, cut_short) = (fresh(&receipts, &[1]).lasting(), fresh(&receipts, &[2]).lasting());
    ended.begin(changes("a")).await;
    cut_short.begin(changes("b")).await;
    ended.record(RecordedOutcome::Done).await.unwrap();
    let receipts = Receipts::load(directory.path(), 100);
    let mark = Seal([2; 16]);
    assert_eq!(receipts.interrupted(), [(mark, changes("b"))]);
    let again = fresh(&receipts, &[2]);
    receipts.forget_interrupted();
    assert_eq!(receipts.interrupted().len(), 1, "it has come again");
    drop(again);
    receipts.forget_interrupted();
    assert!(receipts.interrupted().is_empty());
    assert_eq!(recorded(&receipts, &[1]).0, RecordedOutcome::Done);
}

/// However many follow, and however few marks are kept.
#[tokio::test]
async fn no_outcome_is_forgotten_before_its_acknowledgement() {
    let directory = tempfile::tempdir().unwrap();
    let receipts = Receipts::load(directory.path(), 4);
    let waits = fresh(&receipts, &[200]).lasting();
    waits.record(RecordedOutcome::Done).await.unwrap();
    for _ in 0..10 {
        for number in 1..100 {
            carry_out(&receipts, &[number]).await;
        }
        assert!(outcomes(directory.path()).lines().count() <= 1_026);
    }
    for receipts in [receipts, Receipts::load(directory.path(), 4)] {
        assert_eq!(recorded(&receipts, &[200]).0, RecordedOutcome::Done);
        drop(fresh(&receipts, &[1]));
    }
}

/// Killed in the middle of a write: the line that is whole counts, and the next write repairs the file.
#[tokio::test]
async fn a_torn_line_costs_that_line_alone() {
    let directory = tempfile::tempdir().unwrap();
    let receipts = Receipts::load(directory.path(), 100);
    fresh(&receipts, &[1]).lasting().record(RecordedOutcome::Done).await.unwrap();
    let torn = outcomes(directory.path()) + "{\"record\": {\"at\"";
    std::fs::write(directory.path().join("outcomes"), torn).unwrap();
    let receipts = Receipts::load(directory.path(), 100);
    fresh(&receipts, &[2]).lasting().record(RecordedOutcome::Done).await.unwrap();
    let receipts = Receipts::load(directory.path(), 100);
    for number in [1, 2] {
        assert_eq!(recorded(&receipts, &[number]).0, RecordedOutcome::Done);
    }
}

#[test]
fn parts_of_what_is_under_way_belong_to_it() {
    let directory = tempfile::tempdir().unwrap();
    let receipts = Receipts::load(directory.path(), 100);
    let under_way = fresh(&receipts, &[1, 11]);
    assert!(matches!(receipts.judge(marks(&[2, 11])), Judgement::Forged));
    let again = fresh(&receipts, &[1, 11]);
    drop(under_way);
    assert!(matches!(receipts.judge(marks(&[2, 11])), Judgement::Forged), "delivered twice, and once left");
    drop(again);
    fresh(&receipts, &[2, 11]);
}

#[tokio::test]
async fn the_file_of_marks_stays_small_and_a_torn_end_is_repaired() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(FILE_NAME);
    let receipts = Receipts::load(directory.path(), 4);
    for number in 1..50 {
        carry_out(&receipts, &[number]).await;
        receipts.finish().await;
        assert!(std::fs::metadata(&path).unwrap().len() <= 8 * 16);
    }
    let mut torn = std::fs::read(&path).unwrap();
    torn.extend([7; 5]);
    std::fs::write(&path, torn).unwrap();
    let receipts = Receipts::load(directory.path(), 4);
    carry_out(&receipts, &[100]).await;
    receipts.finish().await;
    assert_eq!(outcomes(directory.path()), "");
    let receipts = Receipts::load(directory.path(), 4);
    assert!(is_answered(&receipts, &[100]) && is_answered(&receipts, &[49]));
    drop(fresh(&receipts, &[1]));
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, MODE);
}

#[tokio::test]
async fn what_can_wait_reaches_the_disk_with_what_can_not() {
    let directory = tempfile::tempdir().unwrap();
    let receipts = Receipts::load(directory.path(), 100);
    read(&receipts, &[1, 11]).await;
    assert!(matches!(receipts.judge(marks(&[2, 11])), Judgement::Forged), "known at once");
    assert!(!directory.path().join(FILE_NAME).exists());
    carry_out(&receipts, &[3, 31]).await;
    read(&receipts, &[4, 41]).await;
    carry_out(&receipts, &[5, 51]).await;
    receipts.finish().await;
    let receipts = Receipts::load(directory.path(), 100);
    for part in [11, 31, 41, 51] {
        assert!(matches!(receipts.judge(marks(&[9, part])), Judgement::Forged), "{part}");
    }
}

/// A full disk that has room again: nothing of what could not be written meanwhile is lost.
#[tokio::test]
async fn what_the_disk_refused_is_written_with_the_next() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("state");
    std::fs::create_dir(&state).unwrap();
    let receipts = Receipts::load(&state, 100);
    fresh(&receipts, &[1]).lasting().record(RecordedOutcome::Done).await.unwrap();
    // Every append fails there.
    receipts.files().outcomes.writes_to(File::options().read(true).open("/dev/null").unwrap());
    let refused = fresh(&receipts, &[2]).lasting();
    refused.record(RecordedOutcome::Done).await.unwrap_err();
    assert_eq!(recorded(&receipts, &[2]).0, RecordedOutcome::Done, "this agent knows");
    fresh(&receipts, &[3]).lasting().record(RecordedOutcome::Done).await.unwrap();
    refused.until_safe().await;
    let receipts = Receipts::load(&state, 100);
    for number in 1..=3 {
        assert_eq!(recorded(&receipts, &[number]).0, RecordedOutcome::Done, "{number}");
    }
}

#[tokio::test]
async fn without_a_disk_this_agent_still_knows_and_an_acknowledgement_is_enough() {
    let receipts = Receipts::load(Path::new("/proc/nowhere"), 4);
    let under_way = fresh(&receipts, &[1]).lasting();
    under_way.record(RecordedOutcome::Done).await.unwrap_err();
    under_way.seed().await.unwrap_err();
    let mark = under_way.mark().unwrap();
    let safe = tokio::spawn(async move { under_way.until_safe().await });
    tokio::task::yield_now().await;
    assert!(!safe.is_finished());
    receipts.acknowledged(mark).await;
    safe.await.unwrap();
    assert!(is_answered(&receipts, &[1]));
}

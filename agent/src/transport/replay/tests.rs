#![allow(clippy::unwrap_used, clippy::panic)]

use std::os::unix::fs::PermissionsExt;

use super::*;

fn marks(numbers: &[u8]) -> Marks {
    Marks(numbers.iter().map(|number| Seal([*number; 16])).collect())
}

fn fresh(receipts: &Receipts, numbers: &[u8]) -> UnderWay {
    match receipts.judge(marks(numbers)) {
        Judgement::Fresh(under_way) => under_way,
        other => panic!("{numbers:?}: {other:?}"),
    }
}

#[tokio::test]
async fn what_was_carried_out_is_known_to_the_next_agent_and_so_are_its_parts() {
    let directory = tempfile::tempdir().unwrap();
    let receipts = Receipts::load(directory.path(), 100);
    fresh(&receipts, &[1, 11, 12]).lasting().record().await;
    drop(fresh(&receipts, &[2, 21]));
    for receipts in [receipts, Receipts::load(directory.path(), 100)] {
        assert!(matches!(receipts.judge(marks(&[1, 11, 12])), Judgement::Known));
        assert!(matches!(receipts.judge(marks(&[3, 11, 12])), Judgement::Forged), "under another id");
        assert!(matches!(receipts.judge(marks(&[3, 31, 12])), Judgement::Forged), "one part of it");
        drop(fresh(&receipts, &[2, 21]));
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
async fn the_file_stays_small_and_a_torn_end_is_repaired() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(FILE_NAME);
    let receipts = Receipts::load(directory.path(), 4);
    for number in 1..50 {
        fresh(&receipts, &[number]).lasting().record().await;
        assert!(std::fs::metadata(&path).unwrap().len() <= 8 * 16);
    }
    let mut torn = std::fs::read(&path).unwrap();
    torn.extend([7; 5]);
    std::fs::write(&path, torn).unwrap();
    let receipts = Receipts::load(directory.path(), 4);
    fresh(&receipts, &[100]).lasting().record().await;
    let receipts = Receipts::load(directory.path(), 4);
    assert!(matches!(receipts.judge(marks(&[100])), Judgement::Known));
    assert!(matches!(receipts.judge(marks(&[49])), Judgement::Known));
    drop(fresh(&receipts, &[1]));
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, MODE);
}

#[tokio::test]
async fn what_can_wait_reaches_the_disk_with_what_can_not() {
    let directory = tempfile::tempdir().unwrap();
    let receipts = Receipts::load(directory.path(), 100);
    fresh(&receipts, &[1, 11]).record().await;
    assert!(matches!(receipts.judge(marks(&[2, 11])), Judgement::Forged), "known at once");
    assert!(!directory.path().join(FILE_NAME).exists());
    fresh(&receipts, &[3, 31]).lasting().record().await;
    fresh(&receipts, &[4, 41]).record().await;
    fresh(&receipts, &[5, 51]).lasting().record().await;
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
    fresh(&receipts, &[1]).lasting().record().await;
    // Every append and every new file fails there.
    receipts.file().open = Some(File::options().read(true).open("/dev/null").unwrap());
    fresh(&receipts, &[2]).lasting().record().await;
    fresh(&receipts, &[3]).lasting().record().await;
    let receipts = Receipts::load(&state, 100);
    for number in 1..=3 {
        assert!(matches!(receipts.judge(marks(&[number])), Judgement::Known), "{number}");
    }
}

#[tokio::test]
async fn without_a_disk_this_agent_still_knows() {
    let receipts = Receipts::load(Path::new("/proc/nowhere"), 4);
    fresh(&receipts, &[1]).lasting().record().await;
    assert!(matches!(receipts.judge(marks(&[1])), Judgement::Known));
}

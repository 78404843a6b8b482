#![allow(clippy::unwrap_used)]

use super::*;

fn building(id: &str) -> Stage {
    Stage::Building { id: id.to_owned() }
}

fn failed(id: &str, reason: &str) -> Stage {
    Stage::Failed { id: id.to_owned(), reason: reason.to_owned() }
}

fn load(state_dir: &Path) -> (Preparation, mpsc::UnboundedReceiver<Stage>) {
    Preparation::load(state_dir, "g1")
}

fn told(changes: &mut mpsc::UnboundedReceiver<Stage>) -> Vec<Stage> {
    std::iter::from_fn(|| changes.try_recv().ok()).collect()
}

#[tokio::test]
async fn an_operator_may_write_the_file_while_the_agent_runs() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("prepared.json");
    let (preparation, _changes) = load(directory.path());
    for content in ["yes", r#"{"prepared": false}"#, r#"{"prepared": true, "guest_id": "another"}"#] {
        std::fs::write(&path, content).unwrap();
        assert_eq!(preparation.current().await, Stage::Awaited, "{content}");
    }
    // Also after a failure, which the operator has made good by hand.
    preparation.fail("one", "no disk").await;
    assert_eq!(preparation.current().await, failed("one", "no disk"));
    std::fs::write(&path, r#"{"prepared": true}"#).unwrap();
    assert_eq!(preparation.current().await, Stage::Prepared);
}

#[tokio::test]
async fn every_stage_outlives_the_agent_and_the_first_id_stays() {
    let directory = tempfile::tempdir().unwrap();
    let listeners = std::cell::RefCell::new(Vec::new());
    let again = || {
        let (preparation, changes) = load(directory.path());
        listeners.borrow_mut().push(changes);
        preparation
    };
    let (preparation, mut changes) = load(directory.path());
    assert_eq!(preparation.begin("one").await.unwrap(), "one");
    assert_eq!(again().current().await, building("one"));
    assert_eq!(again().begin("two").await.unwrap(), "one");
    preparation.fail("one", "no disk").await;
    assert_eq!(again().current().await, failed("one", "no disk"));
    assert_eq!(again().begin("three").await.unwrap(), "one");
    preparation.complete().await.unwrap();
    preparation.fail("four", "too late").await;
    assert_eq!(again().current().await, Stage::Settling);
    preparation.settle().await;
    assert_eq!(again().current().await, Stage::Prepared);
    let stages =
        [Stage::Awaited, building("one"), failed("one", "no disk"), Stage::Settling, Stage::Prepared];
    assert_eq!(told(&mut changes), stages);
}

#[tokio::test]
async fn only_a_prepare_that_nobody_took_up_again_counts_as_interrupted() {
    let directory = tempfile::tempdir().unwrap();
    load(directory.path()).0.begin("one").await.unwrap();

    let (taken_up, mut changes) = load(directory.path());
    taken_up.begin("one").await.unwrap();
    taken_up.fail_if_interrupted("lost").await;
    assert_eq!(taken_up.current().await, building("one"));
    taken_up.complete().await.unwrap();
    taken_up.fail_if_interrupted("lost").await;
    assert_eq!(told(&mut changes), [building("one"), building("one"), Stage::Settling]);

    let other = tempfile::tempdir().unwrap();
    load(other.path()).0.begin("one").await.unwrap();
    let (lost, _) = load(other.path());
    lost.fail_if_interrupted("lost").await;
    assert_eq!(lost.current().await, failed("one", "lost"));
    // It came after all.
    assert_eq!(lost.begin("one").await.unwrap(), "one");
    lost.fail_if_interrupted("lost").await;
    assert_eq!(lost.current().await, building("one"));
}

#[tokio::test]
async fn a_prepare_that_has_arrived_may_wait_for_its_turn() {
    let directory = tempfile::tempdir().unwrap();
    load(directory.path()).0.begin("one").await.unwrap();
    let (preparation, _changes) = load(directory.path());
    preparation.has_come();
    preparation.fail_if_interrupted("lost").await;
    assert_eq!(preparation.current().await, building("one"));
}

#[tokio::test]
async fn a_refused_prepare_ends_no_other() {
    let directory = tempfile::tempdir().unwrap();
    let (preparation, _changes) = load(directory.path());
    preparation.begin("one").await.unwrap();
    preparation.refuse("two", "version").await;
    assert_eq!(preparation.current().await, building("one"));
    preparation.refuse("one", "version").await;
    assert_eq!(preparation.current().await, failed("one", "version"));

    let other = tempfile::tempdir().unwrap();
    let (preparation, _changes) = load(other.path());
    preparation.refuse("one", "version").await;
    assert_eq!(preparation.current().await, failed("one", "version"));
}

#[tokio::test]
async fn without_trove_nothing_has_to_settle() {
    let directory = tempfile::tempdir().unwrap();
    let (preparation, changes) = load(directory.path());
    drop(changes);
    preparation.begin("one").await.unwrap();
    preparation.complete().await.unwrap();
    assert_eq!(preparation.current().await, Stage::Prepared);
}

/// Whoever comes first, a redelivered `prepare` that goes well is never called lost in the end.
#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_and_a_redelivery_at_the_same_moment_take_turns() {
    for _ in 0..50 {
        let directory = tempfile::tempdir().unwrap();
        load(directory.path()).0.begin("one").await.unwrap();
        let (preparation, mut changes) = load(directory.path());
        let deadline = tokio::spawn({
            let preparation = preparation.clone();
            async move { preparation.fail_if_interrupted("lost").await }
        });
        preparation.begin("one").await.unwrap();
        preparation.complete().await.unwrap();
        deadline.await.unwrap();
        assert_eq!(preparation.current().await, Stage::Settling);
        assert_eq!(load(directory.path()).0.current().await, Stage::Settling);
        let told = told(&mut changes);
        assert_eq!(told[told.len() - 2..], [building("one"), Stage::Settling], "{told:?}");
    }
}

#[tokio::test]
async fn without_a_disk_nothing_begins_but_a_failure_is_told() {
    let (preparation, mut changes) = load(Path::new("/proc/nowhere"));
    assert!(preparation.begin("one").await.is_err());
    assert_eq!(told(&mut changes), [Stage::Awaited]);
    preparation.fail("one", "no disk").await;
    assert_eq!(told(&mut changes), [failed("one", "no disk")]);
    assert_eq!(preparation.current().await, failed("one", "no disk"));
}

#[tokio::test]
async fn the_age_of_the_control_plane_is_kept_with_the_stage() {
    let directory = tempfile::tempdir().unwrap();
    let (preparation, _changes) = load(directory.path());
    assert!(!preparation.has_old_control_plane());
    preparation.note_control_plane(true).await;
    preparation.begin("one").await.unwrap();
    preparation.complete().await.unwrap();
    assert!(load(directory.path()).0.has_old_control_plane());
    // It is upgraded.
    preparation.note_control_plane(false).await;
    assert!(!preparation.has_old_control_plane());
    let restarted = load(directory.path()).0;
    assert!(!restarted.has_old_control_plane());
    assert_eq!(restarted.current().await, Stage::Settling);
}

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use super::*;
use crate::couch::Health;

/// Longer than any test, so that only requests read the file.
const NEVER: Duration = Duration::from_secs(86_400);

fn building(id: &str) -> GuestState {
    Stage::Building { id: id.to_owned() }.into()
}

fn failed(id: &str, reason: &str) -> GuestState {
    Stage::Failed { id: id.to_owned(), reason: reason.to_owned() }.into()
}

struct Loaded {
    lifecycle: Lifecycle,
    changes: mpsc::UnboundedReceiver<GuestState>,
}

fn load(state_dir: &Path) -> Loaded {
    let (lifecycle, owner, changes) = Lifecycle::load(state_dir, "g1");
    tokio::spawn(owner.run(NEVER));
    Loaded { lifecycle, changes }
}

impl Loaded {
    fn reported(&mut self) -> Vec<GuestState> {
        std::iter::from_fn(|| self.changes.try_recv().ok()).collect()
    }

    async fn server(&self) -> Server {
        self.lifecycle.current().await.server
    }

    async fn sees(&self, health: Health) -> Server {
        self.lifecycle.saw(health, Instant::now());
        self.server().await
    }

    async fn stop(&self, across_reboots: bool, ended: Ended) -> Server {
        self.lifecycle.begin_stop(across_reboots).await.unwrap().ended(ended).await;
        self.server().await
    }

    async fn start(&self, ended: Ended) -> Server {
        self.lifecycle.begin_start().await.unwrap().ended(ended).await;
        self.server().await
    }
}

const DONE: Ended = Ended::Done { changed: true };

#[tokio::test]
async fn an_operator_may_write_the_file_while_the_agent_runs() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("prepared.json");
    let Loaded { lifecycle, changes: _changes } = load(directory.path());
    for content in ["yes", r#"{"prepared": false}"#, r#"{"prepared": true, "guest_id": "another"}"#] {
        std::fs::write(&path, content).unwrap();
        assert_eq!(lifecycle.current().await, GuestState::default(), "{content}");
    }
    // The same after a failure that the operator repaired by hand.
    lifecycle.fail_prepare("one", "no disk").await;
    assert_eq!(lifecycle.current().await, failed("one", "no disk"));
    std::fs::write(&path, r#"{"prepared": true}"#).unwrap();
    assert_eq!(lifecycle.current().await, Stage::Ready.into());
}

#[tokio::test]
async fn every_stage_outlives_the_agent_and_the_first_id_stays() {
    let directory = tempfile::tempdir().unwrap();
    let again = || load(directory.path());
    let mut first = again();
    assert_eq!(first.lifecycle.begin_prepare("one").await.unwrap(), "one");
    assert_eq!(again().lifecycle.current().await, building("one"));
    assert_eq!(again().lifecycle.begin_prepare("two").await.unwrap(), "one");
    first.lifecycle.fail_prepare("one", "no disk").await;
    assert_eq!(again().lifecycle.current().await, failed("one", "no disk"));
    assert_eq!(first.lifecycle.begin_prepare("three").await.unwrap(), "one");
    first.lifecycle.end_prepare().await.unwrap();
    first.lifecycle.fail_prepare("four", "too late").await;
    assert!(first.lifecycle.begin_prepare("five").await.is_err(), "it is prepared");
    assert_eq!(again().lifecycle.current().await, Stage::Settling.into());
    first.lifecycle.settle().await;
    assert_eq!(again().lifecycle.current().await, Stage::Ready.into());
    let states = [
        GuestState::default(),
        building("one"),
        failed("one", "no disk"),
        building("one"),
        Stage::Settling.into(),
        Stage::Ready.into(),
    ];
    assert_eq!(first.reported(), states);
}

#[tokio::test]
async fn an_abandoned_prepare_has_failed_and_may_begin_again() {
    let directory = tempfile::tempdir().unwrap();
    load(directory.path()).lifecycle.begin_prepare("one").await.unwrap();
    let lost = load(directory.path());
    lost.lifecycle.interrupt_prepare("lost").await;
    assert_eq!(lost.lifecycle.current().await, failed("one", "lost"));
    // The request arrived after all.
    assert_eq!(lost.lifecycle.begin_prepare("two").await.unwrap(), "one");
    assert_eq!(lost.lifecycle.current().await, building("one"));

    let new = tempfile::tempdir().unwrap();
    let new = load(new.path());
    new.lifecycle.interrupt_prepare("lost").await;
    assert_eq!(new.lifecycle.current().await, GuestState::default(), "nothing was begun");
}

#[tokio::test]
async fn a_refused_prepare_ends_no_other() {
    let directory = tempfile::tempdir().unwrap();
    let Loaded { lifecycle, changes: _changes } = load(directory.path());
    lifecycle.begin_prepare("one").await.unwrap();
    lifecycle.refuse_prepare("two", "version").await;
    assert_eq!(lifecycle.current().await, building("one"));
    lifecycle.refuse_prepare("one", "version").await;
    assert_eq!(lifecycle.current().await, failed("one", "version"));

    let other = tempfile::tempdir().unwrap();
    let Loaded { lifecycle, changes: _changes } = load(other.path());
    lifecycle.refuse_prepare("one", "version").await;
    assert_eq!(lifecycle.current().await, failed("one", "version"));
}

#[tokio::test]
async fn without_trove_nothing_has_to_settle() {
    let directory = tempfile::tempdir().unwrap();
    let Loaded { lifecycle, changes } = load(directory.path());
    drop(changes);
    lifecycle.begin_prepare("one").await.unwrap();
    lifecycle.end_prepare().await.unwrap();
    assert_eq!(lifecycle.current().await, Stage::Ready.into());
}

#[tokio::test]
async fn without_a_disk_nothing_begins_but_a_failure_and_a_stop_are_reported() {
    let mut loaded = load(Path::new("/proc/nowhere"));
    assert!(matches!(loaded.lifecycle.begin_prepare("one").await, Err(TransitionError::NotWritten { .. })));
    assert_eq!(loaded.reported(), [GuestState::default()]);
    loaded.lifecycle.fail_prepare("one", "no disk").await;
    assert_eq!(loaded.reported(), [failed("one", "no disk")]);
    assert!(matches!(loaded.stop(false, DONE).await, Server::Stopped(_)));
}

#[tokio::test]
async fn the_age_of_the_control_plane_is_kept_with_the_state() {
    let directory = tempfile::tempdir().unwrap();
    let Loaded { lifecycle, changes: _changes } = load(directory.path());
    assert!(!lifecycle.has_old_control_plane());
    lifecycle.note_control_plane(true).await;
    lifecycle.begin_prepare("one").await.unwrap();
    lifecycle.end_prepare().await.unwrap();
    assert!(load(directory.path()).lifecycle.has_old_control_plane());
    // Trove is upgraded.
    lifecycle.note_control_plane(false).await;
    assert!(!lifecycle.has_old_control_plane());
    let restarted = load(directory.path()).lifecycle;
    assert!(!restarted.has_old_control_plane());
    assert_eq!(restarted.current().await, Stage::Settling.into());
}

#[tokio::test]
async fn a_stop_on_purpose_outlives_the_agent_until_couchdb_is_started() {
    let directory = tempfile::tempdir().unwrap();
    let loaded = load(directory.path());
    let stopping = loaded.lifecycle.begin_stop(false).await.unwrap();
    assert!(matches!(loaded.server().await, Server::Stopping { .. }));
    assert!(loaded.lifecycle.begin_start().await.is_err(), "one change at a time");
    // The agent may be killed before it knows the outcome.
    assert!(matches!(load(directory.path()).server().await, Server::Stopped(_)));
    stopping.ended(DONE).await;
    let stopped = loaded.server().await;
    assert!(matches!(stopped, Server::Stopped(_)));
    assert_eq!(load(directory.path()).server().await, stopped);

    assert_eq!(loaded.start(Ended::Refused).await, stopped, "it is as stopped as before");
    assert_eq!(loaded.start(DONE).await, Server::Running);
    assert_eq!(load(directory.path()).server().await, Server::Running);
}

/// Mutation: old-look-ends-a-stop (docs/guarantees.md).
#[tokio::test]
async fn what_was_asked_before_a_stop_had_ended_does_not_count() {
    let directory = tempfile::tempdir().unwrap();
    let loaded = load(directory.path());
    let before = Instant::now();
    let stopped = loaded.stop(false, DONE).await;
    loaded.lifecycle.saw(Health::Healthy, before);
    assert_eq!(loaded.server().await, stopped);
    // CouchDB was started without the agent.
    assert_eq!(loaded.sees(Health::Healthy).await, Server::Running);
    assert_eq!(load(directory.path()).server().await, Server::Running, "also for a restarted agent");
}

#[tokio::test]
async fn a_restarted_agent_believes_what_it_sees_of_couchdb() {
    let directory = tempfile::tempdir().unwrap();
    load(directory.path()).stop(true, DONE).await;
    let loaded = load(directory.path());
    assert!(matches!(loaded.sees(Health::Down("refused".into())).await, Server::Stopped(_)));
    assert_eq!(loaded.sees(Health::Healthy).await, Server::Running);
}

#[tokio::test]
async fn a_stop_that_was_refused_takes_no_earlier_decision_back() {
    let directory = tempfile::tempdir().unwrap();
    let loaded = load(directory.path());
    assert_eq!(loaded.stop(false, Ended::Refused).await, Server::Running);
    let stopped = loaded.stop(false, Ended::Unknown).await;
    assert!(matches!(stopped, Server::Stopped(_)), "until a look finds it running");
    assert_eq!(loaded.stop(true, Ended::Refused).await, stopped);
    assert_eq!(load(directory.path()).server().await, stopped);
    assert_eq!(loaded.start(Ended::Unknown).await, stopped, "until a look finds it running");
}

#[tokio::test]
async fn a_reboot_ends_a_stop_that_was_not_to_outlive_it() {
    let directory = tempfile::tempdir().unwrap();
    let file = StateFile::new(directory.path(), "g1");
    let earlier = || Some("an earlier boot".to_owned());
    let stopped = |across_reboots| {
        let required = RestartRequired { reason: "chttpd.port".to_owned(), boot_id: earlier() };
        let server = Server::Stopped(Stop { boot_id: earlier(), across_reboots });
        GuestState { server, restart_required: Some(required), ..Stage::Ready.into() }
    };
    file.write(&stopped(false), false).unwrap();
    assert_eq!(load(directory.path()).lifecycle.current().await, Stage::Ready.into());
    file.write(&stopped(true), false).unwrap();
    assert!(matches!(load(directory.path()).server().await, Server::Stopped(_)));
}

#[tokio::test]
async fn a_change_of_the_process_that_was_dropped_ends() {
    let directory = tempfile::tempdir().unwrap();
    let loaded = load(directory.path());
    drop(loaded.lifecycle.begin_start().await.unwrap());
    assert_eq!(loaded.server().await, Server::Running);
    drop(loaded.lifecycle.begin_stop(false).await.unwrap());
    assert!(matches!(loaded.server().await, Server::Stopped(_)), "it may be down");
    // The same if the requester is gone before the start begins.
    let mut starting = Box::pin(loaded.lifecycle.begin_start());
    assert!(futures_util::poll!(&mut starting).is_pending());
    drop(starting);
    // The start begins, and its end is the next event.
    loaded.server().await;
    assert!(matches!(loaded.server().await, Server::Stopped(_)));
    assert_eq!(loaded.start(DONE).await, Server::Running);
}

#[tokio::test]
async fn a_required_restart_is_remembered_until_there_was_one() {
    let directory = tempfile::tempdir().unwrap();
    let loaded = load(directory.path());
    let required = async || loaded.lifecycle.current().await.restart_required.map(|required| required.reason);
    for reason in ["chttpd.port", "chttpd.port", "chttpd.bind_address"] {
        loaded.lifecycle.require_restart(reason).await.unwrap();
    }
    let both = Some("chttpd.port, chttpd.bind_address".to_owned());
    assert_eq!(load(directory.path()).lifecycle.current().await.restart_required.map(|one| one.reason), both);
    loaded.start(Ended::Refused).await;
    loaded.start(Ended::Done { changed: false }).await;
    assert_eq!(required().await, both, "it ran already");
    let starting = loaded.lifecycle.begin_start().await.unwrap();
    loaded.lifecycle.require_restart("log.level").await.unwrap();
    starting.ended(DONE).await;
    assert!(required().await.is_some_and(|reason| reason.ends_with("log.level")), "it came too late");
    loaded.start(DONE).await;
    assert_eq!(required().await, None);
    assert_eq!(load(directory.path()).lifecycle.current().await, GuestState::default());
}

#[tokio::test]
async fn maintenance_is_what_couchdb_says_of_itself() {
    let directory = tempfile::tempdir().unwrap();
    let loaded = load(directory.path());
    assert_eq!(loaded.sees(Health::Maintenance("on".into())).await, Server::Maintenance);
    assert_eq!(load(directory.path()).server().await, Server::Running, "a restarted agent asks again");
    assert_eq!(loaded.sees(Health::Healthy).await, Server::Running);
}

#[tokio::test]
async fn a_state_can_be_reported_once_more() {
    let directory = tempfile::tempdir().unwrap();
    let mut loaded = load(directory.path());
    loaded.lifecycle.tell_again();
    loaded.lifecycle.current().await;
    assert_eq!(loaded.reported(), [GuestState::default(), GuestState::default()]);
}

#[tokio::test]
async fn what_an_operator_writes_changes_only_the_stage() {
    let directory = tempfile::tempdir().unwrap();
    let loaded = load(directory.path());
    let stopped = loaded.stop(true, DONE).await;
    std::fs::write(directory.path().join("prepared.json"), r#"{"prepared": true}"#).unwrap();
    assert_eq!(loaded.lifecycle.current().await.stage, Stage::Ready);
    let next = load(directory.path()).lifecycle.current().await;
    assert_eq!((next.stage, next.server), (Stage::Ready, stopped));
}

#[tokio::test]
async fn an_operators_word_ends_a_prepare_well() {
    let directory = tempfile::tempdir().unwrap();
    let loaded = load(directory.path());
    loaded.lifecycle.begin_prepare("one").await.unwrap();
    std::fs::write(directory.path().join("prepared.json"), r#"{"prepared": true}"#).unwrap();
    loaded.lifecycle.end_prepare().await.unwrap();
    assert_eq!(loaded.lifecycle.current().await.stage, Stage::Ready);
}

/// A stop that could not be stored on a full disk is stored once there is space, without any other change.
#[tokio::test]
async fn what_the_disk_did_not_take_is_written_later() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("state");
    std::fs::write(&place, "in the way").unwrap();
    let (lifecycle, owner, _changes) = Lifecycle::load(&place, "g1");
    tokio::spawn(owner.run(Duration::from_millis(20)));
    lifecycle.begin_stop(true).await.unwrap().ended(DONE).await;
    std::fs::remove_file(&place).unwrap();
    let stored = async || {
        while !place.join("prepared.json").exists() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(600), stored()).await.unwrap();
    assert!(matches!(load(&place).server().await, Server::Stopped(_)));
}

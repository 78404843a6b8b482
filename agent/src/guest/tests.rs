#![allow(clippy::unwrap_used)]

use std::time::Duration;

use super::*;
use crate::couch::Health;

/// Longer than any test: the file is looked at only when asked.
const NEVER: Duration = Duration::from_secs(86_400);

fn building(id: &str) -> GuestState {
    Stage::Building { id: id.to_owned() }.into()
}

fn failed(id: &str, reason: &str) -> GuestState {
    Stage::Failed { id: id.to_owned(), reason: reason.to_owned() }.into()
}

/// An agent's part: its end is that of the handle.
struct Loaded {
    lifecycle: Lifecycle,
    changes: mpsc::UnboundedReceiver<GuestState>,
    health: watch::Sender<Health>,
}

fn load(state_dir: &Path) -> Loaded {
    let (lifecycle, owner, changes) = Lifecycle::load(state_dir, "g1");
    let (health, seen) = watch::channel(Health::Unknown);
    tokio::spawn(owner.run(seen, NEVER));
    Loaded { lifecycle, changes, health }
}

impl Loaded {
    fn told(&mut self) -> Vec<GuestState> {
        std::iter::from_fn(|| self.changes.try_recv().ok()).collect()
    }

    async fn server(&self) -> Server {
        self.lifecycle.current().await.server
    }

    /// Until the owner has heard of it and the server is so.
    async fn sees(&self, health: Health, server: &Server) {
        self.health.send_replace(health);
        let mut lifecycle = self.lifecycle.clone();
        while lifecycle.last_known().server != *server {
            lifecycle.changed().await;
        }
    }
}

#[tokio::test]
async fn an_operator_may_write_the_file_while_the_agent_runs() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("prepared.json");
    let Loaded { lifecycle, changes: _changes, .. } = load(directory.path());
    for content in ["yes", r#"{"prepared": false}"#, r#"{"prepared": true, "guest_id": "another"}"#] {
        std::fs::write(&path, content).unwrap();
        assert_eq!(lifecycle.current().await, GuestState::default(), "{content}");
    }
    // Also after a failure, which the operator has made good by hand.
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
    assert_eq!(first.told(), states);
}

#[tokio::test]
async fn a_prepare_that_nobody_goes_on_with_has_failed_and_may_begin_again() {
    let directory = tempfile::tempdir().unwrap();
    load(directory.path()).lifecycle.begin_prepare("one").await.unwrap();
    let lost = load(directory.path());
    lost.lifecycle.interrupt_prepare("lost").await;
    assert_eq!(lost.lifecycle.current().await, failed("one", "lost"));
    // It came after all.
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
    let Loaded { lifecycle, changes: _changes, .. } = load(directory.path());
    lifecycle.begin_prepare("one").await.unwrap();
    lifecycle.refuse_prepare("two", "version").await;
    assert_eq!(lifecycle.current().await, building("one"));
    lifecycle.refuse_prepare("one", "version").await;
    assert_eq!(lifecycle.current().await, failed("one", "version"));

    let other = tempfile::tempdir().unwrap();
    let Loaded { lifecycle, changes: _changes, .. } = load(other.path());
    lifecycle.refuse_prepare("one", "version").await;
    assert_eq!(lifecycle.current().await, failed("one", "version"));
}

#[tokio::test]
async fn without_trove_nothing_has_to_settle() {
    let directory = tempfile::tempdir().unwrap();
    let Loaded { lifecycle, changes, .. } = load(directory.path());
    drop(changes);
    lifecycle.begin_prepare("one").await.unwrap();
    lifecycle.end_prepare().await.unwrap();
    assert_eq!(lifecycle.current().await, Stage::Ready.into());
}

#[tokio::test]
async fn without_a_disk_nothing_begins_but_a_failure_and_a_stop_are_told() {
    let mut loaded = load(Path::new("/proc/nowhere"));
    assert!(matches!(loaded.lifecycle.begin_prepare("one").await, Err(TransitionError::NotWritten { .. })));
    assert_eq!(loaded.told(), [GuestState::default()]);
    loaded.lifecycle.fail_prepare("one", "no disk").await;
    assert_eq!(loaded.told(), [failed("one", "no disk")]);
    loaded.lifecycle.begin_stop(false).await.unwrap().ended(true).await;
    assert!(matches!(loaded.server().await, Server::Stopped(_)));
}

#[tokio::test]
async fn the_age_of_the_control_plane_is_kept_with_the_state() {
    let directory = tempfile::tempdir().unwrap();
    let Loaded { lifecycle, changes: _changes, .. } = load(directory.path());
    assert!(!lifecycle.has_old_control_plane());
    lifecycle.note_control_plane(true).await;
    lifecycle.begin_prepare("one").await.unwrap();
    lifecycle.end_prepare().await.unwrap();
    assert!(load(directory.path()).lifecycle.has_old_control_plane());
    // It is upgraded.
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
    assert!(matches!(loaded.server().await, Server::Stopping(_)));
    // A probe may still have met the process that is ended.
    loaded.health.send_replace(Health::Healthy);
    assert!(loaded.lifecycle.begin_start().await.is_err(), "one change at a time");
    // The agent may be killed before it knows how that went.
    assert!(matches!(load(directory.path()).server().await, Server::Stopped(_)));
    stopping.ended(true).await;
    let stopped = loaded.server().await;
    assert!(matches!(stopped, Server::Stopped(_)));
    assert_eq!(load(directory.path()).server().await, stopped);

    let starting = loaded.lifecycle.begin_start().await.unwrap();
    assert!(matches!(loaded.server().await, Server::Restarting { .. }));
    starting.ended(false).await;
    assert_eq!(loaded.server().await, stopped, "it is as stopped as before");
    loaded.lifecycle.begin_start().await.unwrap().ended(true).await;
    assert_eq!(loaded.server().await, Server::Running);
    assert_eq!(load(directory.path()).server().await, Server::Running);
}

#[tokio::test]
async fn somebody_else_may_start_couchdb() {
    let directory = tempfile::tempdir().unwrap();
    load(directory.path()).lifecycle.begin_stop(true).await.unwrap().ended(true).await;
    let loaded = load(directory.path());
    loaded.sees(Health::Down("refused".into()), &loaded.server().await).await;
    assert!(matches!(loaded.server().await, Server::Stopped(_)));
    loaded.sees(Health::Healthy, &Server::Running).await;
    assert_eq!(load(directory.path()).server().await, Server::Running, "also for a restarted agent");
}

#[tokio::test]
async fn a_reboot_ends_a_stop_that_was_not_to_outlive_it() {
    let directory = tempfile::tempdir().unwrap();
    let file = StateFile::new(directory.path(), "g1");
    let stopped = |across_reboots| {
        let stop = Stop { boot_id: Some("an earlier boot".to_owned()), across_reboots };
        GuestState { server: Server::Stopped(stop), ..Stage::Ready.into() }
    };
    file.write(&stopped(false), false).unwrap();
    assert_eq!(load(directory.path()).server().await, Server::Running);
    file.write(&stopped(true), false).unwrap();
    assert!(matches!(load(directory.path()).server().await, Server::Stopped(_)));
}

#[tokio::test]
async fn a_change_of_the_process_that_was_dropped_has_failed() {
    let directory = tempfile::tempdir().unwrap();
    let loaded = load(directory.path());
    drop(loaded.lifecycle.begin_start().await.unwrap());
    assert_eq!(loaded.server().await, Server::Running);
    drop(loaded.lifecycle.begin_stop(false).await.unwrap());
    assert_eq!(loaded.server().await, Server::Running);
}

#[tokio::test]
async fn a_required_restart_is_remembered_until_one_succeeds() {
    let directory = tempfile::tempdir().unwrap();
    let loaded = load(directory.path());
    for reason in ["chttpd.port", "chttpd.port", "chttpd.bind_address"] {
        loaded.lifecycle.require_restart(reason).await.unwrap();
    }
    let required = load(directory.path()).lifecycle.current().await.restart_required;
    assert_eq!(required.as_deref(), Some("chttpd.port, chttpd.bind_address"));
    loaded.lifecycle.begin_start().await.unwrap().ended(false).await;
    assert_eq!(loaded.lifecycle.last_known().restart_required, required);
    loaded.lifecycle.begin_start().await.unwrap().ended(true).await;
    assert_eq!(load(directory.path()).lifecycle.current().await.restart_required, None);
}

#[tokio::test]
async fn maintenance_is_what_couchdb_says_of_itself() {
    let directory = tempfile::tempdir().unwrap();
    let loaded = load(directory.path());
    loaded.sees(Health::Maintenance("on".into()), &Server::Maintenance).await;
    assert_eq!(load(directory.path()).server().await, Server::Running, "a restarted agent asks again");
    loaded.sees(Health::Healthy, &Server::Running).await;
}

#[tokio::test]
async fn a_state_can_be_told_once_more() {
    let directory = tempfile::tempdir().unwrap();
    let mut loaded = load(directory.path());
    loaded.lifecycle.tell_again();
    loaded.lifecycle.current().await;
    assert_eq!(loaded.told(), [GuestState::default(), GuestState::default()]);
}

/// Every state with every event: what changes, changes what the event is about and nothing else.
#[test]
fn no_event_reaches_into_the_other_part_of_the_state() {
    let stop = || Stop { boot_id: Some("b".to_owned()), across_reboots: false };
    let id = || "one".to_owned();
    let stages = [
        Stage::New,
        Stage::Building { id: id() },
        Stage::Failed { id: id(), reason: "why".to_owned() },
        Stage::Settling,
        Stage::Ready,
    ];
    let servers = [
        Server::Running,
        Server::Stopping(stop()),
        Server::Stopped(stop()),
        Server::Restarting { before: None },
        Server::Restarting { before: Some(stop()) },
        Server::Maintenance,
    ];
    let of_stage = [
        Event::PrepareBegins { id: id() },
        Event::PrepareDone,
        Event::PrepareFailed { id: id(), reason: "why".to_owned() },
        Event::PrepareRefused { id: id(), reason: "why".to_owned() },
        Event::PrepareInterrupted { reason: "why".to_owned() },
        Event::Settled,
        Event::WrittenByOperator(Stage::Ready),
    ];
    let of_server = [
        Event::StopBegins(stop()),
        Event::StopEnded { succeeded: true },
        Event::StopEnded { succeeded: false },
        Event::StartBegins,
        Event::StartEnded { succeeded: true },
        Event::StartEnded { succeeded: false },
        Event::Seen(Health::Healthy),
        Event::Booted { boot_id: None },
    ];
    let (mut legal, mut illegal) = (0, 0);
    for stage in &stages {
        for server in &servers {
            let state = GuestState { stage: stage.clone(), server: server.clone(), restart_required: None };
            for event in of_stage.iter().chain(&of_server) {
                match next(&state, event.clone()) {
                    Ok(after) if of_stage.contains(event) => assert_eq!(after.server, state.server),
                    Ok(after) => assert_eq!(after.stage, state.stage),
                    Err(error) => {
                        illegal += 1;
                        assert!(error.to_string().contains("can't happen now: the guest is "), "{error}");
                        continue;
                    }
                }
                legal += 1;
            }
        }
    }
    // 16 of a stage with each of 6 servers, 24 of a server in each of 5 stages: one that is added or taken away is noticed.
    assert_eq!((legal, illegal), (16 * 6 + 24 * 5, 450 - 216));
}

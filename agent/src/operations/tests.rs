//! What survives a restart of the agent, and what does not.
#![allow(clippy::unwrap_used)]

use std::{fs, os::unix::fs::PermissionsExt};

use serde_json::{Value, json};
use trove_couchdb_protocol::{Failure, FailureClass};

use super::*;
use crate::audit::Source;

fn settings(keep: usize) -> OperationSettings {
    OperationSettings { keep, keep_for: Duration::from_secs(3600) }
}

fn new(command: &str) -> NewOperation {
    let Value::Object(arguments) = json!({"users": [{"_name": "al", "_password": "hunter2"}]}) else {
        unreachable!()
    };
    NewOperation {
        id: of_command(command),
        kind: "prepare",
        command_id: command.to_owned(),
        marks: vec!["00".repeat(16)],
        giver: Giver { source: Source::Bus, request_id: Some("req-1".to_owned()), user: None, project: None },
        context: serde_json::Map::new(),
        tells_end: true,
        about: json!({"users": ["al"]}),
        arguments: arguments.into(),
        is_sealed: false,
    }
}

fn files(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory.join("operations")).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn an_operation_is_found_by_the_next_agent_where_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let first = Operations::load(directory.path(), settings(10));
    let operation = first.take_over(new("one")).await.unwrap();
    operation.enter("users").await;
    operation.progress(Progress { done: 3, total: Some(10), unit: "users".to_owned() }).await;
    operation.say("three of them");
    first.save(operation.id()).await.unwrap();

    let next = Operations::load(directory.path(), settings(10));
    let record = next.get(operation.id()).unwrap();
    assert_eq!(Some(&record), first.get(operation.id()).as_ref());
    assert_eq!(record.stand(), "step users, 3 of 10 users");
    assert_eq!(next.arguments(operation.id()).unwrap()["users"][0]["_password"], "hunter2");
    let resumed = next.operation(operation.id()).unwrap();
    resumed.resume().await;
    assert_eq!(Operations::load(directory.path(), settings(10)).get(operation.id()).unwrap().resumed, 1);
}

#[tokio::test]
async fn a_command_that_is_handed_over_twice_is_one_operation() {
    let directory = tempfile::tempdir().unwrap();
    let operations = Operations::load(directory.path(), settings(10));
    let first = operations.take_over(new("one")).await.unwrap();
    first.enter("users").await;
    let second = operations.take_over(new("one")).await.unwrap();
    assert_eq!(first.id(), second.id());
    assert_eq!(second.record().unwrap().step.as_deref(), Some("users"));
    assert_eq!(operations.all().len(), 1);
}

/// Anyone who asks can see the record. The request is never shown, and is removed when the operation ends.
#[tokio::test]
async fn passwords_are_in_one_file_that_only_its_owner_reads_and_go_with_the_end() {
    let directory = tempfile::tempdir().unwrap();
    let operations = Operations::load(directory.path(), settings(10));
    let operation = operations.take_over(new("one")).await.unwrap();
    let id = operation.id().clone();
    assert_eq!(files(directory.path()), [format!("{id}.json"), format!("{id}.request")]);
    for name in files(directory.path()) {
        let path = directory.path().join("operations").join(&name);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600, "{name}");
        assert_eq!(
            fs::read_to_string(&path).unwrap().contains("hunter2"),
            name.ends_with("request"),
            "{name}"
        );
    }
    assert!(!operation.record().unwrap().details().to_string().contains("hunter2"));
    operation.end(End::Failed(Failure::new(FailureClass::CouchDbError, "why"))).await.unwrap();
    assert_eq!(files(directory.path()), [format!("{id}.json")]);
    let next = Operations::load(directory.path(), settings(10));
    let record = next.get(&id).unwrap();
    assert_eq!((record.state(), record.is_told), ("failed", false));
    assert_eq!(record.summary()["reason"], "why");
}

#[tokio::test]
async fn arguments_without_an_operation_are_removed_and_nothing_else_is() {
    let directory = tempfile::tempdir().unwrap();
    let operations = Operations::load(directory.path(), settings(10));
    let operation = operations.take_over(new("one")).await.unwrap();
    let stray = of_command("two");
    let place = directory.path().join("operations");
    fs::write(place.join(format!("{stray}.request")), "{}").unwrap();
    // An incomplete record: perhaps only this agent cannot read it.
    let torn = of_command("three");
    fs::write(place.join(format!("{torn}.json")), "{").unwrap();
    fs::write(place.join(format!("{torn}.request")), "{}").unwrap();
    // A copy under a new name.
    fs::copy(place.join(format!("{}.json", operation.id())), place.join("copy.json")).unwrap();
    let next = Operations::load(directory.path(), settings(10));
    assert_eq!(next.all().len(), 1);
    assert!(next.arguments(operation.id()).is_ok());
    assert!(!files(directory.path()).contains(&format!("{stray}.request")));
    assert!(files(directory.path()).contains(&format!("{torn}.request")));
}

#[tokio::test]
async fn the_wish_to_end_survives_the_agent_and_can_be_had_once() {
    let directory = tempfile::tempdir().unwrap();
    let operations = Operations::load(directory.path(), settings(10));
    let operation = operations.take_over(new("one")).await.unwrap();
    let id = operation.id().clone();
    assert!(!operation.record().unwrap().is_cancelled);
    let record = operations.cancel(&id).await.unwrap().unwrap();
    assert_eq!(record.state(), "cancelling");
    operation.cancelled().await;
    let next = Operations::load(directory.path(), settings(10));
    let resumed = next.operation(&id).unwrap();
    resumed.cancelled().await;
    resumed.end(End::Cancelled(Failure::new(FailureClass::OperationCancelled, "why"))).await.unwrap();
    assert_eq!(next.cancel(&id).await.unwrap_err(), NotCancelled::Over);
    assert_eq!(next.cancel(&of_command("two")).await.unwrap_err(), NotCancelled::Unknown);
}

/// The outcome is known, but not on the disk yet.
#[tokio::test]
async fn an_operation_ends_as_cancelled_or_can_not_be_cancelled_any_more() {
    let directory = tempfile::tempdir().unwrap();
    let operations = Operations::load(directory.path(), settings(10));
    let ended = operations.take_over(new("one")).await.unwrap();
    assert!(!ended.settle());
    assert_eq!(operations.cancel(ended.id()).await.unwrap_err(), NotCancelled::Over);
    let cancelled = operations.take_over(new("two")).await.unwrap();
    operations.cancel(cancelled.id()).await.unwrap().unwrap();
    assert!(cancelled.settle());
    let next = Operations::load(directory.path(), settings(10));
    assert!(!next.operation(ended.id()).unwrap().settle());
    assert!(next.operation(cancelled.id()).unwrap().settle());
}

/// Operations that are running or not reported are never removed.
#[tokio::test]
async fn only_those_that_are_over_and_told_are_forgotten_the_oldest_first() {
    let directory = tempfile::tempdir().unwrap();
    let operations = Operations::load(directory.path(), settings(2));
    for number in 0..4 {
        let operation = operations.take_over(new(&format!("told {number}"))).await.unwrap();
        operation.end(End::Succeeded).await.unwrap();
        operation.told().await.unwrap();
    }
    for name in ["ended", "running"] {
        let operation = operations.take_over(new(name)).await.unwrap();
        if name == "ended" {
            operation.end(End::Succeeded).await.unwrap();
        }
    }
    assert_eq!(operations.all().len(), 4, "two told, one ended, one running");
    assert_eq!(Operations::load(directory.path(), settings(2)).all().len(), 4);
    let none = OperationSettings { keep: 100, keep_for: Duration::ZERO };
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let left = Operations::load(directory.path(), none);
    assert_eq!(left.all().len(), 2);
}

#[tokio::test]
async fn what_the_disk_does_not_take_leaves_nothing_behind() {
    let directory = tempfile::tempdir().unwrap();
    let operations = Operations::load(directory.path(), settings(2));
    // A file in place of the directory.
    fs::write(directory.path().join("operations"), "").unwrap();
    assert!(operations.take_over(new("one")).await.is_err());
    assert!(operations.all().is_empty());
}

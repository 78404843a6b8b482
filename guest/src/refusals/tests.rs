#![allow(clippy::unwrap_used)]

use std::os::unix::fs::PermissionsExt;

use super::*;

fn at(files: &str) -> Circumstances {
    Circumstances { server: "http://h:1".into(), listeners: vec![7], files: files.into() }
}

/// A record in which the hash of `x` is `x`.
fn refused(files: &str, tries: &[(u64, &str)]) -> Record {
    tries.iter().fold(Record::default(), |record, (now, password)| {
        record.with(&at(files), *now, "os_admin", Some((*password).to_owned()))
    })
}

fn wait(record: &Record, now: &Circumstances, second: u64, password: &str) -> Option<u64> {
    let wait = record.wait(now, second, "os_admin", |hash| hash == password);
    wait.map(|wait| wait.as_secs())
}

/// Mutation: refusal-forgotten-at-restart (docs/guarantees.md).
#[test]
fn a_refused_password_waits_for_five_minutes_or_for_a_change() {
    let record = refused("as it was", &[(1_000, "wrong")]);
    assert_eq!(wait(&record, &at("as it was"), 1_001, "wrong"), Some(299));
    assert_eq!(wait(&record, &at("as it was"), 1_299, "wrong"), Some(1));
    assert_eq!(wait(&record, &at("as it was"), 1_300, "wrong"), None, "five minutes");
    assert_eq!(wait(&record, &at("as it was"), 1_001, "another"), None);
    assert_eq!(wait(&record, &at("edited"), 1_001, "wrong"), None);
    let restarted = Circumstances { listeners: vec![8], ..at("as it was") };
    assert_eq!(wait(&record, &restarted, 1_001, "wrong"), None);
    let moved = Circumstances { server: "http://h:2".into(), ..at("as it was") };
    assert_eq!(wait(&record, &moved, 1_001, "wrong"), None);
    let unseen = Circumstances { listeners: vec![], ..at("as it was") };
    assert_eq!(wait(&record, &unseen, 1_001, "wrong"), Some(299), "a remote server may be the same");
    let others = record.wait(&at("as it was"), 1_001, "root", |_| true);
    assert_eq!(others, None, "another account has a lock of its own");
}

#[test]
fn whatever_changes_no_more_than_three_are_refused_in_five_minutes() {
    let mut record = refused("1", &[(1_000, "a")]);
    record = record.with(&at("2"), 1_010, "os_admin", Some("b".into()));
    assert_eq!(wait(&record, &at("3"), 1_020, "c"), None);
    record = record.with(&at("3"), 1_020, "os_admin", None);
    assert_eq!(wait(&record, &at("4"), 1_020, "d"), Some(280));
    assert_eq!(wait(&record, &at("4"), 1_300, "d"), None, "the first is five minutes old");
    record = record.with(&at("4"), 1_300, "os_admin", Some("d".into()));
    assert_eq!(wait(&record, &at("5"), 1_301, "e"), Some(9));
}

#[test]
fn what_the_agent_itself_writes_between_two_tries_repairs_nothing() {
    let mut record = refused("before", &[(1_000, "old")]);
    record = record.with(&at("after"), 1_001, "os_admin", Some("next".into()));
    assert_eq!(wait(&record, &at("after"), 1_002, "old"), Some(298));
    assert_eq!(wait(&record, &at("after"), 1_002, "next"), Some(299));
}

#[test]
fn a_clock_that_was_set_back_bars_nothing_for_ever() {
    let record = refused("f", &[(5_000_000_000, "wrong")]);
    assert_eq!(wait(&record, &at("f"), 1_000, "wrong"), None);
}

#[test]
fn the_file_is_private_holds_no_password_and_may_be_damaged() {
    let directory = tempfile::tempdir().unwrap();
    let (now, password) = (at("f"), Secret::new("hunter2"));
    let barred = |password: &Secret| barred(directory.path(), &now, "os_admin", password);
    assert_eq!(barred(&password), None);
    note(directory.path(), &now, "os_admin", Some(&password)).unwrap();
    assert!(barred(&password).is_some());
    assert_eq!(barred(&Secret::new("other")), None);
    let file = directory.path().join(FILE);
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, MODE);
    assert!(!fs::read_to_string(&file).unwrap().contains("hunter2"));
    fs::write(&file, "{").unwrap();
    assert_eq!(barred(&password), None);
    forget(directory.path()).unwrap();
    forget(directory.path()).unwrap();
    assert!(!file.exists());
}

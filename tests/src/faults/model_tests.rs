#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use serde_json::json;

use super::*;

fn create(user: &str) -> Op {
    Op::CreateUser { user: user.into(), password: "1".into(), databases: vec!["d".into()] }
}

fn model() -> Model {
    Model::default().run(&Op::CreateDatabases { databases: vec!["d".into()] }).unwrap()
}

#[test]
fn a_second_creation_that_succeeds_is_none() {
    let made = model().run(&create("al")).unwrap();
    assert!(made.after(&create("al"), &Observed::Done(Value::Null), true).is_empty());
    assert_eq!(
        made.after(&create("al"), &Observed::Refused(Refusal::UserExists), false),
        std::slice::from_ref(&made)
    );
    assert!(model().after(&create("al"), &Observed::Refused(Refusal::UserExists), true).is_empty());
}

#[test]
fn a_deletion_of_nothing_succeeds_only_when_it_may_be_a_second_run() {
    let delete = Op::DeleteUser { user: "al".into() };
    assert!(model().after(&delete, &Observed::Done(Value::Null), false).is_empty());
    assert_eq!(model().after(&delete, &Observed::Done(Value::Null), true), [model()]);
    let made = model().run(&create("al")).unwrap();
    assert!(made.after(&delete, &Observed::Refused(Refusal::NoSuchUser), true).is_empty());
}

#[test]
fn a_rename_moves_password_and_memberships() {
    let made = model().run(&create("al")).unwrap();
    let rename = Op::Rename { old: "al".into(), new: "bo".into(), password: None };
    let next = made.run(&rename).unwrap();
    assert_eq!(next.users.get("bo").map(String::as_str), Some("1"));
    assert_eq!(next.databases_of("bo").len(), 1);
    let unsure = made.after(&rename, &Observed::Unsure, true);
    assert!(unsure.contains(&made) && unsure.contains(&next) && unsure.len() == 4, "{unsure:#?}");
}

#[test]
fn reads_must_show_the_world() {
    let made = model().run(&create("al")).unwrap();
    let get = Op::GetUser { user: "al".into() };
    let shown = |databases: Value| Observed::Done(json!({"_name": "al", "_databases": databases}));
    assert_eq!(made.after(&get, &shown(json!([{"_name": "d"}])), false).len(), 1);
    assert!(made.after(&get, &shown(json!([])), false).is_empty());
    assert!(made.after(&get, &Observed::Done(Value::Null), true).is_empty());
    let list = Op::ListUsers { prefix: "a".into() };
    let listed = json!([[{"_name": "al", "_databases": [{"_name": "d"}]}, {"_name": "zoe"}], null]);
    assert_eq!(made.after(&list, &Observed::Done(listed), false).len(), 1);
}

#[test]
fn the_generated_password_of_root_is_the_answered_one() {
    let enable = Op::EnableRoot { password: None };
    let next = model().after(&enable, &Observed::Done(json!({"_name": "root", "_password": "x"})), false);
    assert_eq!(next[0].root.as_deref(), Some("x"));
    let given = Op::EnableRoot { password: Some("y".into()) };
    assert!(model().after(&given, &Observed::Done(json!({"_password": "x"})), true).is_empty());
}

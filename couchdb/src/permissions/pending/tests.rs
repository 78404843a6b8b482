#![allow(clippy::unwrap_used)]

use serde_json::json;

use super::*;

fn database(name: &str) -> ListedDatabase {
    ListedDatabase::new(name.to_owned()).unwrap()
}

fn forget(name: &str) -> Edit {
    Edit::Forget([name.to_owned()].into())
}

fn rename(old: &str, new: &str) -> Edit {
    Edit::Rename { old: old.to_owned(), new: new.to_owned() }
}

#[tokio::test]
async fn what_is_to_be_done_survives_a_restart_and_ends_when_it_is_done() {
    let directory = tempfile::tempdir().unwrap();
    let load = || PendingEdits::load(directory.path());
    let pending = load();
    let (shop, new) = (database("shop"), database("new"));
    pending.add([&shop], &forget("al")).await.unwrap();
    pending.add([&shop], &forget("al")).await.unwrap();
    pending.add([&shop], &rename("bo", "cy")).await.unwrap();
    pending.add([&shop], &Edit::WriteAgain).await.unwrap();
    pending.begin([&new], "one").await.unwrap();
    let again = load();
    assert_eq!(again.of(&shop), [forget("al"), rename("bo", "cy"), Edit::WriteAgain]);
    assert_eq!(again.of(&new), [Edit::Close("one".to_owned())]);
    assert_eq!(again.to_write_again(), std::slice::from_ref(&shop));
    assert_eq!(again.to_finish(), [new.clone(), shop.clone()]);
    again.done(&shop, &[forget("al"), Edit::WriteAgain]).await.unwrap();
    again.gone(&new).await.unwrap();
    assert_eq!(load().of(&shop), [rename("bo", "cy")]);
    assert_eq!(load().of(&new), []);
    again.begin([&shop], "two").await.unwrap();
    assert_eq!(
        load().of(&shop),
        [Edit::Close("two".to_owned())],
        "a new database owes nothing of the old one"
    );
}

#[tokio::test]
async fn who_would_inherit_is_known() {
    let pending = PendingEdits::default();
    let shop = database("shop");
    pending.add([&shop], &rename("bo", "cy")).await.unwrap();
    assert_eq!(pending.that_let_in("bo"), [shop]);
    assert_eq!(pending.that_let_in("cy"), [], "a member of its own");
}

#[tokio::test]
async fn a_failing_disk_is_reported_and_tried_again() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join(FILE_NAME);
    std::fs::create_dir(&file).unwrap();
    let pending = PendingEdits::load(directory.path());
    let shop = database("shop");
    assert!(pending.add([&shop], &forget("al")).await.is_err());
    assert_eq!(pending.of(&shop), [forget("al")], "known to this process");
    assert!(pending.add([&shop], &forget("al")).await.is_err(), "known, and not on the disk");
    std::fs::remove_dir(&file).unwrap();
    pending.add([&shop], &forget("al")).await.unwrap();
    assert_eq!(PendingEdits::load(directory.path()).of(&shop), [forget("al")]);
}

#[test]
fn edits_are_done_in_their_order() {
    let mut object =
        json!({"members": {"names": ["al", "bo"], "roles": ["_admin"]}, "admins": {"names": ["al"]}});
    for edit in [forget("al"), rename("bo", "al"), Edit::WriteAgain] {
        edit.apply(&mut object).unwrap();
    }
    assert_eq!(object, json!({"members": {"names": ["al"], "roles": ["_admin"]}, "admins": {"names": []}}));
    let mut open = json!({});
    assert!(Edit::Close("one".to_owned()).apply(&mut open).unwrap() && !security::is_public(&open));
}

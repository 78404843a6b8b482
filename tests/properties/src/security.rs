//! An edit of any `_security` object changes only the name that it is about, never opens a closed database,
//! and has no effect when it is repeated. An object that the edit does not understand stays unchanged.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use trove_couchdb_client::security::{
    Malformed, close, forget, grant, is_public, members, mentions, rename, revoke,
};

/// The user that is edited, and another name for it; both occur in the seeds.
const USER: &str = "al";
const NEW: &str = "zoe";

type Edit = (&'static str, fn(&mut Value) -> Result<bool, Malformed>);

const EDITS: [Edit; 5] = [
    ("grant", |object| grant(object, &[USER])),
    ("revoke", |object| revoke(object, USER)),
    ("forget", |object| forget(object, &BTreeSet::from([USER]))),
    ("rename", |object| rename(object, USER, NEW)),
    ("close", close),
];

/// Panics when the guarantee at the top of this file is broken.
pub fn holds(data: &[u8]) {
    let Ok(before) = serde_json::from_slice::<Value>(data) else { return };
    for (name, edit) in EDITS {
        let mut after = before.clone();
        match edit(&mut after) {
            Err(_) => assert_eq!(before, after, "{name} failed and changed it all the same"),
            Ok(changed) => {
                assert_eq!(changed, before != after, "{name} says it did something it didn't: {before}");
                assert!(is_public(&before) || !is_public(&after), "{name} opened {before}");
                assert_touched(name, &before, &after);
                let mut twice = after.clone();
                assert_eq!(edit(&mut twice), Ok(false), "{name} a second time: {after}");
            }
        }
    }
}

fn assert_touched(name: &str, before: &Value, after: &Value) {
    let is_member = members(after).any(|member| member == USER);
    match name {
        "grant" => assert!(is_member, "not granted: {before}"),
        "revoke" => assert!(!is_member, "still a member: {before}"),
        "forget" => assert!(!mentions(after, &BTreeSet::from([USER])), "still there: {before}"),
        "rename" => {
            assert!(!mentions(after, &BTreeSet::from([USER])), "still there: {before}");
            assert_eq!(
                mentions(after, &BTreeSet::from([NEW])),
                mentions(before, &BTreeSet::from([USER])) || mentions(before, &BTreeSet::from([NEW]))
            );
        }
        _ => assert!(!is_public(after), "still public: {before}"),
    }
    if name == "grant" {
        assert!(!is_public(after), "a granted database is open to all: {before}");
    }
    assert_eq!(others(before), others(after), "{name} touched more than its name");
}

/// The object without the parts that an edit may change: the two names, the lists that it created, and the role that
/// closes a database.
fn others(object: &Value) -> Value {
    let mut object = object.clone();
    for section in ["members", "readers", "admins"] {
        let Some(Value::Object(lists)) = object.get_mut(section) else { continue };
        for key in ["names", "roles"] {
            let Some(Value::Array(list)) = lists.get_mut(key) else { continue };
            list.retain(|entry| *entry != json!(USER) && *entry != json!(NEW) && *entry != json!("_admin"));
        }
        lists.retain(|key, list| !(["names", "roles"].contains(&key.as_str()) && *list == json!([])));
    }
    if let Some(entries) = object.as_object_mut() {
        entries.retain(|key, lists| !(["members", "admins"].contains(&key.as_str()) && *lists == json!({})));
    }
    object
}

//! Pure edits of a database's `_security` object.
//!
//! Access means `members.names`. An edit changes only the names in question and keeps the rest of the object:
//! other members, roles, admins, and keys of CouchDB or of applications. There is no I/O here;
//! `security_edit.rs` reads, edits, writes and reads back.
//!
//! `{}`, empty member lists, or only `admins` let everyone read and write the database. So a member list that
//! becomes empty gets the role `_admin`, which only server administrators have.

use std::collections::{BTreeSet, HashSet};

use serde_json::{Map, Value, json};

/// The keys of the object that define access. For `readers` see [`member_key`].
pub const GROUPS: [&str; 3] = ["admins", "members", "readers"];

/// The role that only server administrators have, and CouchDB 3.x's own default in both lists.
pub(crate) const ADMIN_ROLE: &str = "_admin";

/// A `_security` object, or a part of it, has a form that CouchDB does not document. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` in its _security is not of the shape CouchDB documents; repair it by hand")]
pub struct Malformed(String);

/// The names in `members.names`. Empty if the form is unknown.
pub fn members(security: &Value) -> impl Iterator<Item = &str> {
    names(security, member_key(security))
}

/// Whether one of these names is in `members.names` or `admins.names`.
pub fn mentions(security: &Value, users: &BTreeSet<&str>) -> bool {
    members(security).chain(names(security, "admins")).any(|name| users.contains(name))
}

/// The members and the admins, unchanged.
pub(crate) fn groups(security: &Value) -> (&Value, &Value) {
    (&security[member_key(security)], &security["admins"])
}

/// Whether everyone, logged in or not, may read and write.
pub fn is_public(security: &Value) -> bool {
    let members = &security[member_key(security)];
    let empty = |list: &Value| list.as_array().is_none_or(Vec::is_empty);
    empty(&members["names"]) && empty(&members["roles"])
}

/// Whether the keys that define access have the form that CouchDB documents.
pub fn is_well_formed(security: &Value) -> bool {
    let texts = |list: &Value| {
        list.is_null() || list.as_array().is_some_and(|items| items.iter().all(Value::is_string))
    };
    let group = |group: &Value| {
        group.is_null() || (group.is_object() && texts(&group["names"]) && texts(&group["roles"]))
    };
    security.is_object() && GROUPS.into_iter().all(|key| group(&security[key]))
}

/// Makes all `users` members. True if that changed something.
pub fn grant(security: &mut Value, users: &[&str]) -> Result<bool, Malformed> {
    all_or_nothing(security, |security| {
        let names = list(section(security, member_key(security))?, "members", "names")?;
        let mut known: HashSet<&str> = names.iter().filter_map(Value::as_str).collect();
        let missing: Vec<&str> = users.iter().copied().filter(|user| known.insert(user)).collect();
        names.extend(missing.iter().copied().map(Value::from));
        Ok(!missing.is_empty())
    })
}

/// Removes a name from the members. True if that changed something.
pub fn revoke(security: &mut Value, user: &str) -> Result<bool, Malformed> {
    revoke_all(security, &BTreeSet::from([user]))
}

fn revoke_all(security: &mut Value, users: &BTreeSet<&str>) -> Result<bool, Malformed> {
    if !members(security).any(|name| users.contains(name)) {
        return Ok(false);
    }
    all_or_nothing(security, |security| {
        let key = member_key(security);
        take_out(list(section(security, key)?, key, "names")?, users);
        close(security)?;
        Ok(true)
    })
}

/// Removes names from the members and from the database's admins. True if that changed something.
pub fn forget(security: &mut Value, users: &BTreeSet<&str>) -> Result<bool, Malformed> {
    all_or_nothing(security, |security| {
        let were_members = revoke_all(security, users)?;
        let were_admins = names(security, "admins").any(|name| users.contains(name));
        if were_admins {
            take_out(list(section(security, "admins")?, "admins", "names")?, users);
        }
        Ok(were_members || were_admins)
    })
}

fn take_out(names: &mut Vec<Value>, users: &BTreeSet<&str>) {
    names.retain(|name| !name.as_str().is_some_and(|name| users.contains(name)));
}

/// Replaces the name `old` by `new` everywhere. True if that changed something.
pub fn rename(security: &mut Value, old: &str, new: &str) -> Result<bool, Malformed> {
    let mut changed = false;
    for key in [member_key(security), "admins"] {
        if names(security, key).any(|name| name == old) {
            let list = list(section(security, key)?, key, "names")?;
            let already = list.iter().any(|name| name == new);
            if already {
                list.retain(|name| name != old);
            } else {
                list.iter_mut().filter(|name| *name == old).for_each(|name| *name = Value::from(new));
            }
            changed = true;
        }
    }
    Ok(changed)
}

/// Restricts a public database to server administrators. True if that changed something.
pub fn close(security: &mut Value) -> Result<bool, Malformed> {
    if !is_public(security) {
        return Ok(false);
    }
    all_or_nothing(security, |security| {
        let key = member_key(security);
        let members = section(security, key)?;
        list(members, key, "names")?;
        list(members, key, "roles")?.push(Value::from(ADMIN_ROLE));
        Ok(true)
    })
}

/// Leaves the object unchanged if the edit fails half-way or has nothing to do. Otherwise an edit could
/// remove the last member without closing the database, and that would be written back.
fn all_or_nothing(
    security: &mut Value,
    edit: impl FnOnce(&mut Value) -> Result<bool, Malformed>,
) -> Result<bool, Malformed> {
    let mut edited = security.clone();
    let changed = edit(&mut edited)?;
    if changed {
        *security = edited;
    }
    Ok(changed)
}

/// CouchDB 1.0 wrote `readers`, and every version still uses it if `members` is absent.
fn member_key(security: &Value) -> &'static str {
    let has = |key: &str| security.get(key).is_some();
    if !has("members") && has("readers") { "readers" } else { "members" }
}

fn names<'a>(security: &'a Value, key: &str) -> impl Iterator<Item = &'a str> {
    security[key]["names"].as_array().into_iter().flatten().filter_map(Value::as_str)
}

fn section<'a>(security: &'a mut Value, key: &str) -> Result<&'a mut Map<String, Value>, Malformed> {
    let object = security.as_object_mut().ok_or_else(|| Malformed("_security".into()))?;
    object.entry(key).or_insert_with(|| json!({})).as_object_mut().ok_or_else(|| Malformed(key.into()))
}

fn list<'a>(
    section: &'a mut Map<String, Value>,
    section_key: &str,
    key: &str,
) -> Result<&'a mut Vec<Value>, Malformed> {
    let entry = section.entry(key).or_insert_with(|| json!([]));
    entry.as_array_mut().ok_or_else(|| Malformed(format!("{section_key}.{key}")))
}

#[cfg(test)]
#[path = "security/tests.rs"]
mod tests;

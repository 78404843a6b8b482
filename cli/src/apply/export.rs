//! The current state as a file for `apply`. It contains no passwords: CouchDB stores only hashes.

use serde_json::{Value, json};
use trove_couchdb_protocol::DatabaseName;

use super::{plan::Present, wanted::Access};
use crate::output::{Report, printable};

/// TOML in a fixed order, so that two exports can be compared.
pub(super) fn text(present: &Present) -> String {
    let mut text = "# Written by `trove-couchdb export`; `trove-couchdb apply` reads it. Existing users keep their \
                    passwords;\n# a user that is to be created needs password_file, password_env or generate = true.\n"
        .to_owned();
    for name in &present.odd {
        text += &format!("# {} can't be managed: no command takes such a name.\n", json!(name));
    }
    for access in beyond(present) {
        text +=
            &format!("# Not described here, and kept by apply: {}.\n", printable(&access).replace('\n', " "));
    }
    text += &format!("\ndatabases = {}\n", lines(&present.databases));
    for (name, access) in &present.users {
        text += &format!("\n[users.{}]\ndatabases = {}\n", quoted(name.as_str()), inline(access));
    }
    text
}

/// The state for programs.
pub(super) fn record(present: &Present) -> Report {
    let names = |access: &Access| json!(access.iter().map(DatabaseName::as_str).collect::<Vec<_>>());
    let users = present.users.iter();
    let users: serde_json::Map<String, Value> = users
        .map(|(name, access)| (name.as_str().to_owned(), json!({ "databases": names(access) })))
        .collect();
    Report::Record(vec![
        ("databases", names(&present.databases)),
        ("users", Value::Object(users)),
        ("undescribed", json!(beyond(present))),
    ])
}

/// Access that the file format cannot express.
fn beyond(present: &Present) -> Vec<String> {
    present.access.beyond(|name| present.users.keys().any(|user| user.as_str() == name), |_| false)
}

/// One name per line, so that a version control system shows which database was added or removed.
fn lines(names: &Access) -> String {
    let lines: String = names.iter().map(|name| format!("    {},\n", quoted(name.as_str()))).collect();
    if lines.is_empty() { "[]".to_owned() } else { format!("[\n{lines}]") }
}

fn inline(names: &Access) -> String {
    let names: Vec<String> = names.iter().map(|name| quoted(name.as_str())).collect();
    format!("[{}]", names.join(", "))
}

/// A TOML basic string. Its escapes are those of JSON, except that TOML also
/// escapes DEL, which no name contains.
fn quoted(name: &str) -> String {
    json!(name).to_string()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::client::AccessReport;

    #[test]
    fn an_export_reads_as_what_was_there() {
        let databases: BTreeSet<DatabaseName> =
            ["shop", "a/b+c"].iter().map(|name| name.parse().unwrap()).collect();
        let odd_name = "ünï \"q\" \\ 🙂 '#=[]";
        let users = BTreeMap::from([
            (odd_name.parse().unwrap(), databases.clone()),
            ("al".parse().unwrap(), BTreeSet::new()),
        ]);
        let present = Present {
            databases: databases.clone(),
            users,
            odd: BTreeSet::from(["x\n[y]".to_owned()]),
            access: AccessReport { unknown: vec!["a\n[z]".to_owned()], ..AccessReport::default() },
            ..Present::default()
        };
        let table: toml::Table = text(&present).parse().unwrap();
        assert_eq!(table["databases"].as_array().unwrap().len(), 2);
        let users = table["users"].as_table().unwrap();
        assert_eq!(users.keys().collect::<Vec<_>>(), ["al", odd_name]);
        assert_eq!(users[odd_name]["databases"].as_array().unwrap().len(), 2);
        assert!(text(&Present::default()).contains("databases = []"));
    }
}

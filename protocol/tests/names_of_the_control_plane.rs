//! `control-plane/` and the guest accept the same names: one table tests both implementations.
//!
//! `control-plane/tests/test_names.py` tests the Python side with the same file.

#![allow(clippy::unwrap_used, clippy::panic)]

use serde_json::Value;
use trove_couchdb_protocol::{DatabaseName, NameError, NameRule, UserName};

const TABLE: &str = include_str!("../../control-plane/tests/names.json");

/// The rule's name in the table: the variant in snake case.
fn id(rule: NameRule) -> String {
    let variant = format!("{rule:?}");
    let name = variant.split('(').next().unwrap();
    let mut id = String::new();
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && !id.is_empty() {
            id.push('_');
        }
        id.push(letter.to_ascii_lowercase());
    }
    id
}

fn held_to_the_table(kind: &str, check: impl Fn(&str) -> Result<(), NameError>) {
    let table: Value = serde_json::from_str(TABLE).unwrap();
    let (good, bad) = (table[kind]["good"].as_array().unwrap(), table[kind]["bad"].as_array().unwrap());
    assert!(good.len() > 10 && bad.len() > 10, "{kind}: the table is not empty");
    for name in good {
        let name = name.as_str().unwrap();
        assert!(check(name).is_ok(), "{kind}: {name:?} is good");
    }
    for case in bad {
        let name = case["name"].as_str().unwrap();
        let error = check(name).err().unwrap_or_else(|| panic!("{kind}: {name:?} is bad"));
        assert_eq!(id(error.rule()), case["rule"].as_str().unwrap(), "{kind}: {name:?}");
    }
}

#[test]
fn databases() {
    held_to_the_table("databases", |name| DatabaseName::try_from(name).map(drop));
}

#[test]
fn users() {
    held_to_the_table("users", |name| UserName::try_from(name).map(drop));
}

//! Converts a `_security` object between its text and the form that `security.rs` edits.
//!
//! The edits see only the lists that define access. Other keys belong to applications: they may be longer,
//! deeper or more precise than a [`Value`] allows, and are written back unchanged.

use serde_json::{Map, Value};

use crate::{
    CouchError,
    permissions::security::GROUPS,
    reply::{answer::read_answer, exact::Exact},
};

/// The lists of a group.
const LISTS: [&str; 2] = ["names", "roles"];

/// Replaces an invalid list or group, so that no edit changes it.
const ODD: Value = Value::Bool(false);

/// The object in CouchDB.
#[derive(Debug)]
pub(crate) struct SecurityObject {
    whole: Option<Exact>,
    sketch: Value,
}

impl SecurityObject {
    /// Reads the object. JSON that is not an object contains no names and is never changed.
    ///
    /// # Errors
    /// The text is not JSON, such as a proxy's error page, so the names are unknown.
    pub(crate) fn read(text: &[u8]) -> Result<Self, CouchError> {
        let whole = Exact::read(text);
        if whole.is_none() {
            read_answer(text)?;
        }
        let sketch = whole.as_ref().map_or(ODD, |whole| {
            let group = |key: &&str| whole.has(key).then(|| ((*key).to_owned(), sketch_of(whole, key)));
            GROUPS.iter().filter_map(group).collect::<Map<_, _>>().into()
        });
        Ok(Self { whole, sketch })
    }

    /// The groups with their lists.
    pub(crate) fn sketch(&self) -> &Value {
        &self.sketch
    }

    /// The text of the object with the groups from `edited`, an edited copy of the sketch.
    pub(crate) fn with(&self, edited: &Value) -> String {
        let mut whole = self.whole.clone().unwrap_or_default();
        for key in GROUPS {
            let (before, after) = (self.sketch.get(key), edited.get(key));
            let (true, Some(Value::Object(after))) = (before != after, after) else { continue };
            let mut group = whole.object(key).unwrap_or_default();
            for (list, names) in after {
                if before.and_then(|before| before.get(list)) != Some(names) {
                    group.set(list, names.clone());
                }
            }
            whole.set_object(key, &group);
        }
        whole.to_text()
    }
}

fn sketch_of(whole: &Exact, key: &str) -> Value {
    let Some(group) = whole.object(key) else {
        return if whole.value(key) == Some(Ok(Value::Null)) { Value::Null } else { ODD };
    };
    let list = |list: &&str| Some(((*list).to_owned(), group.value(list)?.unwrap_or(ODD)));
    LISTS.iter().filter_map(list).collect::<Map<_, _>>().into()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::BTreeSet;

    use serde_json::json;

    use super::*;
    use crate::permissions::security;

    const BIG: &str = "123456789012345678901234567890";

    fn text() -> String {
        let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
        format!(
            r#"{{"admins":{{"names":["dba"],"roles":[],"x":{BIG}}},"app":{{"big":{BIG}}},"deep":{deep},"members":{{"names":["al"],"roles":["r"],"y":1e999}},"n":{}}}"#,
            "9".repeat(400)
        )
    }

    #[test]
    fn an_edit_changes_one_list_and_no_digit_of_the_rest() {
        let object = SecurityObject::read(text().as_bytes()).unwrap();
        let lists =
            json!({"admins": {"names": ["dba"], "roles": []}, "members": {"names": ["al"], "roles": ["r"]}});
        assert_eq!(*object.sketch(), lists);
        let mut sketch = object.sketch().clone();
        assert_eq!(security::grant(&mut sketch, &["bo"]), Ok(true));
        assert_eq!(object.with(&sketch), text().replace(r#"["al"]"#, r#"["al","bo"]"#));
        assert_eq!(security::forget(&mut sketch, &BTreeSet::from(["dba"])), Ok(true));
        let both = text().replace(r#"["al"]"#, r#"["al","bo"]"#).replace(r#"["dba"]"#, "[]");
        assert_eq!(object.with(&sketch), both);
        assert_eq!(object.with(object.sketch()), text());
    }

    #[test]
    fn lists_that_were_not_there_are_made() {
        for (before, after) in [
            ("{}", r#"{"members":{"names":["bo"]}}"#),
            (r#"{"members":{}}"#, r#"{"members":{"names":["bo"]}}"#),
            (r#"{"readers":{"names":["a"]},"k":1.0}"#, r#"{"k":1.0,"readers":{"names":["a","bo"]}}"#),
        ] {
            let object = SecurityObject::read(before.as_bytes()).unwrap();
            let mut sketch = object.sketch().clone();
            assert_eq!(security::grant(&mut sketch, &["bo"]), Ok(true));
            assert_eq!(object.with(&sketch), after);
        }
    }

    #[test]
    fn what_is_no_group_or_no_list_is_malformed_and_stays() {
        for text in [
            "[]",
            "7",
            r#"{"members":[]}"#,
            r#"{"members":{"names":{"a":1}}}"#,
            r#"{"members":{"names":1e999}}"#,
            &format!(r#"{{"members":{{"names":[{}]}}}}"#, "9".repeat(400)),
        ] {
            let object = SecurityObject::read(text.as_bytes()).unwrap();
            let mut sketch = object.sketch().clone();
            assert!(security::grant(&mut sketch, &["bo"]).is_err(), "{text}");
            assert_eq!(sketch, *object.sketch());
            assert!(!security::is_well_formed(&sketch), "{text}");
        }
        assert!(SecurityObject::read(b"<html>").is_err());
        let null = SecurityObject::read(br#"{"members":null}"#).unwrap();
        assert_eq!(*null.sketch(), json!({"members": null}));
    }
}

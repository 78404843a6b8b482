//! The mark in a document that names an interrupted command.

use serde::{Deserialize, Serialize};

use crate::{policy::TenantDatabase, reply::exact::Exact};

/// The field of a user document that holds the mark.
const UNFINISHED: &str = "trove_unfinished";

/// The interrupted command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case")]
pub(crate) enum Unfinished {
    /// Created, but perhaps not yet a member of all these databases.
    CreateUser {
        /// Sorted by name.
        databases: Vec<String>,
    },
    /// About to be replaced by another document.
    RenameTo {
        /// The new name.
        to: String,
    },
    /// Copied from another document, which may still exist.
    RenameFrom {
        /// The old name.
        from: String,
    },
}

impl Unfinished {
    /// The mark of `create_user` with these databases.
    pub(crate) fn creation(databases: &[TenantDatabase]) -> Self {
        let mut databases: Vec<String> = databases.iter().map(|name| name.as_str().to_owned()).collect();
        databases.sort_unstable();
        Self::CreateUser { databases }
    }

    /// The mark in a document, if it has a known form.
    pub(crate) fn of(document: &Exact) -> Option<Self> {
        serde_json::from_value(document.value(UNFINISHED)?.ok()?).ok()
    }

    /// Puts the mark into a document.
    pub(crate) fn write_to(&self, document: &mut Exact) {
        document.set(UNFINISHED, serde_json::to_value(self).unwrap_or_default());
    }

    /// Removes the mark from a document.
    pub(crate) fn remove_from(document: &mut Exact) {
        document.remove(UNFINISHED);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_known_again_and_an_odd_one_is_none() {
        for mark in [
            Unfinished::CreateUser { databases: vec!["a".into()] },
            Unfinished::RenameTo { to: "zoe".into() },
            Unfinished::RenameFrom { from: "al".into() },
        ] {
            let mut document = Exact::default();
            mark.write_to(&mut document);
            assert_eq!(Unfinished::of(&document), Some(mark));
            Unfinished::remove_from(&mut document);
            assert_eq!(document, Exact::default());
        }
        for odd in ["true", "{}", r#"{"command":"drop_table"}"#, r#"{"command":"rename_to"}"#] {
            let document = Exact::read(format!("{{\"{UNFINISHED}\":{odd}}}").as_bytes()).unwrap_or_default();
            assert_eq!(Unfinished::of(&document), None, "{odd}");
        }
    }
}

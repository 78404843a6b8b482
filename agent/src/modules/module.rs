//! One module, as the agent stores it and as Trove reads it.

use std::{fmt, time::SystemTime};

use base64::{Engine, prelude::BASE64_STANDARD};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use trove_couchdb_protocol::Secret;

use super::ping;

/// The only type of modules that the agent applies.
const PING: &str = "ping";

/// The largest contents that are stored, in Base64. The file of a ping has one line.
const LARGEST: usize = 64 << 10;

/// The id of a module in Trove, which is safe as the name of a file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct ModuleId(String);

impl ModuleId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for ModuleId {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        let is_safe = text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
        let is_id = is_safe && (1..=64).contains(&text.len());
        if is_id { Ok(Self(text)) } else { Err("the id of a module: at most 64 letters, digits and dashes") }
    }
}

impl From<ModuleId> for String {
    fn from(id: ModuleId) -> Self {
        id.0
    }
}

/// A module to be applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewModule {
    /// Its id.
    pub id: ModuleId,
    /// Its name.
    pub name: String,
    /// Its type.
    pub kind: String,
    /// Its project, or `all`.
    pub tenant: String,
    /// The datastore that it is for, or `all`.
    pub datastore: String,
    /// The version that it is for, or `all`.
    pub datastore_version: String,
    /// The file in Base64. It may be a licence or a key.
    pub contents: Secret,
    /// Trove's digest of the contents.
    pub md5: Option<String>,
    /// Whether Trove applies it to every new instance.
    pub auto_apply: bool,
    /// Whether users other than administrators see it.
    pub visible: bool,
    /// Whether it was made with an administrator's options.
    pub is_admin: bool,
}

/// A module that was applied, or that the agent refused to apply.
#[derive(Clone, PartialEq, Eq, Deserialize, Serialize)]
pub struct Module {
    /// The guest that it was applied to: an image made of a guest contains its files.
    #[serde(default)]
    pub(super) guest_id: String,
    pub(super) id: ModuleId,
    name: String,
    #[serde(rename = "type")]
    kind: String,
    tenant: String,
    datastore: String,
    datastore_version: String,
    md5: Option<String>,
    auto_apply: bool,
    visible: bool,
    is_admin: bool,
    /// `Err` holds the reason.
    outcome: Result<String, String>,
    created: String,
    pub(super) updated: String,
    contents: String,
}

impl NewModule {
    /// Applies it. `known` is the same module, applied before.
    pub(super) fn applied(self, known: Option<Module>) -> Module {
        let now = now();
        let contents = self.contents.expose();
        let is_large = contents.len() > LARGEST;
        let outcome = if is_large {
            Err(format!("The contents have more than {LARGEST} bytes"))
        } else if self.kind == PING {
            ping::apply(contents)
        } else {
            Err(format!("The CouchDB guest agent applies modules of the type {PING} only"))
        };
        Module {
            guest_id: String::new(),
            id: self.id,
            name: self.name,
            kind: self.kind,
            tenant: self.tenant,
            datastore: self.datastore,
            datastore_version: self.datastore_version,
            md5: self.md5,
            auto_apply: self.auto_apply,
            visible: self.visible,
            is_admin: self.is_admin,
            outcome,
            created: known.map_or_else(|| now.clone(), |known| known.created),
            updated: now,
            contents: if is_large { String::new() } else { contents.to_owned() },
        }
    }
}

impl Module {
    pub(super) fn is_visible(&self) -> bool {
        self.visible
    }

    /// Why it is not applied.
    pub(super) fn failure(&self) -> Option<&str> {
        self.outcome.as_ref().err().map(String::as_str)
    }

    /// The contents for this user, in Base64. Trove's own words.
    pub(super) fn contents_for(&self, is_admin: bool) -> String {
        if self.is_admin && !is_admin {
            let name = &self.name;
            BASE64_STANDARD.encode(format!("Must be admin to retrieve contents for module {name}"))
        } else {
            self.contents.clone()
        }
    }

    /// The members that Trove's API and clients expect (`ModuleManager.build_default_result`).
    pub(super) fn result(&self, contents: Option<&str>) -> Value {
        let (status, message) = match &self.outcome {
            Ok(message) => ("OK", message),
            Err(reason) => ("ERROR", reason),
        };
        json!({
            "type": self.kind, "name": self.name, "datastore": self.datastore,
            "datastore_version": self.datastore_version, "tenant": self.tenant, "id": self.id, "md5": self.md5,
            "status": status, "message": message, "created": self.created, "updated": self.updated, "removed": null,
            "auto_apply": self.auto_apply, "visible": self.visible, "is_admin": self.is_admin, "contents": contents,
        })
    }
}

impl fmt::Debug for Module {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Module").field("kind", &self.kind).finish_non_exhaustive()
    }
}

/// The time in the form of Trove's guests, `%Y-%m-%d %H:%M:%S.%f` without the last four digits.
fn now() -> String {
    let time = humantime::format_rfc3339_micros(SystemTime::now()).to_string();
    time.replace('T', " ").chars().take(22).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn an_id_is_safe_as_a_file_name() {
        let is_id = |text: &str| ModuleId::try_from(text.to_owned()).is_ok();
        assert!(is_id("3f83e9ef-b6c3-44ba-84f2-de1b907fe3a8"));
        for text in ["", "..", "a/b", "a.b", "a\0", "é", &"a".repeat(65)] {
            assert!(!is_id(text), "{text:?}");
        }
    }

    #[test]
    fn times_are_as_long_as_troves() {
        let now = now();
        assert_eq!(now.len(), "2026-11-23 07:57:41.78".len());
        assert!(now.contains(' ') && !now.contains('T'), "{now}");
    }
}

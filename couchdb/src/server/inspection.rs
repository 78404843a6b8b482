//! A server's settings and user conflicts, for the doctor.

use serde::Deserialize;
use serde_json::Value;

use crate::{
    ConfigRoot, Couch, CouchError, Resource, path::resource::USER_ID_PREFIX, reply::error::absent_is_none,
};

/// The section for logins since CouchDB 3.2 and the older one, which CouchDB reads where the first has no
/// value.
const LOGIN_SECTIONS: [&str; 2] = ["chttpd_auth", "couch_httpd_auth"];

/// The number of documents per request.
const BATCH: usize = 500;

/// Settings that can make a running server unusable. `None` if a setting is missing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServerSettings {
    /// `false`, `true` or `nolb`.
    pub maintenance_mode: Option<String>,
    /// The password rules as an Erlang term.
    pub password_regexp: Option<String>,
    /// The minimum number of a hash's rounds for a login.
    pub min_iterations: Option<u64>,
    /// The maximum number of a hash's rounds for a login.
    pub max_iterations: Option<u64>,
}

#[derive(Deserialize)]
struct Rows {
    rows: Vec<Row>,
}

#[derive(Deserialize)]
struct Row {
    id: String,
    doc: Option<Document>,
}

#[derive(Deserialize)]
struct Document {
    #[serde(rename = "_conflicts", default)]
    conflicts: Vec<String>,
}

impl Couch {
    /// Reads the settings of the node that receives the request.
    pub async fn server_settings(&self) -> Result<ServerSettings, CouchError> {
        self.server_settings_at(&self.server().await?.config).await
    }

    /// Reads the settings of another node.
    pub async fn server_settings_at(&self, config: &ConfigRoot) -> Result<ServerSettings, CouchError> {
        let number = |text: Option<String>| text.and_then(|text| text.trim().parse().ok());
        Ok(ServerSettings {
            maintenance_mode: self.setting(config, "couchdb", "maintenance_mode").await?,
            password_regexp: self.login_setting(config, "password_regexp").await?,
            min_iterations: number(self.login_setting(config, "min_iterations").await?),
            max_iterations: number(self.login_setting(config, "max_iterations").await?),
        })
    }

    async fn login_setting(
        &self,
        config: &ConfigRoot,
        key: &'static str,
    ) -> Result<Option<String>, CouchError> {
        for section in LOGIN_SECTIONS {
            if let Some(set) = self.setting(config, section, key).await? {
                return Ok(Some(set));
            }
        }
        Ok(None)
    }

    async fn setting(
        &self,
        config: &ConfigRoot,
        section: &'static str,
        key: &'static str,
    ) -> Result<Option<String>, CouchError> {
        let set = absent_is_none(self.get(&Resource::Setting(config, section, key)).await)?;
        Ok(set.as_ref().and_then(Value::as_str).map(str::to_owned))
    }

    /// The users whose documents have conflicting revisions, sorted by name.
    pub async fn user_conflicts(&self) -> Result<Vec<String>, CouchError> {
        let mut names = Vec::new();
        let mut start = String::new();
        loop {
            let answer = self.get(&Resource::UsersWithConflicts { start: &start, limit: BATCH + 1 }).await?;
            let odd =
                |_| CouchError::Unexpected { what: "GET /_users/_all_docs", problem: "no rows".to_owned() };
            let Rows { rows } = serde_json::from_value(answer).map_err(odd)?;
            let name = |row: &Row| row.id.strip_prefix(USER_ID_PREFIX).map(str::to_owned);
            let conflicting = |row: &&Row| row.doc.as_ref().is_some_and(|doc| !doc.conflicts.is_empty());
            names.extend(rows.iter().take(BATCH).filter(conflicting).filter_map(name));
            // The extra row is the start of the next request.
            match rows.get(BATCH).and_then(name) {
                Some(next) if next > start => start = next,
                _ => return Ok(names),
            }
        }
    }
}

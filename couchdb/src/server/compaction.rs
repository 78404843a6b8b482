//! Compactions, and what they can free.

use serde_json::{Value, json};

use crate::{Couch, CouchError, ListedDatabase, Method, Resource};

/// The size of a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DatabaseSize {
    /// The documents.
    pub documents: u64,
    /// The bytes of its files.
    pub file: u64,
    /// The bytes of its files that are in use.
    pub active: u64,
    /// Whether a compaction of it runs.
    pub is_compacting: bool,
}

impl DatabaseSize {
    /// `None` if CouchDB could not open the database, or reports sizes in an unknown form.
    pub(crate) fn from_info(info: &Value) -> Option<Self> {
        let size = |kind: &str| info["sizes"][kind].as_u64();
        Some(Self {
            documents: info["doc_count"].as_u64()?,
            file: size("file")?,
            active: size("active")?,
            is_compacting: info["compact_running"] == true,
        })
    }

    /// The bytes that a compaction frees at most.
    pub fn gain(&self) -> u64 {
        self.file.saturating_sub(self.active)
    }
}

impl Couch {
    /// Starts a compaction. CouchDB confirms it (202) even if it can't work, so check the size afterwards.
    pub async fn compact(&self, database: &ListedDatabase) -> Result<(), CouchError> {
        self.send(Method::POST, &Resource::Compaction(database), Some(&json!({}))).await.map(|_| ())
    }

    /// The size of a database now.
    pub async fn database_size(&self, database: &ListedDatabase) -> Result<DatabaseSize, CouchError> {
        let info = self.get(&Resource::DatabaseInfo(database)).await?;
        let odd = || CouchError::Unexpected { what: "GET /DATABASE", problem: "it has no sizes".to_owned() };
        DatabaseSize::from_info(&info).ok_or_else(odd)
    }

    /// The running compactions of databases and views.
    pub async fn compactions_running(&self) -> Result<u64, CouchError> {
        let tasks = self.get(&Resource::ActiveTasks).await?;
        let is_compaction =
            |task: &&Value| matches!(task["type"].as_str(), Some("database_compaction" | "view_compaction"));
        let count = tasks.as_array().into_iter().flatten().filter(is_compaction).count();
        Ok(u64::try_from(count).unwrap_or(u64::MAX))
    }
}

//! Databases: made closed, deleted, listed page by page.

use percent_encoding::percent_decode_str;
use reqwest::Method;
use serde_json::Value;
use tracing::warn;
use trove_couchdb_protocol::trove::Page;

use super::{
    CommandError, Couch, CouchError, ListedDatabase, Resource, TenantDatabase, error::absent_is_none,
    security,
};

/// Databases are listed in pages of at most this many, whatever the caller asked for.
const BATCH: usize = 1_000;

/// Databases to be created, and whether an earlier run of the same command may have made some of them.
#[derive(Debug)]
pub struct CreateDatabases {
    /// What to create.
    pub databases: Vec<TenantDatabase>,
    /// The command was delivered before and may have been cut short.
    pub rerun: bool,
}

impl Couch {
    /// Creates databases that only server administrators can use until somebody is granted access.
    ///
    /// One that is there already stays as it is (like `CREATE DATABASE IF NOT EXISTS` of Trove's own guests).
    pub async fn create_databases(&self, command: &CreateDatabases) -> Result<(), CommandError> {
        let mut made_any = false;
        for database in &command.databases {
            match self.create_database(database, command.rerun).await {
                Ok(made) => made_any |= made,
                Err(error) if made_any => return Err(error.after_a_part()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// True if the database was not there before.
    async fn create_database(&self, database: &TenantDatabase, rerun: bool) -> Result<bool, CommandError> {
        match self.send(Method::PUT, &Resource::Database(database), None).await {
            Ok(_) => {}
            // Perhaps made by the earlier run, and still open. One with content was in use before, as it was.
            Err(CouchError::Exists) if rerun && self.is_untouched(database).await? => {
                self.close_new(database).await?;
                return Ok(false);
            }
            Err(CouchError::Exists) => return Ok(false),
            Err(error) => return Err(error.into()),
        }
        if let Err(error) = self.close_new(database).await {
            // Rather no database than one that is open to everybody, should nobody try again.
            if let Err(also) = self.delete(&Resource::Database(database)).await {
                let database = database.as_str();
                warn!(database, %also, "A new database could be neither closed nor taken back.");
            }
            return Err(error.after_a_part());
        }
        Ok(true)
    }

    /// A fresh database is public on CouchDB 1.x and 2.x, and on 3.x with `default_security = everyone`.
    async fn close_new(&self, database: &TenantDatabase) -> Result<(), CommandError> {
        self.edit_security(&ListedDatabase::from(&**database), security::close).await
    }

    /// Whether there never was a document in it.
    async fn is_untouched(&self, database: &TenantDatabase) -> Result<bool, CouchError> {
        let info = self.get(&Resource::Database(database)).await?;
        Ok(["doc_count", "doc_del_count"].iter().all(|count| info[*count] == 0))
    }

    /// Deletes a database with all that is in it.
    ///
    /// # Errors
    /// [`CommandError::NoSuchDatabase`], unless an earlier run of the same command may have deleted it.
    pub async fn delete_database(&self, database: &TenantDatabase, rerun: bool) -> Result<(), CommandError> {
        // An edit of its `_security` that is under way would put what it read into a new database of the same name.
        // Commands on a user edit any database, and don't wait for commands on it.
        let _alone = self.security_locks.lock(&ListedDatabase::from(&**database)).await;
        match absent_is_none(self.delete(&Resource::Database(database)).await)? {
            Some(_) => Ok(()),
            None if rerun => Ok(()),
            None => Err(CommandError::NoSuchDatabase((**database).clone())),
        }
    }

    /// One page of database names, and the marker of the next one.
    pub async fn list_databases(&self, page: &Page) -> Result<(Vec<String>, Option<String>), CommandError> {
        let wanted = page.limit.map(|limit| limit.saturating_add(1));
        let mut names: Vec<String> = Vec::new();
        // trove-api quotes the marker of its `next` links twice; no database has a `%` in its name.
        let unquoted = |marker: &str| percent_decode_str(marker).decode_utf8_lossy().into_owned();
        let mut start = page.marker.as_deref().map(unquoted);
        let mut with_start = page.include_marker;
        loop {
            // The first name of a page may be the marker itself, which does not count.
            let missing = wanted.map_or(BATCH, |wanted| wanted - names.len());
            let limit = missing.saturating_add(1).min(BATCH);
            let (batch, is_last) = self.database_names(start.as_deref(), limit).await?;
            let last = batch.last().cloned();
            names.extend(batch.into_iter().filter(|name| {
                !self.policy.hides_database(name)
                    && start
                        .as_deref()
                        .is_none_or(|start| name.as_str() > start || (with_start && name.as_str() == start))
            }));
            // A server that ignores both parameters would answer the same for ever.
            let stuck = start.is_some() && last <= start;
            if is_last || stuck || wanted.is_some_and(|wanted| names.len() >= wanted) {
                break;
            }
            (start, with_start) = (last, false);
        }
        Ok(cut_page(names, page.limit, Clone::clone))
    }

    /// Every database there is.
    pub(super) async fn all_databases(&self) -> Result<Vec<ListedDatabase>, CouchError> {
        let answer = self.get(&Resource::AllDatabases { start: None, limit: None }).await?;
        Ok(listed_names(&answer)?.into_iter().filter_map(ListedDatabase::new).collect())
    }

    /// At most `limit` names from `start` on, sorted, and whether nothing comes after them.
    ///
    /// 1.x knows neither parameter and answers with everything, in the order of its file system.
    async fn database_names(
        &self,
        start: Option<&str>,
        limit: usize,
    ) -> Result<(Vec<String>, bool), CouchError> {
        let answer = self.get(&Resource::AllDatabases { start, limit: Some(limit) }).await?;
        let mut names = listed_names(&answer)?;
        let pages = self.server().await?.version.has_nodes();
        let is_last = !pages || names.len() != limit;
        names.sort_unstable();
        Ok((names, is_last))
    }
}

fn listed_names(answer: &Value) -> Result<Vec<String>, CouchError> {
    let odd = || CouchError::Unexpected { what: "GET /_all_dbs", problem: "not a list of names".into() };
    let names = answer.as_array().ok_or_else(odd)?;
    names.iter().map(|name| name.as_str().map(str::to_owned).ok_or_else(odd)).collect()
}

/// Cuts a list that may hold one item more than the page, and makes the marker from the page's last item.
pub(super) fn cut_page<T>(
    mut items: Vec<T>,
    limit: Option<usize>,
    marker: impl Fn(&T) -> String,
) -> (Vec<T>, Option<String>) {
    match limit {
        Some(limit) if items.len() > limit => {
            items.truncate(limit);
            let next = items.last().map(marker);
            (items, next)
        }
        _ => (items, None),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_page_has_a_marker_only_if_something_follows() {
        let cut = |count: usize, limit| cut_page((0..count).collect(), limit, ToString::to_string);
        assert_eq!(cut(2, Some(2)), (vec![0, 1], None));
        assert_eq!(cut(3, Some(2)), (vec![0, 1], Some("1".to_owned())));
        assert_eq!(cut(3, None), (vec![0, 1, 2], None));
    }

    #[test]
    fn an_error_object_is_no_list_of_databases() {
        assert!(listed_names(&json!({"error": "unauthorized", "reason": "x"})).is_err());
        assert!(listed_names(&json!(["a", 1])).is_err());
    }
}

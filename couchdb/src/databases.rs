//! Databases: creates them closed, deletes them, and lists them in pages.

use std::collections::BTreeSet;

use futures_util::{FutureExt, StreamExt, TryStreamExt, stream};
use reqwest::Method;
use serde_json::{Value, json};
use tracing::warn;

use crate::{
    CommandError, Couch, CouchError, ListedDatabase, Range, Resource, TenantDatabase,
    permissions::{pending::Edit, security, security_edit::unrecorded},
    reply::error::absent_is_none,
};

/// The largest page in which databases are listed, whatever limit the caller set.
const BATCH: usize = 1_000;

/// Databases to be created.
#[derive(Debug)]
pub struct CreateDatabases<'a> {
    /// The databases.
    pub databases: Vec<TenantDatabase>,
    /// The command's id, recorded with each database that the command begins to create.
    pub command: &'a str,
}

/// The state of a database before the command creates it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Before {
    /// The database does not exist.
    Absent,
    /// A command began to create the database, which may still be open to everyone.
    Begun,
    /// The database exists and stays as it is.
    There,
}

impl Couch {
    /// Creates databases that only server administrators can use until a user is granted access.
    ///
    /// An existing database stays as it is (like `CREATE DATABASE IF NOT EXISTS` of Trove's own guests).
    /// Exception: a database that an interrupted command created may still be open to everyone on CouchDB 1.x
    /// and 2.x; it is closed.
    pub async fn create_databases(&self, command: &CreateDatabases<'_>) -> Result<(), CommandError> {
        // Locked in the order of their names, so that two commands can't deadlock.
        let databases: BTreeSet<TenantDatabase> = command.databases.iter().cloned().collect();
        let mut locks = Vec::with_capacity(databases.len());
        for database in &databases {
            locks.push(self.security_locks.lock(&ListedDatabase::from(&**database)).await);
        }
        let plan: Vec<(TenantDatabase, Before)> = stream::iter(databases)
            .map(|database| {
                async move {
                    let before = self.before(&database).await?;
                    Ok::<_, CouchError>((database, before))
                }
                .boxed()
            })
            .buffered(self.client.limits().connections)
            .try_collect()
            .await?;
        let absent = plan.iter().filter(|(_, before)| *before == Before::Absent);
        let absent: Vec<_> = absent.map(|(database, _)| ListedDatabase::from(&**database)).collect();
        self.pending.begin(&absent, command.command).await.map_err(|error| unrecorded(&error))?;
        // Determined before the first database exists, because open databases must be closed at once.
        let closed_at_birth = self.server().await?.version.makes_closed_databases();
        let mut made_any = false;
        for (database, before) in plan.into_iter().filter(|(_, before)| *before != Before::There) {
            match self.create_database(&database, before, closed_at_birth).await {
                Ok(made) => made_any |= made,
                Err(error) if made_any => return Err(error.after_a_part()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn before(&self, database: &TenantDatabase) -> Result<Before, CouchError> {
        let begun = |edit: &Edit| matches!(edit, Edit::Close(_));
        if self.pending.of(&ListedDatabase::from(&**database)).iter().any(begun) {
            return Ok(Before::Begun);
        }
        match self.get(&Resource::Database(database)).await {
            Err(CouchError::NotFound(_)) => Ok(Before::Absent),
            Ok(_) => Ok(Before::There),
            // All other failures leave it unclear whether the database exists.
            Err(error) if error.is_unopenable() => Ok(Before::There),
            Err(error) => Err(error),
        }
    }

    /// Returns whether this call created the database.
    async fn create_database(
        &self,
        database: &TenantDatabase,
        before: Before,
        closed_at_birth: bool,
    ) -> Result<bool, CommandError> {
        let listed = ListedDatabase::from(&**database);
        match self.send(Method::PUT, &Resource::Database(database), None).await {
            Ok(_) => {}
            Err(CouchError::Exists) => {
                if before == Before::Begun {
                    self.edit_locked(&listed, |_| Ok(false)).await?;
                } else {
                    // Another client just created the database and decides about its access.
                    self.pending.gone(&listed).await.map_err(|error| unrecorded(&error))?;
                }
                return Ok(false);
            }
            Err(error) => return Err(error.into()),
        }
        if let Err(error) = self.close_new(&listed, closed_at_birth).await {
            // Delete the database: without a retry it would stay open to everyone.
            match self.delete(&Resource::Database(database)).await {
                Ok(_) => self.pending.gone(&listed).await.map_err(|error| unrecorded(&error))?,
                Err(also) => {
                    let database = database.as_str();
                    warn!(database, %also, "A new database could be neither closed nor taken back; it is closed later.");
                }
            }
            return Err(error.after_a_part());
        }
        Ok(true)
    }

    /// A new database is public on CouchDB 1.x and 2.x, and on 3.x with `default_security = everyone`.
    async fn close_new(&self, database: &ListedDatabase, closed_at_birth: bool) -> Result<(), CommandError> {
        if !closed_at_birth {
            // Sent at once on the open connection, because everyone can write until then. The content of the
            // new `_security` is known, so it need not be read.
            let mut object = json!({});
            security::close(&mut object).map_err(|source| CommandError::Security {
                database: database.as_str().to_owned(),
                source,
            })?;
            self.write_security(&self.client.urgent(), database, object.to_string()).await?;
        }
        self.edit_locked(database, security::close).await
    }

    /// Deletes a database and all its content.
    ///
    /// # Errors
    /// [`CommandError::NoSuchDatabase`], unless an earlier run of the same command may have deleted it.
    pub async fn delete_database(&self, database: &TenantDatabase, rerun: bool) -> Result<(), CommandError> {
        let listed = ListedDatabase::from(&**database);
        // A concurrent edit of `_security` would write its old content into a new database of the same name.
        // Commands on users edit any database and don't wait for commands on databases.
        let _alone = self.security_locks.lock(&listed).await;
        let resource = Resource::Database(database);
        let deleted = match self.delete(&resource).await {
            // On a full disk CouchDB deletes the files and returns an error. It then recreates the database
            // empty, on 2.x open to everyone, so the agent deletes it a second time. The result is success
            // even if another client deleted it in between.
            Err(CouchError::Server { status: 500, .. }) => {
                absent_is_none(self.delete(&resource).await)?;
                self.must_be_gone(&resource).await?;
                true
            }
            answer => absent_is_none(answer)?.is_some(),
        };
        if let Err(error) = self.pending.gone(&listed).await {
            // The record stays. After a restart the agent tries the edit without effect.
            warn!(%error, "The state directory can't be written.");
        }
        if deleted || rerun { Ok(()) } else { Err(CommandError::NoSuchDatabase((**database).clone())) }
    }

    /// No third deletion: the database may be a different client's new one.
    async fn must_be_gone(&self, database: &Resource<'_>) -> Result<(), CouchError> {
        match absent_is_none(self.get(database).await)? {
            None => Ok(()),
            Some(_) => Err(CouchError::Unexpected {
                what: "DELETE /DATABASE",
                problem: "the database is still there; delete it again".to_owned(),
            }),
        }
    }

    /// A range of database names, and the start of the next range.
    pub async fn list_databases(&self, range: &Range) -> Result<(Vec<String>, Option<String>), CommandError> {
        let wanted = range.limit.map(|limit| limit.saturating_add(1));
        let mut names: Vec<String> = Vec::new();
        let mut start = range.start.clone();
        let mut with_start = range.include_start;
        loop {
            // The first name may be the excluded start.
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
            // A server that ignores both parameters would return the same page forever.
            let stuck = start.is_some() && last <= start;
            if is_last || stuck || wanted.is_some_and(|wanted| names.len() >= wanted) {
                break;
            }
            (start, with_start) = (last, false);
        }
        Ok(range.cut(names))
    }

    /// All databases.
    pub(crate) async fn all_databases(&self) -> Result<Vec<ListedDatabase>, CouchError> {
        let answer = self.get(&Resource::AllDatabases { start: None, limit: None }).await?;
        Ok(listed_names(&answer)?.into_iter().filter_map(ListedDatabase::new).collect())
    }

    /// At most `limit` sorted names from `start` on, and whether they are the last.
    ///
    /// 1.x knows neither parameter and returns all names, in the order of its file system.
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

pub(crate) fn listed_names(answer: &Value) -> Result<Vec<String>, CouchError> {
    let odd = || CouchError::Unexpected { what: "GET /_all_dbs", problem: "not a list of names".into() };
    let names = answer.as_array().ok_or_else(odd)?;
    names.iter().map(|name| name.as_str().map(str::to_owned).ok_or_else(odd)).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_error_object_is_no_list_of_databases() {
        assert!(listed_names(&json!({"error": "unauthorized", "reason": "x"})).is_err());
        assert!(listed_names(&json!(["a", 1])).is_err());
    }
}

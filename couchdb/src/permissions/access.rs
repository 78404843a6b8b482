//! Access of users to databases: reads it for many databases at once, and edits it for one.

use std::{
    collections::{BTreeSet, HashSet},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use futures_util::{FutureExt, StreamExt, TryStreamExt, stream};
use reqwest::Method;

use crate::{
    CommandError, Couch, CouchError, ListedDatabase, Resource, TenantDatabase, TenantUser,
    permissions::{
        pending::Edit, security, security_edit::unrecorded, security_object::SecurityObject,
        security_scan::Scope, shared_scans::UserAccess,
    },
    reply::error::absent_is_none,
};

/// A name for trying an edit. No user has it, because names must not begin with `_`.
const NOBODY: &str = "_nobody";

/// The progress of an edit of many databases.
#[derive(Debug, Default)]
pub(crate) struct Edited {
    /// The number of databases to edit; 0 until it is known.
    pub(crate) total: AtomicUsize,
    /// The number of edited databases.
    pub(crate) done: AtomicUsize,
}

impl Couch {
    /// Makes a user a member of databases. If one of them does not exist, nothing changes.
    pub async fn grant_access(
        &self,
        user: &TenantUser,
        databases: &[TenantDatabase],
    ) -> Result<(), CommandError> {
        self.require_user(user).await?;
        self.require_grantable(databases).await?;
        stream::iter(databases.to_vec())
            .map(|database| async move { self.add_members(&[user], &database).await }.boxed())
            .buffer_unordered(self.client.limits().connections)
            .try_collect()
            .await
    }

    /// Removes a user from a database's members. A user who is no member is no error.
    pub async fn revoke_access(
        &self,
        user: &TenantUser,
        database: &TenantDatabase,
    ) -> Result<(), CommandError> {
        let listed = ListedDatabase::from(&**database);
        self.edit_security(&listed, |object| security::revoke(object, user.as_str()))
            .await
            .map_err(|error| missing_database(error, database))
    }

    /// The databases of which a user is a member.
    pub async fn list_access(&self, user: &TenantUser) -> Result<Vec<String>, CommandError> {
        self.require_user(user).await?;
        let access = self.access_of(&[user.as_str()]).await?;
        Ok(access.get(user.as_str()).cloned().unwrap_or_default())
    }

    /// The databases of several users, from one scan of every `_security` that concurrent callers share.
    pub(crate) async fn access_of(&self, users: &[&str]) -> Result<Arc<UserAccess>, CouchError> {
        if users.is_empty() {
            return Ok(Arc::default());
        }
        self.shared_scans.find(users, async |wanted| self.scan(&wanted).await).await
    }

    async fn scan(&self, wanted: &HashSet<String>) -> Result<UserAccess, CouchError> {
        let scan = self
            .scan_security(Scope::Tenants, |object| {
                let named: HashSet<&str> =
                    security::members(object).filter(|name| wanted.contains(*name)).collect();
                (!named.is_empty()).then(|| named.into_iter().map(str::to_owned).collect::<Vec<_>>())
            })
            .await?;
        let mut access = UserAccess::new();
        for (database, names) in scan.found {
            for name in names {
                access.entry(name).or_default().push(database.as_str().to_owned());
            }
        }
        Ok(access)
    }

    /// Removes names from every `_security`, so that later users with these names inherit nothing.
    pub(crate) async fn forget_everywhere(&self, users: &[&TenantUser]) -> Result<(), CommandError> {
        let names: BTreeSet<&str> = users.iter().map(|user| user.as_str()).collect();
        let edit = Edit::Forget(names.iter().map(|name| (*name).to_owned()).collect());
        self.edit_where_mentioned(&names, &edit, &Edited::default()).await
    }

    /// Replaces the old name by the new one in every `_security`.
    pub(crate) async fn rename_everywhere(
        &self,
        old: &TenantUser,
        new: &TenantUser,
        moved: &Edited,
    ) -> Result<(), CommandError> {
        let edit = Edit::Rename { old: old.as_str().to_owned(), new: new.as_str().to_owned() };
        self.edit_where_mentioned(&BTreeSet::from([old.as_str()]), &edit, moved).await
    }

    /// Edits databases that CouchDB can't open later: the edit is recorded and done when they open.
    async fn edit_where_mentioned(
        &self,
        users: &BTreeSet<&str>,
        edit: &Edit,
        edited: &Edited,
    ) -> Result<(), CommandError> {
        if users.is_empty() {
            return Ok(());
        }
        let scan = self
            .scan_security(Scope::Inheritable, |object| security::mentions(object, users).then_some(()))
            .await?;
        self.pending.add(&scan.unknown, edit).await.map_err(|error| unrecorded(&error))?;
        let mut databases: Vec<ListedDatabase> =
            scan.found.into_iter().map(|(database, ())| database).collect();
        // The copy that was read may lack a name that other nodes still have.
        databases.extend(self.pending.to_write_again());
        databases.sort();
        databases.dedup();
        edited.total.store(databases.len(), Ordering::Relaxed);
        stream::iter(databases)
            .map(|database| {
                async move {
                    self.edit_or_owe(&database, edit).await?;
                    edited.done.fetch_add(1, Ordering::Relaxed);
                    Ok(())
                }
                .boxed()
            })
            .buffer_unordered(self.client.limits().connections)
            .try_collect()
            .await
    }

    async fn edit_or_owe(&self, database: &ListedDatabase, edit: &Edit) -> Result<(), CommandError> {
        match self.edit_security(database, |object| edit.apply(object)).await {
            // Deleted since it was listed: there is nothing to edit.
            Err(CommandError::Couch(CouchError::NotFound(_))) => {
                self.pending.gone(database).await.map_err(|error| unrecorded(&error))
            }
            Err(CommandError::Couch(error)) if error.is_unopenable() => {
                self.pending.add([database], edit).await.map_err(|error| unrecorded(&error))
            }
            other => other,
        }
    }

    /// Makes users members of a database.
    pub(crate) async fn add_members(
        &self,
        users: &[&TenantUser],
        database: &TenantDatabase,
    ) -> Result<(), CommandError> {
        let names: Vec<&str> = users.iter().map(|user| user.as_str()).collect();
        self.edit_security(&ListedDatabase::from(&**database), |object| security::grant(object, &names))
            .await
            .map_err(|error| missing_database(error, database))
    }

    /// Returns an error for the first database that does not exist or whose `_security` can't take a member.
    pub(crate) async fn require_grantable(&self, databases: &[TenantDatabase]) -> Result<(), CommandError> {
        stream::iter(databases.to_vec())
            .map(|database| {
                async move {
                    let listed = ListedDatabase::from(&*database);
                    let text = self.send_text(Method::GET, &Resource::Security(&listed), None).await;
                    let Some(text) = absent_is_none(text)? else {
                        return Err(CommandError::NoSuchDatabase((*database).clone()));
                    };
                    let mut sketch = SecurityObject::read(&text)?.sketch().clone();
                    security::grant(&mut sketch, &[NOBODY]).map(drop).map_err(|source| {
                        CommandError::Security { database: database.as_str().to_owned(), source }
                    })
                }
                .boxed()
            })
            .buffered(self.client.limits().connections)
            .try_collect()
            .await
    }
}

fn missing_database(error: CommandError, database: &TenantDatabase) -> CommandError {
    match error {
        CommandError::Couch(CouchError::NotFound(_)) => CommandError::NoSuchDatabase((**database).clone()),
        other => other,
    }
}

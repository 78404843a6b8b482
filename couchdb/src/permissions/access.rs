//! Who may use which database: reading it for many at once, and editing it for one.

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

/// A name that no user has (`_` is not allowed to begin one), to try an edit with.
const NOBODY: &str = "_nobody";

/// How far an edit of many databases is.
#[derive(Debug, Default)]
pub(crate) struct Edited {
    /// How many there are to edit; 0 until that is known.
    pub(crate) total: AtomicUsize,
    /// How many are edited.
    pub(crate) done: AtomicUsize,
}

impl Couch {
    /// Makes a user a member of databases. All of them must be there, or nothing changes.
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

    /// Takes a user out of a database's members. Not being one is no error.
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

    /// The databases that a user is a member of.
    pub async fn list_access(&self, user: &TenantUser) -> Result<Vec<String>, CommandError> {
        self.require_user(user).await?;
        let access = self.access_of(&[user.as_str()]).await?;
        Ok(access.get(user.as_str()).cloned().unwrap_or_default())
    }

    /// The databases of several users, from one pass over every `_security`, which others may share.
    pub(crate) async fn access_of(&self, users: &[&str]) -> Result<Arc<UserAccess>, CouchError> {
        if users.is_empty() {
            return Ok(Arc::default());
        }
        self.shared_scans.find(users, async |wanted| self.sweep(&wanted).await).await
    }

    async fn sweep(&self, wanted: &HashSet<String>) -> Result<UserAccess, CouchError> {
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

    /// Takes names out of every `_security`, so that a later user of that name inherits nothing.
    pub(crate) async fn forget_everywhere(&self, users: &[&TenantUser]) -> Result<(), CommandError> {
        let names: BTreeSet<&str> = users.iter().map(|user| user.as_str()).collect();
        let edit = Edit::Forget(names.iter().map(|name| (*name).to_owned()).collect());
        self.edit_where_mentioned(&names, &edit, &Edited::default()).await
    }

    /// Puts the new name in place of the old one in every `_security`.
    pub(crate) async fn rename_everywhere(
        &self,
        old: &TenantUser,
        new: &TenantUser,
        moved: &Edited,
    ) -> Result<(), CommandError> {
        let edit = Edit::Rename { old: old.as_str().to_owned(), new: new.as_str().to_owned() };
        self.edit_where_mentioned(&BTreeSet::from([old.as_str()]), &edit, moved).await
    }

    /// What can't be done now, because CouchDB can't open a database, is written down and done when it opens.
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
        // One node's copy may lack a name that the others still have.
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
            // Deleted since it was listed: nothing is left to edit.
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

    /// Nothing, or the first of the databases that isn't there, or whose `_security` no member can be put into.
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

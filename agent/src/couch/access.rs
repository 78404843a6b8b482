//! Who may use which database: reading it for many at once, and editing it for one.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use futures_util::{FutureExt, StreamExt, TryStreamExt, stream};
use reqwest::Method;
use serde_json::Value;
use tracing::warn;

use super::{
    CommandError, Couch, CouchError, ListedDatabase, Resource, TenantDatabase, TenantUser,
    error::absent_is_none,
    security::{self, Malformed},
    security_object::SecurityObject,
};

/// How often an edit is written again when what is read back lacks it.
const WRITES: usize = 5;

/// The databases of each user, in the order of their names.
pub type UserAccess = BTreeMap<String, Vec<String>>;

/// Which databases a pass visits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    /// Every database there is.
    All,
    /// What callers may see.
    Tenants,
    /// Where a name that is left behind would give its next owner access: those of `ignore_dbs` and CouchDB's own, too.
    /// Only that of `_users` can't be written (403 since 3.0), and there it is closed to everybody.
    Inheritable,
}

impl Couch {
    /// Makes a user a member of databases. All of them must be there, or nothing changes.
    pub async fn grant_access(
        &self,
        user: &TenantUser,
        databases: &[TenantDatabase],
    ) -> Result<(), CommandError> {
        self.require_user(user).await?;
        self.require_databases(databases).await?;
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
    pub(super) async fn access_of(&self, users: &[&str]) -> Result<Arc<UserAccess>, CouchError> {
        if users.is_empty() {
            return Ok(Arc::default());
        }
        self.sweeps.find(users, async |wanted| self.sweep(&wanted).await).await
    }

    async fn sweep(&self, wanted: &HashSet<String>) -> Result<UserAccess, CouchError> {
        let found = self
            .visit_security(Scope::Tenants, |object| {
                let named: HashSet<&str> =
                    security::members(object).filter(|name| wanted.contains(*name)).collect();
                (!named.is_empty()).then(|| named.into_iter().map(str::to_owned).collect::<Vec<_>>())
            })
            .await?;
        let mut access = UserAccess::new();
        for (database, names) in found {
            for name in names {
                access.entry(name).or_default().push(database.as_str().to_owned());
            }
        }
        Ok(access)
    }

    /// Takes names out of every `_security`, so that a later user of that name inherits nothing.
    pub(super) async fn forget_everywhere(&self, users: &[&TenantUser]) -> Result<(), CommandError> {
        self.edit_where_mentioned(users, |object| {
            users
                .iter()
                .try_fold(false, |changed, user| Ok(security::forget(object, user.as_str())? || changed))
        })
        .await
    }

    /// Puts the new name in place of the old one in every `_security`.
    pub(super) async fn rename_everywhere(
        &self,
        old: &TenantUser,
        new: &TenantUser,
    ) -> Result<(), CommandError> {
        self.edit_where_mentioned(&[old], |object| security::rename(object, old.as_str(), new.as_str())).await
    }

    async fn edit_where_mentioned(
        &self,
        users: &[&TenantUser],
        edit: impl Fn(&mut Value) -> Result<bool, Malformed> + Sync,
    ) -> Result<(), CommandError> {
        if users.is_empty() {
            return Ok(());
        }
        let found = self
            .visit_security(Scope::Inheritable, |object| {
                users.iter().any(|user| security::mentions(object, user.as_str())).then_some(())
            })
            .await?;
        let edit = &edit;
        stream::iter(found)
            .map(|(database, ())| {
                async move {
                    match self.edit_security(&database, edit).await {
                        // Deleted since it was listed: nothing is left to edit.
                        Err(CommandError::Couch(CouchError::NotFound(_))) => Ok(()),
                        other => other,
                    }
                }
                .boxed()
            })
            .buffer_unordered(self.client.limits().connections)
            .try_collect()
            .await
    }

    /// Makes users members of a database.
    pub(super) async fn add_members(
        &self,
        users: &[&TenantUser],
        database: &TenantDatabase,
    ) -> Result<(), CommandError> {
        let names: Vec<&str> = users.iter().map(|user| user.as_str()).collect();
        self.edit_security(&ListedDatabase::from(&**database), |object| security::grant(object, &names))
            .await
            .map_err(|error| missing_database(error, database))
    }

    /// Nothing, or the first of the databases that isn't there.
    pub(super) async fn require_databases(&self, databases: &[TenantDatabase]) -> Result<(), CommandError> {
        stream::iter(databases.to_vec())
            .map(|database| {
                async move {
                    match absent_is_none(self.get(&Resource::Database(&database)).await)? {
                        Some(_) => Ok(()),
                        None => Err(CommandError::NoSuchDatabase((*database).clone())),
                    }
                }
                .boxed()
            })
            .buffered(self.client.limits().connections)
            .try_collect()
            .await
    }

    /// Reads, edits, writes and reads back one `_security`.
    ///
    /// The object has no revision and a PUT replaces all of it. The lock keeps this agent's own edits apart;
    /// reading back shows whether somebody else's write came in between.
    pub(super) async fn edit_security(
        &self,
        database: &ListedDatabase,
        edit: impl Fn(&mut Value) -> Result<bool, Malformed>,
    ) -> Result<(), CommandError> {
        let resource = Resource::Security(database);
        let _alone = self.security_locks.lock(database).await;
        for _ in 0..=WRITES {
            let object = SecurityObject::read(&self.send_text(Method::GET, &resource, None).await?)?;
            let mut edited = object.sketch().clone();
            let changed = edit(&mut edited).map_err(|source| CommandError::Security {
                database: database.as_str().to_owned(),
                source,
            })?;
            if !changed {
                return Ok(());
            }
            self.send_text(Method::PUT, &resource, Some(object.with(&edited))).await?;
        }
        Err(CommandError::Overwritten(format!("_security of database {:?}", database.as_str())))
    }

    /// Looks at every `_security` in scope once, with bounded concurrency, and keeps what `pick` makes of it,
    /// in the order of the databases' names.
    ///
    /// A database that CouchDB lists and can't open is left out: one broken file must not stop every command.
    pub(super) async fn visit_security<T>(
        &self,
        scope: Scope,
        pick: impl Fn(&Value) -> Option<T> + Sync,
    ) -> Result<Vec<(ListedDatabase, T)>, CouchError> {
        let databases = self.all_databases().await?.into_iter().filter(|database| match scope {
            Scope::All => true,
            Scope::Tenants => !self.policy.hides_database(database.as_str()),
            Scope::Inheritable => !database.is_users(),
        });
        let pick = &pick;
        let unopenable = &AtomicUsize::new(0);
        let mut found: Vec<(ListedDatabase, T)> = stream::iter(databases)
            .map(|database| {
                async move {
                    let security = Resource::Security(&database);
                    let text = match self.send_text(Method::GET, &security, None).await {
                        Err(error) if error.is_unopenable() => {
                            unopenable.fetch_add(1, Ordering::Relaxed);
                            return Ok(None);
                        }
                        // A database may go while the pass is on its way.
                        answer => absent_is_none(answer)?,
                    };
                    let object = text.map(|text| SecurityObject::read(&text)).transpose()?;
                    Ok(object.and_then(|object| pick(object.sketch())).map(|kept| (database, kept)))
                }
                .boxed()
            })
            .buffer_unordered(self.client.limits().connections)
            .try_filter_map(|kept| async move { Ok::<_, CouchError>(kept) })
            .try_collect()
            .await?;
        let unopenable = unopenable.load(Ordering::Relaxed);
        if unopenable > 0 {
            warn!(unopenable, "CouchDB lists databases that it can't open; their members are unknown.");
        }
        found.sort_by(|left, right| left.0.cmp(&right.0));
        Ok(found)
    }
}

fn missing_database(error: CommandError, database: &TenantDatabase) -> CommandError {
    match error {
        CommandError::Couch(CouchError::NotFound(_)) => CommandError::NoSuchDatabase((**database).clone()),
        other => other,
    }
}

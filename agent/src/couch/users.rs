//! Users: created, deleted, shown, listed, and given another password.

use std::collections::{BTreeMap, HashSet};

use futures_util::{FutureExt, StreamExt, TryStreamExt, future::try_join_all, stream};
use percent_encoding::percent_decode_str;
use serde_json::Value;
use trove_couchdb_protocol::{
    Secret, UserName,
    trove::{Page, UserModel},
};

use super::{
    CommandError, Couch, CouchError, PasswordHash, Resource, TenantDatabase, TenantUser,
    databases::cut_page,
    documents::{UserDocument, new_document},
    exact::Exact,
    resource::USER_ID_PREFIX,
};

/// Users are listed in batches of at most this many, whatever the caller asked for.
const BATCH: usize = 1_000;

/// How often documents are written again that somebody else changed at the same time.
const WRITES: usize = 5;

/// A user to be created.
#[derive(Debug)]
pub struct NewAccount {
    /// Who.
    pub user: TenantUser,
    /// Never empty.
    pub password: Secret,
    /// What the user becomes a member of.
    pub databases: Vec<TenantDatabase>,
}

impl Couch {
    /// Creates users and grants each its databases: all or, if a name is taken or a database missing, none.
    ///
    /// `command_id` tells a second run of the same command from another command that wants the same name.
    pub async fn create_users(&self, accounts: &[NewAccount], command_id: &str) -> Result<(), CommandError> {
        let mut seen = HashSet::new();
        for account in accounts {
            if !seen.insert(&account.user) {
                return Err(CommandError::UserTwice((*account.user).clone()));
            }
            if account.password.expose().is_empty() {
                return Err(CommandError::PasswordMissing((*account.user).clone()));
            }
        }
        let databases: HashSet<&TenantDatabase> =
            accounts.iter().flat_map(|account| &account.databases).collect();
        let databases: Vec<TenantDatabase> = databases.into_iter().cloned().collect();
        self.require_databases(&databases).await?;

        let users: Vec<&TenantUser> = accounts.iter().map(|account| &account.user).collect();
        self.refuse_admin_names(&users).await?;
        let known = self.user_documents(&users).await?;
        let mut missing = Vec::new();
        for account in accounts {
            match known.get(&account.user) {
                Some(document @ UserDocument::Present(_)) if !document.was_created_by(command_id) => {
                    return Err(CommandError::UserExists((*account.user).clone()));
                }
                Some(UserDocument::Present(_)) => {}
                _ => missing.push(account),
            }
        }
        let tombstones = users.into_iter().filter(|user| known.get(user) == Some(&UserDocument::Deleted));
        self.forget_everywhere(&tombstones.collect::<Vec<_>>()).await?;
        let passwords = missing.iter().map(|account| (&account.user, &account.password));
        let hashes = self.hash_all(passwords.collect()).await?;
        let documents: Vec<_> = hashes
            .into_iter()
            .map(|(user, hash)| {
                let mut document = new_document(user, command_id);
                hash.write_to(&mut document);
                (user, document)
            })
            .collect();
        if !documents.is_empty() {
            self.write_new(&documents, command_id).await?;
        }
        // Members by database, so that each `_security` is written once.
        let mut members: BTreeMap<TenantDatabase, Vec<&TenantUser>> = BTreeMap::new();
        for account in accounts {
            for database in &account.databases {
                members.entry(database.clone()).or_default().push(&account.user);
            }
        }
        let grants: Vec<_> = members
            .into_iter()
            .map(|(database, users)| async move { self.add_members(&users, &database).await }.boxed())
            .collect();
        stream::iter(grants).buffer_unordered(self.client.limits().connections).try_collect().await
    }

    /// Writes the documents of new users: all or, if a name was taken meanwhile or CouchDB does not take a document, none.
    async fn write_new(
        &self,
        documents: &[(&TenantUser, Exact)],
        command_id: &str,
    ) -> Result<(), CommandError> {
        let written = self.try_documents(documents).await?;
        let refusal =
            match (self.first_of_others(&written.conflicts, command_id).await?, written.rejected.first()) {
                (Some(user), _) => CommandError::UserExists((**user).clone()),
                (None, Some((user, reason))) => {
                    CommandError::UserRejected { user: (***user).clone(), reason: reason.clone() }
                }
                (None, None) => return Ok(()),
            };
        let all: Vec<&TenantUser> = documents.iter().map(|(user, _)| *user).collect();
        self.take_back(&all, command_id).await?;
        Err(refusal)
    }

    /// Deletes a user, after taking it out of every `_security`.
    ///
    /// One that deleted itself, or that an operator deleted, may have left memberships behind: they go.
    ///
    /// # Errors
    /// [`CommandError::NoSuchUser`], unless an earlier run of the same command (`rerun`) may have deleted it.
    pub async fn delete_user(&self, user: &TenantUser, rerun: bool) -> Result<(), CommandError> {
        let document = self.user_document(user).await?;
        if document != UserDocument::Missing {
            self.forget_everywhere(&[user]).await?;
        }
        match document {
            UserDocument::Present(_) => self.delete_document(user).await,
            UserDocument::Deleted if rerun => Ok(()),
            UserDocument::Deleted | UserDocument::Missing => Err(CommandError::NoSuchUser((**user).clone())),
        }
    }

    /// A user with its databases, if there is one.
    pub async fn get_user(&self, user: &TenantUser) -> Result<Option<UserModel>, CommandError> {
        if self.user_document(user).await?.present().is_none() {
            return Ok(None);
        }
        let access = self.access_of(&[user.as_str()]).await?;
        let databases = access.get(user.as_str()).cloned().unwrap_or_default();
        Ok(Some(UserModel { name: user.as_str().to_owned(), databases }))
    }

    /// One page of users with their databases, and the marker of the next one (`name@%`).
    pub async fn list_users(&self, page: &Page) -> Result<(Vec<UserModel>, Option<String>), CommandError> {
        let start = match &page.marker {
            Some(marker) => self.name_in_marker(marker).await?,
            None => String::new(),
        };
        let names = self.user_names(&start, page.include_marker, page.limit).await?;
        let (names, next) = cut_page(names, page.limit, |name| format!("{name}@%"));
        let access = self.access_of(&names.iter().map(String::as_str).collect::<Vec<_>>()).await?;
        let users = names
            .into_iter()
            .map(|name| UserModel { databases: access.get(&name).cloned().unwrap_or_default(), name })
            .collect();
        Ok((users, next))
    }

    /// The user name that a marker means: Trove's API sends `name@host`, and names may hold an `@` themselves.
    async fn name_in_marker(&self, marker: &str) -> Result<String, CouchError> {
        // trove-api quotes the marker of its `next` links twice: a client that follows one literally brings our own
        // `name@%` back quoted once. No marker of the API itself ends so.
        let unquoted = marker.ends_with("%40%25").then(|| percent_decode_str(marker).decode_utf8_lossy());
        let marker = unquoted.as_deref().unwrap_or(marker);
        let Some((name, host)) = marker.rsplit_once('@') else {
            return Ok(marker.to_owned());
        };
        if host == "%" {
            return Ok(name.to_owned());
        }
        let whole = UserName::try_from(marker).ok();
        let is_a_name = match whole {
            Some(whole) => self.user_document(&whole).await?.present().is_some(),
            None => false,
        };
        Ok(if is_a_name { marker } else { name }.to_owned())
    }

    /// One name more than the page holds, if there is one, in CouchDB's order (raw bytes).
    async fn user_names(
        &self,
        start: &str,
        include_start: bool,
        limit: Option<usize>,
    ) -> Result<Vec<String>, CouchError> {
        let wanted = limit.map(|limit| limit.saturating_add(1));
        let mut names: Vec<String> = Vec::new();
        let (mut start, mut include_start) = (start.to_owned(), include_start);
        loop {
            // The first row may be the marker itself, which does not count.
            let missing = wanted.map_or(BATCH, |wanted| wanted - names.len());
            let limit = missing.saturating_add(1).min(BATCH);
            let batch = user_ids(&self.get(&Resource::UserIds { start: &start, limit }).await?)?;
            let is_last = batch.len() < limit;
            let last = batch.last().cloned();
            names.extend(
                batch
                    .into_iter()
                    .filter(|name| (include_start || *name != start) && !self.policy.hides_user(name))
                    .take(missing),
            );
            match last {
                Some(last) if !is_last && wanted.is_none_or(|wanted| names.len() < wanted) => {
                    (start, include_start) = (last, false);
                }
                _ => return Ok(names),
            }
        }
    }

    /// Gives users other passwords; all of them must be there, or nothing changes.
    pub async fn change_passwords(&self, changes: &[(TenantUser, Secret)]) -> Result<(), CommandError> {
        // As if done one after the other: the last password of a user counts.
        let last: BTreeMap<&TenantUser, &Secret> =
            changes.iter().map(|(user, password)| (user, password)).collect();
        for (user, password) in &last {
            if password.expose().is_empty() {
                return Err(CommandError::PasswordMissing((***user).clone()));
            }
        }
        let users: Vec<&TenantUser> = last.keys().copied().collect();
        self.present_documents(&users).await?;
        self.refuse_admin_names(&users).await?;
        let hashes = self.hash_all(last.into_iter().collect()).await?;
        let mut waiting: Vec<&TenantUser> = users;
        for _ in 0..WRITES {
            // Read again just before the write: every other field is carried over, whoever changed it.
            let mut documents = self.present_documents(&waiting).await?;
            for (user, document) in &mut documents {
                if let Some(hash) = hashes.get(user) {
                    hash.write_to(document);
                }
            }
            waiting = self.write_documents(&documents).await?;
            if waiting.is_empty() {
                return Ok(());
            }
        }
        let names: Vec<&str> = waiting.iter().map(|user| user.as_str()).collect();
        Err(CommandError::Overwritten(format!("the password of {names:?}")))
    }

    async fn present_documents<'a>(
        &self,
        users: &[&'a TenantUser],
    ) -> Result<Vec<(&'a TenantUser, Exact)>, CommandError> {
        let mut known = self.user_documents(users).await?;
        users
            .iter()
            .map(|user| match known.remove(user).and_then(UserDocument::present) {
                Some(document) => Ok((*user, document)),
                None => Err(CommandError::NoSuchUser((***user).clone())),
            })
            .collect()
    }

    /// Hashes passwords side by side, as the server wants them.
    pub(super) async fn hash_all<'a>(
        &self,
        passwords: Vec<(&'a TenantUser, &Secret)>,
    ) -> Result<BTreeMap<&'a TenantUser, PasswordHash>, CommandError> {
        let server = self.server().await?.version;
        // The hasher itself keeps to one per core.
        let hashes = try_join_all(passwords.into_iter().map(|(user, password)| async move {
            let hash = self.hasher.hash(password, server).await.ok_or(CommandError::Stopping)?;
            Ok::<_, CommandError>((user, hash))
        }));
        Ok(hashes.await?.into_iter().collect())
    }
}

fn user_ids(answer: &Value) -> Result<Vec<String>, CouchError> {
    let odd = |problem: &str| CouchError::Unexpected { what: "GET _all_docs", problem: problem.to_owned() };
    let rows = answer["rows"].as_array().ok_or_else(|| odd("no rows"))?;
    rows.iter()
        .map(|row| {
            let id = row["id"].as_str().ok_or_else(|| odd("a row without an id"))?;
            id.strip_prefix(USER_ID_PREFIX).map(str::to_owned).ok_or_else(|| odd("not a user's id"))
        })
        .collect()
}

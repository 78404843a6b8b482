//! Users: creates, deletes, shows and lists them, and changes their passwords.

use std::{
    collections::{BTreeMap, HashSet},
    sync::atomic::{AtomicUsize, Ordering},
};

use futures_util::{FutureExt, StreamExt, TryStreamExt, stream};
use serde_json::Value;
use trove_couchdb_protocol::Secret;

use crate::{
    CommandError, Couch, CouchError, Progress, Range, Resource, TenantDatabase, TenantUser,
    accounts::{
        documents::{UserDocument, adopt_document, new_document},
        drafts::Draft,
        unfinished::Unfinished,
    },
    path::resource::USER_ID_PREFIX,
    reply::exact::Exact,
};

/// The largest batch in which users are listed, whatever limit the caller set.
const BATCH: usize = 1_000;

/// How often documents are written again after concurrent changes.
const WRITES: usize = 5;

/// A user to be created.
#[derive(Debug)]
pub struct NewAccount {
    /// The user.
    pub user: TenantUser,
    /// Must not be empty.
    pub password: Secret,
    /// The databases of which the user becomes a member.
    pub databases: Vec<TenantDatabase>,
}

/// A user that exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedUser {
    /// The user's name.
    pub name: String,
    /// The databases of which the user is a member.
    pub databases: Vec<String>,
}

impl Couch {
    /// Creates users and grants each its databases. Creates no user if a name is taken, a database is missing
    /// or a password is refused.
    ///
    /// `command_id` distinguishes a second run of this command from other commands with the same names. This
    /// command also takes over a user that an earlier command with the same arguments began and did not
    /// finish.
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
        if accounts.is_empty() {
            return Ok(());
        }
        let settings = self.auth_settings().await?;
        let databases: HashSet<&TenantDatabase> =
            accounts.iter().flat_map(|account| &account.databases).collect();
        let databases: Vec<TenantDatabase> = databases.into_iter().cloned().collect();
        self.require_grantable(&databases).await?;

        let users: Vec<&TenantUser> = accounts.iter().map(|account| &account.user).collect();
        self.refuse_admin_names(&users).await?;
        let mut known = self.user_documents(&users).await?;
        let mut to_write = Vec::new();
        let mut tombstones = Vec::new();
        for account in accounts {
            let user = &account.user;
            let mark = Unfinished::creation(&account.databases);
            let mut document = match known.remove(user) {
                Some(ours @ UserDocument::Present(_)) if ours.was_created_by(command_id) => continue,
                Some(UserDocument::Present(document))
                    if Unfinished::of(&document).as_ref() == Some(&mark) =>
                {
                    let mut document = self.without_conflicts(user, document).await?;
                    adopt_document(&mut document, command_id);
                    document
                }
                Some(UserDocument::Present(document)) => return Err(self.why_taken(user, &document).await?),
                Some(UserDocument::Deleted) => {
                    tombstones.push(user);
                    new_document(user, command_id)
                }
                Some(UserDocument::Missing) | None => new_document(user, command_id),
            };
            mark.write_to(&mut document);
            to_write.push((account, document));
        }
        self.forget_everywhere(&tombstones).await?;
        for (account, _) in to_write.iter().filter(|(_, document)| !document.has("_rev")) {
            self.nothing_is_left_of(account.user.as_str()).await?;
        }
        let passwords = to_write.iter().map(|(account, _)| (&account.user, &account.password)).collect();
        let passwords = self.new_passwords(passwords, &settings).await?;
        let drafts: Vec<Draft<'_>> = to_write
            .into_iter()
            .map(|(account, document)| Draft::new(&account.user, document).with(passwords.get(&account.user)))
            .collect();
        self.write_new(&drafts, command_id).await?;
        // Not a user that an earlier run created: its password may have changed since.
        let written = accounts.iter().find(|account| drafts.iter().any(|draft| *draft.user == account.user));
        let proved = match written {
            Some(account) => self.prove_user(&account.user, &account.password).await,
            None => Ok(()),
        };
        match proved {
            Err(refused @ CommandError::LoginRefused { .. }) => {
                // The new users have no access yet. Users that an earlier command began stay.
                let new: Vec<_> = drafts.iter().filter(|draft| !draft.document.has("_rev")).collect();
                let new: Vec<_> = new.iter().map(|draft| draft.user).collect();
                self.take_back(&new, command_id).await?;
                return Err(refused);
            }
            proved => {
                proved.map_err(|error| error.half_done(Progress::of_creation(&users, 0, databases.len())))?;
            }
        }
        let done = AtomicUsize::new(0);
        self.grant_all(accounts, &done).await.map_err(|error| {
            error.half_done(Progress::of_creation(&users, done.load(Ordering::Relaxed), databases.len()))
        })?;
        self.clear_unfinished(&users)
            .await
            .map_err(|error| error.half_done(Progress::of_creation(&users, databases.len(), databases.len())))
    }

    async fn grant_all(&self, accounts: &[NewAccount], done: &AtomicUsize) -> Result<(), CommandError> {
        // Grouped by database, so that each `_security` is written once.
        let mut members: BTreeMap<TenantDatabase, Vec<&TenantUser>> = BTreeMap::new();
        for account in accounts {
            for database in &account.databases {
                members.entry(database.clone()).or_default().push(&account.user);
            }
        }
        let grants: Vec<_> = members
            .into_iter()
            .map(|(database, users)| {
                async move {
                    self.add_members(&users, &database).await?;
                    done.fetch_add(1, Ordering::Relaxed);
                    Ok(())
                }
                .boxed()
            })
            .collect();
        stream::iter(grants).buffer_unordered(self.client.limits().connections).try_collect().await
    }

    /// Writes the documents of new users. Writes none if a name was taken meanwhile or CouchDB rejects a
    /// document.
    async fn write_new(&self, drafts: &[Draft<'_>], command_id: &str) -> Result<(), CommandError> {
        if drafts.is_empty() {
            return Ok(());
        }
        let written = self.try_drafts(drafts).await?;
        let refusal =
            match (self.first_of_others(&written.conflicts, command_id).await?, written.rejected.first()) {
                (Some(user), _) => CommandError::UserExists((**user).clone()),
                (None, Some((user, reason))) => {
                    CommandError::UserRejected { user: (***user).clone(), reason: reason.clone() }
                }
                (None, None) => return Ok(()),
            };
        let all: Vec<&TenantUser> = drafts.iter().map(|draft| draft.user).collect();
        self.take_back(&all, command_id).await?;
        Err(refusal)
    }

    /// Deletes a user after removing it from every `_security`.
    ///
    /// Users that deleted themselves, or that an operator deleted, may still have memberships: these are
    /// removed, too.
    ///
    /// # Errors
    /// [`CommandError::NoSuchUser`], unless an earlier run of the same command (`rerun`) may have deleted it.
    pub async fn delete_user(&self, user: &TenantUser, rerun: bool) -> Result<(), CommandError> {
        let document = self.user_document(user).await?;
        if let UserDocument::Present(document) = &document {
            self.refuse_half_renamed(user, document).await?;
        }
        if document != UserDocument::Missing {
            self.forget_everywhere(&[user]).await?;
        }
        match document {
            UserDocument::Present(_) => self.delete_document(user).await,
            UserDocument::Deleted if rerun => Ok(()),
            UserDocument::Deleted | UserDocument::Missing => Err(CommandError::NoSuchUser((**user).clone())),
        }
    }

    /// A user with its databases, if it exists.
    pub async fn get_user(&self, user: &TenantUser) -> Result<Option<ListedUser>, CommandError> {
        if self.user_document(user).await?.present().is_none() {
            return Ok(None);
        }
        let access = self.access_of(&[user.as_str()]).await?;
        let databases = access.get(user.as_str()).cloned().unwrap_or_default();
        Ok(Some(ListedUser { name: user.as_str().to_owned(), databases }))
    }

    /// A range of users with their databases, and the start of the next range.
    pub async fn list_users(&self, range: &Range) -> Result<(Vec<ListedUser>, Option<String>), CommandError> {
        let start = range.start.as_deref().unwrap_or_default();
        let names = self.user_names(start, range.include_start, range.limit).await?;
        let (names, next) = range.cut(names);
        let access = self.access_of(&names.iter().map(String::as_str).collect::<Vec<_>>()).await?;
        let users = names
            .into_iter()
            .map(|name| ListedUser { databases: access.get(&name).cloned().unwrap_or_default(), name })
            .collect();
        Ok((users, next))
    }

    /// The names of a range and the one after it, in CouchDB's order (raw bytes).
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
            // The first row may be the excluded start.
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

    /// Changes users' passwords. If one of the users does not exist, nothing changes.
    pub async fn change_passwords(&self, changes: &[(TenantUser, Secret)]) -> Result<(), CommandError> {
        // As if executed one by one: the last password of a user counts.
        let last: BTreeMap<&TenantUser, &Secret> =
            changes.iter().map(|(user, password)| (user, password)).collect();
        for (user, password) in &last {
            if password.expose().is_empty() {
                return Err(CommandError::PasswordMissing((***user).clone()));
            }
        }
        let users: Vec<&TenantUser> = last.keys().copied().collect();
        let Some((first, password)) = last.first_key_value().map(|(user, password)| (*user, *password))
        else {
            return Ok(());
        };
        let settings = self.auth_settings().await?;
        for (user, document) in self.present_documents(&users).await? {
            self.refuse_half_renamed(user, &document).await?;
        }
        self.refuse_admin_names(&users).await?;
        let passwords = self.new_passwords(last.into_iter().collect(), &settings).await?;
        let mut waiting: Vec<&TenantUser> = users;
        for _ in 0..WRITES {
            // Read again just before the write, so that concurrent changes of other fields are kept.
            let mut drafts = Vec::new();
            for (user, document) in self.present_documents(&waiting).await? {
                let document = self.without_conflicts(user, document).await?;
                drafts.push(Draft::new(user, document).with(passwords.get(user)));
            }
            waiting = self.write_drafts(&drafts).await?;
            if waiting.is_empty() {
                return self.prove_user(first, password).await;
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

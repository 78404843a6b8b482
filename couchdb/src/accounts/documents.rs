//! User documents: reads one by name or several at once, and writes them with `_bulk_docs`.

use std::collections::HashMap;

use reqwest::Method;
use serde::Deserialize;
use serde_json::json;
use trove_couchdb_protocol::UserName;

use crate::{
    CommandError, Couch, CouchError, Resource, TenantUser,
    accounts::unfinished::Unfinished,
    reply::{error::absent_is_none, exact::Exact},
};

/// What `_users` holds for a name.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum UserDocument {
    /// The current document.
    Present(Exact),
    /// The document was deleted.
    Deleted,
    /// There was never a document.
    Missing,
}

/// How often a document is deleted until it is gone: once for each conflicting revision, and for each login
/// that rewrites the document meanwhile.
const DELETES: usize = 10;

/// How often the agent tries to mark a document that another writer keeps changing.
const MAX_MARKS: usize = 10;

/// A command stores the request's `_unique_id` here in every document it creates. When the command is
/// redelivered after a crash, it recognises its own documents.
const CREATED_BY: &str = "trove_created_by";

/// A renamed document stores the [`CREATED_BY`] of its source here.
const RENAMED_FROM: &str = "trove_renamed_from";

impl UserDocument {
    pub(crate) fn present(self) -> Option<Exact> {
        match self {
            Self::Present(document) => Some(document),
            Self::Deleted | Self::Missing => None,
        }
    }

    /// Whether it was copied from this `source`, not from an earlier user of that name.
    pub(crate) fn was_renamed_from(&self, source: &Exact) -> bool {
        let mark = source.text(CREATED_BY);
        matches!(self, Self::Present(document) if mark.is_some() && document.text(RENAMED_FROM) == mark)
    }

    /// Whether this command created it.
    pub(crate) fn was_created_by(&self, command_id: &str) -> bool {
        matches!(self, Self::Present(document) if document.text(CREATED_BY).as_deref() == Some(command_id))
    }
}

/// A new user document without a password.
pub(crate) fn new_document(name: &UserName, command_id: &str) -> Exact {
    let mut document = Exact::default();
    document.set("type", "user");
    document.set("roles", json!([]));
    rename_document(&mut document, name, command_id);
    document
}

/// Turns a document into a new document with another name, created by this command.
pub(crate) fn rename_document(document: &mut Exact, name: &UserName, command_id: &str) {
    document.remove("_rev");
    document.set("_id", name.document_id());
    document.set("name", name.as_str());
    document.remove(RENAMED_FROM);
    document.rename(CREATED_BY, RENAMED_FROM);
    document.set(CREATED_BY, command_id);
}

/// Lets this command take over a document that an earlier command with the same arguments began.
pub(crate) fn adopt_document(document: &mut Exact, command_id: &str) {
    document.set(CREATED_BY, command_id);
}

/// Whether the document has attachments, which a renamed copy would lose.
pub(crate) fn has_attachments(document: &Exact) -> bool {
    document.object("_attachments").is_some_and(|attachments| attachments != Exact::default())
}

/// The answer of `_all_docs`.
#[derive(Deserialize)]
struct Rows {
    rows: Vec<Row>,
}

#[derive(Deserialize)]
struct Row {
    doc: Option<Exact>,
    value: Option<RowValue>,
}

#[derive(Deserialize)]
struct RowValue {
    #[serde(default)]
    deleted: bool,
}

impl Couch {
    /// Returns an error if the user does not exist.
    pub async fn require_user(&self, user: &TenantUser) -> Result<(), CommandError> {
        match self.user_document(user).await? {
            UserDocument::Present(_) => Ok(()),
            UserDocument::Deleted | UserDocument::Missing => Err(CommandError::NoSuchUser((**user).clone())),
        }
    }

    /// Whether the user exists.
    pub async fn user_exists(&self, user: &UserName) -> Result<bool, CouchError> {
        Ok(self.user_document(user).await?.present().is_some())
    }

    /// One user's document.
    pub(crate) async fn user_document(&self, user: &UserName) -> Result<UserDocument, CouchError> {
        match self.send_text(Method::GET, &Resource::UserWithConflicts(user), None).await {
            Ok(text) => match Exact::read(&text) {
                Some(document) => Ok(UserDocument::Present(document)),
                None => Err(CouchError::Unexpected { what: "GET a user", problem: "not an object".into() }),
            },
            Err(CouchError::NotFound(reason)) if reason == "deleted" => Ok(UserDocument::Deleted),
            Err(CouchError::NotFound(_)) => Ok(UserDocument::Missing),
            Err(error) => Err(error),
        }
    }

    /// The documents of several users, with one request.
    pub(crate) async fn user_documents(
        &self,
        users: &[&TenantUser],
    ) -> Result<HashMap<TenantUser, UserDocument>, CouchError> {
        let odd = |problem: &str| CouchError::Unexpected { what: "POST _all_docs", problem: problem.into() };
        let keys: Vec<String> = users.iter().map(|user| user.document_id()).collect();
        let keys = json!({ "keys": keys }).to_string();
        let answer = self.send_text(Method::POST, &Resource::UsersByKey, Some(keys)).await?;
        let Rows { rows } = serde_json::from_slice(&answer).map_err(|_| odd("no rows"))?;
        if rows.len() != users.len() {
            return Err(odd("not one row for each key"));
        }
        let documents = rows.into_iter().map(|row| match (row.doc, row.value) {
            (Some(document), _) => UserDocument::Present(document),
            (None, Some(RowValue { deleted: true })) => UserDocument::Deleted,
            _ => UserDocument::Missing,
        });
        Ok(users.iter().map(|user| (*user).clone()).zip(documents).collect())
    }

    /// The first of these users whose document this command did not write.
    ///
    /// This command itself can cause a conflict: CouchDB may finish a timed-out write after the next run has
    /// read the documents and before that run writes them.
    pub(crate) async fn first_of_others<'a>(
        &self,
        users: &[&'a TenantUser],
        command_id: &str,
    ) -> Result<Option<&'a TenantUser>, CouchError> {
        if users.is_empty() {
            return Ok(None);
        }
        let known = self.user_documents(users).await?;
        let ours =
            |user: &TenantUser| known.get(user).is_some_and(|document| document.was_created_by(command_id));
        Ok(users.iter().copied().find(|user| !ours(user)))
    }

    /// Deletes what this command has just created.
    pub(crate) async fn take_back(
        &self,
        users: &[&TenantUser],
        command_id: &str,
    ) -> Result<(), CommandError> {
        let known = self.user_documents(users).await?;
        for user in users {
            if known.get(user).is_some_and(|document| document.was_created_by(command_id)) {
                self.delete_document(user).await.map_err(CommandError::after_a_part)?;
            }
        }
        Ok(())
    }

    /// Adds the creator's mark and the rename mark to a user's document, and returns the result.
    ///
    /// Only these marks distinguish the document from a later one of the same name: the revision and the hash
    /// change when the user logs in or changes the password.
    pub(crate) async fn marked(
        &self,
        user: &TenantUser,
        mut document: Exact,
        to: &TenantUser,
        command_id: &str,
    ) -> Result<Exact, CommandError> {
        let mark = Unfinished::RenameTo { to: to.as_str().to_owned() };
        for _ in 0..MAX_MARKS {
            if document.text(CREATED_BY).is_some() && Unfinished::of(&document).as_ref() == Some(&mark) {
                return Ok(document);
            }
            if document.text(CREATED_BY).is_none() {
                // The prefix is needed: the id alone means that the command created the document.
                document.set(CREATED_BY, format!("before {command_id}"));
            }
            mark.write_to(&mut document);
            self.write_documents(&[(user, document)]).await?;
            // The write gave the document a new revision, or another writer changed it.
            let again = self.user_document(user).await?.present();
            document = again.ok_or_else(|| CommandError::NoSuchUser((**user).clone()))?;
        }
        Err(CommandError::Overwritten(format!("the document of user {:?}", user.as_str())))
    }

    /// Deletes a user's document in any revision. A missing document is no error.
    ///
    /// When the winner of several conflicting revisions (left by replication) is deleted, the next one takes
    /// its place, and the user could log in with it. So the agent deletes until no revision is left.
    pub(crate) async fn delete_document(&self, user: &TenantUser) -> Result<(), CommandError> {
        let mut deleted_any = false;
        for _ in 0..DELETES {
            match self.delete_winner(user).await {
                Ok(Deletion::Nothing) => return Ok(()),
                Ok(Deletion::Done) => deleted_any = true,
                // A login just rewrote the document (CouchDB 3.5 upgrades hashes): read it again.
                Err(CouchError::Conflict) => {}
                Err(error) if deleted_any => return Err(CommandError::from(error).after_a_part()),
                Err(error) => return Err(error.into()),
            }
        }
        Err(CommandError::Overwritten(format!("the document of user {:?}", user.as_str())))
    }

    async fn delete_winner(&self, user: &TenantUser) -> Result<Deletion, CouchError> {
        let Some(document) = self.user_document(user).await?.present() else {
            return Ok(Deletion::Nothing);
        };
        let Some(rev) = document.text("_rev") else {
            return Err(CouchError::Unexpected { what: "GET a user", problem: "no `_rev`".into() });
        };
        absent_is_none(self.delete(&Resource::UserRevision(user, &rev)).await)?;
        Ok(Deletion::Done)
    }
}

/// The outcome of deleting one revision.
enum Deletion {
    Done,
    /// There was no revision.
    Nothing,
}

//! User documents: read by name, several at once, and written with `_bulk_docs`.

use std::collections::HashMap;

use serde_json::{Map, Value, json};
use trove_couchdb_protocol::UserName;

use super::{CommandError, Couch, CouchError, Resource, TenantUser, error::absent_is_none};

/// What `_users` holds under a name.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum UserDocument {
    /// The document as it stands.
    Present(Map<String, Value>),
    /// It was there and has been deleted.
    Deleted,
    /// It was never there.
    Missing,
}

/// How often a document is deleted that comes back: once for each conflicting revision, and for each login that
/// rewrites it meanwhile.
const DELETES: usize = 10;

/// How often a document is read again that somebody else changes while it gets a mark.
const MARKS: usize = 10;

/// The mark that a command leaves in a document which it created, so that the same command, delivered again
/// after a crash, knows its own work from somebody else's. Holds the request's `_unique_id`.
const CREATED_BY: &str = "trove_created_by";

/// In a document that a rename made, the [`CREATED_BY`] of the one that it was made of.
const RENAMED_FROM: &str = "trove_renamed_from";

impl UserDocument {
    pub(super) fn present(self) -> Option<Map<String, Value>> {
        match self {
            Self::Present(document) => Some(document),
            Self::Deleted | Self::Missing => None,
        }
    }

    /// Whether it was made of this very `source`, and not of an earlier user of that name.
    pub(super) fn was_renamed_from(&self, source: &Map<String, Value>) -> bool {
        let mark = mark_of(source);
        matches!(self, Self::Present(document) if mark.is_some() && document.get(RENAMED_FROM) == mark)
    }

    /// Whether this very command created it.
    pub(super) fn was_created_by(&self, command_id: &str) -> bool {
        matches!(self, Self::Present(document) if document.get(CREATED_BY).is_some_and(|id| id == command_id))
    }
}

/// Whose work a document is; `None` for one that another tool made.
fn mark_of(document: &Map<String, Value>) -> Option<&Value> {
    document.get(CREATED_BY).filter(|mark| mark.is_string())
}

/// A new user document without a password.
pub(super) fn new_document(name: &UserName, command_id: &str) -> Map<String, Value> {
    let mut document = Map::new();
    document.insert("type".into(), "user".into());
    document.insert("roles".into(), json!([]));
    rename_document(&mut document, name, command_id);
    document
}

/// Gives a document another name, as a new document that this command created.
pub(super) fn rename_document(document: &mut Map<String, Value>, name: &UserName, command_id: &str) {
    document.remove("_rev");
    // Stubs, which CouchDB refuses in a document that has no such attachment yet.
    document.remove("_attachments");
    document.insert("_id".into(), name.document_id().into());
    document.insert("name".into(), name.as_str().into());
    document.remove(RENAMED_FROM);
    if let Some(before) = document.insert(CREATED_BY.into(), command_id.into()) {
        document.insert(RENAMED_FROM.into(), before);
    }
}

impl Couch {
    /// Nothing, or that the user isn't there.
    pub(super) async fn require_user(&self, user: &TenantUser) -> Result<(), CommandError> {
        match self.user_document(user).await? {
            UserDocument::Present(_) => Ok(()),
            UserDocument::Deleted | UserDocument::Missing => Err(CommandError::NoSuchUser((**user).clone())),
        }
    }

    /// One user's document.
    pub(super) async fn user_document(&self, user: &UserName) -> Result<UserDocument, CouchError> {
        match self.get(&Resource::User(user)).await {
            Ok(Value::Object(document)) => Ok(UserDocument::Present(document)),
            Ok(_) => Err(CouchError::Unexpected { what: "GET a user", problem: "not an object".into() }),
            Err(CouchError::NotFound(reason)) if reason == "deleted" => Ok(UserDocument::Deleted),
            Err(CouchError::NotFound(_)) => Ok(UserDocument::Missing),
            Err(error) => Err(error),
        }
    }

    /// Several users' documents with one request.
    pub(super) async fn user_documents(
        &self,
        users: &[&TenantUser],
    ) -> Result<HashMap<TenantUser, UserDocument>, CouchError> {
        let odd = |problem: &str| CouchError::Unexpected { what: "POST _all_docs", problem: problem.into() };
        let keys: Vec<String> = users.iter().map(|user| user.document_id()).collect();
        let answer = self.post(&Resource::UsersByKey, &json!({ "keys": keys })).await?;
        let rows = answer["rows"].as_array().ok_or_else(|| odd("no rows"))?;
        if rows.len() != users.len() {
            return Err(odd("not one row for each key"));
        }
        let documents = rows.iter().map(|row| match (&row["doc"], &row["value"]["deleted"]) {
            (Value::Object(document), _) => UserDocument::Present(document.clone()),
            (_, Value::Bool(true)) => UserDocument::Deleted,
            _ => UserDocument::Missing,
        });
        Ok(users.iter().map(|user| (*user).clone()).zip(documents).collect())
    }

    /// Writes documents with one request; answers the users whose document somebody else changed meanwhile.
    pub(super) async fn write_documents<'a>(
        &self,
        documents: &[(&'a TenantUser, Map<String, Value>)],
    ) -> Result<Vec<&'a TenantUser>, CommandError> {
        let docs: Vec<&Map<String, Value>> = documents.iter().map(|(_, document)| document).collect();
        let answer = self.post(&Resource::UsersBulk, &json!({ "docs": docs })).await?;
        let results =
            answer.as_array().filter(|results| results.len() == documents.len()).ok_or_else(|| {
                CouchError::Unexpected {
                    what: "POST _bulk_docs",
                    problem: "not one result for each document".into(),
                }
            })?;
        let mut conflicts = Vec::new();
        for ((user, _), result) in documents.iter().zip(results) {
            match result["error"].as_str() {
                None => {}
                Some("conflict") => conflicts.push(*user),
                Some(error) => {
                    let reason = result["reason"].as_str().unwrap_or(error).to_owned();
                    return Err(CommandError::UserRejected { user: (***user).clone(), reason });
                }
            }
        }
        Ok(conflicts)
    }

    /// The document of a user with a mark, which one that another tool made is given first.
    ///
    /// Nothing else in a document tells it from a later one of the same name: revision and hash change when the user
    /// logs in or takes another password.
    pub(super) async fn marked(
        &self,
        user: &TenantUser,
        mut document: Map<String, Value>,
        command_id: &str,
    ) -> Result<Map<String, Value>, CommandError> {
        for _ in 0..MARKS {
            if mark_of(&document).is_some() {
                return Ok(document);
            }
            // Not the id alone, which says that the command created it.
            document.insert(CREATED_BY.into(), format!("before {command_id}").into());
            if self.write_documents(&[(user, document.clone())]).await?.is_empty() {
                return Ok(document);
            }
            let again = self.user_document(user).await?.present();
            document = again.ok_or_else(|| CommandError::NoSuchUser((**user).clone()))?;
        }
        Err(CommandError::Overwritten(format!("the document of user {:?}", user.as_str())))
    }

    /// Deletes a user's document, whatever its revision has become. One that is gone is no error.
    ///
    /// Deleting the winner of several conflicting revisions (left by replication) brings up the next one, with
    /// which the user could still log in: nothing is deleted until nothing is there.
    pub(super) async fn delete_document(&self, user: &TenantUser) -> Result<(), CommandError> {
        let mut deleted_any = false;
        for _ in 0..DELETES {
            match self.delete_winner(user).await {
                Ok(Deletion::Nothing) => return Ok(()),
                Ok(Deletion::Done) => deleted_any = true,
                // A login just rewrote the document (CouchDB 3.5 upgrades hashes): look again.
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
        let Some(rev) = document.get("_rev").and_then(Value::as_str) else {
            return Err(CouchError::Unexpected { what: "GET a user", problem: "no `_rev`".into() });
        };
        absent_is_none(self.delete(&Resource::UserRevision(user, rev)).await)?;
        Ok(Deletion::Done)
    }
}

/// What became of one revision.
enum Deletion {
    Done,
    /// There was none.
    Nothing,
}

//! Checks at the server that a user can log in.
//!
//! A command makes one login, for the first of its users: server settings that keep out one user with a
//! correct document (a limit for rounds, another authentication method) keep out all. Conflicting revisions,
//! which can differ between users, are checked in each document before it is written.

use std::time::Duration;

use reqwest::Method;
use tokio::time;
use tracing::warn;
use trove_couchdb_protocol::Secret;

use crate::{
    CommandError, Couch, CouchError, Login, Resource, TenantUser,
    accounts::hash::PASSWORD_FIELDS,
    reply::{error::absent_is_none, exact::Exact},
};

/// CouchDB learns of a changed user from a changes feed, some milliseconds after it answered the write.
const FEED: Duration = Duration::from_millis(500);

/// The field in which CouchDB lists conflicting revisions on request.
const CONFLICTS: &str = "_conflicts";

impl Couch {
    /// Logs in as the user, and tries again once if CouchDB may not know the new password yet. More than five
    /// wrong passwords would lock the account.
    pub(crate) async fn prove_user(&self, user: &TenantUser, password: &Secret) -> Result<(), CommandError> {
        let mut refused = None;
        for wait in [None, Some(FEED)] {
            if let Some(wait) = wait {
                time::sleep(wait).await;
            }
            let login = Login::new(user.as_str(), password);
            let reason = match self.client.send(Some(&login), Method::GET, &Resource::Session, None).await {
                Ok(session) if session["userCtx"]["name"] == user.as_str() => return Ok(()),
                Ok(_) => "it takes no password with a request".to_owned(),
                // Earlier logins used wrong passwords. CouchDB checks no password until the lockout is over.
                Err(CouchError::LockedOut) => {
                    warn!(
                        "A user whose password was set is locked out for up to 5 minutes; its login is not proved."
                    );
                    return Ok(());
                }
                Err(CouchError::LoginRefused | CouchError::Unauthorized) => "401".to_owned(),
                Err(CouchError::Forbidden(reason)) => reason,
                Err(error) => return Err(error.into()),
            };
            refused = Some(reason);
        }
        let reason = refused.unwrap_or_default();
        Err(CommandError::LoginRefused { user: (**user).clone(), reason })
    }

    /// Deletes conflicting revisions of a user's document that differ only in the password, which is about to
    /// be replaced. Returns the document without the list of conflicts.
    ///
    /// # Errors
    /// [`CommandError::UserConflicts`]: data would be lost. Nothing is changed in this case.
    pub(crate) async fn without_conflicts(
        &self,
        user: &TenantUser,
        mut document: Exact,
    ) -> Result<Exact, CommandError> {
        let listed = document.value(CONFLICTS);
        document.remove(CONFLICTS);
        let Some(Ok(listed)) = listed else { return Ok(document) };
        let revisions: Vec<&str> =
            listed.as_array().into_iter().flatten().filter_map(serde_json::Value::as_str).collect();
        for revision in &revisions {
            let resource = Resource::UserRevision(user, revision);
            let text = absent_is_none(self.send_text(Method::GET, &resource, None).await)?;
            let Some(other) = text.as_deref().and_then(Exact::read) else { continue };
            if essence(&other) != essence(&document) {
                let user = (**user).clone();
                return Err(CommandError::UserConflicts { user, revisions: revisions.len() });
            }
        }
        for revision in &revisions {
            absent_is_none(self.delete(&Resource::UserRevision(user, revision)).await)?;
        }
        Ok(document)
    }
}

/// A document without its revision and password.
fn essence(document: &Exact) -> Exact {
    let mut essence = document.clone();
    for field in PASSWORD_FIELDS.into_iter().chain(["_rev", CONFLICTS]) {
        essence.remove(field);
    }
    essence
}

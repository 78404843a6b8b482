//! Whether a user can really log in: what a command claims is proved at the server.
//!
//! One login a command, for the first of its users: what keeps one of them out although its document is as it was written
//! (a limit for rounds, another way to authenticate) keeps all of them out. What can differ between users, conflicting
//! revisions, is looked for in each document before it is written.

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

/// CouchDB hears of a changed user by a feed of changes, some milliseconds after the write was answered.
const FEED: Duration = Duration::from_millis(500);

/// The field in which CouchDB lists conflicting revisions when it is asked to.
const CONFLICTS: &str = "_conflicts";

impl Couch {
    /// Logs in as the user, once; a second time if CouchDB may not have heard of the new password yet. More wrong passwords
    /// than five lock the account.
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
                // Somebody else tried wrong passwords; CouchDB looks at none until the lock is over.
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

    /// Takes conflicting revisions of a user's document away that differ in nothing but the password, which is about to be
    /// replaced; the document without the list of them.
    ///
    /// # Errors
    /// [`CommandError::UserConflicts`]: something would be lost. Nothing is changed then.
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

/// A document without its revision and its password.
fn essence(document: &Exact) -> Exact {
    let mut essence = document.clone();
    for field in PASSWORD_FIELDS.into_iter().chain(["_rev", CONFLICTS]) {
        essence.remove(field);
    }
    essence
}

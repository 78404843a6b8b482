//! Renaming a user: CouchDB has no such operation, so a new document takes over the old one's hash, roles and
//! memberships.
//!
//! ```text
//! mark OLD, if another tool made it
//!   -> create NEW (a copy of OLD) -> put NEW in place of OLD in every _security -> delete OLD
//! ```
//!
//! NEW carries the command's id. Cut short anywhere and run again, the same command finds its own document and
//! goes on from there; a NEW of anybody else is "already exists", and nothing changes. NEW also tells which OLD it was
//! made of: a run that comes again after somebody else was given the old name leaves that one alone.

use trove_couchdb_protocol::Secret;

use super::{
    CommandError, Couch, Resource, TenantUser,
    documents::{UserDocument, has_attachments, rename_document},
    error::absent_is_none,
};

impl Couch {
    /// Gives a user another name, and another password if one is given.
    pub async fn rename_user(
        &self,
        old: &TenantUser,
        new: &TenantUser,
        password: Option<&Secret>,
        command_id: &str,
    ) -> Result<(), CommandError> {
        if password.is_some_and(|password| password.expose().is_empty()) {
            return Err(CommandError::PasswordMissing((**new).clone()));
        }
        let target = self.user_document(new).await?;
        let source = self.user_document(old).await?.present();
        if target.was_created_by(command_id) {
            // The old document goes last: if it is gone, or another user's by now, an earlier run did everything, and
            // later commands may have followed it.
            if !source.is_some_and(|source| target.was_renamed_from(&source)) {
                return Ok(());
            }
        } else {
            self.refuse_admin_names(&[new]).await?;
            let Some(document) = source else {
                return Err(CommandError::NoSuchUser((**old).clone()));
            };
            if let UserDocument::Present(_) = target {
                return Err(CommandError::UserExists((**new).clone()));
            }
            if has_attachments(&document) {
                return Err(CommandError::HasAttachments((**old).clone()));
            }
            if self.users_own_databases_go_with_them().await? {
                return Err(CommandError::HasOwnDatabase((**old).clone()));
            }
            if target == UserDocument::Deleted {
                self.forget_everywhere(&[new]).await?;
            }
            let mut document = self.marked(old, document, command_id).await?;
            rename_document(&mut document, new, command_id);
            if let Some(password) = password
                && let Some(hash) = self.hash_all(vec![(new, password)]).await?.get(new)
            {
                hash.write_to(&mut document);
            }
            let conflicts = self.write_documents(&[(new, document)]).await?;
            if self.first_of_others(&conflicts, command_id).await?.is_some() {
                return Err(CommandError::UserExists((**new).clone()));
            }
        }
        self.rename_everywhere(old, new).await?;
        self.delete_document(old).await
    }

    /// To CouchDB a rename is a user that is deleted and another one that is new.
    async fn users_own_databases_go_with_them(&self) -> Result<bool, CommandError> {
        let server = self.server().await?;
        for key in ["delete_dbs", "enable"] {
            let set = absent_is_none(self.get(&Resource::PerUser(&server.config, key)).await)?;
            if set.is_none_or(|value| value != "true") {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

//! Renames a user. CouchDB has no such operation, so a new document takes over the hash, the roles and the
//! memberships of the old one.
//!
//! ```text
//! mark OLD -> create NEW (a marked copy of OLD) -> replace OLD by NEW in every _security
//!          -> delete OLD -> unmark NEW
//! ```
//!
//! NEW stores the command's id. When an interrupted command runs again, it finds its own document and
//! continues. A later command with the same two names finds the marks (`half_done.rs`) and continues, too.
//! For any other NEW the command fails with "already exists" and changes nothing. NEW also identifies the OLD
//! that it was copied from: if the old name has a new owner when the command runs again, that user is left
//! alone.

use std::sync::atomic::Ordering;

use trove_couchdb_protocol::Secret;

use crate::{
    CommandError, Couch, Progress, Resource, TenantUser,
    accounts::{
        documents::{UserDocument, adopt_document, has_attachments, rename_document},
        drafts::Draft,
        passwords::AuthSettings,
        unfinished::Unfinished,
    },
    permissions::access::Edited,
    reply::{error::absent_is_none, exact::Exact},
};

impl Couch {
    /// Changes a user's name, and its password if one is given.
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
        let settings = self.auth_settings().await?;
        let target = self.user_document(new).await?;
        let source = self.user_document(old).await?.present();
        // The old document is deleted last. If it is gone or belongs to a new user, an earlier run finished
        // the rename, and later commands may have followed.
        let fits = source.as_ref().is_some_and(|source| target.was_renamed_from(source));
        let begun_here = target.was_created_by(command_id);
        match target {
            UserDocument::Present(_) if begun_here => {
                if !fits {
                    return self.clear_unfinished(&[new]).await;
                }
            }
            UserDocument::Present(document)
                if is_renamed_from(&document, old) && (fits || source.is_none()) =>
            {
                let mut document = self.without_conflicts(new, document).await?;
                adopt_document(&mut document, command_id);
                self.write_renamed(new, document, password, &settings, command_id).await?;
            }
            UserDocument::Present(document) if source.is_some() => {
                return Err(self.why_taken(new, &document).await?);
            }
            target => {
                let Some(document) = source else {
                    return Err(CommandError::NoSuchUser((**old).clone()));
                };
                self.begin_rename(old, document, new, target == UserDocument::Deleted).await?;
                let document = self.user_document(old).await?.present();
                let document = document.ok_or_else(|| CommandError::NoSuchUser((**old).clone()))?;
                let mut document = self.marked(old, document, new, command_id).await?;
                rename_document(&mut document, new, command_id);
                Unfinished::RenameFrom { from: old.as_str().to_owned() }.write_to(&mut document);
                let written = self.write_renamed(new, document, password, &settings, command_id).await;
                if let Err(error) = written {
                    if !error.is_transient() {
                        self.clear_unfinished(&[old]).await?;
                    }
                    return Err(error);
                }
            }
        }
        let moved = Edited::default();
        self.finish_rename(old, new, password, &moved).await.map_err(|error| {
            let total = Some(moved.total.load(Ordering::Relaxed)).filter(|total| *total > 0);
            error.half_done(Progress::of_rename(old, new, moved.done.load(Ordering::Relaxed), total))
        })?;
        self.clear_unfinished(&[new]).await
    }

    /// All checks that must pass before anything is changed.
    async fn begin_rename(
        &self,
        old: &TenantUser,
        document: Exact,
        new: &TenantUser,
        new_was_deleted: bool,
    ) -> Result<(), CommandError> {
        self.refuse_admin_names(&[new]).await?;
        match Unfinished::of(&document) {
            Some(Unfinished::CreateUser { .. }) => return Err(self.why_taken(old, &document).await?),
            _ => self.refuse_half_renamed(old, &document).await?,
        }
        if has_attachments(&document) {
            return Err(CommandError::HasAttachments((**old).clone()));
        }
        if self.users_own_databases_go_with_them().await? {
            return Err(CommandError::HasOwnDatabase((**old).clone()));
        }
        self.without_conflicts(old, document).await?;
        if new_was_deleted {
            self.forget_everywhere(&[new]).await?;
        }
        self.nothing_is_left_of(new.as_str()).await
    }

    async fn write_renamed(
        &self,
        new: &TenantUser,
        document: Exact,
        password: Option<&Secret>,
        settings: &AuthSettings,
        command_id: &str,
    ) -> Result<(), CommandError> {
        let passwords = password.map(|password| (new, password)).into_iter().collect();
        let passwords = self.new_passwords(passwords, settings).await?;
        let draft = Draft::new(new, document).with(passwords.get(new));
        let conflicts = self.write_drafts(&[draft]).await?;
        if self.first_of_others(&conflicts, command_id).await?.is_some() {
            return Err(CommandError::UserExists((**new).clone()));
        }
        Ok(())
    }

    async fn finish_rename(
        &self,
        old: &TenantUser,
        new: &TenantUser,
        password: Option<&Secret>,
        moved: &Edited,
    ) -> Result<(), CommandError> {
        if let Some(password) = password {
            self.prove_user(new, password).await?;
        }
        self.rename_everywhere(old, new, moved).await?;
        self.delete_document(old).await
    }

    /// Whether CouchDB deletes a user's own database with the user. For CouchDB a rename is a deleted user
    /// and a new one.
    pub(crate) async fn users_own_databases_go_with_them(&self) -> Result<bool, CommandError> {
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

fn is_renamed_from(document: &Exact, old: &TenantUser) -> bool {
    Unfinished::of(document) == Some(Unfinished::RenameFrom { from: old.as_str().to_owned() })
}

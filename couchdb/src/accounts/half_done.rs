//! Interrupted commands leave marks in the documents, so that the same command can finish its work.
//!
//! A command of several steps marks its documents before the first step and removes the marks after the last.
//! The marks stay if the command fails because CouchDB is down too long. They have no other effect: the user
//! can log in, is listed and can be shown. Only the same command (with the same names) recognises the marks
//! and continues, with the password given then. Other commands that would lose data are refused with the
//! cause.
//!
//! A rename marks both documents and counts as half done only while the marks match. A single mark means
//! nothing: another tool deleted or recreated the other document.

use trove_couchdb_protocol::UserName;

use crate::{
    CommandError, Couch, CouchError, TenantUser,
    accounts::{documents::UserDocument, unfinished::Unfinished},
    reply::exact::Exact,
};

/// How often the marks are removed again after concurrent writes restored them.
const WRITES: usize = 10;

impl Couch {
    /// The reason why an existing user can't be created.
    pub(crate) async fn why_taken(
        &self,
        user: &TenantUser,
        document: &Exact,
    ) -> Result<CommandError, CouchError> {
        if let Some(Unfinished::CreateUser { databases }) = Unfinished::of(document) {
            return Ok(CommandError::HalfMade { user: (**user).clone(), databases: databases.len() });
        }
        let renamed = self.half_renamed(user, document).await?;
        Ok(renamed.unwrap_or_else(|| CommandError::UserExists((**user).clone())))
    }

    /// Returns an error if the user takes part in an interrupted rename.
    pub(crate) async fn refuse_half_renamed(
        &self,
        user: &TenantUser,
        document: &Exact,
    ) -> Result<(), CommandError> {
        self.half_renamed(user, document).await?.map_or(Ok(()), Err)
    }

    async fn half_renamed(
        &self,
        user: &UserName,
        document: &Exact,
    ) -> Result<Option<CommandError>, CouchError> {
        let (from, to) = match Unfinished::of(document) {
            Some(Unfinished::RenameTo { to }) => (user.clone(), to.parse().ok()),
            Some(Unfinished::RenameFrom { from }) => match from.parse() {
                Ok(from) => (from, Some(user.clone())),
                Err(_) => return Ok(None),
            },
            _ => return Ok(None),
        };
        let Some(to) = to else { return Ok(None) };
        let is_old = *user == from;
        let other = self.user_document(if is_old { &to } else { &from }).await?;
        let UserDocument::Present(other) = other else { return Ok(None) };
        let (old, new) = if is_old { (document, &other) } else { (&other, document) };
        let fits = Unfinished::of(old) == Some(Unfinished::RenameTo { to: to.as_str().to_owned() })
            && Unfinished::of(new) == Some(Unfinished::RenameFrom { from: from.as_str().to_owned() })
            && UserDocument::Present(new.clone()).was_renamed_from(old);
        Ok(fits.then_some(CommandError::HalfRenamed { from, to }))
    }

    /// Removes the marks of a finished command. All other fields keep their current values.
    pub(crate) async fn clear_unfinished(&self, users: &[&TenantUser]) -> Result<(), CommandError> {
        let mut waiting = users.to_vec();
        for _ in 0..WRITES {
            let mut known = self.user_documents(&waiting).await?;
            let marked = waiting.iter().filter_map(|user| {
                let mut document = known.remove(*user)?.present()?;
                Unfinished::of(&document)?;
                Unfinished::remove_from(&mut document);
                Some((*user, document))
            });
            let documents: Vec<_> = marked.collect();
            if documents.is_empty() {
                return Ok(());
            }
            waiting = self.write_documents(&documents).await?;
            if waiting.is_empty() {
                return Ok(());
            }
        }
        Err(CommandError::Overwritten("the mark of a finished command in a user's document".to_owned()))
    }
}

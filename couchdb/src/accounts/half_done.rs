//! Commands that were cut short: what is left half done says so itself, so that the same command can finish it.
//!
//! A command of several steps marks the documents that it works on before the first step and takes the mark away after the
//! last. If CouchDB stays down until the command has failed, the marks stay. They do nothing by themselves: the user can log
//! in, is listed, can be shown. Only the same command (the same names) recognises them and goes on, with the password that is
//! given then; other commands that would lose something are refused and name the cause.
//!
//! A rename marks both documents, and counts as half done only while both marks fit each other: a mark that is left alone,
//! because another tool deleted or made again one of the two, means nothing.

use trove_couchdb_protocol::UserName;

use crate::{
    CommandError, Couch, CouchError, TenantUser,
    accounts::{documents::UserDocument, unfinished::Unfinished},
    reply::exact::Exact,
};

/// How often a mark is taken away again that somebody else's write brought back.
const WRITES: usize = 10;

impl Couch {
    /// Why a user can't be created that is there already.
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

    /// Nothing, or that the user is one of the two of a rename that was cut short.
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

    /// Takes the marks of a finished command away; all other fields stay, whoever changed them meanwhile.
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

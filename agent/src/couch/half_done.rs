//! Commands that were cut short: what is left half done says so itself, so that the same command can finish it.
//!
//! A command of several steps marks the documents that it works on before the first step and takes the mark away after the
//! last. If CouchDB stays down until the command has failed, the marks stay. They do nothing by themselves: the user can log
//! in, is listed, can be shown. Only the same command (the same names) recognises them and goes on, with the password that is
//! given then; other commands that would lose something are refused and name the cause.
//!
//! A rename marks both documents, and counts as half done only while both marks fit each other: a mark that is left alone,
//! because another tool deleted or made again one of the two, means nothing.

use std::fmt;

use serde::{Deserialize, Serialize};
use trove_couchdb_protocol::UserName;

use super::{
    CommandError, Couch, CouchError, TenantDatabase, TenantUser, documents::UserDocument, exact::Exact,
};

/// The field of a user document that holds the mark.
const UNFINISHED: &str = "trove_unfinished";

/// How often a mark is taken away again that somebody else's write brought back.
const WRITES: usize = 10;

/// The command that a document's user was left half done by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case")]
pub(super) enum Unfinished {
    /// Made, and perhaps not a member of all these databases yet.
    CreateUser {
        /// In their order.
        databases: Vec<String>,
    },
    /// About to give way to another document.
    RenameTo {
        /// The new name.
        to: String,
    },
    /// Made in place of another document, which may still be there.
    RenameFrom {
        /// The old name.
        from: String,
    },
}

impl Unfinished {
    /// The mark of `create_user` with these databases.
    pub(super) fn creation(databases: &[TenantDatabase]) -> Self {
        let mut databases: Vec<String> = databases.iter().map(|name| name.as_str().to_owned()).collect();
        databases.sort_unstable();
        Self::CreateUser { databases }
    }

    /// The mark in a document. One of a shape that nobody here wrote is none.
    pub(super) fn of(document: &Exact) -> Option<Self> {
        serde_json::from_value(document.value(UNFINISHED)?.ok()?).ok()
    }

    /// Puts the mark into a document.
    pub(super) fn write_to(&self, document: &mut Exact) {
        document.set(UNFINISHED, serde_json::to_value(self).unwrap_or_default());
    }

    /// Takes a mark out of a document.
    pub(super) fn remove_from(document: &mut Exact) {
        document.remove(UNFINISHED);
    }
}

/// What is there of a command that has failed, in words, and how many of its steps are known to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    done: usize,
    words: String,
}

impl Progress {
    /// Users that are made, and in so many of their databases.
    pub(super) fn of_creation(users: &[&TenantUser], done: usize, total: usize) -> Self {
        let who = match users {
            [user] => format!("user {:?} exists", user.as_str()),
            several => format!("{} users exist", several.len()),
        };
        let access = if total == 0 {
            String::new()
        } else {
            format!(", with access to at least {done} of {total} databases")
        };
        Self { done, words: format!("{who}{access}") }
    }

    /// Two users where there should be one, and so many databases that name the new one.
    pub(super) fn of_rename(old: &TenantUser, new: &TenantUser, done: usize, total: Option<usize>) -> Self {
        let (old, new) = (old.as_str(), new.as_str());
        let moved = match total {
            Some(total) => format!("at least {done} of {total} databases are moved to {new:?}"),
            None => format!("databases may still name {old:?}"),
        };
        Self { done, words: format!("users {old:?} and {new:?} both exist, and {moved}") }
    }

    /// The one of two that tells of more.
    #[must_use]
    pub fn max(self, other: Option<Self>) -> Self {
        match other {
            Some(other) if other.done > self.done => other,
            _ => self,
        }
    }
}

impl fmt::Display for Progress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}; send the same command again to finish it", self.words)
    }
}

impl Couch {
    /// Why a user can't be created that is there already.
    pub(super) async fn why_taken(
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
    pub(super) async fn refuse_half_renamed(
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
    pub(super) async fn clear_unfinished(&self, users: &[&TenantUser]) -> Result<(), CommandError> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_known_again_and_an_odd_one_is_none() {
        for mark in [
            Unfinished::CreateUser { databases: vec!["a".into()] },
            Unfinished::RenameTo { to: "zoe".into() },
            Unfinished::RenameFrom { from: "al".into() },
        ] {
            let mut document = Exact::default();
            mark.write_to(&mut document);
            assert_eq!(Unfinished::of(&document), Some(mark));
            Unfinished::remove_from(&mut document);
            assert_eq!(document, Exact::default());
        }
        for odd in ["true", "{}", r#"{"command":"drop_table"}"#, r#"{"command":"rename_to"}"#] {
            let document = Exact::read(format!("{{\"{UNFINISHED}\":{odd}}}").as_bytes()).unwrap_or_default();
            assert_eq!(Unfinished::of(&document), None, "{odd}");
        }
    }

    #[test]
    fn the_better_known_progress_counts() {
        let users = Vec::new();
        let progress = |done| Progress::of_creation(&users, done, 200);
        assert_eq!(progress(3).max(Some(progress(32))), progress(32));
        assert_eq!(progress(32).max(Some(progress(3))), progress(32));
        assert!(
            progress(32).to_string().contains("at least 32 of 200 databases; send the same command again")
        );
    }
}

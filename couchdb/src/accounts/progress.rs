//! The progress of a failed command.

use std::{fmt, ops::Deref};

use trove_couchdb_protocol::UserName;

/// How far a failed command got, in words, and how many of its steps are known to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    done: usize,
    words: String,
}

impl Progress {
    /// Users that exist, and `done` of `total` databases that they have access to.
    pub(crate) fn of_creation<U: Deref<Target = UserName>>(users: &[&U], done: usize, total: usize) -> Self {
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

    /// Both users exist, and `done` of `total` databases name the new one.
    pub(crate) fn of_rename(old: &UserName, new: &UserName, done: usize, total: Option<usize>) -> Self {
        let (old, new) = (old.as_str(), new.as_str());
        let moved = match total {
            Some(total) => format!("at least {done} of {total} databases are moved to {new:?}"),
            None => format!("databases may still name {old:?}"),
        };
        Self { done, words: format!("users {old:?} and {new:?} both exist, and {moved}") }
    }

    /// The progress with more steps done.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_better_known_progress_counts() {
        let users: Vec<&crate::TenantUser> = Vec::new();
        let progress = |done| Progress::of_creation(&users, done, 200);
        assert_eq!(progress(3).max(Some(progress(32))), progress(32));
        assert_eq!(progress(32).max(Some(progress(3))), progress(32));
        assert!(
            progress(32).to_string().contains("at least 32 of 200 databases; send the same command again")
        );
    }
}

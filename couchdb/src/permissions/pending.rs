//! Pending edits of `_security`, stored in the state directory.
//!
//! An edit is pending if CouchDB can't open the database, if a write did not reach a majority of a cluster's
//! nodes, and between the two requests that create a closed database. It is done with the next edit of that
//! database, or by `Couch::finish_pending` when the database opens. A new
//! user can't be created while a pending edit would give it access.
//!
//! ```json
//! {"shop": [{"forget": ["al"]}, {"rename": {"old": "bo", "new": "cy"}}, "write_again"],
//!  "new": [{"close": "COMMAND"}]}
//! ```

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tracing::warn;
use trove_couchdb_system as system;

use crate::{
    ListedDatabase,
    permissions::security::{self, Malformed},
};

const FILE_NAME: &str = "pending_security.json";

const MODE: u32 = 0o600;

/// A pending edit of a `_security`. Edits are done in the order in which they were recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Edit {
    /// Remove these names, so that later users with these names inherit nothing.
    Forget(BTreeSet<String>),
    /// Replace `old` by `new`.
    Rename {
        /// The old name.
        old: String,
        /// The new name.
        new: String,
    },
    /// This command began to create the missing database, which must not stay open to everyone.
    Close(String),
    /// A write may have reached too few nodes. The copy that was read may be lost when the other nodes
    /// return.
    WriteAgain,
}

impl Edit {
    /// Applies the edit. True if it changed something.
    pub(crate) fn apply(&self, object: &mut Value) -> Result<bool, Malformed> {
        match self {
            Self::Forget(names) => {
                security::forget(object, &names.iter().map(String::as_str).collect::<BTreeSet<_>>())
            }
            Self::Rename { old, new } => security::rename(object, old, new),
            Self::Close(_) => security::close(object),
            Self::WriteAgain => Ok(false),
        }
    }

    /// Whether a user of this name has access while the edit is pending.
    fn lets_in(&self, user: &str) -> bool {
        match self {
            Self::Forget(names) => names.contains(user),
            Self::Rename { old, .. } => old == user,
            Self::Close(_) | Self::WriteAgain => false,
        }
    }
}

/// By database, sorted by name.
type Edits = BTreeMap<String, Vec<Edit>>;

/// All pending edits.
#[derive(Debug, Clone, Default)]
pub struct PendingEdits {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    edits: Mutex<Edits>,
    /// With `None`, nothing survives a restart.
    path: Option<PathBuf>,
    /// Held while the file is written, so that an older state does not overwrite a newer one.
    disk: Mutex<()>,
    unsaved: AtomicBool,
}

impl PendingEdits {
    /// Loads the pending edits from the state directory. Blocks.
    pub fn load(state_dir: &Path) -> Self {
        let path = state_dir.join(FILE_NAME);
        let edits = match std::fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text).map_err(io::Error::from),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Edits::new()),
            Err(error) => Err(error),
        };
        let edits = edits.unwrap_or_else(|error| {
            let path = path.display();
            warn!(%path, %error, "What is still to be done to databases can't be read: old members may be left in some.");
            Edits::new()
        });
        let shared = Shared { edits: Mutex::new(edits), path: Some(path), ..Shared::default() };
        Self { shared: Arc::new(shared) }
    }

    /// The pending edits of a database.
    pub(crate) fn of(&self, database: &ListedDatabase) -> Vec<Edit> {
        self.edits().get(database.as_str()).cloned().unwrap_or_default()
    }

    /// Databases whose last write may have reached too few nodes.
    pub(crate) fn to_write_again(&self) -> Vec<ListedDatabase> {
        self.databases(|edit| *edit == Edit::WriteAgain)
    }

    /// Databases to which a user of this name would have access.
    pub(crate) fn that_let_in(&self, user: &str) -> Vec<ListedDatabase> {
        self.databases(|edit| edit.lets_in(user))
    }

    /// Databases with edits to be done as soon as they open.
    pub(crate) fn to_finish(&self) -> Vec<ListedDatabase> {
        self.databases(|edit| *edit != Edit::WriteAgain)
    }

    fn databases(&self, has: impl Fn(&Edit) -> bool) -> Vec<ListedDatabase> {
        let edits = self.edits();
        let some = edits.iter().filter(|(_, edits)| edits.iter().any(&has));
        some.filter_map(|(database, _)| ListedDatabase::new(database.clone())).collect()
    }

    /// Records `edit` for these databases, unless it is already recorded.
    ///
    /// # Errors
    /// The edit could not be written to disk; this process remembers it.
    pub(crate) async fn add(
        &self,
        databases: impl IntoIterator<Item = &ListedDatabase>,
        edit: &Edit,
    ) -> io::Result<()> {
        self.change(|edits| {
            for database in databases {
                let list = edits.entry(database.as_str().to_owned()).or_default();
                if !list.contains(edit) {
                    list.push(edit.clone());
                }
            }
        })
        .await
    }

    /// Records that this command begins to create the missing databases. Edits of earlier databases are
    /// dropped.
    pub(crate) async fn begin<'a>(
        &self,
        databases: impl IntoIterator<Item = &'a ListedDatabase>,
        command: &str,
    ) -> io::Result<()> {
        self.change(|edits| {
            for database in databases {
                edits.insert(database.as_str().to_owned(), vec![Edit::Close(command.to_owned())]);
            }
        })
        .await
    }

    /// Removes edits that are done.
    pub(crate) async fn done(&self, database: &ListedDatabase, done: &[Edit]) -> io::Result<()> {
        self.change(|edits| {
            if let Some(list) = edits.get_mut(database.as_str()) {
                list.retain(|edit| !done.contains(edit));
            }
        })
        .await
    }

    /// Removes all edits of a deleted database.
    pub(crate) async fn gone(&self, database: &ListedDatabase) -> io::Result<()> {
        self.change(|edits| drop(edits.remove(database.as_str()))).await
    }

    async fn change(&self, change: impl FnOnce(&mut Edits)) -> io::Result<()> {
        {
            let mut edits = self.edits();
            let before = edits.clone();
            change(&mut edits);
            edits.retain(|_, list| !list.is_empty());
            if *edits == before && !self.shared.unsaved.load(Ordering::Relaxed) {
                return Ok(());
            }
            self.shared.unsaved.store(true, Ordering::Relaxed);
        }
        let shared = Arc::clone(&self.shared);
        system::blocking(move || shared.save()).await.map_err(io::Error::other)?
    }

    fn edits(&self) -> MutexGuard<'_, Edits> {
        lock(&self.shared.edits)
    }
}

impl Shared {
    fn save(&self) -> io::Result<()> {
        let Some(path) = &self.path else { return Ok(()) };
        let _alone = lock(&self.disk);
        self.unsaved.store(false, Ordering::Relaxed);
        let content = serde_json::to_vec(&*lock(&self.edits))?;
        let saved = system::replace(path, &content, MODE);
        if saved.is_err() {
            self.unsaved.store(true, Ordering::Relaxed);
        }
        saved
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[path = "pending/tests.rs"]
mod tests;

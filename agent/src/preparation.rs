//! Where this guest stands between its creation and being a database, as Trove sees it.
//!
//! ```text
//!            prepare             carried out
//! Awaited ------------> Building ------------> Prepared
//!    ^ silent              |  ^                   "healthy", "shutdown", …: the truth about CouchDB
//!                  refused |  | prepare again
//!                          v  |
//!                        Failed   "failed to spawn"
//! ```
//!
//! Before `prepare` a guest must be silent: the taskmanager would take a `shutdown` for a failed creation. While it
//! runs the guest says `building`, and if it fails `failed to spawn`, which ends the creation at once instead of after
//! `usage_timeout`. The state outlives the agent in `prepared.json`; the Python guest keeps a file for the same purpose
//! (trove/guestagent/datastore/service.py, `begin_install` and `end_install`).
//!
//! `handlers` writes it, `status` speaks of it.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use serde::{Deserialize, Serialize};
use tokio::{sync::mpsc, task};
use tracing::{error, info, warn};

use crate::system;

/// In the state directory.
const FILE_NAME: &str = "prepared.json";

/// How far this guest is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stage {
    /// `prepare` has not come.
    Awaited,
    /// It is being carried out, or was when the last agent died.
    Building {
        /// The `_unique_id` of the request that began it: a later one finds by it what that one made.
        id: String,
    },
    /// It could not be carried out.
    Failed {
        /// As in [`Stage::Building`].
        id: String,
        /// Why, in the words that the user was given.
        reason: String,
    },
    /// The guest is a database.
    Prepared,
}

/// The file. An operator may write `{"prepared": true}` for a guest made by hand.
#[derive(Debug, Serialize, Deserialize)]
struct Content {
    prepared: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    failed: Option<String>,
}

/// The stage, kept on the disk and told to whoever [listens](Preparation::new).
#[derive(Debug, Clone)]
pub struct Preparation {
    path: Arc<PathBuf>,
    stage: Arc<Mutex<Stage>>,
    /// Every change, none left out: `building` is to be told even if it lasts a few milliseconds.
    changes: mpsc::UnboundedSender<Stage>,
}

impl Preparation {
    /// Goes on from what the state directory holds; the receiver yields that, and every later change.
    pub fn load(state_dir: &Path) -> (Self, mpsc::UnboundedReceiver<Stage>) {
        let path = state_dir.join(FILE_NAME);
        let stage = read(&path).unwrap_or_else(|error| {
            warn!(%error, path = %path.display(), "Can't be read: Trove is told nothing until it can, or until `prepare`.");
            Stage::Awaited
        });
        let (changes, receiver) = mpsc::unbounded_channel();
        let _listening = changes.send(stage.clone());
        (Self { path: Arc::new(path), stage: Arc::new(Mutex::new(stage)), changes }, receiver)
    }

    /// The stage, with a look at the file if there was nothing: an operator may have written it meanwhile.
    pub async fn current(&self) -> Stage {
        let known = self.lock().clone();
        if known != Stage::Awaited {
            return known;
        }
        let path = Arc::clone(&self.path);
        let Ok(Ok(stage)) = task::spawn_blocking(move || read(&path)).await else { return known };
        let mut current = self.lock();
        if *current == Stage::Awaited && stage != Stage::Awaited {
            self.tell(&mut current, stage);
        }
        current.clone()
    }

    /// `prepare` begins. Answers with the id of the request that began it first.
    ///
    /// # Errors
    /// The file can't be written: a guest that can't remember that it is prepared must not become it.
    pub async fn begin(&self, id: &str) -> io::Result<String> {
        let first = match self.current().await {
            Stage::Building { id } | Stage::Failed { id, .. } => id,
            Stage::Awaited | Stage::Prepared => id.to_owned(),
        };
        self.enter(Stage::Building { id: first.clone() }).await?;
        Ok(first)
    }

    /// `prepare` is done.
    ///
    /// # Errors
    /// As with [`Preparation::begin`].
    pub async fn complete(&self) -> io::Result<()> {
        self.enter(Stage::Prepared).await?;
        info!("The instance is prepared.");
        Ok(())
    }

    /// `prepare`, the request of this id, has failed for good. A guest that was prepared before stays it.
    pub async fn fail(&self, id: &str, reason: &str) {
        let first = match self.current().await {
            Stage::Prepared => return,
            Stage::Building { id } | Stage::Failed { id, .. } => id,
            Stage::Awaited => id.to_owned(),
        };
        error!(reason, "The instance could not be prepared.");
        if let Err(error) = self.enter(Stage::Failed { id: first, reason: reason.to_owned() }).await {
            warn!(%error, path = %self.path.display(), "Can't be written: a restarted agent will not know of the failure.");
        }
    }

    /// Tells of the stage even if the disk doesn't take it.
    async fn enter(&self, stage: Stage) -> io::Result<()> {
        let (path, content) = (Arc::clone(&self.path), Content::of(&stage));
        let stored = task::spawn_blocking(move || {
            let text = serde_json::to_vec(&content)?;
            system::replace(&path, &text, 0o644)
        });
        let stored = stored.await.unwrap_or_else(|gone| Err(io::Error::other(gone)));
        if stored.is_ok() || matches!(stage, Stage::Failed { .. }) {
            self.tell(&mut self.lock(), stage);
        }
        stored
    }

    /// Under the lock, so that changes are told in their order.
    fn tell(&self, current: &mut Stage, stage: Stage) {
        current.clone_from(&stage);
        // Without a listener the agent is about to end.
        let _listening = self.changes.send(stage);
    }

    fn lock(&self) -> MutexGuard<'_, Stage> {
        self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Content {
    fn of(stage: &Stage) -> Self {
        let (prepared, id, failed) = match stage {
            Stage::Awaited => (false, None, None),
            Stage::Building { id } => (false, Some(id.clone()), None),
            Stage::Failed { id, reason } => (false, Some(id.clone()), Some(reason.clone())),
            Stage::Prepared => (true, None, None),
        };
        Self { prepared, id, failed }
    }

    fn into_stage(self) -> Stage {
        match self {
            Self { prepared: true, .. } => Stage::Prepared,
            Self { id: Some(id), failed: Some(reason), .. } => Stage::Failed { id, reason },
            Self { id: Some(id), failed: None, .. } => Stage::Building { id },
            Self { id: None, .. } => Stage::Awaited,
        }
    }
}

/// The stage that the state directory holds, for who looks from outside the agent.
///
/// # Errors
/// The file can't be read, or holds something else.
pub fn stage_in(state_dir: &Path) -> io::Result<Stage> {
    read(&state_dir.join(FILE_NAME))
}

/// No file means that nothing has happened yet.
fn read(path: &Path) -> io::Result<Stage> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Stage::Awaited),
        Err(error) => return Err(error),
    };
    let content: Content = serde_json::from_str(&text)?;
    Ok(content.into_stage())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn building(id: &str) -> Stage {
        Stage::Building { id: id.to_owned() }
    }

    #[tokio::test]
    async fn an_operator_may_write_the_file_while_the_agent_runs() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(FILE_NAME);
        let (preparation, _) = Preparation::load(directory.path());
        for content in ["yes", r#"{"prepared": false}"#] {
            std::fs::write(&path, content).unwrap();
            assert_eq!(preparation.current().await, Stage::Awaited, "{content}");
        }
        std::fs::write(&path, r#"{"prepared": true}"#).unwrap();
        assert_eq!(preparation.current().await, Stage::Prepared);
    }

    #[tokio::test]
    async fn every_stage_outlives_the_agent_and_the_first_id_stays() {
        let directory = tempfile::tempdir().unwrap();
        let again = || Preparation::load(directory.path()).0;
        let (preparation, mut changes) = Preparation::load(directory.path());
        assert_eq!(preparation.begin("one").await.unwrap(), "one");
        assert_eq!(again().current().await, building("one"));
        assert_eq!(again().begin("two").await.unwrap(), "one");
        preparation.fail("one", "no disk").await;
        let failed = Stage::Failed { id: "one".into(), reason: "no disk".into() };
        assert_eq!(again().current().await, failed);
        assert_eq!(again().begin("three").await.unwrap(), "one");
        preparation.complete().await.unwrap();
        preparation.fail("four", "too late").await;
        assert_eq!(again().current().await, Stage::Prepared);
        let told: Vec<Stage> = std::iter::from_fn(|| changes.try_recv().ok()).collect();
        assert_eq!(told, [Stage::Awaited, building("one"), failed, Stage::Prepared]);
    }

    #[tokio::test]
    async fn without_a_disk_nothing_begins_but_a_failure_is_told() {
        let (preparation, mut changes) = Preparation::load(Path::new("/proc/nowhere"));
        assert!(preparation.begin("one").await.is_err());
        assert_eq!(changes.try_recv().unwrap(), Stage::Awaited);
        assert!(changes.try_recv().is_err());
        preparation.fail("one", "no disk").await;
        assert!(matches!(changes.try_recv().unwrap(), Stage::Failed { .. }));
    }
}

//! Where this guest stands between its creation and being a database, as Trove sees it.
//!
//! ```text
//!            prepare             carried out             seen healthy
//! Awaited ------------> Building ------------> Settling -------------> Prepared
//!    ^ silent              |  ^                   "building"              "healthy", "shutdown", …: the truth
//!                  refused |  | prepare again                             about CouchDB
//!                          v  |
//!                        Failed   "failed to spawn"
//! ```
//!
//! Before `prepare` a guest must be silent: the taskmanager would take a `shutdown` for a failed creation. While it
//! runs the guest says `building`, and if it fails `failed to spawn`, which ends the creation at once instead of after
//! `usage_timeout`. The stage outlives the agent in a [file](StageFile); the Python guest keeps one for the same purpose
//! (trove/guestagent/datastore/service.py, `begin_install` and `end_install`).
//!
//! `commands` write it, `status` speaks of it.

use std::{
    io,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{Mutex as AsyncMutex, MutexGuard as AsyncMutexGuard, mpsc},
    time,
};
use tracing::{error, info, warn};

use crate::system;
pub use trove_couchdb_guest::stage::Stage;
use trove_couchdb_guest::stage::{Found, StageFile};

/// The stage, kept on the disk and told to whoever [listens](Preparation::load).
#[derive(Debug, Clone)]
pub struct Preparation {
    file: Arc<StageFile>,
    known: Arc<Mutex<Known>>,
    /// Held from a look at the stage until the next one is written down: two that change it take turns.
    change: Arc<AsyncMutex<()>>,
    /// Every change, none left out: `building` is to be told even if it lasts a few milliseconds.
    changes: mpsc::UnboundedSender<Stage>,
}

#[derive(Debug)]
struct Known {
    stage: Stage,
    /// The stage was found at the start, and no `prepare` has come since.
    found: bool,
    /// The control plane is a Trove 12 or 13.
    old_control_plane: bool,
}

impl Preparation {
    /// Goes on from what the state directory holds of this guest; the receiver yields that, and every later change.
    pub fn load(state_dir: &Path, guest_id: &str) -> (Self, mpsc::UnboundedReceiver<Stage>) {
        let file = StageFile::new(state_dir, guest_id);
        let path = file.path.display();
        let found = file.read().unwrap_or_else(|error| {
            warn!(%error, %path, "Can't be read: Trove is told nothing until it can, or until `prepare`.");
            Found::Nothing
        });
        if let Found::Another(guest_id) = &found {
            warn!(guest_id, %path, "This file is another guest's, left in the image perhaps; it is passed over.");
        }
        file.sign(&found);
        let stage = found.stage();
        let (changes, receiver) = mpsc::unbounded_channel();
        let _listening = changes.send(stage.clone());
        let old_control_plane = file.has_old_control_plane();
        let known = Arc::new(Mutex::new(Known { stage, found: true, old_control_plane }));
        (Self { file: Arc::new(file), known, change: Arc::default(), changes }, receiver)
    }

    /// The stage as it was last known, without a look at the file.
    pub fn last_known(&self) -> Stage {
        self.known().stage.clone()
    }

    /// Whether the control plane is a Trove 12 or 13, of which 12 does not know the status `healthy`.
    pub fn has_old_control_plane(&self) -> bool {
        self.known().old_control_plane
    }

    /// Takes note of the form of a message that differs between Trove 13 and 14; kept with the stage.
    pub async fn note_control_plane(&self, old: bool) {
        let turn = self.change.lock().await;
        let stage = {
            let mut known = self.known();
            if known.old_control_plane == old {
                return;
            }
            known.old_control_plane = old;
            known.stage.clone()
        };
        if old {
            info!("The control plane is a Trove 12 or 13; a healthy CouchDB is reported as `running`.");
        }
        if stage != Stage::Awaited
            && let Err(error) = self.write(&turn, &stage).await
        {
            warn!(%error, path = %self.file.path.display(), "Can't be written: a restarted agent will not know the age of the control plane.");
        }
    }

    /// Looks at the file so often, for ever.
    pub async fn look_every(self, interval: Duration) {
        loop {
            time::sleep(interval).await;
            self.current().await;
        }
    }

    /// The stage, with a look at the file unless the guest is prepared: an operator may have written it meanwhile.
    pub async fn current(&self) -> Stage {
        let turn = self.change.lock().await;
        self.look(&turn).await
    }

    async fn look(&self, _turn: &AsyncMutexGuard<'_, ()>) -> Stage {
        let stage = self.known().stage.clone();
        if stage.is_prepared() {
            return stage;
        }
        let file = Arc::clone(&self.file);
        let read = system::blocking(move || file.read().inspect(|found| file.sign(found)));
        let Ok(Ok(found)) = read.await else { return stage };
        let written = found.stage();
        // What the disk did not take is known better here, unless somebody says that nothing more is to be done.
        if written != stage && (stage == Stage::Awaited || written.is_prepared()) {
            self.tell(written.clone());
            return written;
        }
        stage
    }

    /// A `prepare` has arrived, and will begin when its turn comes.
    pub fn has_come(&self) {
        self.known().found = false;
    }

    /// `prepare` begins. Answers with the id of the request that began it first.
    ///
    /// # Errors
    /// The file can't be written: a guest that can't remember that it is prepared must not become it.
    pub async fn begin(&self, id: &str) -> io::Result<String> {
        self.has_come();
        let turn = self.change.lock().await;
        let first = match self.look(&turn).await {
            Stage::Building { id } | Stage::Failed { id, .. } => id,
            Stage::Awaited | Stage::Settling | Stage::Prepared => id.to_owned(),
        };
        self.enter(&turn, Stage::Building { id: first.clone() }).await?;
        Ok(first)
    }

    /// `prepare` is done.
    ///
    /// # Errors
    /// As with [`Preparation::begin`].
    pub async fn complete(&self) -> io::Result<()> {
        let turn = self.change.lock().await;
        // Who has nobody to tell anything to need not be careful what he says.
        let stage = if self.changes.is_closed() { Stage::Prepared } else { Stage::Settling };
        self.enter(&turn, stage).await?;
        info!("The instance is prepared.");
        Ok(())
    }

    /// A prepared guest was seen healthy, or has had its time to become it: from now on the truth is told of it.
    pub async fn settle(&self) {
        let turn = self.change.lock().await;
        if self.known().stage != Stage::Settling {
            return;
        }
        if let Err(error) = self.enter(&turn, Stage::Prepared).await {
            warn!(%error, path = %self.file.path.display(), "Can't be written: a restarted agent will let the guest settle again.");
        }
    }

    /// `prepare`, the request of this id, has failed for good. A guest that was prepared before stays it.
    pub async fn fail(&self, id: &str, reason: &str) {
        let turn = self.change.lock().await;
        let first = match self.look(&turn).await {
            Stage::Settling | Stage::Prepared => return,
            Stage::Building { id } | Stage::Failed { id, .. } => id,
            Stage::Awaited => id.to_owned(),
        };
        self.enter_failed(&turn, first, reason).await;
    }

    /// A `prepare`, the request of this id, was refused as it stands. Another one that is under way goes on.
    pub async fn refuse(&self, id: &str, reason: &str) {
        let turn = self.change.lock().await;
        match self.look(&turn).await {
            Stage::Awaited => self.enter_failed(&turn, id.to_owned(), reason).await,
            Stage::Building { id: first } if first == id => self.enter_failed(&turn, first, reason).await,
            _ => {}
        }
    }

    /// A `prepare` that an earlier agent began, and that has not come again, will never come.
    pub async fn fail_if_interrupted(&self, reason: &str) {
        let turn = self.change.lock().await;
        let stage = self.look(&turn).await;
        let found = self.known().found;
        if let Stage::Building { id } = stage
            && found
        {
            self.enter_failed(&turn, id, reason).await;
        }
    }

    async fn enter_failed(&self, turn: &AsyncMutexGuard<'_, ()>, id: String, reason: &str) {
        error!(reason, "The instance could not be prepared.");
        if let Err(error) = self.enter(turn, Stage::Failed { id, reason: reason.to_owned() }).await {
            warn!(%error, path = %self.file.path.display(), "Can't be written: a restarted agent will not know of the failure.");
        }
    }

    /// Tells of what need not be remembered even if the disk doesn't take it.
    async fn enter(&self, turn: &AsyncMutexGuard<'_, ()>, stage: Stage) -> io::Result<()> {
        let stored = self.write(turn, &stage).await;
        if stored.is_ok() || matches!(stage, Stage::Failed { .. } | Stage::Prepared) {
            self.tell(stage);
        }
        stored
    }

    async fn write(&self, _turn: &AsyncMutexGuard<'_, ()>, stage: &Stage) -> io::Result<()> {
        let (file, stage, old) = (Arc::clone(&self.file), stage.clone(), self.has_old_control_plane());
        let stored = system::blocking(move || file.write(&stage, old)).await;
        stored.unwrap_or_else(|gone| Err(io::Error::other(gone)))
    }

    fn tell(&self, stage: Stage) {
        self.known().stage.clone_from(&stage);
        // Without a listener the agent is about to end.
        let _listening = self.changes.send(stage);
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;

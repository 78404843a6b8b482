//! The task that owns the state: it alone changes it, writes it down, and tells it.

use std::{io, sync::Arc, time::Duration};

use tokio::{
    sync::{mpsc, oneshot, watch},
    time,
};
use tracing::{debug, info, warn};
use trove_couchdb_guest::state::StateFile;

use super::{Event, GuestState, Illegal, Known, Server, Stage, next};
use crate::{couch::Health, system};

/// Why the state is not what it was to become.
#[derive(Debug, thiserror::Error)]
pub enum TransitionError {
    /// It can't be in this state.
    #[error(transparent)]
    Illegal(#[from] Illegal),
    /// The file can't be written: a guest that can't remember what it becomes must not become it.
    #[error("{path}: {source}")]
    NotWritten {
        /// The file.
        path: String,
        /// What the system says.
        source: io::Error,
    },
    /// The agent is about to end.
    #[error("the agent is stopping")]
    Stopping,
}

/// What the owner is asked.
#[derive(Debug)]
pub(super) enum Ask {
    /// This has happened.
    Happened(Event, oneshot::Sender<Result<GuestState, TransitionError>>),
    /// Look at the file.
    Look(oneshot::Sender<()>),
    /// The form of a message says how old the control plane is.
    ControlPlane { old: bool, noted: oneshot::Sender<()> },
    /// Tell the state once more.
    TellAgain,
}

/// The owner. [`Owner::run`] is its task.
#[derive(Debug)]
pub struct Owner {
    pub(super) file: Arc<StateFile>,
    pub(super) asked: mpsc::UnboundedReceiver<Ask>,
    pub(super) known: watch::Sender<Known>,
    /// Every change, none left out: `building` is to be told even if it lasts a few milliseconds.
    pub(super) changes: mpsc::UnboundedSender<GuestState>,
}

impl Owner {
    /// Does what it is asked until nobody can ask any more; looks at the file so often, and hears how CouchDB is.
    pub async fn run(mut self, mut health: watch::Receiver<Health>, look_every: Duration) {
        let mut looks = time::interval(look_every);
        looks.set_missed_tick_behavior(time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                ask = self.asked.recv() => match ask {
                    Some(ask) => self.answer(ask).await,
                    None => return,
                },
                Ok(()) = health.changed() => {
                    let seen = health.borrow_and_update().clone();
                    self.apply_quietly(Event::Seen(seen)).await;
                }
                _ = looks.tick() => self.look().await,
            }
        }
    }

    /// Whoever asked may have gone; what was asked is done all the same.
    async fn answer(&mut self, ask: Ask) {
        match ask {
            Ask::Happened(event, done) => {
                self.look().await;
                let _gone = done.send(self.apply(event).await);
            }
            Ask::Look(done) => {
                self.look().await;
                let _gone = done.send(());
            }
            Ask::ControlPlane { old, noted } => {
                self.note_control_plane(old).await;
                let _gone = noted.send(());
            }
            Ask::TellAgain => self.tell(self.state()),
        }
    }

    /// The stage, with a look at the file unless the guest is prepared: an operator may have written it meanwhile.
    async fn look(&mut self) {
        if self.state().stage.is_prepared() {
            return;
        }
        let file = Arc::clone(&self.file);
        let read = system::blocking(move || file.read().inspect(|found| file.sign(found))).await;
        if let Ok(Ok(found)) = read {
            self.apply_quietly(Event::WrittenByOperator(found.state().stage)).await;
        }
    }

    /// For what nobody waits for: it can always happen, and a disk that does not take it changes nothing.
    async fn apply_quietly(&mut self, event: Event) {
        if let Err(error) = self.apply(event).await {
            let reason = error.to_string();
            debug!(reason, "The guest's state is kept.");
        }
    }

    pub(super) async fn apply(&mut self, event: Event) -> Result<GuestState, TransitionError> {
        let before = self.state();
        let repeated = matches!(event, Event::PrepareBegins { .. });
        let from_file = matches!(event, Event::WrittenByOperator(_));
        let mut state = next(&before, event)?;
        // A guest without a control plane has nobody to tell anything to, and need not be careful what it says.
        if state.stage == Stage::Settling && before.stage != Stage::Settling && self.changes.is_closed() {
            state.stage = Stage::Ready;
        }
        if state == before && !repeated {
            return Ok(state);
        }
        if !from_file
            && is_kept(&before, &state, repeated)
            && let Err(source) = self.write(&state).await
        {
            let path = self.file.path.display().to_string();
            if must_be_kept(&before, &state, repeated) {
                return Err(TransitionError::NotWritten { path, source });
            }
            let error = &source;
            warn!(%error, path, "Can't be written: a restarted agent will not know what became of the guest.");
        }
        log(&before, &state);
        self.tell(state.clone());
        Ok(state)
    }

    async fn note_control_plane(&mut self, old: bool) {
        if self.known.borrow().old_control_plane == old {
            return;
        }
        self.known.send_modify(|known| known.old_control_plane = old);
        if old {
            info!("The control plane is a Trove 12 or 13; a healthy CouchDB is reported as `running`.");
        }
        let state = self.state();
        if state.stage != Stage::New
            && let Err(error) = self.write(&state).await
        {
            let path = self.file.path.display();
            warn!(%error, %path, "Can't be written: a restarted agent will not know the age of the control plane.");
        }
    }

    async fn write(&self, state: &GuestState) -> io::Result<()> {
        let (file, state, old) =
            (Arc::clone(&self.file), state.clone(), self.known.borrow().old_control_plane);
        let stored = system::blocking(move || file.write(&state, old)).await;
        stored.unwrap_or_else(|gone| Err(io::Error::other(gone)))
    }

    /// Without a listener there is no control plane, or the agent is about to end.
    fn tell(&self, state: GuestState) {
        self.known.send_modify(|known| known.state = state.clone());
        let _listening = self.changes.send(state);
    }

    fn state(&self) -> GuestState {
        self.known.borrow().state.clone()
    }
}

/// Whether the file would say something else afterwards. A `prepare` that begins again is written again: so it is known at
/// once whether its end can be.
fn is_kept(before: &GuestState, after: &GuestState, repeated: bool) -> bool {
    repeated
        || before.stage != after.stage
        || before.server.stop() != after.server.stop()
        || before.restart_required != after.restart_required
}

/// Whether what is not written down must not be: a failure and the end of settling are told in any case, and CouchDB may be
/// stopped on a full disk.
fn must_be_kept(before: &GuestState, after: &GuestState, repeated: bool) -> bool {
    matches!(after.stage, Stage::Building { .. } | Stage::Settling)
        && (repeated || before.stage != after.stage)
}

fn log(before: &GuestState, after: &GuestState) {
    match (&before.stage, &after.stage) {
        (Stage::Settling | Stage::Ready, _) => {}
        (_, Stage::Settling | Stage::Ready) => info!("The instance is prepared."),
        (_, Stage::Failed { reason, .. }) if before.stage != after.stage => {
            tracing::error!(reason, "The instance could not be prepared.");
        }
        _ => {}
    }
    match (&before.server, &after.server) {
        (before, after) if before == after => {}
        (_, Server::Stopping(_)) => info!("CouchDB is being stopped on purpose."),
        (_, Server::Stopped(_)) => info!("CouchDB was stopped on purpose."),
        (_, Server::Restarting { .. }) => info!("CouchDB is being started."),
        (Server::Stopped(_), Server::Running) => {
            info!("CouchDB runs again; it is not stopped on purpose any more.")
        }
        (_, Server::Maintenance) => warn!("CouchDB is in maintenance mode."),
        (Server::Maintenance, _) => info!("CouchDB is not in maintenance mode any more."),
        _ => {}
    }
}

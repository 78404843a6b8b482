//! The task that owns the state. Only this task changes, stores and publishes it.

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    sync::{mpsc, watch},
    time,
};
use tracing::{debug, error, info, warn};
use trove_couchdb_guest::state::{GuestState, Server, Stage, StateFile};

use super::{
    requests::{OwnerRequest, ServerChange, TransitionError},
    transition::{Event, next},
};
use crate::system;

/// What the owner publishes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) state: GuestState,
    /// The control plane is Trove 12 or 13.
    pub(super) old_control_plane: bool,
    /// When the last stop or start of CouchDB ended. Earlier observations do not count.
    pub(super) process_since: Option<Instant>,
}

/// The owner of the state. [`Owner::run`] is its task.
#[derive(Debug)]
pub struct Owner {
    pub(super) file: Arc<StateFile>,
    pub(super) asked: mpsc::UnboundedReceiver<OwnerRequest>,
    /// Given to each [`ServerChange`]. It is weak, so that the owner stops when the last requester is gone.
    pub(super) requests: mpsc::WeakUnboundedSender<OwnerRequest>,
    pub(super) known: watch::Sender<Known>,
    /// Every change, without exception: Trove must see `building` even if it lasts a few milliseconds.
    pub(super) changes: mpsc::UnboundedSender<GuestState>,
    /// The content of the file, as far as the owner has written or read it.
    pub(super) stored: Option<GuestState>,
}

impl Owner {
    /// Handles requests until all requesters are gone. Reads the file at this interval.
    pub async fn run(mut self, look_every: Duration) {
        let mut looks = time::interval(look_every);
        looks.set_missed_tick_behavior(time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                request = self.asked.recv() => match request {
                    Some(request) => self.answer(request).await,
                    None => return,
                },
                _ = looks.tick() => {
                    self.look().await;
                    self.store_what_is_left().await;
                }
            }
        }
    }

    /// Carries out a request even if the requester is gone.
    async fn answer(&mut self, request: OwnerRequest) {
        match request {
            OwnerRequest::Happened(event, done) => {
                self.look().await;
                let _gone = done.send(self.apply(event).await);
            }
            OwnerRequest::Begin(event, end, begun) => {
                let begins = self.apply(event).await.and_then(|_| {
                    let requests = self.requests.upgrade().ok_or(TransitionError::Stopping)?;
                    Ok(ServerChange::new(requests, end))
                });
                let _gone = begun.send(begins);
            }
            OwnerRequest::Saw(health, at) => {
                let is_current = self.known.borrow().process_since.is_none_or(|since| at >= since);
                if is_current {
                    self.apply_quietly(Event::Observed(health)).await;
                }
            }
            OwnerRequest::Look(done) => {
                self.look().await;
                let _gone = done.send(());
            }
            OwnerRequest::ControlPlane { old, noted } => {
                self.note_control_plane(old).await;
                let _gone = noted.send(());
            }
            OwnerRequest::TellAgain => self.tell(self.state()),
        }
    }

    /// Reads the stage from the file unless the guest is prepared: an operator may have changed it.
    async fn look(&mut self) {
        if self.state().stage.is_prepared() {
            return;
        }
        let file = Arc::clone(&self.file);
        if let Ok(Ok(found)) = system::blocking(move || file.read()).await {
            self.apply_quietly(Event::WrittenByOperator(found.state().stage)).await;
        }
    }

    /// Applies an event that needs no answer. A failure is only logged.
    async fn apply_quietly(&mut self, event: Event) {
        if let Err(error) = self.apply(event).await {
            let reason = error.to_string();
            debug!(reason, "The guest's state is kept.");
        }
    }

    async fn apply(&mut self, event: Event) -> Result<GuestState, TransitionError> {
        let before = self.state();
        let prepare_begins = matches!(event, Event::PrepareBegins { .. });
        let process_ends = matches!(event, Event::StopEnded(_) | Event::StartEnded(_));
        let mut state = next(&before, event)?;
        // A guest without a control plane skips settling: it has no creation that a bad status could fail.
        if state.stage == Stage::Settling && before.stage != Stage::Settling && self.changes.is_closed() {
            state.stage = Stage::Ready;
        }
        if state == before && !prepare_begins {
            return Ok(state);
        }
        if (prepare_begins || !self.is_stored(&state))
            && let Err(error) = self.store(&state).await
        {
            // A failure and the end of settling are reported even if they cannot be stored, and CouchDB may
            // be stopped on a full disk.
            let is_new = prepare_begins || before.stage != state.stage;
            if is_new && matches!(state.stage, Stage::Building { .. } | Stage::Settling) {
                return Err(TransitionError::NotWritten(error));
            }
            warn!(%error, path = %self.file.path.display(), "Can't be written: a restarted agent will not know the guest's state.");
        }
        log(&before, &state);
        if process_ends {
            self.known.send_modify(|known| known.process_since = Some(Instant::now()));
        }
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
            && let Err(error) = self.store(&state).await
        {
            let path = self.file.path.display();
            warn!(%error, %path, "Can't be written: a restarted agent will not know the age of the control plane.");
        }
    }

    /// Whether the file holds everything that a restarted agent needs.
    fn is_stored(&self, state: &GuestState) -> bool {
        self.stored.as_ref().is_some_and(|stored| {
            stored.stage == state.stage
                && stored.server.stop() == state.server.stop()
                && stored.restart_required == state.restart_required
        })
    }

    /// Stores what could not be written earlier.
    async fn store_what_is_left(&mut self) {
        let state = self.state();
        if !self.is_stored(&state) && self.store(&state).await.is_ok() {
            info!(path = %self.file.path.display(), "The guest's state is on the disk now.");
        }
    }

    async fn store(&mut self, state: &GuestState) -> io::Result<()> {
        self.stored = None;
        let (file, kept, old) =
            (Arc::clone(&self.file), state.clone(), self.known.borrow().old_control_plane);
        let stored = system::blocking(move || file.write(&kept, old)).await;
        stored.unwrap_or_else(|gone| Err(io::Error::other(gone)))?;
        self.stored = Some(state.clone());
        Ok(())
    }

    /// Publishes the state. Sending fails without a control plane, or while the agent is stopping.
    fn tell(&self, state: GuestState) {
        self.known.send_modify(|known| known.state = state.clone());
        let _listening = self.changes.send(state);
    }

    fn state(&self) -> GuestState {
        self.known.borrow().state.clone()
    }
}

fn log(before: &GuestState, after: &GuestState) {
    match (&before.stage, &after.stage) {
        (Stage::Settling | Stage::Ready, _) => {}
        (_, Stage::Settling | Stage::Ready) => info!("The instance is prepared."),
        (_, Stage::Failed { reason, .. }) if before.stage != after.stage => {
            error!(reason, "The instance could not be prepared.");
        }
        _ => {}
    }
    match (&before.server, &after.server) {
        (before, after) if before == after => {}
        (_, Server::Stopping { .. }) => info!("CouchDB is being stopped on purpose."),
        (_, Server::Stopped(_)) => info!("CouchDB is stopped on purpose."),
        (_, Server::Restarting { .. }) => info!("CouchDB is being started."),
        (Server::Stopped(_), Server::Running) => {
            info!("CouchDB runs: it is not stopped on purpose any more.");
        }
        _ => {}
    }
}

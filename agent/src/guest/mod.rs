//! The state of this guest: how far `prepare` has got, and what the agent decided about CouchDB's process.
//!
//! ```text
//! stage            prepare begins            prepare is done            settled
//!         new --------------------> building ---------------> settling ---------> ready
//!          |                         |    ^
//!          | refused, failed  failed |    | prepare begins again
//!          +-----------------------> failed
//!
//! server          stop begins              stop ended                start begins         start ended
//!         running -------------> stopping ------------> stopped ------------------> restarting ----> running
//!            ^                      |                      |                            |
//!            | refused: as before   |                      |         refused or unknown: as before
//!            +----------------------+                      |
//!            +---------------------------------------------+ seen running, or the machine was booted
//!
//!         running <-> maintenance: as CouchDB reports; start and stop begin in either
//!
//! restart required: from a change of CouchDB's configuration until a successful start, or a reboot
//! ```
//!
//! Only one task, the [`Owner`], changes the state. [`next`] defines the transitions; an event that is
//! impossible in a state gives [`Illegal`]. All other tasks read the latest state from a `watch`. The
//! heartbeat gets every change, because Trove must see `building` even if it lasts a few milliseconds.
//! [`service_status`] maps each state to a status of Trove.
//!
//! The state survives restarts of the agent in a [file](StateFile). The Python guest keeps a file for the
//! same purpose (trove/guestagent/datastore/service.py, `begin_install` and `end_install`).

mod owner;
mod requests;
pub mod service_status;
mod transition;

use std::{path::Path, sync::Arc, time::Instant};

use tokio::sync::{mpsc, oneshot, watch};
use tracing::{debug, warn};
use trove_couchdb_guest::state::{Found, StateFile};

use crate::{couch::Health, system};
use owner::Known;
pub use owner::Owner;
use requests::OwnerRequest;
pub use requests::{ServerChange, TransitionError};
pub use transition::{Ended, Event, Illegal, next, server_word, stage_word};
pub use trove_couchdb_guest::state::{GuestState, RestartRequired, Server, Stage, Stop};

/// A handle to the [`Owner`] of the state. Clones share the owner.
#[derive(Debug, Clone)]
pub struct Lifecycle {
    requests: mpsc::UnboundedSender<OwnerRequest>,
    known: watch::Receiver<Known>,
}

impl Lifecycle {
    /// Continues from the state that the state directory holds of this guest. The receiver yields that state
    /// and every later change.
    pub fn load(state_dir: &Path, guest_id: &str) -> (Self, Owner, mpsc::UnboundedReceiver<GuestState>) {
        let file = StateFile::new(state_dir, guest_id);
        let path = file.path.display();
        let found = file.read().unwrap_or_else(|error| {
            warn!(%error, %path, "Can't be read: no heartbeat is sent until it can, or until `prepare`.");
            Found::Nothing
        });
        if let Found::Another(guest_id) = &found {
            warn!(guest_id, %path, "This file is another guest's, left in the image perhaps; it is passed over.");
        }
        file.sign(&found);
        let found = found.state();
        let starts = Event::AgentStarts { boot_id: system::boot_id() };
        let state = next(&found, starts).unwrap_or_else(|_| found.clone());
        let (changes, receiver) = mpsc::unbounded_channel();
        let _listening = changes.send(state.clone());
        let old_control_plane = file.has_old_control_plane();
        let (known_writer, known) = watch::channel(Known { state, old_control_plane, process_since: None });
        let (requests, asked) = mpsc::unbounded_channel();
        let owner = Owner {
            file: Arc::new(file),
            asked,
            requests: requests.downgrade(),
            known: known_writer,
            changes,
            stored: Some(found),
        };
        (Self { requests, known }, owner, receiver)
    }

    /// The last known state, without reading the file.
    pub fn last_known(&self) -> GuestState {
        self.known.borrow().state.clone()
    }

    /// Waits for the next change of the [last known](Lifecycle::last_known) state. Never returns once the
    /// owner has stopped.
    pub async fn changed(&mut self) {
        if self.known.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// When the agent last finished stopping or starting CouchDB. Earlier observations are outdated.
    pub fn process_since(&self) -> Option<Instant> {
        self.known.borrow().process_since
    }

    /// Waits until [`Lifecycle::process_since`] differs from `since`.
    pub async fn process_changed(&mut self, since: Option<Instant>) {
        if self.known.wait_for(|known| known.process_since != since).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Reports the result of a health check that was sent at this time.
    pub fn saw(&self, health: Health, at: Instant) {
        // Sending fails only while the agent is stopping.
        let _stopping = self.requests.send(OwnerRequest::Saw(health, at));
    }

    /// Whether the control plane is Trove 12 or 13. Trove 12 does not know the status `healthy`.
    pub fn has_old_control_plane(&self) -> bool {
        self.known.borrow().old_control_plane
    }

    /// Records whether a message has the form of Trove 12 and 13. The answer is stored with the state.
    pub async fn note_control_plane(&self, old: bool) {
        let (noted, is_noted) = oneshot::channel();
        if self.requests.send(OwnerRequest::ControlPlane { old, noted }).is_ok() {
            let _stopping = is_noted.await;
        }
    }

    /// The state. Reads the file first unless the guest is prepared, because an operator may have changed it.
    pub async fn current(&self) -> GuestState {
        let (done, is_done) = oneshot::channel();
        if self.requests.send(OwnerRequest::Look(done)).is_ok() {
            let _stopping = is_done.await;
        }
        self.last_known()
    }

    /// Sends the unchanged state once more, at once. Trove writes a status of its own when it asks for a
    /// restart or an upgrade, and shows that status until the next heartbeat.
    pub fn tell_again(&self) {
        // Sending fails only while the agent is stopping.
        let _stopping = self.requests.send(OwnerRequest::TellAgain);
    }

    /// Begins the `prepare` with this request id. Returns the id of the request that first began it.
    ///
    /// # Errors
    /// The guest is already prepared, or the file cannot be written.
    pub async fn begin_prepare(&self, id: &str) -> Result<String, TransitionError> {
        let state = self.happened(Event::PrepareBegins { id: id.to_owned() }).await?;
        Ok(match state.stage {
            Stage::Building { id } => id,
            _ => id.to_owned(),
        })
    }

    /// Completes `prepare`.
    ///
    /// # Errors
    /// `prepare` has not begun, or the file cannot be written.
    pub async fn end_prepare(&self) -> Result<(), TransitionError> {
        self.happened(Event::PrepareDone).await.map(drop)
    }

    /// Ends settling: the guest was seen healthy, or the time to settle has passed. From now on Trove gets
    /// the real status.
    pub async fn settle(&self) {
        self.happened_if_it_can(Event::Settled).await;
    }

    /// Records that the `prepare` with this request id failed for good. A guest that was prepared before
    /// stays prepared.
    pub async fn fail_prepare(&self, id: &str, reason: &str) {
        let (id, reason) = (id.to_owned(), reason.to_owned());
        self.happened_if_it_can(Event::PrepareFailed { id, reason }).await;
    }

    /// Records that the `prepare` with this request id was refused. A different `prepare` in progress
    /// continues.
    pub async fn refuse_prepare(&self, id: &str, reason: &str) {
        let (id, reason) = (id.to_owned(), reason.to_owned());
        self.happened_if_it_can(Event::PrepareRefused { id, reason }).await;
    }

    /// Records that the `prepare` that an earlier agent began will not be completed.
    pub async fn interrupt_prepare(&self, reason: &str) {
        self.happened_if_it_can(Event::PrepareInterrupted { reason: reason.to_owned() }).await;
    }

    /// Begins a deliberate stop of CouchDB.
    ///
    /// # Errors
    /// CouchDB is already being stopped or started.
    pub async fn begin_stop(&self, across_reboots: bool) -> Result<ServerChange, TransitionError> {
        let stop = Stop { boot_id: system::boot_id(), across_reboots };
        self.begin(Event::StopBegins(stop), Event::StopEnded).await
    }

    /// Begins a start or a restart of CouchDB.
    ///
    /// # Errors
    /// CouchDB is already being stopped or started.
    pub async fn begin_start(&self) -> Result<ServerChange, TransitionError> {
        self.begin(Event::StartBegins, Event::StartEnded).await
    }

    /// Records that a part of CouchDB's configuration takes effect only after a restart.
    ///
    /// # Errors
    /// The agent is stopping.
    pub async fn require_restart(&self, reason: &str) -> Result<(), TransitionError> {
        let required = RestartRequired { reason: reason.to_owned(), boot_id: system::boot_id() };
        self.happened(Event::RestartRequired(required)).await.map(drop)
    }

    async fn begin(&self, event: Event, end: fn(Ended) -> Event) -> Result<ServerChange, TransitionError> {
        let (begun, has_begun) = oneshot::channel();
        self.requests.send(OwnerRequest::Begin(event, end, begun)).map_err(|_| TransitionError::Stopping)?;
        has_begun.await.unwrap_or(Err(TransitionError::Stopping))
    }

    async fn happened(&self, event: Event) -> Result<GuestState, TransitionError> {
        let (done, is_done) = oneshot::channel();
        self.requests.send(OwnerRequest::Happened(event, done)).map_err(|_| TransitionError::Stopping)?;
        is_done.await.unwrap_or(Err(TransitionError::Stopping))
    }

    async fn happened_if_it_can(&self, event: Event) {
        if let Err(error) = self.happened(event).await {
            let reason = error.to_string();
            debug!(reason, "The guest's state is kept.");
        }
    }
}

#[cfg(test)]
mod tests;

//! The state of this guest: how far it is on its way to being a database, and what was decided about CouchDB's process.
//!
//! ```text
//! stage            prepare begins            prepare is done            settled
//!         new --------------------> building ---------------> settling ---------> ready
//!          |                         |    ^
//!          | refused, failed  failed |    | prepare begins again
//!          +-----------------------> failed
//!
//! server          stop begins              stop ended                start begins                start ended
//!         running -------------> stopping ------------> stopped ------------------> restarting -----------> running
//!            ^                      |                      |                            |
//!            | refused: as before   |                      |         refused or unknown: as before
//!            +----------------------+                      |
//!            +---------------------------------------------+ seen running, or the machine was booted
//!
//!         running <-> maintenance: what CouchDB says of itself; start and stop begin in either
//!
//! restart required: from a change of CouchDB's configuration until a start that succeeded, or a reboot
//! ```
//!
//! One task, the [`Owner`], changes the state; [`next`] is what may follow what, and an event that can't happen in a state is
//! a value, [`Illegal`]. All others read the newest state from a `watch`; the heartbeat gets every change, since Trove must hear
//! `building` even if it lasts a few milliseconds. [`service_status`] says what Trove is told of each state.
//! The state outlives the agent in a [file](StateFile); the Python guest keeps one for the same purpose
//! (trove/guestagent/datastore/service.py, `begin_install` and `end_install`).

mod ask;
mod owner;
pub mod service_status;
mod transition;

use std::{path::Path, sync::Arc, time::Instant};

use tokio::sync::{mpsc, oneshot, watch};
use tracing::{debug, warn};
use trove_couchdb_guest::state::{Found, StateFile};

use crate::{couch::Health, system};
use ask::Ask;
pub use ask::{ServerChange, TransitionError};
use owner::Known;
pub use owner::Owner;
pub use transition::{Ended, Event, Illegal, next, server_word, stage_word};
pub use trove_couchdb_guest::state::{GuestState, RestartRequired, Server, Stage, Stop};

/// The way to the [`Owner`] of the state. Clones ask the same one.
#[derive(Debug, Clone)]
pub struct Lifecycle {
    ask: mpsc::UnboundedSender<Ask>,
    known: watch::Receiver<Known>,
}

impl Lifecycle {
    /// Goes on from what the state directory holds of this guest; the receiver yields that, and every later change.
    pub fn load(state_dir: &Path, guest_id: &str) -> (Self, Owner, mpsc::UnboundedReceiver<GuestState>) {
        let file = StateFile::new(state_dir, guest_id);
        let path = file.path.display();
        let found = file.read().unwrap_or_else(|error| {
            warn!(%error, %path, "Can't be read: Trove is told nothing until it can, or until `prepare`.");
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
        let (ask, asked) = mpsc::unbounded_channel();
        let owner = Owner {
            file: Arc::new(file),
            asked,
            ask: ask.downgrade(),
            known: known_writer,
            changes,
            stored: Some(found),
        };
        (Self { ask, known }, owner, receiver)
    }

    /// The state as it was last known, without a look at the file.
    pub fn last_known(&self) -> GuestState {
        self.known.borrow().state.clone()
    }

    /// Waits for the next change of what is [known](Lifecycle::last_known). Not at all, for ever, once the owner has ended.
    pub async fn changed(&mut self) {
        if self.known.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// When the last stop or start of CouchDB by the agent ended: what was seen of it before is out of date.
    pub fn process_since(&self) -> Option<Instant> {
        self.known.borrow().process_since
    }

    /// Returns when a stop or start of CouchDB by the agent has ended that had not when [`Lifecycle::process_since`] said this.
    pub async fn process_changed(&mut self, since: Option<Instant>) {
        if self.known.wait_for(|known| known.process_since != since).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// CouchDB was asked how it is; the question was put at this time.
    pub fn saw(&self, health: Health, at: Instant) {
        // Without an owner the agent is about to end.
        let _stopping = self.ask.send(Ask::Saw(health, at));
    }

    /// Whether the control plane is a Trove 12 or 13, of which 12 does not know the status `healthy`.
    pub fn has_old_control_plane(&self) -> bool {
        self.known.borrow().old_control_plane
    }

    /// Takes note of the form of a message that differs between Trove 13 and 14; kept with the state.
    pub async fn note_control_plane(&self, old: bool) {
        let (noted, is_noted) = oneshot::channel();
        if self.ask.send(Ask::ControlPlane { old, noted }).is_ok() {
            let _stopping = is_noted.await;
        }
    }

    /// The state, with a look at the file unless the guest is prepared: an operator may have written it meanwhile.
    pub async fn current(&self) -> GuestState {
        let (done, is_done) = oneshot::channel();
        if self.ask.send(Ask::Look(done)).is_ok() {
            let _stopping = is_done.await;
        }
        self.last_known()
    }

    /// Tells the state once more, at once: Trove writes a status of its own when it asks for a restart or an upgrade, and
    /// shows it until the next heartbeat.
    pub fn tell_again(&self) {
        // Without an owner the agent is about to end.
        let _stopping = self.ask.send(Ask::TellAgain);
    }

    /// `prepare`, the request of this id, begins. Answers with the id of the request that began it first.
    ///
    /// # Errors
    /// The guest is prepared already, or the file can't be written.
    pub async fn begin_prepare(&self, id: &str) -> Result<String, TransitionError> {
        let state = self.happened(Event::PrepareBegins { id: id.to_owned() }).await?;
        Ok(match state.stage {
            Stage::Building { id } => id,
            _ => id.to_owned(),
        })
    }

    /// `prepare` is done.
    ///
    /// # Errors
    /// It was not begun, or the file can't be written.
    pub async fn end_prepare(&self) -> Result<(), TransitionError> {
        self.happened(Event::PrepareDone).await.map(drop)
    }

    /// A prepared guest was seen healthy, or has had its time to become it: from now on the truth is told of it.
    pub async fn settle(&self) {
        self.happened_if_it_can(Event::Settled).await;
    }

    /// `prepare`, the request of this id, has failed for good. A guest that was prepared before stays it.
    pub async fn fail_prepare(&self, id: &str, reason: &str) {
        let (id, reason) = (id.to_owned(), reason.to_owned());
        self.happened_if_it_can(Event::PrepareFailed { id, reason }).await;
    }

    /// A `prepare`, the request of this id, was refused as it stands. Another one that is under way goes on.
    pub async fn refuse_prepare(&self, id: &str, reason: &str) {
        let (id, reason) = (id.to_owned(), reason.to_owned());
        self.happened_if_it_can(Event::PrepareRefused { id, reason }).await;
    }

    /// A `prepare` that an earlier agent began will never be carried out.
    pub async fn interrupt_prepare(&self, reason: &str) {
        self.happened_if_it_can(Event::PrepareInterrupted { reason: reason.to_owned() }).await;
    }

    /// CouchDB is about to be stopped on purpose.
    ///
    /// # Errors
    /// It is just being stopped or started.
    pub async fn begin_stop(&self, across_reboots: bool) -> Result<ServerChange, TransitionError> {
        let stop = Stop { boot_id: system::boot_id(), across_reboots };
        self.begin(Event::StopBegins(stop), Event::StopEnded).await
    }

    /// CouchDB is about to be started, or restarted.
    ///
    /// # Errors
    /// It is just being stopped or started.
    pub async fn begin_start(&self) -> Result<ServerChange, TransitionError> {
        self.begin(Event::StartBegins, Event::StartEnded).await
    }

    /// A part of CouchDB's configuration is only in force after a restart.
    ///
    /// # Errors
    /// The agent is stopping.
    pub async fn require_restart(&self, reason: &str) -> Result<(), TransitionError> {
        let required = RestartRequired { reason: reason.to_owned(), boot_id: system::boot_id() };
        self.happened(Event::RestartRequired(required)).await.map(drop)
    }

    async fn begin(&self, event: Event, end: fn(Ended) -> Event) -> Result<ServerChange, TransitionError> {
        let (begun, has_begun) = oneshot::channel();
        self.ask.send(Ask::Begin(event, end, begun)).map_err(|_| TransitionError::Stopping)?;
        has_begun.await.unwrap_or(Err(TransitionError::Stopping))
    }

    async fn happened(&self, event: Event) -> Result<GuestState, TransitionError> {
        let (done, is_done) = oneshot::channel();
        self.ask.send(Ask::Happened(event, done)).map_err(|_| TransitionError::Stopping)?;
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

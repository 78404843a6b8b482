//! Requests to the owner of the state, and the handle of a stop or start in progress.

use std::{io, time::Instant};

use tokio::sync::{mpsc, oneshot};
use trove_couchdb_guest::state::GuestState;

use super::transition::{Ended, Event, Illegal};
use crate::couch::Health;

/// Why a transition failed.
#[derive(Debug, thiserror::Error)]
pub enum TransitionError {
    /// The event is impossible in this state.
    #[error(transparent)]
    Illegal(#[from] Illegal),
    /// The file cannot be written. A guest must not enter a state that it cannot store.
    #[error("the agent's state directory can't be written ({0})")]
    NotWritten(io::Error),
    /// The agent is stopping.
    #[error("the agent is stopping")]
    Stopping,
}

/// The new state, or why it was not entered.
pub(super) type Transition = Result<GuestState, TransitionError>;

/// A request to the owner.
#[derive(Debug)]
pub(super) enum OwnerRequest {
    /// This event happened.
    Happened(Event, oneshot::Sender<Transition>),
    /// A stop or start begins. It ends even if the requester is gone.
    Begin(Event, fn(Ended) -> Event, oneshot::Sender<Result<ServerChange, TransitionError>>),
    /// The result of a health check that was sent at this time.
    Saw(Health, Instant),
    /// Read the file.
    Look(oneshot::Sender<()>),
    /// The form of a message shows the age of the control plane.
    ControlPlane { old: bool, noted: oneshot::Sender<()> },
    /// Send the unchanged state once more.
    TellAgain,
}

/// A stop or start in progress. It ends exactly once: with a known result, or as unknown when dropped.
#[derive(Debug)]
#[must_use]
pub struct ServerChange {
    requests: mpsc::UnboundedSender<OwnerRequest>,
    end: Option<fn(Ended) -> Event>,
}

impl ServerChange {
    pub(super) fn new(requests: mpsc::UnboundedSender<OwnerRequest>, end: fn(Ended) -> Event) -> Self {
        Self { requests, end: Some(end) }
    }

    /// Ends it with this result. Returns once the owner has recorded it.
    pub async fn ended(mut self, ended: Ended) {
        if let Some(reported) = self.end(ended) {
            let _stopping = reported.await;
        }
    }

    /// `None` if it has ended already or the agent is stopping.
    fn end(&mut self, ended: Ended) -> Option<oneshot::Receiver<Transition>> {
        let end = self.end.take()?;
        let (done, is_done) = oneshot::channel();
        self.requests.send(OwnerRequest::Happened(end(ended), done)).ok().map(|()| is_done)
    }
}

impl Drop for ServerChange {
    fn drop(&mut self) {
        drop(self.end(Ended::Unknown));
    }
}

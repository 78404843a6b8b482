//! What the owner of the state is asked, and a stop or start of CouchDB that is being carried out.

use std::{io, time::Instant};

use tokio::sync::{mpsc, oneshot};
use trove_couchdb_guest::state::GuestState;

use super::transition::{Ended, Event, Illegal};
use crate::couch::Health;

/// Why the state is not what it was to become.
#[derive(Debug, thiserror::Error)]
pub enum TransitionError {
    /// It can't be in this state.
    #[error(transparent)]
    Illegal(#[from] Illegal),
    /// The file can't be written: a guest that can't remember what it becomes must not become it.
    #[error("the agent's state directory can't be written ({0})")]
    NotWritten(io::Error),
    /// The agent is about to end.
    #[error("the agent is stopping")]
    Stopping,
}

/// The new state.
pub(super) type Transition = Result<GuestState, TransitionError>;

/// What the owner is asked.
#[derive(Debug)]
pub(super) enum Ask {
    /// This has happened.
    Happened(Event, oneshot::Sender<Transition>),
    /// A stop or start begins; whatever becomes of the asker, it ends.
    Begin(Event, fn(Ended) -> Event, oneshot::Sender<Result<ServerChange, TransitionError>>),
    /// CouchDB was asked at this time how it is.
    Saw(Health, Instant),
    /// Look at the file.
    Look(oneshot::Sender<()>),
    /// The form of a message says how old the control plane is.
    ControlPlane { old: bool, noted: oneshot::Sender<()> },
    /// Tell the state once more.
    TellAgain,
}

/// A stop or start that ends once: with what is known of it, or as unknown if it is dropped.
#[derive(Debug)]
#[must_use]
pub struct ServerChange {
    ask: mpsc::UnboundedSender<Ask>,
    end: Option<fn(Ended) -> Event>,
}

impl ServerChange {
    pub(super) fn new(ask: mpsc::UnboundedSender<Ask>, end: fn(Ended) -> Event) -> Self {
        Self { ask, end: Some(end) }
    }

    /// It has ended so. Returns when that is known.
    pub async fn ended(mut self, ended: Ended) {
        if let Some(told) = self.end(ended) {
            let _stopping = told.await;
        }
    }

    /// Without an owner the agent is about to end.
    fn end(&mut self, ended: Ended) -> Option<oneshot::Receiver<Transition>> {
        let end = self.end.take()?;
        let (done, is_done) = oneshot::channel();
        self.ask.send(Ask::Happened(end(ended), done)).ok().map(|()| is_done)
    }
}

impl Drop for ServerChange {
    fn drop(&mut self) {
        drop(self.end(Ended::Unknown));
    }
}

//! What the broker says of a connection beside its messages: alarms, and how the connection ended.
//!
//! lapin hands each event to one listener only, whichever asks first: so there is one here, which tells all others.

use futures_util::StreamExt;
use lapin::{Connection, ErrorKind, Event, protocol::AMQPErrorKind};
use tokio::sync::{mpsc, watch};

use super::publisher::Closure;

/// What one connection's events come to.
#[derive(Debug)]
pub(super) struct Events {
    /// How the connection ended.
    pub(super) ended: watch::Receiver<Option<Closure>>,
    /// The broker's reason each time it stops taking messages (`connection.blocked`), and `None` when it takes them again.
    pub(super) alarms: mpsc::UnboundedReceiver<Option<String>>,
}

impl Events {
    /// Listens from now on, until the connection ends. Call it once for each connection, before anything is published.
    pub(super) fn listen(connection: &Connection) -> Self {
        let ((note_end, ended), (tell, alarms)) = (watch::channel(None), mpsc::unbounded_channel());
        let mut events = Box::pin(connection.events_listener());
        tokio::spawn(async move {
            while let Some(event) = events.next().await {
                // Whoever hears of it may be gone before the connection is.
                match event {
                    Event::ConnectionBlocked(reason) => drop(tell.send(Some(reason))),
                    Event::ConnectionUnblocked => drop(tell.send(None)),
                    Event::Error(error) if !is_of_a_channel(&error) => {
                        note_end.send_replace(Some(Closure::of(&error)));
                        return;
                    }
                    _ => {}
                }
            }
        });
        Self { ended, alarms }
    }
}

/// The end of one channel (AMQP 0-9-1, section 1.2, "soft errors").
fn is_of_a_channel(error: &lapin::Error) -> bool {
    matches!(error.kind(), ErrorKind::ProtocolError(closed) if matches!(closed.kind(), AMQPErrorKind::Soft(_)))
}

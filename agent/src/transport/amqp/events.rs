//! The broker's events on a connection: alarms, and how the connection ended.
//!
//! lapin hands each event to only one listener. So there is one listener here, which passes the events on.

use futures_util::StreamExt;
use lapin::{Connection, ErrorKind, Event, protocol::AMQPErrorKind};
use tokio::sync::{mpsc, watch};

use super::publisher::Closure;

/// The events of one connection.
#[derive(Debug)]
pub(super) struct Events {
    /// How the connection ended.
    pub(super) ended: watch::Receiver<Option<Closure>>,
    /// The broker's reason when it stops accepting messages (`connection.blocked`); `None` when it accepts
    /// them again.
    pub(super) alarms: mpsc::UnboundedReceiver<Option<String>>,
}

impl Events {
    /// Listens until the connection ends. Call it once per connection, before anything is published.
    pub(super) fn listen(connection: &Connection) -> Self {
        let ((note_end, ended), (tell, alarms)) = (watch::channel(None), mpsc::unbounded_channel());
        let mut events = Box::pin(connection.events_listener());
        tokio::spawn(async move {
            while let Some(event) = events.next().await {
                // The receivers may be gone before the connection is.
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

/// Whether the error closes only a channel (AMQP 0-9-1, section 1.2, "soft errors").
fn is_of_a_channel(error: &lapin::Error) -> bool {
    matches!(error.kind(), ErrorKind::ProtocolError(closed) if matches!(closed.kind(), AMQPErrorKind::Soft(_)))
}

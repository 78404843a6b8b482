//! Finds the message because of which the broker closed the channel or the connection.
//!
//! RabbitMQ rejects some messages by a closure: a message larger than its `max_message_size` (406), a message
//! to an exchange that the account may not write to (403), a reply to an invented `amq.rabbitmq.reply-to.…`,
//! which crashes its channel (541). The closure names the message only in text for people. Publishing all
//! messages again would close the next channel in the same way, forever. So each message that was in flight
//! is a suspect and is published alone. The message that causes the same closure again is guilty.

use lapin::{
    ErrorKind,
    protocol::{AMQPErrorKind, AMQPHardError},
};

/// `access-refused` (AMQP 0-9-1, section 1.2, as are the codes below).
const ACCESS_REFUSED: u16 = 403;
/// `not-found`.
const NOT_FOUND: u16 = 404;
/// `precondition-failed`.
const PRECONDITION_FAILED: u16 = 406;

/// After this many attempts alone without a confirmation, a message is given up, whatever closed the
/// connections. An outage is not the message's fault, but rarely hits the same message alone, several times
/// in a row.
const MOST_TRIES: u32 = 3;

/// How the channel for replies closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Closure {
    /// The broker closed only the channel, with an error ("soft errors").
    Channel(u16),
    /// The broker closed the connection with an error ("hard errors").
    Connection(u16),
    /// An operator closed the connection, or it broke.
    Outage,
}

/// What is wrong with a guilty message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Guilt {
    /// The account may not write there. An administrator may be about to change that.
    Forbidden,
    /// The message is too large, as far as the agent can tell.
    Precondition,
    /// The connection closes whenever the message is published.
    Poison,
}

impl Closure {
    /// As far as this error shows: lapin's error for a message often says only that its channel is closed.
    pub(in super::super) fn of(error: &lapin::Error) -> Self {
        match error.kind() {
            ErrorKind::ProtocolError(closed) => match closed.kind() {
                AMQPErrorKind::Soft(_) => Self::Channel(closed.get_id()),
                AMQPErrorKind::Hard(AMQPHardError::CONNECTIONFORCED) => Self::Outage,
                AMQPErrorKind::Hard(_) => Self::Connection(closed.get_id()),
            },
            _ => Self::Outage,
        }
    }

    /// Whether a new channel on the same connection may work. Not if the exchange is missing: a new session
    /// declares it.
    pub(super) fn leaves_the_connection(self) -> bool {
        matches!(self, Self::Channel(code) if code != NOT_FOUND)
    }
}

/// The evidence against one message.
#[derive(Debug, Default)]
pub(super) struct Trial {
    last: Option<Closure>,
    tries_alone: u32,
}

impl Trial {
    /// Whether the message must be published alone.
    pub(super) fn is_suspect(&self) -> bool {
        self.last.is_some()
    }

    /// The channel closed while the message was in flight. Returns what is wrong with the message, if it is
    /// guilty.
    pub(super) fn assess(&mut self, closure: Closure) -> Option<Guilt> {
        let before = self.last.replace(closure);
        if before.is_some() {
            self.tries_alone += 1;
        }
        let same_error = before == Some(closure) && closure != Closure::Outage;
        (same_error || self.tries_alone >= MOST_TRIES).then_some(match closure {
            Closure::Channel(ACCESS_REFUSED) => Guilt::Forbidden,
            Closure::Channel(PRECONDITION_FAILED) => Guilt::Precondition,
            _ => Guilt::Poison,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CRASH: Closure = Closure::Connection(541);

    #[test]
    fn the_same_error_after_a_message_alone_is_enough() {
        let guilts = [
            (CRASH, Guilt::Poison),
            (Closure::Channel(403), Guilt::Forbidden),
            (Closure::Channel(406), Guilt::Precondition),
        ];
        for (closure, guilt) in guilts {
            let mut trial = Trial::default();
            assert_eq!(trial.assess(closure), None, "others were under way too");
            assert!(trial.is_suspect());
            assert_eq!(trial.assess(closure), Some(guilt));
        }
    }

    #[test]
    fn an_outage_alone_is_not_and_yet_nothing_goes_on_for_ever() {
        for closures in [[Closure::Outage; 4], [CRASH, Closure::Outage, CRASH, Closure::Outage]] {
            let mut trial = Trial::default();
            let guilty = closures.map(|closure| trial.assess(closure).is_some());
            assert_eq!(guilty, [false, false, false, true], "{closures:?}");
        }
    }

    #[test]
    fn only_what_one_message_did_leaves_the_connection() {
        let leaves = [Closure::Channel(403), Closure::Channel(404), CRASH, Closure::Outage]
            .map(Closure::leaves_the_connection);
        assert_eq!(leaves, [true, false, false, false]);
    }
}

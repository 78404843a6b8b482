//! Which message is it that the broker ends the channel or the connection for?
//!
//! RabbitMQ refuses some messages by a closure: one that is larger than its `max_message_size` (406), one to an exchange that
//! the account may not write to (403), a reply to a made-up `amq.rabbitmq.reply-to.…`, which crashes its channel (541). The
//! closure doesn't say which message it is, except in words for people. To publish all of them again would end the next
//! channel in the same way, for ever. So each message that was under way is a suspect: it goes out alone, and the one that is
//! followed by the same closure is the one.

use lapin::{
    ErrorKind,
    protocol::{AMQPErrorKind, AMQPHardError},
};

/// `access-refused` (AMQP 0-9-1, section 1.2, as the others).
const ACCESS_REFUSED: u16 = 403;
/// `not-found`.
const NOT_FOUND: u16 = 404;
/// `precondition-failed`.
const PRECONDITION_FAILED: u16 = 406;

/// So often a message goes out alone and no confirmation comes, whatever ended the connections. An outage of the broker or
/// of the network is no fault of the message, and rarely hits the same one, alone, again and again.
const MOST_TRIES: u32 = 3;

/// How the channel for answers ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Closure {
    /// The broker closed it with an error, and not its connection ("soft errors").
    Channel(u16),
    /// The broker closed the connection with an error ("hard errors").
    Connection(u16),
    /// An operator closed it, or nobody did and it broke.
    Outage,
}

/// What a message is guilty of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Guilt {
    /// The account may not write there, which an administrator may be about to change.
    Forbidden,
    /// Too large, as far as anybody knows.
    Precondition,
    /// The connection ends whenever it is published.
    Poison,
}

impl Closure {
    /// As far as this error tells: lapin's error of a message mostly says no more than that its channel is closed.
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

    /// Whether another channel of the same connection may do. Not where the exchange is gone: a new session declares it.
    pub(super) fn leaves_the_connection(self) -> bool {
        matches!(self, Self::Channel(code) if code != NOT_FOUND)
    }
}

/// What is known against one message.
#[derive(Debug, Default)]
pub(super) struct Trial {
    last: Option<Closure>,
    tries_alone: u32,
}

impl Trial {
    /// Whether the message is to be published with no other one under way.
    pub(super) fn is_suspect(&self) -> bool {
        self.last.is_some()
    }

    /// The channel ended while the message was under way. What the message is guilty of, if of anything.
    pub(super) fn judge(&mut self, closure: Closure) -> Option<Guilt> {
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
            assert_eq!(trial.judge(closure), None, "others were under way too");
            assert!(trial.is_suspect());
            assert_eq!(trial.judge(closure), Some(guilt));
        }
    }

    #[test]
    fn an_outage_alone_is_not_and_yet_nothing_goes_on_for_ever() {
        for closures in [[Closure::Outage; 4], [CRASH, Closure::Outage, CRASH, Closure::Outage]] {
            let mut trial = Trial::default();
            let guilty = closures.map(|closure| trial.judge(closure).is_some());
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

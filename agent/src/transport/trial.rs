//! Which message is it that the broker ends the connection for?
//!
//! RabbitMQ refuses some messages by closing the connection (a reply to a made-up `amq.rabbitmq.reply-to.…` crashes its
//! channel: 541), and nothing in the closure names the message. To publish all of them again would end the next
//! connection in the same way, for ever. So each message that was under way is a suspect: it goes out alone, and the one
//! that is followed by the same closure is dropped.

use lapin::{
    ErrorKind,
    protocol::{AMQPErrorKind, AMQPHardError},
};

use super::publish::PublishError;

/// So often a message goes out alone and no confirmation comes, whatever ended the connections. An outage of the broker or
/// of the network is no fault of the message, and rarely hits the same one, alone, again and again.
const MOST_TRIES: u32 = 3;

/// How a connection ended, or the channel for answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Closure {
    /// The broker closed it with an error (the reply codes of AMQP 0-9-1, section 1.2).
    Error(u16),
    /// An operator closed it, or nobody did and it broke.
    Outage,
}

impl Closure {
    pub(super) fn of(error: &lapin::Error) -> Self {
        match error.kind() {
            ErrorKind::ProtocolError(closed) => match closed.kind() {
                AMQPErrorKind::Hard(AMQPHardError::CONNECTIONFORCED) => Self::Outage,
                _ => Self::Error(closed.get_id()),
            },
            _ => Self::Outage,
        }
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

    /// The message was not taken. Whether the connection ended because of it.
    pub(super) fn finds_guilty(&mut self, error: &PublishError) -> bool {
        error.closure().is_some_and(|closure| self.is_guilty(closure))
    }

    fn is_guilty(&mut self, closure: Closure) -> bool {
        let before = self.last.replace(closure);
        if before.is_some() {
            self.tries_alone += 1;
        }
        let same_error = before == Some(closure) && matches!(closure, Closure::Error(_));
        same_error || self.tries_alone >= MOST_TRIES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CRASH: Closure = Closure::Error(541);

    #[test]
    fn the_same_error_after_a_message_alone_is_enough() {
        let mut trial = Trial::default();
        assert!(!trial.is_suspect() && !trial.is_guilty(CRASH), "others were under way too");
        assert!(trial.is_suspect() && trial.is_guilty(CRASH));
    }

    #[test]
    fn an_outage_alone_is_not_and_yet_nothing_goes_on_for_ever() {
        for closures in [[Closure::Outage; 4], [CRASH, Closure::Outage, CRASH, Closure::Outage]] {
            let mut trial = Trial::default();
            let verdicts = closures.map(|closure| trial.is_guilty(closure));
            assert_eq!(verdicts, [false, false, false, true], "{closures:?}");
        }
    }
}

//! Why the broker closed the channel on which answers are published, and whose message was the reason.
//!
//! RabbitMQ refuses some messages by closing the channel, and with it whatever else is under way there. The guilty one
//! would close each channel that comes after in the same way; the others are only to be published again.

use lapin::{Error, ErrorKind};

use super::topology::{is_mismatch, is_refused};

/// What the broker holds against one of the messages of a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal<'a> {
    /// It has more bytes than the broker's `max_message_size` (`rabbit_channel.erl`, `check_msg_size`).
    TooLarge { limit: usize },
    /// The account may not write to the exchange (`rabbit_access_control.erl`, `check_resource_access`).
    Forbidden { words: &'a str },
}

impl<'a> Refusal<'a> {
    /// `None` if the channel was closed for another reason, or its connection with it.
    pub(super) fn of(error: &'a Error) -> Option<Self> {
        let ErrorKind::ProtocolError(closed) = error.kind() else { return None };
        let words = closed.get_message().as_str();
        if is_mismatch(error) {
            let (_, limit) = words.rsplit_once("max size ")?;
            return limit.trim().parse().ok().map(|limit| Self::TooLarge { limit });
        }
        is_refused(error).then_some(Self::Forbidden { words })
    }

    /// Whether a message of so many bytes to this exchange is the one.
    pub(super) fn concerns(self, exchange: &str, bytes: usize) -> bool {
        match self {
            Self::TooLarge { limit } => bytes > limit,
            Self::Forbidden { words } => {
                // RabbitMQ's name of the exchange without a name.
                let exchange = if exchange.is_empty() { "amq.default" } else { exchange };
                words.contains(&format!("exchange '{exchange}'"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use lapin::protocol::{AMQPError, AMQPHardError, AMQPSoftError};

    use super::*;

    fn soft(kind: AMQPSoftError, words: &str) -> Error {
        ErrorKind::ProtocolError(AMQPError::new(kind.into(), words.into())).into()
    }

    /// The words are RabbitMQ 3.10's and 4.1's.
    #[test]
    fn a_message_is_guilty_by_its_size_or_by_its_exchange() {
        let words = "PRECONDITION_FAILED - message size 2306900 is larger than configured max size 1048576";
        let error = soft(AMQPSoftError::PRECONDITIONFAILED, words);
        let refusal = Refusal::of(&error).unwrap();
        assert_eq!(refusal, Refusal::TooLarge { limit: 1_048_576 });
        assert!(refusal.concerns("", 2_306_900) && refusal.concerns("trove", 1_048_577));
        assert!(!refusal.concerns("", 1_048_576));

        let words =
            "ACCESS_REFUSED - write access to exchange 'amq.default' in vhost '/' refused for user 'trove'";
        let error = soft(AMQPSoftError::ACCESSREFUSED, words);
        let refusal = Refusal::of(&error).unwrap();
        assert!(refusal.concerns("", 7) && !refusal.concerns("trove", 7));
    }

    #[test]
    fn a_channel_that_is_closed_for_another_reason_is_lost_with_its_session() {
        let missing = "NOT_FOUND - no exchange 'trove' in vhost '/'";
        let others = [
            soft(AMQPSoftError::NOTFOUND, missing),
            soft(AMQPSoftError::PRECONDITIONFAILED, "PRECONDITION_FAILED - invalid expiration"),
            ErrorKind::ProtocolError(AMQPError::new(
                AMQPHardError::CONNECTIONFORCED.into(),
                "CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'".into(),
            ))
            .into(),
        ];
        for error in &others {
            assert_eq!(Refusal::of(error), None, "{error}");
        }
    }
}

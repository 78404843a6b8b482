//! A reply reads back unchanged, in clear and encrypted. Any other input is rejected with a readable error.

use trove_couchdb_protocol::{Outcome, ReplyAddress, ReplyQueue, decode_reply, encode_reply};

use crate::{assert_readable, cipher_of_captures, has_fraction};

/// Panics when the guarantee at the top of this file is broken.
pub fn holds(data: &[u8]) {
    let cipher = cipher_of_captures();
    for key in [None, Some(&cipher)] {
        let reply = match decode_reply(data, key) {
            Ok(reply) => reply,
            Err(error) => {
                assert_readable(&error.to_string());
                continue;
            }
        };
        let with_fraction = match &reply.outcome {
            Outcome::Success(result) => has_fraction(result),
            Outcome::Failure(failure) => failure.args.iter().any(has_fraction),
        };
        if with_fraction {
            continue;
        }
        let to = ReplyAddress { msg_id: reply.msg_id.clone(), reply_queue: ReplyQueue::local() };
        for key in [None, Some(&cipher)] {
            let again = decode_reply(&encode_reply(&to, "u", &reply.outcome, key), key);
            let again = again.map(|again| (again.msg_id, again.unique_id, again.outcome, again.ending));
            let expected = (reply.msg_id.clone(), Some("u".to_owned()), reply.outcome.clone(), true);
            assert_eq!(again, Ok(expected));
        }
    }
}

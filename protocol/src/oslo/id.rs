//! Ids of messages, calls and queues.

/// A fresh id as oslo makes them: 32 hexadecimal digits.
pub fn new_id() -> String {
    format!("{:032x}", rand::random::<u128>())
}

//! Ids of messages, calls and queues.

/// A random id in oslo's form: 32 hexadecimal digits.
pub fn new_id() -> String {
    format!("{:032x}", rand::random::<u128>())
}

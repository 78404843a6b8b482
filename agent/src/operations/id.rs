//! The id of a command's operation.

use sha2::{Digest, Sha256};
use trove_couchdb_protocol::OperationId;

/// The operation id for the command with this `_unique_id`. It is the same for each delivery, so that the
/// command is handed over only once.
pub fn of_command(id: &str) -> OperationId {
    let digest = Sha256::digest(format!("operation of {id}").as_bytes());
    let mut half = [0; 16];
    half.copy_from_slice(&digest[..16]);
    OperationId::of_bits(u128::from_be_bytes(half))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_has_one_operation() {
        assert_eq!(of_command("one"), of_command("one"));
        assert_ne!(of_command("one"), of_command("two"));
    }
}

//! The marks by which a message is recognised.

use sha2::{Digest, Sha256};
use trove_couchdb_delivery::Mark;
use trove_couchdb_protocol::{OperationId, Request, Seal};

/// All marks of one message; the first is the mark of its id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::transport::rpc) struct ReplayTags(Vec<Seal>);

impl ReplayTags {
    pub(in crate::transport::rpc) fn of(request: &Request, id: &str) -> Self {
        Self(std::iter::once(Self::of_id(id)).chain(request.seals.iter().copied()).collect())
    }

    /// The mark of a message's id.
    pub(in crate::transport::rpc) fn of_id(id: &str) -> Seal {
        let digest = Sha256::digest(id.as_bytes());
        let mut own = [0; 16];
        own.copy_from_slice(&digest[..16]);
        Seal(own)
    }

    /// The mark of an operation.
    pub(in crate::transport::rpc) fn of_operation(id: &OperationId) -> Mark {
        Mark(Self::of_id(id.as_str()).0)
    }

    pub(in crate::transport::rpc) fn from_seals(seals: Vec<Seal>) -> Self {
        Self(seals)
    }

    pub(in crate::transport::rpc) fn seals(&self) -> impl Iterator<Item = Seal> {
        self.0.iter().copied()
    }

    pub(in crate::transport::rpc) fn id(&self) -> Option<Seal> {
        self.0.first().copied()
    }

    pub(super) fn for_the_core(&self) -> Vec<Mark> {
        self.seals().map(|seal| Mark(seal.0)).collect()
    }
}

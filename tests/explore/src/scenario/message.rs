//! A message: what it reads and writes, and what is unusual about it.

use trove_couchdb_delivery::{Mark, Scopes, Source};

/// The number of objects that commands read and write: two users or databases, and one more.
pub(crate) const THINGS: usize = 3;

/// What a command reads and writes, one bit for each object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Bits {
    pub(crate) reads: u8,
    pub(crate) writes: u8,
}

impl Scopes for Bits {
    fn conflicts_with(&self, other: &Self) -> bool {
        self.writes & (other.reads | other.writes) != 0 || other.writes & self.reads != 0
    }

    fn only_reads(&self) -> bool {
        self.writes == 0
    }
}

/// One message.
#[allow(clippy::struct_excessive_bools, reason = "independent facts")]
#[derive(Debug, Clone)]
pub(crate) struct Message {
    pub(crate) name: &'static str,
    /// Messages with the same number have the same id.
    pub(crate) id: u8,
    pub(crate) source: Source,
    pub(crate) scopes: Bits,
    /// Its caller may give up.
    pub(crate) has_deadline: bool,
    /// It needs a secret on the disk before it begins.
    pub(crate) has_secret: bool,
    /// The id of the message that its encrypted parts were recorded from.
    pub(crate) parts_of: Option<u8>,
    /// It cannot run because its method is unknown. For an operation: the agent that finds it on the disk
    /// cannot read it.
    pub(crate) is_unacceptable: bool,
    /// It is not a valid request.
    pub(crate) is_unreadable: bool,
    /// It is handed over to the disk as the operation with this number.
    pub(crate) operation: Option<u8>,
}

impl Message {
    pub(super) const fn new(name: &'static str, id: u8, source: Source, reads: u8, writes: u8) -> Self {
        Self {
            name,
            id,
            source,
            scopes: Bits { reads, writes },
            has_deadline: false,
            has_secret: false,
            parts_of: None,
            is_unacceptable: false,
            is_unreadable: false,
            operation: None,
        }
    }

    pub(super) const fn cast(name: &'static str, id: u8, writes: u8) -> Self {
        Self::new(name, id, Source::Broker, 0, writes)
    }

    pub(super) const fn call(name: &'static str, id: u8, writes: u8) -> Self {
        Self { has_deadline: true, ..Self::cast(name, id, writes) }
    }

    pub(super) const fn read(name: &'static str, id: u8, reads: u8) -> Self {
        Self::new(name, id, Source::Broker, reads, 0)
    }

    pub(super) const fn socket(name: &'static str, id: u8, writes: u8) -> Self {
        Self::new(name, id, Source::Socket, 0, writes)
    }

    pub(super) const fn operation(name: &'static str, id: u8, writes: u8) -> Self {
        Self::new(name, id, Source::Disk, 0, writes)
    }

    pub(super) const fn becomes(self, operation: u8) -> Self {
        Self { operation: Some(operation), ..self }
    }

    pub(super) const fn encrypted(self) -> Self {
        Self { parts_of: Some(self.id), ..self }
    }

    pub(crate) fn mark(&self) -> Mark {
        mark_of(self.id)
    }

    pub(crate) fn parts(&self) -> Vec<Mark> {
        self.parts_of.map(|id| Mark([0x80 | id; 16])).into_iter().collect()
    }

    /// Whether its parts come from a different message.
    pub(crate) fn is_forged(&self) -> bool {
        self.parts_of.is_some_and(|id| id != self.id)
    }

    /// It needs no place.
    pub(crate) fn is_long(&self) -> bool {
        self.operation.is_some() || self.source == Source::Disk
    }

    pub(crate) fn changes(&self) -> bool {
        !self.scopes.only_reads() && (!self.is_unacceptable || self.source == Source::Disk)
    }
}

pub(crate) fn mark_of(id: u8) -> Mark {
    Mark([id; 16])
}

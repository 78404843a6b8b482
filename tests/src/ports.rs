//! Blocks of free TCP ports on the loopback, disjoint between test processes that run at the same time.
//!
//! Who calls: the RabbitMQ node, which needs to know its ports before it starts. A block is reserved by a file lock
//! that lasts as long as the block's owner, then each port is tried. Only ports below 32768 are given out: above,
//! Linux hands ports to outgoing connections, and a client that reconnects while the broker is down can take its
//! port.

use std::fs::File;
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use rustix::fs::{FlockOperation, flock};

const FIRST: u16 = 20_000;
const LAST: u16 = 32_000;

/// Consecutive ports reserved for one owner; given back on drop.
#[derive(Debug)]
pub struct PortBlock {
    base: u16,
    _lock: File,
}

impl PortBlock {
    /// Ports in a block: AMQP, Erlang distribution, epmd and AMQP over TLS.
    pub const SIZE: u16 = 4;

    /// Reserves a block; fails only when every block of the range is taken.
    pub fn reserve() -> Result<Self> {
        let directory = lock_directory();
        std::fs::create_dir_all(&directory)
            .with_context(|| format!("cannot create {}", directory.display()))?;
        let blocks = (LAST - FIRST) / Self::SIZE;
        let start = rand::random_range(0..blocks);
        for offset in 0..blocks {
            let base = FIRST + (start + offset) % blocks * Self::SIZE;
            let path = directory.join(format!("{base}.lock"));
            let lock = File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
            let ours = flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok();
            if ours && (base..base + Self::SIZE).all(is_free) {
                return Ok(Self { base, _lock: lock });
            }
        }
        bail!("no {} free consecutive ports between {FIRST} and {LAST} on 127.0.0.1", Self::SIZE)
    }

    /// The port number `index` of the block, `index` below [`PortBlock::SIZE`].
    pub fn port(&self, index: u16) -> u16 {
        debug_assert!(index < Self::SIZE, "port {index} of a block of {}", Self::SIZE);
        self.base + index
    }
}

fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

/// One directory per user, so that root's lock files do not lock others out.
fn lock_directory() -> PathBuf {
    std::env::temp_dir().join(format!("trove-couchdb-ports-{}", rustix::process::getuid().as_raw()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn blocks_are_disjoint_and_below_the_ephemeral_range() {
        let blocks: Vec<_> = (0..20).map(|_| PortBlock::reserve().unwrap()).collect();
        let mut bases: Vec<_> = blocks.iter().map(|block| block.port(0)).collect();
        bases.sort_unstable();
        bases.dedup();
        assert_eq!(bases.len(), 20);
        assert!(bases.iter().all(|base| (FIRST..LAST).contains(base) && base + PortBlock::SIZE <= 32_768));
    }

    #[test]
    fn a_port_in_use_is_not_free() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        assert!(!is_free(listener.local_addr().unwrap().port()));
    }
}

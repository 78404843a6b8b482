//! Blocks of free TCP ports on the loopback that do not overlap between concurrent test processes.
//!
//! Caller: the RabbitMQ node, which needs its ports before it starts. A file lock reserves a block as long as
//! its owner lives; then each port is tried. All ports are below 32768: Linux assigns higher ports to
//! outgoing connections, so a client that reconnects while the broker is down could take the broker's port.

use std::fs::File;
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use rustix::fs::{FlockOperation, flock};

const FIRST: u16 = 20_000;
const LAST: u16 = 32_000;

/// Consecutive ports reserved for one owner; dropping the block frees them.
#[derive(Debug)]
pub struct PortBlock {
    base: u16,
    _lock: File,
}

impl PortBlock {
    /// Ports in a block: AMQP, Erlang distribution, epmd and AMQP over TLS.
    pub const SIZE: u16 = 4;

    /// Reserves a block; fails only if every block of the range is taken.
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

    /// The port at `index`, which is below [`PortBlock::SIZE`].
    pub fn port(&self, index: u16) -> u16 {
        debug_assert!(index < Self::SIZE, "port {index} of a block of {}", Self::SIZE);
        self.base + index
    }
}

fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

/// One directory per user, because other users cannot open root's lock files.
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

//! The sockets that listen on a port of this machine. As long as they do not change, the server is the same.
//!
//! Linux gives each socket a unique number (`inode` in `/proc/net/tcp`), which every account may read and
//! which changes when a server is restarted.

use std::fs;

/// The state of a listening socket (`TCP_LISTEN` of the kernel's `tcp_states.h`).
const LISTEN: &str = "0A";

/// The kernel's numbers of the sockets that listen on a local TCP port, sorted. Empty if the kernel does not
/// show them.
///
/// Blocks; call it off the async threads.
pub fn listeners(port: u16) -> Vec<u64> {
    // Not /proc/net, which the unit's ProcSubset=pid hides.
    let tables = ["/proc/self/net/tcp", "/proc/self/net/tcp6"]
        .map(|table| fs::read_to_string(table).unwrap_or_default());
    let mut found: Vec<u64> = tables.iter().flat_map(|table| of_port(table, port)).collect();
    found.sort_unstable();
    found
}

/// A line: `sl local_address rem_address st tx_queue:rx_queue tr:tm->when retrnsmt uid timeout inode …`.
fn of_port(table: &str, port: u16) -> impl Iterator<Item = u64> + '_ {
    table.lines().skip(1).filter_map(move |line| {
        let mut fields = line.split_whitespace().skip(1);
        let (_, local_port) = fields.next()?.rsplit_once(':')?;
        let state = fields.nth(1)?;
        let is_it = state == LISTEN && u16::from_str_radix(local_port, 16) == Ok(port);
        is_it.then(|| fields.nth(5)?.parse().ok()).flatten()
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_server_that_is_started_again_has_another_number() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let first = listeners(port);
        assert_eq!(first.len(), 1, "{first:?}");
        assert_eq!(listeners(port), first);
        drop(listener);
        assert!(listeners(port).is_empty());
        let _again = TcpListener::bind(("127.0.0.1", port)).unwrap();
        assert_ne!(listeners(port), first);
    }

    #[test]
    fn what_only_is_connected_does_not_listen() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   \
                     0: 0100007F:1760 00000000:0000 0A 00000000:00000000 00:00000000 00000000   105        0 21417 1 0 100\n   \
                     1: 0100007F:1760 0100007F:C3A2 01 00000000:00000000 00:00000000 00000000   105        0 33333 1 0 20\n";
        assert_eq!(of_port(table, 5984).collect::<Vec<_>>(), [21417]);
        assert_eq!(of_port(table, 5985).count(), 0);
        assert_eq!(of_port("", 5984).count(), 0);
    }
}

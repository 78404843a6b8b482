//! Identifies the peer of a local connection and decides whether it may send commands.
//!
//! `SO_PEERCRED` gives uid, gid and pid at the time of the connect, but not the supplementary groups, through
//! which most members belong to a group. At the connect the kernel checks all groups of the caller against
//! the mode of the socket: 0660 with the group of `local.group`. So a peer that is neither root nor the
//! agent's own user was admitted through that group, as long as the socket is still as the agent created it.
//! The agent checks that again. Without `local.group` the socket's group depends on how the agent was
//! started, and its members are refused.

use std::fmt;

use rustix::process::geteuid;
use tokio::net::unix::UCred;
use trove_couchdb_protocol::{Failure, FailureClass};

use crate::audit::Source;

/// A process on this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Peer {
    uid: u32,
    gid: u32,
    pid: Option<i32>,
}

impl From<UCred> for Peer {
    fn from(credentials: UCred) -> Self {
        Self { uid: credentials.uid(), gid: credentials.gid(), pid: credentials.pid() }
    }
}

impl Peer {
    /// For the audit log.
    pub(super) fn source(&self) -> Source {
        let Self { uid, gid, pid } = *self;
        Source::Local { uid, gid, pid }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "uid={} gid={}", self.uid, self.gid)?;
        self.pid.map_or(Ok(()), |pid| write!(f, " pid={pid}"))
    }
}

/// Decides which peers may use the socket.
#[derive(Debug, Clone, Copy)]
pub(super) struct Guard {
    own_user: u32,
    group: Option<u32>,
}

impl Guard {
    /// Admits root, the agent's own user, and `group` if there is one.
    pub(super) fn new(group: Option<u32>) -> Self {
        Self { own_user: geteuid().as_raw(), group }
    }

    /// Whether a process may send commands; `socket_is_guarded` is called only if it matters.
    pub(super) fn admits(&self, peer: &Peer, socket_is_guarded: impl FnOnce() -> bool) -> bool {
        let by_user = peer.uid == 0 || peer.uid == self.own_user;
        by_user || self.group.is_some_and(|group| peer.gid == group || socket_is_guarded())
    }

    /// The error for a process that may not.
    pub(super) fn refusal(&self, peer: &Peer) -> Failure {
        let remedy = match self.group {
            Some(_) => {
                "the socket's mode or group was changed, so the agent can't tell who may use it; restart the agent"
            }
            None => "only root and the agent's user may; set local.group to let a group in",
        };
        Failure::new(
            FailureClass::Forbidden,
            format!("uid {} may not give this agent commands: {remedy}", peer.uid),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(uid: u32, gid: u32) -> Peer {
        Peer { uid, gid, pid: Some(1) }
    }

    #[test]
    fn root_and_our_own_user_may_always() {
        for group in [None, Some(7)] {
            let guard = Guard { own_user: 500, group };
            for uid in [0, 500] {
                assert!(guard.admits(&peer(uid, 1), || unreachable!("not asked")));
            }
        }
    }

    #[test]
    fn others_need_a_group_that_is_meant() {
        let closed = Guard { own_user: 500, group: None };
        assert!(!closed.admits(&peer(501, 500), || true), "the socket's group is an accident");
        assert!(closed.refusal(&peer(501, 500)).message.contains("local.group"));
        let open = Guard { own_user: 500, group: Some(7) };
        assert!(open.admits(&peer(501, 7), || false), "by its first group");
        assert!(open.admits(&peer(501, 1), || true), "by another one: the kernel let it in");
        assert!(!open.admits(&peer(501, 1), || false), "the kernel may let any account in");
    }
}

//! The service manager's side of `sd_notify`: a socket that collects the agent's notifications.
//!
//! Caller: [`super::AgentProcess`]. Each run of the agent has its own socket, so that a message of a killed
//! run is not mistaken for one of the next run.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::net::UnixDatagram;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// `sd_notify` datagrams are short; a longer one is truncated.
const LONGEST: usize = 4096;

/// A bound socket and the assignments received so far, e.g. `READY=1` or `STATUS=…`.
#[derive(Debug)]
pub struct NotifySocket {
    path: PathBuf,
    received: watch::Receiver<Vec<String>>,
    task: JoinHandle<()>,
}

impl NotifySocket {
    /// Binds a socket at `path`, which must be shorter than 108 bytes (`sockaddr_un`).
    pub fn bind(path: PathBuf) -> Result<Self> {
        let socket = UnixDatagram::bind(&path).with_context(|| format!("cannot bind {}", path.display()))?;
        let (sender, received) = watch::channel(Vec::new());
        let task = tokio::spawn(async move {
            let mut buffer = vec![0; LONGEST];
            while let Ok(length) = socket.recv(&mut buffer).await {
                let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
                sender.send_modify(|lines| lines.extend(text.lines().map(str::to_owned)));
            }
        });
        Ok(Self { path, received, task })
    }

    /// The value of `NOTIFY_SOCKET`.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Every assignment received so far, in order.
    pub fn received(&self) -> Vec<String> {
        self.received.borrow().clone()
    }

    /// Waits up to `limit` for an assignment that `wanted` accepts.
    pub async fn wait_for(&self, limit: Duration, wanted: impl Fn(&str) -> bool) -> Result<String> {
        let mut received = self.received.clone();
        let lines = timeout(limit, received.wait_for(|lines| lines.iter().any(|line| wanted(line))))
            .await
            .with_context(|| {
                format!("not notified within {limit:?}; received so far: {:?}", self.received())
            })?
            .context("the notify socket is closed")?;
        lines.iter().find(|line| wanted(line)).cloned().context("an assignment was lost")
    }
}

impl Drop for NotifySocket {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use crate::until::HUNG;

    #[tokio::test]
    async fn one_datagram_may_carry_several_assignments() {
        let directory = tempfile::tempdir().unwrap();
        let socket = NotifySocket::bind(directory.path().join("notify.sock")).unwrap();
        let sender = UnixDatagram::unbound().unwrap();
        sender.send_to(b"STATUS=serving\nREADY=1\n", socket.path()).await.unwrap();
        let line = socket.wait_for(HUNG, |line| line == "READY=1").await.unwrap();
        assert_eq!(line, "READY=1");
        assert_eq!(socket.received(), ["STATUS=serving", "READY=1"]);
        assert!(socket.wait_for(Duration::from_millis(20), |line| line == "STOPPING=1").await.is_err());
    }
}

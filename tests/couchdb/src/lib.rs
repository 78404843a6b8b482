//! An in-memory CouchDB, for tests and for trying the agent.
//!
//! CouchDB is in no package registry, and the behaviour that the agent must survive (CouchDB's asynchronous
//! hashing, lockouts, first seconds, differences between 1.x and 3.5) cannot be mocked call by call. So this
//! is a stateful server with real authentication, authorization and revisions; `tests/conformance.rs` checks
//! it against recorded transcripts of real servers. It answers 501 to everything it does not imitate. It is
//! also the fault injector, see [`Faults`].
//!
//! ```text
//! wire (cuttable TCP) -> server (faults, log) -> routes -> auth -> access
//!                                            -> one handler per family -> node (state)
//! ```
//!
//! Users: the integration tests, the tour and the `in-memory-couchdb` binary. It does not depend on the other
//! crates.

mod access;
mod admins;
mod auth;
mod config;
mod cookie;
mod database;
mod faults;
mod ini;
mod keep;
mod lockout;
mod log;
mod node;
mod options;
mod password_rules;
mod passwords;
mod personality;
mod reply;
mod request;
mod revision;
mod routes;
mod server;
mod trouble;
mod users;
mod window;
mod wire;

use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub use faults::{Fault, Faults, Rule};
pub use log::{LogEntry, RequestLog};
pub use options::{Options, StartError};
pub use personality::{UnknownVersion, Version};
pub use trouble::{Fat, Trouble};

use crate::node::Node;

/// A node that listens on 127.0.0.1 until it is stopped or dropped.
#[derive(Debug)]
pub struct InMemoryCouch {
    node: Arc<Node>,
    port: u16,
    running: Option<(CancellationToken, JoinHandle<()>)>,
}

impl InMemoryCouch {
    /// Starts a new node; must be called on a tokio runtime, which then serves it.
    pub async fn start(options: Options) -> Result<Self, StartError> {
        let port = options.port;
        let node = Node::new(options);
        keep::restore(&node)?;
        let mut couch = Self { node: Arc::new(node), port, running: None };
        couch.start_again().await?;
        Ok(couch)
    }

    /// Starts a stopped node on the same port with its persistent state; does nothing on a running node.
    pub async fn start_again(&mut self) -> Result<(), StartError> {
        if self.running.is_some() {
            return Ok(());
        }
        self.node.boot()?;
        let node = Arc::clone(&self.node);
        // If the hashing thread panics, plain passwords remain, which do not log in.
        drop(tokio::task::spawn_blocking(move || admins::hash_all(&node)).await);
        keep::keep(&self.node).map_err(|source| StartError::Kept { source })?;
        let failed = |source| StartError::Bind { port: self.port, source };
        let listener = TcpListener::bind(("127.0.0.1", self.port)).await.map_err(failed)?;
        self.port = listener.local_addr().map_err(failed)?.port();
        self.node.set_port(self.port);
        let stopped = CancellationToken::new();
        let task = server::serve(Arc::clone(&self.node), listener, stopped.clone());
        self.running = Some((stopped, task));
        Ok(())
    }

    /// Stops the node like a crash: connections are cut, the port is closed; state, secret and faults are
    /// kept.
    pub async fn stop(&mut self) {
        if let Some((stopped, task)) = self.running.take() {
            stopped.cancel();
            // The task was cancelled and has no result.
            drop(task.await);
        }
    }

    /// The port of the node, also while it is stopped.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The address without a trailing slash: `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The release line.
    pub fn version(&self) -> Version {
        self.node.version
    }

    /// The fault injector.
    pub fn faults(&self) -> &Faults {
        &self.node.faults
    }

    /// Sets the problems of the server from now on; the default has none.
    pub fn trouble(&self, trouble: Trouble) {
        self.node.state().set_trouble(trouble);
    }

    /// Every request since the first start.
    pub fn log(&self) -> &RequestLog {
        &self.node.log
    }

    /// Waits until all plain admin passwords are hashed.
    pub async fn admins_are_hashed(&self) {
        // The node holds the sender, so the wait cannot fail.
        drop(self.node.unhashed.subscribe().wait_for(|waiting| *waiting == 0).await);
    }
}

impl Drop for InMemoryCouch {
    fn drop(&mut self) {
        if let Some((stopped, _)) = &self.running {
            stopped.cancel();
        }
    }
}

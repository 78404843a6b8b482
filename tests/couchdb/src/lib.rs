//! An in-memory CouchDB, for tests and for trying the agent out.
//!
//! Why: CouchDB is in none of the package registries, and the traps that the agent must survive (CouchDB's asynchronous
//! hashing, lockouts, first seconds, differences between 1.x and 3.5) can't be mocked call by call. This is a stateful
//! server with real authentication, authorization and revisions, held to recorded transcripts of real servers by
//! `tests/conformance.rs`. What it does not imitate answers 501. It is also the fault injector, see [`Faults`].
//!
//! ```text
//! wire (cuttable TCP) -> server (faults, log) -> routes -> auth -> access -> one handler per family -> node (state)
//! ```
//!
//! Used by the integration tests, the tour and the `in-memory-couchdb` binary; depends on none of the other crates.

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
pub use trouble::Trouble;

use crate::node::Node;

/// A node that listens on 127.0.0.1 until it is stopped or dropped.
#[derive(Debug)]
pub struct InMemoryCouch {
    node: Arc<Node>,
    port: u16,
    running: Option<(CancellationToken, JoinHandle<()>)>,
}

impl InMemoryCouch {
    /// Starts a fresh node; must be called on a tokio runtime, which then serves it.
    pub async fn start(options: Options) -> Result<Self, StartError> {
        let port = options.port;
        let node = Node::new(options);
        keep::restore(&node)?;
        let mut couch = Self { node: Arc::new(node), port, running: None };
        couch.start_again().await?;
        Ok(couch)
    }

    /// Starts a stopped node on the same port, with everything that a restart keeps; does nothing on a running one.
    pub async fn start_again(&mut self) -> Result<(), StartError> {
        if self.running.is_some() {
            return Ok(());
        }
        self.node.boot()?;
        let node = Arc::clone(&self.node);
        // A panic of the hashing thread would only leave plain passwords, which do not log in.
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

    /// Stops the node as a crash would: connections are cut, the port is closed; state, secret and faults are kept.
    pub async fn stop(&mut self) {
        if let Some((stopped, task)) = self.running.take() {
            stopped.cancel();
            // The task ends by the cancellation; it has no result to lose.
            drop(task.await);
        }
    }

    /// The port that the node has, or had before it was stopped.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The address without a trailing slash: `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Which release line it is.
    pub fn version(&self) -> Version {
        self.node.version
    }

    /// The fault injector.
    pub fn faults(&self) -> &Faults {
        &self.node.faults
    }

    /// What is wrong with the server from now on; the default is nothing.
    pub fn trouble(&self, trouble: Trouble) {
        self.node.state().set_trouble(trouble);
    }

    /// Every request since the first start.
    pub fn log(&self) -> &RequestLog {
        &self.node.log
    }

    /// Waits until no plain admin password waits to be hashed.
    pub async fn admins_are_hashed(&self) {
        // The sender lives in the node, so the wait can't fail.
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

//! Replaces `otlp.rs` in an agent that was built without the feature `otlp`.

use std::future;

use tokio_util::sync::CancellationToken;
use tracing::Subscriber;
use tracing_subscriber::{Layer, layer::Identity};

use trove_couchdb_config::TraceSettings;

/// Never created.
#[derive(Debug)]
pub enum Export {}

impl Export {
    /// `None`: the check of the settings has refused every endpoint.
    pub fn new(_settings: &TraceSettings, _guest_id: &str) -> Option<Self> {
        None
    }

    /// A layer that does nothing.
    pub fn layer<S: Subscriber>(&self) -> impl Layer<S> + use<S> {
        Identity::new()
    }

    /// Never called.
    pub fn run(self, _over: CancellationToken) -> future::Ready<()> {
        match self {}
    }
}

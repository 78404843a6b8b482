//! Why modules cannot be read or stored.

/// Why modules cannot be read or stored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ModuleError {
    /// The state directory cannot be written.
    // Without the id: a failure travels in clear, and the id may be a recorded secret.
    #[error("a module can't be stored in the agent's state directory: {0}")]
    NotWritten(String),
    /// The state directory cannot be read.
    #[error("the modules in the agent's state directory can't be read: {0}")]
    NotRead(String),
    /// The agent stops.
    #[error("the agent is stopping; repeat the command")]
    Stopping,
}

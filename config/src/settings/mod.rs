//! The validated configuration, one struct per section of the file.
//!
//! Each section's file holds its rows, of which its part of the key table and its struct are made, and the checks that
//! are no matter of type and range. Whoever holds a `Settings` need not check anything again.

pub(crate) mod audit;
pub(crate) mod broker;
pub(crate) mod couchdb;
pub(crate) mod guest;
pub(crate) mod heartbeat;
pub(crate) mod local;
pub(crate) mod log;
pub(crate) mod metrics;
pub(crate) mod prepare;
pub(crate) mod rpc;
mod tls;
pub(crate) mod trace;

pub use audit::AuditSettings;
pub use broker::{BrokerSettings, LoginMethod};
pub use couchdb::CouchSettings;
pub use guest::GuestSettings;
pub use heartbeat::HeartbeatSettings;
pub use local::LocalSettings;
pub use log::{LogFormat, LogSettings};
pub use metrics::{Listen, MetricsSettings};
pub use prepare::PrepareSettings;
pub use rpc::RpcSettings;
pub use tls::{TlsFiles, TlsIdentity};
pub use trace::TraceSettings;

use crate::error::ConfigError;
use crate::inputs::Inputs;

/// Everything the agent can be told; secrets inside print as `REDACTED`.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Which guest this is.
    pub guest: GuestSettings,
    /// The message broker and how its queues are declared; `None` for an agent without one (`local:`).
    pub broker: Option<BrokerSettings>,
    /// The Unix socket for operators.
    pub local: LocalSettings,
    /// The CouchDB server beside the agent.
    pub couchdb: CouchSettings,
    /// What a new instance may ask for.
    pub prepare: PrepareSettings,
    /// Limits on commands.
    pub rpc: RpcSettings,
    /// Status reports to the conductor.
    pub heartbeat: HeartbeatSettings,
    /// Where commands that change something are written down.
    pub audit: AuditSettings,
    /// What is logged, and how.
    pub log: LogSettings,
    /// Where metrics are to be had.
    pub metrics: MetricsSettings,
    /// Where spans of commands go.
    pub trace: TraceSettings,
    /// What the operator should hear about the configuration, as whole sentences.
    pub warnings: Vec<String>,
}

impl Settings {
    /// The settings, or everything that is wrong: after each mistake the rest is looked at without it. What succeeds
    /// leaves the inputs as they were.
    pub(crate) fn from_inputs(inputs: &mut Inputs) -> Result<Self, ConfigError> {
        let mut mistakes = inputs.take_mistakes();
        // What such a file sets would be missing only for that reason.
        let mut goes_on = !mistakes.iter().any(ConfigError::hides_keys);
        while goes_on {
            match Self::judged(inputs) {
                Ok(settings) if mistakes.is_empty() => return Ok(settings),
                Ok(_) => break,
                Err(error) => {
                    goes_on = inputs.make_sound(&error);
                    mistakes.push(error);
                }
            }
        }
        Err(ConfigError::all(mistakes))
    }

    fn judged(inputs: &Inputs) -> Result<Self, ConfigError> {
        let couchdb = CouchSettings::read(inputs)?;
        let trace = TraceSettings::read(inputs)?;
        // Who the guest is comes before the broker: it is the first thing that a new image lacks.
        let guest = GuestSettings::read(inputs)?;
        let broker = BrokerSettings::read_if_any(inputs)?;
        let broker_tls = broker.as_ref().and_then(|broker| broker.tls.as_ref());
        let local = LocalSettings::read(inputs)?;
        if broker.is_none() {
            local.must_be_on(inputs)?;
        }
        let mut warnings = inputs.warnings();
        warnings.extend(couchdb.warning());
        warnings.extend(tls::warning("couchdb", &couchdb.tls));
        warnings.extend(trace.warning());
        warnings.extend(broker_tls.and_then(|files| tls::warning("broker", files)));
        warnings.extend(broker::warning(inputs));
        Ok(Self {
            guest,
            broker,
            local,
            couchdb,
            prepare: PrepareSettings::read(inputs)?,
            rpc: RpcSettings::read(inputs)?,
            heartbeat: HeartbeatSettings::read(inputs)?,
            audit: AuditSettings::read(inputs)?,
            log: LogSettings::read(inputs)?,
            metrics: MetricsSettings::read(inputs)?,
            trace,
            warnings,
        })
    }
}

//! The validated configuration, one struct per section of the file.
//!
//! Each section's file holds its rows of the key table, its struct and the checks that make the one from the
//! other. Whoever holds a `Settings` need not check anything again.

pub(super) mod audit;
pub(super) mod broker;
pub(super) mod couchdb;
pub(super) mod guest;
pub(super) mod heartbeat;
pub(super) mod host;
pub(super) mod local;
pub(super) mod log;
pub(super) mod metrics;
pub(super) mod no_broker;
pub(super) mod prepare;
pub(super) mod rpc;
mod tls;
pub(super) mod trace;

use std::ffi::OsString;

pub use audit::AuditSettings;
pub use broker::{BrokerSettings, LoginMethod};
pub use couchdb::CouchSettings;
pub use guest::GuestSettings;
pub use heartbeat::HeartbeatSettings;
pub use host::HostSettings;
pub use local::LocalSettings;
pub use log::{LogFormat, LogSettings};
pub use metrics::{Listen, MetricsSettings};
pub use prepare::PrepareSettings;
pub use rpc::RpcSettings;
pub use trace::TraceSettings;

use super::error::ConfigError;
use super::inputs::Inputs;
use super::load::{self, Sources};

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
    /// The helper that does what needs root.
    pub host: HostSettings,
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
    /// Reads all layers and validates them; `environment` is usually `std::env::vars_os()`.
    ///
    /// Every [`ConfigError`] is a mistake in the configuration, so the agent should exit with `EX_USAGE` (64).
    pub fn load(
        sources: impl Into<Sources>,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, ConfigError> {
        let mut inputs = load::read(&sources.into(), &environment.into_iter().collect::<Vec<_>>())?;
        Self::from_inputs(&mut inputs)
    }

    /// The settings, or everything that is wrong: after each mistake the rest is looked at without it. What succeeds
    /// leaves the inputs as they were.
    pub(super) fn from_inputs(inputs: &mut Inputs) -> Result<Self, ConfigError> {
        let mut mistakes = std::mem::take(&mut inputs.mistakes);
        // What such a file sets would be missing only for that reason.
        if !mistakes.iter().any(ConfigError::hides_keys) {
            loop {
                match Self::judged(inputs) {
                    Ok(settings) if mistakes.is_empty() => return Ok(settings),
                    Ok(_) => break,
                    Err(error) => {
                        let goes_on = inputs.make_sound(&error);
                        mistakes.push(error);
                        if !goes_on {
                            break;
                        }
                    }
                }
            }
        }
        let none = || ConfigError::Layers { problem: "no mistake is left".to_owned() };
        Err(ConfigError::all(mistakes).unwrap_or_else(none))
    }

    fn judged(inputs: &Inputs) -> Result<Self, ConfigError> {
        let couchdb = CouchSettings::from_input(inputs.section("couchdb"))?;
        let mut warnings = inputs.warnings.clone();
        warnings.extend(inputs.misplaced.iter().map(|(_, text)| text.clone()));
        warnings.extend(couchdb.warning());
        warnings.extend(tls::warning("couchdb", &couchdb.tls));
        let trace = TraceSettings::from_input(inputs.section("trace"))?;
        warnings.extend(trace.warning());
        // Who the guest is comes first: it is the first thing that a new image lacks.
        let is_local = no_broker::is_meant_local(inputs.section("broker"))?;
        let guest = GuestSettings::from_input(inputs.section("guest"), is_local)?;
        let broker = BrokerSettings::from_input(inputs.section("broker"))?;
        let broker_tls = broker.as_ref().and_then(|broker| broker.tls.as_ref());
        warnings.extend(broker_tls.and_then(|files| tls::warning("broker", files)));
        warnings.extend(broker::warning(inputs.section("broker"))?);
        let local = LocalSettings::from_input(inputs.section("local"))?;
        if broker.is_none() {
            local.must_be_on(inputs.section("local"))?;
        }
        Ok(Self {
            guest,
            broker,
            local,
            couchdb,
            host: HostSettings::from_input(inputs.section("host"))?,
            prepare: PrepareSettings::from_input(inputs.section("prepare"))?,
            rpc: RpcSettings::from_input(inputs.section("rpc"))?,
            heartbeat: HeartbeatSettings::from_input(inputs.section("heartbeat"))?,
            audit: AuditSettings::from_input(inputs.section("audit"))?,
            log: LogSettings::from_input(inputs.section("log"))?,
            metrics: MetricsSettings::from_input(inputs.section("metrics"))?,
            trace,
            warnings,
        })
    }
}

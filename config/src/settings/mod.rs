//! The validated configuration, one struct per section of the file.
//!
//! Each section's file holds its rows, of which its part of the key table and its struct are made, and the checks that
//! are no matter of type and range. Whoever holds a `Settings` need not check anything again.

mod audit;
mod broker;
mod couchdb;
mod guest;
mod heartbeat;
mod host;
mod local;
mod log;
mod metrics;
mod operations;
mod prepare;
mod rpc;
mod tls;
mod trace;

pub use audit::AuditSettings;
pub use broker::{BrokerSettings, LoginMethod};
pub use couchdb::CouchSettings;
pub use guest::GuestSettings;
pub use heartbeat::HeartbeatSettings;
pub use host::HostSettings;
pub use local::LocalSettings;
pub use log::{LogFormat, LogSettings};
pub use metrics::{Listen, MetricsSettings};
pub use operations::OperationSettings;
pub use prepare::PrepareSettings;
pub use rpc::RpcSettings;
pub use tls::{TlsFiles, TlsIdentity};
pub use trace::TraceSettings;

use crate::error::Mistake;
use crate::inputs::{Inputs, Section};
use crate::key::Key;

/// Declares the sections: the fields of [`Settings`], how they are read, and the table of all keys.
macro_rules! sections {
    ($($(#[doc = $about:literal])+ $name:ident: $type:ty,)+) => {
        /// Every section with what it is about and its keys, in the order of the documentation.
        pub(crate) const SECTIONS: &[(&str, &str, &[Key])] =
            &[$((stringify!($name), concat!($($about),+), $name::KEYS)),+];

        /// Everything the agent can be told; secrets inside print as `REDACTED`.
        #[derive(Debug, Clone)]
        pub struct Settings {
            $($(#[doc = $about])+ pub $name: $type,)+
            /// What the operator should hear about the configuration, as whole sentences.
            pub warnings: Vec<String>,
        }

        impl Settings {
            fn read(inputs: &Inputs) -> Result<Self, Mistake> {
                Ok(Self { $($name: Section::read(inputs)?,)+ warnings: inputs.warnings() })
            }
        }
    };
}

sections! {
    /// Which guest this is.
    guest: GuestSettings,
    /// The connection to RabbitMQ and how the guest's queues are declared. The flags must equal those of
    /// `[oslo_messaging_rabbit]` on the control plane, or the broker refuses the queues; Trove injects that file.
    /// `transport_url = "local:"` means no broker at all.
    broker: Option<BrokerSettings>,
    /// The Unix socket for operators of this machine.
    local: LocalSettings,
    /// The CouchDB server that the agent manages.
    couchdb: CouchSettings,
    /// The privileged helper, `trove-couchdb-hostd`.
    host: HostSettings,
    /// What a new instance may ask for.
    prepare: PrepareSettings,
    /// Which finished operations are kept.
    operations: OperationSettings,
    /// Limits on commands and retry timeouts.
    rpc: RpcSettings,
    /// Status reports to the conductor.
    heartbeat: HeartbeatSettings,
    /// The audit log: one line for each command that changes something.
    audit: AuditSettings,
    /// What is logged, and how.
    log: LogSettings,
    /// Where metrics and health checks are served.
    metrics: MetricsSettings,
    /// Where traces of commands are sent.
    trace: TraceSettings,
}

impl Settings {
    /// The settings, or everything that is wrong: after each mistake the rest is looked at without it. What succeeds
    /// leaves the inputs as they were.
    pub(crate) fn from_inputs(inputs: &mut Inputs) -> Result<Self, Mistake> {
        let mut mistakes = inputs.take_mistakes();
        // What such a file sets would be missing only for that reason.
        let mut goes_on = !mistakes.iter().any(Mistake::hides_keys);
        while goes_on {
            match Self::read(inputs).and_then(|settings| settings.judged(inputs)) {
                Ok(settings) if mistakes.is_empty() => return Ok(settings),
                Ok(_) => break,
                Err(error) => {
                    goes_on = inputs.make_sound(&error);
                    mistakes.push(error);
                }
            }
        }
        Err(Mistake::all(mistakes))
    }

    /// What no single section can be blamed for, and what is worth a warning.
    fn judged(mut self, inputs: &Inputs) -> Result<Self, Mistake> {
        if self.broker.is_none() {
            self.local.must_be_on(inputs)?;
        }
        let broker_tls = self.broker.as_ref().and_then(|broker| broker.tls.as_ref());
        let warnings = [
            self.couchdb.warning(),
            tls::warning("couchdb", &self.couchdb.tls),
            self.trace.warning(),
            broker_tls.and_then(|files| tls::warning("broker", files)),
            broker::warning(inputs),
        ];
        self.warnings.extend(warnings.into_iter().flatten());
        Ok(self)
    }
}

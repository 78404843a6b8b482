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

use crate::error::ConfigError;
use crate::key::Key;
use crate::validation::{Section, Validation};

/// Declares the sections: the fields of [`Settings`], how they are read, and the table of all keys.
macro_rules! sections {
    ($($(#[$about:meta])+ $name:ident: $type:ty,)+) => {
        /// Every key, section by section, in the order of the documentation.
        pub(crate) const KEYS: &[&[Key]] = &[$($name::KEYS),+];

        /// Everything the agent can be told; secrets inside print as `REDACTED`.
        #[derive(Debug, Clone)]
        pub struct Settings {
            $($(#[$about])+ pub $name: $type,)+
            /// What the operator should hear about the configuration, as whole sentences.
            pub warnings: Vec<String>,
        }

        impl Settings {
            fn read(validation: &mut Validation) -> Option<Self> {
                $(let $name = Section::read(validation)?;)+
                Some(Self { $($name,)+ warnings: validation.inputs.warnings() })
            }
        }
    };
}

sections! {
    /// Which guest this is. It comes first, as it is the first thing that a new image lacks.
    guest: GuestSettings,
    /// The message broker and how its queues are declared; `None` for an agent without one (`local:`).
    broker: Option<BrokerSettings>,
    /// The Unix socket for operators.
    local: LocalSettings,
    /// The CouchDB server beside the agent.
    couchdb: CouchSettings,
    /// The helper that does what needs root.
    host: HostSettings,
    /// What a new instance may ask for.
    prepare: PrepareSettings,
    /// What is remembered of commands that take hours.
    operations: OperationSettings,
    /// Limits on commands.
    rpc: RpcSettings,
    /// Status reports to the conductor.
    heartbeat: HeartbeatSettings,
    /// Where commands that change something are written down.
    audit: AuditSettings,
    /// What is logged, and how.
    log: LogSettings,
    /// Where metrics are to be had.
    metrics: MetricsSettings,
    /// Where spans of commands go.
    trace: TraceSettings,
}

impl Settings {
    /// The settings, or everything that is wrong.
    pub(crate) fn of(validation: &mut Validation) -> Result<Self, ConfigError> {
        validation.result(|validation| Some(Self::read(validation)?.judged(validation)))
    }

    /// What no single section can be blamed for, and what is worth a warning.
    fn judged(mut self, validation: &mut Validation) -> Self {
        if self.broker.is_none() {
            validation.check(|inputs| self.local.must_be_on(inputs));
        }
        let broker_tls = self.broker.as_ref().and_then(|broker| broker.tls.as_ref());
        let warnings = [
            self.couchdb.warning(),
            tls::warning("couchdb", &self.couchdb.tls),
            self.trace.warning(),
            broker_tls.and_then(|files| tls::warning("broker", files)),
            broker::warning(&validation.inputs),
        ];
        self.warnings.extend(warnings.into_iter().flatten());
        self
    }
}

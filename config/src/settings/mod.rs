//! The validated configuration, one struct per section of the file.
//!
//! Each section's module contains its rows, which generate its part of the key table and its struct, and the
//! checks beyond type and range. A `Settings` value is always valid.

mod broker;
mod commands;
mod couchdb;
mod guest;
mod room;
mod sockets;
mod telemetry;
mod tls;

pub use broker::{BrokerSettings, LoginMethod};
pub use commands::{HeartbeatSettings, OperationSettings, RpcSettings};
pub use couchdb::CouchSettings;
pub use guest::{GuestSettings, PrepareSettings};
pub use room::RoomSettings;
pub use sockets::{HostSettings, Listen, LocalSettings, MetricsSettings};
pub use telemetry::{AuditSettings, LogFormat, LogSettings, TraceSettings};
pub use tls::{TlsFiles, TlsIdentity};

use crate::error::ConfigError;
use crate::key::Key;
use crate::section::{Section, Validation};

/// Declares the sections: the fields of [`Settings`], how they are read, and the table of all keys.
macro_rules! sections {
    ($($(#[$about:meta])* $name:ident: $type:ty,)+) => {
        /// Every key, section by section, in the order of the documentation.
        pub(crate) const KEYS: &[&[Key]] = &[$(<$type as Section>::KEYS),+];

        /// The complete configuration; secrets print as `REDACTED`.
        #[derive(Debug, Clone)]
        pub struct Settings {
            $(
                #[doc = concat!("The section `[", stringify!($name), "]`.")]
                $(#[$about])*
                pub $name: $type,
            )+
            /// Warnings about the configuration for the operator, as whole sentences.
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
    // First, because it is the first section that a new image lacks.
    guest: GuestSettings,
    /// `None` for an agent without a broker (`local:`).
    broker: Option<BrokerSettings>,
    local: LocalSettings,
    couchdb: CouchSettings,
    room: RoomSettings,
    host: HostSettings,
    prepare: PrepareSettings,
    operations: OperationSettings,
    rpc: RpcSettings,
    heartbeat: HeartbeatSettings,
    audit: AuditSettings,
    log: LogSettings,
    metrics: MetricsSettings,
    trace: TraceSettings,
}

impl Settings {
    /// The settings, or all mistakes.
    pub(crate) fn of(validation: &mut Validation) -> Result<Self, ConfigError> {
        validation.result(|validation| Some(Self::read(validation)?.judged(validation)))
    }

    /// Checks values across sections, and adds warnings.
    fn judged(mut self, validation: &mut Validation) -> Self {
        if self.broker.is_none() {
            validation.check(sockets::must_be_reachable);
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

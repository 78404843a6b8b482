//! The agent's configuration: five layers in, validated [`Settings`] out.
//!
//! ```text
//!  defaults < agent.toml < oslo INI files < environment < command line
//!     |          |             |               |              |
//!     +----------+------+------+---------------+--------------+
//!                       v
//!   fragment (what one layer says) -> inputs (merged, each value with its origin) -> settings (validated)
//! ```
//!
//! The oslo INI files are the ones Trove injects into the guest (`/etc/trove/conf.d/*.conf`); they outrank our
//! own file because they say which instance this is and how the control plane talks, which no image can know.
//! Every key, its default and its oslo names live beside the settings section that validates it; the sample
//! file and `docs/configuration.md` are tested against that table.
//!
//! `main` calls [`Settings::load`] once, or [`check`] for `--check-config`. Nothing here reads the process
//! environment, logs, or touches the network; and only this directory names the `config` crate.

mod check;
mod environment;
mod error;
mod fragment;
#[doc(hidden)]
pub mod fuzzing;
mod inputs;
mod keys;
mod load;
mod oslo_files;
mod oslo_ini;
mod oslo_template;
mod settings;
mod toml_file;

#[cfg(test)]
mod tests;

pub use check::check;
pub use error::ConfigError;
pub use load::{DEFAULT_CONFIG_FILE, DEFAULT_OSLO_DIR, Override, Sources};
pub use settings::{
    AuditSettings, BrokerSettings, CouchSettings, GuestSettings, HeartbeatSettings, HostSettings, Listen,
    LocalSettings, LogFormat, LogSettings, LoginMethod, MetricsSettings, RpcSettings, Settings,
    TraceSettings,
};

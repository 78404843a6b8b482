//! The agent's configuration: five layers in, validated [`Settings`] out.
//!
//! ```text
//!  defaults < agent.toml < oslo INI files < environment < command line
//!     |          |             |               |              |
//!     +----------+------+------+---------------+--------------+
//!                       v
//!   layers (raw values) -> inputs (merged, each value with its origin) -> settings (validated)
//! ```
//!
//! Trove injects the oslo INI files into the guest (`/etc/trove/conf.d/*.conf`). They override the
//! agent's own file because they contain the instance's id and the control plane's messaging
//! settings, which an image cannot contain.
//!
//! A key is declared once, as a row in the table of its section (`settings/*.rs`, `section!`), with its name,
//! type, range, default, oslo names and description. The row generates the field, the parser and the key's
//! entry in `docs/configuration.md` ([`mod@reference`]). A test checks the sample file against these rows.
//!
//! The `config` crate merges the layers and keeps each value with its origin. It does not read the files: its
//! formats do not provide line numbers, and its INI reader differs from oslo's.
//!
//! The agent calls [`Settings::load`] once, or [`check()`] for `--check-config`. The operator's tool reads the
//! same settings. Nothing here reads the process environment, logs, or uses the network.
#![forbid(unsafe_code)]

mod broker_url;
mod check;
mod error;
#[doc(hidden)]
pub mod fuzzing;
mod inputs;
mod key;
mod keys;
mod layers;
mod load;
pub mod reference;
mod section;
mod settings;
mod text_file;

#[cfg(test)]
mod tests;

pub use check::check;
pub use error::ConfigError;
pub use load::{DEFAULT_CONFIG_FILE, Override, Sources};
pub use settings::*;

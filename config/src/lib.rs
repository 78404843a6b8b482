//! The agent's configuration: five layers in, validated [`Settings`] out.
//!
//! ```text
//!  defaults < agent.toml < oslo INI files < environment < command line
//!     |          |             |               |              |
//!     +----------+------+------+---------------+--------------+
//!                       v
//!   layers (what each of them says) -> inputs (merged, each value with its origin) -> settings (validated)
//! ```
//!
//! The oslo INI files are the ones Trove injects into the guest (`/etc/trove/conf.d/*.conf`); they outrank our
//! own file because they say which instance this is and how the control plane talks, which no image can know.
//!
//! A key is declared once, as a row of the table of its section (`settings/*.rs`, `section!`): its name, its type and
//! range, its default, its oslo names and what it does make the field, the parser and the reference of all keys in
//! `docs/configuration.md` ([`reference`]). The sample file is tested against these rows.
//!
//! The `config` crate merges the layers and keeps each value with its origin. It reads none of the files: its formats know
//! no line numbers, and its INI reader is not oslo's.
//!
//! The agent calls [`Settings::load`] once, or [`check`] for `--check-config`; the operator's tool reads the same
//! settings. Nothing here reads the process environment, logs, or touches the network.
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

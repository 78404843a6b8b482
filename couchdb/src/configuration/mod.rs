//! CouchDB's configuration, as far as tenants and operators may set it.
//!
//! ```text
//! name and value -> Values (known, in range) -> safety (opens nothing, locks no account out) -> nodes (PUT)
//! ```
//!
//! The [table](table) lists the options, and [`forbidden`] what is not set, with the reason. Before a change,
//! [`safety`] judges the configuration that would result from it.

pub mod error;
pub mod forbidden;
pub mod ini;
pub mod nodes;
pub mod option;
mod rounds;
pub mod safety;
pub mod table;
mod table_of_logins;
mod table_of_replicator;
mod terms;
pub mod values;

//! The readers, one for each kind of place; each ends in a [`Layer`](crate::layer::Layer).

pub(crate) mod environment;
pub(crate) mod oslo_files;
pub(crate) mod oslo_ini;
mod oslo_template;
pub(crate) mod toml_file;

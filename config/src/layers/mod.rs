//! The readers, one for each kind of place; each adds what it finds to the [`Layers`](crate::layer::Layers).

pub(crate) mod environment;
pub(crate) mod oslo_files;
pub(crate) mod oslo_ini;
mod oslo_template;
pub(crate) mod toml_file;

//! What can be asked for.

pub(crate) mod resource;
pub(crate) mod segment;

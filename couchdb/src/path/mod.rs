//! What can be asked for.

pub(crate) mod encode;
pub(crate) mod node;
pub(crate) mod resource;
pub(crate) mod segment;

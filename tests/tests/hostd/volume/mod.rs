//! CouchDB's volume on loop devices: what is made, what is refused, and what survives a kill at any point.
//!
//! The tests need root and `/dev/loop-control`, and are reported as skipped without them.

mod disk;
mod from_disk_to_volume;
mod killed;
mod machine;
mod refused;
mod trove;

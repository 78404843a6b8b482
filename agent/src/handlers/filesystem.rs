//! `get_filesystem_stats`: asked for by every `trove show`.

use std::path::Path;

use serde_json::{Value, json};

use crate::{
    couch::CommandError,
    system::{self, Usage},
};

/// The file system of CouchDB's data; the path in the request is the control plane's guess at it.
pub(super) async fn stats(data_dir: &Path) -> Result<Value, CommandError> {
    let path = data_dir.to_owned();
    let usage = system::blocking(move || system::usage_of(&path)).await;
    match usage {
        Ok(Ok(usage)) => Ok(to_value(usage)),
        Ok(Err(error)) => {
            Err(CommandError::Filesystem { path: data_dir.display().to_string(), reason: error.to_string() })
        }
        Err(_) => Err(CommandError::Stopping),
    }
}

/// The shape of trove/guestagent/dbaas.py `get_filesystem_volume_stats`: `free` in bytes, `total` and `used`
/// in GiB with two digits.
fn to_value(usage: Usage) -> Value {
    let bytes = |blocks: u64| blocks.saturating_mul(usage.block_size);
    json!({
        "block_size": usage.block_size,
        "total_blocks": usage.total_blocks,
        "free_blocks": usage.free_blocks,
        "avail_blocks": usage.available_blocks,
        "free": bytes(usage.free_blocks),
        "total": gibibytes(bytes(usage.total_blocks)),
        "used": gibibytes(bytes(usage.total_blocks.saturating_sub(usage.free_blocks))),
    })
}

/// As trove/common/utils.py `to_gb`: rounded, but something is never shown as nothing.
#[allow(clippy::cast_precision_loss)] // two digits of GiB are far within a double
fn gibibytes(bytes: u64) -> f64 {
    if bytes == 0 {
        return 0.0;
    }
    let hundredths = (bytes as f64 / 1_073_741_824.0 * 100.0).round();
    hundredths.max(1.0) / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gibibytes_as_trove_rounds_them() {
        for (bytes, shown) in [(0, 0.0), (1, 0.01), (1_073_741_824, 1.0), (1_620_000_000, 1.51)] {
            assert!((gibibytes(bytes) - shown).abs() < 1e-9, "{bytes}");
        }
    }

    #[test]
    fn totals_are_floats() {
        let usage =
            Usage { block_size: 4096, total_blocks: 524_288, free_blocks: 262_144, available_blocks: 7 };
        assert_eq!(
            to_value(usage),
            json!({"block_size": 4096, "total_blocks": 524_288, "free_blocks": 262_144, "avail_blocks": 7,
                   "free": 1_073_741_824_u64, "total": 2.0, "used": 1.0})
        );
    }
}

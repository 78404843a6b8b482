//! `rpc_ping`, `get_filesystem_stats`: whether the guest answers, and how full its disk is. What the machine is
//! like is in [`facts`].

mod facts;

use futures_util::{FutureExt, future};
use serde_json::{Value, json};
use trove_couchdb_protocol::{DecodeError, Field, trove::Method};

use super::{Arguments, Command, Decode, Entry, Guest, Needs, Run, Running, entry};
use crate::{
    couch::CommandError,
    system::{self, Usage},
};

pub(super) const COMMANDS: &[Entry] = &[
    entry::<Ping>(Method::RpcPing),
    entry::<GetFilesystemStats>(Method::GetFilesystemStats),
    entry::<facts::GetHwinfo>(Method::GetHwinfo),
    entry::<facts::GetDiagnostics>(Method::GetDiagnostics),
];

/// `rpc_ping`: whether the guest answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Ping;

impl Decode for Ping {
    fn decode(_: &Arguments<'_>) -> Result<Self, DecodeError> {
        Ok(Self)
    }
}

impl Command for Ping {
    fn method(&self) -> Method {
        Method::RpcPing
    }

    fn needs(&self) -> Needs {
        Needs::Nothing
    }

    fn run<'a>(&'a self, _: &'a Guest, _: Run<'a>) -> Running<'a> {
        future::ready(Ok(Value::Bool(true))).boxed()
    }
}

/// `get_filesystem_stats`: sent for every `trove show`.
///
/// It reports the file system of CouchDB's data. The path in the request is only the control plane's guess;
/// Trove 26 sends null.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct GetFilesystemStats;

impl Decode for GetFilesystemStats {
    fn decode(args: &Arguments<'_>) -> Result<Self, DecodeError> {
        args.optional_as("fs_path", Field::string)?;
        Ok(Self)
    }
}

impl Command for GetFilesystemStats {
    fn method(&self) -> Method {
        Method::GetFilesystemStats
    }

    fn needs(&self) -> Needs {
        Needs::Nothing
    }

    fn run<'a>(&'a self, guest: &'a Guest, _: Run<'a>) -> Running<'a> {
        async move {
            let data_dir = guest.couch.data_dir().await;
            let path = data_dir.clone();
            match system::blocking(move || system::usage_of(&path)).await {
                Ok(Ok(usage)) => Ok(to_value(usage)),
                Ok(Err(error)) => {
                    let (path, reason) = (data_dir.display().to_string(), error.to_string());
                    Err(CommandError::Filesystem { path, reason }.into())
                }
                Err(_) => Err(CommandError::Stopping.into()),
            }
        }
        .boxed()
    }
}

/// The format of trove/guestagent/dbaas.py `get_filesystem_volume_stats`: `free` in bytes, `total` and `used`
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

/// Like trove/common/utils.py `to_gb`: rounded, but a value above zero is never shown as zero.
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
